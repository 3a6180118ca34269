"""A folder and its labels.csv -> images, counts, groups and splits, or one clear sentence."""

import csv
import logging
import shutil
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from cellzoo.data.folder import load_folder
from cellzoo.data.image_set import ImageSet
from cellzoo.data.labels import parse_count
from cellzoo.data.reading import Reading
from cellzoo.data.sources.folder import Folder
from cellzoo.errors import UsageError, UserError

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def folder(tmp_path):
    """Three 8 x 8 images whose grey value is 51 k, and a stack of three frames of 10, 20, 30."""
    (tmp_path / "images").mkdir()
    for k, name in enumerate(["a.png", "b.png", "c.png"], start=1):
        cv2.imwrite(str(tmp_path / "images" / name), np.full((8, 8), 51 * k, np.uint8))
    return tmp_path


def add_stack(folder):
    frames = np.stack([np.full((8, 8), grey, np.uint8) for grey in (10, 20, 30)])
    options = {"photometric": "minisblack", "metadata": {"axes": "TYX"}}
    tifffile.imwrite(folder / "stack.tif", frames, **options)


def load(folder, text=None, image_size=8, size="error", **options):
    if text is not None:
        (folder / "labels.csv").write_text(text, encoding="utf-8")
    keys = options.keys() & {"axes", "channel", "intensity"}
    reading = Reading(resize=size == "resize", **{key: options.pop(key) for key in keys})
    return load_folder(folder, image_size, reading=reading, **options)


def test_listed_images(folder):
    text = (
        "image,count,split,group,stain\n"
        "images/c.png,0,test,g2,w1\n"
        "images/a.png,3,train,g1,w1\n"
        "images/b.png,,train,g1,w2\n"
    )
    image_set, skipped = load(folder, text)

    assert len(image_set) == 3 and skipped == []
    assert image_set.names.tolist() == ["images/a.png", "images/b.png", "images/c.png"]
    np.testing.assert_array_equal(image_set.counts, [3, np.nan, 0])
    assert image_set.labelled.tolist() == [True, False, True]
    assert image_set.groups.tolist() == ["g1", "g1", "g2"]
    assert image_set.splits.tolist() == ["train", "train", "test"]
    assert image_set.images.shape == (3, 8, 8) and image_set.images.dtype == np.float32
    np.testing.assert_allclose(image_set.images[:, 0, 0], [0.2, 0.4, 0.6], rtol=1e-6)


def test_images_that_are_not_listed_are_unlabelled_groups_of_their_own(folder):
    image_set, _ = load(folder, "image,count\nimages/b.png,2\n")
    assert image_set.names.tolist() == ["images/a.png", "images/b.png", "images/c.png"]
    np.testing.assert_array_equal(image_set.counts, [np.nan, 2, np.nan])
    assert image_set.groups.tolist() == image_set.names.tolist()
    assert image_set.splits.tolist() == ["", "", ""]


def test_a_folder_without_labels(folder):
    image_set, _ = load(folder, labels=None)
    assert len(image_set) == 3 and not image_set.labelled.any()


def test_labels_in_another_folder(folder):
    (folder / "tables").mkdir()
    (folder / "tables" / "mine.csv").write_text("image,count\n../images/a.png,4\n")
    image_set, _ = load(folder, labels="tables/mine.csv")
    assert image_set.names.tolist() == [f"../images/{name}.png" for name in "abc"]
    np.testing.assert_array_equal(image_set.counts, [4, np.nan, np.nan])


def test_masks_are_no_images(folder):
    (folder / "masks").mkdir()
    for name in "abcd":
        cv2.imwrite(str(folder / "masks" / f"{name}.png"), np.zeros((8, 8), np.uint8))
    cv2.imwrite(str(folder / "images" / "b_mask.png"), np.zeros((8, 8), np.uint8))
    text = (
        "image,mask,count\nimages/a.png,masks/a.png,1\n"
        "images/b.png,images/b_mask.png,2\nimages/c.png,,3\n"
    )
    image_set, _ = load(folder, text)
    assert image_set.names.tolist() == ["images/a.png", "images/b.png", "images/c.png"]


@pytest.mark.parametrize(("text", "time"), [("2.5", 2.5), ('"0,5"', 0.5), ("00:45:00", 0.75)])
def test_times_become_numbers(folder, text, time):
    assert load(folder, "image,count\nimages/a.png,1\n")[0].times is None
    images, _ = load(folder, f"image,count,time\nimages/a.png,1,{text}\nimages/b.png,2,\n")
    assert dict(zip(images.names, images.times, strict=True))["images/a.png"] == time
    assert np.isnan(images.times).sum() == len(images) - 1


