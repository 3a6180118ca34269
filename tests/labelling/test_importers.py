"""Label files of other programs, each recognised by its content, and their refusals."""

import json
import os
import zipfile

import cv2
import numpy as np
import pytest
import tifffile
from roifile import ROI_TYPE, ImagejRoi

from cellzoo.data.folder import load_folder
from cellzoo.errors import UsageError, UserError
from cellzoo.labelling.importers import import_labels


@pytest.fixture
def folder(tmp_path):
    """Three pictures, 20 x 10 px (width x height)."""
    for k in (1, 2, 10):
        cv2.imwrite(str(tmp_path / f"t{k}.png"), np.full((10, 20), k, np.uint8))
    return tmp_path


def write_stack(folder, name="stack.tif", axes="TYX", shape=(3,), **metadata):
    pixels = np.zeros((*shape, 10, 20), np.uint8)
    tifffile.imwrite(folder / name, pixels, imagej=True, metadata={"axes": axes, **metadata})
    for picture in folder.glob("t*.png"):
        picture.unlink()


def imported(folder, *names, **options):
    return import_labels([folder / name for name in names], folder / "labels.csv", **options)


def table(folder, name="labels.csv"):
    lines = (folder / name).read_text(encoding="utf-8").splitlines()
    header = {"labels.csv": "image,count", "points.csv": "image,x,y"}[name]
    assert lines[0].startswith(header)
    return lines[1:]


def write(folder, name, text):
    (folder / name).write_text(text, encoding="utf-8")
    return name


# Our own table.


