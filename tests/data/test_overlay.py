"""Crowds made of two dotted images."""

import numpy as np
import pytest

from cellzoo.data.image_set import ImageSet
from cellzoo.data.overlay import lay_over


def dotted(images, points):
    n = len(images)
    places = np.empty(n, object)
    places[:] = points
    names = np.array([str(k) for k in range(n)])
    counts = np.array([np.nan if p is None else len(p) for p in points], np.float32)
    splits = np.full(n, "train")
    return ImageSet(np.float32(images), counts, names, names, splits, points=places)


@pytest.fixture
def others():
    image = np.zeros((6, 8), np.float32)
    image[1, 2] = 0.9
    return dotted([image, np.ones((6, 8))], [np.float32([[2, 1]]), None])


def test_the_brighter_pixel_shows_and_each_dot_stays_on_its_cell(others):
    images = np.full((40, 6, 8), 0.5, np.float32)
    own = [np.float32([[7, 5]])] * 40
    done, points = lay_over(images, own, others, 1.0, np.random.default_rng(1))
    assert (images == 0.5).all(), "the training images themselves stay as they are"
    seen = set()
    for image, places in zip(done, points, strict=True):
        assert places.shape == (2, 2)
        x, y = places[1].astype(int)
        assert image[y, x] == np.float32(0.9) and (image == 0.5).sum() == 6 * 8 - 1
        seen.add((x, y))
    assert seen == {(2, 1), (5, 1), (2, 4), (5, 4)}, "mirrored both ways"


def test_it_happens_as_often_as_asked_and_only_to_dotted_images(others):
    images = np.zeros((400, 6, 8), np.float32)
    own = [None if k % 2 else np.zeros((0, 2), np.float32) for k in range(400)]
    done, points = lay_over(images, own, others, 0.3, np.random.default_rng(2))
    changed = done.any(axis=(1, 2))
    assert not changed[1::2].any() and all(p is None for p in points[1::2])
    assert 40 < changed[::2].sum() < 80
    assert [len(p) for p in points[::2]] == changed[::2].astype(int).tolist()
