"""Recipes from files: overlays, --set, and files that are no recipe."""

# ruff: noqa: E501 - a table with a case on each line reads best

from pathlib import Path

import pytest

from cellzoo.data.sources import Folder
from cellzoo.errors import UsageError
from cellzoo.recipe import load_recipe


@pytest.mark.parametrize("quick", [False, True])
def test_the_effective_recipe_loads_as_itself(load, quick):
    recipe = load(load.simple, "train.learning_rate=1e-5", "train.budget=10m", quick=quick)
    assert load(recipe.to_yaml()) == recipe


def test_quick_changes_what_it_names_and_no_more(load):
    full, quick = load(), load(quick=True)
    assert full.differences(quick) == ["train.epochs: 7 -> 2"]


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("{name: twin_density}", "(model.name: twinvae -> twin_density)"),
        ("{latent: 9}", "(model.latent: 8 -> 9)"),
        (
            "{name: twinvae, channels: [2, 2, 2, 2]}",
            "(model.channels: (32, 64, 128, 256) -> (2, 2, 2, 2))",
        ),
    ],
)
def test_an_overlay_never_changes_the_model(load, model, sentence):
    text = load.simple + f"  model: {model}\n"
    for quick in (False, True):
        answer = load.refusal(text, quick=quick)
        assert answer.startswith(f"recipe.yaml:21: quick changes the model {sentence}")
        assert answer.endswith("give that model a recipe of its own, or use --set.")
    assert load(load.simple + "  model: {latent: 8}\n", quick=True).model.latent == 8
    assert load(load.simple, "model.latent=9", quick=True).model.latent == 9


def test_quick_data_of_another_source_replaces_the_whole_section(load):
    text = load.simple + "  data:\n    natural:\n      source: folder\n      folder: cells\n"
    data = load(text, quick=True).data
    assert data.natural == Folder(folder="cells")
    assert data.synthetic.radius == (3, 5)


def test_quick_can_unset_a_section(load):
    assert load(load.simple + "  data: {synthetic: null}\n", quick=True).data.synthetic is None


PAPER = """\
paper:
  model: {dropout: 0.2, initializer: he_normal, center: true}
  train: {epochs: 50000, batch: 64}
"""


def test_paper_is_an_overlay_of_its_own(load):
    text = load.simple + PAPER
    full, paper = load(text), load(text, paper=True)
    assert (full.train.epochs, load(text, quick=True).train.epochs) == (7, 2)
    assert full.differences(paper) == [
        "model.dropout: 0.1 -> 0.2",
        "model.initializer: orthogonal -> he_normal",
        "model.center: False -> True",
        "train.batch: 4 -> 64",
        "train.epochs: 7 -> 50000",
    ]
    assert load(text, "train.batch=8", paper=True).train.batch == 8


def test_paper_never_changes_the_layers_and_is_checked_even_unasked(load):
    text = load.simple + PAPER.replace("center: true", "latent: 9")
    assert load.refusal(text).startswith(
        "recipe.yaml:22: paper changes the model (model.latent: 8 -> 9), which an overlay never"
    )
    typo = load.refusal(load.simple + PAPER.replace("batch", "bach"))
    assert typo == "recipe.yaml:23: there is no key train.bach; did you mean batch?"


def test_one_overlay_at_a_time_and_only_one_that_is_there(load):
    assert "recipe.yaml has no paper section: run it without --paper" in load.refusal(paper=True)
    both = load.refusal(load.simple + PAPER, quick=True, paper=True)
    assert both == "--quick and --paper are two trainings: leave one of them out."


def test_a_list_in_quick_replaces_the_list(load):
    text = load.simple + "  data: {synthetic: {radius: [1, 2]}}\n"
    assert load(text, quick=True).data.synthetic.radius == (1, 2)


def test_quick_of_a_recipe_without_an_overlay(load):
    text = load.simple.partition("quick:")[0]
    assert "has no quick section" in load.refusal(text, quick=True)
    assert load(text) == load()


def test_a_broken_overlay_is_found_without_being_asked_for(load):
    assert "recipe.yaml:20: there is no key train.epoch; did you mean epochs?" == load.refusal(
        load.replaced("    epochs: 2", "    epoch: 2")
    )


# --set


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("train.learning_rate=1e-4", 1e-4),
        ("train.learning_rate=1", 1.0),
        ("train.clip_norm=null", None),
        ("train.budget=90s", "90s"),
        ("model.channels=[1, 2, 3, 4]", (1, 2, 3, 4)),
        ("model.center=true", True),
        ("data.synthetic.count_weights=[1, 2.5]", [1, 2.5]),
        ("data.synthetic.count_weights=uniform", "uniform"),
        ("data.synthetic=null", None),
        ("seed=12", 12),
        ("name=a-b.c", "a-b.c"),
        ("data.synthetic.background=day #2.png", "day #2.png"),
        (" train.epochs = 3", 3),
    ],
)
def test_set_takes_values_of_every_type(load, setting, value):
    found = load(load.simple, setting)
    for key in setting.partition("=")[0].strip().split("."):
        found = getattr(found, key)
    assert found == value
    assert type(found) is type(value)


