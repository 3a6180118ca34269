"""``cellzoo tune``: KerasTuner searches the keys of a recipe; every trial is a run of its own.

KerasTuner's oracles say what to try next and keep what was tried. A trial is `cellzoo fit` in a
process of its own: whatever happens to it, the search lives on, its memory is given back, and a
trial that was interrupted goes on where it was. A search folder holds

    recipe.yaml          what is searched          trials.csv    a row for each trial
    trials/0007/         the run folder of one     best.yaml     a recipe for `cellzoo fit`
    trials/0007.log      what it said              changes.txt   how best.yaml differs
    tensorboard/         HParams                   *.png         objective, parameters
    oracle/              KerasTuner's own notes
"""

import csv
import ctypes
import json
import logging
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cellzoo.errors import UsageError, UserError
from cellzoo.files import LOCK_FILE, lock, write_atomically, write_csv
from cellzoo.recipe import Parameter, Recipe, check_space, load_recipe, with_epochs, with_values

log = logging.getLogger("cellzoo")

FIT = (
    "from cellzoo.tuning import end_with_parent; end_with_parent(); "
    "from cellzoo.cli import main; main()"
)
COMPLETED, FAILED, RUNNING, STOPPED = "COMPLETED", "FAILED", "RUNNING", "STOPPED"
_LOCAL = "(here)"  # begins the names of workers in the search's own process, unlike a machine's


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


def tune(
    recipe: Recipe,
    out: Path | None = None,
    workers: int = 1,
    serve: int | None = None,
    chief: str | None = None,
) -> list[Path]:
    """Searches the keys that a recipe's ``tune`` section names, or goes on with a search.

    Args:
        recipe: what to tune.
        out: search folder; None: ``searches/<recipe>``. A search that is there goes on.
        workers: trials at a time on this machine; each gets a GPU, or a share of the processor.
        serve: port on which to be the chief of a search on several machines. The chief trains
            nothing; it says what to try and keeps the results.
        chief: ``HOST:PORT`` of the chief to work for.

    Returns:
        The files written, ``best.yaml`` first; none when working for a chief.

    Raises:
        UsageError: the ``tune`` section names what the recipe does not have.
        UserError: not one trial came to an end.
        KeyboardInterrupt: after the trials under way have stopped; they go on next time.
    """
    if recipe.tune is None or not recipe.tune.searched:
        raise UsageError(
            "This recipe has nothing to tune: name keys and their ranges in tune.space, such as "
            "train.learning_rate: {low: 1.0e-5, high: 1.0e-3, scale: log}."
        )
    check_space(recipe)
    folder = _open_folder(recipe, out or Path("searches") / recipe.name)
    # Results need TensorFlow's writer, but a GPU belongs to the trials.
    import tensorflow as tf

    gpus = len(tf.config.list_physical_devices("GPU"))
    tf.config.set_visible_devices([], "GPU")
    if chief:  # several workers may share a folder
        search = Search(recipe, folder, _oracle(recipe, folder, chief))
        search.run(workers, gpus, prefix=socket.gethostname())
        return []
    with lock(folder, "is searched by another `cellzoo tune`"):
        search = Search(recipe, folder, _oracle(recipe, folder, served=bool(serve)))
        if serve:
            _serve(search, serve)
        else:
            search.run(workers, gpus)
        return search.write_results(last=True)


