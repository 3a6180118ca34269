"""Spatial Twin-VAE: its latent keeps the image's grid, so that a count is a sum over space."""

from collections.abc import Sequence

import keras
from keras import layers, ops

from cellzoo.models.layers import ImageCentering, LatentSampler
from cellzoo.models.twinvae import DOMAINS


def twinvae_spatial(
    *,
    image_size: int = 128,
    channels: Sequence[int] = (48, 64),
    shared_channels: int = 64,
    latent: int = 16,
    leakiness: float = 0.2,
    center: bool = True,
    shared_reader: bool = False,
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

    Args:
        image_size: height and width in pixels, a multiple of 8.
        channels: channels of the two convolutions of each encoder.
        shared_channels: channels of the shared layers and of the regressor.
        latent: channels of the latent map.
        leakiness: slope of the leaky ReLU below zero.
        center: take each image's mean away and divide by the set's spread first.
        shared_reader: one encoder reads both domains, and only the decoders are twins. Synthetic
            images tell where each cell is, and what that teaches the encoder then holds for natural
            cells as well, as far as the synthetic ones look like them.
        domains: leave ``"synthetic"`` out to train on natural images alone.
        seed: of the latent noise; weights follow ``keras.utils.set_random_seed``.

    Returns:
        A functional model with the inputs and outputs of :func:`cellzoo.models.twinvae`, the latent
        ones ``[batch, image_size / 8, image_size / 8, latent]``, and ``<domain>_density``, cells
        per pixel of each place, ``[batch, image_size / 8, image_size / 8]``.

    Example:
        >>> model = twinvae_spatial(channels=(4, 8), shared_channels=8, latent=4)
        >>> images = np.zeros((2, 128, 128), "float32")
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

    quarter, eighth = image_size // 4, image_size // 8

    def reader():
        # Squares of 4 x 4 pixels as channels: a convolution over one channel takes three times as
        # long on a processor.
        squares = [
            layers.Reshape((quarter, 4, quarter, 4)),
            layers.Permute((1, 3, 2, 4)),
            layers.Reshape((quarter, quarter, 16)),
        ]
        return squares + conv(channels[0], "conv1") + conv(channels[1], "conv2", strides=2)

    one_reader = [keras.Sequential(reader(), name="reader")] if shared_reader else None

    def encoder(domain):
        stages = [layers.Reshape((image_size, image_size, 1))]
        if center:  # by the domain's own spread, whoever reads
            stages += [ImageCentering(name="center")]
        return keras.Sequential(stages + (one_reader or reader()), name=f"{domain}_encoder")

    def decoder(domain):
        features = keras.Input((eighth, eighth, shared_channels + 1))
        # Larger feature maps would take most of a training step: each place gives its 8 x 8 pixels
        # as channels instead.
        pixels = layers.Conv2D(
            64,
            3,
            padding="same",
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
            name="pixels",
        )(features[..., :-1])
        squares = layers.Reshape((eighth, eighth, 8, 8))(pixels + features[..., -1:])
        image = layers.Reshape((image_size, image_size))(layers.Permute((1, 3, 2, 4))(squares))
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
        image = keras.Input((image_size, image_size), name=domain)
        features = shared_encoder(encoder(domain)(image))
        mean, log_variance = mean_layer(features), log_variance_layer(features)
        # The image's mean goes around the latent, which has better things to say.
        level = ops.mean(image, axis=(1, 2), keepdims=True)[..., None]
        level = ops.tile(level, (1, eighth, eighth, 1))
        sample = sampler(mean, log_variance)
        shared = ops.concatenate([shared_decoder(sample), level], axis=-1)
        inputs[domain] = image
        cells = ops.squeeze(cells_per_place(sample), -1)
        outputs[f"{domain}_count"] = ops.sum(cells, axis=(1, 2))
        outputs[f"{domain}_density"] = cells / 8**2
        outputs[f"{domain}_reconstruction"] = decoder(domain)(shared)
        outputs[f"{domain}_mean"] = mean
        outputs[f"{domain}_log_variance"] = log_variance
    return keras.Model(inputs, outputs, name="twinvae_spatial")
