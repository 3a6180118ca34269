"""Do 95 % intervals hold 95 % of counts, and are images of another kind flagged?

    python benchmarks/coverage.py runs/twindensity_bf/A runs/twindensity_pc/B \
        runs/twindensity_ldc/C --others data/cho_dic

Intervals: the held-out labelled images of each run are dealt out anew 20 times, half of the groups
to calibrate on and half to test on, for intervals of one width and for those that grow with the
count; and the run's own interval, from its validation split, is tested on its test split. Flags:
shares of a run's own held-out images, of the other runs' and folders' images, and of its own images
made worse. A row per result goes into the two CSVs, in place of earlier ones of the same run, and
means are printed as Markdown.

Held out are the validation and test splits; the validation split chose the checkpoint and
takes part in the flags' threshold, so that flags are counted in the test split where there is one.
Of simulated chambers the test split is simulated on, to 1,000 images of 40 chambers, all labelled.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from table import add_rows, origin, print_markdown, read_rows

from cellzoo.counters.load import load_run
from cellzoo.counters.of_run import RunCounter
from cellzoo.data.folder import load_folder
from cellzoo.data.image_set import ImageSet
from cellzoo.data.reading import Reading
from cellzoo.evaluation.as_trained import images_as_trained
from cellzoo.images import resize
from cellzoo.scores.table import interval_metrics
from cellzoo.trust.intervals import LEVEL, Interval, conformal_rank

KEY = ("recipe", "data", "training_seed")
SIMULATED = 1000
OTHERS = 300  # images of other kinds that are looked at
Ends = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def main() -> None:
    """Parses, counts, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", help="run folders of cellzoo fit")
    parser.add_argument("--others", type=Path, nargs="*", default=[], help="folders of images")
    parser.add_argument("--splits", type=int, default=20)
    results = Path("benchmarks/results")
    parser.add_argument("--coverage", type=Path, default=results / "coverage.csv")
    parser.add_argument("--flags", type=Path, default=results / "flags.csv")
    arguments = parser.parse_args()
    counters = [load_run(run) for run in arguments.runs]
    held_out = [held_out_images(counter) for counter in counters]
    kinds = {data_name(c): images.images for c, images in zip(counters, held_out, strict=True)}
    for folder in arguments.others:
        images, _ = load_folder(folder, 128, labels=None, reading=Reading(resize=True))
        kinds[folder.resolve().name] = images.images
    names = [path.resolve().name for path in [*arguments.runs, *arguments.others]]
    made_with = origin(["python", "benchmarks/coverage.py", *names])
    for counter, images in zip(counters, held_out, strict=True):
        run = {"recipe": counter.name, "run": counter.version, "data": data_name(counter)}
        run |= {"training_seed": counter.run.recipe.seed}
        rows = coverage_rows(counter, images, arguments.splits)
        add_rows(arguments.coverage, [{**run, **row, **made_with} for row in rows], KEY)
        rows = flag_rows(counter, images, kinds)
        add_rows(arguments.flags, [{**run, **row, **made_with} for row in rows], KEY)
    print_coverage(arguments.coverage)
    print_flags(arguments.flags)


def held_out_images(counter: RunCounter) -> ImageSet:
    """The images that a run was not trained on and that have a count."""
    recipe = counter.run.recipe
    section, splits = recipe.data.natural, ("validation", "test")
    if section.source == "simulated":
        section = section.model_copy(update={"test": SIMULATED, "test_labelled": SIMULATED})
        splits = ("test",)
        images, _ = section.load(recipe.image_size, recipe.seed, splits)
    else:
        images, _ = images_as_trained(counter.run, splits)
    return images.take(images.labelled & np.isin(images.splits, splits))


def data_name(counter: RunCounter) -> str:
    """What kind of images a run was trained on."""
    section = counter.run.recipe.data.natural
    if section.source == "simulated":
        return f"simulated {section.modality}"
    if section.source == "bbbc005":
        return f"bbbc005 stain {' and '.join(map(str, section.stains))}"
    return Path(section.folder).name if section.reads_files else section.source


