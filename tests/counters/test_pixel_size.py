"""Images are counted at the scale of the training files, where both sides know their pixel size."""

import logging
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from cellzoo.counters.base import Counter
from cellzoo.counters.entries import Entry
from cellzoo.counters.load import load_counter
from cellzoo.counters.pixel_size import rescaled
from cellzoo.counters.preprocessing import Preprocessing
from cellzoo.errors import UsageError, UserError
from cellzoo.evaluation.evaluate import evaluate
from cellzoo.images import Frame, Notes, resize
from cellzoo.recipe import load_recipe
from cellzoo.runs import Run
from cellzoo.training.fit import fit

TRAINED = Preprocessing((16, 16), pixel_size_um=0.5)
SHRINKS = replace(TRAINED, resize=True)
SIZES = np.array([[32, 32], [32, 48]])  # of the training files, least and most


def frame(height, width, pixel_size_um, dtype=np.uint8):
    pixels = np.random.default_rng(0).integers(20, 250, (height, width)).astype(dtype)
    return Frame(pixels, Path("a.png"), 0, pixel_size_um)


@pytest.mark.parametrize("own, known", [(None, 0.5), (0.7, None), (None, None)])
def test_nothing_happens_where_one_side_does_not_know(own, known):
    image = frame(16, 16, own)
    found = rescaled(image, replace(TRAINED, pixel_size_um=known), SIZES, False, "m")
    assert found.frame is image and found.note == ""


@pytest.mark.parametrize("own", [0.5, 0.495, 0.508])
def test_the_same_scale_leaves_pixels_as_they_are(own):
    image = frame(16, 16, own)
    found = rescaled(image, TRAINED, None, False, "m")
    np.testing.assert_array_equal(found.frame.pixels, image.pixels)
    assert (found.note, found.share) == ("", (1, 1))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_each_side_is_rescaled_by_the_ratio_of_pixel_sizes(dtype):
    image = frame(30, 50, 0.25, dtype)
    found = rescaled(image, TRAINED, None, True, "m")
    assert found.frame.pixels.shape == (15, 25) and found.frame.pixels.dtype == dtype
    expected = resize(image.pixels, (15, 25))
    np.testing.assert_allclose(found.frame.pixels, expected, atol=0.51)
    assert found.note == (
        "has pixels of 0.25 µm and m was trained at 0.5 µm: rescaled, 0.5 times as many pixels "
        "each way"
    )


def test_a_small_image_is_padded_for_a_counter_of_one_size():
    image = frame(20, 32, 0.25)
    found = rescaled(image, TRAINED, None, False, "m")
    assert found.frame.pixels.shape == (16, 16) and found.share == (10 / 16, 1)
    assert (found.frame.pixels[10:] == np.uint8(np.median(found.frame.pixels[:10]))).all()
    assert "padded with its median" in found.note


def test_a_known_scale_decides_what_a_counter_resizes():
    """Trained on 32 x 32 to 48 x 32 px: a crop is no smaller picture of the same."""
    crop = rescaled(frame(20, 48, 0.5), SHRINKS, SIZES, False, "m")
    assert crop.frame.pixels.shape == (32, 48) and crop.share == (20 / 32, 1)
    whole = rescaled(frame(64, 80, 0.25), SHRINKS, SIZES, False, "m")
    assert whole.frame.pixels.shape == (32, 40) and whole.share == (1, 1)
    original = replace(SHRINKS, original_size=(40, 40))
    assert rescaled(frame(40, 20, 0.5), original, SIZES, False, "m").frame.pixels.shape == (40, 40)


def test_a_counter_that_does_not_know_its_files_sizes_says_what_it_does():
    image = frame(20, 48, 0.25)
    found = rescaled(image, SHRINKS, None, False, "m")
    assert found.frame is image and "resized whole, whatever the scale" in found.note


