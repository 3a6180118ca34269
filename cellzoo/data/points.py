"""The table of cells' places, ``points.csv``, and what moves these places about.

It begins with the line ``image,x,y[,class]``; other columns are ignored. A row is a cell. ``x`` and
``y`` are pixels of the image's file, 0 in the middle of the first one. Images are named as in the
table of labels. A row with neither ``x`` nor ``y`` says that somebody looked and found no cell.

In memory the places of an image's cells are float32 ``[k, 2]``, x before y.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cellzoo.data.names import NamedFiles
from cellzoo.data.table import decimal_points, read_csv
from cellzoo.errors import UserError
from cellzoo.files import csv_path

POINTS_FILE = "points.csv"
_CURE = "begin the file with the line image,x,y"


@dataclass(frozen=True)
class Point:
    """Where a cell is: pixels, 0 in the middle of the first one; its class, if any.

    ``line`` is where the table says so, for errors; 0 where no table does.
    """

    x: float
    y: float
    kind: str = ""
    line: int = field(default=0, compare=False)


def read_points(path: Path) -> dict[str, list[Point]]:
    """Reads a table of places; no image is opened.

    Args:
        path: the table.

    Returns:
        The cells of each image that the table names, in its order; none for an image without cells.
        Names are as the files have them, relative to the table, such as ``stack.tif#3``.

    Raises:
        UserError: the table cannot be used; the sentence names the line.
    """
    rows, form = read_csv(path)
    if not rows:
        raise UserError(f"{path}: line 1: is empty, {_CURE}")
    line, cells = rows[0]
    header = [cell.lower() for cell in cells]
    for column in ("image", "x", "y"):
        if header.count(column) != 1:
            found = "no column" if column not in header else "more than one column"
            raise UserError(f"{path}: line {line}: has {found} {column}, {_CURE}")
    points: dict[str, list[Point]] = {}
    files = NamedFiles(path.parent)
    empty: dict[str, int] = {}
    table = []
    for line, cells in rows[1:]:
        where = f"{path}: line {line}"
        if len(cells) != len(header) and not (len(cells) == 1 and header[0] == "image"):
            raise UserError(
                f"{where}: has {len(cells)} values for {len(header)} columns, write a decimal "
                "point, and a separator for each empty value"
            )
        table.append((line, dict.fromkeys(header, "") | dict(zip(header, cells, strict=False))))
    decimal_points(path, table, "xy", form.delimiter)
    for line, values in table:
        where = f"{path}: line {line}"
        if not values["image"]:
            raise UserError(f"{where}: names no image, fill in the column image")
        try:
            name = files.spelled(values["image"])
        except ValueError as error:
            raise UserError(f"{where}: {error}") from error
        found = points.setdefault(name, [])
        if not values["x"] and not values["y"]:
            empty[name] = line
        else:
            x, y = (_number(where, axis, values[axis]) for axis in "xy")
            found.append(Point(x, y, values.get("class", ""), line))
    for name, line in empty.items():
        if points[name]:
            raise UserError(
                f"{path}: line {line}: says that {name} has no cell, but line "
                f"{points[name][0].line} places one in it, delete one of the two"
            )
    return points


def points_text(points: Mapping[str, Sequence[Point]]) -> str:
    """The text of a table of places: what :func:`read_points` reads, to a hundredth of a pixel."""
    kinds = any(point.kind for found in points.values() for point in found)
    rows = []
    for image, found in points.items():
        name = csv_path(image)
        placed = [[name, _place(p.x), _place(p.y), *([p.kind] if kinds else [])] for p in found]
        rows += placed or [[name, "", "", *([""] if kinds else [])]]
    text = io.StringIO()
    header = ["image", "x", "y", *(["class"] if kinds else [])]
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def as_array(points: Sequence[Point]) -> np.ndarray:
    """Places as float32 ``[k, 2]``, x before y."""
    return np.array([(p.x, p.y) for p in points], np.float32).reshape(-1, 2)


def resize_points(points: np.ndarray, old: tuple[int, int], new: tuple[int, int]) -> np.ndarray:
    """Moves places as :func:`cellzoo.images.resize` moves pixels.

    Args:
        points: ``[k, 2]``, x before y.
        old: height and width of the image.
        new: those it is resized to.

    Returns:
        float32 ``[k, 2]``.
    """
    scale = np.array([new[1] / old[1], new[0] / old[0]])
    # Not the middle of the first pixel stays where it is, but its corner, half a pixel before it.
    return ((points + 0.5) * scale - 0.5).astype(np.float32)


def inside(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The places ``[k, 2]`` that lie in an image of this height and width."""
    height, width = shape
    x, y = points[:, 0], points[:, 1]
    return points[(x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)]


def _number(where: str, axis: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{where}: the {axis} {text!r} is not a number, write pixels such as 12.5")
    return number


def _place(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")
