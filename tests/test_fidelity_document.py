"""docs/fidelity.md names keys and files that exist, and the recipes hold the figures it gives."""

import re
from pathlib import Path

import pytest

from cellzoo.recipe import Recipe, load_recipe

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "fidelity.md").read_text(encoding="utf-8")
SECTIONS = ("data", "augment", "model", "loss", "train")


def recipe_keys():
    """Every dotted key of the three shipped recipes, spelled out, and of what they can hold."""
    keys = set()
    for path in (ROOT / "recipes").glob("*.yaml"):
        tree = load_recipe(path).model_dump()
        stack = [(section, tree[section]) for section in SECTIONS]
        while stack:
            key, value = stack.pop()
            keys.add(key)
            if isinstance(value, dict):
                stack += [(f"{key}.{name}", part) for name, part in value.items()]
    return keys


def test_every_key_in_the_document_is_one():
    named = set(re.findall(rf"`((?:{'|'.join(SECTIONS)})\.[a-z_.]+)", DOCUMENT))
    assert len(named) > 30
    assert sorted(named - recipe_keys()) == []


def test_every_file_in_the_document_is_there():
    named = set(re.findall(r"`((?:cellzoo|tests|recipes|docs)/[\w/.]+)", DOCUMENT))
    assert len(named) > 8
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_no_row_is_left_for_later():
    """Every line of sections 2.3 and 2.4 is in the zoo, and has a test."""
    assert "not yet" not in DOCUMENT and "in the zoo yet" not in DOCUMENT
    rows = [line for line in DOCUMENT.splitlines() if line.startswith("|")]
    rows = [row for row in rows if not re.match(r"\|[-|]+$|\| point ", row)]
    untested = [row.split("|")[1].strip() for row in rows if "::" not in row]
    assert untested == []


def test_every_test_in_the_document_is_there():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", DOCUMENT)
    assert len(named) > 20
    missing = [
        f"{file}::{test}"
        for file, test in named
        if f"def {test}(" not in (ROOT / file).read_text(encoding="utf-8")
    ]
    assert missing == []


# Section 2.3.3 and Table 1
COMMON = {
    "model.name": "twinvae",
    "model.channels": (32, 64, 128, 256),
    "model.shared_channels": 512,
    "model.latent": 256,
    "model.regressor": [256, 128],
    "model.dropout": 0.1,
    "model.negative_slope": 0.2,
    "model.initializer": "orthogonal",
    "model.center": False,
    "loss.count_start_epoch": 100,
    "train.learning_rate": 1.3e-4,
    "train.schedule": "constant",
    "train.warmup": 0,
    "train.weight_decay": 1e-5,
    "train.clip_norm": None,
    "train.ema": None,
    "train.labelled_share": None,
    "train.synthetic_share": 0,
    "train.steps_per_epoch": None,
    "train.budget": None,
    "train.epochs": 50_000,
    "augment.crop_probability": 1,
    "augment.flip": True,
    "augment.rotate": True,
    "augment.crop": 0.9,
    "augment.noise": 0.0025,
}
PAPER = {
    "twinvae_pc": COMMON | {
        "loss.reconstruction": "mse",
        "loss.reconstruction_weight": 100,
        "loss.reconstruction_decay": 0,
        "loss.count_weight": 3,
        "loss.kl_weight": 2,
        "train.optimizer": "adam",
        "train.batch": 128,
        "data.natural.train": 199 + 2983,
        "data.natural.labelled": 199,
        "data.natural.test": 397 + 397,
        "data.natural.test_labelled": 397,
        "data.synthetic.preset": "pc",
        "data.synthetic.images": 3182,
    },
    "twinvae_bf": COMMON | {
        "loss.reconstruction": "bce",
        "loss.reconstruction_decay": 3e-5,
        "train.optimizer": "radam",
        "train.batch": 64,
        "data.natural.train": 59 + 725,
        "data.natural.labelled": 59,
        "data.natural.test": 62 + 110,
        "data.natural.test_labelled": 62,
        "data.synthetic.preset": "bf",
        "data.synthetic.images": 1000,
    },
}  # fmt: skip


def value(recipe: Recipe, key: str):
    for part in key.split("."):
        recipe = getattr(recipe, part)
    return recipe


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_settings_draw_cells_by_the_authors_figures_alone(name):
    cells = load_recipe(ROOT / "recipes" / f"{name}.yaml", paper=True).data.synthetic
    drawn = {key for key, value in cells if value is not None}
    assert drawn == {"preset", "images", "fresh", "background"}
    assert (cells.fresh, cells.background) == (False, "natural")


@pytest.mark.parametrize("name", PAPER)
def test_the_recipes_hold_the_papers_figures(name):
    recipe = load_recipe(ROOT / "recipes" / f"{name}.yaml", paper=True)
    assert {key: value(recipe, key) for key in PAPER[name]} == PAPER[name]


@pytest.mark.parametrize("name", ["twinvae_bf", "twinvae_pc"])
def test_the_recipes_tune_what_the_paper_tuned(name):
    """Learning rate, bottleneck, the layers about it and three factors (section 2.3.3)."""
    tune = load_recipe(ROOT / "recipes" / f"{name}.yaml", paper=True).tune
    assert tune.algorithm == "bayesian"
    assert set(tune.searched) == {
        "train.learning_rate", "model.latent", "model.shared_channels", "model.channels.3",
        "loss.reconstruction_weight", "loss.count_weight", "loss.kl_weight",
    }  # fmt: skip
    rate = tune.space["train.learning_rate"]
    assert (rate.low, rate.high) == (1e-5, 1e-3)


@pytest.mark.parametrize(
    ("name", "crop", "kernel", "divisor", "subtract"), [("pc", 15, 5, 7, 1), ("bf", 11, 3, 19, 4)]
)
def test_the_watershed_has_the_authors_parameters(name, crop, kernel, divisor, subtract):
    model = load_recipe(ROOT / "recipes" / f"watershed_{name}_authors.yaml").model
    grid = (model.crop, model.kernel, model.divisor, model.bright, model.subtract)
    assert model.method == "sobel"
    assert [list(values) for values in grid] == [[crop], [kernel], [divisor], [False], [subtract]]
    # Our own search tries them too.
    ours = load_recipe(ROOT / "recipes" / f"watershed_{name}.yaml").model
    assert crop in ours.crop and kernel in ours.kernel and divisor in ours.divisor
    assert subtract in ours.subtract and False in ours.bright


@pytest.mark.parametrize("name", ["bf", "pc"])
def test_efficientnet_is_trained_as_the_paper_says(name):
    recipe = load_recipe(ROOT / "recipes" / f"efficientnet_{name}.yaml")
    twin = load_recipe(ROOT / "recipes" / f"twinvae_{name}.yaml", paper=True)
    assert (recipe.model.variant, recipe.model.weights) == ("b0", "imagenet")
    assert not recipe.model.frozen
    assert recipe.augment == twin.augment
    assert recipe.data.natural == twin.data.natural
    rate = recipe.tune.space["train.learning_rate"]
    assert rate == twin.tune.space["train.learning_rate"]
