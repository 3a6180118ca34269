"""A run is not scored on what it learned from, under whatever name."""

import shutil

import cv2
import numpy as np
import pytest

from cellzoo.data.copies import fingerprints
from cellzoo.data.seen import Seen
from cellzoo.runs import Run


@pytest.fixture
def run(tiny_run, tmp_path):
    """A run that has seen the first image of the folder ``cells``."""
    run = Run(shutil.copytree(tiny_run, tmp_path / "run"))
    return run


def test_a_copy_of_a_training_image_is_refused_unless_allowed(
    run, write_cells, tmp_path, run_cli, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    cells = write_cells(tmp_path / "theirs")
    picture = cv2.imread(str(cells / "03.png"), cv2.IMREAD_UNCHANGED)
    seen = fingerprints([np.rot90(picture) // 2 + 40])  # turned, at other grey levels
    command = ("evaluate", run.path, "--data", cells)
    run.keep_fingerprints(Seen(seen[:0], seen))
    refused = run_cli(*command)
    assert refused.exit_code == 1
    assert "03.png show what tiny learned from or was chosen on" in refused.stderr
    assert "leave them out, or add --allow-copies" in refused.stderr
    allowed = run_cli(*command, "--allow-copies")
    assert allowed.exit_code == 0, allowed.output
    exported = run_cli("export", run.path, "--to", tmp_path / "exports")
    assert exported.exit_code == 0, exported.output
    command = ("evaluate", tmp_path / "exports" / "tiny", "--data", cells)
    refused = run_cli(*command, "--out", tmp_path / "of_export")
    assert refused.exit_code == 1 and "03.png show what tiny learned from" in refused.stderr
    (tmp_path / "exports/tiny/1/assets.extra/fingerprints.npz").unlink()
    sums = tmp_path / "exports/tiny/1/checksums.txt"
    kept = [line for line in sums.read_text().splitlines() if "fingerprints" not in line]
    sums.write_text("\n".join(kept) + "\n")
    earlier = run_cli(*command, "--out", tmp_path / "of_export")
    assert earlier.exit_code == 0, earlier.output
    assert "does not say which images it learned from" in earlier.output
    command = ("evaluate", run.path, "--data", cells)
    run.keep_fingerprints(Seen(seen[:0], seen[:0]))
    assert run_cli(*command, "--out", tmp_path / "other").exit_code == 0
