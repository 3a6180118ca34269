"""How long a training takes here, and how many epochs a budget of time allows."""

import logging
import time

import keras

from cellzoo.data.batches import TrainingBatches
from cellzoo.errors import UserError
from cellzoo.recipe import Recipe, with_epochs
from cellzoo.runs import Run
from cellzoo.section import parse_duration
from cellzoo.training.assemble import new_trainer, training_batches
from cellzoo.training.callbacks import duration
from cellzoo.training.stream import tf_dataset
from cellzoo.training.trainer import Trainer

log = logging.getLogger("cellzoo")

WARMUP_STEPS, TIMED_STEPS = 2, 4
# Of a budget; the rest is for validation and pictures. Four steps alone would tell how busy the
# machine was in that half a second.
TRAINING_SHARE, TIMED_SHARE, TIMED_AT_MOST = 0.91, 0.01, 60.0


def plan(
    run: Run, trainer: Trainer, batches: TrainingBatches, steps_per_epoch: int, other: Recipe | None
) -> None:
    """Measures this machine, says what to expect and fits the schedule to a budget."""
    recipe = run.recipe
    budget = recipe.train.budget
    wanted = parse_duration(budget) if budget else 0.0  # seconds
    timed = min(TIMED_SHARE * wanted, TIMED_AT_MOST)
    per_epoch = steps_per_epoch * seconds_per_step(trainer, batches, timed)
    if budget:
        share = TRAINING_SHARE * (1 - recipe.train.distil)
        epochs = max(1, int(share * wanted / per_epoch))
        run.replace_recipe(with_epochs(recipe, epochs))
        log.info("%s allows %d epochs of %d steps here.", budget, epochs, steps_per_epoch)
    else:
        seconds = per_epoch * recipe.train.epochs / (1 - recipe.train.distil)
        log.info("This takes up to %s on this machine.", duration(seconds))
    compiles_slowly = keras.backend.backend() == "jax"  # half a minute, for a remark
    if other is None or compiles_slowly or (budget and other.train.budget):
        return
    if other.train.budget:
        log.info("With --quick it would take about %s.", other.train.budget)
    else:
        try:
            other_batches = training_batches(other, batches.natural, trainer.devices.replicas)
            steps = other.train.steps_per_epoch or other_batches.steps_per_pass
            other_trainer = new_trainer(other, other_batches, steps, trainer.devices)
        except UserError:  # these images or settings are not for the other form
            return
        seconds = other.train.epochs * steps * seconds_per_step(other_trainer, other_batches)
        log.info("The full recipe would take up to %s on this machine.", duration(seconds))


def seconds_per_step(trainer: Trainer, batches: TrainingBatches, at_least: float = 0.0) -> float:
    """Trains a few steps and returns the seconds that one takes; on the chief, for all machines.

    As many as take ``at_least`` so many seconds.
    """

    def train(first: int, last: int) -> None:
        if trainer.devices.replicas == 1:
            for batch in batches.between(first, last):
                trainer.train_on_batch(*batch)
        else:  # train_on_batch would give the whole batch to every device
            stream = tf_dataset(batches, first, last, trainer.devices)
            trainer.fit(stream, steps_per_epoch=last - first, shuffle=False, verbose=0)

    train(0, WARMUP_STEPS)
    started, steps, seconds = time.monotonic(), 0, -1.0
    while seconds < at_least:
        more = max(steps, TIMED_STEPS)  # ever longer: each call has to fill its pipeline first
        train(WARMUP_STEPS + steps, WARMUP_STEPS + steps + more)
        steps += more
        seconds = trainer.devices.chiefs_number(time.monotonic() - started)
    return seconds / steps
