"""What a spreadsheet of another country makes of a table, which several tests use."""

import csv
import re


def save_again(path, encoding="cp1252", end="\r\n"):
    """Writes a table with semicolons and decimal commas, as Excel does in half of Europe."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    with path.open("w", newline="", encoding=encoding) as stream:
        writer = csv.writer(stream, delimiter=";", lineterminator=end)
        writer.writerows(
            [re.sub(r"^(-?\d+)\.(\d+)$", r"\1,\2", cell) for cell in row] for row in rows
        )
    return path
