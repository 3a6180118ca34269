"""Two ways to ask a Twin-VAE for counts: ours, and the one behind the authors' figures.

``"cellzoo"``
    Deterministic: the image as it is, the mean of its latent distribution.
``"authors"``
    As their program evaluates: the image is augmented as in training (flipped, cropped, rotated,
    made noisier) and a sample of the latent distribution is counted. It makes a model look worse
    than it is, and is here only so that a published figure can be compared like with like.

In both, dropout is off and batch norm uses its moving statistics.
"""

import keras
import numpy as np

from cellzoo.data.augment import Augment, Augmentation
from cellzoo.errors import UsageError

PROTOCOLS = ("cellzoo", "authors")


def predict_counts(
    network: keras.Model,
    images: np.ndarray,
    *,
    protocol: str = "cellzoo",
    seed: int = 0,
    batch_size: int = 64,
    augment: Augmentation | None = None,
    domain: str = "natural",
) -> np.ndarray:
    """Counts the cells of images under an evaluation protocol.

    Args:
        network: a Twin-VAE; ``"authors"`` needs one whose latent is a vector, as in the paper.
        images: float32 ``[n, h, w]`` in [0, 1], as the network takes them.
        protocol: ``"cellzoo"`` or ``"authors"``.
        seed: of augmentation and latent noise; ``"cellzoo"`` has no use for it.
        batch_size: images at a time; the counts do not depend on it.
        augment: augmentation of ``"authors"``; None: the paper's (section 2.3.4), noise 0.0025.
        domain: the half of the network that the images belong to.

    Returns:
        float32 ``[n]``, not rounded.

    Raises:
        UsageError: there is no such protocol, or the network cannot follow it.
    """
    if protocol not in PROTOCOLS:
        raise UsageError(f"--protocol is {protocol!r}: write {' or '.join(PROTOCOLS)}.")
    if protocol == "authors" and f"{domain}_mean" not in network.output:
        raise UsageError(
            f"--protocol authors is for a Twin-VAE, and {network.name} has no latent to sample: "
            "use --protocol cellzoo."
        )
    if protocol == "authors" and len(network.output[f"{domain}_mean"].shape) != 2:
        raise UsageError(
            f"--protocol authors samples the latent vector that the counter reads, but "
            f"{network.name} counts from the mean of a latent map: use --protocol cellzoo."
        )
    if len(images) == 0:
        return np.zeros(0, np.float32)
    if protocol == "authors":
        augment = augment or Augment().build(images.shape[1])
        return _sampled_counts(network, augment(images, (seed, 0)), domain, (seed, 1), batch_size)
    counter = keras.Model(network.input[domain], network.output[f"{domain}_count"])
    return counter.predict(images, batch_size=batch_size, verbose=0).astype(np.float32)


def _sampled_counts(
    network: keras.Model, images: np.ndarray, domain: str, seed: tuple[int, ...], batch_size: int
) -> np.ndarray:
    """Counts from one sample of each image's latent distribution."""
    encoder = keras.Model(
        network.input[domain],
        [network.output[f"{domain}_mean"], network.output[f"{domain}_log_variance"]],
    )
    mean, log_variance = encoder.predict(images, batch_size=batch_size, verbose=0)
    noise = np.random.default_rng(seed).standard_normal(mean.shape, np.float32)
    code = mean + np.exp(0.5 * log_variance) * noise
    counter = network.get_layer("regressor")
    if len(counter.input_shape) != 2:  # model.regressor_input: shared_decoder
        shared_decoder = network.get_layer("shared_decoder")
        code = shared_decoder.predict(code, batch_size=batch_size, verbose=0)
    return counter.predict(code, batch_size=batch_size, verbose=0)[:, 0].astype(np.float32)
