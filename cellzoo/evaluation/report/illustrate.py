"""The figures of an evaluation, each where the model has what it needs, with captions."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from cellzoo.counters.base import Counter, Counts
from cellzoo.data.image_set import ImageSet
from cellzoo.evaluation.embedding import MIN_POINTS, mixing, sample, umap_plane
from cellzoo.evaluation.report import figures
from cellzoo.evaluation.report.figures import Column
from cellzoo.evaluation.report.page import Picture, Section
from cellzoo.evaluation.views import draw_synthetic, latent, views
from cellzoo.scores.counts import round_count

SHOWN_IMAGES = 6
SYNTHETIC_IMAGES = 500
# Names of the parts of an embedding.
NATURAL, SYNTHETIC, UNLABELLED, TRAINING, FOLDER = (
    "natural", "synthetic", "natural, unlabelled", "training images", "this folder"
)  # fmt: skip


@dataclass(frozen=True)
class Findings:
    """What was counted, and what may be shown beside it.

    Attributes:
        counter: that counted.
        images: those counted: all with a count, or all without.
        counts: what was counted in them.
        flags: for each image why it may not be trusted, empty where nothing is odd; None: the
            counter cannot tell.
        unlabelled: further images of the same kind, without counts; None: none.
        training: natural training images; None: they are not at hand, see ``missing``.
        folder: whether the images are a folder that the training did not know.
        missing: why training images are not at hand.
    """

    counter: Counter
    images: ImageSet
    counts: Counts
    flags: list[str] | None = None
    unlabelled: ImageSet | None = None
    training: ImageSet | None = None
    folder: bool = False
    missing: str = ""

    @property
    def labelled(self) -> bool:
        """Whether the images have counts."""
        return bool(self.images.labelled.all())

    @property
    def residuals(self) -> np.ndarray:
        """Predicted - true counts, ``[n]``."""
        return self.counts.raw - self.images.counts


@dataclass
class Illustrations:
    """What :func:`illustrate` made.

    Attributes:
        sections: figures by section of the report.
        not_shown: which figures are missing, and why, in sentences.
        mixing: how well pairs of image sets mix in the latent, by their names.
        embedding: rows of image, part, true count and place in the plane.
    """

    sections: list[Section] = field(default_factory=list)
    not_shown: list[str] = field(default_factory=list)
    mixing: dict[str, float] = field(default_factory=dict)
    embedding: list[list[object]] = field(default_factory=list)


def illustrate(findings: Findings, folder: Path) -> Illustrations:
    """Makes the figures of an evaluation.

    Args:
        findings: what to show.
        folder: for the PNG files; is made if it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = Illustrations()
    counts = _errors(findings, folder, made) if findings.labelled else _counts(findings, folder)
    made.sections.append(Section("Counts", counts))
    synthetic = _synthetic(findings, made)
    made.sections.append(Section("What the model sees", _pictures(findings, synthetic, folder)))
    made.sections.append(
        Section("Shared representation", _embedding(findings, synthetic, folder, made))
    )
    made.sections.append(Section("Training", _training(findings, folder, made)))
    return made


def _counts(findings: Findings, folder: Path) -> list[Picture]:
    file = folder / "counts.png"
    figures.plot_count_histogram(file, findings.counts.raw)
    counted = round_count(findings.counts.raw)
    return [
        Picture(
            file,
            "Predicted counts",
            "How many images have how many cells, as counted and rounded to whole cells.",
            f"Histogram of {len(counted)} predicted counts from {counted.min():.0f} to "
            f"{counted.max():.0f}, median {np.median(counted):.0f}.",
        )
    ]


