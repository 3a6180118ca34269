"""Fluorescence images of any scale: cells are measured by a mask.

Blobs say roughly how large cells are (:mod:`cellzoo.images.diameter`). The network then sees them
about as large as in training, and measures them better: the area of its mask, divided by its count.
The network may be here or behind a server; what is measured is measured here.
"""

from typing import Any

import cv2
import numpy as np

from cellzoo.counters.entries import Entry
from cellzoo.counters.measuring import Measuring
from cellzoo.counters.tiled_maps import See, TiledMaps
from cellzoo.data.normalised import Normalise
from cellzoo.images.diameter import find_blobs
from cellzoo.images.normalise import GreyLevels, normalise
from cellzoo.images.scale import middle_of, resize
from cellzoo.models.tiling import Tiling, pad_to

MAPS = ("mask", "density")  # that it asks its network for

_ROUNDS = 4  # of measuring
_SAME = 1.08  # times which two measurements may differ that agree
_UNSURE = 2.5  # times which blobs and network may differ before a user hears it
_UNSETTLED = 1.2  # times which the last measurement may differ from the one before it
_MEASURED_SIDE = 512  # of the middle of an image made alike, which is measured
_ENOUGH = 20  # cells there; with fewer the whole image is measured
_NEARBY = 1.25  # times by which a diameter may be wrong without changing counts much
_STABLE = 0.3  # of the count, and a cell more, which such a diameter may change
_LEAST_SIDE = 32  # of an image made alike, which is padded to it

# Beside cells fluorescence has nothing below the background. There 258 images of the training and
# validation sets of ``zoo:nuclei``, and simulated ones, are at most 0.34 of a cell's brightness
# below it; 72 simulated ones in bright field and phase contrast are 0.73 and more.
_DARK = 0.5
_LEAST_FREE = 0.1  # of an image, beside cells, for that to be seen

# Where cells lie on each other some hide. Of 131 simulated images whose cells cover 0.45 and more
# of their surroundings 13 % were outside of their intervals; 3 % are outside of these.
_CROWDED, _WIDER = 0.45, 4.0

TRANSMITTED = "parts are darker than the background, as in transmitted light"
UNSTABLE = "the count depends on the size that cells are taken for"


