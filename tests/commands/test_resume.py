"""A count that was interrupted goes on: each frame has one row, whatever ended it and when."""

import csv
import io
import json
import logging
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from cellzoo.commands.count import count_files, count_into
from cellzoo.commands.count_table import CountTable
from cellzoo.commands.progress import Progress
from cellzoo.counters import stream
from cellzoo.counters.base import Counter
from cellzoo.counters.measuring import Diameter
from cellzoo.errors import UsageError, UserError
from cellzoo.images import to_unit


class GreyCounter(Counter):
    """Counts ten cells where an image is white; ends after some batches."""

    name, version = "grey", "v1"
    axes, channel = None, None

    def __init__(self, last=None):
        self.last, self.counted = last, []

    def _prepare(self, frame, scaled):
        return to_unit(frame.pixels)

    def _count(self, images, domain):
        if self.last is not None and len(self.counted) >= self.last:
            raise KeyboardInterrupt
        raw = 10 * images.mean(axis=(1, 2))
        self.counted += list(raw)
        return raw, raw - 1, raw + 1


@pytest.fixture(autouse=True)
def batches_of_one(monkeypatch):
    monkeypatch.setattr(stream, "BATCH", 1)


@pytest.fixture
def folder(tmp_path):
    """Two pictures, a stack of five frames, a broken file and a picture."""
    images = tmp_path / "images"
    images.mkdir()
    for k in (0, 1, 9):
        cv2.imwrite(str(images / f"a{k}.png"), np.full((4, 4), 20 * k, np.uint8))
    stack = np.stack([np.full((4, 4), 50 * k, np.uint8) for k in range(5)])
    tifffile.imwrite(images / "a2.tif", stack, photometric="minisblack", metadata={"axes": "TYX"})
    (images / "a3.png").write_bytes(b"")
    return images


def rows_of(file):
    rows = list(csv.DictReader(io.StringIO(file.read_text(), newline="")))
    return [{key: row[key] for key in row if key != "seconds"} for row in rows]


def interrupted(folder, out, after):
    with pytest.raises(KeyboardInterrupt):
        count_files([folder], GreyCounter(after), out)


@pytest.mark.parametrize("after", range(1, 8))
def test_an_interrupted_count_goes_on_with_each_frame_once(folder, tmp_path, after):
    count_files([folder], GreyCounter(), tmp_path / "whole.csv")
    out = tmp_path / "counts.csv"
    interrupted(folder, out, after)
    assert not out.exists()
    counter = GreyCounter()
    tally = count_into([folder], counter, out, resume=True)
    assert rows_of(out) == rows_of(tmp_path / "whole.csv")
    assert len(counter.counted) == 8 - after
    assert (tally.files, tally.frames, tally.failed) == (5, 9, 1)
    names = sorted(p.name for p in tmp_path.iterdir() if not p.name.endswith(".options.json"))
    assert names == ["counts.csv", "images", "whole.csv"]


def test_rows_that_a_spreadsheet_saved_are_gone_on_with(folder, tmp_path):
    from spreadsheet import save_again  # other processes import this file, and have no such path

    count_files([folder], GreyCounter(), tmp_path / "whole.csv")
    out = tmp_path / "counts.csv"
    interrupted(folder, out, 4)
    save_again(tmp_path / "counts.part.csv")
    count_into([folder], GreyCounter(), out, resume=True)
    assert rows_of(out) == rows_of(tmp_path / "whole.csv")
    save_again(out)
    saved, counter = out.read_bytes(), GreyCounter()
    assert count_into([folder], counter, out, resume=True).frames == 9
    assert counter.counted == [] and out.read_bytes() == saved


def test_earlier_rows_are_not_kept_while_others_are_counted(folder, tmp_path, monkeypatch):
    interrupted(folder, tmp_path / "counts.csv", 4)
    kept, write = [], CountTable.write

    def watched(self, row):
        kept.append(len(self.earlier))
        write(self, row)

    monkeypatch.setattr(CountTable, "write", watched)
    count_into([folder], GreyCounter(), tmp_path / "counts.csv", resume=True)
    assert set(kept) == {0}


