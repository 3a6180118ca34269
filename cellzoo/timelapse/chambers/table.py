"""The table of chambers, ``chambers.csv``, and tables of boxes."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cellzoo.data.table import read_table
from cellzoo.errors import UserError
from cellzoo.files import csv_path, csv_plain, csv_safe, csv_text
from cellzoo.timelapse.chambers.find import Box

COLUMNS = (
    "image", "frame", "time", "chamber", "x", "y", "width", "height", "angle", "score", "flag",
)  # fmt: skip
_NUMBERS = ("time", "x", "y", "width", "height", "angle", "score")
_LEAST = 8  # px, side of a chamber


@dataclass(frozen=True)
class ChamberRow:
    """A row of ``chambers.csv``: a chamber in a frame.

    Attributes:
        image: file of the field, as it was given.
        frame: number in the file, from 0.
        time: hours since the start of the series, as text; empty where it is not known.
        box: in the field's px; ``box.name`` is the chamber.
        flag: what is unusual; empty where nothing is.
    """

    image: str
    frame: int
    time: str
    box: Box
    flag: str = ""


def chambers_text(rows: Iterable[ChamberRow]) -> str:
    """The table as CSV."""
    return csv_text(COLUMNS, [_cells(row) for row in rows])


def _cells(row: ChamberRow) -> list[str]:
    box = row.box
    numbers = [f"{n:.3f}" for n in (box.x, box.y, box.width, box.height, box.angle)]
    score = "" if math.isnan(box.score) else f"{box.score:.3f}"
    return [
        csv_path(row.image), str(row.frame), row.time, csv_safe(box.name), *numbers, score,
        csv_safe(row.flag),
    ]  # fmt: skip


def rounded(box: Box) -> Box:
    """The box with the digits that a table keeps."""
    keys = ("x", "y", "width", "height", "angle")
    return replace(box, **{key: round(float(getattr(box, key)), 3) for key in keys})


def read_chambers(file: Path) -> list[ChamberRow]:
    """Reads ``chambers.csv``, mended or not.

    Raises:
        UserError: it cannot be read, lacks a column, or a cell is wrong; the sentence says where.
    """
    rows = []
    for line, row in _table(file, ("image", "chamber", "x", "y", "width", "height")):
        box = _box(file, line, row)
        name = csv_plain(row.get("chamber", ""))
        if not name:
            raise UserError(f"{file}: line {line}: the chamber has no name: write one.")
        frame = row.get("frame") or "0"
        if not frame.isdigit():
            raise UserError(
                f"{file}: line {line}: frame {frame!r} is no number from 0: correct it."
            )
        time = row.get("time", "")
        if time and not math.isfinite(_number(time)):
            raise UserError(
                f"{file}: line {line}: time {time!r} is no number of hours: correct it."
            )
        rows.append(
            ChamberRow(
                row["image"],
                int(frame),
                time,
                replace(box, name=name),
                csv_plain(row.get("flag", "")),
            )  # fmt: skip
        )
    places = set()
    for row in rows:
        place = row.image, row.frame, row.box.name
        if place in places:
            raise UserError(
                f"{file} has chamber {row.box.name} of {row.image}, frame {row.frame}, twice: take "
                "one of the rows out."
            )
        places.add(place)
    return rows


def read_boxes(file: Path) -> list[Box]:
    """Reads a table of boxes: ``x,y,width,height`` and, if there, ``angle`` and ``chamber``.

    Raises:
        UserError: it cannot be read, lacks a column, or a cell is wrong; the sentence says where.
    """
    boxes = []
    for line, row in _table(file, ("x", "y", "width", "height")):
        name = csv_plain(row.get("chamber", ""))
        boxes.append(replace(_box(file, line, row), name=name, score=math.nan))
    return boxes


def _table(file: Path, needed: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    header, rows = read_table(file, numbers=_NUMBERS)
    missing = [name for name in needed if name not in header]
    if missing:
        raise UserError(f"{file} has no column {missing[0]}: add it, the first line names columns.")
    if not rows:
        raise UserError(f"{file} has no rows: add a box.")
    return rows


def _box(file: Path, line: int, row: Mapping[str, str]) -> Box:
    numbers = []
    for key in _NUMBERS[1:]:
        text = row.get(key, "")
        number = _number(text) if text else {"angle": 0.0, "score": math.nan}.get(key, math.inf)
        if math.isinf(number) or (key != "score" and math.isnan(number)):
            raise UserError(f"{file}: line {line}: {key} {text!r} is no number: correct it.")
        numbers.append(number)
    box = Box(*numbers)
    if min(box.width, box.height) < _LEAST:
        raise UserError(
            f"{file}: line {line}: the box is {box.width:g} x {box.height:g} px: a chamber has at "
            f"least {_LEAST} each way."
        )
    return box


def _number(text: str) -> float:
    """Text as a number; infinite where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.inf
