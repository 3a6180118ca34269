import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cellzoo.errors import UsageError
from cellzoo.synthetic.drawing import SyntheticCells
from cellzoo.synthetic.settings import PRESETS, Synthetic

# Nothing but the cells: what remains can be computed by hand.
STILL = dict(
    divisions=0.0,
    noise=0.0,
    gain=0.0,
    offset=0.0,
    blur=(0.0, 0.0),
    background_shift=(0.0, 0.0),
    background_gradient=0.0,
)


def components(binary: np.ndarray) -> int:
    return cv2.connectedComponents(binary.astype(np.uint8), connectivity=4)[0] - 1


def cells_like(preset, size=128, background=None, **settings) -> SyntheticCells:
    return SyntheticCells(Synthetic(preset=preset, **settings), size, background)


def cells_of(**settings) -> SyntheticCells:
    return cells_like("bf", **settings)


def one_disc(**overrides) -> SyntheticCells:
    """A disc of radius 5 whose middle has to be that of a 16 px image."""
    fixed = dict(
        STILL, size=16, count_range=(1, 1), radius=(5, 5), shorten=0, margins=(3, 3, 3, 3),
        fill=(51, 51), rim=(204, 204), background_level=102,
    )
    return cells_of(**{**fixed, **overrides})


# --- reproducible ---------------------------------------------------------------------------


@pytest.mark.parametrize("modality", ["bf", "pc"])
def test_same_seed_gives_bitwise_the_same_images(modality):
    cells = cells_like(modality, organelles=(1, 3), rim_noise=5, divisions=0.3)
    images, counts = cells.render(6, seed=7)
    again, counts_again = cells_like(
        modality, organelles=(1, 3), rim_noise=5, divisions=0.3
    ).render(6, seed=7)
    np.testing.assert_array_equal(images, again)
    np.testing.assert_array_equal(counts, counts_again)


def test_first_images_of_a_larger_set_are_the_smaller_set():
    images, counts = cells_of().render(6, seed=(3, 1))
    fewer, fewer_counts = cells_of().render(2, seed=[3, 1])
    np.testing.assert_array_equal(images[:2], fewer)
    np.testing.assert_array_equal(counts[:2], fewer_counts)


def test_different_seeds_give_different_images():
    seeds = [0, 1, (0,), (0, 0), (0, 1), (1, 0)]
    first = [cells_of().render(2, seed)[0] for seed in seeds]
    np.testing.assert_array_equal(first[0], first[2])  # 0 is short for (0,)
    distinct = {image.tobytes() for images in first for image in images}
    assert len(distinct) == 2 * (len(seeds) - 1)


def test_given_counts_equal_to_the_drawn_ones_change_nothing():
    images, counts = cells_of().render(4, seed=5)
    again, same = cells_of().render(4, seed=5, counts=counts)
    np.testing.assert_array_equal(images, again)
    np.testing.assert_array_equal(counts, same)


def test_masks_do_not_change_the_images():
    images, _ = cells_of().render(3, seed=5)
    with_masks, _, _ = cells_of().render(3, seed=5, masks=True)
    np.testing.assert_array_equal(images, with_masks)


# --- the pixels of a cell -------------------------------------------------------------------


def test_a_disc_has_the_asked_grey_levels_area_and_place():
    images, counts, masks = one_disc().render(3, seed=0, masks=True)
    assert counts.tolist() == [1, 1, 1]
    image = images[0]
    # Only the direction of the disc is left to chance.
    np.testing.assert_allclose(images, images[:1].repeat(3, axis=0), atol=2e-4)
    assert image[7:9, 7:9] == pytest.approx(51 / 255, abs=1e-6)
    assert image[0, 0] == pytest.approx(102 / 255, abs=1e-6)
    # Row 8's centres lie 0.5 px below the middle; the pixel 4 to 5 px left of it is rim.
    assert image[8, 3] == pytest.approx(204 / 255, abs=0.02)
    # Sum over the picture = fill over radius 4, rim from 4 to 5, background elsewhere.
    expected = (51 * 16 * np.pi + 204 * 9 * np.pi + 102 * (256 - 25 * np.pi)) / 255
    assert image.sum(dtype=np.float64) == pytest.approx(expected, rel=0.005)
    assert (masks[0] == 1).sum() == pytest.approx(25 * np.pi, rel=0.05)


def test_rim_width_is_measured_inwards():
    image = one_disc(rim_width=3).render(1, 0)[0][0]
    expected = (51 * 4 * np.pi + 204 * 21 * np.pi + 102 * (256 - 25 * np.pi)) / 255
    assert image.sum(dtype=np.float64) == pytest.approx(expected, rel=0.005)


