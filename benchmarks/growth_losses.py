"""Do intervals of growth rates hold the rate where cells leave a chamber, or come in?

    python benchmarks/growth_losses.py
    python benchmarks/growth_losses.py --repeats 50 --part ends

Simulates chambers that grow from 2 to 20 or from 8 to 40 cells and double in 20 h, miscounted by an
MAE of 0.5. At 70 % of the growth something happens: cells leave or come in between two frames, are
washed out with 5 % per hour, or die within 20 h. A row per setting goes into the CSV. Takes 10
minutes on one core.
"""

import argparse
import importlib.util
import itertools
import sys
import zlib
from pathlib import Path

import numpy as np
from table import add_rows, origin, print_markdown
from threadpoolctl import threadpool_limits

from cellzoo.timelapse.growth.estimate import estimate
from cellzoo.timelapse.growth.series import Series

_FILE = Path(__file__).parents[1] / "tests" / "timelapse" / "growth" / "colonies.py"
_SPEC = importlib.util.spec_from_file_location("colonies", _FILE)
simulation = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(simulation)

KEY = ("event", "cells", "ends", "interval_h", "lifetimes_cv", "memory")
CELLS = ((2, 20), (8, 40))
DOUBLING = 20.0  # hours
AT = 0.7  # of the growth
EVENTS = {  # what happens then: cells that leave or come in, share that is washed out, hours to die
    "nothing": {},
    **{f"{n} leave": {"leave": n} for n in (2, 4, 8)},
    **{f"{n} come in": {"enter": n} for n in (4, 8)},
    "washed out, 5 % per hour": {"wash": 0.05},
    "all die within 20 h": {"die": 20.0},
}
ENDS = {"": (0, 0), "lag 8 h, plateau 60 h": (8, 60), "lag 30 h, plateau 60 h": (30, 60)}