@pytest.mark.parametrize(
    ("rows", "groups"),
    [
        (("g,r", ",s", ","), ["g", "s", "images/c.png"]),
        # Images of one series stay together.
        ((",s", "g,s", ","), ["g", "g", "images/c.png"]),
        (("g,s", "h,s", ",s"), ["g", "h", "s"]),
    ],
)
def test_group_falls_back_to_series_then_to_the_image(folder, rows, groups):
    rows = [f"images/{k}.png,1,{row}\n" for k, row in zip("abc", rows, strict=True)]
    text = "image,count,group,series\n" + "".join(rows)
    assert load(folder, text)[0].groups.tolist() == groups


def test_an_image_without_a_split_joins_its_groups(folder):
    text = "image,count,split,group\nimages/a.png,1,,g\nimages/b.png,1,test,g\nimages/c.png,1,,h\n"
    assert load(folder, text)[0].splits.tolist() == ["test", "test", ""]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffimage,count\nimages/a.png,3\n",
        "image,count\r\nimages/a.png,3\r\n",
        " Image , Count \n images/a.png , 3 \n\n",
        '"image","count"\n"images/a.png","3.0"\n',
        "image,count,split,group\nimages/a.png,3,,\n",
        "image,count\nimages\\a.png,3\n",
        ",image,count\n0,images/a.png,3\n",
        "sep=;\nimage;count\nimages/a.png;3\n",
        "image;count\nimages/a.png;3,0\n",
        "image,count\nImages/A.PNG,3\n",
        "image,count\nimages/a,3\n",
        "image,count\na.png,3\n".replace("a.png", r"D:\\lab\images\a.png"),
    ],
)
def test_csv_as_various_programs_write_it(folder, text):
    image_set, _ = load(folder, text)
    assert image_set.names[0] == "images/a.png"
    np.testing.assert_array_equal(image_set.counts, [3, np.nan, np.nan])


def test_frames_of_a_stack(folder):
    add_stack(folder)
    image_set, _ = load(folder, "image,count\nstack.tif#2,7\nstack.tif#0,5\n")
    stack = image_set.take(np.char.startswith(image_set.names, "stack"))
    assert stack.names.tolist() == ["stack.tif#0", "stack.tif#1", "stack.tif#2"]
    np.testing.assert_array_equal(stack.counts, [5, np.nan, 7])
    assert stack.groups.tolist() == ["stack.tif"] * 3
    np.testing.assert_allclose(stack.images[:, 0, 0] * 255, [10, 20, 30], rtol=1e-6)


@pytest.mark.parametrize(
    ("rows", "chosen", "found"),
    [
        ("stack.tif#0,5\nstack.tif#1,6\nstack.tif#2,7", "0:3:2", [("#0", 5, 10), ("#2", 7, 30)]),
        ("stack.tif#0,5\nstack.tif#1,6", "1:", [("#1", 6, 20), ("#2", -1, 30)]),
        ("stack.tif#0,5\nstack.tif#2,7", 2, [("#2", 7, 30)]),
        ("stack.tif#0,5\nstack.tif,", 0, [("", 5, 10)]),
        ("stack.tif,4", 1, [("", 4, 20)]),
    ],
)
def test_chosen_frames_keep_their_own_counts(folder, rows, chosen, found):
    add_stack(folder)
    (folder / "labels.csv").write_text(f"image,count\n{rows}\n")
    shutil.rmtree(folder / "images")
    stack, _ = load_folder(folder, 8, reading=Reading(frames=chosen))
    names, counts, greys = zip(*found, strict=True)
    assert stack.names.tolist() == [f"stack.tif{name}" for name in names]
    np.testing.assert_array_equal(np.nan_to_num(stack.counts, nan=-1), counts)
    np.testing.assert_allclose(stack.images[:, 0, 0] * 255, greys, rtol=1e-6)


@pytest.mark.parametrize(
    ("rows", "groups", "splits"),
    [
        ("stack.tif,,g,test", ["g", "g", "g"], ["test"] * 3),
        ("stack.tif#1,4,g,test", ["g", "g", "g"], ["test"] * 3),
        ("stack.tif,,g,train\nstack.tif#1,4,h,test", ["g", "h", "g"], ["train", "test", "train"]),
        ("stack.tif,,g,test\nstack.tif#0,3,,\nstack.tif#2,4,,", ["g", "g", "g"], ["test"] * 3),
        ("stack.tif#0,3,g,test\nstack.tif#1,4,,", ["g", "g", "g"], ["test"] * 3),
        (
            "stack.tif#0,4,g,test\nstack.tif#1,4,h,train",
            ["g", "h", "stack.tif"],
            ["test", "train", ""],
        ),
    ],
)
def test_frames_that_are_not_listed_go_with_their_stack(folder, rows, groups, splits):
    add_stack(folder)
    image_set, _ = load(folder, f"image,count,group,split\n{rows}\n")
    stack = image_set.take(np.char.startswith(image_set.names, "stack"))
    assert stack.groups.tolist() == groups
    assert stack.splits.tolist() == splits


