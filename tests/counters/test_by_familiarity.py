"""Counters that choose the size of cells by what looks familiar."""

import cv2
import numpy as np
import pytest

from cellzoo.commands.export import export
from cellzoo.counters.load import load_counter
from cellzoo.errors import UsageError, UserError
from cellzoo.images import resize
from cellzoo.recipe import load_recipe
from cellzoo.runs import Run, build_network
from cellzoo.serving.config import watch_models
from cellzoo.serving.server import Server, Settings
from cellzoo.trust.intervals import Interval
from cellzoo.trust.out_of_distribution import OutOfDistribution

RECIPE = """\
name: tiny_cells
data:
  natural:
    source: mixed
    diameter: 9
    diameters: [8, 110]
    sets:
      - {name: small, diameter: 12, images: {source: simulated, modality: bf}}
      - {name: large, diameter: 60, images: {source: simulated, modality: pc}}
augment: {crop: 1}
model: {name: twin_density, channels: [2, 2], shared_channels: 2, latent: 2}
count: {test_time_augmentation: 4}
"""


def cells(diameter, seed, size=18):
    """Round cells with bright rims on grey, drawn with 15 px: float32, ``size`` diameters wide."""
    random = np.random.default_rng(seed)
    image = np.full((15 * size, 15 * size), 0.5, np.float32)
    for x, y in random.integers(15, 15 * size - 15, (12, 2)):
        cv2.circle(image, (int(x), int(y)), 7, 0.75, -1, cv2.LINE_AA)
        cv2.circle(image, (int(x), int(y)), 5, 0.4, -1, cv2.LINE_AA)
    side = round(diameter * size)
    how = cv2.INTER_AREA if diameter < 15 else cv2.INTER_CUBIC
    return np.clip(cv2.resize(image, (side, side), interpolation=how), 0, 1)


@pytest.fixture(scope="module")
def counter(tmp_path_factory):
    """A network that was never trained, which knows what cells of 9 px look like."""
    folder = tmp_path_factory.mktemp("cells")
    (folder / "recipe.yaml").write_text(RECIPE)
    recipe = load_recipe(folder / "recipe.yaml")
    run = Run.create(folder / "run", recipe)
    run.save_best(build_network(recipe))
    known = [resize(cells((12, 24, 60)[k % 3], k), 162) for k in range(90)]
    groups = np.arange(90).astype(str)
    run.keep_out_of_distribution(OutOfDistribution.fit(known, groups, known[:0]))
    return load_counter(str(run.path))


def prepared(counter, image):
    entry = next(counter._entries(image, True, None, {}))
    counter.prepare(entry, None)
    return entry


@pytest.mark.parametrize("diameter", [12, 24, 60])
def test_the_diameter_is_chosen_at_which_an_image_looks_familiar(counter, diameter):
    entry = prepared(counter, cells(diameter, 100))
    assert entry.diameter == pytest.approx(diameter, rel=0.2)
    assert entry.prepared.shape == pytest.approx((162, 162), rel=0.2)
    assert entry.remark == ""


def test_where_nothing_looks_familiar_the_diameter_is_asked_for(counter):
    noise = np.random.default_rng(0).random((200, 200)).astype(np.float32)
    assert "state their diameter" in prepared(counter, noise).remark


def test_a_stated_diameter_is_taken_and_doubted(counter):
    stated = counter.with_diameter("24px")
    entry = prepared(stated, cells(24, 101))
    assert entry.diameter == 24 and entry.remark == ""
    doubted = prepared(stated, cells(60, 102))
    assert doubted.diameter == 24 and "stated" in doubted.remark
    assert "meant for 8 to 110 px" in prepared(counter.with_diameter("200px"), cells(24, 1)).remark
    with pytest.raises(UserError, match="correct the diameter"):
        prepared(counter.with_diameter("1px"), cells(24, 103))
    with pytest.raises(UsageError):
        counter.with_diameter("large")


def test_a_counter_that_knows_no_training_images_measures_nothing(counter, monkeypatch):
    monkeypatch.setattr(counter.measuring, "_known", None)
    image = cells(60, 3)
    usual = prepared(counter, image)
    assert np.isnan(usual.diameter) and usual.remark == ""
    assert usual.prepared.shape == (270, 270)  # 9 px of 36, between those of its training sets
    stated = prepared(counter.with_diameter("60px"), image)
    assert (stated.diameter, stated.remark) == (60, "")  # nothing contradicts it
    assert stated.prepared.shape == (162, 162)


def test_images_of_any_size_are_counted_raw_as_scaled(counter):
    image = cells(24, 104)
    raw = np.rint(255 * image).astype(np.uint8)
    stated = counter.with_diameter("24px")
    both = stated.count(image, scaled=True).raw, stated.count(raw).raw
    np.testing.assert_allclose(*both, rtol=0.05)
    assert counter.count([raw, raw[:90, :200]]).raw.shape == (2,)


def test_small_images_are_counted_together_as_one_by_one(counter, monkeypatch):
    images = np.stack([cells(24, seed, size=12) for seed in (105, 106, 107)])[:, :270]
    stated = counter.with_diameter("24px")
    monkeypatch.setattr("cellzoo.counters.by_familiarity._PIXELS_AT_A_TIME", 2 * 104 * 112)
    together = stated.count(images, scaled=True).raw
    assert prepared(stated, images[0]).prepared.shape == (101, 108)  # no multiples of 8
    alone = [stated.count(image, scaled=True).raw[0] for image in images]
    np.testing.assert_allclose(together, alone, rtol=1e-4)


def test_run_export_and_server_count_bit_for_bit(counter, tmp_path, monkeypatch):
    interval = Interval(constant=4.0, per_cell=0.0)
    monkeypatch.setattr(counter, "interval", interval)
    monkeypatch.setattr("cellzoo.commands.export.load_run", lambda _: counter)
    exported = export(counter.run.path, tmp_path)
    noise = np.random.default_rng(0).random((90, 200)).astype(np.float32)
    images = [cells(12, 108), cells(24, 109), cells(24, 110), cells(60, 111, size=30), noise]
    here = counter.count(images, scaled=True)
    assert len(set(here.raw)) == len(images) and not here.flags[0] and here.flags[-1]
    server = Server(watch_models(tmp_path), Settings(grpc_port=0, rest_port=None))
    try:
        for model in (exported, f"localhost:{server.grpc_port}/tiny_cells"):
            there = load_counter(str(model))
            stated = (each.with_diameter("20px") for each in (counter, there))
            for mine, theirs in (
                (here, there.count(images, scaled=True)),
                [each.count(images, scaled=True) for each in stated],
            ):
                for column in ("raw", "low", "high"):
                    np.testing.assert_array_equal(getattr(theirs, column), getattr(mine, column))
                assert list(theirs.flags) == list(mine.flags)
            assert prepared(there, images[1]).diameter == prepared(counter, images[1]).diameter
    finally:
        server.stop()
