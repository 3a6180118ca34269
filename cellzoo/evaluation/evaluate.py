"""``cellzoo evaluate``: how wrong a trained model is on images it never saw."""

import json
import logging
import platform
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from cellzoo import __version__
from cellzoo.counter import Counts, RunCounter, SavedModelCounter, is_saved_model
from cellzoo.data.bbbc005 import parse_name
from cellzoo.data.folder import SPLITS, ImageSet, Skipped, load_folder
from cellzoo.data.sets import natural_images
from cellzoo.errors import UsageError, UserError
from cellzoo.evaluation.illustrate import Findings, Illustrations, illustrate
from cellzoo.evaluation.intervals import interval_scores
from cellzoo.evaluation.masks import mask_scores, threshold_table
from cellzoo.evaluation.metrics import bootstrap_intervals, count_metrics, round_count
from cellzoo.evaluation.model_card import (
    data_in_words,
    licence,
    modality,
    score_rows,
    split_rows,
    training_command,
    versions_in_words,
    write_model_card,
)
from cellzoo.evaluation.protocol import predict_counts
from cellzoo.evaluation.report import Commands, Report, Section, Table, write_report
from cellzoo.evaluation.views import has_latent
from cellzoo.files import write_atomically, write_csv
from cellzoo.recipe import Recipe
from cellzoo.training.runs import Run

WORST_ROWS, COUNTED_ROWS = 10, 25


