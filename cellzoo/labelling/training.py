"""Training on the labels of a page, as a process of its own."""

import json
import logging
import math
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellzoo.data.points import POINTS_FILE
from cellzoo.errors import UsageError, UserError
from cellzoo.files import LOCK_FILE, lock
from cellzoo.labelling.answers import Answer, Answers
from cellzoo.recipe import load_recipe
from cellzoo.runs import Run, recipe_file
from cellzoo.training.resume import new_run_folder, oldest_first

log = logging.getLogger("cellzoo")

RECIPE = "twindensity_ldc"
FEWEST = {"train": 5, "validation": 2}
_WAIT = 30.0  # seconds that a training has for its last step, and to write down the model
_CURVE = "validation_mae_raw"
_READING = ("axes", "channel", "z", "position", "frames")


@dataclass(frozen=True)
class Plan:
    """What a training begins with.

    Attributes:
        recipe: name or file of the recipe, of a training from scratch.
        start: run folder, or ``zoo:NAME``, to go on from; None: from scratch.
        out: folder of the runs.
    """

    recipe: str
    start: str | None
    out: Path

    def command(self, answers: Answers, reading: Mapping[str, Any], budget: str, run: Path) -> list:
        """The words of ``cellzoo fit``.

        Validation images choose nothing, so that the error on them is that of new images.

        Raises:
            UserError: the recipe, or that of the run, cannot be read.
        """
        from cellzoo import zoo

        recipe = self.recipe if self.start is None else str(recipe_file(zoo.find(self.start)))
        natural = {
            "source": "folder",
            "folder": str(answers.folder.resolve()),
            "labels": answers.labels,
            "points": POINTS_FILE,
            "labelled": None,
            "shares": None,
        }
        if load_recipe(recipe).data.natural.source != "folder":  # its keys mean nothing here
            natural["size"] = "resize"
        natural |= {key: reading[key] for key in _READING if reading.get(key) is not None}
        settings = {
            "data.natural": natural,
            "name": re.sub(r"[^A-Za-z0-9_-]+", "_", f"labelled_{answers.folder.resolve().name}"),
            "train.start_from": self.start,
            "train.select": "last",
            "train.patience": None,
            "train.budget": budget,
        }
        words = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
        load_recipe(recipe, words)  # what is wrong is said before a process starts
        words = [word for setting in words for word in ("--set", setting)]
        return [sys.executable, "-m", "cellzoo.cli", "fit", recipe, *words, "--out", str(run)]


