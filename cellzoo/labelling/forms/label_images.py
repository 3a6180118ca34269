"""Pictures in which each cell has a number of its own."""

import os

import numpy as np

from cellzoo.data.points import Point
from cellzoo.images import count_labels, like_grey_levels, read_mask
from cellzoo.images.readers import format_of
from cellzoo.labelling.label_file import LabelFile, Labelled, Surroundings


def recognises(file: LabelFile) -> bool:
    """Whether it is a picture or an array."""
    return file.head.startswith(b"\x93NUMPY") or format_of(file.head[:64]) is not None


def read(file: LabelFile, around: Surroundings) -> list[Labelled]:
    """The label image of the image that the file's name says, or those of a stack's frames."""
    image = around.image_of(file)
    layout = around.layout(image)
    labels = []
    for frame in [None] if layout.frames == 1 else range(layout.frames):
        mask = read_mask(file.path, frame)
        if mask.shape != (layout.height, layout.width):
            raise file.refused(
                None,
                f"is {mask.shape[1]} x {mask.shape[0]} px, but its image {image.name} is "
                f"{layout.width} x {layout.height}, give the label image of this very image",
            )
        cells = count_labels(mask)
        if cells is None:
            raise file.refused(
                None,
                f"has a single number, {mask.max()}, so it does not tell cells apart: save one in "
                "which each cell has a number of its own",
            )
        if said := like_grey_levels(mask):
            raise file.refused(None, said)
        place = os.path.abspath(file.path) + ("" if frame is None else f"#{frame}")
        labels.append(
            Labelled(
                image, frame, float(cells), (file.path, None), _middles(mask),
                {"label_image": place},
            )
        )  # fmt: skip
    return labels


def _middles(mask: np.ndarray) -> list[Point]:
    """The mean place of the pixels of each number."""
    rows, columns = np.nonzero(mask)
    _, numbers, pixels = np.unique(mask[rows, columns], return_inverse=True, return_counts=True)
    xs, ys = (np.bincount(numbers, weights=axis, minlength=len(pixels)) / pixels
              for axis in (columns, rows))  # fmt: skip
    return [Point(float(x), float(y)) for x, y in zip(xs, ys, strict=True)]