@pytest.mark.parametrize(
    "text",
    [
        "image,count,time,note\nt1.png,3,0.5,a\nt2.png,,,\n",
        "\ufeffimage,count,time,note\r\nt1.png,3,0.5,a\r\nt2.png,,,\r\n",
        'sep=;\nimage;count;time;note\nT1.PNG;3,0;0,5;a\nt2;;;\n',
        "image\tcount\ttime\tnote\nC:\\run\\t1.png\t3\t00:30:00\ta\nt2.png\t\t\t\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_our_table_as_spreadsheets_write_it(folder, text, encoding):
    (folder / "a.csv").write_bytes(text.lstrip("\ufeff" * (encoding != "utf-8")).encode(encoding))
    assert imported(folder, "a.csv").rows == 2
    lines = (folder / "labels.csv").read_text().splitlines()
    assert lines == ["image,count,time,note", "t1.png,3,0.5,a", "t2.png,,,"]


def test_masks_of_our_table_are_named_from_the_new_one(folder):
    (folder / "masks").mkdir()
    cv2.imwrite(str(folder / "masks/m.png"), np.zeros((10, 20), np.uint8))
    write(folder, "a.csv", "image,count,label_image\nt1.png,3,masks\\M.png\n")
    (folder / "new").mkdir()
    import_labels([folder / "a.csv"], folder / "new")
    text = (folder / "new/labels.csv").read_text()
    assert text == "image,count,label_image\n../t1.png,3,../masks/m.png\n"


def test_our_points_are_counted(folder):
    write(folder, "a.csv", "image,x,y,class\nt1.png,3,4.5,live\nt1.png,5,6,dead\nt2.png,0,0,live\n")
    done = imported(folder, "a.csv")
    assert (done.rows, done.cells, done.points) == (2, 3, folder / "points.csv")
    assert table(folder) == ["t1.png,2", "t2.png,1"]
    assert table(folder, "points.csv") == [
        "t1.png,3,4.5,live", "t1.png,5,6,dead", "t2.png,0,0,live"
    ]  # fmt: skip


def test_names_that_would_be_formulas_are_none_and_their_files_are_found(folder):
    for old, new in (("t1.png", "=1.png"), ("t2.png", "-2.png")):
        (folder / old).rename(folder / new)
    write(folder, "a.csv", "image,x,y\n=1.png,3,4.5\n-2.png,5,6\n")
    imported(folder, "a.csv")
    assert table(folder) == ["./=1.png,1", "./-2.png,1"]
    assert table(folder, "points.csv") == ["./=1.png,3,4.5", "./-2.png,5,6"]
    loaded, _ = load_folder(folder, (10, 20), points="points.csv")
    assert dict(zip(loaded.names, loaded.counts, strict=True))["=1.png"] == 1


# ImageJ and Fiji.


@pytest.mark.parametrize("mark", [",", "\t"])
def test_a_summary_of_fiji(folder, mark):
    text = "Slice,Count,Total Area,%Area\nt1.png,12,100,3.2\nt10,0,0,0\n".replace(",", mark)
    assert imported(folder, write(folder, "Summary.csv", text)).notes == []
    assert table(folder) == ["t1.png,12", "t10.png,0"]


def test_a_summary_of_a_stack_numbers_its_slices(folder):
    write_stack(folder)
    write(folder, "Summary of stack.csv", "Slice,Count\n1,4\n3,6\n")
    done = imported(folder, "Summary of stack.csv")
    assert done.notes == ["stack.tif: 2 of 3 frames are labelled."]
    assert table(folder) == ["stack.tif#0,4", "stack.tif#2,6"]


def test_results_of_fiji(folder):
    text = (
        " ,Label,Area,Mean,X,Y\n1,t1.png,9,200,2.5,3.5\n2,t1.png:0003-0007,9,200,7.5,3.5\n"
        "3,t2.png,9,1,1,1\n4,Mean,9,134,3.7,2.7\n5,SD,0,115,3.4,1.4\n"
    )
    done = imported(folder, write(folder, "Results.csv", text))
    assert table(folder) == ["t1.png,2", "t2.png,1"]
    assert table(folder, "points.csv") == ["t1.png,2,3", "t1.png,7,3", "t2.png,0.5,0.5"]
    assert "an image without any is not in it" in done.notes[0]


def test_results_in_micrometres_become_pixels(folder):
    pixels = np.zeros((10, 20), np.uint8)
    tifffile.imwrite(folder / "c.tif", pixels, imagej=True, resolution=(2, 2),
                     metadata={"unit": "um"})  # fmt: skip
    imported(folder, write(folder, "c.csv", " ,Area,BX,BY,Width,Height\n1,1,2,1,1,1\n"))
    assert table(folder) == ["c.tif,1"]
    assert table(folder, "points.csv") == ["c.tif,4.5,2.5"]


def test_results_of_a_stack(folder):
    write_stack(folder, axes="TCYX", shape=(3, 2))
    text = " ,Label,Area,X,Y,Slice\n1,stack.tif:1,4,2,2,1\n2,stack.tif:2,4,2,2,2\n3,stack,4,2,2,6\n"
    imported(folder, write(folder, "r.csv", text))
    assert table(folder) == ["stack.tif#0,2", "stack.tif#2,1"]


def test_measured_points_are_no_summary(folder):
    write_stack(folder)
    text = " ,Area,X,Y,Ch,Slice,Frame,Counter,Count\n1,0,2,3,1,1,2,0,2\n2,0,4,3,1,1,2,1,2\n"
    imported(folder, write(folder, "r.csv", text))
    assert table(folder) == ["stack.tif#1,2"]
    assert table(folder, "points.csv") == ["stack.tif#1,2,3,0", "stack.tif#1,4,3,1"]


MARKERS = """<?xml version="1.0" encoding="UTF-8"?>
<CellCounter_Marker_File>
  <Image_Properties><Image_Filename>{}</Image_Filename></Image_Properties>
  <Marker_Data><Current_Type>0</Current_Type>
    <Marker_Type><Type>1</Type>
      <Marker><MarkerX>3</MarkerX><MarkerY>4</MarkerY><MarkerZ>1</MarkerZ></Marker>
      <Marker><MarkerX>5</MarkerX><MarkerY>6</MarkerY><MarkerZ>{}</MarkerZ></Marker>
    </Marker_Type>
    <Marker_Type><Type>2</Type></Marker_Type>
  </Marker_Data>
</CellCounter_Marker_File>
"""


def test_markers_of_cell_counter(folder):
    write(folder, "CellCounter_x.xml", MARKERS.format("Counter Window - t2.png", 1))
    imported(folder, "CellCounter_x.xml")
    assert table(folder) == ["t2.png,2"]
    assert table(folder, "points.csv") == ["t2.png,3,4,1", "t2.png,5,6,1"]


def test_markers_in_a_stack_of_times_and_planes(folder):
    write_stack(folder, axes="TZYX", shape=(3, 2))
    imported(folder, write(folder, "c.xml", MARKERS.format("stack.tif", 5)))
    assert table(folder) == ["stack.tif#0,1", "stack.tif#2,1"]


def test_a_counter_without_markers_counts_0(folder):
    text = MARKERS.format("t2.png", 1).replace("Marker>", "Other>")
    assert "counts 0" in imported(folder, write(folder, "c.xml", text)).notes[0]
    assert table(folder) == ["t2.png,0"] and not (folder / "points.csv").exists()


def roi(corners, kind=ROI_TYPE.FREEHAND, **position):
    made = ImagejRoi.frompoints(corners, **position)
    made.roitype = kind
    return made.tobytes()


def write_zip(folder, name, *rois):
    with zipfile.ZipFile(folder / name, "w") as archive:
        for k, raw in enumerate(rois):
            archive.writestr(f"{k}.roi", raw)
        archive.writestr("__MACOSX/._0.roi", b"rubbish")
    return name


def test_a_zip_of_rois(folder):
    square = np.array([[2, 2], [6, 2], [6, 6], [2, 6]])
    points = roi(np.array([[9, 3], [11, 4]]), ROI_TYPE.POINT)
    line = roi(square[:2], ROI_TYPE.POLYLINE)
    write_zip(folder, "RoiSet_t10.zip", roi(square), points, line)
    done = imported(folder, "RoiSet_t10.zip")
    assert table(folder) == ["t10.png,3"]
    assert table(folder, "points.csv") == ["t10.png,3.5,3.5", "t10.png,9,3", "t10.png,11,4"]
    assert "1 lines, which are not counted" in done.notes[0]


def test_rois_of_a_stack(folder):
    write_stack(folder)
    square = np.array([[2, 2], [6, 2], [6, 6]])
    write_zip(folder, "stack.zip", roi(square, position=2), roi(square, t=0), roi(square, t=2))
    imported(folder, "stack.zip")
    assert table(folder) == ["stack.tif#2,2", "stack.tif#0,1"]


def test_a_single_roi(folder):
    (folder / "t1.roi").write_bytes(roi(np.array([[9.5, 3.5]]), ROI_TYPE.POINT))
    imported(folder, "t1.roi")
    assert table(folder, "points.csv") == ["t1.png,9,3"]


# napari, CellProfiler, QuPath, COCO.


def test_points_of_napari(folder):
    write(folder, "t1_points.csv", "index,axis-0,axis-1\n0.0,3.0,4.5\n1.0,6.0,7.0\n")
    imported(folder, "t1_points.csv")
    assert table(folder) == ["t1.png,2"]
    assert table(folder, "points.csv") == ["t1.png,4.5,3", "t1.png,7,6"]


def test_points_of_napari_in_a_stack(folder):
    write_stack(folder)
    write(folder, "Points.csv", "index,axis-0,axis-1,axis-2\n0,0,3,4\n1,2,6,7\n2,2,1,1\n")
    done = imported(folder, "Points.csv")
    assert table(folder) == ["stack.tif#0,1", "stack.tif#2,2"]
    assert "taken for stack.tif, the only one" in done.notes[0]


def test_an_empty_layer_of_napari_labels_no_frame_of_a_stack(folder):
    write_stack(folder)
    write(folder, "stack.csv", "index,axis-0,axis-1,axis-2\n")
    with pytest.raises(UserError, match="has no point, so it labels no frame of stack.tif"):
        imported(folder, "stack.csv")
    assert not (folder / "labels.csv").exists()


def test_shapes_of_napari_are_cells(folder):
    rows = "".join(f"{k // 2},line,{k % 2},{k},{k}\n" for k in range(4))
    write(folder, "t1.csv", f"index,shape-type,vertex-index,axis-0,axis-1\n{rows}")
    imported(folder, "t1.csv")
    assert table(folder, "points.csv") == ["t1.png,0.5,0.5", "t1.png,2.5,2.5"]


IMAGES = (
    "ImageNumber,Count_Cells,Count_Nuclei,FileName_DNA,PathName_DNA\n"
    "1,5,2,t1.png,C:\\lab\n2,9,0,t2.png,C:\\lab\n"
)


def test_images_of_cellprofiler(folder):
    write(folder, "Run_Image.csv", IMAGES)
    with pytest.raises(UsageError, match="columns of counts, .* --column: Count_Cells, Count_Nucl"):
        imported(folder, "Run_Image.csv")
    imported(folder, "Run_Image.csv", columns=["Count_Nuclei"])
    assert table(folder) == ["t1.png,2", "t2.png,0"]


def test_objects_of_cellprofiler(folder):
    write(folder, "Run_Image.csv", IMAGES)
    header = "ImageNumber,ObjectNumber,Location_Center_X,Location_Center_Y"
    write(folder, "Run_Nuclei.csv", f"{header}\n1,1,3.5,4\n1,2,5,6\n")
    imported(folder, "Run_Nuclei.csv", "Run_Image.csv", columns=["Count_Nuclei"])
    assert table(folder) == ["t1.png,2", "t2.png,0"]
    assert table(folder, "points.csv") == ["t1.png,3.5,4", "t1.png,5,6"]


def test_detections_of_qupath(folder):
    text = (
        "Image\tObject type\tClassification\tCentroid X px\tCentroid Y px\n"
        "t1.png\tAnnotation\t\t9\t9\nt1.png\tCell\tTumor\t3.5\t4.5\n"
        "t1.png - Series 0\tDetection\t\t1\t1\n"
    )
    imported(folder, write(folder, "measurements.tsv", text))
    assert table(folder) == ["t1.png,2"]
    assert table(folder, "points.csv") == ["t1.png,3,4,Tumor", "t1.png,0.5,0.5,"]


def test_micrometres_of_qupath_need_a_pixel_size(folder):
    text = "Image,Name,Centroid X µm,Centroid Y µm\nt1.png,PathDetectionObject,3,4\n"
    done = imported(folder, write(folder, "q.csv", text))
    assert table(folder) == ["t1.png,1"] and done.points is None
    assert "does not say its pixel size" in " ".join(done.notes)


def test_objects_that_name_their_images(folder):
    header = "ImageNumber,ObjectNumber,Image_FileName_DNA,AreaShape_Center_X,AreaShape_Center_Y"
    write(folder, "Cells.csv", f"{header}\n1,1,t1.png,3.5,4\n1,2,t1.png,5,6\n2,1,t2.png,1,1\n")
    imported(folder, "Cells.csv")
    assert table(folder) == ["t1.png,2", "t2.png,1"]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("Image,Name,Num Detections\nt1.png,PathRootObject,7\nt2.png,PathRootObject,0\n",
         ["t1.png,7", "t2.png,0"]),
        ("Image,Name,ROI,Num Detections\nt1.png,PathAnnotationObject,Rectangle,7\n", ["t1.png,7"]),
        ("Image,Object type,ROI,Num points\nt1.png,Annotation,Points,3\n"
         "t1.png,Annotation,Points,4\n", ["t1.png,7"]),
    ],
)  # fmt: skip
def test_numbers_of_qupath(folder, text, rows):
    imported(folder, write(folder, "q.csv", text))
    assert table(folder) == rows


