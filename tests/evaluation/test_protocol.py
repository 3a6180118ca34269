"""Ours counts the same every time; the authors' samples the latent of an augmented image."""

import keras
import numpy as np
import pytest
from keras import ops

from cellzoo.errors import UsageError
from cellzoo.evaluation.protocol import predict_counts
from cellzoo.models import TwinVAE, TwinVAESpatial
from cellzoo.models.section import DOMAINS

SMALL = {"channels": (4, 4, 6, 6), "shared_channels": 8, "latent": 5, "regressor": (4, 4)}


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((5, 128, 128), np.float32)


@pytest.fixture(scope="module", params=["latent", "shared_decoder"])
def network(request):
    keras.utils.set_random_seed(3)
    network = TwinVAE(**SMALL, regressor_input=request.param).build(DOMAINS)
    for domain in ("natural", "synthetic"):
        network.get_layer(f"{domain}_encoder").get_layer("conv1").bias.assign([0.5, -0.5, 1, 2])
    return network


def unchanged(images, seed):
    return images


def test_ours_is_what_the_network_says_of_the_image_as_it_is(network, images):
    x = dict.fromkeys(("natural", "synthetic"), images)
    expected = network.predict(x, verbose=0)
    for domain in ("natural", "synthetic"):
        counts = predict_counts(network, images, domain=domain)
        assert counts.shape == (5,) and counts.dtype == np.float32
        np.testing.assert_allclose(counts, expected[f"{domain}_count"], rtol=1e-5)
    np.testing.assert_array_equal(
        predict_counts(network, images, seed=1), predict_counts(network, images, seed=2)
    )


def test_the_authors_sample_has_the_mean_and_variance_of_the_latent(images):
    """With a linear regressor on the latent the counts' distribution is known exactly."""
    network = TwinVAE(**SMALL).build(DOMAINS)
    x = images[:1]
    outputs = network.predict(dict.fromkeys(("natural", "synthetic"), x), verbose=0)
    regressor = network.get_layer("regressor")
    slope = ops.convert_to_numpy(regressor(np.eye(5, dtype=np.float32)))[:, 0]
    variance = np.exp(outputs["natural_log_variance"][0])
    copies = np.repeat(x, 1500, axis=0)
    counts = predict_counts(network, copies, protocol="authors", augment=unchanged)
    expected = np.sqrt((slope**2 * variance).sum())
    assert counts.std() == pytest.approx(expected, rel=0.05)
    error = abs(counts.mean() - outputs["natural_count"][0])
    assert error < 4 * expected / 1500**0.5


def test_the_authors_counts_images_as_the_augmentation_leaves_them(network, images):
    for domain in ("natural", "synthetic"):
        layer = network.get_layer("latent_log_variance")
        kept = layer.get_weights()
        # Next to no variance: what is sampled is the mean.
        layer.set_weights([np.zeros_like(kept[0]), np.full_like(kept[1], -40)])
        flipped = predict_counts(
            network, images, protocol="authors", domain=domain, augment=lambda x, seed: x[:, ::-1]
        )
        expected = predict_counts(network, images[:, ::-1], domain=domain)
        layer.set_weights(kept)
        np.testing.assert_allclose(flipped, expected, rtol=1e-4, atol=1e-5)


def test_the_authors_is_repeatable_by_seed_whatever_the_batch(network, images):
    def counts(**options):
        return predict_counts(network, images, protocol="authors", **options)

    first = counts(seed=1)
    np.testing.assert_allclose(counts(seed=1, batch_size=2), first, rtol=1e-4, atol=1e-5)
    assert np.abs(counts(seed=2) - first).max() > 1e-4
    # By default the images are augmented: without that, the same noise gives other counts.
    assert np.abs(counts(seed=1, augment=unchanged) - first).max() > 1e-5


def test_spatial_twin_counts_by_our_protocol_and_refuses_the_authors(images):
    network = TwinVAESpatial(channels=(4, 4), shared_channels=4, latent=2).build(DOMAINS)
    counts = predict_counts(network, images)
    expected = network.predict(dict.fromkeys(("natural", "synthetic"), images), verbose=0)
    np.testing.assert_allclose(counts, expected["natural_count"], rtol=1e-5)
    with pytest.raises(UsageError, match="twinvae_spatial.*--protocol cellzoo"):
        predict_counts(network, images, protocol="authors")


def test_a_protocol_that_does_not_exist_is_named(network, images):
    with pytest.raises(UsageError, match="'author': write cellzoo or authors"):
        predict_counts(network, images, protocol="author")


@pytest.mark.parametrize("protocol", ["cellzoo", "authors"])
def test_no_images_no_counts(network, protocol):
    none = np.zeros((0, 128, 128), np.float32)
    assert predict_counts(network, none, protocol=protocol).shape == (0,)
