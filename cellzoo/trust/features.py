"""Statistics of images that tell modality, exposure, focus and noise."""

import math
import threading

import cv2
import numpy as np

SCALES = 4  # of detail, each twice as coarse as the one before
FEATURES = (
    "grey", "darkest", "brightest", "white", "black",
    "contrast_bright", "contrast_dark", "contrast_coarse",
    *(f"detail_{k}" for k in range(SCALES)),
    *(f"background_{k}" for k in range(SCALES)),
    *(f"skewness_{k}" for k in range(SCALES)),
    *(f"sharpness_{k}" for k in range(SCALES - 1)),
)  # fmt: skip
_FINE = (
    "grey", "darkest", "brightest", "white", "black", "contrast_bright", "contrast_dark",
    "detail_0", "background_0", "skewness_0", "sharpness_0",
)  # fmt: skip
COARSE = tuple(k for k, name in enumerate(FEATURES) if name not in _FINE)  # and found quickly
# Of images that are looked at together: what they need stays in the cache of a processor core.
_PIXELS_AT_A_TIME = 2**18
_OF_THREAD = threading.local()
_BORDER = 2  # pixels beside one that its blurred value depends on


def features(image: np.ndarray) -> np.ndarray:
    """Those of one image, see :func:`features_of`: ``[h, w]`` to ``[f]``."""
    return features_of(image[None])[0]


