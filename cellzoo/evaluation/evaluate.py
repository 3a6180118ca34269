"""``cellzoo evaluate``: how wrong a trained model is on images it never saw."""

import logging
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from cellzoo import zoo
from cellzoo.cards.about_run import short_training
from cellzoo.cards.model_card import write_model_card
from cellzoo.counters.base import Counter
from cellzoo.counters.counts import Counts
from cellzoo.counters.load import is_served, load_run
from cellzoo.counters.saved_model import SavedModelCounter, is_saved_model
from cellzoo.data.copies import copies, fingerprints
from cellzoo.data.folder import load_folder
from cellzoo.data.image_set import SPLITS, ImageSet, Skipped
from cellzoo.data.labels import LABELS_FILE
from cellzoo.data.points import POINTS_FILE
from cellzoo.data.reading import Reading
from cellzoo.data.splits import hide_assisted
from cellzoo.errors import UsageError, UserError
from cellzoo.evaluation.as_trained import images_as_trained
from cellzoo.evaluation.findings import Findings, Latents, latents, synthetic_images
from cellzoo.evaluation.masks import mask_scores, threshold_table
from cellzoo.evaluation.protocol import predict_counts
from cellzoo.evaluation.report.evaluation import About, Evaluation, ScoredOn, write_evaluation
from cellzoo.evaluation.report.folder import default_folder, may_be_written
from cellzoo.evaluation.report.illustrate import illustrate
from cellzoo.evaluation.translations import counted_again
from cellzoo.images import find_images
from cellzoo.recipe import Recipe
from cellzoo.runs import Run
from cellzoo.scores.table import count_metrics, interval_metrics
from cellzoo.scores.uncertainty import score_intervals

log = logging.getLogger("cellzoo")


@dataclass(frozen=True)
class _Material:
    """The images of an evaluation.

    Attributes:
        images: those to count: all with a count or, where a folder has none, all of them.
        subject: which they are, in words.
        scored_on: which they are, in a word.
        skipped: files that could not be read.
        unlabelled: others of the same kind, without a count.
        training: training images, if they were loaded with the others.
    """

    images: ImageSet
    subject: str
    scored_on: ScoredOn
    skipped: list[Skipped]
    unlabelled: ImageSet
    training: ImageSet | None = None


def evaluate(
    run_folder: Path,
    data: Path | None = None,
    out: Path | None = None,
    protocol: str = "cellzoo",
    *,
    trust: bool = False,
    allow_copies: bool = False,
    on_scores: Callable[[Evaluation], None] | None = None,
) -> Evaluation:
    """Scores a run's counter on its test split, or any counter on a folder, and writes a report.

    Without a test split (a folder whose ``labels.csv`` has none) the validation split is scored,
    and the subject says so. A folder without any count is counted, but not scored. The model card
    of a run gets the scores that lie in its folder.

    Args:
        run_folder: as ``fit`` leaves it; or a SavedModel, which needs ``data``.
        data: a folder of images, with or without ``labels.csv``; None: the recipe's own test split.
        out: folder for the report; None: ``report/`` in the run, with ``data`` or another protocol
            a folder of its own there; for a SavedModel, or a counter of the zoo, below
            ``evaluation/<name>_<version>/``.
        protocol: ``"cellzoo"`` (deterministic) or, for a Twin-VAE, ``"authors"``, see
            :func:`cellzoo.evaluation.protocol.predict_counts`.
        trust: load a SavedModel whatever operations it holds.
        allow_copies: score images of ``data`` that the model has seen, or copies of them, too.
        on_scores: is called with the scores, before the figures take their time.

    Raises:
        UserError: there is no model or no image to score.
        UsageError: the model has no such protocol, ``data`` is missing, or ``out`` holds something
            else.
    """
    if is_served(str(run_folder)):
        raise UsageError(
            f"{run_folder} is behind a server: name its export or run folder, which count alike."
        )
    saved = is_saved_model(run_folder)
    if saved and protocol != "cellzoo":
        raise UsageError(
            f"--protocol {protocol} is for a run folder, and {run_folder} is a SavedModel: use "
            "--protocol cellzoo."
        )
    counter = SavedModelCounter(run_folder, trust) if saved else load_run(run_folder)
    scored = {
        "model": str((run_folder if saved else counter.run.path).resolve()),
        "data": str(data.resolve()) if data else None,
    }
    if out is not None and out.exists() and not may_be_written(out, scored):
        raise UsageError(
            f"{out} holds another report or other files: choose another --out, or move it away."
        )
    material = _material(counter, data, allow_copies)
    findings = _findings(counter, material, data is not None, protocol)
    seen = latents(findings)
    result = _score(material, findings, seen)
    if on_scores:
        on_scores(result)
    log.info("drawing the report ...")
    what = data.resolve().name if data else str(material.images.splits[0])
    stem = f"evaluation_{what}" + ("" if protocol == "cellzoo" else f"_{protocol}")
    if out is None:
        out = default_folder(counter, stem, scored, own=data is None and protocol == "cellzoo")
        stem = stem if out.name == "report" else out.name
    new = not out.exists() or not any(out.iterdir())
    try:
        made = illustrate(findings, seen, out / "figures")
        result.not_shown.extend(made.not_shown)
        about = About(what, stem, protocol, _command(run_folder, data, out, protocol), scored)
        thresholds = _thresholds(counter, material.images) if findings.labelled else []
        result.files.extend(write_evaluation(out, about, result, findings, made, thresholds))
    except BaseException:  # Ctrl-C, too: the same command shall find its place free
        if new:
            shutil.rmtree(out, ignore_errors=True)
        raise
    # Not into an export, whose checksums are of what was exported.
    if not saved and out.resolve().is_relative_to(counter.run.path.resolve()):
        card = write_model_card(counter.run)
        result.files.extend([card] if card else [])
    return result


