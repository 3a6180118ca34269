"""A mask and a count become cells per pixel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellzoo.data.density import cells_at, cells_per_pixel


def test_parts_share_the_count_by_area_in_whole_cells():
    mask = np.zeros((8, 12), np.uint8)
    mask[0:2, 0:2] = 255  # 4 px
    mask[4:6, 0:3] = 255  # 6 px
    mask[0:5, 6:8] = 255  # 10 px; of 4 cells: 0.8, 1.2 and 2.0
    density = cells_per_pixel(mask, 4)
    assert density.dtype == np.float32
    assert density[0, 0] == pytest.approx(1 / 4)
    assert density[5, 2] == pytest.approx(1 / 6)
    assert density[4, 7] == pytest.approx(2 / 10)
    assert (density[mask == 0] == 0).all()


def test_an_instance_is_a_cell_however_large():
    mask = np.zeros((6, 6), np.uint16)
    mask[0, :4], mask[1, :2], mask[5, 5] = 3, 7, 12  # the first two touch
    density = cells_per_pixel(mask)
    assert density[0, 0] == pytest.approx(1 / 4)
    assert density[1, 0] == pytest.approx(1 / 2)
    assert density[5, 5] == 1
    assert density.sum() == pytest.approx(3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("number", [1, 254, 255, 256, 700])
def test_of_any_number_of_instances_each_has_its_own_area(number, dtype):
    mask = np.minimum(np.arange(45 * 33) // 2 + 1, number).reshape(45, 33)
    mask[:, 20:] = 0
    mask = mask.astype(dtype)
    expected = np.zeros(mask.shape)
    for k in np.unique(mask[mask > 0]):
        expected[mask == k] = 1 / (mask == k).sum()
    np.testing.assert_array_equal(cells_per_pixel(mask), expected.astype(np.float32))


def test_instances_that_fill_the_image_are_all_counted():
    mask = np.array([[1, 1, 2], [1, 1, 2]], np.uint8)
    np.testing.assert_allclose(cells_per_pixel(mask), [[0.25, 0.25, 0.5]] * 2)


def test_a_single_number_is_all_cells_with_a_count_and_one_instance_without():
    mask = np.zeros((3, 5), np.uint16)
    mask[:, 0], mask[0, 4] = 7, 7  # two parts, as where another cell lies across
    both = cells_per_pixel(mask, 4)
    assert both[0, 0] == pytest.approx(1)  # 3 px of the 4, 3 cells of the 4
    assert both[0, 4] == pytest.approx(1)
    np.testing.assert_allclose(cells_per_pixel(mask), np.where(mask, 1 / 4, 0))


@pytest.mark.parametrize("count", [5, None])
def test_an_empty_mask_has_no_density(count):
    assert not cells_per_pixel(np.zeros((4, 4), np.uint8), count).any()


@given(st.integers(0, 40), st.integers(0, 1000))
def test_the_sum_is_the_count(count, seed):
    mask = (np.random.default_rng(seed).random((12, 9)) < 0.3).astype(np.uint8)
    mask[0, 0] = 1
    assert cells_per_pixel(mask, count).sum() == pytest.approx(count, abs=1e-4)


def test_a_dot_is_a_gaussian_around_its_place():
    density = cells_at(np.array([[10.0, 6.0]]), (21, 25))
    assert density.shape == (21, 25) and density.dtype == np.float32
    assert np.unravel_index(density.argmax(), density.shape) == (6, 10)
    assert density[6, 10] == pytest.approx(1 / (2 * np.pi * 2**2), rel=0.01)
    assert density[6, 12] / density[6, 10] == pytest.approx(np.exp(-0.5), rel=1e-4)


@given(st.lists(st.tuples(st.floats(-0.5, 16.49), st.floats(-0.5, 8.49)), max_size=40))
def test_every_dot_is_one_cell_even_in_a_corner(points):
    density = cells_at(np.array(points).reshape(-1, 2), (9, 17))
    assert density.sum() == pytest.approx(len(points), abs=1e-4)
    assert (density >= 0).all()
