"""What happens between the epochs of a training: validate, save, report, show pictures."""

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np

from cellzoo.counters.network_parts import domain_counter, predict, translations
from cellzoo.data.image_set import ImageSet
from cellzoo.errors import UserError
from cellzoo.runs import Run
from cellzoo.scores.table import EVERY_EPOCH, count_metrics, headline_in_words
from cellzoo.section import parse_duration
from cellzoo.training.devices import Devices
from cellzoo.training.trainer import Trainer

log = logging.getLogger("cellzoo")

# What a checkpoint is chosen by, on the validation split: the smaller, the better. `max_acc` and
# `min_dev` are the paper's two (section 3.1): by exact counts, and by both mean errors at once. Few
# images make ties, which the unrounded error breaks.
SELECTIONS = {
    "best": lambda scores: (scores["mae_raw"],),
    "max_acc": lambda scores: (-scores["exact"], scores["mae_raw"]),
    "min_dev": lambda scores: (_product(scores["mae"], scores["mre"]), scores["mae_raw"]),
}


def _product(mae: float, mre: float) -> float:
    """Of both errors; of the first alone where no validation image has a cell to be relative to."""
    return mae if math.isnan(mre) else mae * mre


@contextmanager
def averaged_weights(trainer: keras.Model) -> Iterator[None]:
    """Puts the averages of the weights in their place for a while, if the optimiser keeps them."""
    steps = keras.ops.convert_to_numpy(trainer.optimizer.iterations)
    if not trainer.optimizer.use_ema or not steps:  # before the first step they are all 0
        yield
        return
    # Copies: JAX would give an array to two variables, and a prediction then use it up for both.
    own = [np.array(keras.ops.convert_to_numpy(v)) for v in trainer.trainable_variables]
    # Keras's own SwapEMAWeights reads the averages from here too; there is no public name for them.
    averages = trainer.optimizer._model_variables_moving_average
    for variable, average in zip(trainer.trainable_variables, averages, strict=True):
        variable.assign(np.array(keras.ops.convert_to_numpy(average)))
    try:
        yield
    finally:
        for variable, value in zip(trainer.trainable_variables, own, strict=True):
            variable.assign(value)


def training_state(trainer: keras.Model) -> list[keras.Variable]:
    """Every variable that the next epoch depends on, random seeds included.

    Metrics begin anew with each epoch, and reading them needs all machines of a training.
    """
    metrics = {id(variable) for variable in trainer.metrics_variables}
    own = [variable for variable in trainer.variables if id(variable) not in metrics]
    return [*own, *trainer.optimizer.variables]


