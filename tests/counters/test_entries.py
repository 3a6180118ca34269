"""What users may hand a counter: each form is counted alike, or refused in one sentence."""

import cv2
import numpy as np
import pytest
import tifffile

from cellzoo.counters.base import Counter
from cellzoo.counters.counts import Counts
from cellzoo.errors import UserError
from cellzoo.images import to_unit


class Grey(Counter):
    """Counts ten cells where an image is white and none where it is black."""

    name, version = "grey", "1"

    def _prepare(self, frame, scaled):
        return to_unit(frame.pixels, name=str(frame.path))

    def _count(self, images, domain):
        raw = 10 * images.mean(axis=(1, 2))
        return raw, raw - 1, raw + 1


GREY = Grey()
LEVELS = np.array([0, 51, 255])
EIGHT = np.tile(LEVELS[:, None, None], (1, 8, 9)).astype(np.uint8)


@pytest.mark.parametrize(
    "images",
    [
        EIGHT,
        list(EIGHT),
        tuple(EIGHT),
        EIGHT.astype(np.int64),
        EIGHT.astype(np.int16),
        EIGHT.astype(">u2") * 257,
        EIGHT.astype(np.uint16) * 257,
        EIGHT.astype(np.int32) * 257,
        np.asfortranarray(EIGHT),
        [EIGHT[0], EIGHT[1, :, :8], np.full((20, 30), 65535, np.uint16)],
    ],
)
def test_whole_numbers_say_their_scale(images):
    counts = GREY.count(images)
    np.testing.assert_allclose(counts.raw, [0, 2, 10], rtol=1e-6)
    assert counts.rounded.tolist() == [0, 2, 10]
    np.testing.assert_allclose(counts.high - counts.low, 2, rtol=1e-6)


def test_whole_numbers_of_another_type_have_one_scale_for_all_of_a_call():
    images = [np.full((8, 8), level, np.int64) for level in (51, 13107)]
    np.testing.assert_allclose(GREY.count(images).raw, [10 * 51 / 65535, 2], rtol=1e-5)


@pytest.mark.parametrize("level", [200, 60000])
def test_the_byte_order_of_pixels_says_nothing_of_their_scale(level):
    image = np.full((8, 9), level, "<u2")
    expected = GREY.count(image).raw
    np.testing.assert_allclose(expected, [10 * level / 65535], rtol=1e-5)
    assert GREY.count(image.astype(">u2")).raw.tolist() == expected.tolist()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_counted_where_they_are_said_to_be_scaled(dtype):
    images = (EIGHT / 255).astype(dtype)
    np.testing.assert_allclose(GREY.count(images, scaled=True).raw, [0, 2, 10], rtol=1e-3)
    np.testing.assert_allclose(GREY.count(images[1], scaled=True).raw, [2], rtol=1e-3)


def test_one_image_is_one_count():
    assert len(GREY.count(EIGHT[1])) == 1
    assert GREY.count(EIGHT[1]).rounded.tolist() == [2]


def test_files_and_folders_come_in_the_order_given(tmp_path):
    for name, level in (("t10", 255), ("t2", 51)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((8, 9), level, np.uint8))
    tifffile.imwrite(
        tmp_path / "stack.tif", EIGHT, photometric="minisblack", metadata={"axes": "TYX"}
    )
    assert GREY.count(tmp_path).rounded.tolist() == [0, 2, 10, 2, 10]
    assert GREY.count(str(tmp_path / "t2.png")).rounded.tolist() == [2]
    files = [tmp_path / "t10.png", str(tmp_path / "stack.tif"), tmp_path / "t2.png"]
    assert GREY.count(files).rounded.tolist() == [10, 0, 2, 10, 2]


def test_many_images_of_several_sizes_keep_their_order():
    random = np.random.default_rng(0)
    levels = random.integers(0, 256, 300)
    images = [np.full((8 + k % 3, 9), level, np.uint8) for k, level in enumerate(levels)]
    np.testing.assert_allclose(GREY.count(images).raw, 10 * levels / 255, rtol=1e-5, atol=1e-6)


HOLED = np.full((8, 9), 0.5)
HOLED[3, 3] = np.nan


