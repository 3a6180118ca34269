"""``cellzoo chambers``: what it writes, completes, refuses; and counting by its table."""

import csv
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from spreadsheet import save_again

from cellzoo.cli import main
from cellzoo.commands.chambers import chambers, summary
from cellzoo.commands.count import count_files, count_into
from cellzoo.counters.base import Counter
from cellzoo.counters.entries import Entry
from cellzoo.errors import UsageError, UserError
from cellzoo.files import LOCK_FILE
from cellzoo.images import read_frames
from cellzoo.images.ome import OmeWriter, write_ome
from cellzoo.simulators.experiment import simulate_experiment
from cellzoo.timelapse.chambers.crop import chamber_entries, cut
from cellzoo.timelapse.chambers.find import Box
from cellzoo.timelapse.chambers.table import COLUMNS, read_boxes, read_chambers
from cellzoo.timelapse.chambers.where import Where

FILE = "field.ome.tif"
SERIES = ("field_01.ome.tif", "field_02.ome.tif")


@pytest.fixture(scope="module")
def made():
    return simulate_experiment(
        "pc", 3, 7, rows=1, columns=2, interval_minutes=90, drift_px=6, rotation_degrees=2
    )


@pytest.fixture
def field(made, tmp_path, monkeypatch):
    """A file of a field, in the working folder."""
    monkeypatch.chdir(tmp_path)
    write_ome(
        tmp_path / FILE, iter(made.frames), made.frames.shape, np.uint8, pixel_size_um=0.5,
        seconds=3600 * made.hours,
    )  # fmt: skip
    return FILE


@pytest.fixture
def where(made):
    return Where(boxes=tuple(Box(*box) for box in made.boxes[0]))


def rows_of(file):
    with open(file, newline="") as stream:
        return list(csv.DictReader(stream))


def test_each_chamber_becomes_a_series_with_its_table(made, field, where, tmp_path):
    result = chambers([field], "out", where)
    assert (result.series, result.chambers, result.frames, result.flagged) == (1, 2, 3, 0)
    rows = rows_of("out/chambers.csv")
    assert tuple(rows[0]) == COLUMNS
    assert [(r["image"], r["frame"], r["time"], r["chamber"]) for r in rows[2:4]] == [
        (FILE, "1", "1.5", "01"), (FILE, "1", "1.5", "02")
    ]  # fmt: skip
    for row, true in zip(rows, made.boxes.reshape(-1, 5), strict=True):
        box = Box(*(float(row[key]) for key in ("x", "y", "width", "height", "angle")))
        assert np.abs(box.corners - Box(*true).corners).max() < 1
    frames = list(read_frames(tmp_path / "out" / "series" / "field_01.ome.tif"))
    assert [f.pixels.shape for f in frames] == 3 * [(128, 128)]
    assert [f.time_s for f in frames] == [0, 5400, 10800]
    assert {f.pixel_size_um for f in frames} == {0.5}
    assert (tmp_path / "out" / "overview_field.png").exists()
    assert (tmp_path / "out" / "contact_sheet_field.png").exists()


def test_chambers_hold_still_in_what_is_written(field, where, tmp_path):
    chambers([field], "out", where)
    frames = [f.pixels for f in read_frames(tmp_path / "out" / "series" / "field_02.ome.tif")]
    rim = np.ones((128, 128), bool)
    rim[14:-14, 14:-14] = False
    soft = [cv2.GaussianBlur(frame, (0, 0), 1.0)[rim] for frame in frames]
    assert min(np.corrcoef(soft[0], other)[0, 1] for other in soft[1:]) > 0.9


def test_pixels_are_scaled_to_those_of_the_counter(field, where, tmp_path):
    chambers([field], "out", where, pixel_size_um=1.0)
    frame = next(iter(read_frames(tmp_path / "out" / "series" / "field_01.ome.tif")))
    assert frame.pixels.shape == (64, 64)
    assert frame.pixel_size_um == pytest.approx(1.0)