def coco(folder, annotations, **more):
    content = {
        "images": [{"id": k, "file_name": f"lab/t{k}.png"} for k in (1, 2, 10)],
        "categories": [{"id": 5, "name": "yeast"}],
        "annotations": annotations,
    }
    return write(folder, "c.json", json.dumps(content | more))


def test_coco(folder):
    boxes = [{"id": k, "image_id": 1, "category_id": 5, "bbox": [k, 2, 3, 4]} for k in (0, 5)]
    points = {"id": 7, "image_id": 2, "category_id": 5, "keypoints": [3, 4, 2, 0, 0, 0]}
    done = imported(folder, coco(folder, [*boxes, points]))
    assert table(folder) == ["t1.png,2", "t2.png,1", "t10.png,0"]
    assert table(folder, "points.csv") == ["t1.png,1,3.5,yeast", "t1.png,6,3.5,yeast",
                                           "t2.png,3,4,yeast"]  # fmt: skip
    assert "1 images without annotations, which count 0" in done.notes[0]


def test_a_crowd_of_coco_is_unlabelled(folder):
    imported(folder, coco(folder, [{"image_id": 1, "iscrowd": 1, "bbox": [1, 2, 3, 4]}]))
    assert table(folder)[0] == "t1.png,"


# Label images.


