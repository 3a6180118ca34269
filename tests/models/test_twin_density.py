"""The twin density network: a spatial Twin-VAE's way to the count, and nothing else."""

import keras
import numpy as np

from cellzoo.models import TwinDensity, TwinVAESpatial
from cellzoo.models.section import DOMAINS

SMALL = {"image_size": 32, "channels": (4, 4), "shared_channels": 4, "latent": 2}
IMAGES = np.random.default_rng(0).random((2, 40, 32), np.float32)


def outputs(network):
    found = network({domain: IMAGES for domain in network.input})
    return {name: np.asarray(value) for name, value in found.items()}


def test_there_is_a_count_and_nothing_to_reconstruct():
    section = TwinDensity(**SMALL)
    network = section.build(DOMAINS)
    shapes = {"count": (2,), "density": (2, 5, 4), "mean": (2, 5, 4, 2)}
    assert {name: value.shape for name, value in outputs(network).items()} == {
        f"{domain}_{name}": shape for domain in DOMAINS for name, shape in shapes.items()
    }
    whole = TwinVAESpatial(**SMALL)
    assert network.count_params() < 0.8 * whole.build(DOMAINS).count_params()
    assert not section.reconstructs and not section.learns_from_unlabelled
    assert whole.reconstructs and whole.learns_from_unlabelled


def test_it_counts_as_the_spatial_twin_vae_of_the_same_weights():
    keras.utils.set_random_seed(1)
    for shared_reader in (False, True):
        keys = SMALL | {"shared_reader": shared_reader}
        whole, part = TwinVAESpatial(**keys).build(DOMAINS), TwinDensity(**keys).build(DOMAINS)
        for layer in part.layers:
            if layer.weights:
                layer.set_weights(whole.get_layer(layer.name).get_weights())
        expected = outputs(whole)
        for name, values in outputs(part).items():
            np.testing.assert_allclose(values, expected[name], rtol=1e-6)


def test_a_network_of_natural_images_alone_has_one_input():
    network = TwinDensity(**SMALL).build()
    assert list(network.input) == ["natural"]
    assert set(outputs(network)) == {"natural_count", "natural_density", "natural_mean"}


def test_images_need_not_be_square():
    section = TwinDensity(**SMALL | {"image_size": (40, 64)})
    assert section.size == (40, 64)
    assert section.tiling().window == 40 and section.tiling().tile == 20
    network = section.build()
    count = network({"natural": np.zeros((1, 40, 64), np.float32)})["natural_density"]
    assert count.shape == (1, 5, 8)