def _errors(findings: Findings, folder: Path, made: Illustrations) -> list[Picture]:
    images, counts = findings.images, findings.counts
    residuals = findings.residuals
    known = ~np.isnan(counts.low)
    inside = ((images.counts >= counts.low) & (images.counts <= counts.high))[known]
    file = folder / "predicted.png"
    figures.plot_predicted(file, images.counts, counts.raw, counts.low, counts.high)
    lines = (
        f" Vertical lines are 95 % intervals; {(~inside).sum()} of {len(inside)} miss the true "
        "count and are orange."
        if len(inside)
        else " No intervals: too few validation labels, or another protocol, to promise any."
    )
    spread = " Images of one count stand side by side." if images.counts.max() < 100 else ""
    pictures = [
        Picture(
            file,
            "Predicted against true counts",
            f"Each point is an image; on the grey line the prediction is right.{lines}{spread}",
            f"Scatter plot of {len(images)} predicted counts ({counts.raw.min():.1f} to "
            f"{counts.raw.max():.1f}) against true ones ({images.counts.min():.0f} to "
            f"{images.counts.max():.0f}), correlation {_correlation(images.counts, counts.raw)}.",
        )
    ]
    file = folder / "error_by_count.png"
    figures.plot_error_by_count(file, images.counts, counts.raw)
    error = np.abs(round_count(counts.raw) - images.counts)
    worst = max(np.unique(images.counts), key=lambda count: error[images.counts == count].mean())
    pictures.append(
        Picture(
            file,
            "Error by true count",
            "Mean absolute and mean relative error of the images with so many cells, counts "
            "rounded; dashed: the mean over all images. Below, how many images each point "
            "rests on: few say little.",
            f"Three plots over the true count: absolute error (mean {error.mean():.2f} cells, "
            f"largest at {worst:.0f} cells), relative error, and number of images.",
        )
    )
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
    which = f"The {shown} of {groups} groups that are most off" if shown < groups else "Groups"
    return [
        Picture(
            file,
            "Residuals by group",
            f"{which}, with {figures.MIN_IMAGES_OF_GROUP} images or more, ordered by their mean "
            "(orange). Blue points are images, right of 0 those counted too high. Groups "
            "that lie apart are miscounted as a whole.",
            f"Strip plot of predicted minus true count of {shown} groups; the residuals of all "
            f"images have mean {residuals.mean():.2f} and standard deviation "
            f"{residuals.std():.2f}.",
        )
    ]


def _by_time(findings: Findings, folder: Path, made: Illustrations) -> list[Picture]:
    images, residuals = findings.images, findings.residuals
    known = np.zeros(len(images), bool) if images.times is None else ~np.isnan(images.times)
    if len(np.unique(images.times[known] if known.any() else [])) < 2:
        made.not_shown.append(
            "Residuals by time: the column time of the labels has fewer than two different numbers."
        )
        return []
    file = folder / "residuals_by_time.png"
    times, own = images.times[known], residuals[known]
    of_recipe = not findings.folder and findings.counter.run.recipe.data.natural
    unit = "time, hours" if of_recipe and of_recipe.simulated else "time"
    figures.plot_residuals_by_time(file, own, times, images.groups[known], unit)
    return [
        Picture(
            file,
            "Residuals by time",
            "Blue lines join the images of a group in the order of time, orange is the mean over "
            "all. A trend means that growth rates are wrong, too.",
            f"Predicted minus true count of {known.sum()} images over time, from "
            f"{times.min():g} to {times.max():g}; correlation {_correlation(times, own)}.",
        )
    ]


def _correlation(first: np.ndarray, second: np.ndarray) -> str:
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return "none, as one of them is constant"
    return f"{np.corrcoef(first, second)[0, 1]:.2f}"


@dataclass(frozen=True)
class _Synthetic:
    images: np.ndarray
    counts: np.ndarray


def _synthetic(findings: Findings, made: Illustrations) -> _Synthetic | None:
    """Fresh synthetic images, where the model has a half for them."""
    if not findings.counter.reads_synthetic:
        return None
    if findings.training is None:
        made.not_shown.append(f"Synthetic images: {findings.missing}")
        return None
    recipe = findings.counter.run.recipe
    return _Synthetic(*draw_synthetic(recipe, findings.training, SYNTHETIC_IMAGES))


