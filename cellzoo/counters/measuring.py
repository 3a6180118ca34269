"""Fluorescence images of any scale: cells are measured, and made as large as in training.

Blobs say roughly how large cells are (:mod:`cellzoo.images.diameter`). The network then sees them
about as large as in training, and measures them better: the area of its mask, divided by its count.
The network may be here or behind a server; what is measured is measured here.
"""

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from cellzoo.counters.entries import Entry
from cellzoo.counters.preprocessing import MIN_SIDE, Columns
from cellzoo.counters.test_time_augmentation import mean_over_orientations
from cellzoo.counters.tiled_maps import TiledMaps
from cellzoo.data.normalised import Normalise
from cellzoo.errors import UsageError, UserError
from cellzoo.images.diameter import find_blobs
from cellzoo.images.normalise import normalise
from cellzoo.models.tiling import Tiling, pad_to
from cellzoo.trust.intervals import Interval
from cellzoo.trust.out_of_distribution import OutOfDistribution, features

See = Callable[..., list[np.ndarray]]

_ROUNDS = 4  # of measuring
_SAME = 1.08  # times which two measurements may differ that agree
_UNSURE = 2.5  # times which blobs and network may differ before a user hears it
_UNSETTLED = 1.2  # times which the last measurement may differ from the one before it
_MEASURED_SIDE = 512  # of the middle of an image made alike, which is measured
_ENOUGH = 20  # cells there; with fewer the whole image is measured
_BEYOND = 1.15  # times which cells may be smaller or larger than those that it is meant for
_NONSENSE = 4.0  # times from which on a stated diameter is a mistake
_CONTRADICTED = 1.5  # times which a stated and a measured diameter may differ
_NEARBY = 1.25  # times by which a diameter may be wrong without changing counts much
_STABLE = 0.3  # of the count, and a cell more, which such a diameter may change
_LEAST_SIDE = 32  # of an image made alike, which is padded to it
_FAMILIAR = 0.5  # of the threshold of unfamiliar images, from which on intervals grow
_NO_INTERVAL = 3.0  # times that threshold, from which on nothing is promised


@dataclass(frozen=True)
class Diameter:
    """How large the cells of images are, as a user states it.

    Attributes:
        value: above 0.
        unit: ``"px"`` of the file, or ``"um"``, for which the width of a pixel has to be known.
    """

    value: float
    unit: str = "px"

    @classmethod
    def parse(cls, text: str) -> "Diameter":
        """From ``25``, ``25px`` or ``12um``.

        Raises:
            UsageError: it is none of these.
        """
        word = str(text).strip().lower().replace("µ", "u").replace("μ", "u")
        unit = "um" if word.endswith("um") else "px"
        try:
            value = float(word.removesuffix(unit))
        except ValueError:
            value = 0.0
        if not 0 < value < np.inf:
            raise UsageError(f"A diameter of cells is {text}: write it as 25px or 12um.")
        return cls(value, unit)

    def __str__(self) -> str:
        """As :meth:`parse` reads it."""
        return f"{self.value:g}{self.unit}"

    def pixels(self, entry: Entry) -> float:
        """In pixels of an image.

        Raises:
            UserError: it is in micrometres, and the image does not say how wide its pixels are.
        """
        if self.unit == "px":
            return self.value
        size = entry.frame.pixel_size_um
        if size is None:
            raise UserError(
                f"{entry.path}: does not say how wide its pixels are, give the diameter of cells "
                "in px, or the pixel size as well"
            )
        return self.value / size


