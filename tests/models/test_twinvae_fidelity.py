"""The Twin-VAE is the authors' network: same outputs, same parameters, same parts."""

import keras
import numpy as np
import pytest
from keras import ops

from cellzoo.models import TwinVAE
from cellzoo.models.layers import LatentSampler
from cellzoo.models.section import DOMAINS

OUTPUTS = [
    f"{domain}_{output}"
    for domain in ("natural", "synthetic")
    for output in ("mean", "log_variance", "count", "reconstruction")
]

# Ten values of each output of the authors' network, evenly spaced in C order from first to last
# (of the counts all four), and the root of the mean square of all values.
AUTHORS = {
    "natural_mean": [
        *(-0.1962247, -0.85786015, -0.29005522, -0.25294006, 0.20314372),
        *(-0.08821767, 0.30755824, 0.07156541, 0.4444245, -0.011840165),
    ],
    "natural_log_variance": [
        *(-0.14246164, -0.3908704, 0.14709441, 0.109193474, 0.21747206),
        *(0.14473474, -0.21111226, 0.20021023, 0.106476426, -0.12185237),
    ],
    "natural_count": [-1.1714436, -1.8727251, -1.5972484, -1.0827945],
    "natural_reconstruction": [
        *(0.4634961, 0.51305455, 0.7244803, 0.7887333, 0.75693023),
        *(0.43039125, 0.80016625, 0.331346, 0.25904658, 0.49312845),
    ],
    "synthetic_mean": [
        *(-0.07033479, 1.0637449, 0.059182048, 0.33723134, 0.41543794),
        *(-1.266797, 3.317676, 1.5295858, 0.31464148, 0.17912748),
    ],
    "synthetic_log_variance": [
        *(-0.8244224, -0.48677337, 0.7194655, 1.3180326, 0.40262815),
        *(-0.15023053, -0.6215309, 0.46143365, 0.7676766, 0.48998353),
    ],
    "synthetic_count": [8.406172, 5.536421, 6.3575478, 7.9881096],
    "synthetic_reconstruction": [
        *(0.47941735, 0.52649623, 0.6895626, 0.8868588, 0.032552566),
        *(0.17812675, 0.054457787, 0.5310215, 0.923999, 0.50757486),
    ],
}
ROOT_MEAN_SQUARE = {
    "natural_mean": 0.5417915360918297,
    "natural_log_variance": 0.2614740742744686,
    "natural_reconstruction": 0.5327135743138377,
    "synthetic_mean": 1.5090116826612592,
    "synthetic_log_variance": 0.749153908729796,
    "synthetic_reconstruction": 0.5651348490437941,
}


# What it computes


@pytest.mark.parametrize("output", OUTPUTS)
def test_every_value_is_the_authors_one(output, network_outputs, reference_outputs):
    ours, theirs = network_outputs[output], reference_outputs[output]
    assert ours.shape == theirs.shape
    # Relative to the largest magnitude of this output: next to 0 nothing is small.
    assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()


@pytest.mark.parametrize("output", OUTPUTS)
def test_the_committed_values_are_the_authors_ones(output, network_outputs):
    values = network_outputs[output].ravel()
    expected = np.array(AUTHORS[output])
    places = np.linspace(0, values.size - 1, len(expected)).astype(int)
    tolerance = 1e-5 * np.abs(values).max()
    np.testing.assert_allclose(values[places], expected, rtol=0, atol=tolerance)
    if output in ROOT_MEAN_SQUARE:
        rms = np.sqrt(np.mean(np.square(values, dtype=np.float64)))
        assert rms == pytest.approx(ROOT_MEAN_SQUARE[output], rel=1e-5)


def test_the_committed_rules_are_those_of_the_files(
    reference_images, reference_outputs, reference_parameter_list, authors_tensors
):
    np.testing.assert_array_equal(reference_images, reference_outputs["images"])
    listed = {entry["name"]: tuple(entry["shape"]) for entry in reference_parameter_list}
    assert [entry["index"] for entry in reference_parameter_list] == list(range(97))
    assert list(listed.items()) == [(n, t.shape) for n, t in authors_tensors().items()]


