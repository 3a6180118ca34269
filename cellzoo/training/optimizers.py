"""The papers' two optimisers: Adam from Keras, and RAdam, which Keras 3 does not have.

`RectifiedAdam` follows TensorFlow Addons 0.23 step by step. Addons cannot be imported beside
Keras 3, so its trajectories are kept as figures; tests/oracles regenerates them.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from cellzoo.errors import UsageError


@keras.saving.register_keras_serializable(package="cellzoo")
class RectifiedAdam(keras.optimizers.Optimizer):
    """Adam whose step is rectified while its second moment rests on few gradients (RAdam).

    Liu et al. 2020, "On the Variance of the Adaptive Learning Rate and Beyond", algorithm 2, with
    the conventions of `tfa.optimizers.RectifiedAdam` 0.23. With rho the length of the simple
    moving average that the second moment amounts to at this step, m the bias-corrected first
    moment and v the square root of the bias-corrected second one:

        step = r(rho) * m / (v + epsilon)    from rho = sma_threshold on
        step = m                             before
        variable -= learning_rate * (step + weight_decay * variable)

    Addons' linear warm-up (`total_steps`, `warmup_proportion`, `min_lr`) is left out: give a
    `keras.optimizers.schedules.LearningRateSchedule` as `learning_rate` instead. A sparse
    gradient (of an embedding) counts as a dense one with zeros, where Addons leaves the rows it
    does not name untouched.

    Args:
        learning_rate: step size, a schedule, or a function without arguments that returns it.
        beta_1: decay per step of the first moment, in [0, 1).
        beta_2: decay per step of the second moment, in [0, 1). With 0.999 the first five steps
            are not rectified, the sixth is.
        epsilon: added to the root of the second moment.
        weight_decay: share of a variable that is taken off it per step, times the learning rate
            (decoupled, as in AdamW). None or 0: no decay. `exclude_from_weight_decay` spares
            variables.
        amsgrad: divide by the largest second moment so far instead of the present one.
        sma_threshold: length of the moving average from which on the step is rectified, at
            least 4, below which the rectification is not defined. Addons' 5 is the paper's
            released program, 4 the paper's algorithm.
        name: name of the optimiser.
        **options: those of every Keras optimiser: `clipnorm`, `clipvalue`, `global_clipnorm`,
            `use_ema`, `ema_momentum`, `ema_overwrite_frequency`, `loss_scale_factor`,
            `gradient_accumulation_steps`.

    Raises:
        ValueError: if `sma_threshold` is below 4 or a beta is outside [0, 1).

    Example:
        >>> model.compile(optimizer=RectifiedAdam(1.3e-4, weight_decay=1e-5), loss="mse")
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule | Callable = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        amsgrad: bool = False,
        sma_threshold: float = 5.0,
        name: str = "rectified_adam",
        **options: Any,
    ) -> None:
        """Check the arguments, which the class describes, and keep them."""
        for key, beta in (("beta_1", beta_1), ("beta_2", beta_2)):
            if not 0 <= beta < 1:
                raise ValueError(f"{key} must lie in [0, 1), not {beta}")
        if sma_threshold < 4:
            raise ValueError(f"sma_threshold must be at least 4, not {sma_threshold}")
        super().__init__(
            learning_rate=learning_rate, weight_decay=weight_decay, name=name, **options
        )
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.amsgrad = amsgrad
        self.sma_threshold = sma_threshold

    def build(self, variables: list) -> None:
        """Create the two moments of every variable (and, with amsgrad, the largest second one).

        Args:
            variables: the variables to be optimised.
        """
        if self.built:
            return
        super().build(variables)
        self._momentums, self._velocities = self.add_optimizer_variables(
            variables, ["momentum", "velocity"]
        )
        if self.amsgrad:
            self._largest_velocities = self.add_optimizer_variables(variables, "largest_velocity")

    def _apply_weight_decay(self, variables: list) -> None:
        """Leave to `update_step` what Keras would do here, just before it.

        The sum is the same; its rounding over 60 steps is not (1.2e-6 off Addons' figures).
        """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move one variable by one step.

        Args:
            gradient: gradient of the loss, shape of `variable`.
            variable: the variable to be moved.
            learning_rate: scalar, the learning rate of this step.
        """
        # 1 - beta_2**t loses its digits in half precision, so the scalars never go below float32.
        # They are float32 in Addons too, and its figures hold that rounding: not to be "improved".
        exact = keras.backend.result_type(variable.dtype, "float32")
        learning_rate = ops.cast(learning_rate, exact)
        step = ops.cast(self.iterations + 1, exact)
        beta_1, beta_2 = ops.cast(self.beta_1, exact), ops.cast(self.beta_2, exact)
        beta_2_power = ops.power(beta_2, step)
        correction_1 = 1.0 - ops.power(beta_1, step)
        correction_2 = 1.0 - beta_2_power

        # Adding it to zeros makes a sparse gradient dense; its repeated rows must be summed before
        # they are squared.
        gradient = ops.add(ops.zeros(variable.shape, exact), ops.cast(gradient, exact))
        index = self._get_variable_index(variable)
        momentum, velocity = self._momentums[index], self._velocities[index]
        first = beta_1 * ops.cast(momentum, exact) + (1.0 - beta_1) * gradient
        second = beta_2 * ops.cast(velocity, exact) + (1.0 - beta_2) * ops.square(gradient)
        self.assign(momentum, ops.cast(first, variable.dtype))
        self.assign(velocity, ops.cast(second, variable.dtype))
        if self.amsgrad:
            largest = self._largest_velocities[index]
            second = ops.maximum(ops.cast(largest, exact), second)
            self.assign(largest, ops.cast(second, variable.dtype))

        longest = 2.0 / (1.0 - beta_2) - 1.0
        length = longest - 2.0 * step * beta_2_power / correction_2
        rectification = ops.sqrt(
            # Below length 4 the product is negative and `where` takes the other branch.
            ops.maximum((length - 4.0) / (longest - 4.0) * (length - 2.0) / (longest - 2.0), 0.0)
            * longest
            / length
        )
        mean = first / correction_1
        update = ops.where(
            length >= self.sma_threshold,
            rectification * mean / (ops.sqrt(second / correction_2) + self.epsilon),
            mean,
        )
        if self.weight_decay is not None and self._use_weight_decay(variable):
            update += self.weight_decay * ops.cast(variable, exact)
        self.assign_sub(variable, ops.cast(learning_rate * update, variable.dtype))

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs to build this optimiser anew (without its state)."""
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "amsgrad": self.amsgrad,
            "sma_threshold": self.sma_threshold,
        }


