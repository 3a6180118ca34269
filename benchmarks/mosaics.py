"""Does a twin density network count larger images than those it was trained on?

    python benchmarks/mosaics.py zoo:ldc zoo:simulated_bf zoo:simulated_pc

Mosaics: four images that the model was not trained on, side by side, counted as one image of twice
the width and height, against the sum of the true counts and against the sum of the counts of the
parts. How much of the difference lies within 16 px of where the parts meet: there cells that a
border cut stand against each other, and chamber walls in the middle of an image, as no microscope
shows them.

Synthetic images of that size have no seams. They are counted in windows, as a run folder does,
and at once, with the mean grey level of the whole image taken away instead of the window's; in even
light and across a gradient of a fifth of the grey scale.

A row per result goes into the CSV, in place of earlier ones of the same model, and they are printed
as Markdown.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from coverage import data_name
from table import add_rows, origin, print_markdown, read_rows

from cellzoo import zoo
from cellzoo.counters.load import load_run
from cellzoo.counters.network_parts import domain_counter, predict
from cellzoo.counters.test_time_augmentation import mean_over_orientations
from cellzoo.counters.tiled import TiledCounter
from cellzoo.data.synthetic import synthetic_cells
from cellzoo.evaluation.as_trained import images_as_trained
from cellzoo.scores.counts import round_count

SEAM = 16  # px on each side of where two parts meet


def main() -> None:
    """Parses, counts, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", help="zoo:NAME, or run folders of such networks")
    parser.add_argument("--mosaics", type=int, default=80)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/mosaics.csv"))
    arguments = parser.parse_args()
    where = origin(["python", "benchmarks/mosaics.py", *arguments.models])
    for model in arguments.models:
        counter = load_run(zoo.find(model))
        # One whose recipe resizes can count in windows, too.
        counter.any_size = True
        rows = [*mosaics(counter, arguments.mosaics), *seamless(counter, arguments.mosaics // 2)]
        add_rows(arguments.out, [{"model": model} | row | where for row in rows], ("model",))
    print_table(arguments.out)


def mosaics(counter: TiledCounter, number: int) -> list[dict[str, object]]:
    """Rows on images, on sums of four and on mosaics of the same four."""
    recipe = counter.run.recipe
    split = "validation" if recipe.data.natural.reads_files else "test"
    images, _ = images_as_trained(counter.run, (split,))
    images = images.take(images.labelled & (images.splits == split))
    single = counter.count(images.images, scaled=True).raw
    random = np.random.default_rng(0)
    fours = np.stack([random.permutation(len(images))[:4] for _ in range(number)])
    true, parts = images.counts[fours].sum(axis=1), single[fours].sum(axis=1)
    large = np.stack([side_by_side(images.images[four]) for four in fours])
    counted = counter.count(large, scaled=True).raw
    maps = [counter.tiled.map("density", image) for image in images.images]
    found = np.mean(
        [
            counter.tiled.map("density", image) - side_by_side([maps[k] for k in four])
            for image, four in zip(large, fours, strict=True)
        ],
        axis=0,
    )
    place = counter.tiled.tiling.grid_cell
    from_middle = np.abs(np.arange(len(found)) + 0.5 - len(found) / 2) * place
    at_seam = (from_middle[:, None] < SEAM) | (from_middle[None] < SEAM)
    name = f"{data_name(counter)}, {split}"
    return [
        scores(f"{name}: single images", images.counts, single),
        scores(f"{name}: sums of four", true, parts),
        scores(f"{name}: mosaics of the four", true, counted)
        | {
            "more_than_parts": f"{(counted - parts).mean():.3f}",
            "more_at_seams": f"{found[at_seam].sum() * place**2:.3f}",
            "more_elsewhere": f"{found[~at_seam].sum() * place**2:.3f}",
        },
    ]


def seamless(counter: TiledCounter, number: int) -> list[dict[str, object]]:
    """Rows on synthetic images of twice the width and height, of the natural kind's counter."""
    recipe, size = counter.run.recipe, counter.run.recipe.image_size
    section = recipe.data.synthetic.model_copy(update={"background": None})

    def draw(side: int, images: int, counts: np.ndarray | None = None):
        cells = synthetic_cells(section, side, natural=None)
        return cells.render(images, (recipe.seed, side), counts=counts)

    images, counts = draw(size, 4 * number)
    true = counts.reshape(number, 4).sum(axis=1)
    parts = counter.count(images, scaled=True).raw.reshape(number, 4).sum(axis=1)
    large, _ = draw(2 * size, number, true)
    gradient = np.linspace(-0.1, 0.1, 2 * size, dtype=np.float32)
    ways: dict[str, Callable] = {
        "in windows": lambda images: counter.count(images, scaled=True).raw,
        "at once": lambda images: mean_over_orientations(
            lambda view: predict(domain_counter(counter.network), np.asarray(view)),
            images,
            recipe.count.test_time_augmentation,
        ),
    }
    rows = [scores("synthetic: sums of four", true, parts)]
    for light, shown in {"even": large, "uneven": np.clip(large + gradient, 0, 1)}.items():
        for way, count in ways.items():
            rows.append(scores(f"synthetic, {light} light: four times as large, {way}", true,
                               count(shown)))  # fmt: skip
    return rows


def side_by_side(four) -> np.ndarray:
    """Two rows of two."""
    return np.vstack([np.hstack(four[:2]), np.hstack(four[2:])])


def scores(images: str, true: np.ndarray, raw: np.ndarray) -> dict[str, object]:
    """A row: errors of rounded counts, bias of raw ones."""
    errors, some = round_count(raw) - true, true > 0
    return {
        "images": images,
        "number": len(true),
        "mean_count": f"{true.mean():.2f}",
        "mae": f"{np.abs(errors).mean():.3f}",
        "bias": f"{(raw - true).mean():.3f}",
        "mape": f"{100 * (np.abs(raw - true)[some] / true[some]).mean():.2f}",
        "more_than_parts": "",
        "more_at_seams": "",
        "more_elsewhere": "",
    }


def print_table(file: Path) -> None:
    """The rows of the CSV as Markdown."""
    keys = ("model", "images", "number", "mean_count", "mae", "bias", "mape", "more_than_parts",
            "more_at_seams", "more_elsewhere")  # fmt: skip
    print_markdown(keys, ([row[key] for key in keys] for row in read_rows(file)))


if __name__ == "__main__":
    main()
