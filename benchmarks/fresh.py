"""Which images score a counter: one common set for each kind, which no choice has used.

Simulated chambers: 1,000 images of 40 new chambers from a fixed seed. Folders and BBBC005: the test
split. A folder without one is scored on its validation split, which must then have chosen no
checkpoint.

    python benchmarks/fresh.py data/cho_dic data/cho_dic_fixed

gives a folder whose ``labels.csv`` has no column ``split`` one split for all seeds: 60 % of the
groups train, 10 % validate and 30 % test.
"""

import argparse
import csv
from pathlib import Path

import numpy as np

from cellzoo.data.image_set import ImageSet
from cellzoo.data.splits import split_by_group
from cellzoo.recipe import Recipe

FRESH, CALIBRATION_SEED, TEST_SEED = 1000, 7001, 7002
SHARES = {"train": 0.6, "validation": 0.1, "test": 0.3}


def test_images(recipe: Recipe) -> tuple[ImageSet, str]:
    """The images that score a recipe's counters, and in words which they are."""
    source, size = recipe.data.natural, recipe.image_size
    if source.simulated and not source.reads_files:
        return source.simulate(FRESH, size, TEST_SEED), "fresh simulated chambers"
    images, _ = source.load(size, recipe.seed, ("train", "validation", "test"))
    test = labelled(images.of("test"))
    if len(test):
        return test, "test split"
    if recipe.train.select != "last":
        raise SystemExit("without a test split only the last checkpoint can be scored")
    return labelled(images.of("validation")), "validation split, which chose no checkpoint"


def labelled(images: ImageSet) -> ImageSet:
    """Those with a count."""
    return images.take(images.labelled)


def main() -> None:
    """Parses and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    with (arguments.folder / "labels.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    splits = split_by_group(np.array([row["group"] for row in rows]), SHARES, seed=0)
    arguments.out.mkdir(parents=True)
    for item in arguments.folder.iterdir():
        if item.name != "labels.csv":
            (arguments.out / item.name).symlink_to(item.resolve())
    with (arguments.out / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [*rows[0], "split"])
        writer.writeheader()
        writer.writerows({**row, "split": split} for row, split in zip(rows, splits, strict=True))


if __name__ == "__main__":
    main()