@pytest.mark.parametrize("cut", [1, 5, 30, 60])
def test_a_line_that_was_written_by_half_is_counted_again(folder, tmp_path, cut):
    count_files([folder], GreyCounter(), tmp_path / "whole.csv")
    out, part = tmp_path / "counts.csv", tmp_path / "counts.part.csv"
    interrupted(folder, out, 4)
    part.write_bytes(part.read_bytes()[:-cut])
    count_into([folder], GreyCounter(), out, resume=True)
    assert rows_of(out) == rows_of(tmp_path / "whole.csv")


def test_a_cell_that_was_cut_within_its_quotes_is_no_row(tmp_path):
    name = 'two\nlines, "quoted".png'
    folder = tmp_path / "images"
    folder.mkdir()
    for k, file in enumerate(["a.png", name]):
        (folder / file).write_bytes(
            cv2.imencode(".png", np.full((4, 4), 100 * k, np.uint8))[1].tobytes()
        )
    out, part = tmp_path / "counts.csv", tmp_path / "counts.part.csv"
    interrupted(folder, out, 1)
    with part.open("ab") as file:
        file.write(f'"{folder}/two\n'.encode())
    count_into([folder], GreyCounter(), out, resume=True)
    rows = rows_of(out)
    assert [row["image"] for row in rows] == [str(folder / "a.png"), str(folder / name)]


def test_nothing_interrupted_begins_and_a_complete_table_stays(folder, tmp_path):
    out = tmp_path / "counts.csv"
    count_into([folder], GreyCounter(), out, resume=True)
    before = out.read_bytes()
    counter = GreyCounter()
    assert count_into([folder], counter, out, resume=True).frames == 9
    assert counter.counted == [] and out.read_bytes() == before
    other = GreyCounter()
    other.name = "other"
    with pytest.raises(UserError, match="is complete and was counted by"):
        count_into([folder], other, out, resume=True)
    cv2.imwrite(str(folder / "new.png"), np.zeros((4, 4), np.uint8))
    with pytest.raises(UserError, match=r"is complete, and .*new.png is not in it"):
        count_into([folder], counter, out, resume=True)


def test_a_complete_table_is_not_taken_for_a_count_with_other_options(folder, tmp_path):
    out = tmp_path / "counts.csv"
    count_into([folder], GreyCounter(), out, interval="1min")
    before = out.read_bytes()
    assert count_into([folder], GreyCounter(), out, resume=True, interval="60 s").frames == 9
    for options, said in (({"interval": "2min"}, "interval 60.0, not 120"),
                          ({}, "interval 60.0, not none"),
                          ({"interval": "1min", "z": 1}, "z none, not 1")):  # fmt: skip
        with pytest.raises(UserError, match=f"{said}.* or choose another name for -o"):
            count_into([folder], GreyCounter(), out, resume=True, **options)
    assert out.read_bytes() == before
    # Tables from before that was kept are taken as they were.
    (tmp_path / ".counts.options.json").unlink()
    assert count_into([folder], GreyCounter(), out, resume=True).frames == 9


def test_rows_that_wait_are_not_lost_without_the_option(folder, tmp_path):
    out, part = tmp_path / "counts.csv", tmp_path / "counts.part.csv"
    interrupted(folder, out, 2)
    before = part.read_bytes()
    # Before the counter is loaded, which may take long.
    with pytest.raises(UserError, match="first 2 rows of an interrupted count: go on with --resum"):
        count_files([folder], "no such model", out)
    assert part.read_bytes() == before


