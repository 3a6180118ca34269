"""The three terms of the Twin-VAE's loss (paper, section 2.3.2, equation 1).

docs/fidelity.md says where the equation, the authors' program and these functions differ.
All take and return float32 tensors and use ``keras.ops`` alone, so they train on every backend.
"""

from keras import ops


def mean_squared_error(images, reconstruction):
    """Mean over batch and pixels of the squared difference, images in [0, 1]."""
    return ops.mean(ops.square(images - reconstruction))


def binary_cross_entropy(images, reconstruction):
    """Mean over batch and pixels of the cross entropy between grey levels in [0, 1].

    The paper prints another sign before the second summand; this is the usual cross entropy.
    """
    reconstruction = ops.clip(reconstruction, 1e-6, 1 - 1e-6)
    return -ops.mean(
        images * ops.log(reconstruction) + (1 - images) * ops.log(1 - reconstruction)
    )


RECONSTRUCTION_LOSSES = {"mse": mean_squared_error, "bce": binary_cross_entropy}


def kl_divergence(mean, log_variance, pixels: int):
    """Divergence of the latent distribution from the standard normal one.

    Summed over the latent and averaged over the batch, then divided by the number of image
    ``pixels`` (authors' program), so that it stands beside a reconstruction error averaged over
    pixels.
    """
    latent_axes = tuple(range(1, len(mean.shape)))
    terms = 1 + log_variance - ops.square(mean) - ops.exp(log_variance)
    return -0.5 * ops.mean(ops.sum(terms, axis=latent_axes)) / pixels


def count_loss(counts, predicted, weights):
    """Mean over the batch of ``weights`` x squared error of the count, all ``[batch]``.

    The weight is 0 for an unlabelled image (equation 1). What it is for a labelled one decides the
    average: 1 is the authors' mean over the whole batch, batch / labelled that over the labelled.
    """
    return ops.mean(weights * ops.square(predicted - counts))
