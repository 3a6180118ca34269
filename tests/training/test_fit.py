"""Training from the command line: run folder, resume after a kill, budget, early stopping."""

import gc
import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from cellzoo.data.copies import fingerprints
from cellzoo.data.image_set import ImageSet
from cellzoo.data.seen import Seen
from cellzoo.errors import UserError
from cellzoo.evaluation.evaluate import evaluate
from cellzoo.recipe import load_recipe, with_epochs
from cellzoo.runs import Run
from cellzoo.training import assemble, budget
from cellzoo.training import fit as fit_module
from cellzoo.training.devices import Devices
from cellzoo.training.resume import open_run
from cellzoo.training.start import check_leakage

RECIPE = """\
# tiny
name: tiny
seed: 3
data:
  natural:
    source: simulated
    modality: bf
    train: 25
    labelled: 10
    validation: 25
    validation_labelled: 20
    test: 25
    test_labelled: 20
  synthetic: {preset: bf, images: 40, fresh: true}
model:
  name: twinvae_spatial
  channels: [4, 8]
  shared_channels: 4
  latent: 2
train:
  batch: 8
  epochs: 6
  steps_per_epoch: 8
  ema: 0.9
  labelled_share: 0.5
  schedule: cosine
  warmup: 0.1
  learning_rate: 1.0e-2
  optimizer: adam
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(RECIPE)
    return path


# A network that TensorFlow traces in a third of the time, where any will do.
LIGHT = "model={name: twin_density, channels: [4, 8], shared_channels: 4, latent: 2, "
LIGHT += "shared_reader: true}"
SHORT = "train.steps_per_epoch=2"  # where it does not matter what is learned


# What is too short for a remark on how long it takes is not timed.
FIT = "from cellzoo.training import fit; fit.NOT_TIMED = 10**9; "
FIT += "from cellzoo.cli import main; main()"


def start(recipe, out, *settings):
    words = [word for setting in settings for word in ("--set", setting)]
    return subprocess.Popen(
        [sys.executable, "-c", FIT, "fit", str(recipe), "--out", str(out), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def epochs_trained(out):
    history = out / "history.csv"
    return len(history.read_text().splitlines()) - 1 if history.exists() else 0


def let_train(process, out, epochs):
    """Waits until so many epochs are trained."""
    deadline = time.monotonic() + 200
    while epochs_trained(out) < epochs:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def uninterrupted(recipe, tmp_path_factory, run_cli):
    out = tmp_path_factory.mktemp("runs") / "whole"
    result = run_cli("fit", recipe, "--out", out)
    assert result.exit_code == 0, result.output
    return out


def test_a_run_folder_holds_what_it_promises(uninterrupted):
    held = {str(path.relative_to(uninterrupted)) for path in uninterrupted.rglob("*")}
    assert held >= {
        "recipe.yaml", "environment.json", "history.csv", "run.log", "tensorboard",
        "checkpoints/best.weights.h5", "checkpoints/last.npz", "report/validation.json",
    }  # fmt: skip
    rows = np.genfromtxt(uninterrupted / "history.csv", delimiter=",", names=True)
    assert list(rows["epoch"]) == [1, 2, 3, 4, 5, 6]
    assert np.isfinite(rows["loss"]).all()
    assert rows["loss"][-1] < rows["loss"][0]
    scores = json.loads((uninterrupted / "report" / "validation.json").read_text())
    assert scores["images"] == 20
    # The default selection keeps the checkpoint with the lowest validation error.
    assert scores["mae_raw"] == pytest.approx(rows["validation_mae_raw"].min(), rel=1e-4)
    assert scores["steps"] == 48
    said = (uninterrupted / "run.log").read_text()
    best = int(np.argmin(rows["validation_mae_raw"])) + 1
    assert f"20 simulated images (weights of epoch {best}, by train.select: best)" in said
    assert re.search(r"No intervals: \d of 5 groups of validation images that are needed\.\n", said)
    assert "The training was short (6 epochs, 48 steps): a longer one may count better." in said


def test_killed_in_mid_epoch_and_resumed_equals_uninterrupted(
    recipe, uninterrupted, tmp_path, run_cli
):
    out = tmp_path / "killed"
    process = start(recipe, out)
    let_train(process, out, epochs=2)
    process.kill()
    process.communicate()
    assert 2 <= epochs_trained(out) < 6

    resumed = run_cli("fit", recipe, "--out", out)

    assert resumed.exit_code == 0 and "Going on" in resumed.output
    with np.load(out / "checkpoints" / "last.npz") as mine:
        with np.load(uninterrupted / "checkpoints" / "last.npz") as whole:
            assert mine.files == whole.files
            for name in whole.files:
                np.testing.assert_array_equal(mine[name], whole[name])
    mine, whole = (Run(folder).load_network().get_weights() for folder in (out, uninterrupted))
    for a, b in zip(mine, whole, strict=True):
        np.testing.assert_array_equal(a, b)
    mine = np.genfromtxt(out / "history.csv", delimiter=",", names=True)
    whole = np.genfromtxt(uninterrupted / "history.csv", delimiter=",", names=True)
    for column in ("epoch", "loss", "validation_mae_raw"):
        np.testing.assert_array_equal(mine[column], whole[column])


@pytest.fixture
def run_fit(recipe, run_cli):
    """A function of a run folder and settings that trains in this process; its result."""

    def run(out, *settings, options=(), code=0):
        words = [word for setting in settings for word in ("--set", setting)]
        result = run_cli("fit", recipe, "--out", out, *options, *words)
        assert result.exit_code == code, result.output
        return result

    return run


def test_a_finished_run_is_left_alone(run_fit, uninterrupted):
    before = {path: path.stat().st_mtime_ns for path in (uninterrupted / "checkpoints").iterdir()}
    assert "finished already" in run_fit(uninterrupted).output
    after = {path: path.stat().st_mtime_ns for path in (uninterrupted / "checkpoints").iterdir()}
    assert after == before


def test_another_recipe_does_not_go_on_with_a_run(run_fit, uninterrupted):
    result = run_fit(uninterrupted, "loss.kl_weight=0.5", code=2)
    assert "loss.kl_weight: 2.0 -> 0.5" in result.stderr


def test_interrupt_leaves_a_model_that_counts(recipe, tmp_path):
    from cellzoo.counters.load import load_run

    out = tmp_path / "stopped"
    process = start(recipe, out, LIGHT, "train.epochs=5000")
    let_train(process, out, epochs=1)
    process.send_signal(signal.SIGTERM)  # as queues do; Ctrl-C raises the same
    said, err = process.communicate(timeout=100)
    assert process.returncode == 1
    assert "Interrupted" in said
    assert "Traceback" not in err
    counts = load_run(out).count(np.full((2, 128, 128), 180, np.uint8))
    assert np.isfinite(counts.raw).all()


def test_an_interrupt_lets_go_of_the_stream_while_python_still_runs(recipe, tmp_path, monkeypatch):
    from tensorflow.python.data.ops.iterator_ops import OwnedIterator

    from cellzoo.training.fit import EpochEnd, fit

    def streams():
        return [thing for thing in gc.get_objects() if isinstance(thing, OwnedIterator)]

    def interrupt(*_):
        circle = streams()  # as an interrupt in mid-step leaves one
        circle.append(circle)
        raise KeyboardInterrupt

    gc.collect()
    before = len(streams())
    monkeypatch.setattr(EpochEnd, "on_epoch_end", interrupt)
    with pytest.raises(KeyboardInterrupt) as interrupted:
        fit(load_recipe(recipe, [LIGHT, SHORT]), tmp_path / "run")
    # The command line still holds the exception when Python ends, and with it all its frames.
    assert interrupted.tb is not None and len(streams()) == before


def test_the_speed_is_measured_for_a_part_of_the_budget(monkeypatch):
    """On a machine that is busy at first: two seconds a step, then one."""
    trained, clock = [], [0.0]

    class Batches:
        def between(self, first, last):
            for step in range(first, last):
                trained.append(step)
                clock[0] += 2 if step < 10 else 1
                yield ()

    class Trainer:
        devices = Devices()

        def train_on_batch(self):
            pass

    monkeypatch.setattr(budget.time, "monotonic", lambda: clock[0])
    assert budget.seconds_per_step(Trainer(), Batches()) == 2
    assert trained == list(range(6))
    trained.clear()
    assert budget.seconds_per_step(Trainer(), Batches(), at_least=20) == 1.5
    assert trained == list(range(18))


def test_a_budget_sets_the_number_of_epochs_and_keeps_it(run_fit, tmp_path):
    out = tmp_path / "budget"
    said = run_fit(out, LIGHT, "train.steps_per_epoch=4", options=("--budget", "1s")).output
    epochs = load_recipe(out / "recipe.yaml").train.epochs
    assert f"1s allows {epochs} epochs" in said
    assert epochs_trained(out) <= epochs


def test_synthetic_images_alone_can_tell_what_a_count_is(run_fit, tmp_path):
    out = tmp_path / "run"
    said = run_fit(out, LIGHT, SHORT, "data.natural.labelled=0", "train.epochs=1").output
    assert "25 simulated natural training images (0 labelled)" in said
    (row,) = Run(out).history()
    assert row["synthetic_count"] > 0 and np.isfinite(row["validation_mae"])
    assert np.isnan(row["natural_count"])
    scores = json.loads((out / "report" / "validation.json").read_text())
    assert scores["training_mean"] is scores["training_counts"] is None


def test_a_twin_without_decoders_learns_to_count_alone(run_fit, tmp_path):
    out = tmp_path / "run"
    model = "{name: twin_density, shared_channels: 4, latent: 2}"
    result = run_fit(
        out,
        f"model={model}", SHORT, "train.epochs=2",
        "data.natural.labelled=0", "loss.density_loss=poisson",
    )  # fmt: skip
    assert "0 labelled" in result.output
    first, second = Run(out).history()
    assert not [column for column in first if "reconstruction" in column or "kl" in column]
    assert np.isnan(second["natural_count"])
    assert second["synthetic_density"] > 0
    scores = evaluate(out).scores
    assert np.isfinite(scores["mae"])
    assert "The reconstruction is what" not in (out / "report" / "index.html").read_text()


def test_early_stopping(run_fit, tmp_path):
    out = tmp_path / "early"
    # A learning rate this small changes no weight, so patience runs out at once.
    settings = (LIGHT, "train.patience=2", "train.learning_rate=1e-30", "train.ema=null")
    assert "stopping early" in run_fit(out, SHORT, *settings).output
    assert epochs_trained(out) < 6


def test_a_loss_that_is_no_number_ends_in_one_sentence(run_fit, tmp_path):
    settings = (LIGHT, SHORT, "train.learning_rate=1e30", "train.schedule=constant")
    result = run_fit(tmp_path / "nan", *settings, code=1)
    assert "train.learning_rate" in result.stderr


def test_a_constant_learning_rate_is_reached_by_a_warmup(recipe):
    warm = ["train.schedule=constant", "train.warmup=0.1", "train.learning_rate=0.2"]
    schedule = assemble.learning_rate(load_recipe(recipe, warm), steps=100)
    rates = [float(schedule(step)) for step in (0, 5, 10, 50, 99)]
    np.testing.assert_allclose(rates, [0.01, 0.105, 0.2, 0.2, 0.2], rtol=1e-6)
    cold = load_recipe(recipe, [*warm, "train.warmup=0"])
    assert assemble.learning_rate(cold, steps=100) == 0.2


def test_a_training_does_not_go_on_with_other_counts_or_images(recipe, tmp_path):
    run = Run.create(tmp_path / "run", load_recipe(recipe))
    images = ImageSet(
        images=np.full((2, 4, 4), 0.5, np.float32), counts=np.array([3, np.nan], np.float32),
        groups=np.array(["g", "h"]), names=np.array(["a", "b"]), splits=np.array(["train"] * 2),
    )  # fmt: skip
    corrected = replace(images, counts=np.array([4, np.nan], np.float32))
    retaken = replace(images, images=images.images + [[[0]], [[0.001]]])
    run.keep_splits(images)
    run.keep_splits(replace(images, images=images.images + 1e-7))  # as another machine rounds
    for changed in (corrected, retaken):
        with pytest.raises(UserError, match="The images or labels differ"):
            run.keep_splits(changed)
    assert [row["count"] for row in run.split_table()] == ["3", ""]
    run.splits_file.write_text(run.splits_file.read_text().replace("0.5", "half"))
    with pytest.raises(UserError, match="The images or labels differ"):
        run.keep_splits(images)


@pytest.mark.parametrize("count", ["", ",count"])
def test_a_training_goes_on_that_an_earlier_version_began(recipe, tmp_path, count):
    """Which kept no means, and before that no counts."""
    run = Run.create(tmp_path / "run", load_recipe(recipe))
    images = ImageSet(
        images=np.zeros((1, 4, 4), np.float32), counts=np.array([3], np.float32),
        groups=np.array(["g"]), names=np.array(["a"]), splits=np.array(["train"]),
    )  # fmt: skip
    row = "a,g,train,1" + count.replace("count", "3")
    run.splits_file.write_text(f"image,group,split,labelled{count}\n{row}\n")
    run.keep_splits(images)


def test_a_budget_decides_the_epochs(run_fit, tmp_path):
    said = run_fit(tmp_path / "run", "train.epochs=3", options=("--budget", "5s"), code=2).stderr
    assert "train.epochs: the budget decides" in said and not (tmp_path / "run").exists()


def test_a_budget_is_planned_anew_where_nothing_was_kept(recipe, tmp_path):
    """From the recipe's own schedule, not from the one that a first plan shortened to nothing."""
    chosen = load_recipe(recipe, ["train.budget=9s", "loss.count_start_epoch=2"])
    run = Run.create(tmp_path / "run", with_epochs(chosen, 2))
    assert run.recipe.loss.count_start_epoch == 0
    run.best_weights.write_bytes(b"of an interrupted first epoch")
    with open_run(chosen, run.path, fresh=False) as opened:
        assert opened.recipe.loss.count_start_epoch == 2
    assert load_recipe(run.recipe_file).train.epochs == chosen.train.epochs


