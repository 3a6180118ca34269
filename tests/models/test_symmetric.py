"""Convolutions in eight orientations."""

import keras
import numpy as np
import pytest

from cellzoo.errors import UsageError
from cellzoo.models import TwinDensity, TwinVAESpatial
from cellzoo.models.layers import SpaceToDepth
from cellzoo.models.section import DOMAINS
from cellzoo.models.symmetric import OrientationMean, SymmetricConv2D
from cellzoo.recipe import load_recipe
from cellzoo.recipe.check import check_recipe

SMALL = {"channels": (8, 16), "shared_channels": 16, "latent": 2, "symmetric": True}
RNG = np.random.default_rng(0)


def in_all_orientations(image):
    """A square image ``[h, w, ...]`` in its eight orientations."""
    return [np.rot90(each, turns) for each in (image, image[:, ::-1]) for turns in range(4)]


def network_of(*stages, shape):
    network = keras.Sequential([keras.Input(shape), *stages])
    for weight in network.weights:
        weight.assign(RNG.normal(size=weight.shape))
    return network


STAGES = {
    "squares": lambda: [
        SpaceToDepth(4), SymmetricConv2D(16, 3, reads="squares"), OrientationMean(),
    ],
    "steps of two, then more": lambda: [
        SpaceToDepth(2),
        SymmetricConv2D(8, 3, reads="squares"),
        keras.layers.LeakyReLU(),
        SymmetricConv2D(16, 4, 2),
        keras.layers.LeakyReLU(),
        SymmetricConv2D(24, 3),
        SymmetricConv2D(8, 1),
        OrientationMean(),
    ],
}  # fmt: skip


@pytest.mark.parametrize("stages", STAGES.values(), ids=STAGES)
def test_the_map_of_a_turned_image_is_the_turned_map(stages):
    network = network_of(*stages(), shape=(32, 32, 1))
    image = RNG.random((32, 32, 1), np.float32)
    maps = network.predict(np.stack(in_all_orientations(image)), verbose=0)
    assert np.ptp(maps[0]) > 0.1
    np.testing.assert_allclose(
        maps, np.stack(in_all_orientations(maps[0])), atol=1e-5 * np.abs(maps).max()
    )


def test_results_of_one_orientation_are_those_of_a_turned_filter():
    network = network_of(SpaceToDepth(1), SymmetricConv2D(8, 3, reads="squares"), shape=(5, 5, 1))
    kernel = network.layers[1].kernel.numpy().reshape(3, 3)
    image = np.zeros((5, 5, 1), np.float32)
    image[2, 2] = 1
    results = network.predict(image[None], verbose=0)[0] - network.layers[1].bias.numpy()
    # A point shows a filter upside down, as these are correlations.
    seen = {results[1:4, 1:4, way][::-1, ::-1].round(4).tobytes() for way in range(8)}
    assert seen == {turned.round(4).tobytes() for turned in in_all_orientations(kernel)}


def test_its_config_builds_it_again():
    layer = SymmetricConv2D(16, 4, 2, name="half")
    again = SymmetricConv2D.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


def test_a_symmetric_density_network_counts_turned_images_alike():
    keras.utils.set_random_seed(0)
    network = TwinDensity(**SMALL).build(DOMAINS)
    images = RNG.random((8, 64, 64), np.float32)
    images[1:] = in_all_orientations(images[0])[1:]
    found = network.predict({domain: images for domain in DOMAINS}, verbose=0)
    assert found["natural_mean"].shape == (8, 8, 8, 2)
    assert found["natural_density"].shape == (8, 8, 8)
    for domain in DOMAINS:
        counts = found[f"{domain}_count"]
        assert np.ptp(counts) < 1e-5 * counts[0]
    plain = TwinDensity(**SMALL | {"symmetric": False}).build(DOMAINS)
    counts = plain.predict({domain: images for domain in DOMAINS}, verbose=0)["natural_count"]
    assert np.ptp(counts) > 1e-3 * counts[0]


def test_an_image_of_any_sides_is_counted_alike_when_turned():
    keras.utils.set_random_seed(0)
    network = TwinDensity(**SMALL).build()
    image = RNG.random((1, 40, 72), np.float32)
    counts = [
        float(network({"natural": each})["natural_count"][0])
        for each in (image, np.rot90(image, 1, (1, 2)).copy(), image[:, ::-1].copy())
    ]
    assert np.ptp(counts) < 1e-5 * counts[0]


def test_channels_that_are_no_multiples_of_eight_are_refused():
    with pytest.raises(UsageError, match="multiples of 8"):
        TwinDensity(symmetric=True, channels=(48, 60)).build()
    TwinDensity(channels=(48, 60)).check()


def test_decoders_keep_a_network_from_being_symmetric():
    with pytest.raises(ValueError, match="symmetric"):
        TwinVAESpatial(symmetric=True)


def test_several_looks_at_a_symmetric_network_are_refused():
    settings = ["model.symmetric=true", "count.test_time_augmentation=8"]
    with pytest.raises(UsageError, match="test_time_augmentation to 1"):
        check_recipe(load_recipe("twindensity_cho", settings))
