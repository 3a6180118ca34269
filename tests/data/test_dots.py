"""A folder's points.csv beside its labels.csv: which count holds, and where the cells are."""

import logging

import cv2
import numpy as np
import pytest
import tifffile

from cellzoo.data.folder import load_folder
from cellzoo.data.reading import Reading
from cellzoo.data.sources.folder import Folder
from cellzoo.errors import UserError

POINTS = "image,x,y\na.png,1,2\na.png,7,3\nb.png,0,0\nc.png,,\n"


@pytest.fixture
def folder(tmp_path):
    """Four images of 8 x 4 pixels, width before height."""
    for name in "abcd":
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((4, 8), 100, np.uint8))
    return tmp_path


def load(folder, points=POINTS, labels=None, size=(4, 8), **options):
    (folder / "points.csv").write_text(points)
    if labels is not None:
        (folder / "labels.csv").write_text(labels)
    reading = Reading(resize=True)
    table = None if labels is None else "labels.csv"
    return load_folder(folder, size, labels=table, points="points.csv", reading=reading, **options)


def test_counts_follow_from_points_where_no_table_gives_any(folder):
    images, _ = load(folder)
    np.testing.assert_array_equal(images.counts, [2, 1, 0, np.nan])
    np.testing.assert_array_equal(images.points[0], [[1, 2], [7, 3]])
    assert images.points[2].shape == (0, 2) and images.points[3] is None
    assert images.has_points.tolist() == [True, True, True, False]


def test_a_table_of_labels_fills_in_and_may_be_empty(folder, caplog):
    images, _ = load(folder, labels="image,count\na.png,\nb.png,1\nd.png,5\n")
    np.testing.assert_array_equal(images.counts, [2, 1, 0, 5])
    assert images.has_points.tolist() == [True, True, True, False]
    assert not caplog.records


def test_a_count_of_0_needs_no_row_of_points(folder):
    images, _ = load(folder, labels="image,count\nd.png,0\n")
    assert images.counts[3] == 0 and images.points[3].shape == (0, 2)


def test_a_count_that_disagrees_is_taken_without_the_points_and_said(folder, caplog):
    with caplog.at_level(logging.WARNING, "cellzoo"):
        images, _ = load(folder, labels="image,count\na.png,3\nc.png,2\n")
    np.testing.assert_array_equal(images.counts, [3, 1, 2, np.nan])
    assert images.has_points.tolist() == [False, True, False, False]
    (record,) = caplog.records
    assert "line 2: gives a.png a count of 3, but points.csv places 2 cells in it (1 more images "
    assert "the count is taken and the places are not, correct one" in record.getMessage()


def test_points_are_resized_with_their_images(folder):
    images, _ = load(folder, size=(8, 8))
    np.testing.assert_allclose(images.points[0], [[1, 4.5], [7, 6.5]])


def test_frames_of_a_stack_have_their_own_points(folder, caplog):
    frames = np.zeros((3, 4, 8), np.uint8)
    tifffile.imwrite(folder / "s.tif", frames, photometric="minisblack", metadata={"axes": "TYX"})
    images, _ = load(folder, "image,x,y\ns.tif#2,1,1\ns.tif#0,,\n")
    assert images.names[-3:].tolist() == ["s.tif#0", "s.tif#1", "s.tif#2"]
    np.testing.assert_array_equal(images.counts[-3:], [0, np.nan, 1])
    alone = folder / "alone"
    alone.mkdir()
    (folder / "s.tif").rename(alone / "s.tif")
    (alone / "points.csv").write_text("image,x,y\ns.tif,1,1\n")
    for first in (0, 1):
        said = f"line 2: places cells in s.tif, name its frame, such as s.tif#{first}"
        with pytest.raises(UserError, match=said):
            reading = Reading(frames=f"{first}:")
            load_folder(alone, (4, 8), labels=None, points="points.csv", reading=reading)
    (alone / "s.tif").rename(folder / "s.tif")
    for chosen, warned in (Reading(frames=0), False), (Reading(axes="TYX"), True):
        (folder / "points.csv").write_text("image,x,y\ns.tif#3,1,1\ns.tif#0,,\n")
        caplog.clear()
        images, _ = load_folder(
            folder, (4, 8), labels=None, points="points.csv", reading=chosen
        )
        assert images.counts[4] == 0
        assert ("does the file have such a frame?" in caplog.text) == warned


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ("image,x,y\na.png,8.5,1\n", r"line 2: places a cell at 8.5, 1, outside a.png \(8 x 4 px"),
        ("image,x,y\nz.png,1,1\n", "line 2: there is no image z.png, correct the name"),
    ],
)
def test_points_of_another_image_are_refused(folder, points, said):
    with pytest.raises(UserError, match=said):
        load(folder, points)


def test_images_that_are_gone_are_said_where_broken_files_are_skipped(folder, caplog):
    images, _ = load(folder, POINTS + "z.png,1,1\n", on_error="skip")
    assert images.counts[0] == 2
    assert "there is no image z.png" in caplog.text


def test_a_recipe_finds_the_table_by_itself_and_needs_no_labels_then(folder):
    (folder / "points.csv").write_text(POINTS)
    shares = {"train": 1, "validation": 0, "test": 0}
    images, _ = Folder(folder=str(folder), shares=shares).read((4, 8), 1)
    assert images.has_points.sum() == 3
    alone = Folder(folder=str(folder), shares=shares, labels=None, points=None)
    assert alone.read((4, 8), 1)[0].points is None


def test_a_table_that_the_recipe_names_must_be_there(folder):
    (folder / "points.csv").write_text(POINTS)
    with pytest.raises(UserError, match="dots.csv: there is no such file, set data.natural.points"):
        Folder(folder=str(folder), points="dots.csv", labels=None).check_files()
    with pytest.raises(UserError, match="counts.csv: there is no such file"):
        Folder(folder=str(folder), labels="counts.csv").check_files()
    (folder / "points.csv").unlink()
    with pytest.raises(UserError, match="labels.csv: there is no such file"):
        Folder(folder=str(folder)).check_files()
