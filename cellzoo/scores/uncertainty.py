"""How sure a score is, and whether two methods differ. Knows nothing of models.

``docs/statistics.md`` says what is promised under which assumption.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit, stdtr, stdtrit

from cellzoo.scores.table import COUNT_SCORES, count_metrics

FEWEST_GROUPS, FEWEST_TRAININGS = 5, 3
_MOST_PARTS = 200  # groups are left out together where there are more


def against_mean(
    images: int,
    groups: int,
    mae: float,
    ends: Sequence[float] | None,
    mean_prediction_mae: float | None,
) -> str:
    """A sentence where a counter is not shown to be better than always predicting the mean.

    Args:
        images: that were scored.
        groups: that they come from.
        mae: mean absolute error of the counter, cells.
        ends: of its 95 % interval; None: there is none.
        mean_prediction_mae: error of always predicting the mean, cells; None: not known.

    Returns:
        Empty where the counter is better, or nothing is known.
    """
    if mean_prediction_mae is None:
        return ""
    if ends is None and groups < FEWEST_GROUPS:
        few = f"{_number(images, 'image')} of {_number(groups, 'group')}"
        return f"{few} cannot tell this counter from always predicting the mean."
    low, high = ends or (mae, mae)
    if low > mean_prediction_mae:
        return "This counter is worse than always predicting the mean."
    if high >= mean_prediction_mae:
        return f"{images} images cannot tell this counter from always predicting the mean."
    return ""


def _number(number: int, of: str) -> str:
    return f"{number} {of}" if number == 1 else f"{number} {of}s"


def score_intervals(
    counts: np.ndarray,
    predicted: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    metrics: Callable[[np.ndarray, np.ndarray], dict[str, float]] = count_metrics,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Interval of each score for new groups, by the jackknife over groups.

    Each group is left out once: two frames of one chamber say less than two of different ones. The
    scatter of the scores without one group gives the standard error (Efron and Tibshirani 1993,
    chapter 11), Student's t its multiple. It is taken on a scale on which a score has no border:
    logarithms of errors, log odds of shares. There are two degrees of freedom less than groups:
    with one less, 7 very different groups held 91 % in simulations.

    Args:
        counts: true counts, ``[n]``.
        predicted: predicted counts, ``[n]``.
        groups: group of each image, ``[n]``; None: each is its own.
        metrics: function from counts and predictions to named scores.
        level: of confidence, in (0, 1).

    Returns:
        Lower and upper end of each score. Nothing for fewer than 5 groups, which do not show how
        groups differ; nothing of a score that has no ``scale`` in the table, that is not known, or
        that is the same without each group.
        A share of 0 or 1 has what so many groups without an exception promise.
    """
    counts, predicted = np.asarray(counts, float), np.asarray(predicted, float)
    groups = np.arange(len(counts)) if groups is None else groups
    members = np.unique(groups, return_inverse=True)[1]
    number = int(members.max()) + 1
    if number < FEWEST_GROUPS:
        return {}
    if number > _MOST_PARTS:
        members = (np.random.default_rng(0).permutation(number) % _MOST_PARTS)[members]
    parts = min(number, _MOST_PARTS)
    whole = metrics(counts, predicted)
    without = [metrics(counts[members != k], predicted[members != k]) for k in range(parts)]
    found = {}
    for key, value in whole.items():
        scale = COUNT_SCORES[key].scale if key in COUNT_SCORES else "linear"
        left = np.array([scores[key] for scores in without])
        if scale is None or np.isnan(value) or np.isnan(left).any():
            continue
        ends = _ends(value, left, scale, level)
        if ends is None and scale == "share" and value in (0, 1):
            # So many groups without an exception: 1 - p^n, each end by itself.
            least = ((1 - level) / 2) ** (1 / number)
            ends = (least, 1.0) if value else (0.0, 1 - least)
        if ends is not None:
            found[key] = ends
    return found


