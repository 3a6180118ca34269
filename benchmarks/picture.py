"""The picture of counted images at the head of README.md, and the numbers below it.

    python benchmarks/picture.py

Draws simulated chambers that no split holds, counts them with ``zoo:simulated_pc`` and shows eight
of them with count and interval, from few cells to many.
"""

import csv
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

OUT = Path(__file__).parents[1] / "docs" / "counted.png"
RECIPE, MODEL, IMAGES, SHOWN = "twindensity_pc", "zoo:simulated_pc", 60, 8


def cellzoo(*words: str | Path) -> None:
    """Runs the command."""
    subprocess.run([sys.executable, "-m", "cellzoo.cli", *map(str, words)], check=True)


def main() -> None:
    """Writes the picture."""
    with tempfile.TemporaryDirectory() as folder:
        images, counts = Path(folder) / "images", Path(folder) / "counts.csv"
        cellzoo("synth", RECIPE, "--natural", "-n", str(IMAGES), "-o", images)
        cellzoo("count", images / "images", "--model", MODEL, "-o", counts)
        with counts.open(newline="") as file:
            counted = list(csv.DictReader(file))
        with (images / "labels.csv").open(newline="") as file:
            true = {row["image"]: int(row["count"]) for row in csv.DictReader(file)}
        for row in counted:
            row["true"] = true[f"images/{Path(row['image']).name}"]
        exact = sum(int(row["count"]) == row["true"] for row in counted)
        inside = sum(
            float(row["count_low"]) <= row["true"] <= float(row["count_high"]) for row in counted
        )
        counted.sort(key=lambda row: float(row["count_raw"]))
        # The middle of each eighth: not the best and not the worst.
        chosen = [counted[(2 * k + 1) * IMAGES // (2 * SHOWN)] for k in range(SHOWN)]
        figure, axes = pyplot.subplots(2, SHOWN // 2, figsize=(9, 5.4), dpi=110)
        for row, axis in zip(chosen, axes.flat, strict=True):
            image = cv2.imread(row["image"], cv2.IMREAD_GRAYSCALE)
            axis.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="bicubic")
            axis.set_axis_off()
            axis.set_title(f"{row['count']} cell{'s' * (row['count'] != '1')}", fontsize=13, pad=4)
            low, high = (float(row[key]) for key in ("count_low", "count_high"))
            caption = f"95 %: {low:.1f} to {high:.1f}; true {row['true']}"
            axis.text(64, 137, caption, ha="center", va="center", fontsize=9)
        figure.tight_layout(pad=0.6)
        figure.savefig(OUT)
    print(f"wrote {OUT}: {exact} of {IMAGES} counts are exact, {inside} inside their interval")


if __name__ == "__main__":
    main()
