"""The measurements that QuPath exports: of detections, of annotations, or of images."""

import math
from pathlib import Path

from cellzoo.data.points import Point
from cellzoo.labelling.label_file import LabelFile, Labelled, Surroundings, grouped

_HALF_PIXEL = 0.5  # QuPath measures from the corner of the first pixel
_OWN = {"num detections", "object type", "object id", "parent", "roi", "num points"}


def recognises(file: LabelFile) -> bool:
    """Whether its rows are objects of QuPath in images."""
    return "image" in file.header and (
        bool(_OWN & set(file.header)) or any(c.startswith("centroid x") for c in file.header)
    )


def read(file: LabelFile, around: Surroundings) -> list[Labelled]:
    """Detections are cells; without any, the numbers that images or annotations have."""
    rows = [(line, values, _what(values)) for line, values in file.values]
    detections = [(line, values) for line, values, what in rows if what == "detection"]
    if detections:
        around.note(f"{file.path.name} lists detections: an image without any is not in it.")
        return _of_detections(file, around, detections)
    images = [(line, values) for line, values, what in rows if what == "image"]
    column = "num detections" if "num detections" in file.header else "num points"
    if column not in file.header:
        raise file.refused(
            None, "has neither detections nor a column Num Detections, export the detections"
        )
    if images:
        return [
            Labelled(
                _image(file, line, values, around), None, file.count(line, values[column]),
                (file.path, line),
            )
            for line, values in images
        ]  # fmt: skip
    return _of_annotations(file, around, [(line, values) for line, values, _ in rows], column)


def _of_detections(
    file: LabelFile, around: Surroundings, rows: list[tuple[int, dict[str, str]]]
) -> list[Labelled]:
    places = {axis: next((c for c in file.header if c.startswith(f"centroid {axis}")), None)
              for axis in "xy"}  # fmt: skip
    kind = "classification" if "classification" in file.header else "class"
    cells = []
    for line, values in rows:
        image = _image(file, line, values, around)
        cell = None
        if places["x"] and places["y"]:
            scale = 1.0
            if not places["x"].endswith("px"):
                scale = around.layout(image).pixel_size_um or math.nan
            if math.isnan(scale):
                around.note(
                    f"{image.name} does not say its pixel size, so the places of cells, in µm, are "
                    "left out."
                )
            else:
                x, y = (file.number(line, values[places[axis]]) for axis in "xy")
                cell = Point(x / scale - _HALF_PIXEL, y / scale - _HALF_PIXEL, values.get(kind, ""))
        cells.append((image, None, cell))
    return grouped(file, cells)


def _of_annotations(
    file: LabelFile, around: Surroundings, rows: list[tuple[int, dict[str, str]]], column: str
) -> list[Labelled]:
    counts: dict[Path, float] = {}
    for line, values in rows:
        image = _image(file, line, values, around)
        count = file.count(line, values[column])
        if image in counts and column == "num detections":
            raise file.refused(
                line,
                f"is a second annotation of {image.name}, and cells in both would count twice: "
                "export the detections",
            )
        counts[image] = counts.get(image, 0) + (0 if math.isnan(count) else count)
    if column == "num detections":
        around.note(
            f"{file.path.name} counts the cells of one annotation in each image, not of what is "
            "around it."
        )
    return [Labelled(image, None, count, (file.path, None)) for image, count in counts.items()]


def _what(values: dict[str, str]) -> str:
    """Whether a row is an image, an annotation or a detection."""
    kind = (values.get("object type") or values.get("name") or "").lower()
    if "root" in kind or kind == "image":
        return "image"
    if "annotation" in kind or "core" in kind:
        return "annotation"
    if "num detections" in values and not ("detection" in kind or "cell" in kind):
        return "annotation" if {"roi", "parent"} & values.keys() else "image"
    return "annotation" if values.get("num points") else "detection"


def _image(file: LabelFile, line: int, values: dict[str, str], around: Surroundings) -> Path:
    name = values["image"]
    return around.named(file, line, name, name.partition(" - ")[0])
