"""The three terms of the loss are the authors', whose conventions a recipe can choose."""

import keras
import numpy as np
import pytest
from keras import ops

from cellzoo.data.batches import TrainingBatches
from cellzoo.data.image_set import ImageSet
from cellzoo.recipe import Loss
from cellzoo.training.losses import (
    binary_cross_entropy,
    count_loss,
    density_loss,
    kl_divergence,
    mean_squared_error,
)
from cellzoo.training.trainer import Trainer

# The authors' losses for the four reference images: mean squared reconstruction error, divergence
# / (4 x 128 x 128), count loss for these targets, of which they take 0 for "unlabelled".
AUTHORS = {
    "natural": [0.09595571458339691, 0.002567525487393141, 65.61827850341797],
    "synthetic": [0.15010470151901245, 0.020429842174053192, 11.433675765991211],
}
TARGETS = np.array([3, np.nan, 7, 12], np.float32)
AUTHORS_RECIPE = {
    "reconstruction": "mse",
    "reconstruction_weight": 1000,
    "count_weight": 1,
    "kl_weight": 1,
    "count_mean": "batch",
}


def batch_of(images, count_mean):
    """A natural batch of all four images in the pipeline's order, as a recipe makes it."""
    blank = np.array([""] * 4)
    natural = ImageSet(images, TARGETS, blank, blank, blank)
    return TrainingBatches(
        natural, None, lambda x, seed: x,
        batch=4, labelled_share=None, count_mean=count_mean, seed=1,
    )(0)  # fmt: skip


def our_terms(domain, images, outputs, count_mean="batch"):
    x, y = batch_of(images, count_mean)
    order = [int(np.flatnonzero((images == image).all((1, 2)))[0]) for image in x["natural"]]
    ours = {name: outputs[f"{domain}_{name}"][order] for name in ("mean", "log_variance", "count")}
    terms = (
        mean_squared_error(images, outputs[f"{domain}_reconstruction"]),
        kl_divergence(ops.convert_to_tensor(ours["mean"]), ours["log_variance"], 128 * 128),
        count_loss(y["natural_count"], ours["count"], y["natural_weight"]),
    )
    return [float(term) for term in terms]


@pytest.mark.parametrize("domain", ["natural", "synthetic"])
def test_terms_of_our_network_are_the_authors_figures(domain, reference_images, network_outputs):
    ours = our_terms(domain, reference_images, network_outputs)
    np.testing.assert_allclose(ours, AUTHORS[domain], rtol=1e-5)


@pytest.mark.parametrize("domain", ["natural", "synthetic"])
def test_terms_of_the_authors_outputs_are_the_authors_figures(
    domain, reference_images, reference_outputs
):
    ours = our_terms(domain, reference_images, reference_outputs)
    np.testing.assert_allclose(ours, reference_outputs[f"{domain}_losses"], rtol=1e-5)


def test_a_recipe_sums_the_terms_as_the_authors_program_does(reference_images, reference_network):
    settings = Loss(**AUTHORS_RECIPE)
    trainer = Trainer(reference_network, settings, steps_per_epoch=1)
    x, y = batch_of(reference_images, settings.count_mean)
    x["synthetic"] = x["natural"]
    y |= {"synthetic_count": y["natural_count"], "synthetic_weight": y["natural_weight"]}
    total = float(trainer.compute_loss(x, y, trainer(x, training=False), training=False))
    expected = sum(1000 * rec + kl + count for rec, kl, count in AUTHORS.values())
    assert total == pytest.approx(expected, rel=1e-5)


def test_by_default_the_count_loss_does_not_depend_on_how_many_are_unlabelled(
    reference_images, network_outputs
):
    assert Loss().count_mean == "labelled"
    theirs = our_terms("natural", reference_images, network_outputs, "batch")[2]
    ours = our_terms("natural", reference_images, network_outputs, "labelled")[2]
    assert ours == pytest.approx(theirs * 4 / 3, rel=1e-5)


# By hand


def test_mean_squared_error_is_a_mean_over_pixels():
    images, reconstruction = np.zeros((2, 2, 2)), np.full((2, 2, 2), 0.5)
    reconstruction[0, 0, 0] = 1
    assert float(mean_squared_error(images, reconstruction)) == pytest.approx((7 * 0.25 + 1) / 8)


