"""Counting tables that others published: the same images, with dots and with counts alone.

    python benchmarks/published.py --data vgg --labels dots --images 32 --draws 1 2 3 --minutes 8

Trains `recipes/twindensity_dots.yaml` for each choice of training images, one after the other, adds
the rows to the CSV and prints them as Markdown beside the published figures. With
`--start-minutes 30` a network first learns from drawn bacteria alone, once for all choices, and
each training begins with it and sees drawn images beside those of its choice. Images come from
`data/vgg` and `data/bccd`, links to them will do. Of `vgg` each draw deals half of the images to
training, of which some keep their labels, and scores the other half. `bccd` has its own validation
split. The last checkpoint is scored, so the validation images choose nothing. The images that
others usually test on play no part. A run folder of the same commit is not trained again.
"""

import argparse
from pathlib import Path

from table import add_rows, by, over_seeds, print_markdown, read_rows
from training import add_options, budget, options, train, validation_columns

KEY = ("data", "labels", "train_images", "draw", "minutes_asked", "start_minutes")
RECIPE = "recipes/twindensity_dots.yaml"
DATA = {
    # Simulated bacteria, 256 x 256 px, Lempitsky and Zisserman 2010.
    "vgg": [],
    # Blood smears of 640 x 480 px, a quarter as large: a red cell is then 20 px wide. Blue light
    # leaves out the nuclei of white cells.
    "bccd": [
        "data.natural.folder=data/bccd", "data.natural.channel=blue", "data.natural.size=resize",
        "data.natural.shares=null", "model.image_size=[120,160]", "count.test_time_augmentation=4",
    ],
}  # fmt: skip
LABELS = {"dots": [], "counts": ["data.natural.points=null"]}
# How bacteria are drawn: size, shape, light and blur were chosen by single ones and pairs of all
# 100 images, the range of counts a little wider than theirs.
BACTERIA = (
    "radius: [4.55, 5.0], irregularity: 0.24, brightness: [143, 196], texture: 0.13, "
    "clustering: 0, overlap: 1, covering: upper, blur: [1, 3], background: 120, photons: 5700, "
    "read_noise: 1, offset: 0, count_range: [60, 330]"
)
# A network that is the same for an image and its flips and turns, and one for both kinds of images.
NETWORK = [
    "model.symmetric=true", "model.latent=8", "model.shared_reader=true",
    "count.test_time_augmentation=1",
]  # fmt: skip
START = [
    f"data.natural={{source: simulated_fluorescence, train: 4000, validation: 100, {BACTERIA}}}",
    *NETWORK,
]  # fmt: skip
GO_ON = [
    f"data.synthetic={{preset: fluorescence, images: 1000, {BACTERIA}}}", *NETWORK,
    "train.learning_rate=2e-4",
]  # fmt: skip
# MAE on the images 101 to 200, which are kept aside here; all trained on dots. Mean, and deviation
# over draws where it is stated, as Xie et al. 2018 (doi 10.1080/21681163.2016.1149104) and Cohen et
# al. 2017 (arXiv 1703.08710) report them.
PUBLISHED = [
    ("vgg", "dots", "32", "3.5 (0.2)", "density, Lempitsky and Zisserman 2010"),
    ("vgg", "dots", "32", "3.2", "regression forest, Fiaschi et al. 2012"),
    ("vgg", "dots", "32", "3.5", "interactive density, Arteta et al. 2014"),
    ("vgg", "dots", "32", "2.9 (0.2)", "FCRN-A, Xie et al. 2018"),
    ("vgg", "dots", "32", "2.4 (0.4)", "Count-ception, Cohen et al. 2017"),
    ("vgg", "dots", "50", "2.3 (0.4)", "Count-ception, Cohen et al. 2017"),
]


def main() -> None:
    """Parses, runs, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--labels", nargs="+", choices=LABELS, default=list(LABELS))
    parser.add_argument("--images", nargs="+", default=["10", "32", "50"], help="null: all")
    parser.add_argument("--draws", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--start-minutes", type=float, help="on drawn bacteria, before --minutes")
    parser.add_argument("--start-from", help="run folder with whose weights these minutes begin")
    add_options(parser, "published")
    arguments = parser.parse_args()
    if arguments.start_minutes and arguments.data != ["vgg"]:
        parser.error("--start-minutes draws bacteria: give --data vgg")
    for images in arguments.images:
        for draw in arguments.draws:
            for data in arguments.data:
                for labels in arguments.labels:
                    row = run(arguments, data, labels, images, draw)
                    add_rows(arguments.csv, [row], KEY)
    print_table(arguments.csv)


def run(
    arguments: argparse.Namespace, data: str, labels: str, images: str, draw: int
) -> dict[str, object]:
    """Trains one counter; what it scored on the validation split."""
    settings = [
        *DATA[data], *LABELS[labels], f"data.natural.labelled={images}", f"seed={draw}",
        budget(arguments.minutes),
    ]  # fmt: skip
    name = f"{data}-{labels}-{images}-{arguments.minutes:g}-{draw}"
    if arguments.start_minutes:
        minutes = arguments.start_minutes
        before = [*START, budget(minutes)]
        if arguments.start_from:
            before += [f"train.start_from={arguments.start_from}", "train.learning_rate=1e-3"]
        start, _ = train([RECIPE, *options(before)], arguments.runs, f"start-{minutes:g}")
        settings += [*GO_ON, f"train.start_from={start}"]
        name += f"-after-{minutes:g}"
    settings += arguments.settings
    folder, origin = train([RECIPE, *options(settings)], arguments.runs, name)
    return {
        "data": data,
        "labels": labels,
        "train_images": images,
        "draw": draw,
        "minutes_asked": f"{arguments.minutes:g}",
        "start_minutes": f"{arguments.start_minutes:g}" if arguments.start_minutes else "",
        **validation_columns(folder),
        **origin,
    }


def print_table(file: Path) -> None:
    """Prints mean and draws of the CSV, and the published figures, as Markdown."""
    table = []
    rows = read_rows(file)
    columns = ("data", "labels", "train_images", "minutes_asked", "start_minutes")
    for key, found in by(rows, columns).items():
        data, labels, images, minutes, before = key
        errors = over_seeds([float(row["mae"]) for row in found])
        images = "all" if images == "null" else images
        method = f"twin density network, {minutes} minutes"
        method += f" after {before} on drawn bacteria" if before else ""
        table.append([data, labels, images, errors, method])
    table += PUBLISHED
    print_markdown(["data", "labels", "training images", "MAE", "method"], table)


if __name__ == "__main__":
    main()
