"""The table of labels, ``labels.csv``: which images have which count, group, split and mask.

It begins with the line ``image,count[,split,group,time,series,kind,pixel_size_um,mask,assisted]``;
other columns may be there and are ignored. ``image`` is relative to the folder of the csv; frame 3
of a stack is ``stack.tif#3`` (frames count from 0). An empty ``count`` means unlabelled, 0 an empty
chamber. ``time`` is a number in any unit, a duration or a date (see
:func:`cellzoo.data.times.read_times`), ``kind`` a stain or modality. Names may be spelled as
:class:`cellzoo.data.names.NamedFiles` says.

``mask`` names a picture of the same size, 0 in the background and above 0 in cells;
``label_image`` one in which each cell has a number of its own, so that it also gives the count
where ``count`` is empty. ``assisted`` is 1 where who gave the count had that of a model in view, as
`cellzoo label` writes it.
"""

import difflib
import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cellzoo.data.image_set import SPLITS
from cellzoo.data.names import PICTURE_SUFFIXES, NamedFiles
from cellzoo.data.table import read_csv_rows
from cellzoo.data.times import read_times
from cellzoo.errors import UserError
from cellzoo.files import csv_plain
from cellzoo.images import SUFFIXES

log = logging.getLogger("cellzoo")

LABELS_FILE = "labels.csv"
_COLUMNS = ("image", "count", "group", "series", "split", "time", "kind", "mask", "label_image")
# Without these, scores would be too good, or labels be missing, and nothing would show it.
_NEVER_MISSPELLED = ("count", "group", "split")
_MAYBE_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}[.,]\d{3}")


def parse_count(text: str) -> float:
    """A count as people write it in a table: "12", "12.0", "12,0"; empty -> NaN (unlabelled).

    Raises:
        ValueError: with the reason, to be completed by file, line and cure.
    """
    text = text.strip()
    if not text:
        return float("nan")
    if _MAYBE_THOUSANDS.fullmatch(text):
        raise ValueError(f"the count {text!r} may have a decimal or a thousands mark")
    number = text.replace(",", ".") if text.count(",") == 1 and "." not in text else text
    try:
        count = float(number.replace("_", "?"))  # Python would read 1_0 as 10
    except ValueError:
        raise ValueError(f"the count {text!r} is not a number") from None
    if not np.isfinite(count):
        raise ValueError(f"the count {text!r} is not a number")
    if count < 0:
        raise ValueError(f"the count {text!r} is negative")
    if count != int(count):
        raise ValueError(f"the count {text!r} is not a whole number")
    if count > 1e6:
        raise ValueError(f"the count {text!r} is above a million")
    return count


@dataclass(frozen=True)
class Row:
    """What the table says of an image, or of a frame of a stack."""

    line: int  # 0 where the image is not listed
    name: str  # as written in the csv
    count: float = float("nan")
    group: str = ""
    split: str = ""
    time: float = float("nan")
    kind: str = ""
    mask: str = ""  # as written, relative to the csv
    instances: bool = False  # the mask numbers the cells
    pixel_size_um: float = float("nan")
    assisted: bool = False  # who gave the count had a model's in view


@dataclass(frozen=True)
class Table:
    """The rows of a table by file and frame."""

    rows: dict[Path, dict[int | None, Row]]  # resolved file -> frame (None: the whole file) -> row
    other_files: set[Path]  # named in other columns: masks


def check_table(path: Path) -> None:
    """Refuses a table of labels that is not there.

    Raises:
        UserError: there is none.
    """
    if not path.is_file():
        raise UserError(
            f"{path}: there is no such file, add it or, if nothing is labelled, set "
            "data.natural.labels: null"
        )


def read_labels(path: Path) -> Table:
    """Reads a table of labels; no image is opened.

    Raises:
        UserError: the table cannot be used; the sentence names the line.
    """
    check_table(path)
    table = Table({}, set())
    rows = read_rows(path)[1]
    groups = _groups_of_series(values for _, values in rows)
    for line, values in rows:
        row, file, frame = _parse_row(path, line, values, groups)
        frames = table.rows.setdefault(file, {})
        if frame in frames:
            raise _twice(path, row, frames[frame])
        frames[frame] = row
        for column, value in values.items():
            named, _ = file_and_frame(path.parent, value)
            if column != "image" and named.suffix.lower() in SUFFIXES and os.path.exists(named):
                table.other_files.add(resolved(named))
    for frames in table.rows.values():
        _fill_in(frames)
    return table


