"""PyTorch checkpoints: read right where they are plain, refused where they are not."""

import os
import pickle
import re
import sys
import zipfile

import numpy as np
import pytest

from cellzoo.convert.checkpoint import import_checkpoint
from cellzoo.convert.torch_checkpoint import read_state_dict
from cellzoo.errors import UserError


def test_without_pytorch_a_sentence_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=re.escape("pip install 'cellzoo[torch]'")):
        read_state_dict(tmp_path / "a.pth")


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed: cellzoo[torch]")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "best.pth"


def refusal(path):
    with pytest.raises(UserError) as caught:
        read_state_dict(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and message.endswith(".")
    return message


@pytest.mark.parametrize("new_format", [True, False])
def test_tensors_of_every_kind(torch, file, new_format):
    values = torch.arange(24).reshape(2, 3, 4)
    plain = (*("float64", "float32", "float16", "int64", "int32"), *("int16", "int8", "uint8"))
    tensors = {
        **torch.nn.Sequential(torch.nn.Conv2d(1, 4, 5), torch.nn.BatchNorm2d(4)).state_dict(),
        **{dtype: values.to(getattr(torch, dtype)) for dtype in plain},
        "bfloat16": torch.tensor([1.5, -2.0, 3e38], dtype=torch.bfloat16),
        "bool": values % 2 == 0,
        "transposed": values.transpose(0, 2),
        "slice": values[1, ::2, 1:3],
        "scalar": torch.tensor(7.5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    checkpoint = {"epoch": 3, "state_dict": tensors, "optimizer": {"state": {0: {"m": values}}}}
    torch.save(checkpoint, file, _use_new_zipfile_serialization=new_format)
    arrays = read_state_dict(file)
    assert list(arrays) == list(tensors)
    for name, expected in tensors.items():
        expected = expected.detach()
        expected = (expected.float() if name == "bfloat16" else expected).numpy()
        assert arrays[name].dtype == expected.dtype and arrays[name].shape == expected.shape, name
        np.testing.assert_array_equal(arrays[name], expected)


def test_a_state_dict_among_other_things(torch, file):
    wanted, other = {"wanted": torch.ones(6)}, {"other": torch.ones(6)}
    for content in (
        wanted,
        {"epoch": 3, "loss": 0.5, "name": "twin", "done": True, "state_dict": wanted},
        {"model_state_dict": wanted, "optimizer_state_dict": other},
        {"net": wanted, "optimizer": {"state": {0: other}, "param_groups": [{"lr": 1e-3}]}},
        {"epoch": 3, "size": torch.Size((2, 3)), **wanted},
    ):
        torch.save(content, file)
        assert list(read_state_dict(file)) == ["wanted"]
    for content in ({}, {"epoch": 3}, [1, 2], torch.ones(6)):
        torch.save(content, file)
        assert "no named tensors" in refusal(file)
    torch.save({"generator": wanted, "critic": other}, file)
    assert "several sets of tensors (generator, critic)" in refusal(file)


class Harmful:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (os.system, (f"touch {self.mark}",))


@pytest.mark.parametrize("new_format", [True, False])
def test_nothing_that_a_file_asks_for_is_run(torch, file, tmp_path, new_format):
    mark = tmp_path / "mark"
    content = {"state_dict": {"a": torch.ones(2), "b": Harmful(mark)}}
    torch.save(content, file, _use_new_zipfile_serialization=new_format)
    message = refusal(file)
    assert "system" in message and "was not opened" in message and not mark.exists()
    with pytest.raises(UserError):
        import_checkpoint(file, tmp_path / "run")
    assert not (tmp_path / "run").exists() and not mark.exists()
    torch.save(torch.nn.Linear(2, 1), file, _use_new_zipfile_serialization=new_format)
    assert "torch.nn.modules.linear.Linear" in refusal(file)
    file.write_bytes(pickle.dumps(Harmful(mark)))
    refusal(file)
    assert not mark.exists()


def test_a_few_bytes_do_not_become_gigabytes(torch, file, tmp_path):
    torch.save({"a": torch.zeros(1).expand(1 << 40)}, file)
    assert "repeats its values" in refusal(file)
    torch.save({"a": torch.zeros(1 << 20)}, file)
    small = tmp_path / "small.pth"
    packed = zipfile.ZipFile(small, "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(file) as plain, packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    assert small.stat().st_size < 20_000
    assert "compressed" in refusal(small)


def test_what_is_no_checkpoint_is_a_sentence(torch, tmp_path, file):
    assert "cannot be read: No such file" in refusal(tmp_path / "absent.pth")
    assert "cannot be read" in refusal(tmp_path)
    for content in (b"", b"image,count\na.png,3\n", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04", b"\x80"):
        file.write_bytes(content)
        refusal(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "hello")
    refusal(file)


@pytest.mark.parametrize("new_format", [True, False])
def test_damaged_or_cut_short_is_a_sentence_or_arrays(torch, file, new_format):
    content = {"state_dict": {"wanted": torch.arange(6.0)}, "epoch": 3}
    torch.save(content, file, _use_new_zipfile_serialization=new_format)
    data = file.read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for k in range(300):
        damaged = bytearray(data)
        if k % 2:
            damaged = damaged[: random.integers(len(data))]
        else:
            damaged[random.integers(len(data))] = random.integers(256)
        file.write_bytes(damaged)
        try:
            read_state_dict(file)
        except UserError as error:
            assert str(file) in str(error) and "\n" not in str(error)
            refused += 1
    assert refused > 150


def test_what_the_authors_program_writes_becomes_a_run(torch, file, tmp_path, authors_tensors):
    """Every part wrapped for several GPUs; TensorFlow and PyTorch in one process."""
    narrow = {"channels": (3, 4, 5, 6), "shared": 7, "latent": 8, "regressor": (9, 10)}
    tensors = {}
    for name, tensor in authors_tensors(**narrow).items():
        part, rest = name.split(".", 1)
        tensors[f"{part}.module.{rest}"] = torch.tensor(tensor)
    torch.save(tensors, file)
    run = import_checkpoint(file, tmp_path / "run")
    assert run.recipe.model.channels == (3, 4, 5, 6)