class Measuring:
    """How a counter measures the cells of an image, makes it alike, and counts it.

    Args:
        name: of the counter, for errors.
        settings: ``data.normalise`` of its recipe.
        tiled: its network, tile by tile.
        see: what the network makes of images ``[n, h, w]`` whose sides are multiples of the
            tiling's stride: the maps that are named after them, ``"mask"`` or ``"density"``.
        orientations: in which an image is counted, see
            :func:`cellzoo.counters.test_time_augmentation.mean_over_orientations`.

    Attributes:
        stated: how large cells are; None: they are measured.
    """

    def __init__(
        self, name: str, settings: Normalise, tiled: TiledMaps, see: See, orientations: int = 1
    ):
        """Keeps them; see the class."""
        self.name, self.settings, self.orientations = name, settings, orientations
        self.stated: Diameter | None = None
        self._tiled, self._see = tiled, see

    @classmethod
    def from_metadata(cls, metadata: dict[str, Any], see: See) -> "Measuring | None":
        """From what an export says of itself; None where its images are not made alike.

        Raises:
            KeyError, TypeError, ValueError: it says too little.
        """
        found = metadata.get("alike")
        if found is None:
            return None
        settings, tiling = Normalise(**found["normalise"]), Tiling(**found["tiling"])
        orientations = int(found["orientations"])
        return cls(metadata["name"], settings, tiled_maps(tiling, see), see, orientations)

    def metadata(self) -> dict[str, Any]:
        """What an export writes down of it."""
        return {
            "normalise": self.settings.model_dump(mode="json"),
            "tiling": asdict(self._tiled.tiling),
            "orientations": self.orientations,
        }

    def with_diameter(self, diameter: str) -> "Measuring":
        """See :meth:`cellzoo.counters.base.Counter.with_diameter`."""
        other = copy.copy(self)
        other.stated = Diameter.parse(diameter)
        return other

    def prepare(self, entry: Entry) -> None:
        """See :meth:`cellzoo.counters.base.Counter.prepare`; measures the cells."""
        image = self._pixels(entry)
        if min(image.shape) < MIN_SIDE or not np.isfinite(image).all():
            raise UserError(
                f"{entry.path}: is {image.shape[1]} x {image.shape[0]} px, or has values that are "
                f"no numbers, give an image of at least {MIN_SIDE} px"
            )
        if self.stated:
            entry.diameter = self._sensible(self.stated.pixels(entry), entry)
            remark = self._contradicted(entry.diameter, image)
        else:
            entry.diameter, remark = self._measured(image)
        if not remark and np.isfinite(entry.diameter):
            remark = self._doubtful(image, entry.diameter)
        entry.remark = "; ".join(filter(None, [entry.remark, remark]))
        known = entry.diameter if np.isfinite(entry.diameter) else self._usual()
        entry.prepared, entry.share = self._alike(image, known)

    def _pixels(self, entry: Entry) -> np.ndarray:
        """An image that is to be measured and made alike, float32."""
        return np.ascontiguousarray(entry.frame.pixels, np.float32)

    def _sensible(self, stated: float, entry: Entry) -> float:
        """A stated diameter, px.

        Raises:
            UserError: nothing near it can be counted.
        """
        least, most = self.settings.diameters
        if not least / _NONSENSE <= stated <= most * _NONSENSE:
            raise UserError(
                f"{entry.path}: its cells would be {stated:.4g} px large, and {self.name} counts "
                f"cells of {least:.0f} to {most:.0f} px, correct the diameter or the pixel size"
            )
        return stated

    def _contradicted(self, stated: float, image: np.ndarray) -> str:
        """What speaks against a stated diameter; empty where nothing does."""
        beyond = self._beyond(stated)
        measured, _ = self._measured(image)
        if beyond or not max(measured / stated, stated / measured) > _CONTRADICTED:  # NaN: no cell
            return beyond
        return f"cells of {stated:.0f} px are stated, and measured are {measured:.0f} px"

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

    def _beyond(self, diameter: float) -> str:
        """That cells are smaller or larger than those that it is meant for."""
        least, most = self.settings.diameters
        if least / _BEYOND <= diameter <= most * _BEYOND:
            return ""
        return f"cells of {diameter:.0f} px, meant for {least:.0f} to {most:.0f} px"

    def _usual(self) -> float:
        """A diameter to begin with, px."""
        return float(np.sqrt(np.prod(self.settings.diameters)))

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

    def _area_and_cells(self, image: np.ndarray, diameter: float) -> tuple[float, float]:
        """Area of the mask, in px of the image made alike, and count, perhaps of its middle."""
        alike, _ = self._alike(image, diameter)
        tops = [max(0, (side - _MEASURED_SIDE) // 2) for side in alike.shape]
        middle = alike[tuple(slice(top, top + _MEASURED_SIDE) for top in tops)]
        tiling = self._tiled.tiling
        seen = pad_to(middle, tiling.stride, tiling.fill)[None]
        mask, density = (found[0] for found in self._see(seen, "mask", "density"))
        if density.sum() < _ENOUGH and middle.shape != alike.shape:
            mask, density = (self._tiled.map(name, alike) for name in ("mask", "density"))
        return float((mask > 0.5).sum()), float(density.sum())

    def count(
        self, images: np.ndarray, interval: Interval | None, known: OutOfDistribution | None
    ) -> Columns:
        """Counts of images made alike, ``[n, h, w]``, see :meth:`Counter._count`.

        Args:
            images: as :meth:`prepare` leaves them, of one size.
            interval: around the counts of images like those of training; None: none is promised.
            known: what these look like. The less alike an image is, the wider is its interval.
        """
        raw = mean_over_orientations(
            lambda turned: self._counted(np.asarray(turned)), images, self.orientations
        )
        if interval is None:
            unknown = np.full_like(raw, np.nan)
            return raw, unknown, unknown
        low, high = interval.ends(raw)
        if known is not None:
            wider = unfamiliar(images, known)
            low = np.minimum(np.maximum(raw - wider * (raw - low), 0), low)
            high = raw + wider * (high - raw)
        return raw, low, high

    def _counted(self, images: np.ndarray) -> np.ndarray:
        return np.array([self._tiled.count(image) for image in images], np.float32)


def tiled_maps(tiling: Tiling, see: See) -> TiledMaps:
    """A network tile by tile, of what it makes of images, see :class:`Measuring`."""

    def one_map(name: str, images: np.ndarray) -> np.ndarray:
        return see(images, name)[0]

    return TiledMaps(tiling, {name: partial(one_map, name) for name in ("mask", "density")})


def unfamiliar(images: np.ndarray, known: OutOfDistribution) -> np.ndarray:
    """How many times wider intervals are, ``[n]``: NaN where nothing can be promised."""
    distances = known.distances(np.stack([features(image) for image in images]))
    thresholds = distances / known.threshold
    times = np.maximum(thresholds / _FAMILIAR, 1).astype(np.float32)
    return np.where(thresholds > _NO_INTERVAL, np.float32(np.nan), times)