def test_a_name_with_a_number_sign_is_a_name_first(folder):
    (folder / "images" / "a.png").rename(folder / "images" / "plate#3")
    (folder / "images" / "plate#3").rename(folder / "images" / "plate#3.png")
    image_set, _ = load(folder, "image,count\nimages/plate#3.png,6\nimages/b.png#0,5\n")
    assert image_set.names.tolist() == ["images/b.png", "images/c.png", "images/plate#3.png"]
    np.testing.assert_array_equal(image_set.counts, [5, np.nan, 6])


def test_resize_intensity_and_channel_reach_the_images(folder):
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[..., 1] = 75
    cv2.imwrite(str(folder / "images" / "green.png"), pixels)
    options = {"size": "resize", "intensity": (50, 100), "channel": 1, "image_size": 5}
    image_set, _ = load(folder, labels=None, **options)
    assert image_set.images.shape == (4, 5, 5)
    # 51, 102 and 153 between 50 and 100; green 75.
    np.testing.assert_allclose(image_set.images[:, 2, 2], [0.02, 1, 1, 0.5], rtol=1e-5)


@pytest.mark.parametrize("mark", [";", "\t"])
def test_semicolons_or_tabs_may_separate(folder, mark):
    text = "image,count,split\nimages/a.png,3,Train\nimages/b.png,,test\n"
    (folder / "labels.csv").write_text("\n" + text.replace(",", mark))
    images, _ = load(folder)
    (place,) = np.flatnonzero(images.names == "images/a.png")
    assert (images.counts[place], images.splits[place]) == (3, "train")


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_name_in_the_other_unicode_form_is_one_image(folder, forms):
    named, stored = (unicodedata.normalize(form, "zelle_\u00fc.png") for form in forms)
    (folder / "images" / "c.png").rename(folder / "images" / stored)
    images, _ = load(folder, f"image,count\nimages/{named},7\n")
    assert dict(zip(images.names, images.counts, strict=True))[f"images/{stored}"] == 7
    assert len(images) == 3


def test_a_column_that_is_nearly_ours_is_named(folder, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("cellzoo"), "propagate", True)
    header = "image,count,kinds,time,times,operator"
    (folder / "labels.csv").write_text(f"{header}\nimages/a.png,3,g,1,1,me\n")
    load(folder)
    (said,) = set(caplog.messages)  # caught once or twice, as other tests left the logger
    assert "the column kinds is not read; is it the kind?" in said


def test_columns_that_only_resemble_ours_are_ignored(folder):
    header = "image,count,amount,spot,operator,group"
    (folder / "labels.csv").write_text(f"{header}\nimages/a.png,3,1,2,me,g\n")
    assert load(folder)[0].counts[0] == 3


def test_the_sizes_of_the_files_are_kept(folder):
    images, _ = load(folder, labels=None, image_size=16, size="resize")
    assert images.images.shape[1:] == (16, 16)
    assert set(map(tuple, images.sizes.tolist())) == {(8, 8)}


def test_axes_reach_the_files(folder):
    tifffile.imwrite(folder / "q.tif", np.zeros((3, 8, 8), np.uint8), photometric="minisblack")
    assert len(load(folder, labels=None, axes="TYX")[0]) == 6


# Broken folders. Each text is a labels.csv; %-free, so that it reads as the user's file.