class Training:
    """A training under way, or the last one.

    Attributes:
        plan: what the next one begins with.
        run: its folder; None before the first one.
        labels: that were there when it began.
        budget: how long it may take, such as ``5m``.
        message: what became of it.
    """

    def __init__(self, plan: Plan, answers: Answers, reading: Mapping[str, Any]) -> None:
        """Trains nothing yet."""
        self.plan, self._answers, self._reading = plan, answers, reading
        self._process: subprocess.Popen | None = None
        self._began = 0.0
        self._stopped = False
        self._guard = threading.Lock()
        self.run: Path | None = None
        self.labels, self.budget = 0, ""
        self.message = ""

    @property
    def running(self) -> bool:
        """Whether it is under way."""
        return self._process is not None and self._process.poll() is None

    def missing(self) -> str:
        """Why nothing can be trained yet, in a sentence; empty where it can."""
        items, found = self._answers.frames.items, dict.fromkeys(FEWEST, 0)
        if not any(item.split == "validation" for item in items):
            return (
                "All images are of too few groups, so none can be held out: say with --group which "
                "part of a name is the group, or write a column group into labels.csv."
            )
        for number, answer in self._answers.all().items():
            split = items[number].split
            if split in found and teaches(answer, split):
                found[split] += 1
        if all(found[split] >= fewest for split, fewest in FEWEST.items()):
            return ""
        return (
            f"A training needs {FEWEST['train']} labels to learn from and "
            f"{FEWEST['validation']} to be checked on: there are {found['train']} and "
            f"{found['validation']}."
        )

    def begin(
        self, budget: str, done: Callable[[Path], None] | None = None, quiet: bool = True
    ) -> None:
        """Starts it.

        Args:
            budget: how long, such as ``5m``.
            done: called with the run folder when it is finished.
            quiet: what it says goes into the run folder alone.

        Raises:
            UsageError: one is under way, or labels are missing.
        """
        with self._guard:
            if self.running:
                raise UsageError("A training is under way: wait for it, or stop it.")
            if reason := self.missing():
                raise UsageError(reason)
            self._refuse_beside_an_orphan()
            folder = new_run_folder(self.plan.out)
            command = self.plan.command(self._answers, self._reading, budget, folder)
            counted = [a for a in self._answers.all().values() if a.count is not None]
            self.labels, self.budget, self.run = len(counted), budget, folder
            self._stopped, self.message = False, ""
            # Its own group: a Ctrl-C in the terminal is for the page, which ends the training.
            apart: dict[str, Any] = {"start_new_session": True}
            if os.name == "nt":
                apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if quiet else None,
                stderr=subprocess.STDOUT if quiet else None,
                text=True,
                encoding="utf-8",
                errors="replace",
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                **apart,
            )
            self._began = time.monotonic()
            threading.Thread(
                target=self._watch, args=(self._process, folder, done), daemon=True
            ).start()

    def _refuse_beside_an_orphan(self) -> None:
        """A page that was killed may have left a training, which holds its run folder's lock."""
        for folder in oldest_first(self.plan.out.glob("*/"))[-1:]:
            if (folder / LOCK_FILE).exists():
                try:
                    with lock(folder, ""):
                        pass
                except UserError:
                    raise UsageError(
                        f"A training that an earlier page began is under way in {folder}: wait for "
                        "it, or end its process. Two at a time would both be slow."
                    ) from None

    def _watch(
        self, process: subprocess.Popen, run: Path, done: Callable[[Path], None] | None
    ) -> None:
        said = process.stdout.read() if process.stdout else ""
        code = process.wait()
        if code == 0 and (run / "report" / "validation.json").is_file():
            self.message = f"Trained on {self.labels} labels in {self._duration()}: {run}"
            if done:
                done(run)
        elif self._stopped:
            self.message = "The training was stopped."
        else:
            lines = [line for line in said.splitlines() if line.strip()]
            errors = [line for line in lines if line.startswith("Error: ")] or lines[-1:]
            self.message = "The training failed. " + " ".join(errors)
        log.info("%s", self.message)

    def wait(self) -> int:
        """Waits for its end; the exit code."""
        return self._process.wait() if self._process else 0

    def stop(self) -> None:
        """Ends it, and waits for that; the run folder keeps what there is."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        self._stopped = True
        process.terminate()
        try:
            process.wait(_WAIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def state(self) -> dict[str, Any]:
        """What a page shows of it."""
        return {
            "running": self.running,
            "seconds": round(time.monotonic() - self._began) if self.running else None,
            "labels": self.labels,
            "budget": self.budget,
            "message": self.message,
            "curve": self._curve(),
            "missing": "" if self.running else self.missing(),
        }

    def _curve(self) -> list[tuple[float, float]]:
        """Seconds of training and the validation error of counts, one for each validation."""
        if self.run is None or not recipe_file(self.run).is_file():
            return []
        try:
            rows = Run(self.run).history()
        except UserError:
            return []
        return [
            (row["seconds"], row[_CURVE])
            for row in rows
            if _CURVE in row and math.isfinite(row[_CURVE])
        ]

    def _duration(self) -> str:
        seconds = time.monotonic() - self._began
        return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def teaches(answer: Answer, split: str) -> bool:
    """Whether a label is of use in its split: an assisted one holds out nothing."""
    return answer.count is not None and not (answer.assisted and split != "train")
