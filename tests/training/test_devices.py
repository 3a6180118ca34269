"""One device, several, several machines: the same step, and one sentence where it cannot be.

TensorFlow divides a processor into devices only before it starts, so what needs two of them runs in
a child process.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cellzoo.errors import UsageError
from cellzoo.training.devices import Devices, _to_go_on, choose_devices

STEP = """
import json, sys
import keras, numpy as np, tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
from cellzoo.models.layers import LatentSampler
from cellzoo.recipe import load_recipe
from cellzoo.training import assemble
from cellzoo.training.callbacks import training_state
from cellzoo.training.devices import choose_devices
from cellzoo.training.stream import tf_dataset

# Noise is drawn on each device, so it is left out here: that of the latent, and what is dropped.
LatentSampler.call = lambda self, mean, log_variance, training=False: mean
keras.layers.Dropout.call = lambda self, inputs, training=False: inputs
# Adam divides a gradient by its own size, after which a vanishing one is all rounding error.
assemble.make_optimizer = lambda name, rate, decay, **options: keras.optimizers.SGD(rate, **options)

recipe, steps = load_recipe(sys.argv[1], sys.argv[3:]), int(sys.argv[2])
if recipe.model.name == "efficientnet":
    keras.applications.EfficientNetB0(weights=None, include_top=False).save_weights(
        recipe.model.weights
    )
natural, _ = recipe.data.natural.load(recipe.image_size, recipe.seed)
batches = assemble.training_batches(recipe, natural.of("train"))
weights = batches(0)[1]["natural_weight"]
half = len(weights) // 2
states = []
for number in (1, 2):
    devices = choose_devices(number)
    trainer = assemble.new_trainer(recipe, batches, 1, devices)
    before = [np.array(v) for v in trainer.trainable_variables]
    stream = tf_dataset(batches, 0, steps, devices)
    trainer.fit(stream, steps_per_epoch=steps, verbose=0, shuffle=False)
    states.append([keras.ops.convert_to_numpy(v) for v in training_state(trainer)])
after = [keras.ops.convert_to_numpy(v) for v in trainer.trainable_variables]
print(json.dumps({
    "labelled": [float((w > 0).sum()) for w in (weights[:half], weights[half:])],
    "replicas": devices.replicas,
    "moved": max(float(np.abs(a - b).max()) for a, b in zip(before, after)),
    "apart": max(float(np.abs(np.subtract(a, b, dtype=float)).max()) for a, b in zip(*states)),
}))
"""

MODELS = {
    "twinvae_spatial": "{name: twinvae_spatial, image_size: 16, shared_channels: 4, latent: 2}",
    "twin_density": "{name: twin_density, image_size: 16}",
    "dcc": "{name: dcc, image_size: 16, channels: [2, 4], head: additive, density_channels: 2}",
    "efficientnet": "{name: efficientnet, image_size: 32, weights: random.weights.h5}",
    "twinvae": "{name: twinvae, channels: [2, 2, 4, 4], shared_channels: 4, latent: 2, dropout: 0}",
}


SYNTHETIC = (
    "  synthetic: {preset: bf, images: 8, background: null, radius: [2, 3],"
    " margins: [0, 0, 0, 0], count_range: [0, 2]}\n"
)


def write_recipe(folder, model, train):
    path = folder / "recipe.yaml"
    path.write_text(
        "name: parity\ndata:\n"
        "  natural: {source: folder, folder: cells, labelled: 3, size: resize}\n"
        f"{SYNTHETIC if 'twin' in model else ''}"
        f"augment: {{crop: 1}}\nmodel: {MODELS[model]}\ntrain: {train}\n"
    )
    return path


@pytest.mark.parametrize(
    "model, clip_norm, steps",
    [
        ("twinvae_spatial", "1.0e-2", 1),
        pytest.param("twin_density", "1.0e-2", 1, marks=pytest.mark.slow),
        pytest.param("twinvae", "null", 1, marks=pytest.mark.slow),
        pytest.param("dcc", "null", 1, marks=pytest.mark.slow),
        # Its last layer begins with zeros, so that the first step changes nothing else.
        pytest.param("efficientnet", "1.0e-2", 2, marks=pytest.mark.slow),
    ],
)
def test_a_step_on_two_devices_is_the_step_on_one(model, clip_norm, steps, write_cells, tmp_path):
    write_cells(tmp_path / "cells", images=16)
    train = f"{{batch: 8, labelled_share: 0.25, clip_norm: {clip_norm}, ema: 0.9}}"
    path = write_recipe(tmp_path, model, train)
    rate = "train.learning_rate=" + ("1e-3" if clip_norm == "null" else "1.0")
    # Errors of density per cell of the whole batch, of which one device has more than the other.
    words = [rate, "loss.density_mean=batch", "loss.density_weight=100"]
    result = child([sys.executable, "-c", STEP, str(path), str(steps), *words], tmp_path)
    assert result["replicas"] == 2
    # All labels on the first device; where the other images teach nothing, there are no others.
    alone = model in ("twin_density", "efficientnet")
    assert result["labelled"] == ([1, 1] if alone else [2, 0])
    assert result["moved"] > 3e-4
    assert result["apart"] <= 1e-5


def child(command, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


class Strategy:
    def __init__(self, replicas):
        self.num_replicas_in_sync = replicas


def test_every_device_of_every_machine_gets_rows_of_its_own():
    second_of_two = Devices(Strategy(4), machine=1, machines=2)
    assert second_of_two.rows(8) == [slice(4, 6), slice(6, 8)]
    assert Devices().rows(8) == [slice(0, 8)]
    assert not second_of_two.chief


@pytest.mark.parametrize("size", [0, 1, 2, 2**24 + 1, 2**24 + 3])
def test_every_machine_gets_the_bytes_of_the_chief(size, monkeypatch):
    """TensorFlow adds up float32, which holds whole numbers up to 2^24."""
    content = np.random.default_rng(size).bytes(size)
    chief = Devices(Strategy(2), machine=0, machines=2)
    other = Devices(Strategy(2), machine=1, machines=2)
    given = []

    def give(numbers):
        given.append(np.asarray(numbers, np.float32))
        return given[-1]

    monkeypatch.setattr(chief, "_sum_of_all", give)
    assert chief.from_chief(content) == content
    sums = iter(given)
    monkeypatch.setattr(other, "_sum_of_all", lambda numbers: next(sums) + np.float32(numbers))
    assert other.from_chief(b"") == content


def test_a_command_started_again_goes_on_with_its_run():
    command = ["-m", "cellzoo", "fit", "a.yaml"]
    run = Path("runs/a/1")
    assert _to_go_on(command, run) == command
    assert _to_go_on([*command, "--fresh"], run) == [*command, "--out", "runs/a/1"]
    assert _to_go_on([*command, "--fresh", "--out=here"], run) == [*command, "--out=here"]
    assert _to_go_on([*command, "--fresh"], None) == [*command, "--fresh"]  # not the chief


def test_a_batch_that_cannot_be_shared_evenly_is_one_sentence():
    with pytest.raises(UsageError, match="train.batch is 7, which 2 devices"):
        Devices(Strategy(2)).check_batch(7)
    Devices(Strategy(2)).check_batch(8)


def test_one_device_needs_no_strategy():
    for wanted in ("auto", "cpu", 1):
        assert choose_devices(wanted).strategy is None


def test_more_devices_than_there_are_is_one_sentence():
    with pytest.raises(UsageError, match="train.devices is 99, but TensorFlow sees"):
        choose_devices(99)


@pytest.mark.parametrize(
    "config, said",
    [
        ("{", "not JSON"),
        ({"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}, "0"),
        ({"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "ps"}}, "ps"),
        ({"cluster": {"worker": ["a:1"]}, "task": {"type": "wroker", "index": 0}}, "worker"),
    ],
)
def test_machines_described_wrongly_are_one_sentence(config, said, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config if isinstance(config, str) else json.dumps(config))
    with pytest.raises(UsageError, match="TF_CONFIG") as caught:
        choose_devices()
    assert said in str(caught.value)


WORKER = """
import sys
import numpy as np
from cellzoo.training import fit
fit_epochs, weights = fit._fit_epochs, sys.argv.pop(1)

