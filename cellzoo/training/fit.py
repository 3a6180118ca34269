"""``cellzoo fit``: from a recipe to a run folder with a trained model."""

import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np

from cellzoo.cards.about_run import short_training
from cellzoo.cards.model_card import write_model_card
from cellzoo.counters.load import load_run
from cellzoo.data.batches import TrainingBatches
from cellzoo.data.copies import check_splits, fingerprints
from cellzoo.data.image_set import PIXELS_DIFFER, SPLITS, ImageSet
from cellzoo.data.normalised import images_as_seen, set_as_seen
from cellzoo.recipe import Recipe, load_recipe
from cellzoo.recipe.check import check_recipe
from cellzoo.runs import Run, check_start
from cellzoo.scores.table import count_metrics, headline_in_words
from cellzoo.training.assemble import new_trainer, training_batches
from cellzoo.training.budget import plan
from cellzoo.training.calibration import choosing
from cellzoo.training.callbacks import (
    EpochEnd,
    Pictures,
    Together,
    averaged_weights,
    training_state,
)
from cellzoo.training.classical import fit_classical, unseen_counts
from cellzoo.training.devices import Devices, choose_devices
from cellzoo.training.distil import distil, steps_within
from cellzoo.training.environment import write_environment
from cellzoo.training.resume import open_run
from cellzoo.training.start import check_leakage, compare_with_start
from cellzoo.training.stream import fit_stream
from cellzoo.training.trainer import Trainer
from cellzoo.trust.intervals import Interval, too_few_to_promise
from cellzoo.trust.out_of_distribution import OutOfDistribution

log = logging.getLogger("cellzoo")

NOT_TIMED = 50  # Steps of a training, without a budget, that is over as soon as it were timed.


def fit(
    recipe: Recipe, out: Path | None = None, fresh: bool = False, other: Recipe | None = None
) -> Run:
    """Trains what a recipe describes, or goes on with a training that was interrupted.

    Args:
        recipe: what to train.
        out: run folder; None: ``runs/<recipe>/<time>``, or the newest interrupted run of this very
            recipe.
        fresh: start a new run even if there is one to go on with.
        other: the recipe without its quick overlay, or with it, to say what that one would cost.

    Returns:
        The finished run.

    Raises:
        UserError: the data cannot be used, ``out`` holds something else, or another process trains
            there.
        KeyboardInterrupt: after saving a model that can count.
    """
    recipe = recipe.model_copy(update={"tune": None})  # what a search did is no part of a run
    devices = Devices() if recipe.classical else choose_devices(recipe.train.devices)
    devices.check_batch(recipe.train.batch)
    if devices.replicas > 1:
        log.info(
            "Training on %d devices, %d of the %d images of a batch on each.",
            devices.replicas,
            recipe.train.batch // devices.replicas,
            recipe.train.batch,
        )
    if devices.machines > 1:
        other = None
    if not devices.chief:
        return _work_for_chief(recipe, devices)
    with (
        open_run(recipe, out, fresh) as run,
        devices.coming_back(run.path),
        _log_to(run.path / "run.log"),
    ):
        if devices.chiefs_number(run.finished):
            log.info("%s is finished already: another --out starts another run.", run.path)
            return run
        return _train(run, other, devices)


def _work_for_chief(recipe: Recipe, devices: Devices) -> Run:
    """Trains beside the chief, in a folder that is only there for the time."""
    with devices.coming_back(), tempfile.TemporaryDirectory() as folder:
        run = Run.create(Path(folder) / "run", recipe)
        finished = devices.chiefs_number(0)
        return run if finished else _train(run, None, devices)


def _train(run: Run, other: Recipe | None, devices: Devices) -> Run:
    _fetch_from_chief(run, devices)
    recipe = run.recipe
    check_recipe(recipe)
    check_start(recipe)
    # Of the test split only a line of each image is kept, for `evaluate` to find it again.
    wanted = SPLITS if recipe.data.natural.reads_files else ("train", "validation")
    natural, skipped = recipe.data.natural.load(recipe.image_size, recipe.seed, wanted)
    run.keep_splits(natural)
    prints = fingerprints(natural.given)
    if not recipe.data.natural.allows_copies:
        check_splits(natural, prints)
    seen = check_leakage(run, natural, prints)
    training, validation = natural.of("train"), natural.of("validation")
    _look_at_range(recipe, training.images)
    _look_at_scale(recipe, training)
    if devices.chief:
        run.keep_fingerprints(seen)
        normalise = recipe.data.normalise
        known, held_out = (images_as_seen(part, normalise) for part in (training, validation))
        run.keep_out_of_distribution(
            OutOfDistribution.fit(known, training.groups, held_out, training.sizes)
        )
    validation = validation.take(validation.labelled)
    simulated = " simulated" if recipe.data.natural.simulated else ""
    test = f", {len(natural.of('test'))} for test" if "test" in wanted else ""
    log.info(
        "%s: %d%s natural training images (%d labelled), %d labelled for validation%s",
        recipe.name, len(training), simulated, training.labelled.sum(), len(validation), test,
    )  # fmt: skip
    if recipe.classical:
        write_environment(run)
        seconds, steps = fit_classical(run, training, validation), None
    else:
        seconds, steps = _train_network(run, training, validation, other, devices)
    if not devices.chief:
        return run
    _finish(run, training, validation, seconds, steps)
    for file in skipped:
        log.warning("skipped %s: %s", file.name, file.reason)
    return run


