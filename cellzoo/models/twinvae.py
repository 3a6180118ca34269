"""Twin-VAE: two autoencoders that share what is inside, and a count regressor on it."""

from collections.abc import Sequence

import keras
from keras import layers

from cellzoo.models.layers import ImageCentering, LatentSampler

IMAGE_SIZE = 128
DOMAINS = ("natural", "synthetic")


def twinvae(
    *,
    channels: Sequence[int] = (32, 64, 128, 256),
    shared_channels: int = 512,
    latent: int = 256,
    regressor: Sequence[int] = (256, 128),
    regressor_input: str = "latent",
    dropout: float = 0.1,
    latent_dropout: float = 0.0,
    leakiness: float = 0.2,
    initializer: str = "orthogonal",
    center: bool = False,
    domains: Sequence[str] = DOMAINS,
    seed: int = 0,
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
        channels: channels of the four convolutions of each encoder; the decoders mirror them.
        shared_channels: channels of the shared encoder's convolution (paper: 512).
        latent: length of the latent vector (paper: 256).
        regressor: widths of the regressor's two dense layers. They are linear, as in the paper.
        regressor_input: ``"latent"`` (authors' program) or ``"shared_decoder"`` (paper, 2.3.3).
        dropout: share dropped behind each encoder and regressor layer and the dense layer of the
            shared decoder.
        latent_dropout: share dropped of mean and log-variance, in training. The paper has 0.1
            behind all three bottleneck layers (2.3.3), these among them; the latent's own noise
            is enough.
        leakiness: slope of the leaky ReLU below zero.
        initializer: of the encoders' kernels (paper: orthogonal).
        center: take each image's mean away and divide by the set's spread first. Not in the paper.
        domains: leave ``"synthetic"`` out for the paper's "natural only" row.
        seed: of dropout and latent noise; weights follow ``keras.utils.set_random_seed``.

    Returns:
        A functional model. Inputs: ``natural`` and ``synthetic``, float32 ``[batch, 128, 128]`` in
        [0, 1]. Outputs, a dict with these for each domain: ``<domain>_count`` ``[batch]``,
        ``<domain>_reconstruction`` ``[batch, 128, 128]`` in [0, 1], ``<domain>_mean`` and
        ``<domain>_log_variance`` ``[batch, latent]``.

    Example:
        >>> model = twinvae(channels=(4, 8, 8, 8), shared_channels=8, latent=4)
        >>> images = np.zeros((2, 128, 128), "float32")
        >>> model.predict({"natural": images, "synthetic": images})["natural_count"].shape
        (2,)
    """
    seeds = iter(range(seed, seed + 1000))

    def drop():
        return layers.Dropout(dropout, seed=next(seeds))

    def down(width, name):
        """Halves the grid: convolution, leaky ReLU, dropout."""
        return [
            layers.Conv2D(width, 5, strides=2, kernel_initializer=initializer, name=name),
            layers.LeakyReLU(leakiness),
            drop(),
        ]

    def up(width, kernel, strides, name):
        """Grows the grid: transposed convolution, batch norm, leaky ReLU."""
        return [
            layers.Conv2DTranspose(width, kernel, strides=strides, name=name),
            layers.BatchNormalization(epsilon=1e-5, momentum=0.9, name=f"{name}_norm"),
            layers.LeakyReLU(leakiness),
        ]

    def encoder(domain):
        stages = [layers.Reshape((IMAGE_SIZE, IMAGE_SIZE, 1))]
        if center:
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
                layers.Reshape((IMAGE_SIZE, IMAGE_SIZE)),
            ],
            name=f"{domain}_decoder",
        )

    shared_encoder = keras.Sequential(
        [*down(shared_channels, "conv"), layers.Flatten()], name="shared_encoder"
    )
    mean_layer = layers.Dense(latent, name="latent_mean")
    log_variance_layer = layers.Dense(latent, name="latent_log_variance")
    sampler = LatentSampler(seed=next(seeds), name="latent")
    shared_decoder = keras.Sequential(
        [
            layers.Dense(shared_channels, name="dense"),
            drop(),
            layers.Reshape((1, 1, shared_channels)),
            *up(channels[3], 5, 2, "up"),
        ],
        name="shared_decoder",
    )
    count_layers = [layers.Flatten()] if regressor_input == "shared_decoder" else []
    for k, width in enumerate(regressor, start=1):
        count_layers += [layers.Dense(width, name=f"dense{k}"), drop()]
    count_layers += [layers.Dense(1, name="count"), layers.Flatten()]
    counter = keras.Sequential(count_layers, name="regressor")

    inputs, outputs = {}, {}
    for domain in domains:
        image = keras.Input((IMAGE_SIZE, IMAGE_SIZE), name=domain)
        features = shared_encoder(encoder(domain)(image))
        mean, log_variance = mean_layer(features), log_variance_layer(features)
        if latent_dropout:
            mean = layers.Dropout(latent_dropout, seed=next(seeds))(mean)
            log_variance = layers.Dropout(latent_dropout, seed=next(seeds))(log_variance)
        code = sampler(mean, log_variance)
        shared = shared_decoder(code)
        count = counter(code if regressor_input == "latent" else shared)
        inputs[domain] = image
        outputs[f"{domain}_count"] = layers.Reshape((), name=f"{domain}_count")(count)
        outputs[f"{domain}_reconstruction"] = decoder(domain)(shared)
        outputs[f"{domain}_mean"] = mean
        outputs[f"{domain}_log_variance"] = log_variance
    return keras.Model(inputs, outputs, name="twinvae")
