"""Runs become SavedModels that count as the run does, beside all that an operator needs."""

import csv
import hashlib
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf

from cellzoo.commands.export import (
    TEST_VECTOR_FILE,
    WARMUP_FILE,
    _keep_number,
    _take_next_version,
    export,
)
from cellzoo.counters.load import load_counter, load_run
from cellzoo.counters.saved_model import SavedModelCounter
from cellzoo.errors import UserError
from cellzoo.files import damaged_file
from cellzoo.protocol.messages import PredictionLog
from cellzoo.serving.config import model_config, read_model_config
from cellzoo.serving.servable import Servable


@pytest.fixture(scope="module")
def exported(tiny_run, tmp_path_factory):
    """Version 1 of the tiny run. Not to be changed."""
    return export(tiny_run, tmp_path_factory.mktemp("exports"))


def columns(out):
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept = ("image", "frame", "count", "count_raw", "count_low", "count_high", "error")
    return [[row[key] for key in kept] for row in rows]


def test_a_saved_model_counts_bit_for_bit_as_its_run(
    exported, tiny_run, write_cells, run_cli, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write_cells(tmp_path / "cells")
    sixteen = np.random.default_rng(5).integers(0, 65536, (16, 16)).astype(np.uint16)
    cv2.imwrite("cells/sixteen.png", sixteen)
    cv2.imwrite("wider.png", np.zeros((16, 17), np.uint8))
    tables = []
    for number, model in enumerate((tiny_run, exported, exported.parent)):
        result = run_cli("count", "cells", "--model", model, "-o", f"{number}.csv")
        assert result.exit_code == 0, result.stderr
        tables.append(columns(tmp_path / f"{number}.csv"))
        result = run_cli("count", "wider.png", "--model", model, "-o", f"wider{number}.csv")
        if model == tiny_run:  # in tiles, which an export does not cut
            assert result.exit_code == 0, result.stderr
        else:
            assert result.exit_code == 1 and "17 x 16 px" in result.stderr
    assert tables[0] == tables[1] == tables[2] and len(tables[0]) == 13
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16)).astype(np.uint8)
    for pixels in (images, 100 * images.astype(np.uint16), (images / 255).astype(np.float32)):
        scaled = pixels.dtype == np.float32
        counters = (load_run(tiny_run), load_counter(exported))
        mine, theirs = (counter.count(pixels, scaled) for counter in counters)
        np.testing.assert_array_equal(mine.raw, theirs.raw)
        assert len(set(mine.raw)) > 1


def test_what_lies_beside_the_graph(exported):
    lines = (exported / "checksums.txt").read_text().splitlines()
    sums = dict(reversed(line.split("  ")) for line in lines)
    files = {f.relative_to(exported).as_posix() for f in exported.rglob("*") if f.is_file()}
    assert files - {"checksums.txt"} == set(sums)
    for name, digest in sums.items():
        assert hashlib.sha256((exported / name).read_bytes()).hexdigest() == digest
    records = [
        PredictionLog.FromString(record).predict_log.request
        for record in tf.data.TFRecordDataset(str(exported / WARMUP_FILE)).as_numpy_iterator()
    ]
    names = [request.model_spec.signature_name for request in records]
    assert names == ["serving_default", "uint8", "uint16", "unit", "encoded", "embedding"]
    assert {request.model_spec.name for request in records} == {"tiny"}
    card = (exported / "README.md").read_text()
    assert "training was not finished" in card and "16 x 16 pixels" in card
    assert all(f"| `{name}` | " in card for name in [*names, "metadata"]) and "| `mask`" not in card
    assert "| `uint8` | uint8 `[batch, height, width]` | `count`, `count_low`" in card
    assert "| `serving_default` |" in card and "## Intended use" in card


def test_the_embedded_server_runs_the_warm_up_records(exported):
    Servable("tiny", 1, exported).warm_up(exported)


