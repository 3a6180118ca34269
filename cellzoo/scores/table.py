"""The table of scores: one row for each, from which everything that shows or asks for scores reads.

A new score is a function and a row here. JSON files, tables, reports, model cards and the ranges of
``cellzoo tune`` then have it. A row with ``headline`` is also on the command line and in
comparisons.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cellzoo.scores import counts as of_counts
from cellzoo.scores import segmentation as of_masks
from cellzoo.scores.counts import round_count


@dataclass(frozen=True)
class Score:
    """One score.

    Attributes:
        key: its name in files.
        name: its name for people, short.
        meaning: what it is, in words, without its unit.
        function: makes it: of true and predicted counts, of true counts and the two ends of their
            intervals, or of the masks of one image.
        unit: of the number that people see.
        direction: ``"min"``: smaller is better; ``"max"``: larger is; ``"zero"``: closer to 0 is.
        decimals: that people see.
        factor: from the number in files to the one that people see: 100 makes a share percent.
        rounded: whether counts are rounded to whole cells first.
        headline: whether it is among the few that are shown first.
        every_epoch: whether ``history.csv`` has it for every epoch.
        scale: on which its interval is symmetrical: as it is, or one without the border that errors
            and shares have. None: it has no interval, as one hard group decides such a score, or
            few groups have it at all.
        of_cells: of masks: whether it needs true masks whose numbers distinguish the cells.
    """

    key: str
    name: str
    meaning: str
    function: Callable[..., float]
    unit: str = ""
    direction: Literal["min", "max", "zero"] = "min"
    decimals: int = 2
    factor: int = 1
    rounded: bool = False
    headline: bool = False
    every_epoch: bool = False
    scale: Literal["linear", "error", "share"] | None = "error"
    of_cells: bool = False

    def number(self, value: float) -> str:
        """The value for people, without its unit."""
        return f"{self.factor * value:.{self.decimals}f}"

    def text(self, value: float) -> str:
        """The value with its unit, for people."""
        return f"{self.number(value)} {self.unit}".rstrip()

    def interval(self, ends: Sequence[float] | None) -> str:
        """Both ends of its interval, for people; empty where there is none."""
        return " to ".join(self.number(end) for end in ends) if ends else ""

    def interval_in_words(self, ends: Sequence[float] | None) -> str:
        """The same as words that need no heading."""
        return f"95 % interval {self.interval(ends)}" if ends else "no interval"


# MAE, MRE and the exact share are those of the Twin-VAE paper's Table 2, MAPE the DCC paper's.
COUNT_SCORES = {
    score.key: score
    for score in (
        Score("mae", "MAE", "mean absolute error", of_counts.mean_absolute_error, "cells",
              rounded=True, headline=True, every_epoch=True),
        Score("mre", "MRE", "mean relative error of images with cells",
              of_counts.mean_relative_error, "%",
              decimals=1, factor=100, rounded=True, headline=True, every_epoch=True),
        Score("exact", "exact", "share of images counted exactly", of_counts.exact_share, "%",
              "max", decimals=1, factor=100, rounded=True, headline=True, every_epoch=True,
              scale="share"),
        Score("invented", "invented", "mean count of images without a cell",
              of_counts.invented_cells, "cells per empty image", rounded=True, headline=True,
              scale=None),
        Score("mae_raw", "MAE, not rounded", "mean absolute error of counts that are not rounded",
              of_counts.mean_absolute_error, "cells", every_epoch=True),
        Score("rmse_raw", "RMSE, not rounded",
              "root of the mean squared error of counts that are not rounded",
              of_counts.root_mean_squared_error, "cells", scale=None),
        Score("bias_raw", "bias, not rounded",
              "mean of predicted - true count, of counts that are not rounded",
              of_counts.bias, "cells", "zero", scale="linear"),
        Score("r2_raw", "R², not rounded",
              "coefficient of determination of counts that are not rounded",
              of_counts.r_squared, "", "max", scale=None),
        Score("mape_raw", "MAPE, not rounded",
              "mean absolute percentage error of images with cells, counts not rounded",
              of_counts.mean_percentage_error, "%", decimals=1),
    )
}  # fmt: skip
INTERVAL_SCORES = {
    score.key: score
    for score in (
        Score("coverage", "inside their interval", "share of true counts in their 95 % interval",
              of_counts.coverage, "%", "max", decimals=1, factor=100),
        Score("mean_width", "mean interval width", "mean width of the 95 % intervals",
              of_counts.mean_width, "cells"),
    )
}  # fmt: skip
MASK_SCORES = {
    score.key: score
    for score in (
        Score("dice", "Dice", "twice the common area over the sum of both areas",
              of_masks.dice, "", "max", decimals=3),
        Score("pixel_accuracy", "pixel accuracy", "share of pixels on whose kind both masks agree",
              of_masks.pixel_accuracy, "", "max", decimals=3),
        Score("ap50", "average precision", "average precision at a common over joint area of 0.5",
              of_masks.instance_precision, "", "max", decimals=3, of_cells=True),
    )
}  # fmt: skip
HEADLINE = [score for score in COUNT_SCORES.values() if score.headline]
EVERY_EPOCH = [score.key for score in COUNT_SCORES.values() if score.every_epoch]


def count_metrics(counts: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Scores of predicted counts.

    Args:
        counts: true counts, ``[n]``, whole numbers, n >= 1.
        predicted: predicted counts, ``[n]``, not rounded.

    Returns:
        Every score of :data:`COUNT_SCORES` by its key; NaN where the images do not say, as the
        relative error of images without a cell.
    """
    counts, predicted = np.asarray(counts, float), np.asarray(predicted, float)
    rounded = round_count(predicted)
    return {
        key: score.function(counts, rounded if score.rounded else predicted)
        for key, score in COUNT_SCORES.items()
    }


