"""Which frames are one series, and when each was taken."""

from pathlib import Path

import cv2
import microscope_files as writers
import numpy as np
import pytest
import tifffile

from cellzoo.commands.count import count_files
from cellzoo.counters.base import Counter
from cellzoo.counters.preprocessing import Preprocessing
from cellzoo.errors import UsageError
from cellzoo.images import numbered, parse_interval
from cellzoo.images.ome import OmeWriter


class Nothing(Counter):
    """Counts none in images of any size."""

    name, version, any_size = "nothing", "1", True
    preprocessing = Preprocessing((8, 8))

    def _prepare(self, frame, scaled):
        return frame.pixels

    def _count(self, images, domain):
        return tuple(np.zeros((3, len(images)), np.float32))


def picture(k=0):
    return np.full((16, 20), 40 + k, np.uint8)


def places(paths, **reading):
    """Series, without the folder, and time of each row."""
    rows = count_files(paths, Nothing(), **reading)
    assert not any(row.error for row in rows), rows
    return [(Path(row.series).name, row.time) for row in rows]


def test_a_picture_of_its_own_is_no_series(tmp_path):
    for name in ("a.png", "well2.png", "cat12.png", "shot3.png", "t12hours.png"):
        cv2.imwrite(str(tmp_path / name), picture())
    assert places([tmp_path], interval="1h") == [("", "")] * 5


def test_a_stack_is_a_series_with_the_times_that_it_states(tmp_path):
    path = tmp_path / "a.tif"
    stack = np.stack([picture(k) for k in range(3)])
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "TYX", "finterval": 360})
    assert places([path]) == [("a.tif", "0"), ("a.tif", "0.1"), ("a.tif", "0.2")]
    assert places([path], interval="20 min")[2] == ("a.tif", "0.666667")
    assert places([path], frames="1:3", interval="1h") == [("a.tif", "1"), ("a.tif", "2")]
    for unit, hours in (("min", "0.1"), ("hours", "6"), ("frames", "")):
        facts = {"axes": "TYX", "finterval": 6, "tunit": unit}
        tifffile.imwrite(tmp_path / "c.tif", stack, imagej=True, metadata=facts)
        assert places([tmp_path / "c.tif"])[1] == ("c.tif", hours)
    tifffile.imwrite(tmp_path / "b.tif", stack, photometric="minisblack", metadata=None)
    assert places([tmp_path / "b.tif"]) == [("b.tif", "")] * 3
    assert places([tmp_path / "b.tif"], interval="30s")[1] == ("b.tif", "0.00833333")


@pytest.mark.parametrize(("frames", "start"), [(10, b"II*\0"), (70_000, b"II+\0")])
def test_a_time_lapse_beyond_4_gib_is_a_big_tiff(tmp_path, frames, start):
    frame = np.zeros((256, 256), np.uint8)
    writer = OmeWriter(tmp_path / "a.ome.tif", (frames, *frame.shape), frame.dtype)
    writer.write(frame)
    writer.finish()
    assert (tmp_path / "a.ome.tif").read_bytes()[:4] == start


def test_positions_are_series_of_their_own(tmp_path):
    path = tmp_path / "a_MMStack.ome.tif"
    planes = {(p, t, 0, 0): picture(t).astype(np.uint16) for t in range(2) for p in range(2)}
    summary = {"Frames": 2, "Positions": 2, "Interval_ms": 1_800_000}
    summary["StagePositions"] = [{"Label": "inlet"}, {"Label": "outlet"}]
    writers.micromanager(path, planes, summary)
    inlet, outlet = "a_MMStack.ome.tif inlet", "a_MMStack.ome.tif outlet"
    assert places([path], position="all") == [
        (inlet, "0"), (inlet, "0.5"), (outlet, "0"), (outlet, "0.5")
    ]  # fmt: skip
    assert places([path], position="outlet") == [(outlet, "0"), (outlet, "0.5")]
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((2, 3, 16, 20), np.uint8))
    rows = places([tmp_path / "b.tif"], axes="PTYX", position="all", interval="1h")
    assert rows == [(f"b.tif {p}", str(t)) for p in range(2) for t in range(3)]


