"""Raw pixels -> count and interval as a TensorFlow graph: what runs here is what `export` writes.

Scaling and resizing are those of :mod:`cellzoo.images`, to float32's rounding. Whatever cannot be
counted is refused inside the graph with INVALID_ARGUMENT: TensorFlow Serving does not compare
shapes with the signature, and a wrong rank that reaches a convolution ends its process.
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from cellzoo.counters.preprocessing import MAX_SIDE, MIN_SIDE, OUTPUTS, Preprocessing
from cellzoo.counters.test_time_augmentation import mean_over_orientations
from cellzoo.images import COLOURS, LUMINANCE
from cellzoo.trust.intervals import Interval

MAX_PIXELS = 2**28  # of a batch, before resizing
_SHORTEST_FILE = 33  # bytes: a PNG's signature and header


@dataclass(frozen=True)
class Signature:
    """A function of an export, and what its README says of it.

    Attributes:
        function: of a tensor ``images``; None where the network has no such output.
        images: type and shape of the tensor, Markdown.
        outputs: names, types and shapes, Markdown.
    """

    function: Callable | None
    images: str
    outputs: str

    @property
    def dtype(self) -> tf.DType:
        """Of ``images``; string: files of pictures."""
        return self.function.input_signature[0].dtype


class CountingGraph(tf.Module):
    """Functions from images to counts, one per type of pixel.

    Each ``count_*`` maps ``[batch, height, width]`` to ``count``, ``count_low`` and ``count_high``,
    each float32 ``[batch]``; the ends of the interval are NaN where none can be promised.

    Args:
        network: takes ``natural``, float32 ``[batch, h, w]`` in [0, 1], and has the output
            ``natural_count`` and perhaps ``natural_mean`` (the latent) and ``natural_mask``.
        preprocessing: how images are read.
        interval: around the count; None: none can be promised.
        threshold: probabilities to masks, both ``[batch, h, w]``; only with ``natural_mask``.
        orientations: in which an image is counted, see
            :func:`cellzoo.counters.test_time_augmentation.mean_over_orientations`; embedding and
            mask are those of the image as it is.
    """

    def __init__(
        self,
        network: keras.Model,
        preprocessing: Preprocessing,
        interval: Interval | None,
        threshold: Callable | None = None,
        orientations: int = 1,
    ):
        """Takes from the network what counting needs; see the class."""
        super().__init__(name="counting_graph")
        image, outputs = network.input["natural"], network.output
        wanted = {"count": "natural_count", "embedding": "natural_mean", "mask": "natural_mask"}
        parts = {
            key: keras.Model(image, outputs[name])
            for key, name in wanted.items()
            if name in outputs
        }
        # Traced once, when first used, not for each orientation of each signature. Hidden in a
        # function, so that only the parameters below are saved, not Keras's objects.
        spec = tf.TensorSpec([None, *preprocessing.size], tf.float32)
        traced = {key: _traced(part, spec) for key, part in parts.items()}
        self._part: Callable = lambda key, images: traced[key](images)
        weights = {id(w): w for part in parts.values() for w in part.weights}
        self.parameters = [weight.value for weight in weights.values()]
        self._preprocessing, self._interval = preprocessing, interval
        self._orientations = orientations
        self._mask: Callable = lambda probability: threshold(probability)

        def function(body: Callable, dtype: tf.DType, rank: int = 3) -> Callable:
            spec = tf.TensorSpec([None] * rank, dtype, name="images")
            return tf.function(body, input_signature=[spec], autograph=False)

        # Lambdas of their own: TensorFlow takes one function with many types for a mistake.
        self.count_uint8 = function(lambda images: self._count(images), tf.uint8)
        self.count_uint16 = function(lambda images: self._count(images), tf.uint16)
        self.count_float32 = function(lambda images: self._count(images), tf.float32)
        # Images whose grey levels are scaled already, as training and evaluation load them.
        self.count_unit = function(lambda images: self._count(images, "dtype"), tf.float32)
        self.count_encoded = function(self._count_files, tf.string, rank=1)
        self.embed = function(self._embed, tf.float32) if "embedding" in parts else None
        self.segment = function(self._segment, tf.float32) if "mask" in parts else None

    @property
    def example_size(self) -> tuple[int, int]:
        """Height and width of an image that it takes."""
        return self._preprocessing.size

    @property
    def signatures(self) -> dict[str, Signature]:
        """What a SavedModel has of this network, by name; the input is ``images``."""
        counts = "`count`, `count_low`, `count_high`: float32 `[batch]`"
        pixels = "`[batch, height, width]`"
        vector = "`embedding`: float32 `[batch, features]`"
        masks = "`mask` (0 or 1), `probability`: float32, network's size"
        table = {
            "serving_default": Signature(self.count_float32, f"float32 {pixels}", counts),
            "uint8": Signature(self.count_uint8, f"uint8 {pixels}", counts),
            "uint16": Signature(self.count_uint16, f"uint16 {pixels}", counts),
            "unit": Signature(
                self.count_unit, f"float32 {pixels}, scaled to 0 to 1 already", counts
            ),
            "encoded": Signature(
                self.count_encoded, "string `[batch]`: PNG (8, 16 bit) or JPEG files", counts
            ),
            "embedding": Signature(self.embed, f"float32 {pixels}", vector),
            "mask": Signature(self.segment, f"float32 {pixels}", masks),
        }
        return {name: entry for name, entry in table.items() if entry.function is not None}

    @property
    def local_functions(self) -> dict[str, Callable]:
        """What :meth:`cellzoo.counters.preprocessing.Preprocessing.count` asks for."""
        return {
            "uint8": self.count_uint8, "uint16": self.count_uint16, "unit": self.count_unit
        }  # fmt: skip

    def _count(self, images, intensity=None):
        return self._counts(self._read(images, intensity))

    def _count_files(self, files):
        return self._counts(self._decode(files))

    def _embed(self, images):
        embedding = self._part("embedding", self._read(images))
        return {"embedding": tf.reshape(embedding, [tf.shape(embedding)[0], -1])}

    def _segment(self, images):
        probability = self._part("mask", self._read(images))
        return {"mask": self._mask(probability), "probability": probability}

    def _counts(self, images):
        counted: list[tf.Tensor] = []

        def count_once(turned):
            # Not before the last one: memory holds the feature maps of one orientation.
            with tf.control_dependencies(counted[-1:]):
                turned = tf.identity(turned)
            counted.append(tf.cast(self._part("count", turned), tf.float32))
            return counted[-1]

        count = mean_over_orientations(count_once, images, self._orientations)
        if self._interval is None:
            unknown = tf.fill(tf.shape(count), np.float32(np.nan))
            return dict(zip(OUTPUTS, (count, unknown, unknown), strict=True))
        return dict(zip(OUTPUTS, (count, *interval_ends(self._interval, count)), strict=True))

    def _read(self, images, intensity=None):
        """Checked raw images ``[n, h, w]`` -> what the network takes."""
        images = tf.ensure_shape(images, [None, None, None])
        images = self._checked_sizes(images)
        return self._fitted(scale(images, intensity or self._preprocessing.intensity))

    def _checked_sizes(self, images):
        shape = tf.shape(images, out_type=tf.int64)
        checks = [
            check(shape[0] > 0, "the batch holds no image", shape),
            check(
                tf.reduce_prod(tf.cast(shape, tf.float64)) <= MAX_PIXELS,
                f"a batch must not have more than {MAX_PIXELS} pixels",
                shape,
            ),
            *self._side_checks(shape[1:], shape),
        ]
        with tf.control_dependencies(checks):
            return tf.identity(images, "checked_sizes")

    def _side_checks(self, sides, shape):
        """That height and width, int64 ``[2]``, can be counted; ``shape`` is what errors show."""
        fits = tf.reduce_all((sides >= MIN_SIDE) & (sides <= MAX_SIDE))
        checks = [
            check(fits, f"height and width must be {MIN_SIDE} to {MAX_SIDE} pixels", shape)
        ]
        taken, original = [self._preprocessing.size], self._preprocessing.original_size
        if self._preprocessing.resize:
            taken = [*taken, original] if original else []
        if taken:
            same = tf.reduce_any(tf.reduce_all(tf.equal(sides, taken), axis=1))
            sizes = " or ".join(f"{width} x {height}" for height, width in taken)
            checks.append(check(same, f"images must be {sizes} pixels", shape))
        return checks

    def _fitted(self, images):
        """Images ``[n, h, w]`` in [0, 1] at the network's size, with a shape that tells."""
        height, width = self._preprocessing.size
        if self._preprocessing.resize:
            same = tf.reduce_all(tf.equal(tf.shape(images)[1:], [height, width]))
            images = tf.cond(same, lambda: images, lambda: resize(images, height, width))
        return tf.ensure_shape(images, [None, height, width])

    def _decode(self, files):
        """PNG and JPEG files ``[n]`` -> what the network takes."""
        files = tf.ensure_shape(files, [None])
        count = tf.shape(files)[0]
        shortest = tf.reduce_min(tf.strings.length(files))
        checks = [
            check(count > 0, "the batch holds no image", tf.shape(files)),
            check(
                shortest >= _SHORTEST_FILE, "a file is no whole picture", shortest
            ),
        ]
        with tf.control_dependencies(checks):
            files = tf.identity(files, "checked_files")
        # All heads before the first pixel: a small file may unfold to gigabytes.
        pixels = tf.map_fn(
            self._pixels_of_file, files, fn_output_signature=tf.TensorSpec([], tf.int64)
        )
        few = check(
            tf.reduce_sum(pixels) <= MAX_PIXELS,
            f"a batch must not have more than {MAX_PIXELS} pixels",
            pixels,
        )
        with tf.control_dependencies([few]):
            files = tf.identity(files, "checked_heads")
        height, width = self._preprocessing.size
        spec = tf.TensorSpec([height, width], tf.float32)
        return tf.map_fn(self._decode_one, files, fn_output_signature=spec)

    def _pixels_of_file(self, file):
        """Checked number of pixels that the head of a file announces, int64."""
        sides = tf.cond(
            _is_jpeg(file),
            lambda: tf.cast(tf.io.extract_jpeg_shape(file)[:2], tf.int64),
            lambda: _png_sides(file),
        )
        with tf.control_dependencies(self._side_checks(sides, sides)):
            return tf.reduce_prod(tf.identity(sides))

    def _decode_one(self, file):
        unit = tf.cond(
            _is_jpeg(file),
            # The accurate transform is the one that other readers of JPEG use.
            lambda: self._grey_unit(tf.io.decode_jpeg(file, dct_method="INTEGER_ACCURATE")),
            # With the wrong type the decoder would rescale grey levels without a word.
            lambda: tf.cond(
                tf.equal(_png_head(file)[8], 16),
                lambda: self._grey_unit(tf.io.decode_png(file, dtype=tf.uint16)),
                lambda: self._grey_unit(tf.io.decode_png(file, dtype=tf.uint8)),
            ),
        )
        return self._fitted(unit[None])[0]

    def _grey_unit(self, pixels):
        """Decoded ``[h, w, samples]`` -> checked grey levels ``[h, w]`` in [0, 1]."""
        samples = tf.shape(pixels)[2]
        colours = tf.where(tf.equal(samples, 2), 1, tf.minimum(samples, 3))  # the others are alpha
        channel = self._preprocessing.channel
        if channel == "luminance":
            sound = (colours == 3) | tf.equal(colours, 1)
            message = "a picture has no colours to take the luminance of"
        elif channel is None:
            sound = tf.reduce_all(tf.equal(pixels[..., :colours], pixels[..., :1]))
            message = "a colour picture: send the channel to count as grey"
        else:
            channel = COLOURS.index(channel) if channel in COLOURS else channel
            sound = (channel < colours) | tf.equal(samples, 1)
            message = f"a picture has no channel {channel}"
        with tf.control_dependencies([check(sound, message, tf.shape(pixels))]):
            pixels = tf.identity(pixels)
        if channel == "luminance":
            weights = tf.constant(LUMINANCE)[: tf.minimum(samples, 3)]
            bright = tf.cast(pixels[..., :3], tf.float64) * weights
            bright = tf.cast(tf.round(tf.reduce_sum(bright, axis=-1)), pixels.dtype)
            same = tf.reduce_all(tf.equal(pixels[..., :colours], pixels[..., :1]))
            grey = tf.where(same, pixels[..., 0], bright)
        elif channel is None:
            grey = pixels[..., 0]
        else:
            grey = pixels[..., tf.minimum(channel, samples - 1)]
        return scale(self._checked_sizes(grey[None]), self._preprocessing.intensity)[0]


