"""Which validation images choose a checkpoint, and which say how far its counts may be off."""

import numpy as np

from cellzoo.data.image_set import ImageSet
from cellzoo.recipe import Train

# As few as still give an interval, and a choice between checkpoints that is more than luck.
_FEWEST_GROUPS, _FEWEST_IMAGES = 10, 120


def choosing(validation: ImageSet, settings: Train) -> np.ndarray:
    """The labelled validation images that choose the checkpoint: bool ``[n]``.

    Errors of the images that chose a checkpoint are smaller than those of new images. So half of
    the groups choose and the other half calibrates the interval, where there are enough of both.

    Args:
        validation: labelled images.
        settings: with ``select: last`` no image chooses, and all calibrate.

    Returns:
        All true where the images are too few to be divided: they then choose and calibrate.
    """
    names, members = np.unique(validation.groups, return_inverse=True)
    if settings.select == "last" and settings.patience is None:
        return np.zeros(len(validation), bool)
    if len(names) < _FEWEST_GROUPS or len(validation) < _FEWEST_IMAGES:
        return np.ones(len(validation), bool)
    # Groups by turns, from the one with the fewest cells to the one with the most: both halves
    # have images of every kind.
    counts = np.bincount(members, validation.counts) / np.bincount(members)
    turn = np.empty(len(names), int)
    turn[np.lexsort((names, counts))] = np.arange(len(names))
    return (turn % 2 == 0)[members]
