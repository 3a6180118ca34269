"""The frames that a page shows."""

import microscope_files as writers
import numpy as np
import tifffile
from label_frames import catalogue_of


def test_frames_of_each_file_of_a_set_are_read(tmp_path):
    planes = {(0, t, 0, 0): np.full((16, 20), 100 * t, np.uint16) for t in range(5)}
    for name, times in (("a_MMStack_Pos0", (0, 1, 2)), ("a_MMStack_Pos0_1", (3, 4))):
        part = {place: planes[place] for place in planes if place[1] in times}
        writers.micromanager(tmp_path / f"{name}.ome.tif", part, {"Frames": 5, "Positions": 1})
    frames = catalogue_of(tmp_path)
    assert [item.name.partition("#")[2] for item in frames.items] == ["0", "1", "2", "0", "1"]
    read = [int(frames.read(number).pixels[0, 0]) for number in range(5)]
    assert read == [0, 100, 200, 300, 400]


def test_frames_of_pages_and_times_are_read(tmp_path):
    pixels = np.arange(6, dtype=np.uint8).repeat(16 * 20).reshape(6, 16, 20)
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    frames = catalogue_of(tmp_path, axes="T2I3YX")
    assert [int(frames.read(number).pixels[0, 0]) for number in range(6)] == [0, 1, 2, 3, 4, 5]


def test_a_numbered_file_whose_table_lists_frames_is_read(tmp_path):
    tifffile.imwrite(tmp_path / "well_t012.tif", np.full((16, 20), 7, np.uint8))
    (tmp_path / "labels.csv").write_text("image,count\nwell_t012.tif#0,1\nwell_t012.tif#1,2\n")
    assert catalogue_of(tmp_path).read(0).pixels[0, 0] == 7


def test_only_the_frame_itself_is_read(tmp_path, monkeypatch):
    from cellzoo.images import read

    tifffile.imwrite(tmp_path / "a.tif", np.zeros((9, 16, 20), np.uint8), metadata={"axes": "TYX"})
    frames, places = catalogue_of(tmp_path), []
    planned = read.read_planned

    def watched(plan, *args):
        places.append(plan.index)
        return planned(plan, *args)

    monkeypatch.setattr(read, "read_planned", watched)
    assert frames.read(7).index == 7
    assert places == [7]
