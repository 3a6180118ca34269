"""Maps and counts of images of any size, tile by tile."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby, islice

import numpy as np

from cellzoo.models.tiling import TILE, Tile, Tiling, pad_to, sheets, tiles

# What a network makes of images ``[n, h, w]``, wherever it runs: maps, whose names follow them.
See = Callable[..., list[np.ndarray]]


class TiledMaps:
    """Maps and counts of images of any size, from a network that sees a neighbourhood only.

    Args:
        tiling: how its images are cut.
        functions: what it makes of images ``[n, h, w]``, wherever it runs: ``"mask"``, if it
            segments, and ``"density"``, if its count is a sum over space, ``[n, h, w]`` each, or a
            number for each grid cell.
        size: height and width, of a network that takes no other. It counts piece by piece: cells on
            a border are then counted as their parts are.
        counter: its counts of images ``[n, h, w]``; only needed without density.
    """

    def __init__(
        self,
        tiling: Tiling,
        functions: Mapping[str, Callable[[np.ndarray], np.ndarray]],
        size: tuple[int, int] | None = None,
        counter: Callable[[np.ndarray], np.ndarray] | None = None,
    ):
        """Keeps them; see the class."""
        self.tiling, self.functions, self.size, self.counter = tiling, functions, size, counter

    @classmethod
    def seen(cls, tiling: Tiling, see: See, names: Sequence[str]) -> "TiledMaps":
        """The maps of these names, of a network that gives several at once."""

        def one_map(name: str, images: np.ndarray) -> np.ndarray:
            return see(images, name)[0]

        return cls(tiling, {name: partial(one_map, name) for name in names})

    def count(self, image: np.ndarray) -> float:
        """The count of an image, float32 ``[h, w]`` in [0, 1]."""
        if "density" in self.functions:
            parts = self._parts("density", image)
            return self.tiling.grid_cell**2 * sum(float(part.sum(dtype=float)) for _, part in parts)
        pieces = sheets(image, self.size)
        return sum(float(self.counter(piece[None])[0]) for _, piece in pieces)

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
            yield target, self.functions[name](piece[None])[0]

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
                found = self.functions[name](np.stack([read(tile) for tile in some]))
                for tile, part in zip(some, found, strict=True):
                    yield on_grid(tile.target), part[on_grid(tile.inner)]

    def _grid(self, image: np.ndarray) -> tuple[int, ...]:
        """Rows and columns of a map."""
        return tuple(-(-side // self.tiling.grid_cell) for side in image.shape)


def _shape(tile: Tile) -> tuple[int, ...]:
    """Height and width of what the network gets."""
    return tuple(along.stop - along.start for along in tile.read)
