"""A recipe's synthetic cells, or its simulated microscope's images, as a folder to look at."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from cellzoo.data.folder import load_folder
from cellzoo.errors import UsageError, UserError
from cellzoo.recipe import load_recipe
from cellzoo.synth import synth

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
    images, skipped = load_folder(out, image_size=128)
    assert (len(images), skipped) == (5, [])
    assert images.images.shape == (5, 128, 128)
    assert images.labelled.all()
    assert all(name.startswith(f"images/{start}_") for name in images.names)


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
    from cellzoo.data.sets import natural_images
    from cellzoo.training.fit import training_batches

    settings = ("data.synthetic.images=3", "train.batch=3")
    synth(recipe(*settings), tmp_path / "cells", 3, False, False)
    chosen = recipe(*settings)
    natural, _ = natural_images(chosen.data.natural, 128, chosen.seed)
    seen, *_ = training_batches(chosen, natural.of("train")).synthetic.batch(0, np.arange(3))
    np.testing.assert_allclose(np.array(pictures(tmp_path / "cells")) / 255, seen, atol=0.502 / 255)


def test_simulated_images_are_of_chambers_that_no_split_holds(tmp_path, recipe):
    from cellzoo.data.sets import natural_images

    synth(recipe(), tmp_path / "cells", 4, False, True)
    natural, _ = natural_images(recipe().data.natural, 128, 1)
    known = {np.round(255 * image).astype(np.uint8).tobytes() for image in natural.images}
    assert not known & {image.tobytes() for image in pictures(tmp_path / "cells")}
    images, _ = load_folder(tmp_path / "cells", image_size=128)
    assert not set(images.groups) & set(natural.groups)


def test_the_preview_shows_them_all(tmp_path, recipe):
    out = tmp_path / "cells"
    files = synth(recipe("data.synthetic.background=null"), out, 8, True, False)
    assert files == [out, out / "preview.png"]
    sheet = cv2.imread(str(files[1]), cv2.IMREAD_GRAYSCALE)
    assert sheet.shape[0] > 2 * 128 and sheet.shape[1] > 6 * 128


def test_an_empty_folder_is_welcome_and_a_full_one_is_not(tmp_path, recipe):
    out = tmp_path / "cells"
    out.mkdir()
    synth(recipe("data.synthetic.background=null"), out, 1, False, False)
    before = {file: file.read_bytes() for file in out.rglob("*.*")}
    with pytest.raises(UserError, match="cells holds other files"):
        synth(recipe(), out, 1, False, False)
    assert {file: file.read_bytes() for file in out.rglob("*.*")} == before


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
    assert result.stdout == f"wrote {out}\nwrote {out / 'preview.png'}\n"
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
