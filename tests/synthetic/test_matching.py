"""Settings of synthetic cells that make them look like natural images, found without a label."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellzoo.errors import UserError
from cellzoo.synthetic import matching
from cellzoo.synthetic.drawing import SyntheticCells
from cellzoo.synthetic.matching import Natural, climb, match, measured, settings_at
from cellzoo.synthetic.settings import Synthetic

CELLS = SyntheticCells(
    Synthetic(
        preset="bf", count_range=(1, 5), radius=(4, 5), shorten=1, rim_width=2, rim=(30, 60),
        fill=(190, 230), margins=(-2, -2, -2, -2), divisions=0, background_level=110,
        blur=(0.5, 0.8), blur_blend=1, noise=2,
    ),
    size=64,
)  # fmt: skip


@pytest.fixture(scope="module")
def natural():
    return Natural(CELLS.render(80, 1)[0])


# --- what the ground tells ------------------------------------------------------------------


def test_level_and_its_spread_are_those_of_the_grounds():
    levels = 100 + np.arange(41)  # as if drawn evenly from 99.5 to 140.5
    images = np.ones((41, 32, 32), np.float32) * (levels / 255).astype(np.float32)[:, None, None]
    found = measured(images)
    assert found["background_level"] == 120
    np.testing.assert_allclose(found["background_shift"], (-20.5, 20.5), atol=0.02)
    assert (found["background_gradient"], found["noise"]) == (0, 0)


def test_the_gradient_is_twice_the_median_slope_as_slopes_are_drawn_from_0_up():
    ramp = np.linspace(-15, 15, 96) + np.zeros((96, 1))
    images = np.float32([120 + ramp, 120 + ramp.T] * 3) / 255
    # A median of windows flattens the ends a little.
    assert measured(images)["background_gradient"] == pytest.approx(60, rel=0.1)


@pytest.mark.parametrize("noise", [1.5, 4.0])
def test_noise_is_measured_beside_cells(noise):
    images, _ = CELLS.changed(noise=noise).render(10, 3)
    assert measured(images)["noise"] == pytest.approx(noise, rel=0.06)


def test_with_a_background_image_the_shift_alone_is_measured():
    background = np.random.default_rng(1).random((32, 32)).astype(np.float32) / 2
    images = np.stack([background + shift / 255 for shift in (4, 6, 8, 10, 12)])
    found = measured(images, background)
    assert set(found) == {"noise", "background_shift"}
    # Five of them, one step of 2 apart, stand for 3 to 13.
    np.testing.assert_allclose(found["background_shift"], (3.2, 12.8), atol=0.03)


def test_of_several_backgrounds_each_image_is_taken_to_be_on_its_own():
    backgrounds = np.random.default_rng(1).random((3, 32, 32)).astype(np.float32) / 2
    shifts = np.array([4, 6, 8, 10, 12]) / 255
    images = backgrounds[[2, 0, 1, 2, 1]] + shifts[:, None, None].astype(np.float32)
    found = measured(images, backgrounds)
    np.testing.assert_allclose(found["background_shift"], (3.2, 12.8), atol=0.03)
    images[:, 10:20, 5:12] = 0.9  # cells
    for image, k in zip(images, [2, 0, 1, 2, 1], strict=True):
        np.testing.assert_array_equal(matching._nearest(image, backgrounds), backgrounds[k])


# --- distance -------------------------------------------------------------------------------


def test_cells_drawn_alike_are_nearest(natural):
    assert natural.distance(CELLS.render(80, 2)[0]) < 0.05


@pytest.mark.parametrize(
    "steps",
    [
        {"radius": [(5, 6), (7, 8)]},
        {"fill": [(150, 190), (70, 110)]},
        {"rim": [(70, 100), (130, 160)]},
        {"rim_width": [1, 0.4]},
        {"blur": [(1, 1.3), (2, 2.3)]},
        {"shading": [60, 150]},
        {"elongation": [1.5, 2.5]},
        {"lines": [(0, 1), (2, 4)]},
        {"irregularity": [0.1, 0.2]},
        {"core": [(-60, -40), (-140, -120)]},
        {"halo": [(-30, -20), (-70, -60)]},
    ],
    ids=lambda steps: next(iter(steps)),
)
def test_the_distance_grows_with_what_is_drawn_otherwise(natural, steps):
    ((key, (near, far)),) = steps.items()
    distances = [
        natural.distance(CELLS.changed(**change).render(80, 2)[0])
        for change in ({}, {key: near}, {key: far})
    ]
    assert distances == sorted(distances)
    assert distances[2] > 2 * distances[0]


def test_twice_as_many_cells_are_nearer_than_cells_that_look_otherwise(natural):
    more = natural.distance(CELLS.changed(count_range=(2, 10)).render(80, 2)[0])
    other = natural.distance(CELLS.changed(radius=(7, 8)).render(80, 2)[0])
    assert natural.distance(CELLS.render(80, 2)[0]) < more < other


def test_images_without_anything_are_far_off(natural):
    assert natural.distance(np.full((8, 64, 64), 0.4, np.float32)) >= 2


def test_the_scale_follows_the_size_of_cells():
    scales = [
        Natural(CELLS.changed(radius=(r, r)).render(40, 1)[0]).scale for r in (3.0, 5.0, 9.0)
    ]
    assert scales == sorted(scales) and scales[0] < scales[2]


# --- search ---------------------------------------------------------------------------------


AXES = len(matching._AXES)


@given(st.lists(st.floats(0, 1), min_size=AXES, max_size=AXES), st.floats(0.7, 11))
def test_every_point_can_be_drawn(point, scale):
    settings = settings_at(np.array(point), matching._AXES, scale)
    section = Synthetic(preset="bf", **settings, margins=(-3, -3, -3, -3))
    low, high = SyntheticCells(section).settings.radius
    assert 2.2 <= low <= high <= max(3 * scale, 2.2)


def test_the_middle_of_the_cube_by_hand():
    settings = settings_at(np.full(AXES, 0.5), matching._AXES, 4.0)
    # 4 px * (0.8 + 0.7) = 6 px, spread by 0.35 / 2.
    assert settings["radius"] == (4.95, 7.05)
    assert settings["rim_width"] == 6 * 0.45
    assert settings["fill"] == settings["rim"] == (87.5, 167.5)
    assert settings["core"] == (-60, 60) and settings["halo"] == (-20, 20)
    assert settings["contrast"] == (0.58, 1.73)  # square root of 3, and 1 / it
    assert settings["count_range"] == (0, 6)  # square root of 40


def test_a_climb_ends_at_the_least_of_a_narrow_valley():
    rng = np.random.default_rng(3)
    turn, _ = np.linalg.qr(rng.standard_normal((5, 5)))
    goal, stretch = np.array([0.3, 0.6, 0.5, 0.7, 0.4]), np.array([1, 3, 10, 30, 100])

    def values(points):
        return list(np.square((points - goal) @ turn * stretch).sum(axis=1))

    end = climb(values, np.full(5, 0.5), 0.2, 150, 12, np.random.default_rng(1))
    np.testing.assert_allclose(end, goal, atol=1e-3)


def test_a_climb_tries_no_point_outside_the_cube_and_minds_no_infinity():
    tried = []

    def values(points):
        tried.append(points)
        return [np.inf if point[0] < 0.5 else -point[0] for point in points]

    end = climb(values, np.full(3, 0.5), 0.3, 40, 10, np.random.default_rng(1))
    assert 0 <= np.min(tried) and np.max(tried) <= 1
    assert end[0] > 0.9


@pytest.fixture
def short_search(monkeypatch):
    for name, value in {"_FIRST": 8, "_CLIMBS": 1, "_CHILDREN": 4, "_DRAWN": 6}.items():
        monkeypatch.setattr(matching, name, value)


def test_the_result_depends_on_the_seed_and_not_on_the_workers(short_search):
    images, _ = CELLS.render(30, 1)
    one, two, other = (
        match(images, CELLS.changed(radius=(3, 9)), {}, False, seed, 2, workers)
        for seed, workers in ((1, 1), (1, 2), (2, 1))
    )
    assert one == two
    assert one.settings != other.settings


def test_images_of_which_a_half_shows_too_little_are_matched_all_the_same(short_search):
    images, _ = CELLS.changed(count_range=(2, 3)).render(20, 1)
    assert np.isnan(match(images, CELLS, {}, False, 1, 1, 1).floor)


def test_what_is_settled_stays(short_search):
    images, _ = CELLS.render(30, 1)
    found = match(images, CELLS, {"overlap": 1.0}, False, 1, 1, 1)
    assert found.settings["overlap"] == 1
    assert not set(found.settings) & {"count_range", "count_weights", "margins", "size"}


def test_counts_that_are_found_have_a_tail(short_search):
    cells = CELLS.changed(count_weights=(1, 0, 0, 0, 3))  # weights of other counts do not matter
    found = match(CELLS.render(30, 1)[0], cells, {}, True, 1, 1, 1).settings
    fewest, most = found["count_range"]
    half = most // 2
    assert fewest == 0 and len(found["count_weights"]) == most + 1
    assert found["count_weights"][: half + 1] == [half + 6 - n for n in range(half + 1)]
    assert found["count_weights"][half + 1 :] == [1] * half


def test_drawn_cells_are_found_again(monkeypatch):
    """From the bright-field preset, which looks quite otherwise, in a search cut short."""
    monkeypatch.setattr(matching, "_DRAWN", 16)
    monkeypatch.setattr(matching, "_FIRST", 60)
    monkeypatch.setattr(matching, "_CLIMBS", 1)
    images, _ = CELLS.changed(background_level=120).render(100, 5)
    start = SyntheticCells(Synthetic(preset="bf", margins=(-2,) * 4, count_range=(1, 5)), 64)
    found = match(images, start, {}, False, 6, 20, 1)
    assert found.after < 0.25 * found.before
    middle = {key: np.mean(value) for key, value in found.settings.items()}
    assert middle["radius"] == pytest.approx(4.5, rel=0.2)
    assert middle["rim"] == pytest.approx(45, abs=30)
    assert middle["fill"] == pytest.approx(210, abs=70)  # says least of the look: 145 to 202
    assert middle["background_level"] == pytest.approx(120, abs=2)
    assert middle["noise"] == pytest.approx(2, abs=0.2)


def test_too_few_images_and_images_of_nothing():
    images, _ = CELLS.render(19, 1)
    with pytest.raises(UserError, match="19 natural training images are too few .* 20 are needed"):
        match(images, CELLS, {}, False, 1)
    nothing, _ = CELLS.changed(count_range=(0, 0)).render(20, 1)
    with pytest.raises(UserError, match="Hardly anything stands out .* of the 20 natural images"):
        match(nothing, CELLS, {}, False, 1)