def interval_ends(interval: Interval, count):
    """What :meth:`cellzoo.trust.intervals.Interval.ends` makes of counts, float32 ``[n]``."""
    counted = tf.maximum(count, 0.0)
    square = np.float32(interval.constant) + np.float32(interval.per_cell) * counted
    square += np.float32(interval.per_cell_squared) * counted * counted
    cuts = np.array(interval.cuts, np.float32)
    bins = tf.reduce_sum(tf.cast(counted[:, None] >= cuts, tf.int32), axis=1)
    half = tf.gather(np.array(interval.factors, np.float32), bins) * tf.sqrt(square)
    whole = tf.cast(tf.floor(tf.cast(counted, tf.float64) + 0.5), tf.float32)
    return tf.minimum(tf.maximum(count - half, 0.0), whole), tf.maximum(count + half, whole)


def _traced(part: keras.Model, spec: tf.TensorSpec) -> Callable:
    return tf.function(
        lambda images: part(images, training=False), input_signature=[spec], autograph=False
    )


def _is_jpeg(file):
    return tf.equal(tf.strings.substr(file, 0, 3), b"\xff\xd8\xff")


def _png_head(file):
    """Width, height (four bytes each) and bits per sample of a PNG: int64 ``[9]``."""
    return tf.cast(tf.io.decode_raw(tf.strings.substr(file, 16, 9), tf.uint8), tf.int64)