def test_what_counts_already_keeps_its_scale_of_counts():
    adapted = []
    counts = SimpleNamespace(name="count", adapt_to_counts=lambda known: adapted.append("counts"))
    grey = SimpleNamespace(name="natural_scaling", adapt=lambda images: adapted.append("grey"))
    network = SimpleNamespace(layers=[counts, grey])
    natural = SimpleNamespace(
        images=np.zeros((2, 4, 4)), counts=np.ones(2), labelled=np.ones(2, bool)
    )
    batches = SimpleNamespace(natural=natural, synthetic=None, normalised=None)
    assemble.adapt(network, batches, counts=False)
    assert adapted == ["grey"]
    assemble.adapt(network, batches, counts=True)
    assert adapted == ["grey", "grey", "counts"]


def test_twelve_bits_in_sixteen_are_told(tmp_path, tiny_recipe, caplog, monkeypatch):
    monkeypatch.setattr(fit_module.log, "propagate", True)
    (tmp_path / "tiny.yaml").write_text(tiny_recipe)
    images = np.full((2, 4, 4), 4095 / 65535, np.float32)
    scaled = load_recipe(tmp_path / "tiny.yaml", ["data.natural.intensity=[0, 4095]"])
    plain = load_recipe(tmp_path / "tiny.yaml")
    fit_module._look_at_range(scaled, images)
    fit_module._look_at_range(plain, 2 * images)
    assert not caplog.messages
    fit_module._look_at_range(plain, images)
    assert "set data.natural.intensity: [0, 4095]" in caplog.text


