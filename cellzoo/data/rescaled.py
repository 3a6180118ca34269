"""Training images whose cells look larger or smaller from step to step."""

from collections.abc import Sequence

import numpy as np

from cellzoo.data.image_set import ImageSet
from cellzoo.data.points import resize_points
from cellzoo.images import resize


def rescaled(
    images: ImageSet, chosen: Sequence[int], jitter: float, random: np.random.Generator
) -> tuple[np.ndarray, list[np.ndarray | None] | None]:
    """Whole images, each at a scale of its own and anywhere in an image of the set's size.

    They are resized once, as images that are counted: resized twice they would be smoother. What
    they leave free has their mean grey level: a network that takes the mean away finds nothing
    there, as beyond the border of a smaller image.

    Args:
        images: with ``contents`` and ``originals``.
        chosen: numbers of the images, ``[n]``.
        jitter: times which cells may look larger or smaller, at most; larger as far as there is
            room.
        random: decides.

    Returns:
        Images, float32 ``[n, h, w]``, and their points in them; None where the set has none.
    """
    size = images.images.shape[1:]
    made = np.empty((len(chosen), *size), np.float32)
    moved: list[np.ndarray | None] = []
    for image, k in zip(made, chosen, strict=True):
        own = tuple(images.contents[k])
        most = min(jitter, *(room / side for room, side in zip(size, own, strict=True)))
        times = np.exp(random.uniform(-np.log(jitter), np.log(most)))
        shape = tuple(max(1, int(side * times)) for side in own)
        part = resize(images.originals[k], shape)
        top, left = (
            int(random.integers(0, room - side + 1)) for room, side in zip(size, shape, strict=True)
        )
        image[:] = part.mean()
        image[top : top + shape[0], left : left + shape[1]] = part
        places = None if images.points is None else images.points[k]
        if places is not None:
            places = resize_points(places, own, shape) + np.float32([left, top])
        moved.append(places)
    return made, None if images.points is None else moved
