"""Backgrounds made of natural images: free of cells, and as sharp as the place is."""

import numpy as np
import pytest

from cellzoo.synthetic.backgrounds import background_from, backgrounds_of_groups


def chambers(walls: np.ndarray, frames: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Of each place a time-lapse with noise, in which a dark disc of radius 5 wanders upwards."""
    rng = np.random.default_rng(seed)
    images = np.repeat(walls, frames, axis=0)
    images += rng.normal(0, 0.005, images.shape)
    groups = np.repeat([f"place {k}" for k in range(len(walls))], frames)
    y, x = np.mgrid[:64, :64]
    for k in range(len(images)):
        images[k][np.hypot(y - 48 + 4 * (k % frames), x - 30) < 5] = 0.1
    return images.astype(np.float32), groups


def scenes(number: int) -> np.ndarray:
    """Grey places with a wall, one of them with faint dirt."""
    walls = np.full((number, 64, 64), 0.5)
    walls[:, 58:60] = 0.2
    walls[0, 20:22, 8:10] = 0.51  # faint dirt
    return walls


@pytest.mark.parametrize("number", [2, 6])  # from five on, groups are compared
def test_backgrounds_of_groups_keep_walls_and_dirt_and_no_cell(number):
    walls = scenes(number)
    images, groups = chambers(walls, 12)
    order = np.random.default_rng(1).permutation(len(images))
    found = backgrounds_of_groups(images[order], groups[order], 5)
    assert found.shape == (number, 64, 64) and found.dtype == np.float32
    names = list(dict.fromkeys(groups[order]))
    for background, name in zip(found, names, strict=True):
        np.testing.assert_allclose(background, walls[int(name[-1])], atol=0.02)
    assert found[names.index("place 0"), 20:22, 8:10].mean() == pytest.approx(0.51, abs=0.004)


def test_a_cell_that_never_leaves_is_taken_from_one_background_of_many():
    walls = scenes(6)
    images, groups = chambers(walls, 12)
    y, x = np.mgrid[:64, :64]
    for k in range(12):
        images[k][np.hypot(y - 35, x - 50) < 5] = 0.1
    found = backgrounds_of_groups(images, groups, 5)
    np.testing.assert_allclose(found, walls, atol=0.02)
    of_two = backgrounds_of_groups(images[:24], groups[:24], 5)
    assert of_two[0, 35, 50] < 0.2  # nothing says that it is no part of the place


def test_groups_of_fewer_than_ten_images_give_no_background():
    images, groups = chambers(scenes(2), 10)
    assert len(backgrounds_of_groups(images[1:], groups[1:], 5)) == 1
    assert backgrounds_of_groups(images[:9], groups[:9], 5).shape == (0, 64, 64)


def test_backgrounds_of_groups_of_bytes_are_scaled():
    found = backgrounds_of_groups(np.full((10, 32, 32), 51, np.uint8), np.full(10, "a"), 5)
    np.testing.assert_allclose(found, 0.2, atol=1e-6)


def test_background_is_the_mean_of_images_with_few_cells():
    images = np.stack([np.full((4, 5), level) for level in [0.1, 0.2, 0.3, 0.4] * 8 + [0.9] * 4])
    counts = np.array([0, 1, 2, 3] * 8 + [4, 30, np.nan, -1])
    background = background_from(images, counts)
    assert background.dtype == np.float32 and background.shape == (4, 5)
    np.testing.assert_allclose(background, 0.25, atol=1e-6)


def test_background_without_labels_is_the_median_and_free_of_cells():
    images = np.full((9, 8, 8), 102, np.uint8)
    for i in range(8):
        images[i, i, :] = 255  # a "cell" that moves on from image to image
    np.testing.assert_allclose(background_from(images, np.full(9, np.nan)), 0.4, atol=1e-6)
    # Two labelled images would leave ghosts, so they are not used alone.
    few = np.array([2.0, 1.0] + [np.nan] * 7)
    np.testing.assert_allclose(background_from(images, few), 0.4, atol=1e-6)


def test_background_of_very_many_images_uses_them_all_over():
    images = np.zeros((1000, 2, 2))
    images[400:] = 0.5
    assert background_from(images, np.full(1000, np.nan)) == pytest.approx(0.5)


def test_background_needs_images_and_their_counts():
    with pytest.raises(ValueError, match="counts"):
        background_from(np.zeros((2, 4, 4)), np.zeros(3))
    with pytest.raises(ValueError, match="images"):
        background_from(np.zeros((0, 4, 4)), np.zeros(0))
