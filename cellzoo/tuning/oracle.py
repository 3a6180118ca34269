"""KerasTuner's oracles, which say what to try next and keep what was tried."""

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from cellzoo.errors import UsageError
from cellzoo.recipe import Parameter, Recipe
from cellzoo.tuning.chief import client

log = logging.getLogger("cellzoo")

COMPLETED, FAILED, RUNNING, STOPPED = "COMPLETED", "FAILED", "RUNNING", "STOPPED"
LOCAL = "(here)"  # begins the names of workers in the search's own process, unlike a machine's


def make_oracle(
    recipe: Recipe, folder: Path, chief: str | None = None, served: bool = False
) -> Any:
    """KerasTuner's search, with what it knows from an earlier start; or its client."""
    import keras_tuner  # which imports TensorFlow, 4 s

    settings = recipe.tune
    parameters = keras_tuner.HyperParameters()
    for key, parameter in settings.searched.items():
        _register(parameters, key, parameter)
    options = {
        "objective": keras_tuner.Objective(settings.objective, settings.direction),
        "hyperparameters": parameters,
        "seed": settings.seed + 1,  # 0 means "any" there
        "max_consecutive_failed_trials": 10**9,  # a failed trial is a result
    }
    oracles = keras_tuner.oracles
    if settings.algorithm == "hyperband":
        oracle = oracles.HyperbandOracle(max_epochs=settings.epochs, **options)
        oracle.max_trials = settings.trials
        _check_longer_rounds(oracle)
    elif settings.algorithm == "random":
        oracle = oracles.RandomSearchOracle(max_trials=settings.trials, **options)
    else:
        # A third of the trials at random leaves the others to the model; KerasTuner's default is
        # three for each parameter, which can be all of them.
        first = min(3 * len(settings.searched), max(3, settings.trials // 3))
        oracle = _bayesian_oracle(max_trials=settings.trials, num_initial_points=first, **options)
    if chief:
        return client(oracle, chief)
    oracle.verbose = 0
    oracle._set_project_dir(str(folder), "oracle")  # as KerasTuner's own tuners do
    state = folder / "oracle" / "oracle.json"
    if state.is_file():
        oracle.reload()
        # KerasTuner saves before it takes a trial off its list, and a kill may fall in between.
        running = {name for name, trial in oracle.trials.items() if trial.status == RUNNING}
        if served:  # workers may not even have noticed, or take theirs up again
            trials = json.loads(state.read_text(encoding="utf-8"))["ongoing_trials"]
            oracle.ongoing_trials = {
                worker: oracle.trials[name]
                for worker, name in trials.items()
                if name in running and not worker.startswith(LOCAL)
            }
        kept = {trial.trial_id for trial in oracle.ongoing_trials.values()}
        oracle._retry_queue = sorted(running - kept)
        done = sum(trial.status != RUNNING for trial in oracle.trials.values())
        log.info("Going on with %s after %d trials.", folder, done)
    return oracle


def _check_longer_rounds(oracle: Any) -> None:
    """Sees to it that a Hyperband search comes to train its best trials for longer.

    Raises:
        UsageError: there are too few trials for that.
    """
    bracket = oracle._get_num_brackets() - 1
    rounds = [oracle._get_size(bracket, k) for k in range(oracle._get_num_rounds(bracket))]
    if bracket and oracle.max_trials <= rounds[0]:
        raise UsageError(
            f"tune.trials: {oracle.max_trials} are too few for hyperband, which tries {rounds[0]} "
            f"for {oracle._get_epochs(bracket, 0)} epochs each before any of them goes on for "
            f"longer: set tune.trials to {sum(rounds)} or more, or lower tune.epochs "
            f"({oracle.max_epochs})."
        )


def _bayesian_oracle(**options: Any) -> Any:
    """KerasTuner's Gaussian process, which here also learns from trials that failed.

    KerasTuner leaves them out, so that it believes of a corner where trainings diverge what it
    believed before, and tries the same place until no trial is left.
    """
    import keras_tuner
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    class Bayesian(keras_tuner.oracles.BayesianOptimizationOracle):
        def populate_space(self, trial_id):
            # Several threads would wait for each other over matrices this small, at the trials'
            # cost: ten times the processor time.
            with warnings.catch_warnings(), threadpool_limits(1):
                # That few trials leave a length scale open is nothing that a user could mend.
                warnings.simplefilter("ignore", ConvergenceWarning)
                return super().populate_space(trial_id)

        def _vectorize_trials(self):
            places, scores = super()._vectorize_trials()
            failed = [
                [
                    parameter.value_to_prob(trial.hyperparameters.values[parameter.name])
                    for parameter in self._nonfixed_space()
                ]
                for trial in self.trials.values()
                if trial.status in (FAILED, "INVALID")
            ]
            if not failed:
                return places, scores
            # Less is better in these scores: as bad as the worst that came to an end.
            worst = np.full(len(failed), scores.max())
            return np.concatenate([places, failed]), np.concatenate([scores, worst])

    return Bayesian(**options)


def _register(parameters: Any, key: str, parameter: Parameter) -> None:
    if parameter.choice is not None:
        parameters.Choice(key, _encoded(parameter))
        return
    whole = isinstance(parameter.low, int) and isinstance(parameter.high, int)
    step = parameter.step
    if whole and step is None and parameter.scale == "linear":
        step = 1
    kind = parameters.Int if whole else parameters.Float
    try:
        kind(key, parameter.low, parameter.high, step=step, sampling=parameter.scale)
    except (ValueError, TypeError) as error:
        raise UsageError(f"tune.space.{key}: {str(error).splitlines()[0]}") from None


def _encoded(parameter: Parameter) -> list[Any]:
    """A choice as KerasTuner takes it: numbers, or texts that stand for anything else."""
    for kind in (int, float):
        if all(type(value) is kind for value in parameter.choice):
            return list(parameter.choice)
    return [json.dumps(value) for value in parameter.choice]


def decoded(value: Any) -> Any:
    """A value of the recipe from what KerasTuner keeps, see :func:`_encoded`."""
    return json.loads(value) if isinstance(value, str) else value
