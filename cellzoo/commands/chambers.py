"""``cellzoo chambers``: fields of view to a time-lapse of each chamber."""

import hashlib
import json
import logging
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cellzoo.errors import UsageError, UserError
from cellzoo.files import LOCK_FILE, lock, readable, temporary_beside, write_atomically
from cellzoo.images import (
    Frame,
    Reader,
    far_apart,
    numbered,
    numbers_of,
    parse_interval,
    search_images,
)
from cellzoo.images.ome import OmeWriter
from cellzoo.timelapse.chambers.crop import crop_shape, cut, same_file, series_name
from cellzoo.timelapse.chambers.follow import Follower, flag_of
from cellzoo.timelapse.chambers.sheets import contact_sheet, overview, thumbnail
from cellzoo.timelapse.chambers.table import ChamberRow, chambers_text, read_chambers, rounded
from cellzoo.timelapse.chambers.where import Where

log = logging.getLogger("cellzoo")

TABLE = "chambers.csv"
CROPS = "series"
_RECORD = ".chambers.json"
_LEFT = ".tmp"  # end of the names of files that are being written
_SAME_SIZE = 0.02  # share by which sides of a chamber may differ from frame to frame
_SHOWN = 8  # pictures of each chamber in the contact sheet


@dataclass
class _Series:
    """The frames of a field of view, and where its chambers are in them."""

    name: str
    stem: str
    shape: tuple[int, int]
    dtype: np.dtype
    pixel_size_um: float | None
    bits: int | None
    rows: list[list[ChamberRow]] = field(default_factory=list)
    hours: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """Of the chambers, in the order of the table."""
        return list(dict.fromkeys(row.box.name for rows in self.rows for row in rows))


@dataclass(frozen=True)
class Result:
    """What was made.

    Attributes:
        folder: where.
        series: number of series of fields.
        chambers: number of chambers, of all series.
        frames: number of frames of fields.
        flagged: number of rows with a flag.
        complete: everything was there already.
    """

    folder: Path
    series: int
    chambers: int
    frames: int
    flagged: int
    complete: bool = False


def chambers(
    paths: Sequence[str | os.PathLike],
    out: str | os.PathLike,
    where: Where,
    *,
    pixel_size_um: float | None = None,
    field_pixel_size_um: float | None = None,
    interval: str | None = None,
    **reading: Any,
) -> Result:
    """Writes the chambers of fields of view as time-lapses of their own.

    ``out`` gets ``chambers.csv``, ``overview_*.png`` and ``contact_sheet_*.png`` for each series of
    fields, and in ``series/`` an OME-TIFF for each chamber. A folder that a killed command left is
    completed by the same command.

    Args:
        paths: image files and folders of them.
        out: new folder, or one that the same command began.
        where: the chambers are in the first frame of each series, or in all.
        pixel_size_um: width in micrometres of a pixel of what is written, which is that of the
            counter; None: that of the fields.
        field_pixel_size_um: width of a pixel of the fields, whatever the files say.
        interval: time from one frame of a series to the next, such as ``"20min"``.
        reading: what to take of files, keywords of :class:`cellzoo.images.Reader`.

    Raises:
        UserError: a file cannot be read, no chamber is found, or ``out`` holds something else.
        UsageError: an argument is written wrongly.
    """
    out = Path(out)
    seconds = None if interval is None else parse_interval(interval)
    found = search_images([Path(path) for path in paths])
    found.say()
    files = found.files

    def reader() -> Reader:
        return Reader(files, pixel_size_um=field_pixel_size_um, **reading)

    settings = {
        "files": [[readable(file.absolute()), *_state(file)] for file in files],
        "where": where.settings, "pixel_size_um": pixel_size_um,
        "field_pixel_size_um": field_pixel_size_um, "interval": interval,
        "reading": {key: value for key, value in reading.items() if value is not None},
    }  # fmt: skip
    settings = json.loads(json.dumps(settings))
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: choose a folder for -o.")
    out.mkdir(parents=True, exist_ok=True)
    with lock(out, otherwise="is being written by another command"):
        return _made(out, files, reader, where, settings, pixel_size_um, seconds)


