"""What natural images show where no cell is: the backgrounds that synthetic cells are drawn on."""

import cv2
import numpy as np

# Fewer labelled images than this leave ghosts of their cells in a mean background.
_MIN_IMAGES_FOR_MEAN = 30
# A median of more images than this looks the same and only takes longer.
_MAX_IMAGES_FOR_MEDIAN = 400
# Fewer images of one place than this show its cells where they hardly moved.
MIN_IMAGES_OF_A_GROUP = 10


def background_from(images: np.ndarray, counts: np.ndarray, max_count: int = 3) -> np.ndarray:
    """Background of natural images: their mean where few cells are in view (paper 2.2).

    With fewer than 30 labelled images of at most ``max_count`` cells, the mean would keep ghosts
    of those cells. Then the median of each pixel over all images, labelled or not, is taken: it
    removes whatever covers a pixel in less than half of the images, as moving cells do. (Of more
    than 400 images, 400 evenly spaced ones.)

    Args:
        images: Natural images, [n, height, width], float in [0, 1] or uint8.
        counts: Cells per image, [n]; NaN or a negative number where unlabelled.
        max_count: Most cells an image of the mean may show.

    Returns:
        float32 [height, width] in [0, 1].

    Raises:
        ValueError: There is no image, or the shapes do not fit.
    """
    images, counts = np.asarray(images), np.asarray(counts, np.float64)
    if images.ndim != 3 or len(images) == 0 or counts.shape != (len(images),):
        raise ValueError(
            f"need images [n, height, width] with n counts, not {images.shape} and {counts.shape}"
        )
    few = np.flatnonzero((counts >= 0) & (counts <= max_count))
    if len(few) >= _MIN_IMAGES_FOR_MEAN:
        background = images[few].mean(axis=0, dtype=np.float64)
    else:
        chosen = np.linspace(0, len(images) - 1, min(len(images), _MAX_IMAGES_FOR_MEDIAN))
        background = np.median(images[chosen.round().astype(int)], axis=0)
    if images.dtype == np.uint8:
        background = background / 255
    return background.astype(np.float32)


def backgrounds_of_groups(images: np.ndarray, groups: np.ndarray, radius: float) -> np.ndarray:
    """Backgrounds of time-lapses, one of each group of images; no label is needed.

    Cells move, and come as time goes on: of each pixel the images are averaged in which the least
    is around it. Walls, faint dirt and uneven light stay as sharp as they are, which they do not in
    a mean over chambers. Where a cell has never left, more is around than in most other groups;
    there the median of all groups is taken, if there are five or more.

    Args:
        images: Natural images, [n, height, width], float in [0, 1] or uint8.
        groups: The place that each image shows, [n]; groups of fewer than 10 images are left out.
        radius: Of large cells, in px.

    Returns:
        float32 [groups, height, width] in [0, 1], in the order in which groups first appear; of
        none, if all are too small.
    """
    images, groups = np.asarray(images), np.asarray(groups)
    window = 2 * round(0.8 * radius) + 1
    of_groups = (images[groups == name] for name in dict.fromkeys(groups.tolist()))
    calm = [_calm(x, window) for x in of_groups if len(x) >= MIN_IMAGES_OF_A_GROUP]
    backgrounds = np.array(calm, np.float32).reshape(-1, *images.shape[1:])
    if images.dtype == np.uint8:
        backgrounds /= 255
    if len(backgrounds) < 5:
        return backgrounds
    unrest = np.array([_variance(background, window) for background in backgrounds])
    common, usual = np.median(backgrounds, axis=0), np.median(unrest, axis=0)
    # Faint things that are smaller than a cell are dirt, which is to stay.
    cell = np.ones((window, window), np.uint8)
    for background, own in zip(backgrounds, unrest, strict=True):
        shown = cv2.morphologyEx((own > 3 * usual).astype(np.uint8), cv2.MORPH_OPEN, cell)
        shown = cv2.dilate(shown, np.ones((5, 5), np.uint8)).astype(np.float32)
        shown = cv2.blur(shown, (7, 7))
        level = np.float32(np.median(background - common))
        background += shown * (common + level - background)
    return backgrounds


def _calm(series: np.ndarray, window: int) -> np.ndarray:
    """Of each pixel the mean of the fifth of the images with the least around it, float32."""
    series = series.astype(np.float32)
    unrest = np.array([_variance(image, window) for image in series])
    fifth = max(len(series) // 5, 3)
    chosen = np.argpartition(unrest, fifth - 1, axis=0)[:fifth]
    return np.take_along_axis(series, chosen, axis=0).mean(axis=0)


def _variance(image: np.ndarray, window: int) -> np.ndarray:
    """Of the pixels in a square around each pixel; float32 [height, width]."""
    mean, of_squares = (cv2.blur(x, (window, window)) for x in (image, image * image))
    return of_squares - mean * mean
