"""Intervals: how far off a count may be, promised from labelled images that no weight has seen."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from cellzoo.scores.counts import round_count

LEVEL = 0.95
# Shares of the squared scale that grow with the count and with its square. The rest is constant:
# without it an image in which nothing was counted would get an interval of no width.
_STEPS = np.linspace(0, 0.95, 8)
_SHARES = np.array([(one, two) for one in _STEPS for two in _STEPS if one + two < 0.97])
_FEWEST_IMAGES, _FEWEST_GROUPS = 19, 5
_BINS, _IMAGES_OF_A_BIN = 3, 60


@dataclass(frozen=True)
class Interval:
    """A 95 % interval around a count, wider where more is counted.

    Half its width is ``factor * sqrt(constant + per_cell * count + per_cell_squared * count^2)``.
    Where cells are missed or counted twice one by one, the squared error grows with their number.
    Where a whole image is misread by some share, it grows with the square. The factor is one of up
    to three, for few, for more and for many cells. The printed whole count always lies inside.

    Normalised split conformal prediction (Lei et al. 2018, section 5.2), in bins of the predicted
    count (Mondrian conformal prediction, Vovk et al. 2005, section 4.5). Each held-out error is
    divided by a scale. Of the n scores of a bin the ceil((n + 1) 0.95)-th smallest is the factor.
    The scale's two free numbers are the likeliest under errors of Laplace's distribution. Fitting
    them to the very images that give the scores would make new images look worse than these: each
    image is scored by a scale fitted without its group.

    What is promised: a new image that is exchangeable with the n calibration images of its bin
    falls into its interval with probability at least 95 %, on average over calibrations. What the
    fitted numbers may cost is too little to show in simulations (tests/trust/test_intervals.py).
    The share of images that a given calibration covers is distributed as Beta(k, n + 1 - k),
    k = ceil((n + 1) 0.95), see :func:`covered_share`. Fewer than 19 images promise nothing at 95 %.

    Images of one group (a time-lapse, a chamber) err alike and are not exchangeable with those of
    another. What is assumed is that the groups are, and are about as large: then 95 % still hold on
    average, nearly, but one calibration differs from the next more than n images would let expect.
    So the share that is written down is that for as many images as there are groups, at least 19.
    Fewer than 5 groups do not show how groups differ: there is no interval.

    Where images come in kinds (stains, modalities), each kind is calibrated by itself and the
    widest interval is given, as an image does not say of which kind it is. A kind of 19 images but
    fewer than 5 groups may widen the interval, too, but nothing is promised for it by itself.

    Attributes:
        constant: square of half the width where nothing is counted, in cells^2.
        per_cell: what each counted cell adds to it, in cells.
        per_cell_squared: what the square of the count adds to it.
        cuts: predicted counts at which the next factor begins, rising.
        factors: of each bin, one more than there are cuts.
        images: labelled images that it was calibrated on; 0 if that was not written down.
        groups: that they came from; 0 if that was not written down.
        kinds: of images for each of which the promise holds by itself.
        selected_on_others: whether other images chose the checkpoint; None: that was not written
            down. Where the same images chose it, their errors are a little too small.

    Example:
        >>> interval = Interval(constant=4.0, per_cell=1.0)
        >>> interval.ends(np.array([0.0, 5.0, 12.0]))
        (array([0., 2., 8.], dtype=float32), array([ 2.,  8., 16.], dtype=float32))
    """

    constant: float
    per_cell: float
    per_cell_squared: float = 0.0
    cuts: tuple[float, ...] = ()
    factors: tuple[float, ...] = (1.0,)
    images: int = 0
    groups: int = 0
    kinds: tuple[str, ...] = ()
    selected_on_others: bool | None = None

    @classmethod
    def fit(
        cls,
        counts: np.ndarray,
        predicted: np.ndarray,
        groups: np.ndarray | None = None,
        kinds: np.ndarray | None = None,
        selected_on_others: bool | None = None,
    ) -> "Interval | None":
        """Calibrates on held-out images.

        Args:
            counts: true counts, ``[n]``.
            predicted: predicted counts, ``[n]``, not rounded.
            groups: group of each image, ``[n]``; None: each is its own.
            kinds: kind of each image, ``[n]``; None: all are of one. A kind of fewer than 19
                images is calibrated with all others.
            selected_on_others: see the class.

        Returns:
            None with too few images (under 19) or groups (under 5) to promise anything.
        """
        counts, predicted = np.asarray(counts, float), np.asarray(predicted, float)
        groups = None if groups is None else np.asarray(groups)
        number = len(counts) if groups is None else len(np.unique(groups))
        if len(counts) < _FEWEST_IMAGES or number < _FEWEST_GROUPS:
            return None
        counted = np.maximum(predicted, 0)
        mean = counted.mean() or 1.0
        relative_count = counted / mean
        growing = _SHARES[:, :1] * relative_count + _SHARES[:, 1:] * relative_count**2
        scales = np.sqrt(1 - _SHARES.sum(axis=1, keepdims=True) + growing)
        relative = np.abs(predicted - counts) / scales
        best, best_without = _likeliest(relative, np.log(scales), groups)
        scores = relative[best_without, np.arange(len(counts))]
        parts = {"": np.ones(len(counts), bool)}
        if kinds is not None:
            each = {str(kind): np.asarray(kinds) == kind for kind in np.unique(kinds)}
            parts |= {k: m for k, m in each.items() if _FEWEST_IMAGES <= m.sum() < len(counts)}
        cuts, factors = _widest([_factors(scores[m], counted[m]) for m in parts.values()])
        one, two = _SHARES[best]
        return cls(
            constant=float(1 - one - two),
            per_cell=float(one / mean),
            per_cell_squared=float(two / mean**2),
            cuts=cuts,
            factors=factors,
            images=len(counts),
            groups=number,
            kinds=tuple(
                kind
                for kind, members in parts.items()
                if kind and (groups is None or len(np.unique(groups[members])) >= _FEWEST_GROUPS)
            ),
            selected_on_others=selected_on_others,
        )

    @classmethod
    def from_metadata(cls, metadata: dict[str, Any]) -> "Interval | None":
        """From a run's validation scores; those of older runs have a constant half width."""
        found = metadata.get("interval")
        if found:
            kept = {field.name: found[field.name] for field in fields(cls) if field.name in found}
            for key in ("cuts", "factors", "kinds"):
                kept[key] = tuple(kept.get(key, getattr(cls, key)))
            return cls(**kept)
        half_width = metadata.get("interval_half_width")
        return None if half_width is None else cls(half_width**2, 0.0)

    def metadata(self) -> dict[str, Any]:
        """What a run and an export write down of it, with the share of images to expect inside."""
        low, high = covered_share(max(self.groups, 19)) if self.groups else (None, None)
        written = {key: list(v) if isinstance(v, tuple) else v for key, v in vars(self).items()}
        shares = {"covered_share_low": low, "covered_share_high": high}
        return {**written, "level": LEVEL, **shares}

    def ends(self, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends for counts ``[n]``, not rounded: float32 ``[n]``, never below 0.

        The ends are no whole numbers, but the rounded count is never outside.
        """
        raw = np.asarray(raw, np.float32)
        counted = np.maximum(raw, 0)
        square = np.float32(self.constant) + np.float32(self.per_cell) * counted
        square = square + np.float32(self.per_cell_squared) * counted * counted
        bins = np.searchsorted(np.array(self.cuts, np.float32), counted, side="right")
        half = np.array(self.factors, np.float32)[bins] * np.sqrt(square)
        whole = round_count(raw).astype(np.float32)
        return np.minimum(np.maximum(raw - half, 0), whole), np.maximum(raw + half, whole)

    def formula(self) -> str:
        """The interval as a card writes it: ``count +- sqrt(0.25 + 0.62 count)``."""
        terms = [f"{self.constant:.4g}", f"{self.per_cell:.4g} count"]
        if self.per_cell_squared:
            terms.append(f"{self.per_cell_squared:.4g} count^2")
        root = f"sqrt({' + '.join(terms)})"
        factors = [f"{factor:.4g}" for factor in self.factors]
        if not self.cuts:
            return f"count +- {root}" if self.factors == (1.0,) else f"count +- {factors[0]} {root}"
        cuts = ", ".join(f"{cut:.4g}" for cut in self.cuts)
        return f"count +- {', '.join(factors)} times {root} for counts from 0, {cuts} on"


def too_few_to_promise(images: int | None, groups: int | None) -> str:
    """Why no interval can be promised, in a few words, see :meth:`Interval.fit`.

    Args:
        images: labelled validation images that could be calibrated on; None: not known.
        groups: that they come from; None: not known.
    """
    if images is not None and images < _FEWEST_IMAGES:
        return f"{images} of {_FEWEST_IMAGES} labelled validation images that are needed"
    if groups is not None and groups < _FEWEST_GROUPS:
        return f"{groups} of {_FEWEST_GROUPS} groups of validation images that are needed"
    return (
        f"fewer than {_FEWEST_IMAGES} labelled validation images or {_FEWEST_GROUPS} groups of them"
    )


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


def _factors(scores: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cuts between bins of predicted counts, and the factor of each bin.

    Args:
        scores: errors divided by their scales, ``[n]``, n >= 19.
        counted: predicted counts, ``[n]``, none below 0.

    Returns:
        float ``[bins - 1]`` and ``[bins]``. Each bin has about as many images, at least 60; with
        fewer than 120 there is one.
    """
    number = int(np.clip(len(scores) // _IMAGES_OF_A_BIN, 1, _BINS))
    cuts = np.unique(np.quantile(counted, np.arange(1, number) / number))
    bins = np.searchsorted(cuts, counted, side="right")
    if np.bincount(bins, minlength=len(cuts) + 1).min() < _FEWEST_IMAGES:  # counts alike
        cuts, bins = cuts[:0], np.zeros(len(scores), int)
    parts = [np.sort(scores[bins == k]) for k in range(len(cuts) + 1)]
    return cuts, np.array([part[conformal_rank(len(part)) - 1] for part in parts])


def _widest(
    kinds: list[tuple[np.ndarray, np.ndarray]],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Cuts and factors that are nowhere below those of any kind."""
    cuts = np.unique(np.concatenate([cuts for cuts, _ in kinds]))
    # A bin begins at its lower cut; the first one begins at 0.
    begins = np.r_[0.0, cuts]
    factors = [of_kind[np.searchsorted(own, begins, side="right")] for own, of_kind in kinds]
    return tuple(map(float, cuts)), tuple(map(float, np.max(factors, axis=0)))