def test_elongation_and_rotation_shape_the_ellipse():
    cells = one_disc(
        size=64, radius=(12, 12), margins=(0, 0, 0, 0), elongation=2, rotation=(30, 30)
    )
    _, _, masks = cells.render(200, 0, masks=True)
    ratios, directions = [], []
    for mask in masks:
        y, x = np.nonzero(mask)
        variance, axes = np.linalg.eigh(np.cov(np.stack([x, y])))
        ratios.append(np.sqrt(variance[1] / variance[0]))
        if ratios[-1] > 1.3:
            directions.append(np.degrees(np.arctan2(axes[1, 1], axes[0, 1])) % 180)
    assert 1 <= min(ratios) < 1.1 and 1.85 < max(ratios) < 2.1
    # The long axis is either the one along the 30 degrees or the other.
    nearest = np.where(np.abs(np.array(directions) - 30) < 45, 30, 120)
    assert np.abs(directions - nearest).max() < 3
    assert {30, 120} == set(nearest)


def test_shorten_takes_px_from_the_diameter():
    cells = one_disc(size=64, radius=(10, 10), shorten=6, margins=(0, 0, 0, 0), rotation=(0, 0))
    _, _, masks = cells.render(200, 0, masks=True)
    widths = np.array([np.any(m, axis=0).sum() for m in masks])
    heights = np.array([np.any(m, axis=1).sum() for m in masks])
    for extents in (widths, heights):
        assert 13 <= extents.min() <= 15 and 19 <= extents.max() <= 21
    assert (widths != heights).any()


def test_presets_look_as_their_microscopy():
    bright, _, mask = cells_like("bf", **STILL).render(1, 0, np.array([8]), masks=True)
    dark, _, mask_pc = cells_like("pc", **STILL).render(1, 0, np.array([8]), masks=True)
    inner = cv2.erode((mask[0] > 0).astype(np.uint8), np.ones((5, 5))) > 0
    inner_pc = cv2.erode((mask_pc[0] > 0).astype(np.uint8), np.ones((5, 5))) > 0
    assert 180 / 255 - 1e-3 <= bright[0][inner].min() and bright[0][inner].max() <= 209.1 / 255
    assert bright[0].min() < 130 / 255 < 190 / 255 == pytest.approx(bright[0][0, 0])
    assert 50 / 255 - 1e-3 <= dark[0][inner_pc].min() and dark[0][inner_pc].max() <= 59.1 / 255
    assert dark[0].max() > 130 / 255 > 61 / 255 == pytest.approx(dark[0][0, 0])


def test_organelles_texture_the_inside_only():
    plain = one_disc().render(1, 0)[0][0]
    image = one_disc(organelles=(3, 3), organelle_contrast=40).render(1, 0)[0][0]
    changed = np.abs(image - plain) > 1 / 255
    assert changed.any()
    y, x = np.nonzero(changed)
    assert np.hypot(y - 7.5, x - 7.5).max() < 5


def test_rim_noise_roughens_the_rim_only():
    plain = one_disc().render(1, 0)[0][0]
    image = one_disc(rim_noise=30).render(1, 0)[0][0]
    y, x = np.nonzero(np.abs(image - plain) > 1 / 255)
    distance = np.hypot(y - 7.5, x - 7.5)
    assert len(y) > 10 and distance.min() > 3 and distance.max() < 6


def test_shading_lights_one_side_and_keeps_the_mean():
    plain, _, masks = one_disc(fill=(100, 100), rim=(100, 100)).render(1, 0, masks=True)
    image = one_disc(fill=(100, 100), rim=(100, 100), shading=80).render(1, 0)[0][0] * 255
    y, x = np.nonzero(cv2.erode((masks[0] > 0).astype(np.uint8), np.ones((3, 3))))
    slope = np.linalg.lstsq(np.stack([x - 7.5, y - 7.5, np.ones(len(x))], 1), image[y, x])[0]
    assert slope[2] == pytest.approx(100, abs=0.5)
    # 80 grey levels over the 10 px of its diameter, in whatever direction.
    assert np.hypot(*slope[:2]) == pytest.approx(8, rel=0.02)
    assert (image[plain[0] * 255 == 102] == pytest.approx(102, abs=1e-3))


@pytest.mark.parametrize("contrast", [0.1, 0.5, 1.0])
def test_contrast_scales_what_a_cell_adds_to_its_background(contrast):
    plain = one_disc().render(1, 0)[0][0] * 255 - 102
    image = one_disc(contrast=(contrast, contrast)).render(1, 0)[0][0] * 255 - 102
    np.testing.assert_allclose(image, contrast * plain, atol=0.01)