@dataclass(frozen=True)
class Evaluation:
    """What ``evaluate`` found.

    Attributes:
        subject: which images, in words; says so if they are simulated.
        images: how many images were scored or, where none has a count, counted.
        scores: see :func:`cellzoo.evaluation.metrics.count_metrics`; empty where no image has a
            count, and so are the intervals.
        intervals: 95 % bootstrap interval of each score.
        count_interval: ``coverage`` (share of the true counts that their 95 % intervals hold) and
            ``mean_width`` in cells; None where there are no intervals or no true counts.
        mean_prediction_mae: error of always predicting the mean of the labelled training images;
            None if the run does not know it.
        flagged: share of the images that are unlike the training ones; None if the counter cannot
            tell.
        mixing: see :class:`cellzoo.evaluation.illustrate.Illustrations`.
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
class _Material:
    """The images of an evaluation.

    Attributes:
        images: those to count: all with a count or, where a folder has none, all of them.
        subject: which they are, in words.
        skipped: files that could not be read.
        unlabelled: others of the same kind, without a count.
        training: training images, if they were loaded with the others.
    """

    images: ImageSet
    subject: str
    skipped: list[Skipped]
    unlabelled: ImageSet
    training: ImageSet | None = None

    @property
    def labelled(self) -> bool:
        return bool(self.images.labelled.all())


def evaluate(
    run_folder: Path, data: Path | None = None, out: Path | None = None, protocol: str = "cellzoo"
) -> Evaluation:
    """Scores a run's counter on its test split, or any counter on a folder, and writes a report.

    Without a test split (a folder whose ``labels.csv`` has none) the validation split is scored,
    and the subject says so. A folder without any count is counted, but not scored. The model card
    of a run gets the scores that lie in its folder.

    Args:
        run_folder: as ``fit`` leaves it; or a SavedModel, which needs ``data``.
        data: a folder of images, with or without ``labels.csv``; None: the recipe's own test split.
        out: folder for the report; None: ``report/`` in the run, with ``data`` or another protocol
            a folder of its own there; for a SavedModel below ``evaluation/<name>_<version>/``.
        protocol: ``"cellzoo"`` (deterministic) or, for a Twin-VAE, ``"authors"``, see
            :func:`cellzoo.evaluation.protocol.predict_counts`.

    Raises:
        UserError: there is no model or no image to score.
        UsageError: the model has no such protocol, or ``data`` is missing.
    """
    saved = is_saved_model(run_folder)
    if saved and protocol != "cellzoo":
        raise UsageError(
            f"--protocol {protocol} is for a run folder, and {run_folder} is a SavedModel: use "
            "--protocol cellzoo."
        )
    # A function is traced for every part of a network, which TensorFlow takes for a mistake.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    counter = SavedModelCounter(run_folder) if saved else RunCounter(run_folder)
    material = _material(counter, data)
    images = material.images
    findings = _findings(counter, material, data is not None, protocol)
    what = data.resolve().name if data else str(images.splits[0])
    stem = f"evaluation_{what}" + ("" if protocol == "cellzoo" else f"_{protocol}")
    if out is None:
        out = _default_folder(counter, stem, own=data is None and protocol == "cellzoo")
    made = illustrate(findings, out / "figures")
    labelled = material.labelled
    result = Evaluation(
        subject=material.subject,
        images=len(images),
        scores=count_metrics(images.counts, findings.counts.raw) if labelled else {},
        intervals=(
            bootstrap_intervals(images.counts, findings.counts.raw, groups=images.groups)
            if labelled
            else {}
        ),
        count_interval=(
            interval_scores(images.counts, findings.counts.low, findings.counts.high)
            if labelled
            else None
        ),
        mean_prediction_mae=_mean_prediction_mae(counter, images) if labelled else None,
        flagged=None if findings.flags is None else float(np.mean([*map(bool, findings.flags)])),
        mixing=made.mixing,
        files=[out / "index.html"],
        skipped=material.skipped,
        by_kind=_by_kind(images, findings.counts.raw) if labelled else {},
        segmentation=mask_scores(counter, images),
        not_shown=made.not_shown,
    )
    numbers = _numbers(result, protocol, images)
    result.files.append(out / f"{stem}.json")
    write_atomically(result.files[-1], json.dumps(numbers, indent=2, allow_nan=False) + "\n")
    result.files.append(out / f"{stem}_counts.csv")
    write_csv(result.files[-1], *_count_rows(findings))
    if labelled:
        result.files.append(out / f"{stem}_scores.csv")
        write_csv(result.files[-1], *_metric_rows(result))
    thresholds = _thresholds(counter, images) if labelled else None
    if thresholds:
        result.files.append(out / f"{stem}_thresholds.csv")
        write_csv(result.files[-1], thresholds.header, thresholds.rows)
    if made.embedding:
        result.files.append(out / f"{stem}_embedding.csv")
        write_csv(result.files[-1], ["image", "part", "true", "x", "y"], made.embedding)
    result.files.extend(_pictures_of(made))
    command = _command(run_folder, data, out, protocol)
    report = _report(result, numbers, findings, made, thresholds, what, command)
    write_report(result.files[0], report)
    # Not into an export, whose checksums are of what was exported.
    if not saved and out.resolve().is_relative_to(counter.run.path.resolve()):
        card = write_model_card(counter.run)
        result.files.extend([card] if card else [])
    return result


def scored_images(
    counter: RunCounter | SavedModelCounter, data: Path | None = None
) -> tuple[ImageSet, str, list[Skipped]]:
    """The labelled images that a counter is scored on, as ``counter.count`` takes them.

    Args:
        counter: of a run.
        data: a folder with ``labels.csv``; None: the test split of the run's recipe or, where the
            data has none, its validation split.

    Returns:
        The images, which they are in words, and the files that were skipped.

    Raises:
        UserError: none has a count, or they cannot be loaded.
    """
    material = _material(counter, data)
    if not material.labelled:
        raise UserError(f"No image of {data} has a count: fill labels.csv.")
    return material.images, material.subject, material.skipped


def _default_folder(counter: RunCounter | SavedModelCounter, stem: str, own: bool) -> Path:
    if isinstance(counter, SavedModelCounter):
        return Path("evaluation") / f"{counter.name}_{counter.version}" / stem
    report = counter.run.path / "report"
    return report if own else report / stem


def _findings(
    counter: RunCounter | SavedModelCounter, material: _Material, folder: bool, protocol: str
) -> Findings:
    images = material.images.images
    if protocol == "cellzoo":
        counts = counter.count(images)
    else:
        raw = predict_counts(_network(counter), images, protocol=protocol)
        counts = Counts(raw, np.full_like(raw, np.nan), np.full_like(raw, np.nan))
    training, missing = material.training, ""
    # Only an embedding shows them, and the background of synthetic images may be made of them.
    if training is None and has_latent(counter):
        training, missing = _training_images(counter.run)
    return Findings(
        counter=counter,
        images=material.images,
        counts=counts,
        flags=_flags(counter, images),
        unlabelled=material.unlabelled,
        training=training,
        folder=folder,
        missing=missing,
    )


def _flags(counter: RunCounter | SavedModelCounter, images: np.ndarray) -> list[str] | None:
    """Why each image may not be trusted; None if nothing is known of the training images."""
    return None if counter.familiarity is None else counter.flags(images)


def _network(counter: RunCounter) -> keras.Model:
    if counter.network is None:
        raise UsageError(
            f"--protocol authors is for a Twin-VAE, and {counter.name} is no network: "
            "use --protocol cellzoo."
        )
    return counter.network


def _training_images(run: Run) -> tuple[ImageSet | None, str]:
    """The training images of a run, or why they are not at hand."""
    recipe = run.recipe
    try:
        section = recipe.data.natural
        images, _ = natural_images(section, recipe.image_size, recipe.seed, splits=("train",))
    except UserError as error:
        return None, f"the training images are not at hand ({error})"
    return as_trained(images, run).of("train"), ""


def _material(counter: RunCounter | SavedModelCounter, data: Path | None) -> _Material:
    if data is not None:
        images, skipped = load_folder(data, **_reading(counter), **_labels_of(data))
        name = data.resolve().name
        if images.labelled.any():
            labelled, unlabelled = _by_label(images)
            subject = f"{name} (all labelled images of the folder)"
            return _Material(labelled, subject, skipped, unlabelled)
        subject = f"{name} (a folder without counts: no scores)"
        return _Material(images, subject, skipped, images.take([]))
    if isinstance(counter, SavedModelCounter):
        raise UsageError(
            f"{counter.name} is a SavedModel, which has no test split of its own: "
            "name a labelled folder with --data."
        )
    recipe = counter.run.recipe
    section = recipe.data.natural
    if counter.run.imported:
        raise UsageError(
            f"{counter.run.path} was imported, and a checkpoint does not hold what it was trained "
            "on: name a labelled folder with --data."
        )
    whole = hasattr(section, "folder")
    splits = SPLITS if whole else ("test",)
    images, skipped = natural_images(section, counter.size, recipe.seed, splits=splits)
    images = as_trained(images, counter.run)
    split = split_to_score(images)
    labelled, _ = _by_label(images.of(split))
    if not len(labelled):
        raise UserError(f"No image of {counter.run.path} has a count: fill labels.csv.")
    _, unlabelled = _by_label(images)
    training = images.of("train") if whole else None
    return _Material(labelled, split_in_words(split, recipe), skipped, unlabelled, training)


def _by_label(images: ImageSet) -> tuple[ImageSet, ImageSet]:
    return images.take(images.labelled), images.take(~images.labelled)


def _reading(counter: RunCounter | SavedModelCounter) -> dict[str, Any]:
    """How the files of a folder are read: as the model's training read its own."""
    if isinstance(counter, SavedModelCounter):
        intake = counter.intake
        return {
            "image_size": intake.size,
            "size": "resize" if intake.resize else "error",
            "intensity": intake.intensity,
            "axes": intake.axes,
            "channel": intake.channel,
        }
    section = counter.run.recipe.data.natural
    # Of these a section has those that its source knows. Not folder_natural: all of it is scored,
    # so two images are enough and none is split off.
    reading = section.model_dump(include={"size", "intensity", "axes", "channel", "on_error"})
    return {**reading, "image_size": counter.size}


