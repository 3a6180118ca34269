"""What a page knows: frames, answers, what a model says, and a training."""

import logging
import os
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cellzoo import zoo
from cellzoo.data.folder import files_by_name
from cellzoo.data.labels import Table, read_labels
from cellzoo.errors import UserError
from cellzoo.images import search_images
from cellzoo.labelling.answers import LABELS_FILE, Answer, Answers
from cellzoo.labelling.catalogue import Catalogue, catalogue
from cellzoo.labelling.next import Suggestion, own_error, random_error, suggest
from cellzoo.labelling.predictions import Predictions, from_table, read_counts
from cellzoo.labelling.training import RECIPE, Plan, Training
from cellzoo.runs import Run
from cellzoo.training.resume import oldest_first

log = logging.getLogger("cellzoo")

_MOST_PIXELS = 4096  # of a side that a browser is sent; dots keep the image's own pixels
_SEEN = 200  # frames shown last that are remembered


@dataclass
class Chosen:
    """What a user asked for.

    Attributes:
        sources: images and folders, one run folder, or one table of counts.
        model: run folder, SavedModel, ``zoo:NAME`` or ``HOST:PORT/NAME``; None: that of the run.
        out: folder of the labels; None: that of the images.
        recipe: of a training from scratch.
        runs: folder of the trained runs; None: ``runs/labelled_FOLDER``.
        group: pattern of groups in names.
        reading: keywords of :class:`cellzoo.images.Reader`.
    """

    sources: Sequence[Path]
    model: str | None = None
    out: Path | None = None
    recipe: str = RECIPE
    runs: Path | None = None
    group: str | None = None
    reading: dict[str, Any] | None = None


