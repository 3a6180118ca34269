"""A table that is changed row by row: whatever else is in it stays as it was."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from cellzoo.data.table import Form, read_csv
from cellzoo.errors import UserError
from cellzoo.files import write_atomically


class OpenTable:
    """The rows of a CSV, to be changed and written back.

    Columns that are not known here, the order of rows, delimiter, encoding and spellings stay.

    Args:
        path: of the table; where there is none it is empty.
        columns: that a new table begins with.

    Attributes:
        header: names of the columns as written.
        rows: cells of each row, as many as there are columns.

    Raises:
        UserError: the file is no table.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        """Reads it."""
        self.path = path
        self.header: list[str] = list(columns)
        self.rows: list[list[str]] = []
        self._form = Form()
        if path.is_file():
            lines, self._form = read_csv(path)
            if lines:
                self.header = list(lines[0][1])
                self.rows = [_filled(cells, len(self.header)) for _, cells in lines[1:]]

    def get(self, row: int, column: str) -> str:
        """A cell; empty where there is no such column."""
        at = self._at(column)
        return "" if at is None else self.rows[row][at]

    def set(self, row: int, values: Mapping[str, str]) -> None:
        """Changes cells of a row; a column that is missing is added, unless its value is empty."""
        for column, value in values.items():
            at = self._at(column)
            if at is None:
                if not value:
                    continue
                at = len(self.header)
                self.header.append(column)
                for cells in self.rows:
                    cells.append("")
            self.rows[row][at] = value

    def add(self, values: Mapping[str, str], at: int | None = None) -> None:
        """A new row, at a place or at the end."""
        at = len(self.rows) if at is None else at
        self.rows.insert(at, [""] * len(self.header))
        self.set(at, values)

    def remove(self, rows: Sequence[int]) -> None:
        """Takes rows away."""
        gone = set(rows)
        self.rows = [cells for k, cells in enumerate(self.rows) if k not in gone]

    def write(self) -> None:
        """Replaces the file, through to the disk: a kill or a power cut leaves the old or the new.

        Raises:
            UserError: it cannot be written.
        """
        text = io.StringIO()
        form = self._form
        if form.stated:
            text.write(f"sep={form.delimiter}{form.line_end}")
        writer = csv.writer(text, delimiter=form.delimiter, lineterminator=form.line_end)
        writer.writerows([self.header, *self.rows])
        write_through(self.path, text.getvalue().encode(form.encoding))

    def _at(self, column: str) -> int | None:
        lower = [name.lower() for name in self.header]
        return lower.index(column) if column in lower else None


def write_through(path: Path, content: bytes) -> None:
    """Replaces a file, through to the disk.

    Raises:
        UserError: it cannot be written.
    """
    try:
        write_atomically(path, content, through=True)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}): close it in other programs, or free "
            "some space; the answer is still on the page."
        ) from None


def _filled(cells: list[str], width: int) -> list[str]:
    """The cells of a row, those that a spreadsheet left out at its end included."""
    return [*cells, *[""] * (width - len(cells))]
