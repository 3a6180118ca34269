"""Images of any size through a network that looks at a neighbourhood only, tile by tile.

A tile brings a margin as wide as the network sees, of which nothing is kept: what comes out for a
pixel is the same in every tiling, so there are no seams and memory holds one tile's feature maps.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

# Side of the inner part, in pixels: feature maps of a wide network take about a gigabyte.
TILE = 512


@dataclass(frozen=True)
class Tile:
    """A part of an image.

    Attributes:
        read: rows and columns of the image that the network gets, margin included.
        inner: rows and columns of the network's answer that are kept.
        place: rows and columns of the image to which they belong.
    """

    read: tuple[slice, slice]
    inner: tuple[slice, slice]
    place: tuple[slice, slice]


def tiles(
    shape: tuple[int, int], *, margin: int, stride: int, tile: int = TILE
) -> Iterator[Tile]:
    """Cuts an image into tiles whose inner parts cover each pixel once.

    Args:
        shape: height and width of the image in pixels.
        margin: how far the network sees from a pixel, in pixels.
        stride: what tiles begin at a multiple of: the factor by which the network shrinks maps.
        tile: side of the inner parts, in pixels; those at the end are smaller.
    """
    margin, tile = _round_up(margin, stride), _round_up(tile, stride)
    for top in range(0, shape[0], tile):
        rows = _span(top, shape[0], tile, margin)
        for left in range(0, shape[1], tile):
            columns = _span(left, shape[1], tile, margin)
            yield Tile(*zip(rows, columns, strict=True))


def pad_to(image: np.ndarray, stride: int) -> np.ndarray:
    """Repeats the last row and column until both sides are multiples of ``stride``."""
    missing = [(0, -side % stride) for side in image.shape]
    return np.pad(image, missing, mode="edge") if np.any(missing) else image


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
            place = slice(top, top + size[0]), slice(left, left + size[1])
            piece = image[place]
            missing = [(0, whole - side) for whole, side in zip(size, piece.shape, strict=True)]
            if np.any(missing):
                piece = np.pad(piece, missing, constant_values=np.median(image))
            yield place, piece


def _span(start: int, size: int, tile: int, margin: int) -> tuple[slice, slice, slice]:
    """What is read, kept and filled along one axis."""
    end = min(start + tile, size)
    first, last = max(start - margin, 0), min(end + margin, size)
    return slice(first, last), slice(start - first, end - first), slice(start, end)


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
