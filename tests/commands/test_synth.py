"""A recipe's synthetic cells, or its simulated microscope's images, as a folder to look at."""

import csv
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from cellzoo.commands.synth import match_recipe, synth, synth_experiment
from cellzoo.data.folder import load_folder
from cellzoo.errors import UsageError, UserError
from cellzoo.images import find_images
from cellzoo.recipe import load_recipe
from cellzoo.recipe.check import check_recipe
from cellzoo.synthetic import matching

RECIPE = """\
name: cells
data:
  natural: {source: simulated, modality: pc, train: 12, labelled: 4, validation: 4,
            validation_labelled: 4, test: 4, test_labelled: 4}
  synthetic: {preset: pc, count_range: [2, 5]}
model: {name: twinvae_spatial}
"""


@pytest.fixture
def recipe(tmp_path):
    """A function of --set strings."""

    def recipe(*settings):
        (tmp_path / "recipe.yaml").write_text(RECIPE)
        return load_recipe(tmp_path / "recipe.yaml", settings)

    return recipe


def pictures(folder):
    return [
        cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in sorted(folder.glob("images/*.png"))
    ]


@pytest.mark.parametrize(("natural", "start"), [(False, "synthetic"), (True, "simulated")])
def test_images_and_labels_are_a_folder_that_can_be_trained_on(tmp_path, recipe, natural, start):
    out = tmp_path / "new" / "cells"
    assert synth(recipe(), out, 5, False, natural) == [out]
    images, skipped = load_folder(out, 128)
    assert (len(images), skipped) == (5, [])
    assert images.images.shape == (5, 128, 128)
    assert images.labelled.all()
    assert all(name.startswith(f"images/{start}_") for name in images.names)


def test_cells_are_drawn_on_images_without_a_label(tmp_path, recipe, write_cells):
    write_cells(tmp_path / "own", size=128)
    (tmp_path / "own" / "labels.csv").unlink()
    natural = f"{{source: folder, folder: {tmp_path / 'own'}, labels: null, labelled: 0}}"
    chosen = recipe(f"data.natural={natural}", "data.synthetic.background=natural")
    assert synth(chosen, tmp_path / "cells", 2, False, False) == [tmp_path / "cells"]


def test_an_overlay_may_draw_other_cells(tmp_path, run_cli):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE + "quick:\n  data: {synthetic: {count_range: [7, 7]}}\n")
    for name, options, low, high in ("full", [], 2, 5), ("quick", ["--quick"], 7, 7):
        result = run_cli("synth", recipe, "-o", tmp_path / name, "-n", 3, *options)
        assert result.exit_code == 0, result.output
        counts = [row["count"] for row in csv.DictReader((tmp_path / name / "labels.csv").open())]
        assert all(low <= int(count) <= high for count in counts) and len(counts) == 3


def test_counts_follow_the_recipe(tmp_path, recipe):
    synth(recipe(), tmp_path / "few", 12, False, False)
    synth(recipe("data.synthetic.count_range=[0, 0]"), tmp_path / "none", 3, False, False)

    def counts(folder):
        with (folder / "labels.csv").open(newline="") as file:
            return {int(row["count"]) for row in csv.DictReader(file)}

    assert counts(tmp_path / "few") <= {2, 3, 4, 5} and len(counts(tmp_path / "few")) > 1
    assert counts(tmp_path / "none") == {0}


def test_the_same_recipe_writes_the_same_images(tmp_path, recipe):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        synth(recipe(f"seed={seed}"), tmp_path / name, 2, False, False)
    a, b, c = (pictures(tmp_path / name) for name in "abc")
    np.testing.assert_array_equal(a, b)
    assert (np.array(a) != np.array(c)).any()


def test_they_are_the_images_that_training_sees(tmp_path, recipe):
    from cellzoo.training.assemble import training_batches

    settings = ("data.synthetic.images=3", "train.batch=3")
    synth(recipe(*settings), tmp_path / "cells", 3, False, False)
    chosen = recipe(*settings)
    natural, _ = chosen.data.natural.load(128, chosen.seed)
    seen, *_ = training_batches(chosen, natural.of("train")).synthetic.batch(0, np.arange(3))
    np.testing.assert_allclose(np.array(pictures(tmp_path / "cells")) / 255, seen, atol=0.502 / 255)


def test_simulated_images_are_of_chambers_that_no_split_holds(tmp_path, recipe):
    synth(recipe(), tmp_path / "cells", 4, False, True)
    natural, _ = recipe().data.natural.load(128, 1)
    known = {np.round(255 * image).astype(np.uint8).tobytes() for image in natural.images}
    assert not known & {image.tobytes() for image in pictures(tmp_path / "cells")}
    images, _ = load_folder(tmp_path / "cells", 128)
    assert not set(images.groups) & set(natural.groups)


