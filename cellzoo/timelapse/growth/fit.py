"""An exponential fitted to the counts of few cells, whose noise is that of divisions.

What limits a rate is chance in the divisions of few cells, not the number of frames. Counts are
taken as an exponential plus two kinds of noise, whose covariances are known up to a few numbers.

**Division noise.** Of ``n`` cells each one will have more or fewer descendants than the mean cell,
because its lifetime and those of its descendants are chance, and because cells differ in age. By
the theory of branching processes that counts at times ``s < t`` are off by amounts of covariance
``n(s) (LIFETIMES + AGES exp(-rate (t - s) / FORGET))``.

**Misreading.** A count is off by an error of unknown size, which may last for some frames.

The rate is the generalised least-squares estimate; its interval averages over the sizes and
memories of the misreading, weighed by how well they explain the counts (REML likelihood).
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from cellzoo.timelapse.growth.series import Series
from cellzoo.timelapse.growth.window import Window, running_median

MAX_FRAMES = 120  # of a fit; more are averaged in blocks, they would say nothing new
# Variance of a cell's share in the later population, for gamma lifetimes of a coefficient of
# variation of 0.25 to 0.35 with sisters that are correlated (0.5) or not, by simulation. It is what
# future lifetimes and what the cells' ages contribute; the ages are forgotten within FORGET/rate.
LIFETIMES, AGES, FORGET = 0.08, 0.05, 0.15
# What the misreading may be: multiples of what is expected, and its memory from frame to frame.
_SIZES = (0.6, 1.0, 1.5, 2.2)
_MEMORIES = (0.0, 0.6, 0.85)
_ROUNDING = 1 / 12  # variance of what rounding takes away
_NO_MATTER = 1e-3  # share of the likelihood below which a size and memory is left out
NORMAL = 1.959964


@dataclass
class Fit:
    """An exponential with steps, ``exp(offset + rate t + changes)``.

    Attributes:
        rate: per hour.
        error: its standard error.
        start: the hour from which times count.
        offset: logarithm of the cells at the start.
        changes: what is added to the logarithm from each of ``steps`` on.
        steps: hours at which cells left or came in.
        end: the last hour.
        hours: from the start, of what was fitted: frames, or blocks of them, ``[n]``.
        counts: ``[n]``, without debris.
        covariances: of their noise, for each likely size and memory of the misreading,
            ``[k, n, n]``.
        evidence: logarithm of the likelihood, averaged over sizes, memories and parameters.
        debris: what was taken off each count.
    """

    rate: float
    error: float
    start: float
    offset: float
    changes: np.ndarray
    steps: tuple[float, ...]
    end: float
    hours: np.ndarray
    counts: np.ndarray
    covariances: np.ndarray
    evidence: float
    debris: float

    @property
    def design(self) -> np.ndarray:
        """Columns of the logarithm at the hours, ``[n, 2 + steps]``."""
        return _design(self.hours, np.array(self.steps) - self.start)

    def cells(self, times: np.ndarray) -> np.ndarray:
        """Cells at some hours."""
        design = _design(times - self.start, np.array(self.steps) - self.start)
        return np.exp(design @ [self.offset, self.rate, *self.changes])

    @property
    def scatter(self) -> float:
        """How many times further off counts are than their noise makes them, at the least."""
        off = (self.counts - self.cells(self.start + self.hours))[:, None]
        white = whiten(np.linalg.cholesky(self.covariances), off)
        return float(np.sqrt(np.square(white).mean(axis=(1, 2)).min()))

    @property
    def divisions(self) -> float:
        """Cells that grew, between the steps."""
        edges = [self.start, *self.steps, self.end]
        total = 0.0
        for begin, end in zip(edges, edges[1:], strict=False):
            first = float(self.cells(np.array([begin]))[0])
            total += first * math.expm1(self.rate * (end - begin))
        return total


def _design(times: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Columns of the logarithm: 1, time, and one for each step, ``[n, 2 + steps]``."""
    later = times[:, None] >= steps[None, :]
    return np.column_stack([np.ones_like(times), times, later])