def _ends(
    value: float, without: np.ndarray, scale: str, level: float
) -> tuple[float, float] | None:
    there, back = _SCALES[scale]
    with np.errstate(divide="ignore"):
        middle, left = there(value), there(without)
    if not (np.isfinite(middle) and np.isfinite(left).all()):
        return None
    parts = len(left)
    error = np.sqrt((parts - 1) / parts * np.square(left - left.mean()).sum())
    if error <= 1e-12 * max(1.0, abs(middle)):
        return None
    reach = stdtrit(parts - 2, (1 + level) / 2) * error
    low, high = sorted((float(back(middle - reach)), float(back(middle + reach))))
    return low, high


# There and back: where a score has a border, scales without one.
_SCALES: dict[str, tuple[Callable, Callable]] = {
    "linear": (np.asarray, np.asarray),
    "error": (np.log, np.exp),
    "share": (logit, expit),
}


@dataclass(frozen=True)
class Difference:
    """How much larger the mean error of one method is than that of another.

    Attributes:
        mean: over all trainings and images, cells.
        low: lower end of its 95 % interval; NaN where nothing can be said.
        high: upper end.
        p: how likely methods whose trainings are equally good on average differ at least as much;
            NaN where nothing can be said.
        reason: why nothing can be said; empty where it can.
    """

    mean: float
    low: float = float("nan")
    high: float = float("nan")
    p: float = float("nan")
    reason: str = ""


def difference(
    first: Sequence[np.ndarray],
    second: Sequence[np.ndarray],
    groups: Sequence[np.ndarray],
    *,
    same_groups: bool,
) -> Difference:
    """Compares two methods over trainings and groups.

    What is asked is whether another training on other groups would show the same. So both vary: the
    squared standard error is the sum of what trainings and of what groups contribute, as in a
    crossed design with random trainings and groups. Its degrees of freedom are the fewer of both.
    Where each training has groups of its own, the trainings' scatter holds that of the groups.

    Args:
        first: absolute errors of one method, ``[n]`` for each training.
        second: those of the other on the same images.
        groups: group of each image, ``[n]`` for each training.
        same_groups: whether a group's name means the same cells in every training.
    """
    gaps = [np.asarray(a, float) - b for a, b in zip(first, second, strict=True)]
    mean = float(np.concatenate(gaps).mean())
    trainings = len(gaps)
    if trainings < FEWEST_TRAININGS:
        return Difference(
            mean,
            reason=f"{trainings} of at least {FEWEST_TRAININGS} trainings of each method: what "
            "differs may be the training",
        )
    number = len(np.unique(np.concatenate(groups))) if same_groups else min(
        len(np.unique(part)) for part in groups
    )  # fmt: skip
    if number < FEWEST_GROUPS:
        few = f"{number} of at least {FEWEST_GROUPS} groups: nothing could be significant"
        return Difference(mean, reason=few)
    of_trainings = np.array([part.mean() for part in gaps])
    shares = [(of_trainings.var(ddof=1) / trainings, trainings - 1)]
    if same_groups:
        members = np.unique(np.concatenate(groups), return_inverse=True)[1]
        sizes = np.bincount(members)
        off = np.bincount(members, np.concatenate(gaps)) - sizes * mean
        square = number / (number - 1) * np.square(off / sizes.sum()).sum()
        shares.append((square, number - 1))
    variance = sum(square for square, _ in shares)
    if variance <= 0:
        return Difference(mean, mean, mean, 1.0 if mean == 0 else 0.0)
    # The fewest that contribute: Satterthwaite's are too many where trainings are few.
    freedom = min(degrees for square, degrees in shares if square > 0)
    reach = float(stdtrit(freedom, 0.975) * np.sqrt(variance))
    p = float(2 * stdtr(freedom, -abs(mean) / np.sqrt(variance)))
    return Difference(mean, mean - reach, mean + reach, p)


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
