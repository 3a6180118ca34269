"""What ``cellzoo evaluate`` writes: a report for people, and tables for programs.

The words of the report are in ``templates/report.html.j2``.
"""

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from cellzoo import __version__
from cellzoo.cards.about_run import (
    licence,
    lone_images,
    split_sizes,
    training_command,
    versions_in_words,
)
from cellzoo.counters.counts import Counts
from cellzoo.data.image_set import Skipped
from cellzoo.evaluation.findings import Findings
from cellzoo.evaluation.report.illustrate import Illustrations
from cellzoo.evaluation.report.page import write_page
from cellzoo.files import csv_safe, finite, write_atomically, write_csv
from cellzoo.runs import Run
from cellzoo.scores.counts import round_count, shown_count
from cellzoo.scores.table import (
    COUNT_SCORES,
    HEADLINE,
    INTERVAL_SCORES,
    MASK_SCORES,
    known_scores,
)
from cellzoo.scores.uncertainty import against_mean

WORST_ROWS, COUNTED_ROWS = 10, 25


# Test or validation split of the run's own images; a folder; the folder that it was trained on.
ScoredOn = Literal["test", "validation", "folder", "trained_on"]


@dataclass(frozen=True)
class Evaluation:
    """What ``evaluate`` found.

    Attributes:
        subject: which images, in words; says so if they are simulated.
        scored_on: which images, in a word.
        images: how many images were scored or, where none has a count, counted.
        groups: that they come from.
        scores: see :func:`cellzoo.scores.counts.count_metrics`; empty where no image has a
            count, and so are the intervals.
        intervals: 95 % interval of each score.
        count_interval: ``coverage`` (share of the true counts that their 95 % intervals hold) and
            ``mean_width`` in cells; None where there are no intervals or no true counts.
        coverage: the same of each third of the predicted counts, and of each kind.
        mean_prediction_mae: error of always predicting the mean of the labelled training images;
            None if the run does not know it.
        flagged: share of the images that are unlike the training ones; None if the counter cannot
            say.
        mixing: how well pairs of kinds of images mix in the latent, by their names.
        skipped: files that could not be read, if the recipe says to skip them.
        by_kind: scores of each kind of image, where the data has kinds: BBBC005's stains.
        segmentation: see :func:`cellzoo.evaluation.masks.mask_scores`.
        counted_again: see :func:`cellzoo.evaluation.translations.counted_again`.
        no_intervals: why no count has an interval, in words; empty where some have one.
        short_training: a sentence where a network was trained for a short time; else empty.
        not_shown: which figures are missing and why, in sentences; filled by the report.
        files: what was written, the report first; filled by the report.
    """

    subject: str
    scored_on: ScoredOn
    images: int
    groups: int
    scores: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    count_interval: dict[str, float] | None
    coverage: dict[str, dict[str, float]]
    mean_prediction_mae: float | None
    flagged: float | None
    mixing: dict[str, float]
    skipped: list[Skipped]
    by_kind: dict[str, dict[str, float]]
    segmentation: dict[str, float] | None
    counted_again: dict[str, dict[str, float]]
    no_intervals: str = ""
    short_training: str = ""
    not_shown: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    @property
    def against_mean(self) -> str:
        """See :func:`cellzoo.scores.uncertainty.against_mean`; empty without scores."""
        if not self.scores:
            return ""
        mae, ends = self.scores["mae"], self.intervals.get("mae")
        return against_mean(self.images, self.groups, mae, ends, self.mean_prediction_mae)


@dataclass(frozen=True)
class About:
    """What a reader must know besides the numbers.

    Attributes:
        what: name of the folder or of the split.
        stem: with which the names of the tables begin.
        protocol: how it was counted, see :func:`cellzoo.evaluation.protocol.predict_counts`.
        command: to type for the same evaluation.
        scored: paths of the ``model`` and of the folder of images, ``data``, None for its own.
    """

    what: str
    stem: str
    protocol: str
    command: str
    scored: dict[str, str | None]


