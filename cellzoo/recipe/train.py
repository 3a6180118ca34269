"""The sections of a recipe that say how a network learns and counts."""

from typing import Annotated, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from cellzoo.section import Duration, Section, Share


class Loss(Section):
    """The weights of the paper's equation 1 and how they change; the keys of a recipe's ``loss``.

    A network that lacks an output (an EfficientNet reconstructs nothing) has no use for its weight.

    Attributes:
        reconstruction: ``"mse"`` (paper: phase contrast) or ``"bce"`` (paper: bright field).
        reconstruction_weight: C_Rec (paper: 100 for phase contrast; the authors' program: 1000).
        reconstruction_decay: share by which C_Rec shrinks each epoch (paper: 3e-5 for bright
            field).
        count_mean: what the count loss is averaged over, ``"labelled"`` images or the whole
            ``"batch"`` (authors' program: the fewer labels, the weaker the loss); applied by
            :class:`cellzoo.data.batches.TrainingBatches`.
        count_weight: C_Reg (paper: 3).
        count_start_epoch: epochs before C_Reg is switched on (paper: 100).
        kl_weight: C_DKL (paper: 2).
        synthetic_count_weight: factor on the count loss of synthetic images (paper: 1).
        count_loss: how an error grows with the count, see
            :func:`cellzoo.training.losses.count_loss`.
        mask_weight: of the cross entropy of the mask, where network and images have masks.
        density_weight: of the error of the density map, where the network has one and it is known
            where an image's cells are: from its mask, or because it is synthetic.
        density_loss: how an error of the density map grows, see
            :func:`cellzoo.training.losses.density_loss`.
        density_mean: what an error of the density map is divided by, the count of each
            ``"image"`` or of the ``"batch"``.
    """

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
    density_mean: Literal["image", "batch"] = "image"


class Train(Section):
    """How long and how fast to learn: what :func:`cellzoo.training.fit.fit` follows.

    Attributes:
        start_from: run folder, or ``zoo:NAME``, with whose weights the network begins.
        optimizer: ``"adam"`` (paper: phase contrast) or ``"radam"`` (paper: bright field).
        learning_rate: the highest (paper: 1.3e-4).
        schedule: ``"constant"``, or ``"cosine"``, which falls to a hundredth by the end.
        warmup: share of the steps in which the rate rises from a twentieth.
        weight_decay: share of a weight that a step takes away, times the learning rate.
        clip_norm: the longest gradient of a step; None: any.
        ema: how much of the exponential moving average of the weights a step keeps. The average is
            what is validated, saved and counts; None: there is none.
        batch: images of each domain in a step.
        labelled_share: share of labelled images in a batch; None: as they come.
        synthetic_share: share of each natural batch that synthetic images take, beside the batch of
            their own domain: the natural half then learns to count them, too. For cells drawn on
            natural backgrounds.
        epochs: at most.
        steps_per_epoch: None: one pass over the larger set.
        budget: train for so long; the speed is measured first, and decides the epochs.
        validate_every: epochs from one validation to the next.
        patience: epochs without a lower validation error after which training ends; None: it does
            not.
        select: the checkpoint to count with: ``"best"`` has the lowest validation error of counts
            before rounding, ``"max_acc"`` the most exact counts, ``"min_dev"`` the lowest product
            of MAE and MRE (the paper's two, section 3.1), ``"last"`` is of the last epoch.
        distil: share of the time in which, at the end, one look learns the mean of the counts of
            all orientations, so that ``count.test_time_augmentation`` is not needed; see
            :mod:`cellzoo.training.distil`.
        devices: GPUs to train on, ``"auto"`` all, or ``"cpu"``.
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
    synthetic_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    epochs: PositiveInt = 100
    steps_per_epoch: PositiveInt | None = None
    budget: Duration = None
    validate_every: PositiveInt = 1
    patience: PositiveInt | None = None
    select: Literal["best", "max_acc", "min_dev", "last"] = "best"
    distil: Annotated[float, Field(ge=0, le=0.5)] = 0.0
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
