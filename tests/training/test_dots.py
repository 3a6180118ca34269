"""Training on dots: where cells are is learned from real images, and windows of them."""

import logging
from dataclasses import replace

import cv2
import numpy as np
import pytest

from cellzoo.counters.load import load_run
from cellzoo.data.points import Point, points_text
from cellzoo.errors import UserError
from cellzoo.recipe import load_recipe
from cellzoo.training.assemble import training_batches
from cellzoo.training.fit import fit

RECIPE = """\
name: dots
seed: 1
data:
  natural: {source: folder, folder: %s, shares: {train: 0.6, validation: 0.4, test: 0}}
augment: {window: 32, crop: 1}
model: {name: %s, image_size: 64}
train: {batch: 8, steps_per_epoch: 4, epochs: 2}
"""


@pytest.fixture
def recipe(tmp_path):
    """Twelve images of 64 x 64 pixels with 0 to 11 bright spots, dotted."""
    random = np.random.default_rng(1)
    points = {}
    for number in range(12):
        image = random.integers(0, 30, (64, 64)).astype(np.uint8)
        places = random.integers(3, 61, (number, 2)).tolist()
        for x, y in places:
            cv2.circle(image, (x, y), 3, 255, -1)
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
        points[f"{number}.png"] = [Point(x, y) for x, y in places]
    (tmp_path / "points.csv").write_text(points_text(points))

    def load(model="twin_density"):
        (tmp_path / "recipe.yaml").write_text(RECIPE % (tmp_path, model))
        return load_recipe(tmp_path / "recipe.yaml")

    return load


def test_points_alone_train_on_windows_and_count_whole_images(recipe, tmp_path):
    run = fit(recipe(), tmp_path / "run")
    history = run.history()
    assert len(history) == 2 and history[-1]["natural_density"] > 0
    images, _ = run.recipe.data.natural.load(64, 1)
    np.testing.assert_array_equal(np.sort(images.counts), range(12))
    raw = load_run(run.path).count(images.images, scaled=True, flags=False).raw
    assert raw.shape == (12,) and np.isfinite(raw).all()


def test_every_density_learns_from_the_dots_of_real_images(recipe):
    images, _ = recipe().data.natural.load(64, 1)
    train = images.of("train")
    for model in ("twin_density", "twinvae_spatial"):
        twin = recipe(model)
        twin = twin.model_copy(update={"augment": twin.augment.model_copy(update={"window": None})})
        x, y = training_batches(twin, train)(0)
        assert x["natural"].shape == y["natural_density"].shape == (8, 64, 64)
        sums = y["natural_density"].sum(axis=(1, 2))
        np.testing.assert_allclose(sums, y["natural_count"], atol=1e-4)
        assert (y["natural_density_weight"] == 1).all()


def test_cells_laid_over_images_are_counted_too(recipe):
    images, _ = recipe().data.natural.load(64, 1)
    train = images.of("train")
    crowds = load_with(recipe(), overlay=8, window=None)
    _, y = training_batches(crowds, train)(0)
    _, alone = training_batches(load_with(crowds, overlay=None), train)(0)
    more = y["natural_count"] - alone["natural_count"]
    assert (more >= 0).all() and more.any() and (more == more.round()).all()
    np.testing.assert_allclose(y["natural_density"].sum(axis=(1, 2)), y["natural_count"], atol=1e-4)


def load_with(recipe, **augment):
    return recipe.model_copy(update={"augment": recipe.augment.model_copy(update=augment)})


def test_windows_without_dots_are_refused_and_lacking_ones_said(recipe, caplog):
    images, _ = recipe().data.natural.load(64, 1)
    train = images.of("train")
    with pytest.raises(UserError, match="window is 32, but no training image has dots"):
        training_batches(recipe(), replace(train, points=None))
    points = train.points.copy()
    points[0] = None
    with caplog.at_level(logging.WARNING, "cellzoo"):
        training_batches(recipe(), replace(train, points=points))
    assert f"1 of {len(train)} training images with a count have no dots" in caplog.text