def interval_metrics(
    counts: np.ndarray, low: np.ndarray, high: np.ndarray
) -> dict[str, float] | None:
    """How well the intervals of counts keep what they promise.

    Args:
        counts: true counts, ``[n]``.
        low: lower ends, ``[n]``; NaN where nothing is promised.
        high: upper ends.

    Returns:
        Every score of :data:`INTERVAL_SCORES` by its key; None if nothing is promised.
    """
    promised = ~np.isnan(low)
    if not promised.any():
        return None
    known = counts[promised], low[promised], high[promised]
    return {key: score.function(*known) for key, score in INTERVAL_SCORES.items()}


def segmentation_metrics(
    truth: np.ndarray, predicted: np.ndarray, known_instances: np.ndarray
) -> dict[str, float]:
    """Scores of predicted masks, each the mean over the images.

    Args:
        truth: true masks, ``[n, h, w]``, 0 = background; each cell a number of its own
            where ``known_instances``.
        predicted: predicted masks, ``[n, h, w]``, above 0 in cells; their connected parts are the
            predicted cells.
        known_instances: whether the numbers of each true mask distinguish its cells, bool ``[n]``.

    Returns:
        Every score of :data:`MASK_SCORES` by its key; ``ap50`` is over the images with known
        instances, and missing where there are none.
    """
    pairs = list(zip(truth, predicted, strict=True))
    numbered = [pair for pair, known in zip(pairs, known_instances, strict=True) if known]
    scores = {}
    for key, score in MASK_SCORES.items():
        scored = numbered if score.of_cells else pairs
        if scored:
            scores[key] = float(np.mean([score.function(*pair) for pair in scored]))
    return scores


def known_scores(
    scores: dict[str, float | None], table: dict[str, Score] = COUNT_SCORES
) -> list[tuple[Score, float]]:
    """Each score of a table that has a value: neither missing, nor None, nor NaN."""
    found = ((score, scores.get(key)) for key, score in table.items())
    return [(score, value) for score, value in found if value is not None and value == value]


def headline_in_words(scores: dict[str, float | None]) -> str:
    """The first scores in a line: ``MAE 0.50 cells, MRE 3.1 %, exact 61.0 %``."""
    known = known_scores(scores)
    return ", ".join(f"{score.name} {score.text(v)}" for score, v in known if score.headline)
