"""Chambers are found by their walls."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from cellzoo.simulators.experiment import simulate_experiment
from cellzoo.timelapse.chambers.find import Box, find_chambers

FIELDS = Path(__file__).parents[4] / "shared" / "data" / "chamber_fields"


@pytest.fixture(scope="module")
def made():
    return simulate_experiment("pc", 2, 2, rows=1, interval_minutes=1500, rotation_degrees=2)


def test_every_chamber_is_found_by_its_walls(made):
    frame, true = made.frames[1], [Box(*box) for box in made.boxes[1]]
    found = find_chambers(frame)
    assert len(found) == 3
    for box, other in zip(found, true, strict=True):
        assert np.abs(box.middle - other.middle).max() < 3
        assert (box.width, box.height) == pytest.approx((110, 112), abs=6)
        assert box.angle == pytest.approx(other.angle, abs=0.4)


def test_neither_contrast_nor_size_matters(made):
    frame = made.frames[1]
    first = find_chambers(frame)
    large = cv2.resize(frame, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    other = find_chambers(1000 - 3 * large.astype(np.uint16))
    assert len(first) == len(other)
    for box, twice in zip(first, other, strict=True):
        assert np.abs(2 * box.corners - twice.corners).max() < 8


def test_a_cut_chamber_is_none(made):
    frame, box = made.frames[1], find_chambers(made.frames[1])[0]
    found = find_chambers(frame[:, int(box.x + box.width / 2) :])
    assert len(found) == 2


@pytest.mark.parametrize(
    "empty",
    [
        np.full((120, 160), 7, np.uint8),
        np.random.default_rng(0).integers(0, 255, (150, 200)).astype(np.uint8),
    ],
    ids=["flat", "noise"],
)
def test_nothing_is_found_where_nothing_is(empty):
    assert find_chambers(empty) == []


@pytest.mark.slow
def test_real_fields():
    if not FIELDS.is_dir():
        pytest.skip("shared/data/chamber_fields is not here")
    sizes = []
    for file in sorted(FIELDS.glob("*.png")):
        found = find_chambers(cv2.imread(str(file), cv2.IMREAD_UNCHANGED))
        assert found
        sizes += [(box.width, box.height) for box in found]
    # All chambers of this chip are alike: 471 px each way, give or take their thick walls.
    good = np.abs(np.array(sizes) - 470).max(axis=1) < 10
    assert good.mean() > 0.9
