"""How wrong counts are: one function for each score. Knows nothing of models.

All take true counts ``[n]``, n >= 1, and predicted ones ``[n]``, and give a number; NaN where the
images do not say. :mod:`cellzoo.scores.table` says which of them are for rounded counts.
"""

import numpy as np


def round_count(predicted: np.ndarray) -> np.ndarray:
    """Counts as whole cells, halves upwards and never below 0."""
    return np.maximum(np.floor(np.asarray(predicted, float) + 0.5), 0)


def shown_count(raw: float) -> str:
    """A count for people, whole as scores take it, and before rounding: ``2 (1.6)``."""
    return f"{round_count(raw):.0f} ({raw:.1f})"


def mean_absolute_error(counts: np.ndarray, predicted: np.ndarray) -> float:
    """Mean of ``|predicted - true|``, cells."""
    return float(np.abs(predicted - counts).mean())


def mean_relative_error(counts: np.ndarray, predicted: np.ndarray) -> float:
    """Mean of ``|predicted - true| / true``, a share, over the images with cells."""
    cells = counts > 0
    if not cells.any():
        return float("nan")
    return float((np.abs(predicted - counts)[cells] / counts[cells]).mean())


def invented_cells(counts: np.ndarray, predicted: np.ndarray) -> float:
    """Mean count of the images without a cell, cells: what relative errors leave out."""
    empty = counts == 0
    return float(predicted[empty].mean()) if empty.any() else float("nan")


def exact_share(counts: np.ndarray, predicted: np.ndarray) -> float:
    """Share of the images, in [0, 1], whose count is exactly right."""
    return float((predicted == counts).mean())


def root_mean_squared_error(counts: np.ndarray, predicted: np.ndarray) -> float:
    """Square root of the mean squared error, cells."""
    return float(np.sqrt(np.square(predicted - counts).mean()))


def bias(counts: np.ndarray, predicted: np.ndarray) -> float:
    """Mean of ``predicted - true``, cells."""
    return float((predicted - counts).mean())


def r_squared(counts: np.ndarray, predicted: np.ndarray) -> float:
    """Coefficient of determination, at most 1; NaN where all true counts are the same."""
    spread = np.square(counts - counts.mean()).sum()
    return float(1 - np.square(predicted - counts).sum() / spread) if spread > 0 else float("nan")


def mean_percentage_error(counts: np.ndarray, predicted: np.ndarray) -> float:
    """:func:`mean_relative_error` in percent, as in the DCC paper."""
    return 100 * mean_relative_error(counts, predicted)


def coverage(counts: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """Share of the true counts, in [0, 1], that lie inside their interval."""
    return float(((low <= counts) & (counts <= high)).mean())


def mean_width(counts: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """Mean width of the intervals, cells."""
    return float((high - low).mean())