def features_of(images: np.ndarray, coarse: bool = False) -> np.ndarray:
    """Statistics of images that tell modality, exposure, focus and noise, float64 ``[n, f]``.

    In the order of :data:`FEATURES`: median grey level and its 0.5 and 99.5 % quantiles; shares of
    white and black pixels; logarithms of how far bright and dark parts are from the median and of
    how much grey levels vary at the coarsest scale; and of each scale, in an image less its blurred
    self, from the finest on: logarithm of the standard deviation (cells and edges), logarithm of
    the median of absolute values (background and noise) and cube root of the skewness (bright
    spots or dark ones); last, how much finer detail there is against coarser.

    Those of an image are the same, bit for bit, beside whatever others it is looked at.

    Args:
        images: at least one, ``[n, h, w]`` in [0, 1].
        coarse: find those of :data:`COARSE` alone, in a third of the time; others are NaN.
    """
    number = max(1, min(len(images), _PIXELS_AT_A_TIME // images[0].size))
    height, width = images.shape[1:]
    spare = _spare(number * (height + 2 * _BORDER) * width)
    parts = (images[start : start + number] for start in range(0, len(images), number))
    found = [_features_of(np.ascontiguousarray(p, np.float32), spare, coarse) for p in parts]
    return np.concatenate(found)


def _spare(size: int) -> list[np.ndarray]:
    """Room for calculations, of each thread its own: float32, four times ``[size]``.

    It is used again and again, as half of the time would be that of getting new memory.
    """
    kept = getattr(_OF_THREAD, "spare", None)
    if kept is None or kept[0].size < size:
        kept = [np.empty(size, np.float32) for _ in range(4)]
        if size <= 2 * _PIXELS_AT_A_TIME:  # not for ever those of a large image
            _OF_THREAD.spare = kept
    return kept


def _features_of(images: np.ndarray, spare: list[np.ndarray], coarse: bool) -> np.ndarray:
    def room(k: int, *shape: int) -> np.ndarray:
        return spare[k][: math.prod(shape)].reshape(shape)

    n = len(images)
    unknown = np.full(n, np.nan)
    darkest = grey = brightest = white = black = unknown
    if not coarse:
        levels = images.reshape(n, -1)
        white = np.array([np.count_nonzero(row >= 0.999) for row in levels]) / levels.shape[1]
        black = np.array([np.count_nonzero(row <= 0.001) for row in levels]) / levels.shape[1]
        ordered = room(0, *levels.shape)
        np.copyto(ordered, levels)
        darkest, grey, brightest = _quantiles(ordered)
    deviations, background, skewness = [], [], []
    rest = images
    for scale in range(SCALES):
        height, width = rest.shape[1:]
        around = height + 2 * _BORDER
        blurred = _blurred(rest, room(0, n, around, width), room(1, n, around, width))
        found = [unknown] * 3
        if scale or not coarse:
            detail, other = room(2, n, height * width), room(0, n, height * width)
            np.subtract(rest, blurred, out=detail.reshape(rest.shape))
            found = _of_detail(detail, other)
        for column, values in zip((deviations, background, skewness), found, strict=True):
            column.append(values)
        coarser = blurred[:, ::2, ::2]
        rest = room(3, *coarser.shape)
        np.copyto(rest, coarser)
    rest = rest.reshape(n, -1)
    coarsest = _deviations(rest, room(0, *rest.shape))
    contrasts = [_log(brightest - grey), _log(grey - darkest), _log(coarsest)]
    sharpness = -np.diff(deviations, axis=0)
    columns = [
        grey, darkest, brightest, white, black, *contrasts, *deviations, *background, *skewness,
        *sharpness,
    ]  # fmt: skip
    return np.ascontiguousarray(np.array(columns).T)


def _of_detail(detail: np.ndarray, spare: np.ndarray) -> list[np.ndarray]:
    """Deviation, background and skewness of images less their blurred selves.

    Args:
        detail: ``[n, p]``, which is lost.
        spare: room for as many values.
    """
    deviation = _deviations(detail, spare)
    np.multiply(detail, detail, out=spare)
    spare *= detail
    # NumPy's own power of several numbers may differ in the last digit.
    cubes = np.array([number**3 for number in (deviation + 1e-3).tolist()])
    skewness = np.cbrt(_means(spare).astype(np.float64) / cubes)
    middle = detail.shape[1] // 2
    np.abs(detail, out=detail)
    detail.partition(middle, axis=1)
    background = detail[:, middle].astype(np.float64)
    return [_log(deviation), _log(background, 2.5e-4), skewness]


def _quantiles(levels: np.ndarray) -> np.ndarray:
    """Grey levels that 0.5, 50 and 99.5 % of the pixels ``[n, p]`` lie below, float64 ``[3, n]``.

    The pixels are put into another order. NumPy finds one place at a time ten times as fast as
    several.
    """
    places = [int(share * (levels.shape[1] - 1)) for share in (0.005, 0.5, 0.995)]
    low, half, high = places
    levels.partition(half, axis=1)
    levels[:, :half].partition(low, axis=1)
    levels[:, half:].partition(high - half, axis=1)
    return levels[:, places].T.astype(np.float64)


def _blurred(images: np.ndarray, tall: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Images ``[n, h, w]``, blurred as if each were mirrored at its borders.

    Args:
        images: with values in [0, 1].
        tall: room for them with borders above and below, ``[n, h + 4, w]``.
        out: as much room for the result, which is a part of it.
    """
    height, inner = images.shape[1], out[:, _BORDER:-_BORDER]
    if len(images) == 1 or height <= _BORDER:
        for image, blurred in zip(images, inner, strict=True):
            _blur(image, blurred)
        return inner
    # One below the other, with mirrored rows between: each call takes as long as a small image.
    rows = np.abs(np.arange(-_BORDER, height + _BORDER))
    rows = height - 1 - np.abs(height - 1 - rows)
    np.take(images, rows, axis=1, out=tall, mode="clip")
    _blur(tall.reshape(-1, tall.shape[2]), out.reshape(-1, out.shape[2]))
    return inner


def _blur(image: np.ndarray, out: np.ndarray) -> None:
    side = 2 * _BORDER + 1
    cv2.GaussianBlur(image, (side, side), 1.0, dst=out, borderType=cv2.BORDER_REFLECT_101)


def _means(values: np.ndarray) -> np.ndarray:
    """Of rows ``[n, p]``: ``[n]``."""
    return np.add.reduce(values, axis=1) / values.shape[1]


def _deviations(values: np.ndarray, spare: np.ndarray) -> np.ndarray:
    """Standard deviations of rows ``[n, p]``, float64 ``[n]``, with room for as many values."""
    np.subtract(values, _means(values)[:, None], out=spare)
    np.multiply(spare, spare, out=spare)
    return np.sqrt(_means(spare)).astype(np.float64)


def _log(values: np.ndarray, least: float = 1e-3) -> np.ndarray:
    """Logarithms of differences of grey levels; far below ``least`` all are alike."""
    return np.log(values + least)
