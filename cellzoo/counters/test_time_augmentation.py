"""Test-time augmentation: an image is counted in several orientations."""

from collections.abc import Callable

import numpy as np

# How an image may lie: turned over its diagonal, and the steps through its rows and columns.
ORIENTATIONS = [
    (turned, rows, columns) for turned in (False, True) for rows in (1, -1) for columns in (1, -1)
]


def lay(images, orientation: tuple[bool, int, int]):
    """Images ``[n, h, w]`` in one of :data:`ORIENTATIONS`."""
    turned, rows, columns = orientation
    return _turn(images, turned)[:, ::rows, ::columns]


def lay_back(maps, orientation: tuple[bool, int, int]):
    """Maps ``[n, h, w]`` of images that :func:`lay` has laid, as the images were."""
    turned, rows, columns = orientation
    return _turn(maps[:, ::rows, ::columns], turned)


def _turn(images, turned: bool):
    if not turned:
        return images
    if isinstance(images, np.ndarray):
        return images.swapaxes(1, 2)
    import keras  # 4 s, but a network has started it

    return keras.ops.swapaxes(images, 1, 2)


def mean_over_orientations(count: Callable, images, orientations: int = 1):
    """The mean of the counts of images and of their mirror images, whose errors partly cancel.

    Cells are as many whichever way round an image lies, but a network counts it otherwise.

    Args:
        count: maps images ``[n, h, w]`` to counts ``[n]``; called once for each orientation.
        images: an array or tensor ``[n, h, w]``.
        orientations: 1: the images as they are; 4: also flipped left to right, upside down, and
            both; 8: also all these turned by 90 degrees, ``[n, w, h]``.

    Returns:
        ``[n]``, of the type that ``count`` gives.
    """
    if orientations == 1:
        return count(images)
    counts = [count(lay(images, way)) for way in ORIENTATIONS[:orientations]]
    return sum(counts) / orientations
