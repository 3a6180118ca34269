"""Which epochs' weights a run keeps, and when it stops."""

import time

import keras
import numpy as np
import pytest

from cellzoo.data.image_set import ImageSet
from cellzoo.recipe import load_recipe
from cellzoo.runs import Run
from cellzoo.training.callbacks import EpochEnd, averaged_weights

SCORES = [
    {"mae": 1.0, "mre": 0.5, "exact": 0.2, "mae_raw": 1.1},
    {"mae": 1.2, "mre": 0.3, "exact": 0.1, "mae_raw": 1.0},  # both mean errors; unrounded error
    {"mae": 1.3, "mre": 0.6, "exact": 0.4, "mae_raw": 1.3},  # exact counts
    {"mae": 1.3, "mre": 0.6, "exact": 0.4, "mae_raw": 1.4},  # a tie is no improvement
]


@pytest.mark.parametrize(
    "select, chosen", [("best", 2), ("max_acc", 3), ("min_dev", 2), ("last", 4)]
)
@pytest.mark.parametrize("resumed", [False, True])
def test_each_selection_keeps_its_epoch(select, chosen, resumed, tmp_path, tiny_recipe):
    (tmp_path / "tiny.yaml").write_text(tiny_recipe)
    recipe = load_recipe(tmp_path / "tiny.yaml", [f"train.select={select}"])
    run = Run.create(tmp_path / "run", recipe)
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    trainer = keras.Model()
    trainer.network = network

    def epoch_end():
        nothing = np.zeros((0, 16, 16), np.float32)
        callback = EpochEnd(run, ImageSet(nothing, *[np.zeros(0)] * 4), 1)
        callback.set_model(trainer)
        return callback

    callback = epoch_end()
    for epoch, scores in enumerate(SCORES, start=1):
        network.set_weights([np.full((1, 1), float(epoch))])
        callback._save_selected(scores)
        row = {"epoch": epoch, "seconds": 1.0, "loss": 0.0}
        row |= {f"validation_{key}": value for key, value in scores.items()}
        run.append_history(row)
        callback._remember(row)
        if resumed:
            callback = epoch_end()

    def kept(selection):
        network.load_weights(run.weights(selection))
        return float(network.get_weights()[0][0, 0])

    assert (kept("best"), kept("max_acc"), kept("min_dev")) == (chosen, 3, 2)


def test_before_the_first_step_there_is_no_average():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), loss="mse")
    model.optimizer.build(model.trainable_variables)
    model.set_weights([np.ones((1, 1))])
    with averaged_weights(model):
        assert model.get_weights()[0] == 1
    for _ in range(2):
        model.train_on_batch(np.ones((1, 1)), np.zeros((1, 1)))
    after = model.get_weights()[0].copy()
    with averaged_weights(model):
        assert model.get_weights()[0] != after
    assert model.get_weights()[0] == after


@pytest.fixture
def train(tmp_path, tiny_recipe, monkeypatch):
    """A function that ends epochs of ten seconds until training stops; (epochs, validated ones)."""
    (tmp_path / "tiny.yaml").write_text(tiny_recipe)

    def train(scores, *settings, reached=0):
        recipe = load_recipe(tmp_path / "tiny.yaml", ["train.epochs=100", *settings])
        run = Run.create(tmp_path / "run", recipe)
        trainer = keras.Model()
        trainer.network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        trainer.compile("sgd")
        clock, validated = [0.0], []
        monkeypatch.setattr(time, "monotonic", lambda: clock[0])
        nothing = np.zeros((0, 16, 16), np.float32)
        callback = EpochEnd(run, ImageSet(nothing, *[np.zeros(0)] * 4), 1, reached)
        monkeypatch.setattr(
            callback, "_validate", lambda: validated.append(epoch + 1) or scores(epoch + 1)
        )
        callback.set_model(trainer)
        callback.started = callback.saved = callback.saving = 0.0
        trainer.stop_training = False
        epoch = -1
        while not trainer.stop_training:
            epoch += 1
            callback.on_epoch_begin(epoch)
            clock[0] += 10
            callback.on_epoch_end(epoch, {"loss": 1.0})
        return epoch + 1, validated, run

    return train


def test_patience_is_of_validated_epochs(train):
    settings = ("train.patience=3", "train.validate_every=5")
    assert train(lambda epoch: SCORES[0], *settings)[:2] == (10, [5, 10])


@pytest.mark.parametrize("select, stopped", [("best", 4), ("max_acc", 8), ("last", 4)])
def test_patience_waits_for_what_selects(train, select, stopped):
    def scores(epoch):
        return SCORES[0] | {"exact": min(epoch, 5) / 10, "mae_raw": 1 + epoch / 10}

    assert train(scores, f"train.select={select}", "train.patience=3")[0] == stopped


def test_the_last_epoch_within_a_budget_is_validated(train):
    settings = ("train.budget=50s", "train.validate_every=4")
    epochs, validated, run = train(lambda epoch: SCORES[0], *settings)
    assert (epochs, validated) == (6, [4, 6])
    assert run.best_weights.exists()


def test_a_slower_machine_goes_on_to_the_epoch_whose_weights_are_kept(train):
    """Killed after epoch 9, whose weights are the best, with the state of an earlier one."""
    epochs, *_ = train(lambda epoch: SCORES[0], "train.budget=50s", reached=9)
    assert epochs == 9


def test_the_papers_selection_works_without_a_cell_in_validation_images(train):
    scores = SCORES[0] | {"mre": float("nan")}
    *_, run = train(lambda epoch: scores, "train.select=min_dev", "train.patience=2")
    assert run.best_weights.exists()
