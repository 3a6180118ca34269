"""Parts of a trained network put to use: its counter, and its translator between domains."""

from collections.abc import Callable, Iterator
from itertools import groupby, islice

import keras
import numpy as np

from cellzoo.models.tiling import TILE, Tile, Tiling, pad_to, sheets, tiles

PIXELS_AT_A_TIME = 2**20


def domain_counter(network: keras.Model, domain: str = "natural") -> keras.Model:
    """The path from an image of ``"natural"`` or ``"synthetic"`` kind to its count.

    Images are ``[batch, h, w]`` in [0, 1], counts ``[batch]``.
    """
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
        network: with the output ``natural_mask``, if it segments, and ``natural_density``, if its
            count is a sum over space. One that takes a single size counts piece by piece instead:
            cells on a border are then counted as their parts are.
        tiling: how its images are cut.
    """

    def __init__(self, network: keras.Model, tiling: Tiling):
        """Takes the network apart into one model per map."""
        self.tiling = tiling
        image = network.input["natural"]
        self.size = image.shape[1:] if None not in image.shape[1:] else None
        self.counter = domain_counter(network)
        self.models = {
            name: keras.Model(image, network.output[f"natural_{name}"])
            for name in ("mask", "density")
            if f"natural_{name}" in network.output
        }

    def count(self, image: np.ndarray) -> float:
        """The count of an image, float32 ``[h, w]`` in [0, 1]."""
        if "density" in self.models:
            parts = self._parts("density", image)
            return self.tiling.place**2 * sum(float(part.sum(dtype=float)) for _, part in parts)
        pieces = sheets(image, self.size)
        return sum(float(predict(self.counter, piece[None])[0]) for _, piece in pieces)

    def map(self, name: str, image: np.ndarray) -> np.ndarray:
        """``"mask"`` (probability) or ``"density"`` (cells per pixel) of an image ``[h, w]``.

        Returns:
            float32, a number for each place of the network's map: ``[h, w]`` over the side of a
            place, rounded up.
        """
        whole = np.empty(self._places(image), np.float32)
        for place, part in self._parts(name, image):
            whole[place] = part
        return whole

    def _parts(
        self, name: str, image: np.ndarray
    ) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
        """Parts of a map, and its rows and columns where they belong."""
        rows, columns = self._places(image)
        parts = self._sheets(name, image) if self.size else self._tiles(name, image)
        for place, part in parts:
            yield place, part[: rows - place[0].start, : columns - place[1].start]

    def _sheets(self, name: str, image: np.ndarray) -> Iterator[tuple]:
        for place, piece in sheets(image, self.size):
            yield place, self.models[name].predict_on_batch(piece[None])[0]

    def _tiles(self, name: str, image: np.ndarray) -> Iterator[tuple]:
        cut = self.tiling

        def read(tile: Tile) -> np.ndarray:
            return pad_to(image[tile.read], cut.stride, cut.fill)

        def places(pixels: tuple[slice, slice]) -> tuple[slice, ...]:
            return tuple(slice(s.start // cut.place, s.stop // cut.place) for s in pixels)

        for shape, same in groupby(sorted(tiles(image.shape, cut), key=_shape), _shape):
            # Small ones together, no more pixels than a large one has.
            while some := list(islice(same, max(1, TILE**2 // (shape[0] * shape[1])))):
                found = self.models[name].predict_on_batch(np.stack([read(tile) for tile in some]))
                for tile, part in zip(some, found, strict=True):
                    yield places(tile.place), part[places(tile.inner)]

    def _places(self, image: np.ndarray) -> tuple[int, ...]:
        """Rows and columns of a map."""
        return tuple(-(-side // self.tiling.place) for side in image.shape)


def _shape(tile: Tile) -> tuple[int, ...]:
    """Height and width of what the network gets."""
    return tuple(along.stop - along.start for along in tile.read)


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
