"""Text tables as programs and countries write them."""

import codecs
import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cellzoo.errors import UserError

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# Excel writes, and obeys, such a first line.
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[;,\t]*', re.IGNORECASE)
_COMMA = re.compile(r"[+-]?\d*,\d+")
_MAYBE_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")


@dataclass(frozen=True)
class Form:
    """How a table is written, so that it can be written again alike.

    Attributes:
        encoding: of the text, as Python calls it.
        delimiter: between two cells.
        stated: a first line ``sep=;`` says the delimiter.
        line_end: of a row.
    """

    encoding: str = "utf-8"
    delimiter: str = ","
    stated: bool = False
    line_end: str = "\n"


def read_csv_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Reads the rows of a CSV that are not blank, each with its line number from 1.

    Commas, semicolons or tabs separate: what a first line ``sep=;`` says, or what divides the first
    line into the most cells. The text is UTF-8, or UTF-16 with the mark that Excel begins it with.

    Args:
        path: the file.

    Returns:
        Line number and cells, without blanks around them.

    Raises:
        UserError: the file is missing, is no such text, or has a line that is no row.
    """
    return read_csv(path)[0]


def read_csv(path: Path, otherwise: str | None = None) -> tuple[list[tuple[int, list[str]]], Form]:
    """Reads the rows, see :func:`read_csv_rows`, and how they are written.

    Args:
        path: the file.
        otherwise: encoding of text that is neither UTF-8 nor UTF-16; None: such text is an error.

    Raises:
        UserError: the file is missing, is no such text, or has a line that is no row.
    """
    content, encoding = _text(path, otherwise)
    lines = content.splitlines(keepends=True)
    skipped = next((k for k, line in enumerate(lines) if line.strip()), len(lines))
    stated = _SEPARATOR_LINE.fullmatch(lines[skipped].strip("\r\n ")) if lines[skipped:] else None
    skipped += stated is not None
    delimiter = stated[1] if stated else _delimiter(lines[skipped:])
    line_end = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    form = Form(encoding, delimiter, stated is not None, line_end)
    text = io.StringIO("".join(lines[skipped:]), newline="")
    rows = []
    try:
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        for row in reader:
            rows.append((reader.line_num + skipped, [cell.strip() for cell in row]))
    except csv.Error as error:
        raise UserError(
            f"{path}: line {reader.line_num + skipped}: is no row of a CSV ({error}), correct the "
            "line"
        ) from error
    for line, row in rows:
        if any("\n" in cell or "\r" in cell for cell in row):
            raise UserError(f"{path}: line {line}: has a value of several lines, check the quotes")
        if any("\0" in cell for cell in row):
            raise UserError(f"{path}: line {line}: holds a character of code 0, type it anew")
    return [(line, row) for line, row in rows if any(row)], form


def read_table(
    path: Path, numbers: Sequence[str] = ()
) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Reads a table that cellzoo wrote, as it wrote it or as a spreadsheet saved it again.

    Commas, semicolons or tabs separate; the text is UTF-8, UTF-16 or Windows-1252.

    Args:
        path: the file.
        numbers: columns whose decimal commas become points.

    Returns:
        The columns, none of an empty file; and of each row its line and its cells by column, empty
        where a spreadsheet left them out.

    Raises:
        UserError: it cannot be read, a row has too many cells, or a number may be two numbers.
    """
    lines, form = read_csv(path, otherwise="cp1252")
    if not lines:
        return [], []
    (_, header), *rest = lines
    rows = [(line, by_column(path, line, header, cells)) for line, cells in rest]
    decimal_points(path, rows, numbers, form.delimiter)
    return header, rows


def by_column(path: Path, line: int, header: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    """The cells of a row by column, empty where a spreadsheet left them out.

    Raises:
        UserError: there are more cells than columns.
    """
    if any(cells[len(header) :]):
        raise UserError(
            f"{path}: line {line}: has more cells than the header: quote cells with commas in "
            "them, or put semicolons between cells."
        )
    return dict.fromkeys(header, "") | dict(zip(header, cells, strict=False))


def decimal_points(
    path: Path, rows: Sequence[tuple[int, dict[str, str]]], names: Iterable[str], delimiter: str
) -> None:
    """Writes decimal commas of columns as points, where they are no thousands marks.

    Args:
        path: of the table.
        rows: line and cells by column, which are changed.
        names: of columns of numbers; a table may lack some.
        delimiter: between its cells.

    Raises:
        UserError: a comma may be either.
    """
    for name in names:
        commas = [(line, cells) for line, cells in rows if _COMMA.fullmatch(cells.get(name, ""))]
        # Who separates cells with semicolons has the comma for decimals.
        unclear = [line for line, cells in commas if _MAYBE_THOUSANDS.fullmatch(cells[name])]
        if commas and len(unclear) == len(commas) and delimiter != ";":
            line, cells = commas[0]
            raise UserError(
                f"{path}: line {line}: the {name} {cells[name]!r} may have a decimal or a "
                "thousands mark: write it with a point, or without a mark."
            )
        for _, cells in commas:
            cells[name] = cells[name].replace(",", ".")


def _text(path: Path, otherwise: str | None) -> tuple[str, str]:
    """The text of a file, and its encoding."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror}), check the path") from error
    encoding = "utf-16" if raw.startswith(_UTF16) else "utf-8"
    if raw.startswith(codecs.BOM_UTF8):
        encoding = "utf-8-sig"  # Excel writes a byte order mark before the header
    try:
        return raw.decode(encoding), encoding
    except UnicodeDecodeError as error:
        # Text of an old code page has no zeros, as UTF-16 without a mark and other files have.
        if otherwise and encoding == "utf-8" and b"\0" not in raw:
            return raw.decode(otherwise, errors="replace"), otherwise
        raise UserError(f"{path}: is not UTF-8 text, save it as 'CSV UTF-8'") from error


def _delimiter(lines: list[str]) -> str:
    """What divides the first line into the most cells and, of several, every line into as many."""
    if not lines:
        return ","
    cells = {mark: len(next(csv.reader(lines[:1], delimiter=mark), [])) for mark in "\t;,"}
    most = max(cells.values())
    marks = [mark for mark, number in cells.items() if number == most > 1] or [","]
    if len(marks) == 1:
        return marks[0]
    filled = [line for line in lines if line.strip()]
    even = [
        mark
        for mark in marks
        if all(len(row) == most for row in csv.reader(filled, delimiter=mark) if row)
    ]
    return (even or marks)[0]
