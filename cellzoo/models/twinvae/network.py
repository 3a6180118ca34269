"""The network of :class:`cellzoo.models.twinvae.section.TwinVAE`."""

from collections.abc import Sequence

import keras
from keras import layers

from cellzoo.models.layers import (
    Conv2DToOnePixel,
    Conv2DTransposeFromOnePixel,
    ImageCentering,
    LatentSampler,
)
from cellzoo.models.section import Domain
from cellzoo.models.twinvae.section import TwinVAE


def twinvae(
    section: TwinVAE, domains: Sequence[Domain] = ("natural",), seed: int = 0
) -> keras.Model:
    """Builds the Twin-VAE of Stallmann et al. (2021), sections 2.3.1 to 2.3.3.

    A natural and a synthetic image pass through an encoder and a decoder of their own domain; what
    lies between is shared, so both must be described in the same terms, and the regressor that
    counts synthetic cells also counts natural ones.

        image -> encoder ---+                                     +--- decoder -> reconstruction
          128 62 29 13 5    |                                     |    13 29 61 62 128
                            +- shared encoder - latent - shared decoder
                                          1       |        5
                                              regressor -> count

    Where the paper leaves a size open it is the authors' program's: no padding anywhere, decoder
    channels 128, 64, 32, 32, 1, batch norm with epsilon 1e-5.

    Args:
        section: its keys.
        domains: leave ``"synthetic"`` out for the paper's "natural only" row.
        seed: of dropout and latent noise; weights follow ``keras.utils.set_random_seed``.

    Returns:
        A functional model. Inputs: ``natural`` and ``synthetic``, float32 ``[batch, 128, 128]`` in
        [0, 1]. Outputs, a dict with these for each domain: ``<domain>_count`` ``[batch]``,
        ``<domain>_reconstruction`` ``[batch, 128, 128]`` in [0, 1], ``<domain>_mean`` and
        ``<domain>_log_variance`` ``[batch, latent]``.
    """
    side, channels = section.image_size, section.channels
    seeds = iter(range(seed, seed + 1000))

    def drop():
        return layers.Dropout(section.dropout, seed=next(seeds))

    def down(width, name, convolution=layers.Conv2D):
        """Halves the grid: convolution, leaky ReLU, dropout."""
        return [
            convolution(width, 5, strides=2, kernel_initializer=section.initializer, name=name),
            layers.LeakyReLU(section.negative_slope),
            drop(),
        ]

    def up(width, kernel, strides, name, convolution=layers.Conv2DTranspose):
        """Grows the grid: transposed convolution, batch norm, leaky ReLU."""
        return [
            convolution(width, kernel, strides=strides, name=name),
            layers.BatchNormalization(epsilon=1e-5, momentum=0.9, name=f"{name}_norm"),
            layers.LeakyReLU(section.negative_slope),
        ]

    def encoder(domain):
        stages = [layers.Reshape((side, side, 1))]
        if section.center:
            stages += [ImageCentering(name="center")]
        for k, width in enumerate(channels, start=1):
            stages += down(width, f"conv{k}")
        return keras.Sequential(stages, name=f"{domain}_encoder")

    def decoder(domain):
        first, second, third = channels[2], channels[1], channels[0]
        return keras.Sequential(
            up(first, 5, 2, "up1")
            + up(second, 5, 2, "up2")
            + up(third, 5, 2, "up3")
            + up(third, 2, 1, "up4")
            + [
                layers.Conv2DTranspose(1, 6, strides=2, activation="sigmoid", name="up5"),
                layers.Reshape((side, side)),
            ],
            name=f"{domain}_decoder",
        )

    shared_encoder = keras.Sequential(
        [*down(section.shared_channels, "conv", Conv2DToOnePixel), layers.Flatten()],
        name="shared_encoder",
    )
    mean_layer = layers.Dense(section.latent, name="latent_mean")
    log_variance_layer = layers.Dense(section.latent, name="latent_log_variance")
    sampler = LatentSampler(seed=next(seeds), name="latent")
    shared_decoder = keras.Sequential(
        [
            layers.Dense(section.shared_channels, name="dense"),
            drop(),
            layers.Reshape((1, 1, section.shared_channels)),
            *up(channels[3], 5, 2, "up", Conv2DTransposeFromOnePixel),
        ],
        name="shared_decoder",
    )
    count_layers = [layers.Flatten()] if section.regressor_input == "shared_decoder" else []
    for k, width in enumerate(section.regressor, start=1):
        count_layers += [layers.Dense(width, name=f"dense{k}"), drop()]
    count_layers += [layers.Dense(1, name="count"), layers.Flatten()]
    counter = keras.Sequential(count_layers, name="regressor")

    inputs, outputs = {}, {}
    for domain in domains:
        image = keras.Input((side, side), name=domain)
        features = shared_encoder(encoder(domain)(image))
        mean, log_variance = mean_layer(features), log_variance_layer(features)
        if section.latent_dropout:
            mean = layers.Dropout(section.latent_dropout, seed=next(seeds))(mean)
            log_variance = layers.Dropout(section.latent_dropout, seed=next(seeds))(log_variance)
        code = sampler(mean, log_variance)
        shared = shared_decoder(code)
        count = counter(code if section.regressor_input == "latent" else shared)
        inputs[domain] = image
        outputs[f"{domain}_count"] = layers.Reshape((), name=f"{domain}_count")(count)
        outputs[f"{domain}_reconstruction"] = decoder(domain)(shared)
        outputs[f"{domain}_mean"] = mean
        outputs[f"{domain}_log_variance"] = log_variance
    return keras.Model(inputs, outputs, name="twinvae")
