"""Do 95 % intervals of growth rates hold the rate, and how far off are the rates?

    python benchmarks/growth.py

Simulates chambers with the functions of ``tests/timelapse/growth/colonies.py``: gamma lifetimes of
two coefficients of variation, sisters alike or not, from 1, 2 and 3 cells, miscounts of an MAE of
0.5 that last or not; and what breaks the assumptions, cells in step at the start and a CV of 0.5.
A row per setting goes into the CSV; ``width`` is the mean logarithm of the upper end of intervals
in units of the lower one. Takes seven minutes on one core.
"""

import argparse
import importlib.util
import itertools
from pathlib import Path

import numpy as np
from table import add_rows, origin, print_markdown
from threadpoolctl import threadpool_limits

from cellzoo.timelapse.growth.estimate import estimate
from cellzoo.timelapse.growth.series import Series

KEY = ("lifetimes_cv", "sisters", "start", "cells", "frames", "memory")
CELLS = ((1, 30), (2, 16), (3, 12))
HOURS = 20.0  # mean lifetime
FRAMES = (25, 100)


def main() -> None:
    """Parses, simulates, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=300)
    parser.add_argument("--cv", type=float, nargs="*", help="of lifetimes: settings of these alone")
    parser.add_argument("--csv", type=Path, default=Path("benchmarks/results/growth.csv"))
    arguments = parser.parse_args()
    made_with = origin(["python", "benchmarks/growth.py", f"--repeats {arguments.repeats}"])
    rows = []
    wanted = [
        *itertools.product((0.25, 0.35), (0.0, 0.5), ("steady",), CELLS),
        *itertools.product((0.25, 0.35), (0.0,), ("in step",), CELLS),
        *itertools.product((0.5,), (0.0,), ("steady",), CELLS),
    ]
    for cv, sisters, start, cells in wanted:
        if arguments.cv and cv not in arguments.cv:
            continue
        with threadpool_limits(1):  # systems are small: threads wait for each other
            rows += settings(cv, sisters, start, *cells, arguments.repeats)
        print(*rows[-1].values(), flush=True)
        add_rows(arguments.csv, [{**row, **made_with} for row in rows], KEY)
    print_markdown(list(rows[0]), [list(row.values()) for row in rows])


def settings(
    cv: float, sisters: float, start: str, first: int, last: int, repeats: int
) -> list[dict[str, object]]:
    """Scores of the same colonies, seen in few and many frames, without and with memory."""
    file = Path(__file__).parents[1] / "tests" / "timelapse" / "growth" / "colonies.py"
    spec = importlib.util.spec_from_file_location("colonies", file)
    simulation = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(simulation)
    random = np.random.default_rng(61)
    truth = simulation.rate(cv) / HOURS
    end = np.log(last / first) / simulation.rate(cv)
    times = {frames: np.linspace(0, end, frames) for frames in FRAMES}
    every = np.unique(np.concatenate(list(times.values())))
    colonies = simulation.colonies(
        random, repeats, first, cv, every, sisters, in_step=start == "in step"
    )
    rows = []
    for frames, memory in itertools.product(FRAMES, (0.0, 0.8)):
        seen = colonies[:, np.searchsorted(every, times[frames])]
        counts = simulation.miscounted(random, seen, 0.5, memory)
        none = np.full(frames, np.nan)
        found = [
            estimate(Series("", HOURS * times[frames], row, none, none, ("",) * frames))
            for row in counts
        ]
        rated = [growth for growth in found if growth.rate_per_hour is not None]
        held = [growth.rate_low <= truth <= growth.rate_high for growth in rated]
        widths = [np.log(growth.rate_high / growth.rate_low) for growth in rated]
        errors = [abs(growth.rate_per_hour / truth - 1) for growth in rated]
        rows.append({
            "lifetimes_cv": cv, "sisters": sisters, "start": start,
            "cells": f"{first} to {last}", "frames": frames, "memory": memory,
            "coverage": f"{np.mean(held):.3f}", "median_error": f"{np.median(errors):.3f}",
            "width": f"{np.mean(widths):.3f}",
            "with_rate": len(rated),
            "with_lag": sum(growth.lag_hours is not None for growth in found),
            "repeats": repeats,
        })  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