def _look_at_range(recipe: Recipe, images: np.ndarray) -> None:
    """Says so if a camera of 12 bits or fewer wrote 16, of which the upper ones are empty."""
    most = float(images.max())
    natural = recipe.data.natural
    if recipe.data.normalise:
        return
    if len(natural.folders) == 1 and natural.reading.intensity == "dtype" and 0 < most < 1 / 16:
        log.warning(
            "All training images lie in the lowest sixteenth of the grey levels: if 12 of 16 bits "
            "are used, set data.natural.intensity: [0, 4095]."
        )


def _look_at_scale(recipe: Recipe, training: ImageSet) -> None:
    """Says so if cells are not of one scale, or if recipe and files say another pixel size."""
    known = training.pixel_sizes_um
    if known is None:
        return
    least, most = np.nanmin(known), np.nanmax(known)
    stated = recipe.card.pixel_size_um if recipe.card else None
    if most > PIXELS_DIFFER * least:
        log.warning(
            "Training files have pixels of %.4g to %.4g µm, so cells of one size look different: "
            "images of other pixel sizes are not rescaled unless card.pixel_size_um says to which.",
            least, most,
        )  # fmt: skip
    elif stated and training.pixel_size_um and not 0.95 < stated / training.pixel_size_um < 1.05:
        log.warning(
            "card.pixel_size_um is %.4g, but the training files have pixels of %.4g µm: correct "
            "the recipe if its number is wrong.",
            stated, training.pixel_size_um,
        )  # fmt: skip


def _train_network(
    run: Run, training: ImageSet, validation: ImageSet, other: Recipe | None, devices: Devices
) -> tuple[float, int]:
    """Trains epoch by epoch; returns the seconds and the steps, earlier starts included."""
    recipe = run.recipe
    batches = training_batches(recipe, training, devices.replicas)
    steps_per_epoch = recipe.train.steps_per_epoch or batches.steps_per_pass
    trainer = new_trainer(recipe, batches, steps_per_epoch, devices)
    # Not run.history(): a kill may fall between the first epoch's row and its state.
    if not run.last_state.is_file():
        if recipe.train.budget or recipe.train.epochs * steps_per_epoch > NOT_TIMED:
            plan(run, trainer, batches, steps_per_epoch, other)
            # Measuring has trained a little: start from the seed again, with the planned length.
            trainer = new_trainer(run.recipe, batches, steps_per_epoch, devices)
        write_environment(run)
    else:
        run.load_state(training_state(trainer))
    trained_steps = float(keras.ops.convert_to_numpy(trainer.trained_steps))
    first_epoch = round(trained_steps / steps_per_epoch)
    reached = round(run.history()[-1]["epoch"]) if run.history() else 0
    run.forget_history_after(first_epoch)
    if first_epoch:
        log.info("Going on with %s after epoch %d.", run.path, first_epoch)
    chooses = choosing(validation, recipe.train)
    watched = validation.take(chooses) if chooses.any() else validation
    watched = set_as_seen(watched, recipe.data.normalise, recipe.seed)
    try:
        _fit_epochs(run, trainer, batches, watched, steps_per_epoch, first_epoch, reached)
    except KeyboardInterrupt:
        if not devices.chief:
            raise
        if not run.best_weights.exists():
            with averaged_weights(trainer):
                run.save_best(trainer.network)
        log.info(
            "Interrupted. The model so far counts with `--model %s`; the same command goes on.",
            run.path,
        )
        raise
    if not devices.chief:
        return float("nan"), 0
    last = run.history()[-1]
    seconds, steps = last["seconds"], round(last["epoch"]) * steps_per_epoch
    if recipe.train.distil:
        started = time.monotonic()
        distil(run, batches, steps_within(recipe.train.distil, steps))
        seconds += time.monotonic() - started
    return seconds, steps


