"""``cellzoo fit``: from a recipe to a run folder with a trained model."""

import logging
import math
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np

from cellzoo import __version__, zoo
from cellzoo.cards.model_card import write_model_card
from cellzoo.counters.load import RunCounter
from cellzoo.data.augment import augmentation
from cellzoo.data.batches import Batch, TrainingBatches
from cellzoo.data.folder import SPLITS, ImageSet
from cellzoo.data.sets import SyntheticSource, cells_of, check_recipe, natural_images
from cellzoo.errors import UsageError, UserError
from cellzoo.files import lock
from cellzoo.images import sides
from cellzoo.recipe import Recipe, load_recipe, with_epochs
from cellzoo.run_folder import recipe_file
from cellzoo.runs import Run, build_network, latest_unfinished, new_run_folder
from cellzoo.scores.counts import count_metrics
from cellzoo.section import parse_duration
from cellzoo.training.callbacks import (
    EpochEnd,
    Pictures,
    Together,
    averaged_weights,
    duration,
    training_state,
)
from cellzoo.training.classical import fit_classical, unseen_counts
from cellzoo.training.devices import Devices, choose_devices
from cellzoo.training.optimizers import make_optimizer
from cellzoo.training.trainer import LossWeights, Trainer
from cellzoo.trust.familiarity import Familiarity
from cellzoo.trust.intervals import Interval

log = logging.getLogger("cellzoo")

WARMUP_STEPS, TIMED_STEPS = 2, 4
# Of a budget; the rest is for validation and pictures. Four steps alone would tell how busy the
# machine was in that half a second.
TRAINING_SHARE, TIMED_SHARE, TIMED_AT_MOST = 0.91, 0.01, 60.0
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
        _open_run(recipe, out, fresh) as run,
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


def training_batches(recipe: Recipe, natural: ImageSet, shares: int = 1) -> TrainingBatches:
    """The batches that a recipe describes, from its natural training images.

    ``shares`` devices train on them.

    Raises:
        UserError: the model learns from masks alone what the images have none for.
    """
    if getattr(recipe.model, "head", None) == "regressor" and (
        natural.masks is None or not natural.has_mask.any()
    ):
        raise UserError(
            "model.head: regressor counts a mask, which it learns from masks: add a mask column to "
            "labels.csv that names some of labelled training images, or set model.head: additive."
        )
    size = recipe.image_size
    source = None
    if recipe.data.synthetic:
        cells = cells_of(recipe, natural)
        source = SyntheticSource(
            cells, recipe.data.synthetic.images, recipe.data.synthetic.fresh, recipe.seed
        )
    return TrainingBatches(
        natural,
        source,
        augmentation(size=size, **recipe.augment.model_dump()),
        batch=recipe.train.batch,
        labelled_share=recipe.train.labelled_share,
        unlabelled=getattr(recipe.model, "reconstruct", True),
        shares=shares,
        count_mean=recipe.loss.count_mean,
        seed=recipe.seed,
    )


@contextmanager
def _open_run(recipe: Recipe, out: Path | None, fresh: bool) -> Iterator[Run]:
    """The run to train, which no other process trains meanwhile."""

    def same(old: Recipe) -> bool:
        return not _changes(old, recipe)

    folder = out
    if folder is None and not fresh:
        folder = latest_unfinished(recipe, same)
    if folder is None:
        folder = Run.create(new_run_folder(recipe), recipe).path
    elif not recipe_file(folder).is_file() or not (folder / "checkpoints").is_dir():
        # A recipe alone is no run: somebody's own file, which must not be written over.
        Run.create(folder, recipe)
    elif fresh:
        raise UsageError(
            f"{folder} holds a run, which --fresh would overwrite: choose another --out."
        )
    with lock(folder, "is being trained by another `cellzoo fit`"):
        run = Run(folder)
        if not (run.history() or run.best_weights.is_file() or run.finished):
            # Nothing was trained yet, perhaps because data was refused, which may be mended.
            run.splits_file.unlink(missing_ok=True)
            run.replace_recipe(recipe)
        elif not same(run.recipe):
            raise UsageError(
                f"{folder} holds a run of another recipe ({_changes(run.recipe, recipe)[0]}): "
                "choose another --out."
            )
        elif not (run.finished or run.last_state.is_file()):
            run.replace_recipe(recipe)  # a budget is planned anew, from the recipe's own schedule
        yield run