def coverage_rows(counter: RunCounter, images: ImageSet, splits: int) -> list[dict[str, object]]:
    """A row per split and kind of interval, and one for the run's own interval."""
    predicted = counter.count(images.images, scaled=True).raw
    names, members = np.unique(images.groups, return_inverse=True)
    rows = []
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(len(names))
        calibrating = np.isin(members, order[: len(names) // 2])
        counts, raw = images.counts[calibrating], predicted[calibrating]
        interval = Interval.fit(counts, raw, images.groups[calibrating])
        if interval is None:
            continue
        kinds = {"constant": constant_ends(counts, raw), "adaptive": interval.ends}
        for kind, ends in kinds.items():
            row = {"interval": kind, "split": f"half of {len(names)} groups", "split_seed": seed}
            row |= {"images_calibration": int(calibrating.sum())}
            rows.append(row | scores(images.take(~calibrating), predicted[~calibrating], ends))
    test = images.splits == "test"
    if counter.interval and test.any():
        row = {"interval": "the run's own", "split": "test", "split_seed": ""}
        row |= {"images_calibration": counter.interval.images}
        rows.append(row | scores(images.take(test), predicted[test], counter.interval.ends))
    return rows


def constant_ends(counts: np.ndarray, raw: np.ndarray) -> Ends:
    """Split conformal prediction with one width for all images."""
    half = np.sort(np.abs(raw - counts))[conformal_rank(len(counts)) - 1]
    return lambda new: (np.maximum(new - half, 0), np.maximum(new + half, 0))


def scores(images: ImageSet, predicted: np.ndarray, ends: Ends) -> dict[str, object]:
    """Coverage and width, of all and of the thirds with the fewest and the most cells counted."""
    low, high = ends(predicted)
    found = interval_metrics(images.counts, low, high)
    third = np.quantile(predicted, [1 / 3, 2 / 3])
    row = {"images_test": len(images), "groups_test": len(set(images.groups)), **found}
    for key, part in (("few", predicted <= third[0]), ("many", predicted >= third[1])):
        of_part = interval_metrics(images.counts[part], low[part], high[part])
        row |= {f"{name}_{key}": value for name, value in of_part.items()}
    return {k: f"{v:.4f}" if isinstance(v, float) else v for k, v in row.items()}


CHANGES = {
    "blurred, sigma 1 px": lambda image: cv2.GaussianBlur(image, (0, 0), 1),
    "blurred, sigma 2 px": lambda image: cv2.GaussianBlur(image, (0, 0), 2),
    "blurred, sigma 3 px": lambda image: cv2.GaussianBlur(image, (0, 0), 3),
    "inverted": lambda image: 1 - image,
    "saturated, 2.5 times as bright": lambda image: np.minimum(2.5 * image, 1),
}


def flag_rows(
    counter: RunCounter, images: ImageSet, kinds: dict[str, np.ndarray]
) -> list[dict[str, object]]:
    """A row per kind of images."""
    test = images.splits == "test"
    own = images.images[test] if test.any() else images.images
    looked_at = {f"own, {'test' if test.any() else 'validation'} split": own}
    random, mine = np.random.default_rng(0), data_name(counter)
    for name, others in kinds.items():
        if name == mine or {name.split()[0], mine.split()[0]} == {"bbbc005"}:
            continue  # a stain of BBBC005 is part of both stains
        chosen = others[random.permutation(len(others))[:OTHERS]]
        looked_at[name] = np.stack([resize(image, counter.preprocessing.size) for image in chosen])
    chosen = own[random.permutation(len(own))[:OTHERS]]
    for name, change in CHANGES.items():
        looked_at[f"own, {name}"] = np.stack([change(image) for image in chosen])
    rows = []
    for name, shown in looked_at.items():
        reasons = [flag for flag in counter.count(shown, scaled=True).flags if flag]
        usual = max(set(reasons), key=reasons.count, default="")
        share = f"{len(reasons) / len(shown):.4f}"
        rows.append({"shown": name, "images": len(shown), "flagged": share, "usual_reason": usual})
    return rows


def read(file: Path) -> dict[tuple[str, ...], list[dict[str, str]]]:
    """Rows by recipe and data, in their order."""
    found: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in read_rows(file):
        found.setdefault((row["recipe"], row["data"]), []).append(row)
    return found


def print_coverage(file: Path) -> None:
    """Prints means over the splits as a Markdown table."""
    print(f"\nCoverage of {100 * LEVEL:.0f} % intervals, of thirds with few and many cells\n")
    columns = ["recipe", "data", "interval", "splits", "coverage", "few", "many"]
    table = []
    for (recipe, data), rows in read(file).items():
        for kind in dict.fromkeys(row["interval"] for row in rows):
            chosen = [row for row in rows if row["interval"] == kind]

            def mean(key: str, of: list[dict[str, str]] = chosen) -> float:
                return float(np.mean([float(row[key]) for row in of]))

            shares = [f"{100 * mean(f'coverage{part}'):.1f} %" for part in ("", "_few", "_many")]
            widths = [f"{mean(f'mean_width{part}'):.2f}" for part in ("", "_few", "_many")]
            table.append([recipe, data, kind, len(chosen), *shares, *widths])
    print_markdown([*columns, "mean width", "few", "many"], table)


def print_flags(file: Path) -> None:
    """Prints the shares as a Markdown table."""
    print("\nFlagged\n")
    table = []
    for (recipe, data), rows in read(file).items():
        for row in rows:
            share = f"{100 * float(row['flagged']):.1f} %"
            table.append([recipe, data, row["shown"], row["images"], share, row["usual_reason"]])
    print_markdown(["recipe", "data", "shown", "images", "flagged", "usual reason"], table)


if __name__ == "__main__":
    main()
