"""How wrong a segmentation is: one function for each score. Knows nothing of models."""

import numpy as np

# Two cells that touch at a corner are two cells.
SIDES_ONLY = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)


def dice(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Twice the common area over the sum of both areas, in [0, 1]; 1 where both are empty.

    Args:
        truth: true mask, above 0 in cells, of any shape.
        predicted: predicted mask of the same shape, above 0 in cells.
    """
    truth, predicted = np.asarray(truth) > 0, np.asarray(predicted) > 0
    both = truth.sum() + predicted.sum()
    return float(2 * (truth & predicted).sum() / both) if both else 1.0


def pixel_accuracy(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Share of pixels, in [0, 1], that both masks call cell or both background."""
    return float(((np.asarray(truth) > 0) == (np.asarray(predicted) > 0)).mean())


def instances(mask: np.ndarray) -> np.ndarray:
    """Numbers the connected parts of a mask: ``[h, w]``, above 0 in cells -> int32 ``[h, w]``."""
    from scipy import ndimage  # 0.2 s, which a recipe's check has no use for

    return ndimage.label(np.asarray(mask) > 0, structure=SIDES_ONLY)[0].astype(np.int32)


def iou_matrix(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Common area over joint area of every true cell with every predicted one.

    Args:
        truth: ``[h, w]``, 0 = background, each cell a number of its own.
        predicted: the same of the predicted cells.

    Returns:
        ``[true cells, predicted cells]`` in [0, 1], cells in the order of their numbers.
    """
    truth_ids, truth_at = np.unique(truth, return_inverse=True)
    predicted_ids, predicted_at = np.unique(predicted, return_inverse=True)
    shape = len(truth_ids), len(predicted_ids)
    pairs = truth_at.ravel() * shape[1] + predicted_at.ravel()
    common = np.bincount(pairs, minlength=shape[0] * shape[1]).reshape(shape)
    joint = common.sum(axis=1, keepdims=True) + common.sum(axis=0, keepdims=True) - common
    return (common / joint)[truth_ids > 0][:, predicted_ids > 0]


def matches(truth: np.ndarray, predicted: np.ndarray, iou: float = 0.5) -> tuple[int, int, int]:
    """Cells found, invented and missed when each is matched with one other at most.

    Args:
        truth: see :func:`iou_matrix`.
        predicted: see :func:`iou_matrix`.
        iou: common over joint area from which on two cells are the same one.
    """
    from scipy.optimize import linear_sum_assignment  # 0.3 s

    overlaps = iou_matrix(truth, predicted) >= iou
    found = int(overlaps[linear_sum_assignment(overlaps, maximize=True)].sum())
    return found, overlaps.shape[1] - found, overlaps.shape[0] - found


def average_precision(found: int, invented: int, missed: int) -> float:
    """Found over found + invented + missed cells (the Data Science Bowl 2018's); 1 without any."""
    cells = found + invented + missed
    return found / cells if cells else 1.0


def instance_precision(truth: np.ndarray, predicted: np.ndarray) -> float:
    """:func:`average_precision` of the connected parts of a predicted mask, in [0, 1].

    Args:
        truth: ``[h, w]``, 0 = background, each cell a number of its own.
        predicted: ``[h, w]``, above 0 in cells.
    """
    return average_precision(*matches(truth, instances(predicted)))
