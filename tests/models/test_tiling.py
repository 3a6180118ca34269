"""Tiles cover an image once and bring what the network sees around them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cellzoo.models.tiling import Tiling, pad_to, sheets, tiles


@given(
    height=st.integers(1, 40), width=st.integers(1, 40), stride=st.sampled_from([1, 2, 4]),
    margin=st.integers(0, 9), tile=st.integers(1, 20), window=st.integers(0, 30),
)  # fmt: skip
def test_every_pixel_is_kept_once_with_its_surroundings(
    height, width, stride, margin, tile, window
):
    shape = tuple(-(-side // stride) * stride for side in (height, width))
    pixels = np.arange(shape[0] * shape[1]).reshape(shape)
    kept = np.zeros(shape, int)
    cut = Tiling(margin=margin, stride=stride, tile=tile, window=window)
    for part in tiles((height, width), cut):
        read = pixels[part.read]
        np.testing.assert_array_equal(read[part.inner], pixels[part.target])
        kept[part.target] += 1
        for read_along, place, size in zip(part.read, part.target, shape, strict=True):
            assert read_along.start % stride == 0 and read_along.stop % stride == 0
            assert read_along.start == 0 or read_along.start <= place.start - margin
            assert read_along.stop == size or read_along.stop >= place.stop + margin
            assert read_along.stop - read_along.start >= min(window, size)
    assert (kept == 1).all()


def test_padding_repeats_the_border():
    image = np.array([[1.0, 2, 3]])
    np.testing.assert_array_equal(pad_to(image, 2), [[1, 2, 3, 3]] * 2)
    assert pad_to(image, 1) is image


def test_padding_with_the_mean_leaves_the_mean():
    image = np.array([[1.0, 2, 3], [5, 6, 7]])
    np.testing.assert_array_equal(pad_to(image, 2, "mean"), [[1, 2, 3, 4], [5, 6, 7, 4]])
    assert pad_to(image, 4, "mean").mean() == image.mean() == 4


def test_windows_are_no_larger_than_they_have_to_be():
    cut = Tiling(margin=2, stride=2, tile=4, window=8)
    read = [part.read[1] for part in tiles((4, 14), cut)]
    assert read == [slice(0, 8), slice(2, 10), slice(6, 14), slice(6, 14)]


def test_sheets_have_one_size_and_hold_all_cells():
    image = np.zeros((5, 7)) + 3
    image[4, 6] = image[0, 0] = 9
    places, pieces = zip(*sheets(image, (4, 4)), strict=True)
    assert [piece.shape for piece in pieces] == [(4, 4)] * 4
    assert (np.stack(pieces) == 9).sum() == 2
    assert set(np.unique(np.stack(pieces))) == {3, 9}
    for place, piece in zip(places, pieces, strict=True):
        inside = image[place]
        np.testing.assert_array_equal(piece[: inside.shape[0], : inside.shape[1]], inside)
