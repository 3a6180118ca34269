"""Counters that come with the package, and training that begins with their weights."""

import shutil

import cv2
import numpy as np
import pytest

from cellzoo import zoo
from cellzoo.counters.load import load_counter
from cellzoo.errors import UserError
from cellzoo.runs import Run


@pytest.fixture
def tiny_zoo(tmp_path, monkeypatch, tiny_run):
    """A zoo of one counter in the versions 2 and 10."""
    folder = tmp_path / "zoo"
    for version in ("2", "10"):
        shutil.copytree(tiny_run, folder / "tiny" / version)
    monkeypatch.setattr(zoo, "FOLDER", folder)
    return folder


@pytest.fixture
def fit_from_zoo(run_cli, tiny_zoo, tiny_recipe, write_cells, tmp_path, monkeypatch):
    """A function of settings that trains from the weights of zoo:tiny, in the folder run."""
    monkeypatch.chdir(tmp_path)
    write_cells(tmp_path / "cells")
    (tmp_path / "tiny.yaml").write_text(tiny_recipe)

    def fit(*settings):
        start = [word for s in (*settings, "train.start_from=zoo:tiny") for word in ("--set", s)]
        return run_cli("fit", "tiny.yaml", *start, "--out", "run")

    return fit


def test_a_name_stands_for_its_newest_version(tiny_zoo):
    assert zoo.find("zoo:tiny") == tiny_zoo / "tiny" / "10"
    counter = load_counter("zoo:tiny")
    assert (counter.name, counter.version) == ("zoo:tiny", "10")


def test_other_paths_stay(tmp_path):
    assert zoo.find(tmp_path / "run") == tmp_path / "run"


def test_an_unknown_name_is_answered_with_the_nearest(tiny_zoo):
    with pytest.raises(UserError, match="zoo:tony is no counter of the zoo; did you mean zoo:tiny"):
        zoo.find("zoo:tony")
    with pytest.raises(UserError, match="zoo:xyz is no counter of the zoo; it has tiny"):
        zoo.find("zoo:xyz")


def test_count_evaluate_and_list_take_a_name(
    run_cli, tiny_zoo, write_cells, tmp_path, monkeypatch, contents
):
    monkeypatch.chdir(tmp_path)
    cells, before = write_cells(tmp_path / "cells"), contents(tiny_zoo)
    result = run_cli("count", cells, "--model", "zoo:tiny", "-o", tmp_path / "counts.csv")
    assert result.exit_code == 0, result.stderr
    result = run_cli("evaluate", "zoo:tiny", "--data", cells)
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "evaluation" / "tiny_10" / "evaluation_cells" / "index.html").is_file()
    assert contents(tiny_zoo) == before  # nothing is written into the package
    assert "zoo:tiny                     twinvae_spatial" in run_cli("list", "zoo").stdout


def test_training_begins_with_the_weights(fit_from_zoo, tmp_path):
    result = fit_from_zoo("train.learning_rate=1e-12")
    assert result.exit_code == 0, result.output
    assert "zoo:tiny, with which it began: MAE " in result.output
    pairs = zip(
        Run(tmp_path / "run").load_network().trainable_variables,
        Run(zoo.find("zoo:tiny")).load_network().trainable_variables,
        strict=True,
    )
    for mine, theirs in pairs:
        np.testing.assert_allclose(mine, theirs, atol=1e-6)


def test_a_twin_without_decoders_begins_with_the_weights_of_one_with_them(fit_from_zoo, tmp_path):
    result = fit_from_zoo("train.learning_rate=1e-12", "model.reconstruct=false")
    assert result.exit_code == 0, result.output
    network = Run(zoo.find("zoo:tiny")).load_network()
    theirs = {variable.path: variable for variable in network.trainable_variables}
    mine = Run(tmp_path / "run").load_network().trainable_variables
    assert 0 < len(mine) < len(theirs)
    for variable in mine:
        np.testing.assert_allclose(variable, theirs[variable.path], atol=1e-6)


def test_weights_of_another_network_are_refused(fit_from_zoo):
    result = fit_from_zoo("model.latent=3")
    assert result.exit_code == 2
    assert "start_from: zoo:tiny holds another network" in result.stderr
    assert "model.latent: 2 -> 3" in result.stderr


@pytest.mark.parametrize("name", zoo.names())
def test_each_counter_counts_and_has_a_card(name, tmp_path):
    folder = zoo.find(f"zoo:{name}")
    counter = load_counter(f"zoo:{name}")
    height, width = counter.preprocessing.size
    file = tmp_path / "even.png"
    cv2.imwrite(str(file), np.full((height, width), 128, np.uint8))
    from cellzoo.commands.count import count_files

    (row,) = count_files([file], counter, tmp_path / "counts.csv")
    assert row.error == ""
    if name == "nuclei":  # an even image is too unlike for an interval
        assert (row.count_low, row.count_high) == ("", "") and "no interval" in row.flag
    else:
        assert float(row.count_high) >= float(row.count_low)
    card = (folder / "README.md").read_text()
    assert all(heading in card for heading in ("## Scores", "## Data", "## Reproduce"))
    assert "Licence of the images: not stated" not in card


def test_weights_of_earlier_versions_count_what_they_counted(reference_images):
    counts = [0.1282897, 1.1365786, 4.3408861, 20.8729210]
    found = load_counter("zoo:ldc").count(reference_images, scaled=True).raw
    np.testing.assert_allclose(found, counts, rtol=1e-5)


def test_the_package_stays_small():
    files = [file for file in zoo.FOLDER.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 20e6