def test_what_cannot_be_right_is_refused_with_the_cure():
    with pytest.raises(UserError, match="takes 16 x 16, crop it to 32 x 32 px or set"):
        rescaled(frame(40, 20, 0.25), TRAINED, None, False, "m")
    with pytest.raises(UserError, match=r"pixels of 6.5 µm and m was trained at 0.5 µm, set .*pix"):
        rescaled(frame(40, 20, 6.5), TRAINED, None, True, "m")


class Area(Counter):
    """Counts white pixels of images of any size, and shows them."""

    name, version, any_size, can_segment = "area", "1", True, True
    preprocessing = replace(TRAINED, resize=True)

    def _prepare(self, frame, scaled):
        return self.preprocessing.unit(frame, scaled)

    def _count(self, images, domain):
        raw = (images > 0.5).sum(axis=(1, 2)).astype(np.float32)
        return raw, raw, raw

    def _segment(self, prepared):
        return prepared > 0.5, None


def spot(side, radius):
    image = np.zeros((side, side), np.uint8)
    return cv2.circle(image, (side // 3, side // 3), radius, 255, -1)


def test_arrays_and_files_are_rescaled_and_it_is_said_once(tmp_path, caplog):
    counter, image = Area(), spot(96, 24)
    as_it_is = counter.count(image).raw[0]
    assert counter.count(image, pixel_size_um=0.25).raw[0] == pytest.approx(as_it_is / 4, rel=0.05)
    for k in range(3):
        tifffile.imwrite(
            tmp_path / f"{k}.tif", image, imagej=True, resolution=(4, 4), metadata={"unit": "um"}
        )
    caplog.clear()
    with caplog.at_level(logging.WARNING, "cellzoo"):
        counts = counter.count(tmp_path)
    assert counts.raw == pytest.approx([as_it_is / 4] * 3, rel=0.05)
    assert len(caplog.messages) == 1 and "0.tif and 2 more: has pixels of 0.25" in caplog.text
    assert counter.count(tmp_path, pixel_size_um=0.5).raw[0] == as_it_is
    (mask, _), *_ = counter.segment(tmp_path)
    assert mask.shape == image.shape and ((image > 0) != mask).mean() < 0.02
    with pytest.raises(UsageError, match="micrometres above 0"):
        counter.count(image, pixel_size_um=0)


def test_padding_is_no_part_of_a_mask():
    counter, image = Area(), spot(20, 5)
    counter.any_size, counter.preprocessing = False, replace(TRAINED, size=(64, 64))
    (mask, _), *_ = counter.segment(image, pixel_size_um=1.0)
    assert ((image > 0) != mask).mean() < 0.1
    assert mask.shape == (20, 20)


def test_a_pixel_size_that_changes_nothing_is_said_to(caplog):
    counter = Area()
    counter.preprocessing = Preprocessing((16, 16))
    counter.count(spot(16, 4), pixel_size_um=0.25)
    assert "area does not know at which pixel size it was trained" in caplog.text


def test_preprocessing_of_an_export_keeps_it():
    assert Preprocessing.from_metadata({"preprocessing": asdict(TRAINED)}) == TRAINED
    earlier = {k: v for k, v in asdict(TRAINED).items() if k != "pixel_size_um"}
    assert Preprocessing.from_metadata({"intake": earlier}).pixel_size_um is None


def test_a_counter_in_tiles_takes_a_part_of_an_original_for_what_it_is():
    """Its network's size is that of a whole original, shrunk: a part may have that size, too."""
    counter = load_counter("zoo:bbbc005")
    image = np.random.default_rng(1).integers(0, 99, (520, 696)).astype(np.uint8)

    def prepared(pixels, pixel_size_um):
        entry = Entry(Path("a.png"), frame=Frame(pixels, Path("a.png"), 0, pixel_size_um))
        counter.prepare(entry, Notes())
        return entry.prepared.shape

    assert prepared(image[:136, :184], 0.5) == (136, 184)  # nothing is known: shrunk already
    counter.preprocessing = replace(counter.preprocessing, pixel_size_um=0.5)
    assert prepared(image[:136, :184], 0.5) == (36, 49)
    assert prepared(image[::2, ::2], 1.0) == prepared(image, 0.5) == (136, 184)
    assert prepared(image, 0.25) == (68, 92)


# From the training files to the counter


def write_training_images(folder, column=None):
    """Twelve pictures of spots, of 0.5 µm a pixel as the files or their table say."""
    folder.mkdir()
    lines = ["image,count,split" + (",pixel_size_um" if column else "")]
    for k in range(12):
        image = np.full((16, 16), 40, np.uint8)
        for n in range(k % 4):
            cv2.circle(image, (4 * n + 2, 8), 1, 200, -1)
        facts = {} if column else {"resolution": (2, 2), "metadata": {"unit": "um"}}
        tifffile.imwrite(folder / f"{k}.tif", image, imagej=True, **facts)
        split = "validation" if k % 4 == 3 else "train"
        lines.append(f"{k}.tif,{k % 4},{split}" + (f",{column(k)}" if column else ""))
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")


def trained(folder, extra=""):
    text = (
        "name: plain\ndata: {natural: {source: folder, folder: cells, copies: allow}}\n"
        "model: {name: brightness, image_size: 16}\n"
    )
    (folder / "plain.yaml").write_text(text + extra)
    return fit(load_recipe(folder / "plain.yaml"), folder / "run")


def test_a_counter_knows_the_pixel_size_of_its_training_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_training_images(tmp_path / "cells")
    run = trained(tmp_path)
    assert run.pixel_size_um == pytest.approx(0.5)
    assert "0.5 µm" in (run.path / "README.md").read_text()
    counter = load_counter(run.path)
    assert counter.preprocessing.pixel_size_um == pytest.approx(0.5)
    image = tifffile.imread(tmp_path / "cells" / "3.tif")
    large = cv2.resize(image, (32, 32), interpolation=cv2.INTER_NEAREST)
    same = counter.count([image, large], pixel_size_um=0.25)
    assert counter.count(large, pixel_size_um=0.25).raw == pytest.approx(counter.count(image).raw)
    assert len(same) == 2  # the first one is padded


def test_the_column_of_the_table_and_the_card_say_it_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_training_images(tmp_path / "cells", column=lambda k: "" if k == 0 else 0.65)
    run = trained(tmp_path)
    assert run.pixel_size_um == pytest.approx(0.65)
    recipe = run.recipe_file.read_text()
    run.recipe_file.write_text(recipe + "card: {pixel_size_um: 1.5}\n")
    assert load_counter(run.path).preprocessing.pixel_size_um == Run(run.path).pixel_size_um == 1.5


def test_files_of_several_scales_give_none_and_that_is_said(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    write_training_images(tmp_path / "cells", column=lambda k: 0.5 if k % 2 else 0.65)
    assert trained(tmp_path).pixel_size_um is None
    assert "Training files have pixels of 0.5 to 0.65 µm" in caplog.text


def test_a_card_that_contradicts_the_files_is_said_to(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    write_training_images(tmp_path / "cells")
    assert trained(tmp_path, "card: {pixel_size_um: 5}\n").pixel_size_um == 5
    assert "card.pixel_size_um is 5, but the training files have pixels of 0.5 µm" in caplog.text


def test_a_pixel_size_that_is_none_is_refused_with_its_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_training_images(tmp_path / "cells", column=lambda k: "40x" if k == 2 else 0.65)
    with pytest.raises(UserError, match="labels.csv: line 4: the pixel_size_um '40x' is no width"):
        trained(tmp_path)


def test_evaluate_warns_of_images_of_another_scale(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    write_training_images(tmp_path / "cells")
    run = trained(tmp_path)
    write_training_images(tmp_path / "others", column=lambda k: 2)
    evaluate(run.path, tmp_path / "others", tmp_path / "report", allow_copies=True)
    assert "images have pixels of 2 µm and plain was trained at 0.5 µm" in caplog.text
