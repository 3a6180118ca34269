"""From a recipe to batches and a compiled trainer."""

import logging

import keras
import numpy as np

from cellzoo.data.batches import TrainingBatches
from cellzoo.data.image_set import ImageSet
from cellzoo.errors import UserError
from cellzoo.images import sides
from cellzoo.recipe import Recipe
from cellzoo.training.devices import Devices
from cellzoo.training.optimizers import make_optimizer
from cellzoo.training.start import new_network
from cellzoo.training.trainer import Trainer

log = logging.getLogger("cellzoo")


def training_batches(recipe: Recipe, natural: ImageSet, shares: int = 1) -> TrainingBatches:
    """The batches that a recipe describes, from its natural training images.

    ``shares`` devices train on them.

    Raises:
        UserError: the model learns from masks alone what the images have none for.
    """
    if recipe.model.needs_masks and (natural.masks is None or not natural.has_mask.any()):
        cure = f", or {recipe.model.masks_cure}" if recipe.model.masks_cure else ""
        raise UserError(
            f"model {recipe.model.name} learns from masks: add a mask column to labels.csv that "
            f"names some of labelled training images{cure}."
        )
    size, window, normalise = recipe.image_size, recipe.augment.window, recipe.data.normalise
    if window:
        _check_dots(natural, window)
    return TrainingBatches(
        natural,
        recipe.data.synthetic_images(size, natural, recipe.seed),
        recipe.augment.build(normalise.window if normalise else window or size),
        batch=recipe.train.batch,
        labelled_share=recipe.train.labelled_share,
        synthetic_share=recipe.train.synthetic_share,
        unlabelled=recipe.model.learns_from_unlabelled,
        window=window,
        overlay=recipe.augment.overlay,
        normalise=normalise,
        jitter=recipe.data.natural.scale_jitter,
        kinds_share_equally=recipe.data.natural.kinds_share_equally,
        shares=shares,
        count_mean=recipe.loss.count_mean,
        seed=recipe.seed,
    )


def _check_dots(natural: ImageSet, window: int) -> None:
    """Refuses windows of images without dots, and says how many teach nothing for lack of them."""
    number = int((natural.labelled & ~natural.has_points).sum())
    if not natural.has_points.any():
        raise UserError(
            f"augment.window is {window}, but no training image has dots, so nobody knows how many "
            "cells a window holds: add points.csv, or set augment.window: null."
        )
    if number:
        log.warning(
            "%d of %d training images with a count have no dots and teach nothing while "
            "augment.window is %d: dot them, or set it to null.",
            number, natural.labelled.sum(), window,
        )  # fmt: skip


def new_trainer(
    recipe: Recipe, batches: TrainingBatches, steps_per_epoch: int, devices: Devices
) -> Trainer:
    """A compiled trainer of the recipe's network with its first weights.

    Args:
        recipe: names network, losses, optimiser and schedule.
        batches: by whose images grey levels, and perhaps counts, are scaled.
        steps_per_epoch: training steps that make an epoch, for both schedules.
        devices: where it trains.

    Raises:
        UsageError: the weights of ``train.start_from`` are of another network.
    """
    with devices.scope():
        return _trainer_in_scope(recipe, batches, steps_per_epoch, devices)


def _trainer_in_scope(
    recipe: Recipe, batches: TrainingBatches, steps_per_epoch: int, devices: Devices
) -> Trainer:
    network = new_network(recipe)
    devices.synchronize(network)
    adapt(network, batches, counts=recipe.train.start_from is None)
    settings = recipe.train
    trainer = Trainer(network, recipe.loss, steps_per_epoch, devices)
    rate = learning_rate(recipe, settings.epochs * steps_per_epoch)
    ema = {"use_ema": True, "ema_momentum": settings.ema} if settings.ema else {}
    optimizer = make_optimizer(
        settings.optimizer,
        rate,
        settings.weight_decay,
        global_clipnorm=settings.clip_norm,
        **ema,
    )
    trainer.compile(optimizer=optimizer, jit_compile=compilation())
    # Symbolic images: of real ones JAX would compile every operation of the network by itself.
    trainer({domain: keras.KerasTensor((1, *sides(recipe.image_size))) for domain in network.input})
    optimizer.build(trainer.trainable_variables)
    return trainer


def adapt(network: keras.Model, batches: TrainingBatches, counts: bool) -> None:
    """Sets by what grey levels and perhaps counts are scaled, where the model has layers for it.

    A network that counts already keeps its scale of counts: a handful of labels, all alike perhaps,
    would turn every count into theirs.
    """
    seen = batches.normalised.windows(batches.seed) if batches.normalised else batches.natural
    samples = {"natural": seen.images}
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


def learning_rate(recipe: Recipe, steps: int) -> float | keras.optimizers.schedules.CosineDecay:
    """The learning rate of a training of ``steps`` steps: a number or a schedule."""
    settings = recipe.train
    constant = settings.schedule == "constant"
    warmup = round(settings.warmup * steps)
    if constant and not warmup:
        return settings.learning_rate
    return rising_and_falling(settings.learning_rate, steps, warmup, 1.0 if constant else 0.01)


def rising_and_falling(
    highest: float, steps: int, warmup: int, least: float = 0.01
) -> keras.optimizers.schedules.CosineDecay:
    """A learning rate that rises from a twentieth and then falls to the share ``least``."""
    return keras.optimizers.schedules.CosineDecay(
        highest * (0.05 if warmup else 1.0),
        max(steps - warmup, 1),
        alpha=least,
        warmup_target=highest if warmup else None,
        warmup_steps=warmup,
    )


def compilation() -> str | bool:
    """Keras's choice of compilation, but for TensorFlow on a processor.

    There XLA's convolutions are several times slower than oneDNN's.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return "auto" if tf.config.list_physical_devices("GPU") else False
    return "auto"
