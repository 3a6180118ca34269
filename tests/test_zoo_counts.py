"""The counts of the trained counters stay what they are, bit for bit, wherever they run.

``zoo_counts.json`` has them as they were before the package was laid out anew, with the processor
that made them. On the same kind of processor each bit has to be the same; on another one, whose
vector units add up in another order, they agree to 1e-4. On every machine the run folder, its
export and the server agree bit for bit.

    python tests/test_zoo_counts.py     # writes zoo_counts.json anew
"""

import json
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from processor import processor

FILE = Path(__file__).with_name("zoo_counts.json")
# Background, level of the rim, level of the inside, radius: what the counter takes for a cell.
LOOKS = {
    "ldc": (150, 90, 180, 8),
    "simulated_bf": (190, 120, 205, 6),
    "simulated_pc": (60, 150, 50, 6),
    "bbbc005": (4, 90, 90, 12),
}
SIZES = {"ldc": (128, 128), "simulated_bf": (128, 128), "simulated_pc": (128, 128),
         "bbbc005": (520, 696)}  # fmt: skip


def picture(name, cells, seed):
    """Discs with rims on an uneven ground, drawn with whole numbers alone, uint8 ``[h, w]``."""
    ground, rim, inside, radius = LOOKS[name]
    height, width = SIZES[name]
    random = np.random.default_rng(seed)
    image = np.full((height, width), ground) + np.arange(width) * 6 // width
    rows, columns = np.mgrid[:height, :width]
    for _ in range(cells):
        y, x = random.integers(2 * radius, (height - 2 * radius, width - 2 * radius))
        squared = (rows - y) ** 2 + (columns - x) ** 2
        image[squared <= radius**2] = rim
        image[squared <= (radius - 2) ** 2] = inside
    return np.clip(image + random.integers(-2, 3, image.shape), 0, 255).astype(np.uint8)


def write_pictures(name, folder):
    """Eight bits, sixteen bits, floats, and one of another size; an empty one."""
    cv2.imwrite(str(folder / "0_empty.png"), picture(name, 0, 0))
    cv2.imwrite(str(folder / "1_three.png"), picture(name, 3, 1))
    cv2.imwrite(str(folder / "2_nine.png"), picture(name, 9, 2))
    cv2.imwrite(str(folder / "3_bits16.png"), picture(name, 6, 3).astype(np.uint16) * 251 + 17)
    tifffile.imwrite(folder / "4_float.tif", (picture(name, 5, 4) / 255).astype(np.float32))
    if name in ("ldc", "bbbc005"):
        small = {"ldc": (100, 90), "bbbc005": (136, 184)}[name]
        part = picture(name, 7, 5)[: small[0], : small[1]]
        cv2.imwrite(str(folder / "5_small.png"), np.ascontiguousarray(part))
    return sorted(folder.iterdir())


def counted(counter, files):
    """``{file: [count, low, high]}`` of each file by itself, each number as hexadecimal bits."""
    rows = {}
    for file in files:
        counts = counter.count(file)
        numbers = (counts.raw[0], counts.low[0], counts.high[0])
        rows[file.name] = [float(np.float32(number)).hex() for number in numbers]
    return rows


@pytest.fixture(scope="module", params=list(LOOKS))
def name(request):
    """A counter of the zoo."""
    return request.param


@pytest.fixture(scope="module")
def files(name, tmp_path_factory):
    return write_pictures(name, tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def here(name, files):
    from cellzoo.counters.load import load_counter

    return counted(load_counter(f"zoo:{name}"), files)


def test_the_counts_are_those_of_before(name, here):
    kept = json.loads(FILE.read_text())
    assert here.keys() == kept["counts"][name].keys()
    if kept["processor"] == processor():
        assert here == kept["counts"][name]
    for file, numbers in here.items():
        now, before = (list(map(float.fromhex, n)) for n in (numbers, kept["counts"][name][file]))
        np.testing.assert_allclose(now, before, rtol=1e-4, atol=1e-4)


def test_the_counts_tell_pictures_apart(here):
    assert len({numbers[0] for numbers in here.values()}) == len(here)


SLOW = ("simulated_pc", "bbbc005")  # 15 s each; the others are of the same kinds, or smaller


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in LOOKS],
    indirect=True,
)
def test_export_and_server_count_as_the_run_folder(name, files, here, tmp_path):
    from cellzoo.commands.export import export
    from cellzoo.counters.load import load_counter
    from cellzoo.serving.config import watch_models
    from cellzoo.serving.server import Server, Settings
    from cellzoo.zoo import find

    exported = export(find(f"zoo:{name}"), tmp_path)
    expected = {file.name: here[file.name] for file in files}
    if name == "bbbc005":
        # The run folder resizes floats before the graph, the export inside: last bits differ.
        floats = [file for file in files if file.suffix == ".tif"]
        (there,) = counted(load_counter(str(exported)), floats).values()
        near = list(map(float.fromhex, expected.pop("4_float.tif")))
        np.testing.assert_allclose(list(map(float.fromhex, there)), near, rtol=1e-6)
        files = [file for file in files if file not in floats]
    assert counted(load_counter(str(exported)), files) == expected
    server = Server(watch_models(tmp_path), Settings(grpc_port=0, rest_port=None))
    try:
        served = load_counter(f"127.0.0.1:{server.grpc_port}/{exported.parent.name}")
        assert counted(served, files) == expected
    finally:
        server.stop()


if __name__ == "__main__":
    from cellzoo.counters.load import load_counter

    counts = {}
    for name in LOOKS:
        with tempfile.TemporaryDirectory() as folder:
            pictures = write_pictures(name, Path(folder))
            counts[name] = counted(load_counter(f"zoo:{name}"), pictures)
    content = {"python": sys.version.split()[0], "processor": processor(), "counts": counts}
    FILE.write_text(json.dumps(content, indent=2) + "\n")
