"""Images to counts.csv: a row per frame, an error where there is no count, nothing half-written."""

import csv
import errno
import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from cellzoo import files
from cellzoo.cli import main
from cellzoo.commands import count_table
from cellzoo.commands.count import CountRow, Tally, count_files, count_into
from cellzoo.counters import stream
from cellzoo.counters.base import Counter
from cellzoo.counters.entries import Entry
from cellzoo.counters.extrapolation import beyond_training
from cellzoo.counters.load import load_counter
from cellzoo.counters.preprocessing import Preprocessing
from cellzoo.errors import UsageError, UserError
from cellzoo.images import read_frames, to_unit

HEADER = (
    "image,frame,count,count_raw,count_low,count_high,model,version,seconds,error,flag,series,time,"
    "diameter"
)


class GreyCounter(Counter):
    """Counts ten cells where an image is white and none where it is black; takes 4 x 4 px."""

    name, version = "grey", "v1"
    axes, channel = None, None

    def __init__(self, half_width=np.nan):
        self.half_width = half_width
        self.batches = []

    def _prepare(self, frame, scaled):
        if frame.pixels.shape != (4, 4):
            raise UserError(f"{frame.path} is not 4 x 4")
        return to_unit(frame.pixels)

    def _count(self, images, domain):
        self.batches.append(len(images))
        raw = 10 * images.mean(axis=(1, 2))
        return raw, raw - self.half_width, raw + self.half_width

    def _image_reasons(self, entries):
        return [["white"] if entry.prepared.min() == 1 else [] for entry in entries]


