"""Recipes: what they hold, what overlays and --set make of them, how a wrong one is answered."""

# ruff: noqa: E501 - a table with a case on each line reads best

import dataclasses
import inspect
import math
import re
import string
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from cellzoo import recipe as schema
from cellzoo.data.sources import Folder
from cellzoo.errors import UsageError
from cellzoo.recipe import load_recipe
from cellzoo.recipe_check import check_recipe
from cellzoo.section import parse_duration
from cellzoo.synthetic.settings import Synthetic

SIMPLE = """\
name: simple
data:
  natural:
    source: simulated
    modality: bf
    train: 30
  synthetic:
    preset: bf
    radius: [3, 5]
model:
  name: twinvae
  latent: 8
loss:
  kl_weight: 1
train:
  epochs: 7
  batch: 4
quick:
  train:
    epochs: 2
"""


@pytest.fixture
def load(tmp_path):
    """A function that loads a recipe from its text."""

    def load(text=SIMPLE, *settings, quick=False):
        path = tmp_path / "recipe.yaml"
        path.write_text(text)
        return load_recipe(path, settings, quick)

    return load


def refusal(load, text=SIMPLE, *settings, quick=False):
    """The sentence with which a recipe is refused, without the folder of the file."""
    with pytest.raises(UsageError) as error:
        load(text, *settings, quick=quick)
    return re.sub(r"\S*(?=recipe\.yaml)", "", str(error.value), count=1)


def replaced(old, new):
    assert SIMPLE.count(old) == 1
    return SIMPLE.replace(old, new)


# Reading


def test_values_of_the_file_and_defaults_of_the_schema(load):
    recipe = load()
    assert (recipe.name, recipe.seed) == ("simple", 1)
    assert (recipe.data.natural.train, recipe.data.natural.labelled) == (30, 59)
    assert recipe.data.synthetic.radius == (3, 5)
    assert (recipe.model.latent, recipe.model.dropout) == (8, 0.1)
    assert recipe.augment == schema.Augment()


def test_numbers_as_people_write_them(load):
    text = replaced("epochs: 7", "learning_rate: 1e-4\n  clip_norm: null\n  averaging: 0.9")
    recipe = load(text)
    assert (recipe.train.learning_rate, recipe.train.clip_norm) == (1e-4, None)
    assert recipe.train.averaging == 0.9


def test_an_image_size_is_one_number_or_height_and_width(load):
    text = "name: b\ndata: {natural: {source: folder, folder: x}}\nmodel: {name: brightness}\n"
    assert load(text).image_size == 128
    pair = load(text, "model.image_size=[520, 696]")
    assert pair.image_size == (520, 696)
    assert load(pair.to_yaml()) == pair
    assert "model.image_size.0 is 0, but" in refusal(load, text, "model.image_size=[0, 5]")


def test_a_recipe_is_frozen(load):
    with pytest.raises(ValueError):
        load().train.epochs = 3


@pytest.mark.parametrize("quick", [False, True])
def test_the_effective_recipe_loads_as_itself(load, quick):
    recipe = load(SIMPLE, "train.learning_rate=1e-5", "train.budget=10m", quick=quick)
    assert load(recipe.to_yaml()) == recipe


# The quick overlay


def test_quick_changes_what_it_names_and_no_more(load):
    full, quick = load(), load(quick=True)
    assert full.differences(quick) == ["train.epochs: 7 -> 2"]


def test_a_quick_model_of_another_name_replaces_the_whole_section(load):
    text = SIMPLE + "  model:\n    name: twinvae_spatial\n    shared_channels: 4\n"
    model = load(text, quick=True).model
    assert model == schema.TwinVAESpatial(name="twinvae_spatial", shared_channels=4)
    assert load(text).model.latent == 8


def test_a_quick_model_of_the_same_name_keeps_the_other_keys(load):
    model = load(SIMPLE + "  model:\n    name: twinvae\n    dropout: 0\n", quick=True).model
    assert (model.latent, model.dropout) == (8, 0)


def test_quick_data_of_another_source_replaces_the_whole_section(load):
    text = SIMPLE + "  data:\n    natural:\n      source: folder\n      folder: cells\n"
    data = load(text, quick=True).data
    assert data.natural == Folder(folder="cells")
    assert data.synthetic.radius == (3, 5)