def write_evaluation(
    out: Path,
    about: About,
    result: Evaluation,
    findings: Findings,
    made: Illustrations,
    thresholds: Sequence[dict[str, float | str]],
) -> list[Path]:
    """Writes ``index.html``, all numbers as JSON, and tables as CSV.

    Args:
        out: folder of the report.
        about: what the report says besides the numbers.
        result: the scores.
        findings: what was counted.
        made: figures, which are there already.
        thresholds: of :func:`cellzoo.evaluation.masks.threshold_table`; none: no such table.

    Returns:
        The files, the report first, and those of the figures.
    """
    digest = {"model_digest": findings.counter.digest}
    numbers = about.scored | digest | _numbers(result, about.protocol)
    report = out / "index.html"
    files = [report, out / f"{about.stem}.json"]
    write_atomically(files[-1], json.dumps(numbers, indent=2, allow_nan=False) + "\n")
    tables = {"counts": _count_rows(findings)}
    if findings.labelled:
        tables["scores"] = _metric_rows(result)
    if thresholds:
        tables["thresholds"] = _threshold_rows(thresholds)
    if made.points:
        tables["embedding"] = ["image", "part", "true", "x", "y"], made.points
    for name, (header, rows) in tables.items():
        files.append(out / f"{about.stem}_{name}.csv")
        write_csv(files[-1], header, rows)
    _write_page(report, about, result, findings, made, thresholds)
    return [*files, *(picture.file for picture in made.pictures)]


def _numbers(result: Evaluation, protocol: str) -> dict[str, Any]:
    """What the JSON file holds; what is not a number is null."""
    numbers = {
        "subject": result.subject,
        "scored_on": result.scored_on,
        "protocol": protocol,
        "images": result.images,
        "groups": result.groups,
        "scores": result.scores,
        "intervals": result.intervals,
        "count_interval": result.count_interval,
        "coverage": result.coverage,
        "mean_prediction_mae": result.mean_prediction_mae,
        "by_kind": result.by_kind,
        "segmentation": result.segmentation,
        "counted_again": result.counted_again,
        "flagged": result.flagged,
        "mixing": result.mixing,
    }
    return finite(numbers)


def _count_rows(findings: Findings) -> tuple[list[str], list[list[object]]]:
    """Header and a row for each image."""
    images, counts = findings.images, findings.counts
    header = ["image", "group"]
    header += [] if images.times is None else ["time"]
    header += ["true"] if findings.labelled else []
    header += ["count", "count_raw", "count_low", "count_high"]
    header += ["error", "absolute_percentage_error"] if findings.labelled else []
    header += [] if findings.flags is None else ["flag"]
    rows = []
    for k, (true, raw) in enumerate(zip(images.counts, counts.raw, strict=True)):
        count = int(round_count(raw))
        row = {
            "image": csv_safe(images.names[k]),
            "group": csv_safe(images.groups[k]),
            "count": count,
            "count_raw": f"{raw:.3f}",
            "count_low": _number(counts.low[k]),
            "count_high": _number(counts.high[k]),
        }
        if images.times is not None:
            row["time"] = "" if np.isnan(images.times[k]) else f"{images.times[k]:g}"
        if findings.labelled:
            percent = f"{100 * abs(raw - true) / true:.2f}" if true else ""
            row |= {"true": int(true), "error": count - int(true)}
            row["absolute_percentage_error"] = percent
        if findings.flags is not None:
            row["flag"] = findings.flags[k]
        rows.append([row[key] for key in header])
    return header, rows


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}"


def _metric_rows(result: Evaluation) -> tuple[list[str], list[list[object]]]:
    none = ("", "")
    rows = [[key, value, *result.intervals.get(key, none)] for key, value in result.scores.items()]
    for name, value in (result.count_interval or {}).items():
        rows.append([f"interval_{name}", value, *none])
    for pair, value in result.mixing.items():
        rows.append([f"mixing of {pair}", value, *none])
    for name, value in (result.segmentation or {}).items():
        rows.append([name, value, *none])
    for name, scores in result.counted_again.items():
        rows += [[f"{key} of {name}", value, *none] for key, value in scores.items()]
    return ["score", "value", "low", "high"], rows


def _threshold_rows(
    thresholds: Sequence[dict[str, float | str]],
) -> tuple[list[str], list[list[float | str]]]:
    header = list(max(thresholds, key=len))
    return header, [[row.get(key, "") for key in header] for row in thresholds]


