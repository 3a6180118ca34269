"""A simulated microscope: growing cell cultures in microfluidic chambers, with true counts.

Everything this module makes is *simulated*. No pixel comes from a camera, no number obtained on
these images may be shown without the word "simulated". The images stand in for the natural
images of the Twin-VAE paper (section 2.1, Table 1), which cannot be downloaded with the package.

How an image comes about (1 px is taken as about 1 micrometre):

1. A culture of a few cells grows in a chamber: each cell swells, rounds up, divides into a pair
   that parts slowly, is pushed by its neighbours, drifts, sticks to walls and siblings; now and
   then one passes the inlet.
2. Each cell becomes a map of optical phase: the thickness over an irregular contour (Fourier
   series plus blebs), a nucleus, organelles, vesicles.
3. Light is sent through that map. The wave passes the objective's aperture, in phase contrast
   also the phase plate, and is propagated by the distance of the cell from the plane of focus.
   The dark rims, bright halos and rings that one knows from the microscope follow from this;
   nothing is drawn.
4. The chamber's walls and inlets, specks on the chip that are not cells, uneven light, residual
   drift of the crop and the camera's noise are put around them.

Ellipses with a rim on a mean background are the synthetic cells' business, not this module's;
the two share no code, because the gap between them stands for the gap to real images.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import scipy  # which loads scipy.fft when it is first used: 0.3 s

from cellzoo.errors import UsageError

# Sizes of the paper's data sets (Twin-VAE, Table 1); "natural" is what this module simulates.
TABLE_1: dict[str, dict[str, dict[str, int]]] = {
    "natural": {
        "bf": {"train_labelled": 59, "train_unlabelled": 725,
               "test_labelled": 62, "test_unlabelled": 110},
        "pc": {"train_labelled": 199, "train_unlabelled": 2983,
               "test_labelled": 397, "test_unlabelled": 397},
    },
    "synthetic": {
        "bf": {"train_labelled": 1000, "test_labelled": 1000},
        "pc": {"train_labelled": 3182, "test_labelled": 794},
    },
}  # fmt: skip

_DESIGN = 128  # side of the design in px; other sizes are the same scene, resampled
_FINE = 2  # sub-pixels per px, so that the aperture and not the raster limits the detail
_EDGE = 10  # px of scene around the crop: room for drift and for halos
_CANVAS = (_DESIGN + 2 * _EDGE) * _FINE
_PATCH = 72  # sub-pixels: the largest cell and its halo
_ANGLES = 128  # samples of a contour
_MODES = np.arange(2, 8)  # Fourier modes of a contour; mode 0 is size, mode 1 a mere shift
_ORGANELLES = 14
_VESICLES = 3
_BLEBS = 3
_WAVELENGTH = 0.55  # micrometres, green light
_RING = 0.065  # cycles per px that the phase plate covers: its inverse is the width of the halo


@dataclass(frozen=True)
class Series:
    """A simulated time-lapse of one chamber.

    Attributes:
        images: uint8 [frames, size, size], grey levels.
        counts: int32 [frames], the true number of cells in each image.
        hours: float32 [frames], time since the first image.
    """

    images: np.ndarray
    counts: np.ndarray
    hours: np.ndarray


@dataclass(frozen=True)
class SimulatedSet:
    """A set of simulated images from several chambers.

    Attributes:
        images: uint8 [n, 128, 128], grey levels.
        counts: int32 [n], true counts of *all* images; who trains hides those it must not see.
        groups: n names, one per chamber ("bf_train_000"); a chamber belongs into one split.
        hours: float32 [n], time since the chamber's first image.
    """

    images: np.ndarray
    counts: np.ndarray
    groups: list[str]
    hours: np.ndarray


@dataclass(frozen=True)
class _Modality:
    """What differs between bright field and phase contrast."""

    code: int  # part of the random stream, so that two modalities never share a culture
    inner: tuple[float, float, float, float]  # left, top, right, bottom of the cells' area, px
    birth_radius: tuple[float, float]  # mean and sd over cells at birth, px
    phase: tuple[float, float]  # mean and sd of a cell's largest phase, rad
    aperture: float  # numerical aperture of the objective
    contrast: tuple[float, float]  # range over chambers of the share of contrast that survives
    focus: tuple[float, float]  # mean and sd over cells of the distance from focus, micrometres
    background: tuple[float, float]  # mean and sd over chambers of the grey level, 0 to 1
    electrons: float  # a white pixel holds so many: sets the shot noise
    read_noise: float  # sd, grey level 0 to 1


# Inner areas and radii: the margins and radii of the authors' synthetic cells (docs/fidelity.md).
_MODALITIES = {
    "bf": _Modality(0, (26.0, 12.0, 108.0, 122.0), (5.2, 0.45), (3.8, 0.7), 0.30, (0.5, 0.9),
                    (5.0, 2.5), (0.750, 0.010), 11000.0, 0.003),
    "pc": _Modality(1, (12.0, 11.0, 117.0, 118.0), (6.0, 0.65), (4.9, 0.6), 0.30, (0.25, 0.5),
                    (0.0, 3.0), (0.238, 0.008), 6000.0, 0.003),
}  # fmt: skip


def simulate_series(
    modality: str,
    frames: int,
    seed: int | Sequence[int],
    *,
    interval_minutes: float = 20.0,
    stride: int | None = None,
    doubling_hours: float = 20.0,
    size: int = _DESIGN,
    max_count: int = 30,
    min_count: int = 1,
) -> Series:
    """Simulate a time-lapse of one chamber that grows by division.

    The culture starts with 1 to 4 cells and is followed every 20 minutes (paper, section 2.1).
    Bitwise equal for equal arguments on one machine.

    Args:
        modality: "bf" (bright field) or "pc" (phase contrast).
        frames: number of images, at least 1.
        seed: any non-negative whole number, or a sequence of such.
        interval_minutes: time between two exposures.
        stride: keep each stride-th exposure. None: what lets the expected growth from the first
            count to a final one, drawn between 8 and 0.85 ``max_count``, fill the series.
        doubling_hours: mean time in which a cell divides; CHO cells take about 20 h.
        size: side of the images in px, 32 to 256; the scene is scaled with it.
        max_count: no image holds more cells, 1 to 40; cells wait to divide while it is reached
            (the paper leaves out images of more than 30 cells).
        min_count: 1, or 0 to permit empty images.

    Returns:
        Images, true counts and hours.

    Raises:
        UsageError: an argument is out of its range.
    """
    series, _ = _simulate(modality, frames, seed, frames, interval_minutes, stride,
                          doubling_hours, size, max_count, min_count)  # fmt: skip
    return series


def simulate_set(
    modality: str,
    n: int,
    seed: int | Sequence[int],
    *,
    prefix: str = "chamber",
    frames_per_chamber: int = 25,
    min_count: int = 1,
) -> SimulatedSet:
    """Simulate a set of images from ceil(n / frames_per_chamber) chambers, in order of time.

    A pure function of its arguments. Chamber k depends on modality, seed, prefix, k and
    frames_per_chamber, not on n; sets of other prefix share no chamber, so one seed serves
    for training and test.

    Args:
        modality: "bf" or "pc".
        n: number of images; see ``TABLE_1`` for the paper's.
        seed: any non-negative whole number, or a sequence of such.
        prefix: start of the chambers' names.
        frames_per_chamber: images of each chamber. 25 shares no factor with the paper's regular
            labelling intervals (13, 16), so labels fall on every stage of growth.
        min_count: 1, or 0 to permit empty images.

    Returns:
        Images, true counts, chamber names and hours.

    Raises:
        UsageError: an argument is out of its range.
    """
    _modality(modality)
    _require(n >= 1, "data.natural.n", n, "a whole number from 1")
    _require(frames_per_chamber >= 1, "data.natural.frames_per_chamber", frames_per_chamber,
             "a whole number from 1")  # fmt: skip
    images, counts, groups, hours = [], [], [], []
    for chamber, start in enumerate(range(0, n, frames_per_chamber)):
        take = min(frames_per_chamber, n - start)
        entropy = (*_entropy(seed)[1:], zlib.crc32(prefix.encode()), chamber)
        series, _ = _simulate(modality, frames_per_chamber, entropy, take, min_count=min_count)
        images.append(series.images)
        counts.append(series.counts)
        hours.append(series.hours)
        groups += [f"{prefix}_{chamber:03d}"] * take
    return SimulatedSet(
        np.concatenate(images), np.concatenate(counts), groups, np.concatenate(hours)
    )


def labelled_at_regular_interval(n: int, labelled: int) -> np.ndarray:
    """Mark which of n images carry a label when labels come at a regular interval.

    "The labels are created in a regular interval over the data sets" (paper, section 2.1).

    Args:
        n: number of images.
        labelled: how many of them are labelled, 0 to n.

    Returns:
        bool [n] with exactly ``labelled`` true values.

    Raises:
        UsageError: ``labelled`` is not between 0 and n.
    """
    _require(0 <= labelled <= n, "data.natural.labelled", labelled, f"between 0 and {n}")
    mask = np.zeros(n, bool)
    # The middle of each of ``labelled`` equal stretches; integers, so exact for any n.
    mask[(2 * np.arange(labelled) + 1) * n // (2 * max(labelled, 1))] = True
    return mask


def _simulate(
    modality: str,
    frames: int,
    seed: int | Sequence[int],
    take: int,
    interval_minutes: float = 20.0,
    stride: int | None = None,
    doubling_hours: float = 20.0,
    size: int = _DESIGN,
    max_count: int = 30,
    min_count: int = 1,
    return_instances: bool = False,
) -> tuple[Series, np.ndarray | None]:
    """Simulate all frames, render the first ``take``; masks uint8 [take, size, size] if asked.

    Growth, chamber and each frame have random streams of their own: what is rendered does not
    change what grows.
    """
    kind = _modality(modality)
    _require(frames >= 1, "frames", frames, "a whole number from 1")
    _require(interval_minutes > 0, "interval_minutes", interval_minutes, "above 0")
    _require(stride is None or stride >= 1, "stride", stride, "a whole number from 1")
    _require(doubling_hours > 0, "doubling_hours", doubling_hours, "above 0")
    _require(32 <= size <= 256, "size", size, "from 32 to 256")
    _require(1 <= max_count <= 40, "max_count", max_count, "from 1 to 40")
    _require(min_count in (0, 1), "min_count", min_count, "0 or 1")

    def stream(*key: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64((*_entropy(seed), kind.code, *key)))

    rng = stream(0)
    culture = _Culture(kind, rng, doubling_hours, max_count, min_count)
    if stride is None:
        # Tuned so that predicting a set's mean count errs by about 4.5.
        low = min(8, max_count)
        final = rng.integers(low, max(round(0.85 * max_count), low) + 1)
        doublings = np.log2(max(final / max(len(culture.cells), 1), 1.0))
        exposures = doublings * doubling_hours * 60 / interval_minutes
        stride = max(1, round(exposures / max(frames - 1, 1)))
    chamber = _Chamber(kind, stream(1))
    images = np.empty((take, size, size), np.uint8)
    instances = np.empty_like(images) if return_instances else None
    counts = np.empty(take, np.int32)
    for frame in range(take):
        if frame:
            for _ in range(stride):
                culture.step(interval_minutes / 60)
            culture.reshape(stride * interval_minutes / 60)
        looks = culture.looks()
        counts[frame] = len(culture.cells)
        images[frame], labels = chamber.expose(looks, stream(2, frame), size, return_instances)
        if return_instances:
            instances[frame] = labels
    hours = (np.arange(take) * stride * interval_minutes / 60).astype(np.float32)
    return Series(images, counts, hours), instances


@dataclass
class _Cell:
    """One cell of a culture; lengths in px, times in hours, angles in rad."""

    position: np.ndarray
    birth_radius: float
    cycle: float  # from birth to division
    age: float
    depth: float  # distance from the plane of focus, micrometres
    phase: float  # largest phase shift, rad
    contour: np.ndarray  # complex, one coefficient per mode, relative to the radius
    blebs: np.ndarray  # [_BLEBS, 3] angle, height, width; height relative to the radius
    organelles: np.ndarray  # [_ORGANELLES, 4] x, y, sd (relative to the radius), phase (to own)
    vesicles: np.ndarray  # [_VESICLES, 4] likewise, just outside the contour
    sibling: int = -1
    name: int = 0
    axis: float = 0.0  # along which it will divide

    @property
    def progress(self) -> float:
        """Share of the cell cycle passed, 0 to 1."""
        return min(self.age / self.cycle, 1.0)

    @property
    def radius(self) -> float:
        """The volume doubles from birth to division."""
        return self.birth_radius * (1 + self.progress) ** (1 / 3)


@dataclass
class _Looks:
    """The cells of one frame, stacked for rendering; first axis: cell."""

    positions: np.ndarray
    radii: np.ndarray
    depths: np.ndarray
    phases: np.ndarray
    contours: np.ndarray
    blebs: np.ndarray
    blobs: np.ndarray  # organelles and vesicles
    membranes: np.ndarray


class _Culture:
    """Cells that grow, divide, move and push each other in the inner area of a chamber."""

    def __init__(
        self,
        kind: _Modality,
        rng: np.random.Generator,
        doubling_hours: float,
        max_count: int,
        min_count: int,
    ) -> None:
        self.kind, self.rng = kind, rng
        self.doubling_hours, self.max_count, self.min_count = doubling_hours, max_count, min_count
        self.named = 0
        self.cells: list[_Cell] = []
        left, top, right, bottom = kind.inner
        start = rng.choice(4, p=[0.25, 0.35, 0.25, 0.15]) + 1
        if min_count == 0 and rng.random() < 0.2:
            start = 0
        middle = rng.uniform((left + 12, top + 12), (right - 12, bottom - 12))
        for _ in range(min(start, max_count)):
            # Of a growing culture more cells are young than old: log-uniform, not uniform.
            progress = np.log2(1 + rng.random())
            cell = self._founder(middle + rng.normal(0, 18, 2), progress)
            self.cells.append(cell)
        self.flow = rng.normal(0, 0.5, 2)  # px per hour, from the perfusion of the chamber
        for _ in range(20):
            self._part()

    def _founder(self, position: np.ndarray, progress: float) -> _Cell:
        rng, kind = self.rng, self.kind
        self.named += 1
        cycle = self._cycle()
        far = rng.random() < 0.12
        return _Cell(
            position=np.asarray(position, float),
            birth_radius=float(np.clip(rng.normal(*kind.birth_radius), 4.0, 7.2)),
            cycle=cycle,
            age=progress * cycle,
            depth=rng.normal(*kind.focus) + far * rng.choice([-1, 1]) * rng.uniform(8, 18),
            phase=max(rng.normal(*kind.phase), 0.4 * kind.phase[0]),
            contour=self._ripple(),
            blebs=self._blebs(),
            organelles=self._organelles(),
            vesicles=self._vesicles(),
            name=self.named,
            axis=rng.uniform(0, np.pi),
        )

    def _cycle(self) -> float:
        return self.doubling_hours * float(np.clip(self.rng.normal(1.0, 0.13), 0.6, 1.5))

    def _ripple(self) -> np.ndarray:
        size = self.rng.gamma(2.5, 0.4) * 0.145 / _MODES**1.7
        return size * (self.rng.normal(size=(2, len(_MODES))) * [[1], [1j]]).sum(0)

    def _blebs(self) -> np.ndarray:
        rng = self.rng
        present = rng.random(_BLEBS) < 0.22
        height = present * rng.uniform(0.1, 0.28, _BLEBS)
        return np.stack(
            [rng.uniform(0, 2 * np.pi, _BLEBS), height, rng.uniform(0.2, 0.38, _BLEBS)], -1
        )

    def _organelles(self) -> np.ndarray:
        rng = self.rng
        place = np.sqrt(rng.random(_ORGANELLES)) * 0.75
        angle = rng.uniform(0, 2 * np.pi, _ORGANELLES)
        spread = rng.uniform(0.07, 0.17, _ORGANELLES)
        phase = rng.normal(0.05, 0.2, _ORGANELLES)
        # The first two are the nucleus and the nucleolus.
        place[0], spread[0], phase[0] = 0.4 * place[0], rng.uniform(0.3, 0.4), rng.normal(-0.1, 0.1)
        place[1], spread[1], phase[1] = place[0], 0.12, 0.25
        angle[1] = angle[0]
        return np.stack([place * np.cos(angle), place * np.sin(angle), spread, phase], -1)

    def _vesicles(self) -> np.ndarray:
        rng = self.rng
        angle = rng.uniform(0, 2 * np.pi, _VESICLES)
        place = rng.uniform(1.1, 1.5, _VESICLES)
        phase = (rng.random(_VESICLES) < 0.12) * rng.uniform(0.15, 0.5, _VESICLES)
        spread = rng.uniform(0.1, 0.18, _VESICLES)
        return np.stack([place * np.cos(angle), place * np.sin(angle), spread, phase], -1)

    def step(self, hours: float) -> None:
        """Let the culture live for some hours (the time between two exposures)."""
        rng = self.rng
        for cell in list(self.cells):
            cell.age += hours
            if cell.age >= cell.cycle:
                if len(self.cells) < self.max_count:
                    self._divide(cell)
                else:
                    cell.age = cell.cycle * rng.uniform(0.8, 0.95)  # waits for room
        self._pass_inlet(hours)
        self.flow = self.flow * 0.98 + rng.normal(0, 0.1, 2)
        for cell in self.cells:
            restless = 0.3 if self._wall_distance(cell) < 1.5 else 1.0  # cells stick to walls
            cell.position += restless * (
                self.flow * hours + rng.normal(0, 3.0, 2) * np.sqrt(hours)
            )
            cell.axis += rng.normal(0, 0.2) * np.sqrt(hours)
            cell.depth += rng.normal(0, 1.0) * np.sqrt(hours) - 0.04 * hours * (
                cell.depth - self.kind.focus[0]
            )
        for _ in range(4):
            self._part()

    def _divide(self, mother: _Cell) -> None:
        rng = self.rng
        along = np.array([np.cos(mother.axis), np.sin(mother.axis)])
        radius = mother.birth_radius + 0.25 * (self.kind.birth_radius[0] - mother.birth_radius)
        share = rng.normal(0, 0.03)
        names = self.named + 1, self.named + 2
        for name, sibling, side in ((*names, 1), (*names[::-1], -1)):
            cell = self._founder(mother.position + side * 0.6 * radius * along, 0.0)
            cell.name, cell.sibling = name, sibling
            cell.birth_radius = float(np.clip(radius * (1 + side * share), 4.0, 7.2))
            cell.depth = mother.depth + rng.normal(0, 1.0)
            cell.phase = 0.7 * mother.phase + 0.3 * cell.phase
            self.cells.append(cell)
        self.named += 2
        self.cells = [cell for cell in self.cells if cell is not mother]

    def _pass_inlet(self, hours: float) -> None:
        """Now and then a cell enters or leaves, equally often, by the upper inlet."""
        left, top, right, _ = self.kind.inner
        rng = self.rng
        rate = hours * (0.0012 * len(self.cells) if self.cells else 0.05)
        if rng.random() < rate and len(self.cells) < self.max_count:
            mouth = np.array([(left + right) / 2 + rng.normal(0, 4), top])
            self.cells.append(self._founder(mouth, rng.random()))
        elif rng.random() < rate and len(self.cells) > self.min_count:
            near = min(self.cells, key=lambda cell: cell.position[1])
            if near.position[1] < top + 30:
                self.cells = [cell for cell in self.cells if cell is not near]

    def _wall_distance(self, cell: _Cell) -> float:
        left, top, right, bottom = self.kind.inner
        x, y = cell.position
        return min(x - left, right - x, y - top, bottom - y) - cell.radius

    def _part(self) -> None:
        """Push overlapping cells apart and into the chamber, pull siblings together."""
        if not self.cells:
            return
        position = np.array([cell.position for cell in self.cells])
        radius = np.array([cell.radius for cell in self.cells])
        name = np.array([cell.name for cell in self.cells])
        age = np.array([cell.age for cell in self.cells])
        sibling = np.array([cell.sibling for cell in self.cells])[:, None] == name[None]
        offset = position[:, None] - position[None]
        distance = np.sqrt((offset**2).sum(-1)) + 1e-3
        # A pair parts within about 3 h; other cells may overlap a little, being at other depths.
        wanted = np.where(sibling, 0.62 + 0.32 * np.minimum(age / 3.0, 1.0)[:, None], 0.88)
        wanted = wanted * (radius[:, None] + radius[None])
        gap = wanted - distance
        push = np.where(gap > 0, 0.5 * gap, 0.0)
        loose = (gap < 0) & (gap > -0.35 * wanted)  # neighbours stick, siblings more
        push += np.where(loose, np.where(sibling & (age < 5)[:, None], 0.3, 0.01) * gap, 0.0)
        np.fill_diagonal(push, 0.0)
        position += (push[..., None] * offset / distance[..., None]).sum(1) * 0.8
        left, top, right, bottom = self.kind.inner
        # Cells press against the wall and cover its line a little.
        reach = 0.85 * radius[:, None]
        position = np.clip(position, (left, top) + reach, (right, bottom) - reach)
        for cell, place in zip(self.cells, position, strict=True):
            cell.position = place

    def reshape(self, hours: float) -> None:
        """Let contours ripple, blebs come and go and organelles turn, over some hours."""
        rng = self.rng
        keep = np.exp(-hours / 3.0)
        for cell in self.cells:
            cell.contour = keep * cell.contour + np.sqrt(1 - keep**2) * self._ripple()
            if rng.random() > keep:
                cell.blebs, cell.vesicles = self._blebs(), self._vesicles()
            turn = rng.normal(0, 0.6) * np.sqrt(hours)
            cos, sin = np.cos(turn), np.sin(turn)
            cell.organelles[:, :2] = cell.organelles[:, :2] @ np.array([[cos, sin], [-sin, cos]])

    def looks(self) -> _Looks:
        """Return what is to be seen of each cell now."""
        contours, phases, membranes = [], [], []
        typical = self.kind.birth_radius[0] * 1.15
        for cell in self.cells:
            left_hours = cell.cycle - cell.age
            mitotic = left_hours < 1.2  # rounds up, evens out, then stretches along its axis
            contour = cell.contour * (0.35 if mitotic else 1.0)
            if left_hours < 0.5:
                contour[0] += 0.17 * np.exp(-2j * cell.axis)
            if cell.sibling >= 0 and cell.age < 2.0:
                contour = 0.6 * contour
            contours.append(contour)
            phases.append(cell.phase * (1.1 if mitotic else 1.0) * np.sqrt(cell.radius / typical))
            membranes.append(0.25 if mitotic else 0.15)
        n = len(self.cells)

        def stack(values: list, *shape: int) -> np.ndarray:
            return np.array(values).reshape(n, *shape)

        return _Looks(
            positions=stack([c.position for c in self.cells], 2),
            radii=stack([c.radius for c in self.cells]),
            depths=stack([c.depth for c in self.cells]),
            phases=stack(phases),
            contours=stack(contours, len(_MODES)),
            blebs=stack([c.blebs for c in self.cells], _BLEBS, 3),
            blobs=stack(
                [np.concatenate([c.organelles, c.vesicles]) for c in self.cells],
                _ORGANELLES + _VESICLES,
                4,
            ),
            membranes=stack(membranes),
        )


def _patch_grid() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    axis = ((np.arange(_PATCH) - _PATCH // 2) / _FINE).astype(np.float32)
    distance = np.hypot(axis[:, None], axis[None])
    angle = np.arctan2(axis[:, None], axis[None])
    index = np.round(angle / (2 * np.pi) * _ANGLES).astype(int) % _ANGLES
    # Fades a patch out at its edge, so that no frame is left around a cell.
    window = np.clip((axis[-1] - distance) / 3.0, 0, 1).astype(np.float32)
    return axis, distance, index, window


_AXIS, _DISTANCE, _ANGLE_INDEX, _WINDOW = _patch_grid()
_FREQUENCY = np.fft.fftfreq(_PATCH, 1 / _FINE).astype(np.float32)  # cycles per px
_SQUARE = _FREQUENCY[:, None] ** 2 + _FREQUENCY[None] ** 2


def _phase_maps(looks: _Looks) -> tuple[np.ndarray, np.ndarray]:
    """Phase in rad and distance relative to the contour, each float32 [cells, patch, patch]."""
    angle = np.arange(_ANGLES) * 2 * np.pi / _ANGLES
    waves = np.exp(1j * _MODES[:, None] * angle)
    contour = 1 + (looks.contours @ waves).real
    turn = angle - looks.blebs[..., :1]
    turn = (turn + np.pi) % (2 * np.pi) - np.pi
    contour += (looks.blebs[..., 1:2] * np.exp(-0.5 * (turn / looks.blebs[..., 2:]) ** 2)).sum(1)
    contour = (np.clip(contour, 0.5, 1.6) * looks.radii[:, None]).astype(np.float32)
    relative = _DISTANCE / contour[:, _ANGLE_INDEX]
    radii = looks.radii[:, None].astype(np.float32)
    inside = np.clip((1 - relative) * radii[..., None] * _FINE + 0.5, 0, 1)
    body = np.sqrt(np.clip(1.02 - relative**2, 0, None)) * inside
    body += looks.membranes[:, None, None].astype(np.float32) * np.exp(
        -(((relative - 0.93) * radii[..., None] / 0.7) ** 2)
    )
    # A round blob is a product of two profiles: cheap for many cells and blobs.
    x, y, spread, phase = (
        looks.blobs[..., k, None].astype(np.float32) * (1 if k == 3 else radii[..., None])
        for k in range(4)
    )
    row = phase * np.exp(-0.5 * ((_AXIS - y) / spread) ** 2)
    column = np.exp(-0.5 * ((_AXIS - x) / spread) ** 2)
    inner = np.matmul(row[:, :_ORGANELLES].swapaxes(1, 2), column[:, :_ORGANELLES])
    outer = np.matmul(row[:, _ORGANELLES:].swapaxes(1, 2), column[:, _ORGANELLES:])
    phases = looks.phases[:, None, None].astype(np.float32)
    return phases * (body + inner * inside + outer), relative


def _light(phase: np.ndarray, depth: np.ndarray, shift: np.ndarray, kind: _Modality,
           plate: float) -> np.ndarray:  # fmt: skip
    """Relative intensity float32 [cells, patch, patch] behind phase maps; 1 is no cell.

    The wave behind the cell is cut by the aperture, in phase contrast its undiffracted part
    is turned by a quarter wave, and it is propagated by ``depth`` (Fresnel). The condenser's
    finite aperture blurs what is out of focus; ``shift`` (y, x in sub-pixels) places it.
    """
    n = len(phase)
    wave = np.exp((1j - 0.03) * phase).astype(np.complex64)
    spectrum = scipy.fft.fft2(wave)
    cutoff = kind.aperture / _WAVELENGTH
    pupil = np.exp(-((_SQUARE / cutoff**2) ** 3)).astype(np.float32)
    if plate:
        ring = np.exp(-_SQUARE / _RING**2)
        pupil = pupil * (1 - ring + ring * (-1j * plate))
    travel = np.exp(-1j * np.pi * _WAVELENGTH * depth[:, None, None] * _SQUARE)
    wave = scipy.fft.ifft2(spectrum * (pupil * travel).astype(np.complex64))
    light = wave.real**2 + wave.imag**2
    light /= plate**2 or 1.0
    half = _PATCH // 2 + 1
    blur = 0.4**2 + (0.12 * depth) ** 2  # px^2
    ramp_y = np.exp(-2j * np.pi * _FREQUENCY[None] * shift[:, :1] / _FINE)
    ramp_x = np.exp(-2j * np.pi * _FREQUENCY[None, :half] * shift[:, 1:] / _FINE)
    move = (ramp_y[:, :, None] * ramp_x[:, None]).astype(np.complex64)
    soften = np.exp(-2 * np.pi**2 * blur[:, None, None].astype(np.float32) * _SQUARE[:, :half])
    spectrum = scipy.fft.rfft2(light) * (move * soften)
    return scipy.fft.irfft2(spectrum, s=(_PATCH, _PATCH)).reshape(n, _PATCH, _PATCH)


@dataclass
class _Chamber:
    """One chamber under the microscope: its walls, specks, light and camera."""

    kind: _Modality
    rng: np.random.Generator
    scene: np.ndarray = field(init=False)  # float32 [canvas, canvas], grey level without cells

    def __post_init__(self) -> None:
        rng, kind = self.rng, self.kind
        self.plate = rng.uniform(0.6, 0.8) if kind.code else 0.0
        self.contrast = rng.uniform(*kind.contrast)
        self.focus = rng.normal(0, 1.5)
        self.walk = rng.normal(0, 0.35, 2)  # px: the crop's standing error
        level = rng.normal(*kind.background)
        distance = _signed_distance(_channels(kind, rng))
        wall = _bright_field_wall if kind.code == 0 else _phase_contrast_wall
        scene = cv2.resize(wall(distance, rng), (_CANVAS, _CANVAS), interpolation=cv2.INTER_AREA)
        self.scene = level * scene * self._illumination()
        self._add_specks(rng.integers(8, 20), 0.35)
        self._add_specks(rng.integers(1, 4), 0.8)

    def _illumination(self) -> np.ndarray:
        """Uneven light and faint mottling of the chip, around 1."""
        axis = np.linspace(-1, 1, _CANVAS, dtype=np.float32)
        a, b, c = self.rng.normal(0, 0.012, 3)
        field_ = 1 + a * axis[:, None] + b * axis[None] + c * (axis[:, None] ** 2 + axis**2 - 0.6)
        coarse = self.rng.normal(0, 0.006, (18, 18)).astype(np.float32)
        fine = self.rng.normal(0, 0.005, (74, 74)).astype(np.float32)
        for mottle in (coarse, fine):
            field_ = field_ + cv2.resize(mottle, (_CANVAS, _CANVAS), interpolation=cv2.INTER_CUBIC)
        return field_.astype(np.float32)

    def _add_specks(self, n: int, strength: float) -> None:
        """Smudges on the chip: small faint circles, out of focus, anywhere. They are not cells."""
        rng = self.rng
        radii = rng.uniform(0.9, 2.4, n)
        looks = _Looks(
            positions=rng.uniform(4, _DESIGN - 4, (n, 2)),
            radii=radii,
            depths=rng.choice([-1, 1], n) * rng.uniform(4, 16, n),
            phases=strength * rng.uniform(0.4, 1.2, n) * rng.choice([-1, -1, -1, 1], n),
            contours=rng.normal(0, 0.04, (n, len(_MODES))) * (1 + 0j),
            blebs=np.tile([0.0, 0.0, 0.2], (n, _BLEBS, 1)),
            blobs=np.tile([0.0, 0.0, 0.2, 0.0], (n, _ORGANELLES + _VESICLES, 1)),
            membranes=np.full(n, 0.1),
        )
        self._add(self.scene, looks, 0.6)

    def _add(self, canvas: np.ndarray, looks: _Looks, contrast: float,
             labels: np.ndarray | None = None) -> None:  # fmt: skip
        """Send the canvas's light through objects, in place; write instance numbers if asked."""
        if not len(looks.radii):
            return
        place = (looks.positions[:, ::-1] + _EDGE) * _FINE  # y, x
        whole = np.round(place).astype(int)
        phase, relative = _phase_maps(looks)
        light = _light(phase, looks.depths + self.focus, place - whole, self.kind, self.plate)
        # Detectors and lenses limit what the wave would show; nothing gets darker than a shadow.
        light = 1 + contrast * _WINDOW * np.clip(light - 1, -0.95, 4.0)
        nearest = np.full(canvas.shape, 1.0, np.float32)
        for k, corner in enumerate(whole - _PATCH // 2):
            low = np.maximum(-corner, 0)
            high = np.minimum(_CANVAS - corner, _PATCH)
            here = tuple(slice(c + a, c + b) for c, a, b in zip(corner, low, high, strict=True))
            part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
            canvas[here] *= light[k][part]
            if labels is not None:
                closer = relative[k][part] < nearest[here]
                labels[here][closer] = k + 1
                nearest[here][closer] = relative[k][part][closer]

    def expose(self, looks: _Looks, rng: np.random.Generator, size: int,
               return_instances: bool = False) -> tuple[np.ndarray, np.ndarray | None]:  # fmt: skip
        """Take one image, uint8 [size, size], and on demand the cells' numbers, 0 background."""
        canvas = self.scene.copy()
        labels = np.zeros(canvas.shape, np.uint8) if return_instances else None
        self._add(canvas, looks, self.contrast, labels)
        move = self.walk + rng.normal(0, 0.25, 2)
        turn = np.deg2rad(rng.normal(0, 0.15))
        cos, sin = np.cos(turn), np.sin(turn)
        centre = np.array([_CANVAS / 2, _CANVAS / 2])
        rotation = np.array([[cos, -sin], [sin, cos]])
        side = _DESIGN * _FINE
        offset = centre + move * _FINE - rotation @ np.array([side / 2, side / 2])
        crop = np.concatenate([rotation, offset[:, None]], 1)

        def cut(picture: np.ndarray, how: int, shrink: int) -> np.ndarray:
            picture = cv2.warpAffine(picture, crop, (side, side), flags=how | cv2.WARP_INVERSE_MAP,
                                     borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
            return cv2.resize(picture, (size, size), interpolation=shrink)

        grey = cut(canvas, cv2.INTER_LINEAR, cv2.INTER_AREA) * rng.normal(1, 0.008)
        spread = np.sqrt(np.clip(grey, 0, None) / self.kind.electrons + self.kind.read_noise**2)
        grey = grey + spread * rng.standard_normal(grey.shape, np.float32)
        image = np.clip(np.round(255 * grey), 0, 255).astype(np.uint8)
        if labels is not None:
            labels = cut(labels, cv2.INTER_NEAREST, cv2.INTER_NEAREST)
        return image, labels


_MASK_SCALE = 4  # samples per px of the chamber's outline


def _channels(kind: _Modality, rng: np.random.Generator) -> np.ndarray:
    """Where the chip is hollow, uint8 0 or 1: chamber and inlets, after the paper's chambers.

    Bright field: a chamber fed between pillars above, drained by a comb below. Phase
    contrast: a square chamber with one rounded inlet above and below.
    """
    side = (_DESIGN + 2 * _EDGE) * _MASK_SCALE
    mask = np.zeros((side, side), np.uint8)

    def fill(left: float, top: float, right: float, bottom: float, value: int = 1) -> None:
        corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
        corners = np.round((corners + _EDGE) * _MASK_SCALE).astype(np.int32)
        cv2.fillPoly(mask, [corners], value)

    left, top, right, bottom = kind.inner
    far = 2 * _DESIGN
    slack = rng.uniform(0.3, 1.2, 4)
    left, top, right, bottom = (
        left - slack[0], top - slack[1], right + slack[2], bottom + slack[3]
    )  # fmt: skip
    fill(left, top, right, bottom)
    if kind.code == 0:
        fill(left + 2.5, -far, right - 2.5, top)
        shift = rng.normal(0, 0.6)
        for pillar in (36.5, 59.5, 82.5):
            fill(pillar + shift, -far, pillar + shift + rng.uniform(10.5, 12), top - 0.5, 0)
        for tooth in np.arange(left + 3, right - 4, 7.8):
            fill(tooth, bottom, tooth + rng.uniform(3.4, 4.2), far)
    else:
        inlet, width = 65 + rng.normal(0, 0.8), rng.uniform(14, 17)
        fill(inlet - width / 2, -far, inlet + width / 2, top + 1)
        fill(inlet - width / 2, bottom - 1, inlet + width / 2, far)
        mask = (cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.6 * _MASK_SCALE) > 0.5).astype(
            np.uint8
        )
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), rng.normal(0, 0.2), 1.0)
    return cv2.warpAffine(mask, turn, (side, side), flags=cv2.INTER_NEAREST,
                          borderMode=cv2.BORDER_REPLICATE)  # fmt: skip


