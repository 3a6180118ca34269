"""Segmenting models: images of any size, masks, probabilities and pictures."""

import csv
import os
import shutil
from dataclasses import replace

import cv2
import keras
import numpy as np
import pytest
import tifffile

from cellzoo.commands.count import count_files
from cellzoo.commands.export import export
from cellzoo.commands.pictures import SegmentationPictures, outlined
from cellzoo.counters import stream
from cellzoo.counters.load import load_counter, load_run
from cellzoo.errors import UserError
from cellzoo.files import LOCK_FILE, lock
from cellzoo.images import read_frames, resize

RECIPE = """\
name: tiny_dcc
data:
  natural: {source: folder, folder: cells}
model:
  name: dcc
  image_size: [16, 24]
  channels: [2, 3]
  head: %s
  pooling: 8
  regressor_units: 3
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run folder per head, whose models were never trained, but tell images apart."""
    from cellzoo.recipe import load_recipe
    from cellzoo.runs import Run, build_network

    runs = {}
    for head in ("additive", "regressor"):
        folder = tmp_path_factory.mktemp(head)
        (folder / "r.yaml").write_text(RECIPE % head)
        recipe = load_recipe(folder / "r.yaml")
        run = Run.create(folder / "run", recipe)
        network = build_network(recipe)
        for variable in network.trainable_variables:
            variable.assign_add(keras.random.normal(variable.shape, 0, 0.3, seed=3))
        # About half of a noisy image is cell.
        noise = np.random.default_rng(0).random((1, 16, 24), np.float32)
        probability = np.asarray(network({"natural": noise})["natural_mask"])
        bias = network.get_layer("probability").bias
        bias.assign_sub([np.median(np.log(probability / (1 - probability)))])
        run.save_best(network)
        runs[head] = run.path
    return runs


def write_image(file, height, width, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    file.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(file), pixels)
    return pixels


def test_frames_of_different_sizes_in_one_folder(tmp_path, runs):
    sizes = [(16, 24), (40, 25), (16, 24), (8, 8), (33, 47)]
    images = [
        write_image(tmp_path / "images" / f"{k}.png", *size, seed=k) for k, size in enumerate(sizes)
    ]
    counter = load_run(runs["additive"])
    rows = count_files([tmp_path / "images"], counter, tmp_path / "counts.csv")
    assert [row.error for row in rows] == [""] * 5
    for row, pixels in zip(rows, images, strict=True):
        padded = np.pad(pixels, [(0, -side % 4) for side in pixels.shape], mode="edge")
        whole = counter.network({"natural": padded[None].astype(np.float32) / 255})
        density = np.asarray(whole["natural_density"])[0, : pixels.shape[0], : pixels.shape[1]]
        assert float(row.count_raw) == pytest.approx(density.sum(), abs=2e-3)


def test_the_regressor_counts_piece_by_piece(tmp_path, runs):
    counter = load_run(runs["regressor"])
    pieces = np.random.default_rng(0).random((4, 16, 24), np.float32)
    image = np.vstack([np.hstack(pieces[:2]), np.hstack(pieces[2:])])
    counts = counter.count(image, scaled=True)
    parts = counter.count(pieces, scaled=True)
    np.testing.assert_allclose(counts.raw[0], parts.raw.sum(), rtol=1e-4)
    assert np.isnan(counts.low[0])


def test_tiles_do_not_show(runs):
    counter = load_run(runs["additive"])
    image = np.random.default_rng(1).random((75, 90), np.float32)
    (whole,) = counter.segment(image, scaled=True)
    whole_count = counter.count(image, scaled=True).raw[0]
    counter.tiled.tiling = replace(counter.tiled.tiling, tile=16)
    (cut,) = counter.segment(image, scaled=True)
    np.testing.assert_allclose(cut.probability, whole.probability, atol=1e-5)
    assert counter.count(image, scaled=True).raw[0] == pytest.approx(whole_count, rel=1e-5)


