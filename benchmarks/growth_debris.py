"""How often is something that is counted in every frame noticed, and how often wrongly?

    python benchmarks/growth_debris.py

Simulates chambers that double in 20 h, miscounted by an MAE of 0.5, without and with things in each
frame that do not grow. A row per setting goes into the CSV: the share of series with the flag, and
how often the 95 % interval held the rate. Takes half a minute on one core.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from growth_losses import DOUBLING, simulation
from table import add_rows, origin, print_markdown
from threadpoolctl import threadpool_limits

from cellzoo.timelapse.growth.estimate import estimate
from cellzoo.timelapse.growth.series import Series

KEY = ("cells", "in_step", "debris", "frames", "lifetimes_cv", "memory")
SAID = "do not seem to grow"
# Cells at the start and end, whether they start in step, debris, frames, CV of lifetimes, memory of
# miscounts.
SETTINGS = (
    (1, 30, False, 0, 50, 0.25, 0.0),
    (1, 30, False, 0, 25, 0.35, 0.8),
    (2, 16, False, 0, 100, 0.25, 0.0),
    (3, 12, False, 0, 50, 0.35, 0.8),
    (8, 40, False, 0, 50, 0.25, 0.0),
    (2, 30, True, 0, 50, 0.25, 0.0),
    (3, 24, True, 0, 100, 0.35, 0.0),
    (2, 60, False, 5, 50, 0.25, 0.0),
    (2, 30, False, 5, 50, 0.25, 0.0),
    (2, 30, False, 10, 50, 0.25, 0.0),
    (2, 30, False, 2, 50, 0.35, 0.8),
    (3, 24, False, 5, 25, 0.25, 0.8),
    (8, 40, False, 5, 50, 0.25, 0.0),
    (8, 40, False, 10, 50, 0.35, 0.0),
)


def main() -> None:
    """Parses, simulates, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=80)
    parser.add_argument("--csv", type=Path, default=Path("benchmarks/results/growth_debris.csv"))
    arguments = parser.parse_args()
    made_with = origin(["python", "benchmarks/growth_debris.py", *sys.argv[1:]])
    with threadpool_limits(1):  # systems are small: threads wait for each other
        rows = [setting(arguments.repeats, *values) for values in SETTINGS]
    add_rows(arguments.csv, [row | made_with for row in rows], KEY)
    print_markdown(list(rows[0]), [list(row.values()) for row in rows])


def setting(
    repeats: int, first: int, last: int, in_step: bool, debris: int, frames: int,
    cv: float, memory: float,
) -> dict[str, object]:  # fmt: skip
    """What is said of the chambers of one setting."""
    random, per_unit = np.random.default_rng(67), simulation.rate(cv)
    times = np.linspace(0, np.log(last / first) / per_unit, frames)
    cells = simulation.colonies(random, repeats, first, cv, times, 0.0, in_step) + debris
    unknown = np.full(frames, np.nan)
    found = [
        estimate(Series("", DOUBLING * times, counts, unknown, unknown, ("",) * frames))
        for counts in simulation.miscounted(random, cells, 0.5, memory)
    ]
    rated = [growth for growth in found if growth.rate_per_hour]
    true = per_unit / DOUBLING
    held = np.array([growth.rate_low <= true <= growth.rate_high for growth in rated])
    said = np.array([SAID in growth.flag for growth in rated])
    return {
        "cells": f"{first} to {last}",
        "in_step": int(in_step),
        "debris": debris,
        "frames": frames,
        "lifetimes_cv": cv,
        "memory": memory,
        "chambers": repeats,
        "rated": len(rated),
        "said": f"{said.mean():.3f}",
        "coverage": f"{held.mean():.3f}",
        "coverage_unsaid": f"{held[~said].mean():.3f}" if (~said).any() else "",
    }


if __name__ == "__main__":
    main()
