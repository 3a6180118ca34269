"""Counters of images of any scale: what they measure, say and refuse."""

import copy

import cv2
import numpy as np
import pytest
import tensorflow as tf
from bright_discs import discs

from cellzoo.commands.export import export
from cellzoo.counters.connection import Connection
from cellzoo.counters.load import load_counter
from cellzoo.counters.measuring import Diameter, unfamiliar
from cellzoo.counters.stream import CounterGone, RefusedImages, count_entries
from cellzoo.errors import UsageError, UserError
from cellzoo.images.normalise import normalise
from cellzoo.recipe import load_recipe
from cellzoo.runs import Run, build_network
from cellzoo.serving.config import watch_models
from cellzoo.serving.server import Server, Settings
from cellzoo.trust.intervals import Interval
from cellzoo.trust.out_of_distribution import OutOfDistribution

RECIPE = """\
name: tiny_nuclei
data:
  natural: {source: nuclei, folder: cells}
  normalise: {diameter: 12, window: 32}
augment: {crop: 1}
model: {name: dcc, image_size: 64, channels: [2, 3], head: additive}
"""


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A run folder whose network was never trained. Not to be changed."""
    folder = tmp_path_factory.mktemp("nuclei")
    (folder / "recipe.yaml").write_text(RECIPE)
    recipe = load_recipe(folder / "recipe.yaml")
    run = Run.create(folder / "run", recipe)
    run.save_best(build_network(recipe))
    return run.path


@pytest.fixture(scope="module")
def loaded(run_folder):
    return load_counter(str(run_folder))


@pytest.fixture
def counter(loaded):
    """It sees cells as a threshold does, in the image as it was made alike for its network."""
    counter = copy.copy(loaded)

    def maps(image, diameter):
        mask = (normalise(image, diameter, 12) > 0.3).astype(np.float32)
        cells = cv2.connectedComponents(mask.astype(np.uint8))[0] - 1.0
        return mask, mask * (cells / max(1, mask.sum()))

    counter.measuring = copy.copy(loaded.measuring)
    counter.measuring._maps = maps
    return counter


@pytest.mark.parametrize("diameter", [10, 24, 48])
def test_cells_are_measured_and_made_alike(counter, diameter):
    image = (3000 * discs(diameter, 6 * diameter, 2) + 100).astype(np.uint16)
    entry = next(counter._entries(image, False, None, {}))
    counter.prepare(entry, None)
    assert entry.diameter == pytest.approx(diameter, rel=0.15)
    assert entry.prepared.shape == pytest.approx((72, 72), rel=0.15)
    assert entry.remark == ""


def test_what_the_network_measures_corrects_the_blobs(counter, monkeypatch):
    image = discs(20, 120, 2)
    blobs = type("Blobs", (), {"diameter": 28.0})
    monkeypatch.setattr("cellzoo.counters.by_mask.find_blobs", lambda _: blobs)
    entry = next(counter._entries(image, True, None, {}))
    counter.prepare(entry, None)
    assert entry.diameter == pytest.approx(20, rel=0.15) and entry.remark == ""
    blobs.diameter = 70.0
    counter.prepare(entry, None)
    assert "px large: state their diameter" in entry.remark


def test_without_cells_there_is_no_diameter_and_no_remark(counter):
    counter.measuring._maps = lambda image, diameter: (np.zeros((9, 9)), np.zeros((9, 9)))
    entry = next(counter._entries(np.full((40, 50), 7, np.uint8), False, None, {}))
    counter.prepare(entry, None)
    assert np.isnan(entry.diameter) and entry.remark == ""


def test_cells_that_it_is_not_meant_for_are_flagged(counter):
    entry = next(counter._entries(discs(90, 540, 2), True, None, {}))
    counter.prepare(entry, None)
    assert "meant for 8 to 60 px" in entry.remark


def test_a_stated_diameter_is_taken(counter):
    entry = next(counter._entries(discs(20, 120), True, None, {"pixel_size_um": 0.5}))
    counter.with_diameter("24px").prepare(entry, None)
    assert (entry.diameter, entry.prepared.shape) == (24, (60, 60))
    counter.with_diameter("20 um").prepare(entry, None)
    assert entry.diameter == 40
    assert counter.measuring.stated is None
    entry = next(counter._entries(discs(20, 120), True, None, {}))
    with pytest.raises(UserError, match="does not say how wide its pixels are"):
        counter.with_diameter("12um").prepare(entry, None)


def test_a_stated_diameter_that_the_image_contradicts_is_flagged(counter):
    def remark(diameter, stated):
        entry = next(counter._entries(discs(diameter, 6 * diameter, 2), True, None, {}))
        counter.with_diameter(stated).prepare(entry, None)
        return entry.remark

    assert remark(20, "22px") == ""
    assert "50 px are stated, and measured are" in remark(20, "50px")
    assert "cells of 90 px, meant for 8 to 60 px" in remark(90, "90px")


def test_a_count_that_depends_on_the_scale_is_flagged(counter):
    entry = next(counter._entries(discs(20, 120, 2), True, None, {}))
    counter.prepare(entry, None)
    assert entry.remark == ""
    seen = []

    def maps(image, diameter):  # as many cells as there is texture of one size
        seen.append(image.shape)
        mask = normalise(image, diameter, 12) > 2
        return mask, np.full(mask.shape, 36.0 * (20 / diameter) ** 2 / mask.size)

    counter.measuring._maps = maps
    for counted in (counter, counter.with_diameter("20px")):
        counted.measuring._measured = lambda image: (20.0, "")
        counted.prepare(entry, None)
        assert "depends on the size that cells are taken for" in entry.remark
        entry.remark = ""
    # Of a large image the middle alone.
    entry = next(counter._entries(np.zeros((3000, 2000), np.uint8), False, None, {}))
    counter.prepare(entry, None)
    assert seen[-1] == (682, 682)


def test_what_is_darker_than_the_background_is_flagged(counter):
    def remark(rims, slope):
        """Cells with dark rims on a background that rises from side to side."""
        image = np.full((180, 180), 100, np.float32) + slope * np.arange(180, dtype=np.float32)
        for y, x in np.ndindex(3, 3):
            middle = 30 + 60 * x, 30 + 60 * y
            if rims:
                cv2.circle(image, middle, 11, -rims, 3)
                cv2.circle(image, middle, 11, 100 - rims, 3)
            cv2.circle(image, middle, 10, 200, -1)
        noisy = image + np.random.default_rng(0).normal(0, 5, image.shape)
        entry = next(counter._entries(np.rint(noisy).astype(np.uint8), False, None, {}))
        counter.prepare(entry, None)
        return entry.remark

    assert remark(rims=0, slope=0) == "" and remark(rims=0, slope=0.1) == ""
    assert remark(rims=20, slope=0) == ""
    assert "darker than the background, as in transmitted light" in remark(rims=90, slope=0)


def test_intervals_are_wider_where_cells_crowd(loaded):
    """A density of its own, as a network would give it, of cells of 12 px."""

    def width(apart):
        density = np.zeros((120, 120), np.float32)
        density[6::apart, 6::apart] = 1
        density = cv2.GaussianBlur(density, (0, 0), 3)
        measuring = copy.copy(loaded.measuring)
        measuring._tiled = type("Tiled", (), {"tiling": loaded.measuring._tiled.tiling,
                                              "map": lambda self, name, image: density})()
        (cells,), (wider,) = measuring._counted(density[None])
        assert cells == pytest.approx(density.sum())
        raw, low, high = measuring.count(density[None], Interval(9.0, 0.0), None)
        assert high - raw == pytest.approx(3 * wider) and raw - low == pytest.approx(3 * wider)
        return wider

    assert width(apart=24) == 1
    assert 1 < width(apart=12) < width(apart=8)
    assert width(apart=8) == pytest.approx(1 + 4 * (113.1 / 64 - 0.45), rel=0.1)


@pytest.mark.parametrize("stated", ["0.5px", "5000px"])
def test_a_diameter_that_cannot_be_meant_is_refused(counter, stated):
    entry = next(counter._entries(discs(20, 120), True, None, {}))
    with pytest.raises(UserError, match="correct the diameter or the pixel size"):
        counter.with_diameter(stated).prepare(entry, None)


@pytest.mark.parametrize("text", ["", "px", "-3", "0", "nan", "12 mm"])
def test_what_is_no_diameter_is_refused(text):
    with pytest.raises(UsageError, match="write it as 25px or 12um"):
        Diameter.parse(text)


def test_other_counters_take_no_diameter(tiny_run):
    with pytest.raises(UsageError, match="takes cells as large as in training"):
        load_counter(str(tiny_run)).with_diameter("20px")


def test_any_size_is_counted_the_same_whatever_the_exposure(counter):
    dim = discs(16, 150)
    bright = (4095 * dim).astype(np.uint16)
    counts = counter.count([bright, bright[:, :99]]).raw
    assert counts.shape == (2,) and np.isfinite(counts).all()
    # An untrained network gives each pixel a density of its own.
    assert counter.count(dim, scaled=True).raw[0] == pytest.approx(counts[0], rel=1e-3)


def test_intervals_are_wider_for_unfamiliar_images_up_to_none(counter):
    counter.interval = Interval(constant=4.0, per_cell=0.0)
    seen = np.stack([normalise(discs(12, 64, 1.8 + 0.1 * k), 12, 12) for k in range(8)])
    known = OutOfDistribution.fit(seen, np.arange(8), seen)
    counter.out_of_distribution = known
    raw, low, high = counter.count_prepared(seen[:1], "natural")
    times = unfamiliar(seen[:1], known)[0]
    crowded = counter.measuring._counted(seen[:1])[1, 0]
    assert 1 <= times < 3 and high - raw == pytest.approx(2 * times * crowded, abs=0.6)
    strange = np.random.default_rng(0).random((1, 64, 64), np.float32)
    raw, low, high = counter.count_prepared(strange, "natural")
    assert np.isnan(low) and np.isnan(high) and np.isfinite(raw)
    entry = next(counter._entries(discs(16, 96), True, None, {}))
    entry.prepared, entry.low = strange[0], low[0]
    assert counter.flags([entry])[0].endswith("too unlike the training images: no interval")


@pytest.fixture(scope="module")
def exported(run_folder, tmp_path_factory):
    """Version 1 of the run. Not to be changed."""
    return export(run_folder, tmp_path_factory.mktemp("exports"))


@pytest.fixture
def server(exported):
    """One that serves the export."""
    server = Server(watch_models(exported.parent.parent), Settings(grpc_port=0, rest_port=0))
    yield server
    server.stop()


def address(server):
    return f"localhost:{server.grpc_port}/tiny_nuclei"


def test_run_export_and_server_count_bit_for_bit(loaded, exported, server):
    images = [discs(16, 96, 2), discs(24, 700), discs(12, 30), np.zeros((40, 50), np.float32)]
    here = loaded.count(images, scaled=True)
    assert len(set(here.raw)) == len(images)
    for model in (str(exported), address(server)):
        counter = load_counter(model)
        assert counter.measuring and counter.can_flag == loaded.can_flag
        there = counter.count(images, scaled=True)
        for key in ("raw", "low", "high"):
            np.testing.assert_array_equal(getattr(there, key), getattr(here, key))
        assert list(there.flags) == list(here.flags)
        stated = (each.with_diameter("20px").count(images[0], scaled=True).raw for each in
                  (loaded, counter))  # fmt: skip
        assert next(stated) == next(stated) != here.raw[0]


def test_an_export_keeps_interval_and_training_images(loaded, run_folder, tmp_path, monkeypatch):
    counter = copy.copy(loaded)
    seen = np.stack([normalise(discs(12, 64, 1.8 + 0.1 * k), 12, 12) for k in range(8)])
    counter.interval = Interval(constant=4.0, per_cell=0.0)
    counter.out_of_distribution = OutOfDistribution.fit(seen, np.arange(8), seen)
    monkeypatch.setattr("cellzoo.commands.export.load_run", lambda _: counter)
    loaded = load_counter(str(export(run_folder, tmp_path)))
    images = [discs(12, 64, 2), np.random.default_rng(0).random((64, 64), np.float32)]
    mine, theirs = (
        each.with_diameter("12px").count(images, scaled=True) for each in (counter, loaded)
    )
    np.testing.assert_array_equal(theirs.low, mine.low)
    np.testing.assert_array_equal(theirs.high, mine.high)
    assert list(theirs.flags) == list(mine.flags) and np.isnan(theirs.low[1])


@pytest.mark.parametrize(
    ("images", "refusal"),
    [
        (np.zeros((1, 64, 63)), "multiples of 4"),
        (np.zeros((0, 64, 64)), "no image"),
        (np.full((1, 64, 64), np.nan), "made alike"),
        (np.full((1, 64, 64), 200.0), "made alike"),
        (np.zeros((2, 2048, 2048)), "must not have more than"),
    ],
)
def test_what_is_not_made_alike_is_refused_in_the_graph(exported, images, refusal):
    model = tf.saved_model.load(str(exported))
    with pytest.raises(tf.errors.InvalidArgumentError, match=refusal):
        model.see(images.astype(np.float32))


def test_a_server_that_goes_while_cells_are_measured_ends_the_count(server):
    counter = load_counter(address(server), Connection(timeout=0.5))
    server.stop()
    with pytest.raises(CounterGone, match="No answer from localhost"):
        count_entries(counter, counter._entries([discs(16, 96, 2)] * 3, True, None, {}))


def test_an_image_that_is_refused_while_it_is_measured_is_named(counter):
    def refuse(image, diameter):
        raise RefusedImages("too large")

    counter.measuring._maps = refuse
    entries = list(counter._entries([discs(16, 96, 2)], True, None, {}))
    (entry,) = count_entries(counter, entries)
    assert "too large" in str(entry.error) and str(entry.path) in str(entry.error)


def test_too_small_an_image_is_refused(counter):
    with pytest.raises(UserError, match="at least 8 px"):
        counter.count(np.zeros((5, 30), np.uint8))