def test_set_wins_over_quick_and_the_last_one_wins(load):
    recipe = load(load.simple, "train.epochs=4", "train.epochs=5", quick=True)
    assert recipe.train.epochs == 5


def test_set_can_choose_another_kind_of_data(load):
    settings = ["data.natural.source=folder", "data.natural.folder=cells"]
    natural = load(load.simple, *settings).data.natural
    assert natural == Folder(folder="cells")


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("train.epochs", "--set train.epochs: write it as key=value, such as train.epochs=20."),
        ("=3", "--set =3: write it as key=value, such as train.epochs=20."),
        ("train..epochs=3", "--set train..epochs=3: write it as key=value"),
        ("train.epoch=3", "--set: there is no key train.epoch; did you mean epochs?"),
        ("trian.epochs=3", "--set: there is no key trian; did you mean train?"),
        ("train.epochs=x", "--set: train.epochs is x, but input should be a valid integer"),
        ("train.epochs=[", "--set: train.epochs is [, but input should be a valid integer"),
        ("train.epochs=2.5", "--set: train.epochs is 2.5, but"),
        ("train.learning_rate=.inf", "--set: train.learning_rate is inf, but"),
        ("train.budget=90", "--set: train.budget is 90, but '90' is not a duration such as 90s"),
        ("train.budget=2021-13-45", "--set: train.budget is 2021-13-45, but"),
        ("train={a: 1, a: 2}", "--set: train is {a: 1, a: 2}, but"),
        ("name=a/b", "--set: name is a/b, but"),
        ('name="a\\nb"', "--set: name is a b, but"),
        ("quick.train.epochs=3", "--set: there is no key quick; valid keys here: augment, card"),
        ("seed.x=1", "--set: seed is {'x': 1}, but input should be a valid integer"),
    ],
)
def test_a_wrong_set_is_answered_with_its_key(load, setting, sentence):
    answer = load.refusal(load.simple, setting)
    assert answer.startswith(sentence)
    assert "\n" not in answer


def test_set_of_brackets_without_end(load):
    assert "train.epochs is [[[" in load.refusal(load.simple, "train.epochs=" + 5000 * "[")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "recipe.yaml is not a recipe: it must hold sections"),
        (b"# a comment\n", "recipe.yaml is not a recipe"),
        (b"- a\n- b\n", "recipe.yaml is not a recipe"),
        (b"hello", "recipe.yaml is not a recipe"),
        (b"\x89PNG\r\n\x1a\n\0\xff", "recipe.yaml cannot be read as a recipe"),
        (
            b"name: a\0b\n",
            "recipe.yaml:1: this is not valid YAML: it is not text that YAML can hold.",
        ),
        (b"name: a\n---\nname: b\n", "recipe.yaml:2: this is not valid YAML"),
        (
            b"a: " + 5000 * b"[",
            "recipe.yaml:1: this is not a recipe: its brackets nest too deeply.",
        ),
    ],
)
def test_files_that_are_no_recipe(tmp_path, monkeypatch, content, sentence):
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_bytes(content)
    with pytest.raises(UsageError) as error:
        load_recipe("recipe.yaml")
    assert str(error.value).startswith(sentence)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(UsageError, match="There is no recipe .*none.yaml: `cellzoo list recipes`"):
        load_recipe(tmp_path / "none.yaml")
    with pytest.raises(UsageError, match="cannot be read as a recipe"):
        load_recipe(tmp_path)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join(9 * [f'*{old}'])}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB + "name: *i\n",
        "name: &a [*a]\n",
        "a: &a {x: 1}\n" + "b: &b {<<: [*a, *a]}\n" + "c: {<<: &c [*c, *b]}\n",
        f"a: &a {500_000 * 'x'}\nb: [*a, *a, *a]\n",
    ],
)
def test_aliases_that_stand_for_more_than_a_computer_holds(load, text):
    assert "it holds more than a recipe can, by aliases of aliases perhaps." in load.refusal(text)


def test_an_alias_that_stands_for_little_is_read(load):
    text = load.replaced("radius: [3, 5]", "radius: &r [3, 5]\n    rim: *r")
    assert load(text).data.synthetic.rim == (3, 5)


def test_aliases_in_a_setting(load):
    value = "[&a [1, 2], *a]"
    assert load.refusal(load.simple, f"train.epochs={value}").startswith(
        "--set: train.epochs is [[1, 2],"
    )
    bomb = "{" + BOMB.replace("\n", ", ") + "}"
    assert load.refusal(load.simple, f"train={bomb}").startswith("--set: train is {a: &a [x,")
