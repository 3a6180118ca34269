"""What a recipe holds, and how it differs from another."""

import pytest
import yaml

from cellzoo import recipe as schema


def test_values_of_the_file_and_defaults_of_the_schema(load):
    recipe = load()
    assert (recipe.name, recipe.seed) == ("simple", 1)
    assert (recipe.data.natural.train, recipe.data.natural.labelled) == (60, 59)
    assert recipe.data.synthetic.radius == (3, 5)
    assert (recipe.model.latent, recipe.model.dropout) == (8, 0.1)
    assert recipe.augment == schema.Augment()


def test_numbers_as_people_write_them(load):
    text = load.replaced("epochs: 7", "learning_rate: 1e-4\n  clip_norm: null\n  ema: 0.9")
    recipe = load(text)
    assert (recipe.train.learning_rate, recipe.train.clip_norm) == (1e-4, None)
    assert recipe.train.ema == 0.9


def test_an_image_size_is_one_number_or_height_and_width(load):
    text = "name: b\ndata: {natural: {source: folder, folder: x}}\nmodel: {name: brightness}\n"
    assert load(text).image_size == 128
    pair = load(text, "model.image_size=[520, 696]")
    assert pair.image_size == (520, 696)
    assert load(pair.to_yaml()) == pair
    assert "model.image_size.0 is 0, but" in load.refusal(text, "model.image_size=[0, 5]")


def test_a_recipe_is_frozen(load):
    with pytest.raises(ValueError):
        load().train.epochs = 3


def test_differences_name_key_old_and_new_value(load):
    changes = load().differences(
        load(load.simple, "loss.kl_weight=2", "train.patience=3", "data.synthetic.radius=null")
    )
    assert changes == [
        "data.synthetic.radius: (3.0, 5.0) -> unset",
        "loss.kl_weight: 1.0 -> 2.0",
        "train.patience: unset -> 3",
    ]


def test_differences_of_another_model(load):
    changes = load().differences(load(load.simple, "model.name=twinvae_spatial"))
    assert "model.name: twinvae -> twinvae_spatial" in changes
    assert "model.regressor: [256, 128] -> unset" in changes
    assert "model.image_size: unset -> 128" in changes


def test_a_recipe_does_not_differ_from_itself(load):
    assert load().differences(load()) == []


CLASSICAL = """\
name: simple
data:
  natural: {source: simulated, modality: bf}
model: {name: brightness}
"""


def test_a_classical_recipe_has_no_sections_about_learning(load):
    recipe = load(CLASSICAL)
    assert recipe.classical and not load().classical
    assert list(yaml.safe_load(recipe.to_yaml())) == ["name", "seed", "data", "model"]
    assert load(recipe.to_yaml()) == recipe


@pytest.mark.parametrize("section", ["augment", "loss", "train", "count"])
def test_what_means_nothing_to_a_classical_counter_is_refused(load, section):
    sentence = (
        f"the section {section} means nothing to brightness, which is no network: leave it out."
    )
    assert load.refusal(CLASSICAL + f"{section}: {{}}\n") == f"recipe.yaml:5: {sentence}"
    keys = ("augment.crop", "loss.kl_weight", "train.epochs", "count.test_time_augmentation")
    (key,) = (key for key in keys if key.startswith(f"{section}."))
    assert load.refusal(CLASSICAL, f"{key}=1") == f"--set: {sentence}"


def test_the_card_is_kept_where_there_is_one(load):
    assert "card" not in yaml.safe_load(load(load.simple).to_yaml())
    recipe = load(load.simple, "card.licence=CC BY 4.0", "card.pixel_size_um=0.65")
    assert load(recipe.to_yaml()).card == recipe.card
    assert recipe.card.licence == "CC BY 4.0" and recipe.card.modality is None
    assert load.refusal(load.simple, "card.license=MIT").endswith("did you mean licence?")


def test_optimizers_and_losses_of_the_schema_exist():
    from cellzoo.training.losses import RECONSTRUCTION_LOSSES
    from cellzoo.training.optimizers import make_optimizer

    for name in schema.Train.model_fields["optimizer"].annotation.__args__:
        assert make_optimizer(name, 1e-3, 0.0) is not None
    choices = schema.Loss.model_fields["reconstruction"].annotation.__args__
    assert set(choices) == set(RECONSTRUCTION_LOSSES)


@pytest.mark.parametrize("name", ["..", ".", ".hidden", "a/b", "a\\\\b", "", "a b", "a\\n"])
def test_a_name_that_is_no_folders_is_refused(load, name):
    text = load.replaced("name: simple", f'name: "{name}"')
    assert "a name has letters, digits, _, - and dots, and does not begin" in load.refusal(text)


@pytest.mark.parametrize("name", ["a", "_a-b.c", "2026"])
def test_a_name_that_is_a_folders(load, name):
    assert load(load.replaced("name: simple", f'name: "{name}"')).name == name