def fit_growth(series: Series, window: Window, debris: float = 0.0) -> Fit | None:
    """Fits what the window leaves; None where nothing grows.

    Args:
        series: counts of a chamber.
        window: the frames to fit.
        debris: what is counted in each frame and does not grow.
    """
    times, counts, spread = _blocks(series, window.used)
    counts = counts - debris
    t = times - times[0]
    design = _design(t, np.array(window.steps) - times[0])
    beta = _first_guess(design, counts)
    if beta[1] <= 0:
        return None
    apart = np.abs(np.subtract.outer(t, t))
    frames = apart / np.median(np.diff(t))
    memory = np.stack([np.power(p, frames) if p else np.eye(len(t)) for p in _MEMORIES])
    # Of each size and memory, as multiples of what is expected.
    misread = np.square(_SIZES)[:, None, None, None] * memory
    misread = misread.reshape(-1, len(t), len(t))
    error = evidence = math.nan
    most = max(14.0, math.log(max(counts.max(), 1)) + 3)  # a step that goes astray is no overflow
    for turn in range(4):
        cells = np.exp(np.clip(design @ beta, -3, most))
        expected = np.sqrt(0.25 + 0.02 * (cells + debris)) if spread is None else spread
        ages = AGES * np.exp(-beta[1] * apart / FORGET)
        noise = np.minimum.outer(cells, cells) * (LIFETIMES + ages) + _ROUNDING * np.eye(len(t))
        covariances = noise + np.outer(expected, expected) * misread
        slopes = design * cells[:, None]
        step, error, weight, evidence = _improve(covariances, slopes, counts - cells)
        if turn:
            misread = misread[weight > _NO_MATTER]
        beta = beta + _bounded(step, beta[1], np.array(window.steps) - times[0])
    if (design @ beta).max() > most:
        return None
    end = float(series.times[window.used][-1])
    return Fit(
        float(beta[1]), error, float(times[0]), float(beta[0]), beta[2:], window.steps, end,
        t, counts, covariances, evidence, debris,
    )  # fmt: skip


def _bounded(step: np.ndarray, rate: float, starts: np.ndarray) -> np.ndarray:
    """A step of the parameters within bounds: of the rate, and of the cells as each part begins.

    Not of what a part has more than the one before: behind a long gap that follows from the rate.

    Args:
        step: of offset, rate and changes, ``[2 + steps]``.
        rate: before.
        starts: hours at which parts after the first begin, ``[steps]``.
    """
    levels = np.clip(step[0] + step[1] * starts + np.cumsum(step[2:]), -0.7, 0.7)
    offset = np.clip(step[0], -0.7, 0.7)
    change = np.clip(step[1], -0.5 * rate, 0.5 * rate)
    return np.r_[offset, change, np.diff(levels - change * starts, prepend=offset)]


def _improve(
    covariances: np.ndarray, slopes: np.ndarray, residuals: np.ndarray
) -> tuple[np.ndarray, float, np.ndarray, float]:
    """One step of generalised least squares, averaged over covariances by their likelihood.

    Args:
        covariances: ``[k, n, n]``.
        slopes: of the counts by the parameters, ``[n, p]``.
        residuals: ``[n]``.

    Returns:
        The step of the parameters, the standard error of the second of them, the likelihood of each
        covariance, ``[k]``, which add up to 1, and the logarithm of their sum.
    """
    lower = np.linalg.cholesky(covariances)
    right = np.column_stack([slopes, residuals])
    white = whiten(lower, right)
    x, r = white[..., :-1], white[..., -1]
    information = np.einsum("kni,knj->kij", x, x)
    score = np.einsum("kni,kn->ki", x, r)
    steps = np.linalg.solve(information, score[..., None])[..., 0]
    likelihood = (
        -0.5 * ((r**2).sum(1) - (score * steps).sum(1))
        - np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(1)
        - 0.5 * np.linalg.slogdet(information)[1]
    )
    weight = np.exp(likelihood - likelihood.max())
    weight /= weight.sum()
    step = weight @ steps
    variances = np.linalg.inv(information)[:, 1, 1]
    error = float(np.sqrt(weight @ (variances + (steps[:, 1] - step[1]) ** 2)))
    return step, error, weight, float(np.logaddexp.reduce(likelihood))


def whiten(lower: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Columns for which noise of covariances, given as Cholesky factors, is independent.

    Args:
        lower: ``[k, n, n]``.
        columns: ``[n, p]``.

    Returns:
        ``[k, n, p]``.
    """
    return np.stack([solve_triangular(one, columns, lower=True) for one in lower])


def _first_guess(design: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The straight line, with steps, through the logarithms of the counts."""
    cells = np.maximum(running_median(counts), 0.5)
    root = np.sqrt(cells)[:, None]
    return np.linalg.lstsq(design * root, np.log(cells) * root[:, 0], rcond=None)[0]


def _blocks(series: Series, used: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Times, counts and standard deviations of misreading, medians of blocks of a long series.

    The deviations are those of the counts' own intervals, None where a frame has none.
    """
    times, counts = series.times[used], series.counts[used]
    spread = (series.high - series.low)[used] / (2 * NORMAL)
    blocks = [times, counts, spread]
    if (size := math.ceil(len(times) / MAX_FRAMES)) > 1:
        parts = [slice(k, k + size) for k in range(0, len(times), size)]
        blocks = [np.array([np.median(x[part]) for part in parts]) for x in blocks]
    known = np.isfinite(blocks[2]).all()
    return blocks[0], blocks[1], np.maximum(blocks[2], 0.15) if known else None
