"""Tables of counts, and what `cellzoo growth` makes of them."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cellzoo.errors import UserError
from cellzoo.timelapse.growth import report
from cellzoo.timelapse.growth.analysis import analyse
from cellzoo.timelapse.growth.series import read_series

HEADER = "image,frame,count,count_raw,count_low,count_high,model,version,seconds,error,flag"


@pytest.fixture(autouse=True)
def small_figures(monkeypatch):
    monkeypatch.setattr(report, "DPI", 10)


def write_table(file, series, hours=60.0, frames=61, doubling=20.0):
    """A counts.csv of chambers that double alike, as `cellzoo count` writes it."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*HEADER.split(","), "series", "time"])
        for name in series:
            for k, time in enumerate(np.linspace(0, hours, frames)):
                raw = 2 * 2 ** (time / doubling)
                row = [f"{name}.tif", k, round(raw), f"{raw:.3f}", f"{raw - 1:.3f}"]
                writer.writerow([*row, f"{raw + 1:.3f}", "m", 1, 0.1, "", "", name, time])
    return file


def read(file):
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_the_folder(tmp_path, run_cli):
    table = write_table(tmp_path / "counts.csv", ["ch2", "ch10", "=ch<1>"])
    out = tmp_path / "growth"
    result = run_cli("growth", str(table), "-o", str(out))
    assert result.exit_code == 0, result.output
    assert "3 of 3 series have a growth rate" in result.stdout
    rows = read(out / "growth.csv")
    assert (
        list(rows[0])
        == (
            "series rate_per_hour rate_low rate_high doubling_hours doubling_low doubling_high "
            "divisions first_hour last_hour lag_hours flag"
        ).split()
    )
    assert [row["series"] for row in rows] == ["'=ch<1>", "ch2", "ch10"]
    assert float(rows[1]["doubling_hours"]) == pytest.approx(20, rel=0.02)
    content = json.loads((out / "growth.json").read_text())
    assert content["series"][1]["rate_per_hour"] == pytest.approx(np.log(2) / 20, rel=0.02)
    page = (out / "growth.html").read_text()
    assert "=ch&lt;1&gt;" in page and "ch<1>" not in page
    assert not re.search(r"<script|https?://|(?:src|href)=\"(?!data:|#)", page)
    assert len(list((out / "figures").glob("*_ch*.png"))) == 3
    assert not list(tmp_path.glob(".*"))


def test_conditions(tmp_path, run_cli):
    table = write_table(tmp_path / "counts.csv", ["a1", "a2", "b1", "b2"])
    (tmp_path / "chambers.csv").write_text(
        "series,medium,chip\na1,rich,x\na2,rich,y\nb1,poor,x\nb2,poor,y\nother,poor,z\n"
    )
    arguments = ["growth", str(table), "--by", "medium", "--series", str(tmp_path / "chambers.csv")]
    result = run_cli(*arguments, "-o", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    assert "medium rich: 2 of 2 with a rate" in result.stdout
    (rich, poor) = read(tmp_path / "out" / "conditions.csv")
    assert (rich["condition"], rich["series"], poor["with_rate"]) == ("rich", "2", "2")


def test_a_series_of_two_conditions_is_refused(tmp_path):
    table = tmp_path / "c.csv"
    table.write_text("series,hours,count,medium\na,0,2,rich\na,1,2,\n")
    assert analyse(table, by="medium").conditions[0].condition == "rich"
    table.write_text("series,hours,count,medium\na,0,2,rich\na,1,2,poor\n")
    with pytest.raises(UserError, match="says several medium of the series a, rich and poor"):
        analyse(table, by="medium")


def test_a_last_part_that_two_series_have_names_none(tmp_path):
    (tmp_path / "c.csv").write_text("series,hours,count\nx/1,0,2\ny/1,0,2\n")
    names = tmp_path / "s.csv"
    names.write_text("series,medium\n1,rich\nx/1,poor\n")
    found = analyse(tmp_path / "c.csv", by="medium", series_table=names)
    assert [one.condition for one in found.conditions] == ["poor", "rich"]
    names.write_text("series,medium\n1,rich\n")
    with pytest.raises(UserError, match="the series 1, which may be x/1 or y/1"):
        analyse(tmp_path / "c.csv", by="medium", series_table=names)


def test_a_series_without_a_rate_has_empty_cells_and_a_sentence(tmp_path, run_cli):
    table = write_table(tmp_path / "counts.csv", ["slow"], doubling=90)
    result = run_cli("growth", str(table), "-o", str(tmp_path / "out"))
    assert result.exit_code == 0
    (row,) = read(tmp_path / "out" / "growth.csv")
    assert row["rate_per_hour"] == row["doubling_high"] == ""
    assert "three are needed" in row["flag"]


def test_a_folder_that_a_kill_left_is_cleaned(tmp_path, run_cli):
    table = write_table(tmp_path / "counts.csv", ["a"])
    left = tmp_path / ".out.part" / "complete"
    left.mkdir(parents=True)
    (left / "growth.csv").write_text("half")
    assert run_cli("growth", str(table), "-o", str(tmp_path / "out")).exit_code == 0
    assert not left.exists() and len(read(tmp_path / "out" / "growth.csv")) == 1


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--pair", "chip"], "name the column, too"),
        (["--by", "chip"], "has no column chip: its columns are image"),
        (["--interval", "20"], "such as 20min"),
        (["--by", "medium", "--series", "none.csv"], "none.csv: cannot be opened"),
    ],
)
def test_wrong_usage_is_a_sentence(tmp_path, run_cli, arguments, words):
    table = write_table(tmp_path / "counts.csv", ["a"])
    result = run_cli("growth", str(table), "-o", str(tmp_path / "out"), *arguments)
    assert result.exit_code in (1, 2) and words in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_full_folder_is_left_alone(tmp_path, run_cli):
    table = write_table(tmp_path / "counts.csv", ["a"])
    result = run_cli("growth", str(table), "-o", str(tmp_path))
    assert result.exit_code == 1 and "holds other files" in result.stderr