def test_quick_can_unset_a_section(load):
    assert load(SIMPLE + "  data: {synthetic: null}\n", quick=True).data.synthetic is None


def test_a_list_in_quick_replaces_the_list(load):
    text = SIMPLE + "  data: {synthetic: {radius: [1, 2]}}\n"
    assert load(text, quick=True).data.synthetic.radius == (1, 2)


def test_quick_of_a_recipe_without_an_overlay(load):
    text = SIMPLE.partition("quick:")[0]
    assert "has no quick section" in refusal(load, text, quick=True)
    assert load(text) == load()


def test_a_broken_overlay_is_found_without_being_asked_for(load):
    assert "recipe.yaml:20: there is no key train.epoch; did you mean epochs?" == refusal(
        load, replaced("    epochs: 2", "    epoch: 2")
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
    found = load(SIMPLE, setting)
    for key in setting.partition("=")[0].strip().split("."):
        found = getattr(found, key)
    assert found == value
    assert type(found) is type(value)


def test_set_wins_over_quick_and_the_last_one_wins(load):
    recipe = load(SIMPLE, "train.epochs=4", "train.epochs=5", quick=True)
    assert recipe.train.epochs == 5


def test_set_can_choose_another_kind_of_data(load):
    settings = ["data.natural.source=folder", "data.natural.folder=cells"]
    natural = load(SIMPLE, *settings).data.natural
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
    answer = refusal(load, SIMPLE, setting)
    assert answer.startswith(sentence)
    assert "\n" not in answer


def test_set_of_brackets_without_end(load):
    assert "train.epochs is [[[" in refusal(load, SIMPLE, "train.epochs=" + 5000 * "[")


# Differences


def test_differences_name_key_old_and_new_value(load):
    changes = load().differences(
        load(SIMPLE, "loss.kl_weight=2", "train.patience=3", "data.synthetic.radius=null")
    )
    assert changes == [
        "data.synthetic.radius: (3.0, 5.0) -> unset",
        "loss.kl_weight: 1.0 -> 2.0",
        "train.patience: unset -> 3",
    ]


def test_differences_of_another_model(load):
    changes = load().differences(load(SIMPLE, "model.name=twinvae_spatial"))
    assert "model.name: twinvae -> twinvae_spatial" in changes
    assert "model.regressor: [256, 128] -> unset" in changes
    assert "model.image_size: unset -> 128" in changes


def test_a_recipe_does_not_differ_from_itself(load):
    assert load().differences(load()) == []


# Wrong recipes


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("model:", "modle:", "recipe.yaml:10: there is no key modle; did you mean model?"),
        ("quick:", "quik:", "recipe.yaml:18: there is no key quik; did you mean quick?"),
        ("natural:", "naturel:", "recipe.yaml:3: there is no key data.naturel; did you mean natural?"),
        ("    train: 30", "    trian: 3", "recipe.yaml:6: there is no key data.natural.trian; did you mean train?"),
        ("source:", "sorce:", "recipe.yaml:4: there is no key data.natural.sorce; did you mean source?"),
        ("name: twinvae", "nam: twinvae", "recipe.yaml:11: there is no key model.nam; did you mean name?"),
        ("latent:", "laten:", "recipe.yaml:12: there is no key model.laten; did you mean latent?"),
        ("radius:", "raduis:", "recipe.yaml:9: there is no key data.synthetic.raduis; did you mean radius?"),
        ("kl_weight:", "zzz:", "recipe.yaml:14: there is no key loss.zzz; valid keys here: count_loss,"),
        ("source: simulated", "source: simulate", "recipe.yaml:3: data.natural.source is simulate; did you mean simulated?"),
        ("source: simulated", "source: 7", "recipe.yaml:3: data.natural.source is 7; it can be simulated, folder, bbbc005, simulated_fluorescence."),
        ("source: simulated", "", "recipe.yaml:3: data.natural.source is missing; it can be simulated, folder, bbbc005, simulated_fluorescence."),
        ("name: twinvae", "name: twinvea", "recipe.yaml:10: model.name is twinvea; did you mean twinvae?"),
        ("name: simple\n", "", "recipe.yaml:1: the key name is missing; add it."),
        ("name: simple", "name: 2021-01-01", "recipe.yaml:1: name is 2021-01-01, but input should be a valid string, write it in quotes (in a shell '\"...\"')."),
        ("name: simple", "name: 2021-13-45", "recipe.yaml:1: this is not valid YAML: 2021-13-45 cannot be read"),
        ("    modality: bf\n", "", "recipe.yaml:3: the key data.natural.modality is missing; add it."),
        ("modality: bf", "modality: df", "recipe.yaml:5: data.natural.modality is df, but input should be 'bf' or 'pc'."),
        ("latent: 8", "latent: 0", "recipe.yaml:12: model.latent is 0, but input should be greater than 0."),
        ("latent: 8", "latent: many", "recipe.yaml:12: model.latent is many, but"),
        ("latent: 8", "latent: [8]", "recipe.yaml:12: model.latent is [8], but"),
        ("latent: 8", "initializer: foo", "recipe.yaml:12: model.initializer is foo, but input should be 'orthogonal'"),
        ("radius: [3, 5]", "radius: [3]", "recipe.yaml:9: data.synthetic.radius has only 1 of its values; add the others."),
        ("radius: [3, 5]", "radius: [3, 4, 5]", "recipe.yaml:9: data.synthetic.radius is [3, 4, 5], but list should have at most 2"),
        ("radius: [3, 5]", "radius: [3, -5]", "recipe.yaml:9: data.synthetic.radius.1 is -5, but"),
        ("radius: [3, 5]", "count_weights: [1, -5]", "recipe.yaml:9: data.synthetic.count_weights.1 is -5, but"),
        ("  kl_weight: 1", "  - kl_weight", "recipe.yaml:13: loss is ['kl_weight'], but input should be a valid section of keys."),
        ("batch: 4", "batch: 4\n  batch: 5", "recipe.yaml:18: this is not valid YAML: the key 'batch' stands twice."),
        ("batch: 4", "on: 4", "recipe.yaml:17: this is not valid YAML: the key on is not a word."),
        ("batch: 4", "? [a, b]\n  : 4", "recipe.yaml:17: this is not valid YAML: the key ['a', 'b'] is not a word."),
        ("  batch: 4", "\tbatch: 4", "recipe.yaml:17: this is not valid YAML: found character '\\t' that cannot start any token."),
        ("batch: 4", "batch: 4: 5", "recipe.yaml:17: this is not valid YAML: mapping values are not allowed here."),
        ("batch: 4", "batch: !!python/name:os.system 4", "recipe.yaml:17: this is not valid YAML: could not determine a constructor"),
        ("batch: 4", "budget: 10 minutes", "recipe.yaml:17: train.budget is 10 minutes, but '10 minutes' is not a duration"),
        ("batch: 4", "batch: .nan", "recipe.yaml:17: train.batch is nan, but"),
        ("batch: 4", "weight_decay: .inf", "recipe.yaml:17: train.weight_decay is inf, but"),
        ("    epochs: 2", "    epochs: 0", "recipe.yaml:20: train.epochs is 0, but"),
        ("    epochs: 2", "    epochs: 2\n  count: {views: 2}", "recipe.yaml:21: count.views is 2, but input should be 1, 4 or 8."),
        ("  train:\n    epochs: 2", "  - train", "recipe.yaml:18: quick must be a section of keys."),
    ],
)  # fmt: skip
def test_a_wrong_recipe_is_answered_with_line_key_and_cure(load, old, new, sentence):
    answer = refusal(load, replaced(old, new))
    assert answer.startswith(sentence)
    assert "\n" not in answer


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("labelled: -1", "data.natural.labelled is -1"),
        ("labelled: false", "data.natural.labelled is False"),
        ("labelled: 1.5", "data.natural.labelled is 1.5"),
        ("size: shrink", "data.natural.size is shrink, but input should be 'error' or 'resize'."),
        ("intensity: [0]", "data.natural.intensity has only 1 of its values"),
        ("intensity: full", "data.natural.intensity is full"),
        ("intensity: [9, 9]", "data.natural.intensity is [9, 9], but the value of black comes first"),
        ("shares: {train: 1, test: 1}", "data.natural.shares is {'train': 1, 'test': 1}, but the"),
        ("shares: {trian: 1}", "data.natural.shares.trian is trian, but input should be 'train'"),
        ("shares: {train: 2}", "data.natural.shares.train is 2, but"),
        ("modality: bf", "there is no key data.natural.modality; valid keys here: axes, channel"),
    ],
)  # fmt: skip
def test_wrong_values_of_a_folder(load, line, sentence):
    text = SIMPLE.replace("source: simulated", "source: folder\n    folder: cells")
    text = text.replace("    modality: bf\n    train: 30\n", f"    {line}\n")
    assert refusal(load, text).startswith(f"recipe.yaml:6: {sentence}")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("stains: [1, 3]", "data.natural.stains.1 is 3, but input should be 1 or 2."),
        ("stains: []", "data.natural.stains is [], but list should have at least 1 item"),
        ("clustring: 0.1", "there is no key data.natural.clustring; did you mean clustering?"),
        ("blur: [1]", "data.natural.blur has only 1 of its values"),
        ("radius: [9, 5]", "data.natural.radius is [9, 5], but the first is above the second: write [lowest, highest]."),
        ("radius: [1, 5]", "data.natural.radius.0 is 1, but input should be greater than or equal to 2."),
        ("count_range: [9, 5]", "data.natural.count_range is [9, 5], but the first is above"),
        ("test_count_range: [1, 5000]", "data.natural has 5000 cells in an image of 128 x 128 px,"),
    ],
)  # fmt: skip
def test_wrong_values_of_simulated_fluorescence(load, line, sentence):
    text = SIMPLE.replace("source: simulated", "source: simulated_fluorescence")
    check_recipe(load(text.replace("    modality: bf\n", "")))
    with pytest.raises(UsageError) as error:
        check_recipe(load(text.replace("    modality: bf\n    train: 30\n", f"    {line}\n")))
    assert sentence in str(error.value) and "\n" not in str(error.value)


