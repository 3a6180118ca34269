"""A DCC from fit to evaluate: scores by stain, of masks, and of each threshold."""

import csv
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cellzoo.counters.load import load_run
from cellzoo.errors import UserError
from cellzoo.evaluation.evaluate import evaluate
from cellzoo.models import DCC
from cellzoo.recipe import load_recipe
from cellzoo.runs import Run, build_network
from cellzoo.training.fit import fit

RECIPE = """\
name: tiny_dcc
data:
  natural: {source: bbbc005, folder: %s, shares: {train: 0.5, validation: 0.25, test: 0.25}}
augment: {crop: 1}
model:
  name: dcc
  image_size: [32, 48]
  channels: [2, 3]
  head: %s
  pooling: 8
  regressor_units: 3
loss: {count_loss: poisson}
train: {batch: 4, epochs: 1, steps_per_epoch: 2, learning_rate: 0.01}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, write_bbbc005):
    def of(head, **settings):
        folder = tmp_path_factory.mktemp("recipe")
        cells = write_bbbc005(folder / "cells")
        (folder / "r.yaml").write_text(RECIPE % (cells, head))
        return load_recipe(folder / "r.yaml", [f"{k}={v}" for k, v in settings.items()])

    return of


@pytest.mark.parametrize("head", ["additive", pytest.param("regressor", marks=pytest.mark.slow)])
def test_a_dcc_from_fit_to_evaluate(tmp_path, recipe, head):
    run = fit(recipe(head), tmp_path / "run")
    (row,) = run.history()
    assert row["natural_mask"] > 0 and row["natural_count"] > 0
    result = evaluate(run.path)
    report = json.loads((run.path / "report" / "evaluation_test.json").read_text())
    assert set(report["by_kind"]) == set(result.by_kind) == {"stain 1", "stain 2"}
    stains = [scores["mae_raw"] for scores in report["by_kind"].values()]
    assert np.mean(stains) == pytest.approx(report["scores"]["mae_raw"])  # as many of each
    assert set(report["segmentation"]) == {"dice", "pixel_accuracy"}  # no numbered cells
    with (run.path / "report" / "evaluation_test_thresholds.csv").open() as file:
        rows = {row["threshold"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["none", "simple", "adaptive_gaussian", "otsu"]
    dice = float(rows["simple"]["dice"])
    assert dice == pytest.approx(report["segmentation"]["dice"])
    if head == "regressor":
        simple = float(rows["simple"]["mae"])
        assert simple == pytest.approx(report["scores"]["mae_raw"], rel=1e-4)
        assert float(rows["none"]["mae"]) != simple
    else:
        assert "mae" not in rows["simple"]
    with (run.path / "report" / "evaluation_test_counts.csv").open() as file:
        errors = [float(row["absolute_percentage_error"]) for row in csv.DictReader(file)]
    assert np.mean(errors) == pytest.approx(report["scores"]["mape_raw"], abs=0.01)


def test_grey_levels_are_scaled_by_the_training_images(tmp_path, recipe):
    run = fit(recipe("additive"), tmp_path / "run")
    layer = run.load_network().get_layer("natural_scaling")
    assert 0.01 < float(layer.level) < 0.05 and 0.05 < float(layer.spread) < 0.4


def test_other_sizes_are_brought_to_the_scale_of_training(tmp_path, recipe):
    from cellzoo.images import Frame

    run = fit(recipe("additive"), tmp_path / "run")
    frame = Frame(np.zeros((1040, 696), np.uint8), tmp_path / "a.png", 0, None)
    assert load_run(run.path)._prepare(frame, scaled=False).shape == (64, 48)


def test_another_threshold_makes_other_masks(tmp_path, recipe):
    wanted = recipe("additive")
    run = Run.create(tmp_path / "run", wanted)
    run.save_best(build_network(wanted))
    counter = load_run(run.path)
    image = np.random.default_rng(0).random((32, 48), np.float32)
    ((mask, probability),) = counter.segment(image, scaled=True)
    np.testing.assert_array_equal(mask, probability > 0.5)
    for method in ("otsu", "adaptive_gaussian"):
        other = counter.with_threshold(method)
        ((found, same),) = other.segment(image, scaled=True)
        np.testing.assert_array_equal(same, probability)
        expected = wanted.model.with_threshold(method).threshold_layer()(probability[None])[0]
        np.testing.assert_array_equal(found, np.asarray(expected) > 0)
        assert (found != mask).any()
        exported = other.graph().segment(image[None])["mask"][0]
        np.testing.assert_array_equal(found, np.asarray(exported) > 0)


def test_a_regressor_needs_masks(tmp_path, recipe, monkeypatch):
    wanted = recipe("regressor")
    folder = wanted.data.natural.folder
    shutil.rmtree(Path(folder) / "masks")
    said = "model dcc learns from masks: add a mask column .*, or set model.head: additive."
    with pytest.raises(UserError, match=said):
        fit(wanted, tmp_path / "run")
    monkeypatch.setattr(DCC, "masks_cure", "")
    with pytest.raises(UserError, match=r"labelled training images\.$"):
        fit(wanted, tmp_path / "other")


def test_only_masks_that_number_their_cells_tell_them_apart():
    from cellzoo.evaluation.masks import _tells_cells_apart

    numbered, ones, empty = np.arange(4).reshape(2, 2), np.eye(2, dtype=int), np.zeros((2, 2), int)
    masks = np.stack([numbered, ones, ones, empty])
    counts = np.array([3.0, 2.0, 1.0, 0.0])
    images = SimpleNamespace(masks=masks, counts=counts)
    assert list(_tells_cells_apart(images)) == [True, False, True, True]
    images = SimpleNamespace(masks=masks[1:], counts=counts[1:])
    assert not _tells_cells_apart(images).any()
