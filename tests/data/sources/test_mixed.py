"""Images of several kinds in one set, with cells of one size."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from cellzoo.data.copies import check_splits, fingerprints
from cellzoo.data.image_set import ImageSet, column
from cellzoo.data.rescaled import rescaled
from cellzoo.data.sources.mixed import Mixed
from cellzoo.errors import UsageError, UserError


@pytest.fixture
def folders(tmp_path):
    """``large``, cells of 40 px in 80 x 120 px with dots, and ``small``, cells of 10 px."""
    random = np.random.default_rng(0)
    for name, size in (("large", (80, 120)), ("small", (30, 30))):
        folder = tmp_path / name
        folder.mkdir()
        rows = ["image,count,split"]
        for k in range(6):
            image = random.integers(0, 255, size, np.uint8)
            cv2.imwrite(str(folder / f"{k}.png"), cv2.GaussianBlur(image, (0, 0), 3))
            rows.append(f"{k}.png,{'' if k == 3 else k % 2},{'validation' if k > 3 else 'train'}")
        (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "large" / "points.csv").write_text("image,x,y\n1.png,79.5,39.5\n5.png,0,0\n")
    return tmp_path


def source(folders, **more):
    sets = [
        {
            "name": name,
            "diameter": diameter,
            "images": {"source": "folder", "folder": str(folders / name)},
        }
        for name, diameter in (("large", 40), ("small", 10))
    ]
    return Mixed(sets=sets, diameter=10, **more)


def test_all_cells_get_one_diameter_and_what_is_free_the_mean(folders):
    images, skipped = source(folders).load(32, 1)
    assert not skipped
    assert images.kinds.tolist() == 5 * ["large"] + 5 * ["small"]  # without those not labelled
    assert images.contents.tolist() == 5 * [[20, 30]] + 5 * [[30, 30]]
    assert [part.shape for part in images.parts[4:6]] == [(20, 30), (30, 30)]
    first = images.images[0]
    np.testing.assert_allclose(first[20:], first[:20, :30].mean(), rtol=1e-5)
    # The middle of the file stays the middle of what there is of it.
    np.testing.assert_allclose(images.points[1], [[19.5, 9.5]], atol=0.2)
    assert images.points[0].shape == (0, 2) and images.points[7] is None


def test_images_are_also_kept_as_files_have_them(folders):
    images, _ = source(folders).load(32, 1)
    held_out = images.of("validation")
    assert [image.shape for image in held_out.given] == 2 * [(80, 120)] + 2 * [(30, 30)]
    file = cv2.imread(str(folders / "large" / "4.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_allclose(held_out.given[0] * 255, file, atol=1e-3)


def test_sets_can_be_left_out(folders):
    images, _ = source(folders, leave_out=["large"]).load(32, 1)
    assert set(images.kinds) == {"small"}
    with pytest.raises(UsageError, match=r"has smal, which is none of large, small"):
        source(folders, leave_out=["smal"]).check(32)


def test_errors_name_the_keys_of_their_set(folders):
    cure = "set images.folder of large in data.natural.sets to yours"
    gone = source(folders / "elsewhere")
    for read in (gone.check_files, lambda: gone.load(32, 1)):
        with pytest.raises(UserError, match=cure):
            read()
    cv2.imwrite(str(folders / "small" / "3.png"), np.zeros((30, 30, 3), np.uint8) + (1, 2, 3))
    with pytest.raises(UserError, match="set images.channel of small in data.natural.sets: "):
        source(folders).load(32, 1)


def test_images_that_nobody_marked_can_be_left_out(folders):
    some = source(folders).sets[0]
    images, _ = Mixed(sets=[some.model_copy(update={"least": 1})], diameter=10).load(32, 1)
    assert images.counts.tolist() == [1, 1]  # of 1 and 5; 0, 2 and 4 have none


def test_images_that_find_no_room_are_refused(folders):
    with pytest.raises(UserError, match="images of large have 30 x 20 px .* raise that"):
        source(folders).load(24, 1)


def test_simulated_chambers_join_in():
    images = {"source": "simulated", "modality": "bf", "train": 6, "labelled": 5, "validation": 4,
              "validation_labelled": 4}  # fmt: skip
    mixed = Mixed(sets=[{"name": "chambers", "diameter": 18, "images": images}], diameter=9)
    mixed.check(64)
    found, _ = mixed.load(64, 1, ("train", "validation"))
    assert (found.splits == "train").sum() == 5 and (found.splits == "validation").sum() == 4
    assert found.images.shape[1:] == (64, 64) and found.given[5].shape == (128, 128)
    with pytest.raises(UserError, match="more than model.image_size"):
        mixed.check(56)


def test_rescaled_images_stay_whole_and_their_dots_on_their_cells():
    images = np.full((2, 40, 40), 0.5, np.float32)
    images[:, 10, 6] = 1.0  # a cell of one pixel, in 20 x 16 px that there are of the image
    points = np.empty(2, object)
    points[0] = np.float32([[6, 10]])
    names = np.array(["a", "b"])
    known = ImageSet(images, np.float32([1, 1]), names, names, names, points=points,
                     contents=np.array([[20, 16], [20, 16]]),
                     originals=column([image[:20, :16] for image in images]))  # fmt: skip
    places_seen = set()
    for seed in range(20):
        random = np.random.default_rng(seed)
        made, places = rescaled(known, [0, 1], 1.5, random)
        assert made.shape == (2, 40, 40) and places[1] is None
        y, x = np.unravel_index(made[0].argmax(), (40, 40))
        np.testing.assert_allclose(places[0], [[x, y]], atol=0.8)
        places_seen.add((y, x))
    assert len(places_seen) > 10


def test_larger_cells_find_no_more_room_than_there_is():
    images = np.random.default_rng(0).random((1, 20, 20)).astype(np.float32)
    names = np.array(["a"])
    known = ImageSet(images, np.float32([1]), names, names, names, contents=np.array([[20, 20]]),
                     originals=column(images))  # fmt: skip
    for seed in range(10):
        made, places = rescaled(known, [0], 3.0, np.random.default_rng(seed))
        assert made.shape == (1, 20, 20) and places is None


def test_small_images_in_uneven_light_are_no_copies_of_each_other(folders):
    random = np.random.default_rng(1)
    light = np.linspace(60, 190, 30)
    for k in range(6):
        image = light + cv2.GaussianBlur(random.normal(0, 40, (30, 30)), (0, 0), 1.5)
        cv2.imwrite(str(folders / "small" / f"{k}.png"), image.clip(0, 255).astype(np.uint8))
    images, _ = source(folders).load(128, 1)  # most of it filled up
    assert len(images) == 10


def test_files_of_other_sizes_are_refused(folders):
    image = np.random.default_rng(2).integers(0, 255, (30, 60), np.uint8)
    cv2.imwrite(str(folders / "small" / "2.png"), image)
    with pytest.raises(UserError, match=r"2.png of small has 60 x 30 px, other images 30 x 30"):
        source(folders).load(32, 1)


def test_a_mask_of_1_bit_may_be_the_first_file_of_a_folder(folders):
    folder = folders / "small"
    for k in range(6):
        (folder / f"{k}.png").rename(folder / f"p{k}.png")
        (folder / "cells").mkdir(exist_ok=True)
        mask = np.eye(30, dtype=np.uint8) * 255
        cv2.imwrite(str(folder / f"cells/{k}.png"), mask, [cv2.IMWRITE_PNG_BILEVEL, 1])
    rows = [f"p{k}.png,1,{'validation' if k > 3 else 'train'},cells/{k}.png\n" for k in range(6)]
    (folder / "labels.csv").write_text("image,count,split,mask\n" + "".join(rows))
    images, _ = source(folders, leave_out=["large"]).load(32, 1)
    assert len(images) == 6 and images.contents.tolist() == 6 * [[30, 30]]


def test_a_split_without_images_is_empty(folders):
    images, _ = source(folders).read(32, 1, ("test",))
    assert len(images) == 0 and images.names.dtype.kind == "U"


def test_folders_and_copies_are_those_of_its_sets(folders):
    assert source(folders).folders == (folders / "large", folders / "small")
    assert source(folders, leave_out=["large"]).folders == (folders / "small",)
    assert not source(folders).allows_copies
    sets = source(folders).sets
    images = sets[0].images.model_copy(update={"copies": "allow"})
    assert Mixed(sets=[sets[0].model_copy(update={"images": images}), sets[1]]).allows_copies


def test_all_labels_can_be_read_again(folders):
    sets = [
        each.model_copy(update={"images": each.images.model_copy(update={"labelled": 1})})
        for each in source(folders).sets
    ]
    some = Mixed(sets=sets, diameter=10)
    few, _ = some.load(32, 1, ("train",))
    every, _ = some.with_all_labels().load(32, 1, ("train",))
    assert (len(few), len(every)) == (2, 6)


def test_copies_are_looked_for_in_images_as_files_have_them(folders):
    images, _ = source(folders, leave_out=["small"]).load(32, 1)
    alike = replace(images, images=np.repeat(images.images[:1], len(images), axis=0))
    check_splits(alike, fingerprints(alike.given))
    with pytest.raises(UserError, match="shows the same as"):
        made_small = replace(alike, originals=None)
        check_splits(made_small, fingerprints(made_small.given))
