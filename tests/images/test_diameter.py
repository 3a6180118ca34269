"""Blobs of fluorescence images: their diameter, whatever the grey levels."""

import numpy as np
import pytest
from bright_discs import discs

from cellzoo.images.diameter import find_blobs


@pytest.mark.parametrize("diameter", [8, 14, 25, 40, 60])
def test_the_diameter_of_discs_is_found(diameter):
    assert find_blobs(discs(diameter, max(200, 5 * diameter))).diameter == pytest.approx(
        diameter, rel=0.2
    )


@pytest.mark.parametrize("change", [lambda i: (4095 * i).astype(np.uint16),
                                    lambda i: (40 * i + 7).astype(np.uint8),
                                    lambda i: 1e-3 * i - 5])  # fmt: skip
def test_grey_levels_do_not_matter(change):
    image = discs(16)
    assert find_blobs(change(image)).diameter == pytest.approx(find_blobs(image).diameter, rel=0.1)


def test_noise_and_a_gradient_are_no_blobs():
    random = np.random.default_rng(1)
    gradient = np.linspace(0, 200, 128)[None] + np.zeros((128, 1))
    assert np.isnan(find_blobs(gradient).diameter)
    assert np.isnan(find_blobs(np.full((64, 64), 7, np.uint16)).diameter)
    noisy = find_blobs(gradient + random.normal(0, 5, gradient.shape))
    assert len(noisy.diameters) < 5


def test_dim_cells_beside_bright_ones_have_a_say():
    image = discs(20)
    image[:, 100:] *= 0.2
    assert find_blobs(image).diameter == pytest.approx(20, rel=0.2)


def test_of_a_large_image_the_middle_is_enough_where_it_has_cells():
    assert find_blobs(discs(60, 1100)).diameter == pytest.approx(60, rel=0.2)
    alone = np.zeros((1100, 1100), np.float32)
    alone[:30, :90] = discs(30, 90, 3)[:30]
    assert len(find_blobs(alone).diameters)


def test_one_cell_among_much_rounding_is_measured():
    image = np.zeros((300, 300), np.float32)
    image[100:160, 100:160] = 100 * discs(30, 60, 2)
    image[::9, ::11] += 1
    assert find_blobs(np.rint(image).astype(np.uint8)).diameter == pytest.approx(30, rel=0.2)