def test_an_irregular_contour_leaves_the_disc_by_its_share_of_the_radius():
    cells = cells_of(
        **STILL, size=128, margins=(0,) * 4, radius=(30, 30), shorten=0, irregularity=0.08
    )
    masks = cells.render(60, 0, np.ones(60, int), masks=True)[2] > 0
    shares = []
    for mask in masks:
        y, x = np.nonzero(mask)
        y, x = y - y.mean(), x - x.mean()
        direction = np.round(np.arctan2(y, x) * 64 / (2 * np.pi)).astype(int) % 64
        shares.append([np.hypot(x, y)[direction == k].max() / 30 for k in range(64)])
    shares = np.array(shares)
    assert shares.std() == pytest.approx(0.08, abs=0.015)
    assert shares.mean() == pytest.approx(1, abs=0.02)
    assert 1 - 3 * 0.08 - 0.1 < shares.min() and shares.max() < 1 + 3 * 0.08 + 0.05
    assert all(components(mask) == 1 for mask in masks)


def test_a_core_brightens_the_middle_and_leaves_the_rim():
    plain = one_disc(size=64, radius=(20, 20)).render(1, 0)[0][0] * 255
    image = one_disc(size=64, radius=(20, 20), core=(100, 100)).render(1, 0)[0][0] * 255
    y, x = np.nonzero(plain == 51)
    assert (image - plain).max() == pytest.approx(100, abs=1)
    added = image - plain
    middle = np.unravel_index(added.argmax(), added.shape)
    # Within 0.15 radii of the middle in either direction.
    assert np.hypot(middle[0] - y.mean(), middle[1] - x.mean()) < 20 * 0.15 * 2**0.5 + 1
    np.testing.assert_array_equal(image[plain == 204], plain[plain == 204])
    darker = one_disc(size=64, radius=(20, 20), core=(-40, -40)).render(1, 0)[0][0] * 255
    assert (darker - plain).min() == pytest.approx(-40, abs=1)


def test_a_halo_is_outside_fades_and_covers_no_neighbour():
    settings = dict(size=64, radius=(9, 9), halo=(60, 60))
    plain = one_disc(**{**settings, "halo": (0, 0)}).render(1, 0, masks=True)
    image, _, mask = one_disc(**settings).render(1, 0, masks=True)
    added = (image[0] - plain[0][0]) * 255
    assert np.abs(added[cv2.erode(mask[0], np.ones((3, 3))) > 0]).max() < 1e-3
    away = cv2.distanceTransform((mask[0] == 0).astype(np.uint8), cv2.DIST_L2, 5)
    rings = [added[(away > k) & (away <= k + 1)].mean() for k in range(8)]
    assert 40 < rings[0] < 60 and rings == sorted(rings, reverse=True) and rings[-1] < 2
    two = dict(count_range=(2, 2), margins=(0,) * 4, overlap=2, clumping=1)
    pair, _, masks = one_disc(**settings, **two).render(1, 0, masks=True)
    inside = cv2.erode((masks[0] > 0).astype(np.uint8), np.ones((3, 3))) > 0
    # A halo over a rim would be brighter by up to 60.
    assert pair[0][inside].max() * 255 < 210


# --- the picture as a whole -----------------------------------------------------------------


def test_each_image_takes_one_of_several_backgrounds_as_sharp_as_it_is():
    several = np.random.default_rng(0).random((3, 32, 32)).astype(np.float32)
    cells = cells_of(
        **{**STILL, "blur": (2, 2)}, size=32, margins=(0,) * 4, background=several, blur_blend=1
    )
    images = cells.render(40, 0, np.zeros(40, int))[0]
    taken = [int(np.argmin(np.abs(several - image).max(axis=(1, 2)))) for image in images]
    assert set(taken) == {0, 1, 2}
    np.testing.assert_allclose(images, several[taken], atol=1e-6)
    # What is drawn is blurred all the same.
    black = dict(count_range=(1, 1), radius=(6, 6), fill=(0, 0), rim=(0, 0))
    sharp, blurred = (
        SyntheticCells(
            cells.settings.changed({"blur": b, **black}), 32, np.ones((1, 32, 32), np.float32)
        ).render(1, 0)[0]
        for b in ((0, 0), (2, 2))
    )
    assert np.abs(np.diff(blurred)).max() < 0.5 * np.abs(np.diff(sharp)).max()


