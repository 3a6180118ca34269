"""The period at which walls repeat in a field of view, and its repeats laid over each other.

Walls repeat from chamber to chamber; cells and dirt do not. The mean over the repeats therefore
keeps the walls, also those that cells hide in one of the chambers.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import scipy  # which loads scipy.fft when it is first used: 0.3 s

PERIODS = 2.25  # in the longer side of a field, where walls and lengths fit each other
_ALONG = 0.02  # of the longer side: standard deviation of the mean along walls
_SHORTEST = 0.04  # of the longer side: a period
_LONGEST = 0.78  # of the side along which chambers repeat, likewise
_ASIDE = 0.02  # of the longer side: by which a period may point aside
_PERIODIC = 0.2  # correlation of walls with those a period further, at the least
_MULTIPLE = 0.7  # of the best correlation: a shorter period is the true one


@dataclass(frozen=True)
class Slopes:
    """How grey levels change, where walls are upright or level.

    Attributes:
        x: float32 ``[h, w]``, change to the right.
        y: float32 ``[h, w]``, change down.
        abs_x: float32 ``[h, w]``, amount of the change to the right; of repeats the mean.
        abs_y: float32 ``[h, w]``, amount of the change down.
        valid: bool ``[h, w]``, where they are known.
        unit: px, of which lengths of walls and chambers are shares.
    """

    x: np.ndarray
    y: np.ndarray
    abs_x: np.ndarray
    abs_y: np.ndarray
    valid: np.ndarray
    unit: float

    @property
    def flipped(self) -> "Slopes":
        """Those of the picture whose rows are the columns of this one."""
        arrays = (self.y, self.x, self.abs_y, self.abs_x, self.valid)
        return Slopes(*(np.ascontiguousarray(a.T) for a in arrays), self.unit)


def slopes_of(picture: np.ndarray, valid: np.ndarray) -> Slopes:
    """The slopes of a picture, the steepest ones cut off so that cells do not count for more.

    Args:
        picture: float32 ``[h, w]``.
        valid: bool ``[h, w]``, where it is known.
    """
    smooth = cv2.GaussianBlur(picture, (0, 0), 0.7)
    inner = np.zeros(valid.shape, bool)
    inner[2:-2, 2:-2] = valid[2:-2, 2:-2]
    found = []
    for axis in (0, 1):
        slope = cv2.Sobel(smooth, cv2.CV_32F, 1 - axis, axis, ksize=3) * inner
        limit = float(np.percentile(np.abs(slope[valid]), 97))
        found.append(np.clip(slope, -limit, limit))
    return Slopes(*found, *map(np.abs, found), valid, max(picture.shape))


def along(values: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian means down the columns, of that standard deviation in px."""
    return cv2.GaussianBlur(values, (1, 2 * round(3 * sigma) + 1), sigmaX=0.1, sigmaY=sigma)


def period_of(slopes: Slopes) -> tuple[tuple[float, float] | None, float]:
    """The shift to the right, and somewhat down, by which walls repeat.

    Returns:
        The shift in px (x, y) and the correlation of the walls with those shifted by it; None where
        nothing repeats.
    """
    height, width = slopes.x.shape
    side = max(height, width)
    valid = slopes.valid.astype(np.float32)
    upright = along(slopes.x, _ALONG * side)
    level = along(slopes.y.T.copy(), _ALONG * side).T
    # A wall all across the field agrees with itself at every shift.
    known = np.maximum(valid.sum(axis=1, keepdims=True), 1)
    level = level - (level * valid).sum(axis=1, keepdims=True) / known
    surface = _self_correlation([upright * valid, level * valid], valid)
    aside = max(2, round(_ASIDE * side))
    first, last = round(_SHORTEST * side), int(_LONGEST * width)
    rows = np.concatenate([surface[-aside:], surface[: aside + 1]])[:, :last]
    best = rows.max(axis=0)
    best[:first] = -1
    peaks = [
        x for x in range(first, last - 1)
        if best[x] >= best[x - 1] and best[x] > best[x + 1] and best[x] >= _PERIODIC
    ]  # fmt: skip
    if not peaks:
        return None, 0.0
    most = best[peaks].max()
    strong = [x for x in peaks if best[x] >= _MULTIPLE * most]
    period = float(strong[0])
    # Its multiples say it more exactly.
    aside_of = rows.argmax(axis=0) - aside
    shift = (period, float(aside_of[strong[0]]))
    for x in strong[1:]:
        times = round(x / shift[0])
        if abs(x - times * shift[0]) <= 2 + 0.02 * x:
            shift = ((x + _summit(best[x - 1 : x + 2])) / times, float(aside_of[x]) / times)
    if shift[0] == period:
        shift = (period + _summit(best[strong[0] - 1 : strong[0] + 2]), shift[1])
    return shift, float(most)


def _summit(three: np.ndarray) -> float:
    """Where the parabola through three values is highest, from the middle one."""
    left, middle, right = map(float, three)
    bend = left - 2 * middle + right
    return 0.0 if bend >= 0 else float(np.clip((left - right) / (2 * bend), -0.5, 0.5))


def _self_correlation(pictures: list[np.ndarray], valid: np.ndarray) -> np.ndarray:
    """Correlation of pictures with themselves at every shift, of what overlaps.

    Args:
        pictures: float32 ``[h, w]``, 0 where they are not known; they count alike.
        valid: float32 ``[h, w]``, 1 where they are known.

    Returns:
        ``[rows, columns]``, periodic: element ``[y, x]`` is for a shift by ``(x, y)``.
    """
    size = [scipy.fft.next_fast_len(2 * n, real=True) for n in valid.shape]
    known = scipy.fft.rfft2(valid, size)
    product, one, other = 0, 0, 0
    for picture in pictures:
        picture = picture / max(1e-12, float(np.sqrt((picture**2).sum() / valid.sum())))
        spectrum, squares = (scipy.fft.rfft2(p, size) for p in (picture, picture**2))
        product = product + scipy.fft.irfft2(np.abs(spectrum) ** 2, size)
        one = one + scipy.fft.irfft2(np.conj(squares) * known, size)
        other = other + scipy.fft.irfft2(np.conj(known) * squares, size)
    return product / np.sqrt(np.maximum(one * other, 1e-3))


def folded(slopes: Slopes, shift: tuple[float, float]) -> Slopes:
    """All repeats laid over each other: two periods side by side, so that none is cut.

    Args:
        slopes: of the field.
        shift: of a period.

    Returns:
        ``[h, 2 * period]``, the means over the repeats.
    """
    height, width = slopes.x.shape
    size = (round(2 * shift[0]), height)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    sums = [np.zeros(size[::-1], np.float32) for _ in range(5)]
    for k in range(-2, int(np.ceil(width / shift[0])) + 1):
        place = np.array([[1, 0, k * shift[0]], [0, 1, k * shift[1]]])
        there = cv2.warpAffine(slopes.valid.astype(np.float32), place, size, flags=flags) > 0.99
        for total, values in zip(
            sums, (slopes.x, slopes.y, slopes.abs_x, slopes.abs_y, None), strict=True
        ):
            total += there if values is None else there * cv2.warpAffine(
                values, place, size, flags=flags
            )  # fmt: skip
    number = sums[4]
    means = (total / np.maximum(number, 1) for total in sums[:4])
    return Slopes(*means, number > 0, PERIODS * shift[0])