def _changes(old: Recipe, new: Recipe) -> list[str]:
    """What differs, but for devices, the model card and the schedule made of a budget."""
    no_matter = ("train.devices:", "card")
    changes = [line for line in old.differences(new) if not line.startswith(no_matter)]
    if old.train.budget:
        fitted = ("train.epochs:", "loss.count_start_epoch:")
        changes = [change for change in changes if not change.startswith(fitted)]
    return changes


def _train(run: Run, other: Recipe | None, devices: Devices) -> Run:
    _fetch_from_chief(run, devices)
    recipe = run.recipe
    check_recipe(recipe)
    # Of the test split only a line of each image is kept, for `evaluate` to find it again.
    wanted = SPLITS if hasattr(recipe.data.natural, "folder") else ("train", "validation")
    natural, skipped = natural_images(
        recipe.data.natural, recipe.image_size, recipe.seed, splits=wanted
    )
    run.keep_splits(natural)
    _check_start_is_innocent(run)
    training, validation = natural.of("train"), natural.of("validation")
    _look_at_range(recipe, training.images)
    if devices.chief:
        run.keep_familiarity(
            Familiarity.fit(
                training.images, training.groups, validation.images, training.sizes
            )
        )
    validation = validation.take(validation.labelled)
    simulated = " simulated" if recipe.data.natural.simulated else ""
    log.info(
        "%s: %d%s natural training images (%d labelled), %d labelled for validation",
        recipe.name, len(training), simulated, training.labelled.sum(), len(validation),
    )  # fmt: skip
    if recipe.classical:
        _write_environment(run)
        seconds = fit_classical(run, training, validation)
    else:
        seconds = _train_network(run, training, validation, other, devices)
    if not devices.chief:
        return run
    _finish(run, training, validation, seconds)
    for file in skipped:
        log.warning("skipped %s: %s", file.name, file.reason)
    return run


def _look_at_range(recipe: Recipe, images: np.ndarray) -> None:
    """Says so if a camera of 12 bits or fewer wrote 16, of which the upper ones are empty."""
    most = float(images.max())
    if getattr(recipe.data.natural, "intensity", None) == "dtype" and 0 < most < 1 / 16:
        log.warning(
            "All training images lie in the lowest sixteenth of the grey levels: if 12 of 16 bits "
            "are used, set data.natural.intensity: [0, 4095]."
        )


def _train_network(
    run: Run, training: ImageSet, validation: ImageSet, other: Recipe | None, devices: Devices
) -> float:
    """Trains epoch by epoch and returns the seconds that it took, earlier starts included."""
    recipe = run.recipe
    batches = training_batches(recipe, training, devices.replicas)
    steps_per_epoch = recipe.train.steps_per_epoch or batches.steps_per_pass
    trainer = _new_trainer(recipe, batches, steps_per_epoch, devices)
    # Not run.history(): a kill may fall between the first epoch's row and its state.
    if not run.last_state.is_file():
        if recipe.train.budget or recipe.train.epochs * steps_per_epoch > NOT_TIMED:
            _plan(run, trainer, batches, steps_per_epoch, other)
            # Measuring has trained a little: start from the seed again, with the planned length.
            trainer = _new_trainer(run.recipe, batches, steps_per_epoch, devices)
        _write_environment(run)
    else:
        run.load_state(training_state(trainer))
    trained_steps = float(keras.ops.convert_to_numpy(trainer.trained_steps))
    first_epoch = round(trained_steps / steps_per_epoch)
    run.forget_history_after(first_epoch)
    if first_epoch:
        log.info("Going on with %s after epoch %d.", run.path, first_epoch)
    try:
        _fit_epochs(run, trainer, batches, validation, steps_per_epoch, first_epoch)
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
    return run.history()[-1]["seconds"] if devices.chief else float("nan")


def _fetch_from_chief(run: Run, devices: Devices) -> None:
    """Copies what the chief's run folder has to go on from, on the other machines."""
    for file in (run.recipe_file, run.splits_file, run.last_state):
        content = file.read_bytes() if devices.chief and file.is_file() else b""
        content = devices.from_chief(content)
        if content and not devices.chief:
            file.write_bytes(content)
    if not devices.chief:
        run.recipe = load_recipe(run.recipe_file)


def _new_trainer(
    recipe: Recipe, batches: TrainingBatches, steps_per_epoch: int, devices: Devices
) -> Trainer:
    with devices.scope():
        return _trainer_in_scope(recipe, batches, steps_per_epoch, devices)


