"""What the order of the labelling page is worth: a simulated labeller, who knows every count.

    python benchmarks/labeller.py --seeds 1 2 3 --minutes 3

The training images of `data/ldc` (a link will do) lose their counts. Then three labellers give some
back, and `twindensity_ldc` is trained on these for the same time:

- the page's order: half of the labels as the page asks without a model; half of the time trained on
  them; the rest as the page asks with that model; the other half of the time, from its weights.
- random: as many labels, drawn at random, and
- random, twice: twice as many.

All are scored on all validation images, which chose nothing: the last weights count. The page's
turns for validation and test are left out, for all images here are to learn from. Adds the rows to
the CSV and prints means over seeds. A run folder of the same commit is not trained again.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from table import add_rows, by, over_seeds, print_markdown, read_rows
from training import budget, options, train, validation_columns

from cellzoo.data.labels import read_labels
from cellzoo.labelling.answers import Answer
from cellzoo.labelling.catalogue import Catalogue, catalogue
from cellzoo.labelling.next import suggest
from cellzoo.labelling.predictions import Predictions

KEY = ("order", "labels", "seed", "minutes_asked")
RECIPE = "recipes/twindensity_ldc.yaml"


def main() -> None:
    """Parses, runs, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/ldc"))
    parser.add_argument("--labels", type=int, default=40)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--runs", type=Path, default=Path("runs/labeller"))
    parser.add_argument("--csv", type=Path, default=Path("benchmarks/results/labeller.csv"))
    arguments = parser.parse_args()
    with (arguments.data / "labels.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    pool = [row for row in rows if row["split"] == "train"]
    others = [row for row in rows if row["split"] != "train"]
    labels, minutes = arguments.labels, arguments.minutes
    for seed in arguments.seeds:
        trainer = Trainer(arguments, pool, others, seed)
        drawn = np.random.default_rng(seed).permutation(len(pool))
        for name, number in (("random", labels), ("random, twice", 2 * labels)):
            trainer.score(name, drawn[:number], minutes, None)
        page = Page(arguments.data, pool, seed)
        page.label(labels // 2)
        first = trainer.train("page-half", page.chosen, minutes / 2, None)[0]
        page.count(first)
        page.label(labels - labels // 2)
        trainer.score("the page's", page.chosen, minutes / 2, first)
    print_table(arguments.csv)


class Trainer:
    """Trains on some of the labels and writes the rows."""

    def __init__(self, arguments, pool, others, seed: int):
        """Trains nothing yet."""
        self.arguments, self.pool, self.others, self.seed = arguments, pool, others, seed

    def train(self, name: str, chosen, minutes: float, start: Path | None) -> tuple[Path, dict]:
        """Trains on the chosen images of the pool; the run folder and where it comes from."""
        name = f"{name.replace(' ', '-')}-{len(chosen)}-{self.arguments.minutes:g}-{self.seed}"
        folder = self.arguments.runs / "folders" / name
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "images").exists():
            (folder / "images").symlink_to((self.arguments.data / "images").resolve())
        known = set(np.asarray(chosen).tolist())
        with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(self.pool[0]), extrasaction="ignore")
            writer.writeheader()
            for k, row in enumerate(self.pool):
                writer.writerow(row if k in known else row | {"count": ""})
            writer.writerows(self.others)
        settings = [
            f"data.natural.folder={folder}", "data.natural.labelled=null", f"seed={self.seed}",
            "train.select=last", budget(minutes),
        ]  # fmt: skip
        if start is not None:
            settings.append(f"train.start_from={start}")
        return train([RECIPE, "--quick", *options(settings)], self.arguments.runs, name)

    def score(self, order: str, chosen, minutes: float, start: Path | None) -> None:
        """Trains, and adds the row."""
        folder, origin = self.train(order.replace("'", ""), chosen, minutes, start)
        row = {
            "order": order, "labels": len(chosen), "seed": self.seed,
            "minutes_asked": f"{self.arguments.minutes:g}", **validation_columns(folder), **origin,
        }  # fmt: skip
        add_rows(self.arguments.csv, [row], KEY)


class Page:
    """What the labelling page would ask for.

    Attributes:
        chosen: places in the pool of the images that have a label, in the order of labelling.
    """

    def __init__(self, data: Path, pool, seed: int):
        """Reads every image once, as the page does."""
        self.pool, self.seed = pool, seed
        table = read_labels(data / "labels.csv")
        files = [(row["image"], data / row["image"]) for row in pool]
        self.frames: Catalogue = catalogue(files, table, seed=seed)
        place = {row["image"]: k for k, row in enumerate(pool)}
        self.places = [place[item.name] for item in self.frames.items]
        self.answers: dict[int, Answer] = {}
        self.predictions = Predictions(self.frames)
        self.turn, self.shown = 0, []

    @property
    def chosen(self) -> list[int]:
        """See the class."""
        return [self.places[k] for k in self.answers]

    def label(self, number: int) -> None:
        """Answers so many questions of the page. Second answers to an image are left out."""
        wanted = len(self.answers) + number
        while len(self.answers) < wanted:
            found = suggest(
                self.frames, self.answers, self.predictions.predicted, shown=self.shown,
                turn=self.turn, seed=self.seed,
            )  # fmt: skip
            self.turn += 1
            self.shown.append(found.number)
            if not found.repeat:
                count = int(self.pool[self.places[found.number]]["count"])
                self.answers[found.number] = Answer(count=count, chosen=found.chosen)

    def count(self, run: Path) -> None:
        """Counts all images with a model."""
        self.predictions.begin(run)
        self.predictions.wait()
        if self.predictions.error:
            raise SystemExit(self.predictions.error)


def print_table(file: Path) -> None:
    """Prints mean and seeds of the CSV as Markdown."""
    table = []
    for key, rows in by(read_rows(file), ("order", "labels", "minutes_asked")).items():
        order, labels, minutes = key
        errors = over_seeds([float(row["mae"]) for row in rows])
        raw = over_seeds([float(row["mae_raw"]) for row in rows])
        table.append([order, labels, minutes, errors, raw])
    print_markdown(["order", "labels", "minutes", "MAE", "MAE, not rounded"], table)


if __name__ == "__main__":
    main()