def grey(level):
    return np.full((4, 4), level, np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Three sound images, of 0, 2 and 10 cells."""
    images = tmp_path / "images"
    images.mkdir()
    for name, level in (("t1.png", 0), ("t2.png", 51), ("t10.png", 255)):
        cv2.imwrite(str(images / name), grey(level))
    return images


def write_stack(path, frames):
    tifffile.imwrite(path, frames, photometric="minisblack", metadata={"axes": "TYX"})


def tally_of(rows):
    tally = Tally()
    for row in rows:
        tally.add(row)
    return tally


def rows_of(out):
    with out.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_becomes_a_row_per_image_in_natural_order(folder, tmp_path):
    out = tmp_path / "counts.csv"
    rows = count_files([folder], GreyCounter(), out)
    assert out.read_text().splitlines()[0] == HEADER
    written = rows_of(out)
    assert [row["image"] for row in written] == [
        str(folder / name) for name in ("t1.png", "t2.png", "t10.png")
    ]
    assert [row["count"] for row in written] == ["0", "2", "10"]
    assert [row["count_raw"] for row in written] == ["0.000", "2.000", "10.000"]
    assert {row["frame"] for row in written} == {"0"}
    assert {(row["model"], row["version"], row["error"]) for row in written} == {("grey", "v1", "")}
    assert [row["flag"] for row in written] == ["", "", "white"]
    assert all(float(row["seconds"]) >= 0 for row in written)
    assert [str(row.count) for row in rows] == [row["count"] for row in written]


def test_intervals_are_empty_where_none_can_be_promised(folder, tmp_path):
    count_files([folder], GreyCounter(), tmp_path / "a.csv")
    count_files([folder], GreyCounter(half_width=0.5), tmp_path / "b.csv")
    without, promised = rows_of(tmp_path / "a.csv")[2], rows_of(tmp_path / "b.csv")[2]
    assert (without["count_low"], without["count_high"]) == ("", "")
    assert (promised["count_low"], promised["count_high"]) == ("9.500", "10.500")


def test_a_line_says_why_intervals_are_missing(folder):
    counter = GreyCounter()
    rows = count_files([folder], counter)
    why = tally_of(rows).why_no_intervals(counter)
    assert why == "no interval for 3 of 3 frames: grey gives none"
    counter.no_interval = "5 of 19 labelled validation images that are needed"
    why = tally_of(rows[:1]).why_no_intervals(counter)
    assert why.endswith("1 of 1 frame: " + counter.no_interval)
    rows[0].count_low = rows[1].count_low = "0.000"
    counter.no_interval, counter.any_size = "", True
    why = tally_of(rows).why_no_intervals(counter)
    assert why.endswith("1 of 3 frames: another size than in training")
    assert tally_of(rows[:2]).why_no_intervals(counter) == ""


def test_a_count_above_those_of_training_is_flagged(folder):
    counter = GreyCounter()
    counter.training_counts = (0, 9)
    above = "white; 10 cells, above the 9 of the training images"
    assert counter.count([folder]).flags == ["", "", above]
    counter.training_counts = (0, 10)
    assert counter.count([folder]).flags == ["", "", "white"]


@pytest.mark.parametrize(
    ("raw", "size", "expected"),
    [
        (119.6, (256, 256), ""),
        (120.6, (256, 256), "121 cells in 256 x 256 px, above the 30 in 128 x 128 px of the"),
        (30.4, (64, 64), ""),
        (31, (64, 96), "31 cells in 96 x 64 px, above the 30 in 128 x 128 px of the"),
    ],
)
def test_a_larger_picture_may_hold_more_cells(raw, size, expected):
    said = beyond_training(raw, 30, size, (128, 128))
    assert said == (expected and f"{expected} training images")


def test_what_is_missing_gets_a_row_and_the_others_go_on(folder, tmp_path, monkeypatch):
    (folder / "t3.nd2").write_bytes(b"\xda\xce\xbe\x0a" + bytes(100))
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "nd2" else find_spec(name)
    )
    rows = count_files([tmp_path / "none.png", folder], GreyCounter())
    assert [str(row.count) for row in rows] == ["", "0", "2", "", "10"]
    assert "none.png: cannot be opened" in rows[0].error
    assert "pip install 'cellzoo[nd2]'" in rows[3].error
    with pytest.raises(UserError, match="none.png: there is no such file"):
        missing = [tmp_path / "none.png", tmp_path / "nil.png"]
        count_files(missing, GreyCounter(), tmp_path / "a.csv")
    assert not (tmp_path / "a.csv").exists()


def test_the_summary_says_what_is_in_the_table(folder, tmp_path):
    (folder / "t11.png").write_bytes(b"")
    tally = count_into([folder], GreyCounter(), None)
    assert tally.summary(Path("a.csv")) == (
        "4 files: counted 3 frames, 1 flagged, 1 failed: a.csv"
    )
    tally = count_into([folder / "t11.png"], GreyCounter(), None)
    assert tally.summary(Path("a.csv")) == "counted no frame, a.csv has only the errors of all 1"


@pytest.mark.parametrize("wrong", [None, 3, b"zoo:ldc", ["zoo:ldc"]])
def test_what_is_no_name_is_refused_in_a_sentence(folder, wrong):
    with pytest.raises(UsageError, match="model is of type"):
        load_counter(wrong)
    with pytest.raises(UsageError, match="model is of type"):
        count_files(folder, wrong)
    with pytest.raises(UsageError, match="paths is of type"):
        count_files([None if wrong == ["zoo:ldc"] else wrong], GreyCounter())


def test_counts_are_rounded_halves_up(tmp_path):
    pixels = np.zeros((4, 4), np.uint8)
    pixels[0, 0] = 204  # 0.8 of one pixel in 16: 10 / 16 * 0.8 = 0.5 cells
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    (row,) = count_files([tmp_path / "a.png"], GreyCounter(), tmp_path / "counts.csv")
    assert (row.count, row.count_raw) == (1, "0.500")


def test_a_stack_gives_a_row_per_frame(tmp_path):
    write_stack(tmp_path / "stack.tif", np.stack([grey(0), grey(51), grey(102)]))
    rows = count_files([tmp_path / "stack.tif"], GreyCounter(), tmp_path / "counts.csv")
    assert [(row.frame, row.count) for row in rows] == [(0, 0), (1, 2), (2, 4)]


def test_a_broken_file_gets_a_row_and_the_others_go_on(folder, tmp_path):
    (folder / "t3.png").write_bytes(b"")
    (folder / "t4.png").write_text("not a picture")
    cv2.imwrite(str(folder / "t5.png"), np.zeros((4, 6), np.uint8))
    out = tmp_path / "counts.csv"
    count_files([folder], GreyCounter(), out)
    rows = rows_of(out)
    assert [row["count"] for row in rows] == ["0", "2", "", "", "", "10"]
    for row, reason in zip(rows[2:5], ("is empty", "is no image", "is not 4 x 4"), strict=True):
        assert row["image"] in row["error"] and reason in row["error"]
        assert (row["count_raw"], row["seconds"], row["frame"]) == ("", "", "0")
        assert (row["model"], row["version"]) == ("grey", "v1")


def test_a_name_that_is_no_utf_8_is_named_readably(folder, tmp_path):
    # As a zip of Windows leaves it under Linux; OpenCV ends the process on such a name.
    os.rename(folder / "t2.png", os.fsencode(folder) + b"/Z\xe4hlung.png")
    count_files([folder], GreyCounter(), tmp_path / "counts.csv")
    (bad,) = [row for row in rows_of(tmp_path / "counts.csv") if row["error"]]
    assert bad["image"] == str(folder / r"Z\xe4hlung.png")
    assert bad["error"] == f"{bad['image']}: has a name that is no UTF-8 text, rename it"


def test_a_file_named_directly_that_is_no_image_gets_a_row(folder, tmp_path):
    (folder / "labels.csv").write_text("image,count\n")
    rows = count_files(sorted(folder.iterdir()), GreyCounter(), tmp_path / "counts.csv")
    errors = [row.error for row in rows if row.error]
    assert len(rows) == 4 and len(errors) == 1
    assert errors[0].startswith(f"{folder / 'labels.csv'}: is not of a type cellzoo reads")


def test_a_frame_that_cannot_be_read_is_the_one_that_is_named(tmp_path):
    stack = np.zeros((3, 4, 4), np.float32)
    stack[1, 0, 0] = np.nan
    write_stack(tmp_path / "stack.tif", stack)
    rows = count_files([tmp_path / "stack.tif"], GreyCounter(), tmp_path / "counts.csv")
    assert [(row.frame, row.count, bool(row.error)) for row in rows] == [
        (0, 0, False),
        (1, "", True),
    ]


def test_nothing_but_broken_files(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    counter = GreyCounter()
    rows = count_files([tmp_path], counter, tmp_path / "counts.csv")
    assert len(rows) == 1 and rows[0].error
    assert counter.batches == []


def test_many_images_are_counted_in_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "BATCH", 4)
    for k in range(10):
        cv2.imwrite(str(tmp_path / f"{k}.png"), grey(25 * k))
    counter = GreyCounter()
    rows = count_files([tmp_path], counter, tmp_path / "counts.csv")
    assert counter.batches == [4, 4, 2]
    assert [row.count for row in rows] == [round(10 * 25 * k / 255) for k in range(10)]


def test_images_of_many_sizes_do_not_all_wait_for_their_like(monkeypatch):
    monkeypatch.setattr(stream, "MAX_BATCH_BYTES", 150)

    def sized(width):
        return Entry(Path("a.png"), prepared=np.zeros((5, width), np.uint8))

    read = []
    items = (read.append(width) or sized(width) for width in range(4, 20))
    batches = stream._batches(items)
    next(batches)
    assert sum(5 * width for width in read) < 150 + 5 * 20
    assert 1 + sum(len(batch) for batch in batches) == 16


def test_options_are_named_where_there_is_no_recipe(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), grey(0))
    tifffile.imwrite(tmp_path / "b.tif", np.full((4, 4), 7, np.float32))
    out = tmp_path / "counts.csv"
    with pytest.raises(UsageError, match="--axes"):
        count_files([tmp_path / "a.png"], GreyCounter(), out, axes="ZZ")
    (row,) = count_files([tmp_path / "b.tif"], GreyCounter(), out)
    assert "7" in row.error and "set --intensity LOW HIGH" in row.error
    assert "data.natural" not in row.error


def test_axes_and_channel_reach_the_files(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.dstack([grey(0), grey(51), grey(255)]))  # blue first
    out = tmp_path / "counts.csv"
    assert count_files([tmp_path / "a.png"], GreyCounter(), out, channel=0)[0].count == 10
    with pytest.raises(UsageError, match="axes"):
        count_files([tmp_path / "a.png"], GreyCounter(), tmp_path / "other.csv", axes="AB")
    assert not (tmp_path / "other.csv").exists()


def test_an_existing_file_is_never_written_over(folder, tmp_path):
    out = tmp_path / "counts.csv"
    out.write_text("precious")
    with pytest.raises(UserError, match="counts.csv exists"):
        count_files([folder], GreyCounter(), out)
    assert out.read_text() == "precious"


def test_a_file_that_came_to_be_meanwhile_is_not_written_over(folder, tmp_path):
    out = tmp_path / "counts.csv"

    class Slow(GreyCounter):
        def _count(self, images, domain):
            out.write_text("precious")
            return super()._count(images, domain)

    with pytest.raises(UserError, match="counts.csv came to be .* are in .*counts.part.csv"):
        count_files([folder], Slow(), out)
    assert out.read_text() == "precious"
    assert [row["count"] for row in rows_of(tmp_path / "counts.part.csv")] == ["0", "2", "10"]


def test_nothing_is_left_behind_when_counting_fails(folder, tmp_path):
    class Failing(GreyCounter):
        def _count(self, images, domain):
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError):
        count_files([folder], Failing(), tmp_path / "counts.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupt_ends_what_waits_for_a_server(folder, tmp_path, error):
    class Waiting(GreyCounter):
        closed = False

        def _count(self, images, domain):
            raise error

        def close(self):
            self.closed = True

    counter = Waiting()
    with pytest.raises(error):
        count_files([folder], counter, tmp_path / "counts.csv")
    assert counter.closed == (error is KeyboardInterrupt)


def test_the_file_appears_when_it_is_complete(folder, tmp_path, monkeypatch):
    def killed(*paths):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "link", killed)
    with pytest.raises(KeyboardInterrupt):
        count_files([folder], GreyCounter(), tmp_path / "counts.csv")
    assert not (tmp_path / "counts.csv").exists()


@pytest.mark.parametrize("error", [UserError("gone"), OSError("gone"), KeyboardInterrupt()])
def test_what_was_counted_before_the_end_is_kept_and_named(
    folder, tmp_path, monkeypatch, caplog, error
):
    monkeypatch.setattr(stream, "BATCH", 1)
    monkeypatch.setattr(files.log.parent, "propagate", True)

    class Ending(GreyCounter):
        def _count(self, images, domain):
            if len(self.batches) == 2:
                raise error
            return super()._count(images, domain)

    out = tmp_path / "counts.csv"
    with caplog.at_level("WARNING", "cellzoo"), pytest.raises(type(error)):
        count_files([folder], Ending(), out)
    part = tmp_path / "counts.part.csv"
    assert f"The first 2 rows are in {part}: --resume goes on." in caplog.text
    with part.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(Path(row["image"]).name, row["count"]) for row in rows] == [
        ("t1.png", "0"), ("t2.png", "2")
    ]  # fmt: skip


def test_rows_are_on_the_disk_as_they_come(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "BATCH", 1)
    for k in range(20, 40):
        cv2.imwrite(str(folder / f"t{k}.png"), grey(k))
    rows = []

    class Looking(GreyCounter):
        def _count(self, images, domain):
            (part,) = tmp_path.glob("*.part.csv")
            rows.append(len(part.read_text().splitlines()) - 1)
            return super()._count(images, domain)

    count_files([folder], Looking(), tmp_path / "counts.csv")
    # Those of the last batches may still be looked at for flags.
    most = Looking.window + stream._FLAGGED
    assert len(rows) == 23
    assert all(k - most <= number <= k for k, number in enumerate(rows)), rows
    assert [path.name for path in tmp_path.glob("*.csv")] == ["counts.csv"]


def test_a_full_disk_names_the_file(folder, tmp_path, monkeypatch):
    def full(self, row):
        with self._said():
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(count_table.CountTable, "write", full)
    with pytest.raises(UserError, match=r"counts.part.csv cannot be written \(No space left"):
        count_files([folder], GreyCounter(), tmp_path / "counts.csv")
    assert not list(tmp_path.glob("*.csv"))


@pytest.mark.parametrize(
    "name", ["x" * 252 + ".csv", os.fsdecode(b"\xe4.csv")], ids=["too long", "no UTF-8"]
)
def test_a_name_that_cannot_be_is_refused_before_counting(folder, tmp_path, name):
    counter = GreyCounter()
    with pytest.raises(UserError, match="choose a"):
        count_files([folder], counter, tmp_path / name)
    assert counter.batches == [] and not list(tmp_path.glob("*.csv"))


def test_the_longest_name_is_written(folder, tmp_path):
    out = tmp_path / ("x" * 251 + ".csv")
    count_files([folder], GreyCounter(), out)
    assert len(out.read_text().splitlines()) == 4


def test_no_cell_of_text_is_a_formula_and_paths_stay_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("=1+1.png", "-2.png", "@x.png", "plain.png"):
        cv2.imwrite(name, grey(255))
    Path("+broken.png").write_bytes(b"broken")
    counter = GreyCounter(half_width=11)
    counter.name = "=cmd()"
    rows = count_files(sorted(Path().glob("*.png")), counter, "counts.csv")
    with open("counts.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert {row["image"] for row in table} == {
        "./=1+1.png", "./-2.png", "./@x.png", "plain.png", "./+broken.png"
    }  # fmt: skip
    assert all(Path(row["image"]).is_file() for row in table)
    assert {row["model"] for row in table} == {"'=cmd()"} and rows[0].model == "=cmd()"
    (broken,) = [row for row in table if row["error"]]
    assert broken["error"].startswith("'+broken.png")
    assert {row["count_low"] for row in table if not row["error"]} == {"-1.000"}  # a number


def test_columns_are_the_documented_ones():
    assert ",".join(vars(CountRow("a", 0))) == HEADER


# The model of a run folder


def test_a_run_counts_what_its_network_counts(tmp_path, tiny_run, write_cells):
    from cellzoo.runs import Run, build_network

    cells = write_cells(tmp_path / "cells")
    rows = count_files([cells], load_counter(str(tiny_run)), tmp_path / "counts.csv")
    network = build_network(Run(tiny_run).recipe)
    network.load_weights(Run(tiny_run).best_weights)
    images = np.stack([cv2.imread(row.image, cv2.IMREAD_GRAYSCALE) for row in rows])
    expected = network.predict({"natural": images.astype(np.float32) / 255}, verbose=0)
    np.testing.assert_allclose(
        [float(row.count_raw) for row in rows], expected["natural_count"], atol=6e-4
    )
    assert len({row.count_raw for row in rows}) > 1, "the model tells no image from another"
    assert (rows[0].model, rows[0].version) == ("tiny", "run")
    assert rows[0].count_low == rows[0].count_high == ""


def test_the_interval_of_a_run_comes_from_its_validation(tmp_path, tiny_run, write_cells):
    from cellzoo.runs import Run

    shutil.copytree(tiny_run, tmp_path / "run")
    run = Run(tmp_path / "run")
    cells = write_cells(tmp_path / "cells", images=2)
    interval = {"constant": 1e6, "per_cell": 1e5, "images": 40, "groups": 4}
    # The second is how older runs say it: the same width for every image.
    for k, scores in enumerate(({"interval": interval}, {"interval_half_width": 1000.0})):
        run.write_json("report/validation.json", scores)
        for row in count_files([cells], load_counter(str(run.path)), tmp_path / f"{k}.csv"):
            assert row.count_low == "0.000"
            raw = float(row.count_raw)
            half = (1e6 + 1e5 * max(raw, 0)) ** 0.5 if k == 0 else 1000
            assert float(row.count_high) == pytest.approx(raw + half, abs=0.02)


def test_a_run_flags_what_is_unlike_its_training_images(tmp_path, tiny_run, write_cells):
    from cellzoo.runs import Run
    from cellzoo.trust.out_of_distribution import OutOfDistribution

    shutil.copytree(tiny_run, tmp_path / "run")
    run = Run(tmp_path / "run")
    cells = write_cells(tmp_path / "cells", images=8)
    seen = np.random.default_rng(1).random((40, 16, 16), np.float32)
    run.keep_out_of_distribution(OutOfDistribution.fit(seen, np.arange(40), seen[:0]))
    cv2.imwrite(str(cells / "black.png"), np.zeros((16, 16), np.uint8))
    rows = count_files([cells], load_counter(str(run.path)), tmp_path / "a.csv")
    assert [row.flag for row in rows[:-1]] == [""] * 8
    assert rows[-1].flag and rows[-1].count != ""
    assert rows_of(tmp_path / "a.csv")[-1]["flag"] == rows[-1].flag
    run.out_of_distribution_file.write_text('{"features": ["colour"]}')  # of another version
    assert load_counter(run.path).count(np.zeros((2, 16, 16), np.uint8)).flags == ["", ""]
    run.out_of_distribution_file.write_text('{"features": ')
    with pytest.raises(UserError, match="out_of_distribution.json is damaged"):
        load_counter(str(run.path))


def test_a_network_that_reads_the_whole_image_takes_its_own_size_only(tmp_path, write_cells):
    from cellzoo.recipe import load_recipe
    from cellzoo.runs import Run, build_network

    (tmp_path / "flat.yaml").write_text(
        "name: flat\ndata: {natural: {source: folder, folder: cells}}\n"
        "model: {name: twinvae, channels: [2, 2, 2, 2], shared_channels: 2, latent: 2}\n"
    )
    recipe = load_recipe(tmp_path / "flat.yaml")
    run = Run.create(tmp_path / "run", recipe)
    run.save_best(build_network(recipe))
    cells = write_cells(tmp_path / "cells", images=1, size=20)
    (row,) = count_files([cells], load_counter(str(run.path)), tmp_path / "counts.csv")
    assert "is 20 x 20 px and flat takes 128 x 128" in row.error
    assert "data.natural.size: resize" in row.error


def image(height, width, seed=0):
    return np.random.default_rng(seed).random((height, width), np.float32)


def padded(pixels):
    """Up to multiples of 8, with the mean."""
    missing = [(0, -side % 8) for side in pixels.shape]
    return np.pad(pixels, missing, constant_values=pixels.mean())


def test_a_spatial_twin_vae_takes_images_of_any_size(tmp_path, tiny_run):
    # Tiles of these see the whole image.
    sizes = [(16, 16), (40, 25), (8, 8), (16, 16), (33, 38), (5, 30)]
    (tmp_path / "images").mkdir()
    for k, size in enumerate(sizes):
        pixels = (255 * image(*size, seed=k)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / "images" / f"{k}.png"), pixels)
    counter = load_counter(str(tiny_run))
    rows = count_files([tmp_path / "images"], counter, tmp_path / "counts.csv")
    for k, (row, size) in enumerate(zip(rows, sizes, strict=True)):
        pixels = (255 * image(*size, seed=k)).astype(np.uint8) / np.float32(255)
        whole = counter.network({"natural": padded(pixels)[None]})["natural_count"]
        assert row.error == "" and row.count_low == ""
        assert float(row.count_raw) == pytest.approx(float(whole[0]), abs=2e-3)


def test_only_images_of_the_training_size_go_through_the_exported_graph(tiny_run, tmp_path):
    counter, frames = load_counter(str(tiny_run)), {}
    for side in (16, 20):
        file = tmp_path / f"{side}.png"
        cv2.imwrite(str(file), (255 * image(side, side)).astype(np.uint8))
        (frames[side],) = read_frames(file)
    same, other = (counter._prepare(frame, scaled=False) for frame in frames.values())
    assert same.dtype == np.uint8
    np.testing.assert_array_equal(other, frames[20].pixels / np.float32(255))
    exported = counter.graph().count_uint8(np.stack([same, same]))["count"]
    assert counter.count(np.stack([same, same])).raw.tolist() == np.asarray(exported).tolist()
    with pytest.raises(UserError, match="is 20 x 20 px and tiny takes 16 x 16"):
        counter.preprocessing.prepare(frames[20], "tiny")  # as an export does


def test_padding_adds_no_cells(tiny_run):
    """An image that ends with a cell counts as one that goes on with even ground."""
    counter = load_counter(str(tiny_run))
    pixels = image(53, 61)
    pixels[45:, 20:30] = pixels[10:20, 50:] = 1  # cells that the border cuts
    even = padded(pixels)
    assert even.shape == (56, 64) and even[-1, 0] == pytest.approx(pixels.mean())
    # Windows that see the border have other means, hence in one tile.
    counter.tiled.tiling = replace(counter.tiled.tiling, tile=64)
    cut, whole = (counter.count(x, scaled=True).raw[0] for x in (pixels, even))
    assert cut == pytest.approx(whole, rel=1e-5)
    # It does not depend on where the grid's squares end.
    flat = np.full((1, 53, 61), 0.4, np.float32)
    longer = counter.count(np.full((1, 56, 64), 0.4, np.float32), scaled=True)
    per_place = longer.raw[0] / 56
    assert counter.count(flat, scaled=True).raw[0] == pytest.approx(56 * per_place, rel=1e-5)


def test_tiles_of_a_network_that_centres_nothing_do_not_show(tmp_path, tiny_run):
    shutil.copytree(tiny_run, tmp_path / "run")
    recipe = tmp_path / "run" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("center: true", "center: false"))
    from cellzoo.recipe import load_recipe
    from cellzoo.runs import Run, build_network

    network = build_network(load_recipe(recipe))
    for weight in network.trainable_weights:
        weight.assign_add(np.random.default_rng(2).normal(0, 0.2, weight.shape))
    Run(tmp_path / "run").save_best(network)
    counter = load_counter(str(tmp_path / "run"))
    pixels = image(120, 144)
    whole = network({"natural": pixels[None]})
    np.testing.assert_allclose(
        counter.tiled.map("density", pixels), whole["natural_density"][0], rtol=1e-4
    )
    raw = counter.count(pixels, scaled=True).raw[0]
    assert raw == pytest.approx(float(whole["natural_count"][0]), rel=1e-4)


def test_a_large_image_is_counted_in_windows_of_the_training_size():
    """Across uneven light as well as in even light, where one mean of all of it would not do."""
    counter = load_counter("zoo:simulated_bf")
    cut = counter.tiled.tiling
    assert (cut.window, cut.tile + 2 * cut.margin) == (128, 128)
    from cellzoo.synthetic.drawing import SyntheticCells

    cells = counter.run.recipe.data.synthetic
    drawn, _ = SyntheticCells(cells, 256).render(2, 5, counts=np.array([30, 60]))
    ramp = np.linspace(-0.1, 0.1, 256, dtype=np.float32)
    lights = (drawn, np.clip(drawn + ramp, 0, 1))
    even, uneven = (counter.count(images, scaled=True).raw for images in lights)
    sized = "256 x 256 px, trained on 128 x 128: no interval"
    assert all(sized in flag for flag in counter.count(drawn, scaled=True).flags)
    np.testing.assert_allclose(uneven, even, rtol=0.3)
    at_once = counter.network({"natural": drawn + ramp, "synthetic": drawn})["natural_count"]
    assert (np.asarray(at_once) > 1.5 * even).all()


def test_each_half_of_a_twin_counts_images_of_any_size(tmp_path, tiny_recipe):
    from cellzoo.recipe import load_recipe
    from cellzoo.runs import Run, build_network

    natural = "folder: cells}\n"
    twin = tiny_recipe.replace(natural, f"{natural}  synthetic: {{preset: bf, radius: [2, 3]}}\n")
    (tmp_path / "twin.yaml").write_text(twin)
    recipe = load_recipe(tmp_path / "twin.yaml")
    run = Run.create(tmp_path / "run", recipe)
    run.save_best(build_network(recipe))
    counter = load_counter(str(run.path))
    for size in ((16, 16), (24, 16)):  # as in training; and larger, of which each tile sees all
        images = np.stack([image(*size, seed=k) for k in range(3)])
        halves = counter.network(dict.fromkeys(counter.network.input, images))
        for domain in ("natural", "synthetic"):
            raw = counter.count(images, scaled=True, domain=domain).raw
            np.testing.assert_allclose(raw, halves[f"{domain}_count"], rtol=1e-4)
        assert (halves["natural_count"] != halves["synthetic_count"]).numpy().all()


def test_a_run_whose_recipe_resizes_takes_any_size(tmp_path, tiny_run, write_cells):
    shutil.copytree(tiny_run, tmp_path / "run")
    recipe = tmp_path / "run" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("size: error", "size: resize"))
    cells = write_cells(tmp_path / "cells", images=1, size=20)
    (row,) = count_files([cells], load_counter(str(tmp_path / "run")), tmp_path / "counts.csv")
    assert row.error == "" and row.count != ""


def test_files_are_read_as_in_training(tmp_path):
    """A model that was trained on the second channel counts in it, unless told otherwise."""
    picture = np.zeros((4, 4, 3), np.uint8)
    picture[..., 1] = 255
    tifffile.imwrite(tmp_path / "a.tif", picture, photometric="rgb")
    counter = GreyCounter()
    counter.channel = 1
    (row,) = count_files([tmp_path / "a.tif"], counter, tmp_path / "trained.csv")
    assert (row.count, row.error) == (10, "")
    (row,) = count_files([tmp_path / "a.tif"], counter, tmp_path / "told.csv", channel=0)
    assert (row.count, row.error) == (0, "")


def test_a_count_that_is_no_number_is_an_error(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 4), np.uint8))

    class Broken(GreyCounter):
        def _count(self, images, domain):
            nothing = np.full(len(images), np.nan)
            return nothing, nothing, nothing

    (row,) = count_files([tmp_path / "a.tif"], Broken(), tmp_path / "counts.csv")
    assert row.count == ""
    assert "finite" in row.error


class ScaledCounter(GreyCounter):
    """The same, of which it is known how its images are scaled."""

    preprocessing = Preprocessing((4, 4))

    def _prepare(self, frame, scaled):
        return self.preprocessing.unit(frame, scaled)


def test_twelve_bits_of_sixteen_count_as_eight(tmp_path, caplog):
    """Files and arrays, as the brightest pixel says, and as an intensity says that overrides it."""
    twelve = np.full((4, 4), 819, np.uint16)
    twelve[0, 0] = 4095
    eight = np.full((4, 4), 51, np.uint8)
    eight[0, 0] = 255
    tifffile.imwrite(tmp_path / "a.tif", twelve, metadata=None)
    cv2.imwrite(str(tmp_path / "b.png"), eight)
    counter = ScaledCounter()
    expected = counter.count(eight).raw
    rows = count_files([tmp_path], counter)
    assert [float(row.count_raw) for row in rows] == pytest.approx([expected[0]] * 2, abs=1e-3)
    words = "taken for 12, as the brightest pixel has 4,095, set --intensity 0 4095 to"
    assert words in caplog.text
    np.testing.assert_allclose(counter.count([twelve, twelve // 2]).raw[0], expected[0], rtol=1e-4)
    (row,) = count_files([tmp_path / "a.tif"], counter, intensity=(0, 8190))
    assert float(row.count_raw) == pytest.approx(expected[0] / 2, abs=1e-3)
    (row,) = count_files([tmp_path / "a.tif"], counter, intensity="dtype")
    assert float(row.count_raw) == pytest.approx(expected[0] / 16, abs=1e-3)


@pytest.mark.parametrize("words", [["0", "4095"], ["0,4095"], ["percentile"]])
def test_an_intensity_on_the_command_line(tmp_path, monkeypatch, words):
    cv2.imwrite(str(tmp_path / "a.png"), grey(51))
    asked = {}

    def count(paths, counter, out, **options):
        asked.update(options, paths=paths)
        return Tally()

    monkeypatch.setattr("cellzoo.commands.count.count_into", count)
    loaded = GreyCounter()
    monkeypatch.setattr("cellzoo.counters.load.load_counter", lambda model, **options: loaded)
    image, out = str(tmp_path / "a.png"), str(tmp_path / "counts.csv")
    arguments = ["count", "--intensity", *words, image, "--model", "x", "-o", out, "--z", "max"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert asked["intensity"] == ("percentile" if words == ["percentile"] else (0, 4095))
    assert asked["paths"] == (tmp_path / "a.png",) and asked["z"] == "max"


_MANY = """
import sys
from pathlib import Path
from tests.commands.test_count import GreyCounter
from cellzoo.commands.count import count_into

seen, folder = [], sys.argv[1]

def pages():
    return int(Path("/proc/self/statm").read_text().split()[1])

def ready(row):
    seen.append(0)
    if len(seen) % 10_000 == 0:
        print(pages() * 4096 / 2**20)

count_into([folder], GreyCounter(), folder + ".csv", ready=ready)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_memory_does_not_grow_while_100_000_files_are_counted(tmp_path):
    folder = tmp_path / "many"
    for k in range(100):  # a file has some ten thousand links at most
        well = folder / f"well{k:03}"
        well.mkdir(parents=True)
        cv2.imwrite(str(well / "image000.png"), grey(51))
        for n in range(1, 1000):
            os.link(well / "image000.png", well / f"image{n:03}.png")
    command = [sys.executable, "-c", _MANY, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    megabytes = [float(word) for word in done.stdout.split()]
    assert len(megabytes) == 10, done.stderr
    assert megabytes[-1] < megabytes[1] + 8  # the list of files is there from the start
    with open(f"{folder}.csv") as table:
        assert sum(1 for _ in table) == 100_001
