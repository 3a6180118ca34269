"""Pictures of chambers, cut out of fields of view."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from cellzoo.counters.entries import Entry
from cellzoo.errors import UserError
from cellzoo.files import readable
from cellzoo.images import Frame, numbered
from cellzoo.timelapse.chambers.find import Box
from cellzoo.timelapse.chambers.follow import flag_of
from cellzoo.timelapse.chambers.table import ChamberRow, read_chambers

_STILL = 0.5  # px by which a corner may be off, for pictures that are copied and not turned


def crop_shape(box: Box, factor: float = 1.0) -> tuple[int, int]:
    """Height and width of a chamber's picture.

    Args:
        box: the chamber.
        factor: px of the picture for a px of the field.
    """
    return max(1, round(box.height * factor)), max(1, round(box.width * factor))


def cut(pixels: np.ndarray, box: Box, shape: tuple[int, int] | None = None) -> np.ndarray:
    """The picture of a chamber, turned back.

    Pixels are copied as they are where the box is hardly turned and keeps its size. Outside the
    field the nearest pixel is repeated.

    Args:
        pixels: of the field, ``[height, width]``.
        box: the chamber.
        shape: height and width of the picture; None: those of the box.

    Returns:
        Of ``shape``, and of the type of ``pixels``.
    """
    plain = crop_shape(box)
    shape = shape or plain
    turn = abs(np.sin(np.deg2rad(box.angle))) * max(box.width, box.height) / 2
    if shape == plain and turn < _STILL:
        left, top = (round(m - n / 2) for m, n in zip(box.middle, plain[::-1], strict=True))
        rows = np.clip(np.arange(top, top + plain[0]), 0, pixels.shape[0] - 1)
        columns = np.clip(np.arange(left, left + plain[1]), 0, pixels.shape[1] - 1)
        return pixels[np.ix_(rows, columns)]
    # Of pixels finer than those wanted, so that shrinking averages them.
    fine = [n * max(1, math.ceil(p / n)) for n, p in zip(shape, plain, strict=True)]
    step = np.array([box.width / fine[1], box.height / fine[0]])
    angle = np.deg2rad(box.angle)
    turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * step
    first = box.middle - 0.5 - turned @ ((np.array(fine[::-1]) - 1) / 2)
    picture = cv2.warpAffine(
        np.ascontiguousarray(pixels, np.float32), np.concatenate([turned, first[:, None]], 1),
        # The bicubic filter takes a sixth of the noise: such a picture seems out of focus.
        fine[::-1], flags=cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    if tuple(fine) != shape:
        picture = cv2.resize(picture, shape[::-1], interpolation=cv2.INTER_AREA)
    picture = np.clip(picture, pixels.min(), pixels.max())
    return np.rint(picture).astype(pixels.dtype) if pixels.dtype.kind == "u" else picture


def series_name(frame: Frame) -> str:
    """The series that a frame of a field belongs to; that of a single picture is its file."""
    if frame.series:
        return frame.series
    named = numbered(frame.path)
    return named[0] if named else str(frame.path)


def chamber_entries(entries: Iterable[Entry], table: Path) -> Iterator[Entry]:
    """Each chamber of each field as an image of its own, to be counted.

    Args:
        entries: the fields.
        table: ``chambers.csv`` with boxes for each frame.

    Yields:
        An entry per chamber and frame, which names the chamber and what is unusual about it.

    Raises:
        UserError: the table cannot be used.
    """
    known: dict[tuple[str, int], list[ChamberRow]] = {}
    for row in read_chambers(table):
        known.setdefault((same_file(Path(row.image), table), row.frame), []).append(row)
    for entry in entries:
        rows = known.get((same_file(entry.path), entry.index), [])
        if entry.error or not rows:
            error = entry.error or UserError(
                f"{readable(entry.path)}: frame {entry.index} has no row in {table}: make the "
                "table of these files with cellzoo chambers, or add rows."
            )
            yield replace(entry, frame=None, error=error)
            continue
        for row in rows:
            pixels = cut(entry.frame.pixels, row.box)
            yield replace(
                entry, frame=replace(entry.frame, pixels=pixels), size=pixels.shape,
                chamber=row.box.name, hours=row.time,
                remark=flag_of(row, entry.frame.pixels.shape),
            )  # fmt: skip


def same_file(path: Path, table: Path | None = None) -> str:
    """A path that is the same however it is spelled; that of a table may be beside the table."""
    if table is not None and not path.exists() and (table.parent / path).exists():
        path = table.parent / path
    return str(path.resolve())
