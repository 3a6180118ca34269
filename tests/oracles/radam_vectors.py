"""Regenerate the trajectories of TensorFlow Addons' RectifiedAdam (README.md says where to run it).

Example: python radam_vectors.py new.npz --against radam_tfa_0.23.npz
"""

import argparse
import sys

import numpy as np

STEPS = 60
SHAPE = (5, 3)
SEED = 7
CASES = {
    "default": {"learning_rate": 1e-2},
    "weight_decay": {"learning_rate": 1e-2, "weight_decay": 1e-2},
    "beta2_99": {"learning_rate": 5e-3, "beta_2": 0.99},
    "sma4": {"learning_rate": 1e-2, "sma_threshold": 4},
}


def start_and_gradients():
    """Return the start, float32 [5, 3], and gradients that shrink tenfold, float32 [60, 5, 3].

    They belong to no loss: Addons is asked for its answer to given gradients only.
    """
    random = np.random.Generator(np.random.PCG64(SEED))
    initial = random.standard_normal(SHAPE).astype(np.float32)
    noise = random.standard_normal((STEPS, *SHAPE)).astype(np.float32)
    fading = np.linspace(2.0, 0.2, STEPS).astype(np.float32)
    return initial, noise * fading[:, None, None]


def trajectory(initial, gradients, options):
    """Return the variable after each step of Addons' optimiser, float32 [60, 5, 3]."""
    import tensorflow as tf
    import tensorflow_addons as tfa

    variable = tf.Variable(initial)
    optimizer = tfa.optimizers.RectifiedAdam(**options)
    steps = []
    for gradient in gradients:
        optimizer.apply_gradients([(tf.constant(gradient), variable)])
        steps.append(variable.numpy())
    return np.stack(steps)


def main():
    """Write the file; with --against, say how far it is from an earlier one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", help="the .npz file to write")
    parser.add_argument("--against", help="an earlier .npz file: fail if any figure is off by 1e-7")
    arguments = parser.parse_args()

    initial, gradients = start_and_gradients()
    vectors = {"initial": initial, "gradients": gradients}
    for case, options in CASES.items():
        vectors[case] = trajectory(initial, gradients, options)
    np.savez(arguments.output, **vectors)
    if not arguments.against:
        return 0

    earlier = np.load(arguments.against)
    if sorted(earlier.files) != sorted(vectors):
        print(f"other keys: {sorted(earlier.files)} there, {sorted(vectors)} here")
        return 1
    largest = 0.0
    for key, values in vectors.items():
        difference = float(np.abs(values - earlier[key]).max())
        largest = max(largest, difference)
        print(f"{key:14s} largest difference {difference:.1e}")
    return int(largest > 1e-7)


if __name__ == "__main__":
    sys.exit(main())
