"""Pictures to approve chambers by: where they are in the field, and each of them in time."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from cellzoo.timelapse.chambers.table import ChamberRow

_THUMBNAIL = 96  # px, longest side of a picture in a contact sheet
_MOST_ROWS = 40  # chambers in a contact sheet
_LINE = (60, 200, 255)  # blue, green, red


def _grey(pixels: np.ndarray) -> np.ndarray:
    low, high = np.percentile(pixels, (0.5, 99.5))
    scaled = (pixels.astype(np.float32) - low) / max(high - low, 1e-6)
    return cv2.cvtColor((np.clip(scaled, 0, 1) * 255).astype(np.uint8), cv2.COLOR_GRAY2BGR)


def overview(pixels: np.ndarray, rows: Sequence[ChamberRow]) -> np.ndarray:
    """The first frame with its chambers."""
    scale = min(1.0, 1600 / max(pixels.shape))
    size = tuple(max(1, round(n * scale)) for n in pixels.shape[::-1])
    picture = cv2.resize(_grey(pixels), size, interpolation=cv2.INTER_AREA)
    for row in rows:
        corners = np.round(row.box.corners * scale - 0.5).astype(np.int32)
        cv2.polylines(picture, [corners], True, _LINE, 2, cv2.LINE_AA)
        place = tuple(int(n) for n in corners[0] + (6, 22))
        cv2.putText(picture, row.box.name, place, cv2.FONT_HERSHEY_SIMPLEX, 0.6, _LINE, 2)
    return picture


def thumbnail(picture: np.ndarray, flagged: bool) -> np.ndarray:
    """A small picture of a chamber, with a red frame where it is flagged."""
    scale = _THUMBNAIL / max(picture.shape)
    size = tuple(max(1, round(n * scale)) for n in picture.shape[::-1])
    small = cv2.resize(_grey(picture), size, interpolation=cv2.INTER_AREA)
    if flagged:
        cv2.rectangle(small, (0, 0), (size[0] - 1, size[1] - 1), (0, 0, 255), 2)
    return small


def contact_sheet(seen: Mapping[str, Sequence[np.ndarray]]) -> np.ndarray:
    """A row of pictures in time for each chamber; those with a flag have a red frame."""
    step, left = _THUMBNAIL + 4, 90
    rows = list(seen.items())[:_MOST_ROWS]
    columns = max((len(pictures) for _, pictures in rows), default=1)
    sheet = np.full((max(1, len(rows)) * step, left + columns * step, 3), 255, np.uint8)
    for k, (name, pictures) in enumerate(rows):
        text = name if name.isascii() else "?"
        cv2.putText(sheet, text[:8], (4, k * step + step // 2), cv2.FONT_HERSHEY_SIMPLEX, 0.5,
                    (0, 0, 0), 1, cv2.LINE_AA)  # fmt: skip
        for t, picture in enumerate(pictures):
            height, width = picture.shape[:2]
            sheet[k * step : k * step + height, left + t * step : left + t * step + width] = picture
    return sheet
