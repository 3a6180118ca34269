"""From the counts of several methods on the same images to a table; knows nothing of models."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from cellzoo.data.image_set import ImageSet
from cellzoo.scores.counts import round_count
from cellzoo.scores.table import HEADLINE, count_metrics
from cellzoo.scores.uncertainty import difference, holm, score_intervals

POOLED = "all"

# What the columns of comparison.csv hold; every score is followed by the ends of its interval.
MEANINGS = {
    "method": "label of the method",
    "seed": f"seed of data and training; `{POOLED}`: the images of all seeds together",
    "images": "natural images scored",
    "groups": "groups (chambers, scenes, time-lapses) that they come from",
    **{
        f"{domain}_{score.key}": f"{score.meaning}, {domain} images; "
        "`_low`, `_high`: its 95 % interval"
        for domain in ("natural", "synthetic")
        for score in HEADLINE
    },
    "natural_mae_sd": "standard deviation of natural_mae over the seeds",
    "best": "1 for the method with the lowest natural_mae over all seeds, as found on these images",
    "parameters": "weights that were trained",
    "training_seconds": "time that the training took; of all seeds: the mean",
    "images_per_second": "natural images counted in a second, measured in this comparison",
}
_WITH_INTERVAL = [
    f"{domain}_{score.key}" for domain in ("natural", "synthetic") for score in HEADLINE
]
PAIR_MEANINGS = {
    "first": "label of a method",
    "second": "label of the method that it is compared with",
    "difference": "natural_mae of the first less that of the second, cells",
    "low": "lower end of its 95 % interval, for other trainings and other groups",
    "high": "upper end of it",
    "p": "how likely methods that are equal over trainings differ at least as much",
    "p_holm": "the same, corrected for the number of pairs (Holm)",
    "reason": "why nothing can be said",
}
COLUMNS = [
    column
    for name in MEANINGS
    for column in (
        (name, f"{name}_low", f"{name}_high") if name in _WITH_INTERVAL else (name,)
    )
]


@dataclass(frozen=True, eq=False)
class Drawn:
    """Synthetic images of one seed, and what a method's synthetic half counted in them.

    Attributes:
        generator: 1 for the first generator among those compared, 2 for the next.
        counts: true counts, ``[n]``.
        predicted: ``[n]``, not rounded.
    """

    generator: int
    counts: np.ndarray
    predicted: np.ndarray


@dataclass(eq=False)
class Method:
    """What one method counted.

    Attributes:
        label: its name in table and plots.
        natural: its counts by seed, ``[n]`` each, not rounded, of the images compared on.
        synthetic: by seed; empty if it has no synthetic half.
        parameters: number of trainable weights; None if that means nothing.
        training_seconds: by seed.
        images_per_second: how fast it counts; None if that means nothing.
    """

    label: str
    natural: dict[int, np.ndarray] = field(default_factory=dict)
    synthetic: dict[int, Drawn] = field(default_factory=dict)
    parameters: int | None = None
    training_seconds: dict[int, float] = field(default_factory=dict)
    images_per_second: float | None = None


def table(
    methods: Sequence[Method], images: dict[int, ImageSet], *, same_groups: bool
) -> list[dict[str, object]]:
    """The rows of ``comparison.csv``: for each method one per seed, then one of all seeds.

    Args:
        methods: each has counted the images of every seed.
        images: those that the methods are compared on, by seed, all labelled.
        same_groups: whether a group's name means the same cells in every seed, so that its images
            are left out together by the jackknife.

    Returns:
        Dicts with the keys of :data:`COLUMNS`; None where there is nothing to say.
    """
    seeds = list(images)
    true = np.concatenate([images[seed].counts for seed in seeds])
    groups = np.concatenate(
        [
            images[seed].groups if same_groups else [f"{seed}/{g}" for g in images[seed].groups]
            for seed in seeds
        ]
    )
    predicted = [np.concatenate([method.natural[seed] for seed in seeds]) for method in methods]
    errors = [np.abs(round_count(counts) - true) for counts in predicted]
    best = int(np.argmin([error.mean() for error in errors]))
    rows = []
    for k, method in enumerate(methods):
        by_seed = [_seed_row(method, seed, images[seed]) for seed in seeds]
        pooled = {
            "seed": POOLED,
            **_natural(true, predicted[k], groups),
            **_synthetic(list(method.synthetic.values())),
            "natural_mae_sd": _spread([row["natural_mae"] for row in by_seed]),
            "best": int(k == best),
            "training_seconds": _mean(list(method.training_seconds.values())),
        }
        of_all = {
            "method": method.label,
            "parameters": method.parameters,
            "images_per_second": method.images_per_second,
        }
        rows += [{**dict.fromkeys(COLUMNS), **of_all, **row} for row in (*by_seed, pooled)]
    return rows


def pairs(
    methods: Sequence[Method],
    images: dict[int, ImageSet],
    *,
    same_groups: bool,
    reference: str | None = None,
) -> list[dict[str, object]]:
    """The rows of ``pairs.csv``: how much methods differ over trainings and groups.

    Args:
        methods: each has counted the images of every seed.
        images: those that the methods are compared on, by seed, all labelled.
        same_groups: whether a group's name means the same cells in every seed.
        reference: label of the method that all others are compared with, named beforehand; None:
            all pairs are compared.

    Returns:
        Dicts with the keys of :data:`PAIR_MEANINGS`; None where there is nothing to say.
    """
    compared = list(combinations(methods, 2))
    if reference is not None:
        (chosen,) = (method for method in methods if method.label == reference)
        compared = [(method, chosen) for method in methods if method is not chosen]
    errors = {
        method.label: [
            np.abs(round_count(method.natural[seed]) - part.counts) for seed, part in images.items()
        ]
        for method in methods
    }
    groups = [part.groups for part in images.values()]
    found = [
        difference(errors[first.label], errors[second.label], groups, same_groups=same_groups)
        for first, second in compared
    ]
    corrected = holm(np.array([one.p for one in found]))
    return [
        {
            "first": first.label,
            "second": second.label,
            "difference": one.mean,
            "low": _known(one.low),
            "high": _known(one.high),
            "p": _known(one.p),
            "p_holm": _known(p_holm),
            "reason": one.reason,
        }
        for (first, second), one, p_holm in zip(compared, found, corrected, strict=True)
    ]


def _seed_row(method: Method, seed: int, images: ImageSet) -> dict[str, object]:
    drawn = [method.synthetic[seed]] if seed in method.synthetic else []
    return {
        "seed": seed,
        **_natural(images.counts, method.natural[seed], images.groups),
        **_synthetic(drawn),
        "training_seconds": method.training_seconds.get(seed),
    }


def _natural(true: np.ndarray, predicted: np.ndarray, groups: np.ndarray) -> dict[str, object]:
    sizes = {"images": len(true), "groups": len(set(groups))}
    return sizes | _scores("natural", true, predicted, groups)


def _synthetic(drawn: list[Drawn]) -> dict[str, object]:
    if not drawn:
        return {}
    true = np.concatenate([part.counts for part in drawn])
    return _scores("synthetic", true, np.concatenate([part.predicted for part in drawn]), None)


def _scores(
    domain: str, true: np.ndarray, predicted: np.ndarray, groups: np.ndarray | None
) -> dict[str, object]:
    scores = count_metrics(true, predicted)
    intervals = score_intervals(true, predicted, groups=groups)
    cells: dict[str, object] = {}
    for score in HEADLINE:
        low, high = intervals.get(score.key, (None, None))
        cells |= {
            f"{domain}_{score.key}": _known(scores[score.key]),
            f"{domain}_{score.key}_low": low,
            f"{domain}_{score.key}_high": high,
        }
    return cells


def _spread(values: list[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
