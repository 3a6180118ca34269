"""How far off are growth rates where more is known than counts can say?

    python benchmarks/growth_oracle.py

Two estimators that no user can have bound the errors in ``growth.csv``, for the same settings.
**Lineages** knows when each cell was born and when it divided, the coefficient of variation of
lifetimes and that they are gamma, and takes the likeliest mean lifetime. **Counts** knows the
cells at the start, the lifetimes and the miscounting: a regression of the rate on the logarithms
of counts and their products, trained on simulated chambers of that very setting whose rates differ
by up to 80 %, and tested on others whose rates differ by up to 35 %. A row per setting goes into
the CSV. Takes three minutes on one core.
"""

import argparse
import itertools
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from growth import CELLS, FRAMES
from growth_losses import simulation
from scipy.stats import gamma, norm
from table import add_rows, origin, print_markdown
from threadpoolctl import threadpool_limits

KEY = ("lifetimes_cv", "sisters", "cells", "frames", "memory")
TRAINED, TESTED = 20_000, 4_000  # chambers
SPREAD, SPREAD_TESTED = 0.6, 0.3  # largest logarithm of a rate in units of the true one
POINTS = 25  # of a series, means of frames, that the regression sees
LIVES = np.exp(np.linspace(-0.9, 0.9, 481))  # mean lifetimes that are tried
FAR = 1e3  # mean lifetimes between the chambers on one axis of time


@dataclass
class Chambers:
    """Cells of some chambers; times in mean lifetimes.

    Attributes:
        ends: of each chamber's time, ``[n]``.
        first: when the cells at the start divide, ``[n, cells]``.
        births: of all others.
        divisions: of these.
        owners: the chamber of each of these.
    """

    ends: np.ndarray
    first: np.ndarray
    births: np.ndarray
    divisions: np.ndarray
    owners: np.ndarray

    def counts(self, frames: int) -> np.ndarray:
        """Cells in frames from the start to the end, ``[n, frames]``."""
        n, cells = self.first.shape
        starts = FAR * np.arange(n)
        all_divisions = np.sort(np.concatenate([
            (self.first + starts[:, None]).ravel(), self.divisions + FAR * self.owners
        ]))  # fmt: skip
        times = starts[:, None] + np.linspace(0, 1, frames) * self.ends[:, None]
        before = np.searchsorted(all_divisions, starts)
        return cells + np.searchsorted(all_divisions, times, "right") - before[:, None]


