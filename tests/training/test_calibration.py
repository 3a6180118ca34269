"""Images that choose a checkpoint do not calibrate its interval, where there are enough of both."""

import numpy as np
import pytest

from cellzoo.data.image_set import ImageSet
from cellzoo.recipe import Train
from cellzoo.training.calibration import choosing


def labelled(groups, of_a_group=12):
    counts = np.repeat(np.arange(groups), of_a_group).astype(np.float32)
    names = np.array([f"{k}.png" for k in range(len(counts))])
    members = np.array([f"chamber {int(c)}" for c in counts])
    nothing = np.zeros((len(counts), 1, 1), np.float32)
    return ImageSet(nothing, counts, members, names, np.full(len(counts), "validation"))


def test_half_of_the_groups_choose():
    images = labelled(20)
    chooses = choosing(images, Train())
    assert chooses.sum() == 120
    assert not set(images.groups[chooses]) & set(images.groups[~chooses])
    # Both halves have groups with few cells and with many.
    assert abs(images.counts[chooses].mean() - images.counts[~chooses].mean()) <= 1


@pytest.mark.parametrize("images", [labelled(9, 20), labelled(19, 6)])
def test_too_few_choose_and_calibrate(images):
    assert choosing(images, Train()).all()


def test_nothing_chooses_the_last_checkpoint():
    assert not choosing(labelled(3), Train(select="last")).any()
    assert choosing(labelled(3), Train(select="last", patience=5)).all()
