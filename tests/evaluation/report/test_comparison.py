"""What a comparison writes: tables that agree with each other, plots with all their marks."""

import csv
import dataclasses

import numpy as np
import pytest

from cellzoo.data.image_set import ImageSet
from cellzoo.errors import UserError
from cellzoo.evaluation.comparison import Drawn, Method, pairs, table
from cellzoo.evaluation.report import figures
from cellzoo.evaluation.report.comparison import (
    FILES,
    About,
    check_output,
    markdown,
    plot_counts,
    plot_mre,
    write_report,
)
from cellzoo.scores.table import count_metrics

ABOUT = About("chambers", "test split", True, False, 2, {"good": "recipe a", "exact": "recipe b"})


def images(counts, split="test"):
    n = len(counts)
    return ImageSet(
        np.zeros((n, 4, 4), np.float32), np.array(counts, np.float32),
        np.array([f"g{k}" for k in range(n)]), np.array([f"{k}.png" for k in range(n)]),
        np.broadcast_to(split, n).copy(),
    )  # fmt: skip


SCORED = {3: images([0, 1, 2, 2, 4])}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(figures, "DPI", 40)


@pytest.fixture
def methods():
    third = np.float32(1 / 3)
    good = Method("good", {3: np.array([0, 1, 3, 2, 3], np.float32) + third})
    good.synthetic = {3: Drawn(1, np.array([5, 6]), np.array([5.25, 7.5]))}
    return [good, Method("exact", {3: SCORED[3].counts.copy()})]


@pytest.fixture
def written(methods, tmp_path):
    rows = table(methods, SCORED, same_groups=False)
    compared = pairs(methods, SCORED, same_groups=False)
    write_report(tmp_path, ABOUT, methods, rows, compared, SCORED, SCORED[3])
    return tmp_path


def read(file):
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_every_number_can_be_made_again_from_the_predictions(written):
    natural = [row for row in read(written / "predictions.csv") if row["domain"] == "natural"]
    true = np.array([float(row["true"]) for row in natural])
    scores = count_metrics(true, np.array([float(row["good"]) for row in natural]))
    assert scores["mae"] == 0.4
    row = read(written / "comparison.csv")[0]
    assert (row["method"], row["seed"]) == ("good", "3")
    for name in ("mae", "mre", "exact"):
        assert float(row[f"natural_{name}"]) == pytest.approx(scores[name], rel=1e-5)


def test_predictions_have_all_digits_and_blanks_where_nothing_was_counted(written, methods):
    rows = read(written / "predictions.csv")
    assert np.float32(rows[2]["good"]) == methods[0].natural[3][2]
    names = [rows[k]["image"] for k in (0, 5, 6)]
    assert names == ["0.png", "synthetic_1_0000", "synthetic_1_0001"]
    assert (rows[6]["good"], rows[6]["exact"], rows[6]["true"]) == ("7.5", "", "6")


def test_the_markdown_says_what_a_reader_must_know(written):
    text = (written / "comparison.md").read_text()
    assert "5 **simulated** images of 5 groups for each seed (3)" in text
    assert "Best is **exact**" in text
    assert "| **exact** | 0.00 | 0.0 | 100.0 (47.8 to 100.0) | 0.00 |" in text
    assert "Nothing is said of some differences: 1 of at least 3 trainings" in text
    assert "- **good**: recipe a" in text
    assert "chose checkpoints" not in text
    for word in ("command: `", "hardware: ", "versions: Python", "keras "):
        assert word in text


def test_a_label_is_neither_markup_nor_a_formula(methods, tmp_path):
    methods[0].label = "=a|b <c>"
    about = dataclasses.replace(ABOUT, methods={"=a|b <c>": "recipe `x`"})
    rows = table(methods, SCORED, same_groups=False)
    write_report(tmp_path, about, methods, rows, [], SCORED, SCORED[3])
    text = (tmp_path / "comparison.md").read_text()
    assert r"| =a\|b &lt;c&gt; | 0.40 " in text and r"- **=a\|b &lt;c&gt;**: recipe \`x\`" in text
    assert read(tmp_path / "comparison.csv")[0]["method"] == "'=a|b <c>"
    assert "'=a|b <c>" in read(tmp_path / "predictions.csv")[0]


def test_differences_have_a_table(methods):
    compared = [
        dict(first="good", second="exact", difference=0.4, low=0.1, high=0.7, p=0.01, p_holm=0.02,
             reason="")
    ]  # fmt: skip
    about = dataclasses.replace(ABOUT, reference="exact")
    text = markdown(about, table(methods, SCORED, same_groups=False), compared, SCORED)
    assert "| good | exact | 0.40 (0.10 to 0.70) | 0.020 |" in text
    assert "**exact** was named as the reference beforehand." in text


def test_several_seeds_have_a_table_of_their_own(methods, tmp_path):
    for method in methods:
        method.natural[4] = method.natural[3] + 1
    scored = {**SCORED, 4: SCORED[3]}
    rows = table(methods, scored, same_groups=False)
    text = markdown(ABOUT, rows, [], scored)
    assert "for each seed (3, 4)." in text and "| method | seed 3 | seed 4 |\n|---|---|---|" in text
    assert "| exact | 0.00 | 1.00 |" in text and "0.50 ± 0.71 (" in text


def test_the_mre_plot_has_a_bar_per_method_with_errors(methods):
    (axes,) = plot_mre(methods, SCORED, ABOUT).axes
    # Errors 1 of 2 and 1 of 4 cells; relative to the four images with cells 3/16.
    assert [line.get_ydata()[0] for line in axes.lines] == [pytest.approx(3 / 16)]
    assert axes.get_yscale() == "log"
    # Count 2 is wrong in one of its two images by half, count 4 by a quarter.
    good_wrong, good_right, exact_wrong, exact_right = axes.collections
    assert good_wrong.get_offsets()[:, 1].tolist() == [0.25, 0.25]
    sizes = [len(marks.get_offsets()) for marks in (good_right, exact_wrong, exact_right)]
    assert sizes == [1, 0, 3]


def test_the_counts_plot_has_a_bar_per_split_and_count():
    splits = ["train", "train", "test", "train", "test"]
    every = images([1, 1, 3, np.nan, 0], splits)
    (axes,) = plot_counts(every, ABOUT, 3).axes
    heights = {bars.get_label(): [bar.get_height() for bar in bars] for bars in axes.containers}
    assert heights == {"train": [0, 2, 0, 0], "test": [1, 0, 0, 1]}
    assert axes.get_ylabel() == "labelled simulated images"


@pytest.mark.parametrize("name", FILES)
def test_a_comparison_is_not_written_over(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=f"{name} is there already: choose another --out"):
        check_output(tmp_path)


def test_a_refused_comparison_leaves_no_folder(tmp_path, run_cli):
    result = run_cli("compare", tmp_path / "none.yaml", "--out", tmp_path / "out")
    assert result.exit_code == 2 and "none.yaml" in result.stderr
    assert not (tmp_path / "out").exists()