def summary(result: Result) -> list[str]:
    """What was made, in lines."""
    table = result.folder / TABLE
    lines = ["Everything was there already."] if result.complete else []
    number, frames = result.chambers, result.frames
    lines.append(
        f"{number} chamber{'s' * (number != 1)} in {result.series} series, {frames} "
        f"frame{'s' * (frames != 1)}: {result.folder / CROPS}"
    )
    if 1 < result.series == result.frames:
        lines.append(
            "each file is a series of its own; the names of a time-lapse have a t before the "
            "number, such as field_t001.png"
        )
    if result.flagged:
        has = "row of {} has" if result.flagged == 1 else "rows of {} have"
        lines.append(
            f"{result.flagged} {has.format(table)} a flag: look at that; the files in {CROPS}/ do "
            "not carry it, cellzoo count --chambers does"
        )
    lines.append(
        f"look at {result.folder / 'overview_*.png'}; where a box is wrong, mend {table} and give "
        "it to --chambers"
    )
    return lines


def _made(
    out: Path,
    files: Sequence[Path],
    reader: Callable[[], Reader],
    where: Where,
    settings: Mapping[str, Any],
    pixel_size_um: float | None,
    seconds: float | None,
) -> Result:
    """See :func:`chambers`."""
    begun = _begun(out, settings)
    table = out / TABLE if begun else where.table
    known = None if table is None else read_chambers(table)
    all_series = _followed(files, reader(), where, known, table, seconds)
    if seconds is not None and len(all_series) > 1 and all(len(s.rows) == 1 for s in all_series):
        raise UsageError(
            f"--interval is the time between frames, but {files[0].name} and the others are each a "
            "series of its own: rename a time-lapse, with a t before the number, such as "
            "field_t001.png, or leave --interval out."
        )
    for series in all_series:
        if pixel_size_um is not None and series.pixel_size_um is None:
            raise UserError(
                f"{series.name} does not say how wide its pixels are: add --field-pixel-size UM, "
                "or leave --pixel-size out."
            )
    rows = [row for series in all_series for rows in series.rows for row in rows]
    if not begun:
        text = chambers_text(rows)
        record = {"settings": settings, "sha256": hashlib.sha256(text.encode()).hexdigest()}
        write_atomically(out / _RECORD, json.dumps(record))
        write_atomically(out / TABLE, text)
    complete = _write_pictures(reader(), all_series, out, pixel_size_um)
    return Result(
        out, len(all_series), sum(len(series.names) for series in all_series),
        sum(len(series.rows) for series in all_series), sum(bool(row.flag) for row in rows),
        complete,
    )  # fmt: skip


