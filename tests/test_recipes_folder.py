"""Every recipe of the repository, in full and quick: load, build, one training step."""

import csv
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from cellzoo.data.points import Point, points_text
from cellzoo.recipe import load_recipe

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))
NETWORKS = [path for path in RECIPES if not load_recipe(path).classical]
CLASSICAL = [path for path in RECIPES if path not in NETWORKS]
SMALL = ["train.batch=4", "train.labelled_share=0.5"]
SMALL_SIMULATED = [
    f"data.natural.{key}={value}"
    for key, value in {
        "train": 24, "labelled": 6, "validation": 4, "validation_labelled": 4, "test": 4,
        "test_labelled": 4,
    }.items()
]  # fmt: skip

SMALL_FLUORESCENCE = [
    f"data.natural.{key}={value}"
    for key, value in {
        "train": 8, "validation": 2, "test": 2, "count_range": [1, 3], "test_count_range": [4, 5],
        "radius": [3, 4],
    }.items()
]  # fmt: skip
SMALL_NUCLEI = [
    "data.natural.simulated_train=2", "data.natural.simulated_validation=1",
    "data.natural.diameters=[8, 10]", "data.normalise.window=32",
]  # fmt: skip
SMALL_DCC = ["model.image_size=[32, 48]", "train.batch=2", "model.channels=[2, 3, 4]"]


