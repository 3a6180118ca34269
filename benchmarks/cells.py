"""Scores counters of the recipe ``twindensity_cells`` on each kind of images, seen and left out.

    python benchmarks/cells.py zoo:cells runs/without_bccd --csv benchmarks/results/cells.csv

``data`` beside the command holds the folders that the recipe names. Of each kind the same images
score every counter: the test split, of ``ldc`` and ``bccd``, which have none, the validation split,
and fresh simulated chambers. None of them has taught a counter or chosen a checkpoint; those of the
validation splits calibrated its intervals, unless the kind was left out. Images are counted as
files are, once with the diameter that the counter chooses and once with the recipe's.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from fresh import TEST_SEED
from table import add_rows, origin, print_markdown, trust

from cellzoo.counters.base import Counter
from cellzoo.counters.load import load_counter
from cellzoo.data.image_set import ImageSet
from cellzoo.data.sources import Mixed
from cellzoo.data.sources.mixed import CellSet
from cellzoo.runs import Run
from cellzoo.scores.table import count_metrics

_CHAMBERS = 150  # simulated images
# A field of ``bccd`` is there twice, once among the training images.
_TWICE = "images/BloodImage_00037.jpg"


def main() -> None:
    """Parses, counts, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--only", nargs="+", help="names of sets")
    parser.add_argument("--csv", type=Path)
    arguments = parser.parse_args()
    made_with = origin(["python", "benchmarks/cells.py", *arguments.models])
    rows = []
    for model in arguments.models:
        counter = load_counter(model)
        recipe = counter.run.recipe
        source = recipe.data.natural
        for each in source.sets:
            if arguments.only and each.name not in arguments.only:
                continue
            images = kept_aside(source, each, recipe.image_size, recipe.seed)
            seen = "left out" if each.name in source.leave_out else "trained on"
            for how, one in ways(counter, each):
                row = {"model": model, "minutes": minutes(counter.run), "images_of": each.name}
                row |= {"kind": seen, "diameter": how, **score(one, images)}
                row["diameter_right"] = right(one, images, each.diameter) if one is counter else ""
                rows.append(row)
                print(row, flush=True)
    if arguments.csv:
        rows = [{**row, **made_with} for row in rows]
        add_rows(arguments.csv, rows, ("model", "images_of", "diameter"))
    print_markdown(list(rows[0]), [list(row.values()) for row in rows])


def minutes(run: Run) -> str:
    """How long a counter was trained."""
    return f"{run.validation_scores()['seconds'] / 60:.0f}"


def ways(counter: Counter, each: CellSet) -> Iterator[tuple[str, Counter]]:
    """The counter that chooses diameters, and the one that is given the recipe's."""
    yield "chosen", counter
    yield f"{each.diameter:g} px", counter.with_diameter(f"{each.diameter:g}px")


def kept_aside(source: Mixed, each: CellSet, size: int, seed: int) -> ImageSet:
    """Images of a set that no counter has learned from, whether it has seen others of the set."""
    if not each.images.reads_files:
        made = each.images.simulate(_CHAMBERS, 128, TEST_SEED)
        return made
    others = [other.name for other in source.sets if other.name != each.name]
    images, _ = source.model_copy(update={"leave_out": others}).read(size, seed)
    found = images.of("test" if len(images.of("test")) else "validation")
    return found.take(found.names != f"{each.name}/{_TWICE}")


def right(counter: Counter, images: ImageSet, diameter: float) -> str:
    """Share of images in % whose chosen diameter is within 1.4 times of the recipe's."""
    entries = list(counter._entries(images.given, True, None, {}))
    for entry in entries:
        counter.prepare(entry, None)
    times = np.array([entry.diameter for entry in entries]) / diameter
    return f"{100 * (np.abs(np.log(times)) < np.log(1.4)).mean():.0f}"


def score(counter: Counter, images: ImageSet) -> dict[str, object]:
    """Errors, and what of flags and intervals a user sees."""
    true, found = images.counts, counter.count(images.given, scaled=True)
    scores = count_metrics(true, found.raw)
    flagged, covered, silent = trust(true, found)
    return {
        "images": len(true),
        "cells": f"{true.mean():.1f}",
        "mae": f"{scores['mae']:.2f}",
        "exact": f"{100 * scores['exact']:.0f}",
        "mape": f"{scores['mape_raw']:.1f}",
        "bias": f"{scores['bias_raw']:.2f}",
        "flagged": flagged,
        "covered": covered,
        "silent": silent,
    }


if __name__ == "__main__":
    main()