BROKEN_LABELS = {
    "empty": ("", "line 1", "image,count"),
    "no header": ("images/a.png,3\n", "line 1", "is no header"),
    "no count column": ("image,split\nimages/a.png,train\n", "line 1", "no column count"),
    "no image column": ("file,count\nimages/a.png,3\n", "line 1", "no column image"),
    "column twice": ("image,count,count\nimages/a.png,3,4\n", "line 1", "count twice"),
    "group misspelled": ("image,count,gruop\nimages/a.png,3,g\n", "line 1", "rename it to group"),
    "group in plural": ("image,count,groups\nimages/a.png,3,g\n", "line 1", "nearly group"),
    "count misspelled": ("image,cuont\nimages/a.png,3\n", "line 1", "rename it to count"),
    "split misspelled": ("image,count,spilt\nimages/a.png,3,test\n", "line 1", "nearly split"),
    "value left out": ("image,group,count\nimages/a.png,3\n", "line 2", "2 of 3 values"),
    "decimal comma of another country": (
        "image;count\nimages/a.png;3,5\n", "line 2", "'3,5' is not a whole number"
    ),
    "negative": ("image,count\nimages/a.png,-3\n", "line 2", "negative"),
    "not a number": ("image,count\n\nimages/a.png,many\n", "line 3", "not a number"),
    "nan": ("image,count\nimages/a.png,nan\n", "line 2", "not a number"),
    "infinite": ("image,count\nimages/a.png,inf\n", "line 2", "not a number"),
    "underscore": ("image,count\nimages/a.png,1_0\n", "line 2", "not a number"),
    "fraction": ("image,count\nimages/a.png,3.5\n", "line 2", "whole number"),
    "decimal comma": ("image,count\nimages/a.png,3,0\n", "line 2", "3 values for 2 columns"),
    "decimal or thousands": ("image;count\nimages/a.png;1.000\n", "line 2", "thousands mark"),
    "time": ("image,count,time\nimages/a.png,3,noon\n", "line 2", "'noon' is not understood"),
    "one of two": ("image,count\nimages/d,3\n", "line 2", "d may be d.bmp or d.png"),
    "twice in other case": (
        "image,count\nimages/a.png,3\nimages/A.PNG,3\n", "line 3", "lists images/a.png again"
    ),
    "no name": ("image,count\n,3\n", "line 2", "names no image"),
    "twice": ("image,count\nimages/a.png,3\nimages/a.png,3\n", "line 3", "first in line 2"),
    "twice by another name": (
        "image,count\nimages/a.png,3\nimages/../images/a.png,3\n",
        "line 3",
        "first in line 2",
    ),
    "frame twice": ("image,count\nstack.tif#1,3\nstack.tif#1,3\n", "line 3", "first in line 2"),
    "image and its frame 0": ("image,count\nimages/a.png#0,3\nimages/a.png,3\n", "line 3", "again"),
    "not there": ("image,count\nimages/a.png,1\nimages/z.png,3\n", "line 3", "images/z.png"),
    "split": ("image,count,split\nimages/a.png,3,val\n", "line 2", "'val' is no split"),
    "no such frame": ("image,count\nstack.tif#3,3\n", "line 2", "stack.tif#0 to stack.tif#2"),
    "one count for a stack": ("image,count\nstack.tif,3\n", "line 2", "3 frames of stack.tif"),
    "leak": (
        "image,count,group,split\nimages/a.png,1,g,train\nimages/b.png,1,g,test\n",
        "line 3",
        "line 2 into train",
    ),
    "leak by series": (
        "image,count,series,split\nimages/a.png,1,s,train\nimages/b.png,1,s,test\n",
        "line 3",
        "the group s into test",
    ),
    "open quote": ('image,count\n"images/a.png,3\n', "line 2", "correct the line"),
    "lines in a value": ('image,count\n"images/a.png,3\nb",3\n', "line 3", "check the quotes"),
}


@pytest.mark.parametrize("case", BROKEN_LABELS)
def test_broken_labels_are_answered_with_one_sentence(folder, case):
    text, line, fragment = BROKEN_LABELS[case]
    add_stack(folder)
    if case == "one of two":
        for suffix in ("bmp", "png"):
            (folder / "images" / f"d.{suffix}").touch()
    (folder / "labels.csv").write_text(text)

    with pytest.raises(UserError) as caught:
        load(folder, axes="TYX")

    message = str(caught.value)
    assert f"{folder / 'labels.csv'}: {line}" in message
    assert fragment in message
    assert "\n" not in message
    assert caught.value.exit_code == 1
    assert (folder / "labels.csv").read_text() == text


@pytest.mark.parametrize("mark", [",", "\t"])
def test_labels_as_excel_writes_unicode_text(folder, mark):
    text = "image,count,µm\r\nimages/a.png,3,1\r\n".replace(",", mark)
    (folder / "labels.csv").write_bytes(text.encode("utf-16"))
    assert load(folder)[0].counts[0] == 3


def test_labels_in_another_encoding(folder):
    (folder / "labels.csv").write_bytes("image,count,µm\n".encode("latin-1"))
    with pytest.raises(UserError, match="labels.csv: is not UTF-8"):
        load(folder)


def test_missing_labels(folder):
    with pytest.raises(UserError, match=r"labels.csv: there is no such file.*labels: null"):
        load(folder)


def test_missing_folder(tmp_path):
    with pytest.raises(UserError, match="nowhere: there is no such folder"):
        load(tmp_path / "nowhere")


def test_folder_without_images(tmp_path):
    with pytest.raises(UserError, match="no image found"):
        load(tmp_path, labels=None)


