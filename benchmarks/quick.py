"""Error of a recipe's quick overlay by seed, with and without synthetic images.

    python benchmarks/quick.py recipes/twinvae_bf.yaml --seeds 1 2 --runs runs/bench \
        --csv benchmarks/results/quick.csv

Runs `cellzoo fit --quick` and `cellzoo evaluate` one after the other, adds a row per run to the
CSV and
prints the CSV as a Markdown table. A run folder that is there already is not trained again.
"""

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path

from table import add_rows, commit, hardware

CELLZOO = [sys.executable, "-c", "from cellzoo.cli import main; main()"]
KEY = ("recipe", "variant", "seed")
VARIANTS = {"twin": [], "natural only": ["--set", "data.synthetic=null"]}


def main() -> None:
    """Parses, runs, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--runs", type=Path, default=Path("runs/bench"))
    parser.add_argument("--csv", type=Path, default=Path("benchmarks/results/quick.csv"))
    parser.add_argument("--set", dest="settings", action="append", default=[])
    arguments = parser.parse_args()
    settings = [word for setting in arguments.settings for word in ("--set", setting)]
    for seed in arguments.seeds:
        for variant in arguments.variants:
            folder = arguments.runs / f"{arguments.recipe.stem}-{variant.replace(' ', '-')}-{seed}"
            options = [*settings, *VARIANTS[variant], "--set", f"seed={seed}"]
            row = run(arguments.recipe, folder, options)
            add_rows(arguments.csv, [{"variant": variant, "seed": seed, **row}], KEY)
    print_table(arguments.csv)


def run(recipe: Path, folder: Path, options: list[str]) -> dict[str, object]:
    """Trains and scores one model."""
    fit = ["fit", str(recipe), "--quick", *options]
    subprocess.run([*CELLZOO, *fit, "--out", str(folder)], check=True)
    subprocess.run([*CELLZOO, "evaluate", str(folder)], check=True)
    (report,) = (folder / "report").glob("evaluation_*.json")
    result = json.loads(report.read_text())
    seconds = json.loads((folder / "report" / "validation.json").read_text())["seconds"]
    scores, intervals = result["scores"], result["intervals"]
    return {
        "recipe": recipe.name,
        "split": result["subject"],
        "images": result["images"],
        **{key: f"{scores[key]:.4f}" for key in ("mae", "mre", "exact", "mae_raw", "bias_raw")},
        "mae_low": f"{intervals['mae'][0]:.4f}",
        "mae_high": f"{intervals['mae'][1]:.4f}",
        "mean_prediction_mae": f"{result['mean_prediction_mae']:.4f}",
        "training_minutes": f"{seconds / 60:.1f}",
        "hardware": hardware(),
        "command": "cellzoo " + " ".join(fit),
        "commit": commit(),
    }


def print_table(file: Path) -> None:
    """Prints the CSV as the README's table."""
    print("| recipe | variant | seed | MAE (95 % interval) | MRE | exact | minutes |")
    print("|---|---|---|---|---|---|---|")
    with file.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            mae, low, high = (float(row[key]) for key in ("mae", "mae_low", "mae_high"))
            print(
                f"| {row['recipe']} | {row['variant']} | {row['seed']} "
                f"| {mae:.2f} ({low:.2f}-{high:.2f}) "
                f"| {100 * float(row['mre']):.1f} % | {100 * float(row['exact']):.0f} % "
                f"| {row['training_minutes']} |"
            )


if __name__ == "__main__":
    main()
