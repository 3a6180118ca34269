"""Each figure is a picture of sensible size that shows what it was given."""

import cv2
import numpy as np
import pytest

from cellzoo.evaluation.report import figures
from cellzoo.evaluation.report.figures import Column

RANDOM = np.random.default_rng(0)
COUNTS = np.repeat(np.arange(8.0), 5)
PREDICTED = COUNTS + RANDOM.normal(0, 1, 40)
NONE = np.full(40, np.nan)
SHARE = 0.5  # of the pixels that users get


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(figures, "DPI", SHARE * figures.DPI)


def picture(file):
    """The PNG, float64 [h, w, 3], of which something must differ from its white ground."""
    assert file.read_bytes().startswith(b"\x89PNG")
    pixels = cv2.imread(str(file)).astype(float)
    height, width = (side / SHARE for side in pixels.shape[:2])
    assert 200 <= height <= 4000 and 200 <= width <= 1400
    assert (pixels[0, 0] == 255).all() and pixels.min() < 128
    assert not list(file.parent.glob("*.tmp"))
    return pixels


def share_of(pixels, color):
    """Share of pixels about as red, green and blue as a colour such as "#d55e00"."""
    wanted = [int(color[k : k + 2], 16) for k in (5, 3, 1)]
    return (np.abs(pixels - wanted).max(axis=-1) < 30).mean()


def test_predicted_counts_that_miss_their_interval_are_orange(tmp_path):
    file = tmp_path / "a.png"
    figures.plot_predicted(file, COUNTS, PREDICTED, PREDICTED - 9, PREDICTED + 9)
    assert share_of(picture(file), figures.ORANGE) == 0
    figures.plot_predicted(file, COUNTS, COUNTS + 3, COUNTS + 2, COUNTS + 4)
    pixels = picture(file)
    assert share_of(pixels, figures.ORANGE) > 0 and share_of(pixels, figures.BLUE) == 0
    figures.plot_predicted(file, COUNTS, PREDICTED, NONE, NONE)
    assert share_of(picture(file), figures.ORANGE) == 0


@pytest.mark.parametrize(
    "counts",
    [COUNTS, np.zeros(40), np.array([3.0]), np.linspace(600, 700, 60).round()],
    ids=["usual", "empty chambers", "one image", "many cells"],
)
def test_error_by_count(tmp_path, counts):
    file = tmp_path / "a.png"
    figures.plot_error_by_count(file, counts, counts + 1.2)
    picture(file)
    figures.plot_predicted(file, counts, counts + 1.2, counts, counts + 2)
    picture(file)


def test_relative_errors_are_of_images_with_cells(tmp_path, monkeypatch):
    """Of counts taken together, too: an empty image has no relative error."""
    monkeypatch.setattr(figures, "_save", lambda figure, file: shown.append(figure))
    shown, counts = [], np.arange(50.0)
    figures.plot_error_by_count(tmp_path / "a.png", counts, np.where(counts == 0, 10, counts))
    absolute, relative, _ = shown[0].axes
    assert absolute.lines[0].get_ydata().max() > 0
    assert relative.lines[0].get_ydata().max() == 0


def test_residuals_by_group_shows_the_groups_that_are_most_off(tmp_path):
    groups = np.repeat([f"chamber {k:02d}" for k in range(40)], 3)
    residuals = np.repeat(np.arange(40.0), 3)
    file = tmp_path / "a.png"
    shown, known = figures.plot_residuals_by_group(
        file, np.append(residuals, 99), np.append(groups, "alone")
    )
    assert (shown, known) == (25, 40)
    assert share_of(picture(file), figures.ORANGE) > 0
    assert figures.groups_to_show(np.array(list("aaabbc"))).tolist() == ["a"]


def test_residuals_by_time(tmp_path):
    file = tmp_path / "a.png"
    groups = np.repeat(["a", "b"], 20)
    figures.plot_residuals_by_time(file, PREDICTED - COUNTS, np.tile(np.arange(20.0), 2), groups)
    assert share_of(picture(file), figures.ORANGE) > 0
    figures.plot_residuals_by_time(file, PREDICTED - COUNTS, np.ones(40), groups)
    picture(file)


def test_histogram_of_counts(tmp_path):
    for predicted in (PREDICTED, np.zeros(3), RANDOM.uniform(0, 2000, 50)):
        figures.plot_count_histogram(tmp_path / "a.png", predicted)
        assert share_of(picture(tmp_path / "a.png"), figures.BLUE) > 0


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_learning_curves(tmp_path):
    history = [
        {"epoch": k, "loss": 9.0 / k, "natural_count": 1 / k, "natural_density": np.nan,
         "validation_mae": 3 / k if k % 2 else np.nan}
        for k in range(1, 7)
    ]  # fmt: skip
    for rows in (history, history[:1]):
        figures.plot_learning_curves(tmp_path / "a.png", rows)
        assert share_of(picture(tmp_path / "a.png"), figures.BLUE) > 0


def test_embedding_has_a_colour_for_each_kind(tmp_path):
    file = tmp_path / "a.png"
    places = RANDOM.normal(size=(40, 2))
    natural = {"natural": (places, np.full(40, 4.0))}
    figures.plot_embedding(file, natural)
    picture(file)
    synthetic = {"synthetic": (places + 9, COUNTS), "natural, unlabelled": (places - 9, NONE)}
    figures.plot_embedding(file, natural | synthetic)
    assert share_of(picture(file), figures.BLUE) > 0
    assert share_of(picture(file), figures.GREEN) == 0
    figures.plot_embedding(file, {"mine": (places, NONE)} | synthetic, highlighted="mine")
    assert share_of(picture(file), figures.GREEN) > 0


def test_a_sheet_stretches_grey_and_keeps_colour(tmp_path):
    file = tmp_path / "a.png"
    # Grey levels of a microscope: from 0.70 to 0.78 of 1.
    images = np.linspace(0.70, 0.78, 2 * 16 * 16).reshape(2, 16, 16)
    figures.picture_sheet(file, [Column("natural", images, ["3 true", "4 true"])])
    pixels = picture(file)
    middle = pixels[len(pixels) // 4, :, 0]
    assert middle.min() < 60 and middle.max() > 190
    regions = np.stack([figures.outlined(image, np.eye(16)) for image in images])
    figures.picture_sheet(
        file, [Column("natural", images, ["", ""]), Column("cells", regions, ["", ""])]
    )
    assert share_of(picture(file), "#ffc73d") > 0.01


def test_outlines_are_drawn_between_regions_only():
    labels = np.zeros((9, 9), int)
    labels[:, 4:] = 1
    drawn = figures.outlined(np.full((9, 9), 0.5), labels)
    outlined = np.isclose(drawn, figures.OUTLINE).all(axis=-1)
    assert outlined[:, 3].all() and not outlined[:, :2].any() and not outlined[:, 6:].any()
