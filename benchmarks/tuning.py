"""Bayesian against random search on a tiny recipe, and the memory of a search over its trials.

    python benchmarks/tuning.py --seeds 1 2 3 --trials 15 --runs runs/tuning \
        --csv benchmarks/results/tuning.csv

Trains on simulated fluorescence images; half of a trial is start-up. The two searches of a seed run
side by side, each with half of the processor's threads. A search of the same commit that is
finished is not run again; one that was interrupted goes on. `better` compares the best objectives,
which are the searches' own, on the validation split. Memory is that of the search's process after
each trial, and the largest of any of its trials' processes so far.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from table import add_rows, commit, origin, print_markdown, read_rows
from training import options

RECIPE = """\
# Tiny: simulated nuclei, each image a layout of its own, a small spatial Twin-VAE without its twin.
name: tiny
data:
  natural: {source: simulated_fluorescence, train: 200, validation: 100, test: 10,
            count_range: [1, 20], radius: [2.5, 3.5], blur: [0.3, 1.0]}
augment: {crop: 1}
model: {name: twinvae_spatial, image_size: 64, channels: [8, 8], shared_channels: 8, latent: 4}
loss: {reconstruction_weight: 100, count_weight: 0.1, kl_weight: 0.1}
train: {batch: 16, epochs: 8, steps_per_epoch: 100, clip_norm: 5, ema: 0.9, schedule: cosine}
tune:
  space:
    train.learning_rate: {low: 1.0e-5, high: 1.0e-1, scale: log}
    loss.count_weight: {low: 1.0e-3, high: 10.0, scale: log}
    loss.reconstruction_weight: {low: 1.0, high: 1.0e+4, scale: log}
"""
# `cellzoo` itself, which writes down how long it ran and how large it was after each trial.
SEARCH = """
import json, resource, time
from cellzoo.tuning.search import Search
from cellzoo.cli import main
started, own, trials, end = time.monotonic(), [], [], Search._end

def end_and_measure(self, *arguments):
    end(self, *arguments)
    with open("/proc/self/statm") as file:
        own.append(int(file.read().split()[1]) * resource.getpagesize() / 2**20)
    trials.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)

Search._end = end_and_measure
try:
    main()
finally:
    with open(NOTES, "a") as file:
        seconds = time.monotonic() - started
        file.write(json.dumps({"seconds": seconds, "own": own, "trials": trials}) + "\\n")
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
    rows: list[dict[str, object]] = []
    for seed in arguments.seeds:
        with ThreadPoolExecutor() as pool:
            searches = {
                algorithm: pool.submit(search, recipe, algorithm, seed, arguments.trials)
                for algorithm in ("bayesian", "random")
            }
        results = {algorithm: future.result() for algorithm, future in searches.items()}
        bayesian, random = (results[a]["best"] for a in ("bayesian", "random"))
        for algorithm, result in results.items():
            better = {"bayesian": bayesian < random, "random": random < bayesian}[algorithm]
            rows.append({"algorithm": algorithm, "seed": seed, **result, "better": better})
        add_rows(arguments.csv, rows, ("algorithm", "seed"))
    show(rows)


def search(recipe: Path, algorithm: str, seed: int, trials: int) -> dict[str, object]:
    """Runs one search, or what is left of it, in a folder beside its recipe; returns its row."""
    folder = recipe.with_name(f"{algorithm}-{seed}-{commit()}")
    notes = folder.with_suffix(".jsonl")
    settings = [f"tune.algorithm={algorithm}", f"tune.seed={seed}", f"seed={seed}"]
    words = ["tune", str(recipe), "--out", str(folder), "--trials", str(trials)]
    words += options(settings)
    made_with = origin(["cellzoo", *words])
    if not (folder / "best.yaml").exists() or len(read_rows(folder / "trials.csv")) < trials:
        code = f"NOTES = {str(notes)!r}\n{SEARCH}"
        threads = str(max(1, (os.cpu_count() or 1) // 2))
        environment = {"TF_NUM_INTRAOP_THREADS": threads, "OMP_NUM_THREADS": threads}
        command = [sys.executable, "-c", code, *words]
        subprocess.run(command, check=True, env={**os.environ, **environment})
    values = [float(row["validation_mae_raw"] or "nan") for row in read_rows(folder / "trials.csv")]
    done = [value for value in values if value == value]
    starts = [json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines()]
    # Memory says something over the trials of one process: of the start that ran most of them.
    longest = max(starts, key=lambda start: len(start["own"]))
    third = min(2, len(longest["own"]) - 1)
    return {
        "trials": len(values),
        "failed": len(values) - len(done),
        "best": round(min(done), 4),
        "best_after_half": round(min(done[: max(1, len(done) // 2)]), 4),
        "trials_in_one_process": len(longest["own"]),
        "memory_mib_third_trial": round(longest["own"][third], 1),
        "memory_mib_last_trial": round(longest["own"][-1], 1),
        "memory_mib_largest": round(max(longest["own"]), 1),
        "memory_mib_trial_process_up_to_third": round(longest["trials"][third], 1),
        "memory_mib_trial_process_up_to_last": round(longest["trials"][-1], 1),
        "minutes": round(sum(start["seconds"] for start in starts) / 60, 1),
        **made_with,
    }


def show(rows: list[dict[str, object]]) -> None:
    """Prints the results as a Markdown table."""
    columns = [
        "seed",
        "search",
        "best validation MAE (raw)",
        "after half",
        "memory of the search, trial 3 to last",
        "of the largest trial",
        "minutes",
    ]
    table = [
        [
            row["seed"],
            f"{row['algorithm']}{' *' if row['better'] else ''}",
            f"{row['best']:.3f}",
            f"{row['best_after_half']:.3f}",
            f"{row['memory_mib_third_trial']:.0f} to {row['memory_mib_last_trial']:.0f} MiB",
            f"{row['memory_mib_trial_process_up_to_third']:.0f} to "
            f"{row['memory_mib_trial_process_up_to_last']:.0f} MiB",
            row["minutes"],
        ]
        for row in rows
    ]
    print_markdown(columns, table)
    wins = sum(row["algorithm"] == "bayesian" and bool(row["better"]) for row in rows)
    print(f"Bayesian better in {wins} of {len(rows) // 2} seeds.")


if __name__ == "__main__":
    main()
