"""Test-time augmentation: an image is counted in several orientations."""

from collections.abc import Callable


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
    import keras  # 4 s; what counts without turning needs none of it

    orientations = [images] if views == 4 else [images, keras.ops.swapaxes(images, 1, 2)]
    counts = [
        count(oriented[:, ::rows, ::columns])
        for oriented in orientations
        for rows in (1, -1)
        for columns in (1, -1)
    ]
    return sum(counts) / views
