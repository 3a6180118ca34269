"""What the decoders of a Twin-VAE are worth: its pictures counted again, and how domains mix.

    python benchmarks/generative.py runs/quick/twinvae_spatial_bf-twin-6-1-b3f649d ...

For each run folder: counts in 200 fresh images (`fresh.py`) and 200 new synthetic ones, and what
the network counts in the pictures that it makes of them, a reconstruction by the half of its own
domain and a translation by the other half. Bias and mean absolute difference are against the counts
of the images themselves, not rounded; no true count plays a part. The last column says how well the
latents of natural and synthetic images mix: 1 as if shuffled, 0 apart. Rows go into the CSV.
"""

import argparse
from pathlib import Path

from fresh import test_images
from table import add_rows, origin, print_markdown, read_rows

from cellzoo.counters.load import load_run
from cellzoo.evaluation.embedding import mixing
from cellzoo.evaluation.findings import Findings, SyntheticImages
from cellzoo.evaluation.pictures import draw_synthetic, latent
from cellzoo.evaluation.translations import MOST_IMAGES, counted_again
from cellzoo.runs import Run

KEY = ("recipe", "seed", "budget", "picture")


def main() -> None:
    """Parses, measures, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--csv", type=Path, default=Path("benchmarks/results/generative.csv"))
    arguments = parser.parse_args()
    for folder in arguments.runs:
        add_rows(arguments.csv, measure(folder), KEY)
    columns = [*KEY, "bias_raw", "mae_raw", "mixing"]
    rows = read_rows(arguments.csv)
    print_markdown(columns, [[row[column] for column in columns] for row in rows])


def measure(folder: Path) -> list[dict[str, object]]:
    """The rows of a run folder, one for each picture."""
    recipe, counter = Run(folder).recipe, load_run(folder)
    training, _ = recipe.data.natural.load(recipe.image_size, recipe.seed, ("train",))
    images, which = test_images(recipe)
    images = images.take(range(min(MOST_IMAGES, len(images))))
    synthetic = SyntheticImages(*draw_synthetic(recipe, training, len(images)))
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


if __name__ == "__main__":
    main()
