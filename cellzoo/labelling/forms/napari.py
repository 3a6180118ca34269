"""Points and shapes that napari saves as CSV."""

import re

from cellzoo.data.points import Point
from cellzoo.files import csv_text
from cellzoo.labelling.dotted import Dotted
from cellzoo.labelling.label_file import LabelFile, Labelled, Surroundings, grouped


def recognises(file: LabelFile) -> bool:
    """Whether it has napari's columns."""
    return {"axis-0", "axis-1"} <= set(file.header)


def read(file: LabelFile, around: Surroundings) -> list[Labelled]:
    """Every point, or shape, is a cell of the image that the file's name says.

    The last two axes are y and x; those before them are the axes of the image.
    """
    shapes = "shape-type" in file.header
    if shapes and "index" not in file.header:
        raise file.refused(None, "has no column index, so its corners belong to no shape")
    image = around.image_of(file)
    layout = around.layout(image)
    numbers = sorted(int(c[5:]) for c in file.header if re.fullmatch(r"axis-\d{1,3}", c))
    axes = [f"axis-{number}" for number in numbers]
    if numbers != list(range(len(numbers))):
        raise file.refused(None, "does not number its axes from 0, save it again")
    leading = axes[:-2]
    time = None
    if layout.frames > 1:
        letters = layout.axes[-len(leading) :] if leading else ""
        at = next((k for k, letter in enumerate(letters) if letter in "TI"), None)
        if at is None or len(letters) != len(leading):
            raise file.refused(
                None,
                f"its points have {len(axes)} axes, but {image.name} has {layout.frames} frames: "
                "save points of the whole stack",
            )
        time = leading[at]
    vertices: dict[tuple[int | None, str], list[tuple[float, float]]] = {}
    for line, values in file.values:
        y, x = (file.number(line, values[axis]) for axis in axes[-2:])
        frame = None
        if time is not None:
            frame = round(file.number(line, values[time]))
            if not 0 <= frame < layout.frames:
                raise file.refused(line, f"{image.name} has no frame {frame}, correct the line")
        shape = values["index"] if shapes else str(line)
        vertices.setdefault((frame, shape), []).append((x, y))
    if not vertices:
        if time is not None:
            raise file.refused(None, f"has no point, so it labels no frame of {image.name}")
        around.note(f"{file.path.name} has no point: {image.name} counts 0.")
        return [Labelled(image, None, 0.0, (file.path, None), ())]
    cells = []
    for (frame, _), corners in vertices.items():
        xs, ys = zip(*corners, strict=True)
        cells.append((image, frame, Point(sum(xs) / len(xs), sum(ys) / len(ys))))
    return grouped(file, cells)


def write(dotted: Dotted) -> str:
    """A layer of points; its leading axes are those of the image, of which time says the frame."""
    letters = dotted.layout.axes if dotted.layout.frames > 1 else ""
    at = [k for k, letter in enumerate(letters) if letter in "TI"]
    if letters and len(at) != 1:
        raise dotted.refused(f"has the axes {letters}, of which not one is the frames")
    rows = []
    for frame, cells in dotted.cells.items():
        leading = [0] * len(letters)
        if letters:
            leading[at[0]] = frame
        rows += [[len(rows) + k, *leading, f"{p.y:g}", f"{p.x:g}"] for k, p in enumerate(cells)]
    axes = [f"axis-{number}" for number in range(len(letters) + 2)]
    return csv_text(["index", *axes], rows)