def _pictures(findings: Findings, synthetic: _Synthetic | None, folder: Path) -> list[Picture]:
    images, raw = findings.images, findings.counts.raw
    order = images.counts if findings.labelled else raw
    typical = _from_few_to_many(order)
    columns = views(findings.counter, images.images[typical], images.counts[typical], raw[typical])
    pictures = [_sheet(folder / "views.png", columns, "Images from few cells to many")]
    if synthetic:
        chosen = _from_few_to_many(synthetic.counts)
        own = synthetic.images[chosen], synthetic.counts[chosen]
        counted = findings.counter.count(own[0], scaled=True, domain="synthetic").raw
        columns = views(findings.counter, *own, counted, "synthetic")
        title = "Synthetic images from few cells to many"
        pictures.append(_sheet(folder / "synthetic_views.png", columns, title))
    if findings.labelled and len(images) > 1:
        worst = np.argsort(-np.abs(findings.residuals), kind="stable")[:SHOWN_IMAGES]
        columns = views(findings.counter, images.images[worst], images.counts[worst], raw[worst])
        pictures.append(_sheet(folder / "worst.png", columns, "The images counted worst"))
    flagged = np.flatnonzero([bool(flag) for flag in findings.flags or []])[:SHOWN_IMAGES]
    if len(flagged):
        columns = views(
            findings.counter, images.images[flagged], images.counts[flagged], raw[flagged]
        )
        columns[0] = replace(columns[0], captions=[findings.flags[i] for i in flagged])
        pictures.append(_sheet(folder / "flagged.png", columns, "Images flagged as unusual"))
    return pictures


def _from_few_to_many(counts: np.ndarray) -> np.ndarray:
    """Positions of a few images, evenly spread over their order by count."""
    order = np.argsort(counts, kind="stable")
    places = np.linspace(0, len(order) - 1, min(SHOWN_IMAGES, len(order)))
    return order[places.round().astype(int)]


def _sheet(file: Path, columns: list[Column], title: str) -> Picture:
    figures.picture_sheet(file, columns)
    names = [column.title for column in columns]
    explained = {
        "reconstruction": "The reconstruction is what the network makes of its latent.",
        "as synthetic": "“As synthetic” decodes the same latent with the synthetic half: what "
        "stands there is what the network took for cells.",
        "as natural": "“As natural” decodes the latent of a synthetic image with the natural half.",
        "what it took for cells": "Outlines are drawn around what the model took for cells.",
        "probability": "The probability of each pixel to belong to a cell comes from the network.",
    }
    words = [explained[name] for name in names if name in explained]
    if len(columns) > 1 and any(columns[1].captions):
        words.append("Each picture was counted anew.")
    words.append("Grey levels are stretched alike within a domain.")
    described = "; ".join(dict.fromkeys(columns[0].captions))
    return Picture(
        file, title, " ".join(words),
        f"{len(columns[0].pictures)} rows of pictures ({', '.join(names)}): {described}.",
    )  # fmt: skip