BROKEN_IMAGES = {
    "wrong size": (
        lambda p: cv2.imwrite(str(p), np.zeros((6, 9), np.uint8)),
        r"9 x 6 px .* 8 x 8, set data.natural.size: resize",
    ),
    "empty": (lambda p: p.write_bytes(b""), "0 bytes"),
    "no image": (lambda p: p.write_text("notes"), "is no image"),
    "colour": (
        lambda p: cv2.imwrite(str(p), np.full((8, 8, 3), (1, 2, 3), np.uint8)),
        "data.natural.channel",
    ),
}


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("case", BROKEN_IMAGES)
def test_a_broken_image_stops_or_is_skipped_and_listed(folder, case, listed):
    write, reason = BROKEN_IMAGES[case]
    path = folder / "images" / "broken.png"
    write(path)
    text = "image,count\nimages/a.png,1\n" + ("images/broken.png,2\n" if listed else "")

    with pytest.raises(UserError, match=reason) as caught:
        load(folder, text)
    assert str(caught.value).startswith(f"{path}: ")
    assert ("line 3" in str(caught.value)) == listed

    image_set, (skipped,) = load(folder, on_error="skip")
    assert image_set.names.tolist() == ["images/a.png", "images/b.png", "images/c.png"]
    assert skipped.name == "images/broken.png"
    assert str(path) in skipped.reason


def test_a_missing_image_can_be_skipped(folder):
    image_set, (skipped,) = load(
        folder, "image,count\nimages/z.png,1\nimages/a.png,2\n", on_error="skip"
    )
    assert len(image_set) == 3
    assert skipped.name == "images/z.png"


def test_skipping_everything_is_an_error(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(UserError, match="no image could be loaded.*a.png: is empty"):
        load(tmp_path, labels=None, on_error="skip")


def test_wrong_settings_are_not_skipped(folder):
    with pytest.raises(UsageError, match="data.natural.intensity"):
        load(folder, labels=None, on_error="skip", intensity=(5, 5))


@given(st.integers(0, 10_000), st.sampled_from(["{}", " {} ", "{}.0", "{}.", "+{}", "0{}"]))
def test_whole_numbers_are_counts(count, form):
    assert parse_count(form.format(count)) == count


@given(st.text(max_size=8))
def test_no_text_but_a_count_passes(text):
    try:
        count = parse_count(text)
    except ValueError as error:
        assert repr(text.strip()) in str(error)
    else:
        assert np.isnan(count) if not text.strip() else (count >= 0 and count == int(count))


# ImageSet


def an_image_set():
    return ImageSet(
        images=np.arange(12, dtype=np.float32).reshape(3, 2, 2),
        counts=np.array([1, np.nan, 0], np.float32),
        groups=np.array(["g", "g", "h"]),
        names=np.array(["a", "b", "c"]),
        splits=np.array(["train", "train", "test"]),
    )


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        ([2, 0], ["c", "a"]),
        (np.array([False, True, True]), ["b", "c"]),
        ([True, False, False], ["a"]),
        ([], []),
    ],
)
def test_take(chosen, names):
    taken = an_image_set().take(chosen)
    assert taken.names.tolist() == names
    assert taken.images.shape == (len(names), 2, 2)
    assert len(taken) == len(taken.counts) == len(taken.groups) == len(taken.splits) == len(names)


def test_of_a_split():
    assert an_image_set().of("train").names.tolist() == ["a", "b"]
    assert len(an_image_set().of("validation")) == 0


def test_arrays_of_different_length_are_a_mistake():
    with pytest.raises(ValueError, match="one length"):
        ImageSet(np.zeros((2, 4, 4)), np.zeros(3), *[np.array(["a", "b"])] * 3)


# Real images


def test_twenty_real_images(tmp_path):
    if not (SHARED / "ldc").is_dir():
        pytest.skip("the ldc images are not beside the checkout (../shared/data/ldc)")
    with (SHARED / "ldc" / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[:20]
    for row in rows:
        row["image"] = str(SHARED / "ldc" / row["image"])
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)

    image_set, skipped = load(tmp_path, image_size=64, size="resize")

    assert skipped == []
    assert sorted(image_set.counts) == sorted(float(row["count"]) for row in rows)
    assert set(image_set.splits) <= {"train", "validation"}
    assert image_set.images.shape == (20, 64, 64)
    assert image_set.images.std(axis=(1, 2)).min() > 0
    with pytest.raises(UserError, match="set data.natural.size: resize"):
        load(tmp_path, image_size=64)


# Masks


def write_mask(folder, name, values, dtype=np.uint8):
    pixels = np.zeros((8, 8), dtype)
    pixels.flat[: len(values)] = values
    (folder / name).parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(folder / name), pixels)


