"""An image as large as a slide scanner's, in the memory of a laptop: `pytest -m slow`."""

import csv
import resource
import subprocess
import sys

import numpy as np
import pytest
import tifffile

SIDE = 10_000
RECIPE = """\
name: large
data:
  natural: {source: folder, folder: cells}
model: {name: dcc, image_size: [136, 184], channels: [8, 16, 32], head: additive}
"""


@pytest.mark.slow
def test_a_hundred_million_pixels_within_four_gibibytes(tmp_path):
    from cellzoo.recipe import load_recipe
    from cellzoo.runs import Run, build_network

    (tmp_path / "r.yaml").write_text(RECIPE)
    recipe = load_recipe(tmp_path / "r.yaml")
    run = Run.create(tmp_path / "run", recipe)
    run.save_best(build_network(recipe))
    random = np.random.default_rng(0)
    square = random.integers(0, 256, (1000, 1000), np.uint8)
    for name, side in (("small.tif", 1000), ("large.tif", SIDE)):
        pixels = np.tile(square, (side // 1000, side // 1000))
        tifffile.imwrite(tmp_path / name, pixels, tile=(256, 256), compression=None)
    command = [
        sys.executable, "-c", "from cellzoo.cli import main; main()", "count",
        str(tmp_path / "small.tif"), str(tmp_path / "large.tif"), "--model", str(run.path),
        "-o", str(tmp_path / "counts.csv"),
    ]  # fmt: skip
    subprocess.run(command, check=True)
    with (tmp_path / "counts.csv").open() as file:
        small, large = (float(row["count_raw"]) for row in csv.DictReader(file))
    # But for the borders, a hundred squares hold a hundred times the cells of one.
    assert large == pytest.approx(100 * small, rel=0.02)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    assert peak < 4 * 2**30
