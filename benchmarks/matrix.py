"""Every counter of the zoo on every image set at hand, own and foreign.

    python benchmarks/matrix.py --data data

``data`` holds the folders of images: ``ldc``, ``cho_dic``, ``bbbc005``, ``vgg``, ``bccd`` and
``dsb2018``; one that is missing is left out. Other sets are made from fixed seeds: simulated
chambers, simulated fluorescence with small and large cells, empty images and noise. Of each set up
to ``--images`` are drawn. All are files that are counted as `cellzoo count` does, so that bit
depth, size and tiles are those that a user meets. Sets of another size are also counted
``resized`` to that of the counter's training files, as somebody might do to fit them in: then
nothing but the look of an image says that it is another kind.

The figure that counts is ``silent``: the share of images that are neither flagged nor inside their
interval. An image that cannot be counted has an error, which is not silent. ``own`` says that a
counter was trained on images of that kind: it is scored on others, that no training has seen.
"""

import argparse
import csv
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from fresh import TEST_SEED
from table import add_rows, by, origin, print_markdown, read_rows

from cellzoo import zoo
from cellzoo.commands.count import CountRow, count_files
from cellzoo.counters.base import Counter
from cellzoo.counters.load import load_run
from cellzoo.data.sources.mixed import Mixed
from cellzoo.data.sources.simulated import SimulatedMicroscope
from cellzoo.images import read_frames, resize
from cellzoo.runs import Run
from cellzoo.scores.table import count_metrics
from cellzoo.simulators.fluorescence import Fluorescence

KEY = ("counter", "images_of")
CHAMBERS = 250  # images of simulated chambers that are drawn from
FLUORESCENCE_SIZE = (520, 696)  # that of BBBC005, so that cells alone are of another size
# Name of a set -> the counters of the zoo that learned from such images.
OWN = {
    "ldc": ("ldc", "cells"),
    "cho_dic": ("cells",),
    "bbbc005 nuclei": ("bbbc005",),
    "bbbc005 cell bodies": ("bbbc005",),
    "simulated bright field": ("simulated_bf", "cells"),
    "simulated phase contrast": ("simulated_pc", "cells"),
    "dsb2018": ("nuclei",),
    "dsb2018, 12 bits in 16": ("nuclei",),
    "dsb2018, enlarged, stretched": ("nuclei",),
}


@dataclass(frozen=True)
class ImageFiles:
    """Files of one kind, each with the true count of its only frame.

    Attributes:
        name: of the kind.
        counts: true count of each file.
        channel: that is counted, of colour pictures.
    """

    name: str
    counts: dict[Path, float]
    channel: str | None = None