def read_rows(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Reads the columns of a table of labels.

    Args:
        path: the table.

    Returns:
        The columns in lower case, and of each row its line and values by column: files named as
        they are on disk, times as numbers.

    Raises:
        UserError: the file is no such table, a time is not understood, or a name may mean two
            files.
    """
    lines = read_csv_rows(path)
    if not lines:
        raise UserError(f"{path}: line 1: is empty, begin the file with the line image,count")
    header = _header(path, *lines[0])
    rows, files = [], NamedFiles(path.parent)
    for line, cells in lines[1:]:
        if len(cells) > len(header):
            raise UserError(
                f"{path}: line {line}: has {len(cells)} values for {len(header)} columns, "
                "write counts without a comma, and put other values that contain one in double "
                "quotes"
            )
        if len(cells) == 1 and header[0] == "image":
            cells = [*cells, *[""] * (len(header) - 1)]  # Excel leaves out what is empty at the end
        if len(cells) < len(header):
            raise UserError(
                f"{path}: line {line}: has {len(cells)} of {len(header)} values, so a value may be "
                "in the wrong column, write a separator for each empty value, too"
            )
        values = dict(zip(header, cells, strict=True))
        try:
            for column in {"image", "mask", "label_image"} & values.keys():
                values[column] = files.spelled(values[column])
        except ValueError as error:
            raise UserError(f"{path}: line {line}: {error}") from error
        rows.append((line, values))
    if "time" in header:
        times = read_times(path, [(line, values["time"]) for line, values in rows])
        for time, (_, values) in zip(times, rows, strict=True):
            values["time"] = "" if np.isnan(time) else f"{time:.10g}"
    return header, rows


def _groups_of_series(rows: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The group of each series of which some rows name one, where these agree."""
    named: dict[str, set[str]] = {}
    for values in rows:
        if values.get("series") and values.get("group"):
            named.setdefault(values["series"], set()).add(values["group"])
    return {series: groups.pop() for series, groups in named.items() if len(groups) == 1}


def _fill_in(frames: dict[int | None, Row]) -> None:
    """Gives the rows of a file's frames what they leave to others.

    The group is that of the file's other rows, or one of its own; the mask that of the file's row.
    """
    common, whole = _common_group(frames), frames.get(None)
    for frame, row in frames.items():
        own = row.name if frame is None else row.name.rpartition("#")[0]
        masked = whole if whole and not row.mask else row
        sized = whole if whole and np.isnan(row.pixel_size_um) else row
        frames[frame] = replace(
            row,
            group=row.group or common or own,
            mask=_of_frame(masked.mask, frame) if masked is whole else masked.mask,
            instances=masked.instances,
            pixel_size_um=sized.pixel_size_um,
        )


def _of_frame(mask: str, frame: int | None) -> str:
    """The place of a frame's mask in the file of the whole stack's masks."""
    return mask if frame is None or not mask or "#" in mask else f"{mask}#{frame}"


def _common_group(frames: dict[int | None, Row]) -> str:
    """The group of a file's row, else that of its frames where these agree; empty if neither."""
    if None in frames and frames[None].group:
        return frames[None].group
    named = {row.group for row in frames.values() if row.group}
    return named.pop() if len(named) == 1 else ""


def _header(path: Path, line: int, cells: list[str]) -> list[str]:
    header = [cell.lower() for cell in cells]
    if "image" not in header and "count" not in header:
        raise UserError(
            f"{path}: line {line}: is no header, begin the file with the line image,count"
        )
    for column in sorted(set(header) - set(_COLUMNS)):
        near = difflib.get_close_matches(column, set(_COLUMNS) - set(header), n=1, cutoff=0.75)
        if near and near[0] in _NEVER_MISSPELLED:
            raise UserError(
                f"{path}: line {line}: the column {column} is nearly {near[0]}, rename it to "
                f"{near[0]}, or to something less alike if it is another thing"
            )
        if near:
            log.warning("%s: the column %s is not read; is it the %s?", path, column, near[0])
    for column in ("image", "count"):
        if column not in header and not (column == "count" and "label_image" in header):
            raise UserError(
                f"{path}: line {line}: has no column {column}, the header must name image and count"
            )
    for column in set(header) - {""}:
        if header.count(column) > 1:
            raise UserError(f"{path}: line {line}: names the column {column} twice, rename one")
    return header


def _parse_row(
    path: Path, line: int, values: dict[str, str], groups: Mapping[str, str]
) -> tuple[Row, Path, int | None]:
    where = f"{path}: line {line}"
    name = values["image"]
    if not name:
        raise UserError(f"{where}: names no image, fill in the column image or delete the line")
    try:
        count = parse_count(values.get("count", ""))
    except ValueError as error:
        raise UserError(
            f"{where}: {error}, write a whole number of cells or leave it empty if unlabelled"
        ) from error
    split = values.get("split", "").lower()
    if split not in (*SPLITS, ""):
        raise UserError(f"{where}: {split!r} is no split, write {', '.join(SPLITS)} or nothing")
    file, frame = file_and_frame(path.parent, name)
    series = values.get("series", "")
    group = csv_plain(values.get("group") or groups.get(series, series))
    instances = values.get("label_image", "")
    mask = instances or values.get("mask", "")
    kind = values.get("kind", "")
    time = float(values.get("time") or "nan")
    size = _parse_pixel_size(where, values.get("pixel_size_um", ""))
    assisted = _parse_assisted(where, values.get("assisted", ""))
    row = Row(line, name, count, group, split, time, kind, mask, bool(instances), size, assisted)
    return row, resolved(file), frame


def _parse_assisted(where: str, text: str) -> bool:
    known = {"": False, "0": False, "1": True}
    if text not in known:
        raise UserError(
            f"{where}: assisted is {text!r}, write 1 if a model's count was in view, else nothing"
        )
    return known[text]


def _parse_pixel_size(where: str, text: str) -> float:
    """Micrometres; NaN where there is nothing."""
    if not text:
        return float("nan")
    try:
        size = float(text.replace(",", "."))
    except ValueError:
        size = 0.0
    if not 0 < size < float("inf"):
        raise UserError(
            f"{where}: the pixel_size_um {text!r} is no width of a pixel, write micrometres such "
            "as 0.65 or nothing"
        )
    return size


def resolved(path: Path) -> Path:
    """The file behind links; a link to itself stays, and is found unreadable where it is read."""
    return Path(os.path.realpath(path))


def file_and_frame(folder: Path, name: str) -> tuple[Path, int | None]:
    """``stack.tif#3`` -> the file and 3; the frame is None where the name has no number."""
    name = name.replace("\\", "/")  # a table written under Windows
    file = folder / name
    stem, mark, number = name.rpartition("#")
    # A file that really is called like this comes first.
    framed = mark and number.isascii() and number.isdigit()
    if framed and Path(stem).suffix.lower() in PICTURE_SUFFIXES and not file.exists():
        return folder / stem, int(number)
    return file, None


def _twice(path: Path, row: Row, earlier: Row) -> UserError:
    return UserError(
        f"{path}: line {row.line}: lists {row.name} again (first in line {earlier.line}), "
        "delete one of the two"
    )


def row_per_frame(
    csv_path: Path | None,
    name: str,
    rows: dict[int | None, Row],
    frames: Sequence[int],
    chosen: bool = False,
) -> list[Row]:
    """One row for each frame that was read of a file, with the name the frame goes by.

    Args:
        csv_path: of the table.
        name: of the file.
        rows: of the file, by frame; None: the whole file.
        frames: numbers in the file of those that were read.
        chosen: the file may hold more, which were not meant.

    Raises:
        UserError: a row is of a frame that the file lacks, or two rows are of one frame.
    """
    if not frames:
        return []
    whole, n = rows.get(None), len(frames)
    listed = {frame: row for frame, row in rows.items() if frame is not None}
    span = f"{name}#{frames[0]} to {name}#{frames[-1]}"
    for frame, row in listed.items():
        if frame not in frames and not chosen:
            raise UserError(
                f"{csv_path}: line {row.line}: {name} has no frame {frame}, its frames are {span}"
            )
    counted = whole is not None and not np.isnan(whole.count)
    if n == 1 and whole and frames[0] in listed and (counted or not chosen):
        first, second = sorted([whole, listed[frames[0]]], key=lambda row: row.line)
        raise _twice(csv_path, second, first)
    if n > 1 and counted:
        raise UserError(
            f"{csv_path}: line {whole.line}: gives one count to the {n} frames of {name}, "
            f"list each as {span}"
        )
    several = n > 1 or any(listed)  # a frame above 0
    default = whole or Row(0, name, group=_common_group(listed) or name)
    return [
        replace(listed.get(frame, default), name=f"{name}#{frame}" if several else name)
        for frame in frames
    ]


def splits_by_group(csv_path: Path | None, rows: list[Row], table: Table) -> list[str]:
    """The split of each row, inherited from its group where it has none of its own."""
    first: dict[str, Row] = {}
    # Rows of skipped files count, too: their group's split is decided all the same.
    listed = [row for frames in table.rows.values() for row in frames.values()]
    for row in sorted(listed, key=lambda row: row.line):
        if row.split:
            known = first.setdefault(row.group, row)
            if known.split != row.split:
                raise UserError(
                    f"{csv_path}: line {row.line}: puts the group {row.group} into {row.split}, "
                    f"line {known.line} into {known.split}, keep a group in one split"
                )
    return [first[row.group].split if row.group in first else "" for row in rows]