@pytest.mark.parametrize(
    ("images", "scaled", "sentence"),
    [
        (EIGHT / 255, False, r"images\[0\] has decimal grey levels.*scaled=True"),
        (EIGHT, True, "images.0. is uint8 and scaled=True is for floats"),
        (EIGHT / 1.0, True, "images.1. has values from 51 to 51.*divide"),
        (-(EIGHT / 255), True, "images.1. has values from -0.2"),
        (HOLED, True, "The image has values that are NaN or infinite"),
        (EIGHT > 0, False, "is bool, as masks are"),
        (np.full((8, 9), -1), False, "The image is int64 with values from -1"),
        (np.full((8, 9), 70000), False, "beyond 0 to 65535"),
        (np.zeros((8, 9, 3), np.uint8), False, r"shape \[8, 9, 3\].*choose a channel"),
        (np.zeros((2, 8, 9, 3), np.uint8), False, "choose a channel"),
        (np.zeros((2, 2, 8, 9), np.uint8), False, "height, width"),
        (np.zeros(9, np.uint8), False, r"shape \[9\]: give \[height, width\]"),
        (np.uint8(3), False, r"shape \[\]"),
        ([EIGHT], False, r"images\[0\] has shape \[3, 8, 9\]"),
        ([EIGHT[0], None], False, r"images\[1\] is of type object"),
        (np.array([None, 3]), False, "is of type object"),
        (EIGHT[0] + 1j, False, "is of type complex128"),
        ([[[1, 2], [3]]], False, "rows of different lengths"),
        ([], False, "images is empty"),
        (EIGHT[:0], False, r"images is empty, of shape \[0, 8, 9\]"),
        (EIGHT[:, :0], False, "images is empty"),
        ([EIGHT[0], "a.png"], False, "mixes paths and arrays"),
        ("no/such.png", False, "there is no such file"),
        ("no/such.png", True, "scaled=True is for arrays of floats"),
        ({"a": 1}, False, "is of type object"),
        (None, False, "is of type object"),
    ],
)
def test_all_else_is_refused_in_one_sentence(images, scaled, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        GREY.count(images, scaled)
    assert "\n" not in str(caught.value)


def test_errors_of_files_name_arguments_not_a_recipes_keys(tmp_path):
    picture = np.dstack([EIGHT[0], EIGHT[1], EIGHT[2]])
    tifffile.imwrite(tmp_path / "a.tif", picture, photometric="rgb")
    with pytest.raises(UserError, match="is a colour picture, set channel="):
        GREY.count(tmp_path / "a.tif")
    assert GREY.count(tmp_path / "a.tif", channel=1).rounded.tolist() == [2]
    with pytest.raises(UserError, match="^axes='AB' must name"):
        GREY.count(tmp_path / "a.tif", axes="AB")
    tifffile.imwrite(tmp_path / "b.tif", np.full((8, 9), 300, np.float32))
    with pytest.raises(UserError, match=r"b.tif: has decimal grey.*set intensity to \[low, high\]"):
        GREY.count(tmp_path / "b.tif")
    assert GREY.count(tmp_path / "b.tif", intensity=(0, 600)).rounded.tolist() == [5]


def test_what_a_counter_cannot_do_it_says():
    for call in (
        lambda: GREY.segment(EIGHT),
        lambda: GREY.embed(EIGHT),
        lambda: GREY.translations(EIGHT),
        lambda: GREY.with_threshold("otsu"),
    ):
        with pytest.raises(UserError, match="^grey "):
            call()
    assert GREY.graph() is None and GREY.run is None and not GREY.can_flag


def test_counts_show_themselves():
    raw = np.float32([1.6, 7.2])
    counts = Counts(raw, np.float32([0, np.nan]), np.float32([4, np.nan]), ["", "<dark>"])
    assert repr(counts) == "Counts([2, 7], images=2, flagged=1)"
    table = counts._repr_html_()
    assert "<td>0.0 to 4.0</td>" in table and "&lt;dark&gt;" in table and table.count("<tr>") == 3
    many = Counts(*np.zeros((3, 50), np.float32))
    assert "20 more" in many._repr_html_() and many.flags == [""] * 50 and len(many) == 50
    assert repr(many).startswith("Counts([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ...], images=50")