def _labels_of(data: Path) -> dict[str, Any]:
    return {} if not data.is_dir() or (data / "labels.csv").exists() else {"labels": None}


def as_trained(images: ImageSet, run: Run) -> ImageSet:
    """The images in the splits that training dealt them out to.

    A folder that has grown since would be dealt out anew; what was not there is in no split.
    """
    splits = run.splits()
    if not splits or not hasattr(run.recipe.data.natural, "folder"):
        return images
    return replace(images, splits=np.array([splits.get(name, "") for name in images.names]))


def split_to_score(images: ImageSet) -> str:
    """``"test"``, or ``"validation"`` where no image of a test split has a count."""
    return "test" if images.of("test").labelled.any() else "validation"


def split_in_words(split: str, recipe: Recipe) -> str:
    """Which of a recipe's own images are scored; says so if they are simulated."""
    section = recipe.data.natural
    kind = "simulated images" if section.simulated else "images"
    if split == "validation":
        return "validation split (the data has no test split)"
    groups = {"simulated": "chambers", "simulated_fluorescence": "layouts"}
    return f"test split ({kind} of {groups.get(section.source, 'groups')} never trained on)"


def _mean_prediction_mae(
    counter: RunCounter | SavedModelCounter, images: ImageSet
) -> float | None:
    if isinstance(counter, SavedModelCounter):
        mean = counter.facts.get("training_mean")
    else:
        mean = counter.run.validation_scores().get("training_mean")
    return None if mean is None else float(np.abs(images.counts - mean).mean())