def test_masks_and_pictures_have_the_frames_size(tmp_path, runs, run_cli):
    write_image(tmp_path / "images" / "a.png", 30, 41)
    stack = np.random.default_rng(2).integers(0, 65536, (2, 16, 24), np.uint16)
    tifffile.imwrite(tmp_path / "images" / "b.tif", stack, metadata={"axes": "TYX"})
    result = run_cli(
        "count", tmp_path / "images", "--model", runs["additive"], "-o", tmp_path / "counts.csv",
        "--overlay", tmp_path / "overlay", "--masks", tmp_path / "masks",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    names = {"a": (30, 41), "b": (16, 24), "b#1": (16, 24)}
    assert {file.stem for file in (tmp_path / "overlay").iterdir()} == set(names)
    for name, size in names.items():
        probability = tifffile.imread(tmp_path / "masks" / f"{name}_probability.tif")
        mask = tifffile.imread(tmp_path / "masks" / f"{name}_mask.tif")
        picture = cv2.imread(str(tmp_path / "overlay" / f"{name}.png"))
        assert probability.shape == mask.shape == picture.shape[:2] == size
        assert probability.dtype == np.float32 and mask.dtype == np.uint8
        np.testing.assert_array_equal(mask, 255 * (probability > 0.5))
        assert 0 < (mask > 0).mean() < 1
    with (tmp_path / "counts.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3


def test_resized_images_count_bit_for_bit_as_their_export_does(tmp_path, runs):
    folder = tmp_path / "run"
    shutil.copytree(runs["regressor"], folder)
    recipe = (folder / "recipe.yaml").read_text()
    (folder / "recipe.yaml").write_text(recipe.replace("size: error", "size: resize"))
    for k, size in enumerate([(30, 41), (50, 70), (16, 24), (9, 100)]):
        write_image(tmp_path / "images" / f"{k}.png", *size, seed=k)
    counters = [load_run(folder), load_counter(str(export(folder, tmp_path / "models")))]
    tables = [
        count_files([tmp_path / "images"], counter, tmp_path / f"{counter.version}.csv")
        for counter in counters
    ]
    raw = [[row.count_raw for row in table] for table in tables]
    assert raw[0] == raw[1] and len(set(raw[0])) == 4
    frames = [next(iter(read_frames(tmp_path / "images" / f"{k}.png"))) for k in range(4)]
    for frame in frames:
        mine, theirs = (counter.count(frame.pixels).raw for counter in counters)
        np.testing.assert_array_equal(mine, theirs)
    count_files([tmp_path / "images"], counters[0], tmp_path / "m.csv", masks=tmp_path / "masks")
    probability = tifffile.imread(tmp_path / "masks" / "0_probability.tif")
    seen = resize(frames[0].pixels / 255, (16, 24))
    expected = counters[0].network({"natural": seen[None]})["natural_mask"][0]
    np.testing.assert_allclose(probability, cv2.resize(np.asarray(expected), (41, 30)), atol=1e-5)


def test_files_of_one_name_keep_their_pictures_apart(tmp_path, runs, monkeypatch):
    monkeypatch.setattr(stream, "BATCH", 2)  # those of y are full, and counted, before that of x
    for name, width in (("x/a", 32), ("y/a", 24), ("y/b", 24)):
        write_image(tmp_path / f"{name}.png", 16, width, seed=width)
    counter = load_run(runs["additive"])
    count_files(
        [tmp_path / "x", tmp_path / "y"], counter, tmp_path / "c.csv", masks=tmp_path / "masks"
    )
    for name, folder in (("a", "x"), ("a-2", "y")):
        (expected,) = counter.segment(tmp_path / folder / "a.png")
        written = tifffile.imread(tmp_path / "masks" / f"{name}_probability.tif")
        np.testing.assert_allclose(written, expected.probability, atol=1e-6)


def test_folders_that_exist_are_left_alone(tmp_path, runs, tiny_run):
    write_image(tmp_path / "a.png", 16, 24)
    (tmp_path / "masks").mkdir()
    with pytest.raises(UserError, match="masks exists: name a new folder"):
        count_files(
            [tmp_path / "a.png"], load_run(runs["additive"]), tmp_path / "c.csv",
            overlay=tmp_path / "overlay", masks=tmp_path / "masks",
        )  # fmt: skip
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "masks"}


@pytest.mark.parametrize("masks", ["x/../both", "both/masks", "."])
def test_pictures_and_masks_want_two_folders(tmp_path, runs, masks):
    write_image(tmp_path / "a.png", 16, 24)
    place = tmp_path / "new" / "both"
    with pytest.raises(UserError, match="one folder or one within the other: name two folders"):
        count_files(
            [tmp_path / "a.png"], load_run(runs["additive"]), tmp_path / "c.csv",
            overlay=place, masks=tmp_path / "new" / masks,
        )  # fmt: skip
    assert {path.name for path in tmp_path.iterdir()} == {"a.png"}


def test_an_interrupted_count_leaves_the_place_of_its_pictures_free(tmp_path, runs, monkeypatch):
    write_image(tmp_path / "a.png", 16, 24)
    counter, write = load_run(runs["additive"]), SegmentationPictures.write

    def write_and_stop(*arguments):
        write(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(SegmentationPictures, "write", write_and_stop)
    with pytest.raises(KeyboardInterrupt):
        count_files([tmp_path / "a.png"], counter, tmp_path / "c.csv", overlay=tmp_path / "over")
    assert {path.name for path in tmp_path.iterdir()} == {"a.png"}


def test_a_mistyped_image_leaves_no_folder_behind(tmp_path, runs):
    with pytest.raises(UserError, match="none.png: there is no such file"):
        count_files(
            [tmp_path / "none.png"], load_run(runs["additive"]), tmp_path / "c.csv",
            overlay=tmp_path / "overlay",
        )  # fmt: skip
    assert not (tmp_path / "overlay").exists()


def test_a_model_that_only_counts_has_no_pictures(tmp_path, tiny_run):
    write_image(tmp_path / "a.png", 16, 16)
    with pytest.raises(UserError, match="gives no masks here: leave --overlay and --masks out"):
        count_files(
            [tmp_path / "a.png"], load_run(tiny_run), tmp_path / "c.csv",
            overlay=tmp_path / "overlay",
        )  # fmt: skip
    assert not (tmp_path / "c.csv").exists() and not (tmp_path / "overlay").exists()


def test_the_outline_runs_around_the_cell():
    mask = np.zeros((40, 40), np.uint8)
    mask[20:30, 10:20] = 1
    picture = outlined(np.zeros((40, 40), np.uint16), mask, "")
    inked = picture.any(axis=2)
    assert inked[20, 10:20].all() and inked[20:30, 19].all()
    assert not inked[21:29, 11:19].any() and not inked[:19].any()


def test_what_a_kill_left_is_cleaned_and_what_others_hold_is_not(tmp_path, runs):
    write_image(tmp_path / "a.png", 16, 24)
    for name in (".over-killed_1", ".over-working2", ".over-mymymine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").touch()
    (tmp_path / ".over-killed_1" / LOCK_FILE).touch()
    with lock(tmp_path / ".over-working2", otherwise=None):
        counter = load_run(runs["additive"])
        count_files([tmp_path / "a.png"], counter, tmp_path / "c.csv", overlay=tmp_path / "over")
    assert {path.name for path in tmp_path.iterdir()} == {
        "a.png", "c.csv", ".c.options.json", "over", ".over-working2", ".over-mymymine"
    }  # fmt: skip
    assert [path.name for path in (tmp_path / "over").iterdir()] == ["a.png"]


def test_pictures_of_any_name_can_be_written(tmp_path, runs):
    names = ["x" * 250 + ".png", "é" * 120 + ".png", os.fsdecode(b"\xe4.png")]
    (tmp_path / "images").mkdir()
    for name in names:
        write_image(tmp_path / "a.png", 16, 24)
        (tmp_path / "a.png").rename(tmp_path / "images" / name)
    counter = load_run(runs["additive"])
    rows = count_files(
        [tmp_path / "images"], counter, tmp_path / "c.csv",
        overlay=tmp_path / "over", masks=tmp_path / "masks",
    )  # fmt: skip
    assert len(list((tmp_path / "over").iterdir())) == sum(not row.error for row in rows)
    with pytest.raises(UserError, match="choose a shorter one"):
        count_files(
            [tmp_path / "images"], counter, tmp_path / "d.csv", overlay=tmp_path / ("x" * 300)
        )
