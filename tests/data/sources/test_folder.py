"""A lab's folder as a source: splits, labels that are hidden, files that the recipe passes over."""

import cv2
import numpy as np
import pytest

from cellzoo.data.sources import Folder
from cellzoo.errors import UserError


@pytest.fixture
def folder(tmp_path):
    """20 images of 10 groups of two, every third one unlabelled; no split."""
    rows = ["image,count,group"]
    for k in range(20):
        cv2.imwrite(str(tmp_path / f"{k:02d}.png"), np.full((8, 8), 10 * k, np.uint8))
        rows.append(f"{k:02d}.png,{'' if k % 3 == 2 else k},g{k // 2}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    return tmp_path


def load(folder, image_size=8, seed=1, **keys):
    return Folder(folder=str(folder), **keys).read(image_size, seed)[0]


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


def test_a_seed_of_its_own_keeps_the_split_for_every_seed(folder):
    splits = [load(folder, seed=seed, split_seed=0).splits.tolist() for seed in (1, 2)]
    assert splits[0] == splits[1] == load(folder, seed=0).splits.tolist()


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
    section = Folder(folder=str(folder), labelled=0)
    images, _ = section.load(8, 1)
    assert not images.of("train").labelled.any() and images.of("validation").labelled.all()


def test_more_labels_asked_for_than_the_folder_has(folder):
    with pytest.raises(UserError, match="21 labelled images are asked for"):
        load(folder, labelled=21)


def test_a_folder_without_labels_has_nothing_to_learn_from(folder):
    section = Folder(folder=str(folder), labels=None)
    with pytest.raises(UserError, match="No train image of data.natural has a count: label some"):
        section.load(8, 1)


def test_the_recipe_decides_about_broken_files(folder):
    (folder / "03.png").write_bytes(b"")
    section = {"folder": str(folder)}
    with pytest.raises(UserError, match="03.png: is empty"):
        Folder(**section).load(8, 1)
    images, skipped = Folder(**section, on_error="skip").load(8, 1)
    assert len(images) == 19
    assert [file.name for file in skipped] == ["03.png"]


def test_the_recipe_decides_about_sizes(folder):
    section = {"folder": str(folder)}
    with pytest.raises(UserError, match="is 8 x 8 px"):
        Folder(**section).load(16, 1)
    images, _ = Folder(**section, size="resize").load(16, 1)
    assert images.images.shape == (20, 16, 16)


def test_a_folder_can_be_resized_to_height_and_width(folder):
    assert load(folder, image_size=(6, 10), size="resize").images.shape == (20, 6, 10)
    with pytest.raises(UserError, match="is 8 x 8 px .*, the model takes 10 x 6, set"):
        load(folder, image_size=(6, 10))


def test_masks_come_through_the_choice_of_labels(folder):
    cv2.imwrite(str(folder / "m.png"), np.eye(8, dtype=np.uint8))
    rows = [f"{k:02d}.png,{k},train,m.png" for k in range(20)]
    (folder / "labels.csv").write_text("\n".join(["image,count,split,mask", *rows]))
    images = load(folder, labelled=5)
    assert images.has_mask.sum() == 5 and (images.has_mask == images.labelled).all()
    for mask, known in zip(images.masks, images.has_mask, strict=True):
        np.testing.assert_array_equal(mask, np.eye(8) * known)


def test_labels_that_a_model_had_a_part_in_teach_and_check_nothing(folder, caplog):
    rows = ["image,count,split,assisted"]
    for k in range(20):
        split = ("train", "validation", "test")[k % 3]
        rows.append(f"{k:02d}.png,{k},{split},{'1' if k < 9 else ''}")
    (folder / "labels.csv").write_text("\n".join(rows))
    with caplog.at_level("WARNING", logger="cellzoo"):
        images = load(folder)
    assert images.of("train").labelled.all()
    for split in ("validation", "test"):
        part = images.of(split)
        numbers = [int(name[:2]) for name in part.names]
        assert part.labelled.tolist() == [k >= 9 for k in numbers]
    assert "6 labels were made with a model's count in view" in caplog.text
    assert load(folder, assisted="keep").labelled.all()


def test_what_says_neither_is_refused(folder):
    (folder / "labels.csv").write_text("image,count,assisted\n00.png,1,maybe\n")
    with pytest.raises(UserError, match="line 2: assisted is 'maybe', write 1"):
        load(folder)


@pytest.mark.parametrize(
    ("name", "group", "said"), [("w_t{}.png", "", 1), ("w_t{}.png", "{}", 0), ("w{}.png", "", 0)]
)
def test_a_time_lapse_in_several_splits_is_warned_of_once(tmp_path, caplog, name, group, said):
    rows = ["image,count,group"]
    for k in range(6):
        cv2.imwrite(str(tmp_path / name.format(k)), np.full((8, 8), 10 * k, np.uint8))
        rows.append(f"{name.format(k)},{k},{group.format(k // 2)}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    with caplog.at_level("WARNING", logger="cellzoo"):
        load(tmp_path)
    assert caplog.text.count("a time-lapse, by the names of its files") == said