def _begun(out: Path, settings: Mapping[str, Any]) -> bool:
    """Whether the same command began the folder, so that its table holds.

    Raises:
        UserError: the folder holds something else, or a table that somebody mended.
    """
    if {file.name for file in out.iterdir()} <= {LOCK_FILE}:
        return False
    try:
        record = json.loads((out / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        if all(file.name.startswith(".") for file in out.iterdir()):  # killed at its very start
            for left in out.glob(f".{_RECORD}.*{_LEFT}"):
                left.unlink()
            return False
        raise UserError(f"{out} holds other files: choose another folder for -o.") from None
    if record.get("settings") != settings:
        raise UserError(
            f"{out} holds the chambers of another command or of other files: choose another folder "
            "for -o."
        )
    for left in out.glob(f"**/.*{_LEFT}"):  # by a killed command
        left.unlink()
    if not (out / TABLE).exists():
        return False
    if hashlib.sha256((out / TABLE).read_bytes()).hexdigest() != record.get("sha256"):
        raise UserError(
            f"{out / TABLE} was changed: give it to --chambers, with another folder for -o."
        )
    return True


def _state(file: Path) -> list[int]:
    try:
        state = file.stat()
    except OSError:
        return []  # which is said where it is read
    return [state.st_size, state.st_mtime_ns]


def _followed(
    files: Sequence[Path],
    reader: Reader,
    where: Where,
    known: Sequence[ChamberRow] | None,
    table: Path | None,
    interval_s: float | None,
) -> list[_Series]:
    """The series of the files, and where the chambers are in each frame.

    Args:
        files: of the fields.
        reader: of these.
        where: the chambers are in the first frames.
        known: rows for every frame; None: to be followed.
        table: that has them.
        interval_s: between frames; None: as the files say.
    """
    of_frame: dict[tuple[str, int], list[ChamberRow]] = {}
    for row in known or ():
        of_frame.setdefault((same_file(Path(row.image), table), row.frame), []).append(row)
    series: dict[str, _Series] = {}
    followers: dict[str, Follower] = {}
    stems: set[str] = set()
    numbers = numbers_of(files)
    first_numbers = {name: min(some) for name, some in numbers.items()}
    for sentence in far_apart(numbers, interval_s) if interval_s else ():
        log.warning("%s.", sentence)
    for frame in _frames(files, reader):
        name, image = series_name(frame), readable(frame.path)
        if name not in series:
            stem = _unique(_stem(name), stems)
            series[name] = _Series(
                name, stem, frame.pixels.shape, frame.pixels.dtype, frame.pixel_size_um,
                reader.bits(frame),
            )  # fmt: skip
        one = series[name]
        if frame.path not in one.files[-1:]:
            one.files.append(frame.path)
        if (frame.pixels.shape, frame.pixels.dtype) != (one.shape, one.dtype):
            raise UserError(
                f"{image}: has another size or type than the frames of {one.name} before it: leave "
                "it out."
            )
        time = _hours(frame, first_numbers, interval_s)
        if known is not None:
            rows = of_frame.get((same_file(frame.path), frame.index), [])
            if not rows:
                raise UserError(
                    f"{image}: frame {frame.index} has no row in {table}: add it, or choose other "
                    "frames with --frames."
                )
            _check_sizes(one, rows, table)
            stated = time if interval_s is not None else ""
            one.rows.append([
                replace(
                    row, image=image, time=stated or row.time or time,
                    flag=flag_of(row, frame.pixels.shape),
                )
                for row in rows
            ])  # fmt: skip
            one.hours.append(one.rows[-1][0].time)
            continue
        if name not in followers:
            followers[name] = Follower(frame.pixels, where.in_first(frame.pixels, frame.path))
            placed = followers[name].first()
        else:
            placed = followers[name].next(frame.pixels)
        one.rows.append(
            # As the table has them: who counts by it counts the same pixels.
            [ChamberRow(image, frame.index, time, rounded(box), flag) for box, flag in placed]
        )
        one.hours.append(time)
    reader.notes.say()
    return list(series.values())


def _check_sizes(series: _Series, rows: Sequence[ChamberRow], table: Path) -> None:
    """Refuses a chamber that changes its size: its pictures have one, and cells would seem to."""
    first = {row.box.name: row.box for row in (series.rows[0] if series.rows else ())}
    for row in rows:
        box, before = row.box, first.get(row.box.name, row.box)
        sides = (box.width, box.height), (before.width, before.height)
        if not np.allclose(*sides, rtol=_SAME_SIZE):
            raise UserError(
                f"{table} has chamber {box.name} of {row.image}, frame {row.frame}, as "
                f"{box.width:g} x {box.height:g} px, and before as {before.width:g} x "
                f"{before.height:g} px: give it one width and height."
            )


def _frames(files: Iterable[Path], reader: Reader) -> Iterator[Frame]:
    for file in files:
        yield from reader.read(file)


def _hours(
    frame: Frame, first_numbers: Mapping[str, int], interval_s: float | None
) -> str:
    """Hours since the first frame of a series; numbers in names count those that are missing."""
    seconds = frame.time_s if frame.series else None
    if interval_s is not None:
        step = frame.step
        if not frame.series and (named := numbered(frame.path)):
            step = named[1] - first_numbers[named[0]]
        seconds = step * interval_s
    return "" if seconds is None else f"{seconds / 3600:.6g}"


def _write_pictures(
    reader: Reader,
    all_series: Sequence[_Series],
    out: Path,
    pixel_size_um: float | None,
) -> bool:
    """Writes what is not there yet; whether nothing was missing."""
    folder = out / CROPS
    folder.mkdir(exist_ok=True)
    by_name = {series.name: series for series in all_series}
    missing: dict[tuple[str, str], Path] = {}
    for series in all_series:
        taken: set[str] = set()
        for chamber in series.names:
            file = folder / f"{series.stem}_{_unique(_stem(chamber), taken)}.ome.tif"
            if not file.exists():
                missing[series.name, chamber] = file
    sheets = {
        series.name: [out / f"{kind}_{series.stem}.png" for kind in ("overview", "contact_sheet")]
        for series in all_series
    }
    unseen = {name for name, pair in sheets.items() if not all(file.exists() for file in pair)}
    if not missing and not unseen:
        return True
    writers: dict[tuple[str, str], OmeWriter] = {}
    done: dict[str, int] = {}
    seen: dict[str, dict[str, list[np.ndarray]]] = {}
    try:
        # Series after series, also where names begin with the time: each has files that are open.
        files = dict.fromkeys(file for series in all_series for file in series.files)
        for frame in _frames(files, reader):
            series = by_name[series_name(frame)]
            t = done.get(series.name, 0)
            done[series.name] = t + 1
            shown = series.name in unseen and t in _some(len(series.rows))
            if t == 0 and series.name in unseen:
                _write_png(sheets[series.name][0], overview(frame.pixels, series.rows[0]))
            for row in series.rows[t]:
                key = series.name, row.box.name
                if key not in missing and not shown:
                    continue
                shape, factor = _shape(series, row.box.name, pixel_size_um)
                picture = cut(frame.pixels, row.box, shape)
                if key in missing:
                    if key not in writers:
                        writers[key] = _writer(missing[key], series, row.box.name, shape, factor)
                    writers[key].write(picture)
                if shown:
                    kept = seen.setdefault(series.name, {}).setdefault(row.box.name, [])
                    kept.append(thumbnail(picture, bool(row.flag)))
            if done[series.name] < len(series.rows):
                continue
            # An operating system opens some hundred files at a time.
            for key in [key for key in writers if key[0] == series.name]:
                writers.pop(key).finish()
            if series.name in unseen:
                _write_png(sheets[series.name][1], contact_sheet(seen.pop(series.name, {})))
    finally:
        for writer in writers.values():
            writer.abandon()
    return False


def _writer(
    file: Path, series: _Series, chamber: str, shape: tuple[int, int], factor: float
) -> OmeWriter:
    hours = [
        row.time or hour
        for rows, hour in zip(series.rows, series.hours, strict=True)
        for row in rows
        if row.box.name == chamber
    ]
    size = None if series.pixel_size_um is None else series.pixel_size_um / factor
    seconds = [float(hour) * 3600 if _is_number(hour) else None for hour in hours]
    return OmeWriter(
        file, (len(hours), *shape), series.dtype, pixel_size_um=size, seconds=seconds,
        bits=series.bits,
    )  # fmt: skip


def _shape(
    series: _Series, chamber: str, pixel_size_um: float | None
) -> tuple[tuple[int, int], float]:
    """Height and width of all pictures of a chamber, and px of them for one of the field."""
    first = next(r.box for rows in series.rows for r in rows if r.box.name == chamber)
    factor = 1.0 if pixel_size_um is None else series.pixel_size_um / pixel_size_um
    return crop_shape(first, factor), factor


def _stem(name: str) -> str:
    """A name for files, of a series or a chamber."""
    plain = Path(name).name.replace("*", "")
    plain = re.sub(r"(\.ome)?\.[A-Za-z0-9]{2,4}(?= |$)", "", plain)
    return re.sub(r"[^\w.-]+", "_", plain).strip("_.")[:80] or "field"


def _unique(stem: str, taken: set[str]) -> str:
    name, k = stem, 1
    while name in taken:
        k += 1
        name = f"{stem}-{k}"
    taken.add(name)
    return name


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _some(frames: int) -> set[int]:
    """Frames for the contact sheet: first, last, and some between."""
    return set(np.linspace(0, frames - 1, min(frames, _SHOWN)).round().astype(int).tolist())


def _write_png(file: Path, picture: np.ndarray) -> None:
    temporary = temporary_beside(file)
    temporary.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    os.replace(temporary, file)
