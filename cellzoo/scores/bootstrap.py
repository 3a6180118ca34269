"""How sure a score is, and whether two methods differ. Knows nothing of models."""

from collections.abc import Callable

import numpy as np
from scipy.special import ndtr, stdtrit

from cellzoo.scores.table import count_metrics

_MIN_GROUPS = 5  # of an interval of scores


def bootstrap_intervals(
    counts: np.ndarray,
    predicted: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    metrics: Callable[[np.ndarray, np.ndarray], dict[str, float]] = count_metrics,
    repeats: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Expanded percentile bootstrap interval of each metric.

    Whole groups are drawn: two frames of one chamber say less than two of different ones. Few
    groups vary less among themselves than those to come, so the percentiles lie further out, as
    Student's t does from the normal distribution (Hesterberg 2015,
    doi 10.1080/00031305.2015.1089789).

    Args:
        counts: true counts, ``[n]``.
        predicted: predicted counts, ``[n]``.
        groups: group of each image, ``[n]``; None: each is its own.
        metrics: function from counts and predictions to named scores.
        repeats: number of resamples.
        level: of confidence, in (0, 1).
        seed: of the resampling.

    Returns:
        Lower and upper end of each metric; nothing for fewer than 5 groups, which do not show how
        groups differ, nor of a metric that no resample has.
    """
    random = np.random.default_rng(seed)
    groups = np.arange(len(counts)) if groups is None else np.unique(groups, return_inverse=True)[1]
    members = [np.flatnonzero(groups == group) for group in range(groups.max() + 1)]
    if len(members) < _MIN_GROUPS:
        return {}
    rows = []
    for _ in range(repeats):
        drawn = random.integers(len(members), size=len(members))
        chosen = np.concatenate([members[group] for group in drawn])
        rows.append(metrics(counts[chosen], predicted[chosen]))
    few = len(members)
    tail = ndtr(-np.sqrt(few / (few - 1)) * stdtrit(few - 1, (1 + level) / 2))
    tails = (100 * tail, 100 * (1 - tail))
    return {
        name: tuple(float(q) for q in np.nanpercentile([row[name] for row in rows], tails))
        for name in rows[0]
        if not all(np.isnan(row[name]) for row in rows)
    }


def paired_p_value(
    first: np.ndarray, second: np.ndarray, groups: np.ndarray, *, repeats: int = 9999, seed: int = 0
) -> float:
    """How likely two methods that are equally wrong would differ at least as much as these do.

    Sign-flip permutation test, two-sided, of the difference between the mean errors. The signs of
    whole groups are flipped, because the images of a group are not independent. Up to 13 groups all
    combinations of signs are tried; beyond, ``repeats`` random ones.

    Args:
        first: absolute errors of one method, ``[n]``.
        second: absolute errors of the other on the same images, ``[n]``.
        groups: group of each image, ``[n]``.
        repeats: number of random flips, where not all are tried.
        seed: of the random flips.

    Returns:
        p in (0, 1]; NaN with fewer than two groups, of which nothing can be said.
    """
    from scipy.stats import permutation_test  # 0.5 s

    _, members = np.unique(groups, return_inverse=True)
    sums = [np.bincount(members, np.asarray(errors, float)) for errors in (first, second)]
    if len(sums[0]) < 2:
        return float("nan")
    test = permutation_test(
        sums,
        lambda a, b, axis: (a - b).sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=repeats,
        batch=1000,
        random_state=np.random.default_rng(seed),
    )
    return float(test.pvalue)


def holm(p_values: np.ndarray) -> np.ndarray:
    """P-values corrected for testing several hypotheses at once (Holm 1979).

    Args:
        p_values: ``[n]``; NaN stands for no test and counts for none.

    Returns:
        ``[n]``, none above 1.
    """
    p_values = np.asarray(p_values, float)
    corrected = np.full_like(p_values, np.nan)
    tested = np.flatnonzero(~np.isnan(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    scaled = p_values[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return corrected
