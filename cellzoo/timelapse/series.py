"""Series of counts, one per chamber, from the table that ``cellzoo count`` writes."""

import csv
import io
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from cellzoo.data.times import read_times
from cellzoo.errors import UsageError, UserError
from cellzoo.images import natural_key, numbered

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
        columns: the further columns of its first row in the table.
    """

    name: str
    times: np.ndarray
    counts: np.ndarray
    low: np.ndarray
    high: np.ndarray
    flags: tuple[str, ...]
    columns: dict[str, str] = field(default_factory=dict)


def read_series(file: Path, interval: float | None = None) -> list[Series]:
    """Reads the series of a table of counts.

    Frames with an ``error`` are left out. A table without the column ``series`` has one for each
    file of several frames, and one for each folder of numbered files.

    Args:
        file: CSV as ``cellzoo count`` writes it.
        interval: hours between frames; goes before the column ``time``.

    Returns:
        The series, in natural order of their names.

    Raises:
        UserError: the table cannot be read, or two frames of a series have one time.
        UsageError: there is neither a column ``time`` nor an interval.
    """
    rows = _rows(file)
    if interval is None and not any(row.get("time") for _, row in rows):
        raise UsageError(
            f"{file} has no times: say how long it is between frames, such as --interval 20min."
        )
    groups: dict[str, list[_Frame]] = {}
    several = _files_of_several_frames(rows)
    hours = read_times(file, [(line, row.get("time") or "") for line, row in rows])
    for (line, row), hour in zip(rows, hours, strict=True):
        frame = _frame(file, line, row, hour, interval, several)
        groups.setdefault(frame.series, []).append(frame)
    made = [_series(file, name, frames) for name, frames in groups.items()]
    series = sorted((s for s in made if s is not None), key=lambda s: natural_key(s.name))
    if not series:
        raise UserError(f"{file} has no frame with a count: count the images first.")
    return series


@dataclass
class _Frame:
    """A row of the table."""

    line: int
    series: str
    hour: float
    count: float
    low: float
    high: float
    flag: str
    row: dict[str, str]


def _rows(file: Path) -> list[tuple[int, dict[str, str]]]:
    """Line number and cells of each row."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}): name a counts.csv.") from None
    except UnicodeDecodeError:
        raise UserError(f"{file} is no UTF-8 text: name a counts.csv of cellzoo count.") from None
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        rows = [(reader.line_num, {k: v or "" for k, v in row.items() if k}) for row in reader]
    except csv.Error as error:
        raise UserError(f"{file} is no table ({error}): name a counts.csv.") from None
    header = reader.fieldnames or []
    if "image" not in header or not {"count", "count_raw"} & set(header):
        raise UserError(
            f"{file} has no columns image and count: name a counts.csv of cellzoo count."
        )
    if not rows:
        raise UserError(f"{file} has no rows: count the images first.")
    return rows


def _files_of_several_frames(rows: list[tuple[int, dict[str, str]]]) -> set[str]:
    """Images of which a frame after the first is in the table."""
    return {row["image"] for _, row in rows if row.get("frame", "").strip() not in ("", "0")}


def _frame(
    file: Path,
    line: int,
    row: dict[str, str],
    hour: float,
    interval: float | None,
    several: set[str],
) -> _Frame:
    """A row with its series, its hour and its numbers."""
    image = row["image"]
    series, number = image, np.nan
    if image in several:
        number = _number(file, line, row, "frame")
    elif found := _numbered(image):
        series, number = found
    series = row.get("series") or series
    if interval is not None:
        if np.isnan(number):
            raise UserError(
                f"{file}: line {line}: {image} has no number in its name, so that --interval "
                "cannot say its time: give the table a column time, in hours."
            )
        hour = number * interval
    elif np.isnan(hour) and not row.get("error"):
        raise UserError(
            f"{file}: line {line}: the time is missing: write it, or leave the row out."
        )
    count = _number(file, line, row, "count_raw")
    count = _number(file, line, row, "count") if np.isnan(count) else count
    if count < 0:
        raise UserError(f"{file}: line {line}: the count {count:g} is negative: correct it.")
    low, high = (_number(file, line, row, key) for key in ("count_low", "count_high"))
    if row.get("error"):
        count = np.nan
    return _Frame(line, series, hour, count, low, high, row.get("flag", ""), row)


def _numbered(image: str) -> tuple[str, int] | None:
    """Series and number of a file such as ``well1_t003.png``, or else of ``003.png``."""
    path = PurePosixPath(image.replace("\\", "/"))
    found = numbered(Path(path))
    if found or not (last := _LAST_NUMBER.search(path.stem)):
        return found
    name = f"{path.stem[: last.start()]}*{path.stem[last.end() :]}{path.suffix}"
    return str(path.with_name(name)), int(last[0])


def _number(file: Path, line: int, row: dict[str, str], key: str) -> float:
    """A cell as a number; NaN where it is empty."""
    text = (row.get(key) or "").strip()
    try:
        value = float(text) if text else np.nan
    except ValueError:
        value = np.inf
    if np.isinf(value):
        raise UserError(f"{file}: line {line}: {key} {text!r} is no number: correct it.")
    return value


def _series(file: Path, name: str, frames: list[_Frame]) -> Series | None:
    """The frames of a series in the order of their times; None where none has a count."""
    frames = sorted((f for f in frames if not np.isnan(f.count)), key=lambda f: f.hour)
    for one, other in zip(frames, frames[1:], strict=False):
        if one.hour == other.hour:
            raise UserError(
                f"{file}: lines {one.line} and {other.line} are of the series {name} at the same "
                f"time, {one.hour:g} h: give the column series a name for each chamber."
            )
    if not frames:
        return None
    return Series(
        name,
        *(np.array([getattr(f, key) for f in frames]) for key in ("hour", "count", "low", "high")),
        tuple(f.flag for f in frames),
        frames[0].row,
    )