def test_binary_cross_entropy_has_the_sign_that_the_paper_misprints():
    images, reconstruction = np.array([[[1.0, 0.25]]]), np.array([[[0.5, 0.5]]])
    assert float(binary_cross_entropy(images, reconstruction)) == pytest.approx(np.log(2))
    # Of all reconstructions the image itself is the best, which the printed signs would not give.
    image = np.full((1, 1, 1), 0.25)
    best = float(binary_cross_entropy(image, image))
    for other in (0.05, 0.2, 0.3, 0.95):
        assert float(binary_cross_entropy(image, np.full_like(image, other))) > best
    assert np.isfinite(float(binary_cross_entropy(np.ones((1, 1, 1)), np.zeros((1, 1, 1)))))


def test_divergence_is_that_of_two_normal_distributions():
    def divergence(mean, variance):
        mean, log_variance = np.array([[mean]]), np.log([[variance]])
        return float(kl_divergence(ops.convert_to_tensor(mean), log_variance, pixels=1))

    assert divergence(0.0, 1.0) == pytest.approx(0)
    # ln(s2 / s1) + (s1^2 + (m1 - m2)^2) / (2 s2^2) - 1/2 for N(1, 4) and N(0, 1)
    assert divergence(1.0, 4.0) == pytest.approx(np.log(1 / 2) + (4 + 1) / 2 - 0.5, rel=1e-6)


def test_divergence_sums_over_the_latent_and_averages_over_batch_and_pixels():
    mean, zero = np.ones((3, 8), np.float32), np.zeros((3, 8), np.float32)
    assert float(kl_divergence(ops.convert_to_tensor(mean), zero, 4)) == pytest.approx(0.5 * 8 / 4)


def test_unlabelled_images_do_not_count():
    args = np.array([3.0, 0.0]), np.array([5.0, 99.0]), np.array([1.0, 0.0])
    assert float(count_loss(*args)) == pytest.approx(4 / 2)


# The schedule of the paper's section 2.3.3


def loss_after(epochs, **loss):
    """The loss of terms that are 1 (reconstruction), 2 (count) and 3 (divergence)."""
    image = keras.Input((2, 2), name="natural")
    outputs = ("count", "reconstruction", "mean", "log_variance")
    network = keras.Model({"natural": image}, {f"natural_{output}": image for output in outputs})
    trainer = Trainer(network, Loss(**loss), steps_per_epoch=5)
    trainer.trained_steps.assign(5.0 * epochs)
    x = {"natural": np.zeros((1, 2, 2), np.float32)}
    y = {"natural_count": np.zeros(1, np.float32), "natural_weight": np.ones(1, np.float32)}
    predicted = {
        "natural_reconstruction": np.ones((1, 2, 2), np.float32),
        "natural_count": np.full(1, np.sqrt(2), np.float32),
        "natural_mean": ops.full((1, 4), np.sqrt(6)),
        "natural_log_variance": np.zeros((1, 4), np.float32),
    }
    return float(trainer.compute_loss(x, y, predicted, training=False))


def test_weights_are_the_papers_for_phase_contrast():
    assert loss_after(0) == pytest.approx(100 * 1 + 3 * 2 + 2 * 3, rel=1e-6)


def test_a_density_may_lie_anywhere_in_its_block_but_not_in_another():
    def loss(row, cells=1.0, count=1.0, weight=1.0):
        true, predicted = np.zeros((2, 1, 8, 8), np.float32)
        true[0, 1, 1], predicted[0, row, 2] = 1, cells
        return float(density_loss(true, predicted, np.array([count]), np.array([weight]), (4,)))

    assert loss(3) == pytest.approx(0)
    assert loss(4) == pytest.approx((1 + 1) / 2)  # missing in one block, too many in another
    assert loss(3, cells=3.0) == pytest.approx(2**2 / 2)
    assert loss(4, count=9.0) == pytest.approx(2 / 10)
    assert loss(4, weight=0.0) == 0


def test_a_cell_weighs_the_same_in_every_image_of_a_batch_or_more_where_there_are_few():
    true = np.zeros((2, 4, 4), np.float32)
    true[:, 0, 0] = 1, 9
    predicted = true.copy()
    predicted[:, 0, 0] += 1, -2  # squared errors of one block: 1 and 4

    def loss(mean, weights=(1, 1)):
        maps = true, predicted, np.float32([1, 9]), np.float32(weights), (4,)
        return float(density_loss(*maps, mean=mean))

    assert loss("image") == pytest.approx((1 / 2 + 4 / 10) / 2)
    assert loss("batch") == pytest.approx((1 + 4) / (2 + 10))
    assert loss("batch", (0, 2)) == pytest.approx(4 / 10)
    assert loss("batch", (0, 0)) == 0


