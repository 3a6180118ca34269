"""Thresholds in the graph against OpenCV and numbers worked out by hand."""

import cv2
import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellzoo.models.thresholds import THRESHOLDS, Threshold

KINDS = [method for method in THRESHOLDS if method != "none"]


def blobs(seed, shape=(3, 60, 47)):
    """Probabilities like a network's: smooth, most near 0 or 1; whole grey levels of 255."""
    random = np.random.default_rng(seed)
    noise = np.stack([cv2.GaussianBlur(random.normal(size=shape[1:]), (0, 0), 4) for _ in range(3)])
    probability = 1 / (1 + np.exp(-60 * (noise - random.uniform(-0.1, 0.1))))
    return np.round(255 * probability).astype(np.uint8)


def threshold(method, levels, **settings):
    layer = Threshold(method, **settings)
    return np.asarray(layer(levels.astype(np.float32) / 255))


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_otsu_is_opencvs(seed):
    levels = blobs(seed)
    kind = cv2.THRESH_BINARY | cv2.THRESH_OTSU
    expected = [cv2.threshold(image, 0, 1, kind)[1] for image in levels]
    # Two levels may separate equally well but for rounding: few pixels lie between such levels.
    assert (threshold("otsu", levels) != expected).mean() < 0.002


@pytest.mark.parametrize(("block", "offset"), [(11, 0.0), (31, 0.0), (31, 8 / 255), (21, -5 / 255)])
def test_adaptive_gaussian_is_opencvs(block, offset):
    levels = blobs(block)
    method, kind = cv2.ADAPTIVE_THRESH_GAUSSIAN_C, cv2.THRESH_BINARY
    expected = np.stack(
        [
            cv2.adaptiveThreshold(image, 1, method, kind, block, round(offset * 255))
            for image in levels
        ]
    )
    ours = threshold("adaptive_gaussian", levels, block=block, offset=offset)
    # OpenCV's local mean is one of fixed-point numbers: where it lies between two levels, either.
    assert (ours != expected).mean() < 0.003
    assert 0.1 < ours.mean() < 0.9


def test_adaptive_gaussian_leaves_an_even_image_empty():
    for level in (0, 1, 200):
        assert not threshold("adaptive_gaussian", np.full((1, 30, 30), level), block=7).any()


def test_simple_is_over_one_half():
    probability = np.array([[[0.2, 0.5, 0.51, 1.0]]], np.float32)
    np.testing.assert_array_equal(Threshold("simple")(probability), [[[0, 0, 1, 1]]])
    np.testing.assert_array_equal(Threshold("none")(probability), probability)


def test_otsu_separates_two_levels_and_each_image_by_itself():
    levels = np.array([[[10, 10, 20]], [[100, 100, 200]]])
    np.testing.assert_array_equal(threshold("otsu", levels), [[[0, 0, 1]], [[0, 0, 1]]])
    assert not threshold("otsu", np.zeros((1, 4, 4))).any()


@pytest.mark.parametrize("method", KINDS)
def test_a_threshold_is_part_of_a_network_of_any_size(method):
    image = keras.Input((None, None))
    network = keras.Model(image, Threshold(method, block=5)(image))
    for shape in ((2, 9, 12), (1, 20, 7)):
        probability = np.random.default_rng(1).random(shape, np.float32)
        mask = np.asarray(network.predict(probability, verbose=0))
        assert mask.shape == shape and set(np.unique(mask)) == {0, 1}
        np.testing.assert_array_equal(mask, Threshold(method, block=5)(probability))


def test_settings_that_make_no_sense():
    with pytest.raises(ValueError, match="not one of none, simple"):
        Threshold("triangle")
    with pytest.raises(ValueError, match="odd"):
        Threshold("adaptive_gaussian", block=10)