def test_needs_nothing_of_ours(exported):
    program = f"""
import sys, numpy as np, tensorflow as tf
model = tf.saved_model.load({str(exported)!r})
with np.load({str(exported / TEST_VECTOR_FILE)!r}) as vector:
    answer = model.signatures["uint8"](images=tf.constant(vector["uint8/images"]))
    np.testing.assert_array_equal(answer["count"], vector["uint8/count"])
assert "cellzoo" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_only_what_counts_is_exported(exported, tiny_run):
    network = load_run(tiny_run).network
    parts = ["natural_encoder", "shared_encoder", "regressor", "latent_mean"]
    expected = sum(network.get_layer(name).count_params() for name in parts)
    metadata = json.loads((exported / "assets.extra/cellzoo.json").read_text())
    assert metadata["parameters"] == expected


def test_a_version_is_never_written_over(tiny_run, tmp_path, contents, monkeypatch):
    (tmp_path / "tiny" / "7").mkdir(parents=True)
    (tmp_path / "tiny" / "7" / "mine").write_text("x")
    assert export(tiny_run, tmp_path) == tmp_path / "tiny" / "8"
    before = contents(tmp_path)

    def fail(*arguments):
        raise UserError("answers otherwise")

    monkeypatch.setattr("cellzoo.commands.export._verify", fail)
    with pytest.raises(UserError, match="answers otherwise"):
        export(tiny_run, tmp_path)
    assert contents(tmp_path) == before
    names = sorted(path.name for path in (tmp_path / "tiny").iterdir())
    assert names == [".last", ".lock", "7", "8"]


def test_the_number_of_a_version_that_was_taken_back_is_not_given_again(tmp_path):
    """Tables of counts name it."""
    (tmp_path / "tiny").mkdir()
    for given, taken_back in (("1", False), ("2", True), ("3", False)):
        (tmp_path / "new").mkdir()
        folder = _take_next_version(tmp_path / "new", tmp_path / "tiny")
        assert folder.name == given
        _keep_number(int(given), tmp_path / "tiny")
        if taken_back:
            folder.rmdir()


def test_what_a_kill_left_is_cleaned_by_the_next_export(tiny_run, tmp_path, monkeypatch):
    left = tmp_path / "tiny" / ".new-abc_efgh"
    (left / "variables").mkdir(parents=True)
    (tmp_path / "tiny" / ".notes").mkdir()
    monkeypatch.setattr("cellzoo.commands.export._write", lambda *arguments: None)
    export(tiny_run, tmp_path)
    names = sorted(path.name for path in (tmp_path / "tiny").iterdir())
    assert names == [".last", ".lock", ".notes", "1"]


def test_the_servers_configuration_keeps_what_was_edited_meanwhile(tiny_run, tmp_path, monkeypatch):
    """Written where a link leads, and read anew after the model is."""
    file, serving = tmp_path / "etc" / "mine.config", tmp_path / "serving"
    for folder in (file.parent, serving):
        folder.mkdir()
    file.write_text("# Before\n")
    (serving / "models.config").symlink_to(file)

    def edit(counter, graph, folder):
        file.write_text(model_config(["other"], "# Meanwhile\n"))

    monkeypatch.setattr("cellzoo.commands.export._write", edit)
    export(tiny_run, tmp_path / "models", serving)
    assert (serving / "models.config").readlink() == file
    assert file.read_text().startswith("# Meanwhile\n")
    assert [model.name for model in read_model_config(file)] == ["other", "tiny"]
    file.write_text("models {")
    with pytest.raises(UserError, match="models.config is no ModelServerConfig"):
        export(tiny_run, tmp_path / "models", serving)
    names = sorted(path.name for path in (tmp_path / "models" / "tiny").iterdir())
    assert names == [".last", ".lock", "1"]


def test_exports_at_the_same_time_get_versions_of_their_own(tmp_path):
    """Each takes the next number that is free, whole, and nobody's is lost."""
    base = tmp_path / "tiny"
    (base / "7").mkdir(parents=True)

    def export_often(worker):
        versions = []
        for k in range(20):
            new = base / f".new-{worker}-{k}"
            new.mkdir()
            (new / "mine").write_text(f"{worker} {k}")
            versions.append((_take_next_version(new, base), f"{worker} {k}"))
        return versions

    with ThreadPoolExecutor(8) as pool:
        taken = [pair for part in pool.map(export_often, range(8)) for pair in part]
    assert sorted(int(folder.name) for folder, _ in taken) == list(range(8, 168))
    assert all((folder / "mine").read_text() == content for folder, content in taken)
    assert list((base / "7").iterdir()) == []


