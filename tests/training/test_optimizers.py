"""RectifiedAdam against TensorFlow Addons 0.23, and what Keras asks of every optimiser."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from cellzoo.errors import UsageError
from cellzoo.training.optimizers import RectifiedAdam, make_optimizer

ROOT = Path(__file__).parents[2]
VECTORS = ROOT.parent / "shared" / "fidelity" / "radam_tfa_0.23.npz"
TENSORFLOW = keras.backend.backend() == "tensorflow"

CASES = {
    "default": {"learning_rate": 1e-2},
    "weight_decay": {"learning_rate": 1e-2, "weight_decay": 1e-2},
    "beta2_99": {"learning_rate": 5e-3, "beta_2": 0.99},
    "sma4": {"learning_rate": 1e-2, "sma_threshold": 4},
    "amsgrad": {"learning_rate": 1e-2, "beta_2": 0.9, "sma_threshold": 4, "amsgrad": True},
}
# Addons' answers after steps 1, 5, 6, 20 and 60 at three places of the variable. Step 5 is the
# first that sma_threshold 4 rectifies, step 6 the first of the default.
STEPS = [0, 4, 5, 19, 59]
PLACES = ([0, 1, 4], [0, 2, 1])
ADDONS = {
    "default": [
        [-0.012675912, -0.9548118, -0.929498],
        [0.029450092, -0.90078545, -0.957804],
        [0.029505337, -0.90072256, -0.958003],
        [0.030340739, -0.90074354, -0.9598669],
        [0.043972418, -0.9008762, -0.9575162],
    ],
    "weight_decay": [
        [-0.012676034, -0.9547127, -0.929405],
        [0.029447787, -0.9003152, -0.9573363],
        [0.029500086, -0.9001623, -0.9574395],
        [0.03029363, -0.8989239, -0.9579624],
        [0.043784603, -0.8954708, -0.95178515],
    ],
    "beta2_99": [
        [-0.0057228794, -0.97322917, -0.929983],
        [0.015340123, -0.946216, -0.94413596],
        [0.015427711, -0.9461159, -0.9444478],
        [0.016761946, -0.94614863, -0.9473971],
        [0.03820223, -0.9463665, -0.94351566],
    ],
    "sma4": [
        [-0.012675912, -0.9548118, -0.929498],
        [0.024434874, -0.9093047, -0.9473501],
        [0.024490118, -0.9092418, -0.94754905],
        [0.02532552, -0.9092628, -0.94941294],
        [0.038957205, -0.90939546, -0.94706225],
    ],
    "amsgrad": [
        [-0.012675912, -0.9548118, -0.929498],
        [0.024762247, -0.90868974, -0.9482355],
        [0.025281938, -0.90806293, -0.95005214],
        [0.0333097, -0.9081948, -0.96696836],
        [0.118612915, -0.9056939, -0.9613574],
    ],
}


def start_and_gradients():
    """The same rule as in tests/oracles/radam_vectors.py."""
    random = np.random.Generator(np.random.PCG64(7))
    initial = random.standard_normal((5, 3)).astype(np.float32)
    noise = random.standard_normal((60, 5, 3)).astype(np.float32)
    return initial, noise * np.linspace(2.0, 0.2, 60).astype(np.float32)[:, None, None]


def trajectory(optimizer, initial, gradients):
    variable = keras.Variable(initial)
    steps = []
    for gradient in gradients:
        optimizer.apply([ops.convert_to_tensor(np.asarray(gradient))], [variable])
        steps.append(variable.numpy().copy())
    return np.array(steps)


def compiled_trajectory(optimizer, initial, gradients):
    """As `trajectory`, with the step compiled by XLA."""
    variable = keras.Variable(initial)
    optimizer.build([variable])
    steps = []
    if TENSORFLOW:
        import tensorflow as tf

        step = tf.function(lambda gradient: optimizer.apply([gradient]), jit_compile=True)
        for gradient in gradients:
            step(tf.constant(gradient))
            steps.append(variable.numpy())
    else:
        import jax

        step = jax.jit(lambda values, state, g: optimizer.stateless_apply(state, [g], values))
        values, state = [variable.value], [v.value for v in optimizer.variables]
        for gradient in gradients:
            values, state = step(values, state, gradient)
            steps.append(np.asarray(values[0]))
    return np.array(steps)


def one_step(optimizer, value, gradient):
    variable = keras.Variable(np.asarray(value, "float32"))
    optimizer.apply([ops.convert_to_tensor(np.asarray(gradient, "float32"))], [variable])
    return variable.numpy()


@pytest.mark.parametrize("run", [trajectory, compiled_trajectory])
@pytest.mark.parametrize("case", CASES)
def test_addons_figures(case, run):
    initial, gradients = start_and_gradients()
    np.testing.assert_allclose(gradients[[0, 59], [0, 4], [0, 2]], [1.3906064, 0.055428077])
    steps = run(RectifiedAdam(**CASES[case]), initial, gradients)
    figures = steps[STEPS][:, PLACES[0], PLACES[1]]
    np.testing.assert_allclose(figures, ADDONS[case], rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", ["default", "weight_decay", "beta2_99", "sma4"])
def test_addons_whole_trajectory(case):
    if not VECTORS.exists():
        pytest.skip(f"{VECTORS.name} is not beside the checkout")
    vectors = np.load(VECTORS)
    steps = trajectory(RectifiedAdam(**CASES[case]), vectors["initial"], vectors["gradients"])
    np.testing.assert_allclose(steps, vectors[case], rtol=0, atol=1e-6)


def test_first_step_is_the_plain_gradient():
    stepped = one_step(RectifiedAdam(0.1), [1.0, -2.0], [0.5, 3.0])
    np.testing.assert_allclose(stepped, [1.0 - 0.05, -2.0 - 0.3], rtol=1e-6)


def test_epsilon_is_added_to_the_root():
    """Under a constant gradient g a rectified step is r g / (|g| + epsilon)."""
    steps = {}
    for g in (1.0, 1e-7):
        optimizer = RectifiedAdam(0.1, beta_2=0.9, sma_threshold=4)
        steps[g] = trajectory(optimizer, np.zeros(1, "float32"), np.full((7, 1), g, "float32"))
    sizes = {g: moved[6] - moved[5] for g, moved in steps.items()}
    np.testing.assert_allclose(sizes[1e-7], sizes[1.0] / 2, rtol=1e-4)


def test_decay_is_taken_off_once_and_not_through_the_moments():
    stepped = one_step(RectifiedAdam(0.1, weight_decay=0.5), [1.0, -2.0], [0.0, 0.0])
    np.testing.assert_allclose(stepped, [0.95, -1.9], rtol=1e-6)


def test_excluded_variables_do_not_decay():
    kernel = keras.Variable(np.ones(2, "float32"), name="kernel")
    bias = keras.Variable(np.ones(2, "float32"), name="bias")
    optimizer = RectifiedAdam(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.apply([ops.zeros(2), ops.zeros(2)], [kernel, bias])
    np.testing.assert_allclose(kernel.numpy(), [0.95, 0.95], rtol=1e-6)
    np.testing.assert_array_equal(bias.numpy(), [1.0, 1.0])


def test_config_round_trip():
    optimizer = RectifiedAdam(
        0.02, 0.8, 0.9, 1e-5, 0.3, True, 4, use_ema=True, ema_momentum=0.7, clipnorm=2.0
    )
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert isinstance(again, RectifiedAdam)
    assert again.get_config() == optimizer.get_config()
    initial, gradients = start_and_gradients()
    np.testing.assert_array_equal(
        trajectory(again, initial, gradients[:9]), trajectory(optimizer, initial, gradients[:9])
    )


def test_saved_model_goes_on_where_it_was(tmp_path):
    images = np.random.default_rng(0).random((8, 3)).astype("float32")
    counts = images.sum(axis=1, keepdims=True)
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(make_optimizer("radam", 0.01, weight_decay=0.1), loss="mse")
    model.fit(images, counts, epochs=7, batch_size=8, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for trained in (model, again):
        trained.fit(images, counts, epochs=3, batch_size=8, verbose=0)
    assert int(again.optimizer.iterations) == 10
    for expected, got in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_schedule():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.0, 0.1])
    steps = trajectory(RectifiedAdam(schedule), np.ones(1, "float32"), np.ones((2, 1), "float32"))
    np.testing.assert_allclose(steps, [[1.0], [0.9]], rtol=1e-6)


def test_clipping():
    stepped = one_step(RectifiedAdam(0.1, clipvalue=2.0), [0.0, 0.0], [5.0, 1.0])
    np.testing.assert_allclose(stepped, [-0.2, -0.1], rtol=1e-6)
    stepped = one_step(RectifiedAdam(0.1, clipnorm=1.0), [0.0, 0.0], [3.0, 4.0])
    np.testing.assert_allclose(stepped, [-0.06, -0.08], rtol=1e-6)


def test_averaged_weights():
    variable = keras.Variable(np.zeros(1, "float32"))
    optimizer = RectifiedAdam(0.1, use_ema=True, ema_momentum=0.5)
    for _ in range(2):
        optimizer.apply([ops.ones(1)], [variable])
    np.testing.assert_allclose(variable.numpy(), [-0.2], rtol=1e-6)
    optimizer.finalize_variable_values([variable])
    np.testing.assert_allclose(variable.numpy(), [-0.15], rtol=1e-6)


def test_accumulated_gradients_make_one_step():
    initial, gradients = start_and_gradients()
    accumulating = RectifiedAdam(0.01, weight_decay=0.1, gradient_accumulation_steps=2)
    steps = trajectory(accumulating, initial, gradients[:20])
    np.testing.assert_array_equal(steps[0], initial)
    means = (gradients[:20:2] + gradients[1:20:2]) / 2
    expected = trajectory(RectifiedAdam(0.01, weight_decay=0.1), initial, means)
    np.testing.assert_allclose(steps[1::2], expected, atol=1e-6)


def test_variable_without_gradient_stays():
    used, unused = keras.Variable(np.ones(1, "float32")), keras.Variable(np.ones(1, "float32"))
    optimizer = RectifiedAdam(0.1, weight_decay=0.5)
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        optimizer.apply([ops.ones(1), None], [used, unused])
    assert used.numpy()[0] < 1
    assert unused.numpy()[0] == 1


def test_half_precision_variable():
    initial, gradients = start_and_gradients()
    exact = trajectory(RectifiedAdam(0.01), initial, gradients)
    variable = keras.Variable(initial, dtype="float16")
    optimizer = RectifiedAdam(0.01)
    for gradient in gradients:
        optimizer.apply([ops.cast(gradient, "float16")], [variable])
    assert keras.backend.standardize_dtype(variable.dtype) == "float16"
    np.testing.assert_allclose(variable.numpy(), exact[-1], atol=0.02)


@pytest.mark.skipif(not TENSORFLOW, reason="IndexedSlices are TensorFlow's")
def test_sparse_gradient_counts_as_a_dense_one():
    import tensorflow as tf

    initial = np.ones((4, 2), "float32")
    dense = np.zeros((4, 2), "float32")
    dense[1], dense[3] = 3.0, 2.0
    expected = trajectory(RectifiedAdam(0.1, weight_decay=0.1), initial, [dense] * 7)
    variable = keras.Variable(initial)
    optimizer = RectifiedAdam(0.1, weight_decay=0.1)
    values = tf.constant([[1.0, 1.0], [2.0, 2.0], [2.0, 2.0]])
    for _ in range(7):
        gradient = tf.IndexedSlices(values, tf.constant([1, 3, 1]), tf.constant([4, 2]))
        optimizer.apply([gradient], [variable])
    np.testing.assert_allclose(variable.numpy(), expected[-1], rtol=1e-6)


@pytest.mark.parametrize("wrong", [{"sma_threshold": 3}, {"beta_2": 1.0}, {"beta_1": -0.1}])
def test_undefined_arguments_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RectifiedAdam(**wrong)


def test_make_optimizer():
    adam = make_optimizer("adam", 1, weight_decay=0.5, clipnorm=3.0)
    assert type(adam) is keras.optimizers.Adam
    assert (adam.weight_decay, adam.clipnorm) == (0.5, 3.0)
    np.testing.assert_allclose(one_step(adam, [1.0], [0.0]), [0.5])
    assert make_optimizer("adam", 0.1).weight_decay is None
    radam = make_optimizer("radam", 0.1, weight_decay=0.5, sma_threshold=4)
    assert type(radam) is RectifiedAdam
    assert (radam.weight_decay, radam.sma_threshold) == (0.5, 4)


def test_make_optimizer_names_what_is_wrong():
    with pytest.raises(UsageError, match="train.optimizer is 'sgd'.*adam or radam"):
        make_optimizer("sgd", 0.1)
    with pytest.raises(UsageError, match="'adam'.*momentum"):
        make_optimizer("adam", 0.1, momentum=0.9)


def run_apart(code_or_arguments, **environment):
    """Run Python in a process of its own: backend and devices are settled at its start."""
    result = subprocess.run(
        [sys.executable, *code_or_arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout


MIRRORED = """
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
from cellzoo.training.optimizers import RectifiedAdam

