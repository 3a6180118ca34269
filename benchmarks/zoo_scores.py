"""Scores the zoo's counters on one common fresh test set each, and calibrates their intervals.

    python benchmarks/zoo_scores.py --data data            # a table
    python benchmarks/zoo_scores.py --data data --write    # also intervals and fingerprints

``data`` holds the folders ``ldc`` and ``bbbc005``. Simulated chambers: 1,000 images of new chambers
to score, and 1,000 of others to calibrate, from fixed seeds that no training and no choice has
used. BBBC005: the test split scores, the validation split calibrates. ``ldc`` has no test split:
its validation images do both, each half of the groups calibrating for the other half; they chose
no checkpoint, as the counter is the last one of its training, but settings of its recipe.

``--write`` puts the interval into each counter's ``report/validation.json``, and what the counter
has seen into ``fingerprints.npz``.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from fresh import CALIBRATION_SEED, FRESH, TEST_SEED, labelled
from table import add_rows, origin, print_markdown, read_rows

from cellzoo import zoo
from cellzoo.counters.load import load_run
from cellzoo.data.copies import fingerprints
from cellzoo.data.image_set import ImageSet
from cellzoo.data.seen import Seen
from cellzoo.recipe import with_values
from cellzoo.runs import Run
from cellzoo.scores.table import COUNT_SCORES, count_metrics, interval_metrics
from cellzoo.scores.uncertainty import score_intervals
from cellzoo.trust.intervals import Interval

KEY = ("counter", "version")


def main() -> None:
    """Parses, counts, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--write", action="store_true")
    # benchmarks/cells.py scores zoo:cells, which has many kinds of images.
    names = [name for name in zoo.names() if name != "cells"]
    parser.add_argument("--names", nargs="+", default=names)
    parser.add_argument("--csv", type=Path, default=Path("benchmarks/results/zoo.csv"))
    arguments = parser.parse_args()
    made_with = origin(["python", "benchmarks/zoo_scores.py", "--data", "data"])
    for name in arguments.names:
        rows = [score(name, arguments.data, arguments.write)]
        add_rows(arguments.csv, [{**row, **made_with} for row in rows], KEY)
    columns = list(read_rows(arguments.csv)[0])[: -len(made_with)]
    table = [[row[column] for column in columns] for row in read_rows(arguments.csv)]
    print_markdown(columns, table)


def score(name: str, data: Path, write: bool) -> dict[str, object]:
    """Scores one counter, and with ``write`` calibrates it."""
    folder = zoo.find(f"{zoo.PREFIX}{name}")
    recipe = Run(folder).recipe
    if recipe.data.natural.reads_files:
        where = str(data / Path(recipe.data.natural.folder).name)
        recipe = with_values(recipe, {"data.natural.folder": where})
    source, size = recipe.data.natural, recipe.image_size
    images, _ = source.load(size, recipe.seed, ("train", "validation", "test"))
    if source.simulated and not source.reads_files:
        calibrating = source.simulate(FRESH, size, CALIBRATION_SEED)
        testing, which = source.simulate(FRESH, size, TEST_SEED), "fresh simulated chambers"
    else:
        calibrating = labelled(images.of("validation"))
        testing, which = labelled(images.of("test")), "test split"
    counter = load_run(folder)
    predicted = counter.count(calibrating.images, scaled=True, flags=False).raw
    interval = fit(calibrating, predicted)
    if len(testing):
        raw = counter.count(testing.images, scaled=True, flags=False).raw
        low, high = interval.ends(raw)
    else:
        testing, which, raw = calibrating, "validation split, halves calibrate", predicted
        low, high = crossed(calibrating, predicted)
    if write:
        write_down(folder, images, calibrating, predicted, interval)
    scores = count_metrics(testing.counts, raw)
    ends = score_intervals(testing.counts, raw, groups=testing.groups)
    row = {"counter": f"zoo:{name}", "version": folder.name, "scored_on": which}
    row |= {"images": len(testing), "groups": len(set(testing.groups))}
    for key in ("mae", "exact", "mre", "invented"):
        row[key] = "" if np.isnan(scores[key]) else COUNT_SCORES[key].number(scores[key])
        row[f"{key}_interval"] = COUNT_SCORES[key].interval(ends.get(key))
    thirds = np.searchsorted(np.quantile(raw, [1 / 3, 2 / 3]), raw)
    parts = {"all": np.ones(len(raw), bool)}
    parts |= {f"third {k + 1}": thirds == k for k in range(3)}
    row["coverage"] = ", ".join(covered(part, testing, low, high, name)
                                for name, part in parts.items())  # fmt: skip
    by_kind = []
    for kind in np.unique(testing.kinds) if testing.kinds is not None else ():
        own = testing.kinds == kind
        mae = COUNT_SCORES["mae"].number(count_metrics(testing.counts[own], raw[own])["mae"])
        by_kind.append(f"{covered(own, testing, low, high, kind)}, MAE {mae}")
    row["by_kind"] = "; ".join(by_kind)
    return row


def covered(part: np.ndarray, images: ImageSet, low, high, name: str) -> str:
    """How many of a part of the images lie inside their intervals."""
    share = interval_metrics(images.counts[part], low[part], high[part])["coverage"]
    return f"{name} {100 * share:.1f} %"


def fit(images: ImageSet, predicted: np.ndarray) -> Interval:
    """The interval, from images that chose no checkpoint."""
    return Interval.fit(
        images.counts, predicted, images.groups, images.kinds, selected_on_others=True
    )


def crossed(images: ImageSet, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of intervals, each half of the groups calibrated by the other one."""
    names, members = np.unique(images.groups, return_inverse=True)
    half = (np.random.default_rng(0).permutation(len(names)) % 2 == 0)[members]
    low, high = np.empty_like(predicted), np.empty_like(predicted)
    for known in (half, ~half):
        interval = fit(images.take(known), predicted[known])
        low[~known], high[~known] = interval.ends(predicted[~known])
    return low, high


def write_down(
    folder: Path,
    images: ImageSet,
    calibrating: ImageSet,
    predicted: np.ndarray,
    interval: Interval,
) -> None:
    """Writes interval and fingerprints, and new scores where the validation split has changed."""
    file = folder / "report" / "validation.json"
    summary = json.loads(file.read_text(encoding="utf-8"))
    if not calibrating.names[0].startswith("simulated"):
        summary |= {"images": len(calibrating), **count_metrics(calibrating.counts, predicted)}
    summary["interval"] = interval.metadata()
    run = Run(folder)
    run.write_json(str(file.relative_to(folder)), summary)
    prints = fingerprints(images.images)
    chosen_on = (images.splits == "validation") & images.labelled
    run.keep_fingerprints(Seen(prints[images.splits == "train"], prints[chosen_on]))


if __name__ == "__main__":
    main()
