"""Runs compared: which are refused, what they are called, and that none is trained twice."""

import csv
import math

import numpy as np
import pytest

from cellzoo.commands import compare as module
from cellzoo.commands.compare import Entrant, compare, label_methods, split_label
from cellzoo.data.image_set import ImageSet, column
from cellzoo.errors import UsageError, UserError
from cellzoo.evaluation.report import figures
from cellzoo.recipe import load_recipe
from cellzoo.runs import Run, build_network


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Few synthetic images, small figures, and rates of a few images."""
    monkeypatch.setattr(module, "SYNTHETIC_IMAGES", 40)
    monkeypatch.setattr(module, "TIMED_ROUNDS", 1)
    monkeypatch.setattr(module, "TIMED_IMAGES", 8)
    monkeypatch.setattr(figures, "DPI", 40)


@pytest.fixture
def make_run(tmp_path, tiny_recipe, write_cells, monkeypatch):
    """A function that leaves a finished run whose model counts ``count`` cells in every image.

    Where nothing is to be counted, None spares a network. The twelve images of the folder ``cells``
    have the test counts 3, 2 and 1.
    """
    monkeypatch.chdir(tmp_path)
    write_cells(tmp_path / "cells")
    (tmp_path / "tiny.yaml").write_text(tiny_recipe)

    def make(name, count, *settings, selections=()):
        recipe = load_recipe("tiny.yaml", settings)
        run = Run.create(tmp_path / name, recipe)
        run.keep_splits(recipe.data.natural.load(recipe.image_size, recipe.seed)[0])
        if count is not None:
            network = build_network(recipe)
            for selection, value in {"best": count, **dict(selections)}.items():
                run.save_weights(constant(network, value), run.weights(selection))
        run.write_json("report/validation.json", {"seconds": 7.0, "training_mean": 2.0})
        return run.path

    return make


def constant(network, count):
    kernel, bias = network.get_layer("regressor").get_layer("cells").weights
    kernel.assign(np.zeros(kernel.shape))
    # Four places, each a softplus.
    bias.assign([math.log(math.expm1(count / 4))])
    return network


def pooled(comparison):
    return {row["method"]: row for row in comparison.rows if row["seed"] == "all"}


SYNTHETIC = (
    "data.synthetic={preset: bf, images: 20, background: null,"
    " margins: [0, 0, 0, 0], radius: [2, 3]}"
)


def test_the_table_of_two_runs(make_run, tmp_path):
    make_run("two", 2), make_run("nine", 9, "model.latent=3")
    result = compare(["two=two", "nine"], tmp_path / "out")
    rows = pooled(result)
    floor = "mean of the training labels"
    assert list(rows) == ["two", "twinvae_spatial, natural only", floor]
    # True counts 3, 2, 1. The training labels are 0, 1, 4, 0, 3, 4: their mean is 2.
    for label in ("two", floor):
        assert rows[label]["natural_mae"] == pytest.approx(2 / 3)
        assert rows[label]["natural_mre"] == pytest.approx((1 / 3 + 0 + 1) / 3)
        assert rows[label]["natural_exact"] == pytest.approx(1 / 3)
    nine = rows["twinvae_spatial, natural only"]
    assert nine["natural_mae"] == 7
    with open(tmp_path / "out" / "pairs.csv", newline="") as file:
        reasons = {row["reason"].split(":")[0] for row in csv.DictReader(file)}
    assert reasons == {"1 of at least 3 trainings of each method"}
    assert nine["training_seconds"] == 7
    assert nine["images_per_second"] > 0
    network = Run(tmp_path / "nine").load_network()
    assert nine["parameters"] == sum(np.prod(v.shape) for v in network.trainable_variables)
    assert rows["two"]["best"] and not rows[floor]["best"]
    assert rows[floor]["parameters"] is None
    assert [file.name for file in result.files if file.is_file()] == [f.name for f in result.files]
    assert result.subject == "test split (images of groups never trained on)"


def test_images_may_be_read_at_another_size_but_must_have_the_same_counts(make_run, tmp_path):
    large = Run(make_run("large", None, "data.natural.size=resize", "model.image_size=24"))
    small = Run(make_run("small", None))
    module._check_same_splits(small, large)
    labels = tmp_path / "cells/labels.csv"
    labels.write_text(labels.read_text().replace("03.png,3", "03.png,4"))
    with pytest.raises(UserError, match="are not the same, so the runs did not"):
        module._check_same_splits(small, Run(make_run("corrected", None)))


def test_runs_that_saw_12_bits_unspread_are_scored_on_them_unspread(
    make_run, tmp_path, monkeypatch
):
    make_run("now", 2), make_run("earlier", 3)
    monkeypatch.setattr(module, "reads_as_stored", lambda run: run.path.name == "earlier")
    monkeypatch.setattr(module, "_natural", lambda run, own=module._natural: (
        read.append(run.path.name), own(run))[1])  # fmt: skip
    read = []
    compare(["now=now", "earlier=earlier"], tmp_path / "out")
    assert read == ["now", "earlier"]


def test_a_twin_also_has_the_papers_selections_and_synthetic_scores(make_run, tmp_path):
    make_run("twin", 2, SYNTHETIC, selections={"max_acc": 3, "min_dev": 9})
    make_run("alone", 2, selections={"max_acc": 3})
    rows = pooled(compare(["twin", "alone"], tmp_path / "out"))
    twin = "twinvae_spatial"
    assert list(rows)[:4] == [twin, f"{twin}, max-acc", f"{twin}, min-dev", f"{twin}, natural only"]
    assert rows["twinvae_spatial, max-acc"]["natural_mae"] == 1
    assert rows["twinvae_spatial, min-dev"]["natural_mae"] == 7
    assert rows["twinvae_spatial, natural only"]["synthetic_mae"] is None
    with (tmp_path / "out/predictions.csv").open(newline="") as file:
        drawn = [row for row in csv.DictReader(file) if row["domain"] == "synthetic"]
    errors = [abs(int(row["true"]) - 2) for row in drawn]
    assert len(drawn) == 40
    assert rows["twinvae_spatial"]["synthetic_mae"] == pytest.approx(np.mean(errors))


def test_without_a_test_split_the_validation_split_is_scored_and_said(make_run, tmp_path):
    labels = tmp_path / "cells/labels.csv"
    labels.write_text(labels.read_text().replace(",test", ",train"))
    make_run("two", 2)
    result = compare(["two"], tmp_path / "out")
    assert result.subject == "validation split (no test image has a count)"
    # 2, 1 and 0 cells.
    assert pooled(result)["twinvae_spatial, natural only"]["natural_mae"] == 1
    text = (tmp_path / "out/comparison.md").read_text()
    assert text.startswith("# Comparison: folder cells\n")
    assert "These images also chose checkpoints" in text


def test_a_folder_of_runs_is_one_method_with_several_seeds(make_run, tmp_path):
    for seed in (1, 2):
        make_run(f"seeds/{seed}", 1 + seed, f"seed={seed}")
    rows = compare(["seeds"], tmp_path / "out").rows[:3]
    maes = {row["seed"]: row["natural_mae"] for row in rows}
    assert maes == pytest.approx({1: 2 / 3, 2: 1, "all": 5 / 6})
    # The folder's labels.csv has the splits: the images are the same with every seed.
    assert [row["groups"] for row in rows] == [3, 3, 3]


def test_methods_of_one_model_are_told_apart_by_what_differs(make_run):
    settings = {
        "a": [],
        "a2": ["seed=2"],
        "b": ["model.latent=3", "train.learning_rate=0.1"],
        "twin": [SYNTHETIC],
    }
    runs = [Run(make_run(name, None, *changes)) for name, changes in settings.items()]
    labelled = label_methods([*map(Entrant, runs), Entrant(runs[0], "mine")])
    alone = "twinvae_spatial, natural only"
    assert [entrant.label for entrant in labelled] == [
        alone, alone, f"{alone}, latent 3, learning_rate 0.1", "twinvae_spatial", "mine"
    ]  # fmt: skip


def test_methods_that_differ_in_a_fourth_value_alone_are_two(make_run):
    """Else those of seeds 1 and 2 would be pooled as one method."""
    three = ("model.latent=3", "model.shared_channels=3", "train.batch=3")
    first = Entrant(Run(make_run("a", None)))
    second = Entrant(Run(make_run("b", None, *three)))
    third = Entrant(Run(make_run("c", None, *three, "train.learning_rate=0.1", "seed=2")))
    labels = [entrant.label for entrant in label_methods([first, second, third])]
    assert len(set(labels)) == 3 and labels[2].endswith("learning_rate 0.1")


def test_epochs_that_a_budget_decides_are_refused(make_run, tmp_path):
    settings = ["train.budget=1m", "train.epochs=3"]
    with pytest.raises(UsageError, match="the budget decides how many there are"):
        compare(["tiny.yaml"], tmp_path / "out", settings=settings)


def test_the_schedule_that_a_budget_allows_makes_no_other_method(make_run):
    budget = "train.budget=10m"
    runs = [Run(make_run(f"{n}", None, budget, f"train.epochs={n}", f"seed={n}")) for n in (1, 2)]
    assert len({entrant.label for entrant in label_methods(map(Entrant, runs))}) == 1


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["data.natural.labelled=3"], r"different data \(data.natural.labelled\)"),
        (["data.natural.folder=others"], r"different data \(data.natural.folder\)"),
        (["seed=5"], "with the seeds 1, .* with 5: compare runs of the same seeds"),
    ],
)
def test_runs_on_other_data_are_refused(make_run, tmp_path, write_cells, settings, sentence):
    write_cells(tmp_path / "others")
    make_run("a", None), make_run("b", None, "model.latent=3", *settings)
    with pytest.raises(UserError, match=sentence):
        compare(["a", "b"], tmp_path / "out")
    assert not (tmp_path / "out/comparison.md").exists()


def test_recipes_of_other_data_are_refused_before_one_is_trained(make_run, tmp_path, tiny_recipe):
    make_run("a", None)
    fewer = tiny_recipe.replace("name: tiny", "name: fewer")
    assert fewer != tiny_recipe
    (tmp_path / "fewer.yaml").write_text(fewer)
    with pytest.raises(UserError, match=r"different data \(data.natural.labelled\).* for all"):
        compare(["a", "fewer.yaml"], tmp_path / "out", settings=["data.natural.labelled=3"])
    assert not (tmp_path / "out" / "runs").exists()


def test_counters_get_images_in_their_own_size():
    """As in ``evaluate``: a counter of cells of any size makes them alike by itself."""
    originals = column([np.full((side, 30), 0.5, np.float32) for side in (20, 40)])
    images = ImageSet(
        images=np.zeros((2, 64, 64), np.float32), counts=np.zeros(2, np.float32),
        groups=np.array(["a", "b"]), names=np.array(["a", "b"]), splits=np.array(["test"] * 2),
        originals=originals,
    )  # fmt: skip
    found = module._same_images(images, images, run=None)
    assert [image.shape for image in found] == [(20, 30), (40, 30)]


def test_runs_with_other_splits_are_refused(make_run, tmp_path):
    make_run("a", None)
    labels = tmp_path / "cells/labels.csv"
    labels.write_text(labels.read_text().replace("03.png,3,test", "03.png,3,train"))
    make_run("b", None, "model.latent=3")
    with pytest.raises(UserError, match="did not have the same images and labels in the same"):
        compare(["a", "b"], tmp_path / "out")


def test_one_method_and_seed_twice_is_refused(make_run, tmp_path):
    make_run("a", None), make_run("b", None)
    with pytest.raises(UsageError, match="seed 1: leave one out, or tell them apart with LABEL="):
        compare(["a", "b"], tmp_path / "out")


def test_what_is_no_finished_run_is_refused(make_run, tmp_path):
    run = make_run("a", None)
    (run / "report/validation.json").unlink()
    with pytest.raises(UserError, match="a is not finished"):
        compare(["a"], tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty holds no run"):
        compare(["empty"], tmp_path / "out")


def test_labels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert split_label("my twin=runs/a=b")[0] == "my twin"
    (tmp_path / "a=b").mkdir()
    assert split_label("a=b") == (None, tmp_path.__class__("a=b"))
    with pytest.raises(UsageError, match="write LABEL=PATH"):
        split_label("=runs/a")


BRIGHTNESS = """\
name: grey
data:
  natural: {source: folder, folder: cells}
