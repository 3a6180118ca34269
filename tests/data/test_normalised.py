"""Windows of images that were made alike: counts, masks, and who has none."""

import numpy as np
import pytest

from cellzoo.data.augment import Augment
from cellzoo.data.batches import TrainingBatches
from cellzoo.data.image_set import ImageSet
from cellzoo.data.normalised import Normalise, NormalisedWindows, images_as_seen, mean_diameter
from cellzoo.errors import UserError

SETTINGS = Normalise(diameter=12, window=64)


def image_set(diameters=(24, 12), side=96):
    """An image per diameter, with discs on a grid, numbered."""
    images, masks = [], []
    for diameter in diameters:
        y, x = np.mgrid[:side, :side]
        pitch = 2 * diameter
        number = (y // pitch) * (side // pitch + 1) + x // pitch + 1
        inside = np.hypot(y % pitch - diameter, x % pitch - diameter) < diameter / 2
        mask = np.where(inside, number, 0).astype(np.uint16)
        masks.append(mask)
        images.append(0.02 + 0.1 * (mask > 0))
    n = len(images)
    return ImageSet(
        images=np.stack(images).astype(np.float32),
        counts=np.array([len(np.unique(mask)) - 1 for mask in masks], np.float32),
        groups=np.array([f"g{k}" for k in range(n)]),
        names=np.array([f"{k}.png" for k in range(n)]),
        splits=np.full(n, "train"),
        masks=np.stack(masks),
    )


def test_a_window_has_cells_of_the_wanted_diameter_and_counts_them():
    images = image_set()
    windows = NormalisedWindows(images, SETTINGS)
    np.testing.assert_allclose(windows.diameters, [24, 12], rtol=0.03)
    for seed in range(5):
        pictures, masks = windows.cut([0, 1], np.random.default_rng(seed), exact=True)
        assert pictures.shape == masks.shape == (2, 64, 64)
        for picture, mask in zip(pictures, masks, strict=True):
            areas = np.bincount(mask.ravel())[1:]
            assert set(np.unique(mask)) == set(range(mask.max() + 1))
            assert areas.max() == pytest.approx(113, rel=0.2)
            assert picture[mask > 0].min() > picture[mask == 0].max() - 0.3


def test_a_wrong_diameter_changes_sizes_within_the_jitter():
    windows = NormalisedWindows(image_set(), SETTINGS)
    areas = []
    for seed in range(20):
        _, masks = windows.cut([1], np.random.default_rng(seed))
        areas.append(np.bincount(masks.ravel())[1:].max())
    diameters = np.sqrt(4 / np.pi * np.array(areas))
    assert 12 / 1.5 < diameters.min() < 11 and 14 < diameters.max() < 12 * 1.5


def test_a_small_image_is_padded_with_background():
    windows = NormalisedWindows(image_set((24,)), SETTINGS)
    pictures, masks = windows.cut([0], np.random.default_rng(0), exact=True)
    assert pictures.shape == (1, 64, 64) and masks.max() == 4


def test_a_batch_counts_what_its_windows_show():
    batches = TrainingBatches(
        image_set(), None, Augment(crop=1, noise=0).build(64), batch=2, labelled_share=None,
        normalise=SETTINGS, count_mean="batch", seed=1,
    )  # fmt: skip
    x, y = batches(3)
    assert x["natural"].shape == y["natural_mask"].shape == (2, 64, 64)
    np.testing.assert_allclose(y["natural_density"].sum(axis=(1, 2)), y["natural_count"], rtol=1e-4)
    assert (y["natural_count"] > 0).all()
    again, _ = batches(3)
    np.testing.assert_array_equal(again["natural"], x["natural"])


def test_labelled_images_need_label_images():
    images = image_set()
    without = ImageSet(images.images, images.counts, images.groups, images.names, images.splits)
    with pytest.raises(UserError, match="add the column label_image to labels.csv"):
        NormalisedWindows(without, SETTINGS)


def test_whole_images_keep_their_field_of_view():
    alike = images_as_seen(image_set(), SETTINGS)
    assert [image.shape[0] for image in alike] == pytest.approx([48, 96], abs=2)


def test_the_mean_diameter_of_no_cell_is_what_was_given():
    assert mean_diameter(np.zeros((8, 8), np.uint16), 20.0) == 20.0