def _embedding(
    findings: Findings, synthetic: _Synthetic | None, folder: Path, made: Illustrations
) -> list[Picture | str]:
    if not findings.counter.can_embed:
        made.not_shown.append("Shared representation: this model shows no latent.")
        return []
    natural = _natural_parts(findings)
    features = {name: latent(findings.counter, part.images) for name, part in natural.items()}
    counts = {name: part.counts for name, part in natural.items()}
    names = {name: part.names for name, part in natural.items()}
    if synthetic:
        features[SYNTHETIC] = latent(findings.counter, synthetic.images, "synthetic")
        counts[SYNTHETIC] = synthetic.counts
        names[SYNTHETIC] = np.array([f"synthetic_{k:04d}" for k in range(len(synthetic.counts))])
    chosen = sample({name: len(vectors) for name, vectors in features.items()})
    features = {name: vectors[chosen[name]] for name, vectors in features.items()}
    made.mixing |= _mixing(features)
    if sum(map(len, features.values())) < MIN_POINTS:
        made.not_shown.append(
            f"Shared representation: fewer than {MIN_POINTS} images, in which UMAP finds nothing."
        )
        return []
    try:
        plane = umap_plane(np.concatenate(list(features.values())))
    except ImportError:
        made.not_shown.append("Shared representation: install umap-learn to see it.")
        return []
    ends = np.cumsum([len(vectors) for vectors in features.values()])[:-1]
    places = dict(zip(features, np.split(plane, ends), strict=True))
    shown = {name: (places[name], counts[name][chosen[name]]) for name in features}
    for name, (at, true) in shown.items():
        for image, count, (x, y) in zip(names[name][chosen[name]], true, at, strict=True):
            known = "" if np.isnan(count) else f"{count:.0f}"
            made.embedding.append([image, name, known, f"{x:.4f}", f"{y:.4f}"])
    file = folder / "embedding.png"
    figures.plot_embedding(file, shown, highlighted=FOLDER)
    numbers = ", ".join(f"{name} {value:.2f}" for name, value in made.mixing.items())
    about_mixing = (
        f" Mixing: {numbers}; 1 is as mixed as if shuffled, 0 is apart (share of the other kind "
        "among the 10 nearest neighbours in the latent itself, relative to chance)."
        if numbers
        else ""
    )
    sizes = ", ".join(f"{len(at)} {name}" for name, (at, _) in shown.items())
    return [
        Picture(
            file,
            "Latent means in the plane (UMAP)",
            "Each point is an image, darker with fewer cells. Where the kinds lie among each other "
            "and counts follow one direction, what the model knows of synthetic cells holds for "
            "natural ones. UMAP keeps neighbourhoods, not distances." + about_mixing,
            f"Scatter plot of {len(plane)} images ({sizes}) in two dimensions, coloured by kind "
            f"and count.{about_mixing}",
        )
    ]


def _natural_parts(findings: Findings) -> dict[str, ImageSet]:
    """The natural images of an embedding; the part ``natural`` has counts."""
    parts = {}
    training = findings.training
    if findings.labelled:
        parts[NATURAL] = findings.images
        if findings.folder and training is not None:
            parts[TRAINING] = training
    else:
        if training is not None and training.labelled.any():
            parts[NATURAL] = training.take(training.labelled)
        elif training is not None:
            parts[TRAINING] = training
        parts[FOLDER] = findings.images
    if findings.unlabelled is not None and len(findings.unlabelled):
        parts[UNLABELLED] = findings.unlabelled
    return parts


def _mixing(features: dict[str, np.ndarray]) -> dict[str, float]:
    """Mixing of natural with synthetic images, and of a folder with the training images."""
    pairs = {}
    natural = [v for name, v in features.items() if name != SYNTHETIC]
    if SYNTHETIC in features:
        pairs["natural and synthetic"] = (np.concatenate(natural), features[SYNTHETIC])
    # The part with counts, natural, is the one or the other where these have no part of their own.
    folder = FOLDER if FOLDER in features else NATURAL
    training = TRAINING if TRAINING in features else NATURAL
    if folder != training and {folder, training} <= features.keys():
        pairs["this folder and training images"] = (features[folder], features[training])
    return {name: mixing(*pair) for name, pair in pairs.items()}


def _training(findings: Findings, folder: Path, made: Illustrations) -> list[Picture]:
    run = findings.counter.run
    history = run.history() if run else []
    if not history or "validation_mae" not in history[0]:
        made.not_shown.append("Learning curves: there is no history of a training.")
        return []
    file = folder / "learning_curves.png"
    figures.plot_learning_curves(file, history)
    errors = [row["validation_mae"] for row in history if row["validation_mae"] >= 0]
    return [
        Picture(
            file,
            "Learning curves",
            "Above, the training loss and its parts before they are weighted, on a logarithmic "
            "axis. Below, the error on the validation split.",
            f"Curves over {len(history)} epochs: the loss falls from {history[0]['loss']:.3g} to "
            f"{history[-1]['loss']:.3g}, the lowest validation error is "
            f"{min(errors, default=float('nan')):.2f} cells.",
        )
    ]
