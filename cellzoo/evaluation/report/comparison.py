"""What ``cellzoo compare`` writes: a table for people, one for programs, and two plots."""

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from cellzoo.data.image_set import SPLITS, ImageSet
from cellzoo.errors import UserError
from cellzoo.evaluation.comparison import COLUMNS, MEANINGS, PAIR_MEANINGS, POOLED, Method
from cellzoo.evaluation.report import figures
from cellzoo.evaluation.report.page import templates
from cellzoo.files import csv_safe, temporary_beside, write_atomically, write_csv
from cellzoo.scores.counts import round_count
from cellzoo.scores.table import COUNT_SCORES, HEADLINE

# comparison.md is written last: where it stands, the others do, and where it does not and runs were
# trained, the others are those of a comparison that was stopped.
FILES = (
    "predictions.csv",
    "comparison.csv",
    "pairs.csv",
    "comparison_mre.png",
    "comparison_counts.png",
    "comparison.md",
)
PACKAGES = ("tensorflow", "keras", "numpy", "scipy")


@dataclass(frozen=True)
class About:
    """What a reader must know besides the numbers.

    Attributes:
        data: which data set, in words.
        subject: which of its images were scored, in words.
        simulated: whether the natural images are simulated.
        chosen_on_these: whether the images scored also chose checkpoints and settings.
        synthetic_images: how many were drawn for each seed.
        methods: what stands behind each label.
        reference: label of the method that was named beforehand; None: there is none.
    """

    data: str
    subject: str
    simulated: bool
    chosen_on_these: bool
    synthetic_images: int
    methods: dict[str, str]
    reference: str | None = None


def check_output(out: Path, begun: bool = False) -> None:
    """Sees to it that a comparison can be written to its folder.

    Args:
        out: the folder, which need not exist yet.
        begun: what is in it but for the last file is of this comparison, stopped while it wrote.

    Raises:
        UserError: there is a comparison in it, or a file of somebody's own that it would replace.
    """
    for name in FILES[-1:] if begun else FILES:
        if (out / name).exists():
            raise UserError(f"{out / name} is there already: choose another --out.")


def write_report(
    out: Path,
    about: About,
    methods: Sequence[Method],
    rows: Sequence[dict[str, object]],
    compared: Sequence[dict[str, object]],
    images: dict[int, ImageSet],
    every_image: ImageSet,
) -> list[Path]:
    """Writes the files of a comparison.

    Args:
        out: folder, in which none of them is.
        about: what the Markdown says besides the numbers.
        methods: what was counted.
        rows: of :func:`cellzoo.evaluation.comparison.table`.
        compared: of :func:`cellzoo.evaluation.comparison.pairs`.
        images: those scored, by seed.
        every_image: those of all splits, of the first seed.

    Returns:
        The files.
    """
    files = [out / name for name in FILES]
    write_csv(files[0], *_predictions(methods, images))
    cells = [[_cell(row[column]) for column in COLUMNS] for row in rows]
    write_csv(files[1], COLUMNS, cells)
    cells = [[_cell(row[column]) for column in PAIR_MEANINGS] for row in compared]
    write_csv(files[2], list(PAIR_MEANINGS), cells)
    _save(plot_mre(methods, images, about), files[3])
    _save(plot_counts(every_image, about, min(images)), files[4])
    write_atomically(files[5], markdown(about, rows, compared, images))
    return files


def markdown(
    about: About,
    rows: Sequence[dict[str, object]],
    compared: Sequence[dict[str, object]],
    images: dict[int, ImageSet],
) -> str:
    """The table and what a reader must know to trust it: the template ``comparison.md.j2``."""
    by_method: dict[object, dict[object, object]] = {}
    for row in rows:
        by_method.setdefault(row["method"], {})[row["seed"]] = row["natural_mae"]
    return templates().get_template("comparison.md.j2").render(
        about=about,
        seeds=list(images),
        sizes=sorted({(len(part), len(set(part.groups))) for part in images.values()}),
        pooled=[row for row in rows if row["seed"] == POOLED],
        by_method=by_method,
        pairs=[row for row in compared if not row["reason"]],
        reasons=sorted({str(row["reason"]) for row in compared if row["reason"]}),
        domains=("natural", "synthetic"),
        headline=HEADLINE,
        mae=COUNT_SCORES["mae"],
        meanings=MEANINGS,
        pair_meanings=PAIR_MEANINGS,
        made_with={
            "command": shlex.join(["cellzoo", *sys.argv[1:]]),
            "hardware": _hardware(),
            "versions": f"Python {platform.python_version()}, "
            + ", ".join(f"{name} {_version(name)}" for name in ("cellzoo", *PACKAGES)),
            "commit": _commit(),
        },
    )