class Session:
    """Everything behind a page.

    Attributes:
        frames: that can be labelled.
        answers: so far.
        predictions: of the model, or of the table of counts.
        training: under way, or the last one.
        note: what a user should hear of the groups; empty where all is well.
    """

    def __init__(self, chosen: Chosen) -> None:
        """Reads images and tables; a model counts in the background.

        Raises:
            UserError: there is no image, or a table cannot be read.
            UsageError: an option is written wrongly.
        """
        reading = {k: v for k, v in (chosen.reading or {}).items() if v is not None}
        sources, labels, rows, splits, start = list(chosen.sources), LABELS_FILE, None, {}, None
        model, folder = chosen.model, chosen.out
        if len(sources) == 1 and sources[0].suffix.lower() == ".csv":
            rows = read_counts(sources[0])
            sources = [Path(name) for name in dict.fromkeys(row["image"] for row in rows)]
        elif len(sources) == 1 and (zoo.find(sources[0]) / "recipe.yaml").is_file():
            run = Run(zoo.find(sources[0]))
            natural = run.recipe.data.natural
            if natural.source != "folder":
                raise UserError(
                    f"{run.path} learned from images that are in no folder: name the images, and "
                    "the run with --model."
                )
            if not Path(natural.folder).is_dir():
                raise UserError(
                    f"{run.path} learned from {natural.folder}, which is not here: name the images,"
                    " and the run with --model."
                )
            sources, labels = [Path(natural.folder)], natural.labels or LABELS_FILE
            keys = ("axes", "channel", "z", "position", "frames")
            reading = {k: getattr(natural, k) for k in keys if getattr(natural, k) is not None} | (
                reading
            )
            splits = {row["image"]: row["split"] for row in run.split_table()}
            model = model or str(run.path)
        if folder is None:
            whole = len(sources) == 1 and sources[0].is_dir()
            folder = sources[0] if whole else _common_folder(sources)
        table = Table({}, set())
        if (folder / labels).is_file():
            table = read_labels(folder / labels)
        elif not folder.is_dir():
            raise UserError(f"{folder}: there is no such folder, make it first.")
        if not os.access(folder, os.W_OK):
            raise UserError(f"{folder} cannot be written to: name another folder with -o.")
        base = (folder / labels).parent
        if len(sources) == 1 and sources[0] == folder:
            files = files_by_name(folder, base, table)
        else:
            found = search_images(sources)
            found.say()
            files = named_from(base, found.files)
        series = None if rows is None else _series(rows)
        self.frames: Catalogue = catalogue(
            [(name, base / name) for name, _ in files],
            table, group_pattern=chosen.group, known_splits=splits, series=series, **reading,
        )  # fmt: skip
        self.note = _about_groups(self.frames)
        if self.note:
            log.warning("%s", self.note)
        self.answers = Answers(folder, self.frames, labels)
        self.predictions = Predictions(self.frames)
        if rows is not None:
            self.predictions = from_table(rows, self.frames)
        name = re.sub(r"[^A-Za-z0-9_-]+", "_", folder.resolve().name)
        runs = chosen.runs or Path("runs") / f"labelled_{name}"
        if model is None and (last := _last_run(runs, folder)):
            log.info("Going on with %s.", last)
            start, model = str(last), str(last)
        elif model is not None and zoo.find(model).is_dir() and _goes_on(zoo.find(model)):
            start = model
        if model is not None and (rows is None or chosen.model):
            self.predictions.begin(model)
        self.training = Training(Plan(chosen.recipe, start, runs), self.answers, reading)
        self._shown: list[int] = []
        self._turn, self._skipped = -1, 0
        self._lock = threading.Lock()
        self._pixels = lru_cache(maxsize=32)(self._read_pixels)

    def next(self) -> Suggestion:
        """The frame to label next."""
        with self._lock:
            answers, repeats = self.answers.all(), self.answers.repeated()
            turn = sum(answer.given for answer in answers.values()) + len(repeats)
            if turn == self._turn:  # a person who skips wants another kind of frame, too
                self._skipped += 1
            self._turn = turn
            found = suggest(
                self.frames, answers, self.predictions.predicted, shown=self._shown,
                repeated=repeats, turn=turn + self._skipped,
            )  # fmt: skip
            if found.number is not None:
                self._shown = [*self._shown[-_SEEN:], found.number]
            return found

    def train(self, budget: str) -> None:
        """Starts a training; when it is finished, its model counts and chooses.

        Raises:
            UsageError: one is under way, or labels are missing.
        """
        self.training.begin(budget, self.trained)

    def trained(self, run: Path) -> None:
        """Goes on with the model of a run."""
        self.training.plan = replace(self.training.plan, start=str(run))
        self.predictions.begin(run)

    def describe(self, number: int, repeat: bool = False) -> dict[str, Any]:
        """What a page shows of a frame.

        Args:
            number: of the frame.
            repeat: neither the answer nor the model's count is shown.
        """
        item, answer = self.frames.items[number], self.answers.of(number)
        blind = repeat or item.split in ("validation", "test")
        before, after = self.frames.beside(number)
        said = None if blind else self.predictions.predicted.get(number)
        members = self.frames.series.get(item.series) or range(len(self.frames))
        return {
            "number": number,
            "name": item.name,
            "width": item.width,
            "height": item.height,
            "group": item.group,
            "before": before,
            "after": after,
            "place": [list(members).index(number) + 1, len(members)],
            "in_series": bool(item.series),
            "blind": blind,
            "repeat": repeat,
            "token": answer.token,
            "answer": _shown(Answer() if repeat else answer),
            "draft": None if repeat else self.answers.draft(number),
            "model": None if said is None else {
                "raw": said.raw, "low": said.low, "high": said.high, "flag": said.flag,
                "count": max(0, int(np.floor(said.raw + 0.5))),
                "rings": self.predictions.rings.get(number, []),
            },
        }  # fmt: skip

    def pixels(self, number: int) -> tuple[bytes, dict[str, str]]:
        """Grey levels of a frame as little-endian uint16, row by row, and what they mean.

        Returns:
            The bytes; and as headers their width and height, ``X-Low`` and ``X-High``, between
            which nearly all of them lie.

        Raises:
            UserError: the file cannot be read any more.
        """
        return self._pixels(number)

    def _read_pixels(self, number: int) -> tuple[bytes, dict[str, str]]:
        pixels = self.frames.read(number).pixels
        step = -(-max(pixels.shape) // _MOST_PIXELS)
        if step > 1:
            height, width = pixels.shape
            small = (-(-width // step), -(-height // step))
            pixels = cv2.resize(pixels, small, interpolation=cv2.INTER_AREA)
        if scaled := pixels.dtype.kind == "f":
            low, high = float(pixels.min()), float(pixels.max())
            pixels = (pixels - low) * (65535 / max(high - low, 1e-12))
        pixels = pixels.astype("<u2")
        low, high = np.percentile(pixels, (0.2, 99.8))
        # Stretched to its own noise, an empty image would look full of cells.
        if (lacking := self.frames.usual_span - (high - low)) > 0 and not scaled:
            low, high = max(0.0, low - lacking / 2), high + lacking / 2
        if high <= low:
            low, high = float(pixels.min()), float(pixels.max()) + 1
        headers = {
            "X-Width": str(pixels.shape[1]),
            "X-Height": str(pixels.shape[0]),
            "X-Low": f"{low:.0f}",
            "X-High": f"{max(high, low + 1):.0f}",
            "X-Most": str(int(pixels.max())),
        }
        return pixels.tobytes(), headers

    def state(self) -> dict[str, Any]:
        """How far the work is."""
        answers, said = self.answers.all(), self.predictions
        known = said.predicted
        return {
            "folder": str(self.answers.folder),
            "frames": len(self.frames),
            "labelled": sum(answer.count is not None for answer in answers.values()),
            "unsure": sum(answer.unsure for answer in answers.values()),
            "random": random_error(self.frames, answers, known) if known else None,
            "note": self.note,
            "own": own_error(self.answers.repeats()),
            "model": said.name,
            "counting": said.working,
            "counted": said.counted,
            "wanted": said.wanted,
            "error": said.error,
            "training": self.training.state(),
        }


def train_without_page(session: Session, budget: str, say: Callable[[str], None]) -> bool:
    """Trains on the labels so far, and says how far off the model is.

    Ctrl-C ends the training between two steps.

    Args:
        session: with the labels.
        budget: how long, such as ``5m``.
        say: is given the result.

    Returns:
        Whether a model was trained.

    Raises:
        UsageError: labels are missing.
    """
    training = session.training
    training.begin(budget, quiet=False)
    try:
        code = training.wait()
    except BaseException:
        training.stop()
        raise
    if code:
        return False
    session.predictions.begin(training.run)
    session.predictions.wait()
    answers, said = session.answers.all(), session.predictions.predicted
    say(f"{training.labels} labels: {random_error(session.frames, answers, said)['sentence']}")
    return True


def named_from(folder: Path, files: Sequence[Path]) -> list[tuple[str, Path]]:
    """Files by their names relative to a folder."""
    return [(Path(os.path.relpath(file, folder)).as_posix(), file) for file in files]


def _common_folder(sources: Sequence[Path]) -> Path:
    folders = {str((s if s.is_dir() else s.parent).resolve()) for s in sources}
    try:
        return Path(os.path.commonpath(folders))
    except ValueError:  # several drives
        raise UserError("The images are on several drives: say with -o where labels go.") from None


def _series(rows: Sequence[dict[str, str]]) -> dict[tuple[str, int], str]:
    return {
        (str(Path(row["image"]).resolve()), int(row["frame"])): row["series"]
        for row in rows
        if row.get("series") and (row["frame"] or "").isdigit()
    }


def _about_groups(frames: Catalogue) -> str:
    """A sentence where nothing says which frames show the same cells."""
    if any(item.group != item.name for item in frames.items) or len(frames) == 1:
        return ""
    return (
        "Nothing says which images show the same cells, so each is a group of its own. If some do, "
        "name the part of their names that they share with --group: else errors are too small."
    )


def _last_run(runs: Path, folder: Path) -> Path | None:
    """The last finished training on the labels of a folder."""
    finished = (file.parent.parent for file in runs.glob("*/report/validation.json"))
    for run in reversed(oldest_first(finished)):
        natural = Run(run).recipe.data.natural
        if natural.source == "folder" and Path(natural.folder).resolve() == folder.resolve():
            return run
    return None


def _goes_on(folder: Path) -> bool:
    """Whether a training can begin with the weights of a model."""
    return (folder / "recipe.yaml").is_file() and not Run(folder).recipe.classical


def _shown(answer: Answer) -> dict[str, Any]:
    return {
        "count": answer.count,
        "points": answer.points,
        "unsure": answer.unsure,
        "assisted": answer.assisted,
        "chosen": answer.chosen,
    }
