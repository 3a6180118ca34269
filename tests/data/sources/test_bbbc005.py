"""BBBC005: names, both layouts of folders, masks, and a split that keeps a layout together."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from cellzoo.data.sources.bbbc005 import BBBC005, Scene, parse_name
from cellzoo.errors import UserError

SHARED = Path(__file__).parents[4] / "shared" / "data"
COUNTS, SAMPLES, BLURS = (1, 5, 10, 14, 18), (1, 2, 3, 4), (1, 5)


def write(file, value):
    pixels = np.full((6, 8), value, np.uint8)
    pixels[0] = 0
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), pixels)


@pytest.fixture(params=["original", "short"])
def folder(request, tmp_path):
    """80 images of 20 layouts; grey level = count; masks for images in focus only."""
    original = request.param == "original"
    images = tmp_path / ("BBBC005_v1_images" if original else "data/images")
    masks = tmp_path / ("BBBC005_v1_ground_truth" if original else "data/masks")
    for count in COUNTS:
        for sample in SAMPLES:
            for stain in (1, 2):
                for blur in BLURS:
                    name = f"A{blur:02d}_C{count}_F{blur}_s{sample:02d}_w{stain}"
                    name = f"SIMCEPImages_{name}.TIF" if original else f"{name}.png"
                    write(images / name, count)
                    if blur == 1:
                        write(masks / name, 255)
    if not original:
        (tmp_path / "data" / "labels.csv").write_text("image,count\n")
    return images if original else tmp_path / "data"


def load(folder, image_size=(6, 8), seed=1, **keys):
    return BBBC005(folder=str(folder), **keys).read(image_size, seed)


@pytest.mark.parametrize(
    "name", ["SIMCEPImages_A24_C100_F48_s25_w2.TIF", "A24_C100_F48_s25_w2.png"]
)
def test_names(name):
    assert parse_name(Path("x") / name) == Scene(count=100, focus=48, sample=25, stain=2)
    assert parse_name(Path(name)).group == "c100_s25"


@pytest.mark.parametrize(
    "name", ["a.png", "A01_C1_F1_s01.png", "A01_Cx_F1_s01_w1.png", "A01_C1_F1_s01_w1 copy.png"]
)
def test_other_names_are_one_sentence(name):
    with pytest.raises(UserError, match=f"{name}: is no name of BBBC005 such as"):
        parse_name(Path(name))


def test_images_counts_masks(folder):
    images, skipped = load(folder)
    assert len(images) == 80 and skipped == []
    assert images.images.shape == images.masks.shape == (80, 6, 8)
    np.testing.assert_allclose(images.images[:, 3, 3] * 255, images.counts, rtol=1e-5)
    assert images.has_mask.all() and set(np.unique(images.masks)) == {0, 1}
    assert sorted(set(images.counts.tolist())) == list(COUNTS)


def test_a_layout_stays_in_one_split_of_the_right_size(folder):
    images, _ = load(folder)
    for group in set(images.groups):
        here = images.groups == group
        assert here.sum() == 4 and len(set(images.splits[here])) == 1
    layouts = [len(set(images.of(s).groups)) for s in ("train", "validation", "test")]
    assert layouts == [14, 4, 2]


def test_the_split_follows_the_seed_and_not_the_choice_of_stains(folder):
    whole, chosen = load(folder)[0], load(folder, stains=[2], blurs=[5])[0]
    assert len(chosen) == 20 and all("_F5_" in n and "_w2" in n for n in chosen.names)
    split_of = dict(zip(whole.groups, whole.splits, strict=True))
    assert [split_of[group] for group in chosen.groups] == chosen.splits.tolist()
    assert load(folder)[0].splits.tolist() == whole.splits.tolist()
    assert load(folder, seed=2)[0].splits.tolist() != whole.splits.tolist()
    kept = load(folder, seed=2, split_seed=1)[0]
    assert kept.splits.tolist() == whole.splits.tolist()
    halves = load(folder, shares={"train": 0.5, "test": 0.5})[0]
    assert (halves.splits == "train").sum() == 40


def test_labels_can_be_hidden_with_their_masks(folder):
    images, _ = load(folder, labelled=3)
    train = images.of("train")
    assert train.labelled.sum() == train.has_mask.sum() == 3
    assert images.of("validation").labelled.all()


def test_other_sizes(folder):
    with pytest.raises(UserError, match="is 8 x 6 px .*, the model takes 12 x 12, set"):
        load(folder, image_size=12)
    images, _ = load(folder, image_size=12, size="resize")
    assert images.images.shape == images.masks.shape == (80, 12, 12)


def test_a_choice_that_leaves_nothing(folder):
    with pytest.raises(UserError, match=r"no image has stains \[1\] and focus levels \[7\], .*5\]"):
        load(folder, stains=[1], blurs=[7])


def test_files_that_do_not_belong(folder):
    name = next(folder.rglob("*_w1.*")).parent / "overview.png"
    write(name, 3)
    with pytest.raises(UserError, match="overview.png: is no name of BBBC005"):
        load(folder)
    images, skipped = load(folder, on_error="skip")
    assert len(images) == 80 and [file.name for file in skipped] == ["overview.png"]


def test_somebodys_own_folder_of_masks_beside_it_is_left_alone(folder):
    beside = folder.resolve().parent / "masks"
    beside.mkdir()
    write(beside / "mine.png", 3)
    assert load(folder)[0].has_mask.all()


def test_without_masks(folder):
    for file in [*folder.parent.rglob("BBBC005_v1_ground_truth/*"), *folder.rglob("masks/*")]:
        file.unlink()
    for place in [*folder.parent.rglob("BBBC005_v1_ground_truth"), *folder.rglob("masks")]:
        place.rmdir()
    assert load(folder)[0].masks is None


def test_from_a_recipe_section(folder):
    section = BBBC005(folder=str(folder), stains=[1], size="resize")
    images, _ = section.load(8, 1, ("train", "validation"))
    assert len(images) == 36 and not (images.splits == "test").any()
    gone = BBBC005(folder=str(folder / "gone"))
    with pytest.raises(UserError, match="there is no such folder, set data.natural.folder"):
        gone.load(8, 1)


def test_the_real_ones():
    data = SHARED / "bbbc005"
    if not data.is_dir():
        pytest.skip("no bbbc005 in ../shared/data beside the checkout")
    images, _ = load(data, image_size=(52, 70), size="resize", stains=[1])
    assert len(images) > 300 and images.has_mask.all()
    part = images.take(images.counts == 100)
    assert 0.15 < (part.masks > 0).mean() < 0.3
