"""Test-time augmentation: an image is counted in several orientations."""

from collections.abc import Callable


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
    lying = [images]
    if orientations == 8:
        import keras  # 4 s, but a network has started it

        lying.append(keras.ops.swapaxes(images, 1, 2))
    counts = [
        count(turned[:, ::rows, ::columns])
        for turned in lying
        for rows in (1, -1)
        for columns in (1, -1)
    ]
    return sum(counts) / orientations
