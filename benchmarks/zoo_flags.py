"""Looks at the training images of the zoo's counters again, as a training does, without one.

    python benchmarks/zoo_flags.py bbbc005 --data data

``report/out_of_distribution.json`` of a counter says what its training images look like. One of an
earlier version knows less of them. ``data`` holds the folder of images; simulated images are drawn
again from the recipe's seed.
"""

import argparse
from pathlib import Path

from cellzoo import zoo
from cellzoo.data.normalised import images_as_seen
from cellzoo.recipe import with_values
from cellzoo.runs import Run
from cellzoo.trust.out_of_distribution import OutOfDistribution


def main() -> None:
    """Parses, looks, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    for name in arguments.names:
        run = Run(zoo.find(f"{zoo.PREFIX}{name}"))
        recipe = run.recipe
        if recipe.data.natural.reads_files:
            where = str(arguments.data / Path(recipe.data.natural.folder).name)
            recipe = with_values(recipe, {"data.natural.folder": where})
        splits = ("train", "validation")
        images, _ = recipe.data.natural.load(recipe.image_size, recipe.seed, splits)
        training, held_out = images.of("train"), images.of("validation")
        seen, others = training.images, held_out.images
        if normalise := recipe.data.normalise:
            seen, others = (images_as_seen(part, normalise) for part in (training, held_out))
        before = run.out_of_distribution()
        known = OutOfDistribution.fit(seen, training.groups, others, training.sizes)
        run.keep_out_of_distribution(known)
        print(f"zoo:{name}: threshold {before.threshold:.2f} -> {known.threshold:.2f}")


if __name__ == "__main__":
    main()
