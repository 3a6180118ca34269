"""What the decoders of a Twin-VAE are worth: its pictures counted again, and how domains mix.

    python benchmarks/generative.py runs/quick/twinvae_spatial_bf-twin-6-1-b3f649d ...

For each run folder: counts in 200 fresh images (`fresh.py`) and 200 new synthetic ones, and what
the network counts in the pictures that it makes of them, a reconstruction by the half of its own
domain and a translation by the other half. Bias and mean absolute difference are against the counts
of the images themselves, not rounded; no true count plays a part. The last column says how well the
latents of natural and synthetic images mix: 1 as if shuffled, 0 apart. Rows go into the CSV.

    python benchmarks/generative.py --picture docs/translations.png RUN

draws images of few to many cells of either domain, and below each what the network makes of it.
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from fresh import test_images
from table import add_rows, origin, print_markdown, read_rows

from cellzoo.counters.load import load_run
from cellzoo.evaluation.embedding import mixing
from cellzoo.evaluation.findings import Findings, SyntheticImages
from cellzoo.evaluation.pictures import columns, draw_synthetic, latent
from cellzoo.evaluation.translations import MOST_IMAGES, counted_again
from cellzoo.runs import Run

SHOWN = 4  # images of each domain
KEY = ("recipe", "seed", "budget", "picture")


def main() -> None:
    """Parses, measures, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--csv", type=Path, default=Path("benchmarks/results/generative.csv"))
    parser.add_argument("--picture", type=Path, help="of the first run; measures nothing")
    arguments = parser.parse_args()
    if arguments.picture:
        draw(arguments.runs[0], arguments.picture)
        return
    for folder in arguments.runs:
        add_rows(arguments.csv, measure(folder), KEY)
    shown = [*KEY, "bias_raw", "mae_raw", "mixing"]
    rows = read_rows(arguments.csv)
    print_markdown(shown, [[row[column] for column in shown] for row in rows])


def load(folder: Path):
    """The counter of a run folder, natural and synthetic images, and which the natural ones are."""
    recipe, counter = Run(folder).recipe, load_run(folder)
    training, _ = recipe.data.natural.load(recipe.image_size, recipe.seed, ("train",))
    images, which = test_images(recipe)
    images = images.take(range(min(MOST_IMAGES, len(images))))
    synthetic = SyntheticImages(*draw_synthetic(recipe, training, len(images)))
    return counter, images, synthetic, which


def measure(folder: Path) -> list[dict[str, object]]:
    """The rows of a run folder, one for each picture."""
    counter, images, synthetic, which = load(folder)
    recipe = counter.run.recipe
    counts = counter.count(images.images, scaled=True, flags=False)
    found = counted_again(Findings(counter, images, counts, synthetic=synthetic))
    latents = (latent(counter, images.images), latent(counter, synthetic.images, "synthetic"))
    return [
        {
            "recipe": recipe.name,
            "seed": recipe.seed,
            "budget": recipe.train.budget,
            "picture": picture,
            "scored": which,
            "images": len(images),
            **{key: f"{scores[key]:.3f}" for key in ("bias_raw", "mae_raw")},
            "mixing": f"{mixing(*latents):.2f}",
            **origin(["python", "benchmarks/generative.py", f"runs/quick/{folder.name}"]),
        }
        for picture, scores in found.items()
    ]


def draw(folder: Path, out: Path) -> None:
    """Images, their reconstructions and their translations, each with its count."""
    matplotlib.use("agg")
    from matplotlib import pyplot

    counter, images, synthetic, _ = load(folder)
    figure, axes = pyplot.subplots(3, 2 * SHOWN, figsize=(11, 5.4), dpi=110, layout="constrained")
    for half, domain in enumerate(("natural", "synthetic")):
        part = images if domain == "natural" else synthetic
        order = np.argsort(part.counts, kind="stable")
        # The middle of each quarter: not the best and not the worst.
        chosen = order[[(2 * k + 1) * len(order) // (2 * SHOWN) for k in range(SHOWN)]]
        own, true = part.images[chosen], part.counts[chosen]
        counted = counter.count(own, scaled=True, domain=domain, flags=False).raw
        for row, column in enumerate(columns(counter, own, true, counted, domain)):
            for place, image in enumerate(column.pictures):
                axis = axes[row, half * SHOWN + place]
                axis.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="bicubic")
                axis.set_xticks([])
                axis.set_yticks([])
                axis.set_title(column.captions[place].replace(", ", "\n"), fontsize=8, pad=3)
                if not place:
                    axis.set_ylabel(column.title, fontsize=8)
    figure.savefig(out)
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