def _fetch_from_chief(run: Run, devices: Devices) -> None:
    """Copies what the chief's run folder has to go on from, on the other machines."""
    for file in (run.recipe_file, run.splits_file, run.last_state):
        content = file.read_bytes() if devices.chief and file.is_file() else b""
        content = devices.from_chief(content)
        if content and not devices.chief:
            file.write_bytes(content)
    if not devices.chief:
        run.recipe = load_recipe(run.recipe_file)


def _fit_epochs(
    run: Run,
    trainer: Trainer,
    batches: TrainingBatches,
    validation: ImageSet,
    steps_per_epoch: int,
    first_epoch: int,
    reached: int,
) -> None:
    epochs, devices = run.recipe.train.epochs, trainer.devices
    epoch_end = EpochEnd(run, validation, steps_per_epoch * batches.images_per_step, reached)
    done = first_epoch >= epochs or epoch_end.reason_to_stop() is not None
    if devices.chiefs_number(done):
        return
    callbacks: list[keras.callbacks.Callback] = [epoch_end]
    if devices.machines > 1:
        callbacks = [Together(epoch_end if devices.chief else None, devices)]
    if keras.backend.backend() == "tensorflow":
        folder = run.path / "tensorboard"
        every = max(1, epochs // 20)
        if devices.chief:
            callbacks.append(keras.callbacks.TensorBoard(str(folder), write_graph=False))
            if "natural_reconstruction" in trainer.network.output:
                callbacks.append(Pictures(str(folder / "pictures"), validation.images[:6], every))
    todo = range(first_epoch, epochs)
    fit_stream(trainer, batches, todo, steps_per_epoch, devices, callbacks)


def _finish(
    run: Run, training: ImageSet, validation: ImageSet, seconds: float, steps: int | None
) -> None:
    """Scores the model to count with on the validation split; the file it writes ends the run."""
    predicted = load_run(run.path).count(validation.given, scaled=True, flags=False).raw
    known = training.counts[training.labelled]
    scores = count_metrics(validation.counts, predicted)
    held_out = predicted
    if run.recipe.classical:
        held_out = unseen_counts(run, training, validation, predicted)
        chooses = np.zeros(len(validation), bool)
    else:
        chooses = choosing(validation, run.recipe.train)
    # Where there are others, those that chose the checkpoint do not say how far off counts may be.
    apart = not chooses.all()
    calibrating = ~chooses if apart else chooses
    part = validation.take(calibrating)
    interval = Interval.fit(
        part.counts, held_out[calibrating], part.groups, part.kinds, selected_on_others=apart
    )
    summary = {
        "images": len(validation),
        **scores,
        "interval": interval.metadata() if interval else None,
        "calibration": {"images": len(part), "groups": len(np.unique(part.groups))},
        "training_mean": float(known.mean()) if len(known) else None,
        "training_counts": [int(known.min()), int(known.max())] if len(known) else None,
        "pixel_size_um": training.pixel_size_um,
        "seconds": seconds,
        "steps": steps,
    }
    run.write_json(str(run.validation_file.relative_to(run.path)), summary)
    write_model_card(run)
    simulated = "simulated " if run.recipe.data.natural.simulated else ""
    log.info(
        "validation: %s of %d %simages%s",
        headline_in_words(scores), len(validation), simulated, _how_scored(run, validation),
    )  # fmt: skip
    if interval:
        log.info("95 %% intervals from %d images of %d groups", interval.images, interval.groups)
    else:
        log.info("No intervals: %s.", too_few_to_promise(len(part), len(set(part.groups))))
    short = short_training(run)
    if short:
        log.info(short)
    if run.recipe.train.start_from:
        compare_with_start(run, validation, scores["mae_raw"])


def _how_scored(run: Run, validation: ImageSet) -> str:
    """Why these scores may be in no epoch's line; empty for a counter without a network."""
    if run.recipe.classical:
        return ""
    settings = run.recipe.train
    epoch = EpochEnd(run, validation, 0).saved_epoch
    how = [f"weights of epoch {epoch}, by train.select: {settings.select}"]
    turns = run.recipe.count.test_time_augmentation
    if turns > 1:
        how.append(f"test-time augmentation: mean of {turns} counts")
    chooses = choosing(validation, settings)
    if chooses.any() and not chooses.all():
        how.append(f"the epochs' lines are of the {chooses.sum()} that chose them")
    return f" ({'; '.join(how)})"


@contextmanager
def _log_to(file: Path) -> Iterator[None]:
    """Copies what is said meanwhile into a file."""
    handler = logging.FileHandler(file, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()
