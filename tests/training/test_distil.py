"""One look learns the mean of all orientations: how far off it is, and a kill in the middle."""

import numpy as np
import pytest

from cellzoo.counters.test_time_augmentation import lay, lay_back, mean_over_orientations
from cellzoo.errors import UsageError
from cellzoo.recipe import load_recipe, with_values
from cellzoo.recipe.check import check_recipe
from cellzoo.training import fit as fit_module
from cellzoo.training.distil import TEACHER, Distiller, orientations

RECIPE = """\
name: tiny
seed: 3
data:
  natural: {source: simulated, modality: bf, train: 25, labelled: 10, validation: 20,
    validation_labelled: 20, test: 20, test_labelled: 20}
model: {name: twin_density, channels: [4, 8], shared_channels: 4, latent: 2, center: true}
loss: {density_loss: poisson}
train:
  batch: 8
  epochs: 2
  steps_per_epoch: 60
  optimizer: adam
  learning_rate: 5.0e-3
  distil: 0.5
  select: last
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(RECIPE)
    return load_recipe(path)


@pytest.fixture(scope="module")
def run(recipe, tmp_path_factory):
    return fit_module.fit(recipe, tmp_path_factory.mktemp("run") / "run")


def counts(network, images):
    return network({"natural": np.ascontiguousarray(images)})["natural_count"].numpy()


def test_one_look_comes_nearer_to_the_teachers_mean(run, recipe):
    images = recipe.data.natural.simulate(12, recipe.image_size, 77).images
    teacher, student = run.load_network(TEACHER), run.load_network()
    goal = mean_over_orientations(lambda turned: counts(teacher, np.asarray(turned)), images, 8)
    before = np.abs(counts(teacher, images) - goal).mean()
    after = np.abs(counts(student, images) - goal).mean()
    assert 0 < after < before


def test_its_lesson_is_the_mean_of_eight_orientations_laid_back(recipe, run):
    network = run.load_network(TEACHER)
    student = Distiller(network, run.load_network(TEACHER), recipe)
    images = recipe.data.natural.simulate(2, recipe.image_size, 78).images
    lesson = student._lesson({"natural": images})
    goal = mean_over_orientations(lambda turned: counts(network, np.asarray(turned)), images, 8)
    np.testing.assert_allclose(lesson["natural_count"], goal, rtol=1e-4)
    density = np.asarray(lesson["natural_density"])
    assert density.shape == images.shape
    np.testing.assert_allclose(density.sum(axis=(1, 2)), goal, rtol=1e-4)
    turned = np.rot90(images, axes=(1, 2)).copy()
    again = np.asarray(student._lesson({"natural": turned})["natural_density"])
    np.testing.assert_allclose(again, np.rot90(density, axes=(1, 2)), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "number"),
    [({}, 8), ({"augment.rotate": False}, 4), ({"augment.flip": False}, 4)],
)
def test_orientations_are_those_of_training(recipe, changes, number):
    assert len(orientations(with_values(recipe, changes))) == number


def test_a_run_killed_here_begins_this_part_again(run, recipe):
    def weights():
        return [np.array(v) for v in run.load_network().trainable_variables]

    before = weights()
    run.validation_file.unlink()
    again = fit_module.fit(recipe, run.path)
    assert again.finished
    for one, other in zip(before, weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_without_orientations_it_is_refused(recipe):
    with pytest.raises(UsageError, match="train.distil"):
        check_recipe(with_values(recipe, {"augment.flip": False, "augment.rotate": False}))


def test_turns_without_flips_are_no_mirror_images(recipe):
    image = np.arange(9).reshape(1, 3, 3)
    ways = orientations(with_values(recipe, {"augment.flip": False}))
    found = sorted(np.asarray(lay(image, way)).ravel().tolist() for way in ways)
    turned = sorted(np.rot90(image, k, axes=(1, 2)).ravel().tolist() for k in range(4))
    assert found == turned
    for way in ways:
        np.testing.assert_array_equal(lay_back(lay(image, way), way), image)
