"""Synthetic cells on the backgrounds of natural images."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import tifffile

from cellzoo.data.image_set import ImageSet
from cellzoo.data.synthetic import SyntheticImages, synthetic_cells
from cellzoo.errors import UsageError, UserError
from cellzoo.recipe import load_recipe
from cellzoo.synthetic.settings import Synthetic


def draw(natural=None, size=96, **settings):
    return synthetic_cells(Synthetic(**settings), size, natural)


def natural_set(levels, counts):
    n = len(levels)
    images = np.tile(np.asarray(levels, np.float32)[:, None, None], (1, 96, 96))
    names = np.array([str(k) for k in range(n)])
    return ImageSet(images, np.asarray(counts, np.float32), names, names, np.full(n, "train"))


def test_the_background_is_the_mean_of_natural_images_with_few_cells():
    levels = [0.2, 0.4] * 20 + [0.9] * 40
    natural = natural_set(levels, [0] * 20 + [3] * 20 + [4] * 20 + [np.nan] * 20)
    cells = draw(preset="bf", background="natural", natural=natural)
    np.testing.assert_allclose(cells.background, 0.3, atol=1e-6)


def test_each_group_can_give_a_background():
    natural = natural_set([0.2] * 10 + [0.6] * 9 + [0.7] * 12, [np.nan] * 31)
    groups = np.array(["a"] * 10 + ["b"] * 9 + ["c"] * 12)
    choice = {"preset": "bf", "background": "groups", "size": 96}
    cells = draw(**choice, natural=replace(natural, groups=groups))
    np.testing.assert_allclose(cells.background.mean(axis=(1, 2)), [0.2, 0.7], atol=1e-6)
    with pytest.raises(UserError, match="no group of training images has 10 or more: name"):
        draw(**choice, natural=natural)


def test_cells_on_backgrounds_of_groups_may_be_as_large_as_the_image_allows():
    images = np.full((10, 256, 256), 0.5, np.float32)
    natural = replace(natural_set([0.5] * 10, [1] * 10), images=images, groups=np.full(10, "a"))
    choice = {"preset": "bf", "background": "groups", "natural": natural, "size": 256}
    assert draw(**choice, radius=(40.0, 50.0)).background.shape == (1, 256, 256)


def test_unset_controls_follow_the_preset():
    natural = natural_set([0.5], [1])
    choice = {"preset": "pc", "background": None, "natural": natural, "size": 96}
    preset, changed = (draw(**choice, radius=r, blur=None) for r in (None, (2.0, 3.0)))
    assert preset.background is None
    assert (preset.size, preset.settings.radius) == (96, (3.0, 9.0))
    assert changed.settings.radius == (2.0, 3.0)
    assert changed.settings.fill == preset.settings.fill == (50.0, 59.0)


def test_any_image_can_be_the_background(tmp_path):
    cv2.imwrite(str(tmp_path / "back.png"), np.full((20, 30), 102, np.uint8))
    cells = draw(preset="bf", background=str(tmp_path / "back.png"))
    assert cells.background.shape == (96, 96)
    np.testing.assert_allclose(cells.background, 0.4, atol=1e-6)


def test_a_background_is_read_as_the_natural_images_are(tmp_path):
    path = tmp_path / "back.tif"
    channels = np.full((2, 20, 30), [[[0]], [[1400]]], np.uint16)
    tifffile.imwrite(path, channels, metadata={"axes": "CYX"})
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "name: mine\ndata:\n"
        "  natural: {source: folder, folder: f, intensity: [200, 3200], channel: 1}\n"
        f"  synthetic: {{preset: bf, background: {path}}}\nmodel: {{name: twinvae_spatial}}\n"
    )
    cells = load_recipe(recipe).data.cells(128, None)
    np.testing.assert_allclose(cells.background, 0.4, atol=1e-6)


def test_a_background_of_several_frames_is_refused(tmp_path):
    frames = np.full((3, 96, 96), 100, np.uint8)
    options = {"photometric": "minisblack", "metadata": {"axes": "TYX"}}
    tifffile.imwrite(tmp_path / "a.tif", frames, **options)
    with pytest.raises(UserError, match="a.tif, which holds several frames: name a file of one"):
        draw(preset="bf", background=str(tmp_path / "a.tif"))


def test_a_background_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="back.png, and there is no such file: write 'natural'"):
        draw(preset="bf", background=str(tmp_path / "back.png"))


def test_a_fixed_set_is_what_synth_would_write():
    cells = draw(preset="bf", background=None)
    images, counts, _ = SyntheticImages(cells, 5, False, 7).batch(3, np.arange(5))
    expected_images, expected_counts = cells.render(5, (7, 0))
    np.testing.assert_array_equal(images, expected_images)
    np.testing.assert_array_equal(counts, expected_counts)


def test_synthetic_cells_are_square():
    with pytest.raises(UsageError, match=r"square images and model.image_size is \[96, 128\]"):
        draw(preset="bf", background=None, size=(96, 128))
