"""Figures of an evaluation: arrays in, PNG files out. Knows nothing of models.

All have a white ground, so that they can be read on a dark page and be printed.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from cellzoo.files import temporary_beside
from cellzoo.scores.counts import round_count

# Okabe and Ito's colours, which the colour-blind can tell apart.
BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#8a8a8a"
OUTLINE = (1.0, 0.78, 0.24)  # red, green, blue; as in the overlays of `cellzoo count`
MAX_GROUPS, MIN_IMAGES_OF_GROUP = 25, 3
# Darker means fewer cells, as in the Twin-VAE paper's Figure 10.
NATURAL_COLORS = LinearSegmentedColormap.from_list("natural", ["#4a0d00", "#d55e00", "#ffb98a"])
SYNTHETIC_COLORS = LinearSegmentedColormap.from_list("synthetic", ["#001d33", "#0072b2", "#8fd0f5"])
DPI = 160  # small in tests
_WIDTH = 6.4  # inches; at this width the text can be read on a phone


@dataclass(frozen=True)
class Column:
    """Pictures below each other in a sheet.

    Attributes:
        title: above the first of them.
        pictures: ``[n, h, w]`` grey in any range, or ``[n, h, w, 3]`` in [0, 1], shown as it is.
        captions: a line for each.
        scale: grey columns of the same scale are shown with the same black and white.
    """

    title: str
    pictures: np.ndarray
    captions: Sequence[str]
    scale: str = "natural"


def picture_sheet(file: Path, columns: Sequence[Column]) -> None:
    """A row for each image: the image, and what a model makes of it.

    Grey levels are stretched from the 0.5th to the 99.5th percentile of all pictures of a scale:
    microscope images use a small part of theirs.
    """
    rows = len(columns[0].pictures)
    ranges = {}
    for scale in {column.scale for column in columns}:
        grey = [c.pictures for c in columns if c.scale == scale and c.pictures.ndim == 3]
        if grey:
            # Those of the images themselves; what a poor model makes of them must not set them.
            ranges[scale] = grey_range(grey[0])
    height, width = columns[0].pictures.shape[1:3]
    side = _WIDTH / max(len(columns), 3)
    size = (side * len(columns), (side * height / width + 0.27) * rows + 0.3)
    figure = Figure(figsize=size, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    grid = figure.subplots(rows, len(columns), squeeze=False)
    for k, column in enumerate(columns):
        low, high = ranges.get(column.scale, (0, 1))
        for row in range(rows):
            axes = grid[row, k]
            # Small images show their pixels, and stay small as files.
            smooth = "nearest" if height <= 256 else "antialiased"
            axes.imshow(column.pictures[row], cmap="gray", vmin=low, vmax=high,
                        interpolation=smooth)  # fmt: skip
            axes.set(xticks=[], yticks=[])
            axes.set_xlabel(column.captions[row], fontsize=10, labelpad=2, parse_math=False)
        grid[0, k].set_title(column.title, fontsize=11, fontweight="bold")
    _save(figure, file, share=0.75)


def grey_range(images: np.ndarray) -> tuple[float, float]:
    """The grey levels to show as black and as white."""
    low, high = np.percentile(images, (0.5, 99.5))
    return float(low), float(max(high, low + 1e-3))


def outlined(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The image, stretched, with the outlines of its labelled regions: ``[h, w, 3]`` in [0, 1]."""
    low, high = grey_range(image)
    grey = np.clip((image - low) / (high - low), 0, 1)
    region = labels.astype(np.float32)
    edges = cv2.dilate(region, np.ones((3, 3))) != region
    return np.where(edges[..., None], OUTLINE, grey[..., None])


