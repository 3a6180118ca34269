"""``cellzoo evaluate``: how wrong a trained model is on images it never saw."""

import csv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from cellzoo.counter import RunCounter
from cellzoo.data.folder import ImageSet, load_folder
from cellzoo.data.sets import natural_images
from cellzoo.errors import UserError
from cellzoo.evaluation.metrics import bootstrap_intervals, count_metrics, round_count
from cellzoo.evaluation.protocol import predict_counts
from cellzoo.models.counting import translations


@dataclass(frozen=True)
class Evaluation:
    """What ``evaluate`` found.

    Attributes:
        subject: which images, in words; says so if they are simulated.
        images: how many labelled images were scored.
        scores: see :func:`cellzoo.evaluation.metrics.count_metrics`.
        intervals: 95 % bootstrap interval of each score.
        mean_prediction_mae: error of always predicting the mean of the labelled training images.
        files: what was written.
    """

    subject: str
    images: int
    scores: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    mean_prediction_mae: float
    files: list[Path]


def evaluate(
    run_folder: Path, data: Path | None = None, out: Path | None = None, protocol: str = "cellzoo"
) -> Evaluation:
    """Scores the model of a run on its test split, or on another labelled folder.

    Without a test split (a folder whose ``labels.csv`` has none) the validation split is scored,
    and the subject says so.

    Args:
        run_folder: as ``fit`` leaves it.
        data: a folder with ``labels.csv``; None: the recipe's own test split.
        out: folder for the report; None: ``report/`` in the run.
        protocol: ``"cellzoo"`` (deterministic) or ``"authors"``, see
            :func:`cellzoo.evaluation.protocol.predict_counts`.

    Raises:
        UserError: there is no model or no labelled image.
    """
    counter = RunCounter(run_folder)
    images, subject = _images(counter, data)
    images = images.take(images.labelled)
    if not len(images):
        raise UserError(f"No image of {data or run_folder} has a count: fill labels.csv.")
    predicted = predict_counts(counter.network, images.images, protocol=protocol)
    scores = count_metrics(images.counts, predicted)
    out = out or counter.run.path / "report"
    out.mkdir(parents=True, exist_ok=True)
    stem = f"{subject.split()[0]}" + ("" if protocol == "cellzoo" else f"_{protocol}")
    files = [out / f"{stem}_counts.csv", out / f"{stem}_counts.png", out / f"{stem}_pictures.png"]
    _write_counts(files[0], images, predicted)
    _plot_counts(files[1], images.counts, predicted, f"{counter.name}, {subject}")
    cv2.imwrite(str(files[2]), _picture_sheet(counter, images, predicted))
    result = Evaluation(
        subject,
        len(images),
        scores,
        bootstrap_intervals(images.counts, predicted),
        _mean_prediction_mae(counter, images),
        files,
    )
    counter.run.write_json(
        str((out / f"{stem}.json").resolve()),
        {
            "subject": subject,
            "protocol": protocol,
            "images": result.images,
            "scores": scores,
            "intervals": result.intervals,
            "mean_prediction_mae": result.mean_prediction_mae,
        },
    )
    return result


def _images(counter: RunCounter, data: Path | None) -> tuple[ImageSet, str]:
    recipe = counter.run.recipe
    if data is not None:
        section = recipe.data.natural
        reading = {}
        if section.source == "folder":
            reading = section.model_dump(include={"size", "intensity", "axes", "channel"})
        # Not folder_natural: all of it is scored, so two images are enough and none is split off.
        images, _ = load_folder(data, **reading, image_size=counter.size)
        return images, f"{data.resolve().name} (all labelled images of the folder)"
    images, _ = natural_images(recipe.data.natural, counter.size, recipe.seed)
    simulated = "simulated " if recipe.data.natural.source == "simulated" else ""
    if images.of("test").labelled.any():
        return images.of("test"), f"test split ({simulated}images of groups never trained on)"
    return images.of("validation"), "validation split (the data has no test split)"


def _mean_prediction_mae(counter: RunCounter, images: ImageSet) -> float:
    mean = counter.run.validation_scores().get("training_mean", float(images.counts.mean()))
    return float(np.abs(images.counts - mean).mean())


def _write_counts(file: Path, images: ImageSet, predicted: np.ndarray) -> None:
    temporary = file.with_name(file.name + ".tmp")
    with temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", "group", "true", "count", "count_raw", "error"])
        rows = zip(images.names, images.groups, images.counts, predicted, strict=True)
        for name, group, true, raw in rows:
            count = int(round_count(raw))
            writer.writerow([name, group, int(true), count, f"{raw:.3f}", count - int(true)])
    temporary.replace(file)


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


def _picture_sheet(counter: RunCounter, images: ImageSet, predicted: np.ndarray) -> np.ndarray:
    """Rows of image, reconstruction and translation: images by rank of their error, worst first."""
    order = np.argsort(-np.abs(predicted - images.counts), kind="stable")
    chosen = order[np.linspace(0, len(order) - 1, min(6, len(order))).astype(int)]
    rows = list(translations(counter.network, images.images[chosen]).values())
    sheet = np.vstack([np.hstack(list(row)) for row in zip(*rows, strict=True)])
    sheet = cv2.resize(sheet, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    sheet = np.clip(sheet * 255, 0, 255).astype(np.uint8)
    step = 2 * images.images.shape[1]
    for k, i in enumerate(chosen):
        text = f"{int(images.counts[i])} true, {predicted[i]:.1f} counted"
        for thickness, grey in ((3, 0), (1, 255)):
            place = (6, k * step + 18)
            cv2.putText(sheet, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, grey, thickness)
    return sheet