def main() -> None:
    """Parses, simulates, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--csv", type=Path, default=Path("benchmarks/results/growth_losses.csv"))
    parser.add_argument("--part", choices=("leaving", "ends", "other"), help="of the settings")
    arguments = parser.parse_args()
    made_with = origin(["python", "benchmarks/growth_losses.py", *sys.argv[1:]])
    leaving, other = list(EVENTS)[:4], list(EVENTS)[4:]
    plain = (1.0,), (0.25, 0.35), (0.0,)
    parts = {
        "leaving": (leaving, CELLS, [""], (0.25, 1.0, 2.0), (0.25, 0.35), (0.0, 0.8)),
        "ends": (("nothing", "4 leave"), CELLS, list(ENDS)[1:], *plain),
        "other": (other, CELLS, [""], *plain),
    }
    chosen = [arguments.part] if arguments.part else list(parts)
    rows = []
    for setting in itertools.chain(*(itertools.product(*parts[part]) for part in chosen)):
        with threadpool_limits(1):  # systems are small: threads wait for each other
            rows.append(score(*setting, arguments.repeats))
        print(*rows[-1].values(), sep=", ", flush=True)
        add_rows(arguments.csv, [{**row, **made_with} for row in rows], KEY)
    print_markdown(list(rows[0]), [list(row.values()) for row in rows])


def score(
    event: str, cells: tuple[int, int], ends: str, interval: float, cv: float, memory: float,
    repeats: int,
) -> dict[str, object]:  # fmt: skip
    """Scores of the chambers of a setting."""
    setting = f"61 {event} {cells} {ends} {interval} {cv}"
    random = np.random.default_rng(zlib.crc32(setting.encode()))
    truth = np.log(2) / DOUBLING
    found = []
    for _ in range(repeats):
        hours, counts = chamber(random, *cells, *ENDS[ends], interval, cv, **EVENTS[event])
        none = np.full(len(hours), np.nan)
        counts = simulation.miscounted(random, counts, 0.5, memory)
        found.append(estimate(Series("", hours, counts, none, none, ("",) * len(hours))))
    rated = [growth for growth in found if growth.rate_per_hour is not None]
    held = {id(g): g.rate_low <= truth <= g.rate_high for g in rated}
    plain = [held[id(growth)] for growth in rated if not growth.flag]
    errors = [growth.rate_per_hour / truth - 1 for growth in rated]
    return {
        "event": event, "cells": f"{cells[0]} to {cells[1]}", "ends": ends,
        "interval_h": interval, "lifetimes_cv": cv, "memory": memory,
        "coverage": f"{np.mean(list(held.values())):.3f}" if rated else "",
        "coverage_without_flag": f"{np.mean(plain):.3f}" if plain else "",
        "without_flag": len(plain), "with_rate": len(rated),
        "with_loss": sum("lost" in growth.flag for growth in found),
        "with_arrival": sum("came in" in growth.flag for growth in found),
        "bias": f"{np.median(errors):+.3f}" if rated else "",
        "median_error": f"{np.median(np.abs(errors)):.3f}" if rated else "",
        "repeats": repeats,
    }  # fmt: skip


def chamber(
    random: np.random.Generator, first: int, last: int, lag: float, plateau: float,
    interval: float, cv: float, leave: int = 0, enter: int = 0, wash: float = 0.0, die: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Hours and true counts of a chamber, ``[n]`` each."""
    lifetime = DOUBLING * simulation.rate(cv) / np.log(2)
    growing = DOUBLING * np.log2(last / first)
    hours = np.arange(0, lag + growing + plateau + 1e-9, interval)
    at, end = AT * growing / lifetime, growing / lifetime
    births, ends, parents = _lineages(random, first, 0.0, end, cv)
    if enter:
        more = _lineages(random, enter, at, end, cv)
        parents = np.concatenate([parents, np.where(more[2] < 0, -1, more[2] + len(births))])
        births, ends = np.concatenate([births, more[0]]), np.concatenate([ends, more[1]])
    gone = np.full(len(births), np.inf)
    if wash:
        waits = random.exponential(1 / (wash * lifetime), len(births))
        gone = np.maximum(births, at) + waits
    if leave:
        there = np.flatnonzero((births <= at) & (at < ends))
        gone[random.choice(there, min(leave, len(there)), replace=False)] = at
    missing = np.zeros(len(births), bool)
    for k, parent in enumerate(parents):  # parents come before their children
        missing[k] = parent >= 0 and (missing[parent] or gone[parent] < ends[parent])
    births, ends = np.sort(births[~missing]), np.sort(np.minimum(ends, gone)[~missing])
    ages = np.clip(hours - lag, 0, growing) / lifetime
    counts = np.searchsorted(births, ages, "right") - np.searchsorted(ends, ages, "right")
    if die:
        counts = np.floor(counts * np.clip(1 - (hours - lag - AT * growing) / die, 0, 1))
    return hours, counts.astype(float)


def _lineages(
    random: np.random.Generator, cells: int, start: float, end: float, cv: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Births, divisions and parents of some cells and their descendants, in mean lifetimes."""
    shape = 1 / cv**2
    births = np.full(cells, start)
    ends = start + random.choice(_residual_lives(cv), cells)
    parents, found, number = np.full(cells, -1), [], 0
    while len(births):
        found.append((births, ends, parents))
        divided = np.flatnonzero(ends <= end)
        parents, births = np.repeat(divided + number, 2), np.repeat(ends[divided], 2)
        number += len(ends)
        ends = births + random.gamma(shape, 1 / shape, len(births))
    return tuple(np.concatenate(part) for part in zip(*found, strict=True))


_LIVES: dict[float, np.ndarray] = {}


def _residual_lives(cv: float) -> np.ndarray:
    """What is left of the lives of cells in steady growth, drawn once."""
    if cv not in _LIVES:
        _LIVES[cv] = simulation.residual_lives(np.random.default_rng(3), cv)
    return _LIVES[cv]


if __name__ == "__main__":
    main()
