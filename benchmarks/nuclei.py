"""Scores a counter of nuclei on images of many kinds: real, simulated, of other sizes and depths.

    python benchmarks/nuclei.py zoo:nuclei --data data --csv benchmarks/results/nuclei.csv

``data`` holds the folders ``dsb2018`` (real) and ``bbbc005`` (simulated by its authors). Scored are
the test split of the recipe ``dcc_nuclei``, as it is, scaled, and in other bit depths; the test
split of seed 1 of BBBC005 in focus, by stain; and images of our simulator with cells of 8 to 60 px
and with up to 1,000 cells, from seeds that no training has used. None of these chose anything.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from table import add_rows, origin, print_markdown, trust

from cellzoo.counters.load import load_counter
from cellzoo.data.sources import BBBC005, Nuclei
from cellzoo.data.sources.bbbc005 import ORIGINAL_SIZE
from cellzoo.images import resize
from cellzoo.scores.table import count_metrics
from cellzoo.simulators.fluorescence import Fluorescence
from cellzoo.simulators.nuclei import draw_nuclei

Set = tuple[str, list[np.ndarray], np.ndarray]  # name, images, counts
_SEED = 20_000


def main() -> None:
    """Parses, counts, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="test", help="validation, while anything is chosen")
    parser.add_argument("--images", type=int, default=24, help="of each simulated kind")
    parser.add_argument("--only", default="", help="sets whose name begins so")
    parser.add_argument("--csv", type=Path)
    arguments = parser.parse_args()
    made_with = origin(["python", "benchmarks/nuclei.py", arguments.model, "--data", "data"])
    counter = load_counter(arguments.model)
    rows = []
    for name, images, counts in sets(arguments.data, arguments.split, arguments.images):
        if name.startswith(arguments.only):
            rows.append({"model": counter.name, "set": name, **score(counter, images, counts)})
            print(rows[-1], flush=True)
    if arguments.csv:
        rows = [{**row, "version": counter.version, **made_with} for row in rows]
        add_rows(arguments.csv, rows, ("model", "set"))
    print_markdown(list(rows[0]), [list(row.values()) for row in rows])


def score(counter, images: list[np.ndarray], counts: np.ndarray) -> dict[str, object]:
    """Errors, and what of flags and intervals a user sees."""
    found = counter.count(images, scaled=images[0].dtype.kind == "f")
    scores = count_metrics(counts, found.raw)
    flagged, covered, silent = trust(counts, found)
    return {
        "images": len(counts),
        "cells": f"{counts.mean():.0f}, up to {counts.max():.0f}",
        "mae": f"{scores['mae_raw']:.2f}",
        "mape": f"{scores['mape_raw']:.1f}",
        "bias_percent": f"{100 * (found.raw.sum() / counts.sum() - 1):.1f}",
        "flagged_percent": flagged,
        "covered_percent": covered,
        "wrong_without_a_word_percent": silent,
    }


def sets(data: Path, split: str, number: int) -> Iterator[Set]:
    """What is scored, as raw images."""
    real, _ = Nuclei(folder=str(data / "dsb2018"), size="resize").load(256, 1, (split,))
    real = real.take(real.kinds == "real")
    grey = np.rint(real.images * 255)
    yield "dsb2018, 8 bits", list(grey.astype(np.uint8)), real.counts
    yield "dsb2018, 12 of 16 bits", list((16 * grey).astype(np.uint16)), real.counts
    yield "dsb2018, a quarter of the light", list((grey // 4).astype(np.uint8)), real.counts
    for times in (0.75, 1.5, 2.5):
        side = round(256 * times)
        scaled = [resize(image, side) for image in real.images]
        yield f"dsb2018, {times} times as large", scaled, real.counts
    cells, _ = BBBC005(folder=str(data / "bbbc005"), blurs=[1]).load(ORIGINAL_SIZE, 1, (split,))
    for kind in np.unique(cells.kinds):
        own = cells.take(cells.kinds == kind)
        grey = np.rint(own.images * 255).astype(np.uint8)
        yield f"BBBC005 (simulated), {kind}", list(grey), own.counts
    for diameter in (8, 12, 18, 27, 40, 60):
        ends = (float(diameter), float(diameter))
        side = int(np.clip(16 * diameter, 256, 640))
        drawn = [draw_nuclei((side, side), ends, (_SEED, diameter, k)) for k in range(number)]
        images, masks = zip(*drawn, strict=True)
        counts = np.array([mask.max() for mask in masks], np.float32)
        yield f"simulated, any look, {diameter} px", list(images), counts
    look = Fluorescence(radius=(6, 8), blur=(0.3, 1.1), clustering=0.3, overlap=0.2)
    counts = np.linspace(0, 1000, max(3, number // 2)).round().astype(int)
    images = [look.draw((780, 1040), int(n), (_SEED, k))[0] for k, n in enumerate(counts)]
    yield "simulated, one look, up to 1,000", images, counts.astype(np.float32)


if __name__ == "__main__":
    main()