class Search:
    """Runs trials until the oracle wants no more.

    Args:
        recipe: with its ``tune`` section.
        folder: of the search.
        oracle: KerasTuner's, or its client on a worker machine.
    """

    def __init__(self, recipe: Recipe, folder: Path, oracle: Any):
        """Takes note; nothing runs yet."""
        self.recipe, self.folder, self.oracle = recipe, folder, oracle
        self.settings = recipe.tune
        self.stopping = threading.Event()
        self.writing = threading.Lock()
        self.problem: BaseException | None = None
        self.plotted = -math.inf

    def run(self, workers: int = 1, gpus: int = 0, prefix: str = _LOCAL) -> None:
        """Runs trials, ``workers`` at a time, until there are no more."""
        self._show_header()
        threads = [
            threading.Thread(
                target=self._work, args=(f"{prefix}-{k}", _share(k, workers, gpus)), daemon=True
            )
            for k in range(workers)
        ]
        for thread in threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in threads):
                time.sleep(0.1)
        except KeyboardInterrupt:
            log.info("Stopping the trials under way; the same command goes on with them.")
            self.stopping.set()
            for thread in threads:
                thread.join()
            raise
        if self.problem:
            raise self.problem

    def _work(self, name: str, environment: dict[str, str]) -> None:
        try:
            while not self.stopping.is_set():
                trial = self.oracle.create_trial(name)
                if trial.status == STOPPED:
                    return
                if trial.status != RUNNING:  # waits for other trials to end
                    time.sleep(1)
                    continue
                value, reason = self._try(trial, environment)
                if self.stopping.is_set():
                    return
                self._end(trial, value, reason)
        except BaseException as error:  # a thread has nobody to tell
            self.problem = _in_words(error)
            self.stopping.set()

    def _end(self, trial: Any, value: float | None, reason: str) -> None:
        if value is not None:
            self.oracle.update_trial(trial.trial_id, {self.settings.objective: value})
        trial.status = FAILED if value is None else COMPLETED
        trial.message = reason or None
        self.oracle.end_trial(trial)
        self._show(int(trial.trial_id), self._values(trial), value, reason)
        if hasattr(self.oracle, "trials"):
            with self.writing:
                self.write_results()

    def _try(self, trial: Any, environment: dict[str, str]) -> tuple[float | None, str]:
        """Trains one combination: the objective, or None and the reason."""
        number = int(trial.trial_id)
        run = self.folder / "trials" / f"{number:04d}"
        try:
            recipe = self._recipe_of(trial)
        except UsageError as error:
            return None, str(error)
        run.parent.mkdir(exist_ok=True)
        file = run.with_suffix(".yaml")
        write_atomically(file, recipe.to_yaml())
        command = [sys.executable, "-c", FIT, "fit", str(file), "--out", str(run)]
        said = run.with_suffix(".log")
        with said.open("a", encoding="utf-8") as output:
            process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                # Ctrl-C comes to us, and we hand it on once.
                start_new_session=True,
            )
            shown = 0.0
            while process.poll() is None and not self.stopping.wait(0.1):
                if time.monotonic() - shown > 2:
                    self._show_running(number, run)
                    shown = time.monotonic()
            if process.poll() is None:
                _stop(process)
        if process.returncode:
            return None, _reason(process.returncode, said)
        try:
            return self._objective(run), ""
        except UserError as error:
            return None, str(error)

    def _recipe_of(self, trial: Any) -> Recipe:
        recipe = with_values(self.recipe, self._values(trial))
        epochs = trial.hyperparameters.values.get("tuner/epochs", self.settings.epochs)
        update: dict[str, Any] = {"tune": None}
        if epochs:
            recipe = with_epochs(recipe, int(epochs))
            update["train"] = recipe.train.model_copy(update={"budget": None})
        if self.settings.budget:
            update["train"] = recipe.train.model_copy(update={"budget": self.settings.budget})
        return recipe.model_copy(update=update)

    def _values(self, trial: Any) -> dict[str, Any]:
        values = trial.hyperparameters.values
        return {
            key: _decoded(parameter, values[key])
            for key, parameter in self.settings.searched.items()
            if key in values
        }

    def _objective(self, run: Path) -> float:
        """The score of the model that the run kept, or the best of a history column."""
        name = self.settings.objective
        scores = json.loads((run / "report" / "validation.json").read_text(encoding="utf-8"))
        score = name.removeprefix("validation_")
        if name.startswith("validation_") and score in scores:
            values = [math.nan if scores[score] is None else float(scores[score])]
        else:
            history = run / "history.csv"
            if not history.is_file():
                raise UserError(f"tune.objective {name} is no score of {run}/report.")
            with history.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            if rows and name not in rows[0]:
                raise UserError(
                    f"tune.objective {name} is no column of {history}; there are "
                    f"{', '.join(rows[0])}."
                )
            values = [float(row[name]) for row in rows]
        values = [value for value in values if math.isfinite(value)]
        if not values:
            raise UserError(f"{name} never was a number.")
        return max(values) if self.settings.direction == "max" else min(values)

    def trials(self) -> list[Trial]:
        """All trials so far, by number."""
        rows = []
        for trial in list(self.oracle.trials.values()):  # other threads add some
            number = int(trial.trial_id)
            done = trial.status == COMPLETED and trial.score is not None
            rows.append(
                Trial(
                    number,
                    trial.status,
                    self._values(trial),
                    float(trial.score) if done else math.nan,
                    trial.message or "",
                    _seconds(self.folder / "trials" / f"{number:04d}"),
                )
            )
        return sorted(rows, key=lambda row: row.number)

    def best(self) -> Trial | None:
        """The best completed trial; of equals the first."""
        done = [trial for trial in self.trials() if trial.status == COMPLETED]
        sign = -1 if self.settings.direction == "max" else 1
        return min(done, key=lambda trial: sign * trial.objective, default=None)

    def write_results(self, last: bool = False) -> list[Path]:
        """Writes table, plots, HParams and best recipe.

        Args:
            last: say what the best is, and complain if there is none.

        Raises:
            UserError: there is none although no trial is to come.
        """
        trials, best = self.trials(), self.best()
        keys = list(self.settings.searched)
        write_csv(
            self.folder / "trials.csv",
            ["trial", "status", self.settings.objective, *keys, "seconds", "reason"],
            [
                [t.number, t.status.lower(), _number(t.objective)]
                + [json.dumps(t.values.get(key)) for key in keys]
                + [_number(t.seconds), t.reason]
                for t in trials
            ],
        )
        if best is None:
            if last:
                raise UserError(
                    f"None of the {len(trials)} trials came to an end; the first failed because: "
                    f"{trials[0].reason if trials else 'none was run'} See "
                    f"{self.folder / 'trials.csv'}."
                )
            return []
        plain = self.recipe.model_copy(update={"tune": None})
        tuned = with_values(plain, best.values)
        changes = plain.differences(tuned)
        objective = f"{self.settings.objective} {best.objective:.4g}"
        header = f"# {self.recipe.name} tuned: trial {best.number} of {len(trials)}, {objective}\n"
        write_atomically(self.folder / "best.yaml", header + tuned.to_yaml())
        write_atomically(self.folder / "changes.txt", "".join(f"{line}\n" for line in changes))
        names = ["best.yaml", "changes.txt", "trials.csv", "objective.png", "parameters.png"]
        if last or time.monotonic() - self.plotted > 10:
            _plot(self.folder, trials, self.settings)
            self.plotted = time.monotonic()
        _write_hparams(self.folder / "tensorboard", trials, self.settings.objective)
        if last:
            log.info("best: trial %d, %s", best.number, objective)
            for line in changes or ["nothing changed: the recipe's own values are the best found."]:
                log.info("  %s", line)
        return [self.folder / name for name in names]

    def _show_header(self) -> None:
        keys = [key.rpartition(".")[2] if not key[-1].isdigit() else key
                for key in self.settings.searched]  # fmt: skip
        log.info("trial  %-18s  %s", self.settings.objective[-18:], "  ".join(keys))

    def _show(self, number: int, values: dict[str, Any], value: float | None, reason: str) -> None:
        shown = "  ".join(_short(v) for v in values.values())
        score = "failed" if value is None else f"{value:.4g}"
        _clear_line()
        log.info("%5d  %-18s  %s%s", number, score, shown, f"  {reason}" if reason else "")

    def _show_running(self, number: int, run: Path) -> None:
        """Rewrites one line of a terminal with the last epoch of a trial."""
        if not sys.stdout.isatty():
            return
        rows = _last_row(run / "history.csv")
        state = f"epoch {float(rows.get('epoch', 0)):.0f}"
        value = rows.get(self.settings.objective, "")
        sys.stdout.write(f"\r{number:5d}  {value[:10]:18}  {state} ...\033[K")
        sys.stdout.flush()