def fit_epochs_and_show(run, trainer, *arguments):
    fit_epochs(run, trainer, *arguments)
    np.savez(weights, *trainer.network.get_weights())

fit._fit_epochs = fit_epochs_and_show
from cellzoo.cli import main
main()
"""


def free_ports(number):
    sockets = [socket.socket() for _ in range(number)]
    for s in sockets:
        s.bind(("localhost", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@pytest.mark.slow
def test_a_machine_that_dies_and_comes_back_continues_the_run(write_cells, tmp_path):
    write_cells(tmp_path / "cells")
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "name: two\ndata: {natural: {source: folder, folder: cells}}\naugment: {crop: 1}\n"
        f"model: {MODELS['twinvae_spatial']}\n"
        "train: {batch: 4, epochs: 12, steps_per_epoch: 2, ema: 0.9}\n"
    )
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}

    def start(machine):
        task = {"type": "worker", "index": machine}
        return subprocess.Popen(
            [sys.executable, "-c", WORKER, f"{machine}.npz", "fit", "recipe.yaml", "--out", "run"],
            cwd=tmp_path,
            stdout=(tmp_path / f"{machine}.log").open("a"),
            stderr=subprocess.STDOUT,
            env={**os.environ, "TF_CONFIG": json.dumps({"cluster": cluster, "task": task})},
        )

    machines = [start(0), start(1)]
    try:
        history = tmp_path / "run" / "history.csv"
        deadline = time.monotonic() + 300
        while not history.exists() or len(history.read_text().splitlines()) < 3:
            assert all(m.poll() is None for m in machines), "ended before one could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        machines[1].send_signal(signal.SIGKILL)
        machines[1].wait()
        machines[1] = start(1)
        codes = [m.wait(timeout=400) for m in machines]
    finally:
        for m in machines:
            m.kill()
    said = (tmp_path / "0.log").read_text()
    assert codes == [0, 0], said[-3000:] + (tmp_path / "1.log").read_text()[-3000:]
    assert "starting again" in said and "Going on with" in said
    assert len(history.read_text().splitlines()) == 13
    with np.load(tmp_path / "0.npz") as chief, np.load(tmp_path / "1.npz") as other:
        assert chief.files == other.files
        for name in chief.files:
            np.testing.assert_array_equal(chief[name], other[name])
