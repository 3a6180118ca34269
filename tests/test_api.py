"""``import cellzoo``: light until something is asked for, and the same counts as the command."""

import csv
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

import cellzoo
from cellzoo.commands.count import CountRow


def run_python(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


def test_nothing_heavy_is_imported_before_it_is_needed():
    heavy = "('numpy', 'cv2', 'pydantic', 'keras', 'tensorflow')"
    program = (
        "import sys, cellzoo\n"
        f"print([m for m in {heavy} if m in sys.modules])\n"
        "cellzoo.available(), cellzoo.fit, cellzoo.evaluate, cellzoo.UserError, cellzoo.networks\n"
        "print([m for m in ('keras', 'tensorflow') if m in sys.modules])"
    )
    assert run_python(program).stdout.splitlines() == ["[]", "[]"]


def test_the_public_names_are_there():
    assert set(cellzoo.__all__) < set(dir(cellzoo))
    for name in cellzoo.__all__:
        assert getattr(cellzoo, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        cellzoo.nothing()
    assert cellzoo.available() == [
        "zoo:bbbc005", "zoo:cells", "zoo:ldc", "zoo:nuclei", "zoo:simulated_bf",
        "zoo:simulated_pc",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def counter():
    return cellzoo.load("zoo:simulated_bf")


@pytest.fixture(scope="module")
def image():
    """Twenty discs with rims on an uneven ground, uint8 ``[256, 256]``."""
    random = np.random.default_rng(3)
    picture = np.full((256, 256), 190, np.uint8)
    for x, y in random.integers(10, 246, (20, 2)):
        cv2.circle(picture, (int(x), int(y)), 6, 120, 2)
    return picture


def test_arrays_count_as_the_command_counts_their_files(counter, image, run_cli, tmp_path):
    """Whole numbers used to be taken as scaled, without a word: a hundred times too many."""
    files = []
    for name, pixels in (("a", image), ("b", image[:128, :128]), ("c", np.rot90(image))):
        files.append(tmp_path / f"{name}.png")
        cv2.imwrite(str(files[-1]), pixels)
    out = tmp_path / "counts.csv"
    result = run_cli("count", *files, "--model", "zoo:simulated_bf", "-o", out)
    assert result.exit_code == 0, result.output
    header, *lines = csv.reader(out.read_text().splitlines())
    raw, flags = ([line[header.index(key)] for line in lines] for key in ("count_raw", "flag"))
    pictures = [image, image[:128, :128], np.rot90(image)]
    # Each picture by itself: in a batch of other pictures the last bit may differ.
    for given in (pictures, files):
        counts = counter.count(given)
        assert [f"{count:.2f}" for count in counts.raw] == [f"{float(text):.2f}" for text in raw]
        assert list(counts.flags) == flags
    assert 5 < counts.rounded[0] < 60
    stack = counter.count(np.stack([image, np.rot90(image)]))
    np.testing.assert_allclose(stack.raw, counts.raw[[0, 2]], rtol=1e-5)
    unit = counter.count(image / 255, scaled=True)
    np.testing.assert_allclose(unit.raw, counts.raw[:1], rtol=1e-4)


def test_files_are_counted_into_rows_and_a_table_if_one_is_wanted(counter, image, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), image)
    (tmp_path / "b.png").write_bytes(b"")
    rows = cellzoo.count_files(tmp_path, counter)
    assert [bool(row.error) for row in rows] == [False, True]
    assert isinstance(rows[0], CountRow) and rows[0].count > 0
    assert not list(tmp_path.glob("*.csv"))
    cellzoo.count_files(str(tmp_path / "a.png"), counter, str(tmp_path / "counts.csv"))
    assert (tmp_path / "counts.csv").read_text().count("\n") == 2
    with pytest.raises(cellzoo.UserError, match="counts.csv exists"):
        cellzoo.count_files(tmp_path, "zoo:simulated_bf", tmp_path / "counts.csv")


def test_cells_are_outlined_in_the_images_own_size():
    counter = cellzoo.load("zoo:bbbc005")
    original = np.zeros((520, 696), np.uint8)
    cv2.circle(original, (300, 200), 20, 120, -1)
    (found,) = counter.segment(original)
    assert found.mask.shape == found.probability.shape == original.shape
    assert found.mask.dtype == bool and found.mask[200, 300] and not found.mask[400, 100]


def test_an_image_of_the_networks_size_is_counted_as_shrunk_and_flagged_so():
    """Nobody can see whether its cells are as large as in BBBC005's images, once shrunk."""
    counter = cellzoo.load("zoo:bbbc005")
    image = np.random.default_rng(0).integers(0, 9, (136, 184), np.uint8)
    assert "184 x 136 px, trained on 696 x 520" in counter.count(image).flags[0]
    for other in (image[:100], np.tile(image, (4, 4))[:520, :696]):
        assert "once resized" not in counter.count(other).flags[0]


def test_an_unknown_model_is_one_sentence():
    for name, sentence in (
        ("zoo:simulated", "did you mean zoo:simulated_"),
        ("runs/none", "There is no model runs/none"),
    ):
        with pytest.raises(cellzoo.UserError, match=sentence):
            cellzoo.load(name)


def test_train_and_score(write_cells, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_cells(tmp_path / "pictures")
    (tmp_path / "light.yaml").write_text(
        "name: light\ndata: {natural: {source: folder, folder: cells}}\n"
        "model: {name: brightness, image_size: 16}\n"
    )
    settings = {"data.natural.folder": tmp_path / "pictures", "model.bins": 5}
    run = cellzoo.fit("light.yaml", "run", settings=settings)
    kept = cellzoo.load(run).run.recipe
    assert (kept.model.bins, kept.data.natural.folder) == (5, str(tmp_path / "pictures"))
    result = cellzoo.evaluate(run)
    assert result.images == 3 and result.scores["mae"] >= 0
    assert json.loads((run / "report" / "evaluation_test.json").read_text())
    odd = {"data.natural.folder": tmp_path / "\U00020000 😀", "model.bins": np.int64(7)}
    (tmp_path / "pictures").rename(odd["data.natural.folder"])
    kept = cellzoo.load(cellzoo.fit("light.yaml", "odd", settings=odd)).run.recipe
    assert (kept.model.bins, kept.data.natural.folder) == (7, str(odd["data.natural.folder"]))
    with pytest.raises(cellzoo.UserError, match="settings: seed is of type object: give text"):
        cellzoo.fit("light.yaml", settings={"seed": object()})
    with pytest.raises(cellzoo.UserError, match="model.bin"):
        cellzoo.fit("light.yaml", settings={"model.bin": 2})


def test_fit_refuses_what_the_command_refuses(tmp_path, monkeypatch, tiny_recipe):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(tiny_recipe)
    with pytest.raises(cellzoo.UserError, match="the budget decides how many there are"):
        cellzoo.fit("tiny.yaml", settings={"train.epochs": 3}, budget="1m")
    with pytest.raises(cellzoo.UserError, match="settings is of type list: give a dict"):
        cellzoo.fit("tiny.yaml", settings=["train.epochs=3"])
    with pytest.raises(cellzoo.UserError, match="tiny.yaml has no paper section"):
        cellzoo.fit("tiny.yaml", paper=True)