@pytest.mark.parametrize("kind", ["png", "tif", "npy"])
def test_label_images(folder, kind):
    label = np.zeros((10, 20), np.int32)
    label[2, 3:6], label[8, 9] = 4, 9
    (folder / "masks").mkdir()
    path = folder / "masks" / f"t1.{kind}"
    if kind == "npy":
        np.save(path, label)
    else:
        tifffile.imwrite(path, label) if kind == "tif" else cv2.imwrite(
            str(path), label.astype(np.uint16)
        )
    imported(folder, f"masks/t1.{kind}")
    assert table(folder) == [f"t1.png,2,masks/t1.{kind}"]
    assert table(folder, "points.csv") == ["t1.png,4,2", "t1.png,9,8"]
    image_set, _ = load_folder(folder, (10, 20))
    assert image_set.counts.tolist() == pytest.approx([2, np.nan, np.nan], nan_ok=True)


def test_label_images_beside_their_images(folder):
    for name, cells in (("t1", 3), ("t10", 1)):
        label = np.zeros((10, 20), np.uint8)
        label[5, : 2 * cells : 2] = range(1, cells + 1)
        cv2.imwrite(str(folder / f"{name}_cp_masks.png"), label)
    imported(folder, "t1_cp_masks.png", "t10_cp_masks.png")
    assert table(folder) == ["t1.png,3,t1_cp_masks.png", "t10.png,1,t10_cp_masks.png"]


