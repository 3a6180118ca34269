"""Old spellings are read as the new ones, with one warning."""

import pytest

OLD = """\
name: old
data:
  natural: {source: simulated, modality: bf}
model:
  name: twinvae_spatial
  leakiness: 0.1
  reconstruct: false
train:
  averaging: 0.9
count:
  views: 4
tune:
  space:
    train.averaging: {low: 0.9, high: 0.99}
quick:
  train: {averaging: 0.8}
"""


def test_an_old_recipe_is_todays_with_one_warning_about_each_part(load, caplog):
    recipe = load(OLD)
    assert (recipe.model.name, recipe.model.negative_slope) == ("twin_density", 0.1)
    assert (recipe.train.ema, recipe.count.test_time_augmentation) == (0.9, 4)
    assert list(recipe.tune.space) == ["train.ema"]
    assert load(OLD, quick=True).train.ema == 0.8
    # The file and its overlay; however often it is read.
    assert [record.getMessage() for record in caplog.records] == [
        f"{load.file}: model.leakiness is now model.negative_slope; train.averaging is now "
        "train.ema; count.views is now count.test_time_augmentation; model.reconstruct: false is "
        "now model.name: twin_density; train.averaging is now train.ema. The old spelling is still "
        "read.",
        f"{load.file}: train.averaging is now train.ema. The old spelling is still read.",
    ]
    caplog.clear()
    assert load(recipe.to_yaml()) == recipe
    assert not caplog.records


@pytest.mark.parametrize(
    ("setting", "key", "value"),
    [
        ("train.averaging=0.7", "ema", 0.7),
        ("train={averaging: 0.7}", "ema", 0.7),
        ("count.views=8", "test_time_augmentation", 8),
        ("model.leakiness=0.3", "negative_slope", 0.3),
    ],
)
@pytest.mark.parametrize("old", [True, False])
def test_an_old_key_can_be_set(load, setting, key, value, old):
    recipe = load(OLD if old else load.simple, setting)
    assert getattr(getattr(recipe, setting.split(".")[0].split("=")[0]), key) == value


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("{name: twinvae_spatial}", "twinvae_spatial"),
        ("{name: twinvae_spatial, reconstruct: true}", "twinvae_spatial"),
        ("{name: twinvae_spatial, reconstruct: false}", "twin_density"),
        ("{name: twin_density, reconstruct: true}", "twinvae_spatial"),
    ],
)
def test_what_does_not_reconstruct_is_no_autoencoder(load, model, name):
    text = "name: a\ndata: {natural: {source: simulated, modality: bf}}\n"
    assert load(f"{text}model: {model}\n").model.name == name
    for value, other in ((True, "twinvae_spatial"), (False, "twin_density")):
        set_so = load(f"{text}model: {model}\n", f"model.reconstruct={str(value).lower()}")
        assert set_so.model.name == other


def test_a_key_in_both_spellings_and_a_wrong_value_are_refused_at_their_line(load):
    both = load.replaced("epochs: 7", "averaging: 0.9\n  ema: 0.9")
    assert load.refusal(both).startswith("recipe.yaml:16: there is no key train.averaging;")
    wrong = load.replaced("epochs: 7", "averaging: 2")
    assert load.refusal(wrong).startswith("recipe.yaml:16: train.ema is 2, but")
    wrong = OLD.replace("reconstruct: false", "reconstruct: maybe")
    assert load.refusal(wrong).startswith("recipe.yaml:7: there is no key model.reconstruct;")
