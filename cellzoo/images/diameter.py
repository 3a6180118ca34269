"""How large the bright cells of a fluorescence image are, before anything has learned it.

Blobs are found in scale space (Lindeberg 1998, "Feature detection with automatic scale selection"):
a disc of radius r answers the scale-normalised Laplacian of a Gaussian most at sigma = r / sqrt 2.
Of blobs that overlap the one that answers most is kept, so that neither the texture inside a cell
nor a cluster of cells is taken for one.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from cellzoo.images.scale import middle_of

SMALLEST, LARGEST = 5.0, 100.0  # diameters that are looked for, px
_STEP = 2 ** (1 / 3)
_DIAMETERS = SMALLEST * _STEP ** np.arange(14)
_MOST_SIDE = 1024  # of the middle of a larger image, which is looked at first
_ENOUGH = 20  # blobs there; with fewer the whole image is looked at
_LEAST_ANSWER = 0.25  # of the strongest blob's: fainter ones are debris or noise
_NOISE = 5.0  # times the noise, below which a blob is none


@dataclass(frozen=True)
class Blobs:
    """Bright blobs of an image.

    Attributes:
        diameters: of the blobs, px, ``[k]``.
    """

    diameters: np.ndarray

    @property
    def diameter(self) -> float:
        """The typical one, px; NaN where there are none.

        Half of the sum of all diameters is in blobs that are larger: corners of large cells, of
        which there may be more than cells, have less of a say.
        """
        if not len(self.diameters):
            return float("nan")
        rising = np.sort(self.diameters)
        sums = np.cumsum(rising)
        return float(rising[np.searchsorted(sums, sums[-1] / 2)])


def find_blobs(image: np.ndarray) -> Blobs:
    """Finds the bright blobs of an image, whatever its grey levels.

    Args:
        image: ``[h, w]``, any real type, bright on dark.

    Example:
        >>> y, x = np.mgrid[:64, :64]
        >>> 15 < find_blobs((np.hypot(y - 32, x - 32) < 10).astype(np.uint8)).diameter < 25
        True
    """
    middle = middle_of(image, _MOST_SIDE)
    found = _find(middle)
    if len(found.diameters) < _ENOUGH and middle.shape != image.shape:
        return _find(image)
    return found


def background_and_noise(image: np.ndarray, blurred: np.ndarray) -> tuple[float, float]:
    """Grey level of the background, and standard deviation of the noise there.

    Args:
        image: float32 ``[h, w]``.
        blurred: the same with a Gaussian blur of 1 px.
    """
    dark = blurred <= np.median(blurred)
    # Of white noise 85 % is left in an image less its blurred self.
    noise = 1.4826 * float(np.median(np.abs((image - blurred)[dark]))) / 0.85
    return float(np.percentile(blurred, 10)), noise


def _find(image: np.ndarray) -> Blobs:
    light, noise = _compressed(image)
    scales = []
    for diameter in _DIAMETERS:
        sigma = diameter / 2 / np.sqrt(2)
        shrink = max(1, int(sigma / 2))
        size = [max(1, round(side / shrink)) for side in light.shape]
        if min(size) < 3:
            break
        small = cv2.resize(light, size[::-1], interpolation=cv2.INTER_AREA)
        answer = _laplacian(small, sigma / shrink)
        scales.append(_Scale(answer, cv2.dilate(answer, np.ones((5, 5), np.uint8)), shrink))
    answers, places, diameters = [], [], []
    for k, diameter in enumerate(_DIAMETERS[1 : len(scales) - 1], 1):
        own = scales[k]
        least = max(_NOISE * noise * np.sqrt(2) / diameter, 1e-6)
        rows, columns = np.nonzero((own.answer == own.highest) & (own.answer > least))
        place = (np.stack([columns, rows], axis=1) + 0.5) * own.shrink - 0.5
        answer = own.answer[rows, columns]
        most = np.maximum(scales[k - 1].highest_at(place), scales[k + 1].highest_at(place))
        answers.append(answer[answer >= most])
        places.append(place[answer >= most])
        diameters.append(np.full(len(answers[-1]), diameter))
    if not sum(map(len, answers)):
        return Blobs(np.zeros(0))
    answer, place, diameter = map(np.concatenate, (answers, places, diameters))
    strong = answer > _LEAST_ANSWER * answer.max()
    answer, place, diameter = answer[strong], place[strong], diameter[strong]
    taken, kept = np.zeros(light.shape, np.uint8), []
    for k in np.argsort(-answer, kind="stable"):
        x, y = _inside(place[k : k + 1], light.shape)[0].tolist()
        if not taken[y, x]:
            kept.append(k)
            cv2.circle(taken, (x, y), int(0.45 * diameter[k]), 1, -1)
    return Blobs(diameter[np.array(kept, int)])


@dataclass(frozen=True)
class _Scale:
    """Answers at one scale, the highest within two places of each, and px between places."""

    answer: np.ndarray
    highest: np.ndarray
    shrink: int

    def highest_at(self, places: np.ndarray) -> np.ndarray:
        """At places of the image, x before y, ``[k, 2]``."""
        x, y = _inside((places + 0.5) / self.shrink - 0.5, self.answer.shape).T
        return self.highest[y, x]


def _inside(places: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The nearest pixels of an image, x before y, int ``[k, 2]``."""
    return np.clip(np.rint(places).astype(int), 0, np.array(shape[::-1]) - 1)


def _compressed(image: np.ndarray) -> tuple[np.ndarray, float]:
    """Grey levels of which bright cells do not drown dim ones, and the noise in these."""
    image = np.ascontiguousarray(image, np.float32)
    blurred = cv2.GaussianBlur(image, (0, 0), 1)
    background, noise = background_and_noise(image, blurred)
    contrast = 0.2 * (float(np.percentile(blurred, 99.9)) - background)
    unit = max(3 * noise, contrast, 1e-6 * (1 + abs(background)))
    return np.arcsinh((image - background) / unit), noise / unit


def _laplacian(light: np.ndarray, sigma: float) -> np.ndarray:
    """Scale-normalised Laplacian of a Gaussian, positive for bright blobs."""
    blurred = cv2.GaussianBlur(light, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    bent = cv2.Laplacian(blurred, cv2.CV_32F, ksize=1, borderType=cv2.BORDER_REFLECT_101)
    return -bent * sigma**2