def write_rows(file, *rows, header=HEADER):
    file.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return file


def test_tables_without_series_and_times(tmp_path):
    rows = [f"stack.tif,{k},{k + 1},,,,m,1,,," for k in range(3)]
    rows += [f"day/well1_t{k:03d}.png,0,{k},,,,m,1,,," for k in (11, 9, 10)]
    rows += [f"other/{k}.png,0,{k},,,,m,1,,," for k in (1, 3)]
    table = write_rows(tmp_path / "counts.csv", *rows)
    with pytest.raises(UserError, match="--interval 20min"):
        read_series(table)
    found = {one.name: one for one in read_series(table, interval=0.5)[0]}
    assert found["stack.tif"].times.tolist() == [0, 0.5, 1]
    numbered = found["day/well1_t*.png"]
    assert numbered.counts.tolist() == [9, 10, 11]
    assert np.diff(numbered.times).tolist() == [0.5, 0.5]
    assert np.diff(found["other/*.png"].times).tolist() == [1.0]  # frame 2 is a gap


def test_numbers_that_are_several_apart_are_said(tmp_path):
    rows = [f"a_t{k:03d}.png,0,{k},,,,m,1,,," for k in (1, 5, 9, 17)]
    ((found,), notes) = read_series(write_rows(tmp_path / "c.csv", *rows), interval=1 / 3)
    assert np.diff(found.times[:3]).tolist() == pytest.approx([4 / 3, 4 / 3])
    assert notes == [
        "a_t*.png: numbers of frames are 4 apart, and an interval is from one number to the next, "
        "so frames are taken every 80 min"
    ]


def test_a_channel_after_the_number_of_the_frame_is_not_its_number(tmp_path):
    rows = [f"a_t{k:03d}_ch1.png,0,{k},,,,m,1,,," for k in (1, 2)]
    ((found,), _) = read_series(write_rows(tmp_path / "c.csv", *rows), interval=2)
    assert found.times.tolist() == [2, 4]


def test_frames_with_an_error_are_left_out(tmp_path):
    rows = ["a.tif,0,2,2.1,,,m,1,,,", "a.tif,1,,,,,m,1,,broken,", "a.tif,2,3,2.9,,,m,1,,,blurred"]
    ((found,), notes) = read_series(write_rows(tmp_path / "c.csv", *rows), interval=1)
    assert found.counts.tolist() == [2.1, 2.9] and found.times.tolist() == [0, 2]
    assert found.flags == ("", "blurred")
    assert notes == ["c.csv: line 3 has an error and is left out"]


@pytest.mark.parametrize(
    "text, words",
    [
        ("image,frame\na,0\n", "has no column count, its columns are image, frame"),
        (HEADER + "\n", "has no rows"),
        ("image,frame,count,time\na,0,many,1\n", "line 2: count 'many' is no number"),
        ("image,frame,count,time\na,0,-1,1\n", "is negative"),
        ("image,frame,count,time\na,0,1,1\na,1,1,1\n", "lines 2 and 3"),
        ("image,frame,count,time\na,0,1,noon\n", "is not understood"),
        ("image,frame,count,time\na,0,,1\n", "no frame with a count"),
    ],
)
def test_tables_that_cannot_be_used_say_why(tmp_path, text, words):
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(UserError, match=re.escape(words)):
        read_series(tmp_path / "c.csv")


def test_an_interval_may_have_a_blank(tmp_path, run_cli):
    rows = [f"a_t{k:03d}.png,0,{round(2 * 2 ** (k / 20))},,,,m,1,,," for k in range(61)]
    table = write_rows(tmp_path / "c.csv", *rows)
    result = run_cli("growth", str(table), "-o", str(tmp_path / "out"), "--interval", "60", "min")
    assert result.exit_code == 0, result.output
    (row,) = read(tmp_path / "out" / "growth.csv")
    assert float(row["last_hour"]) == 60
    result = run_cli("growth", str(table), "-o", str(tmp_path / "o"), "--interval", "20")
    assert result.exit_code == 2 and "--interval '20' is no time" in result.stderr


def killed(change, table, out):
    """Runs growth until its n-th change of the disk; 0: to its end."""
    script = Path(__file__).parents[2] / "killed.py"
    return subprocess.run(
        [sys.executable, script, "growth", str(change), table, out],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "change", [7, *(pytest.param(k, marks=pytest.mark.slow) for k in range(1, 11) if k != 7)]
)
def test_a_killed_growth_is_made_again_alike(tmp_path, change, run_cli):
    table = write_table(tmp_path / "counts.csv", ["a", "b"])
    out = tmp_path / "out"
    assert killed(change, table, out).returncode == 9
    assert not out.exists()
    for folder in (out, tmp_path / "whole"):
        result = run_cli("growth", str(table), "-o", str(folder))
        assert result.exit_code == 0, result.output
    for name in ("growth.csv", "growth.json", "growth.html"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not list(tmp_path.glob(".*"))
