"""Chambers are found by their walls."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from cellzoo.simulators.experiment import simulate_experiment
from cellzoo.timelapse.chambers.edges import of_one_size
from cellzoo.timelapse.chambers.find import Box, find_chambers, rotation
from cellzoo.timelapse.chambers.rectangles import touch

FIELDS = Path(__file__).parents[4] / "shared" / "data" / "chamber_fields"
# The whole chambers of real fields, along the middle of their walls as drawn by eye: x, y, width,
# height and angle.
TRUE = {
    "003": [(398, 311, 474, 470, 1.3)],
    "004": [(381, 296, 473, 470, 1.1)],
    "006": [(402, 229, 473, 471, 1.0)],
    "007": [(294, 204, 470, 471, 1.0)],
    "008": [(238, 180, 472, 470, 0.9), (801, 189, 473, 469, 0.9)],
    "009": [(196, 168, 474, 471, 0.9), (760, 176, 473, 472, 0.9)],
    "010": [(331, 156, 469, 470, 0.9)],
    "011": [(372, 168, 468, 469, 0.9)],
    "014": [(236, 110, 475, 473, 0.8), (800, 119, 474, 473, 0.8)],
    "016": [(187, 88, 468, 471, 0.8), (749, 96, 468, 468, 0.8)],
    "019": [(227, 87, 466, 470, 0.8), (787, 92, 473, 472, 0.8)],
}


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


@pytest.mark.parametrize(
    "seed, columns, turn, focus",
    [(121, 3, 0.035, 1.77), (114, 5, 1.16, 1.10)],
    ids=["sides that end before the wall of the channel", "what lies between is as whole"],
)
def test_boxes_are_of_the_chambers_in_bright_field(seed, columns, turn, focus):
    made = simulate_experiment(
        "bf", 2, (5000, seed), rows=1, columns=columns, interval_minutes=30, drift_px=4,
        rotation_degrees=turn, focus_um=focus,
    )  # fmt: skip
    found = find_chambers(made.frames[1])
    assert len(found) == columns
    for one, (x, y, width, height, _) in zip(found, made.boxes[1], strict=True):
        assert (one.width, one.height) == pytest.approx((86, 132), abs=10)
        assert np.abs(one.middle - (x + width / 2, y + height / 2)).max() < 12


def test_boxes_of_another_size_than_most_are_mended():
    edges = [np.array([x, 10.0, x + 50, 70]) for x in (0, 100, 200)]
    found = [(edges[0] + 1, 0.9), (edges[1] + 1, 0.8), (edges[2] + [1, 1, -6, 1], 0.7)]
    mended = of_one_size(found, edges)
    assert [list(one) for one, _ in mended] == [
        [1, 11, 51, 71], [101, 11, 151, 71], [200, 11, 250, 71],
    ]  # fmt: skip
    assert [score for _, score in mended] == [0.9, 0.8, 0.7]


def test_chambers_that_touch_are_doubted():
    wall, period = 4, 100
    apart, beside = ((10, 0, 50, 60), 1.0), ((52, 0, 92, 60), 1.0)
    assert not touch([apart], period, wall)
    assert touch([apart, beside], period, wall)
    assert touch([((0, 0, 98, 60), 1.0)], period, wall)  # its own repeat
    assert touch([apart, ((10, 63, 50, 123), 1.0)], period, wall)


@pytest.mark.slow
def test_real_fields():
    if not FIELDS.is_dir():
        pytest.skip("no chamber_fields in ../shared/data beside the checkout")
    right = 0
    for name, true in TRUE.items():
        (file,) = FIELDS.glob(f"Position{name}-*.png")
        found = find_chambers(cv2.imread(str(file), cv2.IMREAD_UNCHANGED))
        off = [min(_off(box, Box(*other)) for other in true) for box in found]
        right += len(found) == len(true) and max(off) <= 8
    assert right >= 10


def _off(box, true):
    """By how many px the worst of four sides is off."""
    along = (box.corners - true.middle) @ rotation(true.angle)
    low, high = np.sort(along, axis=0)[:2].mean(0), np.sort(along, axis=0)[2:].mean(0)
    half = np.array([true.width, true.height]) / 2
    return max(np.abs(low + half).max(), np.abs(high - half).max())
