"""Images made alike: background, brightness of cells and their diameter."""

import numpy as np
import pytest
from bright_discs import discs

from cellzoo.images.normalise import BACKGROUND, CELL, normalise


@pytest.mark.parametrize("diameter", [8, 12, 30, 50])
def test_cells_get_the_wanted_diameter_and_brightness(diameter):
    image = discs(diameter, 6 * diameter, 2)
    alike = normalise((1000 * image + 150).astype(np.uint16), diameter, 12)
    assert alike.shape == (72, 72)
    assert np.median(alike) == pytest.approx(BACKGROUND, abs=0.05)
    assert np.percentile(alike, 98) == pytest.approx(CELL, abs=0.06)
    share = (alike > (BACKGROUND + CELL) / 2).mean()
    # Half of the light is at 0.3 of a bent scale: a disc looks a little larger.
    assert share == pytest.approx((image > 0.3).mean(), abs=0.09)


def test_exposure_and_offset_do_not_matter():
    image = discs(12)
    np.testing.assert_allclose(
        normalise(image, 12, 12), normalise(300 * image + 90, 12, 12), atol=1e-4
    )


def test_a_speck_does_not_dim_the_cells():
    image = discs(12)
    speck = image.copy()
    speck[60:63, 66:69] = 40
    cells = image > 0.9
    cells[50:75, 55:80] = False
    assert normalise(speck, 12, 12)[cells].mean() == pytest.approx(CELL, abs=0.06)


def test_an_empty_image_is_not_stretched_into_cells():
    noise = np.random.default_rng(0).normal(100, 4, (128, 128))
    alike = normalise(noise, 12, 12)
    assert np.percentile(alike, 99) < (BACKGROUND + CELL) / 2 + 0.08
    flat = normalise(np.full((64, 64), 9, np.uint8), 12, 12)
    np.testing.assert_allclose(flat, BACKGROUND, atol=1e-6)


def test_one_cell_in_a_large_clean_image_is_as_bright_as_many():
    """Where the noise is less than a grey level, most maxima are of rounding."""
    image = np.zeros((400, 400), np.float32)
    image[190:214, 190:214] = 100 * discs(12, 24, 2)
    image[::7, ::5] += 1
    alike = normalise(image, 12, 12)
    assert alike[202, 202] == pytest.approx(CELL, abs=0.06)
    assert np.percentile(alike, 99) < BACKGROUND + 0.1
