"""A recipe trained with JAX where TensorFlow is not installed counts the same on TensorFlow.

Needs JAX, in this environment or in that of the interpreter which CELLZOO_JAX_PYTHON names.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PYTHON = os.environ.get("CELLZOO_JAX_PYTHON") or (
    sys.executable if importlib.util.find_spec("jax") else None
)
pytestmark = pytest.mark.skipif(
    PYTHON is None, reason="JAX is not installed: pip install jax, or set CELLZOO_JAX_PYTHON"
)

WITHOUT_TENSORFLOW = "import sys; sys.modules['tensorflow'] = None\n"
FIT = WITHOUT_TENSORFLOW + "from cellzoo.cli import main; main()"
STOPPED = WITHOUT_TENSORFLOW + """
from cellzoo.training.callbacks import EpochEnd
whole_epoch_end = EpochEnd.on_epoch_end

def stop_after_the_second(self, epoch, logs=None):
    whole_epoch_end(self, epoch, logs)
    if epoch == 1:
        self._save(at_once=True)
        raise KeyboardInterrupt

EpochEnd.on_epoch_end = stop_after_the_second
from cellzoo.cli import main; main()
"""
COUNT = WITHOUT_TENSORFLOW + """
import json, numpy as np
from pathlib import Path
from cellzoo.counters.load import load_run
images = np.load("images.npy")
print(json.dumps(load_run(Path("run")).count(images, scaled=True).raw.tolist()))
"""


def jax(code, folder, *arguments, exit_code=0):
    package = Path(importlib.util.find_spec("cellzoo").origin).parents[1]
    done = subprocess.run(
        [PYTHON, "-c", code, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(package)},
    )
    assert done.returncode == exit_code, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(write_cells, tmp_path_factory):
    folder = tmp_path_factory.mktemp("jax")
    write_cells(folder / "cells")
    (folder / "recipe.yaml").write_text(
        "name: tiny\ndata: {natural: {source: folder, folder: cells}}\naugment: {crop: 1}\n"
        "model: {name: twinvae_spatial, image_size: 16, shared_channels: 2, latent: 2}\n"
        "train: {batch: 4, epochs: 3, steps_per_epoch: 2, ema: 0.9, clip_norm: 5,"
        " learning_rate: 1.0e-2}\n"
    )
    jax(FIT, folder, "fit", "recipe.yaml", "--out", "run")
    return folder


def test_weights_trained_with_jax_count_the_same_on_tensorflow(folder):
    from cellzoo.counters.load import load_run

    images = np.random.default_rng(1).random((3, 16, 16), np.float32)
    np.save(folder / "images.npy", images)
    with_jax = json.loads(next(line for line in jax(COUNT, folder).splitlines() if line[0] == "["))
    counts = load_run(folder / "run").count(images, scaled=True)
    np.testing.assert_allclose(counts.raw, with_jax, rtol=1e-5)
    assert json.loads((folder / "run" / "environment.json").read_text())["packages"]["jax"]


def test_what_jax_trained_is_exported_by_tensorflow(folder):
    from cellzoo.commands.export import export
    from cellzoo.counters.load import load_run
    from cellzoo.counters.saved_model import SavedModelCounter

    images = np.random.default_rng(2).random((3, 16, 16), np.float32)
    exported = SavedModelCounter(export(folder / "run", folder / "saved_models"))
    expected = load_run(folder / "run").count(images, scaled=True).raw
    np.testing.assert_array_equal(exported.count(images, scaled=True).raw, expected)


def test_an_interrupted_training_ends_as_an_uninterrupted_one(folder):
    fit = ("fit", "recipe.yaml", "--out", "stopped")
    jax(STOPPED, folder, *fit, exit_code=1)
    assert "Going on" in jax(FIT, folder, *fit)
    states = [folder / run / "checkpoints" / "last.npz" for run in ("run", "stopped")]
    with np.load(states[0]) as whole, np.load(states[1]) as stopped:
        assert whole.files == stopped.files
        for name in whole.files:
            np.testing.assert_array_equal(stopped[name], whole[name])


def test_two_devices_are_one_sentence(folder):
    fit = ("fit", "recipe.yaml", "--set", "train.devices=2", "--out", "two")
    said = jax(FIT, folder, *fit, exit_code=2)
    assert "KERAS_BACKEND=jax trains on one device" in said