def _png_sides(file):
    """Height and width that the head of a PNG announces, int64 ``[2]``; refuses other files."""
    png = tf.equal(tf.strings.substr(file, 0, 8), b"\x89PNG\r\n\x1a\n")
    head = _png_head(file)
    checks = [
        check(png, "a file is neither PNG nor JPEG", tf.strings.length(file)),
        check(head[8] > 1, "a PNG of one bit per pixel is a mask, no picture", head[8]),
    ]
    with tf.control_dependencies(checks):
        width, height = tf.unstack(tf.reshape(tf.identity(head[:8]), [2, 4]))
    powers = tf.constant([2**24, 2**16, 2**8, 1], tf.int64)
    return tf.stack([tf.reduce_sum(height * powers), tf.reduce_sum(width * powers)])


def scale(images, intensity):
    """Grey levels in [0, 1] as :func:`cellzoo.images.to_unit` makes them.

    Args:
        images: uint8, uint16 or float32, any shape.
        intensity: ``"dtype"`` or (low, high).

    Returns:
        float32 of the same shape. Floats outside [0, 1] are refused with ``"dtype"``, floats that
        are not finite always.
    """
    if images.dtype in (tf.uint8, tf.uint16):
        most = np.float32(images.dtype.max)
        if intensity == "dtype":
            # A constant would become a factor, its inverse, which rounds otherwise.
            most = tf.raw_ops.PlaceholderWithDefault(input=most, shape=[])
            return tf.cast(images, tf.float32) / most
        low, high = intensity
        # A table: no optimiser of graphs can round it differently.
        levels = np.arange(int(most) + 1)
        table = np.clip((levels - low) / (high - low), 0, 1).astype(np.float32)
        return tf.gather(tf.constant(table), tf.cast(images, tf.int32))
    finite = tf.reduce_all(tf.math.is_finite(images))
    checks = [check(finite, "images hold NaN or infinity", tf.shape(images))]
    if intensity == "dtype":
        least, most = tf.reduce_min(images), tf.reduce_max(images)
        within = tf.logical_not(finite) | ((least >= 0) & (most <= 1))
        ends = tf.stack([least, most])
        checks.append(check(within, "float images must lie in [0, 1]; theirs are", ends))
    with tf.control_dependencies(checks):
        images = tf.identity(images, "checked_values")
    if intensity == "dtype":
        return images
    low, high = intensity
    scaled = (tf.cast(images, tf.float64) - low) / (high - low)
    return tf.cast(tf.clip_by_value(scaled, 0, 1), tf.float32)


