"""What the benchmarks' tables share: where a row comes from, the CSV it is in, and Markdown."""

import csv
import os
import platform
import shlex
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from scipy.special import stdtrit

from cellzoo.counters.counts import Counts


def origin(command: Sequence[str]) -> dict[str, str]:
    """The columns that say where a row comes from.

    Ask before the command runs: meanwhile something else may be checked out.
    """
    return {
        "hardware": f"{os.cpu_count()} CPU cores, {platform.machine()}{_vectors()}",
        "command": shlex.join(command),
        "commit": commit(),
    }


def _vectors() -> str:
    """The widest vectors of this processor: much of how long a training step takes."""
    known = Path("/proc/cpuinfo")
    flags = known.read_text(encoding="utf-8") if known.exists() else ""
    return next((f" {name}" for name in ("avx512", "avx2") if name in flags), "")


def trust(true: np.ndarray, found: Counts) -> tuple[str, str, str]:
    """Shares of images in %: flagged, inside their interval, and neither: errors without a word.

    Without an interval an image is not inside.
    """
    inside = (found.low <= true) & (true <= found.high)
    flagged = np.array([bool(flag) for flag in found.flags])
    shares = (flagged, inside, ~inside & ~flagged)
    return tuple(f"{100 * share.mean():.0f}" for share in shares)


def commit() -> str:
    """Of this repository, with a + if files other than results and their plots differ from it."""
    where = Path(__file__).parents[1]
    status = ["status", "--porcelain", "-uno", "--", ".", ":!benchmarks/results", ":!docs/*.png"]
    hash_, changed = (
        subprocess.run(["git", *words], cwd=where, capture_output=True, text=True).stdout.strip()
        for words in (["rev-parse", "--short", "HEAD"], status)
    )
    return hash_ + ("+" if changed else "")


def read_rows(file: Path) -> list[dict[str, str]]:
    """The rows of a table; none of one that is not there yet."""
    if not file.exists():
        return []
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def add_rows(file: Path, rows: Sequence[dict[str, object]], key: Sequence[str]) -> None:
    """Adds rows of the same columns, in place of earlier ones of the same ``key``.

    Columns keep their order; one that is new is empty in earlier rows.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    earlier = read_rows(file)
    new = {tuple(str(row[column]) for column in key) for row in rows}
    kept = [row for row in earlier if tuple(row.get(column, "") for column in key) not in new]
    columns = dict.fromkeys([*(earlier[0] if earlier else ()), *rows[0]])
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(columns))
        writer.writeheader()
        writer.writerows([*kept, *rows])


def by(rows: Iterable[dict[str, str]], keys: Sequence[str]) -> dict[tuple, list[dict[str, str]]]:
    """The rows of each combination of some columns, in the order of the table."""
    parts: dict[tuple, list[dict[str, str]]] = {}
    for row in rows:
        parts.setdefault(tuple(row[key] for key in keys), []).append(row)
    return parts


def over_seeds(values: Sequence[float]) -> str:
    """Mean, 95 % interval for other seeds by Student's t, and all values; no interval of two."""
    number, mean = len(values), float(np.mean(values))
    each = ", ".join(f"{value:.2f}" for value in values)
    if number < 3:
        return f"{mean:.2f}" if number == 1 else f"{mean:.2f} ({each})"
    reach = float(stdtrit(number - 1, 0.975) * np.std(values, ddof=1) / np.sqrt(number))
    return f"{mean:.2f}, {max(mean - reach, 0):.2f} to {mean + reach:.2f} ({each})"


def print_markdown(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints a table."""
    print(f"| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |")
