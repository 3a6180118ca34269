"""How a Twin-VAE learns: one loss over both domains, with weights that change on schedule."""

from dataclasses import dataclass

import keras
from keras import ops

from cellzoo.training.losses import RECONSTRUCTION_LOSSES, count_loss, kl_divergence


@dataclass(frozen=True)
class TwinLoss:
    """The weights of the paper's equation 1 and how they change; the keys of a recipe's ``loss``.

    Attributes:
        reconstruction: ``"mse"`` (paper: phase contrast) or ``"bce"`` (paper: bright field).
        reconstruction_weight: C_Rec (paper: 100 for phase contrast; the authors' program: 1000).
        reconstruction_decay: share by which C_Rec shrinks each epoch (paper: 3e-5 for bright
            field).
        count_mean: what the count loss is averaged over, ``"labelled"`` images or the whole
            ``"batch"`` (authors' program: the fewer labels, the weaker the loss); applied by
            :class:`cellzoo.data.pipeline.TwinBatches`.
        count_weight: C_Reg (paper: 3).
        count_start_epoch: epochs before C_Reg is switched on (paper: 100).
        kl_weight: C_DKL (paper: 2).
        synthetic_count_weight: factor on the count loss of synthetic images (paper: 1).
    """

    reconstruction: str = "mse"
    reconstruction_weight: float = 100.0
    reconstruction_decay: float = 0.0
    count_weight: float = 3.0
    count_start_epoch: int = 0
    count_mean: str = "labelled"
    kl_weight: float = 2.0
    synthetic_count_weight: float = 1.0


class TwinTrainer(keras.Model):
    """Trains a network of :mod:`cellzoo.models` with a natural and perhaps a synthetic input.

    ``fit`` takes a dict of images by domain, float32 ``[batch, h, w]``, and a dict of targets:
    ``<domain>_count`` and ``<domain>_weight``, float32 ``[batch]``, weight 0 for an unknown count.

    Args:
        network: a functional model with the outputs that :func:`cellzoo.models.twinvae` names.
        loss: weights and schedule.
        steps_per_epoch: training steps that make an epoch, for the schedule.
    """

    def __init__(self, network: keras.Model, loss: TwinLoss, steps_per_epoch: int):
        """Wraps the network; ``compile`` comes next."""
        super().__init__(name="twin_trainer")
        self.network = network
        self.twin_loss = loss
        self.steps_per_epoch = steps_per_epoch
        self.domains = [tensor.name for tensor in network.inputs]
        self.trained_steps = self.add_weight(
            name="trained_steps",
            shape=(),
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )
        self.term_means = {
            f"{domain}_{term}": keras.metrics.Mean(f"{domain}_{term}")
            for domain in self.domains
            for term in ("reconstruction", "count", "kl")
        }

    def call(self, images, training=False):
        """The network's outputs."""
        return self.network(images, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The twin loss: a scalar over the images of all domains."""
        epoch = ops.floor(self.trained_steps / self.steps_per_epoch)
        settings = self.twin_loss
        reconstruction_weight = settings.reconstruction_weight * ops.power(
            1.0 - settings.reconstruction_decay, epoch
        )
        count_weight = settings.count_weight * ops.cast(
            epoch >= settings.count_start_epoch, "float32"
        )
        total = 0.0
        for domain in self.domains:
            images = x[domain]
            terms = {
                "reconstruction": RECONSTRUCTION_LOSSES[settings.reconstruction](
                    images, y_pred[f"{domain}_reconstruction"]
                ),
                "kl": kl_divergence(
                    y_pred[f"{domain}_mean"],
                    y_pred[f"{domain}_log_variance"],
                    pixels=images.shape[1] * images.shape[2],
                ),
                "count": count_loss(
                    y[f"{domain}_count"], y_pred[f"{domain}_count"], y[f"{domain}_weight"]
                ),
            }
            for term, value in terms.items():
                self.term_means[f"{domain}_{term}"].update_state(value)
            trust = settings.synthetic_count_weight if domain == "synthetic" else 1.0
            total = total + (
                reconstruction_weight * terms["reconstruction"]
                + settings.kl_weight * terms["kl"]
                + count_weight * trust * terms["count"]
            )
        if training:
            self.trained_steps.assign_add(1.0)
        return total
