"""``cellzoo tune``: runs trials until the oracle wants no more."""

import csv
import json
import logging
import math
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from cellzoo.errors import UsageError, UserError
from cellzoo.files import LOCK_FILE, lock, write_atomically, write_csv
from cellzoo.recipe import Recipe, check_space, load_recipe, with_epochs, with_values
from cellzoo.runs import Run, build_network, recipe_file
from cellzoo.tuning import process
from cellzoo.tuning.chief import serve_search
from cellzoo.tuning.oracle import COMPLETED, FAILED, LOCAL, RUNNING, STOPPED, decoded, make_oracle
from cellzoo.tuning.results import Trial, plot, write_hparams

log = logging.getLogger("cellzoo")

_STOPPING = 75.0  # seconds in which a trial that is interrupted ends, or is killed


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
    check_objective(recipe)
    folder = out or Path("searches") / recipe.name
    _check_folder(recipe, folder)
    # Results need TensorFlow's writer, 4 s to import, but a GPU belongs to the trials.
    import tensorflow as tf

    gpus = len(tf.config.list_physical_devices("GPU"))
    tf.config.set_visible_devices([], "GPU")
    if chief:  # several workers may share a folder
        write_atomically(folder / "recipe.yaml", recipe.to_yaml())
        search = Search(recipe, folder, make_oracle(recipe, folder, chief), keeps_results=False)
        search.run(workers, gpus, prefix=socket.gethostname())
        return []
    with lock(folder, "is searched by another `cellzoo tune`"):
        write_atomically(folder / "recipe.yaml", recipe.to_yaml())
        search = Search(recipe, folder, make_oracle(recipe, folder, served=bool(serve)))
        if serve:
            serve_search(search, serve)
        else:
            search.run(workers, gpus)
        return search.write_results(last=True)


def check_objective(recipe: Recipe) -> None:
    """Sees to it that a training of the recipe writes down what is to be the best.

    Raises:
        UsageError: it does not.
    """
    name, model = recipe.tune.objective, recipe.model.name
    if name.startswith("validation_"):
        return
    if recipe.classical:
        raise UsageError(
            f"tune.objective is {name}, and {model} is fitted without a loss: choose "
            "validation_mae_raw."
        )
    term = name.replace("_kl", "_log_variance")
    if name != "loss" and term not in build_network(recipe, pretrained=False).output:
        raise UsageError(
            f"tune.objective is {name}, and the loss of {model} has no such term here: choose "
            "validation_mae_raw or loss."
        )


class Search:
    """Runs trials until the oracle wants no more.

    Args:
        recipe: with its ``tune`` section.
        folder: of the search.
        oracle: KerasTuner's, or its client on a worker machine.
        keeps_results: whether this process writes the results; on a worker machine the chief does.
    """

    def __init__(self, recipe: Recipe, folder: Path, oracle: Any, keeps_results: bool = True):
        """Takes note; nothing runs yet."""
        self.recipe, self.folder, self.oracle = recipe, folder, oracle
        self.keeps_results = keeps_results
        self.settings = recipe.tune
        self.stopping = threading.Event()
        self.writing = threading.Lock()
        self.problem: BaseException | None = None
        self.plotted = -math.inf

    def run(self, workers: int = 1, gpus: int = 0, prefix: str = LOCAL) -> None:
        """Runs trials, ``workers`` at a time, until there are no more."""
        self._show_header()
        threads = [
            threading.Thread(
                target=self._work,
                args=(f"{prefix}-{k}", process.share(k, workers, gpus)),
                daemon=True,
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
                thread.join(_STOPPING)  # one that asks a chief may wait for an hour
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
        if self.keeps_results:
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
        self._wait_for_former(run)
        if self.stopping.is_set():
            return None, ""
        said = run.with_suffix(".log")
        trial_process = process.start(file, run, said, environment)
        shown = 0.0
        while trial_process.poll() is None and not self.stopping.wait(0.1):
            if time.monotonic() - shown > 2:
                self._show_running(number, run)
                shown = time.monotonic()
        if trial_process.poll() is None:
            process.stop(trial_process)
        if trial_process.returncode:
            return None, process.reason_of(trial_process.returncode, said)
        try:
            self._check_images(run)
            return self._objective(run), ""
        except UserError as error:
            return None, str(error)

    def _wait_for_former(self, run: Path) -> None:
        """Lets the trial's former process end, which a killed search has left at its last step.

        Else the trial would fail, as somebody trains there, and be counted as the worst.
        """
        said = False
        while recipe_file(run).is_file() and not self.stopping.is_set():
            try:
                with lock(run, "is being trained"):
                    return
            except UserError:
                if not said:
                    log.info("Waiting for another process that trains in %s ...", run)
                    said = True
                self.stopping.wait(0.2)

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
        return {key: decoded(values[key]) for key in self.settings.searched if key in values}

    def _check_images(self, run: Path) -> None:
        """Sees to it that a trial was validated on what the first one was.

        A search over the seed deals the groups out anew, and labels may be mended between two
        starts: the best trial would be the one with the easiest images.

        Raises:
            UserError: it was not.
        """
        others = sorted(run.parent.glob("*/report/validation.json"))
        first = next((file.parents[1] for file in others if file.parents[1] != run), run)
        tables = [_validated_on(folder) for folder in (first, run)]
        if all(tables) and tables[0] != tables[1]:
            raise UserError(
                f"It was validated on other images or labels than {first}, so errors do not "
                "compare: bring these back, take what deals them out (seed) from tune.space, or "
                "choose another --out."
            )

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
        header = (
            f"# {self.recipe.name} tuned: trial {best.number} of {len(trials)}, {objective}, which "
            "chose it and is no score\n"
        )
        write_atomically(self.folder / "best.yaml", header + tuned.to_yaml())
        write_atomically(self.folder / "changes.txt", "".join(f"{line}\n" for line in changes))
        names = ["best.yaml", "changes.txt", "trials.csv", "objective.png", "parameters.png"]
        if last or time.monotonic() - self.plotted > 10:
            plot(self.folder, trials, self.settings)
            self.plotted = time.monotonic()
        write_hparams(self.folder / "tensorboard", trials, self.settings.objective)
        if last:
            log.info(
                "best: trial %d, %s, which chose it: `cellzoo evaluate` scores a run of best.yaml",
                best.number, objective,
            )  # fmt: skip
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


def _check_folder(recipe: Recipe, folder: Path) -> None:
    """Makes the search folder, or sees to it that it holds a search of this recipe.

    Raises:
        UsageError: it holds something else.
    """
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


def _in_words(error: BaseException) -> BaseException:
    if type(error).__module__.startswith("grpc"):
        return UserError("The chief no longer answers: start it again, then this command.")
    return error


def _validated_on(run: Path) -> list[tuple[str, str]]:
    """Names and counts of a run's labelled validation images; none where it did not say."""
    rows = Run(run).split_table() if recipe_file(run).is_file() else []
    if rows and "count" not in rows[0]:  # of an earlier version
        return []
    return [
        (row["image"], row["count"])
        for row in rows
        if row["split"] == "validation" and row["labelled"] == "1"
    ]


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
