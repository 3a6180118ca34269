"""Parts of a trained network put to use: its counter, and its translator between domains."""

import keras
import numpy as np

PIXELS_AT_A_TIME = 2**20


def domain_counter(network: keras.Model, domain: str = "natural") -> keras.Model:
    """The path from an image of ``"natural"`` or ``"synthetic"`` kind to its count.

    Images are ``[batch, h, w]`` in [0, 1], counts ``[batch]``.
    """
    return keras.Model(network.input[domain], network.output[f"{domain}_count"], name="counter")


def predict(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """What a model of one input and one output gives for images ``[n, h, w]``, a few at a time.

    The larger the images, the fewer: the feature maps of about a million pixels fit anywhere.
    """
    batch = int(np.clip(PIXELS_AT_A_TIME // (images.shape[1] * images.shape[2]), 1, 64))
    return model.predict(images, batch_size=batch, verbose=0)


def translations(
    network: keras.Model, images: np.ndarray, domain: str = "natural"
) -> dict[str, np.ndarray]:
    """What the network makes of images of one domain, from the mean of the latent.

    Args:
        network: with the output ``<domain>_reconstruction``, such as a Twin-VAE.
        images: float32 ``[n, h, w]`` in [0, 1].
        domain: ``"natural"`` or ``"synthetic"``, that of the images.

    Returns:
        ``<domain>`` (the images), ``<domain>_reconstruction`` and, where the network has both
        domains, ``<domain>_to_<other>``, each ``[n, h, w]`` in [0, 1], as pictures are: a decoder
        may go beyond.
    """

    def to_array(decoded_images):
        return np.clip(keras.ops.convert_to_numpy(decoded_images), 0, 1)

    shared, reconstruction = decoded(network, domain)(images, training=False)
    pictures = {domain: images, f"{domain}_reconstruction": to_array(reconstruction)}
    for other in sorted(set(network.input) - {domain}):
        translation = network.get_layer(f"{other}_decoder")(shared, training=False)
        pictures[f"{domain}_to_{other}"] = to_array(translation)
    return pictures


def decoded(network: keras.Model, domain: str = "natural") -> keras.Model:
    """The path from an image to what its own decoder reads, and to the reconstruction."""
    reconstruction = network.output[f"{domain}_reconstruction"]
    decoder = network.get_layer(f"{domain}_decoder")
    node = next(node for node in decoder._inbound_nodes if reconstruction in node.outputs)
    return keras.Model(network.input[domain], [node.input_tensors[0], reconstruction])
