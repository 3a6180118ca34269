"""The figures of an evaluation, each where the model has what it needs.

What they say in words is in ``templates/figures.html.j2``.
"""

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from cellzoo.data.image_set import ImageSet
from cellzoo.evaluation.embedding import MIN_POINTS, umap_plane
from cellzoo.evaluation.findings import FOLDER, Findings, Latents
from cellzoo.evaluation.pictures import columns
from cellzoo.evaluation.report import figures
from cellzoo.evaluation.report.figures import Column
from cellzoo.evaluation.report.page import Picture
from cellzoo.files import csv_safe
from cellzoo.scores.counts import round_count

log = logging.getLogger("cellzoo")

SHOWN_IMAGES = 6


@dataclass
class Illustrations:
    """What :func:`illustrate` made.

    Attributes:
        counts: figures of what was counted.
        views: images, and what the model sees in them.
        embedding: of the latent in the plane.
        training: of how it was trained.
        points: rows of image, part, true count and position in the plane.
        not_shown: which figures are missing, and why, in sentences.
    """

    counts: list[Picture] = field(default_factory=list)
    views: list[Picture] = field(default_factory=list)
    embedding: list[Picture] = field(default_factory=list)
    training: list[Picture] = field(default_factory=list)
    points: list[list[object]] = field(default_factory=list)
    not_shown: list[str] = field(default_factory=list)

    @property
    def pictures(self) -> list[Picture]:
        """All of them."""
        return [*self.counts, *self.views, *self.embedding, *self.training]


