"""Tables of the Twin-VAE authors' program: no header, and 0 means unlabelled."""

import math

from cellzoo.data.labels import parse_count
from cellzoo.data.names import picture_stems
from cellzoo.labelling.label_file import LabelFile, Labelled, Surroundings


def recognises(file: LabelFile) -> bool:
    """Whether the first line is no header: a count, or an image and something else."""
    if not file.rows:
        return True  # an empty file, which reading refuses
    first = file.rows[0][1]
    try:
        counts = not math.isnan(parse_count(first[-1]))
    except ValueError:
        counts = False
    return counts or bool(picture_stems(first[0]))


def read(file: LabelFile, around: Surroundings) -> list[Labelled]:
    """A row is ``image,count`` or, where the file has one column, the count alone.

    The counts then belong to the images of the file's folder in natural order.
    """
    rows = file.rows
    if not rows:
        raise file.refused(None, "is empty, expected rows of the form image,count")
    columns = {len(cells) for _, cells in rows}
    if columns == {2}:
        images = [around.named(file, line, name) for line, (name, _) in rows]
    elif columns == {1}:
        images = around.images(around.folders[0])
        if len(images) != len(rows):
            raise file.refused(
                None,
                f"has {len(rows)} counts for the {len(images)} images in {around.folders[0]}, make "
                "them as many",
            )
    else:
        raise file.refused(None, "must have one column (count) or two (image,count) in every line")
    counts = [file.count(line, cells[-1]) for line, cells in rows]
    if zeros := counts.count(0):
        around.note(
            f"{file.path.name} has no header: its {zeros} counts of 0 are taken for unlabelled, as "
            "the Twin-VAE's authors write them; with the header image,count they are empty images."
        )
    return [
        Labelled(image, None, count or math.nan, (file.path, line))
        for image, count, (line, _) in zip(images, counts, rows, strict=True)
    ]
