"""How many labels each network needs: validation error against the number of labelled images.

    python benchmarks/labels.py --minutes 1 --seeds 1

Trains every network on the `ldc` images at every number of labels for the same time, one after the
other; adds the rows to the CSV, draws the plot of those that trained so long and prints them as a
Markdown table. The last checkpoint is scored, so that the validation images choose nothing. The
images come from `data/ldc`, a link to them will do. A run folder of the same commit that is there
already is not trained again.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import matplotlib
import numpy as np
from fresh import labelled
from table import add_rows, origin, over_seeds, print_markdown, read_rows
from training import budget, options, rounded, train, validation_columns

from cellzoo.recipe import load_recipe
from cellzoo.scores.table import count_metrics

KEY = ("network", "labels", "seed", "minutes_asked")
LABELS = ["0", "10", "25", "50", "100", "200", "null"]  # null: all
ALL = 1339  # labelled training images of ldc
TWIN = ["recipes/twindensity_ldc.yaml", "--quick"]
# The words behind `cellzoo fit`.
NETWORKS = {
    "twin density network": TWIN,
    "the same, real images only": [*TWIN, "--set", "data.synthetic=null"],
    "the paper's Twin-VAE": ["recipes/twinvae_ldc.yaml"],
    "EfficientNet-B0": ["recipes/efficientnet_ldc.yaml", "--quick"],
}
FOLDER = "data.natural={source: folder, folder: data/ldc, size: resize}"
# Classical counters: recipe and settings. They are fitted on the labelled training images alone.
CLASSICAL = {
    "watershed, grid search": ("recipes/watershed_ldc.yaml", []),
    "brightness histogram": ("recipes/brightness.yaml", [FOLDER]),
    "mean grey level": ("recipes/brightness_mean.yaml", [FOLDER]),
}
WITHOUT_SYNTHETIC = ("the same, real images only", "EfficientNet-B0", *CLASSICAL)


def main() -> None:
    """Parses, runs, writes, draws and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=[*NETWORKS, *CLASSICAL])
    parser.add_argument("--labels", nargs="+", choices=LABELS, default=LABELS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--weights", help="EfficientNet's, a file; else they are downloaded")
    parser.add_argument("--runs", type=Path, default=Path("runs/labels"))
    parser.add_argument("--csv", type=Path, default=Path("benchmarks/results/labels.csv"))
    parser.add_argument("--plot", type=Path, default=Path("docs/labels.png"))
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        for labels in arguments.labels:
            for network in arguments.networks or [*NETWORKS, *CLASSICAL]:
                if labels == "0" and network in WITHOUT_SYNTHETIC:
                    continue  # it would not learn what a count is
                add_rows(arguments.csv, [run(arguments, network, labels, seed)], KEY)
    minutes = f"{arguments.minutes:g}"
    rows = [row for row in read_rows(arguments.csv) if row["minutes_asked"] == minutes]
    draw(rows, arguments.plot)
    print_table(rows)


def run(arguments: argparse.Namespace, network: str, labels: str, seed: int) -> dict[str, object]:
    """Trains one network; what it scored on the validation split."""
    if network in CLASSICAL:
        return fit_classical(arguments, network, labels, seed)
    settings = [f"data.natural.labelled={labels}", f"seed={seed}", budget(arguments.minutes)]
    settings.append("train.select=last")
    if arguments.weights and network == "EfficientNet-B0":
        settings.append(f"model.weights={arguments.weights}")
    words = [*NETWORKS[network], *options(settings)]
    name = f"{list(NETWORKS).index(network)}-{labels}-{arguments.minutes:g}-{seed}"
    folder, origin = train(words, arguments.runs, name)
    return {
        "network": network,
        "labels": labels,
        "seed": seed,
        "minutes_asked": f"{arguments.minutes:g}",
        **validation_columns(folder),
        **origin,
    }


def fit_classical(
    arguments: argparse.Namespace, network: str, labels: str, seed: int
) -> dict[str, object]:
    """Fits a classical counter in seconds; what it scored on the validation split."""
    file, settings = CLASSICAL[network]
    settings = [*settings, f"data.natural.labelled={labels}", f"seed={seed}"]
    recipe = load_recipe(file, settings)
    images, _ = recipe.data.natural.load(recipe.image_size, seed, ("train", "validation"))
    training, validation = (labelled(images.of(split)) for split in ("train", "validation"))
    counter = recipe.model.fit(training.images, training.counts)
    scores = count_metrics(validation.counts, counter.count(validation.images))
    return {
        "network": network,
        "labels": labels,
        "seed": seed,
        "minutes_asked": f"{arguments.minutes:g}",
        "minutes": "",
        "images": len(validation),
        **rounded(scores, ("mae", "exact", "mae_raw", "bias_raw")),
        "split": "validation",
        **origin(["python", "benchmarks/labels.py", "--networks", network]),
    }


def draw(rows: list[dict[str, str]], file: Path) -> None:
    """Mean error over seeds against the number of labels, a line for each network."""
    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 4), layout="constrained")
    for network, by_labels in by_network(rows).items():
        labels = sorted(by_labels)
        errors = [np.mean(by_labels[n]) for n in labels]
        axes.plot(labels, errors, marker="o", label=network)
    axes.set_xscale("symlog", linthresh=10)
    axes.set_xticks([0, 10, 25, 50, 100, 200, ALL], ["0", "10", "25", "50", "100", "200", "all"])
    axes.set_yscale("log")
    errors = [0.4, 0.5, 0.6, 0.8, 1, 1.5, 2, 3, 4]
    axes.set_yticks(errors, [f"{error:g}" for error in errors])
    axes.minorticks_off()
    axes.set(xlabel="labelled images", ylabel="mean absolute error in cells", ylim=(0.4, 4))
    axes.grid(alpha=0.3)
    axes.legend(loc=(0.5, 0.55))
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=160)


def by_network(rows: list[dict[str, str]]) -> dict[str, dict[int, list[float]]]:
    """Errors of all seeds by network and number of labels."""
    errors: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        labels = ALL if row["labels"] == "null" else int(row["labels"])
        errors[row["network"]][labels].append(float(row["mae"]))
    names = [*NETWORKS, *CLASSICAL]
    return {network: errors[network] for network in names if network in errors}


def print_table(rows: list[dict[str, str]]) -> None:
    """Prints the mean errors with intervals over seeds as Markdown."""
    errors = by_network(rows)
    table = []
    for labels in LABELS:
        name, number = ("all", ALL) if labels == "null" else (labels, int(labels))
        means = [over_seeds(by[number]) if number in by else "" for by in errors.values()]
        table.append([name, *means])
    print_markdown(["labels", *errors], table)


if __name__ == "__main__":
    main()