def test_another_model_reading_or_folder_is_refused(folder, tmp_path):
    out = tmp_path / "counts.csv"
    interrupted(folder, out, 2)
    other = GreyCounter()
    other.version = "v2"
    with pytest.raises(UserError, match="was counted with version v1, not v2"):
        count_into([folder], other, out, resume=True)
    with pytest.raises(UserError, match="was counted with interval none, not 60"):
        count_into([folder], GreyCounter(), out, resume=True, interval="1min")
    with pytest.raises(UserError, match=r"was counted with intensity none, not \[0, 9\]"):
        count_into([folder], GreyCounter(), out, resume=True, intensity=(0, 9))
    with pytest.raises(UserError, match="a0.png, which is not among the images"):
        count_into([folder / "a9.png"], GreyCounter(), out, resume=True)
    with pytest.raises(UsageError, match="--overlay and --masks cannot go on"):
        count_into([folder], GreyCounter(), out, resume=True, overlay=tmp_path / "o")
    (tmp_path / "counts.part.json").unlink()
    with pytest.raises(UserError, match="Nothing says how"):
        count_into([folder], GreyCounter(), out, resume=True)
    (tmp_path / "counts.part.csv").write_text("a table of mine\n")
    with pytest.raises(UserError, match=r"counts.part.csv is no table of cellzoo count|Nothing"):
        count_files([folder], GreyCounter(), out)
    assert (tmp_path / "counts.part.csv").read_text() == "a table of mine\n"


def test_a_run_that_was_trained_on_does_not_go_on_with_a_table(folder, tmp_path):
    """Its name and version are the same."""
    for k, (before, now) in enumerate([("", "c0ffee"), ("c0ffee", "c0ffee"), ("c0ffee", "0dd")]):
        out = tmp_path / f"counts{k}.csv"
        first, other = GreyCounter(3), GreyCounter()
        first.digest, other.digest = before, now
        with pytest.raises(KeyboardInterrupt):
            count_files([folder], first, out)
        if now == "0dd":
            with pytest.raises(UserError, match="was counted with weights c0ffee, not 0dd"):
                count_files([folder], other, out, resume=True)
        else:  # earlier versions did not know
            count_files([folder], other, out, resume=True)
            other.digest = "0dd"
            with pytest.raises(UserError, match="weights c0ffee, not 0dd.*another name for -o"):
                count_files([folder], other, out, resume=True)
            other.version = "v2"
            with pytest.raises(UserError, match="is complete and was counted by grey v1"):
                count_files([folder], other, out, resume=True)


def test_two_commands_do_not_write_one_table(folder, tmp_path):
    out = tmp_path / "counts.csv"

    class Meanwhile(GreyCounter):
        def _count(self, images, domain):
            with pytest.raises(UserError, match="is being written by another command"):
                count_into([folder], GreyCounter(), out, resume=True)
            return super()._count(images, domain)

    count_files([folder], Meanwhile(), out)
    assert len(rows_of(out)) == 9


# A slow counter, so that there is something to kill.
_PROGRAM = """
import sys, time
from pathlib import Path
from tests.commands.test_resume import GreyCounter
from cellzoo.commands.count import count_into
from cellzoo.counters import stream
stream.BATCH = 1

class Slow(GreyCounter):
    def _count(self, images, domain):
        time.sleep(0.02)
        return super()._count(images, domain)

count_into([sys.argv[1]], Slow(), sys.argv[2], resume=True)
"""


