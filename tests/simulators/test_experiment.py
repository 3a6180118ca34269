"""Simulated experiments: pictures, true boxes and counts, and the files that are written."""

import csv

import cv2
import numpy as np
import pytest

from cellzoo.errors import UsageError, UserError
from cellzoo.images import read_frames
from cellzoo.simulators.experiment import simulate_experiment


@pytest.fixture(scope="module")
def experiment():
    return simulate_experiment(
        "pc", 3, 5, rows=1, columns=2, doubling_hours=(4, 400), interval_minutes=300,
        drift_px=12, rotation_degrees=3,
    )  # fmt: skip


def rim(frame, box):
    """Grey levels of a chamber's walls, turned back."""
    x, y, width, height, angle = box
    middle = np.array([x + width / 2, y + height / 2]) - 0.5
    turned = cv2.getRotationMatrix2D(middle.tolist(), angle, 1)
    turned[:, 2] -= [x, y]
    picture = cv2.warpAffine(cv2.GaussianBlur(frame, (0, 0), 1), turned, (128, 128))
    walls = np.ones((128, 128), bool)
    walls[16:-16, 16:-16] = False
    return picture[walls].astype(float)


def test_boxes_say_where_the_chambers_are(experiment):
    assert np.abs(np.diff(experiment.boxes[:, 0, :2], axis=0)).max() > 2
    assert np.abs(experiment.boxes[:, 0, 4]).max() == pytest.approx(3)
    for first, box, frame in zip(
        experiment.boxes[0], experiment.boxes[1], 2 * [experiment.frames[1]], strict=True
    ):
        at_rest = rim(experiment.frames[0], first)
        there = np.corrcoef(at_rest, rim(frame, box))[0, 1]
        assert there > 0.9
        for wrong in ((1.5, 0, 0, 0, 0), (-1.5, 0, 0, 0, 0), (0, 1.5, 0, 0, 0), (0, -1.5, 0, 0, 0),
                      (0, 0, 0, 0, 1.5), (0, 0, 0, 0, -1.5)):  # fmt: skip
            assert np.corrcoef(at_rest, rim(frame, box + np.array(wrong)))[0, 1] < there - 0.02


def test_chambers_grow_at_their_own_rates(experiment):
    first, last = experiment.counts[0], experiment.counts[-1]
    assert last[0] >= 3 * first[0] > 0
    assert last[1] <= first[1] + 2


def test_the_same_arguments_give_the_same_pictures(experiment):
    again = simulate_experiment(
        "pc", 3, 5, rows=1, columns=2, doubling_hours=(4, 400), interval_minutes=300,
        drift_px=12, rotation_degrees=3,
    )  # fmt: skip
    assert (again.frames == experiment.frames).all()


def test_all_cells_die():
    made = simulate_experiment(
        "bf", 2, 1, rows=1, columns=1, interval_minutes=600, deaths_per_hour=5
    )
    assert made.counts[0, 0] > 0
    assert made.counts[1, 0] == 0


def test_cells_arrive():
    made = simulate_experiment(
        "bf", 2, 1, rows=1, columns=1, doubling_hours=1e4, interval_minutes=600,
        arrivals_per_hour=0.5,
    )  # fmt: skip
    assert made.counts[1, 0] > made.counts[0, 0] + 1


def test_the_file_says_pixel_size_and_times(experiment, tmp_path):
    file = experiment.write(tmp_path / "made")
    frames = list(read_frames(file))
    assert all((f.pixels == e).all() for f, e in zip(frames, experiment.frames, strict=True))
    assert [f.time_s for f in frames] == [0, 18000, 36000]
    assert {f.pixel_size_um for f in frames} == {1.0}
    with (tmp_path / "made" / "truth" / "counts.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["count"]) for row in rows] == experiment.counts.ravel().tolist()
    with pytest.raises(UserError, match="other files"):
        experiment.write(tmp_path / "made")


def test_a_folder_grows(experiment, tmp_path):
    sizes = [file.stat().st_size for file in experiment.grow(tmp_path / "grown", halves=True)]
    assert len(sizes) == 6
    assert sizes[0] < sizes[1]
    files = sorted((tmp_path / "grown").glob("*.tif"))
    frames = [next(iter(read_frames(file))).pixels for file in files]
    assert (np.stack(frames) == experiment.frames).all()


@pytest.mark.parametrize(
    "wrong", [{"modality": "dic"}, {"frames": 0}, {"drift_px": -1}, {"pixel_size_um": 5}]
)
def test_wrong_arguments_are_named(wrong):
    with pytest.raises(UsageError):
        simulate_experiment(**wrong)
