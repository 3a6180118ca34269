"""A folder of pictures and its table of labels -> what a model is fed."""

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from cellzoo.data.dots import Dots
from cellzoo.data.image_set import ImageSet, Skipped
from cellzoo.data.labels import (
    Row,
    Table,
    file_and_frame,
    read_labels,
    resolved,
    row_per_frame,
    splits_by_group,
)
from cellzoo.data.points import resize_points
from cellzoo.data.reading import AS_IT_IS, Reading
from cellzoo.errors import UsageError, UserError
from cellzoo.images import (
    Frame,
    Notes,
    Size,
    count_labels,
    like_grey_levels,
    natural_key,
    read_mask,
    resize_mask,
    search_images,
    sides,
)

log = logging.getLogger("cellzoo")


def load_folder(
    folder: Path,
    size: Size,
    *,
    labels: str | None = "labels.csv",
    points: str | None = None,
    reading: Reading = AS_IT_IS,
    on_error: Literal["stop", "skip"] = "stop",
    resize_from: tuple[int, int] | None = None,
) -> tuple[ImageSet, list[Skipped]]:
    """Load every image of a folder with its count, group, split, mask and points.

    The count of an image with points is their number where the table leaves it out. Where the table
    gives another one, it is taken, the image's points are not, and a warning says so. An image of
    count 0 has points, none.

    Images that neither table lists are loaded as unlabelled. Not taken for images: files named in
    another column of ``labels.csv`` (masks), and all else in a folder of such files that holds no
    listed image.

    The group of an image is its ``group``, else that of other images of its ``series`` where these
    agree, else its ``series``. A frame of a stack that has neither, or is not listed, belongs to
    the group of the row for the whole stack (which must have no count), else to that of the listed
    frames where these agree. What is left is a group of its own file (so that the frames of a stack
    stay together). An image without a split joins its group's.

    Args:
        folder: searched with its subfolders.
        size: side, or height and width, of the images the model is fed, in pixels.
        labels: the csv, relative to ``folder``; None where nothing is labelled.
        points: the table of places, relative to ``folder``, see :mod:`cellzoo.data.points`; None
            where there is none.
        reading: how files become images; masks are resized by the nearest pixel.
        on_error: whether an unreadable, missing or wrongly sized file stops the loading or is
            skipped.
        resize_from: height and width of the only other frames that are resized; None: any.

    Returns:
        The images in natural order of their names, whatever the order of the rows, and the files
        skipped.

    Raises:
        UserError: a label or an image cannot be used; the message names the file and, where it is
            listed, the line of the csv. Errors of the csv itself are never skipped.
        UsageError: ``reading`` is written wrongly.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder, check the path")
    csv_path = None if labels is None else folder / labels
    base = folder if csv_path is None else csv_path.parent
    table = Table({}, set()) if csv_path is None else read_labels(csv_path)
    dotted = Dots(None if points is None else folder / points)

    found, skipped, contradicted = [], [], []
    named = files_by_name(folder, base, table)
    reader = reading.reader([base / name for name, _ in named])
    for name, file in named:
        rows = table.rows.get(file, {})
        try:
            frames = list(reader.read(base / name))
            images = [reading.fit(frame.pixels, size, frame.path, resize_from) for frame in frames]
            masks = [
                _read_mask(base, rows, frame, len(frames), reading, reader.notes)
                for frame in frames
            ]
        except UserError as error:
            if on_error == "stop" or isinstance(error, UsageError):
                raise _with_line(error, csv_path, rows) from error
            skipped.append(Skipped(name, str(error)))
            continue
        numbers = [frame.index for frame in frames]
        frame_rows = row_per_frame(csv_path, name, rows, numbers, reading.chooses_frames)
        for frame, image, mask, row in zip(frames, images, masks, frame_rows, strict=True):
            if row.instances:
                cells = count_labels(mask)
                if np.isnan(row.count):
                    row = replace(row, count=float(cells))
                elif cells not in (None, row.count):
                    contradicted.append((row, f"label image numbers {cells} cells"))
            elif mask is not None and mask.any() != (row.count > 0) and not np.isnan(row.count):
                contradicted.append((row, f"mask {'shows' if mask.any() else 'lacks'} cells"))
            small = None if mask is None else resize_mask(mask, size)
            count, places = dotted.of(file, frame, len(frames), row)
            row = replace(row, count=count)
            if places is not None:
                places = resize_points(places, frame.pixels.shape, sides(size))
            if np.isnan(row.pixel_size_um) and frame.pixel_size_um:
                row = replace(row, pixel_size_um=frame.pixel_size_um)
            found.append((image, small, row, frame.pixels.shape, places))
    reader.notes.say()
    _say_contradictions(csv_path, contradicted)
    dotted.finish(
        csv_path, {file for _, file in named}, on_error == "stop", reading.chooses_frames
    )
    if not found:
        first = skipped[0].reason if skipped else "it is empty"
        raise UserError(f"{folder}: no image could be loaded, the first reason being: {first}")
    images, masks, rows, shapes, places = zip(*found, strict=True)
    has_mask = np.array([mask is not None for mask in masks])
    if has_mask.any():
        none = np.zeros(sides(size), np.uint8)
        masks = np.stack([none if mask is None else mask for mask in masks])
    times = np.array([row.time for row in rows], np.float32)
    pixel_sizes = np.array([row.pixel_size_um for row in rows])
    kinds = np.array([row.kind for row in rows])
    assisted = np.array([row.assisted and not np.isnan(row.count) for row in rows])
    image_set = ImageSet(
        images=np.stack(images),
        counts=np.array([row.count for row in rows], np.float32),
        groups=np.array([row.group for row in rows], str),
        names=np.array([row.name for row in rows], str),
        splits=np.array(splits_by_group(csv_path, rows, table), str),
        masks=masks if has_mask.any() else None,
        has_mask=has_mask if has_mask.any() else None,
        points=dotted.as_column(places),
        times=None if np.isnan(times).all() else times,
        kinds=kinds if any(kinds) else None,
        sizes=np.array(shapes),
        pixel_sizes_um=None if np.isnan(pixel_sizes).all() else pixel_sizes,
        assisted=assisted if assisted.any() else None,
    )
    return image_set, skipped


def files_by_name(folder: Path, base: Path, table: Table) -> list[tuple[str, Path]]:
    """(name relative to the csv, resolved file), listed or not, in natural order."""
    names = {}
    for file, frames in table.rows.items():
        frame, row = next(iter(frames.items()))
        names[file] = row.name if frame is None else row.name.rpartition("#")[0]
    others = table.other_files - set(names)
    other_folders = {file.parent for file in others} - {file.parent for file in names}
    try:
        found = search_images([folder])
        known = others | set(names)
        found.left_out = [path for path in found.left_out if resolved(path) not in known]
        found.say()
        present = found.files
    except UserError:
        if not names:
            raise
        present = []  # all listed images lie elsewhere, or are missing
    for path in present:
        file = resolved(path)
        if file not in names and file not in others and file.parent not in other_folders:
            names[file] = Path(os.path.relpath(path, base)).as_posix()
    return sorted(((name, file) for file, name in names.items()), key=lambda x: natural_key(x[0]))


def _read_mask(
    folder: Path,
    rows: dict[int | None, Row],
    frame: Frame,
    frames: int,
    reading: Reading,
    notes: Notes,
) -> np.ndarray | None:
    """The mask of a frame in its file's own size; None if it has none."""
    row = rows.get(frame.index, rows.get(None))
    if row is None or not row.mask:
        return None
    file, number = file_and_frame(folder, row.mask)
    one_chosen = reading.chooses_frames and frames == 1
    # The row of a frame may name a file of its own.
    alone = number is None and (frame.index in rows or one_chosen)
    if number is None and (frames > 1 or one_chosen):
        number = frame.index  # the masks of a stack are a stack as well
    mask = read_mask(file, number, reading.axes, or_only=alone, notes=notes)
    if mask.shape != frame.pixels.shape:
        (height, width), (image_height, image_width) = mask.shape, frame.pixels.shape
        raise UserError(
            f"{file}: is {width} x {height} px, but its image {row.name} is {image_width} x "
            f"{image_height}, give the mask of this very image"
        )
    if not row.instances:
        return (mask > 0).astype(np.uint8)
    if np.isnan(row.count) and count_labels(mask) is None:
        raise UserError(
            f"{file}: has a single number, {mask.max()}, so it does not tell cells apart: name it "
            "in the column mask, or give the count"
        )
    if np.isnan(row.count) and (said := like_grey_levels(mask)):
        raise UserError(f"{file}: {said}")
    return mask


def _say_contradictions(csv_path: Path | None, found: list[tuple[Row, str]]) -> None:
    """Warns, once, of counts that are not those of their masks or label images."""
    if found:
        row, other = found[0]
        more = f" ({len(found) - 1} more differ, too)" if found[1:] else ""
        log.warning(
            "%s: line %d: gives %s a count of %d, but its %s%s: the count is taken, correct one of "
            "the two.",
            csv_path, row.line, row.name, row.count, other, more,
        )  # fmt: skip


def _with_line(error: UserError, csv_path: Path | None, rows: dict) -> UserError:
    """The same error, saying where the file is listed, which is where a wrong name is corrected."""
    lines = [row.line for row in rows.values()]
    if not lines:
        return error
    return type(error)(f"{error} ({csv_path}: line {min(lines)})")
