"""Chambers of fields of view: their table, where they are in each frame, and their pictures."""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from cellzoo.counters.entries import Entry
from cellzoo.errors import UserError
from cellzoo.files import csv_plain, csv_safe, csv_text, readable
from cellzoo.images import Frame, numbered
from cellzoo.timelapse.find import Box
from cellzoo.timelapse.registration import Pose, Tracker

COLUMNS = (
    "image", "frame", "time", "chamber", "x", "y", "width", "height", "angle", "score", "flag",
)  # fmt: skip
_LEAST = 8  # px, side of a chamber
_RIM = 0.04  # of a side: so far inside a box something of its wall may be
_STILL = 0.5  # px by which a corner may be off, for pictures that are copied and not turned
_OUTSIDE = 0.01  # of a box that may lie outside the field without a word


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
    image = row.image if csv_safe(row.image) == row.image else f"./{row.image}"
    return [
        image, str(row.frame), row.time, csv_safe(box.name), *numbers, score, csv_safe(row.flag)
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
        name = csv_plain((row.get("chamber") or "").strip())
        if not name:
            raise UserError(f"{file}: line {line}: the chamber has no name: write one.")
        frame = (row.get("frame") or "0").strip() or "0"
        if not frame.isdigit():
            raise UserError(
                f"{file}: line {line}: frame {frame!r} is no number from 0: correct it."
            )
        rows.append(
            ChamberRow(
                row["image"].strip(),
                int(frame),
                (row.get("time") or "").strip(),
                replace(box, name=name),
                csv_plain((row.get("flag") or "").strip()),
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
        name = csv_plain((row.get("chamber") or "").strip())
        boxes.append(replace(_box(file, line, row), name=name, score=math.nan))
    return boxes


def _table(file: Path, needed: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}): check its path.") from None
    except UnicodeDecodeError:
        raise UserError(f"{file} is no UTF-8 text: save it as CSV, UTF-8.") from None
    head = text.partition("\n")[0]
    delimiter = ";" if head.count(";") > head.count(",") else ","
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        rows = [(reader.line_num, {k: v or "" for k, v in row.items() if k}) for row in reader]
    except csv.Error as error:
        raise UserError(f"{file} is no table ({error}): save it as CSV.") from None
    missing = [name for name in needed if name not in (reader.fieldnames or [])]
    if missing:
        raise UserError(f"{file} has no column {missing[0]}: add it, the first line names columns.")
    if not rows:
        raise UserError(f"{file} has no rows: add a box.")
    return rows


def _box(file: Path, line: int, row: Mapping[str, str]) -> Box:
    numbers = []
    for key in ("x", "y", "width", "height", "angle", "score"):
        text = (row.get(key) or "").strip()
        try:
            number = float(text) if text else {"angle": 0.0, "score": math.nan}[key]
        except (ValueError, KeyError):
            number = math.inf
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


class Follower:
    """Where the chambers of one series are in each of its frames.

    Args:
        first: the first frame, ``[height, width]``.
        boxes: of the chambers in it.
    """

    def __init__(self, first: np.ndarray, boxes: Sequence[Box]):
        self._boxes, self._shape = boxes, first.shape
        self._tracker = Tracker(first, walls_of(first.shape, boxes), periods_of(boxes))

    def first(self) -> list[tuple[Box, str]]:
        """The boxes in the first frame, each with a flag."""
        return [(box, _joined(_doubted(box), self._outside(box))) for box in self._boxes]

    def next(self, frame: np.ndarray) -> list[tuple[Box, str]]:
        """The boxes in the next frame, each with a flag."""
        pose = self._tracker.find(frame)
        moved = [moved_box(box, pose, self._shape) for box in self._boxes]
        return [(box, _joined(pose.flag, self._outside(box))) for box in moved]

    def _outside(self, box: Box) -> str:
        field = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * self._shape[::-1]
        inside, _ = cv2.intersectConvexConvex(
            box.corners.astype(np.float32), field.astype(np.float32)
        )
        share = 1 - inside / (box.width * box.height)
        return f"{share:.0%} of the chamber is outside the field" if share > _OUTSIDE else ""


def _joined(*flags: str) -> str:
    return "; ".join(filter(None, flags))


def _doubted(box: Box) -> str:
    return f"{box.doubt}: look at the overview, or draw one with --box" if box.doubt else ""


def walls_of(shape: tuple[int, int], boxes: Sequence[Box]) -> np.ndarray:
    """Where nothing grows: the field without the inside of its chambers, bool ``shape``."""
    walls = np.ones(shape, np.uint8)
    for box in boxes:
        cv2.fillConvexPoly(walls, np.round(grown(box, -_RIM).corners - 0.5).astype(np.int32), 0)
    if walls.mean() < 0.02:  # a box as large as the field: nothing else is left to match
        return np.ones(shape, bool)
    return walls > 0


def grown(box: Box, share: float) -> Box:
    """A box with so much of its sides more on each side, or less."""
    dx, dy = share * box.width, share * box.height
    return replace(
        box, x=box.x - dx, y=box.y - dy, width=box.width + 2 * dx, height=box.height + 2 * dy
    )


def periods_of(boxes: Sequence[Box]) -> list[np.ndarray]:
    """Shifts from a chamber to its nearest neighbours, one along rows and one along columns."""
    found = []
    middles = np.array([box.middle for box in boxes])
    for axis in (0, 1):
        nearest = None
        for k, middle in enumerate(middles):
            for step in middles[k + 1 :] - middle:
                step = step if step[axis] > 0 else -step
                if step[axis] < 2 * abs(step[1 - axis]):
                    continue
                if nearest is None or step[axis] < nearest[axis]:
                    nearest = step
        if nearest is not None:
            found.append(nearest)
    return found


def moved_box(box: Box, pose: Pose, shape: tuple[int, int]) -> Box:
    """Where a box of the first frame is under a pose."""
    matrix = pose.matrix(shape)
    x, y = matrix[:, :2] @ (box.middle - 0.5) + matrix[:, 2] + 0.5
    return replace(
        box, x=x - box.width / 2, y=y - box.height / 2, angle=box.angle + pose.angle,
        score=pose.score,
    )  # fmt: skip


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
        fine[::-1], flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
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
                chamber=row.box.name, hours=row.time, remark=row.flag,
            )  # fmt: skip


def same_file(path: Path, table: Path | None = None) -> str:
    """A path that is the same however it is spelled; that of a table may be beside the table."""
    if table is not None and not path.exists() and (table.parent / path).exists():
        path = table.parent / path
    return str(path.resolve())
