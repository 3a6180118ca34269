"""What a fitted curve may have missed: cells that left or came in, a lag, a plateau, debris.

Four of twelve cells leave, and three hours later there are nine again: medians before and after
show little. But the fitted curve then lies above the counts before, and below those after. To the
curve a change is added at each frame in turn. How much better it then explains the counts, given
the noise of :mod:`cellzoo.timelapse.growth.fit`, are the odds of that change (Bayes factors).
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from cellzoo.timelapse.growth.fit import NORMAL, Fit, fit_growth, whiten
from cellzoo.timelapse.growth.series import Series
from cellzoo.timelapse.growth.window import (
    ARRIVAL,
    DEBRIS,
    LAG,
    LOSS,
    PLATEAU,
    Change,
    Window,
    running_median,
)

# Odds anywhere in a series, before looking. Chambers often lose cells: that is the main error of
# growth in them (Schmitz et al. 2021).
_BEFOREHAND = {LOSS: 1.0, ARRIVAL: 0.15, LAG: 0.1, PLATEAU: 0.05, DEBRIS: 0.1}
# Odds from which a change is taken as seen: cells that divide in step look as if some came in, or
# as if there was debris, most of all where there are few divisions.
_SURE = {LOSS: 2.0, ARRIVAL: 2.5, LAG: 2.0, PLATEAU: 0.4, DEBRIS: 0.8}
# Odds beforehand in the interval, which must allow for what is too small to be seen: with 0.15 for
# arrivals 62 to 85 % of intervals held where 4 cells came in among 28.
_UNSEEN = _BEFOREHAND | {ARRIVAL: 0.6, DEBRIS: 0.2}
_HANDFUL = 8.0  # cells that come in at once
_ENDS = 3  # frames before and after a change
# Of intervals where an end or a step was taken out of the counts that also say the rate, by which
# they are wider: in simulated chambers with an unseen lag and loss they held 76 % without.
_WIDER = 1.35
# Of standard errors in the interval, which are those of lifetimes with a CV of 0.35. Each end also
# allows for what may be there unseen: with all of the errors 98 to 100 % of intervals of simulated
# chambers held where there was nothing. Not where an end or a step was taken out: 87 to 92 % held
# after a lag of 30 h and a loss.
_SHARPER = 0.8
# Of the cells at the start, which may be debris; the finer ones where it is seen.
_SHARES = (0.3, 0.5, 0.7, 0.9)
_FINE_SHARES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)
_MOST = 50.0  # of logarithms of odds
_FAR = 20.0  # of logarithms of cells, which a gap of weeks may have


@dataclass(frozen=True)
class Suspicion:
    """A kind of change that a fit has not.

    Attributes:
        change: where it most probably was.
        odds: of such a change at any frame, against no change at all.
        weights: in the interval, for each frame or size, ``[k]``.
        rates: per hour, with that change, ``[k]``.
        errors: their standard errors, ``[k]``.
    """

    change: Change
    odds: float
    weights: np.ndarray
    rates: np.ndarray
    errors: np.ndarray


def suspicions(series: Series, window: Window, fit: Fit) -> list[Suspicion]:
    """The odds of each kind of change; none for too few frames.

    Args:
        series: that was fitted.
        window: its frames.
        fit: of them.
    """
    t = fit.hours
    cells = fit.cells(fit.start + t)
    places = _places(fit, cells)
    if not len(places):
        return []
    later = t[:, None] - t[places]
    # A change adds some of its column to the cells, in shares of them, and how much is in a range:
    # of a loss between one cell and all, of an arrival between one and as many as there are, but
    # not more than a handful, of others about as much as stops growth.
    changes = {
        LOSS: ((later >= 0) * 1.0, -1.0, -1 / cells[places]),
        ARRIVAL: ((later >= 0) * 1.0, 1 / cells[places], np.minimum(1, _HANDFUL / cells[places])),
        LAG: (np.expm1(np.clip(-fit.rate * later, 0, _FAR)), 0.5, 1.5),
        PLATEAU: (np.expm1(-fit.rate * np.maximum(later, 0)), 0.5, 2.5),
    }
    whitened = _Whitened(fit, cells)
    found = []
    for kind, (column, least, most) in changes.items():
        odds, size, rates, errors = whitened.add(column * cells[:, None], least, most)
        odds = odds * _BEFOREHAND[kind] / len(places)
        k = int(np.argmax(odds))
        there = cells[places[k]] * (abs(size[k]) if kind in (LOSS, ARRIVAL) else 1)
        change = Change(kind, fit.start + float(t[places[k]]), float(there))
        weights = odds * _UNSEEN[kind] / _BEFOREHAND[kind]
        # A lag looks as if a cell was lost in it. What is not fewer afterwards only may be a loss.
        seen = kind != LOSS or there > 1.5 or _falls(fit.counts, places[k])
        if not _grows_on(series, window, change):
            found.append(Suspicion(change, seen * float(odds.sum()), weights, rates, errors))
    return found


def _falls(counts: np.ndarray, place: int) -> bool:
    """Whether counts are lower from a frame on than before it."""
    before, after = counts[max(place - 8, 0) : place], counts[place : place + 8]
    return bool(before.mean() - after.mean() >= 0.6)


def _grows_on(series: Series, window: Window, change: Change) -> bool:
    """Whether cells more than double after what would be a plateau."""
    if change.kind != PLATEAU:
        return False
    counts, times = series.counts[window.used], series.times[window.used]
    there = running_median(counts)[np.searchsorted(times, change.hour).clip(max=len(counts) - 1)]
    return bool(np.median(counts[-5:]) > 2 * max(there, 1))


def debris(series: Series, window: Window, fit: Fit) -> tuple[Suspicion, Fit | None]:
    """Whether some of what is counted does not grow, such as debris in each frame.

    Growth then looks slower at first than it is later.

    Args:
        series: that was fitted.
        window: its frames.
        fit: of them, without debris.

    Returns:
        The odds of debris, and the likeliest fit with it where it is to be taken as seen.
    """
    fits, odds = _with_debris(series, window, fit, _SHARES)
    total = _BEFOREHAND[DEBRIS] * float(odds.sum())
    best = None
    if total > _SURE[DEBRIS]:
        fits, odds = _with_debris(series, window, fit, _FINE_SHARES)
        best = fits.pop(int(np.argmax(odds)))
        odds = np.delete(odds, np.argmax(odds)) / odds.max()  # against the best one
    else:  # only what explains the counts better than no debris does widens the interval
        odds = _UNSEEN[DEBRIS] * np.where(odds > 1 / len(_SHARES), odds, 0)
    change = Change(DEBRIS, fit.start, best.debris if best else 0.0)
    rates, errors = (np.array([getattr(one, key) for one in fits]) for key in ("rate", "error"))
    return Suspicion(change, total, odds, rates, errors), best


def _with_debris(
    series: Series, window: Window, fit: Fit, shares: Sequence[float]
) -> tuple[list[Fit], np.ndarray]:
    """Fits with debris, some shares of the cells at the start, and the odds of each."""
    first = min(float(np.median(fit.counts[:5])), float(fit.cells(np.array([fit.start]))[0]))
    amounts = [share * first for share in shares if (1 - share) * first > 0.5]
    fits = [fit_growth(series, window, amount) for amount in amounts]
    fits = [one for one in fits if one is not None]
    gain = np.array([one.evidence - fit.evidence for one in fits])
    return fits, np.exp(np.minimum(gain, _MOST)) / len(shares)


def likeliest(suspected: Sequence[Suspicion]) -> Suspicion | None:
    """The change that is to be taken as seen; None: there is no such change."""
    first = max(suspected, key=lambda one: one.odds / _SURE[one.change.kind], default=None)
    if first is None:
        return None
    # The curve of a series with a lag lies above the counts behind it, as after a loss.
    lag = sum(one.odds for one in suspected if one.change.kind == LAG)
    rival = lag if first.change.kind == LOSS else 0.0
    return first if first.odds > _SURE[first.change.kind] * (1 + rival) else None


def interval(
    fit: Fit, suspected: Sequence[Suspicion], cleared: bool = False
) -> tuple[float, float]:
    """The 95 % interval of the rate, per hour, which allows for changes that may be there unseen.

    Args:
        fit: without these changes.
        suspected: changes that are not to be taken as seen.
        cleared: an end or a step was taken out before, which may not be all there was.
    """
    weights = np.concatenate([[1.0], *(one.weights for one in suspected)])
    rates = np.concatenate([[fit.rate], *(one.rates for one in suspected)])
    errors = np.concatenate([[fit.error], *(one.errors for one in suspected)])
    rates = np.maximum(rates, 0.1 * fit.rate)
    logs = np.log(rates / fit.rate)
    sds = (1.0 if cleared else _SHARPER) * errors / rates
    wider, grid, ends = _WIDER if cleared or fit.debris else 1.0, np.linspace(-3, 3, 1201), []
    for sign in (-1, 1):
        there = sign * logs >= 0  # an end allows for what would move the rate there
        below = ndtr((grid[:, None] - sign * logs[there]) / sds[there]) @ weights[there]
        reach = np.interp(0.975, below / weights[there].sum(), grid)
        ends.append(sign * wider * max(reach, NORMAL * sds[0]))
    return fit.rate * math.exp(ends[0]), fit.rate * math.exp(ends[1])


def _places(fit: Fit, cells: np.ndarray) -> np.ndarray:
    """Indices of the frames from which a change may be, away from the ends and the fit's steps."""
    edges = [0, *np.searchsorted(fit.start + fit.hours, fit.steps), len(cells)]
    away = [np.arange(begin + _ENDS, end - _ENDS + 1) for begin, end in itertools.pairwise(edges)]
    places = np.concatenate(away)
    return places[cells[places] > 1.25]  # a last cell that leaves makes an empty chamber