def test_masks_are_read_beside_their_images(folder):
    write_mask(folder, "masks/a.png", [255])
    write_mask(folder, "masks/c.png", [0, 300], np.uint16)
    text = (
        "image,count,mask\nimages/a.png,1,masks/a.png\nimages/b.png,0,\n"
        "images/c.png,,masks\\c.png\n"
    )
    image_set, _ = load(folder, text)
    assert image_set.masks.shape == (3, 8, 8) and image_set.masks.dtype == np.uint8
    assert image_set.has_mask.tolist() == [True, False, True]
    assert image_set.masks[:, 0, :2].tolist() == [[1, 0], [0, 0], [0, 1]]
    np.testing.assert_array_equal(image_set.counts, [1, 0, np.nan])
    part = image_set.take([2, 1])
    assert part.has_mask.tolist() == [True, False] and part.masks[0, 0, 1] == 1


def test_a_folder_without_masks_has_none(folder):
    image_set, _ = load(folder, "image,count,mask\nimages/a.png,1,\n")
    assert image_set.masks is None and image_set.has_mask is None
    assert image_set.take([0]).masks is None


def test_a_label_image_gives_the_count_where_there_is_none(folder):
    write_mask(folder, "labels/a.png", [1, 1, 7, 300], np.uint16)
    write_mask(folder, "labels/b.png", [1, 2], np.uint16)
    write_mask(folder, "labels/c.png", [], np.uint16)
    text = (
        "image,count,label_image\nimages/a.png,,labels/a.png\n"
        "images/b.png,5,labels/b.png\nimages/c.png,,labels/c.png\n"
    )
    image_set, _ = load(folder, text)
    np.testing.assert_array_equal(image_set.counts, [3, 5, 0])
    without, _ = load(folder, text.replace(",5,", ",,").replace("count", "note"))
    np.testing.assert_array_equal(without.counts, [3, 2, 0])


def test_a_count_that_its_label_image_contradicts_is_said_once(folder, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("cellzoo"), "propagate", True)
    write_mask(folder, "labels/a.png", [1, 1, 7])
    write_mask(folder, "labels/b.png", [1, 2])
    text = "image,count,label_image\nimages/a.png,12,labels/a.png\nimages/b.png,5,labels/b.png\n"
    image_set, _ = load(folder, text)
    assert image_set.counts[:2].tolist() == [12, 5]
    (said,) = set(caplog.messages)
    assert "line 2: gives images/a.png a count of 12, but its label image numbers 2 cells" in said
    assert "1 more" in said
    caplog.clear()
    load(folder, text.replace(",12,", ",2,").replace(",5,", ",2,"))
    assert not caplog.messages


@pytest.mark.parametrize(
    ("count", "values", "said"), [(3, [], "mask lacks cells"), (0, [255], "mask shows cells")]
)
def test_a_count_that_its_mask_contradicts_is_said(folder, caplog, count, values, said):
    write_mask(folder, "masks/a.png", values)
    write_mask(folder, "masks/b.png", [255])
    text = f"image,count,mask\nimages/a.png,{count},masks/a.png\nimages/b.png,5,masks/b.png\n"
    with caplog.at_level("WARNING", logger="cellzoo"):
        load(folder, text + "images/c.png,,masks/b.png\n")
    assert f"line 2: gives images/a.png a count of {count}, but its {said}: the" in caplog.text


def test_masks_that_look_inverted_are_warned_of_once(folder, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("cellzoo"), "propagate", True)
    for name in "ab":
        write_mask(folder, f"masks/{name}.png", [0] + [255] * 63)
    load(folder, "image,count,mask\nimages/a.png,1,masks/a.png\nimages/b.png,2,masks/b.png\n")
    (said,) = set(caplog.messages)
    assert "a.png and 1 more: " in said and "may be inverted" in said


@pytest.mark.parametrize("values", [[255], [1, 0, 1]])
def test_a_mask_that_numbers_no_cells_is_no_label_image(folder, values):
    write_mask(folder, "masks/a.png", values)
    text = "image,count,label_image\nimages/a.png,,masks/a.png\n"
    with pytest.raises(UserError, match="a.png: has a single number, (1|255), so it does not tell"):
        load(folder, text)
    assert load(folder, text.replace(",,", ",2,"))[0].counts[0] == 2


def test_grey_levels_are_no_numbers_of_cells(folder):
    """Such as a mask that was made smaller, with edges between black and white."""
    values = np.zeros((8, 8), int)
    values[::2, ::2] = [1, 2, 1, 2]
    write_mask(folder, "masks/a.png", values.ravel())
    with pytest.raises(UserError, match="2 numbers in 16 pieces, like grey levels"):
        load(folder, "image,count,label_image\nimages/a.png,,masks/a.png\n")


def test_a_binary_mask_gives_no_count(folder):
    write_mask(folder, "masks/a.png", [1, 2])
    image_set, _ = load(folder, "image,count,mask\nimages/a.png,,masks/a.png\n")
    assert not image_set.labelled.any()


