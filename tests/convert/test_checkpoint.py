"""The authors' checkpoints become runs, or are refused with a sentence that names the tensor."""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from keras import ops

from cellzoo.convert import checkpoint
from cellzoo.convert.checkpoint import import_checkpoint, set_weights_from_state_dict
from cellzoo.errors import UserError
from cellzoo.models import TwinVAE
from cellzoo.models.section import DOMAINS
from cellzoo.runs import Run

NARROW = {"channels": (3, 4, 5, 6), "shared": 7, "latent": 8, "regressor": (9, 10)}


@pytest.fixture(autouse=True)
def without_torch(monkeypatch):
    """Files are NumPy's here: what PyTorch reads is tested in test_torch_checkpoint.py."""
    monkeypatch.setattr(checkpoint, "read_state_dict", lambda file: dict(np.load(file)))


def save(file, tensors):
    with file.open("wb") as opened:
        np.savez(opened, **tensors)
    return file


def saved_network(run):
    """The network of a run folder, as whoever opens it builds it."""
    network = run.recipe.model.build(DOMAINS)
    network.load_weights(run.best_weights)
    return network


def test_a_checkpoint_of_the_paper_counts_as_the_authors_network_does(
    tmp_path, authors_tensors, reference_images, network_outputs
):
    file = save(tmp_path / "best.pth", authors_tensors())
    run = import_checkpoint(file, tmp_path / "run")
    assert run.recipe.model.model_dump() == {
        "name": "twinvae", "channels": (32, 64, 128, 256), "shared_channels": 512, "latent": 256,
        "regressor": [256, 128], "regressor_input": "latent", "dropout": 0.1, "latent_dropout": 0.0,
        "negative_slope": 0.2, "initializer": "orthogonal", "center": False,
    }  # fmt: skip
    x = dict.fromkeys(("natural", "synthetic"), reference_images)
    outputs = saved_network(run).predict(x, verbose=0)
    for name, expected in network_outputs.items():
        np.testing.assert_array_equal(outputs[name], expected)


def test_widths_are_the_files(tmp_path, authors_tensors):
    run = import_checkpoint(save(tmp_path / "a.pth", authors_tensors(**NARROW)), tmp_path / "run")
    model = run.recipe.model
    assert (model.channels, model.shared_channels) == ((3, 4, 5, 6), 7)
    assert (model.latent, model.regressor) == (8, [9, 10])
    network = saved_network(run)
    kernel = ops.convert_to_numpy(network.get_layer("synthetic_encoder").get_layer("conv2").kernel)
    theirs = authors_tensors(**NARROW)["synth_reader.3.weight"]
    assert kernel[0, 1, 2, 3] == theirs[3, 2, 0, 1]


def wrapped_in_parts(name):
    part, rest = name.split(".", 1)
    return f"{part}.module.{rest}"


@pytest.mark.parametrize(
    "wrapped", [wrapped_in_parts, "module.{}".format], ids=["each-part", "whole"]
)
def test_a_network_wrapped_for_several_gpus_is_the_same(tmp_path, authors_tensors, wrapped):
    tensors = authors_tensors(**NARROW)
    theirs = {wrapped(name): tensor for name, tensor in tensors.items()}
    assert {"natural_reader.module.0.weight", "module.natural_reader.0.weight"} & set(theirs)
    run = import_checkpoint(save(tmp_path / "a.pth", theirs), tmp_path / "run")
    plain = import_checkpoint(save(tmp_path / "b.pth", tensors), tmp_path / "plain")
    weights = (saved_network(each).get_weights() for each in (run, plain))
    for ours, expected in zip(*weights, strict=True):
        np.testing.assert_array_equal(ours, expected)
    theirs["fc1.0.weight"] = tensors["fc1.0.weight"]
    with pytest.raises(UserError, match="fc1.0.weight twice"):
        import_checkpoint(save(tmp_path / "c.pth", theirs), tmp_path / "twice")


