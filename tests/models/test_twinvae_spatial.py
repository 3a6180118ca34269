"""The spatial Twin-VAE: a latent on a grid, a count that is a sum over it, readers of their own."""

import numpy as np
import pytest

from cellzoo.models.counting import translations
from cellzoo.models.twinvae_spatial import twinvae_spatial

SMALL = {"image_size": 32, "channels": (4, 4), "shared_channels": 4, "latent": 2}


def images(n=2, side=32):
    return np.random.default_rng(0).random((n, side, side), np.float32)


def outputs(model, x=None):
    x = images() if x is None else x
    return {k: np.asarray(v) for k, v in model({"natural": x, "synthetic": x}).items()}


def test_outputs_of_each_domain_have_their_shapes():
    shapes = {name: value.shape for name, value in outputs(twinvae_spatial(**SMALL)).items()}
    of_a_domain = {
        "count": (2,), "density": (2, 4, 4), "reconstruction": (2, 32, 32),
        "mean": (2, 4, 4, 2), "log_variance": (2, 4, 4, 2),
    }  # fmt: skip
    assert shapes == {
        f"{domain}_{name}": shape
        for domain in ("natural", "synthetic")
        for name, shape in of_a_domain.items()
    }


def test_the_count_is_the_sum_of_the_density_over_pixels_and_never_negative():
    found = outputs(twinvae_spatial(**SMALL))
    assert (found["natural_density"] > 0).all()
    np.testing.assert_allclose(
        found["natural_count"], 64 * found["natural_density"].sum(axis=(1, 2)), rtol=1e-5
    )


@pytest.mark.parametrize("shared", [False, True])
def test_readers_are_twins_or_one(shared):
    model = twinvae_spatial(**SMALL, shared_reader=shared)
    found = outputs(model)
    same = np.allclose(found["natural_count"], found["synthetic_count"])
    assert same is shared
    # The decoders are twins in any case.
    assert not np.allclose(found["natural_reconstruction"], found["synthetic_reconstruction"])


def test_a_shared_reader_still_scales_by_the_domains_own_spread():
    model = twinvae_spatial(**SMALL, shared_reader=True)
    model.get_layer("synthetic_encoder").get_layer("center").adapt(4 * images(8))
    found = outputs(model)
    assert not np.allclose(found["natural_count"], found["synthetic_count"])


def test_a_moved_image_has_a_moved_density():
    model = twinvae_spatial(**SMALL | {"image_size": 128}, center=False)
    x = np.zeros((1, 128, 128), np.float32)
    x[:, 56:64, 56:64] = images(1, 8)
    here = outputs(model, x)["natural_density"]
    there = outputs(model, np.roll(x, (8, -16), axis=(1, 2)))["natural_density"]
    np.testing.assert_allclose(np.roll(here, (1, -2), axis=(1, 2)), there, rtol=1e-4)


def test_squares_of_pixels_come_back_in_their_places():
    model = twinvae_spatial(**SMALL)
    pixels = model.get_layer("natural_decoder")
    kernel, bias = (np.zeros_like(w) for w in pixels.get_layer("pixels").get_weights())
    bias[:] = np.linspace(-0.2, 0.2, 64)
    pixels.get_layer("pixels").set_weights([kernel, bias])
    expected = images()[0].mean() + np.tile(bias.reshape(8, 8), (4, 4))
    found = outputs(model)["natural_reconstruction"][0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_pictures_of_reconstructions_and_translations_stay_in_their_range():
    model = twinvae_spatial(**SMALL)
    for domain in ("natural", "synthetic"):
        pixels = model.get_layer(f"{domain}_decoder").get_layer("pixels")
        kernel, bias = pixels.get_weights()
        pixels.set_weights([kernel, np.linspace(-2, 2, len(bias))])
    pictures = translations(model, images())
    assert set(pictures) == {"natural", "natural_reconstruction", "natural_to_synthetic"}
    for name in set(pictures) - {"natural"}:
        assert pictures[name].min() == 0 and pictures[name].max() == 1
