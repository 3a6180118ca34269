"""Writing files whole or not at all: whoever reads one never sees half of it."""

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def write_atomically(path: Path, text: str) -> None:
    """Writes or replaces a text file, UTF-8."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8", newline="")
    os.replace(temporary, path)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes or replaces a CSV."""
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    write_atomically(path, text.getvalue())
