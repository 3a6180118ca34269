"""How far off counts are, from a few that somebody counts."""

import csv

import numpy as np
import pytest
from click.testing import CliRunner
from spreadsheet import save_again

from cellzoo.cli import main
from cellzoo.commands.check_counts import CORRECTED, check_counts, sheet_of
from cellzoo.commands.count import HEADER, CountRow, cells
from cellzoo.errors import UserError
from cellzoo.files import write_csv


@pytest.fixture(autouse=True)
def _in_the_folder(tmp_path, monkeypatch):
    """Where the paths in a table begin."""
    monkeypatch.chdir(tmp_path)


COUNTS = np.random.default_rng(0).poisson(12, 60).astype(float)


def write_counts(path, raw, half=3.0, series=None, error=False):
    rows = [
        CountRow(
            f"images/{k}.png", 0, round(r), f"{r:.3f}", f"{r - half:.3f}", f"{r + half:.3f}",
            series=series[k] if series else "",
        )
        for k, r in enumerate(raw)
    ]  # fmt: skip
    if error:
        rows.insert(3, CountRow("images/broken.png", 0, error="broken"))
    write_csv(path, HEADER, [cells(row) for row in rows])
    return path


def write_labels(path, counts, places=None, group=None):
    places = range(len(counts)) if places is None else places
    rows = [[f"images/{k}.png", f"{counts[k]:.0f}", group(k) if group else ""] for k in places]
    write_csv(path, ["image", "count", "group"], rows)
    return path


def said(table, number=20, **options):
    lines = []
    check_counts(table, number, lines.append, **options)
    return lines


def test_a_sheet_is_written_and_read_when_it_is_filled_in(tmp_path):
    table = write_counts(tmp_path / "counts.csv", COUNTS + 2, error=True)
    (line,) = said(table)
    sheet = sheet_of(table)
    assert str(sheet) in line and "--resume" in line
    rows = list(csv.DictReader(sheet.open()))
    assert len(rows) == 20 and {row["count"] for row in rows} == {""}
    before = sheet.read_bytes()
    assert said(table) == [line] and sheet.read_bytes() == before
    number = [int(row["image"].removeprefix("images/").removesuffix(".png")) for row in rows]
    assert len(set(number)) == 20
    write_csv(sheet, ["image", "count"], [
        [row["image"], f"{COUNTS[k]:.0f}"] for row, k in zip(rows, number, strict=True)
    ])  # fmt: skip
    lines = said(table)
    assert lines[0].startswith("checked 20 of 60 images; to expect of the other 40")
    assert "  MAE 2.00 (no interval: all alike) cells" in lines
    assert any("correction: add -2.00" in line for line in lines)
    assert any("20 of 20 true counts in the counter's own intervals" in line for line in lines)


def test_answers_at_the_terminal_are_on_the_disk_at_once_and_asked_for_once(tmp_path):
    table = write_counts(tmp_path / "counts.csv", COUNTS)
    asked = []

    def ask(question):
        asked.append(question)
        return {1: "many", 2: "7", 3: "", 5: None}.get(len(asked), "9")

    said(table, ask=ask)
    filled = [row["count"] for row in csv.DictReader(sheet_of(table).open())]
    assert filled[:4] == ["7", "", "9", ""] and "no whole number" in asked[1]
    again = []
    lines = said(table, ask=lambda question: again.append(question) or "9")
    assert len(again) == 18 and lines[0].startswith("checked 20 of 60")


def test_a_table_of_labels_gives_the_images_that_are_drawn(tmp_path):
    table = write_counts(tmp_path / "counts.csv", 1.3 * COUNTS)
    every = write_labels(tmp_path / "labels.csv", COUNTS)
    lines = said(table, truth=every)
    assert lines[0].startswith("checked 20 of 60") and not sheet_of(table).exists()
    assert any("correction: multiply by 0.77" in line for line in lines)
    chosen = write_labels(tmp_path / "few.csv", COUNTS, places=range(30))
    lines = said(table, truth=chosen)
    assert "were not drawn" in lines[0] and lines[1].startswith("checked 20 of 60")
    with pytest.raises(UserError, match="true counts of 3 of the counted"):
        said(table, truth=write_labels(tmp_path / "three.csv", COUNTS, places=range(3)))