def test_a_damaged_file_is_named(exported, tmp_path):
    folder = tmp_path / "tiny" / "1"
    shutil.copytree(exported, folder)
    (folder / "README.md").write_text("A note of ours.")
    assert damaged_file(folder) is None
    SavedModelCounter(folder)
    graph = folder / "saved_model.pb"
    content = graph.read_bytes()
    graph.write_bytes(content + b"\0\0")
    with pytest.raises(UserError, match="saved_model.pb is not as `cellzoo export` wrote it"):
        SavedModelCounter(tmp_path / "tiny")
    with pytest.raises(ValueError, match="saved_model.pb is not as checksums.txt says"):
        Servable("tiny", 1, folder)
    graph.write_bytes(content)
    (folder / WARMUP_FILE).unlink()
    assert damaged_file(folder) == WARMUP_FILE
    (folder / "checksums.txt").write_text("rubbish")
    assert damaged_file(folder) == "checksums.txt"
    (folder / "checksums.txt").unlink()
    assert damaged_file(folder) is None


def test_list_shows_exports(exported, run_cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "saved_models").symlink_to(exported.parents[1])
    lines = run_cli("list", "exports").stdout.splitlines()
    assert lines[1].split()[:2] == ["saved_models/tiny/1", "twinvae_spatial"]


def test_a_damaged_export_is_refused(tmp_path, run_cli, write_cells):
    folder = tmp_path / "sm" / "1"
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"x")
    with pytest.raises(UserError, match="no SavedModel that `cellzoo export` wrote"):
        SavedModelCounter(tmp_path / "sm")


def test_a_strangers_saved_model_counts_only_if_trusted(
    exported, write_cells, run_cli, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write_cells(tmp_path / "cells")

    def counted(dtype):
        @tf.function(input_signature=[tf.TensorSpec([None, None, None], dtype, name="images")])
        def count(images):
            tf.io.write_file("mark", "written")
            counts = tf.ones([tf.shape(images)[0]])
            return {"count": counts, "count_low": counts, "count_high": counts}

        return count

    module = tf.Module()
    for name, dtype in (("uint8", tf.uint8), ("uint16", tf.uint16), ("unit", tf.float32)):
        setattr(module, f"count_{name}", counted(dtype))
    tf.saved_model.save(module, "theirs/1")
    shutil.copytree(exported / "assets.extra", "theirs/1/assets.extra")
    for command in ("count cells --model theirs", "evaluate theirs --data cells"):
        result = run_cli(*command.split())
        assert result.exit_code == 1, result.output
        assert "saved_model.pb holds WriteFile, which no export" in result.stderr
    assert not Path("mark").exists()
    result = run_cli("count", "cells", "--model", "theirs", "--trust")
    assert result.exit_code == 0, result.stderr
    assert Path("mark").exists()


def test_evaluates_a_saved_model(exported, tiny_run, write_cells, run_cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("cells", "theirs"):  # the run was trained on cells
        write_cells(tmp_path / name)
    result = run_cli("evaluate", exported)
    assert result.exit_code == 2 and "--data" in result.stderr
    for model, out in ((exported, "a"), (tiny_run, "b")):
        assert run_cli("evaluate", model, "--data", "theirs", "--out", out).exit_code == 0
    name = "evaluation_theirs.json"
    a, b = (json.loads((tmp_path / out / name).read_text()) for out in ("a", "b"))
    assert a.pop("mixing") == {} and b.pop("mixing")  # a SavedModel's latent is not looked at
    assert a.pop("counted_again") == {} and b.pop("counted_again")  # it has no decoder
    assert (a.pop("model"), b.pop("model")) == (str(exported), str(tiny_run))
    assert a == b
    for report in ("a/index.html", "b/index.html"):
        assert "images of the folder theirs, tiny is off by" in (tmp_path / report).read_text()


def test_counts_unlabelled_images_with_a_saved_model(
    exported, write_cells, run_cli, tmp_path, monkeypatch, contents
):
    monkeypatch.chdir(tmp_path)
    (write_cells(tmp_path / "cells") / "labels.csv").unlink()
    before = contents(exported)
    result = run_cli("evaluate", exported, "--data", "cells")
    assert (result.exit_code, result.stderr) == (0, "")
    folder = tmp_path / "evaluation" / "tiny_1" / "evaluation_cells"
    assert f"wrote {folder.relative_to(tmp_path) / 'index.html'}\n" in result.stdout
    assert json.loads((folder / "evaluation_cells.json").read_text())["scores"] == {}
    assert contents(exported) == before  # its checksums still hold
