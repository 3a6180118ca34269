"""A table of counts as programs and people write it, with the columns that growth needs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cellzoo.data.table import by_column, decimal_points, read_csv
from cellzoo.data.times import HOURS
from cellzoo.errors import UserError

# Further spellings of the columns; blanks, marks and capitals do not matter.
_OTHERWISE = {
    "image": ("file", "filename", "file_name", "image_name"),
    "series": ("chamber", "well"),
    "count": ("counts", "cells", "cell_count", "cell_counts", "number_of_cells", "n_cells"),
    "time": ("t", "elapsed", "elapsed_time", "time_elapsed", "date", "datetime", "date_time"),
}
_DATES = ("date", "datetime", "date_time")
_AS_THEY_ARE = ("frame", "count_raw", "count_low", "count_high", "flag", "error")
_NUMBERS = ("time", "count", "count_raw", "count_low", "count_high")
_UNITS = "|".join(sorted(HOURS, key=len, reverse=True))
_TIME_IN = re.compile(rf"(?:t|time|elapsed|elapsed_time|time_elapsed)_(?:in_)?({_UNITS})")
# Not `min`, which may be a minimum, nor `seconds`, which `cellzoo count` writes: its own time.
_UNIT_ALONE = ("h", "hr", "hrs", "hour", "hours", "minutes", "mins", "day", "days")
_SHOWN_UNIT = {1.0: "hours", 24.0: "days", 1 / 60: "minutes", 1 / 3600: "seconds"}
_CLOCK = re.compile(r"\d+:\d\d(:\d\d)?")


@dataclass(frozen=True)
class TableRow:
    """A row of the table.

    Attributes:
        line: its number, from 1.
        cells: by the names that ``cellzoo count`` gives to columns; numbers with a point.
        columns: by the names that the table gives to them.
    """

    line: int
    cells: dict[str, str]
    columns: dict[str, str]


@dataclass(frozen=True)
class CountsTable:
    """A table of counts.

    Attributes:
        rows: at least one.
        hours: hours of 1 in the column ``time``.
        sure: the unit of the times is in their name, or ``cellzoo count`` has written them.
        notes: sentences on how the table was read, where that is not plain.
    """

    rows: list[TableRow]
    hours: float
    sure: bool
    notes: list[str]


def read_counts(file: Path, times: bool = True) -> CountsTable:
    """Reads a table of counts.

    Commas, semicolons or tabs separate the cells. The text is UTF-8, UTF-16 or, as older Excel
    writes it, Windows-1252. ``Time (min)``, ``hours`` or ``Cells`` are understood.

    Args:
        file: CSV with a column ``count`` or ``count_raw``.
        times: read its column of times; else it has none.

    Raises:
        UserError: it cannot be read, a column is missing or could be either of two, or a number
            could be two numbers.
    """
    lines, form = read_csv(file, otherwise="cp1252")
    if not lines:
        raise UserError(f"{file} is empty: name a counts.csv of cellzoo count.")
    (_, header), *rest = lines
    places, hours = _columns(file, header, times)
    if not {"count", "count_raw"} & set(places):
        raise UserError(
            f"{file} has no column count, its columns are {', '.join(filter(None, header))}: name "
            "one of them count."
        )
    if not rest:
        raise UserError(f"{file} has no rows: count the images first.")
    notes = []
    if form.encoding == "cp1252":
        notes.append(f"{file.name} is no UTF-8 text: it was read as Windows-1252, as of Excel")
    notes += _taken(file, header, places, hours)
    rows = []
    for line, row in rest:
        every = by_column(file, line, header, row)
        row = [*row, *[""] * (len(header) - len(row))]
        rows.append(TableRow(line, {name: row[k] for name, k in places.items()}, every))
    decimal_points(file, [(row.line, row.cells) for row in rows], _NUMBERS, form.delimiter)
    if "time" in places:
        _check_dates(file, header, rows, _plain(header[places["time"]]))
    named = "time" in places and _unit(_plain(header[places["time"]])) is not None
    return CountsTable(rows, hours, named or {"model", "version"} <= set(header), notes)


def _plain(name: str) -> str:
    """``Time (min)`` -> ``time_min``."""
    return re.sub(r"[\W_]+", "_", name.lower()).strip("_")


def _columns(file: Path, header: Sequence[str], times: bool) -> tuple[dict[str, int], float]:
    """Where the columns are, and the hours of 1 in the column of times."""
    plain = [_plain(name) for name in header]
    places, hours = {}, 1.0
    for wanted in (*_OTHERWISE, *_AS_THEY_ARE):
        if wanted == "time" and not times:
            continue
        found = [k for k, name in enumerate(plain) if name == wanted]
        if not found:
            found = [k for k, name in enumerate(plain) if name in _OTHERWISE.get(wanted, ())]
            if wanted == "time":
                found += [k for k, name in enumerate(plain) if _unit(name)]
        if len(found) > 1:
            names = " and ".join(repr(header[k]) for k in found)
            raise UserError(
                f"{file} has the columns {names}, either of which may be {wanted}: leave one out, "
                f"or name one of them {wanted}."
            )
        if found:
            places[wanted] = found[0]
    if "time" in places:
        hours = _unit(plain[places["time"]]) or 1.0
    elif times:
        for k, name in enumerate(plain):
            if name.startswith(("time_", "elapsed_")):
                raise UserError(
                    f"{file} has the column {header[k]!r}, whose unit is not known: write hours in "
                    "a column time, or name it time_min, time_h or time_days after its unit."
                )
    return places, hours


def _unit(name: str) -> float | None:
    """Hours of the unit in the name of a column of times."""
    if name in _UNIT_ALONE:
        return HOURS[name]
    found = _TIME_IN.fullmatch(name)
    return HOURS[found[1]] if found else None


def _taken(file: Path, header: Sequence[str], places: dict[str, int], hours: float) -> list[str]:
    """Which columns were taken, where their names are not those of ``cellzoo count``."""
    words = []
    for name in ("series" if "series" in places else "image", "time", "count"):
        if name in places and (there := header[places[name]]) != name:
            unit = "dates" if _plain(there) in _DATES else _SHOWN_UNIT[hours]
            words.append(f"{name} from the column {there!r}" + f" in {unit}" * (name == "time"))
    if not {"series", "image"} & set(places):
        words.append("one series, as there is no column series")
    return [f"{file.name}: {', '.join(words)}"] if words else []


def _check_dates(file: Path, header: Sequence[str], rows: list[TableRow], name: str) -> None:
    """Refuses dates as bare numbers, and dates that are apart from their times of day."""
    times = [row for row in rows if row.cells["time"]]
    if name in _DATES:
        for row in times:
            if re.fullmatch(r"[\d.]+", row.cells["time"]):
                raise UserError(
                    f"{file}: line {row.line}: {row.cells['time']!r} is no date: write one such as "
                    "2026-03-01 14:30:00, or name the column time and write hours."
                )
    elif times and all(_CLOCK.fullmatch(row.cells["time"]) for row in times):
        dates = [column for column in header if _plain(column) in _DATES]
        if dates:
            raise UserError(
                f"{file} has dates and times of day in two columns, {dates[0]!r} and one of times: "
                "join them in one column time, such as 2026-03-01 14:30:00."
            )
