"""A folder of pictures and its `labels.csv` -> what a model is fed.

`labels.csv` begins with the line `image,count[,split,group,time,series,pixel_size_um,mask]`; other
columns may be there and are ignored. `image` is relative to the folder of the csv; frame 3 of a
stack is `stack.tif#3` (frames count from 0). An empty `count` means unlabelled, 0 an empty chamber.
`time` is a number in any unit.

`mask` names a picture of the same size, 0 in the background and above 0 in cells; `label_image` one
in which each cell has a number of its own, so that it also gives the count where `count` is empty.
"""

import csv
import difflib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from cellzoo.errors import UsageError, UserError
from cellzoo.images import (
    SUFFIXES,
    Frame,
    Size,
    find_images,
    natural_key,
    read_frames,
    read_mask,
    resize,
    resize_mask,
    sides,
    to_unit,
)

log = logging.getLogger("cellzoo")

SPLITS = ("train", "validation", "test")
_COLUMNS = ("image", "count", "group", "series", "split", "time", "mask", "label_image")


@dataclass(frozen=True, eq=False)
class ImageSet:
    """What a model is fed, in memory; all arrays have the same length n.

    Attributes:
        images: `[n, h, w]` float32 in [0, 1].
        counts: `[n]` float32, cells per image; NaN = unlabelled.
        groups: `[n]` str; images of a group (a time-lapse, a chamber, a scene) stay in one split.
        names: `[n]` str, such as `images/a.png` or `stack.tif#3`.
        splits: `[n]` str: `train`, `validation`, `test` or empty (not yet assigned).
        masks: `[n, h, w]` uint8 or uint16, 0 = background, above 0 = cell, or the cell's number;
            all 0 where an image has none. None: no image has one.
        has_mask: `[n]` bool: which images have a mask; None where `masks` is. Left out: all of
            them.
        times: `[n]` float32: when, in the unit of the table; NaN = unknown. None: none is known.
        sizes: `[n, 2]` int: height and width in pixels that the files have. None: of no files.
    """

    images: np.ndarray
    counts: np.ndarray
    groups: np.ndarray
    names: np.ndarray
    splits: np.ndarray
    masks: np.ndarray | None = None
    has_mask: np.ndarray | None = None
    times: np.ndarray | None = None
    sizes: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Refuse arrays of different length."""
        if self.masks is not None and self.has_mask is None:
            object.__setattr__(self, "has_mask", np.ones(len(self.masks), bool))
        lengths = {name: len(array) for name, array in self._arrays().items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"an ImageSet needs arrays of one length, not {lengths}")

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def take(self, index_or_mask: np.ndarray | Sequence) -> "ImageSet":
        """The images at these positions (int `[k]`) or where the mask (bool `[n]`) is true."""
        chosen = np.asarray(index_or_mask)
        if chosen.size == 0:
            chosen = chosen.astype(int)
        return ImageSet(**{name: array[chosen] for name, array in self._arrays().items()})

    @classmethod
    def join(cls, parts: Sequence["ImageSet"]) -> "ImageSet":
        """The images of several sets, which all have masks or all have none."""
        names = parts[0]._arrays()
        return cls(**{n: np.concatenate([getattr(part, n) for part in parts]) for n in names})

    def of(self, split: str) -> "ImageSet":
        """The images of one split; `""` for those not yet assigned."""
        return self.take(self.splits == split)

    @property
    def labelled(self) -> np.ndarray:
        """Bool `[n]`: which images have a count."""
        return ~np.isnan(self.counts)

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: array for name, array in arrays.items() if array is not None}


@dataclass(frozen=True)
class Skipped:
    """A file that was passed over, and the sentence that says why."""

    name: str
    reason: str


def load_folder(
    folder: Path,
    *,
    image_size: Size,
    labels: str | None = "labels.csv",
    size: Literal["error", "resize"] = "error",
    intensity: Literal["dtype"] | Sequence[float] = "dtype",
    axes: str | None = None,
    channel: int | None = None,
    on_error: Literal["stop", "skip"] = "stop",
    resize_from: tuple[int, int] | None = None,
) -> tuple[ImageSet, list[Skipped]]:
    """Load every image of a folder with its count, group, split and mask.

    Images that `labels.csv` does not list are loaded as unlabelled. Not taken for images: files
    named in another column of it (masks), and all else in a folder of such files that holds no
    listed image.

    The group of an image is its `group`, else its `series`. A frame of a stack that has neither, or
    is not listed, belongs to the group of the row for the whole stack (which must have no count),
    else to that of the listed frames where these agree. What is left is a group of its own file (so
    that the frames of a stack stay together). An image without a split joins its group's.

    Args:
        folder: searched with its subfolders.
        image_size: side, or height and width, of the images the model is fed, in pixels.
        labels: the csv, relative to `folder`; None where nothing is labelled.
        size: what to do with frames of another size: refuse them or resize them (masks by the
            nearest pixel).
        intensity: see `cellzoo.images.to_unit`.
        axes: see `cellzoo.images.read_frames`.
        channel: see `cellzoo.images.read_frames`.
        on_error: whether an unreadable, missing or wrongly sized file stops the loading or is
            skipped.
        resize_from: height and width of the only other frames that are resized; None: any.

    Returns:
        The images in natural order of their names, whatever the order of the rows, and the files
        skipped.

    Raises:
        UserError: a label or an image cannot be used; the message names the file and, where it is
            listed, the line of the csv. Errors of the csv itself are never skipped.
        UsageError: `axes` or `intensity` is written wrongly.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder, check the path")
    csv_path = None if labels is None else folder / labels
    base = folder if csv_path is None else csv_path.parent
    table = _Table({}, set()) if csv_path is None else _read_labels(csv_path)

    found, skipped = [], []
    for name, file in _files_by_name(folder, base, table):
        rows = table.rows.get(file, {})
        try:
            frames = list(read_frames(base / name, axes=axes, channel=channel))
            images = [
                _fit(f.pixels, f.path, image_size, size, intensity, resize_from) for f in frames
            ]
            masks = [_read_mask(base, rows, frame, len(frames), axes) for frame in frames]
        except UserError as error:
            if on_error == "stop" or isinstance(error, UsageError):
                raise _with_line(error, csv_path, rows) from error
            skipped.append(Skipped(name, str(error)))
            continue
        frame_rows = _row_per_frame(csv_path, name, rows, len(images))
        for frame, image, mask, row in zip(frames, images, masks, frame_rows, strict=True):
            if row.instances and np.isnan(row.count):
                row = replace(row, count=float(len(np.unique(mask[mask > 0]))))
            small = None if mask is None else resize_mask(mask, image_size)
            found.append((image, small, row, frame.pixels.shape))
    if not found:
        first = skipped[0].reason if skipped else "it is empty"
        raise UserError(f"{folder}: no image could be loaded, the first reason being: {first}")
    images, masks, rows, shapes = zip(*found, strict=True)
    has_mask = np.array([mask is not None for mask in masks])
    if has_mask.any():
        none = np.zeros(sides(image_size), np.uint8)
        masks = np.stack([none if mask is None else mask for mask in masks])
    times = np.array([row.time for row in rows], np.float32)
    image_set = ImageSet(
        images=np.stack(images),
        counts=np.array([row.count for row in rows], np.float32),
        groups=np.array([row.group for row in rows], str),
        names=np.array([row.name for row in rows], str),
        splits=np.array(_splits_by_group(csv_path, rows, table), str),
        masks=masks if has_mask.any() else None,
        has_mask=has_mask if has_mask.any() else None,
        times=None if np.isnan(times).all() else times,
        sizes=np.array(shapes),
    )
    return image_set, skipped


