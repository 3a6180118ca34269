"""Crowds made of two dotted images."""

from collections.abc import Sequence

import numpy as np

from cellzoo.data.image_set import ImageSet

Points = Sequence[np.ndarray | None]


def lay_over(
    images: np.ndarray,
    points: Points,
    others: ImageSet,
    probability: float,
    random: np.random.Generator,
) -> tuple[np.ndarray, list[np.ndarray | None]]:
    """Lays another image over some of the images: the brighter pixel shows, and dots add up.

    So two cells at one place look as one cell that hides another does, where cells are bright and
    not much brighter together. The other image is mirrored at random first.

    Args:
        images: float32 ``[n, h, w]`` in [0, 1].
        points: of each image ``[k, 2]``, x before y; None where they are not known. Such an image
            stays as it is.
        others: of those with points one is laid over.
        probability: that it is.
        random: of what is drawn.

    Returns:
        New images and their points.
    """
    images, points = images.copy(), list(points)
    known = np.flatnonzero(others.has_points)
    height, width = images.shape[1:]
    for k, own in enumerate(points):
        if own is None or random.random() >= probability:
            continue
        other = random.choice(known)
        image, more = others.images[other], others.points[other].copy()
        if random.random() < 0.5:
            image, more[:, 0] = image[:, ::-1], width - 1 - more[:, 0]
        if random.random() < 0.5:
            image, more[:, 1] = image[::-1], height - 1 - more[:, 1]
        images[k] = np.maximum(images[k], image)
        points[k] = np.concatenate([own, more])
    return images, points