@pytest.mark.parametrize("shape", [(0, 32, 32), (2, 32, 16), (2, 2, 32, 32)])
def test_backgrounds_of_another_shape_are_refused(shape):
    with pytest.raises(UsageError, match="background is .* give a grey image of 32 x 32 px"):
        cells_of(size=32, margins=(0,) * 4, background=np.zeros(shape, np.float32))


def test_an_empty_image_is_the_background():
    background = np.random.default_rng(0).random((32, 32))
    cells = cells_of(**STILL, size=32, margins=(0, 0, 0, 0), background=background)
    images, counts = cells.render(1, 0, counts=np.array([0]))
    assert counts.tolist() == [0]
    np.testing.assert_allclose(images[0], background, atol=1e-6)


def test_uint8_background_is_scaled_and_not_touched():
    background = np.full((32, 32), 51, np.uint8)
    cells = cells_of(**STILL, size=32, margins=(0, 0, 0, 0), background=background)
    images, _ = cells.render(2, 0, counts=np.array([2, 0]))
    assert images[1] == pytest.approx(0.2, abs=1e-6)
    assert (background == 51).all()
    background[:] = 0  # the settings keep their own copy
    assert cells.render(2, 0, counts=np.array([2, 0]))[0][1] == pytest.approx(0.2, abs=1e-6)


def empty(n: int, **overrides) -> np.ndarray:
    cells = cells_of(**{**STILL, "background_level": 100.0, **overrides})
    return cells.render(n, 0, counts=np.zeros(n, int))[0].astype(np.float64) * 255


def test_noise_amplitude():
    images = empty(3, noise=4.0)
    assert images.std() == pytest.approx(4.0, rel=0.03)
    assert images.mean() == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize(
    ("key", "value", "lowest", "highest"),
    [
        ("gain", 0.1, 90, 110),
        ("offset", 10.0, 90, 110),
        ("background_shift", (-20.0, 5.0), 80, 105),
    ],
)
def test_brightness_fluctuates_from_image_to_image_within_its_range(key, value, lowest, highest):
    images = empty(80, **{key: value})
    levels = images.mean(axis=(1, 2))
    assert images.std(axis=(1, 2)).max() < 1e-3
    span = highest - lowest
    assert lowest - 1e-3 <= levels.min() < lowest + 0.1 * span
    assert highest - 0.1 * span < levels.max() <= highest + 1e-3


def test_specks_and_lines_are_in_the_background_and_count_nothing():
    clutter = dict(specks=(3, 3), clutter_contrast=50.0)
    image = empty(1, **clutter)[0] - 100
    assert 1 < np.abs(image).max() <= 3 * 50 + 0.1
    assert np.mean(np.abs(image) > 1) < 0.05  # small
    lines = empty(1, lines=(1, 1), clutter_contrast=50.0)[0] - 100
    across, down = np.ptp(lines, axis=0).max(), np.ptp(lines, axis=1).max()
    assert min(across, down) < 0.01 < 1 < max(across, down)  # from one side to the other
    masks = cells_of(**clutter).render(1, 0, np.array([0]), masks=True)[2]
    assert not masks.any()


def test_lines_stand_in_sets_of_up_to_five():
    greys = empty(40, lines=(1, 1), clutter_contrast=200.0) - 100
    profiles = [g[0] if np.ptp(g[0]) > np.ptp(g[:, 0]) else g[:, 0] for g in greys]
    strong = [p for p in profiles if np.abs(p).max() > 60]
    sets = []
    for profile in strong:
        sign = np.sign(profile[np.abs(profile).argmax()])
        above = sign * profile > 0.6 * np.abs(profile).max()
        sets.append(int(np.diff(above.astype(int), prepend=0).clip(0).sum()))
    assert len(strong) > 10 and min(sets) == 1 and 2 <= max(sets) <= 5


def test_ghosts_are_soft_discs_as_large_as_cells_and_count_nothing():
    ghosts = dict(ghosts=(1, 1), clutter_contrast=100.0, radius=(8.0, 8.0))
    images = np.abs(empty(30, **ghosts) - 100)
    seen = images.max(axis=(1, 2)) > 5
    assert seen.sum() > 15  # others lie at the border, or are faint
    assert images.max() <= 100 * 0.9 + 0.1
    # Not much beyond the radius: where one ends, nothing is left.
    covered = (images[seen] > 2).sum(axis=(1, 2))
    assert covered.max() < math.pi * 16**2
    assert np.median(covered) > math.pi * 4**2
    assert not cells_of(**ghosts).render(9, 0, np.zeros(9, int), masks=True)[2].any()


