"""What ``cellzoo evaluate`` writes: a report for people, and tables for programs."""

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from cellzoo import __version__
from cellzoo.cards.model_card import (
    VALIDATION_ALONE,
    data_in_words,
    groups_in_words,
    licence,
    score_rows,
    split_rows,
    training_command,
    versions_in_words,
)
from cellzoo.counters.base import Counts
from cellzoo.data.image_set import ImageSet, Skipped
from cellzoo.evaluation.report.illustrate import Findings, Illustrations
from cellzoo.evaluation.report.page import Commands, Report, Section, Table, write_report
from cellzoo.files import finite, write_atomically, write_csv
from cellzoo.runs import Run
from cellzoo.scores.counts import round_count
from cellzoo.scores.table import (
    COUNT_SCORES,
    HEADLINE,
    INTERVAL_SCORES,
    MASK_SCORES,
    known_scores,
)

WORST_ROWS, COUNTED_ROWS = 10, 25


@dataclass(frozen=True)
class Evaluation:
    """What ``evaluate`` found.

    Attributes:
        subject: which images, in words; says so if they are simulated.
        images: how many images were scored or, where none has a count, counted.
        scores: see :func:`cellzoo.scores.counts.count_metrics`; empty where no image has a
            count, and so are the intervals.
        intervals: 95 % bootstrap interval of each score.
        count_interval: ``coverage`` (share of the true counts that their 95 % intervals hold) and
            ``mean_width`` in cells; None where there are no intervals or no true counts.
        mean_prediction_mae: error of always predicting the mean of the labelled training images;
            None if the run does not know it.
        flagged: share of the images that are unlike the training ones; None if the counter cannot
            tell.
        mixing: see :class:`cellzoo.evaluation.report.illustrate.Illustrations`.
        files: what was written, the report first.
        skipped: files that could not be read, if the recipe says to skip them.
        by_kind: scores of each kind of image, where the data has kinds: BBBC005's stains.
        segmentation: see :func:`cellzoo.evaluation.masks.mask_scores`.
        not_shown: which figures are missing and why, in sentences.
    """

    subject: str
    images: int
    scores: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    count_interval: dict[str, float] | None
    mean_prediction_mae: float | None
    flagged: float | None
    mixing: dict[str, float]
    files: list[Path]
    skipped: list[Skipped]
    by_kind: dict[str, dict[str, float]]
    segmentation: dict[str, float] | None
    not_shown: list[str]


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
    numbers = about.scored | _numbers(result, about.protocol, findings.images)
    report = out / "index.html"
    files = [report, out / f"{about.stem}.json"]
    write_atomically(files[-1], json.dumps(numbers, indent=2, allow_nan=False) + "\n")
    tables = {"counts": _count_rows(findings)}
    if findings.labelled:
        tables["scores"] = _metric_rows(result)
    if thresholds:
        tables["thresholds"] = _threshold_rows(thresholds)
    if made.embedding:
        tables["embedding"] = ["image", "part", "true", "x", "y"], made.embedding
    for name, (header, rows) in tables.items():
        files.append(out / f"{about.stem}_{name}.csv")
        write_csv(files[-1], header, rows)
    write_report(report, _report(about, result, numbers, findings, made, thresholds))
    return [*files, *_pictures_of(made)]