@pytest.mark.parametrize(
    "kills", [1, pytest.param(10, marks=pytest.mark.slow)], ids=["once", "ten times"]
)
def test_a_count_that_is_killed_is_completed_by_the_same_command(folder, tmp_path, kills):
    for k in range(10, 60):
        cv2.imwrite(str(folder / f"b{k}.png"), np.full((4, 4), k, np.uint8))
    count_files([folder], GreyCounter(), tmp_path / "whole.csv")
    out, part = tmp_path / "counts.csv", tmp_path / "counts.part.csv"
    command = [sys.executable, "-c", _PROGRAM, str(folder), str(out)]
    random, killed = np.random.default_rng(0), 0
    for _ in range(kills):
        before = part.read_bytes() if part.exists() else b""
        process = subprocess.Popen(command)
        while process.poll() is None and (part.read_bytes() if part.exists() else b"") == before:
            time.sleep(0.005)  # until it has begun to count
        time.sleep(random.uniform(0, 0.1))
        process.kill()
        killed += process.wait() != 0
    assert killed
    subprocess.run(command, check=True, timeout=120)
    assert rows_of(out) == rows_of(tmp_path / "whole.csv")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_on_a_terminal_says_how_long_it_takes():
    now, stream = [0.0], Terminal()
    progress = Progress(stream, lambda: now[0])
    progress.start(400, 0)
    for k in range(100):
        now[0] += 1
        progress.row(f"{k}.png")
    assert stream.getvalue().split("\r")[-1].startswith("99 of 400 files, 1.0 frames/s, 5 min left")
    progress.finish()
    assert stream.getvalue().endswith("\r")


def test_progress_elsewhere_is_a_line_a_minute(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("cellzoo"), "propagate", True)
    now, stream = [0.0], io.StringIO()
    progress = Progress(stream, lambda: now[0])
    with caplog.at_level("INFO", "cellzoo"):
        progress.start(1000, 12)
        for k in range(150):
            now[0] += 1
            progress.row(f"{k}.png")
        progress.finish()
    messages = list(dict.fromkeys(caplog.messages))  # two handlers hear each
    assert messages[0] == "12 files are counted already, 1,000 are left."
    assert len(messages) == 3 and messages[1].startswith("59 of 1,000 files")
    assert stream.getvalue() == ""


def test_what_it_was_counted_with_is_beside_the_rows(folder, tmp_path):
    interrupted(folder, tmp_path / "counts.csv", 1)
    about = json.loads((tmp_path / "counts.part.json").read_text())
    assert about == {"model": "grey", "version": "v1", "interval": None}


@pytest.mark.parametrize("system", ["of POSIX", "of Windows"])
def test_a_count_that_has_ended_locks_nobody_out(tmp_path, monkeypatch, system):
    unlink = Path.unlink

    def refuse_locks(self, *args, **options):
        if self.suffix == ".lock":
            raise PermissionError(13, "is used by another process")
        unlink(self, *args, **options)

    if system == "of Windows":
        monkeypatch.setattr(Path, "unlink", refuse_locks)
    for name in ("a", "b"):
        table = CountTable(tmp_path / f"{name}.csv", ["image"], {})
        with pytest.raises(UserError, match="is being written by another command"):
            CountTable(tmp_path / f"{name}.csv", ["image"], {}, resume=True)
        table.write([f"{name}.png"])
        table.finish()
        (tmp_path / f"{name}.csv").unlink()
        CountTable(tmp_path / f"{name}.csv", ["image"], {}).abandon()
    left = {file.name for file in tmp_path.iterdir()}
    assert left <= {f".{n}.{end}" for n in "ab" for end in ("options.json", "part.csv.lock")}
    assert system == "of Windows" or not any(name.endswith("lock") for name in left)


def test_an_option_that_is_left_out_is_another_option(tmp_path):
    out, with_it = tmp_path / "counts.csv", {"model": "a", "diameter": "25px"}
    table = CountTable(out, ["image"], with_it)
    table.write(["a.png"])
    table.abandon()
    with pytest.raises(UserError, match="was counted with diameter 25px, not none: give the same"):
        CountTable(out, ["image"], {"model": "a"}, resume=True)
    CountTable(out, ["image"], with_it, resume=True).finish()
    with pytest.raises(UserError, match="was counted with diameter 25px, not none: give the same"):
        CountTable(out, ["image"], {"model": "a"}, resume=True)


def test_a_diameter_is_the_same_however_it_is_written():
    written = ("25", "25px", "25 px", "25.0PX")
    assert {str(Diameter.parse(text)) for text in written} == {"25px"}
    assert str(Diameter.parse("12 µm")) == "12um"
