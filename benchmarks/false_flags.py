"""How many images are flagged as unlike the training images without a reason.

    python benchmarks/false_flags.py --data data

``data`` holds the folders of real images. The groups of each are dealt into five parts. Four parts
set what is usual and the threshold, as a training does; the images of the fifth, whose groups had
no part in it, are looked at. So each image is looked at once. Simulated chambers: the zoo's
counters on 1,000 images of 40 chambers that set no threshold.
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
from fresh import test_images
from table import add_rows, origin, print_markdown, read_rows

from cellzoo import zoo
from cellzoo.data.image_set import ImageSet
from cellzoo.data.splits import split_by_group
from cellzoo.recipe import load_recipe, with_values
from cellzoo.runs import Run
from cellzoo.scores.uncertainty import score_intervals
from cellzoo.trust.out_of_distribution import OutOfDistribution

PARTS = [f"part{k}" for k in range(5)]
FOLDERS = {"ldc": "twindensity_ldc", "cho_dic": "twindensity_cho"}
SIMULATED = ("simulated_bf", "simulated_pc")


def main() -> None:
    """Parses, looks, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--csv", type=Path, default=Path("benchmarks/results/false_flags.csv"))
    arguments = parser.parse_args()
    made_with = origin(["python", "benchmarks/false_flags.py", "--data", "data"])
    for name, recipe in FOLDERS.items():
        images = every_image(recipe, arguments.data / name)
        row = summary(name, "five parts of the groups", images.groups, in_parts(images))
        add_rows(arguments.csv, [{**row, **made_with}], ("images_of",))
    for name in SIMULATED:
        run = Run(zoo.find(f"{zoo.PREFIX}{name}"))
        images, which = test_images(run.recipe)
        reasons = [run.out_of_distribution().reasons(image) for image in images.images]
        row = summary(f"zoo:{name}", which, images.groups, reasons)
        add_rows(arguments.csv, [{**row, **made_with}], ("images_of",))
    columns = ["images_of", "held_out", "images", "groups", "flagged", "interval", "reasons"]
    print_markdown(columns, [[row[c] for c in columns] for row in read_rows(arguments.csv)])


def every_image(recipe: str, folder: Path) -> ImageSet:
    """All splits of a folder, as the recipe reads them."""
    settings = with_values(load_recipe(recipe), {"data.natural.folder": str(folder)})
    splits = ("train", "validation", "test")
    images, _ = settings.data.natural.load(settings.image_size, settings.seed, splits)
    return images


def in_parts(images: ImageSet) -> list[list[str]]:
    """Why each image is flagged by what four fifths of the other groups look like."""
    parts = split_by_group(images.groups, dict.fromkeys(PARTS, 1 / len(PARTS)), seed=0)
    reasons: list[list[str]] = [[]] * len(images)
    for k, part in enumerate(PARTS):
        threshold = parts == PARTS[k - 1]  # as validation images
        usual = ~threshold & (parts != part)
        found = OutOfDistribution.fit(
            images.images[usual], images.groups[usual], images.images[threshold]
        )
        for place in np.flatnonzero(parts == part):
            reasons[place] = found.reasons(images.images[place])
    return reasons


def summary(name: str, which: str, groups: np.ndarray, reasons: list[list[str]]) -> dict:
    """The share that is flagged, its interval for other groups, and the usual reasons."""
    flagged = np.array([bool(words) for words in reasons])
    # A share is a score like any other: of "exact counts" that are the unflagged images.
    ends = score_intervals(
        np.zeros(len(flagged)),
        flagged.astype(float),
        groups=groups,
        metrics=lambda true, got: {"exact": float((true == got).mean())},
    ).get("exact")
    interval = "" if ends is None else f"{100 - 100 * ends[1]:.1f} to {100 - 100 * ends[0]:.1f} %"
    usual = Counter(words[0] for words in reasons if words).most_common(2)
    return {
        "images_of": name,
        "held_out": which,
        "images": len(flagged),
        "groups": len(set(groups)),
        "flagged": f"{100 * flagged.mean():.1f} %",
        "interval": interval,
        "reasons": "; ".join(f"{words} ({number})" for words, number in usual),
    }


if __name__ == "__main__":
    main()
