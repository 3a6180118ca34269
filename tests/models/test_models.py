"""The table of models, and what is asked of a section before anything is built."""

import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError

from cellzoo import models
from cellzoo.models import MODELS

CAPABILITIES = (
    "twin", "takes_synthetic", "needs_masks", "learns_from_unlabelled", "reconstructs", "embeds",
    "segments", "decodes_beyond_unit_range",
)  # fmt: skip
ABLE = {
    "twinvae": {"twin", "takes_synthetic", "learns_from_unlabelled", "reconstructs", "embeds"},
    "twinvae_spatial": {
        "twin", "takes_synthetic", "learns_from_unlabelled", "reconstructs", "embeds",
        "decodes_beyond_unit_range",
    },
    "twin_density": {"twin", "takes_synthetic", "embeds"},
    "dcc": {"needs_masks", "learns_from_unlabelled", "segments"},
    "efficientnet": {"takes_synthetic"},
    "brightness": set(),
    "watershed": {"segments"},
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_a_section_says_what_its_model_can_do(name):
    section = MODELS[name]()
    assert section.name == name
    assert {able for able in CAPABILITIES if getattr(section, able)} == ABLE[name]
    assert section.classical == (name in ("brightness", "watershed"))
    assert section.size == ((784, 784) if name == "dcc" else (128, 128))
    assert (section.tiling() is not None) == (name in ("twinvae_spatial", "twin_density", "dcc"))
    assert bool(section.thresholds) == (name == "dcc")
    assert section.summary().endswith((".", ":")) and section.describe().endswith(".")
    assert type(section).__name__ in models.__all__


def test_a_section_takes_height_and_width():
    assert models.DCC(image_size=(64, 96)).size == (64, 96)


def test_a_wrong_key_is_an_error_and_a_section_is_frozen():
    with pytest.raises(ValidationError):
        models.TwinDensity(chanels=(4, 8))
    with pytest.raises(ValidationError):
        models.TwinDensity().latent = 3


@pytest.mark.parametrize(
    "section",
    [
        models.TwinVAE(channels=(4, 8, 8, 8), shared_channels=8, latent=4, center=True),
        models.TwinVAESpatial(image_size=32, channels=(4, 8), shared_channels=8, latent=4),
        models.TwinDensity(
            image_size=32, channels=(8, 8), shared_channels=8, latent=1, symmetric=True
        ),
        models.DCC(image_size=32, channels=(2, 4), pooling=8, regressor_units=2, threshold="otsu"),
    ],
    ids=lambda section: section.name,
)
def test_a_network_that_keras_saved_it_loads_again(tmp_path, section):
    import keras

    network = section.build()
    network.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras")
    images = {"natural": np.random.default_rng(0).random((2, *section.size), np.float32)}
    outputs, same = network(images), again(images)
    assert set(same) == set(outputs)
    for name, values in outputs.items():
        np.testing.assert_array_equal(same[name], values)


def test_no_section_and_no_recipe_starts_keras():
    code = (
        "import sys; from cellzoo.recipe import load_recipe; from cellzoo.recipe.check import "
        "check_recipe; check_recipe(load_recipe('twindensity_bf')); "
        "print(sorted({'keras', 'tensorflow', 'torch', 'jax'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
