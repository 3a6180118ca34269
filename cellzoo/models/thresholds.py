"""From the probability that a pixel belongs to a cell to a mask (DeepCellCount, section 3.2).

Written in ``keras.ops``, so that the threshold is part of a network and of its export. The local
and the global threshold work on 256 grey levels, as OpenCV does, with which they agree.
"""

from typing import get_args

import keras
import numpy as np
from keras import ops

from cellzoo.models.section import ThresholdMethod

LEVELS = 256


def simple(probability):
    """1.0 where ``probability``, float32 ``[batch, h, w]`` in [0, 1], is over 0.5, else 0.0."""
    return ops.cast(probability > 0.5, "float32")


def adaptive_gaussian(probability, block: int = 101, offset: float = 0.0):
    """1.0 where a pixel is likelier than its surroundings.

    Args:
        probability: float32 ``[batch, h, w]`` in [0, 1].
        block: side in pixels, odd, of the window over which a Gaussian weighs the surroundings.
            A patch of cells wider than the window loses its inner part.
        offset: probability that is taken from the local mean before comparing.
    """
    levels = ops.round(probability * (LEVELS - 1))
    mean = _blurred(levels, _gaussian(block))
    return ops.cast(levels > ops.round(mean) - offset * (LEVELS - 1), "float32")


def otsu(probability):
    """1.0 over the level that separates each image's two classes best (Otsu 1979).

    Args:
        probability: float32 ``[batch, h, w]`` in [0, 1].
    """
    levels = ops.cast(ops.round(probability * (LEVELS - 1)), "int32")
    level = otsu_level(histogram(levels))
    return ops.cast(levels > level[:, None, None], "float32")


def histogram(levels):
    """Pixels at each of 256 levels: int32 ``[batch, h, w]`` -> float32 ``[batch, 256]``."""
    batch = ops.shape(levels)[0]
    # One row of bins per image: a single sum over all pixels, whatever the backend.
    bins = levels + LEVELS * ops.arange(batch, dtype="int32")[:, None, None]
    bins = ops.reshape(bins, (-1,))
    pixels = ops.segment_sum(ops.ones_like(bins, dtype="float32"), bins, batch * LEVELS)
    return ops.reshape(pixels, (batch, LEVELS))


def otsu_level(pixels):
    """The highest level of the darker class: float32 ``[batch, 256]`` -> int32 ``[batch]``.

    The split with the largest variance between the classes; the first of several equal ones.
    """
    share = pixels / ops.sum(pixels, axis=1, keepdims=True)
    dark = ops.cumsum(share, axis=1)
    dark_sum = ops.cumsum(share * ops.arange(LEVELS, dtype="float32"), axis=1)
    both = dark * (1.0 - dark)
    between = ops.square(dark_sum[:, -1:] * dark - dark_sum) / ops.maximum(both, 1e-9)
    # Rounding leaves a remainder where a class is empty.
    between = ops.where((dark > 1e-7) & (dark < 1 - 1e-6), between, 0.0)
    return ops.cast(ops.argmax(between, axis=1), "int32")


THRESHOLDS: tuple[ThresholdMethod, ...] = get_args(ThresholdMethod)


@keras.saving.register_keras_serializable(package="cellzoo")
class Threshold(keras.layers.Layer):
    """Maps a probability, float32 ``[batch, h, w]``, to a mask of the same shape.

    Args:
        method: one of :data:`THRESHOLDS`; ``"none"`` lets the probability through.
        block: see :func:`adaptive_gaussian`.
        offset: see :func:`adaptive_gaussian`.
    """

    def __init__(self, method: str, block: int = 101, offset: float = 0.0, **kwargs):
        """Keeps the settings; there are no weights."""
        super().__init__(**kwargs)
        if method not in THRESHOLDS:
            raise ValueError(f"method is {method!r}, not one of {', '.join(THRESHOLDS)}.")
        if block % 2 == 0:
            raise ValueError(f"block is {block}: the window needs a centre, so an odd side.")
        self.method, self.block, self.offset = method, block, offset

    def call(self, probability):
        """Thresholds; gradients stop here unless the method is ``"none"``."""
        if self.method == "simple":
            return simple(probability)
        if self.method == "adaptive_gaussian":
            return adaptive_gaussian(probability, self.block, self.offset)
        if self.method == "otsu":
            return otsu(probability)
        return probability

    def compute_output_shape(self, input_shape):
        """The input's."""
        return input_shape

    def get_config(self):
        """The arguments that rebuild this layer."""
        settings = {"method": self.method, "block": self.block, "offset": self.offset}
        return {**super().get_config(), **settings}


def _gaussian(block: int) -> np.ndarray:
    """Weights, float32 ``[block]``, of the standard deviation that OpenCV derives from a window."""
    deviation = 0.3 * ((block - 1) * 0.5 - 1) + 0.8
    distance = np.arange(block) - block // 2
    weights = np.exp(-0.5 * (distance / deviation) ** 2)
    return (weights / weights.sum()).astype(np.float32)


def _blurred(images, weights: np.ndarray):
    """Smooths along both axes, ``[batch, h, w]``; the border's pixels go on outside."""
    radius = len(weights) // 2
    for axis, kernel in ((1, weights[:, None]), (2, weights[None, :])):
        size = ops.shape(images)[axis]
        places = ops.clip(ops.arange(-radius, size + radius, dtype="int32"), 0, size - 1)
        images = ops.take(images, places, axis=axis)
        kernel = ops.convert_to_tensor(kernel[:, :, None, None])
        images = ops.conv(images[..., None], kernel, padding="valid", data_format="channels_last")
        images = images[..., 0]
    return images
