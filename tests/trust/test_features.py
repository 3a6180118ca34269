"""The statistics of an image that its out-of-distribution score is made of."""

import numpy as np
import pytest

from cellzoo.trust.features import COARSE, FEATURES, features, features_of


def test_features_of_hand():
    """Left half 0.2, right half 0.6, a tenth of a percent of the pixels white."""
    image = np.full((100, 100), 0.2, np.float32)
    image[:, 50:] = 0.6
    image[:2, 95:] = 1
    found = dict(zip(FEATURES, features(image), strict=True))
    assert (found["darkest"], found["brightest"]) == pytest.approx((0.2, 0.6))
    assert found["grey"] == pytest.approx(0.2)  # the lower of the two in the middle
    assert (found["white"], found["black"]) == pytest.approx((0.001, 0))
    assert found["contrast_bright"] == pytest.approx(np.log(0.4 + 1e-3), abs=1e-6)
    assert found["contrast_dark"] == pytest.approx(np.log(1e-3), abs=1e-6)
    # Even but for the edges.
    assert found["background_0"] == pytest.approx(np.log(2.5e-4), abs=0.05)
    assert found["sharpness_0"] == pytest.approx(found["detail_0"] - found["detail_1"])


def test_features_do_not_depend_on_the_way_pixels_lie_in_memory():
    image = np.random.default_rng(4).random((64, 50), np.float32)
    turned = np.asfortranarray(image)
    np.testing.assert_array_equal(features(image), features(turned))
    np.testing.assert_array_equal(features(image), features(image.astype(np.float64)))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (8, 9), (16, 400)])
def test_images_of_any_size_have_features(size):
    found = features(np.random.default_rng(0).random(size))
    assert found.shape == (len(FEATURES),) and np.isfinite(found).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (8, 8), (13, 17), (40, 50)])
@pytest.mark.parametrize("levels", [2, 256, 65536])
def test_quantiles_are_those_of_sorted_pixels(shape, levels):
    image = np.random.default_rng(levels).integers(0, levels, shape) / np.float32(levels)
    ordered = np.sort(image.ravel())
    places = [int(share * (image.size - 1)) for share in (0.005, 0.5, 0.995)]
    found = dict(zip(FEATURES, features(image), strict=True))
    assert [found[key] for key in ("darkest", "grey", "brightest")] == ordered[places].tolist()


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (3, 3), (7, 9), (64, 50), (600, 500)])
def test_features_do_not_depend_on_what_else_is_looked_at(size):
    images = np.random.default_rng(5).random((5, *size), np.float32) ** 3
    images[1] /= 20
    together = features_of(images)
    np.testing.assert_array_equal(together, [features(image) for image in images])
    np.testing.assert_array_equal(together[1:3], features_of(images[1:3]))
    coarse = features_of(images, coarse=True)
    np.testing.assert_array_equal(coarse[:, COARSE], together[:, COARSE])
    assert np.isnan(np.delete(coarse, COARSE, axis=1)).all()
