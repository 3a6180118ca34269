"""The network of :class:`cellzoo.models.twinvae_spatial.section.TwinVAESpatial`."""

from collections.abc import Sequence

import keras
from keras import layers, ops

from cellzoo.models.layers import DepthToSpace, LatentSampler
from cellzoo.models.section import Domain
from cellzoo.models.twin_density.network import (
    count_outputs,
    density_layers,
    encoders,
    shared_layers,
)
from cellzoo.models.twinvae_spatial.section import TwinVAESpatial


def twinvae_spatial(
    section: TwinVAESpatial, domains: Sequence[Domain] = ("natural",), seed: int = 0
) -> keras.Model:
    """Builds a Twin-VAE whose latent is a map, one vector for every 8 x 8 pixels.

    The way to the count is that of
    :func:`cellzoo.models.twin_density.network.twin_density`, from the mean of the latent. Decoders
    say by how much pixels differ from the image's mean.

        image -> encoder -> shared encoder - latent map - shared decoder -> decoder -> image
          128 32 16                             16 | 16                        128
                                           cells per grid cell -> sum -> count

    Args:
        section: its keys.
        domains: leave ``"synthetic"`` out to train on natural images alone.
        seed: of the latent noise; weights follow ``keras.utils.set_random_seed``.

    Returns:
        A functional model with the inputs and outputs of
        :func:`cellzoo.models.twin_density.network.twin_density`, and for each domain
        ``<domain>_reconstruction`` ``[batch, h, w]`` and ``<domain>_log_variance``
        ``[batch, h / 8, w / 8, latent]``.
    """

    def decoder(domain):
        features = keras.Input((None, None, section.shared_channels + 1))
        # Larger feature maps would take most of a training step: each grid cell gives its 8 x 8
        # pixels as channels instead.
        pixels = layers.Conv2D(
            64,
            3,
            padding="same",
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
            name="pixels",
        )(features[..., :-1])
        image = DepthToSpace(8, name="squares")(pixels + features[..., -1:])
        return keras.Model(features, image, name=f"{domain}_decoder")

    encoder, shared_encoder = encoders(section), shared_layers(section, "shared_encoder")
    mean_layer = layers.Conv2D(section.latent, 1, name="latent_mean")
    log_variance_layer = layers.Conv2D(
        section.latent, 1, kernel_initializer="zeros", name="latent_log_variance"
    )
    sampler = LatentSampler(seed=seed, name="latent")
    shared_decoder = shared_layers(section, "shared_decoder")
    density = density_layers(section)

    inputs, outputs = {}, {}
    for domain in domains:
        inputs[domain] = image = keras.Input((None, None), name=domain)
        features = shared_encoder(encoder(domain)(ops.expand_dims(image, -1)))
        mean, log_variance = mean_layer(features), log_variance_layer(features)
        outputs |= count_outputs(domain, density(mean)) | {f"{domain}_mean": mean}
        # The image's mean goes around the latent, which has better things to say.
        level = ops.mean(image, axis=(1, 2), keepdims=True) + ops.zeros_like(image[:, ::8, ::8])
        beside = [shared_decoder(sampler(mean, log_variance)), ops.expand_dims(level, -1)]
        outputs[f"{domain}_reconstruction"] = decoder(domain)(ops.concatenate(beside, axis=-1))
        outputs[f"{domain}_log_variance"] = log_variance
    return keras.Model(inputs, outputs, name="twinvae_spatial")
