"""Label files of other programs -> our `labels.csv`."""

import csv
import io
import os
from pathlib import Path

import numpy as np

from cellzoo.data.labels import parse_count
from cellzoo.data.table import read_csv_rows
from cellzoo.errors import UserError
from cellzoo.files import write_new
from cellzoo.images import find_images


def import_twinvae_csv(csv_path: Path, out: Path) -> int:
    """Turn a label file of the Twin-VAE authors' program into a `labels.csv`.

    Their files have no header, and a count of 0 means "unlabelled"; it becomes an empty count here.
    A row is `image,count` or, where the file has one column, the count alone: the counts then
    belong to the images of the file's folder in natural order. Their paths start at the folder of
    their program (`../data/128p_bf/...`), so an image is looked for beside the csv by its full
    path, then without the first part of it, and so on.

    Args:
        csv_path: their file, lying in or above the folder of its images.
        out: the file to write, or an existing folder that shall get a `labels.csv`.

    Returns:
        Number of rows written.

    Raises:
        UserError: `out` exists, a row is not understood, an image is missing or listed twice, or
            there are not as many counts as images. Nothing is written then.
    """
    csv_path, out = Path(csv_path), Path(out)
    if out.is_dir():
        out = out / "labels.csv"
    if out.exists():
        raise _exists(out)
    rows = read_csv_rows(csv_path)
    if not rows:
        raise UserError(f"{csv_path}: is empty, expected rows of the form image,count")
    columns = {len(cells) for _, cells in rows}
    if columns == {2}:
        images = _listed_images(csv_path, rows)
    elif columns == {1}:
        images = find_images([csv_path.parent])
        if len(images) != len(rows):
            raise UserError(
                f"{csv_path}: has {len(rows)} counts for the {len(images)} images in "
                f"{csv_path.parent}, make them as many"
            )
    else:
        raise UserError(
            f"{csv_path}: must have one column (count) or two (image,count) in every line"
        )
    counts = [_count(csv_path, line, cells[-1]) for line, cells in rows]
    _write_new(out, images, counts)
    return len(rows)


def _listed_images(csv_path: Path, rows: list[tuple[int, list[str]]]) -> list[Path]:
    line_of: dict[Path, int] = {}
    for line, (name, _) in rows:
        parts = name.replace("\\", "/").split("/")
        tails = (csv_path.parent.joinpath(*parts[k:]) for k in range(len(parts)))
        image = next((path for path in tails if path.is_file()), None)
        if image is None:
            raise UserError(
                f"{csv_path}: line {line}: there is no image {name} beside the file, "
                "put the file into the folder of its images"
            )
        if image in line_of:
            raise UserError(
                f"{csv_path}: line {line}: lists {name} again (first in line {line_of[image]}), "
                "delete one of the two"
            )
        line_of[image] = line
    return list(line_of)


def _count(csv_path: Path, line: int, text: str) -> str:
    try:
        count = parse_count(text)
    except ValueError as error:
        raise UserError(
            f"{csv_path}: line {line}: {error}, these files hold whole numbers and have no header"
        ) from error
    return "" if count == 0 or np.isnan(count) else str(int(count))


def _write_new(out: Path, images: list[Path], counts: list[str]) -> None:
    """Write all or nothing, and never over a file that came to be meanwhile."""
    folder = out.parent
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "count"])
    for image, count in zip(images, counts, strict=True):
        writer.writerow([Path(os.path.relpath(image, folder)).as_posix(), count])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            write_new(out, text.getvalue())
        except FileExistsError as error:
            raise _exists(out) from error
    except OSError as error:
        raise UserError(
            f"{out}: cannot be written ({error.strerror}), choose another place"
        ) from error


def _exists(out: Path) -> UserError:
    return UserError(f"{out}: exists already and is not overwritten, name another file")
