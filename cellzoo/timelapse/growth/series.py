"""Series of counts, one per chamber, from the table that ``cellzoo count`` writes."""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from cellzoo.data.times import read_times
from cellzoo.errors import UsageError, UserError
from cellzoo.images import far_apart, natural_key, numbered
from cellzoo.timelapse.growth.table import TableRow, read_counts

_CLOCK = re.compile(r"\d+:\d\d:\d\d(\.\d+)?")
_WHOLE = re.compile(r"\d+(\.0*)?")
_FEW = 5  # frames, of which no growth can be estimated
_LAST_NUMBER = re.compile(r"\d+(?=\D*$)")


@dataclass(frozen=True)
class Series:
    """Counts of one chamber in time.

    Attributes:
        name: of the series.
        times: hours, ``[n]``, rising.
        counts: cells, ``[n]``, before rounding where the table has that.
        low: lower ends of the counts' own 95 % intervals, ``[n]``; NaN without.
        high: upper ends.
        flags: of each frame, ``[n]``; empty where nothing is noticed.
        rows: the columns of each of its rows in the table, ``[n]``.
        doubt: why the unit of its times may be wrong; empty where nothing speaks against it.
    """

    name: str
    times: np.ndarray
    counts: np.ndarray
    low: np.ndarray
    high: np.ndarray
    flags: tuple[str, ...]
    rows: tuple[dict[str, str], ...] = ()
    doubt: str = ""


def read_series(file: Path, interval: float | None = None) -> tuple[list[Series], list[str]]:
    """Reads the series of a table of counts.

    Rows with an ``error``, without a count or without a time are left out. A table without the
    column ``series`` has one for each file of several frames, and one for each folder of numbered
    files. Without the column ``image``, too, it is one series.

    Args:
        file: CSV as ``cellzoo count`` or a person writes it.
        interval: hours between frames; goes before the column ``time``.

    Returns:
        The series, in natural order of their names; sentences on how the table was read.

    Raises:
        UserError: the table cannot be read, or two frames of a series have one time.
        UsageError: there is neither a column ``time`` nor an interval.
    """
    table = read_counts(file, times=interval is None)
    rows, notes = table.rows, table.notes
    if interval is None and not any(row.cells.get("time") for row in rows):
        raise UsageError(
            f"{file} has no times: write hours in a column time, or say how long it is between "
            "frames, such as --interval 20min."
        )
    several = _files_of_several_frames(rows)
    times = [(row.line, row.cells.get("time", "")) for row in rows]
    hours = read_times(file, times, table.hours) if interval is None else [np.nan] * len(rows)
    failed, untimed, uncounted, unlike = [], [], [], []
    groups: dict[str, list[_Frame]] = {}
    numbers: dict[str, set[int]] = {}
    for row, hour in zip(rows, hours, strict=True):
        name, number = _place(file, row, several)
        if row.cells.get("error"):
            failed.append(row.line)
            continue
        if interval is not None:
            hour = _by_interval(file, row, number, interval)
            numbers.setdefault(name, set()).add(round(number))
        if np.isnan(hour):
            untimed.append(row.line)
            continue
        frame = _frame(file, row, hour)
        if np.isnan(frame.count):
            uncounted.append(row.line)
            continue
        if frame.corrected:
            unlike.append(row.line)
        groups.setdefault(name, []).append(frame)
    if not groups:
        raise UserError(f"{file} has no frame with a count: count the images first.")
    _check_clock(file, times, groups)
    back = [frame.line for frames in groups.values() for frame in _going_back(frames)]
    for lines, why in (
        (failed, "an error and {is} left out"),
        (untimed, "no time and {is} left out"),
        (uncounted, "no count and {is} left out"),
        (unlike, "another count than count_raw, rounded, and the count is taken"),
        (back, "an earlier time than the row before of the series: rows are sorted by time"),
    ):
        if lines:
            notes = [*notes, f"{file.name}: {_of_lines(lines, why)}"]
    if interval is not None:
        notes = [*notes, *far_apart(numbers, 3600 * interval)]
    made = [_series(file, name, frames) for name, frames in groups.items()]
    if interval is None and not table.sure and _like_numbers([text for _, text in times], made):
        doubt = (
            "times are 0, 1, 2 ... and taken as hours: if these are numbers of frames, say how "
            "long it is between frames, such as --interval 20min; else name the column hours"
        )
        made = [replace(one, doubt=doubt) for one in made]
    return sorted(made, key=lambda s: natural_key(s.name)), notes


def _like_numbers(texts: Sequence[str], made: Sequence[Series]) -> bool:
    """Whether times could be numbers of frames: whole, most of them one apart, from 0 or 1."""
    if not all(_WHOLE.fullmatch(text) for text in texts if text):
        return False
    return any(len(one.times) >= _FEW for one in made) and all(
        one.times[0] <= 1 and len(one.times) > 0.5 * (one.times[-1] - one.times[0])
        for one in made
    )  # fmt: skip


@dataclass
class _Frame:
    """A row of the table; ``corrected``: its count is another than the one before rounding."""

    line: int
    hour: float
    count: float
    low: float
    high: float
    flag: str
    corrected: bool
    columns: dict[str, str]


