"""The network of :class:`cellzoo.models.twin_density.section.TwinDensity`."""

from collections.abc import Callable, Sequence

import keras
from keras import layers, ops

from cellzoo.models.layers import ImageCentering, SpaceToDepth
from cellzoo.models.section import Domain
from cellzoo.models.symmetric import ORIENTATIONS, OrientationMean, SymmetricConv2D
from cellzoo.models.twin_density.section import TwinDensity


def twin_density(section: TwinDensity, domains: Sequence[Domain] = ("natural",)) -> keras.Model:
    """Builds a network that says for each grid cell of 8 x 8 pixels how many cells it holds.

    The twin arrangement is that of Stallmann et al. (2021): an encoder for each domain, and layers
    that both share, so what counts synthetic cells also counts natural ones. In their network the
    whole image becomes one vector, and the regressor has to learn what a sum is. Here the density
    is never negative (softplus) and the count is its sum, which is right from the first step on.

        image -> encoder -> shared encoder -> map -> density, cells per grid cell -> sum -> count
          128 32 16                        16    16

    A grid cell sees
    :data:`cellzoo.models.twin_density.section.RECEPTIVE_RADIUS` pixels far, and one thing more:
    the mean of the whole image, which is taken away. So a large image is counted in windows as
    large as those of training (:meth:`TwinDensity.tiling`). Its own mean does where light is even:
    counts of 40 synthetic images of 256 x 256 px were off by 0.5 cells of 47, and by 0.6 with
    windows. With a gradient of a fifth of the grey scale from side to side they were twice the
    truth with the image's mean, and off by 1.1 cells with windows (zoo:simulated_bf,
    ``benchmarks/results/mosaics.csv``).

    A symmetric network has the same layers. Each filter is there in eight orientations, and what
    they say of a grid cell is averaged at the end: :mod:`cellzoo.models.symmetric`.

    Args:
        section: its keys.
        domains: leave ``"synthetic"`` out to train on natural images alone.

    Returns:
        A functional model. Inputs: ``natural`` and ``synthetic``, float32 ``[batch, h, w]`` in
        [0, 1]. Outputs, a dict with these for each domain: ``<domain>_count`` ``[batch]``;
        ``<domain>_density``, cells per pixel of each grid cell, ``[batch, h / 8, w / 8]``; and
        ``<domain>_mean``, the map that it is made from, ``[batch, h / 8, w / 8, latent]``.
    """
    encoder, shared_encoder = encoders(section), shared_layers(section, "shared_encoder")
    if section.symmetric:
        mean_layer = SymmetricConv2D(ORIENTATIONS * section.latent, 1, name="latent_mean")
        over_orientations = OrientationMean(name="latent_map")
    else:
        mean_layer = layers.Conv2D(section.latent, 1, name="latent_mean")
    density = density_layers(section)
    inputs, outputs = {}, {}
    for domain in domains:
        inputs[domain] = image = keras.Input((None, None), name=domain)
        mean = mean_layer(shared_encoder(encoder(domain)(ops.expand_dims(image, -1))))
        outputs |= count_outputs(domain, density(mean)) | {
            f"{domain}_mean": over_orientations(mean) if section.symmetric else mean
        }
    return keras.Model(inputs, outputs, name="twin_density")


def convolution(
    section: TwinDensity, width: int, name: str, strides: int = 1, squares: bool = False
) -> list:
    """A 3 x 3 convolution, or a symmetric one, and its leaky ReLU.

    Args:
        section: says whether it is symmetric, and the slope.
        width: its channels.
        name: of the layer.
        strides: 1 or 2.
        squares: whether it reads squares of pixels.
    """
    if section.symmetric:
        reads = "squares" if squares else "orientations"
        kernels = SymmetricConv2D(width, 3 if strides == 1 else 4, strides, reads, name=name)
    else:
        kernels = layers.Conv2D(
            width, 3, strides=strides, padding="same", kernel_initializer="he_normal", name=name
        )
    return [kernels, layers.LeakyReLU(section.negative_slope)]


def encoders(section: TwinDensity) -> Callable[[Domain], keras.Sequential]:
    """Makes the encoder of a domain: ``[batch, h, w, 1]`` -> ``[batch, h / 8, w / 8, c]``."""

    def reader():
        return [
            # A convolution over one channel takes three times as long on a processor.
            SpaceToDepth(4, name="squares"),
            *convolution(section, section.channels[0], "conv1", squares=True),
            *convolution(section, section.channels[1], "conv2", strides=2),
        ]

    one_reader = [keras.Sequential(reader(), name="reader")] if section.shared_reader else None

    def encoder(domain):
        # By the domain's own spread, even where one reader reads both.
        scaling = [ImageCentering(name="center")] if section.center else []
        return keras.Sequential(scaling + (one_reader or reader()), name=f"{domain}_encoder")

    return encoder


def shared_layers(section: TwinDensity, name: str) -> keras.Sequential:
    """Two convolutions that both domains share."""
    width = section.shared_channels
    stages = convolution(section, width, "conv1") + convolution(section, width, "conv2")
    return keras.Sequential(stages, name=name)


def density_layers(section: TwinDensity) -> keras.Sequential:
    """Cells in each grid cell: ``[batch, h, w, latent]`` -> ``[batch, h, w, 1]``."""
    cells = layers.Conv2D(
        1,
        1,
        activation="softplus",
        # Most grid cells are empty: a few cells in all, before anything is learned.
        bias_initializer=keras.initializers.Constant(-4.0),
        name="cells",
    )
    stages = convolution(section, section.shared_channels, "conv1")
    if section.symmetric:
        stages.append(OrientationMean(name="orientation_mean"))
    return keras.Sequential([*stages, cells], name="regressor")


def count_outputs(domain: Domain, cells) -> dict:
    """The outputs that a map of cells gives, ``[batch, h, w, 1]``."""
    cells = ops.squeeze(cells, -1)
    return {f"{domain}_count": ops.sum(cells, axis=(1, 2)), f"{domain}_density": cells / 8**2}