def _findings(
    counter: Counter, material: _Material, folder: bool, protocol: str
) -> Findings:
    if protocol == "cellzoo":
        sizes = _own_sizes(counter, material.images)
        counts = counter.count(material.images.given, scaled=True, sizes=sizes)
    else:
        raw = predict_counts(_network(counter), material.images.images, protocol=protocol)
        counts = Counts(raw, np.full_like(raw, np.nan), np.full_like(raw, np.nan))
    training, missing = material.training, ""
    # Only an embedding shows them, and the background of synthetic images may be made of them.
    if training is None and counter.can_embed:
        training, missing = _training_images(counter.run)
    return Findings(
        counter=counter,
        images=material.images,
        counts=counts,
        flags=list(counts.flags) if counter.can_flag else None,
        unlabelled=material.unlabelled,
        training=training,
        synthetic=synthetic_images(counter, training),
        folder=folder,
        missing=missing,
    )


def _score(material: _Material, findings: Findings, seen: Latents | None) -> Evaluation:
    """All numbers; nothing is written yet."""
    counter, images, labelled = findings.counter, findings.images, findings.labelled
    true, raw = images.counts, findings.counts.raw
    low, high = findings.counts.low, findings.counts.high
    return Evaluation(
        subject=material.subject,
        scored_on=material.scored_on,
        images=len(images),
        groups=len(set(images.groups)),
        scores=count_metrics(true, raw) if labelled else {},
        intervals=score_intervals(true, raw, groups=images.groups) if labelled else {},
        count_interval=interval_metrics(true, low, high) if labelled else None,
        coverage=_coverage(images, findings.counts) if labelled else {},
        mean_prediction_mae=_mean_prediction_mae(counter, images) if labelled else None,
        flagged=None if findings.flags is None else float(np.mean([*map(bool, findings.flags)])),
        mixing=seen.mixing if seen else {},
        skipped=material.skipped,
        by_kind=_by_kind(images, raw) if labelled else {},
        segmentation=mask_scores(counter, images),
        counted_again=counted_again(findings),
        no_intervals=findings.why_no_intervals,
        short_training=short_training(counter.run) if counter.run else "",
    )


