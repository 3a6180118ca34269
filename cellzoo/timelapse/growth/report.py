"""Figures and the page of ``cellzoo growth``."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter

from cellzoo import __version__
from cellzoo.cards.render import environment
from cellzoo.evaluation.report import page
from cellzoo.evaluation.report.figures import BLUE, GREY, ORANGE
from cellzoo.files import write_atomically
from cellzoo.timelapse.growth.estimate import Growth
from cellzoo.timelapse.growth.series import Series

if TYPE_CHECKING:
    from cellzoo.timelapse.growth.analysis import Analysis

DPI = 110  # small in tests
MAX_SHOWN = 60  # figures of series in the page; all are files
TEMPLATES = Path(__file__).with_name("templates")


def write_report(analysis: "Analysis", folder: Path) -> None:
    """Writes a figure for each series, two of all of them, and ``growth.html``.

    Args:
        analysis: the growth.
        folder: where the files go, the figures into ``figures`` in it.
    """
    figures = folder / "figures"
    figures.mkdir()
    shown = []
    for k, (series, found) in enumerate(zip(analysis.series, analysis.growths, strict=True)):
        name = re.sub(r"[^\w.-]+", "_", series.name)[-60:].strip("._")
        file = figures / f"{k + 1:03d}_{name}.png"
        _plot_series(file, series, found)
        if k < MAX_SHOWN:
            shown.append((page.Picture(file), found))
    curves, rates = figures / "curves.png", figures / "rates.png"
    _plot_curves(curves, analysis)
    rated = [found for found in analysis.growths if found.rate_per_hour is not None]
    if rated:
        _plot_rates(rates, rated)
    templates = environment(TEMPLATES, page.TEMPLATES)
    templates.filters["anchor"] = page.anchor
    content = templates.get_template("growth.html.j2").render(
        title=f"Growth in {analysis.table.name}",
        version=__version__,
        analysis=analysis,
        rated=rated,
        curves=page.Picture(curves),
        rates=page.Picture(rates) if rated else None,
        shown=shown,
    )
    write_atomically(folder / "growth.html", content)


def _plot_series(file: Path, series: Series, found: Growth) -> None:
    """Counts with their intervals, the fitted curve, and the frames that took no part."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    used = ~found.left_out
    cells = np.maximum(series.counts, 0.3)  # the axis is logarithmic
    known = np.isfinite(series.low)
    axes.vlines(series.times[known], np.maximum(series.low[known], 0.3), series.high[known],
                color=GREY, linewidth=0.8, alpha=0.5)  # fmt: skip
    axes.plot(series.times[used], cells[used], "o", color=BLUE, markersize=3.5, label="counts")
    if (~used).any():
        axes.plot(series.times[~used], cells[~used], "o", color=GREY, markersize=3.5,
                  markerfacecolor="none", label="left out")  # fmt: skip
    if len(found.curve[0]):
        axes.plot(*found.curve, color=ORANGE, linewidth=1.6, label="fitted")
    _logarithmic(axes)
    axes.legend(frameon=False, fontsize=9)
    _save(figure, file)


def _plot_curves(file: Path, analysis: "Analysis") -> None:
    """The counts of all series over each other."""
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.add_subplot()
    alpha = float(np.clip(8 / len(analysis.series), 0.15, 0.8))
    for series, found in zip(analysis.series, analysis.growths, strict=True):
        color = GREY if found.rate_per_hour is None else BLUE
        axes.plot(series.times, np.maximum(series.counts, 0.3), color=color, alpha=alpha,
                  linewidth=1.1)  # fmt: skip
    _logarithmic(axes)
    _save(figure, file)


def _plot_rates(file: Path, rated: list[Growth]) -> None:
    """Each series' rate with its interval, in order, and beside it how the rates are spread."""
    rated = sorted(rated, key=lambda found: found.rate_per_hour)
    height = float(np.clip(0.22 * len(rated) + 1.2, 2.6, 9))
    figure = Figure(figsize=(6.4, height), layout="constrained")
    axes, side = figure.subplots(2, 1, sharex=True, height_ratios=[height - 1, 1])
    rates = np.array([found.rate_per_hour for found in rated])
    places = np.arange(len(rated))
    axes.hlines(places, [f.rate_low for f in rated], [f.rate_high for f in rated], color=GREY)
    axes.plot(rates, places, "o", color=BLUE, markersize=4)
    names = [found.series[-28:] for found in rated]
    axes.set_yticks(places if len(rated) <= 40 else [], names if len(rated) <= 40 else [],
                    fontsize=8, parse_math=False)  # fmt: skip
    side.hist(rates, bins=min(max(5, len(rated) // 4), 20), color=BLUE)
    side.set(xlabel="growth rate, per hour", ylabel="series")
    side.yaxis.get_major_locator().set_params(integer=True)
    for each in (axes, side):
        _tidy(each)
    _save(figure, file)


def _logarithmic(axes: Axes) -> None:
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.set(xlabel="hours", ylabel="cells")
    _tidy(axes)


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)


def _save(figure: Figure, file: Path) -> None:
    FigureCanvasAgg(figure)
    figure.savefig(file, dpi=DPI)
