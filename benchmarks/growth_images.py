"""Growth rates from images: simulated fields of view to rates, with the commands that users type.

    python benchmarks/growth_images.py

Six simulated experiments of five chambers each, phase contrast, in which cells double in 12 to 40
hours; 50 frames over three and a half doublings, with drift, rotation and loss of focus. `cellzoo
chambers --find`, `count --chambers` and `growth` make a rate of each chamber. The truth is the
Malthusian rate of the cell cycles drawn (normal, standard deviation 13 %).
"""

import argparse
import csv
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from table import add_rows, origin, print_markdown
from training import CELLZOO

from cellzoo.simulators.experiment import simulate_experiment

HOURS = (12, 17, 22, 28, 34, 40)
CHAMBERS, FRAMES, DOUBLINGS, SPREAD = 5, 50, 3.5, 0.13
MODEL = "zoo:simulated_pc"


def main() -> None:
    """Parses, simulates, counts, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--csv", type=Path, default=Path("benchmarks/results/growth_images.csv"))
    arguments = parser.parse_args()
    made_with = origin(["python", "benchmarks/growth_images.py"])
    rows, found = [], []
    for k, hours in enumerate(HOURS):
        rows.append(one(k, hours))
        found += rows[-1].pop("rates")
        add_rows(arguments.csv, [rows[-1] | made_with], ("cycle_hours",))
        print(*rows[-1].values(), sep=", ", flush=True)
    held = [low <= true <= high for true, _, low, high in found]
    errors = [abs(rate / true - 1) for true, rate, _, _ in found]
    total = {"cycle_hours": "all", "chambers": sum(row["chambers"] for row in rows)}
    total |= {"found": sum(row["found"] for row in rows), "with_rate": len(found)}
    total |= {"held": sum(held), "median_error": f"{np.median(errors):.3f}", "count_mae": ""}
    rows.append(total)
    add_rows(arguments.csv, [{**row, **made_with} for row in rows], ("cycle_hours",))
    print_markdown(list(total), [[row[key] for key in total] for row in rows])


def one(seed: int, hours: float) -> dict[str, object]:
    """One experiment."""
    interval = 60 * hours * DOUBLINGS / FRAMES
    made = simulate_experiment(
        "pc", FRAMES, (9001, seed), rows=1, columns=CHAMBERS, doubling_hours=hours,
        interval_minutes=interval,
    )  # fmt: skip
    true = rate(hours)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        field = made.write(folder / "experiment")
        run("chambers", field, "--find", "--size", "128,128", "-o", folder / "chambers")
        boxes = folder / "chambers" / "chambers.csv"
        run("count", field, "--chambers", boxes, "--model", MODEL, "-o", folder / "counts.csv")
        run("growth", folder / "counts.csv", "-o", folder / "growth")
        grown = read(folder / "growth" / "growth.csv")
        counts = read(folder / "counts.csv")
    rates = [
        (true, *(float(row[key]) for key in ("rate_per_hour", "rate_low", "rate_high")))
        for row in grown if row["rate_per_hour"]
    ]  # fmt: skip
    errors = [abs(found[1] / true - 1) for found in rates]
    off = []
    if len(grown) == CHAMBERS:  # in the order of the truth, from left to right
        seen = {}
        for row in counts:
            seen.setdefault(row["series"], []).append(float(row["count"] or "nan"))
        off = np.abs(np.array([seen[name] for name in sorted(seen)]).T - made.counts)
    return {
        "cycle_hours": hours,
        "chambers": CHAMBERS,
        "found": len(grown),
        "with_rate": len(rates),
        "held": sum(low <= true <= high for _, _, low, high in rates),
        "median_error": f"{np.median(errors):.3f}" if errors else "",
        "count_mae": f"{np.nanmean(off):.2f}" if len(off) else "",
        "rates": rates,
    }


def rate(hours: float) -> float:
    """Malthusian rate per hour of normal cell cycles: half of what cells leave is one cell."""
    random = np.random.default_rng(0)
    cycles = hours * np.clip(random.normal(1, SPREAD, 200_000), 0.6, 1.5)
    low, high = 0.0, 2 / hours
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if np.exp(-middle * cycles).mean() > 0.5 else (low, middle)
    return low


def run(*words: object) -> None:
    """A command of cellzoo; one that counts what cannot be read ends with 1."""
    done = subprocess.run([*CELLZOO, *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        print(done.stdout[-500:], done.stderr[-500:], file=sys.stderr)


def read(file: Path) -> list[dict[str, str]]:
    """The rows of a table."""
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


if __name__ == "__main__":
    main()
