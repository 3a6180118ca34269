"""Counters whose network sees a neighbourhood only: images of any size, tile by tile."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby, islice

import keras
import numpy as np

from cellzoo.counters.base import Domain
from cellzoo.counters.network import NetworkCounter
from cellzoo.counters.network_parts import domain_counter, predict
from cellzoo.counters.of_run import without_interval
from cellzoo.counters.preprocessing import Columns
from cellzoo.images import Frame, resize
from cellzoo.models.thresholds import Threshold
from cellzoo.models.tiling import TILE, Tile, Tiling, pad_to, sheets, tiles
from cellzoo.runs import Run, build_network


class TiledCounter(NetworkCounter):
    """The network of a run folder, counting images of other sizes in tiles.

    See :class:`cellzoo.counters.of_run.RunCounter`.

    Attributes:
        tiled: the network, tile by tile.
        any_size: images of other sizes are counted so, with cells as large as in training;
            otherwise they are resized or refused, as the recipe says.
    """

    def __init__(self, run: Run, selection: str = "best"):
        """Loads the weights."""
        super().__init__(run, selection)
        recipe = run.recipe
        self.can_segment = recipe.model.segments
        self.has_threshold = bool(recipe.model.thresholds)
        self.tiled = TiledMaps(self.network, recipe.model.tiling())
        self.can_locate = "density" in self.tiled.models
        # Where all originals have one size, it says how large cells are once these are resized.
        original = recipe.data.natural.reading.original_size
        self.any_size = original is not None or not self.preprocessing.resize
        self.preprocessing = replace(self.preprocessing, original_size=original)

    def _prepare(self, frame: Frame, scaled: bool) -> np.ndarray:
        known, original = self.preprocessing.pixel_size_um, self.preprocessing.original_size
        # Then it is a part of an original, not one that was resized already.
        at_scale = original is not None and known is not None and frame.pixel_size_um == known
        fits = frame.pixels.shape == self.preprocessing.size and not at_scale
        if not self.any_size or fits:
            return super()._prepare(frame, scaled)
        image = self.preprocessing.unit(frame, scaled)
        if original is None:
            return image
        sizes = zip(image.shape, self.preprocessing.size, original, strict=True)
        return resize(image, tuple(max(1, round(side * to / of)) for side, to, of in sizes))

    def _count(self, images: np.ndarray, domain: Domain) -> Columns:
        if not self.any_size or images.shape[1:] == self.preprocessing.size:
            return super()._count(images, domain)
        # No interval: the validation images had another size and other counts.
        return without_interval(self._averaged(self._count_tiled, images))

    def _count_tiled(self, images: np.ndarray) -> np.ndarray:
        return np.array([self.tiled.count(image) for image in images], np.float32)

    def _segment(self, prepared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        probability = self.tiled.map("mask", self.preprocessing.seen(prepared, self.any_size))
        mask = np.asarray(self._threshold()(probability[None]))[0] > 0
        return mask, probability

    def _density(self, prepared: np.ndarray) -> np.ndarray:
        image = self.preprocessing.seen(prepared, self.any_size)
        return self.tiled.map("density", image) * self.tiled.tiling.grid_cell**2

    def with_threshold(self, method: str) -> "TiledCounter":
        """See :meth:`cellzoo.counters.base.Counter.with_threshold`; it promises no interval."""
        other = copy.copy(self)
        recipe = self.run.recipe
        model = recipe.model.with_threshold(method)
        other.network = build_network(recipe.model_copy(update={"model": model}))
        other.network.set_weights(self.network.get_weights())
        other._models = {"natural": domain_counter(other.network)}
        other.tiled = TiledMaps(other.network, self.tiled.tiling)
        other.interval, other._graph = None, None
        other.no_interval = "another threshold than in training"
        return other

    def _threshold(self) -> Threshold | None:
        return self.run.recipe.model.threshold_layer()


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
            return self.tiling.grid_cell**2 * sum(float(part.sum(dtype=float)) for _, part in parts)
        pieces = sheets(image, self.size)
        return sum(float(predict(self.counter, piece[None])[0]) for _, piece in pieces)

    def map(self, name: str, image: np.ndarray) -> np.ndarray:
        """``"mask"`` (probability) or ``"density"`` (cells per pixel) of an image ``[h, w]``.

        Returns:
            float32, a number for each grid cell of the network's map: ``[h, w]`` over the side of a
            grid cell, rounded up.
        """
        whole = np.empty(self._grid(image), np.float32)
        for target, part in self._parts(name, image):
            whole[target] = part
        return whole

    def _parts(
        self, name: str, image: np.ndarray
    ) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
        """Parts of a map, and its rows and columns where they belong."""
        rows, columns = self._grid(image)
        parts = self._sheets(name, image) if self.size else self._tiles(name, image)
        for target, part in parts:
            yield target, part[: rows - target[0].start, : columns - target[1].start]

    def _sheets(self, name: str, image: np.ndarray) -> Iterator[tuple]:
        for target, piece in sheets(image, self.size):
            yield target, self.models[name].predict_on_batch(piece[None])[0]

    def _tiles(self, name: str, image: np.ndarray) -> Iterator[tuple]:
        cut = self.tiling

        def read(tile: Tile) -> np.ndarray:
            return pad_to(image[tile.read], cut.stride, cut.fill)

        def on_grid(pixels: tuple[slice, slice]) -> tuple[slice, ...]:
            side = cut.grid_cell
            return tuple(slice(s.start // side, s.stop // side) for s in pixels)

        for shape, same in groupby(sorted(tiles(image.shape, cut), key=_shape), _shape):
            # Small ones together, no more pixels than a large one has.
            while some := list(islice(same, max(1, TILE**2 // (shape[0] * shape[1])))):
                found = self.models[name].predict_on_batch(np.stack([read(tile) for tile in some]))
                for tile, part in zip(some, found, strict=True):
                    yield on_grid(tile.target), part[on_grid(tile.inner)]

    def _grid(self, image: np.ndarray) -> tuple[int, ...]:
        """Rows and columns of a map."""
        return tuple(-(-side // self.tiling.grid_cell) for side in image.shape)


def _shape(tile: Tile) -> tuple[int, ...]:
    """Height and width of what the network gets."""
    return tuple(along.stop - along.start for along in tile.read)