OPTIMIZERS: dict[str, type[keras.optimizers.Optimizer]] = {
    "adam": keras.optimizers.Adam,
    "radam": RectifiedAdam,
}


def make_optimizer(
    name: str,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
    weight_decay: float = 0.0,
    **options: Any,
) -> keras.optimizers.Optimizer:
    """Return the optimiser that a recipe names.

    Weight decay is the decoupled one for both: each step takes `learning_rate * weight_decay` of
    every variable off it, so "adam" with decay is Keras's AdamW. The papers mean other things by
    the word: the Twin-VAE paper has a "soft weight decay of 1e-5 per epoch" (section 2.3.3), the
    authors' program PyTorch's `Adam(weight_decay=1e-4)`, which adds `1e-4 * variable` to the
    gradient (L2), so that Adam's division by the second moment acts on it too.

    Args:
        name: "adam" or "radam" (see `RectifiedAdam`).
        learning_rate: step size > 0, or a schedule.
        weight_decay: share per step, times the learning rate, >= 0.
        **options: further arguments of the optimiser, such as `clipnorm` or `use_ema`.

    Returns:
        An optimiser without state.

    Raises:
        UsageError: if the name is unknown or the optimiser refuses an argument.
    """
    if name not in OPTIMIZERS:
        raise UsageError(
            f"train.optimizer is '{name}', which is not an optimizer of the zoo: "
            f"write {' or '.join(sorted(OPTIMIZERS))}."
        )
    if isinstance(learning_rate, int):
        learning_rate = float(learning_rate)  # Keras refuses whole numbers here
    try:
        return OPTIMIZERS[name](
            learning_rate=learning_rate, weight_decay=weight_decay or None, **options
        )
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"train.optimizer '{name}' refuses its arguments: {error}; "
            "correct them under train in the recipe."
        ) from error