def test_there_are_recipes():
    networks = {path.stem for path in NETWORKS}
    assert {"twinvae_bf", "twinvae_pc", "twindensity_ldc"} <= networks
    assert {"dcc_bbbc005", "dcc_fluorescence", "dcc_small_folder"} <= networks
    assert {"brightness", "watershed_bf", "watershed_pc"} <= {path.stem for path in CLASSICAL}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_header_says_what_to_expect(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    header = lines[: next(k for k, line in enumerate(lines) if not line.startswith("#"))]
    assert re.match(r"# \w.*\.$", header[0]), "the first line is what `cellzoo list` shows"
    for word in ("Data", "Hardware", "Score"):
        assert any(re.match(rf"# {word}\s+\S", line) for line in header), word
    assert load_recipe(path).name == path.stem


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_sections_stand_in_the_order_of_the_pipeline(path):
    order = "name seed data augment model loss train count tune quick paper".split()
    sections = re.findall(r"^(\w+):", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert sections == sorted(sections, key=order.index)
    assert ("quick" in sections) == (path in NETWORKS)
    the_papers = path in NETWORKS and load_recipe(path).model.name == "twinvae"
    assert ("paper" in sections) == the_papers


@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.stem)
def test_quick_trains_the_same_model(path):
    full, quick = load_recipe(path), load_recipe(path, quick=True)
    assert quick.model == full.model
    assert full.differences(quick)


@pytest.mark.parametrize(
    ("data", "cells"), [("bf", "bf_unlabelled"), ("pc", "pc"), ("ldc", "ldc"), ("cho", "cho")]
)
def test_the_twins_of_the_same_images_learn_from_the_same_cells(data, cells):
    folder = RECIPES[0].parent
    density = load_recipe(folder / f"twindensity_{cells}.yaml").data
    twin = load_recipe(folder / f"twinvae_{data}.yaml").data
    unlike = {"images"}  # a Twin-VAE sees more of them
    assert twin.synthetic.model_dump(exclude=unlike) == density.synthetic.model_dump(exclude=unlike)


def small_images(path, quick, tmp_path, write_cells, write_bbbc005):
    """Settings with which a recipe has 24 images, or half of them for training."""
    recipe = load_recipe(path, quick=quick)
    source = recipe.data.natural.source
    if source == "simulated":
        return SMALL_SIMULATED
    if source == "simulated_fluorescence":
        return SMALL_FLUORESCENCE
    if source == "bbbc005":
        return [f"data.natural.folder={write_bbbc005(tmp_path / 'cells')}"]
    folder = write_cells(tmp_path / "cells", images=24, size=40)
    if source == "mixed":
        images = f"images: {{source: folder, folder: {folder}}}"
        return [f"data.natural.sets=[{{name: own, diameter: 9, {images}}}]"]
    if recipe.model.segments and not recipe.classical:
        add_label_images(folder)
    settings = [f"data.natural.folder={folder}", "data.natural.labelled=6"]
    if source == "nuclei":
        settings += SMALL_NUCLEI
    if "points" in recipe.data.natural.model_fields_set:
        add_dots(folder)
        settings += ["model.image_size=40"]
    return settings


def add_dots(folder):
    """Gives each image of a folder as many dots as it has cells by its labels.csv."""
    with (folder / "labels.csv").open(newline="") as file:
        counts = {row["image"]: int(row["count"]) for row in csv.DictReader(file)}
    dots = {name: [Point(5 + 4 * k, 20) for k in range(n)] for name, n in counts.items()}
    (folder / "points.csv").write_text(points_text(dots))


def add_label_images(folder):
    """Gives each image of a folder as many numbered cells as it has by its labels.csv."""
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["label_image"] = f"label_{row['image']}"
        cells = np.zeros((40, 40), np.uint16)
        for number in range(1, int(row["count"]) + 1):
            cells[8 * number : 8 * number + 4, 4:9] = number
        assert cv2.imwrite(str(folder / row["label_image"]), cells)
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def kind_of_step(recipe):
    """What decides how a step is computed, not on how many images or with what weights."""
    segments = recipe.model.segments  # whose widths are small here in any case
    return (
        recipe.model.model_dump_json(exclude={"image_size", *(["channels"] if segments else [])}),
        recipe.data.natural.keeps_all_labels_hidden,
        bool(recipe.data.synthetic),
        recipe.loss.model_dump_json(include={"reconstruction", "count_loss", "density_loss"}),
        recipe.loss.count_mean,
    )


def training_steps():
    """Every recipe in full and quick; those whose step is another's are for `make slow`."""
    seen = set()
    for path in NETWORKS:
        for quick in (False, True):
            kind = kind_of_step(load_recipe(path, quick=quick))
            marks = [pytest.mark.slow] if kind in seen else []
            seen.add(kind)
            name = f"{path.stem}-{'quick' if quick else 'full'}"
            yield pytest.param(path, quick, id=name, marks=marks)


@pytest.mark.parametrize("path, quick", training_steps())
def test_a_training_step(path, quick, tmp_path, write_cells, write_bbbc005):
    from cellzoo.runs import build_network
    from cellzoo.training.assemble import training_batches
    from cellzoo.training.optimizers import make_optimizer
    from cellzoo.training.trainer import Trainer

    settings = SMALL + small_images(path, quick, tmp_path, write_cells, write_bbbc005)
    if load_recipe(path).model.segments:
        settings += SMALL_DCC
    if load_recipe(path, quick=quick).data.synthetic:
        settings += ["data.synthetic.images=8"]
    if "efficientnet" in path.stem:
        settings += ["model.weights=null", "model.dropout=0"]
    recipe = load_recipe(path, settings, quick)

    natural, skipped = recipe.data.natural.load(recipe.image_size, recipe.seed)
    assert not skipped
    batches = training_batches(recipe, natural.of("train"))
    network = build_network(recipe)
    assert [tensor.name for tensor in network.inputs] == list(batches(0)[0])
    trainer = Trainer(network, recipe.loss, batches.steps_per_pass)
    optimizer = make_optimizer(
        recipe.train.optimizer, recipe.train.learning_rate, recipe.train.weight_decay
    )
    # Eager, as tracing the graph would take longer than the step.
    trainer.compile(optimizer=optimizer, run_eagerly=True)
    before = [variable.numpy() for variable in network.trainable_variables]
    logs = trainer.train_on_batch(*batches(0), return_dict=True)

    assert ("natural_mask" in logs) == recipe.model.segments, "its images have masks"
    for domain in batches(0)[0]:
        terms = ("reconstruction", "kl", "count") if recipe.model.reconstructs else ("count",)
        assert {f"{domain}_{term}" for term in terms} <= set(logs)
    # Without masks or dots nothing tells where the cells of natural images are.
    places = natural.masks is not None or natural.has_points.any()
    untold = set() if places else {"natural_density"} & set(logs)
    assert {name for name, value in logs.items() if not np.isfinite(value)} == untold, logs
    after = [variable.numpy() for variable in network.trainable_variables]
    assert all(np.isfinite(v).all() for v in after)
    assert any((a != b).any() for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("path", CLASSICAL, ids=lambda path: path.stem)
def test_a_classical_counter_is_fitted_and_counts(path, tmp_path, write_cells, write_bbbc005):
    from cellzoo.counters.load import load_counter
    from cellzoo.training.fit import fit

    settings = small_images(path, False, tmp_path, write_cells, write_bbbc005)
    run = fit(load_recipe(path, settings), tmp_path / "run")
    counter = load_counter(str(run.path))
    images = np.random.default_rng(0).random((3, *counter.preprocessing.size), np.float32)
    assert np.isfinite(counter.count(images, scaled=True).raw).all()
