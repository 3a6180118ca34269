"""What the benchmarks share: where a row comes from, and a CSV that keeps one row for each key."""

import csv
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path


def hardware() -> str:
    """The processor of this machine, as the tables name it."""
    return f"{os.cpu_count()} CPU cores, {platform.machine()}"


def commit() -> str:
    """Of this repository, with a + if files other than results differ from it."""
    where = Path(__file__).parents[1]
    status = ["status", "--porcelain", "-uno", "--", ".", ":!benchmarks/results"]
    hash_, changed = (
        subprocess.run(["git", *words], cwd=where, capture_output=True, text=True).stdout.strip()
        for words in (["rev-parse", "--short", "HEAD"], status)
    )
    return hash_ + ("+" if changed else "")


def add_rows(file: Path, rows: Sequence[dict[str, object]], key: Sequence[str]) -> None:
    """Adds rows of the same columns, in place of earlier ones of the same ``key``."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = {tuple(str(row[column]) for column in key) for row in rows}
    kept = []
    if file.exists():
        with file.open(newline="", encoding="utf-8") as stream:
            kept = [r for r in csv.DictReader(stream) if tuple(r[c] for c in key) not in new]
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows([*kept, *rows])
