"""Bayesian against random search on a tiny recipe, and the search's own memory over its trials.

    python benchmarks/tuning.py --seeds 1 2 3 --trials 15 --runs runs/tuning \
        --csv benchmarks/results/tuning.csv

Trains on simulated bright-field chambers; a trial is mostly start-up. The two searches of a seed
run side by side. A search that is finished already is not run again. `better` compares the best
objectives, which are the searches' own, on the validation split; memory is that of the search's
process.
"""

import argparse
import csv
import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

RECIPE = """\
# Tiny: simulated bright-field chambers, all labelled, a small spatial Twin-VAE without its twin.
name: tiny
data:
  natural: {source: simulated, modality: bf, train: 100, labelled: 100, validation: 50,
            validation_labelled: 50, test: 25, test_labelled: 20}
augment: {crop: 1, rotate: false}
model: {name: twinvae_spatial, channels: [8, 8], shared_channels: 8, latent: 4}
loss: {reconstruction_weight: 100, count_weight: 0.1, kl_weight: 0.1}
train: {batch: 16, epochs: 3, steps_per_epoch: 15, clip_norm: 5, averaging: 0.9, schedule: cosine}
tune:
  space:
    train.learning_rate: {low: 1.0e-5, high: 1.0e-1, scale: log}
    loss.count_weight: {low: 1.0e-3, high: 10.0, scale: log}
    loss.reconstruction_weight: {low: 1.0, high: 1.0e+4, scale: log}
"""
SEARCH = """
import resource, sys
from cellzoo import tuning
from cellzoo.cli import main
sizes, write = [], tuning.Search.write_results

def write_and_measure(self, last=False):
    with open("/proc/self/statm") as file:
        sizes.append(int(file.read().split()[1]) * resource.getpagesize() / 2**20)
    return write(self, last)

tuning.Search.write_results = write_and_measure
try:
    main()
finally:
    with open(MEMORY, "a") as file:
        file.writelines(f"{size:.1f}\\n" for size in sizes)
"""


def main() -> None:
    """Parses, searches, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--trials", type=int, default=15)
    parser.add_argument("--runs", type=Path, default=Path("runs/tuning"))
    parser.add_argument("--csv", type=Path, default=Path("benchmarks/results/tuning.csv"))
    arguments = parser.parse_args()
    arguments.runs.mkdir(parents=True, exist_ok=True)
    recipe = arguments.runs / "tiny.yaml"
    recipe.write_text(RECIPE, encoding="utf-8")
    rows = []
    for seed in arguments.seeds:
        with ThreadPoolExecutor() as pool:
            searches = {
                algorithm: pool.submit(
                    search,
                    recipe,
                    arguments.runs / f"{algorithm}-{seed}",
                    algorithm,
                    seed,
                    arguments.trials,
                )
                for algorithm in ("bayesian", "random")
            }
        results = {algorithm: future.result() for algorithm, future in searches.items()}
        bayesian, random = (results[a]["best"] for a in ("bayesian", "random"))
        for algorithm, result in results.items():
            better = {"bayesian": bayesian < random, "random": random < bayesian}[algorithm]
            rows.append({"algorithm": algorithm, "seed": seed, **result, "better": better})
    write(arguments.csv, rows)
    show(rows)


def search(recipe: Path, folder: Path, algorithm: str, seed: int, trials: int) -> dict[str, object]:
    """Runs one search and returns its row."""
    memory = folder.with_suffix(".memory")
    settings = [f"tune.algorithm={algorithm}", f"tune.seed={seed}", f"seed={seed}"]
    words = ["tune", str(recipe), "--out", str(folder), "--trials", str(trials)]
    for setting in settings:
        words += ["--set", setting]
    started = time.monotonic()
    if not (folder / "best.yaml").exists() or len(table(folder)) < trials:
        memory.unlink(missing_ok=True)
        code = f"MEMORY = {str(memory)!r}\n{SEARCH}"
        subprocess.run([sys.executable, "-c", code, *words], check=True)
    values = [float(row["validation_mae_raw"] or "nan") for row in table(folder)]
    done = [value for value in values if value == value]
    sizes = [float(line) for line in memory.read_text().splitlines()]
    after_warm_up = sizes[min(2, len(sizes) - 1)]
    return {
        "trials": len(values),
        "failed": len(values) - len(done),
        "best": round(min(done), 4),
        "best_after_half": round(min(done[: max(1, len(done) // 2)]), 4),
        "memory_mib_third_trial": after_warm_up,
        "memory_mib_last_trial": sizes[-1],
        "memory_mib_largest": max(sizes),
        "minutes": round((time.monotonic() - started) / 60, 1),
        "hardware": f"{os.cpu_count()} CPU cores, {platform.machine()}",
        "command": "cellzoo " + " ".join(words),
        "commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True
        ).stdout.strip(),
    }


def table(folder: Path) -> list[dict[str, str]]:
    """The rows of a search's trials.csv."""
    with (folder / "trials.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(file: Path, rows: list[dict[str, object]]) -> None:
    """Writes the results."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def show(rows: list[dict[str, object]]) -> None:
    """Prints the results as a Markdown table."""
    print("| seed | search | best validation MAE (raw) | after half | memory, trial 3 to last |")
    print("|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['seed']} | {row['algorithm']}{' *' if row['better'] else ''} "
            f"| {row['best']:.3f} | {row['best_after_half']:.3f} "
            f"| {row['memory_mib_third_trial']:.0f} to {row['memory_mib_last_trial']:.0f} MiB |"
        )
    wins = sum(row["algorithm"] == "bayesian" and bool(row["better"]) for row in rows)
    print(f"Bayesian better in {wins} of {len(rows) // 2} seeds.")


if __name__ == "__main__":
    main()
