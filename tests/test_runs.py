"""Run folders: which of them a training goes on with, and what a kill may leave in one."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from cellzoo.errors import UserError
from cellzoo.recipe import load_recipe
from cellzoo.runs import Run, build_network
from cellzoo.training.resume import latest_unfinished, open_run
from cellzoo.trust.out_of_distribution import OutOfDistribution


@pytest.fixture
def recipe(tmp_path, tiny_recipe, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(tiny_recipe)
    return load_recipe(tmp_path / "tiny.yaml")


@pytest.fixture
def run(recipe, tmp_path):
    return Run.create(tmp_path / "run", recipe)


def test_later_runs_do_not_hide_an_interrupted_one(recipe, tmp_path):
    other = load_recipe(tmp_path / "tiny.yaml", ["seed=2"])
    for name, kind in (("1", recipe), ("2", recipe), ("3", other), ("mine", recipe)):
        Run.create(tmp_path / "runs" / "tiny" / name, kind)
    (tmp_path / "runs" / "tiny" / "mine" / "report" / "validation.json").write_text("{}")
    (tmp_path / "runs" / "tiny" / "old").mkdir()
    (tmp_path / "runs" / "tiny" / "old" / "recipe.yaml").write_text("name: of another version\n")
    assert latest_unfinished(recipe, lambda found: found == recipe).name == "2"
    assert latest_unfinished(recipe, lambda found: False) is None


@pytest.mark.parametrize("rest", ["", "2,4", "2,4.0,", "2,4.0,na", "2,4.0,0.25"])
def test_a_history_without_its_last_line_break_ends_with_the_last_whole_row(run, rest):
    run.append_history({"epoch": 1, "seconds": 2.5, "loss": 0.5})
    with run.history_file.open("a") as file:
        file.write(rest)
    assert run.history() == [{"epoch": 1.0, "seconds": 2.5, "loss": 0.5}]
    run.forget_history_after(1)
    run.append_history({"epoch": 2, "seconds": 5.0, "loss": 0.25})
    assert [row["loss"] for row in run.history()] == [0.5, 0.25]


@pytest.mark.parametrize("kept", [0, 10, 300])
def test_a_state_that_is_cut_off_is_said(run, kept):
    run.save_state([np.zeros(100, np.float32)])
    run.last_state.write_bytes(run.last_state.read_bytes()[:kept])
    with pytest.raises(UserError, match="last.npz is damaged: bring a copy back, or train anew"):
        run.load_state([])


def test_a_run_is_trained_by_one_process_at_a_time(run, recipe, tmp_path, write_cells, run_cli):
    write_cells(tmp_path / "cells")
    with open_run(recipe, run.path, fresh=False):
        refused = run_cli("fit", "tiny.yaml", "--out", run.path)
        assert refused.exit_code == 1 and "run is being trained by another" in refused.stderr
    assert run_cli("fit", "tiny.yaml", "--out", run.path).exit_code == 0


def test_labels_may_be_mended_before_anything_was_trained(tmp_path, recipe, write_cells, run_cli):
    labels = write_cells(tmp_path / "cells", 24, size=96) / "labels.csv"
    synthetic = "data.synthetic={preset: bf, background: groups, images: 8}"
    words = ("fit", "tiny.yaml", "--out", "new", "--set", synthetic, "--set", "model.image_size=96")
    refused = run_cli(*words)
    assert "group column of labels.csv" in refused.stderr
    rows = labels.read_text().splitlines()
    groups = [row + "," + row.rpartition(",")[2] for row in rows[1:]]
    labels.write_text("\n".join([rows[0] + ",group", *groups]) + "\n")
    done = run_cli(*words)
    assert done.exit_code == 0, done.stderr
    assert Run(tmp_path / "new").finished


def test_opening_a_run_starts_neither_keras_nor_tensorflow():
    """So that what only reads a run folder answers at once."""
    check = "import sys, cellzoo.runs; sys.exit(bool({'keras', 'tensorflow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0


def test_training_images_of_earlier_runs_are_known(tiny_run, tmp_path):
    """Their file had another name."""
    shutil.copytree(tiny_run, tmp_path / "run")
    run = Run(tmp_path / "run")
    assert run.out_of_distribution() is None
    seen = np.random.default_rng(1).random((9, 16, 16), np.float32)
    known = OutOfDistribution.fit(seen, np.arange(9), seen[:0])
    run.keep_out_of_distribution(known)
    assert run.out_of_distribution_file.name == "out_of_distribution.json"
    run.out_of_distribution_file.rename(run.path / "report" / "familiarity.json")
    assert run.out_of_distribution().metadata() == known.metadata()


@pytest.mark.parametrize("shape, name", [((1,), "natural_count"), ((), "natural_cells")])
def test_a_network_that_gives_no_counts_is_said_before_it_learns(recipe, monkeypatch, shape, name):
    """Errors of counts [batch, 1] would be those against every label of a batch."""
    import keras

    def build(self, domains, seed, pretrained):
        image = keras.Input((16, 16), name="natural")
        count = keras.ops.reshape(keras.ops.mean(image, axis=(1, 2)), (-1, *shape))
        return keras.Model({"natural": image}, {name: count})

    monkeypatch.setattr(type(recipe.model), "build", build)
    with pytest.raises(UserError, match="twinvae_spatial must have .* natural_count, .batch.: see"):
        build_network(recipe)
