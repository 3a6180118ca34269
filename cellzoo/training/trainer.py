"""How a network learns: one loss over all that it gives, with weights that change on schedule."""


import keras
from keras import ops

from cellzoo.recipe import Loss
from cellzoo.training.devices import Devices
from cellzoo.training.losses import (
    RECONSTRUCTION_LOSSES,
    count_loss,
    density_loss,
    kl_divergence,
    mask_loss,
)


class _TermMean(keras.metrics.Mean):
    """The mean of a term; NaN for 0, which means that no image told it: labels or masks lack."""

    def result(self):
        return ops.where(ops.equal(self.total, 0), float("nan"), super().result())


class Trainer(keras.Model):
    """Trains a network of :mod:`cellzoo.models` with a natural and perhaps a synthetic input.

    ``fit`` takes a dict of images by domain, float32 ``[batch, h, w]``, and a dict of targets:
    ``<domain>_count`` and ``<domain>_weight``, float32 ``[batch]``, weight 0 for an unknown count;
    perhaps ``<domain>_mask`` and ``<domain>_density``, float32 ``[batch, h, w]``, with
    ``<domain>_mask_weight`` and ``<domain>_density_weight``.

    Args:
        network: a functional model with the input ``natural``, perhaps ``synthetic``, and for each
            domain the output ``<domain>_count``. Where it also has ``<domain>_reconstruction``,
            ``<domain>_mean`` and ``<domain>_log_variance``, ``<domain>_mask`` or
            ``<domain>_density``, the loss has their terms too.
        loss: weights and schedule.
        steps_per_epoch: training steps that make an epoch, for the schedule.
        devices: where it trains; None: on one device.
    """

    def __init__(
        self,
        network: keras.Model,
        loss: Loss,
        steps_per_epoch: int,
        devices: Devices | None = None,
    ):
        """Wraps the network; ``compile`` comes next."""
        super().__init__(name="trainer")
        self.network = network
        self.devices = devices or Devices()
        self.loss_weights = loss
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
            f"{domain}_{term}": _TermMean(f"{domain}_{term}")
            for domain in self.domains
            for term, output in (
                ("reconstruction", "reconstruction"),
                ("count", "count"),
                ("kl", "log_variance"),
                ("mask", "mask"),
                ("density", "density"),
            )
            if f"{domain}_{output}" in network.output
        }

    def call(self, images, training=False):
        """The network's outputs."""
        return self.network(images, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The weighted sum of the terms of all domains: a scalar."""
        epoch = ops.floor(self.trained_steps / self.steps_per_epoch)
        settings = self.loss_weights
        reconstruction_weight = settings.reconstruction_weight * ops.power(
            1.0 - settings.reconstruction_decay, epoch
        )
        count_weight = settings.count_weight * ops.cast(
            epoch >= settings.count_start_epoch, "float32"
        )
        total = 0.0
        for domain in self.domains:
            images = x[domain]
            trust = settings.synthetic_count_weight if domain == "synthetic" else 1.0
            count = count_loss(
                y[f"{domain}_count"],
                y_pred[f"{domain}_count"],
                y[f"{domain}_weight"],
                settings.count_loss,
            )
            terms = {"count": (count_weight * trust, count)}
            if f"{domain}_reconstruction" in y_pred:
                error = RECONSTRUCTION_LOSSES[settings.reconstruction](
                    images, y_pred[f"{domain}_reconstruction"]
                )
                terms["reconstruction"] = (reconstruction_weight, error)
            if f"{domain}_log_variance" in y_pred:
                divergence = kl_divergence(
                    y_pred[f"{domain}_mean"],
                    y_pred[f"{domain}_log_variance"],
                    pixels=images.shape[1] * images.shape[2],
                )
                terms["kl"] = (settings.kl_weight, divergence)
            if f"{domain}_mask" in y_pred and f"{domain}_mask" in y:
                error = mask_loss(
                    y[f"{domain}_mask"], y_pred[f"{domain}_mask"], y[f"{domain}_mask_weight"]
                )
                terms["mask"] = (settings.mask_weight, error)
            if f"{domain}_density" in y_pred and f"{domain}_density" in y:
                error = density_loss(
                    y[f"{domain}_density"],
                    y_pred[f"{domain}_density"],
                    y[f"{domain}_count"],
                    y[f"{domain}_weight"] * y[f"{domain}_density_weight"],
                    kind=settings.density_loss,
                    mean=settings.density_mean,
                    mean_of_batch=self._mean_of_batch,
                )
                terms["density"] = (settings.density_weight, error)
            for term, (weight, value) in terms.items():
                self.term_means[f"{domain}_{term}"].update_state(value)
                total = total + weight * value
        if training:
            self.trained_steps.assign_add(1.0)
        return total

    def _mean_of_batch(self, values):
        """The mean over the images of all replicas, which have as many each: a scalar."""
        mean = ops.mean(values)
        if self.devices.replicas == 1:
            return mean
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.MEAN, mean)

    def train_step(self, *arguments):
        """Keras's training step, or this device's part in that of several."""
        if self.devices.replicas == 1:
            return super().train_step(*arguments)
        return self._step_of_one_replica(*arguments)

    def _step_of_one_replica(self, batch):
        """Trains on the rows that this replica was given.

        The loss is a mean over its rows, and all replicas have as many, so the gradient of the
        whole batch is the mean of theirs. Keras's own step is no help here: it does not divide a
        loss from ``compute_loss`` by the number of replicas, and clips each replica's gradient for
        itself.
        """
        import tensorflow as tf

        x, y = batch
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x, y, y_pred)
        gradients = zip(
            tape.gradient(loss, self.trainable_variables), self.trainable_variables, strict=True
        )
        shares, variables = zip(
            *((g / self.devices.replicas, v) for g, v in gradients if g is not None), strict=True
        )
        if self.optimizer.global_clipnorm:
            context = tf.distribute.get_replica_context()
            whole = context.all_reduce(tf.distribute.ReduceOp.SUM, list(shares))
            clipped, _ = tf.clip_by_global_norm(whole, self.optimizer.global_clipnorm)
            shares = [g / self.devices.replicas for g in clipped]
        self.optimizer.apply(shares, variables)  # adds up the shares of all replicas
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
        logs = self.compute_metrics(x, y, y_pred)
        if self.devices.machines > 1:  # where Keras takes the mean over axis 0, also of a scalar
            logs = {name: tf.expand_dims(value, 0) for name, value in logs.items()}
        return logs

    def _maybe_symbolic_build(self, *args, **kwargs):
        """Does nothing: :func:`cellzoo.training.fit.fit` builds the trainer.

        Keras would do it again under a strategy, with a batch of which each machine has a part, and
        fail.
        """
