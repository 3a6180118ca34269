"""Counters fitted in one go: run folder and verbs as for a network, and no look at the test."""

import csv
import json
import shutil

import numpy as np
import pytest

from cellzoo.counters.load import load_counter
from cellzoo.errors import UserError
from cellzoo.models import MODELS
from cellzoo.recipe import load_recipe
from cellzoo.training.fit import fit
from cellzoo.trust.intervals import Interval

CLASSICAL = [name for name, section in MODELS.items() if section.classical]
RECIPE = """\
# Counts by brightness.
name: plain
data:
  natural: {source: folder, folder: cells}
model: {name: brightness, image_size: 16}
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch, write_cells):
    """The path of a recipe of 12 images, in the folder where the test then runs."""
    monkeypatch.chdir(tmp_path)
    write_cells(tmp_path / "cells")
    path = tmp_path / "plain.yaml"
    path.write_text(RECIPE)
    return path


def test_the_run_folder_is_that_of_a_network(run_cli, recipe):
    result = run_cli("fit", recipe, "--out", "run")
    assert (result.exit_code, result.stderr) == (0, "")
    run = recipe.parent / "run"
    for name in ("environment.json", "run.log", "splits.csv", "checkpoints/parameters.json"):
        assert (run / name).is_file()
    assert load_recipe(run / "recipe.yaml") == load_recipe(recipe)
    scores = json.loads((run / "report" / "validation.json").read_text())
    assert scores["images"] == 3
    # The labels of the six training images: 0, 1, 4, 0, 3, 4.
    assert scores["training_mean"] == 2
    assert scores["seconds"] >= 0
    assert {"mae", "mre", "exact", "interval"} <= set(scores)
    assert (run / "report" / "out_of_distribution.json").is_file()


def test_scores_that_are_no_numbers_are_null(run_cli, recipe):
    labels = recipe.parent / "cells" / "labels.csv"
    rows = [line.split(",") for line in labels.read_text().splitlines()]
    empty = [[n, "0" if split == "validation" else c, split] for n, c, split in rows]
    labels.write_text("".join(",".join(row) + "\n" for row in empty))
    said = run_cli("fit", recipe, "--out", "run").output
    assert "validation: MAE" in said and "nan" not in said
    text = (recipe.parent / "run" / "report" / "validation.json").read_text()
    assert json.loads(text)["mre"] is None and "NaN" not in text


def test_every_verb_takes_it(run_cli, recipe):
    assert run_cli("check", recipe).stdout == f"{recipe}: ok\n"
    run_cli("fit", recipe, "--out", "run")
    result = run_cli("evaluate", "run")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("3 images: test split")
    assert (recipe.parent / "run" / "report" / "index.html").is_file()
    result = run_cli("count", "cells", "--model", "run", "-o", "counts.csv")
    few = "no interval for 12 of 12 frames: 3 of 19 labelled validation images that are needed\n"
    expected = f"{few}12 files: counted 12 frames, 2 flagged, 0 failed: counts.csv\n"
    assert (result.exit_code, result.stdout) == (0, expected)
    with open("counts.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["model"], row["version"]) for row in rows} == {("plain", "run")}


def test_evaluate_scores_the_intervals_and_flags_that_count_writes(run_cli, recipe, write_cells):
    write_cells(recipe.parent / "cells", images=80)
    run_cli("fit", recipe, "--out", "run")
    result = run_cli("evaluate", "run")
    assert "in their 95 % interval: " in result.stdout
    assert "unlike the training images" in result.stdout
    scores = json.loads((recipe.parent / "run/report/evaluation_test.json").read_text())
    run_cli("count", "cells", "--model", "run", "-o", "counts.csv")
    with open("counts.csv", newline="") as file:
        rows = [row for k, row in enumerate(csv.DictReader(file)) if k % 4 == 3]  # the test split
    counts = [k % 5 for k in range(80) if k % 4 == 3]
    ends = [(float(row["count_low"]), float(row["count_high"])) for row in rows]
    held = [low <= count <= high for count, (low, high) in zip(counts, ends, strict=True)]
    widths = [high - low for low, high in ends]
    assert scores["count_interval"] == pytest.approx(
        {"coverage": np.mean(held), "mean_width": np.mean(widths)}, abs=1e-3
    )
    assert scores["flagged"] == np.mean([row["flag"] != "" for row in rows])
    validation = json.loads((recipe.parent / "run/report/validation.json").read_text())
    assert (validation["interval"]["images"], validation["interval"]["groups"]) == (20, 20)


def test_what_only_a_network_can_do_is_said(run_cli, recipe):
    run_cli("fit", recipe, "--out", "run")
    for arguments, sentence in (
        (("evaluate", "run", "--protocol", "authors"), "plain has no latent to sample: use"),
        (("fit", recipe, "--budget", "3m"), "the section train means nothing to brightness"),
        (("fit", recipe, "--quick"), "has no quick section"),
    ):
        result = run_cli(*arguments)
        assert result.exit_code == 2
        assert sentence in result.stderr


def test_the_counter_of_a_run_is_the_fitted_one(run_cli, recipe):
    run_cli("fit", recipe, "--out", "run")
    counter = load_counter("run")
    images = np.random.default_rng(5).random((4, 16, 16), np.float32)
    parameters = json.loads((recipe.parent / "run" / "checkpoints" / "parameters.json").read_text())
    np.testing.assert_array_equal(
        counter.count(images, scaled=True).raw,
        counter.run.recipe.model.load(parameters).count(images),
    )
    # A synthetic image is an image: there is no other half to count it with.
    natural, synthetic = (
        counter.count(images, scaled=True, domain=domain).raw for domain in ("natural", "synthetic")
    )
    np.testing.assert_array_equal(natural, synthetic)


def test_damaged_and_missing_parameters_are_one_sentence(run_cli, recipe):
    run_cli("fit", recipe, "--out", "run")
    file = recipe.parent / "run" / "checkpoints" / "parameters.json"
    for damage in ('{"edges": ', '{"colour": 3}'):
        file.write_text(damage)
        with pytest.raises(UserError, match="parameters.json is damaged"):
            load_counter("run")
    file.unlink()
    with pytest.raises(UserError, match="run has no model yet"):
        load_counter("run")


def test_a_finished_run_is_never_replaced(run_cli, recipe, contents):
    run_cli("fit", recipe, "--out", "run")
    before = contents(recipe.parent / "run")
    result = run_cli("fit", recipe, "--out", "run", "--set", "model.bins=4")
    assert result.exit_code == 2
    assert "run of another recipe (model.bins: 13 -> 4)" in result.stderr
    result = run_cli("fit", recipe, "--out", "run")
    assert "finished already" in result.stdout
    after = contents(recipe.parent / "run")
    log = recipe.parent / "run" / "run.log"
    assert {k: v for k, v in after.items() if k != log} == {
        k: v for k, v in before.items() if k != log
    }


def test_the_interval_of_a_counter_that_saw_the_validation_images_is_of_one_that_did_not(
    recipe, tmp_path, write_cells
):
    write_cells(tmp_path / "cells", images=80, size=40)
    text = RECIPE.replace("name: brightness, image_size: 16", "name: watershed, image_size: 40")
    recipe.write_text(text)
    run = fit(load_recipe(recipe), tmp_path / "run")
    images, _ = run.recipe.data.natural.load(40, run.recipe.seed)
    train, validation = images.of("train"), images.of("validation")
    unseen = run.recipe.model.fit(train.images, train.counts)
    expected = Interval.fit(
        validation.counts, unseen.count(validation.images), validation.groups,
        selected_on_others=True,
    )  # fmt: skip
    assert load_counter(str(run.path)).interval == expected


# The test split


def test_no_model_is_fitted_on_the_test_split():
    for name in CLASSICAL:
        assert set(MODELS[name].fitted_on) <= {"train", "validation"}


@pytest.mark.parametrize("name", CLASSICAL)
def test_no_key_of_a_classical_model_names_a_split(name):
    for key in MODELS[name].model_fields:
        assert not {"test", "split", "splits", "validation", "data"} & set(key.split("_"))


@pytest.mark.parametrize("name", CLASSICAL)
def test_fitting_never_simulates_the_test_split(name, recipe, tmp_path, monkeypatch):
    from cellzoo.data.sources import simulated as source
    from cellzoo.simulators import microscope

    source._simulated_once.cache_clear()
    simulated = []
    simulate_set = microscope.simulate_set

    def watch(*arguments, prefix, **more):
        simulated.append(prefix)
        return simulate_set(*arguments, prefix=prefix, **more)

    monkeypatch.setattr(microscope, "simulate_set", watch)
    sizes = {"train": 8, "labelled": 4, "validation": 4, "validation_labelled": 4}
    natural = ", ".join(f"{key}: {value}" for key, value in sizes.items())
    recipe.write_text(
        "name: plain\n"
        f"data: {{natural: {{source: simulated, modality: bf, {natural}}}}}\n"
        f"model: {{name: {name}}}\n"
    )
    fit(load_recipe(recipe), tmp_path / "run")
    assert simulated == ["bf_train", "bf_validation"]


@pytest.mark.parametrize("name", CLASSICAL)
def test_the_test_images_of_a_folder_leave_no_trace_in_the_parameters(
    name, recipe, tmp_path, write_cells
):
    write_cells(tmp_path / "cells", size=40)
    text = RECIPE.replace("name: brightness", f"name: {name}")
    recipe.write_text(text.replace("image_size: 16", "image_size: 40"))
    first = fit(load_recipe(recipe), tmp_path / "first").parameters_file.read_text()
    others = write_cells(tmp_path / "others", images=30, size=40)
    for k in (3, 7, 11):  # the test images: another picture, another count
        shutil.copy(others / f"{k + 15}.png", tmp_path / "cells" / f"{k:02d}.png")
    labels = tmp_path / "cells" / "labels.csv"
    lines = labels.read_text().splitlines()
    changed = [f"{line[:7]}40,test" if line.endswith("test") else line for line in lines]
    labels.write_text("\n".join(changed) + "\n")
    assert fit(load_recipe(recipe), tmp_path / "second").parameters_file.read_text() == first
