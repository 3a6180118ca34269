"""Do intervals of scores, tests of differences and intervals of counts keep what they promise?

    python benchmarks/statistics.py

Simulates chambers, trainings and counters with the functions of
``tests/scores/test_uncertainty.py``, ``tests/scores/test_sampled.py`` and
``tests/trust/test_intervals.py``, whose slow tests hold the same to bounds. A row per setting goes
into the CSV, which is printed as Markdown. Takes two minutes on one core.
"""

import argparse
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
from table import add_rows, origin, print_markdown, read_rows

from cellzoo.scores.table import count_metrics
from cellzoo.scores.uncertainty import difference, holm, score_intervals
from cellzoo.trust.intervals import Interval

KEY = ("what", "setting")
TESTS = Path(__file__).parents[1] / "tests"


def main() -> None:
    """Parses, simulates, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=600)
    parser.add_argument("--csv", type=Path, default=Path("benchmarks/results/statistics.csv"))
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS))
    arguments = parser.parse_args()
    made_with = origin(["python", "benchmarks/statistics.py", f"--repeats {arguments.repeats}"])
    rows = [row for part in arguments.only for row in PARTS[part](arguments.repeats)]
    add_rows(arguments.csv, [{**row, **made_with} for row in rows], KEY)
    table = [[row[key] for key in ("what", "setting", "share", "repeats")]
             for row in read_rows(arguments.csv)]  # fmt: skip
    print_markdown(["what", "setting", "share", "repeats"], table)


def load(file: str) -> ModuleType:
    """The module of a test file."""
    spec = importlib.util.spec_from_file_location(Path(file).stem, TESTS / file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(what: str, setting: str, held: list[bool]) -> dict[str, object]:
    """A share and what it is of."""
    return {
        "what": what, "setting": setting, "share": f"{np.mean(held):.3f}", "repeats": len(held)
    }  # fmt: skip


def score_rows(repeats: int) -> list[dict[str, object]]:
    """How often the interval of a score holds the score of all chambers."""
    simulation = load("scores/test_uncertainty.py")
    rows = []
    for groups in (5, 7, 20, 60):
        for spread in (0.3, 0.8):
            random = np.random.default_rng(groups)
            truth = count_metrics(*simulation.chambers(random, 8000, spread)[:2])
            held: dict[str, list[bool]] = {}
            for _ in range(repeats):
                counts, predicted, of_group = simulation.chambers(random, groups, spread)
                found = score_intervals(counts, predicted, groups=of_group)
                for key, (low, high) in found.items():
                    held.setdefault(key, []).append(low <= truth[key] <= high)
            setting = f"{groups} groups, spread {spread}"
            rows += [row(f"interval of {key}", setting, inside) for key, inside in held.items()]
    return rows


def difference_rows(repeats: int) -> list[dict[str, object]]:
    """How often any of three pairs of equal methods is called different."""
    simulation = load("scores/test_uncertainty.py")
    rows = []
    for same_groups in (True, False):
        for trainings in (3, 5, 10):
            for groups in (7, 40):
                random = np.random.default_rng(trainings)
                named = []
                for _ in range(repeats):
                    hard = simulation.hardness(random, trainings, groups, same_groups)
                    errors = [simulation.trainings(random, trainings, hard) for _ in range(3)]
                    members = simulation.members(trainings, groups)
                    p = [
                        difference(errors[a], errors[b], members, same_groups=same_groups).p
                        for a, b in ((0, 1), (0, 2), (1, 2))
                    ]
                    named.append(bool(holm(np.array(p)).min() < 0.05))
                which = "the same groups" if same_groups else "groups of their own"
                setting = f"{trainings} trainings, {groups} groups, {which}"
                rows.append(row("equal methods called different", setting, named))
    return rows


def interval_rows(repeats: int) -> list[dict[str, object]]:
    """How often the interval of a count holds the true count, by thirds of the predicted count."""
    repeats //= 4
    spreads = load("trust/test_intervals.py").STEEP
    rows = []
    for name, spread in spreads.items():
        for groups in (7, 20, 60):
            random = np.random.default_rng(groups)
            thirds: list[list[bool]] = [[], [], []]
            for _ in range(repeats):
                truth = random.integers(0, 31, (groups + 20, 10))
                noise = 0.5 * random.normal(size=(len(truth), 1)) + 0.87 * random.normal(
                    size=truth.shape
                )
                raw = np.maximum(truth + noise * spread(truth), 0)
                members = np.repeat(np.arange(groups), 10)
                known = truth[:groups].ravel(), raw[:groups].ravel()
                interval = Interval.fit(*known, members)
                counts, predicted = truth[groups:].ravel(), raw[groups:].ravel()
                low, high = interval.ends(predicted)
                inside = (low <= counts) & (counts <= high)
                third = np.searchsorted(np.quantile(predicted, [1 / 3, 2 / 3]), predicted)
                for k in range(3):
                    thirds[k].append(float(inside[third == k].mean()))
            for k, which in enumerate(("fewest", "middle", "most")):
                setting = f"error grows {name}, {groups} groups of 10, {which} cells"
                rows.append(row("interval of a count", setting, thirds[k]))
    return rows


def sample_rows(repeats: int) -> list[dict[str, object]]:
    """How often what 20 or 40 checked images say of the others holds."""
    simulation = load("scores/test_sampled.py")
    rows = []
    for kind in simulation.KINDS:
        for number, checked in ((60, 20), (1000, 20), (1000, 40)):
            inside, _ = simulation.held(kind, number, checked, repeats)
            setting = f"errors {kind}, {checked} of {number} images"
            rows += [row(f"checked images, {key}", setting, of) for key, of in inside.items()]
    return rows


PARTS = {
    "scores": score_rows,
    "differences": difference_rows,
    "intervals": interval_rows,
    "checked": sample_rows,
}

if __name__ == "__main__":
    main()