def test_the_preview_shows_them_all(tmp_path, recipe):
    out = tmp_path / "cells"
    files = synth(recipe("data.synthetic.background=null"), out, 8, True, False)
    assert files == [out, tmp_path / "cells_preview.png"]
    assert len(find_images([out])) == 8
    sheet = cv2.imread(str(files[1]), cv2.IMREAD_GRAYSCALE)
    assert sheet.shape[0] > 2 * 128 and sheet.shape[1] > 6 * 128


def test_a_preview_that_is_there_is_kept_and_no_image_is_drawn(tmp_path, recipe):
    out = tmp_path / "cells"
    (tmp_path / "cells_preview.png").write_text("mine")
    with pytest.raises(UserError, match="cells_preview.png exists"):
        synth(recipe(), out, 8, True, False)
    assert not out.exists()
    assert (tmp_path / "cells_preview.png").read_text() == "mine"


def test_the_current_folder_is_refused_before_anything_is_drawn(recipe):
    with pytest.raises(UserError, match="-o . is the folder that you are in"):
        synth(recipe(), Path("."), 8, False, False)


def test_an_empty_folder_is_welcome_and_a_full_one_is_not(tmp_path, recipe):
    out = tmp_path / "cells"
    out.mkdir()
    synth(recipe("data.synthetic.background=null"), out, 1, False, False)
    before = {file: file.read_bytes() for file in out.rglob("*.*")}
    with pytest.raises(UserError, match="cells holds other files"):
        synth(recipe(), out, 1, False, False)
    assert {file: file.read_bytes() for file in out.rglob("*.*")} == before


def test_a_stopped_command_leaves_nothing_behind(tmp_path, recipe, monkeypatch):
    def stop(file, image):
        raise KeyboardInterrupt

    monkeypatch.setattr("cellzoo.commands.synth._write_image", stop)
    with pytest.raises(KeyboardInterrupt):
        synth(recipe("data.synthetic.background=null"), tmp_path / "new" / "cells", 1, False, False)
    assert list((tmp_path / "new").iterdir()) == []


def test_recipes_without_such_images(tmp_path, recipe):
    with pytest.raises(UsageError, match="cells has no data.synthetic"):
        synth(recipe("data.synthetic=null"), tmp_path / "a", 1, False, False)
    folder = ["data.natural.source=folder", "data.natural.folder=x"]
    with pytest.raises(UsageError, match="cells has natural images of its own"):
        synth(recipe(*folder), tmp_path / "a", 1, False, True)
    assert not (tmp_path / "a").exists()


def test_from_the_command_line(tmp_path, recipe, run_cli):
    recipe()
    out = tmp_path / "cells"
    result = run_cli(
        "synth", tmp_path / "recipe.yaml", "-o", out, "-n", 2, "--preview",
        "--set", "data.synthetic.background=null",
    )  # fmt: skip
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"wrote {out}\nwrote {tmp_path / 'cells_preview.png'}\n"
    assert Path(out, "images", "synthetic_00001.png").is_file()