def test_axes_of_stacks_are_checked_with_the_recipe(load):
    folder = "data.natural={source: folder, folder: here, axes: TXZ}"
    with pytest.raises(UsageError, match="data.natural.axes: 'TXZ' must name every dimension"):
        check_recipe(load(SIMPLE, folder))


def test_the_spatial_twins_decoder_has_no_cross_entropy(load):
    spatial = SIMPLE.replace("name: twinvae\n  latent: 8", "name: twinvae_spatial")
    check_recipe(load(spatial))
    with pytest.raises(UsageError, match="loss.reconstruction is bce"):
        check_recipe(load(spatial, "loss.reconstruction=bce"))


def test_without_labels_and_synthetic_images_there_is_nothing_to_learn(load):
    without = SIMPLE.replace("    train: 30\n", "    train: 30\n    labelled: 0\n")
    with pytest.raises(UsageError, match="labelled is 0 and there is no data.synthetic"):
        check_recipe(load(without, "data.synthetic=null"))
    check_recipe(load(without))


def test_a_counter_that_is_fitted_in_one_go_needs_labels(load):
    settings = ("data.natural.labelled=0", "data.synthetic={preset: bf}")
    for chosen in (settings[:1], settings):
        with pytest.raises(UsageError, match="labelled is 0, but brightness is fitted on labelled"):
            check_recipe(load(CLASSICAL, *chosen))


