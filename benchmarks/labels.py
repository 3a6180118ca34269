"""How many labels each network needs: validation error against the number of labelled images.

    python benchmarks/labels.py --minutes 1.5 --seeds 1

Trains every network on the `ldc` images at every number of labels for the same time, one after the
other; adds the rows to the CSV, draws the plot and prints the CSV as a Markdown table. The images
come from `data/ldc`, a link to them will do. A run folder of the same commit that is there already
is not trained again.
"""

import argparse
import csv
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import matplotlib
import numpy as np
from table import add_rows, commit, hardware

CELLZOO = [sys.executable, "-c", "from cellzoo.cli import main; main()"]
KEY = ("network", "labels", "seed", "minutes_asked")
LABELS = ["0", "10", "25", "50", "100", "200", "null"]  # null: all
ALL = 1339  # labelled training images of ldc
TWIN = "recipes/twinvae_ldc_fast.yaml"
# Recipe, options and settings. A network without synthetic images learns nothing without a label.
NETWORKS = {
    "spatial Twin-VAE": (TWIN, [], []),
    "the same, natural images only": (TWIN, [], ["data.synthetic=null"]),
    "the paper's Twin-VAE": ("recipes/twinvae_ldc.yaml", [], []),
    "EfficientNet-B0": ("recipes/efficientnet_ldc.yaml", ["--quick"], []),
}


def main() -> None:
    """Parses, runs, writes, draws and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--labels", nargs="+", choices=LABELS, default=LABELS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--minutes", type=float, default=1.5)
    parser.add_argument("--weights", help="EfficientNet's, a file; else they are downloaded")
    parser.add_argument("--runs", type=Path, default=Path("runs/labels"))
    parser.add_argument("--csv", type=Path, default=Path("benchmarks/results/labels.csv"))
    parser.add_argument("--plot", type=Path, default=Path("docs/labels.png"))
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        for labels in arguments.labels:
            for network in arguments.networks:
                if labels == "0" and "Twin-VAE" not in network:
                    continue
                add_rows(arguments.csv, [run(arguments, network, labels, seed)], KEY)
    with arguments.csv.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    draw(rows, arguments.plot)
    print_table(rows)


def run(arguments: argparse.Namespace, network: str, labels: str, seed: int) -> dict[str, object]:
    """Trains one network; what it scored on the validation split."""
    recipe, options, settings = NETWORKS[network]
    settings = [*settings, f"data.natural.labelled={labels}", f"seed={seed}"]
    settings.append(f"train.budget={arguments.minutes:g}m")
    if arguments.weights and "efficientnet" in recipe:
        settings.append(f"model.weights={arguments.weights}")
    fit = ["fit", recipe, *options, *(w for setting in settings for w in ("--set", setting))]
    name = f"{list(NETWORKS).index(network)}-{labels}-{arguments.minutes:g}-{seed}-{commit()}"
    folder = arguments.runs / name
    subprocess.run([*CELLZOO, *fit, "--out", str(folder)], check=True)
    scores = json.loads((folder / "report" / "validation.json").read_text())
    return {
        "network": network,
        "labels": labels,
        "seed": seed,
        "minutes_asked": f"{arguments.minutes:g}",
        "minutes": f"{scores['seconds'] / 60:.1f}",
        "images": scores["images"],
        **{key: f"{scores[key]:.4f}" for key in ("mae", "exact", "mae_raw", "bias_raw")},
        "split": "validation",
        "hardware": hardware(),
        "command": "cellzoo " + " ".join(fit),
        "commit": commit(),
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
    axes.minorticks_off()
    axes.set(xlabel="labelled images", ylabel="mean absolute error in cells", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=160)


def by_network(rows: list[dict[str, str]]) -> dict[str, dict[int, list[float]]]:
    """Errors of all seeds by network and number of labels."""
    errors: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        labels = ALL if row["labels"] == "null" else int(row["labels"])
        errors[row["network"]][labels].append(float(row["mae"]))
    return {network: errors[network] for network in NETWORKS if network in errors}


def print_table(rows: list[dict[str, str]]) -> None:
    """Prints the mean errors over seeds as Markdown."""
    print("| labels | " + " | ".join(by_network(rows)) + " |")
    print("|---" * (1 + len(by_network(rows))) + "|")
    for labels in LABELS:
        number = ALL if labels == "null" else int(labels)
        cells = [
            f"{np.mean(by[number]):.2f}" if number in by else ""
            for by in by_network(rows).values()
        ]
        print(f"| {'all' if labels == 'null' else labels} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
