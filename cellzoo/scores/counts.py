"""How wrong a set of counts is. Knows nothing of models."""

from collections.abc import Sequence

import numpy as np


def count_metrics(counts: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Scores of predicted counts.

    Args:
        counts: true counts, ``[n]``, whole numbers, n >= 1.
        predicted: predicted counts, ``[n]``, not rounded.

    Returns:
        ``mae``, ``mre`` (mean relative error over images with cells) and ``exact`` (share of images
        counted exactly), of counts rounded to whole cells, as in the Twin-VAE paper's Table 2; and
        ``mae_raw``, ``rmse_raw``, ``bias_raw`` (predicted - true), ``r2_raw`` and ``mape_raw``
        (percent, as in the DCC paper) of counts as they come. Scores that need cells are NaN where
        there are none.
    """
    counts, predicted = np.asarray(counts, float), np.asarray(predicted, float)
    rounded_error = np.abs(round_count(predicted) - counts)
    error = predicted - counts
    cells = counts > 0
    spread = np.square(counts - counts.mean()).sum()

    def relative(errors: np.ndarray) -> float:
        return float((errors[cells] / counts[cells]).mean()) if cells.any() else float("nan")

    return {
        "mae": float(rounded_error.mean()),
        "mre": relative(rounded_error),
        "exact": float((rounded_error == 0).mean()),
        "mae_raw": float(np.abs(error).mean()),
        "rmse_raw": float(np.sqrt(np.square(error).mean())),
        "bias_raw": float(error.mean()),
        "r2_raw": float(1 - np.square(error).sum() / spread) if spread > 0 else float("nan"),
        "mape_raw": 100 * relative(np.abs(error)),
    }


def round_count(predicted: np.ndarray) -> np.ndarray:
    """Counts as whole cells, halves upwards and never below 0."""
    return np.maximum(np.floor(np.asarray(predicted, float) + 0.5), 0)


def interval_in_words(
    ends: Sequence[float] | None, form: str = "{:.2f}", factor: float = 1
) -> str:
    """A 95 % interval of :func:`cellzoo.scores.bootstrap.bootstrap_intervals`, for people."""
    if not ends:
        return "no interval"
    low, high = (form.format(factor * end) for end in ends)
    return f"95 % interval {low} to {high}"
