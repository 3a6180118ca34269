"""``cellzoo info``: what a file holds, and the command that counts it."""

import json
import subprocess
import sys

import cv2
import microscope_files as writers
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from microscope_files import scene

from cellzoo.cli import main
from cellzoo.commands.info import describe

THREE = np.stack([scene(k) for k in range(3)])


def info(*arguments):
    return CliRunner().invoke(main, ["info", *map(str, arguments)])


def test_sizes_channels_scale_and_levels(tmp_path):
    planes = {(0, t, c): THREE[t].astype(np.uint16) * 16 for t in range(2) for c in range(2)}
    path = writers.czi(
        tmp_path / "a.czi", planes, channels=("DAPI", "GFP"), pixel_size_um=0.65, bits=12
    )
    (facts,) = describe([path])
    (series,) = facts["series"]
    assert series["sizes"] == {"T": 2, "C": 2, "Y": 40, "X": 56}
    assert series["channels"] == ["DAPI", "GFP"] and series["bits"] == 12
    assert series["pixel_size_um"] == pytest.approx(0.65)
    low, high = int(THREE[:2].min()) * 16, int(THREE[:2].max()) * 16
    assert series["grey"] == [[low, high]] * 2
    assert [c["command"].rpartition("--channel ")[2] for c in facts["commands"]] == ["DAPI", "GFP"]
    text = info(path).output
    for words in ("Zeiss CZI", "T 2 x C 2 x Y 40 x X 56", "0.65 µm", "12 bits", "0: DAPI, 1: GFP"):
        assert words in text


def test_json_is_json_whatever_else_there_is_to_say(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", THREE, metadata=None, photometric="minisblack")
    cv2.imwrite(str(tmp_path / "b.png"), THREE[0])
    (tmp_path / "c.png").write_bytes(b"damaged")
    (tmp_path / "d.avi").touch()
    done = info("--json", tmp_path)
    assert done.exit_code == 1
    stack, picture, damaged = json.loads(done.stdout)
    assert stack["series"][0]["sizes"] == {"I": 3, "Y": 40, "X": 56}
    assert picture["commands"][0]["counts"] == "1 frame"
    assert "is no image" in damaged["error"]
    assert "1 .avi" in done.stderr


@pytest.mark.parametrize(
    ("axes", "shape", "options"),
    [("ZYX", (3, 40, 56), "--z max"), ("TYX", (3, 40, 56), ""), ("QYX", (3, 40, 56), "--axes TYX")],
)
def test_the_command_says_what_is_needed(tmp_path, axes, shape, options):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, THREE, metadata={"axes": axes}, photometric="minisblack")
    (facts,) = describe([path])
    assert facts["commands"][0]["command"].partition(" --model zoo:NAME")[2].strip() == options


def test_it_starts_without_tensorflow(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), THREE[0])
    code = (
        "import sys; from cellzoo.commands.info import describe; from pathlib import Path\n"
        f"describe([Path({str(tmp_path / 'a.png')!r})])\n"
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
