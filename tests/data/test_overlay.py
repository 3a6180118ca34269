"""Crowds made of dotted images."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from cellzoo.data.image_set import ImageSet
from cellzoo.data.overlay import Overlay
from cellzoo.errors import UserError

SHAPE = (48, 64)


def dotted(images, points):
    n = len(images)
    places = np.empty(n, object)
    places[:] = points
    names = np.array([str(k) for k in range(n)])
    counts = np.array([np.nan if p is None else len(p) for p in points], np.float32)
    splits = np.full(n, "train")
    return ImageSet(np.float32(images), counts, names, names, splits, points=places)


def cells(points, grey=0.2, cell=0.9):
    image = np.full(SHAPE, grey, np.float32)
    for x, y in points:
        cv2.circle(image, (x, y), 2, cell, -1)
    return image


@pytest.fixture
def one():
    """A cell alone, two that touch, and one that the border cuts."""
    points = [(20, 12), (40, 30), (43, 30), (0, 5)]
    return dotted([cells(points), cells([])], [np.float32(points), None])


def test_a_copy_has_its_dot_and_looks_like_the_cell(one):
    overlay = Overlay(one, 8)
    empty, none = np.full((60, *SHAPE), 0.3, np.float32), np.zeros((0, 2), np.float32)
    done, points = overlay(empty, [none] * 60, np.random.default_rng(1))
    assert (empty == 0.3).all(), "what is given stays as it is"
    seen = set()
    for image, dots in zip(done, points, strict=True):
        seen.add(len(dots))
        for x, y in np.rint(dots).astype(int):
            assert image[y, x] > 0.9, "as far above its new background as it was above its own"
        assert (image > 0.5).any() == bool(len(dots))
        far = np.ones(SHAPE)
        for x, y in np.rint(dots).astype(int):
            assert 4 <= x <= SHAPE[1] - 5 and 4 <= y <= SHAPE[0] - 5, "whole cells alone"
            cv2.circle(far, (int(x), int(y)), 9, 0, -1)
        np.testing.assert_allclose(image[far > 0], 0.3, atol=0.01)
    assert seen == {0, 1, 2, 3}, "one cell, the pair together, both or none; the cut one never"


def test_images_without_dots_stay_and_copies_differ_from_step_to_step(one):
    overlay = Overlay(one, 8)
    images = np.full((8, *SHAPE), 0.3, np.float32)
    own = [None, np.float32([[5, 5]])] * 4
    first, points = overlay(images, own, np.random.default_rng(1))
    again, _ = overlay(images, own, np.random.default_rng(1))
    other, _ = overlay(images, own, np.random.default_rng(2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first[::2] == 0.3).all() and points[::2] == [None] * 4
    assert all((dots[0] == 5).all() for dots in points[1::2])


def test_what_it_cannot_do_is_refused(one):
    with pytest.raises(UserError, match="overlay is 8, which adds up dots, .* no dots: set it"):
        Overlay(replace(one, points=None), 8)
    masks = np.ones(one.images.shape, np.uint8)
    with pytest.raises(UserError, match="adds up dots, .* have masks: set it"):
        Overlay(replace(one, masks=masks, has_mask=np.ones(2, bool)), 8)
    dark = dotted([cells([(20, 12)], 0.8, 0.2)], [np.float32([[20, 12]])])
    with pytest.raises(UserError, match="cells that are brighter than their background"):
        Overlay(dark, 8)
