"""Images of cells of any size: it is stated or measured, and they are made as large as in training.

How cells are measured depends on the images, see :mod:`cellzoo.counters.by_mask` and
:mod:`cellzoo.counters.by_familiarity`.
"""

import copy
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cellzoo.counters.entries import Entry
from cellzoo.counters.preprocessing import MIN_SIDE, Columns, without_interval
from cellzoo.counters.test_time_augmentation import mean_over_orientations
from cellzoo.counters.tiled_maps import TiledMaps
from cellzoo.errors import UsageError, UserError
from cellzoo.trust.features import features
from cellzoo.trust.intervals import Interval
from cellzoo.trust.out_of_distribution import OutOfDistribution

if TYPE_CHECKING:
    from cellzoo.data.normalised import Normalise

_BEYOND = 1.15  # times which cells may be smaller or larger than those that it is meant for
_NONSENSE = 4.0  # times from which on a stated diameter is a mistake
_CONTRADICTED = 1.5  # times which a stated and a measured diameter may differ
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


@dataclass(frozen=True)
class Sizes:
    """How large cells are, in px.

    Attributes:
        diameter: as the network sees them.
        diameters: least and most, in images that a counter is meant for.
        training: of each training set, in its files.
    """

    diameter: float
    diameters: tuple[float, float]
    training: list[float]


class Measuring(ABC):
    """How a counter measures the cells of an image, makes it alike, and counts it.

    Args:
        name: of the counter, for errors.
        settings: of its recipe: the diameter of cells as the network sees them, and the least and
            the most of those that it is meant for.
        tiled: its network, tile by tile.
        orientations: in which an image is counted, see
            :func:`cellzoo.counters.test_time_augmentation.mean_over_orientations`.

    Attributes:
        stated: how large cells are; None: they are measured.
        sets_grey_levels: it says itself what is black and white in an image.
    """

    sets_grey_levels: bool = False

    def __init__(
        self, name: str, settings: "Normalise | Sizes", tiled: TiledMaps, orientations: int = 1
    ):
        """Keeps them; see the class."""
        self.name, self.settings, self.orientations = name, settings, orientations
        self.stated: Diameter | None = None
        self._tiled = tiled

    @property
    @abstractmethod
    def form(self) -> str:
        """What images made alike have in common, in a few words."""

    def metadata(self) -> dict[str, Any]:
        """What an export writes down of it."""
        return {"tiling": asdict(self._tiled.tiling), "orientations": self.orientations}

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
        doubts = self._doubts(image, entry.diameter) if np.isfinite(entry.diameter) else []
        entry.remark = "; ".join(filter(None, [entry.remark, *doubts, remark]))
        known = entry.diameter if np.isfinite(entry.diameter) else self._usual()
        entry.prepared, entry.share = self._alike(image, known)

    @abstractmethod
    def _pixels(self, entry: Entry) -> np.ndarray:
        """An image that is to be measured and made alike, float32."""

    @abstractmethod
    def _alike(self, image: np.ndarray, diameter: float) -> tuple[np.ndarray, tuple[float, float]]:
        """The image made alike, and which share of its height and width is no padding."""

    @abstractmethod
    def _measured(self, image: np.ndarray) -> tuple[float, str]:
        """The diameter of an image's cells, px, NaN without a cell, and what to say of it."""

    def _doubts(self, image: np.ndarray, diameter: float) -> list[str]:
        """What speaks against counting an image with a diameter, the gravest first."""
        return []

    @abstractmethod
    def _usual(self) -> float:
        """A diameter to begin with, px."""

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

    def _beyond(self, diameter: float) -> str:
        """That cells are smaller or larger than those that it is meant for."""
        least, most = self.settings.diameters
        if least / _BEYOND <= diameter <= most * _BEYOND:
            return ""
        return f"cells of {diameter:.0f} px, meant for {least:.0f} to {most:.0f} px"

    def count(
        self, images: np.ndarray, interval: Interval | None, known: OutOfDistribution | None
    ) -> Columns:
        """Counts of images made alike, ``[n, h, w]``, see :meth:`Counter._count`.

        Args:
            images: as :meth:`prepare` leaves them, of one size.
            interval: around the counts of images like those of training; None: none is promised.
            known: what these look like. The less alike an image is, the wider is its interval.
        """
        raw, wider = mean_over_orientations(
            lambda turned: self._counted(np.asarray(turned)), images, self.orientations
        )
        if interval is None:
            return without_interval(raw)
        low, high = interval.ends(raw)
        if known is not None:
            wider = wider * unfamiliar(images, known)
        low = np.minimum(np.maximum(raw - wider * (raw - low), 0), low)
        high = np.maximum(raw + wider * (high - raw), high)
        return raw, low, high

    @abstractmethod
    def _counted(self, images: np.ndarray) -> np.ndarray:
        """Counts, and how many times wider their intervals are: float32 ``[2, n]``."""


def unfamiliar(images: np.ndarray, known: OutOfDistribution) -> np.ndarray:
    """How many times wider intervals are, ``[n]``: NaN where nothing can be promised."""
    distances = known.distances(np.stack([features(image) for image in images]))
    thresholds = distances / known.threshold
    times = np.maximum(thresholds / _FAMILIAR, 1).astype(np.float32)
    return np.where(thresholds > _NO_INTERVAL, np.float32(np.nan), times)
