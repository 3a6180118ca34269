"""The network of :class:`cellzoo.models.dcc.section.DCC`."""

import math
from collections.abc import Sequence

import keras
from keras import layers, ops

from cellzoo.models.dcc.section import DCC
from cellzoo.models.layers import ImageScaling
from cellzoo.models.thresholds import Threshold


def dcc(section: DCC) -> keras.Model:
    """Builds a U-Net that segments, and one of two heads that count.

    Tesfamariam et al. 2025 (DeepCellCount), section 3.2. The U-Net has as many encoder stages as
    ``channels`` has numbers (paper: three), each 3 x 3 convolutions with ReLU and a
    halving; as many decoder stages that double the size again, with the encoder's features of the
    same size beside them; and a sigmoid at the end.

    ``head="regressor"`` is the paper's. Group normalisation in the U-Net; the mask above the
    threshold goes through two 3 x 3 convolutions with max pooling between, is averaged over
    squares, flattened, and read by a dense layer. The paper flattens 392 x 392 numbers, which takes
    5 billion weights at 64 channels; ``pooling=28`` leaves 28 x 28 of 784 x 784 pixels and 25.7
    million. No gradient of the count reaches the U-Net, so it learns from masks alone.

        image -> U-Net -> mask -> threshold -> conv, pool, conv, pool -> dense 512 -> count

    ``head="additive"`` is ours. From the features of a pixel and its grey level a density is made,
    cells per pixel, and the count is its sum:

        density = softplus(a(features)) + grey level above background x softplus(b(features))

    Where images have masks it also learns where the cells are
    (:func:`cellzoo.training.losses.density_loss`), which one number per image says only faintly.

    Why it extrapolates: nothing in it knows the whole image. The density of a pixel follows from
    the pixels within :meth:`DCC.receptive_radius` (21 for the paper's three stages), so a picture
    with ten times the cells is ten times such neighbourhoods, and a tile counts as it does within
    its image. That holds only without statistics of the whole image: nothing is normalised within
    the U-Net (batch normalisation made validation errors jump from epoch to epoch), and grey levels
    are scaled by numbers of the training set. Where cells overlap, their outlines vanish, but light
    adds up where fluorescence is not saturated: hence the term that follows the grey level, with
    which neighbourhoods fuller than any in training still count more. Where one cell hides the
    other instead, a pile has less light than its cells, and only a pile like those in training is
    counted right.

    Args:
        section: its keys.

    Returns:
        A functional model from ``{"natural": images}``, float32 ``[batch, h, w]`` in [0, 1], to

        ``natural_count``
            ``[batch]``.
        ``natural_mask``
            the probability that a pixel belongs to a cell, ``[batch, h, w]`` in [0, 1].
        ``natural_density``
            cells per pixel, ``[batch, h, w]``; of the additive head only.
    """
    height, width = section.size
    channels, additive = section.channels, section.head == "additive"

    image = keras.Input((None, None) if additive else (height, width), name="natural")
    grey = ImageScaling(name="natural_scaling")(ops.expand_dims(image, -1))
    features = _unet(grey, channels, section.convolutions, by_group=not additive)
    probability = layers.Conv2D(1, 1, activation="sigmoid", name="probability")(features)
    probability = ops.squeeze(probability, -1)
    outputs = {"natural_mask": probability}
    if additive:
        # In this unit images of any size hold about 30 cells before anything is learned.
        density = _density(features, grey, section.density_channels) * (256 / (height * width))
        outputs["natural_density"] = density
        outputs["natural_count"] = ops.sum(density, axis=(1, 2))
    else:
        threshold = Threshold(
            section.threshold, section.threshold_block, section.threshold_offset, name="threshold"
        )
        outputs["natural_count"] = _regressor(threshold(ops.stop_gradient(probability)), section)
    return keras.Model({"natural": image}, outputs, name="dcc")


def _unet(image, channels: Sequence[int], convolutions: int, by_group: bool):
    """Features of each pixel: ``[batch, h, w, 1]`` -> ``[batch, h, w, channels[0]]``."""

    def stage(x, width, name):
        for k in range(1, convolutions + 1):
            x = layers.Conv2D(
                width, 3, padding="same", kernel_initializer="he_normal", name=f"{name}_conv{k}"
            )(x)
            if by_group:
                x = layers.GroupNormalization(math.gcd(width, 8), name=f"{name}_norm{k}")(x)
            x = layers.ReLU(name=f"{name}_relu{k}")(x)
        return x

    x, by_stage = image, []
    for k, width in enumerate(channels, 1):
        x = stage(x, width, f"encoder{k}")
        by_stage.append(x)
        x = layers.MaxPooling2D(2, name=f"encoder{k}_half")(x)
    for k, width in reversed(list(enumerate(channels, 1))):
        x = layers.UpSampling2D(2, name=f"decoder{k}_double")(x)
        x = layers.Concatenate(name=f"decoder{k}_beside")([x, by_stage[k - 1]])
        x = stage(x, width, f"decoder{k}")
    return x


def _regressor(mask, section: DCC):
    """The paper's: ``[batch, h, w]`` -> ``[batch]``."""
    channels, pooling = section.regressor_channels, section.pooling
    x = ops.expand_dims(mask, -1)
    x = layers.Conv2D(channels[0], 3, padding="same", activation="relu", name="count_conv1")(x)
    x = layers.MaxPooling2D(2, name="count_half")(x)
    x = layers.Conv2D(channels[1], 3, padding="same", activation="relu", name="count_conv2")(x)
    # The mean, as a square's share of cells says more of their number than its fullest pixel.
    x = layers.AveragePooling2D(pooling // 2, padding="same", name="count_squares")(x)
    x = layers.Flatten(name="count_flatten")(x)
    x = layers.Dense(section.regressor_units, activation="relu", name="count_dense")(x)
    return ops.squeeze(layers.Dense(1, name="count")(x), -1)


def _density(features, grey, channels: int):
    """Ours: features and grey level of each pixel -> its density, ``[batch, h, w]``."""
    x = layers.Concatenate(name="density_input")([features, grey])
    x = layers.Conv2D(
        channels, 1, activation="relu", kernel_initializer="he_normal", name="density_conv"
    )(x)
    x = layers.Conv2D(
        2,
        1,
        activation="softplus",
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.02),
        bias_initializer=keras.initializers.Constant(-2.0),
        name="density_terms",
    )(x)
    light = ops.relu(grey[..., 0])
    return x[..., 0] + light * x[..., 1]
