"""Weights of another run, in a network that has more inputs than it."""

import numpy as np

from cellzoo.recipe import load_recipe
from cellzoo.runs import Run, build_network
from cellzoo.training.start import new_network

RECIPE = """\
name: tiny
data:
  natural: {source: simulated, modality: bf}
model: {name: twin_density, channels: [2, 3], shared_channels: 2, latent: 2, shared_reader: true}
"""


def test_synthetic_cells_may_join_in_where_both_domains_have_one_encoder(tmp_path):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    recipe = load_recipe(tmp_path / "recipe.yaml")
    run = Run.create(tmp_path / "run", recipe)
    theirs = build_network(recipe)
    run.save_best(theirs)
    settings = [f"train.start_from={run.path}", "data.synthetic={preset: bf}"]
    network = new_network(load_recipe(tmp_path / "recipe.yaml", settings))
    assert set(network.input) == {"natural", "synthetic"}
    for name in ("natural_encoder", "synthetic_encoder"):
        for mine, other in zip(
            network.get_layer(name).get_weights(),
            theirs.get_layer("natural_encoder").get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(mine, other)
