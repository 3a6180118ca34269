"""Places of cells written for other programs, and read again as they were."""

import json
from zipfile import ZipFile

import cv2
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from roifile import ImagejRoi

from cellzoo.cli import main
from cellzoo.data.points import Point, points_text, read_points
from cellzoo.errors import UserError
from cellzoo.labelling.exporters import WRITERS, export_labels
from cellzoo.labelling.importers import import_labels

CELLS = {"t1.png": [Point(3, 4), Point(17, 9)], "sub/t2.png": [Point(0, 0)], "t3.png": []}


@pytest.fixture
def folder(tmp_path):
    """Three pictures, 20 x 10 px (width x height), two with cells."""
    (tmp_path / "sub").mkdir()
    for name in CELLS:
        cv2.imwrite(str(tmp_path / name), np.full((10, 20), 7, np.uint8))
    (tmp_path / "points.csv").write_text(points_text(CELLS))
    return tmp_path


def add_stack(folder, axes="TZYX", shape=(3, 2)):
    pixels = np.zeros((*shape, 10, 20), np.uint8)
    tifffile.imwrite(folder / "s.tif", pixels, imagej=True, metadata={"axes": axes})
    cells = {"s.tif#0": [Point(1, 2)], "s.tif#2": [Point(3, 4), Point(5, 6)]}
    (folder / "points.csv").write_text(points_text(cells))
    return cells


def places(folder):
    """What was read again, without the class that some forms give every cell."""
    again = read_points(folder / "again" / "points.csv")
    return {name: [Point(cell.x, cell.y) for cell in cells] for name, cells in again.items()}


@pytest.mark.parametrize("form", WRITERS)
def test_what_is_written_is_read_again(folder, form):
    exported = export_labels(folder, form, folder / "out")
    assert exported.cells == 3
    import_labels(exported.files, folder / "again" / "labels.csv", images=folder)
    assert places(folder) == {f"../{name}": cells for name, cells in CELLS.items() if cells}
    lines = (folder / "again" / "labels.csv").read_text().split()[1:]
    empty = [] if form == "roi" else ["../t3.png,0"]
    assert sorted(lines) == ["../sub/t2.png,1", "../t1.png,2", *empty]


@pytest.mark.parametrize("form", ["napari", "cell-counter", "roi"])
def test_frames_of_a_stack_keep_their_cells(folder, form):
    cells = add_stack(folder)
    exported = export_labels(folder, form, folder / "out")
    import_labels(exported.files, folder / "again" / "labels.csv", images=folder)
    assert places(folder) == {f"../{name}": found for name, found in cells.items()}


def test_coco_has_no_frames(folder):
    add_stack(folder)
    with pytest.raises(UserError, match="s.tif: has several frames, which COCO cannot name"):
        export_labels(folder, "coco", folder / "out")
    assert not (folder / "out").exists()


def test_fractions_of_pixels_and_classes_stay_where_the_form_has_a_place_for_them(folder):
    cells = {"t1.png": [Point(3.25, 4.5, "live"), Point(8, 9, "dead")]}
    (folder / "points.csv").write_text(points_text(cells))
    written = {form: export_labels(folder, form, folder / form) for form in WRITERS}
    assert (folder / "napari/t1_points.csv").read_text().split()[1:] == ["0,4.5,3.25", "1,9,8"]
    with ZipFile(folder / "roi/RoiSet_t1.zip") as archive:
        roi = ImagejRoi.frombytes(archive.read("0001.roi"))
    np.testing.assert_array_equal(roi.subpixel_coordinates, [[3.75, 5], [8.5, 9.5]])
    content = json.loads((folder / "coco/coco.json").read_text())
    assert [each["keypoints"][:2] for each in content["annotations"]] == [[3.25, 4.5], [8, 9]]
    assert [each["name"] for each in content["categories"]] == ["live", "dead"]
    markers = (folder / "cell-counter/CellCounter_t1.xml").read_text()
    assert "<MarkerX>3</MarkerX>" in markers and "<Name>dead</Name>" in markers
    told = {form for form, done in written.items() if "classes" in " ".join(done.notes)}
    assert told == {"napari", "roi"}


def test_images_that_the_labels_call_empty_are_written_too(folder):
    (folder / "points.csv").write_text(points_text({"t1.png": [Point(1, 1)]}))
    (folder / "labels.csv").write_text("image,count\nt1.png,1\nt3.png,0\nsub/t2.png,4\n")
    exported = export_labels(folder / "points.csv", "cell-counter", folder / "out")
    assert [file.name for file in exported.files] == ["CellCounter_t1.xml", "CellCounter_t3.xml"]


def test_a_zip_of_rois_cannot_say_that_an_image_is_empty(folder):
    (note,) = export_labels(folder, "roi", folder / "out").notes
    assert note == "1 images without cells, such as t3.png, have no roi file."


def test_nothing_is_overwritten_and_then_nothing_written(folder):
    (folder / "out").mkdir()
    (folder / "out/t3_points.csv").write_text("mine")
    with pytest.raises(UserError, match="t3_points.csv: exists already and is not overwritten"):
        export_labels(folder, "napari", folder / "out")
    assert [path.name for path in (folder / "out").iterdir()] == ["t3_points.csv"]
    assert (folder / "out/t3_points.csv").read_text() == "mine"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image,x,y\nz.png,1,1\n", "there is no image z.png"),
        ("image,x,y\nt1.png#1,1,1\n", "t1.png: has no frame 1, correct points.csv"),
        ("image,x,y\n", "places no cell, so there is nothing to write"),
    ],
)
def test_what_cannot_be_written_is_refused(folder, text, said):
    (folder / "points.csv").write_text(text)
    with pytest.raises(UserError, match=said):
        export_labels(folder, "napari", folder / "out")


def test_the_verb_says_what_it_wrote(folder):
    arguments = ["export-labels", str(folder), "--to", "coco", "-o", str(folder / "out")]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0
    assert done.output == f"wrote the places of 3 cells to 1 files in {folder / 'out'}\n"
