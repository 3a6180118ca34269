"""A run evaluated: its own split, a twin network, somebody else's folder, images without labels."""

import contextlib
import csv
import json
import logging
import re
import shutil
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from cellzoo.commands.evaluate import scores_in_words
from cellzoo.counters.base import Counter
from cellzoo.counters.counts import Counts
from cellzoo.counters.load import load_run
from cellzoo.counters.preprocessing import Preprocessing
from cellzoo.data.folder import load_folder
from cellzoo.data.image_set import ImageSet
from cellzoo.errors import UsageError, UserError
from cellzoo.evaluation import findings
from cellzoo.evaluation.as_trained import images_as_trained
from cellzoo.evaluation.evaluate import (
    _by_kind,
    _coverage,
    _reading,
    evaluate,
)
from cellzoo.evaluation.pictures import columns
from cellzoo.evaluation.report import figures, illustrate
from cellzoo.images import Reader
from cellzoo.recipe import load_recipe
from cellzoo.runs import Run, build_network
from cellzoo.scores.counts import shown_count

TWIN = """\
name: twin
data:
  natural: {source: folder, folder: cells}
  synthetic: {preset: bf, margins: [0, 0, 0, 0], radius: [2, 3], background: null, images: 20}
augment: {crop: 1}
model: {name: twinvae_spatial, image_size: 16, shared_channels: 2, latent: 2}
train: {batch: 4, epochs: 1, steps_per_epoch: 1}
"""
PICTURE = "\x89PNG".encode("latin-1")
_SAVE = figures._save


@pytest.fixture(autouse=True)
def quick_pictures(monkeypatch):
    """Figures of one pixel."""
    pixel = cv2.imencode(".png", np.zeros((1, 1), np.uint8))[1].tobytes()
    monkeypatch.setattr(figures, "_save", lambda figure, file, share=1: file.write_bytes(pixel))
    monkeypatch.setattr(findings, "SYNTHETIC_IMAGES", 30)