def test_oversized_cells_are_up_to_two_and_a_half_times_as_large():
    cells = cells_of(**STILL, radius=(5, 5), shorten=0, margins=(0,) * 4, oversized=0.5)
    masks = cells.render(200, 0, np.ones(200, int), masks=True)[2]
    radius = np.sqrt((masks > 0).sum(axis=(1, 2)) / math.pi)
    assert np.mean(radius < 5.3) == pytest.approx(0.5, abs=0.1)
    oversized = radius[radius > 5.3]
    assert 7.2 < oversized.min() < 8.5 and 11.5 < oversized.max() < 12.8


def test_cut_cells_are_at_the_border_and_count_nothing():
    cut = dict(cut=(2, 2), radius=(8.0, 8.0), fill=(200, 200), rim=(200, 200))
    images = np.abs(empty(30, **cut) - 100) > 20
    assert images.any(axis=(1, 2)).all()
    middle = images[:, 8:-8, 8:-8]
    assert not middle.any()
    # With its middle outside, less than half a disc of a cell is left in view.
    assert images.sum(axis=(1, 2)).max() < 2 * math.pi * 8.5**2 / 2
    cells = cells_of(**{**STILL, **cut})
    _, counts, masks = cells.render(5, 0, np.full(5, 3), masks=True)
    assert counts.tolist() == [3] * 5 and [len(np.unique(m)) for m in masks] == [4] * 5


def test_gradient_stays_within_its_bound():
    images = empty(60, background_gradient=20.0)
    spread = images.max(axis=(1, 2)) - images.min(axis=(1, 2))
    assert 15 < spread.max() <= 20 * 2**0.5  # corner to corner it adds up
    assert spread.min() < 5


def test_blur_blend_mixes_sharp_and_blurred():
    sharp, half, full = (
        one_disc(blur=(1, 1), blur_blend=blend).render(1, 0)[0][0] for blend in (0, 0.5, 1)
    )
    np.testing.assert_allclose(half, (sharp + full) / 2, atol=1e-6)
    np.testing.assert_array_equal(sharp, one_disc().render(1, 0)[0][0])
    expected = cv2.GaussianBlur(sharp, (0, 0), 1, borderType=cv2.BORDER_REPLICATE)
    np.testing.assert_allclose(full, expected, atol=1e-6)


def test_blur_varies_from_image_to_image():
    images = one_disc(blur=(0.2, 2), blur_blend=1).render(20, 0)[0]
    spreads = images.std(axis=(1, 2))
    assert spreads.max() > 1.5 * spreads.min()


# --- counts ---------------------------------------------------------------------------------


def test_falling_weights_are_the_authors():
    chances = cells_of().settings.count_probabilities()
    weights = np.array([36 - n for n in range(1, 31)])
    np.testing.assert_allclose(chances, weights / weights.sum())


@pytest.mark.parametrize(
    ("count_range", "count_weights", "expected"),
    [
        ((0, 3), "uniform", [0.25, 0.25, 0.25, 0.25]),
        ((0, 3), [1, 0, 0, 3], [0.25, 0, 0, 0.75]),
        ((1, 3), "falling", [8 / 21, 7 / 21, 6 / 21]),
    ],
)
def test_counts_follow_their_weights(count_range, count_weights, expected):
    cells = cells_of(
        size=20, margins=(0, 0, 0, 0), radius=(2, 2), divisions=0,
        count_range=count_range, count_weights=count_weights,
    )
    counts = cells.render(1500, seed=11)[1]
    shares = np.bincount(counts - count_range[0], minlength=len(expected)) / len(counts)
    # 4 standard errors of a share of one half.
    np.testing.assert_allclose(shares, expected, atol=4 * 0.5 / 1500**0.5)
    assert (shares[np.array(expected) == 0] == 0).all()


@pytest.mark.parametrize("elongation", [1.0, 1.8])
def test_the_count_is_the_number_of_separate_bodies(elongation):
    background = np.full((128, 128), 0.5, np.float32)
    cells = cells_of(
        **STILL, background=background, overlap=-2, elongation=elongation,
        rim=(20, 60), fill=(180, 209),
    )
    images, counts = cells.render(30, seed=2)
    found = [components(np.abs(image - background) > 1e-3) for image in images]
    assert found == counts.tolist()
    assert len(set(found)) > 10


def test_masks_number_the_cells():
    cells = cells_like("bf", divisions=0.3)
    _, counts, masks = cells.render(20, seed=2, masks=True)
    assert masks.dtype == np.uint16 and masks.shape == (20, 128, 128)
    for count, mask in zip(counts, masks, strict=True):
        assert np.unique(mask).tolist() == list(range(count + 1))


