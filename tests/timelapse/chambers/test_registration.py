"""Where the chip is: walls are followed through drift, rotation, growth and bad frames."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from cellzoo.simulators.experiment import simulate_experiment
from cellzoo.timelapse.chambers.find import Box
from cellzoo.timelapse.chambers.follow import Follower, walls_of
from cellzoo.timelapse.chambers.registration import Tracker, masked_correlation


def boxes_of(experiment, frame):
    return [Box(*box) for box in experiment.boxes[frame]]


def errors(experiment, followed, frame):
    """Distances of corners from the true ones, px."""
    true = np.concatenate([box.corners for box in boxes_of(experiment, frame)])
    found = np.concatenate([box.corners for box, _ in followed])
    return np.hypot(*(found - true).T)


@pytest.mark.parametrize("modality", ["pc", "bf"])
def test_corners_are_followed_while_chambers_fill(modality):
    made = simulate_experiment(
        modality, 4, 1, rows=1, columns=4, doubling_hours=10, interval_minutes=700,
        drift_px=15, rotation_degrees=3, focus_um=3, max_count=40,
    )  # fmt: skip
    assert made.counts[-1].sum() > 5 * made.counts[0].sum()
    follower = Follower(made.frames[0], boxes_of(made, 0))
    for frame in range(1, 4):
        placed = follower.next(made.frames[frame])
        assert errors(made, placed, frame).max() < 1.0
        assert {flag for _, flag in placed} == {""}


@pytest.fixture(scope="module")
def still():
    return simulate_experiment(
        "pc", 4, 0, rows=1, columns=5, interval_minutes=60, doubling_hours=8, drift_px=0,
        rotation_degrees=0, focus_um=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    "bad",
    [
        lambda f: np.zeros_like(f),
        lambda f: np.full_like(f, 100),
        lambda f: np.random.default_rng(0).integers(0, 255, f.shape).astype(np.uint8),
        lambda f: 255 - f,
    ],
    ids=["black", "grey", "noise", "inverted"],
)
def test_a_shift_that_is_not_found_keeps_the_last_one_and_is_flagged(still, bad):
    moved = np.roll(still.frames[1], (3, 5), (0, 1))
    follower = Follower(still.frames[0], boxes_of(still, 0))
    before = follower.next(moved)
    lost = follower.next(bad(still.frames[2]))
    for (box, flag), (last, _) in zip(lost, before, strict=True):
        assert (box.x, box.y, box.angle) == (last.x, last.y, last.angle)
        assert np.isnan(box.score)
        assert "not found" in flag
    assert all(not flag for _, flag in follower.next(still.frames[3]))


def test_a_step_of_a_period_is_recognised(still):
    period = 152  # px from chamber to chamber
    window = 4 * period
    boxes = [box for box in boxes_of(still, 0) if box.x + box.width < window]
    follower = Follower(still.frames[0][:, :window], boxes)
    follower.next(still.frames[1][:, :window])
    placed = follower.next(still.frames[2][:, period : period + window])
    for (box, flag), first in zip(placed, boxes, strict=True):
        assert box.x == pytest.approx(first.x - period, abs=1)
        assert "moved by about one chamber" in flag
    assert "outside the field" in placed[0][1]


@pytest.mark.parametrize("dirty", [False, True])
def test_a_step_of_a_period_in_clean_chambers_is_flagged(dirty):
    random = np.random.default_rng(3)
    chip = np.full((120, 700), 100, np.float32)
    for x in range(10, 700, 100):
        cv2.rectangle(chip, (x, 20), (x + 70, 95), 160, 4)
        if dirty:
            for place in random.integers(12, 58, (6, 2)):
                cv2.circle(chip, (int(x + place[0]), int(20 + place[1])), 2, 60, -1)

    def seen(left):
        return chip[:, left : left + 480] + random.normal(0, 3, (120, 480)).astype(np.float32)

    boxes = [Box(x + 0.5, 20.5, 70, 75) for x in (10, 110, 210, 310)]
    follower = Follower(seen(0), boxes)
    still, stepped = follower.next(seen(0)), follower.next(seen(100))
    if dirty:
        assert {flag for _, flag in still} == {""}
        assert "moved by about one chamber" in stepped[1][1]
        assert stepped[1][0].x == pytest.approx(10.5, abs=1)
    else:
        assert all("step by one chamber would not be seen" in flag for _, flag in stepped)


def test_black_borders_of_moved_frames_do_not_pull(still):
    follower = Follower(still.frames[0], boxes_of(still, 0))
    moved = cv2.warpAffine(
        still.frames[1], np.array([[1.0, 0, 9.25], [0, 1, -6.5]]), still.frames.shape[:0:-1]
    )
    for (box, flag), first in zip(follower.next(moved), boxes_of(still, 0), strict=True):
        assert box.x == pytest.approx(first.x + 9.25, abs=0.3)
        assert box.y == pytest.approx(first.y - 6.5, abs=0.3)
        assert "not found" not in flag


def test_large_frames_are_followed_to_a_part_of_a_pixel():
    small = simulate_experiment("pc", 1, 4, rows=2, columns=3).frames[0]
    first = cv2.resize(small, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    moved = cv2.warpAffine(
        first, np.array([[1.0, 0, 21.5], [0, 1, -13.25]]), first.shape[::-1],
        borderMode=cv2.BORDER_REFLECT,
    )  # fmt: skip
    pose = Tracker(first).find(moved)
    assert (pose.dx, pose.dy, pose.angle) == pytest.approx((21.5, -13.25, 0), abs=0.4)


def test_masked_correlation_is_that_of_the_pixels_under_the_mask():
    random = np.random.default_rng(0)
    template = random.normal(size=(5, 6)).astype(np.float32)
    mask = (random.random((5, 6)) > 0.3).astype(np.float32)
    picture = random.normal(size=(12, 14)).astype(np.float32)
    surface = masked_correlation(template, mask, picture)
    for y, x in ((0, 0), (3, 5), (7, 8)):
        part = picture[y : y + 5, x : x + 6]
        wanted = np.corrcoef(template[mask > 0], part[mask > 0])[0, 1]
        assert surface[y + 4, x + 5] == pytest.approx(wanted, abs=1e-3)


@pytest.mark.slow
def test_a_real_chamber_that_fills_is_followed_to_a_pixel():
    folder = Path(__file__).parents[4] / "shared" / "data" / "chamber_timelapse"
    if not folder.is_dir():
        pytest.skip("no chamber_timelapse in ../shared/data beside the checkout")
    frames = [cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in sorted(folder.glob("*.png"))]
    shifts = np.random.default_rng(1).uniform(-8, 8, (len(frames), 2))
    walls = walls_of(frames[0].shape, [Box(8, 80, 236, 102)])
    original, copy = Tracker(frames[0], walls), Tracker(frames[0], walls)
    off = []
    for frame, (dx, dy) in zip(frames[1:], shifts[1:], strict=True):
        moved = cv2.warpAffine(
            frame, np.array([[1, 0, dx], [0, 1, dy]]), frame.shape[::-1],
            flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        one, other = original.find(frame), copy.find(moved)
        off.append(np.hypot(other.dx - one.dx - dx, other.dy - one.dy - dy))
    assert max(off) <= 1
