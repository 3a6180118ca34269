"""The sets that a recipe's data section asks for: sizes, labels, splits, backgrounds."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import tifffile

from cellzoo.data.folder import ImageSet
from cellzoo.data.sets import (
    SyntheticSource,
    cells_of,
    folder_natural,
    natural_images,
    simulated_natural,
    synthetic_cells,
)
from cellzoo.data.sources.section import FolderNatural, SimulatedNatural
from cellzoo.errors import UsageError, UserError
from cellzoo.recipe import load_recipe
from cellzoo.simulators import microscope

SIZES = {
    "train": 30, "labelled": 7, "validation": 26, "validation_labelled": 5, "test": 4,
    "test_labelled": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def simulated():
    return simulated_natural(modality="bf", seed=3, **SIZES)


def test_simulated_sets_have_the_sizes_and_labels_asked_for(simulated):
    for split, total, labelled in (("train", 30, 7), ("validation", 26, 5), ("test", 4, 4)):
        part = simulated.of(split)
        assert (len(part), part.labelled.sum()) == (total, labelled)
    assert simulated.images.shape == (60, 128, 128)
    assert simulated.images.dtype == simulated.counts.dtype == np.float32
    assert 0 <= simulated.images.min() and simulated.images.max() <= 1
    assert len(set(simulated.names)) == 60
    assert all(name.startswith("simulated_bf_") for name in simulated.names)


def test_simulated_splits_share_no_chamber(simulated):
    groups = [set(simulated.of(split).groups) for split in ("train", "validation", "test")]
    assert [len(group) for group in groups] == [2, 2, 1]
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]


def test_simulated_splits_share_no_image(simulated):
    assert len({image.tobytes() for image in simulated.images}) == 60


def test_simulated_sets_depend_on_the_seed_alone(simulated):
    again = simulated_natural(modality="bf", seed=3, **SIZES)
    other = simulated_natural(modality="bf", seed=4, **SIZES)
    np.testing.assert_array_equal(again.images, simulated.images)
    np.testing.assert_array_equal(again.counts, simulated.counts)
    assert (other.images != simulated.images).any()


@pytest.mark.parametrize(
    ("key", "of"),
    [("labelled", "train"), ("validation_labelled", "validation"), ("test_labelled", "test")],
)
def test_more_labels_than_images(key, of):
    with pytest.raises(UsageError, match=f"data.natural.{key} is 31, but only .* for {of}: lower"):
        simulated_natural(modality="bf", seed=3, **{**SIZES, key: 31})


def test_a_set_is_simulated_once_however_often_it_is_asked_for(monkeypatch):
    arguments = {"modality": "bf", "train": 3, "labelled": 1, "seed": 77, "splits": ("train",)}
    first = simulated_natural(**arguments)
    kept = first.images.copy()
    first.images[:] = 0  # what one method does to its images is no other's concern
    monkeypatch.setattr(microscope, "simulate_set", None)
    np.testing.assert_array_equal(simulated_natural(**arguments).images, kept)
    assert simulated_natural(**(arguments | {"labelled": 3})).labelled.sum() == 3


def test_simulated_images_come_in_one_size():
    section = SimulatedNatural(source="simulated", modality="bf", **SIZES)
    with pytest.raises(UsageError, match="model.image_size is 64"):
        natural_images(section, 64, 1)


# Folders


@pytest.fixture
def folder(tmp_path):
    """20 images of 10 groups of two, every third one unlabelled; no split."""
    rows = ["image,count,group"]
    for k in range(20):
        cv2.imwrite(str(tmp_path / f"{k:02d}.png"), np.full((8, 8), 10 * k, np.uint8))
        rows.append(f"{k:02d}.png,{'' if k % 3 == 2 else k},g{k // 2}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    return tmp_path


def load(folder, **options):
    return folder_natural(folder=str(folder), **{"image_size": 8, "seed": 1} | options)[0]


def write_splits(folder, splits):
    rows = [f"{k:02d}.png,{k},{split}" for k, split in enumerate(splits)]
    (folder / "labels.csv").write_text("\n".join(["image,count,split", *rows]))


def numbers(images):
    return {s: int((images.splits == s).sum()) for s in ("train", "validation", "test")}


def test_without_a_split_column_whole_groups_are_dealt_out(folder):
    images = load(folder)
    found = numbers(images)
    assert sum(found.values()) == 20
    assert 12 <= found["train"] <= 16 and found["validation"] >= 2 and found["test"] >= 2
    for group in set(images.groups):
        assert len(set(images.splits[images.groups == group])) == 1


def test_shares_of_the_recipe(folder):
    images = load(folder, shares={"train": 0.5, "validation": 0.5})
    assert numbers(images) == {"train": 10, "validation": 10, "test": 0}


def test_the_split_follows_the_seed(folder):
    splits = [load(folder, seed=seed).splits.tolist() for seed in (1, 1, 2)]
    assert splits[0] == splits[1] != splits[2]


def test_a_split_column_has_the_last_word(folder):
    write_splits(folder, ["train"] * 12 + ["validation"] * 5 + ["test"] * 3)
    images = load(folder, shares={"train": 0.1, "validation": 0.1, "test": 0.8})
    assert images.splits.tolist() == ["train"] * 12 + ["validation"] * 5 + ["test"] * 3


def test_images_that_a_split_column_leaves_out_help_to_learn(folder):
    write_splits(folder, [""] * 12 + ["validation"] * 5 + ["test"] * 3)
    assert numbers(load(folder)) == {"train": 12, "validation": 5, "test": 3}


@pytest.mark.parametrize(
    ("labelled", "kept"), [(None, 12), (5, 5), (0.25, 3), (1.0, 12), (1, 1), (0, 0)]
)
def test_labels_are_hidden_in_the_training_split_only(folder, labelled, kept):
    write_splits(folder, ["train"] * 12 + ["validation"] * 5 + ["test"] * 3)
    images = load(folder, labelled=labelled)
    assert [images.of(s).labelled.sum() for s in ("train", "validation", "test")] == [kept, 5, 3]
    shown = images.labelled
    np.testing.assert_array_equal(images.counts[shown], np.flatnonzero(shown))


def test_without_any_label_synthetic_images_have_to_tell_what_a_count_is(folder):
    write_splits(folder, ["train"] * 12 + ["validation"] * 5 + ["test"] * 3)
    section = FolderNatural(source="folder", folder=str(folder), labelled=0)
    images, _ = natural_images(section, 8, 1)
    assert not images.of("train").labelled.any() and images.of("validation").labelled.all()


def test_more_labels_asked_for_than_the_folder_has(folder):
    with pytest.raises(UserError, match="21 labelled images are asked for"):
        load(folder, labelled=21)


def test_a_folder_without_labels_has_nothing_to_learn_from(folder):
    section = FolderNatural(source="folder", folder=str(folder), labels=None)
    with pytest.raises(UserError, match="No train image of data.natural has a count: label some"):
        natural_images(section, 8, 1)


def test_the_recipe_decides_about_broken_files(folder):
    (folder / "03.png").write_bytes(b"")
    section = {"source": "folder", "folder": str(folder)}
    with pytest.raises(UserError, match="03.png: is empty"):
        natural_images(FolderNatural(**section), 8, 1)
    images, skipped = natural_images(FolderNatural(**section, on_error="skip"), 8, 1)
    assert len(images) == 19
    assert [file.name for file in skipped] == ["03.png"]


def test_the_recipe_decides_about_sizes(folder):
    section = {"source": "folder", "folder": str(folder)}
    with pytest.raises(UserError, match="is 8 x 8 px"):
        natural_images(FolderNatural(**section), 16, 1)
    images, _ = natural_images(FolderNatural(**section, size="resize"), 16, 1)
    assert images.images.shape == (20, 16, 16)


# Synthetic cells


def natural_set(levels, counts):
    n = len(levels)
    images = np.tile(np.asarray(levels, np.float32)[:, None, None], (1, 96, 96))
    names = np.array([str(k) for k in range(n)])
    return ImageSet(images, np.asarray(counts, np.float32), names, names, np.full(n, "train"))


def test_the_background_is_the_mean_of_natural_images_with_few_cells():
    levels = [0.2, 0.4] * 20 + [0.9] * 40
    natural = natural_set(levels, [0] * 20 + [3] * 20 + [4] * 20 + [np.nan] * 20)
    cells = synthetic_cells(preset="bf", background="natural", natural=natural, image_size=96)
    np.testing.assert_allclose(cells.background, 0.3, atol=1e-6)


def test_each_group_can_give_a_background():
    natural = natural_set([0.2] * 10 + [0.6] * 9 + [0.7] * 12, [np.nan] * 31)
    groups = np.array(["a"] * 10 + ["b"] * 9 + ["c"] * 12)
    choice = {"preset": "bf", "background": "groups", "image_size": 96}
    cells = synthetic_cells(**choice, natural=replace(natural, groups=groups))
    np.testing.assert_allclose(cells.background.mean(axis=(1, 2)), [0.2, 0.7], atol=1e-6)
    with pytest.raises(UserError, match="no group of training images has 10 or more: name"):
        synthetic_cells(**choice, natural=natural)


def test_cells_on_backgrounds_of_groups_may_be_as_large_as_the_image_allows():
    images = np.full((10, 256, 256), 0.5, np.float32)
    natural = replace(natural_set([0.5] * 10, [1] * 10), images=images, groups=np.full(10, "a"))
    choice = {"preset": "bf", "background": "groups", "natural": natural, "image_size": 256}
    assert synthetic_cells(**choice, radius=(40.0, 50.0)).background.shape == (1, 256, 256)


def test_unset_controls_follow_the_preset():
    natural = natural_set([0.5], [1])
    choice = {"preset": "pc", "background": None, "natural": natural, "image_size": 96}
    preset, changed = (synthetic_cells(**choice, radius=r, blur=None) for r in (None, (2.0, 3.0)))
    assert preset.background is None
    assert (preset.size, preset.radius, changed.radius) == (96, (3.0, 9.0), (2.0, 3.0))
    assert changed.fill == preset.fill == (50.0, 59.0)


def test_any_image_can_be_the_background(tmp_path):
    cv2.imwrite(str(tmp_path / "back.png"), np.full((20, 30), 102, np.uint8))
    cells = synthetic_cells(
        preset="bf", background=str(tmp_path / "back.png"), natural=None, image_size=96
    )
    assert cells.background.shape == (96, 96)
    np.testing.assert_allclose(cells.background, 0.4, atol=1e-6)


def test_a_background_is_read_as_the_natural_images_are(tmp_path):
    path = tmp_path / "back.tif"
    channels = np.full((2, 20, 30), [[[0]], [[1400]]], np.uint16)
    tifffile.imwrite(path, channels, metadata={"axes": "CYX"})
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "name: mine\ndata:\n"
        "  natural: {source: folder, folder: f, intensity: [200, 3200], channel: 1}\n"
        f"  synthetic: {{preset: bf, background: {path}}}\nmodel: {{name: twinvae_spatial}}\n"
    )
    cells = cells_of(load_recipe(recipe), None)
    np.testing.assert_allclose(cells.background, 0.4, atol=1e-6)


def test_a_background_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="back.png, and there is no such file: write 'natural'"):
        synthetic_cells(
            preset="bf", background=str(tmp_path / "back.png"), natural=None, image_size=96
        )


def test_a_fixed_set_is_what_synth_would_write():
    cells = synthetic_cells(preset="bf", background=None, natural=None, image_size=96)
    images, counts, _ = SyntheticSource(cells, 5, False, 7).batch(3, np.arange(5))
    expected_images, expected_counts = cells.render(5, (7, 0))
    np.testing.assert_array_equal(images, expected_images)
    np.testing.assert_array_equal(counts, expected_counts)


# Images that are not square


def test_a_folder_can_be_resized_to_height_and_width(folder):
    assert load(folder, image_size=(6, 10), size="resize").images.shape == (20, 6, 10)
    with pytest.raises(UserError, match="is 8 x 8 px .*, the model takes 10 x 6, set"):
        load(folder, image_size=(6, 10))


def test_synthetic_cells_are_square():
    with pytest.raises(UsageError, match=r"square images and model.image_size is \[96, 128\]"):
        synthetic_cells(preset="bf", background=None, natural=None, image_size=(96, 128))


def test_masks_come_through_the_choice_of_labels(folder):
    cv2.imwrite(str(folder / "m.png"), np.eye(8, dtype=np.uint8))
    rows = [f"{k:02d}.png,{k},train,m.png" for k in range(20)]
    (folder / "labels.csv").write_text("\n".join(["image,count,split,mask", *rows]))
    images = load(folder, labelled=5)
    assert images.has_mask.sum() == 5 and (images.has_mask == images.labelled).all()
    np.testing.assert_array_equal(images.masks[0], np.eye(8))
