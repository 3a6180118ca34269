"""EfficientNet: starts at the mean count, learns what it is told to; its weights' sources."""

from pathlib import Path

import keras
import numpy as np
import pytest

from cellzoo.errors import UserError
from cellzoo.models import EfficientNet

WEIGHTS = Path(__file__).parents[3] / "shared" / "weights" / "efficientnetb0_notop.weights.h5"
IMAGES = np.random.default_rng(0).random((2, 32, 32), np.float32)


def backbone_of(network):
    return network.get_layer("backbone").network


@pytest.fixture(scope="module")
def network():
    return EfficientNet(image_size=32, weights=None).build(("natural", "synthetic"))


def test_both_domains_go_through_the_same_weights_and_start_at_the_mean_count(network):
    network.get_layer("count_scaling").adapt_to_counts(np.array([2.0, 4.0, 12.0]))
    counts = network({"natural": IMAGES, "synthetic": IMAGES}, training=False)
    for domain in ("natural", "synthetic"):
        np.testing.assert_allclose(counts[f"{domain}_count"], [6, 6])
    head = network.get_layer("head")
    head.bias.assign([-1.0])
    counts = network({"natural": IMAGES, "synthetic": IMAGES}, training=False)
    head.bias.assign([0.0])
    for domain in ("natural", "synthetic"):
        np.testing.assert_allclose(counts[f"{domain}_count"], 6 - np.std([2, 4, 12]), rtol=1e-5)


def test_faint_images_are_given_the_contrast_of_photographs(network):
    encoder = network.get_layer("natural_encoder")
    faint = 0.7 + 0.01 * (IMAGES - 0.5)
    encoder.get_layer("center").adapt(faint)
    stretched = encoder(faint).numpy()
    assert stretched.shape == (2, 32, 32, 1)
    assert stretched.mean() == pytest.approx(114.5, abs=0.5)
    assert stretched.std() == pytest.approx(57.6, rel=0.02)


def test_a_frozen_backbone_leaves_the_dense_output_alone_to_learn():
    network = EfficientNet(image_size=32, weights=None, frozen=True).build()
    assert [v.path.split("/")[-2] for v in network.trainable_variables] == ["head", "head"]
    statistics = [v.numpy() for v in backbone_of(network).non_trainable_variables]
    network({"natural": IMAGES}, training=True)
    for before, after in zip(statistics, backbone_of(network).non_trainable_variables, strict=True):
        np.testing.assert_array_equal(before, after.numpy())


@pytest.mark.parametrize(
    "variant, weights",
    [
        pytest.param("b1", 6_575_239, marks=pytest.mark.slow),
        pytest.param("b2", 7_768_569, marks=pytest.mark.slow),
        pytest.param("b3", 10_783_535, marks=pytest.mark.slow),
    ],
)
def test_a_variant_has_as_many_weights_as_keras_documents(variant, weights):
    network = EfficientNet(variant=variant, image_size=32, weights=None).build()
    assert backbone_of(network).count_params() == weights
    assert network.output["natural_count"].shape == (None,)


@pytest.mark.slow
def test_imagenet_weights_do_what_kerass_own_network_does_with_them(tmp_path, monkeypatch):
    """Keras has a rescaling more with these weights than without; the download is a file here."""
    keras.utils.set_random_seed(0)
    plain = keras.applications.EfficientNetB0(weights=None, include_top=False)
    (normalization,) = (s for s in plain.layers if isinstance(s, keras.layers.Normalization))
    statistics = [[0.4, 0.5, 0.6], [0.04, 0.05, 0.06], 0]
    normalization.set_weights([np.array(value, np.float32) for value in statistics])
    plain.save_weights(tmp_path / "b0.weights.h5")
    monkeypatch.setattr(
        keras.src.applications.efficientnet.file_utils,
        "get_file",
        lambda *arguments, **more: str(tmp_path / "b0.weights.h5"),
    )
    photographs = 255 * np.random.default_rng(2).random((2, 32, 32, 3), np.float32)
    expected = keras.applications.EfficientNetB0(weights="imagenet", include_top=False).predict(
        photographs, verbose=0
    )
    ours = backbone_of(EfficientNet(image_size=32, weights="imagenet").build())
    np.testing.assert_allclose(ours.predict(photographs, verbose=0), expected, rtol=1e-3, atol=1e-6)
    without_it = plain.predict(photographs, verbose=0)
    assert np.abs(without_it - expected).max() > 0.01 * np.abs(expected).max()


