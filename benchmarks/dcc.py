"""DeepCellCount's two heads on BBBC005 and on crowds, beside brightness least squares.

    python benchmarks/dcc.py bbbc005 --folder data/bbbc005 --seeds 1 2 3
    python benchmarks/dcc.py crowded --seeds 1 2 3

Trains `recipes/dcc_small_bbbc005.yaml` or `recipes/dcc_small_fluorescence.yaml` with each head,
scores it, adds the rows to the CSV and prints means over seeds as a Markdown table. All seeds are
scored on the same images. `bbbc005` has one split for all of them; it scores stains apart, and
again on images that were blurred. `crowded` has 1 to 100 cells per image in training; 600 to 700
are in the 100 fresh images that score it. A run folder of the same commit that is there already is
not trained again. Both data sets are simulated.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from fresh import TEST_SEED
from table import add_rows, by, over_seeds, print_markdown, read_rows
from training import add_options, minutes_trained, options, rounded, train

RECIPES = {"bbbc005": "bbbc005", "crowded": "fluorescence"}
KEY = ("data", "method", "seed", "subset")
CROWDS = 100  # images
# Standard deviations in pixels of the model's images. The recipe trains up to 2.
BLURS = (1.6, 2.4, 3.2)


def main() -> None:
    """Parses, runs, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", choices=RECIPES)
    parser.add_argument("--folder", default="data/bbbc005")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--heads", nargs="+", default=["additive", "regressor"])
    parser.add_argument("--full", action="store_true", help="the large network: dcc_bbbc005.yaml")
    add_options(parser, "dcc")
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        for head in arguments.heads:
            add_rows(arguments.csv, rows_of(arguments, head, seed), KEY)
    print_table(arguments.csv)


def rows_of(arguments: argparse.Namespace, head: str, seed: int) -> list[dict[str, object]]:
    """Trains a model and scores it, and brightness least squares on the same images."""
    size = "full" if arguments.full else "small"
    settings = [f"model.head={head}", f"seed={seed}", *arguments.settings]
    if arguments.data == "bbbc005":
        settings += [f"data.natural.folder={arguments.folder}", "data.natural.split_seed=0"]
    recipe = f"dcc_{'' if arguments.full else 'small_'}{RECIPES[arguments.data]}"
    words = [f"recipes/{recipe}.yaml", *options(settings)]
    name = f"{arguments.data}-{head}-{size}-{seed}"
    folder, origin = train(words, arguments.runs, name)

    from cellzoo.counters.load import load_run
    from cellzoo.scores.table import count_metrics

    counter = load_run(folder)
    recipe = counter.run.recipe
    source, size_px = recipe.data.natural, recipe.image_size
    training = source.load(size_px, recipe.seed, ("train",))[0]
    if arguments.data == "bbbc005":
        which, test = "test split of seed 0", source.load(size_px, recipe.seed, ("test",))[0]
    else:
        more = source.model_copy(update={"test": CROWDS})
        which, test = "fresh simulated crowds", more.load(size_px, TEST_SEED, ("test",))[0]
    common = {
        "data": arguments.data,
        "seed": seed,
        "split": which,
        "minutes": minutes_trained(folder),
        **origin,
    }
    images_by_subset = {"in focus": test.images}
    if arguments.data == "bbbc005":
        images_by_subset |= {
            f"blurred by {s} px": np.stack([cv2.GaussianBlur(i, (0, 0), s) for i in test.images])
            for s in BLURS
        }
    rows = []
    for subset, images in images_by_subset.items():
        predictions = {
            f"{head}, {size}": counter.count(images, scaled=True).raw,
            "brightness, told the stain": brightness(training, replace(test, images=images)),
        }
        for method, predicted in predictions.items():
            for kind, chosen in kinds(test.names).items():
                scores = count_metrics(test.counts[chosen], predicted[chosen])
                rows.append(
                    common
                    | {"method": method, "subset": f"{subset}, {kind}", "images": len(chosen)}
                    | rounded(scores, ("mae", "exact", "mae_raw", "mape_raw"))
                )
    return rows


def kinds(names: np.ndarray) -> dict[str, np.ndarray]:
    """Places of all images, and of those of each stain where names tell it."""
    places = {"all": np.arange(len(names))}
    for stain in (1, 2):
        chosen = [k for k, name in enumerate(names) if f"_w{stain}" in str(name)]
        if chosen:
            places[f"stain {stain}"] = np.array(chosen)
    return places


def brightness(training, test) -> np.ndarray:
    """Least squares on the mean grey level, for each stain alone; it is told the stain."""
    predicted = np.zeros(len(test), np.float32)
    by_stain, test_by_stain = kinds(training.names), kinds(test.names)
    for stain in [kind for kind in by_stain if kind != "all"] or ["all"]:
        learn = training.take(by_stain[stain])
        learn = learn.take(learn.labelled)
        grey = [set_.images.mean(axis=(1, 2)) for set_ in (learn, test)]
        slope, offset = np.polyfit(grey[0], learn.counts, 1)
        places = test_by_stain.get(stain, np.array([], int))
        predicted[places] = (slope * grey[1] + offset)[places]
    return predicted


def print_table(file: Path) -> None:
    """Prints means over seeds as Markdown."""
    table = []
    for key, rows in by(read_rows(file), ("data", "subset", "method", "images")).items():
        mae, exact, mape = (
            [float(row[score]) for row in rows] for score in ("mae", "exact", "mape_raw")
        )
        scores = (over_seeds(mae), f"{100 * np.mean(exact):.0f} %", f"{np.mean(mape):.1f} %")
        table.append([*key, *scores])
    print_markdown(
        ["data", "subset", "method", "images", "MAE", "exact", "MAPE (unrounded)"], table
    )


if __name__ == "__main__":
    main()
