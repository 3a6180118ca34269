"""Augmentation: what stays, what varies, and with what it may vary."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellzoo.data.augment import augmentation

NOTHING = {"flip": False, "rotate": False, "crop": 1.0, "noise": 0.0}
IMAGES = np.random.default_rng(1).random((6, 12, 12), np.float32)


@settings(max_examples=30)
@given(
    flip=st.booleans(),
    rotate=st.booleans(),
    crop=st.floats(0.001, 1),
    noise=st.floats(0, 0.5),
    gain=st.floats(0, 2),
    offset=st.floats(0, 1),
    seed=st.integers(0, 2**31),
)
def test_any_settings_give_images_of_the_same_kind(seed, **options):
    augment = augmentation(size=12, **options)
    out = augment(IMAGES, (seed, 1))
    assert (out.shape, out.dtype) == (IMAGES.shape, np.float32)
    assert out.min() >= 0 and out.max() <= 1
    np.testing.assert_array_equal(augment(IMAGES, (seed, 1)), out)


def test_without_any_step_images_stay_as_they_are():
    np.testing.assert_array_equal(augmentation(size=12, **NOTHING)(IMAGES, (1,)), IMAGES)


def test_the_given_images_are_not_changed():
    images = IMAGES.copy()
    augmentation(size=12, gain=0.5, offset=0.2)(images, (1,))
    np.testing.assert_array_equal(images, IMAGES)


def test_flips_and_turns_move_pixels_and_change_none():
    out = augmentation(size=12, crop=1.0, noise=0.0)(IMAGES, (3,))
    assert (out != IMAGES).any()
    for image, moved in zip(IMAGES, out, strict=True):
        np.testing.assert_array_equal(np.sort(moved, axis=None), np.sort(image, axis=None))


def test_images_of_a_batch_are_treated_one_by_one():
    same = np.repeat(IMAGES[:1], 32, axis=0)
    out = augmentation(size=12, crop=1.0, noise=0.0)(same, (3,))
    assert len({image.tobytes() for image in out}) > 4


def test_another_generator_of_the_same_settings_does_the_same():
    one, other = (augmentation(size=12)(IMAGES, (5, 6)) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_what_came_before_plays_no_part():
    augment = augmentation(size=12)
    first = augment(IMAGES, (5, 6))
    augment(IMAGES[:2], (9, 9))
    np.testing.assert_array_equal(augment(IMAGES, (5, 6)), first)


def test_gain_and_offset_are_one_number_per_image_within_their_range():
    grey = np.full((400, 4, 4), 0.5, np.float32)
    brighter = augmentation(size=4, **NOTHING, gain=0.2)(grey, (1,))
    shifted = augmentation(size=4, **NOTHING, offset=0.1)(grey, (1,))
    for out in (brighter, shifted):
        assert np.ptp(out, axis=(1, 2)).max() == 0
        assert 0.4 <= out.min() < 0.41 and 0.59 < out.max() <= 0.6
        assert abs(out.mean() - 0.5) < 0.01


def test_gain_multiplies():
    dark = np.zeros((8, 4, 4), np.float32)
    np.testing.assert_array_equal(augmentation(size=4, **NOTHING, gain=0.9)(dark, (1,)), dark)


@pytest.mark.parametrize(("probability", "cropped"), [(0.0, 0), (0.5, 200), (1.0, 400)])
def test_crops_happen_as_often_as_asked(probability, cropped):
    ramp = np.tile(np.linspace(0, 1, 16, dtype=np.float32), (400, 16, 1))
    settings = NOTHING | {"crop": 0.5, "crop_probability": probability}
    out = augmentation(size=16, **settings)(ramp, (1,))
    changed = int((out != ramp).any(axis=(1, 2)).sum())
    assert abs(changed - cropped) <= (50 if 0 < probability < 1 else 0)