def parse_count(text: str) -> float:
    """A count as people write it in a table: "12", "12.0"; empty -> NaN (unlabelled).

    Raises:
        ValueError: with the reason, to be completed by file, line and cure.
    """
    text = text.strip()
    if not text:
        return float("nan")
    try:
        count = float(text.replace("_", "?"))  # Python would read 1_0 as 10
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


def read_csv_rows(path: Path) -> list[tuple[int, list[str]]]:
    """The rows of a CSV that are not blank, each with its line number from 1.

    Commas separate, or, where the first line has none, the semicolons or tabs that it has: those of
    a spreadsheet program in a country with a decimal comma.

    Raises:
        UserError: the file is missing, or is no UTF-8 text.
    """
    try:
        # utf-8-sig: Excel writes a byte order mark before the header.
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = next((line for line in file if line.strip()), "")
            file.seek(0)
            others = [character for character in ";\t" if character in first]
            delimiter = others[0] if others and "," not in first else ","
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror}), check the path") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text, save it as 'CSV UTF-8'") from error
    except csv.Error as error:
        raise UserError(
            f"{path}: line {reader.line_num}: is no row of a CSV ({error}), correct the line"
        ) from error
    for line, row in rows:
        if any("\n" in cell or "\r" in cell for cell in row):
            raise UserError(f"{path}: line {line}: has a value of several lines, check the quotes")
        if any("\0" in cell for cell in row):
            raise UserError(f"{path}: line {line}: holds a character of code 0, type it anew")
    return [(line, row) for line, row in rows if any(row)]


@dataclass(frozen=True)
class _Row:
    line: int  # 0 where the image is not listed
    name: str  # as written in the csv
    count: float = float("nan")
    group: str = ""
    split: str = ""
    time: float = float("nan")
    mask: str = ""  # as written, relative to the csv
    instances: bool = False  # the mask numbers the cells