def _write_page(
    file: Path,
    about: About,
    result: Evaluation,
    findings: Findings,
    made: Illustrations,
    thresholds: Sequence[dict[str, float | str]],
) -> None:
    """Gives the template ``report.html.j2`` what it asks for."""
    counter, images, counts = findings.counter, findings.images, findings.counts
    run = counter.run
    split = "" if findings.folder else " split"
    write_page(
        file,
        "report.html.j2",
        title=f"{counter.name}: {about.what}{split}",
        name=counter.name,
        what=about.what,
        folder=findings.folder,
        data=_data(findings),
        finished=run is None or run.finished,
        protocol=about.protocol,
        command=about.command,
        result=result,
        scores=known_scores(result.scores),
        count_interval=known_scores(result.count_interval or {}, INTERVAL_SCORES),
        masks=known_scores(result.segmentation or {}, MASK_SCORES),
        counted_again=_counted_again(result),
        mae=COUNT_SCORES["mae"],
        exact=COUNT_SCORES["exact"],
        headline_names=[score.name for score in HEADLINE],
        kinds=[[kind, *_headline(scores)] for kind, scores in result.by_kind.items()],
        thresholds=_shown_thresholds(thresholds) if thresholds else None,
        groups=result.groups,
        lowest=images.counts.min(),
        highest=images.counts.max(),
        mean=images.counts.mean(),
        total=int(round_count(counts.raw).sum()),
        flags=_flagged(findings),
        worst=_worst(findings) if findings.labelled else None,
        first=_first(findings),
        counts_file=f"{about.stem}_counts.csv",
        made=made,
        training=_training(run) if run else None,
        versions={"own": _own_versions()},
    )


def _counted_again(result: Evaluation) -> list[list[str]]:
    """A row for each kind of picture that a Twin-VAE makes."""
    return [
        [name.replace("_", " "), *(COUNT_SCORES[key].text(value) for key, value in scores.items())]
        for name, scores in result.counted_again.items()
    ]


def _data(findings: Findings) -> dict[str, object]:
    """Which images a run was trained on, and whether these are simulated."""
    if findings.folder:
        return {"simulated": False, "folder": None, "kind": ""}
    recipe = findings.counter.run.recipe
    section = recipe.data.natural
    return {
        "simulated": section.simulated,
        "folder": ", ".join(folder.name for folder in section.folders) or None,
        "kind": recipe.modality.removeprefix("simulated "),
    }


def _headline(scores: dict[str, float]) -> list[str]:
    known = {score.key: score.text(value) for score, value in known_scores(scores)}
    return [known.get(score.key, "") for score in HEADLINE]


def _shown_thresholds(
    thresholds: Sequence[dict[str, float | str]],
) -> tuple[list[str], list[list[str]]]:
    columns, rows = _threshold_rows(thresholds)
    shown = [[cell if isinstance(cell, str) else f"{cell:.3g}" for cell in row] for row in rows]
    return [name.replace("_", " ") for name in columns], shown


def _flagged(findings: Findings) -> list[list[str]]:
    """Names of the images that are unlike the training ones, and why."""
    names, flags = findings.images.names, findings.flags or []
    return [[str(name), flag] for name, flag in zip(names, flags, strict=False) if flag]


def _worst(findings: Findings) -> list[list[str]]:
    images, counts = findings.images, findings.counts
    order = np.argsort(-np.abs(findings.residuals), kind="stable")[:WORST_ROWS]
    return [
        [str(images.names[k]), f"{images.counts[k]:.0f}", shown_count(counts.raw[k]),
         _interval(counts, k), str(images.groups[k])]
        for k in order
    ]  # fmt: skip


def _first(findings: Findings) -> list[list[str]]:
    names, counts = findings.images.names, findings.counts
    shown = range(min(len(names), COUNTED_ROWS))
    return [[str(names[k]), shown_count(counts.raw[k]), _interval(counts, k)] for k in shown]


def _interval(counts: Counts, k: int) -> str:
    return "" if np.isnan(counts.low[k]) else f"{counts.low[k]:.1f} to {counts.high[k]:.1f}"


def _training(run: Run) -> dict[str, object]:
    recipe, sizes = run.recipe, split_sizes(run)
    return {
        "data": recipe.data.natural.describe(),
        "modality": recipe.modality,
        "licence": licence(recipe),
        "splits": sizes,
        "lone_images": lone_images(recipe, sizes),
        "command": training_command(run),
        "versions": versions_in_words(run),
    }


def _own_versions() -> str:
    return (
        f"Evaluated with cellzoo {__version__}, Keras {keras.__version__} "
        f"({keras.backend.backend()}), NumPy {np.__version__}, Python {platform.python_version()}."
    )