@pytest.mark.parametrize("count", [2, 7])
def test_divisions_are_touching_pairs_that_count_two(count):
    cells = cells_of(
        **{**STILL, "divisions": 1.0}, overlap=-3, division_overlap=1.0, margins=(0, 0, 0, 0)
    )
    _, counts, masks = cells.render(20, 4, np.full(20, count), masks=True)
    assert counts.tolist() == [count] * 20
    for mask in masks:
        assert np.unique(mask).tolist() == list(range(count + 1))
        assert components(mask > 0) == (count + 1) // 2  # an odd count leaves one alone


def test_cells_of_a_pair_are_equally_large():
    cells = cells_of(
        **{**STILL, "divisions": 1.0}, shorten=0, division_overlap=-2, margins=(0, 0, 0, 0)
    )
    _, _, masks = cells.render(20, 4, np.full(20, 2), masks=True)
    first, second = (masks == 1).sum(axis=(1, 2)), (masks == 2).sum(axis=(1, 2))
    assert np.ptp(first) > 40  # radii vary from pair to pair
    np.testing.assert_allclose(first, second, rtol=0.15)


def test_pairs_have_noisier_rims_than_single_cells():
    settings = dict(STILL, rim=(120, 120), fill=(120, 120), rim_noise=0, margins=(0, 0, 0, 0))
    for divisions, noisy in ((0.0, False), (1.0, True)):
        cells = cells_of(**{**settings, "divisions": divisions, "division_rim_noise": 20})
        image, _, masks = cells.render(1, 4, np.array([2]), masks=True)
        # Of the upper cell: the rim of the lower one may cross what both cover.
        middle = cv2.erode((masks[0] == 2).astype(np.uint8), np.ones((5, 5))) > 0
        assert middle.any()
        assert image[0][middle] == pytest.approx(120 / 255, abs=1e-5)
        assert bool(image.min() < 110 / 255) is noisy


def test_without_divisions_nothing_touches():
    cells = cells_of(**STILL, overlap=-3, margins=(0, 0, 0, 0))
    _, _, masks = cells.render(10, 4, np.full(10, 6), masks=True)
    assert [components(mask > 0) for mask in masks] == [6] * 10


# --- places ---------------------------------------------------------------------------------


def test_margins_are_respected_and_used():
    background = np.full((64, 64), 0.5, np.float32)
    cells = cells_of(
        **{**STILL, "divisions": 0.3}, size=64, background=background, margins=(20, 3, 9, 0),
        count_range=(3, 3), radius=(3, 5),
    )
    images, _ = cells.render(150, seed=0)
    touched = (np.abs(images - 0.5) > 1e-3).any(axis=0)
    rows, columns = np.flatnonzero(touched.any(axis=1)), np.flatnonzero(touched.any(axis=0))
    # Anti-aliasing may tint the pixel beyond the border by a trace.
    assert columns[0] in (19, 20, 21) and columns[-1] in (59, 60, 61)
    assert rows[0] in (8, 9, 10) and rows[-1] in (62, 63)


@pytest.mark.parametrize("divisions", [0.0, 1.0])
@pytest.mark.parametrize(("margin", "largest"), [(-3, 3), (-100, 5)])
def test_with_negative_margins_the_border_cuts_cells_but_their_middle_stays(
    margin, largest, divisions
):
    cells = cells_of(
        **{**STILL, "divisions": divisions}, size=32, margins=(margin,) * 4, count_range=(2, 2),
        radius=(5, 5), shorten=0, division_overlap=0, overlap=-100,
    )  # fmt: skip
    _, _, masks = cells.render(300, seed=0, masks=True)
    cut = 0
    for mask in masks:
        for number in (1, 2):
            rows, columns = np.nonzero(mask == number)
            # A whole disc of radius 5 is 10 px wide.
            width, height = np.ptp(columns) + 1, np.ptp(rows) + 1
            assert min(width, height) >= 10 - largest
            cut += min(width, height) < 9
    assert cut > 30


def overlaps(cells: SyntheticCells, n: int, count: int) -> np.ndarray:
    """Largest overlap of two discs in each image, from the masks' bounding boxes."""
    _, _, masks = cells.render(n, 1, np.full(n, count), masks=True)
    deepest = []
    for mask in masks:
        discs = []
        for k in range(1, count + 1):
            y, x = np.nonzero(mask == k)
            discs.append((x.mean(), y.mean(), np.sqrt(len(x) / np.pi)))
        deepest.append(
            max(
                p[2] + q[2] - np.hypot(p[0] - q[0], p[1] - q[1])
                for i, p in enumerate(discs)
                for q in discs[:i]
            )
        )
    return np.array(deepest)