def main() -> None:
    """Parses, counts, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--counters", nargs="+", default=zoo.names())
    parser.add_argument("--sets", default="", help="only those whose names begin so")
    parser.add_argument("--csv", type=Path, default=Path("benchmarks/results/matrix.csv"))
    arguments = parser.parse_args()
    images = ["--images", str(arguments.images)]
    made_with = origin(["python", "benchmarks/matrix.py", "--data", "data", *images])
    with tempfile.TemporaryDirectory() as folder:
        every = image_sets(arguments.data, Path(folder), arguments.images)
        sets = [images for images in every if images.name.startswith(arguments.sets)]
        for name in arguments.counters:
            counter = load_run(zoo.find(f"{zoo.PREFIX}{name}"))
            for images in sets:
                own = int(name in OWN.get(images.name, ()))
                if own and isinstance(counter.run.recipe.data.natural, Mixed):
                    images = held_out(images, counter.run, arguments.data, arguments.images)
                for files in (images, resized(images, counter, Path(folder) / name)):
                    if files is None:
                        continue
                    row = {"counter": f"zoo:{name}", "images_of": files.name, "own": own}
                    counted = count_files(list(files.counts), counter, channel=files.channel)
                    add_rows(arguments.csv, [row | cell(counted, files) | made_with], KEY)
    print_tables(read_rows(arguments.csv))


def image_sets(data: Path, folder: Path, most: int) -> Iterator[ImageFiles]:
    """All sets; what is made is written into ``folder``."""
    yield from folders(data, most)
    if (data / "bbbc005").is_dir():
        nuclei, bodies = (
            test_split("bbbc005", data / "bbbc005", f"bbbc005 {words}", most, stain=stain)
            for words, stain in (("nuclei", "1"), ("cell bodies", "2"))
        )
        yield nuclei
        yield bodies
        yield changed(nuclei, "bbbc005 nuclei, out of focus", folder, blurred)
    if (data / "dsb2018").is_dir():
        nuclei = test_split("nuclei", data / "dsb2018", "dsb2018", most)
        yield nuclei
        yield changed(nuclei, "dsb2018, 12 bits in 16", folder, twelve_bits)
        yield changed(nuclei, "dsb2018, enlarged, stretched", folder, enlarged)
    for modality, words in (("bf", "bright field"), ("pc", "phase contrast")):
        made = SimulatedMicroscope(modality=modality).simulate(CHAMBERS, 128, TEST_SEED)
        chosen = np.random.default_rng(0).permutation(len(made))[:most]
        yield written(
            f"simulated {words}", folder,
            ((round255(made.images[k]), made.counts[k]) for k in chosen),
        )  # fmt: skip
    for words, radius, cells in (
        ("small nuclei", (4.0, 5.5), 120), ("large nuclei", (36.0, 44.0), 40),
    ):  # fmt: skip
        drawn = fluorescence(Fluorescence(radius=radius), cells, most)
        yield written(f"simulated {words}", folder, drawn)
    yield written("empty", folder, ((image, 0) for image in empty(most)))
    yield written("noise", folder, ((image, 0) for image in noise(most)))


def folders(data: Path, most: int) -> Iterator[ImageFiles]:
    """Those without a counter that learned from them, and the validation split of ``ldc``."""
    for name in ("ldc", "cho_dic", "vgg", "bccd"):
        if (data / name).is_dir():
            split = {"split": "validation"} if name == "ldc" else {}
            found = labelled(data / name, name, most, **split)
            yield replace(found, channel="luminance") if name == "bccd" else found


def labelled(folder: Path, name: str, most: int, **wanted: str) -> ImageFiles:
    """Images of a folder with a table of labels, drawn from the rows with these values."""
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["count"]]
    rows = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    chosen = np.random.default_rng(0).permutation(len(rows))[:most]
    return ImageFiles(
        name, {folder / rows[k]["image"]: float(rows[k]["count"]) for k in sorted(chosen)}
    )


def test_split(counter: str, folder: Path, name: str, most: int, **wanted: str) -> ImageFiles:
    """Images of a folder in the test split of a counter of the zoo that learned from it."""
    run = Run(zoo.find(f"{zoo.PREFIX}{counter}"))
    source = run.recipe.data.natural.model_copy(update={"folder": str(folder)})
    images, _ = source.load(run.recipe.image_size, run.recipe.seed, ("test",))
    test = {Path(file).name for file in images.names}
    found = labelled(folder, name, 10**6, **wanted).counts
    kept = {file: count for file, count in found.items() if file.name in test}
    return ImageFiles(name, dict(list(kept.items())[:most]))


def held_out(images: ImageFiles, run: Run, data: Path, most: int) -> ImageFiles:
    """Images of a set of which others taught a counter: those of its test or validation split.

    Simulated chambers are new ones anyway.
    """
    sets = {each.name: each.images for each in run.recipe.data.natural.sets}
    if images.name not in sets:
        return images
    source = sets[images.name].model_copy(
        update={"folder": str(data / images.name), "size": "resize"}
    )
    split, _ = source.read(64, run.recipe.seed, ("validation", "test"))
    own = split.of("test") if len(split.of("test")) else split
    names = {Path(name).name for name in own.names}
    found = labelled(data / images.name, images.name, 10**6).counts
    kept = [(file, count) for file, count in found.items() if file.name in names]
    chosen = np.random.default_rng(0).permutation(len(kept))[:most]
    return replace(images, counts=dict(kept[k] for k in sorted(chosen)))


def changed(
    images: ImageFiles, name: str, folder: Path, how: Callable[[np.ndarray], np.ndarray]
) -> ImageFiles:
    """The same images, made to look as from another microscope."""
    pixels = (
        (next(iter(read_frames(file, channel=images.channel))).pixels, count)
        for file, count in images.counts.items()
    )
    return written(name, folder, ((how(image), count) for image, count in pixels))


def blurred(image: np.ndarray) -> np.ndarray:
    """Out of focus by 6 px."""
    return cv2.GaussianBlur(image, (0, 0), 6.0)


def twelve_bits(image: np.ndarray) -> np.ndarray:
    """As a camera of 12 bits writes it, into 16."""
    return image.astype(np.uint16) << 4


def enlarged(image: np.ndarray) -> np.ndarray:
    """Twice the pixels each way, the brightest white, as programs export it."""
    large = cv2.resize(image.astype(np.float32), None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    return round255((large - large.min()) / np.ptp(large))


def resized(images: ImageFiles, counter: Counter, folder: Path) -> ImageFiles | None:
    """The same images in the size of the counter's training files, cropped to their shape first.

    None where they have that size, or one of those, or where the counter takes cells of any size.
    """
    if counter.measuring:
        return None
    known = counter.out_of_distribution.sizes
    ends = [counter.preprocessing.size] * 2 if known is None else known
    first = cv2.imread(str(next(iter(images.counts))), cv2.IMREAD_UNCHANGED)
    sides = zip(ends[0], first.shape, ends[1], strict=False)
    if all(least <= side <= most for least, side, most in sides):
        return None
    folder.mkdir(exist_ok=True)
    how = partial(fitted, tuple(map(int, ends[0])))
    return changed(images, f"{images.name}, resized", folder, how)


def fitted(size: tuple[int, int], image: np.ndarray) -> np.ndarray:
    """An image in a size, cropped to its shape first."""
    height, width = image.shape
    share = min(height / size[0], width / size[1])
    rows, columns = round(size[0] * share), round(size[1] * share)
    top, left = (height - rows) // 2, (width - columns) // 2
    part = image[top : top + rows, left : left + columns]
    return np.rint(resize(part, size)).astype(image.dtype)


def fluorescence(looks: Fluorescence, cells: int, number: int) -> Iterator[tuple[np.ndarray, int]]:
    """Simulated fluorescence of up to so many cells."""
    counts = np.random.default_rng(TEST_SEED).integers(1, cells + 1, number)
    for k, count in enumerate(counts):
        yield looks.draw(FLUORESCENCE_SIZE, int(count), (TEST_SEED, k))[0], int(count)


def empty(number: int) -> Iterator[np.ndarray]:
    """Even and uneven backgrounds, dark to bright, with a camera's noise and without a cell."""
    random = np.random.default_rng(1)
    for k in range(number):
        size = ((128, 128), (520, 696), (256, 256))[k % 3]
        rows, columns = (np.linspace(-1, 1, side) for side in size)
        slope = random.uniform(-0.06, 0.06, 2)
        light = random.uniform(0.02, 0.8) + slope[0] * rows[:, None] + slope[1] * columns
        yield round255(light + random.normal(0, random.uniform(0.002, 0.02), size))