def main() -> None:
    """Parses, simulates, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--csv", type=Path, default=Path("benchmarks/results/growth_oracle.csv"))
    arguments = parser.parse_args()
    made_with = origin(["python", "benchmarks/growth_oracle.py", *sys.argv[1:]])
    random, rows = np.random.default_rng(41), []
    for cv, sisters, cells in itertools.product((0.25, 0.35), (0.0, 0.5), CELLS):
        with threadpool_limits(1):
            rows += settings(random, cv, sisters, *cells)
        print(*rows[-1].values(), flush=True)
        add_rows(arguments.csv, [{**row, **made_with} for row in rows], KEY)
    print_markdown(list(rows[0]), [list(row.values()) for row in rows])


def settings(
    random: np.random.Generator, cv: float, sisters: float, first: int, last: int
) -> list[dict[str, object]]:
    """Scores of few and many frames, without and with memory of the miscounting."""
    end = np.log(last / first) / simulation.rate(cv)
    same = simulate(random, np.full(TESTED, end), first, cv, sisters)
    lineages = np.median(np.abs(likeliest_rates(same, cv) - 1))
    logs, chambers = [], []
    for number, spread in ((TRAINED, SPREAD), (TESTED, SPREAD_TESTED)):
        logs.append(random.uniform(-spread, spread, number))
        chambers.append(simulate(random, end * np.exp(logs[-1]), first, cv, sisters))
    rows = []
    for frames, memory in itertools.product(FRAMES, (0.0, 0.8)):
        seen = [simulation.miscounted(random, c.counts(frames), 0.5, memory) for c in chambers]
        errors = np.expm1(regression(seen[0], logs[0], seen[1]) - logs[1])
        rows.append({
            "lifetimes_cv": cv, "sisters": sisters, "cells": f"{first} to {last}",
            "frames": frames, "memory": memory, "lineages": f"{lineages:.3f}",
            "counts": f"{np.median(np.abs(errors)):.3f}", "chambers": TESTED,
        })  # fmt: skip
    return rows


def simulate(
    random: np.random.Generator, ends: np.ndarray, cells: int, cv: float, sisters: float
) -> Chambers:
    """Chambers of as many cells at the start, in steady growth, up to some times."""
    shape, shares = 1 / cv**2, np.linspace(1e-6, 1 - 1e-6, 4001)
    quantiles = gamma.ppf(shares, shape, scale=1 / shape)
    first = random.choice(simulation.residual_lives(random, cv), (len(ends), cells))
    divisions, owners = first.ravel(), np.repeat(np.arange(len(ends)), cells)
    found = []
    while (divided := divisions <= ends[owners]).any():
        births, owners = np.repeat(divisions[divided], 2), np.repeat(owners[divided], 2)
        both = np.repeat(random.normal(size=len(births) // 2), 2)
        score = np.sqrt(sisters) * both + np.sqrt(1 - sisters) * random.normal(size=len(births))
        divisions = births + np.interp(norm.cdf(score), shares, quantiles)
        found.append((births, divisions, owners))
    births, divisions, owners = (np.concatenate(part) for part in zip(*found, strict=True))
    return Chambers(ends, first, births, divisions, owners)


def likeliest_rates(chambers: Chambers, cv: float) -> np.ndarray:
    """Rates in units of the true one, of the likeliest mean lifetimes, ``[n]``."""
    shape, n = 1 / cv**2, len(chambers.ends)
    ages = np.linspace(0, 6, 601)
    # What is left of the lives of cells in steady growth, of which nothing is known before.
    density = np.array([
        np.trapezoid(
            np.exp(-simulation.rate(cv) * ages) * gamma.pdf(ages + wait, shape, scale=1 / shape),
            ages,
        )
        for wait in ages
    ])  # fmt: skip
    density /= np.trapezoid(density, ages)
    left = 1 - np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(ages))])
    log_density, log_left = np.log(np.maximum(density, 1e-300)), np.log(np.maximum(left, 1e-12))
    log_alive = gamma.logsf(ages, shape, scale=1 / shape)
    divided = chambers.divisions <= chambers.ends[chambers.owners]
    lived = (chambers.divisions - chambers.births)[divided]
    whole = np.bincount(chambers.owners[divided], minlength=n)
    total = np.bincount(chambers.owners[divided], lived, minlength=n)
    alive = chambers.owners[~divided]
    so_far = chambers.ends[alive] - chambers.births[~divided]
    ends = chambers.ends[:, None]
    scores = np.empty((n, len(LIVES)))
    for k, life in enumerate(LIVES):
        at_start = np.where(
            chambers.first <= ends,
            np.interp(chambers.first / life, ages, log_density) - np.log(life),
            np.interp(ends / life, ages, log_left),
        )
        scores[:, k] = (
            at_start.sum(1) - shape * (whole * np.log(life) + total / life)
            + np.bincount(alive, np.interp(so_far / life, ages, log_alive), minlength=n)
        )  # fmt: skip
    return 1 / LIVES[scores.argmax(1)]


def regression(counts: np.ndarray, logs: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Logarithms of the rates of other chambers, from those of a training set, ``[n]``."""
    known, asked = _features(counts), _features(other)
    ridge = 0.1 * np.eye(known.shape[1])
    return asked @ np.linalg.solve(known.T @ known + ridge, known.T @ logs)


def _features(counts: np.ndarray) -> np.ndarray:
    """Logarithms of counts, of groups of frames, and their products."""
    groups = counts.reshape(len(counts), POINTS, -1).mean(2)
    logs = np.log1p(groups)
    i, j = np.triu_indices(POINTS)
    return np.column_stack([np.ones(len(counts)), logs, logs[:, i] * logs[:, j]])


if __name__ == "__main__":
    main()
