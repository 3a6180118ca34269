"""What a search leaves beside its trials: their table as plots and for TensorBoard."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellzoo.recipe import Tune
from cellzoo.tuning.oracle import COMPLETED


@dataclass(frozen=True)
class Trial:
    """One row of ``trials.csv``.

    Attributes:
        number: from 0.
        status: ``COMPLETED``, ``FAILED`` or ``RUNNING``.
        values: what the search put into the recipe, by key.
        objective: what it came to; NaN unless completed.
        reason: why it failed; empty otherwise.
        seconds: that its run took; NaN if its folder is on another machine.
    """

    number: int
    status: str
    values: dict[str, Any]
    objective: float
    reason: str
    seconds: float


def plot(folder: Path, trials: Sequence[Trial], settings: Tune) -> None:
    """Objective over trials with the best so far, and each parameter against the objective."""
    from matplotlib.figure import Figure

    done = [trial for trial in trials if trial.status == COMPLETED]
    numbers, values = [t.number for t in done], [t.objective for t in done]
    better = max if settings.direction == "max" else min
    best_so_far = [better(values[: k + 1]) for k in range(len(values))]
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(numbers, values, "o", label="trial")
    axes.step(numbers, best_so_far, where="post", label="best so far")
    axes.set(xlabel="trial", ylabel=settings.objective)
    axes.legend()
    figure.savefig(folder / "objective.png", dpi=120)

    space = settings.searched
    columns = min(3, len(space))
    rows = -(-len(space) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.8 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).flat
    for axes, (key, parameter) in zip(grid, space.items(), strict=False):
        given = [t.values[key] for t in done]
        numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in given)
        axes.plot(given if numeric else [json.dumps(v) for v in given], values, "o")
        if parameter.choice is None and parameter.scale == "log":
            axes.set_xscale("log")
        axes.set(xlabel=key, ylabel=settings.objective)
    figure.savefig(folder / "parameters.png", dpi=120)


def write_hparams(folder: Path, trials: Sequence[Trial], objective: str) -> None:
    """Adds the ended trials that TensorBoard's HParams page does not have yet."""
    import tensorflow as tf
    from tensorboard.plugins.hparams import api

    for trial in trials:
        place = folder / f"{trial.number:04d}"
        if trial.status != COMPLETED or place.exists():
            continue
        values = {k: v if isinstance(v, int | float | str) else json.dumps(v)
                  for k, v in trial.values.items()}  # fmt: skip
        writer = tf.summary.create_file_writer(str(place))
        with writer.as_default(step=0):
            api.hparams(values, trial_id=place.name)
            tf.summary.scalar(objective, trial.objective)
        writer.close()
