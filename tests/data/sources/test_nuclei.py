"""Real and simulated nuclei in one set."""

import cv2
import numpy as np
import pytest

from cellzoo.data.sources.nuclei import Nuclei
from cellzoo.errors import UserError


@pytest.fixture
def folder(tmp_path):
    """Eight images of 32 px with two numbered cells each."""
    rows = ["image,label_image,split"]
    for k in range(8):
        cells = np.zeros((32, 32), np.uint16)
        cells[4:12, 4:12], cells[16:26, 14:24] = 1, 2
        cv2.imwrite(str(tmp_path / f"{k}.png"), (20 + 20 * cells + k).astype(np.uint8))
        cv2.imwrite(str(tmp_path / f"label_{k}.png"), cells)
        split = ("train", "validation", "test", "train")[k % 4]
        rows.append(f"{k}.png,label_{k}.png,{split}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def source(folder, **more):
    return Nuclei(
        folder=str(folder), simulated_train=5, simulated_validation=3, diameters=(8, 12), **more
    )


def test_simulated_images_teach_and_calibrate_and_are_not_tested_on(folder):
    images, skipped = source(folder).load(32, 1)
    assert not skipped
    kinds = {split: images.of(split).kinds.tolist() for split in ("train", "validation", "test")}
    assert kinds == {
        "train": 4 * ["real"] + 5 * ["simulated"],
        "validation": 2 * ["real"] + 3 * ["simulated"],
        "test": 2 * ["real"],
    }
    np.testing.assert_array_equal(images.counts, images.masks.max(axis=(1, 2)))
    assert images.masks.dtype == np.uint16 and images.images.max() <= 1


def test_only_the_splits_asked_for_are_drawn(folder):
    images, _ = source(folder).load(32, 1, ("test",))
    assert images.kinds.tolist() == ["real", "real"]


def test_without_label_images_it_stops(folder):
    (folder / "labels.csv").write_text("image,count,split\n0.png,2,train\n1.png,2,validation\n")
    with pytest.raises(UserError, match="learns from label images"):
        source(folder).load(32, 1)