@pytest.fixture
def drawn(quick_pictures, monkeypatch):
    """Figures that are drawn after all, small."""
    monkeypatch.setattr(figures, "_save", _SAVE)
    monkeypatch.setattr(figures, "DPI", 40)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, write_cells):
    """The folder of :func:`twin`, made once."""
    folder = tmp_path_factory.mktemp("twin")
    write_cells(folder / "cells", images=24)
    rows = (folder / "cells" / "labels.csv").read_text().splitlines()
    groups = ["group,time", *(f"chamber {k // 4},{k}" for k in range(24))]
    lines = [f"{row},{more}" for row, more in zip(rows, groups, strict=True)]
    for k, line in enumerate(lines[1:]):  # two chambers in each split
        split = ("train", "validation", "test")[k // 8]
        lines[k + 1] = re.sub("train|validation|test", split, line)
    lines[1] = re.sub(r"png,\d+", "png,", lines[1])
    (folder / "cells" / "labels.csv").write_text("\n".join(lines) + "\n")
    (folder / "twin.yaml").write_text(TWIN)
    recipe = load_recipe(folder / "twin.yaml")
    run = Run.create(folder / "run", recipe)
    with contextlib.chdir(folder):
        run.keep_splits(recipe.data.natural.load(16, recipe.seed)[0])
    run.save_best(build_network(recipe))
    run.append_history({"epoch": 1.0, "loss": 3.0, "validation_mae": 2.0})
    run.append_history({"epoch": 2.0, "loss": 1.0, "validation_mae": float("nan")})
    run.write_json("report/validation.json", {"training_mean": 2.0, "interval_half_width": 1.5})
    return folder


@pytest.fixture(scope="module")
def network(trained):
    return Run(trained / "run").load_network()


@pytest.fixture
def twin(trained, network, tmp_path, monkeypatch):
    """A run of a twin network, never trained but with a history; 24 images beside it."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    # One network for all copies: they have the same weights.
    monkeypatch.setattr(Run, "load_network", lambda self, selection="best": network)
    return Run(tmp_path / "run")


def rows_of(file):
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def names(files):
    return {file.name for file in files}


@pytest.mark.usefixtures("drawn")
def test_a_twin_shows_all_figures_of_the_paper(twin):
    result = evaluate(twin.path)
    report = twin.path / "report"
    pictures = {file.stem for file in result.files if file.suffix == ".png"}
    assert pictures == {
        "predicted", "error_by_count", "residuals_by_group", "residuals_by_time", "views",
        "synthetic_views", "worst", "embedding", "learning_curves",
    }  # fmt: skip
    files = [file for file in result.files if file.suffix == ".png"]
    assert all(file.read_bytes().startswith(PICTURE) for file in files)
    assert names(result.files) - {f"{stem}.png" for stem in pictures} == {
        "index.html", "evaluation_test.json", "evaluation_test_counts.csv",
        "evaluation_test_scores.csv", "evaluation_test_embedding.csv", "README.md",
    }  # fmt: skip
    assert result.not_shown == []
    numbers = json.loads((report / "evaluation_test.json").read_text())
    assert numbers["mixing"] == pytest.approx(result.mixing) and numbers["images"] == 8
    assert list(numbers["mixing"]) == ["natural and synthetic"]
    assert list(numbers["counted_again"]) == [
        "natural_reconstruction", "natural_to_synthetic", "synthetic_reconstruction",
        "synthetic_to_natural",
    ]  # fmt: skip
    counted = rows_of(report / "evaluation_test_counts.csv")
    inside = [float(r["count_low"]) <= int(r["true"]) <= float(r["count_high"]) for r in counted]
    assert numbers["count_interval"]["coverage"] == pytest.approx(np.mean(inside))
    assert [float(row["time"]) for row in counted] == list(range(16, 24))
    points = rows_of(report / "evaluation_test_embedding.csv")
    parts = [row["part"] for row in points]
    assert {part: parts.count(part) for part in set(parts)} == {
        "natural": 8, "natural, unlabelled": 1, "synthetic": 30
    }  # fmt: skip
    scores = {row["score"]: row for row in rows_of(report / "evaluation_test_scores.csv")}
    assert float(scores["mae"]["value"]) == numbers["scores"]["mae"]
    page = (report / "index.html").read_text(encoding="utf-8")
    assert len(re.findall("<img ", page)) == len(pictures)
    captions = re.findall("<figcaption>(.*?)</figcaption>", page, re.DOTALL)
    assert not [text for text in captions if re.search(r"[.][A-Z]", text)]
    headline = re.search('<p class="headline">(.*?)</p>', page)[1]
    assert headline.startswith("On 8 images of the folder cells (test split), twin is off by ")
    assert f"{numbers['scores']['mae']:.2f} cells" in headline and "exactly" in headline


@pytest.mark.usefixtures("drawn")
def test_a_browser_shows_the_report_whole(twin, check_in_browser):
    page = evaluate(twin.path).files[0].read_text(encoding="utf-8")
    check_in_browser(page, images=len(re.findall("<img ", page)))


def test_pictures_are_counted_by_the_half_they_belong_to(twin):
    counter = load_run(twin.path)
    images = np.random.default_rng(0).random((3, 16, 16), np.float32)
    shown = columns(counter, images, np.array([1, 2, np.nan]), np.array([1.26, 2, 3]))
    assert [column.title for column in shown] == ["natural", "reconstruction", "as synthetic"]
    assert [column.scale for column in shown] == ["natural", "natural", "synthetic"]
    captions = ["1 true, 1 (1.3) counted", "2 true, 2 (2.0) counted", "3 (3.0) counted"]
    assert shown[0].captions == captions
    translated = counter.count(shown[2].pictures, scaled=True, domain="synthetic").raw
    assert shown[2].captions == [f"{shown_count(count)} counted" for count in translated]
    network = counter.network({"natural": images, "synthetic": images}, training=False)
    back = columns(counter, images, np.zeros(3), np.zeros(3), "synthetic")
    assert [column.title for column in back] == ["synthetic", "reconstruction", "as natural"]
    reconstruction = network["synthetic_reconstruction"]
    np.testing.assert_allclose(back[1].pictures, reconstruction, atol=1e-5)
    # The same latent, decoded by the other half.
    assert not np.allclose(back[1].pictures, back[2].pictures, atol=1e-5)


def test_somebody_elses_folder_has_a_report_of_its_own(twin, write_cells, tmp_path, contents):
    evaluate(twin.path)
    before = contents(twin.path / "report")
    (write_cells(tmp_path / "theirs", images=5) / "labels.csv").write_text(
        "image,count\n00.png,4\n01.png,0\n02.png,\n03.png,2\n04.png,1\n"
    )
    result = evaluate(twin.path, tmp_path / "theirs")
    own = twin.path / "report" / "evaluation_theirs"
    after = contents(twin.path / "report")
    assert before.items() <= after.items()
    assert all(own in file.parents for file in after.keys() - before.keys())
    assert result.files[0] == own / "index.html" and result.images == 4
    parts = [row["part"] for row in rows_of(own / "evaluation_theirs_embedding.csv")]
    assert parts.count("natural") == 4 and parts.count("training images") == 8
    assert set(result.mixing) == {"natural and synthetic", "this folder and training images"}
    page = (own / "index.html").read_text(encoding="utf-8")
    assert "On 4 images of the folder theirs, twin is off by " in page


@pytest.fixture
def no_figures(monkeypatch):
    """Reports without pictures, which take most of the time."""

    def nothing(findings, latents, folder):
        folder.mkdir(parents=True, exist_ok=True)
        return illustrate.Illustrations()

    monkeypatch.setattr("cellzoo.evaluation.evaluate.illustrate", nothing)


@pytest.mark.usefixtures("no_figures")
def test_a_folder_of_the_same_name_does_not_take_a_reports_place(twin, write_cells, tmp_path):
    first, second = (write_cells(tmp_path / day / "theirs", n) for day, n in (("1", 5), ("2", 6)))
    for data in (first, second, first):
        evaluate(twin.path, data)
    found = {file.stem: json.loads(file.read_text())["images"]
             for file in (twin.path / "report").glob("*/evaluation_*.json")}  # fmt: skip
    assert found == {"evaluation_theirs": 5, "evaluation_theirs-2": 6}


@pytest.mark.usefixtures("no_figures")
def test_a_page_of_somebodys_own_is_not_written_over(twin, write_cells, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("mine")
    theirs, others = write_cells(tmp_path / "theirs"), write_cells(tmp_path / "others")
    with pytest.raises(UsageError, match="site holds another report or other files"):
        evaluate(twin.path, theirs, tmp_path / "site")
    assert (tmp_path / "site" / "index.html").read_text() == "mine"
    for text in ("{half", "[1]"):
        (tmp_path / "site" / "evaluation_mine.json").write_text(text)
        with pytest.raises(UsageError, match="site holds another report or other files"):
            evaluate(twin.path, theirs, tmp_path / "site")
    # Its own figures and tables are somebody's, too; notes are in nobody's way.
    (tmp_path / "mine" / "figures").mkdir(parents=True)
    with pytest.raises(UsageError, match="mine holds another report or other files"):
        evaluate(twin.path, theirs, tmp_path / "mine")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "notes.txt").write_text("mine")
    evaluate(twin.path, theirs, tmp_path / "new")
    with pytest.raises(UsageError, match="new holds another report or other files"):
        evaluate(twin.path, others, tmp_path / "new")
    evaluate(twin.path, theirs, tmp_path / "new")


def test_an_interrupted_report_leaves_its_place_free(twin, write_cells, tmp_path, monkeypatch):
    theirs, out = write_cells(tmp_path / "theirs"), tmp_path / "out"

    def interrupted(findings, latents, folder):
        folder.mkdir(parents=True)
        raise KeyboardInterrupt

    monkeypatch.setattr("cellzoo.evaluation.evaluate.illustrate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluate(twin.path, theirs, out)
    assert not out.exists()


def test_a_folders_colour_picture_cannot_be_cured_in_the_recipe(twin, write_cells, tmp_path):
    folder = write_cells(tmp_path / "theirs", images=3)
    colours = (np.arange(16 * 16 * 3) % 251).astype(np.uint8).reshape(16, 16, 3)
    assert cv2.imwrite(str(folder / "00.png"), colours)
    with pytest.raises(UserError, match="00.png: .* here the file has to be changed"):
        evaluate(twin.path, folder, tmp_path / "out")


@pytest.mark.parametrize("table", [None, "image,count\n00.png,\n01.png,\n02.png,\n"])
def test_images_without_labels_are_counted_and_not_scored(
    twin, write_cells, tmp_path, run_cli, table
):
    folder = write_cells(tmp_path / "theirs", images=3)
    (folder / "labels.csv").unlink()
    if table:
        (folder / "labels.csv").write_text(table)
    result = run_cli("evaluate", twin.path, "--data", folder, "--out", tmp_path / "out")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("3 images: theirs (a folder without counts: no scores)\n")
    assert "MAE" not in result.stdout
    numbers = json.loads((tmp_path / "out" / "evaluation_theirs.json").read_text())
    assert numbers["scores"] == {} and numbers["images"] == 3
    rows = rows_of(tmp_path / "out" / "evaluation_theirs_counts.csv")
    assert len(rows) == 3 and all(float(row["count_high"]) > 0 for row in rows)
    assert "true" not in rows[0] and "error" not in rows[0]
    points = rows_of(tmp_path / "out" / "evaluation_theirs_embedding.csv")
    assert sum(row["part"] == "this folder" for row in points) == 3
    assert not (tmp_path / "out" / "evaluation_theirs_scores.csv").exists()
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "nothing is known about the error" in page and 'id="scores"' not in page
    low, high = (f"{float(rows[0][f'count_{end}']):.1f}" for end in ("low", "high"))
    assert f"<td>{low} to {high}</td>" in page
    # A report that lies elsewhere is no matter of the run's model card.
    assert not (twin.path / "README.md").exists()


@pytest.mark.usefixtures("no_figures")
def test_dots_alone_are_labels_to_score(twin, write_cells, tmp_path, run_cli):
    folder = write_cells(tmp_path / "theirs", images=3)
    (folder / "labels.csv").unlink()
    (folder / "points.csv").write_text("image,x,y\n00.png,3,3\n00.png,9,3\n01.png,,\n")
    result = run_cli("evaluate", twin.path, "--data", folder, "--out", tmp_path / "out")
    assert (result.exit_code, result.stderr) == (0, "")
    rows = rows_of(tmp_path / "out" / "evaluation_theirs_counts.csv")
    assert {row["image"]: row["true"] for row in rows} == {"00.png": "2", "01.png": "0"}


@pytest.mark.usefixtures("no_figures")
def test_a_report_of_another_protocol_names_its_own_table(
    twin, write_cells, tmp_path, monkeypatch
):
    (write_cells(tmp_path / "theirs", images=3) / "labels.csv").unlink()
    monkeypatch.setattr(  # this small twin has no latent vector to sample
        "cellzoo.evaluation.evaluate.predict_counts",
        lambda network, images, protocol: np.ones(len(images)),
    )
    files = evaluate(twin.path, tmp_path / "theirs", protocol="authors").files
    (table,) = re.findall(r"All images; (\S+) has every one", files[0].read_text(encoding="utf-8"))
    assert files[0].with_name(table) in files


def test_flags_are_shown_where_the_counter_has_them(twin, monkeypatch):
    reasons = ["", "looks like an <empty> frame", *[""] * 6]
    left = iter(reasons)

    def own(self, entries):
        return [[next(left, "")] for _ in entries]

    monkeypatch.setattr(Counter, "_image_reasons", own)
    known = SimpleNamespace(in_lowest_sixteenth=False, sizes=None)
    monkeypatch.setattr(Run, "out_of_distribution", lambda self: known)
    result = evaluate(twin.path)
    assert result.flagged == 1 / 8
    rows = rows_of(twin.path / "report" / "evaluation_test_counts.csv")
    assert [row["flag"] for row in rows] == reasons
    page = (twin.path / "report" / "index.html").read_text(encoding="utf-8")
    assert "looks like an &lt;empty&gt; frame" in page and 'id="unusual-images"' in page
    assert "flagged.png" in names(result.files)


def test_a_folder_may_be_looked_at_by_a_run_that_had_no_labels(twin, write_cells, tmp_path):
    (write_cells(tmp_path / "theirs", images=8) / "labels.csv").unlink()
    table = tmp_path / "cells" / "labels.csv"
    lines = [line.split(",") for line in table.read_text().splitlines()]
    for line in lines:
        line[1] = "" if line[2] == "train" else line[1]
    table.write_text("".join(",".join(line) + "\n" for line in lines))
    evaluate(twin.path, tmp_path / "theirs", tmp_path / "out")
    points = rows_of(tmp_path / "out" / "evaluation_theirs_embedding.csv")
    assert {row["part"] for row in points} >= {"this folder", "training images"}
    numbers = json.loads((tmp_path / "out" / "evaluation_theirs.json").read_text())
    assert "this folder and training images" in numbers["mixing"]


def test_scores_are_there_before_figures_take_their_time(twin, monkeypatch, caplog):
    monkeypatch.setattr(logging.getLogger("cellzoo"), "propagate", True)
    caplog.set_level(logging.INFO)
    said = []

    def slow(findings, latents, folder):
        said.append("figures")
        return illustrate.Illustrations()

    monkeypatch.setattr("cellzoo.evaluation.evaluate.illustrate", slow)
    evaluate(twin.path, on_scores=lambda result: said.append(result.scores["mae"]))
    assert len(said) == 2 and said[1] == "figures"
    assert set(caplog.messages) == {"drawing the report ..."}


def test_the_folder_it_was_trained_on_is_called_so(twin, tmp_path, caplog):
    result = evaluate(twin.path, tmp_path / "cells", tmp_path / "out")
    assert "of the folder it was trained on" in result.subject
    assert result.scored_on == "trained_on"
    assert "the test split is scored" in caplog.text
    report = (tmp_path / "out" / "index.html").read_text()
    assert "trained on images of this folder: expect worse" in report


def test_training_images_that_are_gone_are_no_reason_to_fail(twin, tmp_path):
    (tmp_path / "cells").rename(tmp_path / "elsewhere")
    result = evaluate(twin.path, tmp_path / "elsewhere")
    assert "synthetic_views.png" not in names(result.files)
    assert any("cells: there is no such folder" in line for line in result.not_shown)


def test_without_umap_a_sentence_says_so(twin, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    result = evaluate(twin.path)
    assert "embedding.png" not in names(result.files)
    assert "Shared representation: install umap-learn to see it." in result.not_shown
    assert "natural and synthetic" in result.mixing


def test_a_counter_without_a_latent_has_fewer_figures(tmp_path, monkeypatch, write_cells, run_cli):
    monkeypatch.chdir(tmp_path)
    write_cells(tmp_path / "cells")
    (tmp_path / "grey.yaml").write_text(
        "name: grey\n"
        "data: {natural: {source: folder, folder: cells}}\n"
        "model: {name: brightness, image_size: 16}\n"
    )
    fitted = run_cli("fit", "grey.yaml", "--out", "run")
    assert fitted.exit_code == 0
    said = (tmp_path / "run" / "run.log").read_text()
    table = rows_of(tmp_path / "run" / "splits.csv")
    of = {s: sum(row["split"] == s for row in table) for s in ("train", "validation", "test")}
    assert f"{of['validation']} labelled for validation, {of['test']} for test" in said
    missing = f"{of['validation']} of 19 labelled validation images"
    assert f"No intervals: {missing}" in said
    card = (tmp_path / "run" / "README.md").read_text()
    assert "- counts: 0 to 4 cells" in card and "No evaluation yet" in card
    result = evaluate(tmp_path / "run")
    pictures = {file.stem for file in result.files if file.suffix == ".png"}
    # One image has more cells than any in training.
    (table,) = (file for file in result.files if file.name.endswith("_counts.csv"))
    with table.open(newline="") as file:
        flags = {row["flag"] for row in csv.DictReader(file)} - {""}
    assert flags and all(flag.endswith("above the 4 of the training images") for flag in flags)
    assert pictures == {"predicted", "error_by_count", "views", "worst", "flagged"}
    assert "Learning curves: there is no history of a training." in result.not_shown
    assert "Residuals by time: no column time." in result.not_shown
    page = (tmp_path / "run" / "report" / "index.html").read_text()
    assert f"No intervals: {missing}" in page
    assert f"  no intervals: {result.no_intervals}" in scores_in_words(result)
    assert result.no_intervals.startswith(missing)
    assert f"This run promises none: {missing}" in (tmp_path / "run" / "README.md").read_text()


def test_a_folder_that_has_grown_is_scored_as_it_was_trained(tmp_path, monkeypatch, write_cells):
    """One more image deals all groups out anew, and chooses other labels."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "twin.yaml").write_text(TWIN)
    recipe = load_recipe("twin.yaml", ["data.natural.labelled=10"])
    run = Run.create(tmp_path / "run", recipe)

    def images(number):
        table = write_cells(tmp_path / "cells", images=number) / "labels.csv"
        table.write_text(re.sub(",(split|train|validation|test)", "", table.read_text()))
        return recipe.data.natural.load(16, recipe.seed)[0]

    before = images(59)
    run.keep_splits(before)
    anew = images(60)
    assert set(anew.of("test").names) != set(before.of("test").names)
    now, _ = images_as_trained(run)
    new = now.of("")
    assert len(now) == len(before) + len(new) and len(new) == 1
    for split in ("train", "validation", "test"):
        np.testing.assert_array_equal(now.of(split).names, before.of(split).names)
        np.testing.assert_array_equal(now.of(split).counts, before.of(split).counts)


def test_a_held_out_image_labelled_with_help_since_is_not_scored(
    tmp_path, monkeypatch, write_cells
):
    """More images deal the groups out anew: some that were held out would teach today."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "twin.yaml").write_text(TWIN)
    recipe = load_recipe("twin.yaml")
    unlabelled = {f"{k:02d}.png" for k in range(20, 40)}

    def write(number, label_with_help):
        table = write_cells(tmp_path / "cells", images=number) / "labels.csv"
        lines = ["image,count,assisted"]
        for line in table.read_text().splitlines()[1:]:
            name, count, _ = line.split(",")
            assisted = "1" if name in unlabelled and label_with_help else ""
            count = "" if name in unlabelled and not label_with_help else count
            lines.append(f"{name},{count},{assisted}")
        table.write_text("\n".join(lines) + "\n")

    write(40, False)
    run = Run.create(tmp_path / "run", recipe)
    run.keep_splits(recipe.data.natural.load(16, recipe.seed)[0])
    before, _ = images_as_trained(run)
    write(60, True)
    after, _ = images_as_trained(run)
    for split in ("validation", "test"):
        assert set(before.of(split).names) & unlabelled
        np.testing.assert_array_equal(after.of(split).counts, before.of(split).counts)


def test_images_without_a_kind_are_called_so():
    kinds = np.array(["DIC", "", "DIC"])
    texts = [np.array(["a", "b", "c"])] * 3
    images = ImageSet(np.zeros((3, 8, 8)), np.ones(3), *texts, kinds=kinds)
    counts = Counts(np.ones(3), np.zeros(3), np.full(3, 2.0))
    assert {"DIC", "no kind"} < set(_coverage(images, counts))
    assert set(_by_kind(images, counts.raw)) == {"DIC", "no kind"}


def test_a_counter_of_any_scale_is_scored_on_colour_as_it_was_trained(tmp_path):
    picture = np.zeros((30, 40, 3), np.uint8)
    picture[..., 0] = 200
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    (tmp_path / "labels.csv").write_text("image,count\na.png,3\n")
    counter = SimpleNamespace(
        measuring=True, run=None, takes_full_range=True,
        preprocessing=Preprocessing((64, 64), channel="luminance"),
        reader=lambda files: Reader(files, channel="luminance"),
    )  # fmt: skip
    images, _ = load_folder(tmp_path, **_reading(counter, tmp_path))
    assert images.images.shape == (1, 30, 40) and 0 < images.images.max() < 200 / 255


def test_12_bits_reach_a_network_as_they_did_in_its_training(tmp_path, monkeypatch, write_cells):
    """Earlier versions did not spread them; their runs show it, and `count` follows it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "twin.yaml").write_text(TWIN)
    recipe = load_recipe("twin.yaml")
    for file in sorted(write_cells(tmp_path / "cells").glob("*.png")):
        cv2.imwrite(str(file), 16 * cv2.imread(str(file), -1).astype(np.uint16))
    run = Run.create(tmp_path / "run", recipe)
    run.keep_splits(recipe.data.natural.load(16, recipe.seed)[0])
    run.save_best(build_network(recipe))
    files = [tmp_path / "cells" / f"{k:02d}.png" for k in range(12)]
    for dark, white in ((False, 4095), (True, 65535)):
        known = SimpleNamespace(in_lowest_sixteenth=dark, sizes=None)
        monkeypatch.setattr(Run, "out_of_distribution", lambda self, known=known: known)
        counter = load_run(run.path)
        counted = [
            counter.preprocessing.unit(frame)
            for file in files
            for frame in counter.reader(files).read(file)
        ]
        trained, _ = images_as_trained(run)
        scored, _ = load_folder(tmp_path / "cells", **_reading(counter, tmp_path / "cells"))
        stored = np.stack([cv2.imread(str(file), -1) for file in files]) / white
        for images in (counted, trained.images, scored.images):
            np.testing.assert_allclose(images, stored, atol=1e-4)