def _of_lines(lines: Sequence[int], why: str) -> str:
    """``line 3 has no time and is left out``, of at most eight lines."""
    shown = ", ".join(map(str, lines[:8])) + (f" and {len(lines) - 8} more" if lines[8:] else "")
    one = len(lines) == 1
    return f"line{'' if one else 's'} {shown} {'has' if one else 'have'} " + why.format(
        **{"is": "is" if one else "are"}
    )


def _files_of_several_frames(rows: list[TableRow]) -> set[str]:
    """Images of which a frame after the first is in the table."""
    return {
        row.cells.get("image", "") for row in rows if row.cells.get("frame", "") not in ("", "0")
    }


def _place(file: Path, row: TableRow, several: set[str]) -> tuple[str, float]:
    """Series and number of a row; NaN where it has no number."""
    image = row.cells.get("image", "")
    series, number = image, np.nan
    if image in several:
        number = _number(file, row, "frame")
    elif found := _numbered(image):
        series, number = found[0], float(found[1])  # a time stamp may have twenty digits
    series = row.cells.get("series") or series
    if not series and {"series", "image"} & set(row.cells):
        raise UserError(f"{file}: line {row.line}: names no series: fill it in.")
    return series or file.stem, number


def _by_interval(file: Path, row: TableRow, number: float, interval: float) -> float:
    """The hour of a frame by its number."""
    if np.isnan(number):
        what = row.cells.get("image")
        why = f"{what} has no number in its name" if what else "the frame has no number"
        raise UserError(
            f"{file}: line {row.line}: {why}, so that --interval cannot say its time: give the "
            "table a column time, in hours."
        )
    return number * interval


def _frame(file: Path, row: TableRow, hour: float) -> _Frame:
    """A row with its hour and its numbers."""
    raw, rounded, low, high = (
        _number(file, row, key) for key in ("count_raw", "count", "count_low", "count_high")
    )
    if rounded < 0:
        raise UserError(f"{file}: line {row.line}: the count {rounded:g} is negative: correct it.")
    raw = np.maximum(raw, 0)  # a network may say a little less than nothing
    # A hand has corrected the count, or a spreadsheet took the point of 2.134 for a thousands mark.
    corrected = bool(abs(raw - rounded) > 0.501)
    if corrected:
        low = high = np.nan
    emptied = np.isnan(rounded) and "count" in row.cells
    count = rounded if corrected or emptied or np.isnan(raw) else raw
    return _Frame(
        row.line, hour, count, low, high, row.cells.get("flag", ""), corrected, row.columns
    )


def _check_clock(
    file: Path, times: Sequence[tuple[int, str]], groups: dict[str, list[_Frame]]
) -> None:
    """Refuses times of day that pass midnight: as durations they would be in a wrong order."""
    texts = dict(times)
    said = [text for text in texts.values() if text]
    if not said or not all(map(_CLOCK.fullmatch, said)):
        return
    if any(frame.hour >= 24 for frames in groups.values() for frame in frames):
        return  # no clock shows that
    for frames in groups.values():
        for one, other in itertools.pairwise(frames):
            if one.hour > other.hour:
                raise UserError(
                    f"{file}: line {other.line}: the time {texts[other.line]} follows "
                    f"{texts[one.line]}: put dates before times of day, and durations in order."
                )


def _going_back(frames: Sequence[_Frame]) -> Iterator[_Frame]:
    """Frames whose time is before that of the row before: perhaps of another chamber."""
    return (other for one, other in itertools.pairwise(frames) if other.hour < one.hour)


def _numbered(image: str) -> tuple[str, int] | None:
    """Series and number of a file such as ``well1_t003.png``, or else of ``003.png``."""
    path = PurePosixPath(image.replace("\\", "/"))
    found = numbered(Path(path))
    if found or not (last := _LAST_NUMBER.search(path.stem)):
        return found
    name = f"{path.stem[: last.start()]}*{path.stem[last.end() :]}{path.suffix}"
    return str(path.with_name(name)), int(last[0])


def _number(file: Path, row: TableRow, key: str) -> float:
    """A cell as a number; NaN where it is empty."""
    text = row.cells.get(key, "")
    try:
        value = float(text) if text else np.nan
    except ValueError:
        value = np.inf
    if np.isinf(value):
        raise UserError(f"{file}: line {row.line}: {key} {text!r} is no number: correct it.")
    return value


def _series(file: Path, name: str, frames: list[_Frame]) -> Series:
    """The frames of a series in the order of their times."""
    frames = sorted(frames, key=lambda f: f.hour)
    for one, other in itertools.pairwise(frames):
        if one.hour == other.hour:
            cure = "give the column series a name for each chamber"
            if one.count == other.count:
                cure = f"leave one of them out, or {cure}"
            raise UserError(
                f"{file}: lines {one.line} and {other.line} are of the series {name} at the same "
                f"time, {one.hour:g} h: {cure}."
            )
    return Series(
        name,
        *(np.array([getattr(f, key) for f in frames]) for key in ("hour", "count", "low", "high")),
        tuple(f.flag for f in frames),
        tuple(f.columns for f in frames),
    )