def test_a_counter_that_is_fitted_in_one_go_has_no_use_for_synthetic_images(load):
    with pytest.raises(UsageError, match="brightness learns from natural images alone"):
        check_recipe(load(CLASSICAL, "data.synthetic={preset: bf}"))


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("blurs: [0]", "data.natural.blurs.0 is 0, but"),
        ("size: shrink", "data.natural.size is shrink, but input should be 'error' or 'resize'."),
        ("intensity: dtype", "there is no key data.natural.intensity; valid keys here: blurs,"),
    ],
)  # fmt: skip
def test_wrong_values_of_bbbc005(load, line, sentence):
    text = SIMPLE.replace("source: simulated", "source: bbbc005\n    folder: cells")
    text = text.replace("    modality: bf\n    train: 30\n", f"    {line}\n")
    assert refusal(load, text).startswith(f"recipe.yaml:6: {sentence}")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "recipe.yaml is not a recipe: it must hold sections"),
        (b"# a comment\n", "recipe.yaml is not a recipe"),
        (b"- a\n- b\n", "recipe.yaml is not a recipe"),
        (b"hello", "recipe.yaml is not a recipe"),
        (b"\x89PNG\r\n\x1a\n\0\xff", "recipe.yaml cannot be read as a recipe"),
        (b"name: a\0b\n", "recipe.yaml:1: this is not valid YAML: it is not text that YAML can hold."),
        (b"name: a\n---\nname: b\n", "recipe.yaml:2: this is not valid YAML"),
        (b"a: " + 5000 * b"[", "recipe.yaml:1: this is not a recipe: its brackets nest too deeply."),
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