def _numbers(result: Evaluation, protocol: str, images: ImageSet) -> dict[str, Any]:
    """What the JSON file holds; what is not a number is null."""
    numbers = {
        "subject": result.subject,
        "protocol": protocol,
        "images": result.images,
        "groups": len(set(images.groups)),
        "scores": result.scores,
        "intervals": result.intervals,
        "count_interval": result.count_interval,
        "mean_prediction_mae": result.mean_prediction_mae,
        "by_kind": result.by_kind,
        "segmentation": result.segmentation,
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
            "image": images.names[k],
            "group": images.groups[k],
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
    return ["score", "value", "low", "high"], rows


def _threshold_rows(
    thresholds: Sequence[dict[str, float | str]],
) -> tuple[list[str], list[list[float | str]]]:
    header = list(max(thresholds, key=len))
    return header, [[row.get(key, "") for key in header] for row in thresholds]


def _pictures_of(made: Illustrations) -> list[Path]:
    parts = [part for section in made.sections for part in section.content]
    return [part.file for part in parts if hasattr(part, "file")]


def _report(
    about: About,
    result: Evaluation,
    numbers: dict[str, Any],
    findings: Findings,
    made: Illustrations,
    thresholds: Sequence[dict[str, float | str]],
) -> Report:
    counter, what = findings.counter, about.what
    run = counter.run
    simulated = run is not None and not findings.folder and run.recipe.data.natural.simulated
    counts, *others = made.sections
    table = _worst(findings) if findings.labelled else _counted(findings, about.stem)
    sections = [
        Section("Scores", _score_tables(result, numbers, thresholds)),
        Section("Unusual images", _flagged(findings)),
        Section(counts.title, [*counts.content, table]),
        *others,
        Section("Data and splits", _data(findings, run)),
        Section("Not shown", [line[0].upper() + line[1:] for line in made.not_shown]),
        Section("Reproduce", [Commands([*_training(run), about.command])]),
    ]
    warnings = []
    if simulated:
        warnings.append(
            "These images are simulated: how well it counts on a microscope is another question."
        )
    if result.subject == VALIDATION_ALONE:
        warnings.append(
            "No test image has a count. On these images checkpoint and settings may have been "
            "chosen, and intervals were calibrated: expect somewhat worse on images never seen."
        )
    if result.subject.endswith("the folder it was trained on)"):
        warnings.append("It was trained on images of this folder: expect worse on others.")
    if run is not None and not run.finished:
        warnings.append("The training was not finished.")
    if about.protocol != "cellzoo":
        warnings.append("Counted with the authors' protocol: augmented images, sampled latents.")
    if result.skipped:
        warnings.append(f"{len(result.skipped)} files could not be read and were left out.")
    split = "" if findings.folder else " split"
    return Report(
        title=f"{counter.name}: {what}{split}",
        headline=_headline(result, findings, _images_in_words(findings, run, what)),
        key_numbers=_key_numbers(result, numbers),
        sections=sections,
        warnings=warnings,
        footer=_footer(run),
    )


def _headline(result: Evaluation, findings: Findings, which: str) -> str:
    name = findings.counter.name
    if not result.scores:
        total = round_count(findings.counts.raw).sum()
        return (
            f"In {result.images} {which} {name} counted {total:.0f} cells altogether. None of "
            "these images has a true count, so nothing is known about the error."
        )
    mae = COUNT_SCORES["mae"]
    text = (
        f"On {result.images} {which}, {name} is off by {mae.text(result.scores['mae'])} on average "
        f"({mae.interval_in_words(result.intervals.get('mae'))}) and counts "
        f"{COUNT_SCORES['exact'].text(result.scores['exact'])} of the images exactly."
    )
    if result.mean_prediction_mae is not None:
        text += (
            " Always predicting the mean of the training labels would be off by "
            f"{mae.text(result.mean_prediction_mae)}."
        )
    return text


def _images_in_words(findings: Findings, run: Run | None, what: str) -> str:
    """Which images, after their number: simulated or not, data, split."""
    if findings.folder:
        return f"images of the folder {what}"
    section = run.recipe.data.natural
    if section.reads_files:
        simulated = "simulated " if section.simulated else ""
        return f"{simulated}images of the folder {Path(section.folder).name} ({what} split)"
    kind = run.recipe.modality.removeprefix("simulated ")
    return f"simulated images ({kind}, {what} split)"


def _key_numbers(result: Evaluation, numbers: dict[str, Any]) -> list[tuple[str, str, str]]:
    tiles = []
    for score, value in known_scores(result.scores):
        if score.headline:
            ends = score.interval_in_words(result.intervals.get(score.key))
            tiles.append((score.meaning, score.text(value), f"({ends})"))
    for score, value in known_scores(result.count_interval or {}, INTERVAL_SCORES):
        tiles.append((score.meaning, score.text(value), ""))
    if result.flagged is not None:
        tiles.append(("flagged as unusual", f"{100 * result.flagged:.0f} %", "of the images"))
    tiles.append(("images", str(result.images), f"in {numbers['groups']} groups"))
    return tiles


def _score_tables(
    result: Evaluation, numbers: dict[str, Any], thresholds: Sequence[dict[str, float | str]]
) -> list[Table | str]:
    if not result.scores:
        return []
    tables: list[Table | str] = [
        Table(
            ["score", "value", "95 % interval"],
            score_rows(numbers),
            "Counts are rounded to whole cells where nothing else is said. Intervals by bootstrap "
            "over whole groups.",
        )
    ]
    if result.by_kind:
        rows = [
            [kind, *("" if np.isnan(s[score.key]) else score.text(s[score.key])
                     for score in HEADLINE)]
            for kind, s in result.by_kind.items()
        ]  # fmt: skip
        header = ["images", *(score.name for score in HEADLINE)]
        tables.append(Table(header, rows, "By kind of image."))
    if result.segmentation:
        known = known_scores(result.segmentation, MASK_SCORES)
        rows = [[score.name, score.text(value), score.meaning] for score, value in known]
        tables.append(Table(["masks", "mean over the images", "meaning"], rows))
    if thresholds:
        columns, cells = _threshold_rows(thresholds)
        rows = [
            [cell if isinstance(cell, str) else f"{cell:.3g}" for cell in row] for row in cells
        ]
        header = [name.replace("_", " ") for name in columns]
        caption = "The same network with each threshold on its probability."
        tables.append(Table(header, rows, caption))
    return tables


def _flagged(findings: Findings) -> list[Table | str]:
    """The images that are unlike the training ones, if any is."""
    if findings.flags is None:
        return []
    names = findings.images.names
    rows = [[str(name), flag] for name, flag in zip(names, findings.flags, strict=True) if flag]
    if not rows:
        return ["No image is flagged as unlike the training images."]
    caption = f"{len(rows)} of {len(names)} images are unlike the training images; do not trust "
    caption += "their counts" + ("." if len(rows) <= 20 else ". The first 20:")
    return [Table(["image", "why"], rows[:20], caption)]


def _worst(findings: Findings) -> Table:
    images, counts = findings.images, findings.counts
    order = np.argsort(-np.abs(findings.residuals), kind="stable")[:WORST_ROWS]
    rows = [
        [str(images.names[k]), f"{images.counts[k]:.0f}", f"{counts.raw[k]:.1f}",
         _interval(counts, k), str(images.groups[k])]
        for k in order
    ]  # fmt: skip
    header = ["image", "true", "counted", "95 % interval", "group"]
    return Table(header, rows, "The images counted worst.")


def _counted(findings: Findings, stem: str) -> Table:
    names, counts = findings.images.names, findings.counts
    shown = range(min(len(names), COUNTED_ROWS))
    rows = [[str(names[k]), f"{counts.raw[k]:.1f}", _interval(counts, k)] for k in shown]
    which = f"The first {len(rows)} of {len(names)}" if len(rows) < len(names) else "All"
    caption = f"{which} images; {stem}_counts.csv has every one."
    return Table(["image", "counted", "95 % interval"], rows, caption)


def _interval(counts: Counts, k: int) -> str:
    return "" if np.isnan(counts.low[k]) else f"{counts.low[k]:.1f} to {counts.high[k]:.1f}"


def _data(findings: Findings, run: Run | None) -> list[str | Table]:
    images = findings.images
    parts: list[str | Table] = []
    if findings.labelled:
        parts.append(
            f"Scored: {len(images)} images with {images.counts.min():.0f} to "
            f"{images.counts.max():.0f} cells (mean {images.counts.mean():.1f}), in "
            f"{len(set(images.groups))} groups."
        )
    if run is None:
        return [*parts, "The SavedModel's README.md says what it was trained on."]
    recipe = run.recipe
    parts.append(
        f"Trained on: {data_in_words(recipe)}. Modality: {recipe.modality}. "
        f"Licence of the images: {licence(recipe)}."
    )
    rows = split_rows(run)
    if rows:
        caption = groups_in_words(recipe, rows)
        parts.append(Table(["split", "images", "labelled", "groups"], rows, caption))
    return parts


def _training(run: Run | None) -> list[str]:
    command = training_command(run) if run else None
    return [command] if command else []


def _footer(run: Run | None) -> str:
    text = (
        f"Evaluated with cellzoo {__version__}, Keras {keras.__version__} "
        f"({keras.backend.backend()}), NumPy {np.__version__}, Python "
        f"{platform.python_version()}."
    )
    return text + (f" Trained with: {versions_in_words(run)}." if run else "")