def _trainer_in_scope(
    recipe: Recipe, batches: TrainingBatches, steps_per_epoch: int, devices: Devices
) -> Trainer:
    network = _new_network(recipe)
    devices.synchronize(network)
    _adapt(network, batches, counts=recipe.train.start_from is None)
    settings = recipe.train
    loss = LossWeights(**recipe.loss.model_dump())
    trainer = Trainer(network, loss, steps_per_epoch, devices)
    rate = _learning_rate(recipe, settings.epochs * steps_per_epoch)
    averaging = {}
    if settings.averaging:
        averaging = {"use_ema": True, "ema_momentum": settings.averaging}
    optimizer = make_optimizer(
        settings.optimizer,
        rate,
        settings.weight_decay,
        global_clipnorm=settings.clip_norm,
        **averaging,
    )
    trainer.compile(optimizer=optimizer, jit_compile=_compilation())
    # Symbolic images: of real ones JAX would compile every operation of the network by itself.
    trainer({
        domain: keras.KerasTensor((1, *sides(recipe.image_size))) for domain in network.input
    })
    optimizer.build(trainer.trainable_variables)
    return trainer


def _new_network(recipe: Recipe) -> keras.Model:
    """The network with its first weights: random, pre-trained, or those of another run.

    The other run's network may have more parts than this one, such as decoders.

    Raises:
        UsageError: the other run's network is another one.
    """
    start = recipe.train.start_from
    if start is None:
        return build_network(recipe)
    other = Run(zoo.find(start))
    network = build_network(recipe, pretrained=False)
    theirs = {layer.name: layer.get_weights() for layer in other.load_network().layers}
    try:
        for layer in network.layers:
            if layer.weights:
                layer.set_weights(theirs[layer.name])
        for layer in network._flatten_layers():
            if isinstance(layer, keras.layers.Normalization):
                layer.finalize_state()  # computes with a copy of its weights, made here
    except (KeyError, ValueError):
        differ = [d for d in other.recipe.differences(recipe) if d.startswith(("model.", "data.s"))]
        raise UsageError(
            f"train.start_from: {start} holds another network than the recipe describes "
            f"({'; '.join(differ[:3]) or 'model'}): make the model sections alike."
        ) from None
    return network


def _check_start_is_innocent(run: Run) -> None:
    """Sees to it that no image held out here taught the weights that the training begins with.

    Groups are dealt out anew where a folder has grown, or the seed is another.

    Raises:
        UserError: some did.
    """
    if run.recipe.train.start_from is None:
        return
    start = Run(zoo.find(run.recipe.train.start_from))

    def means(of: Run, *splits: str) -> dict[str, float]:
        rows = (row for row in of.split_table() if row["split"] in splits)
        return {row["image"]: float(row["mean"]) for row in rows if row.get("mean")}

    # By name and grey level: the folder may have been moved, and others have the same names.
    taught, here = means(start, "train"), means(run, "validation", "test")
    held_out = [n for n, mean in here.items() if abs(taught.get(n, math.inf) - mean) < 1e-6]
    if held_out:
        raise UserError(
            f"train.start_from: {start.path} learned from {held_out[0]}"
            f"{f' and {len(held_out) - 1} more' if held_out[1:] else ''}, which would be held out "
            f"now: write a split column into labels.csv as {start.splits_file} has it, or start "
            "without those weights."
        )


def _adapt(network: keras.Model, batches: TrainingBatches, counts: bool) -> None:
    """Sets by what grey levels and perhaps counts are scaled, where the model has layers for it.

    A network that counts already keeps its scale of counts: a handful of labels, all alike perhaps,
    would turn every count into theirs.
    """
    samples = {"natural": batches.natural.images}
    if batches.synthetic:
        source = batches.synthetic
        samples["synthetic"], _, _ = source.batch(0, np.arange(min(256, source.size)))
    for domain, images in samples.items():
        for part in (layer for layer in network.layers if layer.name.startswith(f"{domain}_")):
            for layer in getattr(part, "layers", [part]):
                if hasattr(layer, "adapt"):
                    layer.adapt(images)
    known = batches.natural.counts[batches.natural.labelled]
    for layer in network.layers:
        if counts and hasattr(layer, "adapt_to_counts") and len(known):
            layer.adapt_to_counts(known)