def resize(images, height: int, width: int):
    """Resizes ``[n, h, w]`` to ``[n, height, width]`` as :func:`cellzoo.images.resize` does.

    A side that shrinks is averaged over areas, one that grows is interpolated linearly: both are
    weighted means of rows and of columns, so two matrix products.
    """
    rows, columns = tf.shape(images)[1], tf.shape(images)[2]
    narrow = tf.einsum("nhw,xw->nhx", images, _weights(columns, width))
    resized = tf.einsum("nhx,yh->nyx", narrow, _weights(rows, height))
    least = tf.reduce_min(images, axis=(1, 2), keepdims=True)
    most = tf.reduce_max(images, axis=(1, 2), keepdims=True)
    return tf.clip_by_value(resized, least, most)


def _weights(old, new: int):
    """By how much each of ``old`` places counts for each of ``new``: float32 ``[new, old]``."""
    step = tf.cast(old, tf.float64) / new
    place = tf.range(new, dtype=tf.float64)[:, None]
    source = tf.cast(tf.range(old), tf.float64)[None]
    shared = tf.minimum((place + 1) * step, source + 1) - tf.maximum(place * step, source)
    area = tf.maximum(shared, 0.0) / step
    last = tf.cast(old, tf.float64) - 1
    at = tf.clip_by_value((place + 0.5) * step - 0.5, 0.0, last)
    linear = tf.maximum(1 - tf.abs(at - source), 0.0)
    return tf.cast(tf.where(old >= new, area, linear), tf.float32)


def check(condition, message: str, value):
    """An operation that fails with INVALID_ARGUMENT unless ``condition`` holds."""
    return tf.raw_ops.Assert(condition=condition, data=[message, value], summarize=4)