def _by_kind(images: ImageSet, predicted: np.ndarray) -> dict[str, dict[str, float]]:
    """Scores by stain, where all names are BBBC005's."""
    try:
        stains = np.array([parse_name(Path(name)).stain for name in images.names])
    except UserError:
        return {}
    return {
        f"stain {stain}": count_metrics(images.counts[stains == stain], predicted[stains == stain])
        for stain in np.unique(stains)
    }


def _thresholds(counter: RunCounter | SavedModelCounter, images: ImageSet) -> Table | None:
    """A DCC with each threshold between its two halves."""
    if isinstance(counter, SavedModelCounter) or counter.run.recipe.model.name != "dcc":
        return None
    rows = threshold_table(counter, images)
    header = list(max(rows, key=len))
    cells = [[row.get(key, "") for key in header] for row in rows]
    return Table(header, cells, "The same network with each threshold on its probability.")


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
    return _finite(numbers)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


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


def _pictures_of(made: Illustrations) -> list[Path]:
    parts = [part for section in made.sections for part in section.content]
    return [part.file for part in parts if hasattr(part, "file")]


def _command(run_folder: Path, data: Path | None, out: Path, protocol: str) -> str:
    words = ["cellzoo", "evaluate", str(run_folder)]
    words += ["--data", str(data)] if data else []
    words += ["--protocol", protocol] if protocol != "cellzoo" else []
    return shlex.join([*words, "--out", str(out)])