def test_held_out_images_that_are_gone_or_others_are_said(
    tmp_path, monkeypatch, write_cells, caplog
):
    monkeypatch.setattr(logging.getLogger("cellzoo"), "propagate", True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "twin.yaml").write_text(TWIN)
    recipe = load_recipe("twin.yaml")
    run = Run.create(tmp_path / "run", recipe)
    table = write_cells(tmp_path / "cells", images=60) / "labels.csv"
    before = recipe.data.natural.load(16, recipe.seed)[0]
    run.keep_splits(before)
    images_as_trained(run)
    assert "not there any more" not in caplog.text
    assert "grey levels" not in caplog.text
    changed = str(before.of("test").names[1])
    picture = cv2.imread(str(table.parent / changed), -1)
    cv2.imwrite(str(table.parent / changed), picture // 2)
    images_as_trained(run)
    assert f"1 of the held-out images in {run.splits_file}, such as {changed}, have" in caplog.text
    gone = str(before.of("test").names[0])
    (table.parent / gone).unlink()
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(line for line in lines if not line.startswith(f"{gone},")))
    images_as_trained(run)
    assert f"1 of the held-out images in {run.splits_file}, such as {gone}," in caplog.text
    caplog.clear()
    images_as_trained(run, ("train",))  # while another folder is scored
    assert "held-out" not in caplog.text


def test_a_test_split_of_one_group_has_no_interval(twin, run_cli):
    table = twin.path.parent / "cells" / "labels.csv"
    table.write_text(table.read_text().replace("chamber 4", "chamber 5"))
    result = run_cli("evaluate", str(twin.path))
    assert result.exit_code == 0 and "(no interval)" in result.output
    page = (twin.path / "report" / "index.html").read_text()
    assert "<span>(no interval)</span>" in page and "cells on average (no interval)" in page
