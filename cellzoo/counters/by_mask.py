"""Fluorescence images of any scale: cells are measured by a mask.

Blobs say roughly how large cells are (:mod:`cellzoo.images.diameter`). The network then sees them
about as large as in training, and measures them better: the area of its mask, divided by its count.
The network may be here or behind a server; what is measured is measured here.
"""

from typing import Any

import numpy as np

from cellzoo.counters.entries import Entry
from cellzoo.counters.measuring import Measuring
from cellzoo.counters.tiled_maps import See, TiledMaps
from cellzoo.data.normalised import Normalise
from cellzoo.images.diameter import find_blobs
from cellzoo.images.normalise import normalise
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

    def _doubtful(self, image: np.ndarray, diameter: float) -> str:
        """That a diameter that is slightly wrong gives another count; empty where it does not.

        Cells stay as many. What is no cell, such as rims and texture, is counted otherwise in each
        scale. :data:`_STABLE` leaves out all validation images of ``zoo:nuclei`` but one of 90.
        """
        side = int(_MEASURED_SIDE * diameter / (self.settings.diameter * _NEARBY))
        tops = [max(0, (whole - side) // 2) for whole in image.shape]
        middle = image[tuple(slice(top, top + side) for top in tops)]
        counts = [
            self._area_and_cells(middle, diameter * times)[1] for times in (1 / _NEARBY, 1, _NEARBY)
        ]
        if max(counts) - min(counts) <= 1 + _STABLE * counts[1]:
            return ""
        return "the count depends on the size that cells are taken for: are they such cells?"

    def _area_and_cells(self, image: np.ndarray, diameter: float) -> tuple[float, float]:
        """Area of the mask, in px of the image made alike, and count, perhaps of its middle."""
        alike, _ = self._alike(image, diameter)
        tops = [max(0, (side - _MEASURED_SIDE) // 2) for side in alike.shape]
        middle = alike[tuple(slice(top, top + _MEASURED_SIDE) for top in tops)]
        tiling = self._tiled.tiling
        seen = pad_to(middle, tiling.stride, tiling.fill)[None]
        mask, density = (found[0] for found in self._see(seen, *MAPS))
        if density.sum() < _ENOUGH and middle.shape != alike.shape:
            mask, density = (self._tiled.map(name, alike) for name in MAPS)
        return float((mask > 0.5).sum()), float(density.sum())

    def _usual(self) -> float:
        """A diameter to begin with, px."""
        return float(np.sqrt(np.prod(self.settings.diameters)))
