"""Chambers are found by a picture of one."""

import numpy as np
import pytest

from cellzoo.simulators.experiment import simulate_experiment
from cellzoo.timelapse.chambers.alike import find_alike
from cellzoo.timelapse.chambers.crop import cut
from cellzoo.timelapse.chambers.find import Box, in_rows


@pytest.fixture(scope="module")
def made():
    return simulate_experiment("pc", 2, 2, rows=1, interval_minutes=1500, rotation_degrees=2)


def test_those_like_a_drawn_one_are_found(made):
    frame = made.frames[0]
    true = [Box(*box) for box in made.boxes[0]]
    template = cut(frame, true[1])
    found = in_rows(find_alike(frame, template))
    assert len(found) == 3
    for box, other in zip(found, true, strict=True):
        assert np.abs(box.corners - other.corners).max() < 3


def test_a_template_larger_than_the_field_is_not_found(made):
    assert find_alike(made.frames[0][:50, :50], made.frames[0][:80, :80]) == []