def test_corrected_counts_are_a_column_of_a_new_table(tmp_path):
    table = write_counts(tmp_path / "counts.csv", 1.3 * COUNTS, error=True)
    labels, before = write_labels(tmp_path / "labels.csv", COUNTS), table.read_bytes()
    out = tmp_path / "corrected.csv"
    said(table, truth=labels, corrected=out)
    assert table.read_bytes() == before
    rows = list(csv.DictReader(out.open()))
    assert rows[3][CORRECTED] == "" and rows[3]["error"] == "broken"
    found = np.array([float(row[CORRECTED]) for row in rows if not row["error"]])
    np.testing.assert_allclose(found, COUNTS, atol=0.02)
    with pytest.raises(UserError, match="exists"):
        said(table, truth=labels, corrected=out)
    right = write_counts(tmp_path / "right.csv", COUNTS)
    with pytest.raises(UserError, match="no correction is shown to help"):
        said(right, truth=labels, corrected=tmp_path / "new.csv")
    assert not (tmp_path / "new.csv").exists()


@pytest.mark.parametrize(
    ("groups", "expected"),
    [(3, "of other groups nothing can be said: these images are of 3"), (10, "than these 10: MAE")],
)
def test_groups_say_what_to_expect_of_others(tmp_path, groups, expected):
    off = np.random.default_rng(1).normal(0, 1, 60)
    series = [f"s{k % groups}" for k in range(60)]
    table = write_counts(tmp_path / "counts.csv", COUNTS + off, series=series)
    assert expected in said(table, truth=write_labels(tmp_path / "l.csv", COUNTS))[-1]
    table = write_counts(tmp_path / "without.csv", COUNTS + off)
    labels = write_labels(tmp_path / "g.csv", COUNTS, group=lambda k: f"g{k % groups}")
    assert expected in said(table, truth=labels)[-1]


def test_intervals_that_do_not_hold_are_said(tmp_path):
    table = write_counts(tmp_path / "counts.csv", 1.5 * COUNTS, half=0.5)
    lines = said(table, truth=write_labels(tmp_path / "labels.csv", COUNTS))
    assert any("fewer than the 95 % that are promised" in line for line in lines)


def test_a_table_that_a_spreadsheet_saved_gives_the_same(tmp_path):
    table = write_counts(tmp_path / "counts.csv", 1.5 * COUNTS, error=True)
    labels = write_labels(tmp_path / "labels.csv", COUNTS)
    lines = said(table, truth=labels)
    assert said(save_again(table), truth=labels) == lines


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("count_raw", "raw", "it has no count_raw"),
        (f",{1.5 * COUNTS[0]:.3f}", ",many", "line 2: count_raw 'many' is no number"),
    ],
)
def test_what_is_no_table_of_counts_is_said(tmp_path, old, new, words):
    table = write_counts(tmp_path / "counts.csv", 1.5 * COUNTS)
    table.write_text(table.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=words):
        said(table)


def test_names_of_a_sheet_are_no_formulas_and_their_counts_are_found(tmp_path):
    raw = [f"{5 + k % 3}" for k in range(30)]
    rows = [CountRow(f"={k}.png", 0, 5, number) for k, number in enumerate(raw)]
    table = tmp_path / "counts.csv"
    write_csv(table, HEADER, [cells(row) for row in rows])
    said(table)
    sheet = sheet_of(table)
    assert all(row["image"].startswith("./=") for row in csv.DictReader(sheet.open()))
    sheet.write_text(sheet.read_text().replace("./=", "="))  # of an earlier version
    lines = said(table, ask=lambda question: "6")
    assert "checked 20 of 30 images" in lines[0]


def test_frames_of_a_stack_have_their_numbers(tmp_path):
    rows = [CountRow("stack.tif", k, 5, f"{5 + k % 3}") for k in range(30)]
    table = tmp_path / "counts.csv"
    write_csv(table, HEADER, [cells(row) for row in rows])
    said(table)
    names = [row["image"] for row in csv.DictReader(sheet_of(table).open())]
    assert all(name.startswith("stack.tif#") for name in names)
    lines = said(table, ask=lambda question: "5")
    assert "the counter gave no intervals" in " ".join(lines)


def test_other_images_than_those_of_the_sheet_are_refused(tmp_path):
    table = write_counts(tmp_path / "counts.csv", COUNTS)
    said(table)
    with pytest.raises(UserError, match="the 10 drawn now: give --check 20, which it was made"):
        said(table, number=10)
    with pytest.raises(UserError, match="give fewer"):
        said(table, number=60)


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--truth", "a.csv"], "go with --check"), (["--check", "20", "--shard", "1/2"], "shards")],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    answer = CliRunner().invoke(main, ["count", "a.png", "--model", "zoo:ldc", *options])
    assert answer.exit_code == 2 and message in answer.stderr