class _Whitened:
    """A fit for which noise is independent from frame to frame, with each of its covariances."""

    def __init__(self, fit: Fit, cells: np.ndarray) -> None:
        self.fit = fit
        self.lower = np.linalg.cholesky(fit.covariances)
        self.x = self._white(fit.design * cells[:, None])
        self.inverse = np.linalg.inv(np.swapaxes(self.x, 1, 2) @ self.x)
        residual, _ = self._without_fit(self._white((fit.counts - cells)[:, None]))
        self.residual = residual[..., 0]
        logs = np.log(np.diagonal(self.lower, axis1=1, axis2=2)).sum(1)
        likelihood = -0.5 * (self.residual**2).sum(1) - logs
        weight = np.exp(likelihood - likelihood.max())
        self.weight = (weight / weight.sum())[:, None]

    def add(
        self, columns: np.ndarray, least: float | np.ndarray, most: float | np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What a column says that is added to the fit, each of several alone.

        Args:
            columns: ``[n, k]``.
            least: of its coefficient, whose values are all as probable beforehand.
            most: of it.

        Returns:
            Bayes factors, coefficients, rates per hour, and their standard errors, ``[k]`` each.
        """
        rest, by = self._without_fit(self._white(columns))
        sd = 1 / np.sqrt((rest**2).sum(1))
        best = np.einsum("cn,cnk->ck", self.residual, rest) * sd**2
        low, high = (least - best) / sd, (most - best) / sd
        inside = np.maximum(ndtr(high) - ndtr(low), 1e-12)
        gain = np.exp(np.minimum(0.5 * (best / sd) ** 2, 300))
        odds = self.weight * gain * sd * math.sqrt(2 * math.pi) * inside / (most - least)
        size = np.clip(best + sd * (_density(low) - _density(high)) / inside, least, most)
        share = odds / odds.sum(0)
        slope = by[:, 1]
        rates = self.fit.rate - slope * size
        rate = (share * rates).sum(0)
        variances = self.inverse[:, 1, 1, None] + (slope * sd) ** 2 + (rates - rate) ** 2
        return odds.sum(0), (share * size).sum(0), rate, np.sqrt((share * variances).sum(0))

    def _white(self, columns: np.ndarray) -> np.ndarray:
        """``[n, k]`` -> ``[covariances, n, k]``."""
        return whiten(self.lower, columns)

    def _without_fit(self, white: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the fit's own parameters cannot explain of columns, and by how much they do."""
        by = self.inverse @ np.swapaxes(self.x, 1, 2) @ white
        return white - self.x @ by, by


def _density(x: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)
