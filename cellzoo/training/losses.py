"""The terms of the losses: the Twin-VAE's three (paper, section 2.3.2, equation 1) and the mask's.

docs/fidelity.md says where the equation, the authors' program and these functions differ.
All take and return float32 tensors and use ``keras.ops`` alone, so they train on every backend.
"""

from collections.abc import Callable

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


# What the squared error of a count is divided by.
COUNT_LOSSES = {
    "squared": lambda counts: 1.0,
    "poisson": lambda counts: counts + 1.0,
    "relative": lambda counts: ops.square(counts + 1.0),
}


def count_loss(counts, predicted, weights, kind: str = "squared"):
    """Mean over the batch of ``weights`` x squared error of the count, all ``[batch]``.

    The weight is 0 for an unlabelled image (equation 1). What it is for a labelled one decides the
    average: 1 is the authors' mean over the whole batch, batch / labelled that over the labelled.

    Args:
        counts: true counts.
        predicted: predicted counts.
        weights: of the images.
        kind: ``"squared"``; ``"poisson"``: divided by the count + 1, so that an error as large as
            a Poisson count's own spread weighs the same at 1 cell and at 100; or ``"relative"``:
            by its square, so that an error of 10 % does.
    """
    return ops.mean(weights * ops.square(predicted - counts) / COUNT_LOSSES[kind](counts))


def mask_loss(masks, probability, weights):
    """Mean over batch and pixels of ``weights`` x cross entropy of masks.

    Args:
        masks: 1 in cells, 0 elsewhere, ``[batch, h, w]``.
        probability: that a pixel belongs to a cell, in [0, 1], of the same shape.
        weights: of the images, ``[batch]``; 0 where the mask is unknown.
    """
    probability = ops.clip(probability, 1e-6, 1 - 1e-6)
    entropy = masks * ops.log(probability) + (1 - masks) * ops.log(1 - probability)
    return -ops.mean(weights * ops.mean(entropy, axis=(1, 2)))


def _half_poisson_deviance(predicted, true):
    predicted, true = predicted + 1e-3, true + 1e-3
    return predicted - true - true * ops.log(predicted / true)


BLOCK_LOSSES = {
    "squared": lambda predicted, true: ops.square(predicted - true),
    "poisson": _half_poisson_deviance,
}


def density_loss(
    density,
    predicted,
    counts,
    weights,
    blocks=(4, 16),
    kind: str = "squared",
    mean: str = "image",
    mean_of_batch: Callable = ops.mean,
):
    """How far a density map is from where the cells are; ours.

    Cells are counted in blocks of ``blocks`` pixels on a side, so that it does not matter where in
    itself a cell is counted. The errors of the blocks are summed and divided by the image's
    count + 1, or that of the batch: an error per cell, however many there are.

    Args:
        density: true cells per pixel, ``[batch, h, w]``.
        predicted: predicted cells per pixel, of the same shape or on a coarser grid, whose places
            hold the mean of their pixels; blocks are then at least a place.
        counts: true counts, ``[batch]``.
        weights: of the images, ``[batch]``.
        blocks: sides in pixels; what is left over at the border is not compared.
        kind: of a block's error, ``"squared"`` or ``"poisson"``: half the deviance of a Poisson
            distribution with the predicted mean, under which a tenth of a cell too much weighs
            more where there is none than where there are three. Many empty places that each hold a
            little then cost what they add to the count.
        mean: ``"image"`` divides by the count of each image, so that all images weigh the same, and
            a cell in an image of few weighs more; where cells may be one or two, the fewer are
            then learned. ``"batch"`` divides by the cells of the batch.
        mean_of_batch: mean over all images of the batch, of which these may be a part.
    """
    place = density.shape[1] // predicted.shape[1] if predicted.shape[1] else 1
    density = ops.expand_dims(density, -1)
    if place > 1:
        density = ops.average_pool(density, place, strides=place, padding="valid")
    both = ops.concatenate([ops.expand_dims(predicted, -1), density], axis=-1)
    share = counts + 1.0
    if mean == "batch":
        share = ops.maximum(mean_of_batch(weights * share), 1.0)
    total = 0.0
    for side in blocks:
        places = max(side // place, 1)
        cells = ops.average_pool(both, places, strides=places, padding="valid")
        cells = (places * place) ** 2 * cells
        errors = BLOCK_LOSSES[kind](cells[..., 0], cells[..., 1])
        total = total + ops.sum(errors, axis=(1, 2)) / share
    return ops.mean(weights * total)