@dataclass(frozen=True)
class _Table:
    rows: dict[Path, dict[int | None, _Row]]  # resolved file -> frame (None: the whole file) -> row
    other_files: set[Path]  # named in other columns: masks


def _read_labels(path: Path) -> _Table:
    if not path.is_file():
        raise UserError(
            f"{path}: there is no such file, add it or, if nothing is labelled, set "
            "data.natural.labels: null"
        )
    lines = read_csv_rows(path)
    if not lines:
        raise UserError(f"{path}: line 1: is empty, begin the file with the line image,count")
    header = _header(path, *lines[0])
    table = _Table({}, set())
    for line, cells in lines[1:]:
        if len(cells) > len(header):
            raise UserError(
                f"{path}: line {line}: has {len(cells)} values for {len(header)} columns, "
                "write counts without a comma, and put other values that contain one in double "
                "quotes"
            )
        # Spreadsheets leave out the commas of empty cells at the end of a line.
        values = dict.fromkeys(header, "") | dict(zip(header, cells, strict=False))
        row, file, frame = _parse_row(path, line, values)
        frames = table.rows.setdefault(file, {})
        if frame in frames:
            raise _twice(path, row, frames[frame])
        frames[frame] = row
        for column, value in values.items():
            named, _ = _file_and_frame(path.parent, value)
            if column != "image" and named.suffix.lower() in SUFFIXES and os.path.exists(named):
                table.other_files.add(_resolved(named))
    for frames in table.rows.values():
        _fill_in(frames)
    return table


def _fill_in(frames: dict[int | None, _Row]) -> None:
    """Gives the rows of a file's frames what they leave to others.

    The group is that of the file's other rows, or one of its own; the mask that of the file's row.
    """
    common, whole = _common_group(frames), frames.get(None)
    for frame, row in frames.items():
        own = row.name if frame is None else row.name.rpartition("#")[0]
        masked = whole if whole and not row.mask else row
        frames[frame] = replace(
            row,
            group=row.group or common or own,
            mask=_of_frame(masked.mask, frame) if masked is whole else masked.mask,
            instances=masked.instances,
        )


def _of_frame(mask: str, frame: int | None) -> str:
    """The place of a frame's mask in the file of the whole stack's masks."""
    return mask if frame is None or not mask or "#" in mask else f"{mask}#{frame}"


def _common_group(frames: dict[int | None, _Row]) -> str:
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
    for column in ("image", "count"):
        if column not in header and not (column == "count" and "label_image" in header):
            raise UserError(
                f"{path}: line {line}: has no column {column}, the header must name image and count"
            )
    for column in set(header) - {""}:
        if header.count(column) > 1:
            raise UserError(f"{path}: line {line}: names the column {column} twice, rename one")
    for column in set(header) - set(_COLUMNS):
        near = difflib.get_close_matches(column, set(_COLUMNS) - set(header), n=1, cutoff=0.8)
        if near:
            log.warning("%s: the column %s tells nothing; is it the %s?", path, column, near[0])
    return header


def _parse_row(path: Path, line: int, values: dict[str, str]) -> tuple[_Row, Path, int | None]:
    where = f"{path}: line {line}"
    name = values["image"].replace("\\", "/")  # a table written under Windows
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
    file, frame = _file_and_frame(path.parent, name)
    group = values.get("group") or values.get("series") or ""
    instances = values.get("label_image", "")
    mask = instances or values.get("mask", "")
    time = _parse_time(values.get("time", ""))
    row = _Row(line, name, count, group, split, time, mask, instances=bool(instances))
    return row, _resolved(file), frame


def _resolved(path: Path) -> Path:
    """The file behind links; a link to itself stays, and is found unreadable where it is read."""
    return Path(os.path.realpath(path))


def _parse_time(text: str) -> float:
    """A time as a number; NaN for what is none: nothing but a figure depends on it."""
    try:
        time = float(text)
    except ValueError:
        return float("nan")
    return time if np.isfinite(time) else float("nan")


def _file_and_frame(folder: Path, name: str) -> tuple[Path, int | None]:
    """`stack.tif#3` -> the file and 3; the frame is None where the name has no number."""
    name = name.replace("\\", "/")  # a table written under Windows
    file = folder / name
    stem, mark, number = name.rpartition("#")
    # A file that really is called like this comes first.
    framed = mark and number.isascii() and number.isdigit()
    if framed and Path(stem).suffix.lower() in SUFFIXES and not file.exists():
        return folder / stem, int(number)
    return file, None


