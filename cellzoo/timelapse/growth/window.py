"""Which frames of a series say how its cells grow: without outliers, lag, plateau and losses."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.stats import binom, gamma

from cellzoo.timelapse.growth.series import Series

WAIT = 0.01  # a wait for divisions that is less probable is no chance
CV = 0.35  # of lifetimes: a larger one makes long waits more probable
_HALF = 2  # frames on each side of a running median
_LASTS = 5  # frames for which a change of cells must last
_SAID = 6  # changes of cells that are said one by one


@dataclass(frozen=True)
class Window:
    """The frames to fit.

    Attributes:
        used: ``[n]`` bool.
        lag_hours: time before the first of them in which nothing divided; None: no lag.
        plateau_hour: when growth ended; None: it did not.
        steps: hours at which cells left the chamber or came in, between frames that are used.
        flags: sentences on all of that.
        cleared: an end or a step was taken out, as its counts do not look like growth.
    """

    used: np.ndarray
    lag_hours: float | None
    plateau_hour: float | None
    steps: tuple[float, ...]
    flags: tuple[str, ...]
    cleared: bool = False


LOSS, ARRIVAL, LAG, PLATEAU, DEBRIS = "loss", "arrival", "lag", "plateau", "debris"


@dataclass(frozen=True)
class Change:
    """A change of growth, between two frames.

    Attributes:
        kind: ``LOSS``, ``ARRIVAL``, ``LAG``, ``PLATEAU`` or ``DEBRIS``, which is there throughout.
        hour: when cells had left or come in, when growth began, or when it ended.
        cells: how many left or came in; how many there were.
    """

    kind: str
    hour: float
    cells: float


def find_window(series: Series, changes: Sequence[Change] = ()) -> Window:
    """Finds the frames to fit.

    Args:
        series: counts of a chamber.
        changes: that a fit of an earlier window showed.

    Returns:
        The window; its frames have cells, and are neither flagged nor far from those beside them.
    """
    flags: list[str] = []
    used = np.ones(len(series.times), bool)
    flagged = np.array([bool(flag) for flag in series.flags])
    if flagged.any():
        if (~flagged).sum() >= max(5, len(flagged) / 2):
            used &= ~flagged
            n = flagged.sum()
            flags.append(f"{n} flagged frame{' is' if n == 1 else 's are'} left out")
        else:
            n = f"{flagged.sum()} of {len(flagged)} frames are flagged"
            flags.append(f"{n}, and used: {_usual(series.flags)}")
    far = _outliers(series.counts, used)
    if far.any():
        used &= ~far
        flags.append(
            "1 frame whose count is far from those beside it is left out" if far.sum() == 1 else
            f"{far.sum()} frames whose counts are far from those beside them are left out"
        )  # fmt: skip
    used, said = _with_cells(series, used)
    flags += said
    if used.sum() < 5:
        return Window(used, None, None, (), tuple(flags))
    used, declines = _without_decline(series, used)
    flags += declines
    times = series.times[used]
    steps, said = _steps(times, series.counts[used])
    for change in changes:
        if change.kind in (LOSS, ARRIVAL):
            steps = tuple(sorted((*steps, change.hour)))
            said.append(_step_in_words(change.hour, change.cells, change.kind == LOSS))
    flags = [*said, *flags]
    first, last = _still_ends(times, series.counts[used], steps)
    for change in changes:
        if change.kind == LAG:
            first = max(first, int(np.searchsorted(times, change.hour)))
        if change.kind == PLATEAU:
            last = min(last, int(np.searchsorted(times, change.hour, "right")) - 1)
    if last - first < 4:
        return Window(used & False, None, None, (), tuple(flags))
    lag = plateau = None
    if first:
        lag = float(times[first] - times[0])
        flags.append(f"no division in the first {lag:.1f} h: that lag is left out")
    if last < len(times) - 1:
        plateau = float(times[last])
        ends = any(change.kind == PLATEAU for change in changes)
        what = "growth slows or ends" if ends else "no growth"
        flags.append(f"{what} after {plateau:.1f} h: that plateau is left out")
    used &= (series.times >= times[first]) & (series.times <= times[last])
    steps = tuple(step for step in steps if times[first] < step <= times[last])
    cleared = bool(lag or plateau or steps or declines)
    return Window(used, lag, plateau, steps, tuple(flags), cleared)


def _usual(flags: Sequence[str]) -> str:
    """The reason that most flags have."""
    reasons = (reason for flag in flags for reason in dict.fromkeys(flag.split("; ")) if reason)
    return Counter(reasons).most_common(1)[0][0]


def running_median(values: np.ndarray) -> np.ndarray:
    """Medians of each value and as many before as after it, ``[n]``: up to two, fewer at the ends.

    As many on both sides: else the ends of a growing series were biased.
    """
    found = np.array(values, float)
    for reach in range(1, _HALF + 1):
        if len(values) > 2 * reach:
            windows = np.lib.stride_tricks.sliding_window_view(values, 2 * reach + 1)
            found[reach:-reach] = np.median(windows, axis=1)
    return found


def _outliers(counts: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Frames that are far below or above both the three frames before and the three after them.

    The first and the last frame are compared with what the six beside them would go on to.

    Returns:
        ``[n]`` bool.
    """
    far = np.zeros(len(counts), bool)
    where = np.flatnonzero(used)
    values = counts[where]
    for k in range(1, len(where) - 1):
        sides = np.median(values[max(k - 3, 0) : k]), np.median(values[k + 1 : k + 4])
        off = max(min(sides) - values[k], values[k] - max(sides))
        far[where[k]] = off > max(2.5, 0.3 * max(sides))
    if len(values) >= 7:
        for end, beside in ((0, values[1:7]), (-1, values[-2:-8:-1])):
            near, further = np.maximum([np.median(beside[:3]), np.median(beside[3:])], 0.5)
            expected = near * np.clip(near / further, 0.5, 2) ** (2 / 3)
            far[where[end]] = abs(values[end] - expected) > max(4, 0.5 * expected)
    return far


