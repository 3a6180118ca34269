"""What a lab's few labels give with a start from a counter of other kinds, and from scratch.

    python benchmarks/starts.py ldc=runs/without_ldc cho_dic=runs/without_cho_dic --minutes 1

Trains the recipe for each set, ``twindensity_ldc`` and ``twindensity_cho``, with 10, 30 and 100
labels: with random weights, and with those of a run of ``twindensity_cells`` that has left the set
out. Nothing else differs. The last checkpoint is scored on the images of ``fresh.py``. ``data``
beside the command holds the folders.
"""

import argparse

from fresh import test_images
from table import add_rows, print_markdown, read_rows
from training import add_options, budget, minutes_trained, options, rounded, train

from cellzoo.counters.load import load_run
from cellzoo.runs import Run
from cellzoo.scores.table import count_metrics

RECIPES = {"ldc": "recipes/twindensity_ldc.yaml", "cho_dic": "recipes/twindensity_cho.yaml"}
KEY = ("images_of", "labels", "start", "seed", "minutes_asked")


def main() -> None:
    """Parses, trains, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("starts", nargs="+", metavar="SET=RUN")
    parser.add_argument("--labels", type=int, nargs="+", default=[10, 30, 100])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--minutes", type=float, default=1)
    add_options(parser, "starts")
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        for name, other in (pair.split("=", 1) for pair in arguments.starts):
            for labels in arguments.labels:
                for start in (None, other):
                    add_rows(arguments.csv, [run(arguments, name, labels, start, seed)], KEY)
    rows = read_rows(arguments.csv)
    print_markdown(list(rows[0]), [list(row.values()) for row in rows])


def run(
    arguments: argparse.Namespace, name: str, labels: int, start: str | None, seed: int
) -> dict[str, object]:
    """Trains and scores one counter."""
    settings = [f"data.natural.folder=data/{name}", f"data.natural.labelled={labels}"]
    settings += [f"seed={seed}", "train.select=last", budget(arguments.minutes)]
    settings += arguments.settings
    if start:
        settings.append(f"train.start_from={start}")
    how = "without the set" if start else "scratch"
    parts = [name, str(labels), how.split()[0], f"{arguments.minutes:g}", str(seed)]
    words = [RECIPES[name], *options(settings)]
    folder, made_with = train(words, arguments.runs, "-".join(parts))
    images, which = test_images(Run(folder).recipe)
    counts = load_run(folder).count(images.given, scaled=True, flags=False)
    return {
        "images_of": name,
        "labels": labels,
        "start": how,
        "seed": seed,
        "minutes_asked": f"{arguments.minutes:g}",
        "scored_on": which,
        "images": len(images),
        **rounded(count_metrics(images.counts, counts.raw), ("mae", "exact", "bias_raw")),
        "training_minutes": minutes_trained(folder),
        **made_with,
    }


if __name__ == "__main__":
    main()
