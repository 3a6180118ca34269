"""What a lab's few labels give with a start from other kinds of cells, and from scratch.

    python benchmarks/starts.py --starts runs --minutes 1

Of each set of the recipe ``twindensity_cells`` some images keep their labels, and the same recipe
learns from them alone, beside synthetic cells: from scratch, and from the counter ``without_SET``
in ``--starts`` that has learned from all other sets. With 0 labels that counter is scored as it is.
All are scored on the images that ``benchmarks/cells.py`` takes, with the recipe's diameter; none
has taught or chosen anything. The folders are in ``data``.
"""

import argparse
from pathlib import Path

from cells import kept_aside, score
from table import add_rows, origin, print_markdown, read_rows
from training import budget, minutes_trained, options, train

from cellzoo.counters.load import load_run
from cellzoo.data.sources.mixed import CellSet
from cellzoo.recipe import load_recipe

RECIPE = "recipes/twindensity_cells.yaml"
KEY = ("images_of", "labels", "start", "seed", "minutes_asked")
# A start is easily forgotten at the rate that random weights need.
START_RATE = 5e-4


def main() -> None:
    """Parses, trains, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=Path, default=Path("runs"))
    parser.add_argument("--sets", nargs="+", default=["ldc", "cho_dic", "bccd"])
    parser.add_argument("--labels", type=int, nargs="+", default=[0, 10, 30, 100])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--runs", type=Path, default=Path("runs/starts"))
    parser.add_argument("--csv", type=Path, default=Path("benchmarks/results/starts.csv"))
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        for name in arguments.sets:
            for labels in arguments.labels:
                for start in ("other kinds", "scratch") if labels else ("other kinds",):
                    row = run(arguments, name, labels, start, seed)
                    add_rows(arguments.csv, [row], KEY)
    rows = read_rows(arguments.csv)
    print_markdown(list(rows[0]), [list(row.values()) for row in rows])


def run(
    arguments: argparse.Namespace, name: str, labels: int, start: str, seed: int
) -> dict[str, object]:
    """Trains one counter, or takes the start as it is; what it scored."""
    source = load_recipe(Path(RECIPE)).data.natural
    own = next(each for each in source.sets if each.name == name)
    other = arguments.starts / f"without_{name}"
    if labels:
        settings = [f"data.natural.sets=[{few(own, labels)}]", f"seed={seed}"]
        settings += [budget(arguments.minutes), "data.synthetic.images=2000"]
        if start != "scratch":
            settings += [f"train.start_from={other}", f"train.learning_rate={START_RATE}"]
        words = [RECIPE, *options(settings)]
        run_name = f"{name}-{labels}-{start.split()[0]}-{arguments.minutes:g}-{seed}"
        folder, made_with = train(words, arguments.runs, run_name)
    else:
        folder, made_with = other, origin(["python", "benchmarks/starts.py"])
    counter = load_run(folder).with_diameter(f"{own.diameter:g}px")
    return {
        "images_of": name,
        "labels": labels,
        "start": start,
        "seed": seed,
        "minutes_asked": f"{arguments.minutes:g}",
        "minutes": minutes_trained(folder),
        **score(counter, kept_aside(source, own, 128, 1)),
        **made_with,
    }


def few(own: CellSet, labels: int) -> str:
    """A set of which so many images keep their labels, as a recipe writes it."""
    images = own.images.model_copy(update={"labelled": labels})
    return own.model_copy(update={"images": images}).model_dump_json(exclude_none=True)


if __name__ == "__main__":
    main()