def _open_folder(recipe: Recipe, folder: Path) -> Path:
    """Makes the search folder, or sees to it that it holds a search of this recipe."""
    file = folder / "recipe.yaml"
    search = (folder / "oracle").is_dir() or (folder / "trials").is_dir()
    if folder.exists() and not search and not _is_new(folder, recipe):
        raise UsageError(f"{folder} holds other files: choose another --out.")
    if file.is_file():
        # More trials may be wanted; anything else would mix what cannot be compared.
        changes = load_recipe(file).differences(recipe)
        changes = [line for line in changes if not line.startswith("tune.trials:")]
        if changes:
            raise UsageError(
                f"{folder} holds a search of another recipe ({changes[0]}): choose another --out."
            )
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(file, recipe.to_yaml())
    return folder


def _is_new(folder: Path, recipe: Recipe) -> bool:
    """Whether there is nothing, or what a search of this recipe begins with.

    A recipe of another text is somebody's own: comments and overlay would be lost.
    """
    if not folder.is_dir():
        return False
    no_matter = (".recipe.yaml.", LOCK_FILE)
    files = [file for file in folder.iterdir() if not file.name.startswith(no_matter)]
    return not files or (
        [file.name for file in files] == ["recipe.yaml"]
        and files[0].read_text(encoding="utf-8") == recipe.to_yaml()
    )


def _oracle(recipe: Recipe, folder: Path, chief: str | None = None, served: bool = False) -> Any:
    """KerasTuner's search, with what it knows from an earlier start; or its client."""
    import keras_tuner

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
        return _client(oracle, chief)
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
                if name in running and not worker.startswith(_LOCAL)
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

    class Bayesian(keras_tuner.oracles.BayesianOptimizationOracle):
        def populate_space(self, trial_id):
            with warnings.catch_warnings():
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


