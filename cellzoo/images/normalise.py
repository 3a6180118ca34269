"""Fluorescence images made alike: one cell diameter, one background, one brightness of cells.

A network that sees images in this form alone has no need to know objective, camera or exposure.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from cellzoo.images.diameter import background_and_noise
from cellzoo.images.scale import resize

BACKGROUND, CELL = 0.1, 0.5  # grey levels that background and typical cells get
_BEND = 4.0  # how much brighter cells are dimmed; 13 times a typical one's light is white
_LEAST_NOISES = 6.0  # that typical cells are above the background: an empty image stays grey


@dataclass(frozen=True)
class GreyLevels:
    """What the grey levels of an image mean.

    Attributes:
        background: grey level without a cell.
        contrast: by how much a typical cell is brighter.
    """

    background: float
    contrast: float

    @classmethod
    def of(cls, image: np.ndarray, diameter: float) -> "GreyLevels":
        """Measures an image.

        Cells are where a Gaussian of a sixth of the diameter is above one of half of it. Their
        median says what is typical, so that a bright speck of dirt does not.

        Args:
            image: float32 ``[h, w]``, bright on dark.
            diameter: of its cells, px.
        """
        blurred = cv2.GaussianBlur(image, (0, 0), max(diameter / 12, 0.5))
        background, noise = background_and_noise(image, cv2.GaussianBlur(image, (0, 0), 1))
        fine = cv2.GaussianBlur(blurred, (0, 0), diameter / 6)
        rise = fine - cv2.GaussianBlur(blurred, (0, 0), diameter / 2)
        side = 2 * int(diameter / 4) + 1
        peaks = rise[rise == cv2.dilate(rise, np.ones((side, side), np.uint8))]
        least = _LEAST_NOISES * noise
        peaks = peaks[peaks > 0.1 * least]
        if len(peaks):
            # Half of all light is in brighter ones: of a single cell among much noise, too.
            peaks = np.sort(peaks[peaks > 0.03 * peaks.max()])
            sums = np.cumsum(peaks)
            peaks = peaks[peaks > 0.25 * peaks[np.searchsorted(sums, sums[-1] / 2)]]
            # A disc of one grey level rises to 0.6 of it.
            least = max(least, float(np.median(peaks)) / 0.6)
        return cls(background, max(least, 1e-6 * (1 + abs(background))))

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Grey levels of which :data:`BACKGROUND` and :data:`CELL` are those of every image.

        Args:
            image: ``[h, w]``, any real type.

        Returns:
            float32 ``[h, w]`` in [0, 1].
        """
        light = (image.astype(np.float32) - np.float32(self.background)) / np.float32(self.contrast)
        bent = np.arcsinh(_BEND * light) * np.float32((CELL - BACKGROUND) / np.arcsinh(_BEND))
        return np.clip(bent + np.float32(BACKGROUND), 0, 1)


def normalise(image: np.ndarray, diameter: float, wanted: float) -> np.ndarray:
    """An image with cells of one diameter and one brightness.

    Args:
        image: ``[h, w]``, any real type, bright on dark.
        diameter: of its cells, px.
        wanted: that they get, px.

    Returns:
        float32 ``[h', w']`` in [0, 1].
    """
    image = np.ascontiguousarray(image, np.float32)
    sides = [max(1, round(side * wanted / diameter)) for side in image.shape]
    return GreyLevels.of(image, diameter).apply(resize(image, tuple(sides)))