def test_files_of_one_acquisition_are_one_series(tmp_path):
    planes = {(0, t, 0, 0): picture(t).astype(np.uint16) for t in range(4)}
    summary = {"Frames": 4, "Positions": 1, "Interval_ms": 3_600_000}
    for name, some in (("a_MMStack_Pos0", (0, 1, 2)), ("a_MMStack_Pos0_1", (3,))):
        part = {place: planes[place] for place in planes if place[1] in some}
        writers.micromanager(tmp_path / f"{name}.ome.tif", part, summary)
    assert places([tmp_path]) == [("a_MMStack_Pos0", str(t)) for t in range(4)]


def test_a_series_keeps_its_name_as_its_acquisition_grows(tmp_path):
    planes = {(p, 0, 0, 0): picture(p).astype(np.uint16) for p in range(2)}
    summary = {"Frames": 1, "Positions": 2}
    for some in (1, 2):
        writers.micromanager(
            tmp_path / "a_MMStack.ome.tif", dict(list(planes.items())[:some]), summary
        )
        assert places([tmp_path], position="all")[0][0] == "a_MMStack.ome.tif Pos0"
    summary = {"Frames": 4, "Positions": 1}
    for name, times in (("b_MMStack_Pos0", (0, 1, 2)), ("b_MMStack_Pos0_1", (3,))):
        part = {(0, t, 0, 0): picture(t).astype(np.uint16) for t in times}
        writers.micromanager(tmp_path / f"{name}.ome.tif", part, summary)
        first = tmp_path / "b_MMStack_Pos0.ome.tif"
        assert {series for series, _ in places([first])} == {"b_MMStack_Pos0"}


def test_files_of_an_ome_set_are_one_series(tmp_path):
    blocks = "".join(
        f'<TiffData FirstT="{t}" IFD="0"><UUID FileName="p{t}.ome.tif">urn:uuid:{t}</UUID>'
        "</TiffData>"
        for t in range(3)
    )
    for t in range(3):
        about = (
            f'<OME UUID="urn:uuid:{t}"><Image><Pixels DimensionOrder="XYZCT" Type="uint8" '
            'SizeX="20" SizeY="16" SizeZ="1" SizeC="1" SizeT="3" TimeIncrement="30" '
            f'TimeIncrementUnit="min"><Channel/>{blocks}</Pixels></Image></OME>'
        )
        tifffile.imwrite(tmp_path / f"p{t}.ome.tif", picture(t), description=about, metadata=None)
    assert places([tmp_path]) == [("p0.ome.tif", "0"), ("p0.ome.tif", "0.5"), ("p0.ome.tif", "1")]


def test_numbered_files_are_a_series_each_kind_its_own(tmp_path):
    for name in ("a_t000.png", "a_t001.png", "a_t010.png", "b_t2.png", "b_t3.png"):
        cv2.imwrite(str(tmp_path / name), picture())
    assert places([tmp_path], interval="30min") == [
        ("a_t*.png", "0"), ("a_t*.png", "0.5"), ("a_t*.png", "5"),
        ("b_t*.png", "0"), ("b_t*.png", "0.5"),
    ]  # fmt: skip
    assert {time for _, time in places([tmp_path])} == {""}


@pytest.mark.parametrize(
    "name, series, number",
    [
        ("t000.png", "t*.png", 0),
        ("well B02_T0012.tif", "well B02_T*.tif", 12),
        ("img_channel000_position001_time000000003_z000.tif",
         "img_channel000_position001_time*_z000.tif", 3),
        ("a-frame-7.png", "a-frame-*.png", 7),
        ("a_tp_2_c1.png", "a_tp_*_c1.png", 2),
    ],
)  # fmt: skip
def test_names_that_number_frames(name, series, number):
    assert numbered(Path("d", name)) == (str(Path("d", series)), number)


@pytest.mark.parametrize("name", ["a1.png", "spot3.png", "20260301_0001.png", "t3a.png", "t.png"])
def test_names_that_number_something_else(name):
    assert numbered(Path(name)) is None


@pytest.mark.parametrize(
    "text, seconds", [("20min", 1200), ("30 s", 30), ("1.5h", 5400), ("2 days", 172800)]
)
def test_intervals(text, seconds):
    assert parse_interval(text) == seconds


@pytest.mark.parametrize("text", ["20", "20m", "0 min", "min", "-5 s", "1e400 h"])
def test_intervals_that_are_none(text, tmp_path):
    with pytest.raises(UsageError, match="such as 20min"):
        count_files([tmp_path], Nothing(), interval=text)
