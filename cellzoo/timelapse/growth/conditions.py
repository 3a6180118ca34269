"""Growth rates by condition: what differs between chambers decides, not the number of frames."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from cellzoo.scores.uncertainty import holm
from cellzoo.timelapse.growth.estimate import Growth


@dataclass(frozen=True)
class Condition:
    """The chambers of a condition.

    Attributes:
        condition: its name.
        series: chambers of it.
        with_rate: chambers of it that have a rate; the others take no part.
        rate_per_hour: mean of their rates; None without any.
        rate_low: lower end of its 95 % interval, Student's t over chambers; None below two.
        rate_high: upper end.
        spread: standard deviation of the rates between chambers.
        spread_of_chance: the spread that the intervals of the chambers alone would make.
    """

    condition: str
    series: int
    with_rate: int
    rate_per_hour: float | None = None
    rate_low: float | None = None
    rate_high: float | None = None
    spread: float | None = None
    spread_of_chance: float | None = None

    @property
    def doubling_hours(self) -> float | None:
        """The time in which cells double at the mean rate."""
        return self.rate_per_hour and math.log(2) / self.rate_per_hour


@dataclass(frozen=True)
class Comparison:
    """Two conditions.

    Attributes:
        first: name of one.
        second: name of the other.
        paired: by chambers that belong together, such as those of one chip; else Welch's test.
        number: pairs; or chambers of the smaller condition.
        difference: mean rate of ``second`` minus that of ``first``, per hour.
        low: lower end of its 95 % interval.
        high: upper end.
        p: probability of such a difference between equal conditions, two-sided.
        p_holm: corrected for all comparisons.
    """

    first: str
    second: str
    paired: bool
    number: int
    difference: float
    low: float
    high: float
    p: float
    p_holm: float = math.nan


def summarise(growths: Sequence[Growth], conditions: Sequence[str]) -> list[Condition]:
    """The conditions in the order in which they appear.

    Args:
        growths: of each chamber.
        conditions: of each chamber.
    """
    found = []
    for name in dict.fromkeys(conditions):
        members = [g for g, c in zip(growths, conditions, strict=True) if c == name]
        rated = [g for g in members if g.rate_per_hour is not None]
        rates = np.array([g.rate_per_hour for g in rated])
        values: dict[str, float] = {}
        if len(rates):
            values["rate_per_hour"] = float(rates.mean())
        if len(rates) > 1:
            spread = float(rates.std(ddof=1))
            reach = stdtrit(len(rates) - 1, 0.975) * spread / math.sqrt(len(rates))
            errors = [g.rate_per_hour * math.log(g.rate_high / g.rate_low) / 3.92 for g in rated]
            values |= {
                "rate_low": float(rates.mean() - reach),
                "rate_high": float(rates.mean() + reach),
                "spread": spread,
                "spread_of_chance": float(np.sqrt(np.mean(np.square(errors)))),
            }
        found.append(Condition(name, len(members), len(rated), **values))
    return found


def compare(
    growths: Sequence[Growth], conditions: Sequence[str], pairs: Sequence[str] | None = None
) -> list[Comparison]:
    """Compares each two conditions that have enough chambers with a rate.

    Args:
        growths: of each chamber.
        conditions: of each chamber.
        pairs: what each chamber belongs to, such as its chip; chambers of one condition and one
            pair are averaged. None: unpaired.

    Returns:
        One comparison for each two conditions: of at least two chambers each, or two pairs.
    """
    rates: dict[str, list[tuple[str, float]]] = {name: [] for name in conditions}
    for k, (growth, condition) in enumerate(zip(growths, conditions, strict=True)):
        if growth.rate_per_hour is not None:
            rates[condition].append((pairs[k] if pairs else "", growth.rate_per_hour))
    made = []
    for first, second in itertools.combinations(rates, 2):
        test = _paired if pairs else _unpaired
        result = test(rates[first], rates[second])
        if result:
            made.append(Comparison(first, second, bool(pairs), *result))
    corrected = holm(np.array([comparison.p for comparison in made]))
    return [
        Comparison(**{**vars(comparison), "p_holm": float(p)})
        for comparison, p in zip(made, corrected, strict=True)
    ]


def left_out(
    growths: Sequence[Growth], conditions: Sequence[str], pairs: Sequence[str] | None = None
) -> list[str]:
    """Sentences on what takes no part in :func:`compare`, whose arguments it has."""
    names = list(dict.fromkeys(conditions))
    if len(names) < 2:
        return []
    rated = [k for k, growth in enumerate(growths) if growth.rate_per_hour is not None]
    if pairs is None:
        number = Counter(conditions[k] for k in rated)
        few = [name for name in names if number[name] < 2]
        why = "fewer than two chambers with a rate, so that nothing is compared with it"
        return [f"{name}: {why}" for name in few]
    of_pair: dict[str, set[str]] = {pair: set() for pair in pairs}
    for k in rated:
        of_pair[pairs[k]].add(conditions[k])
    said = []
    for first, second in itertools.combinations(names, 2):
        either = [pair for pair, found in of_pair.items() if found & {first, second}]
        alone = [pair for pair in either if not {first, second} <= of_pair[pair]]
        if len(either) - len(alone) < 2:
            said.append(f"{second} and {first} share fewer than two pairs with a rate in both")
        elif alone:
            shown = ", ".join(alone[:8]) + (f" and {len(alone) - 8} more" if alone[8:] else "")
            said.append(
                f"{second} against {first}: {len(alone)} of {len(either)} pairs have a rate in one "
                f"of them alone and take no part: {shown}"
            )
    return said


_Rates = list[tuple[str, float]]
_Result = tuple[int, float, float, float, float]


def _unpaired(first: _Rates, second: _Rates) -> _Result | None:
    """Welch's t test."""
    a, b = (np.array([rate for _, rate in rates]) for rates in (first, second))
    if min(len(a), len(b)) < 2:
        return None
    parts = np.array([a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)])
    if not parts.sum():
        return None
    freedom = parts.sum() ** 2 / (parts**2 / [len(a) - 1, len(b) - 1]).sum()
    return min(len(a), len(b)), *_ends(b.mean() - a.mean(), math.sqrt(parts.sum()), freedom)


def _paired(first: _Rates, second: _Rates) -> _Result | None:
    """Student's t test of the differences within pairs."""
    shared = [key for key in dict.fromkeys(k for k, _ in first) if key in {k for k, _ in second}]
    if len(shared) < 2:
        return None
    a, b = (
        np.array([np.mean([r for k, r in rates if k == key]) for key in shared])
        for rates in (first, second)
    )
    error = (b - a).std(ddof=1) / math.sqrt(len(shared))
    if not error:
        return None
    return len(shared), *_ends((b - a).mean(), error, len(shared) - 1)


def _ends(difference: float, error: float, freedom: float) -> tuple[float, float, float, float]:
    """Difference, its interval and its p-value, by Student's t."""
    reach = stdtrit(freedom, 0.975) * error
    p = 2 * stdtr(freedom, -abs(difference) / error)
    return float(difference), float(difference - reach), float(difference + reach), float(p)
