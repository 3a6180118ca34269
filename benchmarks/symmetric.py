"""One look of a symmetric network against eight looks of the usual one, after as many steps.

    python benchmarks/symmetric.py twindensity_bf --epochs 25
    python benchmarks/symmetric.py twindensity_ldc twindensity_cho --epochs 24 --quick

Trains each recipe twice a seed, with and without ``model.symmetric``, and scores the last
checkpoints on the images of ``fresh.py``, before rounding. Nothing else differs but
``model.latent``: the recipes' 16, and 8 that a symmetric network has in eight orientations each.
``data`` beside the command holds the folders.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
from fresh import test_images
from table import add_rows, by, over_seeds, print_markdown, read_rows
from training import add_options, minutes_trained, options, train

from cellzoo.counters.load import load_run
from cellzoo.data.image_set import ImageSet
from cellzoo.recipe import with_values
from cellzoo.runs import Run

KEY = ("recipe", "seed", "epochs")
VARIANTS = {
    "plain": ["model.symmetric=false", "count.test_time_augmentation=8"],
    "symmetric": ["model.symmetric=true", "model.latent=8", "count.test_time_augmentation=1"],
}


def main() -> None:
    """Parses, runs, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--quick", action="store_true", help="with the recipe's quick overlay")
    add_options(parser, "symmetric")
    arguments = parser.parse_args()
    for recipe in arguments.recipes:
        for seed in arguments.seeds:
            add_rows(arguments.csv, [run(arguments, recipe, seed)], KEY)
    print_table(arguments.csv)


def run(arguments: argparse.Namespace, recipe: str, seed: int) -> dict[str, object]:
    """Trains and scores both networks."""
    row: dict[str, object] = {"recipe": recipe, "seed": seed, "epochs": arguments.epochs}
    for variant, settings in VARIANTS.items():
        settings = [
            *settings, f"seed={seed}", f"train.epochs={arguments.epochs}", "train.budget=null",
            "train.select=last", *arguments.settings,
        ]  # fmt: skip
        words = [f"recipes/{recipe}.yaml", *["--quick"] * arguments.quick, *options(settings)]
        folder, made_with = train(words, arguments.runs, f"{recipe}-{variant}-{seed}")
        images, which = test_images(Run(folder).recipe)
        row |= {"scored_on": which, "images": len(images)}
        row[f"{variant}_mae"] = error(folder, images)
        if variant == "plain":
            row["plain_one_look_mae"] = one_look_error(folder, images)
        row[f"{variant}_minutes"] = minutes_trained(folder)
    return row | made_with


def error(folder: Path, images: ImageSet) -> str:
    """MAE of a run's counts before rounding."""
    counts = load_run(folder).count(images.given, scaled=True, flags=False)
    return f"{np.abs(counts.raw - images.counts).mean():.4f}"


def one_look_error(folder: Path, images: ImageSet) -> str:
    """The same of a copy of the run that looks once."""
    with tempfile.TemporaryDirectory() as place:
        run = Run(shutil.copytree(folder, Path(place) / folder.name))
        run.replace_recipe(with_values(run.recipe, {"count.test_time_augmentation": 1}))
        return error(run.path, images)


def print_table(file: Path) -> None:
    """Prints means over seeds as Markdown."""
    columns = ["plain_mae", "plain_one_look_mae", "symmetric_mae"]
    table = []
    for key, rows in by(read_rows(file), ("recipe", "epochs", "scored_on", "images")).items():
        errors = [over_seeds([float(row[column]) for row in rows]) for column in columns]
        table.append([*key, *errors])
    print_markdown(["recipe", "epochs", "scored on", "images", *columns], table)


if __name__ == "__main__":
    main()
