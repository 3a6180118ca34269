"""A count in shards: joined they are the table of one count, and anything less is refused."""

import csv
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from cellzoo.cli import main
from cellzoo.commands.count import count_into
from cellzoo.commands.join import join
from cellzoo.commands.shards import Shard
from cellzoo.counters import stream
from cellzoo.counters.base import Counter
from cellzoo.errors import UsageError, UserError
from cellzoo.images import to_unit


class GreyCounter(Counter):
    """Counts 100 cells where an image is white; ends after some batches."""

    name, version, takes_full_range = "grey", "v1", True

    def __init__(self, last=None, version="v1"):
        self.last, self.version, self.batches = last, version, 0

    def _prepare(self, frame, scaled):
        return to_unit(frame.pixels)

    def _count(self, images, domain):
        if self.batches == self.last:
            raise KeyboardInterrupt
        self.batches += 1
        raw = 100 * images.mean(axis=(1, 2))
        return raw, raw - 1, raw + 1


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A numbered series of 12 of 16 bits, a stack, a broken file, and names of formulas."""
    monkeypatch.chdir(tmp_path)
    images = tmp_path / "images"
    images.mkdir()
    for k in range(9):
        cv2.imwrite(str(images / f"w_t{k}.png"), np.full((16, 16), 10 + 480 * k, np.uint16))
    stack = np.stack([np.full((16, 16), 50 * k, np.uint8) for k in range(5)])
    tifffile.imwrite(images / "s.tif", stack, photometric="minisblack", metadata={"axes": "TYX"})
    (images / "b.png").write_bytes(b"")
    for name in ("=a.png", "z2.png", "z10.png"):
        cv2.imwrite(name, np.full((16, 16), 77, np.uint8))
    return images


def shards_of(paths, number, out="counts.csv", counter=GreyCounter, **options):
    """Counts all shards; returns their tables."""
    tables = []
    for k in range(1, number + 1):
        shard = Shard(k, number)
        tables.append(shard.table(Path(out)))
        count_into(paths, counter(), tables[-1], shard=str(shard), **options)
    return tables


def rows_of(file):
    with Path(file).open(newline="") as opened:
        rows = list(csv.reader(opened))
    return [row[:8] + row[9:] for row in rows]  # without seconds


@pytest.mark.parametrize("number", [1, 2, 5, 14])
def test_joined_shards_are_the_table_of_one_count(folder, number):
    paths = ["=a.png", "images", "z2.png", "z10.png"]
    options = {"interval": "30min"}
    one = count_into(paths, GreyCounter(), "one.csv", **options)
    tables = shards_of(paths, number, **options)
    tally = join(reversed(tables), Path("counts.csv"))
    assert rows_of("counts.csv") == rows_of("one.csv")
    assert len(rows_of("counts.csv")) == 1 + 9 + 5 + 1 + 3
    assert tally == one
    with pytest.raises(UserError, match="counts.csv exists"):
        join(tables, Path("counts.csv"))


def test_a_shard_has_the_same_files_whatever_the_order_of_the_listing(folder):
    files = [str(file) for file in folder.iterdir()]
    tables = shards_of(files, 4)
    again = shards_of(files[::-1], 4, out="again.csv")
    for table, other in zip(tables, again, strict=True):
        assert rows_of(table) == rows_of(other)
    sizes = [len({row[0] for row in rows_of(table)[1:]}) for table in tables]
    assert sum(sizes) == 11 and max(sizes) - min(sizes) <= 1


def test_an_interrupted_shard_goes_on(folder, monkeypatch):
    monkeypatch.setattr(stream, "BATCH", 1)
    whole = shards_of([folder], 2, out="whole.csv")
    table = Shard(2, 2).table(Path("counts.csv"))
    part = table.with_suffix(".part.csv")
    with pytest.raises(KeyboardInterrupt):
        count_into([folder], GreyCounter(last=3), table, shard="2/2")
    with pytest.raises(UserError, match="counts.2-of-2.part.csv is not complete"):
        join([whole[0], part], Path("counts.csv"))
    with pytest.raises(UserError, match="was counted with shard 2/2 of 11 files .* not 1/2 of 11"):
        count_into([folder], GreyCounter(), table, shard="1/2", resume=True)
    count_into([folder], GreyCounter(), table, shard="2/2", resume=True)
    assert rows_of(table) == rows_of(whole[1])
    assert count_into([folder], GreyCounter(), table, shard="2/2", resume=True).frames == 6


def test_chambers_are_counted_in_shards(folder):
    lines = ["image,frame,chamber,x,y,width,height,time"]
    for k in range(9):
        lines += [f"images/w_t{k}.png,0,{name},{x},0,8,8,{k}" for name, x in (("1", 0), ("2", 8))]
    Path("chambers.csv").write_text("\n".join(lines) + "\n")
    files = sorted(folder.glob("w_t*.png"))
    count_into(files, GreyCounter(), "one.csv", chambers="chambers.csv")
    join(shards_of(files, 4, chambers="chambers.csv"), Path("counts.csv"))
    assert rows_of("counts.csv") == rows_of("one.csv")
    assert len(rows_of("one.csv")) == 1 + 18


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "a/4", "1/0", "-1/4", "1/4/2"])
def test_a_shard_is_a_number_of_a_number(text):
    with pytest.raises(UsageError, match="is no part of a whole: write its number, from 1"):
        Shard.parse(text)


def test_more_shards_than_files_are_refused(folder):
    with pytest.raises(UsageError, match="there are 11 files, so make 11 shards at most"):
        count_into([folder], GreyCounter(), "a.csv", shard="1/12")
    assert not Path("a.csv").exists() and not Path("a.part.csv").exists()


def test_what_is_not_the_whole_of_one_count_is_refused(folder):
    out = Path("counts.csv")
    tables = shards_of([folder], 3)
    one, two, three = tables

    def refused(tables, match):
        with pytest.raises(UserError, match=match):
            join(tables, out)
        assert not out.exists() and not list(Path().glob(".*.tmp"))

    refused([one, three], "The table of shard 2/3 is missing")
    refused([three], "The table of shard 1/3, 2/3 is missing")
    shutil.copy(one, "copy.csv")
    refused([*tables, Path("copy.csv")], r"counts.1-of-3.csv and copy.csv are both shard 1/3")
    refused([*tables, Path("none.csv")], "none.csv cannot be read")
    count_into([folder], GreyCounter(), "plain.csv")
    refused([*tables, Path("plain.csv")], "plain.csv is no table of cellzoo count --shard")

    other = shards_of([folder], 2, out="two.csv")
    refused([other[0], two, three], "are of 2 and 3 shards")
    other = shards_of([folder], 3, out="v2.csv", counter=lambda: GreyCounter(version="v2"))
    refused([one, other[1], three], "counted with grey, version v1 and grey, version v2: count one")
    other = shards_of([folder], 3, out="time.csv", interval="1h")
    refused([one, other[1], three], "counted with other weights or options")
    other_weights = type("Other", (GreyCounter,), {"digest": "c0ffee"})
    other = shards_of([folder], 3, out="weights.csv", counter=other_weights)
    refused([one, other[1], three], "counted with other weights or options")
    cv2.imwrite(str(folder / "new.png"), np.zeros((16, 16), np.uint8))
    other = shards_of([folder], 3, out="new.csv")
    refused([one, other[1], three], "are shards of other images")

    lines = two.read_text().splitlines(keepends=True)
    cut = Path("cut.csv")
    cut.write_text("".join(lines[:2]))
    refused([one, cut, three], r"cut.csv has 1 of its \d files: let the same count go on")
    cut.write_text("".join(lines)[:-60])
    refused([one, cut, three], "cut.csv: line .* is not whole")
    cut.write_text("".join(lines)[:-9])
    refused([one, cut, three], "cut.csv was cut, or has rows")
    cut.write_text("".join(lines[:1]))
    refused([one, cut, three], "cut.csv has no row")
    cut.write_text("".join([*lines, *one.read_text().splitlines(keepends=True)[1:]]))
    refused([one, cut, three], "cut.csv was cut, or has rows of another shard")
    assert join(tables, out).frames == 15


def test_the_command_names_the_tables_of_shards(folder, run_cli, monkeypatch):
    monkeypatch.setattr("cellzoo.counters.load.load_counter", lambda *args, **kw: GreyCounter())
    (folder / "b.png").unlink()
    for k in (1, 2):
        result = run_cli("count", folder, "--model", "grey", "--shard", f"{k}/2", "-o", "p.csv")
        assert result.exit_code == 0, result.stderr
        assert result.stdout.splitlines()[-1].endswith(f"p.{k}-of-2.csv")
    result = run_cli("join", "p.2-of-2.csv", "p.1-of-2.csv", "-o", "p.csv")
    assert (result.exit_code, result.stdout) == (
        0, "10 files: counted 14 frames, 0 flagged, 0 failed: p.csv\n"
    )  # fmt: skip
    assert run_cli("count", folder, "--model", "grey", "--shard", "0/2").exit_code == 2
    assert "join" in main.commands
