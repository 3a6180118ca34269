"""Parts of a trained network put to use: its counter, and its translator between domains."""

from collections.abc import Callable, Iterator

import keras
import numpy as np

from cellzoo.tiling import TILE, pad_to, sheets, tiles

PIXELS_AT_A_TIME = 2**20


def natural_counter(network: keras.Model) -> keras.Model:
    """The path from a natural image to its count: ``[batch, h, w]`` in [0, 1] -> ``[batch]``."""
    return domain_counter(network, "natural")


def domain_counter(network: keras.Model, domain: str) -> keras.Model:
    """The path from an image of ``"natural"`` or ``"synthetic"`` kind to its count."""
    return keras.Model(network.input[domain], network.output[f"{domain}_count"], name="counter")


def predict(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """What a model of one input and one output gives for images ``[n, h, w]``, a few at a time.

    The larger the images, the fewer: the feature maps of about a million pixels fit anywhere.
    """
    batch = int(np.clip(PIXELS_AT_A_TIME // (images.shape[1] * images.shape[2]), 1, 64))
    return model.predict(images, batch_size=batch, verbose=0)


def mean_over_views(count: Callable, images, views: int = 1):
    """The mean of the counts of images and of their mirror images, whose errors partly cancel.

    Cells are as many whichever way round an image lies, but a network counts it otherwise.

    Args:
        count: maps images ``[n, h, w]`` to counts ``[n]``; asked for one view after the other.
        images: an array or tensor ``[n, h, w]``.
        views: 1: the images as they are; 4: also flipped left to right, upside down, and both; 8:
            also all these turned by 90 degrees, ``[n, w, h]``.

    Returns:
        ``[n]``, of the type that ``count`` gives.
    """
    if views == 1:
        return count(images)
    orientations = [images] if views == 4 else [images, keras.ops.swapaxes(images, 1, 2)]
    counts = [
        count(oriented[:, ::rows, ::columns])
        for oriented in orientations
        for rows in (1, -1)
        for columns in (1, -1)
    ]
    return sum(counts) / views


class TiledMaps:
    """Maps and counts of images of any size, from a network that sees a neighbourhood only.

    Args:
        network: with the output ``natural_mask`` and, if its count is a sum over space,
            ``natural_density``. One that takes a single size counts piece by piece instead: cells
            on a border are then counted as their parts are.
        margin: how far the network sees from a pixel, in pixels.
        stride: the factor by which it shrinks maps.
        tile: side of a tile without its margin, in pixels.
    """

    def __init__(self, network: keras.Model, margin: int, stride: int, tile: int = TILE):
        """Takes the network apart into one model per map."""
        self.margin, self.stride, self.tile = margin, stride, tile
        image = network.input["natural"]
        self.size = image.shape[1:] if None not in image.shape[1:] else None
        self.counter = natural_counter(network)
        self.models = {
            name: keras.Model(image, network.output[f"natural_{name}"])
            for name in ("mask", "density")
            if f"natural_{name}" in network.output
        }

    def count(self, image: np.ndarray) -> float:
        """The count of an image, float32 ``[h, w]`` in [0, 1]."""
        if "density" in self.models:
            return sum(float(part.sum(dtype=float)) for _, part in self._parts("density", image))
        pieces = sheets(image, self.size)
        return sum(float(predict(self.counter, piece[None])[0]) for _, piece in pieces)

    def map(self, name: str, image: np.ndarray) -> np.ndarray:
        """``"mask"`` (probability) or ``"density"`` of an image, each float32 ``[h, w]``."""
        whole = np.empty(image.shape, np.float32)
        for place, part in self._parts(name, image):
            whole[place] = part
        return whole

    def _parts(
        self, name: str, image: np.ndarray
    ) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
        """Parts of a map, and the rows and columns where they belong."""
        model, (height, width) = self.models[name], image.shape
        if self.size:
            for place, piece in sheets(image, self.size):
                part = model.predict_on_batch(piece[None])[0]
                yield place, part[: height - place[0].start, : width - place[1].start]
            return
        padded = pad_to(image, self.stride)
        for tile in tiles(padded.shape, margin=self.margin, stride=self.stride, tile=self.tile):
            part = model.predict_on_batch(padded[tile.read][None])[0][tile.inner]
            rows, columns = tile.place
            yield tile.place, part[: height - rows.start, : width - columns.start]


def translations(
    network: keras.Model, images: np.ndarray, domain: str = "natural"
) -> dict[str, np.ndarray]:
    """What the network makes of images of one domain, from the mean of the latent.

    Args:
        network: with the output ``<domain>_reconstruction``, such as a Twin-VAE.
        images: float32 ``[n, h, w]`` in [0, 1].
        domain: ``"natural"`` or ``"synthetic"``, that of the images.

    Returns:
        ``<domain>`` (the images), ``<domain>_reconstruction`` and, where the network has both
        domains, ``<domain>_to_<other>``, each ``[n, h, w]`` in [0, 1], as pictures are: a decoder
        may go beyond.
    """

    def to_array(decoded_images):
        return np.clip(keras.ops.convert_to_numpy(decoded_images), 0, 1)

    shared, reconstruction = decoded(network, domain)(images, training=False)
    pictures = {domain: images, f"{domain}_reconstruction": to_array(reconstruction)}
    for other in sorted(set(network.input) - {domain}):
        translation = network.get_layer(f"{other}_decoder")(shared, training=False)
        pictures[f"{domain}_to_{other}"] = to_array(translation)
    return pictures


def decoded(network: keras.Model, domain: str = "natural") -> keras.Model:
    """The path from an image to what its own decoder reads, and to the reconstruction."""
    reconstruction = network.output[f"{domain}_reconstruction"]
    decoder = network.get_layer(f"{domain}_decoder")
    node = next(node for node in decoder._inbound_nodes if reconstruction in node.outputs)
    return keras.Model(network.input[domain], [node.input_tensors[0], reconstruction])
