"""The spatial Twin-VAE: a latent on a grid, a count that is a sum over it, readers of their own."""

import keras
import numpy as np
import pytest

from cellzoo.counters.network_parts import translations
from cellzoo.models import TwinVAESpatial
from cellzoo.models.section import DOMAINS
from cellzoo.models.twin_density.section import RECEPTIVE_RADIUS
from cellzoo.runs import Run
from cellzoo.synthetic.drawing import SyntheticCells
from cellzoo.zoo import find

SMALL = {"image_size": 32, "channels": (4, 4), "shared_channels": 4, "latent": 2}


def build(**keys):
    return TwinVAESpatial(**SMALL | keys).build(DOMAINS)


def images(n=2, side=32):
    return np.random.default_rng(0).random((n, side, side), np.float32)


def outputs(model, x=None):
    x = images() if x is None else x
    return {k: np.asarray(v) for k, v in model({"natural": x, "synthetic": x}).items()}


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 40), (8, 200)])
def test_outputs_of_each_domain_have_their_shapes(height, width):
    x = np.random.default_rng(0).random((2, height, width), np.float32)
    found = outputs(build(), x)
    shapes = {name: value.shape for name, value in found.items()}
    grid = (height // 8, width // 8)
    of_a_domain = {
        "count": (2,), "density": (2, *grid), "reconstruction": (2, height, width),
        "mean": (2, *grid, 2), "log_variance": (2, *grid, 2),
    }  # fmt: skip
    assert shapes == {
        f"{domain}_{name}": shape
        for domain in ("natural", "synthetic")
        for name, shape in of_a_domain.items()
    }


def test_the_count_is_the_sum_of_the_density_over_pixels_and_never_negative():
    found = outputs(build())
    assert (found["natural_density"] > 0).all()
    np.testing.assert_allclose(
        found["natural_count"], 64 * found["natural_density"].sum(axis=(1, 2)), rtol=1e-5
    )


@pytest.mark.parametrize("shared", [False, True])
def test_readers_are_twins_or_one(shared):
    model = build(shared_reader=shared)
    found = outputs(model)
    same = np.allclose(found["natural_count"], found["synthetic_count"])
    assert same is shared
    # The decoders are twins in any case.
    assert not np.allclose(found["natural_reconstruction"], found["synthetic_reconstruction"])


def test_a_shared_reader_still_scales_by_the_domains_own_spread():
    model = build(shared_reader=True)
    model.get_layer("synthetic_encoder").get_layer("center").adapt(4 * images(8))
    found = outputs(model)
    assert not np.allclose(found["natural_count"], found["synthetic_count"])


def test_a_moved_image_has_a_moved_density():
    model = build(image_size=128, center=False)
    x = np.zeros((1, 128, 128), np.float32)
    x[:, 56:64, 56:64] = images(1, 8)
    here = outputs(model, x)["natural_density"]
    there = outputs(model, np.roll(x, (8, -16), axis=(1, 2)))["natural_density"]
    np.testing.assert_allclose(np.roll(here, (1, -2), axis=(1, 2)), there, rtol=1e-4)


def test_a_grid_cell_sees_as_far_as_the_receptive_radius():
    model = build(image_size=128, center=False)
    x = np.random.default_rng(1).random((1, 128, 128), np.float32)
    before, reach = outputs(model, x)["natural_density"], 0
    for row, column in [(64, 64), (67, 71), (71, 68)]:  # it depends on the pixel's own square
        changed = x.copy()
        changed[0, row, column] += 9
        difference = outputs(model, changed)["natural_density"] - before
        for pixel, places in zip((row, column), np.nonzero(difference[0]), strict=True):
            distance = np.maximum(8 * places - pixel, pixel - 8 * places - 7).max()
            assert distance <= RECEPTIVE_RADIUS
            reach = max(reach, distance)
    assert reach > RECEPTIVE_RADIUS - 8


def test_copies_of_an_image_side_by_side_count_as_many_times():
    keras.utils.set_random_seed(0)  # of some first weights no cell is seen at all
    model = build()
    x = np.full((1, 128, 128), 0.5, np.float32)
    content = 20 * images(1, 40)
    x[:, 40:80, 48:88] += content - content.mean()  # around it is nothing but the mean
    empty = outputs(model, np.full_like(x, 0.5))
    found = outputs(model, x), outputs(model, np.tile(x, (1, 2, 2)))
    for domain in ("natural", "synthetic"):
        nothing = empty[f"{domain}_count"]
        one, four = (counts[f"{domain}_count"] for counts in found)
        assert abs(one - nothing) > 0.05
        np.testing.assert_allclose(four - 4 * nothing, 4 * (one - nothing), rtol=1e-4)


def test_a_trained_network_counts_copies_of_an_image_about_as_many_times():
    """Where the copies meet is what no image of training shows, so not exactly."""
    cells = Run(find("zoo:ldc")).recipe.data.synthetic
    generator = SyntheticCells(cells.changed({"margins": (12,) * 4}))
    drawn, counts = generator.render(5, 3, counts=np.array([2, 4, 6, 8, 10]))
    model = Run(find("zoo:ldc")).load_network()
    once = outputs(model, drawn)["synthetic_count"]
    np.testing.assert_allclose(once, counts, atol=1.5)
    four_times = outputs(model, np.tile(drawn, (1, 2, 2)))["synthetic_count"]
    np.testing.assert_allclose(four_times, 4 * once, rtol=0.1, atol=0.5)


def test_squares_of_pixels_come_back_in_their_places():
    model = build()
    pixels = model.get_layer("natural_decoder")
    kernel, bias = (np.zeros_like(w) for w in pixels.get_layer("pixels").get_weights())
    bias[:] = np.linspace(-0.2, 0.2, 64)
    pixels.get_layer("pixels").set_weights([kernel, bias])
    expected = images()[0].mean() + np.tile(bias.reshape(8, 8), (4, 4))
    found = outputs(model)["natural_reconstruction"][0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_pictures_of_reconstructions_and_translations_stay_in_their_range():
    model = build()
    for domain in ("natural", "synthetic"):
        pixels = model.get_layer(f"{domain}_decoder").get_layer("pixels")
        kernel, bias = pixels.get_weights()
        pixels.set_weights([kernel, np.linspace(-2, 2, len(bias))])
    pictures = translations(model, images())
    assert set(pictures) == {"natural", "natural_reconstruction", "natural_to_synthetic"}
    for name in set(pictures) - {"natural"}:
        assert pictures[name].min() == 0 and pictures[name].max() == 1
