"""One look against the mean of eight: how far off counters of the zoo are, before and after.

    python benchmarks/one_look.py --data data simulated_bf simulated_pc ldc bbbc005
    python benchmarks/one_look.py --data data --keep runs/one_look simulated_bf

Distils each counter (:mod:`cellzoo.training.distil`) on the images of its training, scores it on
the images of `fresh.py`, adds a row to the CSV and prints the CSV as Markdown. With ``--keep`` the
run that counts with one look stays, for `zoo.py`.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
from fresh import test_images
from table import add_rows, origin, print_markdown, read_rows

from cellzoo import zoo
from cellzoo.counters.load import load_run
from cellzoo.recipe import with_values
from cellzoo.runs import Run
from cellzoo.scores.table import count_metrics
from cellzoo.training.assemble import training_batches
from cellzoo.training.distil import distil

KEY = ("counter",)


def main() -> None:
    """Parses, distils, scores, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+")
    parser.add_argument(
        "--data", type=Path, required=True, help="holds the folders ldc and bbbc005"
    )
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--keep", type=Path, help="folder for the runs")
    parser.add_argument("--csv", type=Path, default=Path("benchmarks/results/one_look.csv"))
    arguments = parser.parse_args()
    for name in arguments.names:
        made_with = origin(["python", "benchmarks/one_look.py", "--data", "data", name,
                            "--steps", str(arguments.steps)])  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            run = Run(shutil.copytree(zoo.find(f"{zoo.PREFIX}{name}"), Path(folder) / name))
            row = one_look(run, name, arguments)
            if arguments.keep:
                shutil.copytree(run.path, arguments.keep / name)
        add_rows(arguments.csv, [{**row, **made_with}], KEY)
    rows = read_rows(arguments.csv)
    columns = [column for column in rows[0] if column not in made_with]
    print_markdown(columns, [[row[column] for column in columns] for row in rows])


def one_look(run: Run, name: str, arguments: argparse.Namespace) -> dict[str, object]:
    """Distils a counter and scores it."""
    recipe = run.recipe
    if recipe.data.natural.reads_files:
        where = str(arguments.data / Path(recipe.data.natural.folder).name)
        recipe = with_values(recipe, {"data.natural.folder": where})
    natural, _ = recipe.data.natural.load(recipe.image_size, recipe.seed, ("train",))
    images, which = test_images(recipe)
    many, once = recipe.count.test_time_augmentation, {"count.test_time_augmentation": 1}
    mean = counted(run, images.images)
    run.replace_recipe(with_values(run.recipe, once))
    before = counted(run, images.images)
    distil(run, training_batches(recipe, natural), arguments.steps)
    after = counted(run, images.images)
    row: dict[str, object] = {"counter": f"zoo:{name}", "scored_on": which, "images": len(images)}
    for key, counts in (("mean", mean), ("before", before), ("after", after)):
        scores = count_metrics(images.counts, counts)
        row |= {f"{key}_mae": f"{scores['mae']:.4f}", f"{key}_mae_raw": f"{scores['mae_raw']:.4f}"}
    row["before_from_mean"] = f"{np.abs(before - mean).mean():.4f}"
    row["after_from_mean"] = f"{np.abs(after - mean).mean():.4f}"
    return row | {"orientations": many, "steps": arguments.steps}


def counted(run: Run, images: np.ndarray) -> np.ndarray:
    """Counts before rounding."""
    return load_run(run.path).count(images, scaled=True, flags=False).raw


if __name__ == "__main__":
    main()