# The Twin-VAE's authors.


def test_two_columns_without_a_header(folder):
    write(folder, "train.csv", "t10.png,7\nt2.png,0\nt1.png,12.0\n")
    done = imported(folder, "train.csv")
    assert done.rows == 3 and "1 counts of 0 are taken for unlabelled" in done.notes[0]
    assert table(folder) == ["t10.png,7", "t2.png,", "t1.png,12"]


def test_paths_that_start_at_the_authors_program(folder):
    write(folder, "a.csv", "../data/128p_bf/t1.png,3\r\n..\\data\\128p_bf\\t2.png,4\r\n")
    imported(folder, "a.csv")
    assert table(folder) == ["t1.png,3", "t2.png,4"]


def test_one_column_is_paired_in_natural_order(folder):
    imported(folder, write(folder, "train.csv", "5\n0\n6\n"))
    assert table(folder) == ["t1.png,5", "t2.png,", "t10.png,6"]


def test_the_result_loads(folder):
    imported(folder, write(folder, "train.csv", "t1.png,5\nt2.png,0\nt10.png,6\n"))
    image_set, _ = load_folder(folder, (10, 20))
    assert image_set.names.tolist() == ["t1.png", "t2.png", "t10.png"]
    np.testing.assert_array_equal(image_set.counts, [5, np.nan, 6])


# Where images lie.


def test_paths_are_written_relative_to_the_new_file(folder):
    (folder / "new").mkdir()
    import_labels([folder / write(folder, "train.csv", "t1.png,5\n")], folder / "new")
    assert (folder / "new/labels.csv").read_text() == "image,count\n../t1.png,5\n"


