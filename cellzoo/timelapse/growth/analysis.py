"""``cellzoo growth``: a table of counts to growth rates, as tables, figures and a page."""

import itertools
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from threadpoolctl import threadpool_limits

from cellzoo import __version__
from cellzoo.data.table import read_csv
from cellzoo.errors import UsageError, UserError
from cellzoo.files import check_name, csv_safe, finite, lock, write_atomically, write_csv
from cellzoo.timelapse.growth.conditions import (
    Comparison,
    Condition,
    compare,
    left_out,
    summarise,
)
from cellzoo.timelapse.growth.estimate import Growth, estimate
from cellzoo.timelapse.growth.series import Series, read_series

COLUMNS = (
    "series", "rate_per_hour", "rate_low", "rate_high", "doubling_hours", "doubling_low",
    "doubling_high", "divisions", "first_hour", "last_hour", "lag_hours", "flag",
)  # fmt: skip


@dataclass(frozen=True)
class Analysis:
    """Growth of all series of a table.

    Attributes:
        table: the file of the counts.
        series: the counts.
        growths: of each series.
        by: the column of the conditions; empty without.
        conditions: none without ``by``.
        comparisons: of each two conditions.
        notes: sentences on how the table was read, and on what is not compared.
    """

    table: Path
    series: list[Series]
    growths: list[Growth]
    by: str = ""
    conditions: Sequence[Condition] = ()
    comparisons: Sequence[Comparison] = ()
    notes: Sequence[str] = ()


def analyse(
    table: Path,
    *,
    interval: float | None = None,
    by: str | None = None,
    pair: str | None = None,
    series_table: Path | None = None,
) -> Analysis:
    """Estimates the growth of each series of a table of counts.

    Args:
        table: CSV as ``cellzoo count`` writes it.
        interval: hours between frames, where the table has no times.
        by: column of the conditions, of ``series_table`` or else of ``table``.
        pair: column of what belongs together, such as a chip: conditions are compared within.
        series_table: CSV with a column ``series`` and others on each series.

    Raises:
        UserError: a table cannot be read, or a column or a series is missing.
        UsageError: ``pair`` or ``series_table`` without ``by``, or no times are known.
    """
    if by is None and (pair is not None or series_table is not None):
        raise UsageError("--pair and --series say more of --by COLUMN: name the column, too.")
    series, notes = read_series(table, interval)
    # Systems are small: threads wait for each other, on a busy computer for most of the time.
    with threadpool_limits(1):
        growths = [estimate(one) for one in series]
    if by is None:
        return Analysis(table, series, growths, notes=notes)
    source, rows = table, {one.name: one.rows for one in series}
    if series_table is not None:
        source, rows = series_table, _of_series(series_table, list(rows))
    conditions = [_value(source, rows, one.name, by) for one in series]
    pairs = [_value(source, rows, one.name, pair) for one in series] if pair else None
    found, compared = summarise(growths, conditions), compare(growths, conditions, pairs)
    notes = [*notes, *left_out(growths, conditions, pairs)]
    return Analysis(table, series, growths, by, found, compared, notes)


def growth(table: Path, out: Path, **options: object) -> tuple[Analysis, list[Path]]:
    """Writes the growth of a table's series into a new folder.

    ``growth.csv`` and ``growth.json``, with conditions ``conditions.csv`` and ``comparisons.csv``,
    a figure for each series and ``growth.html``. The folder appears when it is complete.

    Args:
        table: CSV as ``cellzoo count`` writes it.
        out: folder to make.
        options: as of :func:`analyse`.

    Returns:
        What was found, and the files.

    Raises:
        UserError: ``out`` holds other files, and as :func:`analyse`.
    """
    if not out.name:
        raise UserError(f"-o {out} is the folder that you are in: name one for the growth.")
    check_name(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} holds other files: choose another folder for -o.")
    analysis = analyse(table, **options)
    partial = out.with_name(f".{out.name[:64]}.part")  # the same after a kill, which leaves it
    partial.mkdir(parents=True, exist_ok=True)
    with lock(partial, "is being written by another command"):
        for left in partial.iterdir():
            if left.is_dir():
                shutil.rmtree(left)
        inside = partial / "complete"
        inside.mkdir()
        names = write_files(analysis, inside)
        if out.exists():
            out.rmdir()
        os.rename(inside, out)
    shutil.rmtree(partial, ignore_errors=True)
    return analysis, [out / name for name in names]