def _report(
    result: Evaluation,
    numbers: dict[str, Any],
    findings: Findings,
    made: Illustrations,
    thresholds: Table | None,
    what: str,
    command: str,
) -> Report:
    counter = findings.counter
    run = getattr(counter, "run", None)
    simulated = run is not None and not findings.folder and run.recipe.data.natural.simulated
    sections = [Section("Scores", _score_tables(result, numbers, thresholds))]
    sections += [Section("Unusual images", _flagged(findings))]
    sections += made.sections
    counts = made.sections[0]
    table = _worst(findings) if findings.labelled else _counted(findings, what)
    sections[2] = Section(counts.title, [*counts.content, table])
    sections += [
        Section("Data and splits", _data(findings, run)),
        Section("Not shown", [line[0].upper() + line[1:] for line in made.not_shown]),
        Section("Reproduce", [Commands([*_training(run), command])]),
    ]
    warnings = []
    if simulated:
        warnings.append(
            "These images are simulated: how well it counts on a microscope is another question."
        )
    if result.subject.startswith("validation"):
        warnings.append(
            "The data has no test split. On these images checkpoint and settings may have been "
            "chosen, and intervals were calibrated: expect somewhat worse on images never seen."
        )
    if run is not None and not run.finished:
        warnings.append("The training was not finished.")
    if numbers["protocol"] != "cellzoo":
        warnings.append("Counted with the authors' protocol: augmented images, sampled latents.")
    if result.skipped:
        warnings.append(f"{len(result.skipped)} files could not be read and were left out.")
    return Report(
        title=f"{counter.name}: {what}" + (" split" if what in SPLITS else ""),
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
    low, high = result.intervals["mae"]
    text = (
        f"On {result.images} {which}, {name} is off by {result.scores['mae']:.2f} cells on average "
        f"(95 % interval {low:.2f} to {high:.2f}) and counts "
        f"{100 * result.scores['exact']:.0f} % of the images exactly."
    )
    if result.mean_prediction_mae is not None:
        text += (
            " Always predicting the mean of the training labels would be off by "
            f"{result.mean_prediction_mae:.2f}."
        )
    return text


def _images_in_words(findings: Findings, run: Run | None, what: str) -> str:
    """Which images, after their number: simulated or not, data, split."""
    if findings.folder:
        return f"images of the folder {what}"
    section = run.recipe.data.natural
    if hasattr(section, "folder"):
        simulated = "simulated " if section.simulated else ""
        return f"{simulated}images of the folder {Path(section.folder).name} ({what} split)"
    kind = modality(run.recipe).removeprefix("simulated ")
    return f"simulated images ({kind}, {what} split)"


def _key_numbers(result: Evaluation, numbers: dict[str, Any]) -> list[tuple[str, str, str]]:
    tiles = []
    if result.scores:
        names = {
            "mae": ("mean absolute error", "{:.2f}", 1, "cells"),
            "mre": ("mean relative error", "{:.1f} %", 100, ""),
            "exact": ("counted exactly", "{:.0f} %", 100, ""),
        }
        for key, (name, form, factor, unit) in names.items():
            if numbers["scores"][key] is None:
                continue
            low, high = (form.format(factor * end) for end in numbers["intervals"][key])
            tiles.append((name, form.format(factor * result.scores[key]),
                          f"{unit} (95 % interval {low} to {high})".strip()))  # fmt: skip
    if result.count_interval:
        width = f"of true counts; mean width {result.count_interval['mean_width']:.1f} cells"
        share = f"{100 * result.count_interval['coverage']:.0f} %"
        tiles.append(("inside their 95 % interval", share, width))
    if result.flagged is not None:
        tiles.append(("flagged as unusual", f"{100 * result.flagged:.0f} %", "of the images"))
    tiles.append(("images", str(result.images), f"in {numbers['groups']} groups"))
    return tiles


def _score_tables(
    result: Evaluation, numbers: dict[str, Any], thresholds: Table | None
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
            [kind, f"{s['mae']:.2f}", f"{100 * s['mre']:.1f} %", f"{100 * s['exact']:.0f} %"]
            for kind, s in result.by_kind.items()
        ]
        tables.append(Table(["images", "MAE", "MRE", "exact"], rows, "By kind of image."))
    if result.segmentation:
        names = {"dice": "Dice", "pixel_accuracy": "pixel accuracy", "ap50": "average precision"}
        rows = [[names.get(k, k), f"{value:.3f}"] for k, value in result.segmentation.items()]
        tables.append(Table(["masks", "mean over the images"], rows))
    if thresholds:
        rows = [
            [cell if isinstance(cell, str) else f"{cell:.3g}" for cell in row]
            for row in thresholds.rows
        ]
        header = [name.replace("_", " ") for name in thresholds.header]
        tables.append(Table(header, rows, thresholds.caption))
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


def _counted(findings: Findings, what: str) -> Table:
    names, counts = findings.images.names, findings.counts
    shown = range(min(len(names), COUNTED_ROWS))
    rows = [[str(names[k]), f"{counts.raw[k]:.1f}", _interval(counts, k)] for k in shown]
    which = f"The first {len(rows)} of {len(names)}" if len(rows) < len(names) else "All"
    caption = f"{which} images; evaluation_{what}_counts.csv has every one."
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
        f"Trained on: {data_in_words(recipe)} Modality: {modality(recipe)}. "
        f"Licence of the images: {licence(recipe)}."
    )
    rows = split_rows(run)
    if rows:
        caption = "No group (chamber, time-lapse, layout) is in two splits."
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