def test_natural_images_are_time_lapses_of_chambers(tmp_path, recipe):
    """Hours begin at 0 and rise within each chamber."""
    out = tmp_path / "chambers"
    synth(recipe(), out, 30, False, True)
    with (out / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for chamber in {row["group"] for row in rows}:
        hours = [float(row["time"]) for row in rows if row["group"] == chamber]
        assert hours[0] == 0
        assert hours == sorted(set(hours))


# --- cells that look like the natural images ------------------------------------------------

MANY = ("data.natural.train=24", "data.synthetic.count_range=null")
NO_LABEL = (*MANY, "data.natural.labelled=0")


@pytest.fixture
def short_search(monkeypatch):
    for name, value in {"_FIRST": 6, "_CLIMBS": 1, "_CHILDREN": 4, "_DRAWN": 6}.items():
        monkeypatch.setattr(matching, name, value)
    quick = partial(matching.match, generations=2, workers=1)
    monkeypatch.setattr("cellzoo.commands.synth.match", quick)


@pytest.fixture
def found(monkeypatch):
    """What a search found, and a list of what it was asked."""
    asked = []

    def match(images, cells, settled, find_counts, seed, **search):
        asked.append((len(images), cells, settled, find_counts))
        return matching.Match({**settled, "radius": (4.0, 5.0), "noise": 2.0}, 0.5, 0.1, 0.01)

    monkeypatch.setattr("cellzoo.commands.synth.match", match)
    return asked


def test_the_matched_recipe_says_what_changed_and_is_otherwise_the_same(tmp_path, recipe, found):
    before, out = recipe(*MANY, "data.synthetic.shading=9"), tmp_path / "new" / "matched.yaml"
    assert match_recipe(before, out) == [out]
    after = load_recipe(out)
    assert before.differences(after) == [
        "data.synthetic.radius: unset -> (4.0, 5.0)", "data.synthetic.noise: unset -> 2.0",
    ]  # fmt: skip
    comment = [line for line in out.read_text().splitlines() if line.startswith("#")]
    assert comment == [
        "# cells, its synthetic cells matched to 24 natural training images",
        "# distance 0.50 -> 0.10, two halves of the natural images 0.01; changed:",
        "# data.synthetic.radius: unset -> (4.0, 5.0)",
        "# data.synthetic.noise: unset -> 2.0",
    ]


def test_counts_are_the_recipes_else_the_labels_else_found(tmp_path, recipe, found):
    def asked(name, *settings):
        match_recipe(recipe(*settings), tmp_path / name)
        return found[-1][2:]

    assert asked("a.yaml", "data.natural.train=24") == ({}, False)
    assert asked("b.yaml", *MANY) == ({}, True)  # 4 labels are too few
    assert asked("c.yaml", *NO_LABEL) == ({}, True)
    settled, find_counts = asked("d.yaml", *MANY, "data.natural.labelled=24")
    assert not find_counts
    fewest, most = settled["count_range"]
    assert fewest == 0 and len(settled["count_weights"]) == most + 1
    assert min(settled["count_weights"]) >= 1


def test_weights_of_counts_by_hand():
    from cellzoo.commands.synth import _counts
    from cellzoo.synthetic.settings import Synthetic

    counts = np.array([5] * 16 + [3] * 4 + [np.nan] * 9)
    settled = _counts(Synthetic(preset="bf"), counts)
    assert settled["count_range"] == (0, 7)  # 1.2 * 5 + 1
    # Of 20 labels a quarter each goes to the neighbours; 200 images and one more of each count.
    assert settled["count_weights"] == [1, 1, 11, 21, 51, 81, 41, 1]


def test_an_even_background_means_a_window_of_something_larger(tmp_path, recipe, found):
    even = (*NO_LABEL, "data.synthetic.background=null")
    match_recipe(recipe(*even, "data.synthetic.clumping=0.5"), tmp_path / "a.yaml")
    assert found[-1][2] == {"margins": (-3, -3, -3, -3), "overlap": 1.5}
    match_recipe(recipe(*NO_LABEL), tmp_path / "b.yaml")  # a chamber's own image
    assert found[-1][2] == {}
    assert found[-1][1].background.shape == (128, 128)


def test_nothing_is_written_over(tmp_path, recipe, found):
    out, sheet = tmp_path / "matched.yaml", tmp_path / "matched.png"
    sheet.write_text("mine")
    with pytest.raises(UserError, match="matched.png exists: choose another name"):
        match_recipe(recipe(*MANY), out, 4, True)
    out.write_text("mine")
    with pytest.raises(UserError, match="matched.yaml exists: choose another name"):
        match_recipe(recipe(*MANY), out)
    assert out.read_text() == sheet.read_text() == "mine"
    with pytest.raises(UserError, match="/proc cannot be written to .*: choose another folder"):
        match_recipe(recipe(*MANY), Path("/proc/matched.yaml"))
    assert not found


def test_where_it_cannot_help_it_says_so(tmp_path, recipe, monkeypatch):
    out = tmp_path / "matched.yaml"
    with pytest.raises(UsageError, match="cells has no data.synthetic"):
        match_recipe(recipe("data.synthetic=null"), out)
    with pytest.raises(UserError, match="12 natural training images are too few"):
        match_recipe(recipe(), out)
    nothing = matching.Match({"noise": 2.0}, 0.1, 0.1, 0.01)
    monkeypatch.setattr("cellzoo.commands.synth.match", lambda *args: nothing)
    with pytest.raises(UserError, match="No cells nearer .* those of cells .* nothing was written"):
        match_recipe(recipe(*MANY), out)
    assert not out.exists()


def test_matching_from_the_command_line(tmp_path, recipe, run_cli, short_search):
    recipe()
    out, sheet = tmp_path / "matched.yaml", tmp_path / "matched.png"
    settings = [part for setting in NO_LABEL for part in ("--set", setting)]
    command = ("synth", tmp_path / "recipe.yaml", "--match", "-o", out, "-n", 3, "--preview")
    result = run_cli(*command, *settings, "--set", "data.synthetic.noise=60")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.endswith(f"wrote {out}\nwrote {sheet}\n")
    assert "distance of the drawn images from the natural ones: " in result.stdout
    check_recipe(load_recipe(out))
    assert cv2.imread(str(sheet), cv2.IMREAD_GRAYSCALE).shape[0] > 2 * 128
    result = run_cli(*command, "--natural")
    assert result.exit_code == 2
    assert "--match, --natural and --experiment exclude each other" in result.stderr


def test_an_experiment_has_its_truth_beside_it(tmp_path):
    file, truth = synth_experiment(load_recipe("twindensity_pc"), tmp_path / "made", 2)
    assert file.name == "experiment.ome.tif"
    assert len((truth / "counts.csv").read_text().splitlines()) == 1 + 2 * 6
    with pytest.raises(UserError, match="other files"):
        synth_experiment(load_recipe("twindensity_pc"), tmp_path / "made", 2)


def test_an_experiment_needs_a_simulated_microscope(tmp_path):
    with pytest.raises(UsageError, match="no simulated chambers"):
        synth_experiment(load_recipe("twindensity_ldc"), tmp_path / "made", 2)
