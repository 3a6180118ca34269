"""The growth rate of one series of counts, with an interval that is honest about few cells.

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
from dataclasses import dataclass, field

import numpy as np

from cellzoo.timelapse.series import Series
from cellzoo.timelapse.window import Window, find_window, running_median

MIN_DIVISIONS = 3
MIN_FRAMES = 5
MAX_FRAMES = 120  # of a fit; more are averaged in blocks, they would say nothing new
# Variance of a cell's share in the later population, for gamma lifetimes of a coefficient of
# variation of 0.25 to 0.35 with sisters that are correlated (0.5) or not, by simulation. It is what
# future lifetimes and what the cells' ages contribute; the ages are forgotten within FORGET/rate.
LIFETIMES, AGES, FORGET = 0.08, 0.05, 0.15
# What the misreading may be: multiples of what is expected, and its memory from frame to frame.
_SIZES = (0.6, 1.0, 1.5, 2.2)
_MEMORIES = (0.0, 0.6, 0.85)
_ROUNDING = 1 / 12  # variance of what rounding takes away
_NORMAL = 1.959964


@dataclass(frozen=True)
class Growth:
    """What a series says of growth; times in hours, None where nothing can be promised.

    Attributes:
        series: its name.
        rate_per_hour: Malthusian rate, the slope of the logarithm of the count.
        rate_low: lower end of its 95 % interval.
        rate_high: upper end.
        divisions: seen in the window, by the fitted curve.
        first_hour: first frame of the window that was fitted.
        last_hour: last frame of it.
        lag_hours: time before the window in which nothing divided, where that is no chance.
        plateau_hour: when growth ended, where it did.
        flags: sentences on what is unusual, the gravest first; why there is no rate.
        curve: hours and cells of the fitted curve, ``[n]`` each; empty without a fit.
        left_out: frames of the series that took no part, ``[n]`` bool.
    """

    series: str
    rate_per_hour: float | None = None
    rate_low: float | None = None
    rate_high: float | None = None
    divisions: int | None = None
    first_hour: float | None = None
    last_hour: float | None = None
    lag_hours: float | None = None
    plateau_hour: float | None = None
    flags: tuple[str, ...] = ()
    curve: tuple[np.ndarray, np.ndarray] = field(default=(np.zeros(0), np.zeros(0)), repr=False)
    left_out: np.ndarray = field(default_factory=lambda: np.zeros(0, bool), repr=False)

    @property
    def doubling_hours(self) -> float | None:
        """The time in which cells double."""
        return self.rate_per_hour and math.log(2) / self.rate_per_hour

    @property
    def doubling_low(self) -> float | None:
        """Lower end of its 95 % interval."""
        return self.rate_high and math.log(2) / self.rate_high

    @property
    def doubling_high(self) -> float | None:
        """Upper end."""
        return self.rate_low and math.log(2) / self.rate_low

    @property
    def flag(self) -> str:
        """The sentences in one cell of a table."""
        return "; ".join(self.flags)


def estimate(series: Series) -> Growth:
    """Estimates the growth rate of a series of counts.

    Args:
        series: at least one frame.

    Returns:
        The growth, without a rate where fewer than three divisions were seen.
    """
    window = find_window(series)
    base = {"series": series.name, "left_out": ~window.used, "lag_hours": window.lag_hours}
    base |= {"plateau_hour": window.plateau_hour}
    if window.used.sum() < MIN_FRAMES:
        why = f"no rate: only {window.used.sum()} frames with cells can be used, five are needed"
        return Growth(flags=(why, *window.flags), **base)
    times = series.times[window.used]
    base |= {"first_hour": float(times[0]), "last_hour": float(times[-1])}
    fit = _fit(series, window)
    if fit is None:
        why = "no rate: the number of cells does not grow"
        return Growth(flags=(why, *window.flags), divisions=0, **base)
    divisions = fit.divisions
    base |= {"divisions": round(divisions), "curve": (times, fit.cells(times))}
    if divisions < MIN_DIVISIONS:
        why = f"no rate: about {max(divisions, 0):.1f} divisions were seen, three are needed"
        return Growth(flags=(why, *window.flags), **base)
    reach = math.exp(_NORMAL * fit.error / fit.rate)
    return Growth(
        rate_per_hour=fit.rate, rate_low=fit.rate / reach, rate_high=fit.rate * reach,
        flags=window.flags, **base,
    )  # fmt: skip


@dataclass
class _Fit:
    """An exponential with steps, ``exp(offset + rate t + changes)``.

    Attributes:
        rate: per hour.
        error: its standard error.
        start: the hour from which times count.
        offset: logarithm of the cells at the start.
        changes: what is added to the logarithm from each of ``steps`` on.
        steps: hours at which cells left or came in.
        end: the last hour.
    """

    rate: float
    error: float
    start: float
    offset: float
    changes: np.ndarray
    steps: tuple[float, ...]
    end: float

    def cells(self, times: np.ndarray) -> np.ndarray:
        """Cells at some hours."""
        design = _design(times - self.start, np.array(self.steps) - self.start)
        return np.exp(design @ [self.offset, self.rate, *self.changes])

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


def _fit(series: Series, window: Window) -> _Fit | None:
    """Fits what the window leaves; None where nothing grows."""
    times, counts, spread = _blocks(series, window.used)
    t = times - times[0]
    design = _design(t, np.array(window.steps) - times[0])
    beta = _first_guess(design, counts)
    if beta[1] <= 0:
        return None
    apart = np.abs(np.subtract.outer(t, t))
    frames = apart / np.median(np.diff(t))
    memory = np.stack([np.power(p, frames) if p else np.eye(len(t)) for p in _MEMORIES])
    error = math.nan
    for _ in range(4):
        cells = np.exp(np.clip(design @ beta, -3, 14))
        expected = np.sqrt(0.25 + 0.02 * cells) if spread is None else spread
        ages = AGES * np.exp(-beta[1] * apart / FORGET)
        noise = np.minimum.outer(cells, cells) * (LIFETIMES + ages) + _ROUNDING * np.eye(len(t))
        misread = np.outer(expected, expected) * memory
        covariances = noise + (np.square(_SIZES)[:, None, None, None] * misread)
        step, error = _improve(
            covariances.reshape(-1, *noise.shape), design * cells[:, None], counts - cells
        )
        step[0], step[2:] = np.clip(step[0], -0.7, 0.7), np.clip(step[2:], -0.7, 0.7)
        step[1] = np.clip(step[1], -0.5 * beta[1], 0.5 * beta[1])
        beta = beta + step
    end = float(series.times[window.used][-1])
    return _Fit(float(beta[1]), error, float(times[0]), float(beta[0]), beta[2:], window.steps, end)


def _improve(
    covariances: np.ndarray, slopes: np.ndarray, residuals: np.ndarray
) -> tuple[np.ndarray, float]:
    """One step of generalised least squares, averaged over covariances by their likelihood.

    Args:
        covariances: ``[k, n, n]``.
        slopes: of the counts by the parameters, ``[n, p]``.
        residuals: ``[n]``.

    Returns:
        The step of the parameters, and the standard error of the second of them.
    """
    lower = np.linalg.cholesky(covariances)
    right = np.column_stack([slopes, residuals])
    white = np.linalg.solve(lower, np.broadcast_to(right, (len(lower), *right.shape)))
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
    return step, float(np.sqrt(weight @ (variances + (steps[:, 1] - step[1]) ** 2)))


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
    spread = (series.high - series.low)[used] / (2 * _NORMAL)
    size = math.ceil(len(times) / MAX_FRAMES)
    parts = [slice(k, k + size) for k in range(0, len(times), size)]
    blocks = [np.array([np.median(x[part]) for part in parts]) for x in (times, counts, spread)]
    known = np.isfinite(blocks[2]).all()
    return blocks[0], blocks[1], np.maximum(blocks[2], 0.15) if known else None
