"""Counts averaged over an image's flips and turns, wherever a run counts."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from cellzoo.counters.base import Counter
from cellzoo.counters.load import load_run
from cellzoo.counters.network import NetworkCounter
from cellzoo.counters.test_time_augmentation import mean_over_orientations
from cellzoo.recipe import load_recipe
from cellzoo.runs import Run, build_network


def left_half(images):
    """A count that sees the left half only."""
    return images[:, :, : images.shape[2] // 2].sum(axis=(1, 2))


IMAGES = np.array([[[8, 0, 0, 0]] * 2, [[1, 2, 3, 4], [5, 6, 7, 8]]], np.float32)


@pytest.mark.parametrize(("number", "expected"), [(1, [16, 14]), (4, [8, 18]), (8, [8, 18])])
def test_every_pixel_is_seen_as_often_as_any_other(number, expected):
    counts = mean_over_orientations(lambda turned: left_half(np.asarray(turned)), IMAGES, number)
    np.testing.assert_array_equal(counts, expected)


def test_all_orientations_differ_and_each_is_counted_once():
    image = np.arange(9, dtype=np.float32).reshape(1, 3, 3)
    seen = []

    def count(view):
        seen.append(np.asarray(view)[0])
        return np.zeros(1)

    mean_over_orientations(count, image, 8)
    turned = [np.rot90(image[0], quarters) for quarters in range(4)]
    expected = [*turned, *(view.T for view in turned)]
    assert {view.tobytes() for view in seen} == {view.tobytes() for view in expected}
    assert len(seen) == 8
    seen.clear()
    mean_over_orientations(count, image, 4)
    assert [view.ravel()[0] for view in seen] == [0, 2, 6, 8]
    seen.clear()
    mean_over_orientations(count, image)
    assert len(seen) == 1 and (seen[0] == image[0]).all()


DCC = """\
name: dcc
data: {natural: {source: folder, folder: cells}}
model: {name: dcc, image_size: [16, 24], channels: [2, 3], pooling: 8, head: HEAD, threshold: none}
"""


@pytest.fixture(scope="module", params=["additive", "regressor"])
def dcc_run(request, tmp_path_factory):
    """A run folder of a DCC that was never trained, but tells images apart."""
    folder = tmp_path_factory.mktemp("dcc")
    (folder / "recipe.yaml").write_text(DCC.replace("HEAD", request.param))
    recipe = load_recipe(folder / "recipe.yaml")
    run, network = Run.create(folder / "run", recipe), build_network(recipe)
    random = np.random.default_rng(7)
    for weight in network.trainable_weights:
        weight.assign_add(random.normal(0, 0.3, weight.shape))
    run.save_best(network)
    return run.path


def with_orientations(run: Path, orientations: int, to: Path) -> Counter:
    """The run again, with its recipe saying in how many orientations to count."""
    shutil.copytree(run, to)
    text = (to / "recipe.yaml").read_text()
    assert text.count("augmentation: 1\n") == 1
    changed = text.replace("augmentation: 1\n", f"augmentation: {orientations}\n")
    (to / "recipe.yaml").write_text(changed)
    return load_run(to)


def mean_of_plain(plain: Counter, images: np.ndarray, orientations: int, **which) -> np.ndarray:
    flipped = [images, images[:, ::-1], images[:, :, ::-1], images[:, ::-1, ::-1]]
    if orientations == 8:
        flipped += [view.transpose(0, 2, 1) for view in flipped]
    counts = [plain.count(view, scaled=True, **which).raw for view in flipped]
    assert np.ptp(counts, axis=0).min() > 1e-3  # else there would be nothing to average
    return np.mean(counts, axis=0)


@pytest.mark.parametrize("shape", [(16, 24), (37, 21)])
def test_a_dcc_counts_the_mean_of_its_orientations_at_any_size(dcc_run, tmp_path, shape):
    plain, four = load_run(dcc_run), with_orientations(dcc_run, 4, tmp_path / "four")
    images = np.random.default_rng(1).random((3, *shape), np.float32)
    expected = mean_of_plain(plain, images, 4)
    np.testing.assert_allclose(four.count(images, scaled=True).raw, expected, rtol=1e-4)
    (mine,), (theirs,) = (counter.segment(images[0], scaled=True) for counter in (four, plain))
    np.testing.assert_array_equal(mine.mask, theirs.mask)
    np.testing.assert_array_equal(mine.probability, theirs.probability)


@pytest.mark.parametrize("shape", [(24, 16), (50, 61)])
def test_a_spatial_twin_vae_counts_the_mean_at_any_size(tiny_run, tmp_path, shape):
    eight = with_orientations(tiny_run, 8, tmp_path / "eight")
    images = np.random.default_rng(1).random((3, *shape), np.float32)
    expected = mean_of_plain(load_run(tiny_run), images, 8)
    counts = eight.count(images, scaled=True)
    np.testing.assert_allclose(counts.raw, expected, rtol=1e-4)
    assert np.isnan([counts.low, counts.high]).all()


@pytest.mark.parametrize("domain", ["natural", "synthetic"])
@pytest.mark.parametrize("in_graph", [True, False])
def test_both_domains_with_and_without_the_graph(
    tmp_path, monkeypatch, tiny_recipe, domain, in_graph
):
    (tmp_path / "recipe.yaml").write_text(tiny_recipe)
    recipe = load_recipe(tmp_path / "recipe.yaml", ["data.synthetic={preset: bf}"])
    run, network = Run.create(tmp_path / "run", recipe), build_network(recipe)
    kernel, _ = network.get_layer("regressor").get_layer("cells").weights
    kernel.assign(10 * np.ones(kernel.shape))
    run.save_best(network)
    if not in_graph:
        monkeypatch.setattr(NetworkCounter, "graph", lambda self: None)
    eight = with_orientations(run.path, 8, tmp_path / "eight")
    images = np.random.default_rng(1).random((3, 16, 16), np.float32)
    expected = mean_of_plain(load_run(run.path), images, 8, domain=domain)
    counts = eight.count(images, scaled=True, domain=domain)
    np.testing.assert_allclose(counts.raw, expected, rtol=1e-4)