def _client(oracle: Any, chief: str) -> Any:
    host, _, port = chief.rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(f"--chief {chief}: write it as HOST:PORT, such as node1:9000.")
    from keras_tuner.src.distribute.oracle_client import OracleClient

    os.environ.update(
        KERASTUNER_ORACLE_IP=host,
        KERASTUNER_ORACLE_PORT=port,
        KERASTUNER_TUNER_ID=socket.gethostname(),
    )
    return OracleClient(oracle)


def _serve(search: Search, port: int) -> None:
    """Is the chief: answers the workers until all trials have ended."""
    from concurrent.futures import ThreadPoolExecutor

    import grpc
    from keras_tuner.src import protos
    from keras_tuner.src.distribute.oracle_chief import OracleServicer

    oracle = search.oracle
    server = grpc.server(ThreadPoolExecutor(max_workers=1))
    servicer = OracleServicer(oracle)
    protos.get_service_grpc().add_OracleServicer_to_server(servicer, server)
    try:
        server.add_insecure_port(f"[::]:{port}")
    except RuntimeError:
        raise UserError(f"Port {port} is taken: choose another --serve.") from None
    server.start()
    log.info("Chief on port %d: start workers with --chief HOST:%d.", port, port)
    written, finished_at = 0, math.inf
    try:
        # Workers ask once more and are told that it is over, a dead one never.
        while oracle.tuner_ids and time.monotonic() - finished_at < 60 or finished_at == math.inf:
            time.sleep(0.5)
            if len(oracle.end_order) != written:
                written = len(oracle.end_order)
                search.write_results()
            nothing_left = servicer.stop_triggered and not oracle.ongoing_trials
            finished = written >= search.settings.trials or nothing_left
            if finished and finished_at == math.inf:
                finished_at = time.monotonic()
    finally:
        server.stop(grace=2).wait()


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


def _decoded(parameter: Parameter, value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _share(k: int, workers: int, gpus: int) -> dict[str, str]:
    """The environment in which worker ``k`` has a GPU, or a share of the processor, to itself."""
    if workers == 1:
        return {}
    if gpus:
        names = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        names = names if names != [""] else [str(n) for n in range(gpus)]
        return {"CUDA_VISIBLE_DEVICES": names[k % len(names)]}
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    return {"TF_NUM_INTRAOP_THREADS": threads, "OMP_NUM_THREADS": threads}


def end_with_parent() -> None:
    """Has Linux end this process when the search is killed, so that no two train one trial."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, int(signal.SIGTERM))


def _stop(process: subprocess.Popen) -> None:
    """Interrupts a trial as Ctrl-C would, so that it leaves a model."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _reason(code: int, said: Path) -> str:
    """Why a trial failed, from how it ended and the last that it said."""
    if code < 0 or code > 128:
        number = -code if code < 0 else code - 128
        hint = ": out of memory, most likely" if number == signal.SIGKILL else ""
        return f"killed by signal {number}{hint}."
    lines = said.read_text(encoding="utf-8", errors="replace").splitlines()
    lines = [line for line in lines if line.strip()]
    errors = [line for line in lines if line.startswith("Error: ")]
    if errors:
        return errors[-1].removeprefix("Error: ")
    if any("ResourceExhausted" in line or "MemoryError" in line for line in lines):
        return f"out of memory: see {said}."
    return f"{lines[-1][:200] if lines else 'it said nothing'} (see {said})"


def _in_words(error: BaseException) -> BaseException:
    if type(error).__module__.startswith("grpc"):
        return UserError("The chief no longer answers: start it again, then this command.")
    return error


def _seconds(run: Path) -> float:
    file = run / "report" / "validation.json"
    if not file.is_file():
        return math.nan
    return float(json.loads(file.read_text(encoding="utf-8")).get("seconds", math.nan))


def _last_row(history: Path) -> dict[str, str]:
    if not history.is_file():
        return {}
    with history.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {k: v for k, v in rows[-1].items() if k and v} if rows else {}


def _clear_line() -> None:
    if sys.stdout.isatty():
        sys.stdout.write("\r\033[K")


def _number(value: float) -> str:
    return repr(value) if math.isfinite(value) else ""


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else json.dumps(value)


def _plot(folder: Path, trials: Sequence[Trial], settings: Any) -> None:
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


def _write_hparams(folder: Path, trials: Sequence[Trial], objective: str) -> None:
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
