"""Where the cells of a counted image are, as far as its mask or its dots say."""

import cv2
import numpy as np

# Standard deviation in pixels of the Gaussian that a dot becomes. A click is some pixels off the
# middle of its cell. Losses compare sums over blocks of 4 and 16 pixels, to which 2 is near enough.
DOT_SIGMA = 2.0
_FEW = 256  # numbers of a mask that fit eight bits


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
    parts = mask
    if count is None:
        areas = _areas(mask)
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
    return _looked_up(parts, (cells / np.maximum(areas, 1)).astype(np.float32))


def _areas(mask: np.ndarray) -> np.ndarray:
    """Pixels of each number from 0 to the highest in a mask."""
    number = int(mask.max(initial=0)) + 1
    # OpenCV counts in float32, which holds whole numbers up to 2^24.
    if mask.dtype not in (np.uint8, np.uint16) or number > _FEW or mask.size >= 2**24:
        return np.bincount(mask.ravel())
    found = cv2.calcHist([mask], [0], None, [number], [0, number])
    return found.ravel().astype(np.int64)


def _looked_up(parts: np.ndarray, table: np.ndarray) -> np.ndarray:
    """``table[parts]``, float32, in a quarter of the time where the parts are few."""
    if len(table) > _FEW:
        return table[parts]
    whole = np.zeros(_FEW, np.float32)
    whole[: len(table)] = table
    return cv2.LUT(parts.astype(np.uint8), whole)


def cells_at(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Spreads each dot over the pixels around it: what a density map should be.

    A dot is a Gaussian of :data:`DOT_SIGMA` pixels. What would lie outside the image is inside,
    too, so that a dot at the border is one cell as well, and windows count whole cells.

    Args:
        points: ``[k, 2]``, x before y, in pixels, all within the image.
        shape: height and width of the image.

    Returns:
        Cells per pixel, float32 ``[h, w]``, with the sum k.
    """
    columns, rows = (_gaussians(points[:, axis], side) for axis, side in enumerate(reversed(shape)))
    return (rows.T @ columns).astype(np.float32)


def _gaussians(middles: np.ndarray, side: int) -> np.ndarray:
    """A row for each of k places along an axis, ``[k, side]``, each with the sum 1."""
    away = np.arange(side) - np.asarray(middles, float)[:, None]
    values = np.exp(-(away**2) / (2 * DOT_SIGMA**2))
    return values / values.sum(axis=1, keepdims=True)