def _coverage(images: ImageSet, counts: Counts) -> dict[str, dict[str, float]]:
    """How well intervals hold where few and where many cells are counted, and in each kind."""
    thirds = np.searchsorted(np.quantile(counts.raw, [1 / 3, 2 / 3]), counts.raw)
    parts = {name: thirds == k for k, name in enumerate(("few cells", "more cells", "most cells"))}
    if images.kinds is not None:
        parts |= _of_kind(images)
    found = {
        name: interval_metrics(images.counts[part], counts.low[part], counts.high[part])
        for name, part in parts.items()
        if part.any()
    }
    return {name: scores for name, scores in found.items() if scores}


def _own_sizes(counter: Counter, images: ImageSet) -> np.ndarray | None:
    """Sizes of the files, ``[n, 2]``, where images are resized for the counter."""
    return images.sizes if counter.preprocessing.resize else None


def _network(counter: Counter) -> keras.Model:
    if not counter.can_embed:
        raise UsageError(
            f"--protocol authors is for a Twin-VAE, and {counter.name} has no latent to sample: "
            "use --protocol cellzoo."
        )
    return counter.network


def _training_images(run: Run) -> tuple[ImageSet | None, str]:
    """The training images of a run, or why they are not at hand."""
    try:
        images, _ = images_as_trained(run, ("train",))
    except UserError as error:
        return None, f"Synthetic images: the training images are not at hand ({error})"
    return images.of("train"), ""


def _material(
    counter: Counter, data: Path | None, allow_copies: bool = True
) -> _Material:
    if data is not None:
        try:
            images, skipped = load_folder(data, **_reading(counter, data), **_labels_of(data))
            everywhere = np.ones(len(images), bool)
            images = hide_assisted(images, everywhere, "label others without it")
        except UserError as error:
            if "data.natural." not in str(error):
                raise
            sentence = (
                f"{error}. That is a setting of the recipe {counter.name} was trained with, so "
                "here the file has to be changed."
            )
            if "data.natural.size" in sentence and counter.any_size:
                sentence += " `cellzoo count` takes it as it is; to score it, cut it into pieces."
            raise UserError(sentence) from None
        _look_at_scale(counter, images)
        name = data.resolve().name
        if images.labelled.any():
            labelled, unlabelled = _by_label(images)
            own, scored_on = "", "folder"
            if _trained_on(counter, data):
                own, scored_on = " it was trained on", "trained_on"
                log.warning("%s: trained on these; without --data the test split is scored.", data)
            elif not allow_copies:
                _check_unseen(counter, labelled, data)
            subject = f"{name} (all labelled images of the folder{own})"
            return _Material(labelled, subject, scored_on, skipped, unlabelled)
        subject = f"{name} (a folder without counts: no scores)"
        return _Material(images, subject, "folder", skipped, images.take([]))
    if counter.run is None:
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
    whole = section.reads_files
    missing = [folder for folder in section.folders if not folder.is_dir()]
    if missing:
        if zoo.name_of(counter.run.path):
            raise UserError(
                f"{counter.name} was trained on {missing[0]}, which the package does not "
                "bring: name a labelled folder with --data."
            )
        raise UserError(
            f"{missing[0]}, on which {counter.name} was trained, is not here: bring it back or "
            "name another labelled folder with --data."
        )
    images, skipped = images_as_trained(counter.run, SPLITS if whole else ("test",))
    split = split_to_score(images)
    labelled, _ = _by_label(images.of(split))
    if not len(labelled):
        raise UserError(f"No image of {counter.run.path} has a count: fill labels.csv.")
    _, unlabelled = _by_label(images)
    training = images.of("train") if whole else None
    subject = split_in_words(split, recipe)
    return _Material(labelled, subject, split, skipped, unlabelled, training)


def _check_unseen(counter: Counter, images: ImageSet, data: Path) -> None:
    """Sees to it that a counter is not scored on what it learned from or was chosen on.

    Raises:
        UserError: it would be.
    """
    seen = counter.seen()
    if seen is None:
        log.warning(
            "%s does not say which images it learned from: scores are too good if some of %s are "
            "among them.", counter.name, data,
        )  # fmt: skip
        return
    found = copies(seen.everything, fingerprints(images.given))
    if found:
        more = f" and {len(found) - 1} more of {data}" if len(found) > 1 else ""
        raise UserError(
            f"{images.names[found[0].second]}{more} show what {counter.name} learned from or was "
            "chosen on, so scores would be too good: leave them out, or add --allow-copies."
        )


