"""Threshold, flood and count regions, see :class:`Watershed`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import cv2
import numpy as np
from skimage.feature import peak_local_max
from skimage.segmentation import watershed

from cellzoo.errors import UsageError
from cellzoo.models.watershed.section import Watershed

BACKGROUND, CELLS = 1, 2


@dataclass(frozen=True)
class FittedWatershed:
    """Counts regions (Twin-VAE paper, section 2.4).

    Both methods crop the image, blur it with a mean filter and divide it at Otsu's threshold into
    cells and background. ``"sobel"``, the paper's, then floods the Sobel edges of that from pixels
    below 100 and above 200: touching cells are one region. ``"distance"`` floods the distance to
    the background instead, from its peaks: touching cells are divided where they are thinnest.

    Attributes:
        method: ``"sobel"`` or ``"distance"``.
        crop: pixels taken off each border, where the chamber's walls are.
        kernel: side of the mean filter in pixels.
        divisor: what the sum over the kernel is divided by; below kernel^2 the image gets brighter,
            cut off at white, above it darker.
        bright: cells are brighter than the background; else the image is inverted first, as in the
            paper.
        separation: ``"distance"``: pixels from a peak to the next one at least.
        radius: ``"distance"``: distance to the background in pixels that a peak has at least.
        subtract: regions that are no cells, on average.

    Example:
        >>> image = np.full((32, 32), 0.2)
        >>> image[4:9, 4:9] = image[20:25, 12:17] = 0.8
        >>> FittedWatershed(bright=True).count(image[None])
        array([2.], dtype=float32)
    """

    method: str = "sobel"
    crop: int = 0
    kernel: int = 1
    divisor: float = 1
    bright: bool = False
    separation: int = 3
    radius: float = 1
    subtract: int = 0

    def count(self, images: np.ndarray) -> np.ndarray:
        """Counts of images ``[n, h, w]`` in [0, 1]: float32 ``[n]``, whole numbers."""
        regions = [self._regions(self._mask(image)).max() for image in _to_bytes(images)]
        return np.maximum(np.array(regions, np.float32) - self.subtract, 0)

    def segment(self, image: np.ndarray) -> np.ndarray:
        """The regions of an image ``[h, w]`` in [0, 1]: int32 ``[h, w]``, 0 is background.

        All of them, also the ``subtract`` that are expected to be no cells. Where two of them meet
        a line of background divides them, so that they are two in a mask as well.
        """
        labels = self._regions(self._mask(_to_bytes(image)), lines=True)
        return np.pad(labels, self.crop).astype(np.int32)

    def _mask(self, image: np.ndarray) -> np.ndarray:
        """The cropped image, uint8, 255 at cells and 0 at the background."""
        height, width = image.shape
        image = image[self.crop : height - self.crop, self.crop : width - self.crop]
        mean_filter = np.full((self.kernel, self.kernel), 1 / self.divisor)
        blurred = cv2.filter2D(image, -1, mean_filter)
        if not self.bright:
            blurred = 255 - blurred
        return cv2.threshold(blurred, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)[1]

    def _regions(self, mask: np.ndarray, lines: bool = False) -> np.ndarray:
        """Regions of a mask, numbered from 1; perhaps with lines of 0 between them."""
        if self.method == "sobel":
            return _flooded_edges(mask)
        distance = _distance(mask)
        peaks = np.zeros(mask.shape, np.int32)
        places = _peaks(distance, self.separation)
        places = places[distance[tuple(places.T)] >= self.radius]
        peaks[tuple(places.T)] = np.arange(1, len(places) + 1)
        return watershed(-distance, peaks, mask=mask > 0, watershed_line=lines)

    def _regions_by_parameters(
        self, masks: Sequence[np.ndarray], separation: Sequence[int], radius: Sequence[float]
    ) -> Iterator[tuple["FittedWatershed", np.ndarray]]:
        """For each set of the remaining parameters: a counter and its regions in each mask."""
        if self.method == "sobel":
            yield self, np.array([_flooded_edges(mask).max() for mask in masks])
            return
        distances = [_distance(mask) for mask in masks]
        for pixels in separation:
            heights = [d[tuple(_peaks(d, pixels).T)] for d in distances]
            for height in radius:
                # A region for each peak: to know how many, there is no need to flood.
                regions = np.array([(peaks >= height).sum() for peaks in heights])
                yield replace(self, separation=pixels, radius=height), regions


def fit(section: Watershed, images: np.ndarray, counts: np.ndarray) -> FittedWatershed:
    """The parameters with the lowest mean absolute error; at a tie those that are tried first.

    Args:
        section: what to try.
        images: labelled, ``[n, h, w]`` in [0, 1].
        counts: ``[n]``.

    Raises:
        UsageError: a crop leaves nothing of the images.
    """
    if 2 * max(section.crop) >= min(images.shape[1:]):
        raise UsageError(
            f"model.crop {max(section.crop)} leaves nothing of images of {images.shape[2]} x "
            f"{images.shape[1]} px: lower it."
        )
    pixels = _to_bytes(images)
    best, lowest = None, np.inf
    for values in product(section.crop, section.kernel, section.divisor, section.bright):
        start = FittedWatershed(section.method, *values)
        masks = [start._mask(image) for image in pixels]
        for counter, regions in start._regions_by_parameters(
            masks, section.separation, section.radius
        ):
            for number in section.subtract:
                error = np.abs(np.maximum(regions - number, 0) - counts).mean()
                if error < lowest:
                    best, lowest = replace(counter, subtract=number), error
    return best


def _to_bytes(images: np.ndarray) -> np.ndarray:
    return np.uint8(np.rint(255 * np.clip(images, 0, 1)))


def _flooded_edges(mask: np.ndarray) -> np.ndarray:
    """Regions that a watershed of the mask's Sobel edges leaves, int32 ``[h, w]``."""
    edges = np.hypot(cv2.Sobel(mask, cv2.CV_32F, 1, 0), cv2.Sobel(mask, cv2.CV_32F, 0, 1))
    # Otsu's mask has no level between the two, so every pixel is a marker and flooding moves no
    # border. It is done all the same, as the paper has it.
    markers = np.where(mask < 100, BACKGROUND, np.where(mask > 200, CELLS, 0))
    flooded = watershed(edges, markers)
    return cv2.connectedComponents(np.uint8(flooded == CELLS), connectivity=4)[1]


def _distance(mask: np.ndarray) -> np.ndarray:
    """Distance of each pixel of a cell to the background; beyond the border there is none."""
    return cv2.distanceTransform(mask, cv2.DIST_L2, 5)


def _peaks(distance: np.ndarray, separation: int) -> np.ndarray:
    """Row and column of each peak of the distance, int ``[n, 2]``."""
    return peak_local_max(distance, min_distance=separation, exclude_border=False)