def summary(analysis: Analysis) -> list[str]:
    """What was found, in lines."""
    rated = sum(g.rate_per_hour is not None for g in analysis.growths)
    lines = list(analysis.notes)
    for found in analysis.growths:
        if found.rate_per_hour is None:
            lines.append(f"{found.series}: {found.flag}")
            continue
        words = (
            f"{found.series}: doubles in {found.doubling_hours:.1f} h "
            f"({found.doubling_low:.1f} to {found.doubling_high:.1f}), {found.divisions} divisions"
        )
        lines.append(f"{words}; {found.flag}" if found.flag else words)
    for found in analysis.conditions:
        words = f"{analysis.by} {found.condition}: {found.with_rate} of {found.series} with a rate"
        if found.rate_per_hour is not None:
            words += f", mean {found.rate_per_hour:.4f} per hour"
        if found.rate_low is not None:
            words += f" ({found.rate_low:.4f} to {found.rate_high:.4f})"
        lines.append(words)
    for c in analysis.comparisons:
        of = f"{c.number} pairs" if c.paired else f"{c.number} chambers or more each"
        lines.append(
            f"{c.second} against {c.first}: {c.difference:+.4f} per hour "
            f"({c.low:+.4f} to {c.high:+.4f}) of {of}, p = {c.p_holm:.2g}"
        )
    return [*lines, f"{rated} of {len(analysis.growths)} series have a growth rate"]


def write_files(analysis: Analysis, folder: Path) -> list[str]:
    """Writes all files into a folder and returns their names, those of the figures left out."""
    from cellzoo.timelapse.growth.report import write_report  # Matplotlib, 0.5 s

    rows = [[_cell(getattr(found, key)) for key in COLUMNS] for found in analysis.growths]
    write_csv(folder / "growth.csv", COLUMNS, rows)
    names = ["growth.csv", "growth.json"]
    for name, kind, items in (
        ("conditions.csv", Condition, analysis.conditions),
        ("comparisons.csv", Comparison, analysis.comparisons),
    ):
        if items:
            cells = [[_cell(value) for value in asdict(item).values()] for item in items]
            write_csv(folder / name, [field.name for field in fields(kind)], cells)
            names.append(name)
    content = {
        "cellzoo": __version__,
        "table": analysis.table.name,
        "notes": list(analysis.notes),
        "series": [
            {key: getattr(found, key) for key in (*COLUMNS[:-1], "plateau_hour")}
            | {"flags": list(found.flags), "frames": len(found.left_out)}
            | {"frames_left_out": int(found.left_out.sum())}
            for found in analysis.growths
        ],
        "by": analysis.by or None,
        "conditions": [asdict(item) for item in analysis.conditions],
        "comparisons": [asdict(item) for item in analysis.comparisons],
    }
    write_atomically(folder / "growth.json", json.dumps(finite(content), indent=1) + "\n")
    write_report(analysis, folder)
    return [*names, "growth.html"]


def _cell(value: object) -> object:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else csv_safe(str(value))


def _read_conditions(file: Path) -> dict[str, dict[str, str]]:
    """The rows of a table of series, by their series."""
    lines, _ = read_csv(file, otherwise="cp1252")
    header = (
        [name if name.lower() != "series" else "series" for name in lines[0][1]] if lines else []
    )
    if "series" not in header or not lines[1:]:
        raise UserError(f"{file} has no column series: add one with the names of the series.")
    rows = [
        dict(itertools.zip_longest(header, row[: len(header)], fillvalue=""))
        for _, row in lines[1:]
    ]
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        if row["series"] in found:
            raise UserError(f"{file} has the series {row['series']} twice: leave one out.")
        found[row["series"]] = row
    return found


def _of_series(file: Path, names: Sequence[str]) -> dict[str, list[dict[str, str]]]:
    """The row of each series, which may name it by the last part of its path."""
    known = _read_conditions(file)
    found: dict[str, list[dict[str, str]]] = {}
    by_last: dict[str, str] = {}
    for name in names:
        if name in known:
            found[name] = [known[name]]
        elif (last := re.split(r"[/\\]", name)[-1]) in known:
            if (other := by_last.setdefault(last, name)) != name:
                raise UserError(
                    f"{file} names the series {last}, which may be {other} or {name}: write a row "
                    "for each, with its whole name."
                )
            found[name] = [known[last]]
        else:
            raise UserError(f"{file} has no row for the series {name}: add one.")
    return found


def _value(
    source: Path, rows: Mapping[str, Sequence[dict[str, str]]], name: str, column: str
) -> str:
    """What the rows of a series in a table say of it, some of which may be empty."""
    if column not in rows[name][0]:
        there = ", ".join(key for key in rows[name][0] if key)
        raise UserError(f"{source} has no column {column}: its columns are {there}.")
    values = list(dict.fromkeys(row[column] for row in rows[name] if row[column]))
    if not values:
        raise UserError(f"{source} says no {column} of the series {name}: fill it in.")
    if values[1:]:
        raise UserError(
            f"{source} says several {column} of the series {name}, {values[0]} and {values[1]}: "
            "correct it, or give each chamber a name of its own in the column series."
        )
    return values[0]
