"""Our ``points.csv`` -> files that other programs open, and that :mod:`importers` reads again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cellzoo.data.labels import LABELS_FILE, file_and_frame, read_labels, resolved
from cellzoo.data.points import POINTS_FILE, Point, read_points
from cellzoo.errors import UserError
from cellzoo.files import write_new
from cellzoo.labelling.dotted import Dotted
from cellzoo.labelling.forms import cell_counter, coco, napari, rois
from cellzoo.labelling.label_file import Surroundings


@dataclass(frozen=True)
class _Writer:
    """A form of files to write.

    Attributes:
        name: of a file, with the image's name without its suffix as ``{}``.
        write: the content, of one image, or of all where the name has no ``{}``.
        classes: whether it keeps the classes of cells.
        empty: whether it can say that an image has no cell.
    """

    name: str
    write: Callable[..., str | bytes]
    classes: bool
    empty: bool


WRITERS = {
    "napari": _Writer("{}_points.csv", napari.write, classes=False, empty=True),
    "cell-counter": _Writer("CellCounter_{}.xml", cell_counter.write, classes=True, empty=True),
    "roi": _Writer("RoiSet_{}.zip", rois.write, classes=False, empty=False),
    "coco": _Writer("coco.json", coco.write, classes=True, empty=True),
}


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        files: the files.
        cells: number of cells in them.
        notes: sentences that a user should hear.
    """

    files: Sequence[Path]
    cells: int
    notes: Sequence[str]


def export_labels(points: Path, form: str, out: Path) -> Exported:
    """Writes the places of cells as another program reads them.

    Args:
        points: a table of places, or a folder that has a ``points.csv``. Images that a
            ``labels.csv`` beside it gives a count of 0 are written as images without cells.
        form: of :data:`WRITERS`.
        out: folder for the files, which is made; nothing in it is overwritten.

    Returns:
        What was written.

    Raises:
        UserError: an image is missing, or cannot be said in that form, or a file exists. Nothing is
            written then.
    """
    points, out = Path(points), Path(out)
    if points.is_dir():
        points = points / POINTS_FILE
    writer, notes = WRITERS[form], []
    dotted = _dotted(points)
    cells = [cell for image in dotted for found in image.cells.values() for cell in found]
    if not writer.classes and any(cell.kind for cell in cells):
        notes.append(f"{form} files have no place for classes, which are left out.")
    if not writer.empty:
        empty = [image for image in dotted if not any(image.cells.values())]
        if empty:
            notes.append(
                f"{len(empty)} images without cells, such as {empty[0].name}, have no {form} file."
            )
        dotted = [image for image in dotted if any(image.cells.values())]
    contents: dict[Path, str | bytes] = {}
    if "{}" not in writer.name:
        contents[out / writer.name] = writer.write(dotted)
    else:
        for image in dotted:
            named = Path(image.name)
            folders = [part for part in named.parent.parts if part not in ("..", named.anchor)]
            file = out.joinpath(*folders, writer.name.format(named.stem))
            if file in contents:
                raise image.refused(f"would be {file}, like another image, rename one of the two")
            contents[file] = writer.write(image)
    _write(contents)
    return Exported(list(contents), len(cells), notes)


def _dotted(path: Path) -> list[Dotted]:
    """The images of a table of places, and those beside it that have no cell."""
    found: dict[Path, tuple[str, dict[int, Sequence[Point]]]] = {}
    for name, cells in read_points(path).items():
        file, frame = file_and_frame(path.parent, name)
        stem = name if frame is None else name.rpartition("#")[0]
        found.setdefault(resolved(file), (stem, {}))[1][frame or 0] = cells
    labels = path.parent / LABELS_FILE
    if labels.is_file():
        for file, rows in read_labels(labels).rows.items():
            for frame, row in rows.items():
                if row.count == 0:
                    stem = row.name if frame is None else row.name.rpartition("#")[0]
                    found.setdefault(file, (stem, {}))[1].setdefault(frame or 0, ())
    if not found:
        raise UserError(f"{path}: places no cell, so there is nothing to write")
    around = Surroundings([path.parent], [path])
    dotted = []
    for file, (name, cells) in found.items():
        if not file.is_file():
            raise UserError(f"{path}: there is no image {name}, correct the name or put it there")
        image = Dotted(path.parent / name, name, around.layout(file), dict(sorted(cells.items())))
        beyond = [frame for frame in cells if frame >= image.layout.frames]
        if beyond:
            raise image.refused(f"has no frame {beyond[0]}, correct {path.name}")
        dotted.append(image)
    return dotted


def _write(contents: dict[Path, str | bytes]) -> None:
    for file in contents:
        if file.exists():
            raise UserError(f"{file}: exists already and is not overwritten, name another folder")
    try:
        for file, content in contents.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            write_new(file, content)
    except OSError as error:
        raise UserError(f"{file}: cannot be written ({error}), choose another place") from error