def test_chambers_of_a_field_with_a_long_name_keep_their_own_pixels(field, where, tmp_path):
    chambers([field], "short", where)
    stem = "a_field_of_the_experiment_of_" + "day_" * 13
    shutil.copy(field, tmp_path / f"{stem}.ome.tif")
    chambers([f"{stem}.ome.tif"], "long", where)
    for chamber in ("01", "02"):
        files = ("short/series/field", f"long/series/{stem[:80]}")
        wanted, written = (
            [frame.pixels for frame in read_frames(tmp_path / f"{file}_{chamber}.ome.tif")]
            for file in files
        )
        np.testing.assert_array_equal(written, wanted)


@pytest.mark.parametrize("form", ["stacks", "pictures, the time before the field"])
def test_files_of_a_series_are_whole_before_the_next_series_begins(
    made, field, where, tmp_path, monkeypatch, form
):
    names = [field, "other.ome.tif"]
    shutil.copy(*names)
    if form != "stacks":
        names = [f"t{t}_{name}.png" for t in range(3) for name in "ab"]
        for k, name in enumerate(names):
            cv2.imwrite(name, made.frames[k // 2])
    still_open, most = set(), []

    class Watched(OmeWriter):
        def write(self, frame):
            still_open.add(self)
            most.append(len(still_open))
            super().write(frame)

        def finish(self):
            still_open.discard(self)
            super().finish()

    monkeypatch.setattr("cellzoo.commands.chambers.OmeWriter", Watched)
    result = chambers(names, "out", where)
    assert (result.series, result.chambers, result.frames) == (2, 4, 6)
    assert max(most) == 2 and not still_open
    written = sorted((tmp_path / "out" / "series").glob("*.tif"))
    assert [len(list(read_frames(file))) for file in written] == [3, 3, 3, 3]


def test_a_killed_command_is_completed_by_the_same(field, where, tmp_path):
    chambers([field], "whole", where)
    chambers([field], "out", where)
    out = tmp_path / "out"
    wanted = (tmp_path / "whole" / "series" / "field_02.ome.tif").read_bytes()
    for lost in ("series/field_02.ome.tif", "contact_sheet_field.png"):
        (out / lost).unlink()
    (out / "series" / ".field_02.ome.tif.99.tmp").write_bytes(b"half")
    first = (out / "series" / "field_01.ome.tif").stat().st_mtime_ns
    assert not chambers([field], "out", where).complete
    assert (out / "series" / "field_02.ome.tif").read_bytes() == wanted
    assert (out / "series" / "field_01.ome.tif").stat().st_mtime_ns == first
    assert (out / "contact_sheet_field.png").exists()
    assert not list(out.glob("**/*.tmp"))
    assert chambers([field], "out", where).complete
    (out / "chambers.csv").unlink()
    chambers([field], "out", where)
    assert (out / "chambers.csv").read_bytes() == (tmp_path / "whole/chambers.csv").read_bytes()


@pytest.mark.parametrize(
    "kills", [1, pytest.param(10, marks=pytest.mark.slow)], ids=["once", "ten times"]
)
def test_wherever_it_is_killed_the_same_command_completes_the_same_files(field, tmp_path, kills):
    def run(changes, out):
        script = [sys.executable, str(Path(__file__).parents[1] / "killed.py"), "chambers"]
        return subprocess.run(
            [*script, str(changes), field, str(out)], cwd=tmp_path, capture_output=True, text=True
        )  # fmt: skip

    def content(out):
        files = (f for f in (tmp_path / out).glob("**/*") if f.is_file() and f.name != LOCK_FILE)
        return {str(f.relative_to(tmp_path / out)): f.read_bytes() for f in files}

    changes = int(run(0, "whole").stdout)
    assert changes > 10
    places = np.random.default_rng(0).choice(np.arange(2, changes), kills, replace=False)
    for place in places:
        assert run(place, f"killed{place}").returncode == 9
        done = run(0, f"killed{place}")
        assert done.returncode == 0, done.stderr
        assert content(f"killed{place}") == content("whole"), place


def test_a_mended_table_is_kept_and_taken_back(field, where, tmp_path):
    chambers([field], "out", where)
    table = tmp_path / "out" / "chambers.csv"
    rows = rows_of(table)
    rows[2]["x"], rows[2]["angle"] = "40", "0"
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    mended = table.read_bytes()
    with pytest.raises(UserError, match="was changed: give it to --chambers"):
        chambers([field], "out", where)
    assert table.read_bytes() == mended
    chambers([field], "again", Where(table=table))
    again = read_chambers(tmp_path / "again" / "chambers.csv")
    assert (again[2].box.x, again[2].box.angle) == (40, 0)
    assert again[0].box.x == pytest.approx(float(rows[0]["x"]))


def test_a_chamber_has_one_size_in_all_frames(field, where):
    chambers([field], "out", where)
    table = Path("out", "chambers.csv")
    lines = table.read_text().splitlines()
    for name, width in (("little", "129.000"), ("more", "160.000")):
        lines[4] = ",".join([*lines[4].split(",")[:6], width, *lines[4].split(",")[7:]])
        Path(f"{name}.csv").write_text("\n".join(lines) + "\n")
    chambers([field], "again", Where(table=Path("little.csv")))
    with pytest.raises(UserError, match="frame 1, as 160 x 128 px, and before as 128 x 128 px"):
        chambers([field], "other", Where(table=Path("more.csv")))


def test_what_is_there_is_never_overwritten(field, where, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        chambers([field], "other", where)
    chambers([field], "out", where)
    with pytest.raises(UserError, match="another command"):
        chambers([field], "out", Where(boxes=(Box(10, 10, 60, 60),)))


def test_both_ways_to_count_show_a_counter_the_same_pixels_of_the_same_size(field, where):
    chambers([field], "out", where)
    fields = [Entry(frame.path, frame.index, frame) for frame in read_frames(field)]
    cut_now = [entry.frame for entry in chamber_entries(fields, Path("out", "chambers.csv"))]
    written = [frame for file in SERIES for frame in read_frames(Path("out", "series", file))]
    assert len(cut_now) == len(written) == 6
    for now, then in zip(cut_now, [*written[::3], *written[1::3], *written[2::3]], strict=True):
        assert np.array_equal(now.pixels, then.pixels)
        assert now.pixel_size_um == then.pixel_size_um == 0.5


def test_grid_table_and_template_give_boxes(made, field, tmp_path):
    assert chambers([field], "grid", Where(grid=(2, 3))).chambers == 6
    (tmp_path / "boxes.csv").write_text("chamber,x,y,width,height\nleft,40,50,100,90\n")
    chambers([field], "roi", Where(roi=tmp_path / "boxes.csv", size=(110, 100)))
    box = read_chambers(tmp_path / "roi" / "chambers.csv")[0].box
    assert (box.name, box.x, box.y, box.width, box.height) == ("left", 35, 45, 110, 100)
    cv2.imwrite("chamber.png", cut(made.frames[0], Box(*made.boxes[0][0])))
    assert chambers([field], "alike", Where(template=tmp_path / "chamber.png")).chambers == 2


def test_numbered_files_are_one_series(made, where, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    list(made.grow(tmp_path / "grown"))
    shutil.rmtree("grown/truth")
    result = chambers(["grown"], "out", where, interval="90min")
    assert (result.series, result.frames) == (1, 3)
    assert [row["time"] for row in rows_of("out/chambers.csv")[::2]] == ["0", "1.5", "3"]


def test_a_frame_that_is_missing_takes_its_time_all_the_same(made, where, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a").mkdir()
    for number, frame in zip((4, 5, 9), made.frames, strict=True):
        cv2.imwrite(f"a/field_t{number:03d}.png", frame)
    chambers(["a"], "out", where, interval="90min")
    assert [row["time"] for row in rows_of("out/chambers.csv")[::2]] == ["0", "1.5", "7.5"]


def test_numbers_that_are_several_apart_are_said(made, where, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    Path("a").mkdir()
    for number, frame in zip((4, 8, 16), made.frames, strict=True):
        cv2.imwrite(f"a/field_t{number:03d}.png", frame)
    for made_of in (lambda: chambers(["a"], "out", where, interval="20min"),
                    lambda: count_files("a", _Area(), interval="20min")):  # fmt: skip
        caplog.clear()
        made_of()
        assert "numbers of frames are 4 apart" in caplog.text and "every 80 min" in caplog.text


def test_files_whose_names_number_no_time_points_are_said(made, where, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a").mkdir()
    for k, frame in enumerate(made.frames):
        cv2.imwrite(f"a/field-{k:03d}.png", frame)
    with pytest.raises(UsageError, match=r"field-000\.png and the others are each a series"):
        chambers(["a"], "timed", where, interval="90min")
    result = chambers(["a"], "out", where)
    assert (result.series, result.frames) == (3, 3)
    assert "each file is a series of its own" in "\n".join(summary(result))


@pytest.mark.parametrize(
    "text, words",
    [
        ("x,y,width\n1,2,3\n", "no column height"),
        ("x,y,width,height\n1,2,three,4\n", "line 2: width 'three'"),
        ("x,y,width,height\n1,2,3,4\n", "at least 8"),
        ("x,y,width,height\n", "no rows"),
        ("x,y,width,height\n900,900,50,50\n", "no chamber of a field"),
    ],
)
def test_a_wrong_table_is_named_with_its_line(field, tmp_path, text, words):
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        chambers([field], "out", Where(roi=tmp_path / "boxes.csv"))


def test_times_of_a_table_are_hours(field, where):
    chambers([field], "out", where)
    table = Path("out", "chambers.csv")
    table.write_text(table.read_text().replace(",1.5,", ",90 min,", 1))
    with pytest.raises(UserError, match="line 4: time '90 min' is no number of hours"):
        read_chambers(table)


def test_exactly_one_way_to_know_the_chambers():
    with pytest.raises(UsageError, match="Say where"):
        Where()
    with pytest.raises(UsageError, match="exclude each other"):
        Where(find=True, grid=(1, 2))


class _Area(Counter):
    """Counts bright pixels: the same number for the same picture."""

    name, version = "area", ""

    def _prepare(self, frame, scaled):
        return frame.pixels

    def _count(self, images, domain):
        raw = images.reshape(len(images), -1).mean(axis=1).astype(np.float32)
        return raw, np.full_like(raw, np.nan), np.full_like(raw, np.nan)


def test_counting_by_the_table_counts_what_is_written(field, where, tmp_path):
    chambers([field], "out", where)
    by_table = count_files(field, _Area(), chambers="out/chambers.csv")
    by_file = count_files("out/series", _Area())
    assert len(by_table) == len(by_file) == 6
    counts = {(r.series[-2:], r.frame): r.count_raw for r in by_table}
    assert {(r.series[-10:-8], r.frame): r.count_raw for r in by_file} == counts
    assert {r.series for r in by_table} == {f"{FILE} 01", f"{FILE} 02"}
    assert [r.time for r in by_table] == ["0", "0", "1.5", "1.5", "3", "3"]


def test_an_interval_goes_before_the_table_and_the_table_before_the_file(field, where):
    chambers([field], "out", where, interval="20min")
    hours = ["0", "0", "0.333333", "0.333333", "0.666667", "0.666667"]
    assert [row["time"] for row in rows_of("out/chambers.csv")] == hours
    table = Path("out", "chambers.csv")
    assert [row.time for row in count_files(field, _Area(), chambers=table)] == hours
    counted = count_files(field, _Area(), chambers=table, interval="3h")
    assert [row.time for row in counted[::2]] == ["0", "3", "6"]
    chambers([field], "again", Where(table=table), interval="3h")
    assert [row["time"] for row in rows_of("again/chambers.csv")[::2]] == ["0", "3", "6"]
    written = read_frames(Path("again", "series", SERIES[0]))
    assert [frame.time_s for frame in written] == [0, 10800, 21600]


def test_a_mended_table_names_the_fields_as_they_were_given(field, where):
    chambers([field], "data", where)
    shutil.move(field, "data")
    chambers([f"data/{field}"], "again", Where(table=Path("data", "chambers.csv")))
    counted = count_files(f"data/{field}", _Area(), chambers="again/chambers.csv")
    assert [row.error for row in counted] == 6 * [""]


def test_a_table_that_a_spreadsheet_saved_is_the_same_table(field, where, tmp_path):
    chambers([field], "out", where)
    rows = read_chambers(tmp_path / "out" / "chambers.csv")
    assert read_chambers(save_again(tmp_path / "out" / "chambers.csv")) == rows
    (tmp_path / "boxes.csv").write_text("x;y;width;height\n40,5;50;100;90,25\n")
    box = read_boxes(tmp_path / "boxes.csv")[0]
    assert (box.x, box.y, box.width, box.height) == (40.5, 50, 100, 90.25)


def test_counting_tells_of_flagged_and_missing_boxes(field, where, tmp_path):
    chambers([field], "out", where)
    table = tmp_path / "out" / "chambers.csv"
    lines = table.read_text().splitlines()
    lines[1] += "the shift was not found"
    table.write_text("\n".join(lines[:5]) + "\n")
    rows = count_files(field, _Area(), chambers=table)
    assert [r.flag for r in rows[:2]] == ["the shift was not found", ""]
    assert "frame 2 has no row" in rows[-1].error


def test_a_box_that_was_moved_out_of_the_field_is_flagged(field, where, tmp_path):
    chambers([field], "out", where)
    table = tmp_path / "out" / "chambers.csv"
    rows = rows_of(table)
    rows[1]["x"], rows[2]["y"] = "90000", str(-float(rows[2]["height"]) / 2)
    rows[3]["flag"] = "clean; 70% of the chamber is outside the field"  # where it was before
    rows[2]["angle"] = "0"
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    flags = ["100% of the chamber is outside the field", "50% of the chamber is outside the field"]
    counted = count_files(field, _Area(), chambers=table)
    assert [row.flag for row in counted] == ["", *flags, "clean", "", ""]
    chambers([field], "again", Where(table=table))
    assert [row["flag"] for row in rows_of("again/chambers.csv")] == ["", *flags, "clean", "", ""]


def test_an_interrupted_count_of_chambers_goes_on_with_each_row_once(field, where, tmp_path):
    chambers([field], "out", where)
    whole = count_files(field, _Area(), "whole.csv", chambers="out/chambers.csv")
    told = []

    def stop(row):
        told.append(row)
        if len(told) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        count_into(field, _Area(), "counts.csv", chambers="out/chambers.csv", ready=stop)
    count_into(field, _Area(), "counts.csv", chambers="out/chambers.csv", resume=True)
    keys = ("image", "frame", "series", "count_raw")
    resumed = [tuple(row[key] for key in keys) for row in rows_of("counts.csv")]
    assert resumed == [tuple(str(getattr(row, key)) for key in keys) for row in whole]


def test_the_command_line_says_what_it_made_and_refuses_wrong_words(field, tmp_path):
    run = partial(CliRunner().invoke, main)
    made = run(["chambers", field, "--grid", "1x2", "--size", "100,90", "-o", "out"])
    assert made.exit_code == 0, made.output
    assert "2 chambers in 1 series, 3 frames" in made.output
    assert read_chambers(tmp_path / "out" / "chambers.csv")[0].box.width == 100
    for wrong in (["--box", "1,2,3"], ["--grid", "2"], ["--find", "--size", "big"], []):
        refused = run(["chambers", field, "-o", "other", *wrong])
        assert refused.exit_code == 2
        assert "Error: " in refused.output
