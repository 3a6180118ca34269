"""Counts from grey levels: exact where the count is linear in them, calm where labels are few."""

import numpy as np
import pytest

from cellzoo.models import Brightness


def discs(counts, size=40):
    """Dark images, each with ``count`` bright squares of 9 pixels that do not touch."""
    images = np.full((len(counts), size, size), 0.1, np.float32)
    for image, count in zip(images, counts, strict=True):
        for k in range(int(count)):
            row, column = 4 * (k // 10), 4 * (k % 10)
            image[row : row + 3, column : column + 3] = 0.9
    return images


@pytest.mark.parametrize("features", ["mean", "histogram"])
def test_a_count_that_is_linear_in_the_grey_levels_is_found(features):
    counts = np.array([0, 3, 7, 12, 20], np.float32)
    counter = Brightness(features=features, ridge=0).fit(discs(counts), counts)
    unseen = np.array([5, 30], np.float32)
    counted = counter.count(discs(unseen))
    assert counted.dtype == np.float32
    np.testing.assert_allclose(counted, unseen, atol=1e-3)


def test_by_hand():
    """Three even images: slope and intercept of a line through (0.2, 1), (0.4, 2), (0.6, 6)."""
    images = np.array([0.2, 0.4, 0.6]).reshape(3, 1, 1) * np.ones((3, 4, 4))
    counter = Brightness(features="mean", ridge=0).fit(images, np.array([1.0, 2.0, 6.0]))
    # Slope sum((x - 0.4) (y - 3)) / sum((x - 0.4)^2) = 1 / 0.08 = 12.5.
    assert counter.weights == pytest.approx([12.5])
    assert (counter.mean_count, list(counter.center)) == (3, pytest.approx([0.4]))
    # The same slope with mean square error + ridge: divided by 1 + ridge.
    calm = Brightness(features="mean", ridge=0.25).fit(images, np.array([1.0, 2.0, 6.0]))
    assert calm.weights == pytest.approx([10.0])


def test_the_bins_span_the_training_images_and_the_outermost_take_the_rest():
    images = np.linspace(0.2, 0.8, 64).reshape(1, 8, 8)
    images = np.concatenate([images, np.full((1, 8, 8), 0.5)])
    counter = Brightness(bins=3).fit(images, np.array([1.0, 2.0]))
    np.testing.assert_allclose(counter.edges, [0.4, 0.6])
    bright = counter.count(np.stack([np.full((8, 8), 0.7), np.full((8, 8), 1.0)]))
    assert bright[0] == bright[1]


def test_few_labels_do_not_explode():
    random = np.random.default_rng(1)
    images = random.random((6, 16, 16)).astype(np.float32)
    counts = np.array([2, 3, 2, 4, 3, 2], np.float32)
    unseen = random.random((50, 16, 16)).astype(np.float32)
    counted = Brightness(ridge=0.5).fit(images, counts).count(unseen)
    assert np.abs(counted - counts.mean()).max() < 3


def test_images_that_are_all_alike_give_the_mean():
    images = np.full((4, 8, 8), 0.5, np.float32)
    for features in ("mean", "histogram"):
        counter = Brightness(features=features, ridge=0).fit(images, np.array([1, 2, 3, 6]))
        np.testing.assert_allclose(counter.count(images), 3)
