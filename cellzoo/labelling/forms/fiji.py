"""The tables Summary and Results of ImageJ and Fiji."""

import re
from pathlib import Path

from cellzoo.data.points import Point
from cellzoo.labelling.label_file import LabelFile, Labelled, Surroundings, grouped

_MEASURED = {"area", "mean", "x", "y", "xm", "ym", "bx", "by", "min", "perim.", "intden", "circ."}
_SUMMARISED = ("mean", "sd", "min", "max")  # rows that Results > Summarize adds
# Columns of a place: its name, and whether half of a second column is added.
_PLACES = ((("x", None), ("y", None)), (("xm", None), ("ym", None)),
           (("bx", "width"), ("by", "height")))  # fmt: skip
_HALF_PIXEL = 0.5  # ImageJ measures from the corner of the first pixel


def is_summary(file: LabelFile) -> bool:
    """Whether it is what Analyze Particles writes with the option Summarize."""
    header = set(file.header)
    return {"slice", "count"} <= header and not {"x", "y"} <= header  # measured points have both


def read_summary(file: LabelFile, around: Surroundings) -> list[Labelled]:
    """Every row is an image, or a slice of the stack that the file's name says."""
    labels, stack = [], None
    for line, values in file.values:
        count = file.count(line, values["count"])
        name = values["slice"]
        if name.isdigit() and not around.has(name):
            stack = stack or around.image_of(file)
            frame = around.frame_of_plane(file, line, stack, int(name))
            labels.append(Labelled(stack, frame, count, (file.path, line)))
        else:
            image = around.named(file, line, name, *_titles(name))
            labels.append(Labelled(image, None, count, (file.path, line)))
    return labels


def is_results(file: LabelFile) -> bool:
    """Whether it is a table of measurements, with labels or numbers of rows."""
    labelled = "label" in file.header or file.header[:1] == [""]
    return labelled and bool(_MEASURED & set(file.header))


def read_results(file: LabelFile, around: Surroundings) -> list[Labelled]:
    """Every row is a cell; its label says the image, else the file's name does."""
    columns = next(
        (pair for pair in _PLACES if all(c in file.header for axis in pair for c in axis if c)),
        None,
    )
    cells, own = [], None
    for line, values in file.values:
        label = values.get("label", "")
        if label.lower() in _SUMMARISED and not around.has(label):
            continue
        if label:
            image = around.named(file, line, label, *_titles(label))
        else:
            image = own = own or around.image_of(file)
        frame = _frame(file, line, image, values, around)
        cell = None
        if columns is not None:
            scale = around.layout(image).pixel_size_um or 1.0
            places = []
            for start, length in columns:
                place = file.number(line, values[start])
                place += file.number(line, values[length]) / 2 if length else 0
                places.append(place / scale)
            if file.number(line, values.get("area") or "0") > 0:  # points have the pixel's number
                places = [place - _HALF_PIXEL for place in places]
            cell = Point(*places, values.get("counter", ""))
        cells.append((image, frame, cell))
    labels = grouped(file, cells)
    if not labels:
        raise file.refused(None, "has no row, so it does not say which image was counted")
    if len(labels) > 1 and all(label.count == 1 for label in labels):
        around.note(
            f"{file.path.name} has one row for each image: is it a table of cells, or of images?"
        )
    around.note(f"{file.path.name} lists cells: an image without any is not in it.")
    return labels


def _frame(
    file: LabelFile, line: int, image: Path, values: dict[str, str], around: Surroundings
) -> int | None:
    layout = around.layout(image)
    if layout.frames == 1:
        return None
    if values.get("frame"):
        return around.frame_of_plane(
            file, line, image, int(file.number(line, values["frame"])) * layout.per_frame
        )
    end = re.search(r":(\d+)$", values.get("label", ""))
    plane = values.get("slice") or (end[1] if end else "0")
    return around.frame_of_plane(file, line, image, int(file.number(line, plane)))


def _titles(label: str) -> list[str]:
    """What of a label may name the image: `title:roi:slice`, where a slice may be an image."""
    parts = label.split(":")
    return [parts[0], parts[-1]]