def noise(number: int) -> Iterator[np.ndarray]:
    """White, normal and coarse noise."""
    random = np.random.default_rng(2)
    for k in range(number):
        size = ((128, 128), (520, 696), (256, 256))[k % 3]
        image = random.uniform(0, 1, size) if k % 2 else random.normal(0.5, 0.2, size)
        if k % 4 > 1:
            image = cv2.GaussianBlur(image, (0, 0), random.uniform(1, 5))
            image = (image - image.min()) / np.ptp(image)
        yield round255(image)


def round255(image: np.ndarray) -> np.ndarray:
    """A picture of [0, 1] in 8 bits."""
    return np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)


def written(name: str, folder: Path, images: Iterator[tuple[np.ndarray, float]]) -> ImageFiles:
    """Images as PNG files."""
    where = folder / name.replace(",", "").replace(" ", "_")
    where.mkdir()
    counts = {}
    for k, (image, count) in enumerate(images):
        file = where / f"image{k:03d}.png"
        cv2.imwrite(str(file), image)
        counts[file] = float(count)
    return ImageFiles(name, counts)


def cell(rows: list[CountRow], images: ImageFiles) -> dict[str, object]:
    """A row of the table."""
    counted = [row for row in rows if not row.error]
    found: dict[str, object] = {"images": len(rows), "errors": len(rows) - len(counted)}
    true = np.array([images.counts[Path(row.image)] for row in counted])
    raw = np.array([float(row.count_raw) for row in counted])
    low, high = (
        np.array([float(getattr(row, key) or "nan") for row in counted])
        for key in ("count_low", "count_high")
    )
    flagged = np.array([bool(row.flag) for row in counted], bool)
    inside = (low <= true) & (true <= high)  # without an interval it is not inside
    scores = count_metrics(true, raw) if counted else {}
    found["true_mean"] = f"{true.mean():.1f}" if counted else ""
    for key, name, decimals in (
        ("mae", "mae", 2), ("mape_raw", "mape", 1), ("bias_raw", "bias", 2),
    ):  # fmt: skip
        value = scores.get(key, np.nan)
        found[name] = "" if np.isnan(value) else f"{value:.{decimals}f}"
    with_interval = ~np.isnan(low)
    found["flagged"] = percent(flagged)
    found["with_interval"] = percent(with_interval)
    found["covered"] = percent(inside[with_interval])
    silent = np.zeros(len(rows), bool)
    silent[: len(counted)] = ~flagged & ~inside
    found["silent"] = percent(silent)
    reasons = [row.flag.split("; ")[0] for row in counted if row.flag]
    found["reason"] = max(set(reasons), key=reasons.count) if reasons else ""
    return found


def percent(of: np.ndarray) -> str:
    """A share of true values; empty of nothing."""
    return f"{100 * of.mean():.0f}" if len(of) else ""


def print_tables(rows: list[dict[str, str]]) -> None:
    """The silent share of each cell, and every figure."""
    counters = list(dict.fromkeys(row["counter"] for row in rows))
    table = []
    for (name,), cells in by(rows, ("images_of",)).items():
        of = {row["counter"]: row for row in cells}
        table.append([name, *[short(of.get(counter)) for counter in counters]])
    print_markdown(["images of", *counters], table)
    columns = list(rows[0])[: list(rows[0]).index("hardware")]
    print_markdown(columns, [[row[column] for column in columns] for row in rows])


def short(row: dict[str, str] | None) -> str:
    """MAE, flagged and silent."""
    if row is None:
        return ""
    own = "**" if row["own"] == "1" else ""
    return f"{own}MAE {row['mae']}, {row['flagged']} %, {row['silent']} %{own}"


if __name__ == "__main__":
    main()