def _read_mask(
    folder: Path, rows: dict[int | None, _Row], frame: Frame, frames: int, axes: str | None
) -> np.ndarray | None:
    """The mask of a frame in its file's own size; None if it has none."""
    row = rows.get(frame.index, rows.get(None))
    if row is None or not row.mask:
        return None
    file, number = _file_and_frame(folder, row.mask)
    alone = number is None and frame.index in rows  # the row of a frame may name a file of its own
    if number is None and frames > 1:
        number = frame.index  # the masks of a stack are a stack as well
    mask = read_mask(file, number, axes, or_only=alone)
    if mask.shape != frame.pixels.shape:
        (height, width), (image_height, image_width) = mask.shape, frame.pixels.shape
        raise UserError(
            f"{file}: is {width} x {height} px, but its image {row.name} is {image_width} x "
            f"{image_height}, give the mask of this very image"
        )
    if not row.instances:
        return (mask > 0).astype(np.uint8)
    numbers = np.unique(mask[mask > 0])
    if np.isnan(row.count) and len(numbers) == 1:
        parts = cv2.connectedComponents((mask > 0).astype(np.uint8))[0] - 1
        if parts > 1 or numbers[0] == 255:
            raise UserError(
                f"{file}: has a single number, {numbers[0]}, so it does not tell cells apart: name "
                "it in the column mask, or give the count"
            )
    return mask


def _twice(path: Path, row: _Row, earlier: _Row) -> UserError:
    return UserError(
        f"{path}: line {row.line}: lists {row.name} again (first in line {earlier.line}), "
        "delete one of the two"
    )


def _files_by_name(folder: Path, base: Path, table: _Table) -> list[tuple[str, Path]]:
    """(name relative to the csv, resolved file), listed or not, in natural order."""
    names = {}
    for file, frames in table.rows.items():
        frame, row = next(iter(frames.items()))
        names[file] = row.name if frame is None else row.name.rpartition("#")[0]
    others = table.other_files - set(names)
    other_folders = {file.parent for file in others} - {file.parent for file in names}
    try:
        present = find_images([folder])
    except UserError:
        if not names:
            raise
        present = []  # all listed images lie elsewhere, or are missing
    for path in present:
        file = _resolved(path)
        if file not in names and file not in others and file.parent not in other_folders:
            names[file] = Path(os.path.relpath(path, base)).as_posix()
    return sorted(((name, file) for file, name in names.items()), key=lambda x: natural_key(x[0]))


def _fit(
    pixels: np.ndarray,
    path: Path,
    image_size: Size,
    size: str,
    intensity: Literal["dtype"] | Sequence[float],
    resize_from: tuple[int, int] | None,
) -> np.ndarray:
    height, width = pixels.shape
    wanted_height, wanted_width = sides(image_size)
    if resize_from and (height, width) not in (resize_from, (wanted_height, wanted_width)):
        raise UserError(
            f"{path}: is {width} x {height} px (width x height), and cells are as large as in "
            f"training in {resize_from[1]} x {resize_from[0]}, give images or crops of that size"
        )
    if size == "error" and (height, width) != (wanted_height, wanted_width):
        raise UserError(
            f"{path}: is {width} x {height} px (width x height), the model takes "
            f"{wanted_width} x {wanted_height}, set data.natural.size: resize"
        )
    return resize(to_unit(pixels, intensity, name=str(path)), image_size)


def _with_line(error: UserError, csv_path: Path | None, rows: dict) -> UserError:
    """The same error, saying where the file is listed, which is where a wrong name is corrected."""
    lines = [row.line for row in rows.values()]
    if not lines:
        return error
    return type(error)(f"{error} ({csv_path}: line {min(lines)})")


def _row_per_frame(
    csv_path: Path | None, name: str, rows: dict[int | None, _Row], n: int
) -> list[_Row]:
    """One row for each of a file's n frames, with the name the frame goes by."""
    whole = rows.get(None)
    frames = {frame: row for frame, row in rows.items() if frame is not None}
    for frame, row in frames.items():
        if frame >= n:
            raise UserError(
                f"{csv_path}: line {row.line}: {name} has no frame {frame}, "
                f"its frames are {name}#0 to {name}#{n - 1}"
            )
    if n == 1 and whole and frames:
        first, second = sorted([whole, frames[0]], key=lambda row: row.line)
        raise _twice(csv_path, second, first)
    if n > 1 and whole and not np.isnan(whole.count):
        raise UserError(
            f"{csv_path}: line {whole.line}: gives one count to the {n} frames of {name}, "
            f"list each as {name}#0 to {name}#{n - 1}"
        )
    default = whole or _Row(0, name, group=_common_group(frames) or name)
    return [
        replace(frames.get(frame, default), name=name if n == 1 else f"{name}#{frame}")
        for frame in range(n)
    ]


def _splits_by_group(csv_path: Path | None, rows: list[_Row], table: _Table) -> list[str]:
    """The split of each row, inherited from its group where it has none of its own."""
    first: dict[str, _Row] = {}
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