def test_weights_that_cannot_be_had_are_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"no such file: set it to a file that .*EfficientNetB0"):
        EfficientNet(image_size=32, weights=str(tmp_path / "none.weights.h5")).build()
    (tmp_path / "a.weights.h5").write_bytes(b"no weights")
    with pytest.raises(UserError, match="a.weights.h5 holds no weights of EfficientNet-B0"):
        EfficientNet(image_size=32, weights=str(tmp_path / "a.weights.h5")).build()

    def offline(*arguments, **more):
        raise Exception("URL fetch failure on https://example.org/b0.h5")

    monkeypatch.setattr(keras.src.applications.efficientnet.file_utils, "get_file", offline)
    with pytest.raises(UserError, match="cannot be downloaded .URL fetch failure.*where there is"):
        EfficientNet(image_size=32, weights="imagenet").build()


@pytest.fixture
def local_weights():
    if not WEIGHTS.is_file():
        pytest.skip(f"no {WEIGHTS.name} in ../shared/weights beside the checkout")
    return str(WEIGHTS)


def test_a_local_file_is_what_keras_loads_and_a_run_does_without_it(
    local_weights, tmp_path, tiny_recipe
):
    from cellzoo.recipe import load_recipe
    from cellzoo.runs import Run, build_network

    (tmp_path / "a.yaml").write_text(tiny_recipe)
    model = f"model={{name: efficientnet, image_size: 32, weights: {local_weights}}}"
    recipe = load_recipe(tmp_path / "a.yaml", [model])
    network = build_network(recipe)
    plain = keras.applications.EfficientNetB0(weights=None, include_top=False)
    plain.load_weights(local_weights)
    photographs = 255 * np.repeat(IMAGES[..., None], 3, axis=-1)
    np.testing.assert_allclose(
        backbone_of(network)(photographs),
        plain(photographs),
        atol=1e-4,
    )
    # The statistics of photographs stay, the rest learns.
    assert any("kernel" in v.path for v in backbone_of(network).trainable_variables)
    statistics = [v.numpy() for v in backbone_of(network).non_trainable_variables]
    network({"natural": IMAGES}, training=True)
    for before, after in zip(statistics, backbone_of(network).non_trainable_variables, strict=True):
        np.testing.assert_array_equal(before, after.numpy())

    run = Run.create(tmp_path / "run", recipe)
    network.get_layer("head").kernel.assign(np.ones((1280, 1)))
    run.save_best(network)
    recipe_file = run.recipe_file
    recipe_file.write_text(recipe_file.read_text().replace(local_weights, "gone.weights.h5"))
    np.testing.assert_allclose(
        Run(run.path).load_network()({"natural": IMAGES})["natural_count"],
        network({"natural": IMAGES})["natural_count"],
        rtol=1e-5,
    )


def test_a_training_begins_with_the_counts_of_the_run_it_starts_from(tmp_path, tiny_recipe):
    """Its batch norm keeps the statistics as the recipe's weights say, though none are read."""
    from cellzoo.recipe import load_recipe
    from cellzoo.runs import Run, build_network
    from cellzoo.training.start import new_network

    recipe_file = tmp_path / "run" / "recipe.yaml"
    (recipe_file.parent / "checkpoints").mkdir(parents=True)
    recipe_file.write_text(tiny_recipe)
    model = "model={name: efficientnet, image_size: 32, weights: null}"
    recipe = load_recipe(recipe_file, [model])
    recipe_file.write_text(recipe.to_yaml())
    trained = build_network(recipe)
    random = np.random.default_rng(1)
    trained.get_layer("head").set_weights([random.random((1280, 1)), np.ones(1)])
    (photographs,) = (
        layer
        for layer in backbone_of(trained).layers
        if isinstance(layer, keras.layers.Normalization)
    )
    photographs.set_weights([np.full(3, 0.5), np.full(3, 0.05), np.zeros(())])
    photographs.finalize_state()
    run = Run(recipe_file.parent)
    run.save_best(trained)

    start = ["model.weights=imagenet", f"train.start_from={run.path}"]
    begun = new_network(load_recipe(recipe_file, start))

    counts = trained({"natural": IMAGES})["natural_count"]
    np.testing.assert_allclose(begun({"natural": IMAGES})["natural_count"], counts, rtol=1e-5)
    statistics = [v.numpy() for v in backbone_of(begun).non_trainable_variables]
    begun({"natural": IMAGES}, training=True)
    for before, after in zip(statistics, backbone_of(begun).non_trainable_variables, strict=True):
        np.testing.assert_array_equal(before, after.numpy())
