"""Many images on one sheet, with their counts."""

import cv2
import numpy as np


def contact_sheet(images: np.ndarray, counts: np.ndarray, columns: int = 6) -> np.ndarray:
    """One picture of many images, with the count written under each.

    Args:
        images: [n, height, width], float in [0, 1] or uint8.
        counts: [n]; whole numbers are written as such, others with one decimal, NaN as "-".
        columns: Images per row.

    Returns:
        uint8 [rows, columns] of pixels, 0-255: white paper with dark writing.

    Raises:
        ValueError: There is no image, the shapes do not fit, or ``columns`` is below 1.
    """
    images, counts = np.asarray(images), np.asarray(counts)
    if images.ndim != 3 or len(images) == 0 or counts.shape != (len(images),) or columns < 1:
        raise ValueError(
            "need images [n, height, width], n counts and one column or more, not "
            f"{images.shape}, {counts.shape} and {columns}"
        )
    if images.dtype != np.uint8:
        images = np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)
    n, height, width = images.shape
    columns = min(columns, n)
    gap, line = 6, 18
    rows = -(-n // columns)
    sheet = np.full(
        (rows * (height + line) + gap, columns * (width + gap) + gap), 255, dtype=np.uint8
    )
    for i, (image, count) in enumerate(zip(images, counts, strict=True)):
        top, left = i // columns * (height + line) + gap, i % columns * (width + gap) + gap
        sheet[top : top + height, left : left + width] = image
        if np.isnan(count):
            text = "-"
        else:
            text = f"{count:.0f}" if float(count).is_integer() else f"{count:.1f}"
        place = (left, top + height + line - gap)
        cv2.putText(sheet, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, 0, 1, cv2.LINE_AA)
    return sheet