model: {name: brightness, image_size: 16}
"""


def test_recipes_are_trained_once_and_an_interrupted_comparison_goes_on(
    make_run, tmp_path, contents, monkeypatch
):
    def kill(*arguments):
        raise KeyboardInterrupt

    (tmp_path / "grey.yaml").write_text(BRIGHTNESS)
    out = tmp_path / "out"
    # What only a network can follow does not stop the others.
    arguments = {"settings": ["train.epochs=3"], "quick": True, "seeds": [4, 5]}
    with monkeypatch.context() as patch:
        patch.setattr(module, "_count_all", kill)
        with pytest.raises(KeyboardInterrupt):
            compare(["grey.yaml"], out, **arguments)
    assert sorted(path.name for path in (out / "runs").iterdir()) == ["grey-4", "grey-5"]
    (out / "predictions.csv").write_text("half of it")  # stopped while it wrote
    trained = {f: b for f, b in contents(out / "runs").items() if f.name != "run.log"}
    row = pooled(compare(["grey.yaml"], out, **arguments))["brightness"]
    assert {f: b for f, b in contents(out / "runs").items() if f.name != "run.log"} == trained
    assert (row["parameters"], row["synthetic_mae"]) == (0, None)
    with pytest.raises(UserError, match="is there already: choose another --out"):
        compare(["grey.yaml"], out, **arguments)


def test_runs_of_somebodys_own_beside_a_file_do_not_make_it_ours(make_run, tmp_path):
    (tmp_path / "grey.yaml").write_text(BRIGHTNESS)
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "predictions.csv").write_text("mine")
    with pytest.raises(UserError, match="predictions.csv is there already"):
        compare(["grey.yaml"], tmp_path, seeds=[4])
    assert (tmp_path / "predictions.csv").read_text() == "mine"


def test_recipes_of_one_name_are_refused_before_anything_is_trained(make_run, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "grey.yaml").write_text(BRIGHTNESS)
    with pytest.raises(UsageError, match="would have the folder .*grey-1: rename one of the"):
        compare(["one=a/grey.yaml", "two=b/grey.yaml"], tmp_path / "out")
    assert not (tmp_path / "out" / "runs").exists()


def test_a_name_of_natural_only_runs_is_taken_by_no_other_recipe(make_run, tmp_path):
    text = (tmp_path / "tiny.yaml").read_text()
    (tmp_path / "tiny-natural-only.yaml").write_text(text)
    recipes = ["tiny.yaml", "tiny-natural-only.yaml"]
    with pytest.raises(UsageError, match="tiny-natural-only-1: rename one of the recipes"):
        compare(recipes, tmp_path / "out", settings=[SYNTHETIC], natural_only=True)
    assert not (tmp_path / "out" / "runs").exists()


def test_each_recipe_is_trained_with_every_seed_and_without_synthetic_images(
    make_run, tmp_path, monkeypatch
):
    trained = []

    def fit(recipe, folder):
        trained.append((folder.name, recipe.seed, recipe.data.synthetic is None))
        return Run.create(folder, recipe)

    monkeypatch.setattr(module, "fit", fit)
    arguments = (tmp_path / "tiny.yaml", "tiny", tmp_path / "runs", [SYNTHETIC], True, [3, 4], True)
    labels = [training.train().label for training in module._trainings(*arguments)]
    assert trained == [
        ("tiny-3", 3, False), ("tiny-natural-only-3", 3, True),
        ("tiny-4", 4, False), ("tiny-natural-only-4", 4, True),
    ]  # fmt: skip
    assert labels == ["tiny", "tiny, natural only"] * 2


def test_nothing_is_trained_if_natural_images_alone_cannot_teach(make_run, tmp_path):
    settings = [SYNTHETIC, "data.natural.labelled=0"]
    with pytest.raises(UsageError, match="labelled is 0 and there is no data.synthetic"):
        compare(["tiny.yaml"], tmp_path / "out", settings=settings, natural_only=True)
    assert not (tmp_path / "out" / "runs").exists()


def test_without_a_training_label_there_is_no_mean_of_them(make_run, tmp_path):
    make_run("two", 2, SYNTHETIC, "data.natural.labelled=0")
    assert list(pooled(compare(["two"], tmp_path / "out"))) == ["twinvae_spatial"]


def test_a_models_own_key_is_set_where_the_model_has_it(make_run, tmp_path, monkeypatch):
    trained = {}

    def fit(recipe, folder):
        trained[recipe.name] = recipe.model
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "fit", fit)
    (tmp_path / "grey.yaml").write_text(BRIGHTNESS)
    for recipes in (["tiny.yaml", "grey.yaml"], ["grey.yaml", "tiny.yaml"]):
        with pytest.raises(KeyboardInterrupt):
            compare(recipes, tmp_path / "out", settings=["model.latent=3", "model.bins=4"])
    assert (trained["tiny"].latent, trained["grey"].bins) == (3, 4)
    assert not hasattr(trained["grey"], "latent")
    with pytest.raises(UsageError, match=r"no key model.latnt; did you mean latent\?"):
        compare(["tiny.yaml", "grey.yaml"], tmp_path / "out", settings=["model.latnt=3"])


def test_one_section_of_data_for_all_makes_recipes_of_different_data_comparable(
    make_run, tmp_path, monkeypatch
):
    seen = []

    def fit(recipe, folder):
        seen.append(recipe.data.natural.model_dump())
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "fit", fit)
    (tmp_path / "grey.yaml").write_text(
        BRIGHTNESS.replace("{source: folder, folder: cells}", "{source: simulated, modality: bf}")
    )
    data = "data.natural={source: folder, folder: cells, labelled: 5}"
    for recipe in ("tiny.yaml", "grey.yaml"):
        with pytest.raises(KeyboardInterrupt):
            compare([recipe], tmp_path / "out", settings=[data])
    assert seen[0] == seen[1]
    assert (seen[0]["folder"], seen[0]["labelled"]) == ("cells", 5)


def test_a_reference_that_is_no_method_is_refused_before_any_training(
    tmp_path, tiny_recipe, write_cells, monkeypatch, run_cli
):
    monkeypatch.chdir(tmp_path)
    write_cells(tmp_path / "cells")
    (tmp_path / "tiny.yaml").write_text(tiny_recipe)
    result = run_cli("compare", "mine=tiny.yaml", "--reference", "yours", "--out", "out")
    assert result.exit_code == 2
    assert "--reference yours is none of the methods: mine." in result.stderr
    assert not (tmp_path / "out").exists()
