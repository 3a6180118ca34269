"""The tables of CellProfiler's ExportToSpreadsheet: images, or one kind of objects."""

import math
from pathlib import Path

from cellzoo.data.points import Point
from cellzoo.labelling.label_file import LabelFile, Labelled, Surroundings

_PLACES = (("location_center_x", "location_center_y"), ("areashape_center_x", "areashape_center_y"))


def recognises(file: LabelFile) -> bool:
    """Whether its rows have CellProfiler's numbers of images."""
    return "imagenumber" in file.header


def read(file: LabelFile, around: Surroundings) -> list[Labelled]:
    """Counts of the table of images, or cells of a table of objects.

    The names of the images are in the table of images, which lies beside that of objects.
    """
    if "objectnumber" not in file.header:
        return [
            Labelled(image, frame, _count(file, line, values, around), (file.path, line))
            for line, values, image, frame in _images(file, around)
        ]
    named = file if _names(file) else _image_table(file)
    places = next((pair for pair in _PLACES if set(pair) <= set(file.header)), None)
    cells: dict[str, list[Point | None]] = {}
    for line, values in file.values:
        cell = places and Point(*(file.number(line, values[axis]) for axis in places))
        cells.setdefault(values["imagenumber"], []).append(cell)
    labels, seen = [], set()
    for _, values, image, frame in _images(named, around):
        number = values["imagenumber"]
        if number not in seen:  # in a table of objects every object names its image
            seen.add(number)
            own = cells.get(number, [])
            labels.append(
                Labelled(image, frame, float(len(own)), (file.path, None), own if places else None)
            )
    if missing := cells.keys() - seen:
        raise file.refused(
            None, f"has objects of image {min(missing)}, which {named.path.name} does not list"
        )
    return labels


def _names(file: LabelFile) -> list[str]:
    return [c for c in file.header if c.removeprefix("image_").startswith("filename_")]


def _image_table(file: LabelFile) -> LabelFile:
    """``Run_Image.csv`` beside ``Run_Nuclei.csv``."""
    ending = "Image.csv"
    tables = [
        path
        for path in file.path.parent.glob(f"*{ending}")
        if file.path.name.startswith(path.name.removesuffix(ending)) and path != file.path
    ]
    if not tables:
        prefix = file.path.stem.rpartition("_")[0]
        name = f"{prefix}_{ending}" if prefix else ending
        raise file.refused(None, f"names no images, put {name} of the same run beside it")
    path = max(tables, key=lambda path: len(path.name))
    return LabelFile(path)


def _images(
    file: LabelFile, around: Surroundings
) -> list[tuple[int, dict[str, str], Path, int | None]]:
    names = _names(file)
    if not names:
        raise file.refused(
            None, "has no column FileName_..., export the file names with the table of images"
        )
    if len(names) > 1 and file.values:
        there = [column for column in names if around.has(file.values[0][1][column])]
        names = there or names
    name = around.choose(file, "file names", names)
    channel = name.rpartition("filename_")[2]
    found = []
    for line, values in file.values:
        folder = values.get(name.replace("filename_", "pathname_"), "")
        full = f"{folder}/{values[name]}" if folder else values[name]
        image = around.named(file, line, full, values[name])
        frame = None
        if (number := values.get(f"frame_{channel}")) and around.layout(image).frames > 1:
            frame = int(file.number(line, number))
        found.append((line, values, image, frame))
    return found


def _count(file: LabelFile, line: int, values: dict[str, str], around: Surroundings) -> float:
    columns = [column for column in file.header if column.startswith("count_")]
    if not columns:
        raise file.refused(None, "has no column Count_..., give the table of objects")
    text = values[around.choose(file, "counts", columns)]
    if text.lower() == "nan":  # the pipeline failed for this image
        around.note(f"{file.path.name} has images without a count (nan), which are unlabelled.")
        return math.nan
    return file.count(line, text)