def _with_cells(series: Series, used: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Without the frames before cells came and after they were gone."""
    where = np.flatnonzero(used)
    if not len(where):
        return used, []
    cells = running_median(series.counts[where]) >= 0.5
    if not cells.any():
        return np.zeros_like(used), ["the chamber is empty"]
    present = np.flatnonzero(cells)
    first, last = where[present[0]], where[present[-1]]
    said = []
    if present[-1] < len(where) - 1:
        said.append(f"the chamber is empty after {series.times[last]:.1f} h")
    if present[0]:
        said.append(f"the chamber is empty before {series.times[first]:.1f} h")
    index = np.arange(len(used))
    return used & (index >= first) & (index <= last), said


def _without_decline(series: Series, used: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Without an end of the series in which cells become fewer and never grow again."""
    where = np.flatnonzero(used)
    cells = running_median(series.counts[where])
    # Divisions make the middle of the highest frames the safest peak.
    peak = int(np.median(np.flatnonzero(cells == cells.max())))
    tail = where[peak:]
    if peak < _LASTS or len(tail) < 2 * _LASTS:
        return used, []
    last = np.median(series.counts[tail[-_LASTS:]])
    growing = _slope(series.times[tail], cells[peak:], ()) > 0
    if growing or last > cells[peak] - max(3.0, 0.25 * cells[peak]):
        return used, []
    hour = series.times[where[peak]]
    said = f"cells become fewer after {hour:.1f} h: what follows is left out"
    return used & (series.times <= hour), [said]


def _steps(times: np.ndarray, counts: np.ndarray) -> tuple[tuple[float, ...], list[str]]:
    """Where cells left or came in: changes that last and that divisions cannot make.

    Cells never become fewer by division, and hardly more than double at once.
    """
    rate = max(_slope(times, running_median(counts), ()), 0.0)
    changes = np.zeros(len(counts))
    for k in range(_LASTS, len(counts) - _LASTS + 1):
        before, after = np.median(counts[k - _LASTS : k]), np.median(counts[k : k + _LASTS])
        apart = np.mean(times[k : k + _LASTS]) - np.mean(times[k - _LASTS : k])
        most = 2.2 * max(before, 1) * math.exp(rate * apart) + 3
        if before - after >= max(3.0, 0.25 * before) or after > most:
            changes[k] = after - before
    steps, said = [], []
    while changes.any():
        around = int(np.argmax(np.abs(changes)))
        near = range(max(around - 2, 2), min(around + 3, len(counts) - 1))
        # At once, which medians of many frames hide.
        jumps = {k: abs(np.median(counts[k : k + 2]) - np.median(counts[k - 2 : k])) for k in near}
        k = max(jumps, key=jumps.get)
        changes[k] = changes[around]
        said.append(_step_in_words(times[k], abs(changes[k]), changes[k] < 0))
        steps.append(float(times[k]))
        changes[max(around - _LASTS, 0) : around + _LASTS + 1] = 0
    if len(said) > _SAID:
        said = [f"counts fall or rise by many cells at once {len(said)} times"]
    return tuple(sorted(steps)), said


def _step_in_words(hour: float, cells: float, lost: bool) -> str:
    one = round(cells) <= 1
    what = ("was lost" if one else "were lost") if lost else "came in"
    return f"about {'1 cell' if one else f'{cells:.0f} cells'} {what} around {hour:.1f} h"


def _still_ends(
    times: np.ndarray, counts: np.ndarray, steps: tuple[float, ...]
) -> tuple[int, int]:
    """First and last frame of growth: an end without divisions is left out where it is no chance.

    It is none where it is longer than a doubling and less probable than :data:`WAIT`.

    Args:
        times: hours, ``[n]``.
        counts: ``[n]``.
        steps: hours at which cells left or came in.

    Returns:
        Indices of frames.
    """
    first, last = 0, len(times) - 1
    edges = np.searchsorted(times, steps)
    parts = np.split(counts, edges)
    # Cells do not become fewer: the rising curve nearest to the counts has few of their errors.
    begin, end = (_three_means(isotonic_regression(part).x) for part in (parts[0], parts[-1]))
    start = round(begin[0])
    still = np.flatnonzero(begin <= 1.1 * start + 0.5)
    rise = int(still[-1]) if len(still) else 0
    grown = np.flatnonzero(end >= 0.9 * end[-1] - 0.5)
    fall = len(times) - len(end) + int(grown[0])
    if fall - rise < 4:
        return first, last
    inner = slice(rise, fall + 1)
    rate = _slope(times[inner], running_median(counts[inner]), steps)
    if rate <= 0 or begin[0] < 0.5:
        return first, last
    rate *= 0.75  # what is left after a wait looks faster than it is
    doubling = math.log(2) / rate
    # The three frames of a mean are around the second of them.
    wait = times[rise] - times[min(1, rise)]
    if wait > doubling and _chance(wait, rate, start, int(0.1 * start)) < WAIT:
        first = rise
    wait, cells = times[max(last - 1, fall)] - times[fall], round(end[grown[0]])
    if wait > doubling and _chance(wait, rate, cells, int(0.1 * cells) + 1) < WAIT:
        last = fall
    return first, last


def _three_means(values: np.ndarray) -> np.ndarray:
    """Means of each value and those beside it, ``[n]``; the ends have their neighbours'."""
    if len(values) < 3:
        return np.full(len(values), values.mean())
    middle = np.convolve(values, np.full(3, 1 / 3), "valid")
    return np.concatenate([middle[:1], middle, middle[-1:]])


def _slope(times: np.ndarray, cells: np.ndarray, steps: tuple[float, ...]) -> float:
    """Rate per hour of a straight line, with steps, through the logarithms."""
    later = times[:, None] >= np.array(steps)[None, :]
    later = later[:, later.any(0) & ~later.all(0)]
    design = np.column_stack([np.ones_like(times), times, later])
    root = np.sqrt(np.maximum(cells, 0.5))
    logs = np.log(np.maximum(cells, 0.5))
    return float(np.linalg.lstsq(design * root[:, None], logs * root, rcond=None)[0][1])


def _chance(wait: float, rate: float, cells: int, divisions: int) -> float:
    """How probable it is that of some cells no more than a few divide in a time.

    Ages are those of steady growth, lifetimes gamma of the coefficient :data:`CV`.

    Args:
        wait: hours.
        rate: per hour, of steady growth.
        cells: at least 1.
        divisions: that may have been.
    """
    shape = 1 / CV**2
    scale = (2 ** (1 / shape) - 1) / rate  # of lifetimes, so that cells grow at this rate
    ages = np.linspace(0, 5 * shape * scale, 1001)
    survive = gamma.sf(ages, shape, scale=scale)
    weight = np.exp(-rate * ages)
    undivided = (weight * gamma.sf(ages + wait, shape, scale=scale)).sum()
    divided = 1 - undivided / (weight * survive).sum()
    return float(binom.cdf(divisions, max(cells, 1), min(max(divided, 0.0), 1.0)))