@pytest.mark.parametrize("overlap", [-4.0, 0.0, 1.0])
def test_cells_reach_no_further_into_each_other_than_allowed(overlap):
    cells = cells_of(
        **STILL, size=64, margins=(0, 0, 0, 0), radius=(5, 5), shorten=0, overlap=overlap
    )
    deepest = overlaps(cells, n=40, count=10)
    # An overlap hides a sliver of the lower disc, so the estimate is good to half a px.
    assert deepest.max() <= overlap + 0.5
    assert deepest.max() > overlap - 1.0  # and the freedom is used


def nearest_neighbours(clumping: float, overlap: float = 0) -> np.ndarray:
    """Px from each cell's middle to the next one's, of 20 images with 5 cells in 128 px."""
    cells = cells_of(
        **STILL, margins=(0,) * 4, radius=(5, 5), shorten=0, overlap=overlap, clumping=clumping
    )
    nearest = []
    for mask in cells.render(20, 0, np.full(20, 5), masks=True)[2]:
        middles = np.array([np.argwhere(mask == k).mean(axis=0) for k in range(1, 6)])
        apart = np.linalg.norm(middles[:, None] - middles, axis=2) + np.diag(np.full(5, np.inf))
        nearest += apart.min(axis=1).tolist()
    return np.array(nearest)


def test_clumped_cells_touch_and_do_not_overlap():
    assert np.mean(nearest_neighbours(0) < 11) < 0.2
    clumped = nearest_neighbours(1)
    assert clumped.min() >= 9.5 and np.mean(clumped < 10.5) > 0.9


def test_clumped_cells_keep_the_gap_that_is_asked_for():
    clumped = nearest_neighbours(1, overlap=-3)
    assert clumped.min() >= 12.5 and np.mean(clumped < 13.5) > 0.9


def test_too_many_cells_are_drawn_all_the_same():
    cells = cells_of(
        **{**STILL, "divisions": 0.2}, size=32, margins=(0, 0, 0, 0), radius=(3, 6), overlap=-1
    )
    images, counts, masks = cells.render(3, 0, np.array([40, 25, 3]), masks=True)
    assert counts.tolist() == [40, 25, 3]
    assert masks[0].max() == 40 and masks[1].max() == 25
    # Before cells overlap they shrink: in the full image, not in the one with three.
    area = [(mask > 0).sum() / count for mask, count in zip(masks, counts, strict=True)]
    assert area[0] < area[1] < area[2]


def test_cells_shrink_before_they_break_the_overlap_rule():
    # Four discs of radius 7 have no room in 22 x 22 px, four of radius 2 do.
    cells = cells_of(
        **STILL, size=22, margins=(0, 0, 0, 0), radius=(2, 7), shorten=0, overlap=-2
    )
    _, _, masks = cells.render(40, 0, np.full(40, 4), masks=True)
    assert [components(mask > 0) for mask in masks] == [4] * 40


# --- any settings ---------------------------------------------------------------------------

ranges = st.tuples(st.floats(0, 255), st.floats(0, 255)).map(sorted)


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    size=st.integers(32, 90),
    counts=st.tuples(st.integers(0, 12), st.integers(0, 12)).map(sorted),
    radius=st.tuples(st.floats(2, 6), st.floats(2, 6)).map(sorted),
    fill=ranges,
    rim=ranges,
    seed=st.integers(0, 2**70),
)
def test_any_settings_give_images_in_range_and_true_counts(
    data, size, counts, radius, fill, rim, seed
):
    cells = cells_of(
        size=size,
        count_range=counts,
        count_weights=data.draw(st.sampled_from(["falling", "uniform"])),
        radius=radius,
        shorten=data.draw(st.floats(0, 1)),
        elongation=data.draw(st.floats(1, 1.5)),
        rim_width=data.draw(st.floats(0, 8)),
        fill=fill,
        rim=rim,
        rim_noise=data.draw(st.floats(0, 50)),
        organelles=data.draw(st.tuples(st.integers(0, 3), st.integers(0, 3)).map(sorted)),
        overlap=data.draw(st.floats(-5, 3)),
        divisions=data.draw(st.floats(0, 1)),
        margins=data.draw(st.tuples(*[st.floats(-9, 3)] * 4)),
        background_level=data.draw(st.floats(0, 255)),
        gain=data.draw(st.floats(0, 1)),
        offset=data.draw(st.floats(0, 100)),
        blur=data.draw(st.tuples(st.floats(0, 3), st.floats(0, 3)).map(sorted)),
        blur_blend=data.draw(st.floats(0, 1)),
        noise=data.draw(st.floats(0, 60)),
    )
    images, drawn, masks = cells.render(2, seed, masks=True)
    assert images.dtype == np.float32 and images.shape == (2, size, size)
    assert drawn.dtype == np.int32 and drawn.shape == (2,)
    assert images.min() >= 0 and images.max() <= 1
    assert counts[0] <= drawn.min() and drawn.max() <= counts[1]
    assert masks.max(axis=(1, 2)).tolist() == drawn.tolist()
    np.testing.assert_array_equal(images[:1], cells.render(1, seed)[0])


