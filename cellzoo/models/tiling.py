"""Images of any size through a network that looks at a neighbourhood only, tile by tile.

A tile brings a margin as wide as the network sees, of which nothing is kept: what comes out for a
pixel is the same in every tiling, so there are no seams and memory holds one tile's feature maps.
Only a network that takes the mean of what it sees away looks at the tile, too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

# Side of the inner part, in pixels: feature maps of a wide network take about a gigabyte.
TILE = 512


@dataclass(frozen=True)
class Tiling:
    """How images of any size are cut for a network, lengths in pixels.

    Attributes:
        margin: how far the network sees from a grid cell of its maps.
        stride: what the sides of its images must be multiples of.
        grid_cell: side of the square of pixels that a grid cell of its maps stands for.
        tile: side of a tile without its margin.
        window: side of what the network gets at least, of an image as large as that: beyond the
            margin, if it takes the mean of what it sees.
        fill: see :func:`pad_to`.
    """

    margin: int
    stride: int
    grid_cell: int = 1
    tile: int = TILE
    window: int = 0
    fill: Literal["edge", "mean"] = "edge"


@dataclass(frozen=True)
class Tile:
    """A part of an image.

    Attributes:
        read: rows and columns of the image that the network gets, margin included.
        inner: rows and columns of the network's answer that are kept.
        target: rows and columns of the image to which they belong.
    """

    read: tuple[slice, slice]
    inner: tuple[slice, slice]
    target: tuple[slice, slice]


def tiles(shape: tuple[int, int], tiling: Tiling) -> Iterator[Tile]:
    """Cuts an image into tiles whose inner parts cover each pixel once.

    Args:
        shape: height and width of the image in pixels; those that are no multiple of the stride
            are rounded up, and the image is to be padded.
        tiling: how. Inner parts at the end are smaller; windows are not.
    """
    height, width = (_round_up(side, tiling.stride) for side in shape)
    tile = _round_up(tiling.tile, tiling.stride)
    for top in range(0, height, tile):
        rows = _span(top, height, tile, tiling)
        for left in range(0, width, tile):
            columns = _span(left, width, tile, tiling)
            yield Tile(*zip(rows, columns, strict=True))


def pad_to(image: np.ndarray, stride: int, fill: str = "edge") -> np.ndarray:
    """Fills an image up, below and on the right, until its sides are multiples of ``stride``.

    Args:
        image: ``[h, w]``.
        stride: of the network.
        fill: ``"edge"`` repeats the last row and column; ``"mean"`` is the image's mean, for a
            network that takes it away: it then finds the nothing that it finds beyond an image
            anyway, and the mean stays what it was.
    """
    missing = [(0, -side % stride) for side in image.shape]
    if not np.any(missing):
        return image
    if fill == "mean":
        return np.pad(image, missing, constant_values=image.mean())
    return np.pad(image, missing, mode="edge")


def sheets(
    image: np.ndarray, size: tuple[int, int]
) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
    """Cuts an image into pieces of one size for a network that takes no other.

    A piece that reaches over the image's end is filled up with the image's median, its background.

    Args:
        image: ``[h, w]``.
        size: height and width of the pieces in pixels.

    Yields:
        Rows and columns of the image that a piece covers, which may reach over its end, and it.
    """
    for top in range(0, image.shape[0], size[0]):
        for left in range(0, image.shape[1], size[1]):
            target = slice(top, top + size[0]), slice(left, left + size[1])
            piece = image[target]
            missing = [(0, whole - side) for whole, side in zip(size, piece.shape, strict=True)]
            if np.any(missing):
                piece = np.pad(piece, missing, constant_values=np.median(image))
            yield target, piece


def _span(start: int, size: int, tile: int, tiling: Tiling) -> tuple[slice, slice, slice]:
    """What is read, kept and filled along one axis."""
    margin, window = (_round_up(n, tiling.stride) for n in (tiling.margin, tiling.window))
    end = min(start + tile, size)
    first, last = max(start - margin, 0), min(end + margin, size)
    last = min(max(last, first + window), size)
    first = max(min(first, last - window), 0)
    return slice(first, last), slice(start - first, end - first), slice(start, end)


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
