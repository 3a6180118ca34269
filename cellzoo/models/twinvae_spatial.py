"""Spatial Twin-VAE: its latent keeps the image's grid, so that a count is a sum over space."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from cellzoo.models.layers import ChannelsToPixels, ImageCentering, LatentSampler, PixelsToChannels
from cellzoo.models.tiling import Tiling
from cellzoo.models.twinvae import DOMAINS

# How far from its 8 x 8 pixels a place of the density sees, in pixels: one square of 4 in the first
# convolution, two in the second, which halves, and three of 8 in those behind it, with 4 to spare.
RECEPTIVE_RADIUS = 32


def twinvae_spatial(
    *,
    image_size: int = 128,
    channels: Sequence[int] = (48, 64),
    shared_channels: int = 64,
    latent: int = 16,
    leakiness: float = 0.2,
    center: bool = True,
    shared_reader: bool = False,
    reconstruct: bool = True,
    domains: Sequence[str] = DOMAINS,
    seed: int = 0,
) -> keras.Model:
    """Builds a Twin-VAE whose latent is a map, one vector for every 8 x 8 pixels.

    The twin arrangement, the losses and the names are those of :func:`cellzoo.models.twinvae`; only
    the bottleneck differs. There the whole image becomes one vector and the regressor has to learn
    what a sum is. Here each place of the grid says how much of a cell it holds (softplus, so never
    less than nothing) and the count is the sum, which is right from the first step on. Decoders say
    by how much pixels differ from the image's mean.

        image -> encoder -> shared encoder - latent map - shared decoder -> decoder -> image
          128 32 16                             16 | 16                        128
                                            cells per place -> sum -> count

    It takes images of any size whose sides are multiples of 8, with cells as large as in training.
    A place sees :data:`RECEPTIVE_RADIUS` pixels far, and one thing more: the mean of the whole
    image, which is taken away. So a large image is counted in windows as large as those of training
    (:func:`twinvae_spatial_tiling`). Its own mean does where light is even: counts of 40 synthetic
    images of 256 x 256 px were off by 1.4 %, and by 1.9 % with windows. With a gradient of a fifth
    of the grey scale from side to side they were twice the truth with the image's mean, and off by
    1.6 % with windows (zoo:simulated_bf, ``benchmarks/results/mosaics.csv``).

    Args:
        image_size: height and width of the images to train on in pixels, a multiple of 8; the
            network is the same for all.
        channels: channels of the two convolutions of each encoder.
        shared_channels: channels of the shared layers and of the regressor.
        latent: channels of the latent map.
        leakiness: slope of the leaky ReLU below zero.
        center: take each image's mean away and divide by the set's spread first.
        shared_reader: one encoder reads both domains, and only the decoders are twins. Synthetic
            images tell where each cell is, and what that teaches the encoder then holds for natural
            cells as well, as far as the synthetic ones look like them.
        reconstruct: False leaves the decoders out, and with them all that images without a count
            can teach: what remains is the twins' way to a count, several times faster to train.
        domains: leave ``"synthetic"`` out to train on natural images alone.
        seed: of the latent noise; weights follow ``keras.utils.set_random_seed``.

    Returns:
        A functional model with the inputs and outputs of :func:`cellzoo.models.twinvae`, the latent
        ones ``[batch, h / 8, w / 8, latent]``, and ``<domain>_density``, cells per pixel of each
        place, ``[batch, h / 8, w / 8]``. Without decoders ``<domain>_reconstruction`` and
        ``<domain>_log_variance`` are left out.

    Example:
        >>> model = twinvae_spatial(channels=(4, 8), shared_channels=8, latent=4)
        >>> images = np.zeros((2, 64, 40), "float32")
        >>> model.predict({"natural": images, "synthetic": images})["natural_count"].shape
        (2,)
    """

    def conv(width, name, kernel=3, strides=1):
        return [
            layers.Conv2D(
                width,
                kernel,
                strides=strides,
                padding="same",
                kernel_initializer="he_normal",
                name=name,
            ),
            layers.LeakyReLU(leakiness),
        ]

    def reader():
        # A convolution over one channel takes three times as long on a processor.
        squares = PixelsToChannels(4, name="squares")
        return [squares, *conv(channels[0], "conv1"), *conv(channels[1], "conv2", strides=2)]

    one_reader = [keras.Sequential(reader(), name="reader")] if shared_reader else None

    def encoder(domain):
        # By the domain's own spread, whoever reads.
        scaling = [ImageCentering(name="center")] if center else []
        return keras.Sequential(scaling + (one_reader or reader()), name=f"{domain}_encoder")

    def decoder(domain):
        features = keras.Input((None, None, shared_channels + 1))
        # Larger feature maps would take most of a training step: each place gives its 8 x 8 pixels
        # as channels instead.
        pixels = layers.Conv2D(
            64,
            3,
            padding="same",
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
            name="pixels",
        )(features[..., :-1])
        image = ChannelsToPixels(8, name="squares")(pixels + features[..., -1:])
        return keras.Model(features, image, name=f"{domain}_decoder")

    shared_encoder = keras.Sequential(
        conv(shared_channels, "conv1") + conv(shared_channels, "conv2"), name="shared_encoder"
    )
    mean_layer = layers.Conv2D(latent, 1, name="latent_mean")
    log_variance_layer = layers.Conv2D(
        latent, 1, kernel_initializer="zeros", name="latent_log_variance"
    )
    sampler = LatentSampler(seed=seed, name="latent")
    shared_decoder = keras.Sequential(
        conv(shared_channels, "conv1") + conv(shared_channels, "conv2"), name="shared_decoder"
    )
    cells_per_place = keras.Sequential(
        [
            *conv(shared_channels, "conv1"),
            layers.Conv2D(
                1,
                1,
                activation="softplus",
                # Most places are empty: a few cells in all, before anything is learned.
                bias_initializer=keras.initializers.Constant(-4.0),
                name="cells",
            ),
        ],
        name="regressor",
    )

    inputs, outputs = {}, {}
    for domain in domains:
        image = keras.Input((None, None), name=domain)
        features = shared_encoder(encoder(domain)(ops.expand_dims(image, -1)))
        mean = mean_layer(features)
        inputs[domain] = image
        cells = ops.squeeze(cells_per_place(mean), -1)
        outputs[f"{domain}_count"] = ops.sum(cells, axis=(1, 2))
        outputs[f"{domain}_density"] = cells / 8**2
        outputs[f"{domain}_mean"] = mean
        if not reconstruct:
            continue
        log_variance = log_variance_layer(features)
        # The image's mean goes around the latent, which has better things to say.
        level = ops.mean(image, axis=(1, 2), keepdims=True) + ops.zeros_like(image[:, ::8, ::8])
        beside = [shared_decoder(sampler(mean, log_variance)), ops.expand_dims(level, -1)]
        shared = ops.concatenate(beside, axis=-1)
        outputs[f"{domain}_reconstruction"] = decoder(domain)(shared)
        outputs[f"{domain}_log_variance"] = log_variance
    return keras.Model(inputs, outputs, name="twinvae_spatial")


def twinvae_spatial_tiling(*, image_size: int = 128, **others: Any) -> Tiling:
    """How images of any size are cut for a network trained on ``image_size`` pixels.

    The network gets windows of that size, if the image is as large, and what lies a margin away
    from a window's border is kept. Where that is less than half a side, windows are larger.
    """
    return Tiling(
        margin=RECEPTIVE_RADIUS,
        stride=8,
        place=8,
        tile=max(image_size - 2 * RECEPTIVE_RADIUS, image_size // 2),
        window=image_size,
        fill="mean",
    )
