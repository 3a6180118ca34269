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


def palette_png(path):
    from PIL import Image

    Image.fromarray(colours()).quantize(16).save(path)


def colours():
    picture = np.repeat(THREE[0][..., None], 3, axis=2)
    picture[..., 0] //= 2
    picture[..., 2] //= 4
    return picture


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.webp", "a.tif"])
def test_a_colour_picture_has_four_commands(tmp_path, name):
    path, picture = tmp_path / name, colours()
    lossless = [cv2.IMWRITE_WEBP_QUALITY, 101] if name == "a.webp" else []
    cv2.imwrite(str(path), picture[..., ::-1], lossless)
    (facts,) = describe([path])
    (series,) = facts["series"]
    assert series["sizes"]["S"] == 3 and series["channels"] == ["red", "green", "blue"]
    if name != "a.jpg":
        expected = [[picture[..., k].min(), picture[..., k].max()] for k in range(3)]
        assert series["grey"] == expected
    chosen = [command["command"].rpartition("--channel ")[2] for command in facts["commands"]]
    assert chosen == ["red", "green", "blue", "luminance"]
    text = info(path).output
    assert "grey levels: red " in text and "0: red, 1: green, 2: blue" in text


def test_an_indexed_picture_in_colour_is_one(tmp_path):
    pytest.importorskip("PIL")
    palette_png(tmp_path / "a.png")
    (facts,) = describe([tmp_path / "a.png"])
    assert facts["series"][0]["sizes"]["S"] == 3 and len(facts["commands"]) == 4


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.webp"])
def test_a_grey_picture_has_one_command(tmp_path, name):
    cv2.imwrite(str(tmp_path / name), THREE[0])
    (facts,) = describe([tmp_path / name])
    assert len(facts["commands"]) == 1 and len(facts["series"][0]["grey"]) == 1
    assert facts["series"][0]["channels"] == []


def test_a_missing_file_is_an_error_beside_others(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), THREE[0])
    done = info(tmp_path / "none.png", tmp_path / "a.png")
    assert done.exit_code == 1
    assert "none.png: cannot be opened" in done.stderr and "a.png: PNG" in done.stdout


def test_files_that_are_alike_are_summarised(tmp_path):
    for k in range(5):
        cv2.imwrite(str(tmp_path / f"{k}.png"), THREE[k % 3])
    cv2.imwrite(str(tmp_path / "5.png"), THREE[0][:30])
    text = info(tmp_path).output
    assert "0.png: PNG" in text and f"and 4 more like it, to {tmp_path / '4.png'}" in text
    assert "1.png" not in text and "5.png: PNG" in text
    assert len(json.loads(info("--json", tmp_path).stdout)) == 6


def test_nobody_who_reads_on_is_no_error(tmp_path):
    files = [tmp_path / f"{k}.png" for k in range(3)]
    for k, file in enumerate(files):
        cv2.imwrite(str(file), THREE[0][: 20 + k])
    command = [sys.executable, "-m", "cellzoo.cli", "info", *map(str, files)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    running.stdout.close()
    assert running.stderr.read() == b"" and running.wait() == 0


def test_grey_levels_are_those_of_planes_that_are_there(tmp_path):
    path = tmp_path / "a.ome.tif"
    stack = np.full((3, 16, 20), 7, np.uint8) * np.arange(1, 4, dtype=np.uint8)[:, None, None]
    tifffile.imwrite(path, stack, ome=True, metadata={"axes": "TYX"}, photometric="minisblack")
    text = path.read_bytes().replace(b'SizeT="3"', b'SizeT="9"')
    path.write_bytes(text.replace(b'PlaneCount="3"', b'PlaneCount="9"'))
    assert "grey levels: 7 to 21" in info(path).output