def illustrate(findings: Findings, latents: Latents | None, folder: Path) -> Illustrations:
    """Makes the figures of an evaluation.

    Args:
        findings: what to show.
        latents: of its images; None: the model shows none.
        folder: for the PNG files; is made if it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = Illustrations(not_shown=[findings.missing] if findings.missing else [])
    if findings.labelled:
        made.counts = _errors(findings, folder, made)
    else:
        made.counts = _counts(findings, folder)
    made.views = _pictures(findings, folder)
    made.embedding = _embedding(latents, folder, made)
    made.training = _training(findings, folder, made)
    return made


def _counts(findings: Findings, folder: Path) -> list[Picture]:
    file = folder / "counts.png"
    figures.plot_count_histogram(file, findings.counts.raw)
    counted = round_count(findings.counts.raw)
    values = {"images": len(counted), "lowest": counted.min(), "highest": counted.max()}
    return [Picture(file, {**values, "median": np.median(counted)})]


def _errors(findings: Findings, folder: Path, made: Illustrations) -> list[Picture]:
    images, counts = findings.images, findings.counts
    residuals = findings.residuals
    known = ~np.isnan(counts.low)
    inside = ((images.counts >= counts.low) & (images.counts <= counts.high))[known]
    file = folder / "predicted.png"
    figures.plot_predicted(file, images.counts, counts.raw, counts.low, counts.high)
    values = {
        "images": len(images),
        "lowest": counts.raw.min(),
        "highest": counts.raw.max(),
        "true_lowest": images.counts.min(),
        "true_highest": images.counts.max(),
        "correlation": _correlation(images.counts, counts.raw),
        "intervals": len(inside),
        "missed": (~inside).sum(),
        "why_no_intervals": findings.why_no_intervals,
    }
    pictures = [Picture(file, values)]
    file = folder / "error_by_count.png"
    figures.plot_error_by_count(file, images.counts, counts.raw)
    error = np.abs(round_count(counts.raw) - images.counts)
    worst = max(np.unique(images.counts), key=lambda count: error[images.counts == count].mean())
    pictures.append(Picture(file, {"mean": error.mean(), "worst": worst}))
    pictures += _by_group(images, residuals, folder, made)
    pictures += _by_time(findings, folder, made)
    return pictures


def _by_group(
    images: ImageSet, residuals: np.ndarray, folder: Path, made: Illustrations
) -> list[Picture]:
    if len(figures.groups_to_show(images.groups)) < 2:
        made.not_shown.append(
            "Residuals by group: there are no two groups with "
            f"{figures.MIN_IMAGES_OF_GROUP} images each."
        )
        return []
    file = folder / "residuals_by_group.png"
    shown, groups = figures.plot_residuals_by_group(file, residuals, images.groups)
    values = {
        "shown": shown,
        "groups": groups,
        "fewest": figures.MIN_IMAGES_OF_GROUP,
        "mean": residuals.mean(),
        "deviation": residuals.std(),
    }
    return [Picture(file, values)]


def _by_time(findings: Findings, folder: Path, made: Illustrations) -> list[Picture]:
    images, residuals = findings.images, findings.residuals
    known = np.zeros(len(images), bool) if images.times is None else ~np.isnan(images.times)
    if len(np.unique(images.times[known] if known.any() else [])) < 2:
        none = images.times is None
        why = "no column time" if none else "the scored images have fewer than two different times"
        made.not_shown.append(f"Residuals by time: {why}.")
        return []
    file = folder / "residuals_by_time.png"
    times, own = images.times[known], residuals[known]
    unit = "time, hours" if findings.simulated else "time"
    figures.plot_residuals_by_time(file, own, times, images.groups[known], unit)
    values = {"images": known.sum(), "first": times.min(), "last": times.max()}
    return [Picture(file, {**values, "correlation": _correlation(times, own)})]


def _correlation(first: np.ndarray, second: np.ndarray) -> str:
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return "none, as one of them is constant"
    return f"{np.corrcoef(first, second)[0, 1]:.2f}"


def _pictures(findings: Findings, folder: Path) -> list[Picture]:
    images, raw, counter = findings.images, findings.counts.raw, findings.counter
    order = images.counts if findings.labelled else raw

    def columns_of(chosen: np.ndarray) -> list[Column]:
        return columns(counter, images.images[chosen], images.counts[chosen], raw[chosen])

    pictures = [_sheet(folder / "views.png", columns_of(_from_few_to_many(order)))]
    synthetic = findings.synthetic
    if synthetic:
        chosen = _from_few_to_many(synthetic.counts)
        own = synthetic.images[chosen], synthetic.counts[chosen]
        counted = counter.count(own[0], scaled=True, domain="synthetic").raw
        sheet = columns(counter, *own, counted, "synthetic")
        pictures.append(_sheet(folder / "synthetic_views.png", sheet))
    if findings.labelled and len(images) > 1:
        worst = np.argsort(-np.abs(findings.residuals), kind="stable")[:SHOWN_IMAGES]
        pictures.append(_sheet(folder / "worst.png", columns_of(worst)))
    flagged = np.flatnonzero([bool(flag) for flag in findings.flags or []])[:SHOWN_IMAGES]
    if len(flagged):
        first, *others = columns_of(flagged)
        reasons = replace(first, captions=[findings.flags[i] for i in flagged])
        pictures.append(_sheet(folder / "flagged.png", [reasons, *others]))
    return pictures


def _from_few_to_many(counts: np.ndarray) -> np.ndarray:
    """Positions of a few images, evenly spread over their order by count."""
    order = np.argsort(counts, kind="stable")
    places = np.linspace(0, len(order) - 1, min(SHOWN_IMAGES, len(order)))
    return order[places.round().astype(int)]


def _sheet(file: Path, shown: list[Column]) -> Picture:
    figures.picture_sheet(file, shown)
    values = {
        "rows": len(shown[0].pictures),
        "columns": [column.title for column in shown],
        "captions": list(dict.fromkeys(shown[0].captions)),
        "counted_anew": len(shown) > 1 and any(shown[1].captions),
    }
    return Picture(file, values)


def _embedding(latents: Latents | None, folder: Path, made: Illustrations) -> list[Picture]:
    if latents is None:
        made.not_shown.append("Shared representation: this model shows no latent.")
        return []
    parts = latents.parts
    if sum(len(part.features) for part in parts.values()) < MIN_POINTS:
        made.not_shown.append(
            f"Shared representation: fewer than {MIN_POINTS} images, in which UMAP finds nothing."
        )
        return []
    log.info("placing images in the plane (UMAP) ...")
    try:
        plane = umap_plane(np.concatenate([part.features for part in parts.values()]))
    except ImportError:
        made.not_shown.append("Shared representation: install umap-learn to see it.")
        return []
    ends = np.cumsum([len(part.features) for part in parts.values()])[:-1]
    positions = dict(zip(parts, np.split(plane, ends), strict=True))
    for name, part in parts.items():
        for image, count, (x, y) in zip(part.names, part.counts, positions[name], strict=True):
            known = "" if np.isnan(count) else f"{count:.0f}"
            made.points.append([csv_safe(image), name, known, f"{x:.4f}", f"{y:.4f}"])
    file = folder / "embedding.png"
    shown = {name: (positions[name], part.counts) for name, part in parts.items()}
    figures.plot_embedding(file, shown, highlighted=FOLDER)
    sizes = {name: len(part.features) for name, part in parts.items()}
    values = {"images": len(plane), "sizes": sizes, "mixing": latents.mixing}
    return [Picture(file, values)]


def _training(findings: Findings, folder: Path, made: Illustrations) -> list[Picture]:
    run = findings.counter.run
    history = run.history() if run else []
    if not history or "validation_mae" not in history[0]:
        made.not_shown.append("Learning curves: there is no history of a training.")
        return []
    file = folder / "learning_curves.png"
    figures.plot_learning_curves(file, history)
    errors = [row["validation_mae"] for row in history if row["validation_mae"] >= 0]
    values = {
        "epochs": len(history),
        "first_loss": history[0]["loss"],
        "last_loss": history[-1]["loss"],
        "lowest_error": min(errors, default=float("nan")),
    }
    return [Picture(file, values)]
