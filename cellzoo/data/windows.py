"""Random windows of images, with the dots that lie in them."""

from collections.abc import Sequence

import numpy as np

from cellzoo.data.points import inside


def cut_windows(
    images: np.ndarray,
    masks: np.ndarray | None,
    points: Sequence[np.ndarray | None] | None,
    side: int,
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray | None, list[np.ndarray | None] | None]:
    """Cuts a square out of each image, anywhere with the same chance.

    Args:
        images: ``[n, h, w]``.
        masks: of the same shape, or None.
        points: of each image the places of its cells, ``[k, 2]``, x before y, or None.
        side: of the squares in pixels, at most that of the images.
        random: where they are cut.

    Returns:
        Images ``[n, side, side]``, and masks and points likewise, in pixels of the windows; None
        where there were none.
    """
    height, width = images.shape[1:]
    tops = random.integers(0, height - side + 1, len(images))
    lefts = random.integers(0, width - side + 1, len(images))

    def cut(stack: np.ndarray) -> np.ndarray:
        return np.stack(
            [
                image[top : top + side, left : left + side]
                for image, top, left in zip(stack, tops, lefts, strict=True)
            ]
        )

    moved = None
    if points is not None:
        moved = [
            None if places is None else inside(places - np.float32([left, top]), (side, side))
            for places, top, left in zip(points, tops, lefts, strict=True)
        ]
    return cut(images), None if masks is None else cut(masks), moved