def test_a_mask_is_cell_or_not_whatever_its_numbers(folder):
    write_mask(folder, "masks/a.png", [0, 128, 255])
    image_set, _ = load(folder, "image,count,mask\nimages/a.png,12,masks/a.png\n")
    assert image_set.masks[0, 0, :4].tolist() == [0, 1, 1, 0]


def test_masks_mean_the_numbers_that_are_stored(folder):
    """However they are shown: white is 0, as ImageJ's inverting table has it, or 1 bit."""
    numbers = np.zeros((8, 8), np.uint8)
    numbers[0, :2] = [1, 3]
    file = folder / "m.tif"
    text = "image,count,label_image\nimages/a.png,,m.tif\n"
    for photometric in ("minisblack", "miniswhite"):
        tifffile.imwrite(file, numbers, photometric=photometric)
        image_set, _ = load(folder, text)
        assert image_set.counts[0] == 2 and image_set.masks[0, 0, :3].tolist() == [1, 3, 0]
    tifffile.imwrite(file, numbers > 0, photometric="miniswhite")
    cv2.imwrite(str(folder / "m.png"), 255 * numbers, [cv2.IMWRITE_PNG_BILEVEL, 1])
    for one_bit in (text, text.replace("tif", "png")):
        image_set, _ = load(folder, one_bit.replace("label_image", "mask"))
        assert image_set.masks[0, 0, :3].tolist() == [1, 1, 0]
        with pytest.raises(UserError, match="does not tell cells apart: name it in"):
            load(folder, one_bit)


def test_frames_of_a_stack_have_frames_of_a_mask(folder):
    add_stack(folder)
    masks = np.zeros((3, 8, 8), np.uint8)
    masks[:, 0, 0] = [1, 2, 3]
    tifffile.imwrite(folder / "m.tif", masks, photometric="minisblack", metadata={"axes": "TYX"})
    single = "stack.tif#0,,m.tif#0\nstack.tif#1,,m.tif#1\nstack.tif#2,,m.tif"
    for rows in ("stack.tif,,m.tif", single):
        image_set, _ = load(folder, f"image,count,label_image\n{rows}\n")
        assert image_set.names[3:].tolist() == [f"stack.tif#{k}" for k in range(3)]
        assert image_set.masks[3:, 0, 0].tolist() == [1, 2, 3]
    shutil.rmtree(folder / "images")
    for chosen, numbers in ((1, [2]), (0, [1]), ("1:", [2, 3])):
        image_set, _ = load_folder(folder, 8, reading=Reading(frames=chosen))
        assert image_set.masks[:, 0, 0].tolist() == numbers


def test_frames_of_a_stack_may_have_a_mask_file_each(folder):
    add_stack(folder)
    for k in range(3):
        write_mask(folder, f"m{k}.png", [k + 4])
    rows = [f"stack.tif#{k},,m{k}.png\n" for k in range(3)]
    image_set, _ = load(folder, "image,count,label_image\n" + "".join(rows))
    assert image_set.masks[3:, 0, 0].tolist() == [4, 5, 6]
    with pytest.raises(UserError, match="m0.png: has no frame 1"):  # one for all
        load(folder, "image,count,label_image\nstack.tif,,m0.png\nstack.tif#1,,\n")


def test_a_stack_of_masks_has_the_axes_of_its_images_and_serves_listed_frames_too(folder):
    images = np.zeros((3, 8, 8), np.uint8)
    masks = images.copy()
    masks[:, 0, 0] = [1, 0, 1]
    for name, stack in (("st.tif", images), ("m.tif", masks)):
        tifffile.imwrite(folder / name, stack, photometric="minisblack")  # says nothing of axes
    table = "image,count,mask\nst.tif,,m.tif\nst.tif#0,4,\nst.tif#1,2,\n"
    (folder / "labels.csv").write_text(table)
    image_set, _ = load(folder, axes="TYX")
    stack = image_set.take([name.startswith("st.tif") for name in image_set.names])
    assert stack.has_mask.all() and stack.masks[:, 0, 0].tolist() == [1, 0, 1]
    assert stack.counts[:2].tolist() == [4, 2]


@pytest.mark.parametrize("end", ["see #12", "see b.png"])
def test_a_long_note_is_no_file(folder, end):
    note = "seen at the border, " * 20 + end
    image_set, _ = load(folder, f'image,count,note\nimages/a.png,1,"{note}"\n')
    assert image_set.counts[0] == 1


def test_a_file_that_is_not_there_hides_none_that_is(folder):
    image_set, _ = load(folder, "image,count,original\nimages/a.png,1,images.tif\n")
    assert len(image_set) == 3


def test_masks_are_resized_without_new_numbers(folder):
    write_mask(folder, "masks/a.png", [7] * 32)
    text = "image,count,label_image\nimages/a.png,1,masks/a.png\n"
    image_set, _ = load(folder, text, image_size=(4, 12), size="resize")
    assert image_set.images.shape == image_set.masks.shape == (3, 4, 12)
    assert image_set.masks[0].tolist() == [[7] * 12] * 2 + [[0] * 12] * 2


