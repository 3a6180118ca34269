"""Error of a recipe's quick overlay by seed, with and without synthetic images.

    python benchmarks/quick.py recipes/twindensity_bf.yaml --variants twin --seeds 1 2 --minutes 4

Runs `cellzoo fit --quick`, scores the last checkpoint on the images of `fresh.py`, the same for
all seeds, adds a row per run to the CSV and prints means over seeds as a Markdown table. A recipe
whose images come from `data/` wants them there, a link will do. A run folder of the same commit
that is there already is not trained again.
"""

import argparse
from pathlib import Path

import numpy as np
from fresh import test_images
from table import add_rows, by, over_seeds, print_markdown, read_rows
from training import add_options, budget, minutes_trained, options, rounded, train

from cellzoo.counters.load import load_run
from cellzoo.runs import Run
from cellzoo.scores.table import count_metrics, interval_metrics
from cellzoo.scores.uncertainty import score_intervals

KEY = ("recipe", "variant", "seed", "minutes_asked")
VARIANTS = {"twin": [], "natural only": ["data.synthetic=null"]}


def main() -> None:
    """Parses, runs, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--minutes", type=float, help="of training; else what the overlay says")
    add_options(parser, "quick")
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        for variant in arguments.variants:
            add_rows(arguments.csv, [run(arguments, variant, seed)], KEY)
    print_table(arguments.csv)


def run(arguments: argparse.Namespace, variant: str, seed: int) -> dict[str, object]:
    """Trains and scores one model."""
    minutes = "" if arguments.minutes is None else f"{arguments.minutes:g}"
    settings = [*arguments.settings, *VARIANTS[variant], f"seed={seed}", "train.select=last"]
    settings += [budget(arguments.minutes)] if minutes else []
    words = [str(arguments.recipe), "--quick", *options(settings)]
    parts = [arguments.recipe.stem, variant.replace(" ", "-"), minutes, str(seed)]
    folder, origin = train(words, arguments.runs, "-".join(filter(None, parts)))
    images, which = test_images(Run(folder).recipe)
    counts = load_run(folder).count(images.images, scaled=True, flags=False)
    ends = score_intervals(images.counts, counts.raw, groups=images.groups)
    low, high = ends.get("mae", (float("nan"),) * 2)  # none of a single group
    held = interval_metrics(images.counts, counts.low, counts.high)  # None: too few groups
    return {
        "recipe": arguments.recipe.name,
        "variant": variant,
        "seed": seed,
        "minutes_asked": minutes,
        "scored_on": which,
        "images": len(images),
        "groups": len(set(images.groups)),
        **rounded(
            count_metrics(images.counts, counts.raw), ("mae", "mre", "exact", "mae_raw", "bias_raw")
        ),
        "mae_low": f"{low:.4f}",
        "mae_high": f"{high:.4f}",
        "coverage": f"{held['coverage']:.4f}" if held else "",
        "mean_prediction_mae": f"{np.abs(images.counts - images.counts.mean()).mean():.4f}",
        "training_minutes": minutes_trained(folder),
        **origin,
    }


def print_table(file: Path) -> None:
    """Prints means over seeds as Markdown."""
    columns = ["recipe", "variant", "minutes", "scored on", "images", "MAE", "exact"]
    table, keys = [], ("recipe", "variant", "minutes_asked", "scored_on", "images")
    for key, rows in by(read_rows(file), keys).items():
        exact = np.mean([float(row["exact"]) for row in rows])
        mae = over_seeds([float(row["mae"]) for row in rows])
        table.append([*key, mae, f"{100 * exact:.0f} %"])
    print_markdown(columns, table)


if __name__ == "__main__":
    main()
