"""``cellzoo evaluate``: how wrong a trained model is on images it never saw."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import keras
import numpy as np

from cellzoo.counter import RunCounter, SavedModelCounter, is_saved_model
from cellzoo.data.bbbc005 import parse_name
from cellzoo.data.folder import SPLITS, ImageSet, Skipped, load_folder
from cellzoo.data.sets import natural_images
from cellzoo.errors import UsageError, UserError
from cellzoo.evaluation.intervals import interval_scores
from cellzoo.evaluation.masks import mask_scores, threshold_table
from cellzoo.evaluation.metrics import bootstrap_intervals, count_metrics, round_count
from cellzoo.evaluation.protocol import predict_counts
from cellzoo.files import write_atomically, write_csv
from cellzoo.models.counting import translations
from cellzoo.recipe import Recipe
from cellzoo.training.runs import Run


@dataclass(frozen=True)
class Evaluation:
    """What ``evaluate`` found.

    Attributes:
        subject: which images, in words; says so if they are simulated.
        images: how many labelled images were scored.
        scores: see :func:`cellzoo.evaluation.metrics.count_metrics`.
        intervals: 95 % bootstrap interval of each score.
        mean_prediction_mae: error of always predicting the mean of the labelled training images;
            None if the run does not know it.
        files: what was written.
        skipped: files that could not be read, if the recipe says to skip them.
        by_kind: scores of each kind of image, where the data has kinds: BBBC005's stains.
        segmentation: see :func:`cellzoo.evaluation.masks.mask_scores`.
        count_interval: see :func:`cellzoo.evaluation.intervals.interval_scores`; None where counts
            have no interval.
        flagged: share of the images that are unlike the training images; None if nothing is known
            of those.
    """

    subject: str
    images: int
    scores: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    mean_prediction_mae: float | None
    files: list[Path]
    skipped: list[Skipped]
    by_kind: dict[str, dict[str, float]]
    segmentation: dict[str, float] | None
    count_interval: dict[str, float] | None
    flagged: float | None


def evaluate(
    run_folder: Path, data: Path | None = None, out: Path | None = None, protocol: str = "cellzoo"
) -> Evaluation:
    """Scores a run's counter on its test split, or any counter on a labelled folder.

    Without a test split (a folder whose ``labels.csv`` has none) the validation split is scored,
    and the subject says so.

    Args:
        run_folder: as ``fit`` leaves it; or a SavedModel, which needs ``data``.
        data: a folder with ``labels.csv``; None: the recipe's own test split.
        out: folder for the report; None: ``report/`` in the run, for a SavedModel
            ``evaluation/<name>_<version>``.
        protocol: ``"cellzoo"`` (deterministic) or, for a Twin-VAE, ``"authors"``, see
            :func:`cellzoo.evaluation.protocol.predict_counts`.

    Raises:
        UserError: there is no model or no labelled image.
        UsageError: the model has no such protocol, or ``data`` is missing.
    """
    saved = is_saved_model(run_folder)
    if saved and protocol != "cellzoo":
        raise UsageError(
            f"--protocol {protocol} is for a run folder, and {run_folder} is a SavedModel: use "
            "--protocol cellzoo."
        )
    counter = SavedModelCounter(run_folder) if saved else RunCounter(run_folder)
    images, subject, skipped = scored_images(counter, data)
    count_interval = None
    if protocol == "cellzoo":
        found = counter.count(images.images)
        predicted = found.raw
        count_interval = interval_scores(images.counts, found.low, found.high)
    else:
        predicted = predict_counts(_network(counter), images.images, protocol=protocol)
    scores = count_metrics(images.counts, predicted)
    if saved:
        # Not into the export: its checksums are of what was exported.
        out = out or Path("evaluation") / f"{counter.name}_{counter.version}"
    out = out or counter.run.path / "report"
    out.mkdir(parents=True, exist_ok=True)
    what = data.resolve().name if data else str(images.splits[0])
    stem = f"evaluation_{what}" + ("" if protocol == "cellzoo" else f"_{protocol}")
    files = [out / f"{stem}{ending}" for ending in (".json", "_counts.csv", "_counts.png")]
    result = Evaluation(
        subject,
        len(images),
        scores,
        bootstrap_intervals(images.counts, predicted, groups=images.groups),
        _mean_prediction_mae(counter, images),
        [*files, out / f"{stem}_pictures.png"],
        skipped,
        _by_kind(images, predicted),
        mask_scores(counter, images),
        count_interval,
        _flagged(counter, images),
    )
    numbers = {
        "subject": subject,
        "protocol": protocol,
        "images": result.images,
        "groups": len(set(images.groups)),
        "scores": scores,
        "intervals": result.intervals,
        "mean_prediction_mae": result.mean_prediction_mae,
        "by_kind": result.by_kind,
        "segmentation": result.segmentation,
        "count_interval": result.count_interval,
        "flagged": result.flagged,
    }
    write_atomically(files[0], json.dumps(numbers, indent=2) + "\n")
    _write_counts(files[1], images, predicted)
    _plot_counts(files[2], images.counts, predicted, f"{counter.name}, {subject}")
    if not saved and counter.run.recipe.model.name == "dcc":
        result.files.append(out / f"{stem}_thresholds.csv")
        rows = threshold_table(counter, images)
        header = max(rows, key=len)
        write_csv(result.files[-1], header, [[row.get(key, "") for key in header] for row in rows])
    _write_picture(result.files[3], _picture_sheet(counter, images, predicted, subject))
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
    images, subject, skipped = _images(counter, data)
    images = images.take(images.labelled)
    if not len(images):
        where = counter.run.path if data is None else data
        raise UserError(f"No image of {where} has a count: fill labels.csv.")
    return images, subject, skipped


def _network(counter: RunCounter) -> keras.Model:
    if counter.network is None:
        raise UsageError(
            f"--protocol authors is for a Twin-VAE, and {counter.name} is no network: "
            "use --protocol cellzoo."
        )
    return counter.network


def _images(
    counter: RunCounter | SavedModelCounter, data: Path | None
) -> tuple[ImageSet, str, list[Skipped]]:
    if isinstance(counter, SavedModelCounter):
        return _images_for_saved_model(counter, data)
    recipe = counter.run.recipe
    section = recipe.data.natural
    if data is not None:
        # Of these a section has those that its source knows.
        reading = section.model_dump(include={"size", "intensity", "axes", "channel", "on_error"})
        # Not folder_natural: all of it is scored, so two images are enough and none is split off.
        images, skipped = load_folder(data, **reading, image_size=counter.size)
        return images, f"{data.resolve().name} (all labelled images of the folder)", skipped
    if counter.run.imported:
        raise UsageError(
            f"{counter.run.path} was imported, and a checkpoint does not hold what it was trained "
            "on: name a labelled folder with --data."
        )
    splits = SPLITS if hasattr(section, "folder") else ("test",)
    images, skipped = natural_images(section, counter.size, recipe.seed, splits=splits)
    images = as_trained(images, counter.run)
    split = split_to_score(images)
    return images.of(split), split_in_words(split, recipe), skipped


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


def _images_for_saved_model(
    counter: SavedModelCounter, data: Path | None
) -> tuple[ImageSet, str, list[Skipped]]:
    if data is None:
        raise UsageError(
            f"{counter.name} is a SavedModel, which has no test split of its own: "
            "name a labelled folder with --data."
        )
    intake = counter.intake
    images, skipped = load_folder(
        data,
        image_size=intake.size,
        size="resize" if intake.resize else "error",
        intensity=intake.intensity,
        axes=intake.axes,
        channel=intake.channel,
    )
    return images, f"{data.resolve().name} (all labelled images of the folder)", skipped


def _mean_prediction_mae(
    counter: RunCounter | SavedModelCounter, images: ImageSet
) -> float | None:
    if isinstance(counter, SavedModelCounter):
        mean = counter.facts.get("training_mean")
    else:
        mean = counter.run.validation_scores().get("training_mean")
    return None if mean is None else float(np.abs(images.counts - mean).mean())


def _flagged(counter: RunCounter | SavedModelCounter, images: ImageSet) -> float | None:
    if counter.familiarity is None:
        return None
    return float(np.mean([bool(flag) for flag in counter.flags(images.images)]))


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


def _write_counts(file: Path, images: ImageSet, predicted: np.ndarray) -> None:
    rows = []
    labelled = zip(images.names, images.groups, images.counts, predicted, strict=True)
    for name, group, true, raw in labelled:
        count = int(round_count(raw))
        percent = f"{100 * abs(raw - true) / true:.2f}" if true else ""
        rows.append([name, group, int(true), count, f"{raw:.3f}", count - int(true), percent])
    header = ["image", "group", "true", "count", "count_raw", "error", "absolute_percentage_error"]
    write_csv(file, header, rows)


def _plot_counts(file: Path, counts: np.ndarray, predicted: np.ndarray, title: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    top = max(counts.max(), predicted.max()) + 1
    axes.plot([0, top], [0, top], color="0.7", linewidth=1)
    axes.scatter(counts, predicted, s=14, alpha=0.6)
    axes.set(xlabel="true count", ylabel="predicted count", xlim=(-0.5, top), ylim=(-0.5, top))
    axes.set_title(title, fontsize=9)
    figure.savefig(file, dpi=120)


def _picture_sheet(
    counter: RunCounter, images: ImageSet, predicted: np.ndarray, subject: str
) -> np.ndarray:
    """Six images from the worst counted to the best, with what the model makes of them."""
    order = np.argsort(-np.abs(predicted - images.counts), kind="stable")
    chosen = order[np.linspace(0, len(order) - 1, min(6, len(order))).astype(int)]
    pictures = _pictures(counter, images.images[chosen])
    rows = []
    for row in zip(*pictures.values(), strict=True):
        grey = np.clip(np.hstack(row) * 255, 0, 255).astype(np.uint8)
        rows.append(cv2.resize(grey, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST))
    width = max(rows[0].shape[1], 8 * len(subject))
    strips = [_caption(subject, width), _caption(", ".join(pictures), width)]
    for i, row in zip(chosen, rows, strict=True):
        strips.append(_caption(f"{images.counts[i]:.0f} true, {predicted[i]:.1f} counted", width))
        strips.append(np.pad(row, ((0, 0), (0, width - row.shape[1])), constant_values=255))
    return np.vstack(strips)


def _pictures(counter: RunCounter, images: np.ndarray) -> dict[str, np.ndarray]:
    """Images ``[n, h, w]`` and, each of that shape, what the model can show of its view of them."""
    if counter.network is not None and "natural_reconstruction" in counter.network.output:
        return translations(counter.network, images)
    if counter.tiled:
        found = [counter.segment(image) for image in images]
        outlined = [_outlined(i, mask) for i, (mask, _) in zip(images, found, strict=True)]
        probability = np.stack([probability for _, probability in found])
        return {"natural": images, "mask": np.stack(outlined), "probability": probability}
    if hasattr(counter.classical, "segment"):
        outlined = [_outlined(image, counter.classical.segment(image)) for image in images]
        return {"natural": images, "regions": np.stack(outlined)}
    return {"natural": images}


def _outlined(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The image with the outlines of its labelled regions in white."""
    region = labels.astype(np.float32)
    edges = cv2.dilate(region, np.ones((3, 3))) != region
    return np.where(edges, 1, image)


def _caption(text: str, width: int) -> np.ndarray:
    strip = np.full((24, width), 255, np.uint8)
    cv2.putText(strip, text, (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.45, 0, 1, cv2.LINE_AA)
    return strip


def _write_picture(file: Path, picture: np.ndarray) -> None:
    if not cv2.imwrite(str(file), picture):
        raise UserError(f"{file} cannot be written: is the disk full, or the folder read-only?")
