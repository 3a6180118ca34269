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
from dataclasses import dataclass

import numpy as np

from cellzoo.simulators.chamber import Chamber
from cellzoo.simulators.culture import Culture
from cellzoo.simulators.scene import DESIGN, modality_of, require, stream_key

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


def simulate_series(
    modality: str,
    frames: int,
    seed: int | Sequence[int],
    *,
    interval_minutes: float = 20.0,
    stride: int | None = None,
    doubling_hours: float = 20.0,
    size: int = DESIGN,
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
    modality_of(modality)
    require(n >= 1, "data.natural.n", n, "a whole number from 1")
    require(frames_per_chamber >= 1, "data.natural.frames_per_chamber", frames_per_chamber,
             "a whole number from 1")  # fmt: skip
    images, counts, groups, hours = [], [], [], []
    for chamber, start in enumerate(range(0, n, frames_per_chamber)):
        take = min(frames_per_chamber, n - start)
        entropy = (*stream_key(seed)[1:], zlib.crc32(prefix.encode()), chamber)
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
    require(0 <= labelled <= n, "data.natural.labelled", labelled, f"between 0 and {n}")
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
    size: int = DESIGN,
    max_count: int = 30,
    min_count: int = 1,
    return_instances: bool = False,
) -> tuple[Series, np.ndarray | None]:
    """Simulate all frames, render the first ``take``; masks uint8 [take, size, size] if asked.

    Growth, chamber and each frame have random streams of their own: what is rendered does not
    change what grows.
    """
    kind = modality_of(modality)
    require(frames >= 1, "frames", frames, "a whole number from 1")
    require(interval_minutes > 0, "interval_minutes", interval_minutes, "above 0")
    require(stride is None or stride >= 1, "stride", stride, "a whole number from 1")
    require(doubling_hours > 0, "doubling_hours", doubling_hours, "above 0")
    require(32 <= size <= 256, "size", size, "from 32 to 256")
    require(1 <= max_count <= 40, "max_count", max_count, "from 1 to 40")
    require(min_count in (0, 1), "min_count", min_count, "0 or 1")

    def stream(*key: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64((*stream_key(seed), kind.code, *key)))

    rng = stream(0)
    culture = Culture(kind, rng, doubling_hours, max_count, min_count)
    if stride is None:
        # Tuned so that predicting a set's mean count errs by about 4.5.
        low = min(8, max_count)
        final = rng.integers(low, max(round(0.85 * max_count), low) + 1)
        doublings = np.log2(max(final / max(len(culture.cells), 1), 1.0))
        exposures = doublings * doubling_hours * 60 / interval_minutes
        stride = max(1, round(exposures / max(frames - 1, 1)))
    chamber = Chamber(kind, stream(1))
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