def test_no_images():
    images, counts = cells_of().render(0, 0)
    assert images.shape == (0, 128, 128) and counts.shape == (0,)


def test_settings_can_be_replaced():
    cells = cells_like("pc", background=np.full((128, 128), 60, np.uint8))
    assert cells.changed(noise=3).settings.noise == 3
    np.testing.assert_array_equal(cells.changed().render(2, 0)[0], cells.render(2, 0)[0])


# --- errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("preset", "dic", "'bf' or 'pc'"),
        ("count_range", (5, 2), r"write \[lowest, highest\]"),
        ("count_range", (-1, 2), "greater than or equal to 0"),
        ("count_range", 7, "tuple"),
        ("count_weights", "normal", "'falling' or 'uniform'"),
        ("count_weights", 3, "'falling' or 'uniform'"),
        ("count_weights", [-1] + [1] * 29, "greater than or equal to 0"),
        ("radius", (-3, 7), "greater than or equal to 1"),
        ("radius", (7, 3), r"write \[lowest, highest\]"),
        ("radius", "big", "tuple"),
        ("shorten", float("nan"), "finite number"),
        ("elongation", 0.5, "greater than or equal to 1"),
        ("irregularity", 0.3, "less than or equal to 0.25"),
        ("fill", (180, 300), "less than or equal to 255"),
        ("rim", (129, 80), r"write \[lowest, highest\]"),
        ("organelles", (0.5, 2), "integer"),
        ("divisions", 1.5, "less than or equal to 1"),
        ("margins", (1, 2, 3), "required"),
        ("gain", -0.1, "greater than or equal to 0"),
        ("blur", (2, 1), r"write \[lowest, highest\]"),
        ("blur_blend", "half", "number"),
        ("noise", -1, "greater than or equal to 0"),
        ("radios", (1, 2), "not permitted"),
    ],
)
def test_values_that_a_key_cannot_have(key, value, reason):
    with pytest.raises(ValidationError, match=reason) as error:
        Synthetic(**{"preset": "bf", key: value})
    assert all(problem["loc"][0] == key for problem in error.value.errors())


@pytest.mark.parametrize(
    ("key", "value", "cure"),
    [
        ("count_weights", [1, 2], "one weight per count"),
        ("count_weights", [0] * 30, "above 0"),
        ("shorten", 5, "lower it to 4 or less"),
        ("elongation", 2.5, "lower it to 2 or less"),
        ("division_overlap", 4, "lower it below 4"),
        ("margins", (60, 60, 0, 0), "lower the margins"),
        ("margins", (55, 55, 0, 0), "data.synthetic.divisions to 0"),
        ("background", "mean.png", "128 x 128"),
        ("background", np.zeros((64, 64)), "128 x 128"),
        ("background", np.zeros((128, 128, 3), np.uint8), "grey image"),
        ("background", np.zeros((128, 128), np.int32), "uint8"),
        ("background", np.full((128, 128), 200.0), "0-1"),
        ("background", np.full((128, 128), np.nan), "0-1"),
    ],
)
def test_what_does_not_fit_together_names_the_key_and_the_cure(key, value, cure):
    with pytest.raises(UsageError, match=rf"^data\.synthetic\.{key} .*{cure}"):
        cells_of(**{key: value})


def test_presets_set_every_key():
    keys = Synthetic.model_fields.keys() - {"preset", "images", "fresh", "background"}
    for name, preset in PRESETS.items():
        assert preset.keys() == keys
        Synthetic(preset=name, **preset).check(128)


@pytest.mark.parametrize(
    "arguments",
    [
        dict(n=-1, seed=0),
        dict(n=1, seed=-1),
        dict(n=2, seed=0, counts=np.array([1])),
        dict(n=1, seed=0, counts=np.array([-1])),
        dict(n=1, seed=0, counts=np.array([1.5])),
    ],
)
def test_render_refuses_arguments_that_do_not_fit(arguments):
    with pytest.raises(ValueError):
        cells_of().render(**arguments)
