"""A run's own images, as its training had them, whatever became of the folder since."""

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cellzoo.data.image_set import SPLITS, ImageSet, Skipped
from cellzoo.data.splits import hide_assisted, hide_labels
from cellzoo.runs import Run

log = logging.getLogger("cellzoo")

_SAME_MEAN = 1e-3  # of grey levels in [0, 1]: other versions of libraries resize another way


def images_as_trained(run: Run, splits: Sequence[str] = SPLITS) -> tuple[ImageSet, list[Skipped]]:
    """A run's own natural images, in the splits and with the labels that training had.

    A folder that has grown since would be dealt out anew, and other labels chosen; what was not
    there is in no split.

    Args:
        run: with its ``splits.csv``; a run that was not trained here has none, and images are dealt
            out as its recipe says.
        splits: those wanted; of a folder with a ``splits.csv`` there are all.

    Returns:
        The images, and the files that could not be read.

    Raises:
        UserError: the images cannot be read.
    """
    recipe, table = run.recipe, run.split_table()
    section = recipe.data.natural.as_stored() if reads_as_stored(run) else recipe.data.natural
    if not table or not section.reads_files:
        return section.load(recipe.image_size, recipe.seed, splits)
    # Every label is read, as those of today's splits would be hidden else.
    images, skipped = section.with_all_labels().read(recipe.image_size, recipe.seed)
    row_of = {row["image"]: row for row in table}
    if "test" in splits:  # else none of the held-out images is scored
        _say_gone(run, row_of, images)
        _say_others(run, row_of, images)
    rows = [row_of.get(name, {"split": "", "labelled": "1"}) for name in images.names]
    hidden = [row["split"] == "train" and row["labelled"] == "0" for row in rows]
    dealt = replace(images, splits=np.array([row["split"] for row in rows], str))
    if not section.checks_with_assisted:
        dealt = hide_assisted(dealt, np.isin(dealt.splits, SPLITS[1:]), "label others without it")
    return hide_labels(dealt, dealt.labelled & ~np.array(hidden, bool)), skipped


def reads_as_stored(run: Run) -> bool:
    """Whether training saw 12 of 16 bits, or fewer, unspread: an earlier version did not know.

    :attr:`cellzoo.counters.base.Counter.takes_full_range` of its counter is false then.
    """
    known = run.out_of_distribution()
    return known is not None and known.in_lowest_sixteenth


def _say_gone(run: Run, row_of: dict[str, dict[str, str]], images: ImageSet) -> None:
    """Says so where images of the held-out splits are not there any more."""
    here = set(images.names)
    gone = [n for n, row in row_of.items() if row["split"] in SPLITS[1:] and n not in here]
    if gone:
        log.warning(
            "%d of the held-out images in %s, such as %s, are not there any more or cannot be "
            "read: scores are of the others.", len(gone), run.splits_file, gone[0],
        )  # fmt: skip


def _say_others(run: Run, row_of: dict[str, dict[str, str]], images: ImageSet) -> None:
    """Says so where files have the names of held-out images, and other grey levels.

    A relative folder may be another project's.
    """
    other = []
    for name, image in zip(images.names, images.images, strict=True):
        row = row_of.get(name, {})
        kept = row.get("mean") if row.get("split") in SPLITS[1:] else None
        if kept and abs(float(kept) - float(image.mean(dtype=float))) > _SAME_MEAN:
            other.append(name)
    if other:
        log.warning(
            "%d of the held-out images in %s, such as %s, have other grey levels than when it was "
            "trained: look whether these are the same images.", len(other), run.splits_file,
            other[0],
        )  # fmt: skip