def plot_predicted(
    file: Path,
    counts: np.ndarray,
    predicted: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> None:
    """Predicted against true counts, each with its interval.

    Args:
        file: PNG to write.
        counts: true counts, ``[n]``.
        predicted: predicted counts, ``[n]``, not rounded.
        low: lower ends of the intervals; NaN where there is none.
        high: upper ends.
    """
    figure = Figure(figsize=(_WIDTH, _WIDTH), layout="constrained")
    axes = figure.add_subplot()
    known = ~np.isnan(low)
    ends = np.concatenate([counts, predicted, low[known], high[known]])
    margin = 0.04 * (ends.max() - ends.min()) + 0.6
    limits = (min(ends.min(), 0) - margin, ends.max() + margin)
    if ends.min() > 0.3 * ends.max():  # dense images alone: an axis from 0 would be half empty
        limits = (ends.min() - margin, limits[1])
    axes.plot(limits, limits, color=GREY, linewidth=1, zorder=1)
    # Images of one count side by side rather than on top of each other.
    spread = 0.3 if ends.max() < 100 else 0
    shifted = counts + np.random.default_rng(0).uniform(-spread, spread, len(counts))
    outside = known & ((counts < low) | (counts > high))
    alpha = float(np.clip(60 / len(counts), 0.12, 0.6))
    inside = f"{(known & ~outside).sum()} in their 95 % interval" if known.any() else "images"
    groups = {inside: (~outside, BLUE), f"{outside.sum()} outside of it": (outside, ORANGE)}
    for label, (chosen, color) in groups.items():
        if not chosen.any():
            continue
        bars = chosen & known
        axes.vlines(shifted[bars], low[bars], high[bars], color=color, alpha=alpha, linewidth=1)
        axes.scatter(shifted[chosen], predicted[chosen], s=14, color=color, alpha=0.75,
                     linewidth=0, label=label, zorder=3)  # fmt: skip
    axes.set(xlabel="true count", ylabel="predicted count", xlim=limits, ylim=limits)
    axes.set_aspect("equal")
    if known.any():
        axes.legend(loc="upper left", frameon=False)
    _tidy(axes)
    _save(figure, file)


def plot_error_by_count(file: Path, counts: np.ndarray, predicted: np.ndarray) -> None:
    """Absolute and relative error by true count, and how many images that rests on.

    Of counts rounded to whole cells, as in the Twin-VAE paper's Figure 5. With more than 40
    different counts, or hardly two images of each, neighbouring ones are taken together.

    Args:
        file: PNG to write.
        counts: true counts, ``[n]``.
        predicted: predicted counts, ``[n]``.
    """
    error = np.abs(round_count(predicted) - counts)
    bins = np.unique(counts)
    if len(bins) > 40 or 10 < len(bins) > len(counts) / 2:
        parts = int(np.clip(len(counts) // 5, 5, 20))
        bins = np.linspace(counts.min(), counts.max(), parts + 1)[:-1]
    member = np.searchsorted(bins, counts, side="right") - 1
    used = np.unique(member)
    place = np.array([counts[member == b].mean() for b in used])
    figure = Figure(figsize=(_WIDTH, 6), layout="constrained")
    top, middle, bottom = figure.subplots(3, sharex=True, height_ratios=(3, 3, 2))
    means = np.array([error[member == b].mean() for b in used])
    top.plot(place, means, "o-", color=BLUE, markersize=4, linewidth=1)
    _mark_mean(top, error.mean(), f"mean\n{error.mean():.2f}")
    top.set(ylabel="mean absolute\nerror, cells", ylim=(0, None))
    cells = counts > 0
    relative = 100 * error[cells] / counts[cells]
    bins_with_cells = np.unique(member[cells])
    middle.plot(
        place[np.isin(used, bins_with_cells)],
        [relative[member[cells] == b].mean() for b in bins_with_cells],
        "o-", color=ORANGE, markersize=4, linewidth=1,
    )  # fmt: skip
    if len(relative):
        _mark_mean(middle, relative.mean(), f"mean\n{relative.mean():.1f} %")
    middle.set(ylabel="mean relative\nerror, %", ylim=(0, None))
    width = 0.8 * (np.diff(bins).min() if len(bins) > 1 else 1)
    bottom.bar(place, np.bincount(member)[used], width=width, color=GREY)
    bottom.set(xlabel="true count", ylabel="images")
    for axes in (top, middle, bottom):
        _tidy(axes)
    _save(figure, file)


def _mark_mean(axes: Axes, mean: float, label: str) -> None:
    axes.axhline(mean, color=GREY, linestyle="--", linewidth=1)
    axes.annotate(label, (1.01, mean), xycoords=("axes fraction", "data"), va="center",
                  color="#555555", fontsize=9, annotation_clip=False)  # fmt: skip


def plot_residuals_by_group(
    file: Path, residuals: np.ndarray, groups: np.ndarray
) -> tuple[int, int]:
    """Predicted - true count of each image, group by group.

    Args:
        file: PNG to write.
        residuals: ``[n]``.
        groups: name of each image's group, ``[n]``.

    Returns:
        How many groups are shown (those most off in the mean, :data:`MAX_GROUPS` at most), and how
        many there are that have :data:`MIN_IMAGES_OF_GROUP` images; of smaller ones nothing can be
        said.
    """
    names = groups_to_show(groups)
    means = np.array([residuals[groups == name].mean() for name in names])
    worst = np.sort(np.argsort(-np.abs(means), kind="stable")[:MAX_GROUPS])
    shown = worst[np.argsort(means[worst], kind="stable")]
    figure = Figure(figsize=(_WIDTH, 1.1 + 0.24 * len(shown)), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(0, color=GREY, linewidth=1)
    random = np.random.default_rng(0)
    for place, k in enumerate(shown):
        own = residuals[groups == names[k]]
        height = place + random.uniform(-0.18, 0.18, len(own))
        axes.scatter(own, height, s=11, color=BLUE, alpha=0.5, linewidth=0)
        axes.plot([means[k]] * 2, [place - 0.33, place + 0.33], color=ORANGE, linewidth=2.5)
    labels = [name if len(name) <= 26 else "…" + name[-25:] for name in names[shown]]
    axes.set_yticks(range(len(shown)), labels, fontsize=8, parse_math=False)
    axes.set(xlabel="predicted - true count", ylim=(-0.7, len(shown) - 0.3))
    _tidy(axes, grid="x")
    _save(figure, file)
    return len(shown), len(names)


def groups_to_show(groups: np.ndarray) -> np.ndarray:
    """The names of groups that are large enough to have a mean worth showing."""
    names, sizes = np.unique(groups, return_counts=True)
    return names[sizes >= MIN_IMAGES_OF_GROUP]


def plot_residuals_by_time(
    file: Path, residuals: np.ndarray, times: np.ndarray, groups: np.ndarray, label: str = "time"
) -> None:
    """Predicted - true count over time, a line for each group, and their mean.

    Args:
        file: PNG to write.
        residuals: ``[n]``.
        times: of each image, ``[n]``.
        groups: name of each image's group, ``[n]``.
        label: of the time, with its unit if that is known.
    """
    figure = Figure(figsize=(_WIDTH, 3.8), layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(0, color=GREY, linewidth=1)
    for name in np.unique(groups):
        own = np.flatnonzero(groups == name)
        own = own[np.argsort(times[own], kind="stable")]
        axes.plot(times[own], residuals[own], "o-", color=BLUE, alpha=0.35, markersize=3.5,
                  linewidth=0.8)  # fmt: skip
    edges = np.linspace(times.min(), times.max(), 11)
    if edges[-1] > edges[0]:
        part = np.clip(np.searchsorted(edges, times, side="right") - 1, 0, 9)
        used = np.unique(part)
        middle = [times[part == b].mean() for b in used]
        mean = [residuals[part == b].mean() for b in used]
        axes.plot(middle, mean, color=ORANGE, linewidth=2.5, label="mean")
        axes.legend(frameon=False)
    axes.set(xlabel=label, ylabel="predicted - true count")
    _tidy(axes)
    _save(figure, file)


def plot_count_histogram(file: Path, predicted: np.ndarray) -> None:
    """How many images have how many cells, as counted.

    Args:
        file: PNG to write.
        predicted: predicted counts, ``[n]``.
    """
    counts = round_count(predicted)
    figure = Figure(figsize=(_WIDTH, 3.4), layout="constrained")
    axes = figure.add_subplot()
    lowest, highest = counts.min(), counts.max()
    step = max(1, np.ceil((highest - lowest + 1) / 40))
    axes.hist(counts, np.arange(lowest - 0.5, highest + step, step), color=BLUE, rwidth=0.85)
    axes.set(xlabel="predicted count", ylabel="images")
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_major_locator().set_params(integer=True)
    _tidy(axes)
    _save(figure, file)


def plot_learning_curves(file: Path, history: Sequence[dict[str, float]]) -> None:
    """Losses, and the error on the validation split, by epoch.

    Args:
        file: PNG to write.
        history: rows with ``epoch``, ``loss``, perhaps its parts, and ``validation_mae``, which is
            NaN or missing in epochs that were not validated.
    """
    epochs = np.array([row["epoch"] for row in history])

    def column(name: str) -> np.ndarray:
        return np.array([row.get(name, np.nan) for row in history], float)

    figure = Figure(figsize=(_WIDTH, 5), layout="constrained")
    top, bottom = figure.subplots(2, sharex=True)
    marker = "o-" if len(history) < 30 else "-"
    style = {"markersize": 3, "linewidth": 1.3}
    top.plot(epochs, column("loss"), marker, color="black", label="loss", **style)
    parts = [
        name for name in history[0]
        if name.startswith(("natural_", "synthetic_")) and (column(name) > 0).any()
    ]  # fmt: skip
    for name, color in zip(parts, colormaps["tab10"].colors, strict=False):
        top.plot(epochs, column(name), color=color, linewidth=1, label=name.replace("_", " "))
    if np.nanmin(column("loss")) > 0:
        top.set_yscale("log")
    top.set(ylabel="training")
    top.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, frameon=False)
    validated = ~np.isnan(column("validation_mae"))
    bottom.plot(epochs[validated], column("validation_mae")[validated], marker, color=BLUE, **style)
    bottom.set(xlabel="epoch", ylabel="validation MAE, cells", ylim=(0, None))
    bottom.xaxis.get_major_locator().set_params(integer=True)
    for axes in (top, bottom):
        _tidy(axes)
    _save(figure, file)


def plot_embedding(
    file: Path, parts: dict[str, tuple[np.ndarray, np.ndarray]], highlighted: str | None = None
) -> None:
    """Images in the plane, a colour for each domain, darker with fewer cells.

    Args:
        file: PNG to write.
        parts: places ``[n, 2]`` and true counts ``[n]`` of ``natural`` and ``synthetic`` images,
            and of others, whose counts are not shown, under any name.
        highlighted: which of the others is to lie on top, in green.
    """
    figure = Figure(figsize=(_WIDTH, 6), layout="constrained")
    axes = figure.add_subplot()
    known = [parts[name][1] for name in ("natural", "synthetic") if name in parts]
    known = np.concatenate(known) if known else np.zeros(0)
    scale = Normalize(known.min(), max(known.max(), known.min() + 1)) if len(known) else None
    colors = {"natural": NATURAL_COLORS, "synthetic": SYNTHETIC_COLORS}
    other_colors = iter(("#b0b0b0", "#c9a0dc", "#d9d27d"))
    # Those with counts on top of those without.
    order = sorted(parts, key=lambda name: (name == highlighted, name in colors))
    for name in order:
        places, counts = parts[name]
        style = {"s": 16, "linewidth": 0.3, "edgecolor": "white"}
        if name not in colors:
            top = {"s": 30, "linewidth": 0.6, "edgecolor": "black", "color": GREEN}
            style |= top if name == highlighted else {"color": next(other_colors), "alpha": 0.7}
            axes.scatter(*places.T, label=f"{name} ({len(places)})", **style)
            continue
        points = axes.scatter(*places.T, c=counts, cmap=colors[name], norm=scale, **style)
        bar = figure.colorbar(points, ax=axes, location="bottom", fraction=0.04, pad=0.02,
                              aspect=45)  # fmt: skip
        bar.set_label(f"count, {name} ({len(places)} images)", fontsize=9)
        bar.ax.tick_params(labelsize=8)
    if set(parts) - set(colors):
        axes.legend(loc="best", fontsize=9)
    axes.set(xticks=[], yticks=[], xlabel="UMAP 1", ylabel="UMAP 2")
    axes.set_aspect("equal", adjustable="datalim")
    _save(figure, file)


def _tidy(axes: Axes, grid: str = "both") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)


def _save(figure: Figure, file: Path, share: float = 1) -> None:
    """Writes the figure as PNG, whole or not at all, in grey where it has no colour.

    Args:
        figure: to be drawn.
        file: PNG to write.
        share: of :data:`DPI`.
    """
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(share * DPI)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., 2::-1]  # blue, green, red, as OpenCV has it
    if (pixels == pixels[..., :1]).all():
        pixels = pixels[..., 0]
    _, content = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    temporary = temporary_beside(file)
    temporary.write_bytes(content.tobytes())
    os.replace(temporary, file)
