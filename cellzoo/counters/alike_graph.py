"""What `export` writes of a counter that measures cells: images made alike -> maps and count."""

from typing import Any

import keras
import tensorflow as tf

from cellzoo.counters.graph import Signature, check, interval_ends
from cellzoo.counters.preprocessing import MIN_SIDE, OUTPUTS
from cellzoo.models.tiling import Tiling
from cellzoo.trust.intervals import Interval

ALIKE_SIGNATURE = "alike"
MAX_ALIKE_PIXELS = 2**22  # of a batch: the network's feature maps have all of them


class AlikeGraph(tf.Module):
    """The network of a counter that measures cells, see :mod:`cellzoo.counters.measuring`.

    There is no signature that takes images as they are: who asks it has to make them alike.

    Args:
        network: takes ``natural``, float32 ``[batch, h, w]`` in [0, 1], and has the output
            ``natural_density``, of a network that segments ``natural_mask``, too.
        tiling: how its images are cut; their sides are multiples of its stride.
        interval: around the count of an image like those of training; None: none can be promised.
    """

    def __init__(self, network: keras.Model, tiling: Tiling, interval: Interval | None):
        """Takes from the network what counting needs; see the class."""
        super().__init__(name="alike_graph")
        named = ((name, f"natural_{name}") for name in ("mask", "density"))
        outputs = {name: network.output[key] for name, key in named if key in network.output}
        maps = keras.Model(network.input["natural"], outputs)
        # Hidden in a function, so that only the parameters are saved, not Keras's objects.
        self._maps = lambda images: maps(images, training=False)
        self.parameters = [weight.value for weight in maps.weights]
        self._names, self._tiling, self._interval = tuple(outputs), tiling, interval
        spec = tf.TensorSpec([None, None, None], tf.float32, name="images")
        self.see = tf.function(self._see, input_signature=[spec], autograph=False)

    @property
    def example_size(self) -> tuple[int, int]:
        """Height and width of an image that it takes."""
        side = self._tiling.stride * -(-64 // self._tiling.stride)
        return side, side

    @property
    def signatures(self) -> dict[str, Signature]:
        """See :attr:`cellzoo.counters.graph.CountingGraph.signatures`."""
        meanings = {"mask": "the probability of a cell", "density": "cells per pixel"}
        maps = ", ".join(f"`{name}`: {meanings[name]}" for name in self._names)
        shape = "`[batch, height, width]`"
        if (side := self._tiling.grid_cell) > 1:
            shape = f"`[batch, height / {side}, width / {side}]`"
        answers = f"{maps}, float32 {shape}; `count`, `count_low`, `count_high`: float32 `[batch]`"
        images = (
            "float32 `[batch, height, width]` in [0, 1], made alike, sides multiples of "
            f"{self._tiling.stride}"
        )
        return {ALIKE_SIGNATURE: Signature(self.see, images, answers)}

    def _see(self, images) -> dict[str, Any]:
        maps = self._maps(self._checked(tf.ensure_shape(images, [None, None, None])))
        count = self._tiling.grid_cell**2 * tf.reduce_sum(maps["density"], axis=(1, 2))
        if self._interval is None:
            ends = (tf.fill(tf.shape(count), float("nan")),) * 2
        else:
            ends = interval_ends(self._interval, count)
        return {
            **{name: tf.identity(maps[name]) for name in self._names},
            **dict(zip(OUTPUTS, (count, *ends), strict=True)),
        }

    def _checked(self, images):
        shape, stride = tf.shape(images, out_type=tf.int64), self._tiling.stride
        fits = tf.reduce_all((shape[1:] >= MIN_SIDE) & (shape[1:] % stride == 0))
        pixels = tf.reduce_prod(tf.cast(shape, tf.float64))
        within = tf.reduce_all((images >= 0) & (images <= 1))  # not of NaN
        checks = [
            check(shape[0] > 0, "the batch holds no image", shape),
            check(fits, f"height and width must be multiples of {stride} pixels", shape),
            check(
                pixels <= MAX_ALIKE_PIXELS,
                f"a batch must not have more than {MAX_ALIKE_PIXELS} pixels",
                shape,
            ),
            check(within, "images must be made alike, which leaves them in [0, 1]", shape),
        ]
        with tf.control_dependencies(checks):
            return tf.identity(images, "checked_images")
