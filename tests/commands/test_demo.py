"""The demo, on a recipe without an embedding: it goes on where it stopped, and ends once."""

import csv

import pytest

from cellzoo.commands import demo as module
from cellzoo.commands.demo import RECIPE, demo
from cellzoo.errors import UserError
from cellzoo.recipe import load_recipe

SMALL = """
name: small
data:
  natural:
    source: simulated
    modality: bf
    train: 8
    labelled: 8
    validation: 4
    validation_labelled: 4
    test: 4
    test_labelled: 4
model:
  name: dcc
  image_size: 128
  channels: [2, 2]
  head: additive
  density_channels: 2
train:
  batch: 2
"""


def test_the_recipe_is_one_of_the_package_and_needs_no_files():
    assert load_recipe(RECIPE).data.natural.source == "simulated"


def test_a_demo_goes_on_and_a_finished_one_is_kept(run_cli, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(SMALL)
    monkeypatch.setattr(module, "_IMAGES", 3)

    def stop(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(module, "count_into", stop)
        demo(tmp_path / "demo", "1s", "small.yaml")
    weights = (tmp_path / "demo/run/checkpoints/best.weights.h5").read_bytes()
    image = (tmp_path / "demo/images/images/simulated_00000.png").read_bytes()
    caplog.clear()
    with caplog.at_level("INFO", "cellzoo"):
        demo(tmp_path / "demo", "1s", "small.yaml")
    assert (tmp_path / "demo/run/checkpoints/best.weights.h5").read_bytes() == weights
    assert (tmp_path / "demo/images/images/simulated_00000.png").read_bytes() == image
    with (tmp_path / "demo/counts.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 3
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split()[2] for line in lines if line.startswith("$")] == [
        "fit", "evaluate", "count", "growth"
    ]  # fmt: skip
    assert f"{tmp_path / 'demo/run/report/index.html'}" in lines[-1]
    assert (tmp_path / "demo/run/report/index.html").is_file()
    assert (tmp_path / "demo/growth/growth.html").is_file()
    assert "0 of 1 series have a growth rate" in lines  # three frames of one chamber
    with pytest.raises(UserError, match="demo holds a finished demo: look at .*, or choose"):
        demo(tmp_path / "demo", "1s", "small.yaml")
    assert run_cli("demo", "--out", "demo").exit_code == 1