def _predictions(
    methods: Sequence[Method], images: dict[int, ImageSet]
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of ``predictions.csv``: natural images, then synthetic ones."""
    labels = [csv_safe(method.label) for method in methods]
    header = ["domain", "seed", "image", "group", "true", *labels]
    rows = []
    for seed, part in images.items():
        predicted = np.stack([method.natural[seed] for method in methods], axis=1)
        for k in range(len(part)):
            names = csv_safe(part.names[k]), csv_safe(part.groups[k])
            which = ["natural", str(seed), *names, f"{part.counts[k]:.0f}"]
            rows.append(which + [_exact(value) for value in predicted[k]])
    for seed in images:
        drawn = [method.synthetic.get(seed) for method in methods]
        for generator in sorted({d.generator for d in drawn if d}):
            own = [d if d and d.generator == generator else None for d in drawn]
            true = next(d.counts for d in own if d)
            for k, count in enumerate(true):
                name = f"synthetic_{generator}_{k:04d}"
                which = ["synthetic", str(seed), name, "", f"{count:.0f}"]
                rows.append(which + [_exact(d.predicted[k]) if d else "" for d in own])
    return header, rows


def _exact(value: np.floating) -> str:
    """A float32 with digits enough to read the same one back."""
    return f"{float(value):.9g}"


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, str):
        return csv_safe(value)
    return f"{value:.6g}" if isinstance(value, float) else value


def plot_mre(methods: Sequence[Method], images: dict[int, ImageSet], about: About) -> Figure:
    """Mean relative error by true count, and each method's mean as a horizontal bar (Figure 5)."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot()
    true = np.concatenate([part.counts for part in images.values()])
    cells = np.unique(true[true > 0]).astype(int)
    errors = {
        method.label: np.abs(round_count(np.concatenate([*method.natural.values()])) - true)
        for method in methods
    }
    mres = {
        label: np.array([error[true == count].mean() / count for count in cells])
        for label, error in errors.items()
    }
    positive = [value for mre in mres.values() for value in mre if value > 0]
    # A logarithmic axis has no zero: what is exact stands on the axis.
    floor = min(positive, default=0.01) / 2
    colors = colormaps["tab10" if len(methods) <= 10 else "tab20"].colors
    for k, (label, mre) in enumerate(mres.items()):
        color = colors[k % len(colors)]
        place = cells + 0.7 * ((k + 0.5) / len(mres) - 0.5)
        exact = mre == 0
        axes.scatter(place[~exact], mre[~exact], s=16, color=color, label=label)
        axes.scatter(
            place[exact], np.full(exact.sum(), floor), s=16, facecolors="none", edgecolors=color
        )
        relative = errors[label][true > 0] / true[true > 0]
        if len(relative) and relative.mean() > 0:
            axes.axhline(relative.mean(), color=color, linewidth=2, alpha=0.7)
    axes.set_yscale("log")
    axes.set(xlabel="true count", ylabel="mean relative error (open circle: none)")
    title = f"{about.data}, {about.subject}; bars: mean of each method"
    axes.set_title(title, fontsize=9, parse_math=False)
    if len(cells) <= 31:
        axes.set_xticks(cells)
    for text in figure.legend(loc="outside right center", fontsize=8).get_texts():
        text.set_parse_math(False)
    return figure


def plot_counts(images: ImageSet, about: About, seed: int) -> Figure:
    """How many labelled images of each split have how many cells (Figure 2)."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.add_subplot()
    labelled = images.take(images.labelled)
    splits = [split for split in SPLITS if (labelled.splits == split).any()]
    places = np.arange(int(labelled.counts.max()) + 1)
    width = 0.85 / len(splits)
    for k, split in enumerate(splits):
        counts = labelled.of(split).counts.astype(int)
        often = np.bincount(counts, minlength=len(places))
        axes.bar(places + (k - (len(splits) - 1) / 2) * width, often, width, label=split)
    simulated = "simulated " if about.simulated else ""
    axes.set(xlabel="true count", ylabel=f"labelled {simulated}images")
    axes.set_title(f"{about.data}, seed {seed}", fontsize=9, parse_math=False)
    axes.legend()
    return figure


def _save(figure: Figure, file: Path) -> None:
    temporary = temporary_beside(file)
    figure.savefig(temporary, format="png", dpi=0.75 * figures.DPI)
    os.replace(temporary, file)


def _hardware() -> str:
    import tensorflow as tf

    devices = [
        tf.config.experimental.get_device_details(device).get("device_name", device.name)
        for device in tf.config.list_physical_devices("GPU")
    ]
    return ", ".join([f"{os.cpu_count()} CPU cores ({platform.machine()})", *devices])


def _version(package: str) -> str:
    if package == "cellzoo":
        from cellzoo import __version__

        return __version__
    return version(package)


def _commit() -> str | None:
    """The commit of the checkout that this very file runs from; None if it is installed."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *arguments],
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip

    try:
        # An environment may lie within somebody's repository without being part of it.
        git("ls-files", "--error-unmatch", Path(__file__).name)
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
