"""Files of labels, whatever program wrote them -> our ``labels.csv`` and ``points.csv``."""

import csv
import io
import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cellzoo.data.points import POINTS_FILE, points_text
from cellzoo.errors import UserError
from cellzoo.files import csv_path, write_new
from cellzoo.labelling.forms import FILES, TABLES, Form
from cellzoo.labelling.label_file import LabelFile, Labelled, Surroundings

_FILES = ("mask", "label_image")  # columns that name one
_WORKBOOKS = (b"PK", b"\xd0\xcf\x11\xe0")  # Excel's, the new ones being zip archives


@dataclass(frozen=True)
class Imported:
    """What was written.

    Attributes:
        labels: the table of labels.
        rows: its number of images and frames.
        points: the table of cells' places; None: none is known.
        cells: its number of cells.
        notes: sentences that a user should hear.
    """

    labels: Path
    rows: int
    points: Path | None
    cells: int
    notes: Sequence[str]


def import_labels(
    files: Sequence[Path],
    out: Path,
    images: Path | None = None,
    columns: Sequence[str] = (),
) -> Imported:
    """Turns files of labels into a ``labels.csv``, each recognised by its content.

    Where a file says where the cells are, ``points.csv`` beside it has their places.

    Args:
        files: of any form of :mod:`cellzoo.labelling.forms`.
        out: the table to write, or an existing folder that shall get a ``labels.csv``.
        images: folder of the images; None: that of each file, then that of ``out``.
        columns: of tables, where several could be meant.

    Returns:
        What was written.

    Raises:
        UserError: a file is not understood, an image is missing or labelled twice, or a table
            exists. Nothing is written then.
        UsageError: several columns could be meant.
    """
    out = Path(out)
    if out.is_dir():
        out = out / "labels.csv"
    points = out.parent / POINTS_FILE
    if out.exists():
        raise _exists(out)
    if images is not None and not Path(images).is_dir():
        raise UserError(f"{images}: there is no such folder, check --images")
    labels: list[Labelled] = []
    surroundings: dict[tuple[Path, ...], Surroundings] = {}
    for path in map(Path, files):
        folders = (path.parent, out.parent) if images is None else (Path(images),)
        if folders not in surroundings:
            surroundings[folders] = Surroundings(folders, files, columns)
        around, file = surroundings[folders], LabelFile(path)
        read = _form(file).read(file, around)
        labels += [_inside(label, around) for label in read]
        _note_frames(read, around)
    notes = list(dict.fromkeys(note for around in surroundings.values() for note in around.notes))
    labels = _merged(labels)
    cells = sum(len(label.cells or ()) for label in labels)
    if cells and points.exists():
        raise _exists(points)
    _write(out, _table(labels, out.parent))
    if cells:
        try:
            found = {_name(label, out.parent): label.cells for label in labels if label.cells}
            _write(points, points_text(found))
        except BaseException:
            out.unlink(missing_ok=True)
            raise
    return Imported(out, len(labels), points if cells else None, cells, notes)


def _form(file: LabelFile) -> Form:
    """The form of a file.

    Raises:
        UserError: it is of none.
    """
    for form in (*FILES, *TABLES):
        if form is TABLES[0] and file.head.startswith(_WORKBOOKS):
            raise file.refused(None, "is a workbook or an archive, save the table as 'CSV UTF-8'")
        if form.recognises(file):
            return form
    line, header = file.rows[0]
    raise file.refused(
        line,
        f"is no header of a table of labels ({', '.join(header)[:80]!r}), begin the file with the "
        "line image,count or give one of: " + ", ".join(form.name for form in (*FILES, *TABLES)),
    )


def _inside(label: Labelled, around: Surroundings) -> Labelled:
    """The label, without places if these are not those of its image."""
    if not label.cells:
        return label
    layout = around.layout(label.image)
    if all(-1 <= cell.x <= layout.width and -1 <= cell.y <= layout.height for cell in label.cells):
        return label
    around.note(
        f"{label.where[0].name} has cells outside {label.image.name} ({layout.width} x "
        f"{layout.height} px): is it the right image? Their places are left out."
    )
    return replace(label, cells=None)


def _note_frames(labels: Sequence[Labelled], around: Surroundings) -> None:
    """Notes how many frames of a stack stay unlabelled, as nobody says that they are empty."""
    labelled = Counter(label.image for label in labels if label.frame is not None)
    for image, number in labelled.items():
        frames = around.layout(image).frames
        if number < frames:
            around.note(f"{image.name}: {number} of {frames} frames are labelled.")


def _merged(labels: Sequence[Labelled]) -> list[Labelled]:
    """Each image and frame once; two files may say the same of one.

    Raises:
        UserError: one is labelled twice by a file, or otherwise by another.
    """
    merged: dict[tuple[str, int | None], Labelled] = {}
    for label in labels:
        key = (os.path.realpath(label.image), label.frame)
        known = merged.setdefault(key, label)
        if known is label:
            continue
        (path, line), (known_path, known_line) = label.where, known.where
        at = f"{path}: " + ("" if line is None else f"line {line}: ")
        if path == known_path:
            first = "" if known_line is None else f" (first in line {known_line})"
            raise UserError(f"{at}lists {label.name} again{first}, delete one of the two")
        if label.count != known.count:
            raise UserError(
                f"{at}gives {label.name} {_text(label.count) or 'no count'}, but {known_path} "
                f"{_text(known.count) or 'none'}, give the one that is right"
            )
        merged[key] = replace(
            known, cells=known.cells or label.cells, more={**label.more, **known.more}
        )
    return list(merged.values())


def _table(labels: Sequence[Labelled], folder: Path) -> str:
    """The text of ``labels.csv``."""
    more = list(dict.fromkeys(column for label in labels for column in label.more))
    rows = []
    for label in labels:
        values = {
            column: csv_path(_relative(value, folder)) if column in _FILES else value
            for column, value in label.more.items()
        }
        name = csv_path(_name(label, folder))
        rows.append([name, _text(label.count), *(values.get(column, "") for column in more)])
    return _csv(["image", "count", *more], rows)


def _csv(header: list[str], rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def _name(label: Labelled, folder: Path) -> str:
    frame = "" if label.frame is None else f"#{label.frame}"
    return _relative(str(label.image), folder) + frame


def _relative(path: str, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix() if path else ""


def _text(count: float) -> str:
    return "" if math.isnan(count) else str(int(count))


def _write(path: Path, text: str) -> None:
    """Writes a table, and never over a file that came to be meanwhile."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_new(path, text)
        except FileExistsError as error:
            raise _exists(path) from error
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}), choose another place"
        ) from error


def _exists(out: Path) -> UserError:
    return UserError(f"{out}: exists already and is not overwritten, name another file")
