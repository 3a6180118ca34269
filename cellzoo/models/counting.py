"""Parts of a trained network put to use: its counter, and its translator between domains."""

import keras
import numpy as np


def natural_counter(network: keras.Model) -> keras.Model:
    """The path from a natural image to its count: ``[batch, h, w]`` in [0, 1] -> ``[batch]``."""
    return domain_counter(network, "natural")


def domain_counter(network: keras.Model, domain: str) -> keras.Model:
    """The path from an image of ``"natural"`` or ``"synthetic"`` kind to its count."""
    return keras.Model(network.input[domain], network.output[f"{domain}_count"], name="counter")


def translations(network: keras.Model, natural: np.ndarray) -> dict[str, np.ndarray]:
    """What the network makes of natural images, from the mean of the latent.

    Args:
        network: with the output ``natural_reconstruction``, such as a Twin-VAE.
        natural: float32 ``[n, h, w]`` in [0, 1].

    Returns:
        ``natural`` (the images), ``natural_reconstruction`` and, where the network has both
        domains, ``natural_to_synthetic``, each ``[n, h, w]``.
    """
    to_array = keras.ops.convert_to_numpy
    shared, reconstruction = natural_decoded(network)(natural, training=False)
    pictures = {"natural": natural, "natural_reconstruction": to_array(reconstruction)}
    if "synthetic" in network.input:
        synthetic = network.get_layer("synthetic_decoder")(shared, training=False)
        pictures["natural_to_synthetic"] = to_array(synthetic)
    return pictures


def natural_decoded(network: keras.Model) -> keras.Model:
    """The path from a natural image to the shared decoder's output and the reconstruction."""
    reconstruction = network.output["natural_reconstruction"]
    decoder = network.get_layer("natural_decoder")
    node = next(node for node in decoder._inbound_nodes if reconstruction in node.outputs)
    return keras.Model(network.input["natural"], [node.input_tensors[0], reconstruction])
