"""Augmentation has the paper's parts (section 2.3.4), each seen alone."""

import numpy as np
import pytest

from cellzoo.data.augment import Augment

NOTHING = {"flip": False, "rotate": False, "crop": 1.0, "noise": 0.0}


def augmentation(size, **settings):
    return Augment(**settings).build(size)


def outcomes(image, n=64, **parts):
    """The different images that augmentation makes of one, by their bytes."""
    augment = augmentation(size=len(image), **{**NOTHING, **parts})
    return {out.tobytes() for out in augment(np.repeat(image[None], n, axis=0), (1, 2))}


@pytest.fixture
def asymmetric():
    return np.random.default_rng(0).random((8, 8), np.float32)


def test_flips_both_ways(asymmetric):
    a = asymmetric
    flipped = (a, a[::-1], a[:, ::-1], a[::-1, ::-1])
    assert outcomes(a, flip=True) == {image.tobytes() for image in flipped}


def test_rotates_by_right_angles(asymmetric):
    turned = [np.rot90(asymmetric, k) for k in range(4)]
    assert outcomes(asymmetric, rotate=True) == {image.tobytes() for image in turned}


def test_flips_and_rotates_independently(asymmetric):
    """All eight orientations come about, equally often: 64 of 512 each, give or take 5 sigma."""
    augment = augmentation(size=8, **{**NOTHING, "flip": True, "rotate": True})
    out = augment(np.repeat(asymmetric[None], 512, axis=0), (3, 4))
    numbers = np.unique(out.reshape(512, -1), axis=0, return_counts=True)[1]
    assert len(numbers) == 8
    assert numbers.min() > 64 - 38 and numbers.max() < 64 + 38


def test_depends_on_the_seed_alone(asymmetric):
    images = np.repeat(asymmetric[None], 16, axis=0)
    augment = augmentation(size=8, crop=0.75)
    first, other = augment(images, (1, 2)), augment(images, (1, 3))
    np.testing.assert_array_equal(augment(images, (1, 2)), first)
    assert (other != first).any()


def test_crops_115_of_128_pixels_and_scales_them_back():
    ramp = np.tile(np.arange(128, dtype=np.float32) / 200, (128, 1))
    augment = augmentation(size=128, **{**NOTHING, "crop": 0.9})
    out = augment(np.repeat(ramp[None], 40, axis=0), (1, 2))
    assert out.shape == (40, 128, 128)
    # 115 columns spread over 128 rise more slowly; the first shows where the crop began.
    slopes = (out[:, 64, 100] - out[:, 64, 20]) / 80 * 200
    np.testing.assert_allclose(slopes, 115 / 128, rtol=0.01)
    starts = np.round(out[:, 64, 0] * 200)
    assert starts.min() >= 0 and starts.max() <= 13 and len(set(starts)) > 5


def test_noise_is_small_and_centred_on_zero():
    grey = np.full((4, 128, 128), 0.5, np.float32)
    noise = augmentation(size=128, **{**NOTHING, "noise": 0.0025})(grey, (1, 2)) - 0.5
    assert noise.std() == pytest.approx(0.0025, rel=0.02)
    assert abs(noise.mean()) < 3e-5
    assert np.abs(noise[0] - noise[1]).max() > 0.001


def test_the_defaults_are_the_papers():
    images = np.random.default_rng(0).random((3, 128, 128), np.float32)
    paper = augmentation(size=128, flip=True, rotate=True, crop=0.9, noise=0.0025)
    np.testing.assert_array_equal(augmentation(size=128)(images, (1,)), paper(images, (1,)))
