"""Convolutions that turn with the image, so that its count is the same in all eight orientations.

The eight: an image and its mirror image, each turned by 0, 90, 180 and 270 degrees. Such layers,
their order and why they work: Cohen and Welling 2016, arXiv 1602.07576, sections 4 to 6.
"""

from typing import Literal

import keras
import numpy as np
from keras import ops

ORIENTATIONS = 8


@keras.saving.register_keras_serializable(package="cellzoo")
class SymmetricConv2D(keras.layers.Layer):
    """A convolution whose filters are an eighth as many, each in all eight orientations.

    If the image is turned, the results of each orientation are, too, and take each other's places.
    Their mean over the orientations, :class:`OrientationMean`, is then the map of the turned image.

    Args:
        filters: channels of the results, a multiple of 8: all of one orientation after all of
            another.
        kernel_size: side of the kernel. Where ``strides`` is 2 it must be even, or a turned image
            would be read at other places.
        strides: 1 or 2; grids must then have even sides.
        reads: ``"orientations"``, the results of such a layer; or ``"squares"``, those of
            :class:`cellzoo.models.layers.SpaceToDepth` of one channel.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        strides: int = 1,
        reads: Literal["orientations", "squares"] = "orientations",
        **kwargs,
    ):
        """Takes note of the arguments."""
        super().__init__(**kwargs)
        self.filters, self.kernel_size = filters, kernel_size
        self.strides, self.reads = strides, reads

    def build(self, shape):
        """Creates the filters in one orientation, and where each weight goes in the others."""
        channels, side = shape[-1], self.kernel_size
        if self.reads == "squares":
            square, read, base = round(channels**0.5), 1, 1
        else:
            square, read, base = 1, ORIENTATIONS, channels // ORIENTATIONS
        pixels = side * square
        places = np.arange(pixels**2 * read).reshape(pixels, pixels, read)
        turned = np.stack([_filter_in(places, way) for way in range(ORIENTATIONS)], axis=-1)
        # A square's pixels are channels, row by row.
        squares = turned.reshape(side, square, side, square, read, ORIENTATIONS)
        self.places = squares.transpose(0, 2, 1, 3, 4, 5).reshape(-1).astype("int32")
        self.kernel_shape = (side, side, channels, self.filters)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(places.size, base, self.filters // ORIENTATIONS),
            # What "he_normal" is for the whole kernel.
            initializer=keras.initializers.RandomNormal(stddev=(2 / (side**2 * channels)) ** 0.5),
        )
        self.bias = self.add_weight(
            name="bias", shape=(self.filters // ORIENTATIONS,), initializer="zeros"
        )

    def call(self, grid):
        """Maps ``[batch, h, w, channels]`` to ``[batch, h / strides, w / strides, filters]``."""
        kernel = ops.take(self.kernel, self.places, axis=0)
        _, base, filters = kernel.shape
        kernel = ops.transpose(ops.reshape(kernel, (-1, ORIENTATIONS, base, filters)), (0, 2, 1, 3))
        kernel = ops.reshape(kernel, self.kernel_shape)
        results = ops.conv(grid, kernel, strides=self.strides, padding="same")
        return results + ops.tile(self.bias, ORIENTATIONS)

    def compute_output_shape(self, shape):
        """See :meth:`call`."""
        batch, *sides, _ = shape
        return (batch, *(size and -(-size // self.strides) for size in sides), self.filters)

    def get_config(self):
        """The arguments that rebuild this layer."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "reads": self.reads,
        }


@keras.saving.register_keras_serializable(package="cellzoo")
class OrientationMean(keras.layers.Layer):
    """The mean of the results of a :class:`SymmetricConv2D` over the eight orientations."""

    def call(self, grid):
        """Maps ``[batch, h, w, 8 * c]`` to ``[batch, h, w, c]``."""
        _, height, width, channels = ops.shape(grid)
        apart = (-1, height, width, ORIENTATIONS, channels // ORIENTATIONS)
        return ops.mean(ops.reshape(grid, apart), axis=3)

    def compute_output_shape(self, shape):
        """See :meth:`call`."""
        return (*shape[:-1], shape[-1] // ORIENTATIONS)


def _oriented(grid: np.ndarray, way: int) -> np.ndarray:
    """A grid ``[side, side, ...]`` in the orientation ``way``: mirrored from 4 on, then turned."""
    return np.rot90(grid[:, ::-1] if way >= 4 else grid, way % 4)


def _filter_in(places: np.ndarray, way: int) -> np.ndarray:
    """A filter ``[side, side, orientations read]`` in the orientation ``way``.

    The filter turns, and it reads each orientation where it read another before.
    """
    turned = _oriented(places, way)
    if places.shape[-1] == 1:
        return turned
    corners = np.arange(4).reshape(2, 2)
    ways = [_oriented(corners, each) for each in range(ORIENTATIONS)]
    known = [each.tolist() for each in ways]
    # Which orientation each of them is once it is turned by ``way``.
    after = [known.index(_oriented(each, way).tolist()) for each in ways]
    return turned[:, :, np.argsort(after)]