images = np.random.default_rng(0).random((8, 3)).astype("float32")
counts = images.sum(axis=1, keepdims=True)

def train(strategy):
    with strategy.scope():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.set_weights([np.ones((3, 1)), np.zeros(1)])
        optimizer = RectifiedAdam(0.05, weight_decay=0.2, use_ema=True, ema_momentum=0.5)
        model.compile(optimizer, loss="mse")
    data = tf.data.Dataset.from_tensor_slices((images, counts)).batch(8).repeat(10)
    model.fit(data, verbose=0)
    return strategy.num_replicas_in_sync, model.get_weights()

one, alone = train(tf.distribute.get_strategy())
two, together = train(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
assert (one, two) == (1, 2)
assert abs(alone[0] - 1).max() > 0.05
for expected, got in zip(alone, together):
    np.testing.assert_allclose(got, expected, atol=1e-6)
print("agree")
"""


@pytest.mark.skipif(not TENSORFLOW, reason="strategies are TensorFlow's")
def test_two_devices_agree_with_one():
    assert "agree" in run_apart(["-c", MIRRORED])


@pytest.mark.skipif(not TENSORFLOW, reason="already on another backend")
def test_the_same_under_jax():
    if importlib.util.find_spec("jax") is None:
        pytest.skip("JAX is not installed")
    here = "not devices and not jax and not whole"
    arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", here, str(Path(__file__))]
    assert "passed" in run_apart(arguments, KERAS_BACKEND="jax")