def test_images_lie_beside_the_new_file_or_below_a_named_folder(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write(elsewhere, "Summary.csv", "Slice,Count\nt1,5\n")
    import_labels([elsewhere / "Summary.csv"], folder / "a.csv")
    assert (folder / "a.csv").read_text() == "image,count\nt1.png,5\n"
    (folder / "day1").mkdir()
    (folder / "t2.png").rename(folder / "day1/u2.png")
    write(elsewhere, "Summary.csv", "Slice,Count\nu2,5\n")
    import_labels([elsewhere / "Summary.csv"], elsewhere, images=folder)
    with pytest.raises(UserError, match="nowhere: there is no such folder, check --images"):
        import_labels([elsewhere / "Summary.csv"], elsewhere / "b.csv", images=folder / "nowhere")
    line = (elsewhere / "labels.csv").read_text().splitlines()[1]
    assert line == f"{os.path.relpath(folder, elsewhere)}/day1/u2.png,5"


def test_places_outside_the_image_are_left_out(folder):
    done = imported(folder, write(folder, "t1.csv", "index,axis-0,axis-1\n0,3,4\n1,3,400\n"))
    assert table(folder) == ["t1.png,2"] and done.points is None
    assert "is it the right image" in done.notes[0]


# Refusals.

REFUSED = {
    "empty": ("a.csv", "", "is empty"),
    "header of something else": ("a.csv", "dog,cat\n1,2\n", "line 1: is no header of a table"),
    "workbook": ("a.xlsx", "PK\x03\x04", "is a workbook or an archive, save the table as"),
    "no such image": ("a.csv", "image,count\nt9.png,3\n", "line 2: there is no image t9.png"),
    "no such image, no header": ("a.csv", "t1.png,3\nt9.png,3\n", "line 2: there is no image t9"),
    "no number": ("a.csv", "t1.png,3\nt2.png,four\n", "line 2: the count 'four' is not a number"),
    "negative": ("a.csv", "t1.png,3\nt2.png,-4\n", "line 2: the count '-4' is negative"),
    "twice": ("a.csv", "t1.png,3\nt1.png,3\n", "line 2: lists t1.png again (first in line 1)"),
    "twice, spelled otherwise": (
        "a.csv", "image,count\nt1.png,3\nT1.png,3\n", "line 3: lists t1.png again (first in line 2"
    ),
    "uneven": ("a.csv", "t1.png,3\n4\n", "one column (count) or two"),
    "three columns": ("a.csv", "t1.png,3,4\n", "one column (count) or two"),
    "too few": ("a.csv", "3\n4\n", "2 counts for the 3 images"),
    "thousands": ("a.csv", "image;count\nt1.png;1.000\n", "line 2: the count '1.000' may have"),
    "time": ("a.csv", "image,count,time\nt1.png,3,soon\n", "line 2: the time 'soon' is not under"),
    "code page": ("a.csv", b"image,count\nz\xfc.png,3\n", "is not UTF-8 text, save it as 'CSV UTF"),
    "more values than columns": ("a.csv", "Slice,Count\nt1.png,3,4\n", "3 values for 2 columns"),
    "point": ("a.csv", "image,x,y\nt1.png,3,no\n", "line 2: 'no' is not a number"),
    "names no image": ("Points.csv", "index,axis-0,axis-1\n0,1,1\n", "names no image, give it the"),
    "of two images": ("t1_t2.csv", "index,axis-0,axis-1\n0,1,1\n", "may belong to t1.png or t2"),
    "broken XML": ("a.xml", MARKERS.format("t1.png", 1)[:-30], "is no whole XML"),
    "entities": ("a.xml", "<!DOCTYPE x>" + MARKERS.format("t1.png", 1), "defines entities"),
    "marker": ("a.xml", MARKERS.format("t1.png", "one"), "'one' is not a number"),
    "image of markers": ("a.xml", MARKERS.format("t9.png", 1), "there is no image t9.png"),
    "broken ROI": ("t1.roi", b"Iout\0\xe4", "cannot be read, it may be damaged"),
    "broken JSON": ("a.json", '{"images": [', "is no whole JSON"),
    "other JSON": ("a.json", '{"shapes": []}', "is no COCO file, it lacks 'images'"),
    "odd JSON": ("a.json", '{"images": [1], "annotations": []}', "is no COCO file"),
    "objects without images": (
        "Run_Cells.csv", "ImageNumber,ObjectNumber\n1,1\n", "put Run_Image.csv of the same run"
    ),
    "images without names": ("a.csv", "ImageNumber,Count_A\n1,1\n", "no column FileName_..."),
    "annotations without numbers": ("a.csv", "Image,Object type\nt1.png,Annotation\n",
                                    "export the detections"),
    "two annotations": (
        "a.csv", "Image,Name,ROI,Num Detections\n" + 2 * "t1.png,PathAnnotationObject,Polygon,7\n",
        "line 3: is a second annotation of t1.png",
    ),
    "results without rows": ("t1.csv", " ,Area,X,Y\n", "has no row"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_understood_is_refused_and_nothing_written(folder, case):
    name, content, sentence = REFUSED[case]
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    before = sorted(os.listdir(folder))
    with pytest.raises(UserError) as caught:
        imported(folder, name)
    message = str(caught.value)
    assert message.startswith(f"{folder / name}: ") and "\n" not in message
    assert sentence in message
    assert sorted(os.listdir(folder)) == before


def test_frames_that_are_not_said_are_refused(folder):
    write_stack(folder)
    square = np.array([[2, 2], [6, 2], [6, 6]])
    files = {
        write_zip(folder, "stack.zip", roi(square)): "do not say which is meant",
        write_zip(folder, "stack_2.zip", roi(square, position=8)): "has no plane 9",
        write(folder, "stack.csv", "index,axis-0,axis-1\n0,1,1\n"): "save points of the whole",
        write(folder, "r.csv", " ,Label,Area,X,Y\n1,stack.tif,1,1,1\n"): "do not say which is",
        write(folder, "Summary stack.csv", "Slice,Count\n4,4\n"): "line 2: stack.tif has no plane",
    }
    for name, sentence in files.items():
        with pytest.raises(UserError, match=sentence):
            imported(folder, name)


@pytest.mark.parametrize(
    ("pixels", "sentence"),
    [
        (np.full((10, 20), 255, np.uint8), "has no 0"),
        (np.eye(10, 20, dtype=np.uint8) * 255, "has a single number, 255"),
        (np.arange(200, dtype=np.uint8).reshape(10, 20) % 3, "like grey levels"),
        (np.zeros((9, 20), np.uint8), "is 20 x 9 px, but its image t1.png is 20 x 10"),
    ],
)
def test_label_images_that_label_nothing(folder, pixels, sentence):
    cv2.imwrite(str(folder / "t1_masks.png"), pixels)
    with pytest.raises(UserError, match=sentence):
        imported(folder, "t1_masks.png")


def test_two_files_that_contradict_each_other(folder):
    write(folder, "a.csv", "image,count\nt1.png,3\n")
    write(folder, "b.csv", "image,count\nt1.png,4\n")
    with pytest.raises(UserError, match=r"b.csv: line 2: gives t1.png 4, but .*a.csv 3"):
        imported(folder, "a.csv", "b.csv")


def test_missing_file(folder):
    with pytest.raises(UserError, match="train.csv: cannot be opened"):
        imported(folder, "train.csv")


@pytest.mark.parametrize("out", ["labels.csv", "."])
def test_never_writes_over_a_file(folder, out):
    write(folder, "labels.csv", "image,count\nmine,1\n")
    with pytest.raises(UserError, match="labels.csv: exists already"):
        import_labels([folder / write(folder, "a.csv", "t1.png,3\n")], folder / out)
    assert (folder / "labels.csv").read_text() == "image,count\nmine,1\n"


def test_never_writes_over_points(folder):
    write(folder, "points.csv", "mine")
    write(folder, "a.csv", "image,x,y\nt1.png,3,4\n")
    with pytest.raises(UserError, match="points.csv: exists already"):
        imported(folder, "a.csv")
    assert not (folder / "labels.csv").exists()


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("which", ["labels.csv", "points.csv"])
def test_a_file_that_came_to_be_meanwhile_stays(folder, monkeypatch, links, which):
    """Another process writes the table between the first look and the end."""
    real_link = os.link

    def link(temporary, out):
        if out.name == which:
            out.write_text("theirs")
            if not links:
                raise PermissionError(1, "no links here")
        real_link(temporary, out)

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(UserError, match="exists already"):
        imported(folder, write(folder, "a.csv", "image,x,y\nt1.png,3,4\n"))
    assert (folder / which).read_text() == "theirs"
    assert not ({"labels.csv", "points.csv"} - {which}) & set(os.listdir(folder))
    assert not list(folder.glob(".*"))


def test_a_file_system_without_links(folder, monkeypatch):
    def link(temporary, out):
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(os, "link", link)
    imported(folder, write(folder, "a.csv", "t1.png,3\n"))
    assert table(folder) == ["t1.png,3"]
    assert not list(folder.glob(".*"))


def test_a_place_that_cannot_be_written(folder):
    (folder / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        import_labels([folder / write(folder, "a.csv", "t1.png,3\n")], folder / "file/labels.csv")