def test_has_the_authors_number_of_parameters(reference_network):
    def total(weights):
        return sum(int(np.prod(weight.shape)) for weight in weights)

    assert total(reference_network.trainable_weights) == 11_363_331
    # The moving means and variances of the batch norms.
    assert total(reference_network.non_trainable_weights) == 1_536


# What it is made of

DOWN = ["Conv2D", "LeakyReLU", "Dropout"]
UP = ["Conv2DTranspose", "BatchNormalization", "LeakyReLU"]
PARTS = {
    "natural_encoder": ["Reshape", *4 * DOWN],
    "synthetic_encoder": ["Reshape", *4 * DOWN],
    "shared_encoder": ["Conv2DToOnePixel", *DOWN[1:], "Flatten"],
    "latent_mean": ["Dense"],
    "latent_log_variance": ["Dense"],
    "latent": ["LatentSampler"],
    "shared_decoder": ["Dense", "Dropout", "Reshape", "Conv2DTransposeFromOnePixel", *UP[1:]],
    "natural_decoder": [*4 * UP, "Conv2DTranspose", "Reshape"],
    "synthetic_decoder": [*4 * UP, "Conv2DTranspose", "Reshape"],
    "regressor": ["Dense", "Dropout", "Dense", "Dropout", "Dense", "Flatten"],
}


def all_layers(network):
    return list(network._flatten_layers(include_self=False))


def of_type(network, kind):
    return [layer for layer in all_layers(network) if isinstance(layer, kind)]


@pytest.mark.parametrize("part", PARTS)
def test_layers_stand_in_the_papers_order(part, reference_network):
    layer = reference_network.get_layer(part)
    assert [type(member).__name__ for member in getattr(layer, "layers", [layer])] == PARTS[part]


def test_drops_a_tenth_and_leaks_a_fifth_everywhere(reference_network):
    drops = of_type(reference_network, keras.layers.Dropout)
    assert [layer.rate for layer in drops] == [0.1] * 12
    leaks = of_type(reference_network, keras.layers.LeakyReLU)
    assert [layer.negative_slope for layer in leaks] == [0.2] * 18


def test_dropout_works_in_training_alone(reference_images):
    small = {"channels": (4, 4, 4, 4), "shared_channels": 4, "latent": 2, "regressor": (2, 2)}
    network = TwinVAE(**small, dropout=0.5).build(DOMAINS)
    x = dict.fromkeys(("natural", "synthetic"), reference_images)
    first, second = (ops.convert_to_numpy(network(x)["natural_mean"]) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    trained = ops.convert_to_numpy(network(x, training=True)["natural_mean"])
    assert np.abs(trained - first).max() > 1e-3


def test_the_latent_can_be_dropped_as_the_paper_says(reference_images):
    small = {"channels": (4, 4, 4, 4), "shared_channels": 4, "latent": 64, "regressor": (2, 2)}
    network = TwinVAE(**small, latent_dropout=0.5).build()
    outputs = network({"natural": reference_images}, training=True)
    for name in ("natural_mean", "natural_log_variance"):
        dropped = ops.convert_to_numpy(outputs[name]) == 0
        assert 0.3 < dropped.mean() < 0.7
    kept = network({"natural": reference_images})["natural_mean"]
    assert ops.convert_to_numpy(kept).all()


def test_convolutions_pad_nothing_and_shrink_128_to_1(reference_network):
    def grids(part):
        layers = reference_network.get_layer(part).layers
        return [layer.output.shape[1] for layer in layers if "Conv2D" in type(layer).__name__]

    kinds = keras.layers.Conv2D, keras.layers.Conv2DTranspose
    for layer in [layer for kind in kinds for layer in of_type(reference_network, kind)]:
        assert layer.padding == "valid", layer.name
    for domain in ("natural", "synthetic"):
        assert grids(f"{domain}_encoder") == [62, 29, 13, 5]
        assert grids(f"{domain}_decoder") == [13, 29, 61, 62, 128]
    assert grids("shared_encoder") == [1]
    assert grids("shared_decoder") == [5]


def test_kernels_and_strides_are_the_papers(reference_network):
    def kernels_and_strides(part):
        layers = reference_network.get_layer(part).layers
        convolutions = [layer for layer in layers if "Conv2D" in type(layer).__name__]
        return [(layer.kernel_size[0], layer.strides[0]) for layer in convolutions]

    for domain in ("natural", "synthetic"):
        assert kernels_and_strides(f"{domain}_encoder") == [(5, 2)] * 4
        assert kernels_and_strides(f"{domain}_decoder") == [(5, 2), (5, 2), (5, 2), (2, 1), (6, 2)]
    assert kernels_and_strides("shared_encoder") == [(5, 2)]
    assert kernels_and_strides("shared_decoder") == [(5, 2)]


def test_batch_norms_are_pytorchs(reference_network):
    norms = of_type(reference_network, keras.layers.BatchNormalization)
    assert [layer.epsilon for layer in norms] == [1e-5] * 9
    # PyTorch's momentum of 0.1 is the share of the new; Keras's is that of the old.
    assert [layer.momentum for layer in norms] == [0.9] * 9


@pytest.mark.parametrize("part", ["natural_encoder", "synthetic_encoder", "shared_encoder"])
def test_encoders_begin_with_an_orthogonal_basis(part):
    section = TwinVAE(channels=(8, 16, 24, 32), shared_channels=40, latent=4, regressor=(4, 4))
    network = section.build(DOMAINS)
    for layer in network.get_layer(part).layers:
        if isinstance(layer, keras.layers.Conv2D):
            kernel = ops.convert_to_numpy(layer.kernel).reshape(-1, layer.filters)
            np.testing.assert_allclose(kernel.T @ kernel, np.eye(layer.filters), atol=1e-5)
            assert not ops.convert_to_numpy(layer.bias).any()


def test_regressor_is_linear(reference_network):
    regressor = reference_network.get_layer("regressor")
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 5, 256)).astype(np.float32)
    zero = np.zeros((1, 256), np.float32)
    predict = [ops.convert_to_numpy(regressor(v)) for v in (a, b, a + b, zero)]
    np.testing.assert_allclose(predict[0] + predict[1], predict[2] + predict[3], atol=1e-3)