def test_a_coarser_density_is_compared_in_blocks_of_at_least_its_places():
    true = np.zeros((1, 16, 16), np.float32)
    true[0, 1, 1] = 1

    def loss(place, cells, blocks):
        predicted = np.zeros((1, 2, 2), np.float32)  # each place has 8 x 8 pixels
        predicted[0, 0, place] = cells / 64
        return float(density_loss(true, predicted, np.ones(1), np.ones(1), blocks))

    assert loss(0, 1, (4, 16)) == pytest.approx(0)
    assert loss(1, 1, (4,)) == pytest.approx((1 + 1) / 2)  # missing here, too many there
    assert loss(1, 1, (16,)) == pytest.approx(0)
    assert loss(1, 3, (16,)) == pytest.approx(2**2 / 2)
    assert loss(1, 3, (4, 16)) == pytest.approx((1 + 3**2) / 2 + 2**2 / 2)


def test_a_little_in_many_empty_blocks_costs_what_it_adds_to_the_count():
    def loss(true, predicted):
        maps = (np.array(cells, np.float32).reshape(1, 1, -1) for cells in (true, predicted))
        return float(
            density_loss(*(np.repeat(m, 4, 1).repeat(4, 2) / 16 for m in maps), np.zeros(1),
                         np.ones(1), (4,), kind="poisson")
        )  # fmt: skip

    assert loss([1, 0, 0, 3], [1, 0, 0, 3]) == pytest.approx(0, abs=1e-6)
    assert loss([0] * 10, [0.05] * 10) == pytest.approx(0.5, rel=0.1)
    # q - t - t log(q / t)
    assert loss([2], [3]) == pytest.approx(3 - 2 - 2 * np.log(3 / 2), rel=1e-2)
    assert loss([3], [3.1]) < loss([0], [0.1]) / 10


def test_a_network_that_only_counts_has_no_other_terms():
    image = keras.Input((2, 2), name="natural")
    network = keras.Model({"natural": image}, {"natural_count": ops.sum(image, axis=(1, 2))})
    trainer = Trainer(network, Loss(count_weight=0.5), steps_per_epoch=5)
    x = {"natural": np.ones((1, 2, 2), np.float32)}
    y = {"natural_count": np.full(1, 7, np.float32), "natural_weight": np.ones(1, np.float32)}
    total = trainer.compute_loss(x, y, trainer(x), training=False)
    assert float(total) == pytest.approx(0.5 * (7 - 4) ** 2)


def test_a_term_that_no_image_tells_has_no_mean():
    image = keras.Input((2, 2), name="natural")
    outputs = {"natural_count": ops.sum(image, axis=(1, 2)), "natural_density": image}
    trainer = Trainer(keras.Model({"natural": image}, outputs), Loss(), steps_per_epoch=5)
    x = {"natural": np.ones((1, 2, 2), np.float32)}

    def means(*labelled):
        for metric in trainer.term_means.values():
            metric.reset_state()
        for weight in labelled:
            y = {"natural_count": np.full(1, 7 * weight), "natural_weight": np.full(1, weight)}
            trainer.compute_loss(x, y, trainer(x), training=False)
        return {name: float(metric.result()) for name, metric in trainer.term_means.items()}

    # Counts are (7 - 4) cells off, in the one of two steps that had a label; masks there are none.
    assert means(0.0, 1.0)["natural_count"] == pytest.approx(9 / 2)
    assert np.isnan(means(0.0, 0.0)["natural_count"])
    assert np.isnan(means(1.0)["natural_density"])


def test_regressor_starts_late():
    weights = {"reconstruction_weight": 0, "kl_weight": 0, "count_weight": 1}
    assert loss_after(99.8, **weights, count_start_epoch=100) == 0
    assert loss_after(100, **weights, count_start_epoch=100) == pytest.approx(2, rel=1e-6)


def test_weight_of_the_reconstruction_decays_by_epoch():
    weights = {"reconstruction_weight": 10, "kl_weight": 0, "count_weight": 0}
    assert loss_after(1000.4, **weights, reconstruction_decay=3e-5) == pytest.approx(
        10 * (1 - 3e-5) ** 1000, rel=1e-4
    )
    assert loss_after(1000, **weights) == pytest.approx(10)
