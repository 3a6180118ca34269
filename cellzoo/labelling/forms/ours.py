"""cellzoo's own tables, as spreadsheets and other systems write them."""

import os
from pathlib import Path

from cellzoo.data.labels import file_and_frame, read_rows
from cellzoo.data.points import Point
from cellzoo.labelling.label_file import LabelFile, Labelled, Surroundings, grouped


def is_labels(file: LabelFile) -> bool:
    """Whether it is a table ``image,count``."""
    return "image" in file.header and bool({"count", "label_image"} & set(file.header))


def read_labels(file: LabelFile, around: Surroundings) -> list[Labelled]:
    """Every row; other columns are kept."""
    folder = file.path.parent
    labels = []
    for line, values in read_rows(file.path)[1]:
        name = values.pop("image")
        if not name:
            raise file.refused(line, "names no image, fill in the column image or delete the line")
        image, frame = _file(name, file, line, around)
        count = file.count(line, values.pop("count", ""))
        for column in {"mask", "label_image"} & values.keys():
            if values[column]:
                mask, number = file_and_frame(folder, values[column])
                values[column] = os.path.abspath(mask) + ("" if number is None else f"#{number}")
        values.pop("", None)
        labels.append(Labelled(image, frame, count, (file.path, line), more=values))
    return labels


def is_points(file: LabelFile) -> bool:
    """Whether it is a table ``image,x,y``."""
    return {"image", "x", "y"} <= set(file.header)


def read_points(file: LabelFile, around: Surroundings) -> list[Labelled]:
    """Every row is a cell, but one without a place: its image has none."""
    cells, empty = [], []
    for line, values in file.values:
        image, frame = _file(values["image"], file, line, around)
        if not values["x"] and not values["y"]:
            empty.append(Labelled(image, frame, 0.0, (file.path, line), ()))
            continue
        x, y = (file.number(line, values[axis]) for axis in "xy")
        cells.append((image, frame, Point(x, y, values.get("class", ""))))
    return [*grouped(file, cells), *empty]


def _file(name: str, file: LabelFile, line: int, around: Surroundings) -> tuple[Path, int | None]:
    stem, mark, number = name.rpartition("#")
    framed = bool(mark) and number.isascii() and number.isdigit()
    image = around.named(file, line, name, *([stem] if framed else []))
    whole = not framed or image.name.endswith(f"#{number}") or f"#{number}." in image.name
    return image, None if whole else int(number)