class EpochEnd(keras.callbacks.Callback):
    """Validates, saves and reports after each epoch, and stops when there is no more to gain.

    Validation images are counted as they are, whatever the recipe's
    ``count.test_time_augmentation``.

    Everything it has to remember stands in ``history.csv``, so that a resumed run decides as an
    uninterrupted one would.

    Args:
        run: where to save.
        validation: labelled validation images.
        images_per_epoch: of both domains, for the rate.
        reached: epochs that the run had before it was interrupted, some of which are trained again:
            the saved weights may be of the last one, so that no budget ends it before.
    """

    def __init__(self, run: Run, validation: ImageSet, images_per_epoch: int, reached: int = 0):
        """Reads what an interrupted run has done so far."""
        super().__init__()
        self.reached = reached
        self.run, self.validation, self.images_per_epoch = run, validation, images_per_epoch
        self.settings = run.recipe.train
        # Before it learns to count, a model cannot be the best one at it.
        self.count_start = run.recipe.loss.count_start_epoch
        self.best_scores = dict.fromkeys(SELECTIONS, (float("inf"),))
        self.best_epoch = self.count_start
        self.done, self.validated, self.seconds = 0, 0, 0.0
        for row in run.history():
            self._remember(row)
        self.resumed_at, self.seconds_before = self.done, self.seconds
        self.time_limit = self.settings.budget and 1.1 * parse_duration(self.settings.budget)

    def on_train_begin(self, logs=None):
        """Starts the clock."""
        self.counter = domain_counter(self.model.network)
        self.started = self.epoch_started = self.saved = time.monotonic()
        self.saving = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the epoch's clock."""
        self.epoch_started = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        """Validates, saves and reports."""
        if not math.isfinite(logs["loss"]):
            raise UserError(
                f"The loss became {logs['loss']} in epoch {epoch + 1} of {self.run.path}: start "
                "another run with a lower train.learning_rate or train.clip_norm set."
            )
        rate = self.images_per_epoch / (time.monotonic() - self.epoch_started)
        row = {"epoch": epoch + 1, "seconds": 0.0, **{k: float(v) for k, v in logs.items()}}
        scores = dict.fromkeys(EVERY_EPOCH, float("nan"))
        last = epoch + 1 == self.settings.epochs or self._spent(epoch + 1, self._seconds_now())
        if last or (epoch + 1) % self.settings.validate_every == 0:
            with averaged_weights(self.model):
                scores = self._validate()
                self._save_selected(scores)
        validated = {f"validation_{key}": scores[key] for key in EVERY_EPOCH}
        logs.update(validated)  # TensorBoard reads the same dict
        row |= validated
        row["seconds"] = self._seconds_now()
        self._remember(row)
        self.run.append_history(row)
        self._report(row, rate)
        reason = self.reason_to_stop()
        if reason:
            log.info(reason)
            self.model.stop_training = True
        self._save(at_once=last or reason is not None)

    @property
    def saved_epoch(self) -> int:
        """The epoch whose weights count: the best one, or the last that was validated."""
        none_better = self.best_epoch == self.count_start
        return self.validated if self.settings.select == "last" or none_better else self.best_epoch

    def _validate(self) -> dict[str, float]:
        predicted = predict(self.counter, self.validation.images)
        return count_metrics(self.validation.counts, predicted)

    def _save_selected(self, scores: dict[str, float]) -> None:
        """Saves the weights under each selection for which they are the best so far."""
        improved = {
            selection: score(scores) < self.best_scores[selection]
            for selection, score in SELECTIONS.items()
        }
        for selection in ("max_acc", "min_dev"):
            if improved[selection]:
                self.run.save_weights(self.model.network, self.run.weights(selection))
        if self.settings.select == "last" or improved[self.settings.select]:
            self.run.save_best(self.model.network)

    def _remember(self, row: dict[str, float]) -> None:
        self.done, self.seconds = round(row["epoch"]), row["seconds"]
        scores = {key: row[f"validation_{key}"] for key in EVERY_EPOCH}
        if math.isfinite(scores["mae"]):
            self.validated = self.done
        if self.done <= self.count_start:
            return
        awaited = "best" if self.settings.select == "last" else self.settings.select
        for selection, score in SELECTIONS.items():
            if score(scores) < self.best_scores[selection]:
                self.best_scores[selection] = score(scores)
                if selection == awaited:
                    self.best_epoch = self.done

    def _save(self, at_once: bool) -> None:
        """Saves the state to go on from, unless saving would take over a twentieth of the time."""
        now = time.monotonic()
        if at_once or now - self.saved >= 20 * self.saving:
            self.run.save_state(training_state(self.model))
            self.saved = time.monotonic()
            self.saving = self.saved - now

    def _report(self, row: dict[str, float], rate: float) -> None:
        per_epoch = (self.seconds - self.seconds_before) / (self.done - self.resumed_at)
        validation = headline_in_words({key: row[f"validation_{key}"] for key in EVERY_EPOCH})
        validation = f"  validation {validation}" if validation else ""
        log.info(
            "epoch %d/%d  loss %.3g%s  %.0f images/s  %s left",
            self.done,
            self.settings.epochs,
            row["loss"],
            validation,
            rate,
            duration(per_epoch * (self.settings.epochs - self.done)),
        )

    def reason_to_stop(self) -> str | None:
        """Why training ends before its last epoch, in words; None if it does not.

        It ends with a validated epoch alone: else the last weights, or all, would not count.
        """
        patience = self.settings.patience
        if patience and self.validated - self.best_epoch >= patience:
            return f"No better validation score for {patience} epochs: stopping early."
        if self.validated == self.done and self._spent(self.done, self.seconds):
            return f"The time budget of {self.settings.budget} is spent: stopping."
        return None

    def _seconds_now(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    def _spent(self, epochs: int, seconds: float) -> bool:
        return bool(self.time_limit) and seconds > self.time_limit and epochs >= self.reached


class Together(keras.callbacks.Callback):
    """Ends an epoch on several machines: the chief does the work, then all stop or all go on.

    Args:
        epoch_end: the chief's; None on the others.
        devices: the machines.
    """

    GO_ON, STOP, FAILED = range(3)

    def __init__(self, epoch_end: EpochEnd | None, devices: Devices):
        """Takes note of both."""
        super().__init__()
        self.epoch_end, self.devices = epoch_end, devices

    def set_model(self, model):
        """Hands the model on, too."""
        super().set_model(model)
        if self.epoch_end:
            self.epoch_end.set_model(model)

    def on_train_begin(self, logs=None):
        """See :class:`EpochEnd`."""
        if self.epoch_end:
            self.epoch_end.on_train_begin(logs)

    def on_epoch_begin(self, epoch, logs=None):
        """See :class:`EpochEnd`."""
        if self.epoch_end:
            self.epoch_end.on_epoch_begin(epoch, logs)

    def on_epoch_end(self, epoch, logs=None):
        """Lets the chief validate, save and report, and tells the others what follows from it."""
        verdict = self.FAILED
        try:
            if self.epoch_end:
                self.epoch_end.on_epoch_end(epoch, logs)
            verdict = self.STOP if self.model.stop_training else self.GO_ON
        finally:
            verdict = self.devices.chiefs_number(verdict)
        if verdict == self.FAILED:
            raise UserError("The training failed on the chief: its output says why.")
        self.model.stop_training = verdict == self.STOP


class Pictures(keras.callbacks.Callback):
    """Shows TensorBoard reconstructions and translations, a row per image.

    Args:
        folder: TensorBoard's log folder.
        natural: a few natural images, float32 ``[n, h, w]``.
        every: epochs between pictures.
    """

    def __init__(self, folder: str, natural: np.ndarray, every: int):
        """Opens the log."""
        super().__init__()
        import tensorflow as tf

        self.writer = tf.summary.create_file_writer(folder)
        self.natural, self.every = natural, every

    def on_epoch_end(self, epoch, logs=None):
        """Writes the pictures of this epoch, if it is one with pictures."""
        import tensorflow as tf

        if (epoch + 1) % self.every:
            return
        model: Trainer = self.model
        with averaged_weights(model), self.writer.as_default(step=epoch):
            for name, picture in translations(model.network, self.natural).items():
                tf.summary.image(name, picture[..., None], max_outputs=len(picture))


def duration(seconds: float) -> str:
    """Seconds as a person says them: ``45 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