def _trained_on(counter: Counter, data: Path) -> bool:
    """Whether a run's training images are of this folder; an export does not know."""
    if counter.run is None:
        return False
    section = counter.run.recipe.data.natural
    return data.resolve() in [folder.resolve() for folder in section.folders]


def _by_label(images: ImageSet) -> tuple[ImageSet, ImageSet]:
    return images.take(images.labelled), images.take(~images.labelled)


def _reading(counter: Counter, data: Path) -> dict[str, Any]:
    """How the files of a folder are read: as the model's training read its own.

    A counter of any scale gets them in their own size, which all of them must have.
    """
    preprocessing = counter.preprocessing
    if counter.measuring:
        file = find_images([data])[0]
        first = next(iter(counter.reader([file]).read(file)), None)
        size = first.pixels.shape if first else preprocessing.size
        preprocessing = replace(preprocessing, size=size, resize=False)
    # Not Source.load: all of the folder is scored, so two images are enough and none is split off.
    skips = counter.run is not None and counter.run.recipe.data.natural.skips_broken_files
    return {
        "size": preprocessing.size,
        "reading": Reading(
            preprocessing.axes,
            preprocessing.channel,
            preprocessing.intensity,
            preprocessing.resize,
            z=preprocessing.z,
            full_range=counter.takes_full_range,
        ),
        "on_error": "skip" if skips else "stop",
        "resize_from": preprocessing.original_size,
    }


def _look_at_scale(counter: Counter, images: ImageSet) -> None:
    """Says so if cells are of another scale than in training: images are scored as they are."""
    own, known = images.pixel_size_um, counter.preprocessing.pixel_size_um
    if own and known and not 0.95 < own / known < 1.05:
        log.warning(
            "The images have pixels of %.4g µm and %s was trained at %.4g µm: they are scored "
            "without rescaling, which `cellzoo count` does.",
            own, counter.name, known,
        )  # fmt: skip


def _labels_of(data: Path) -> dict[str, Any]:
    """The tables of a folder that are there; of no folder the usual one, for the refusal."""
    tables = {"labels": LABELS_FILE, "points": POINTS_FILE}
    if not data.is_dir():
        return {}
    return {key: name if (data / name).exists() else None for key, name in tables.items()}


def split_to_score(images: ImageSet) -> Literal["test", "validation"]:
    """``"test"``, or ``"validation"`` where no image of a test split has a count."""
    return "test" if images.of("test").labelled.any() else "validation"


def split_in_words(split: str, recipe: Recipe) -> str:
    """Which of a recipe's own images are scored; says so if they are simulated."""
    section = recipe.data.natural
    kind = "simulated images" if section.simulated else "images"
    if split == "validation":
        return "validation split (no test image has a count)"
    return f"test split ({kind} of {section.group_name} never trained on)"


def _mean_prediction_mae(
    counter: Counter, images: ImageSet
) -> float | None:
    mean = counter.training_mean
    return None if mean is None else float(np.abs(images.counts - mean).mean())


def _by_kind(images: ImageSet, predicted: np.ndarray) -> dict[str, dict[str, float]]:
    """Scores of each kind of image, where there are several."""
    if images.kinds is None:
        return {}
    return {
        kind: count_metrics(images.counts[own], predicted[own])
        for kind, own in _of_kind(images).items()
    }


def _of_kind(images: ImageSet) -> dict[str, np.ndarray]:
    """Which images are of each kind, bool ``[n]`` by its name."""
    return {str(kind) or "no kind": images.kinds == kind for kind in np.unique(images.kinds)}


def _thresholds(
    counter: Counter, images: ImageSet
) -> list[dict[str, float | str]]:
    """Scores of a DCC with each threshold between its two halves; none of another model."""
    return threshold_table(counter, images) if counter.has_threshold else []


def _command(run_folder: Path, data: Path | None, out: Path, protocol: str) -> str:
    words = ["cellzoo", "evaluate", zoo.name_of(run_folder) or str(run_folder)]
    words += ["--data", str(data)] if data else []
    words += ["--protocol", protocol] if protocol != "cellzoo" else []
    return shlex.join([*words, "--out", str(out)])