def _signed_distance(mask: np.ndarray) -> np.ndarray:
    """Distance to the wall in px, float32, positive in the hollow."""
    inside = cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    outside = cv2.distanceTransform(1 - mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return (inside - outside) / _MASK_SCALE


def _line(distance: np.ndarray, at: float, width: float) -> np.ndarray:
    return np.exp(-(((distance - at) / width) ** 2))


def _bright_field_wall(distance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Relative light: a slanting wall shows as two dark lines with bright fringes."""
    depth = rng.uniform(0.14, 0.26)
    scene = 1 + 0.012 * (distance < -2)
    scene = scene - depth * _line(distance, -0.3, 0.75) - 0.7 * depth * _line(distance, -3.0, 0.7)
    return (
        scene + 0.3 * depth * _line(distance, 1.4, 0.9) + 0.35 * depth * _line(distance, -1.6, 0.7)
    ).astype(np.float32)


def _phase_contrast_wall(distance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Relative light: dark chip, bright double edge, a glow that fades into the chamber."""
    strength = rng.uniform(0.6, 0.9)
    edge = 1 / (1 + np.exp(-2.5 * (distance + 2.0)))
    scene = 0.78 + 0.22 * edge
    glow = 0.3 * np.exp(-np.clip(distance, 0, None) / 6.5) * (distance > -1)
    lines = 0.25 * _line(distance, 0.0, 0.9) + 0.42 * _line(distance, -2.4, 0.9)
    halo = -0.06 * np.exp(-np.clip(-distance - 3, 0, None) / 4.0) * (distance < -3)
    return (scene + strength * (glow + lines + halo)).astype(np.float32)


def _modality(name: str) -> _Modality:
    if name not in _MODALITIES:
        raise UsageError(
            f"data.natural.modality is {name!r}; write 'bf' (bright field) or 'pc' (phase contrast)"
        )
    return _MODALITIES[name]


def _entropy(seed: int | Sequence[int]) -> tuple[int, ...]:
    parts = list(seed) if isinstance(seed, Sequence | np.ndarray) else [seed]
    whole = all(isinstance(part, int | np.integer) and part >= 0 for part in parts)
    _require(whole and parts, "seed", seed, "a whole number from 0, or a sequence of such")
    # The length goes first: numpy pads with zeros, so (1,) and (1, 0) would be the same stream.
    return (len(parts), *(int(part) for part in parts))


def _require(holds: object, key: str, value: object, wanted: str) -> None:
    if not holds:
        raise UsageError(f"{key} is {value!r}; it must be {wanted}")
