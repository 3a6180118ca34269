"""The DCC's two heads: what reaches the count, and what a pixel sees."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from cellzoo.errors import UserError
from cellzoo.models import DCC
from cellzoo.models.tiling import pad_to, tiles


def network(head="additive", **settings):
    """A small network whose layers all matter, as none is at its first value."""
    keras.utils.set_random_seed(3)
    settings = {"image_size": (32, 48), "channels": (3, 4, 5), "density_channels": 4} | settings
    section = DCC(head=head, regressor_channels=(2, 3), regressor_units=5, pooling=8, **settings)
    built = section.build()
    for variable in built.trainable_variables:
        variable.assign_add(keras.random.normal(variable.shape, 0, 0.2))
    return built


def answer(built, images):
    return {name: np.asarray(value) for name, value in built({"natural": images}).items()}


def noise(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def test_the_papers_network():
    built = DCC().build()
    assert built.input["natural"].shape == (None, 784, 784)
    widths = [layer.filters for layer in built.layers if layer.name.endswith("conv1")]
    assert widths[:6] == [64, 128, 256, 256, 128, 64]
    assert built.get_layer("count_dense").kernel.shape == (28 * 28 * 64, 512)
    assert 27.5e6 < built.count_params() < 28.0e6


@pytest.mark.parametrize("head", ["regressor", "additive"])
def test_outputs(head):
    outputs = answer(network(head), noise(2, 32, 48))
    assert outputs["natural_count"].shape == (2,)
    assert outputs["natural_mask"].shape == (2, 32, 48)
    assert 0 < outputs["natural_mask"].min() < outputs["natural_mask"].max() < 1
    assert ("natural_density" in outputs) == (head == "additive")


def test_about_thirty_cells_before_anything_is_learned():
    for size in (32, 128):
        section = DCC(image_size=size, channels=(4, 8), head="additive")
        count = answer(section.build(), noise(2, size, size))
        assert 10 < count["natural_count"].mean() < 100


@pytest.mark.parametrize(("channels", "convolutions"), [((3, 4, 5), 1), ((3, 4), 2), ((4,), 1)])
def test_a_pixel_reaches_as_far_as_the_receptive_radius(channels, convolutions):
    built = network(channels=channels, convolutions=convolutions, image_size=64)
    radius = DCC(channels=channels, convolutions=convolutions).receptive_radius()
    image = noise(1, 64, 64)
    reach = 0
    for column in (32, 33, 35, 39):  # how far it reaches depends on its place in a square
        changed = image.copy()
        changed[0, 32, column] += 3
        for name in ("natural_density", "natural_mask"):
            difference = np.abs(answer(built, changed)[name] - answer(built, image)[name])[0]
            rows, columns = np.nonzero(difference > 0)
            assert abs(rows - 32).max() <= radius and abs(columns - column).max() <= radius
            reach = max(reach, abs(columns - column).max())
    assert reach > radius / 2


def test_counts_of_images_side_by_side_add_up():
    built = network()
    image = np.zeros((1, 32, 96), np.float32)
    # Far enough from both sides, where the convolutions see the image end.
    image[0, 4:28, 46:50] = noise(24, 4)
    empty = answer(built, np.zeros_like(image))["natural_count"]
    once = answer(built, image)["natural_count"] - empty
    twice = np.concatenate([image, image], axis=2)
    np.testing.assert_allclose(
        answer(built, twice)["natural_count"]
        - answer(built, np.zeros_like(twice))["natural_count"], 2 * once, rtol=1e-4,
    )  # fmt: skip


def test_the_tiled_density_is_the_untiled_one():
    built = network()
    image = pad_to(noise(165, 118, seed=4), 8)
    whole = answer(built, image[None])
    tiled = {name: np.full(image.shape, np.nan) for name in ("natural_density", "natural_mask")}
    for tile in tiles(image.shape, replace(DCC(channels=(3, 4, 5)).tiling(), tile=40)):
        part = answer(built, image[tile.read][None])
        for name, values in tiled.items():
            values[tile.target] = part[name][0][tile.inner]
    for name, values in tiled.items():
        np.testing.assert_allclose(values, whole[name][0], atol=1e-5)
    assert tiled["natural_density"].sum() == pytest.approx(whole["natural_count"][0], rel=1e-5)


def test_the_regressors_error_leaves_the_unet_alone():
    import tensorflow as tf

    built = network("regressor", threshold="none")
    with tf.GradientTape() as tape:
        count = built({"natural": noise(1, 32, 48)})["natural_count"]
    by_name = dict(
        zip(
            [v.path for v in built.trainable_variables],
            tape.gradient(count, [v.value for v in built.trainable_variables]),
            strict=True,
        )
    )
    assert {name for name, gradient in by_name.items() if gradient is not None} == {
        f"{layer}/{part}"
        for layer in ("count_conv1", "count_conv2", "count_dense", "count")
        for part in ("kernel", "bias")
    }


def test_the_regressor_counts_the_thresholded_mask():
    images = noise(2, 32, 48)
    plain, simple = network("regressor", threshold="none"), network("regressor")
    simple.set_weights(plain.get_weights())
    names = ("natural_mask", "natural_count")
    (mask, count), (same_mask, other) = (
        [answer(built, images)[name] for name in names] for built in (plain, simple)
    )
    np.testing.assert_array_equal(mask, same_mask)
    assert (count != other).all()


@pytest.mark.parametrize(
    ("settings", "domains", "sentence"),
    [
        ({"image_size": 100}, ("natural",), "image_size is 100, .* choose multiples of 8"),
        ({"threshold_block": 8}, ("natural",), "threshold_block is 8: .* choose an odd number"),
        ({}, ("natural", "synthetic"), "no synthetic half"),
    ],
)
def test_settings_that_do_not_fit(settings, domains, sentence):
    with pytest.raises(UserError, match=sentence):
        DCC(**{"image_size": 32, "channels": (2, 2, 2)} | settings).build(domains)


def test_only_the_regressor_needs_masks_and_counts_them():
    assert DCC().needs_masks and not DCC(head="additive").needs_masks


def test_what_is_shown_is_thresholded_as_the_section_says():
    images = noise(1, 32, 48)
    assert DCC(threshold="none").threshold_layer().method == "simple"
    shown = DCC(threshold="adaptive_gaussian", threshold_block=9).threshold_layer()
    assert (shown.method, shown.block) == ("adaptive_gaussian", 9)
    other = DCC().with_threshold("otsu")
    assert other.threshold == "otsu" and "otsu" in other.thresholds
    assert set(np.unique(other.threshold_layer()(images))) == {0, 1}
