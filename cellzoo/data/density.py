"""Where the cells of a counted image are, as far as its mask tells."""

import cv2
import numpy as np


def cells_per_pixel(mask: np.ndarray, count: float | None = None) -> np.ndarray:
    """Spreads an image's cells over its mask: what a density map should be.

    Each instance is one cell. Of a mask that only tells foreground from background, the connected
    parts share the count by their areas, in whole cells (largest remainders): cells that touch are
    one part, and the count of the image says that there must be several in it.

    Args:
        mask: ``[h, w]``, 0 background; instance numbers, or one number for all cells.
        count: cells in the image of a mask that only tells foreground from background; None: it
            has instance numbers.

    Returns:
        Cells per pixel, float32 ``[h, w]``, the same everywhere in a part, with the sum ``count``;
        of instances, with the sum of their number.
    """
    parts, areas = mask, np.bincount(mask.ravel())
    if count is None:
        cells = np.ones(len(areas))
    else:
        _, parts = cv2.connectedComponents((mask > 0).astype(np.uint8), connectivity=8)
        areas = np.bincount(parts.ravel())
        cells = np.zeros(len(areas))
        if len(areas) > 1:
            share = count * areas[1:] / areas[1:].sum()
            cells[1:] = np.floor(share)
            rest = round(count - cells.sum())
            cells[1 + np.argsort(cells[1:] - share, kind="stable")[:rest]] += 1
    cells[0] = 0
    return (cells / np.maximum(areas, 1)).astype(np.float32)[parts]