# Any misspelling of any key

FULL = yaml.safe_load(SIMPLE) | {
    "augment": schema.Augment().model_dump(),
    "train": schema.Train().model_dump(),
    "quick": {"train": {"patience": 3}, "model": {"dropout": 0.2}},
}
FULL["data"]["synthetic"] = Synthetic(preset="bf").model_dump()


def _paths(tree, prefix=()):
    for key, value in tree.items():
        yield (*prefix, key)
        if isinstance(value, dict):
            yield from _paths(value, (*prefix, key))


PATHS = sorted(_paths(FULL))
def _all_sections(section=schema.Section):
    for kind in section.__subclasses__():
        yield kind
        yield from _all_sections(kind)


VALID_WORDS = {key for section in _all_sections() for key in section.model_fields} | {"quick"}


@st.composite
def misspellings(draw):
    """A path of keys of FULL, and a word at most one edit away from the last of them."""
    path = draw(st.sampled_from(PATHS))
    word, letter = path[-1], draw(st.sampled_from(string.ascii_lowercase + "_"))
    at = draw(st.integers(0, len(word) - 1))
    edits = {
        "delete": word[:at] + word[at + 1 :],
        "insert": word[:at] + letter + word[at:],
        "replace": word[:at] + letter + word[at + 1 :],
        "swap": word[:at] + word[at : at + 2][::-1] + word[at + 2 :],
        "case": word[:at] + word[at].upper() + word[at + 1 :],
    }
    wrong = edits[draw(st.sampled_from(sorted(edits)))]
    # `on` would be no word at all to YAML: test_a_wrong_recipe_... has such keys.
    while wrong in VALID_WORDS or yaml.safe_load(wrong) != wrong:
        wrong += "q"
    return path, wrong


def _renamed(tree, path, wrong):
    first, *rest = path
    return {
        (wrong if key == first and not rest else key): (
            _renamed(value, rest, wrong) if key == first and rest else value
        )
        for key, value in tree.items()
    }


@given(misspellings())
@example((("data", "natural", "source"), "sourc"))
@example((("model", "name"), "nmae"))
@example((("quick",), "quick_"))
def test_any_misspelt_key_is_answered_with_its_line_and_the_nearest_key(
    tmp_path_factory, misspelling
):
    path, wrong = misspelling
    text = yaml.safe_dump(_renamed(FULL, path, wrong), sort_keys=False)
    line = 1 + next(
        k for k, row in enumerate(text.splitlines()) if row.strip().startswith(f"{wrong}:")
    )
    file = tmp_path_factory.getbasetemp() / "misspelt.yaml"
    file.write_text(text)
    with pytest.raises(UsageError) as error:
        load_recipe(file)
    assert re.match(rf"{re.escape(str(file))}:{line}: there is no key ", str(error.value))
    if len(path[-1]) > 3:
        assert str(error.value).endswith(f"did you mean {path[-1]}?")


@given(st.text(max_size=60))
@example("data: {natural: &a {source: *a}}")
@example("? - a\n: b")
@example("name: !!int x")
@example("name: !!timestamp x")
@example("<<: [1]")
def test_no_text_at_all_breaks_the_reader(tmp_path_factory, text):
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_bytes(text.encode("utf-8", errors="surrogatepass"))
    with pytest.raises(UsageError):
        load_recipe(file)


@given(st.sampled_from(sorted(".".join(p) for p in PATHS if p[0] != "quick")), st.text(max_size=20))
def test_no_set_breaks_the_reader(tmp_path_factory, key, value):
    file = tmp_path_factory.getbasetemp() / "any_set.yaml"
    file.write_text(SIMPLE)
    try:
        load_recipe(file, [f"{key}={value}"])
    except UsageError as error:
        assert str(error).startswith("--set")


# Counters that are fitted in one go


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
    assert refusal(load, CLASSICAL + f"{section}: {{}}\n") == f"recipe.yaml:5: {sentence}"
    key = {"augment": "crop", "loss": "kl_weight", "train": "epochs", "count": "views"}[section]
    assert refusal(load, CLASSICAL, f"{section}.{key}=1") == f"--set: {sentence}"


