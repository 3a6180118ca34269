"""The growth rate of one series of counts, with an interval that is honest about few cells."""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from cellzoo.timelapse.growth.fit import NORMAL, Fit, fit_growth
from cellzoo.timelapse.growth.losses import Suspicion, debris, interval, likeliest, suspicions
from cellzoo.timelapse.growth.series import Series
from cellzoo.timelapse.growth.window import Change, Window, find_window

MIN_DIVISIONS = 3
MIN_FRAMES = 5
# Hours in which animal cells double: embryonic stem cells in 8 to 12, slow primary cells in days.
USUAL = (6.0, 240.0)
MAX_CHANGES = 6  # losses, lag and plateau that a fit may have


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
        The growth, without a rate where fewer than three divisions were seen, or cells did not
        become more by more than chance.
    """
    window, fit, suspected = _fitted(series)
    base = {"series": series.name, "left_out": ~window.used, "lag_hours": window.lag_hours}
    base |= {"plateau_hour": window.plateau_hour}
    if window.used.sum() < MIN_FRAMES:
        number = int(window.used.sum())
        frames = f"{number} frame{'' if number == 1 else 's'}"
        why = f"no rate: only {frames} with cells can be used, five are needed"
        return Growth(flags=(why, *window.flags), **base)
    times = series.times[window.used]
    base |= {"first_hour": float(times[0]), "last_hour": float(times[-1])}
    if fit is None:
        why = "no rate: the number of cells does not grow"
        return Growth(flags=(why, *window.flags), divisions=0, **base)
    divisions = fit.divisions
    base |= {"divisions": round(divisions), "curve": (times, fit.cells(times) + fit.debris)}
    if divisions < MIN_DIVISIONS:
        why = f"no rate: about {max(divisions, 0):.1f} divisions were seen, three are needed"
        return Growth(flags=(why, *window.flags), **base)
    if not _more_than_chance(series, window, fit):
        why = "no rate: the number of cells does not grow by more than chance"
        return Growth(flags=(why, *window.flags), **base)
    low, high = interval(fit, suspected, window.cleared)
    flags = (*_unlikely(math.log(2) / fit.rate), *_doubtful(series, fit.debris), *window.flags)
    return Growth(rate_per_hour=fit.rate, rate_low=low, rate_high=high, flags=flags, **base)


def _more_than_chance(series: Series, window: Window, fit: Fit) -> bool:
    """Whether cells become more in the end, with what was lost, came in and does not grow.

    Losses, arrivals and debris that noise alone suggests turn level counts into growth: of 12
    series of Poisson counts around 8, of 50 frames, 7 had a rate without this.
    """
    whole: Fit | None = fit
    if window.steps or fit.debris:
        whole = fit_growth(series, replace(window, steps=()))
    return whole is not None and whole.rate > NORMAL * whole.error * max(1.0, whole.scatter)


def _unlikely(doubling: float) -> list[str]:
    """What is said of a doubling time, in hours, that no animal cells have."""
    if USUAL[0] <= doubling <= USUAL[1]:
        return []
    how = "faster" if doubling < USUAL[0] else "more slowly"
    hours = f"{doubling:.2f}" if doubling < 10 else f"{doubling:.0f}"
    words = f"doubling in {hours} h is {how} than animal cells grow"
    return [f"{words}: check the unit of the times"]


def _doubtful(series: Series, still: float) -> list[str]:
    """What speaks against the unit of the times, and against what was counted."""
    found = [series.doubt] if series.doubt else []
    if still:
        found.append(
            f"about {still:.0f} of the cells do not seem to grow and the rate is that of the "
            "others: look for debris that is counted in every frame"
        )
    return found


def _fitted(series: Series) -> tuple[Window, Fit | None, list[Suspicion]]:
    """The window and its fit, and what that may have missed.

    Changes that are sure are put into the window one after the other.
    """
    seen: list[Change] = []
    before: tuple[Window, Fit, list[Suspicion]] | None = None
    while True:
        window = find_window(series, seen)
        fit = fit_growth(series, window) if window.used.sum() >= MIN_FRAMES else None
        if fit is None:  # a change that leaves nothing to fit is none
            return before or (window, None, [])
        suspected = suspicions(series, window, fit)
        likely = likeliest(suspected)
        # Growth above debris looks as if cells came in, or as if there was a lag or a plateau.
        still, without = debris(series, window, fit)
        others = suspicions(series, window, without) if without else suspected
        before = window, without or fit, [*others, still]
        enough = likely is None or len(seen) == MAX_CHANGES
        if enough or (without and still.odds > likely.odds):
            return before
        seen.append(likely.change)