def test_the_folder_is_a_run_that_tells_where_it_is_from(tmp_path, authors_tensors):
    file = save(tmp_path / "natural best (1).pth", authors_tensors(**NARROW))
    out = tmp_path / "runs" / "imported"
    import_checkpoint(file, out)
    run = Run(out)
    assert run.recipe.name == "natural_best_1"
    assert run.best_weights.is_file()
    environment = json.loads((out / "environment.json").read_text())
    assert environment["imported_from"] == file.name
    assert environment["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()


def test_never_writes_over_a_folder(tmp_path, authors_tensors):
    file = save(tmp_path / "a.pth", authors_tensors(**NARROW))
    out = tmp_path / "run"
    import_checkpoint(file, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match="choose another --out"):
        import_checkpoint(file, out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def without(name):
    return lambda tensors: tensors.pop(name)


def replaced(name, change):
    return lambda tensors: tensors.update({name: change(tensors[name])})


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without("fc2.0.bias"), ["lacks the tensor fc2.0.bias"]),
        (without("natural_reader.0.weight"), ["lacks the tensor natural_reader.0.weight"]),
        (without("synth_writer.4.running_var"), ["lacks the tensor synth_writer.4.running_var"]),
        (lambda t: t.update(fc9=np.zeros(3, np.float32)), ["has the tensor fc9"]),
        (
            replaced("synth_reader.3.weight", lambda a: a[:, :, :3, :3].copy()),
            ["synth_reader.3.weight is 4 x 3 x 3 x 3", "has 4 x 3 x 5 x 5"],
        ),
        (replaced("fc1.0.weight", lambda a: a[0].copy()), ["fc1.0.weight is 7", "2 axes"]),
        (replaced("fc3.0.bias", lambda a: a[:-1].copy()), ["fc3.0.bias is 6", "has 7"]),
        (replaced("fc3.0.bias", lambda a: a * np.float32(np.nan)), ["fc3.0.bias", "no finite"]),
        (replaced("fc3.0.bias", lambda a: a.astype(np.int64)), ["fc3.0.bias", "floating-point"]),
    ],
    ids=["missing", "first-missing", "norm", "extra", "kernel", "rank", "bias", "nan", "integers"],
)
def test_refuses_another_network_and_leaves_nothing(tmp_path, authors_tensors, spoil, words):
    tensors = authors_tensors(**NARROW)
    spoil(tensors)
    file = save(tmp_path / "a.pth", tensors)
    with pytest.raises(UserError) as caught:
        import_checkpoint(file, tmp_path / "run")
    message = str(caught.value)
    for word in [str(file), *words]:
        assert word in message
    assert not (tmp_path / "run").exists()


def test_takes_files_without_the_batch_counters_and_with_doubles(tmp_path, authors_tensors):
    tensors = {
        name: tensor.astype(np.float64)
        for name, tensor in authors_tensors(**NARROW).items()
        if not name.endswith("num_batches_tracked")
    }
    run = import_checkpoint(save(tmp_path / "a.pth", tensors), tmp_path / "run")
    bias = ops.convert_to_numpy(saved_network(run).get_layer("latent_mean").bias)
    np.testing.assert_array_equal(bias, tensors["fc1.0.bias"].astype(np.float32))


def test_says_so_where_the_folder_cannot_be_made(tmp_path, authors_tensors):
    file = save(tmp_path / "a.pth", authors_tensors(**NARROW))
    with pytest.raises(UserError, match="choose another --out"):
        import_checkpoint(file, file / "run")


def test_a_refused_state_dict_changes_no_weight(authors_tensors):
    section = TwinVAE(channels=(3, 4, 5, 6), shared_channels=7, latent=8, regressor=(9, 10))
    network = section.build(DOMAINS)
    before = [ops.convert_to_numpy(weight).copy() for weight in network.weights]
    tensors = authors_tensors(**NARROW)
    del tensors["regressor.4.bias"]
    with pytest.raises(UserError, match=r"regressor\.4\.bias"):
        set_weights_from_state_dict(network, tensors)
    for old, weight in zip(before, network.weights, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(weight), old)


def test_an_imported_checkpoint_counts_is_exported_and_evaluated(
    tmp_path, authors_tensors, run_cli, write_cells, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    run = import_checkpoint(save(tmp_path / "a.pth", authors_tensors(**NARROW)), tmp_path / "run")
    result = run_cli("export", "run", "--to", "saved")
    assert result.exit_code == 0, result.stderr
    write_cells(tmp_path / "cells", images=4, size=128)
    for model, out in (("run", "a.csv"), (f"saved/{run.recipe.name}", "b.csv")):
        assert run_cli("count", "cells/00.png", "--model", model, "-o", out).exit_code == 0
    a, b = (Path(out).read_text().splitlines()[1].split(",")[:6] for out in ("a.csv", "b.csv"))
    assert a == b
    image = cv2.imread("cells/00.png", cv2.IMREAD_UNCHANGED)[None] / np.float32(255)
    whole = saved_network(run).predict(dict.fromkeys(("natural", "synthetic"), image), verbose=0)
    assert float(a[3]) == pytest.approx(whole["natural_count"][0], abs=1e-3)
    # What the authors' images were is not in the file.
    result = run_cli("evaluate", "run")
    assert result.exit_code != 0 and "--data" in result.stderr
    for protocol in ("cellzoo", "authors"):
        result = run_cli("evaluate", "run", "--data", "cells", "--protocol", protocol)
        assert result.exit_code == 0, result.stderr
        assert "MAE" in result.stdout
