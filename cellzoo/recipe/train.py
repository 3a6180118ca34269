"""The sections of a recipe that say how a network learns and counts."""

from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from cellzoo.section import Section, Share, _seconds


class Loss(Section):
    """Arguments of :class:`cellzoo.training.trainer.LossWeights`."""

    reconstruction: Literal["mse", "bce"] = "mse"
    reconstruction_weight: NonNegativeFloat = 100.0
    reconstruction_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    count_weight: NonNegativeFloat = 3.0
    count_start_epoch: NonNegativeInt = 0
    count_mean: Literal["labelled", "batch"] = "labelled"
    kl_weight: NonNegativeFloat = 2.0
    synthetic_count_weight: NonNegativeFloat = 1.0
    count_loss: Literal["squared", "poisson", "relative"] = "squared"
    mask_weight: NonNegativeFloat = 1.0
    density_weight: NonNegativeFloat = 1.0
    density_loss: Literal["squared", "poisson"] = "squared"


class Train(Section):
    """How long and how fast to learn: what :func:`cellzoo.training.fit.fit` follows.

    ``start_from`` names a run folder, or ``zoo:NAME``, with whose weights the network begins.
    """

    start_from: str | None = None
    optimizer: Literal["adam", "radam"] = "adam"
    learning_rate: PositiveFloat = 1.3e-4
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: Share = 0.0
    weight_decay: NonNegativeFloat = 0.0
    clip_norm: PositiveFloat | None = None
    ema: Annotated[float, Field(ge=0, lt=1)] | None = None
    batch: PositiveInt = 128
    labelled_share: Annotated[float, Field(gt=0, le=1)] | None = None
    epochs: PositiveInt = 100
    steps_per_epoch: PositiveInt | None = None
    budget: Annotated[str | None, BeforeValidator(_seconds)] = None
    validate_every: PositiveInt = 1
    patience: PositiveInt | None = None
    select: Literal["best", "max_acc", "min_dev", "last"] = "best"
    devices: Literal["auto", "cpu"] | PositiveInt = "auto"


class Count(Section):
    """How a run, its export and a server count.

    Between the epochs of a training, for ``history.csv`` and for choosing a checkpoint, images are
    counted as they are.

    Attributes:
        test_time_augmentation: 1: images as they are; 4: the mean of the counts of the image and
            its flips; 8: also of these turned by 90 degrees.
    """

    test_time_augmentation: Literal[1, 4, 8] = 1
