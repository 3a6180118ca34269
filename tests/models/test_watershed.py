"""Watershed: discs that anyone can count, the grid search, and the label image."""

import cv2
import numpy as np
import pytest

from cellzoo.errors import UsageError
from cellzoo.models import Watershed
from cellzoo.models.watershed.counter import FittedWatershed
from cellzoo.scores.segmentation import instances

METHODS = ("sobel", "distance")
ONE_OF_EACH = {"crop": [0], "kernel": [1], "divisor": [1], "separation": [3], "radius": [1]}


def discs(centers, radius=7, size=128, bright=True):
    image = np.full((size, size), 0.2, np.float32)
    for column, row in centers:
        cv2.circle(image, (column, row), radius, 0.8, -1)
    return image if bright else 1 - image


TWELVE = [(20 + 28 * (k % 4), 20 + 35 * (k // 4)) for k in range(12)]
TOUCHING = [(50, 64), (64, 64)]  # 14 px apart, radius 9


@pytest.mark.parametrize("bright", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_twelve_separated_discs_are_twelve(method, bright):
    image = discs(TWELVE, bright=bright)
    counter = FittedWatershed(method, kernel=3, divisor=9, bright=bright)
    assert counter.count(image[None]).tolist() == [12]
    labels = counter.segment(image)
    assert (labels.dtype, labels.shape) == (np.int32, image.shape)
    # Each disc has a label of its own in its middle, and the background has none.
    assert sorted(labels[row, column] for column, row in TWELVE) == list(range(1, 13))
    assert labels[2, 2] == labels[37, 34] == 0
    area = np.pi * 7**2
    assert all(0.8 * area < (labels == k).sum() < 1.3 * area for k in range(1, 13))


def test_touching_cells_are_one_region_to_sobel_and_two_to_distance():
    image = discs(TOUCHING, radius=9)
    assert FittedWatershed("sobel", bright=True).count(image[None]).tolist() == [1]
    counter = FittedWatershed("distance", bright=True)
    assert counter.count(image[None]).tolist() == [2]
    left, right = (counter.segment(image) == k for k in (1, 2))
    # Divided between the two, and in halves.
    assert set(np.flatnonzero(left.any(axis=0))).isdisjoint(range(59, 128))
    assert abs(int(left.sum()) - int(right.sum())) < 20
    # Two in a mask as well, from which overlays and scores are made.
    assert instances(counter.segment(image) > 0).max() == 2


def test_what_lies_in_the_cropped_border_is_not_counted():
    image = discs([(8, 64), (64, 64), (120, 64)], radius=5)
    assert FittedWatershed(bright=True).count(image[None]).tolist() == [3]
    counter = FittedWatershed(crop=15, bright=True)
    assert counter.count(image[None]).tolist() == [1]
    assert (counter.segment(image) > 0).any(axis=0).nonzero()[0].tolist() == list(range(59, 70))


def test_the_divisor_brightens_up_to_white():
    """Grey 0.2 x 9 / 7 and 0.8 x 9 / 7, cut off at 1; of 0.85 and 1 nothing is left to tell."""
    image = np.where(discs(TWELVE) > 0.5, 1, 0.85).astype(np.float32)
    assert FittedWatershed(kernel=3, divisor=9, bright=True).count(image[None]).tolist() == [12]
    assert FittedWatershed(kernel=3, divisor=7, bright=True).count(image[None]).tolist() != [12]


def test_subtracted_regions_never_make_a_count_negative():
    images = np.stack([discs(TWELVE[:2]), discs(TWELVE)])
    assert FittedWatershed(bright=True, subtract=4).count(images).tolist() == [0, 8]


@pytest.mark.parametrize("bright", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_the_grid_finds_polarity_and_what_to_subtract(method, bright):
    numbers = [3, 5, 8, 12]
    images = np.stack([discs(TWELVE[:n], bright=bright) for n in numbers])
    counts = np.array(numbers, np.float32) - 2
    counter = Watershed(method=method, **ONE_OF_EACH, subtract=[0, 1, 2, 3]).fit(images, counts)
    assert (counter.method, counter.bright, counter.subtract) == (method, bright, 2)
    np.testing.assert_array_equal(counter.count(images), counts)


def test_the_grid_finds_the_separation():
    """Two peaks 14 px apart are two only where the separation is smaller."""
    images = np.stack([discs(TOUCHING, radius=9), discs(TWELVE[:3])])
    grid = {**ONE_OF_EACH, "separation": [20, 5], "bright": [True], "subtract": [0]}
    counter = Watershed(method="distance", **grid).fit(images, np.array([2, 3]))
    assert counter.separation == 5
    counter = Watershed(method="distance", **grid).fit(images, np.array([1, 3]))
    assert counter.separation == 20


def test_what_the_grid_counted_is_what_the_counter_counts():
    """The grid takes short cuts; its best error is that of the counter that it returns."""
    random = np.random.default_rng(2)
    images = random.random((6, 32, 32)).astype(np.float32)
    counts = np.array([3, 9, 5, 7, 4, 6], np.float32)
    for method in METHODS:
        grid = {"method": method, "crop": [0, 4], "kernel": [3, 5], "divisor": [9, 25]}
        best = Watershed(**grid).fit(images, counts)
        error = np.abs(best.count(images) - counts).mean()
        others = [
            Watershed(**{**grid, "crop": [crop], "kernel": [kernel]}).fit(images, counts)
            for crop in (0, 4)
            for kernel in (3, 5)
        ]
        assert error == min(np.abs(other.count(images) - counts).mean() for other in others)


def test_an_image_without_contrast_has_no_cells():
    flat = np.full((1, 32, 32), 0.5, np.float32)
    for method in METHODS:
        assert FittedWatershed(method, bright=True).count(flat).tolist() in ([0], [1])


def test_a_crop_that_leaves_nothing_is_one_sentence():
    with pytest.raises(UsageError, match="model.crop 15 leaves nothing of images of 30 x 30 px"):
        Watershed().fit(np.zeros((1, 30, 30)), np.array([1]))
