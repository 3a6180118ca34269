"""A watch counts each frame once, whatever the microscope and the machine do meanwhile."""

import csv
import io
import logging
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest
import tifffile

from cellzoo.commands.count import CountRow
from cellzoo.commands.count_table import CountTable
from cellzoo.counters.base import Counter
from cellzoo.counters.stream import CounterBarred, RefusedImages
from cellzoo.errors import UsageError, UserError
from cellzoo.images import find, to_unit
from cellzoo.images import read as read_module
from cellzoo.timelapse.watch import alerts as module_of_alerts
from cellzoo.timelapse.watch import live_page
from cellzoo.timelapse.watch import watch as module
from cellzoo.timelapse.watch.alerts import Alerts, words_of
from cellzoo.timelapse.watch.live_page import LivePage
from cellzoo.timelapse.watch.watch import Watch
from tests.microscope_files import micromanager


class GreyCounter(Counter):
    """Counts a cell for each ten grey levels; no TensorFlow."""

    name, version = "grey", "v1"
    axes, channel = None, None

    def __init__(self):
        self.counted = 0

    def _prepare(self, frame, scaled):
        return to_unit(frame.pixels)

    def _count(self, images, domain):
        self.counted += len(images)
        raw = 25.5 * images.mean(axis=(1, 2))
        return raw, raw - 1, raw + 1


def png(level):
    return cv2.imencode(".png", np.full((8, 8), level, np.uint8))[1].tobytes()


def rows_of(file):
    return list(csv.DictReader(io.StringIO(file.read_text(), newline="")))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "POLL", 0.02)
    monkeypatch.setattr(module, "PATIENCE", 0.3)
    monkeypatch.setattr(module, "AWAY", 0.02)