def test_the_card_is_kept_where_there_is_one(load):
    assert "card" not in yaml.safe_load(load(SIMPLE).to_yaml())
    recipe = load(SIMPLE, "card.licence=CC BY 4.0", "card.pixel_size_um=0.65")
    assert load(recipe.to_yaml()).card == recipe.card
    assert recipe.card.licence == "CC BY 4.0" and recipe.card.modality is None
    assert refusal(load, SIMPLE, "card.license=MIT").endswith("did you mean licence?")


# The schema and the functions it stands for


def parameters(function, leave_out=()):
    return {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in leave_out and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }


def keys(section, leave_out=()):
    """Keys and defaults of a section, lists as tuples, as signatures have them."""
    fields = {name: field for name, field in section.model_fields.items() if name not in leave_out}
    defaults = {
        name: inspect.Parameter.empty if field.is_required() else field.default
        for name, field in fields.items()
    }
    return {k: tuple(v) if isinstance(v, list) else v for k, v in defaults.items()}


def test_check_tries_the_named_transforms(load):
    text = SIMPLE + "augment:\n  extra:\n    - {name: %s, p: 0.5}\n"
    check_recipe(load(text % "ElasticTransform"))
    assert load(load(text % "Blur").to_yaml()).augment.extra == [{"name": "Blur", "p": 0.5}]
    with pytest.raises(UsageError, match="Elastic, .*; did you mean ElasticTransform?"):
        check_recipe(load(text % "Elastic"))


def test_model_sections_are_the_builders():
    from cellzoo.models import BUILDERS, CLASSICAL

    assert [*BUILDERS, *CLASSICAL] == list(schema.MODEL_SECTIONS)
    for name, builder in BUILDERS.items():
        assert keys(schema.MODEL_SECTIONS[name], ["name"]) == parameters(
            builder, ["domains", "seed", "read_weights"]
        )
    for name, counter in CLASSICAL.items():
        assert keys(schema.MODEL_SECTIONS[name], ["name", "image_size"]) == parameters(
            counter.fit, ["images", "counts"]
        )


def test_loss_section_is_the_loss():
    from cellzoo.training.trainer import LossWeights

    fields = dataclasses.fields(LossWeights)
    assert keys(schema.Loss) == {field.name: field.default for field in fields}


def test_count_section_is_the_mean_over_views():
    from cellzoo.counters.network_parts import mean_over_views

    assert keys(schema.Count) == parameters(mean_over_views, ["count", "images"])


def test_check_turns_squares_only(load):
    text = SIMPLE.replace("name: twinvae\n  latent: 8", "name: dcc\n  image_size: %s")
    text = text.replace("  synthetic:\n    preset: bf\n    radius: [3, 5]\n", "")
    check_recipe(load(text % 64, "count.views=8"))
    check_recipe(load(text % [64, 64], "count.views=8"))
    check_recipe(load(text % [64, 96], "count.views=4"))
    with pytest.raises(UsageError) as error:
        check_recipe(load(text % [64, 96], "count.views=8"))
    assert str(error.value) == (
        "count.views is 8, but images of 96 x 64 px do not fit the network when they are turned by "
        "90 degrees: choose 4."
    )


def test_optimizers_and_losses_of_the_schema_exist():
    from cellzoo.training.losses import RECONSTRUCTION_LOSSES
    from cellzoo.training.optimizers import make_optimizer

    for name in schema.Train.model_fields["optimizer"].annotation.__args__:
        assert make_optimizer(name, 1e-3, 0.0) is not None
    choices = schema.Loss.model_fields["reconstruction"].annotation.__args__
    assert set(choices) == set(RECONSTRUCTION_LOSSES)


def test_docstrings_name_what_exists():
    import importlib

    found = 0
    for section in vars(schema).values():
        if isinstance(section, type) and issubclass(section, schema.Section):
            for name in re.findall(r":(?:func|class):`(cellzoo[\w.]+)`", section.__doc__ or ""):
                module, _, attribute = name.rpartition(".")
                assert hasattr(importlib.import_module(module), attribute), name
                found += 1
    assert found >= 8


# Small things


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7200), ("1.5m", 90), (" 3 s", 3)]
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "10", "10 min", "-1m", "0s", "infh", "nanm", "1d", "m1"])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="is not a duration such as 90s, 10m or 2h"):
        parse_duration(text)


@given(st.text(max_size=8))
def test_a_duration_is_positive_or_refused(text):
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert 0 < seconds < math.inf
