"""The code blocks of docs/python.md run, one after the other, and give what the text says."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

PAGE = Path(__file__).parents[1] / "docs" / "python.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def names(write_cells, tmp_path, monkeypatch):
    """What the page takes for granted: images, labels, a recipe, an image of nuclei."""
    monkeypatch.chdir(tmp_path)
    write_cells(tmp_path / "images")
    (tmp_path / "cells.yaml").write_text(  # fitted at once
        "name: cells\ndata: {natural: {source: folder, folder: elsewhere}}\n"
        "model: {name: brightness, image_size: 16}\n"
    )
    nuclei = np.zeros((520, 696), np.uint8)
    cv2.circle(nuclei, (300, 200), 20, 120, -1)
    return {"nuclei": nuclei, "true_counts": np.arange(6, dtype=np.float32)}


def test_the_blocks_run(names, tmp_path, capsys):
    for block in BLOCKS:
        exec(compile(block, str(PAGE), "exec"), names)
    shown = capsys.readouterr().out
    assert re.search(r"^\d+ cells, \d+\.\d to \d+\.\d", shown, re.MULTILINE)
    assert "scaled=True" in shown  # the error's cure
    assert len(names["growth"]) == 6 and names["failed"] == []
    assert names["found"].mask.any() and names["found"].mask.shape == (520, 696)
    written = {path.name for path in tmp_path.iterdir()}
    assert {"counts.csv", "density.keras", "runs"} <= written
    assert names["counter"].run.path == Path("runs/cells")


def test_the_counts_of_simulated_images_are_near_the_true_ones():
    import cellzoo
    from cellzoo.simulators.microscope import simulate_series

    series = simulate_series("bf", frames=6, seed=1)
    counts = cellzoo.load("zoo:simulated_bf").count(series.images)
    assert np.abs(counts.rounded - series.counts).max() <= 1
    large = np.tile(series.images[0], (2, 2))  # 256 px wide
    assert counts.raw[0] * 3 < cellzoo.load("zoo:simulated_bf").count(large).raw[0] < 40


def test_the_notebook_is_executed_and_runs_again():
    import matplotlib

    matplotlib.use("Agg")
    cells = json.loads(PAGE.with_name("counting.ipynb").read_text(encoding="utf-8"))["cells"]
    programs = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in programs] == list(range(1, len(programs) + 1))
    outputs = json.dumps([cell["outputs"] for cell in programs])
    assert "image/png" in outputs and len(outputs) < 200_000
    for word in ("Warning", "Traceback", "/home", "/root", "/tmp", "stderr"):
        assert word not in outputs
    shown = {}
    for cell in programs:
        exec("".join(cell["source"]), shown)
    true = shown["series"].counts
    errors = np.abs(shown["counts"].rounded - true)
    # Crowds are counted too low (docs/zoo.md): 26 as 23.
    assert errors[true <= 20].max() <= 2 and errors.max() <= 3
    assert shown["found"].mask.any()