def test_frames_of_one_size_alone_are_resized(folder):
    image_set, _ = load(folder, "image,count\n", image_size=4, size="resize", resize_from=(8, 8))
    assert image_set.images.shape == (3, 4, 4)
    with pytest.raises(UserError, match="is 8 x 8 px .* in 16 x 8, give images or crops of that"):
        load(folder, "image,count\n", image_size=4, size="resize", resize_from=(8, 16))


@pytest.mark.parametrize(
    ("name", "pixels", "sentence"),
    [
        ("m.png", np.zeros((8, 9), np.uint8), "m.png: is 9 x 8 px, but its image images/a.png is"),
        ("m.jpg", np.zeros((8, 8), np.uint8), "m.jpg: is a JPEG, which blurs"),
        ("m.tif", np.full((8, 8), 0.5, np.float32), "m.tif: has float32 values, save the mask"),
        ("m.tif#4", np.zeros((8, 8), np.uint8), "m.tif: has no frame 4, its last one is 0"),
        ("m.tif", np.zeros((2, 8, 8), np.uint8), "m.tif: holds 2 frames but is the mask of one"),
        ("m.png", None, "m.png: cannot be opened"),
        ("m.png", np.full((8, 8, 3), [0, 9, 0], np.uint8), "m.png: is a colour picture, save the"),
    ],
)
def test_masks_that_cannot_be_used(folder, name, pixels, sentence):
    (folder / "masks").mkdir()
    file = folder / "masks" / name.partition("#")[0]
    if file.suffix == ".tif":
        axes = {"axes": "TYX"[-pixels.ndim :]}
        tifffile.imwrite(file, pixels, photometric="minisblack", metadata=axes)
    elif pixels is not None:
        cv2.imwrite(str(file), pixels)
    text = f"image,count,mask\nimages/a.png,1,masks/{name}\n"
    with pytest.raises(UserError) as error:
        load(folder, text)
    assert sentence in str(error.value) and "labels.csv: line 2" in str(error.value)
    image_set, skipped = load(folder, text, on_error="skip")
    assert [file.name for file in skipped] == ["images/a.png"] and len(image_set) == 2


def test_real_label_images():
    data = SHARED / "dsb2018"
    if not data.is_dir():
        pytest.skip("no dsb2018 in ../shared/data beside the checkout")
    image_set, _ = load_folder(data, 256)
    numbers = [len(np.unique(mask)) - 1 for mask in image_set.masks]
    np.testing.assert_array_equal(image_set.counts, numbers)


def test_images_come_in_kinds(folder):
    table = "image,count,kind\nimages/a.png,1,nuclei\nimages/b.png,2,bodies\nimages/c.png,3,\n"
    images, _ = load(folder, table)
    assert images.kinds.tolist() == ["nuclei", "bodies", ""]
    images, _ = load(folder, "image,count\nimages/a.png,1\n")
    assert images.kinds is None


def test_a_recipe_says_which_channel_plane_and_bits_are_meant(tmp_path):
    """Names and projections as on the command line; 12 bits are spread as in counting."""
    planes = np.random.default_rng(0).integers(0, 4096, (2, 3, 8, 8), np.uint16)
    planes[:, 0, 0, 0] = 4095
    facts = {"axes": "ZCYX", "Labels": ["DAPI", "GFP"] * 3}
    tifffile.imwrite(tmp_path / "a.tif", planes.swapaxes(0, 1), imagej=True, metadata=facts)
    (tmp_path / "labels.csv").write_text("image,count\na.tif,3\n")
    section = Folder(folder=str(tmp_path), channel="GFP", z="max")
    section.check(8)
    images, _ = load_folder(tmp_path, 8, reading=section.reading)
    np.testing.assert_allclose(images.images[0], planes[1].max(axis=0) / 4095, atol=1e-4)
    exact = Folder(folder=str(tmp_path), channel=1, z=0, intensity=(0, 8190)).reading
    images, _ = load_folder(tmp_path, 8, reading=exact)
    np.testing.assert_allclose(images.images[0], planes[1, 0] / 8190, atol=1e-6)
    with pytest.raises(UsageError, match="data.natural.z"):
        Folder(folder=str(tmp_path), z="middle").check(8)


def test_a_row_that_is_a_name_alone_is_an_unlabelled_image(folder):
    images, _ = load(folder, "image,count,group\nimages/a.png,3,x\nimages/b.png\n")
    by_name = dict(zip(images.names, images.counts, strict=True))
    assert by_name["images/a.png"] == 3 and np.isnan(by_name["images/b.png"])
