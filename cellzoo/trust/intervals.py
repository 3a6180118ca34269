"""Intervals: how far off a count may be, promised from labelled images that no weight has seen."""

from dataclasses import dataclass
from typing import Any

import numpy as np

LEVEL = 0.95
# How much of the squared scale may grow with the count; above, an image in which nothing was
# counted would get an interval of no width.
_SHARES = np.linspace(0, 0.9, 10)


@dataclass(frozen=True)
class Interval:
    """A 95 % interval around a count, wider where more is counted.

    Half its width is ``sqrt(constant + per_cell * count)``: where cells are missed or counted twice
    one by one, the square of the error grows with their number.

    Normalised split conformal prediction (Lei et al. 2018, section 5.2). Each held-out error is
    divided by a scale, and of these scores the ceil((n + 1) 0.95)-th smallest is what the scale is
    multiplied by. The scale's one free number is the likeliest under errors of Laplace's
    distribution. Fitting it to the very images that give the scores would make them look smaller
    than new ones: each image is scored by a scale fitted without its group.

    What is promised: a new image that is exchangeable with the n calibration images falls into its
    interval with probability at least 95 %, on average over calibrations; what the one fitted
    number may cost is too little to show in simulations (tests/trust/test_intervals.py). The
    share of images that a given calibration covers is distributed as Beta(k, n + 1 - k),
    k = ceil((n + 1) 0.95), see :func:`covered_share`. Fewer than 19 images promise nothing at 95 %.

    Images of one group (a time-lapse, a chamber) err alike and are not exchangeable with those of
    another. What is assumed is that the groups are, and are about as large: then 95 % still hold on
    average, nearly, but one calibration differs from the next more than n images would let expect.
    So the share that is written down is that for as many images as there are groups, at least 19.

    Attributes:
        constant: square of half the width where nothing is counted, in cells^2.
        per_cell: what each counted cell adds to it, in cells.
        images: labelled images that it was calibrated on; 0 if that was not written down.
        groups: that they came from; 0 if that was not written down.

    Example:
        >>> interval = Interval(constant=4.0, per_cell=1.0)
        >>> interval.ends(np.array([0.0, 5.0, 12.0]))
        (array([0., 2., 8.], dtype=float32), array([ 2.,  8., 16.], dtype=float32))
    """

    constant: float
    per_cell: float
    images: int = 0
    groups: int = 0

    @classmethod
    def fit(
        cls, counts: np.ndarray, predicted: np.ndarray, groups: np.ndarray | None = None
    ) -> "Interval | None":
        """Calibrates on held-out images.

        Args:
            counts: true counts, ``[n]``.
            predicted: predicted counts, ``[n]``, not rounded.
            groups: group of each image, ``[n]``; None: each is its own.

        Returns:
            None with too few images (under 19) to promise anything.
        """
        counts, predicted = np.asarray(counts, float), np.asarray(predicted, float)
        rank = conformal_rank(len(counts))
        if rank > len(counts):
            return None
        counted = np.maximum(predicted, 0)
        mean = counted.mean() or 1.0
        scales = np.sqrt(1 - _SHARES[:, None] * (1 - counted / mean))
        relative = np.abs(predicted - counts) / scales
        best, best_without = _likeliest(relative, np.log(scales), groups)
        scores = np.sort(relative[best_without, np.arange(len(counts))])
        square, share = scores[rank - 1] ** 2, _SHARES[best]
        number = len(counts) if groups is None else len(np.unique(groups))
        constant, per_cell = float(square * (1 - share)), float(square * share / mean)
        return cls(constant, per_cell, len(counts), number)

    @classmethod
    def from_metadata(cls, metadata: dict[str, Any]) -> "Interval | None":
        """From a run's validation scores; those of older runs have a constant half width."""
        found = metadata.get("interval")
        if found:
            return cls(*(found[key] for key in ("constant", "per_cell", "images", "groups")))
        half_width = metadata.get("interval_half_width")
        return None if half_width is None else cls(half_width**2, 0.0)

    def metadata(self) -> dict[str, Any]:
        """What a run and an export write down of it, with the share of images to expect inside."""
        low, high = covered_share(max(self.groups, 19)) if self.groups else (None, None)
        return {
            "constant": self.constant,
            "per_cell": self.per_cell,
            "images": self.images,
            "groups": self.groups,
            "level": LEVEL,
            "covered_share_low": low,
            "covered_share_high": high,
        }

    def ends(self, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends for counts ``[n]``, not rounded: float32 ``[n]``, never below 0.

        The ends are no whole numbers: what is between them is, of a count, the whole numbers there.
        """
        raw = np.asarray(raw, np.float32)
        square = np.float32(self.constant) + np.float32(self.per_cell) * np.maximum(raw, 0)
        half = np.sqrt(square)
        return np.maximum(raw - half, 0), np.maximum(raw + half, 0)


def conformal_rank(images: int, level: float = LEVEL) -> int:
    """Which of the sorted scores of so many images bounds a new one with probability ``level``.

    ceil((n + 1) level), in whole numbers, as floating point may come out one too high.
    """
    thousandths = round(1000 * level)
    return -(-(images + 1) * thousandths // 1000)


def covered_share(images: int, level: float = LEVEL) -> tuple[float, float]:
    """Between which shares of new images an interval from so many images covers, 9 times of 10.

    The 5 % and 95 % quantiles of Beta(k, n + 1 - k), k = ceil((n + 1) level) (Vovk 2012): 19 images
    cover between 85 and 99.7 %, 100 images between 91 and 98 %.

    Args:
        images: independent images of the calibration; at least 19 for a level of 95 %.
        level: that is promised on average.
    """
    from scipy.stats import beta

    rank = conformal_rank(images, level)
    low, high = beta.ppf([0.05, 0.95], rank, images + 1 - rank)
    return float(low), float(high)


def _likeliest(
    relative: np.ndarray, log_scales: np.ndarray, groups: np.ndarray | None
) -> tuple[int, np.ndarray]:
    """Which row of scales fits the errors best, and which without the group of each image.

    Args:
        relative: errors divided by scales, ``[scales, n]``.
        log_scales: logarithms of the scales, ``[scales, n]``.
        groups: ``[n]``.

    Returns:
        The row, and a row for each image ``[n]``.
    """
    members = np.arange(relative.shape[1])
    if groups is not None and len(np.unique(groups)) > 1:
        members = np.unique(groups, return_inverse=True)[1]
    sizes = np.bincount(members)

    def misfit(errors: np.ndarray, logs: np.ndarray, n: int | np.ndarray) -> np.ndarray:
        # Of Laplace's distribution with its best width: - log likelihood per image.
        return np.log(np.maximum(errors, 1e-9) / n) + logs / n

    errors, logs = relative.sum(axis=1), log_scales.sum(axis=1)
    best = int(np.argmin(misfit(errors, logs, len(members))))
    of_group = [
        np.stack([np.bincount(members, row, len(sizes)) for row in table])
        for table in (relative, log_scales)
    ]
    left = len(members) - sizes
    without = misfit(errors[:, None] - of_group[0], logs[:, None] - of_group[1], left)
    return best, np.argmin(without, axis=0)[members]