def test_a_start_may_not_have_learned_from_what_is_held_out(
    tmp_path, tiny_recipe, write_cells, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write_cells(tmp_path / "cells")
    (tmp_path / "tiny.yaml").write_text(tiny_recipe)
    recipe = load_recipe(tmp_path / "tiny.yaml", ["train.start_from=first"])
    natural, _ = recipe.data.natural.load(16, recipe.seed)
    first = Run.create(tmp_path / "first", recipe)
    prints = fingerprints(natural.images)
    first.keep_fingerprints(Seen(prints[natural.splits == "train"], prints[:0]))

    def check(name, images, start="first"):
        train = recipe.train.model_copy(update={"start_from": start})
        run = Run.create(tmp_path / name, recipe.model_copy(update={"train": train}))
        run.keep_fingerprints(check_leakage(run, images, fingerprints(images.images)))

    check("same", natural)
    # Dealt out anew, renamed, at other grey levels and mirrored.
    anew = replace(natural, splits=np.roll(natural.splits, -1))
    anew = replace(anew, names=np.array([f"new{k}" for k in range(len(anew))]))
    anew = replace(anew, images=0.5 * anew.images[:, :, ::-1] + 0.1)
    with pytest.raises(UserError, match="first has seen new1 and 2 more, or a copy"):
        check("anew", anew)
    # A chain: what the first one saw is known to the third.
    random = np.random.default_rng(0)
    others = replace(natural, images=random.random(natural.images.shape, np.float32))
    check("second", others)
    seen = Run(tmp_path / "second").fingerprints()
    assert (len(seen.taught), len(seen.chosen_on)) == (12, 3)  # of each 12 images 6 teach
    with pytest.raises(UserError, match="second has seen new1 and 2 more"):
        check("third", anew, start="second")
    # What chose may choose again, but is no test.
    second = replace(natural, images=others.images)
    check("fourth", second, start="second")
    swap = {"train": "train", "validation": "test", "test": "validation"}
    swapped = replace(second, splits=np.array([swap[split] for split in second.splits]))
    with pytest.raises(UserError, match="second has seen 02.png and 2 more"):
        check("fifth", swapped, start="second")


def test_a_start_that_does_not_say_what_it_saw_is_warned_of(
    tmp_path, tiny_recipe, write_cells, monkeypatch, caplog
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fit_module.log, "propagate", True)
    write_cells(tmp_path / "cells")
    (tmp_path / "tiny.yaml").write_text(tiny_recipe)
    recipe = load_recipe(tmp_path / "tiny.yaml", ["train.start_from=first"])
    natural, _ = recipe.data.natural.load(16, recipe.seed)
    first = Run.create(tmp_path / "first", recipe)
    check_leakage(Run.create(tmp_path / "second", recipe), natural, fingerprints(natural.images))
    assert "first is of an earlier version and does not say which images" in caplog.text
    first.fingerprints_file.write_bytes(b"PK damaged")
    with pytest.raises(UserError, match="fingerprints.npz is damaged"):
        first.fingerprints()


def test_copies_across_splits_are_refused_unless_allowed(
    tmp_path, tiny_recipe, write_cells, monkeypatch, run_cli
):
    monkeypatch.chdir(tmp_path)
    cells = write_cells(tmp_path / "cells")
    (tmp_path / "tiny.yaml").write_text(tiny_recipe)
    picture = cv2.imread(str(cells / "00.png"), cv2.IMREAD_UNCHANGED)  # of the training split
    cv2.imwrite(str(cells / "02.png"), picture[:, ::-1])  # of the validation split
    refused = run_cli("fit", "tiny.yaml", "--out", "run")
    assert refused.exit_code == 1
    assert (
        "02.png (validation split) shows the same as 00.png (train split), so scores would be too "
        "good: give both the same group in labels.csv"
    ) in refused.stderr
    allowed = run_cli("fit", "tiny.yaml", "--out", "run", "--set", "data.natural.copies=allow")
    assert allowed.exit_code == 0, allowed.output


def test_a_quick_run_may_start_from_what_the_full_recipe_cannot(
    recipe, tmp_path, run_cli, monkeypatch
):
    """Whose time is estimated beside it, if that can be."""
    monkeypatch.setattr(fit_module, "NOT_TIMED", 0)
    both = tmp_path / "both.yaml"
    text = recipe.read_text()
    model = text[text.index("\nmodel:") + 1 : text.index("\ntrain:") + 1]
    text = text.replace(model, LIGHT.replace("=", ": ", 1).replace("true", "false") + "\n")
    # A start that never saw a synthetic image has no half for them.
    quick = "quick:\n  data: {synthetic: null}\n  train: {epochs: 1, steps_per_epoch: 1}\n"
    both.write_text(text + quick)
    start = ("--set", f"train.start_from={tmp_path / 'first'}")
    for name, settings in ("first", ()), ("second", start):
        result = run_cli("fit", both, "--quick", "--out", tmp_path / name, *settings)
        assert result.exit_code == 0, result.output
        assert ("full recipe would take" in result.output) is (name == "first")
