"""Error of a recipe's quick overlay by seed, with and without synthetic images.

    python benchmarks/quick.py recipes/twindensity_bf.yaml --variants twin --seeds 1 2 --minutes 4

Runs `cellzoo fit --quick` and `cellzoo evaluate` one after the other, adds a row per run to the
CSV and prints the CSV as a Markdown table. A recipe whose images come from `data/` wants them
there, a link will do. A run folder of the same commit that is there already is not trained again.
"""

import argparse
import json
import subprocess
from pathlib import Path

from table import add_rows, print_markdown, read_rows
from training import CELLZOO, budget, minutes_trained, options, rounded, train

KEY = ("recipe", "variant", "seed", "minutes_asked")
VARIANTS = {"twin": [], "natural only": ["data.synthetic=null"]}


def main() -> None:
    """Parses, runs, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--minutes", type=float, help="of training; else what the overlay says")
    parser.add_argument("--set", dest="settings", action="append", default=[])
    parser.add_argument("--runs", type=Path, default=Path("runs/quick"))
    parser.add_argument("--csv", type=Path, default=Path("benchmarks/results/quick.csv"))
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        for variant in arguments.variants:
            add_rows(arguments.csv, [run(arguments, variant, seed)], KEY)
    print_table(arguments.csv)


def run(arguments: argparse.Namespace, variant: str, seed: int) -> dict[str, object]:
    """Trains and scores one model."""
    minutes = "" if arguments.minutes is None else f"{arguments.minutes:g}"
    settings = [*arguments.settings, *VARIANTS[variant], f"seed={seed}"]
    settings += [budget(arguments.minutes)] if minutes else []
    words = [str(arguments.recipe), "--quick", *options(settings)]
    parts = [arguments.recipe.stem, variant.replace(" ", "-"), minutes, str(seed)]
    folder, origin = train(words, arguments.runs, "-".join(filter(None, parts)))
    subprocess.run([*CELLZOO, "evaluate", str(folder)], check=True)
    (report,) = (folder / "report").glob("evaluation_*.json")
    result = json.loads(report.read_text(encoding="utf-8"))
    low, high = result["intervals"].get("mae", (float("nan"),) * 2)  # none of a single group
    return {
        "recipe": arguments.recipe.name,
        "variant": variant,
        "seed": seed,
        "minutes_asked": minutes,
        "split": result["subject"],
        "images": result["images"],
        **rounded(result["scores"], ("mae", "mre", "exact", "mae_raw", "bias_raw")),
        "mae_low": f"{low:.4f}",
        "mae_high": f"{high:.4f}",
        **rounded(result, ("mean_prediction_mae",)),
        "training_minutes": minutes_trained(folder),
        **origin,
    }


def print_table(file: Path) -> None:
    """Prints the CSV as Markdown."""
    columns = ["recipe", "variant", "seed", "MAE (95 % interval)", "MRE", "exact", "minutes"]
    table = []
    for row in read_rows(file):
        mae, low, high = (float(row[key]) for key in ("mae", "mae_low", "mae_high"))
        table.append([
            row["recipe"],
            row["variant"],
            row["seed"],
            f"{mae:.2f} ({low:.2f}-{high:.2f})",
            f"{100 * float(row['mre']):.1f} %" if row["mre"] else "",
            f"{100 * float(row['exact']):.0f} %",
            row["training_minutes"],
        ])  # fmt: skip
    print_markdown(columns, table)


if __name__ == "__main__":
    main()