class ByMask(Measuring):
    """Measures cells by what a network that segments and counts says of them.

    Args:
        name: see :class:`Measuring`.
        settings: ``data.normalise`` of its recipe.
        tiled: its network, tile by tile.
        see: what the network makes of images ``[n, h, w]`` whose sides are multiples of the
            tiling's stride: the maps that are named after them, ``"mask"`` or ``"density"``.
        orientations: see :class:`Measuring`.
    """

    settings: Normalise
    sets_grey_levels = True

    def __init__(
        self, name: str, settings: Normalise, tiled: TiledMaps, see: See, orientations: int = 1
    ):
        """Keeps them; see the class."""
        super().__init__(name, settings, tiled, orientations)
        self._see = see

    @classmethod
    def from_metadata(cls, metadata: dict[str, Any], see: See) -> "ByMask":
        """From what an export says of itself.

        Raises:
            KeyError, TypeError, ValueError: it says too little.
        """
        found = metadata["alike"]
        settings, tiling = Normalise(**found["normalise"]), Tiling(**found["tiling"])
        tiled, orientations = TiledMaps.seen(tiling, see, MAPS), int(found["orientations"])
        return cls(metadata["name"], settings, tiled, see, orientations)

    def metadata(self) -> dict[str, Any]:
        """See :meth:`Measuring.metadata`."""
        return {"normalise": self.settings.model_dump(mode="json"), **super().metadata()}

    @property
    def form(self) -> str:
        """See :attr:`Measuring.form`."""
        return f"cells of {self.settings.diameter:g} px, one background, one brightness"

    def _pixels(self, entry: Entry) -> np.ndarray:
        """An image that is to be measured and made alike, float32."""
        return np.ascontiguousarray(entry.frame.pixels, np.float32)

    def _alike(self, image: np.ndarray, diameter: float) -> tuple[np.ndarray, tuple[float, float]]:
        """The image made alike, and which share of its height and width is no padding."""
        alike = normalise(image, diameter, self.settings.diameter)
        padding = [(0, max(0, _LEAST_SIDE - side)) for side in alike.shape]
        padded = np.pad(alike, padding, mode="edge")
        return padded, tuple(s / w for s, w in zip(alike.shape, padded.shape, strict=True))

    def _measured(self, image: np.ndarray) -> tuple[float, str]:
        """The diameter of an image's cells, px, NaN without a cell, and what to say of it."""
        rough = find_blobs(image).diameter
        least, most = self.settings.diameters
        diameter = rough if np.isfinite(rough) else self._usual()
        for _ in range(_ROUNDS):
            area, cells = self._area_and_cells(image, diameter)
            if cells < 0.5 or area == 0:
                return np.nan, ""
            before = diameter
            better = diameter / self.settings.diameter * np.sqrt(4 / np.pi * area / cells)
            diameter = float(np.clip(better, least / 2, 2 * most))
            change = max(diameter / before, before / diameter)
            if change < _SAME:
                break
        remark = self._beyond(diameter)
        ends = sorted([diameter, rough if np.isfinite(rough) else before])
        if not remark and (ends[1] > _UNSURE * ends[0] or change > _UNSETTLED):
            remark = f"cells may be {ends[0]:.0f} or {ends[1]:.0f} px large: state their diameter"
        return diameter, remark

    def _doubts(self, image: np.ndarray, diameter: float) -> list[str]:
        """That it is no fluorescence, or that a slightly wrong diameter gives another count.

        Cells stay as many. What is no cell, such as rims and texture, is counted otherwise in each
        scale. :data:`_STABLE` leaves out all validation images of ``zoo:nuclei`` but one of 90.
        """
        side = int(_MEASURED_SIDE * diameter / (self.settings.diameter * _NEARBY))
        middle = middle_of(image, side)
        maps = [self._maps(middle, diameter * times) for times in (1 / _NEARBY, 1, _NEARBY)]
        counts = [float(density.sum()) for _, density in maps]
        doubts = []
        if self._darkness(middle, diameter, maps[1][0]) > _DARK:
            doubts.append(f"{TRANSMITTED}: take a counter for such images")
        if max(counts) - min(counts) > 1 + _STABLE * counts[1]:
            doubts.append(f"{UNSTABLE}: are they such cells?")
        return doubts

    def _darkness(self, image: np.ndarray, diameter: float, mask: np.ndarray) -> float:
        """How far the darkest of what is beside cells is below the background there.

        Args:
            image: float32 ``[h, w]``.
            diameter: of its cells, px.
            mask: of cells in the image made alike, probability.

        Returns:
            As a share of a typical cell's brightness; 0 where too little is beside cells.
        """
        wanted = self.settings.diameter
        levels = GreyLevels.of(image, diameter)
        small = resize(image, tuple(max(1, round(s * wanted / diameter)) for s in image.shape))
        smooth = cv2.GaussianBlur(small, (0, 0), wanted / 12)
        cells = (mask[: small.shape[0], : small.shape[1]] > 0.4).astype(np.uint8)
        beside = cv2.dilate(cells, np.ones((5, 5), np.uint8)) == 0
        if beside.mean() < _LEAST_FREE:
            return 0.0
        weight = beside.astype(np.float32)
        around = (cv2.GaussianBlur(part, (0, 0), 2 * wanted) for part in (smooth * weight, weight))
        background = next(around) / np.maximum(next(around), 1e-6)
        rise = (smooth - background)[beside] / levels.contrast
        return float(np.median(rise) - np.percentile(rise, 1))

    def _counted(self, images: np.ndarray) -> np.ndarray:
        return np.array([self._count_and_width(image) for image in images], np.float32).T

    def _count_and_width(self, image: np.ndarray) -> tuple[float, float]:
        """The count of an image, and how many times wider its interval is where cells crowd."""
        density, diameter = self._tiled.map("density", image), self.settings.diameter
        cells = float(density.sum(dtype=float)) * self._tiled.tiling.grid_cell**2
        around = cv2.GaussianBlur(density, (0, 0), diameter / 2 / self._tiled.tiling.grid_cell)
        # The share of the surroundings of a typical cell that cells would cover side by side.
        cover = np.pi / 4 * diameter**2 * (density * around).sum() / max(density.sum(), 1e-6)
        return cells, 1 + _WIDER * max(0.0, cover - _CROWDED)

    def _area_and_cells(self, image: np.ndarray, diameter: float) -> tuple[float, float]:
        """Area of the mask, in px of the image made alike, and count, perhaps of its middle."""
        mask, density = self._maps(image, diameter)
        return float((mask > 0.5).sum()), float(density.sum())

    def _maps(self, image: np.ndarray, diameter: float) -> tuple[np.ndarray, np.ndarray]:
        """Mask and density of an image made alike, or of its middle, with enough cells there."""
        alike, _ = self._alike(image, diameter)
        middle = middle_of(alike, _MEASURED_SIDE)
        tiling = self._tiled.tiling
        seen = pad_to(middle, tiling.stride, tiling.fill)[None]
        mask, density = (found[0] for found in self._see(seen, *MAPS))
        if density.sum() < _ENOUGH and middle.shape != alike.shape:
            mask, density = (self._tiled.map(name, alike) for name in MAPS)
        return mask, density

    def _usual(self) -> float:
        """A diameter to begin with, px."""
        return float(np.sqrt(np.prod(self.settings.diameters)))
