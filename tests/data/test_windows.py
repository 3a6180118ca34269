"""Windows hold the pixels, the mask and the dots of one place."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cellzoo.data.windows import cut_windows


@given(st.integers(0, 2**31))
def test_a_window_shows_one_place_and_the_dots_in_it(seed):
    image = np.arange(6 * 9, dtype=np.float32).reshape(6, 9)  # a grey level says its place
    every = np.array([(x, y) for y in range(6) for x in range(9)], np.float32)
    images, masks, points = cut_windows(
        image[None], (image[None] % 251).astype(np.uint8), [every], 4, np.random.default_rng(seed)
    )
    assert images.shape == masks.shape == (1, 4, 4)
    np.testing.assert_array_equal(masks, images % 251)
    assert len(points[0]) == 16
    left, top = int(images[0, 0, 0]) % 9, int(images[0, 0, 0]) // 9
    np.testing.assert_array_equal(images[0], image[top : top + 4, left : left + 4])
    for x, y in points[0].astype(int):
        assert images[0][y, x] == image[y + top, x + left]


def test_every_place_has_its_turn():
    image = np.arange(3 * 5, dtype=np.float32).reshape(1, 3, 5)
    random = np.random.default_rng(1)
    corners = {cut_windows(image, None, None, 3, random)[0][0, 0, 0] for _ in range(60)}
    assert corners == {0, 1, 2}


def test_dots_that_are_not_known_stay_so():
    images, masks, points = cut_windows(
        np.zeros((2, 4, 4)), None, [None, np.zeros((0, 2))], 2, np.random.default_rng(1)
    )
    assert images.shape == (2, 2, 2) and masks is None
    assert points[0] is None and points[1].shape == (0, 2)