def test_regressor_can_read_what_the_paper_says():
    small = {"channels": (4, 4, 4, 6), "shared_channels": 4, "latent": 3, "regressor": (2, 2)}
    assert TwinVAE(**small).build().get_layer("regressor").input_shape == (None, 3)
    paper = TwinVAE(**small, regressor_input="shared_decoder").build()
    assert paper.get_layer("regressor").input_shape == (None, 5, 5, 6)


def test_both_domains_share_the_layers_inside(reference_network):
    names = [layer.name for layer in reference_network.layers]
    for part in ("shared_encoder", "latent_mean", "latent", "shared_decoder", "regressor"):
        assert names.count(part) == 1
        assert len(reference_network.get_layer(part)._inbound_nodes) >= 2


def test_sampler_draws_with_the_mean_and_variance_it_is_given():
    shape = (20_000, 1)
    mean, log_variance = np.full(shape, 3.0, np.float32), np.full(shape, np.log(4.0), np.float32)
    sampler = LatentSampler(seed=1)
    drawn = ops.convert_to_numpy(sampler(mean, log_variance, training=True))
    assert drawn.mean() == pytest.approx(3.0, abs=0.06)
    assert drawn.std() == pytest.approx(2.0, abs=0.05)
    np.testing.assert_array_equal(ops.convert_to_numpy(sampler(mean, log_variance)), mean)


@pytest.mark.parametrize("regressor_input", ["latent", "shared_decoder"])
def test_training_counts_and_decodes_the_sample(regressor_input, reference_images):
    network = TwinVAE(
        channels=(4, 4, 4, 4), shared_channels=4, latent=3, regressor=(2, 2),
        regressor_input=regressor_input, dropout=0.0,
    ).build()  # fmt: skip
    first, second = (network({"natural": reference_images}, training=True) for _ in range(2))
    for output in ("mean", "log_variance", "count", "reconstruction"):
        change = ops.max(ops.abs(first[f"natural_{output}"] - second[f"natural_{output}"]))
        # Nothing but the noise of the latent differs between the two.
        assert (float(change) > 1e-3) == (output in ("count", "reconstruction")), output