def _learning_rate(recipe: Recipe, steps: int):
    settings = recipe.train
    constant = settings.schedule == "constant"
    warmup = round(settings.warmup * steps)
    if constant and not warmup:
        return settings.learning_rate
    return keras.optimizers.schedules.CosineDecay(
        settings.learning_rate * (0.05 if warmup else 1.0),
        max(steps - warmup, 1),
        alpha=1.0 if constant else 0.01,  # the share that is left in the end
        warmup_target=settings.learning_rate if warmup else None,
        warmup_steps=warmup,
    )


def _compilation() -> str | bool:
    """Keras's choice of compilation, but for TensorFlow on a processor.

    There XLA's convolutions are several times slower than oneDNN's.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return "auto" if tf.config.list_physical_devices("GPU") else False
    return "auto"


def _plan(
    run: Run, trainer: Trainer, batches: TrainingBatches, steps_per_epoch: int, other: Recipe | None
) -> None:
    """Measures this machine, says what to expect and fits the schedule to a budget."""
    recipe = run.recipe
    budget = recipe.train.budget
    wanted = parse_duration(budget) if budget else 0.0  # seconds
    timed = min(TIMED_SHARE * wanted, TIMED_AT_MOST)
    per_epoch = steps_per_epoch * _seconds_per_step(trainer, batches, timed)
    if budget:
        epochs = max(1, int(TRAINING_SHARE * wanted / per_epoch))
        run.replace_recipe(with_epochs(recipe, epochs))
        log.info("%s allows %d epochs of %d steps here.", budget, epochs, steps_per_epoch)
    else:
        log.info(
            "This takes up to %s on this machine.", duration(per_epoch * recipe.train.epochs)
        )
    compiles_slowly = keras.backend.backend() == "jax"  # half a minute, for a remark
    if other is None or compiles_slowly or (budget and other.train.budget):
        return
    if other.train.budget:
        log.info("With --quick it would take about %s.", other.train.budget)
    elif other.image_size == recipe.image_size:  # else its images would have to be loaded first
        try:
            other_batches = training_batches(other, batches.natural, trainer.devices.replicas)
            steps = other.train.steps_per_epoch or other_batches.steps_per_pass
            other_trainer = _new_trainer(other, other_batches, steps, trainer.devices)
        except UserError:  # these images or settings are not for the other form
            return
        seconds = other.train.epochs * steps * _seconds_per_step(other_trainer, other_batches)
        log.info("The full recipe would take up to %s on this machine.", duration(seconds))


def _seconds_per_step(trainer: Trainer, batches: TrainingBatches, at_least: float = 0.0) -> float:
    """Trains a few steps and returns the seconds that one takes; on the chief, for all machines.

    As many as take ``at_least`` so many seconds.
    """

    def train(first: int, last: int) -> None:
        if trainer.devices.replicas == 1:
            for batch in batches.between(first, last):
                trainer.train_on_batch(*batch)
        else:  # train_on_batch would give the whole batch to every device
            stream = _tf_dataset(batches, first, last, trainer.devices)
            trainer.fit(stream, steps_per_epoch=last - first, shuffle=False, verbose=0)

    train(0, WARMUP_STEPS)
    started, steps, seconds = time.monotonic(), 0, -1.0
    while seconds < at_least:
        more = max(steps, TIMED_STEPS)  # ever longer: each call has to fill its pipeline first
        train(WARMUP_STEPS + steps, WARMUP_STEPS + steps + more)
        steps += more
        seconds = trainer.devices.chiefs_number(time.monotonic() - started)
    return seconds / steps


def _fit_epochs(
    run: Run,
    trainer: Trainer,
    batches: TrainingBatches,
    validation: ImageSet,
    steps_per_epoch: int,
    first_epoch: int,
) -> None:
    epochs, devices = run.recipe.train.epochs, trainer.devices
    epoch_end = EpochEnd(run, validation, steps_per_epoch * batches.images_per_step)
    done = first_epoch >= epochs or epoch_end.reason_to_stop() is not None
    if devices.chiefs_number(done):
        return
    callbacks: list[keras.callbacks.Callback] = [epoch_end]
    if devices.machines > 1:
        callbacks = [Together(epoch_end if devices.chief else None, devices)]
    steps = (first_epoch * steps_per_epoch, epochs * steps_per_epoch)
    if keras.backend.backend() == "tensorflow":
        folder = run.path / "tensorboard"
        every = max(1, epochs // 20)
        if devices.chief:
            callbacks.append(keras.callbacks.TensorBoard(str(folder), write_graph=False))
            if "natural_reconstruction" in trainer.network.output:
                callbacks.append(Pictures(str(folder / "pictures"), validation.images[:6], every))
        stream = _tf_dataset(batches, *steps, devices)
    else:
        stream = batches.between(*steps)
    try:
        trainer.fit(
            stream,
            initial_epoch=first_epoch,
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            callbacks=callbacks,
            shuffle=False,
            verbose=0,
        )
    except BaseException as error:
        # Else Keras's frames keep the stream until Python ends, where TensorFlow waits for the
        # thread that makes the next batch, and that thread for Python, for ever.
        traceback.clear_frames(error.__traceback__)
        raise


def _tf_dataset(batches: TrainingBatches, first: int, last: int, devices: Devices):
    """The batches as a ``tf.data`` stream that is made while the last one trains.

    Several devices each get their rows of a batch, which every machine makes for itself.
    """
    import tensorflow as tf

    parts = len(devices.rows(batches.batch_size))

    def shares() -> Iterator[Batch]:
        for batch in batches.between(first, last):
            for k in range(parts):
                yield tuple(
                    {key: array[devices.rows(len(array))[k]] for key, array in d.items()}
                    for d in batch
                )

    signature = tuple(
        {key: tf.TensorSpec((None, *array.shape[1:]), array.dtype) for key, array in part.items()}
        for part in batches(first)
    )
    stream = tf.data.Dataset.from_generator(shares, output_signature=signature)
    stream = stream.prefetch(2 * parts)
    if devices.strategy is None:
        return stream
    return devices.strategy.distribute_datasets_from_function(lambda _: stream)


def _finish(run: Run, training: ImageSet, validation: ImageSet, seconds: float) -> None:
    """Scores the model to count with on the validation split; the file it writes ends the run."""
    predicted = RunCounter(run.path).count(validation.images).raw
    known = training.counts[training.labelled]
    scores = count_metrics(validation.counts, predicted)
    held_out = predicted
    if run.recipe.classical:
        held_out = unseen_counts(run, training, validation, predicted)
    interval = Interval.fit(validation.counts, held_out, validation.groups)
    summary = {
        "images": len(validation),
        **scores,
        "interval": interval.facts() if interval else None,
        "training_mean": float(known.mean()) if len(known) else None,
        "training_counts": [int(known.min()), int(known.max())] if len(known) else None,
        "seconds": seconds,
    }
    run.write_json(str(run.validation_file.relative_to(run.path)), summary)
    write_model_card(run)
    simulated = "simulated " if run.recipe.data.natural.simulated else ""
    relative = "" if math.isnan(scores["mre"]) else f" MRE {100 * scores['mre']:.1f} %,"
    log.info(
        "validation: MAE %.2f,%s exact %.0f %% of %d %simages",
        scores["mae"],
        relative,
        100 * scores["exact"],
        len(validation),
        simulated,
    )
    if run.recipe.train.start_from:
        _compare_with_start(run, validation, scores["mae_raw"])


def _compare_with_start(run: Run, validation: ImageSet, error: float) -> None:
    """Says how well the model counted that the training began with: a short one may spoil it."""
    name = run.recipe.train.start_from
    start = RunCounter(zoo.find(name))
    if sides(start.size) != sides(run.recipe.image_size):
        return
    scores = count_metrics(validation.counts, start.count(validation.images).raw)
    log.info("%s, with which it began: MAE %.2f, exact %.0f %%",
             name, scores["mae"], 100 * scores["exact"])  # fmt: skip
    if scores["mae_raw"] < error:
        log.warning("%s counts these images better: count with it, or train for longer.", name)


def _write_environment(run: Run) -> None:
    packages = {"keras": keras.__version__, "numpy": np.__version__}
    devices = []
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        packages["tensorflow"] = tf.__version__
        devices = [device.name for device in tf.config.list_physical_devices()]
    elif keras.backend.backend() == "jax":
        import jax

        packages["jax"] = jax.__version__
        devices = [str(device) for device in jax.devices()]
    run.write_json(
        "environment.json",
        {
            "cellzoo": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "packages": packages,
            "backend": keras.backend.backend(),
            "devices": devices,
            "seed": run.recipe.seed,
            "command": sys.argv,
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        },
    )


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