@pytest.fixture
def folder(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for k in range(4):
        (images / f"c_t{k:03d}.png").write_bytes(png(10 * k))
    return images


def watch(folder, out, counter=None, alerts=None, idle=0.1, **options):
    watched = Watch(folder, counter or GreyCounter(), out, alerts=alerts or Alerts(), **options)
    watched.run(idle)
    return watched


def test_what_is_there_and_what_comes_is_counted_once(folder, tmp_path):
    out = tmp_path / "counts.csv"

    def come():
        time.sleep(0.2)
        for k in range(4, 8):
            (folder / f"c_t{k:03d}.png").write_bytes(png(10 * k))
            time.sleep(0.03)

    coming = threading.Thread(target=come)
    coming.start()
    watched = watch(folder, out, idle=0.6, interval_s=1800)
    coming.join()
    rows = rows_of(out)
    assert [int(row["count"]) for row in rows] == list(range(8)) and watched.frames == 8
    assert [row["time"] for row in rows[:3]] == ["0", "0.5", "1"]
    assert len({row["series"] for row in rows}) == 1


def test_pictures_of_a_program_are_left_out_and_looked_at_once(folder, tmp_path, monkeypatch):
    looked, is_made = [], find._is_made_of_another

    def look(path, stems):
        looked.append(path.name)
        return is_made(path, stems)

    monkeypatch.setattr(find, "_is_made_of_another", look)
    (folder / "c_t001_cp_masks.png").write_bytes(png(90))
    watch(folder, tmp_path / "counts.csv")
    assert looked.count("c_t001_cp_masks.png") == 1
    assert len(rows_of(tmp_path / "counts.csv")) == 4


def test_it_goes_on_with_its_table(folder, tmp_path):
    out = tmp_path / "counts.csv"
    (tmp_path / "counts.json").write_text("mine")
    watch(folder, out)
    (folder / "c_t004.png").write_bytes(png(40))
    with out.open("ab") as file:
        file.write(b"half a li")  # a crash
    counter = GreyCounter()
    watched = watch(folder, out, counter)
    assert counter.counted == 1 and watched.frames == 5
    assert (tmp_path / "counts.json").read_text() == "mine"
    assert [int(row["count"]) for row in rows_of(out)] == list(range(5))


def test_a_half_written_file_waits_and_a_broken_one_gets_its_row_in_the_end(folder, tmp_path):
    out, content = tmp_path / "counts.csv", png(90)
    (folder / "c_t004.png").write_bytes(content[:40])
    (folder / "c_t005.png").write_bytes(b"broken")
    (folder / "c_t006.png").write_bytes(png(60))

    def rest():
        time.sleep(0.15)
        (folder / "c_t004.png").write_bytes(content)

    writing = threading.Thread(target=rest)
    writing.start()
    watched = watch(folder, out, idle=0.5)
    writing.join()
    rows = {row["image"][-8:]: row for row in rows_of(out)}
    assert rows["t004.png"]["count"] == "9" and rows["t006.png"]["count"] == "6"
    assert rows["t005.png"]["error"] and watched.failed == 1 and len(rows) == 7


def write_stack(path, levels):
    frames = np.stack([np.full((8, 8), level, np.uint8) for level in levels])
    tifffile.imwrite(path, frames, photometric="minisblack", metadata={"axes": "TYX"})


def test_a_stack_that_grows_is_followed_also_across_an_end(tmp_path):
    stack, out = tmp_path / "stack.tif", tmp_path / "counts.csv"
    write_stack(stack, [10, 20])
    watch(stack, out)
    write_stack(stack, [10, 20, 30, 40])
    counter = GreyCounter()
    watch(stack, out, counter)
    assert [int(row["count"]) for row in rows_of(out)] == [1, 2, 3, 4] and counter.counted == 2
    lines = out.read_text().splitlines(keepends=True)
    out.write_text("".join(lines[:4]))  # a crash within the stack
    watch(stack, out)
    assert [int(row["frame"]) for row in rows_of(out)] == [0, 1, 2, 3]


def test_a_file_that_becomes_whole_after_its_error_is_counted_also_across_an_end(tmp_path):
    folder, out = tmp_path / "images", tmp_path / "counts.csv"
    folder.mkdir()
    stack, early, late = folder / "stack.tif", folder / "early.png", folder / "late.png"
    write_stack(stack, [10, 20, 30])
    whole = stack.read_bytes()
    for file in (stack, early, late):
        file.write_bytes(png(90)[:40])

    def rest():
        while not out.exists() or len(rows_of(out)) < 3:
            time.sleep(0.01)
        stack.write_bytes(whole)
        early.write_bytes(png(90))

    writing = threading.Thread(target=rest, daemon=True)
    writing.start()
    assert watch(folder, out, idle=0.8).failed == 3
    watch(folder, out, idle=0.5)  # what is still broken has its row already
    late.write_bytes(png(70))
    watch(folder, out)
    rows = [row for row in rows_of(out) if not row["error"]]
    assert sorted((row["image"][-8:], row["frame"], row["count"]) for row in rows) == [
        ("arly.png", "0", "9"), ("late.png", "0", "7"),
        ("tack.tif", "0", "1"), ("tack.tif", "1", "2"), ("tack.tif", "2", "3"),
    ]  # fmt: skip
    assert len(rows_of(out)) == 3 + 5


def test_a_frame_that_is_refused_is_through_and_those_around_it_are_counted_once(tmp_path):
    stack, out = tmp_path / "stack.tif", tmp_path / "counts.csv"

    class Choosy(GreyCounter):
        def _prepare(self, frame, scaled):
            if frame.pixels.max() == 20:
                raise RefusedImages("20 is too bright.")
            return super()._prepare(frame, scaled)

    for levels in ([10, 20, 30], [10, 20, 30, 40], [10, 20, 30, 40, 20, 50]):
        write_stack(stack, levels)
        watch(stack, out, Choosy())
    assert [row["count"] for row in rows_of(out)] == ["1", "", "3", "4", "", "5"]
    assert [row["frame"] for row in rows_of(out)] == list("012345")


def test_frames_of_each_position_are_counted_once_as_a_file_grows(tmp_path):
    file, out = tmp_path / "a_MMStack.ome.tif", tmp_path / "counts.csv"
    summary = {"Frames": 4, "Slices": 1, "Channels": 1, "Positions": 2}
    planes = {}
    for time_point in range(4):
        for position in range(2):
            level = 10 * (1 + time_point + 4 * position)
            planes[position, time_point, 0, 0] = np.full((8, 8), level, np.uint8)
            if (time_point, position) in ((0, 0), (1, 0), (1, 1), (3, 1)):
                micromanager(file, planes, summary)
                watch(file, out, position="all", interval_s=3600)
    found = {}
    for row in rows_of(out):
        found.setdefault(row["series"][-4:], []).append((row["count"], row["time"], row["frame"]))
    assert found == {
        "Pos0": [(str(1 + k), str(k), str(k)) for k in range(4)],
        "Pos1": [(str(5 + k), str(k), str(k)) for k in range(4)],
    }


def test_frames_that_are_counted_are_not_read_again(tmp_path, monkeypatch):
    stack, out = tmp_path / "stack.tif", tmp_path / "counts.csv"
    numbers, read = [], read_module.read_planned

    def reading(planned, *rest):
        numbers.append(planned.index)
        return read(planned, *rest)

    monkeypatch.setattr(read_module, "read_planned", reading)
    for n in range(1, 6):
        write_stack(stack, [10 * k for k in range(n)])
        watch(stack, out)
    assert numbers == list(range(5)) == [int(row["count"]) for row in rows_of(out)]


def test_a_series_keeps_its_start_when_its_first_files_are_moved_away(folder, tmp_path):
    out = tmp_path / "counts.csv"
    watch(folder, out, interval_s=3600)
    for k in range(3):
        (folder / f"c_t{k:03d}.png").unlink()
    (folder / "c_t004.png").write_bytes(png(40))
    watch(folder, out, interval_s=3600)
    assert [row["time"] for row in rows_of(out)] == list("01234")


def test_files_that_come_before_the_start_of_their_series_leave_its_times(tmp_path):
    folder, out = tmp_path / "images", tmp_path / "counts.csv"
    folder.mkdir()
    for numbers in ((5, 6), (2, 7), (9,)):
        for k in numbers:
            (folder / f"c_t{k:03d}.png").write_bytes(png(10 * k))
        watch(folder, out, interval_s=1800)
    assert [(row["count"], row["time"]) for row in rows_of(out)] == [
        ("5", "0"), ("6", "0.5"), ("2", "-1.5"), ("7", "1"), ("9", "2")
    ]  # fmt: skip


def test_a_picture_that_changes_after_it_was_counted_is_said(folder, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("cellzoo"), "propagate", True)
    out = tmp_path / "counts.csv"

    def change():
        while not out.exists() or len(rows_of(out)) < 4:
            time.sleep(0.01)
        (folder / "c_t001.png").write_bytes(png(200))

    changing = threading.Thread(target=change, daemon=True)
    changing.start()
    with caplog.at_level("WARNING", "cellzoo"):
        watch(folder, out, idle=0.5)
        watch(folder, out)
    assert {r.message for r in caplog.records if "changed after" in r.message} == {
        f"{folder / 'c_t001.png'} changed after it was counted: its row is of what it was before. "
        "Count it with cellzoo count."
    }
    assert [int(row["count"]) for row in rows_of(out)] == [0, 1, 2, 3]


def test_another_model_or_a_missing_folder_is_refused(folder, tmp_path):
    out = tmp_path / "counts.csv"
    watch(folder, out)
    other = GreyCounter()
    other.version = "v2"
    with pytest.raises(UserError, match="was counted with version v1, not v2"):
        watch(folder, out, other)
    with pytest.raises(UserError, match="no such file or folder"):
        watch(tmp_path / "none", tmp_path / "other.csv")
    (tmp_path / "mine.csv").write_text("a table of mine\n1\n")
    with pytest.raises(UserError, match="Nothing says how|is no table of cellzoo count"):
        watch(folder, tmp_path / "mine.csv")
    assert (tmp_path / "mine.csv").read_text() == "a table of mine\n1\n"


def test_bits_that_only_a_later_frame_would_say_are_asked_for(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    tifffile.imwrite(folder / "t0.tif", np.full((8, 8), 900, np.uint16))

    class FullRange(GreyCounter):
        takes_full_range = True

    with pytest.raises(UserError, match="how many of 16 bits are used.*--intensity 0 4095"):
        watch(folder, tmp_path / "counts.csv", FullRange())
    watch(folder, tmp_path / "other.csv", FullRange(), intensity=(0, 4095))
    assert rows_of(tmp_path / "other.csv")[0]["count"] == "6"  # 25.5 * 900 / 4095


def test_a_server_that_is_away_is_asked_again(folder, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("cellzoo"), "propagate", True)

    class Away(GreyCounter):
        remote, times = True, 2

        def _count(self, images, domain):
            if self.times:
                self.times -= 1
                raise UserError("localhost:8500 does not answer.")
            return super()._count(images, domain)

    with caplog.at_level("WARNING", "cellzoo"):
        watch(folder, tmp_path / "counts.csv", Away())
    assert [int(row["count"]) for row in rows_of(tmp_path / "counts.csv")] == [0, 1, 2, 3]
    assert "does not answer. Trying again" in caplog.text


@pytest.mark.parametrize(
    "error", [UsageError("Say --intensity."), CounterBarred("It does not let us in.")]
)
def test_what_no_waiting_cures_ends_a_watch_of_a_server(folder, tmp_path, error):
    class Refusing(GreyCounter):
        remote, asked = True, 0

        def _count(self, images, domain):
            self.asked += 1
            assert self.asked == 1, "asked again"
            raise error

    with pytest.raises(type(error)):
        watch(folder, tmp_path / "counts.csv", Refusing())


def test_a_count_that_somebody_took_out_of_the_table_ends_nothing(folder, tmp_path):
    out = tmp_path / "counts.csv"
    watch(folder, out)
    lines = out.read_text().splitlines()
    lines[2] = lines[2].replace(",0,1,1.000", ",0,,1.000").replace(",0,1,", ",0,,")
    lines[3] = lines[3].replace(",0,2,", ",0,two,")
    out.write_text("\n".join([*lines[:3], "", *lines[3:]]) + "\n")
    (folder / "c_t004.png").write_bytes(png(40))
    assert watch(folder, out).frames == 5
    assert [row["count"] for row in rows_of(out)] == ["0", "", "two", "3", "4"]


def test_a_row_that_could_not_be_written_is_written_later(folder, tmp_path, monkeypatch):
    class Remote(GreyCounter):
        remote = True

    failing, write = [True, True], CountTable.write

    def write_or_fail(table, row):
        if failing:
            failing.pop()
            raise UserError("The disk is full.")
        write(table, row)

    monkeypatch.setattr(CountTable, "write", write_or_fail)
    watch(folder, tmp_path / "counts.csv", Remote())
    assert [row["count"] for row in rows_of(tmp_path / "counts.csv")] == list("0123")


_PROGRAM = """
import sys
from pathlib import Path
from tests.timelapse.watch import test_watch as t
from cellzoo.timelapse.watch import watch as module
module.POLL = 0.02
t.watch(Path(sys.argv[1]), Path(sys.argv[2]), idle=float(sys.argv[3]))
"""


@pytest.mark.parametrize(
    "kills", [1, pytest.param(10, marks=pytest.mark.slow)], ids=["once", "ten times"]
)
def test_a_watch_that_is_killed_goes_on_with_each_frame_once(folder, tmp_path, kills):
    out, random = tmp_path / "counts.csv", np.random.default_rng(0)
    command = [sys.executable, "-c", _PROGRAM, str(folder), str(out)]
    number = 4
    for _ in range(kills):
        before = out.read_bytes() if out.exists() else b""
        process = subprocess.Popen([*command, "60"])
        for _ in range(20):
            (folder / f"c_t{number:03d}.png").write_bytes(png(number % 25 * 10))
            number += 1
        while (out.read_bytes() if out.exists() else b"") == before and process.poll() is None:
            time.sleep(0.002)
        time.sleep(random.uniform(0, 0.02))
        process.kill()
        process.wait()
    subprocess.run([*command, "0.2"], check=True, timeout=120)
    names = [row["image"] for row in rows_of(out)]
    assert len(names) == len(set(names)) == number


def row(count, flag="", series="a"):
    return CountRow("a.png", 0, count=count, series=series, flag=flag)


def told(tmp_path, monkeypatch, caplog, rows):
    monkeypatch.setattr(logging.getLogger("cellzoo"), "propagate", True)
    script = tmp_path / "alert.py"
    script.write_text(
        "import os, sys\n"
        f"open({str(tmp_path / 'alerts.txt')!r}, 'a').write(\n"
        "    os.environ['CELLZOO_EVENT'] + '|' + sys.argv[1] + '\\n')\n"
    )
    alerts = Alerts(f"{sys.executable} {script}")
    with caplog.at_level("WARNING", "cellzoo"):
        for each in rows:
            alerts.take(each)
        alerts.close()
    file = tmp_path / "alerts.txt"
    return file.read_text().splitlines() if file.exists() else []


def test_a_chamber_that_empties_is_told_of_once_and_again_after_it_was_well(
    tmp_path, monkeypatch, caplog
):
    counts = [4, 5, 0, 0, 0, 0, 3, 3, 3, 0, 0, 0]
    said = told(tmp_path, monkeypatch, caplog, [row(n) for n in counts])
    assert said == ["empty|a is empty."] * 2


def test_an_overflow_and_lost_focus_are_told_of(tmp_path, monkeypatch, caplog):
    above = "41 cells, above the 28 of the training images"
    blurred = "less fine detail than the training images: out of focus?"
    rows = [row(41, above, "b")] * 3 + [row(5, blurred, "c")] * 2 + [row(5, "", "c")]
    said = told(tmp_path, monkeypatch, caplog, rows + [row(5, blurred, "d")] * 3)
    assert sorted(said) == [
        "focus|d seems out of focus.",
        "overflow|b has 41 cells, more than the counter was trained for.",
    ]


def test_alerts_that_fail_end_nothing(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("cellzoo"), "propagate", True)
    with pytest.raises(UsageError, match="--alert 'open cannot be understood"):
        Alerts("'open")
    alerts = Alerts("/no/such/program")
    with caplog.at_level("WARNING", "cellzoo"):
        for n in (4, 0, 0, 0):
            alerts.take(row(n))
    assert "--alert /no/such/program cannot be run" in caplog.text
    failing = Alerts(f"{sys.executable} -c 'raise SystemExit(3)'")
    with caplog.at_level("WARNING", "cellzoo"):
        for n in (4, 0, 0, 0):
            failing.take(row(n))
        failing.close()
    assert "ended with 3" in caplog.text


def test_backslashes_of_a_windows_path_stay():
    assert words_of(r'python "C:\my lab\mail.py" -v', windows=True) == [
        "python", r"C:\my lab\mail.py", "-v"
    ]  # fmt: skip
    assert words_of(r"python my\ lab/mail.py", windows=False) == ["python", "my lab/mail.py"]


def test_commands_are_waited_for_a_minute_altogether(monkeypatch):
    now, waited = [0.0], []

    class Slow:
        args = ["slow"]

        def wait(self, timeout):
            waited.append(timeout)
            now[0] += timeout
            raise subprocess.TimeoutExpired("slow", timeout)

        def poll(self):
            return None

        def kill(self):
            pass

    monkeypatch.setattr(module_of_alerts.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module_of_alerts.subprocess, "Popen", lambda *_, **__: Slow())
    alerts = Alerts("slow")
    for series in "ab":
        for n in (4, 0, 0, 0):
            alerts.take(row(n, series=series))
    alerts.close()
    assert len(waited) == 2 and sum(waited) == 60


def test_a_command_that_failed_is_reported_while_others_run(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("cellzoo"), "propagate", True)

    class Failed:
        def poll(self):
            return 7

        def wait(self, timeout):
            return 7

    monkeypatch.setattr(module_of_alerts.subprocess, "Popen", lambda *_, **__: Failed())
    alerts = Alerts("failing")
    with caplog.at_level("WARNING", "cellzoo"):
        for series in "ab":
            for n in (4, 0, 0, 0):
                alerts.take(row(n, series=series))
        alerts.close()
    words = "--alert failing ended with 7."
    # Each once, even where two handlers hear it.
    assert len({id(record) for record in caplog.records if record.message == words}) == 2


def test_the_page_is_fresh_and_says_when_a_chamber_has_stopped(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("cellzoo"), "propagate", True)
    out = tmp_path / "counts.csv"
    levels = [2, 2, 2, 3, 3, 4, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 16, 18, 20, 22] + [22] * 60
    lines = ["image,frame,count,series,time"]
    lines += [f"a.png,{k},{n},a,{k * 0.5:g}" for k, n in enumerate(levels)]
    out.write_text("\n".join(lines) + "\n")
    now, alerts = [0.0], Alerts()
    page = LivePage(out, alerts, lambda: now[0])
    page.refresh()
    assert not page.file.exists()  # nothing was counted
    page.note("a")
    with caplog.at_level("WARNING", "cellzoo"):
        page.close()
    content = page.file.read_text()
    assert '<meta http-equiv="refresh"' in content and page.file.with_suffix(".csv").is_file()
    assert "a has not grown since" in caplog.text
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        ".counts.said.json", "counts.csv", "counts.growth.csv", "counts.growth.html"
    ]  # fmt: skip
    page.file.unlink()
    page.note("a")
    page.refresh()
    assert not page.file.exists()  # too soon
    now[0] += 1000
    page.refresh()
    page.close()
    assert page.file.exists()
    caplog.clear()
    page = LivePage(out, Alerts())  # as after a restart
    page.note("a")
    with caplog.at_level("WARNING", "cellzoo"):
        page.close()
    assert "has not grown" not in caplog.text


def test_a_page_of_very_many_series_is_heard_to_its_end(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("cellzoo"), "propagate", True)
    monkeypatch.setattr(
        live_page,
        "_PROGRAM",
        "import json; print(json.dumps({'plateaus': {f'{k:0100}': None for k in range(2000)},"
        " 'error': 'all was heard.'}))",
    )
    page = LivePage(tmp_path / "counts.csv", Alerts())
    page.note("a")
    with caplog.at_level("WARNING", "cellzoo"):
        for _ in range(500):  # 10 s
            page.refresh()
            if caplog.text:
                break
            time.sleep(0.02)
    assert "all was heard." in caplog.text


def test_times_that_are_missing_are_said_once_instead_of_a_page(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("cellzoo"), "propagate", True)
    out = tmp_path / "counts.csv"
    out.write_text("image,frame,count,series,time\na.png,0,1,a,\n")
    page = LivePage(out, Alerts())
    with caplog.at_level("WARNING", "cellzoo"):
        for _ in range(2):
            page.note("a")
            page.close()
    assert len({record.message for record in caplog.records}) == 1
    assert "--interval" in caplog.text
