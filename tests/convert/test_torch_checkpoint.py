"""PyTorch checkpoints: read right where they are plain, refused unread where they are not."""

import io
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest

from cellzoo.convert.torch_checkpoint import read_state_dict
from cellzoo.errors import UserError

REBUILD = "torch._utils._rebuild_tensor_v2"

# A small assembler of pickles (protocol 2), so that the tests need no PyTorch and can say things
# that PyTorch never would.


class Code(bytes):
    """Pickle instructions that leave one value on the stack."""


def encode(value):
    """Instructions for plain data; `Code` inside it stands for itself."""
    match value:
        case Code():
            return value
        case None:
            return Code(b"N")
        case bool():
            return Code(b"\x88" if value else b"\x89")
        case int():
            return Code(b"\x8a" + bytes([9]) + value.to_bytes(9, "little", signed=True))
        case float():
            return Code(b"G" + struct.pack(">d", value))
        case str():
            return Code(b"X" + struct.pack("<I", len(value.encode())) + value.encode())
        case tuple():
            return Code(b"(" + b"".join(map(encode, value)) + b"t")
        case list():
            return Code(b"](" + b"".join(map(encode, value)) + b"e")
        case dict():
            flat = [part for pair in value.items() for part in pair]
            return Code(b"}(" + b"".join(map(encode, flat)) + b"u")
    raise TypeError(value)


def named(full):
    module, name = full.rsplit(".", 1)
    return Code(f"c{module}\n{name}\n".encode())


def call(function, *arguments):
    return Code(named(function) + encode(arguments) + b"R")


def whole(value):
    return b"\x80\x02" + encode(value) + b"."


def reference(key, kind, elements):
    return Code(encode(("storage", named(f"torch.{kind}"), key, "cpu", elements)) + b"Q")


def tensor(key, shape, strides, offset=0, elements=6, kind="FloatStorage"):
    return call(
        REBUILD, reference(key, kind, elements), offset, shape, strides, False,
        call("collections.OrderedDict"),
    )  # fmt: skip


SIX = np.arange(6, dtype="<f4").tobytes()


def write_zip(path, content, storages, compression=zipfile.ZIP_STORED, byteorder="little"):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("model/data.pkl", whole(content))
        if byteorder:
            archive.writestr("model/byteorder", byteorder)
        for key, data in storages.items():
            archive.writestr(f"model/data/{key}", data)
        archive.writestr("model/version", "3\n")
    return path


def write_stream(path, content, storages, itemsize=4):
    machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    data = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    data += pickle.dumps(machine, 2) + whole(content) + pickle.dumps(list(storages), 2)
    for values in storages.values():
        data += struct.pack("<q", len(values) // itemsize) + values
    path.write_bytes(data)
    return path


@pytest.fixture(params=[write_zip, write_stream])
def write(request):
    return request.param


@pytest.fixture
def file(tmp_path):
    return tmp_path / "model.pth"


def refusal(path):
    with pytest.raises(UserError) as caught:
        read_state_dict(path)
    message = str(caught.value)
    assert caught.value.exit_code == 1
    assert message.startswith(str(path)) and "\n" not in message
    return message.removeprefix(str(path))  # the folder is named for the test


# What is read


def test_views_of_one_storage(file, write):
    content = {
        "whole": tensor("0", (2, 3), (3, 1)),
        "transposed": tensor("0", (3, 2), (1, 3)),
        "column": tensor("0", (2,), (3,), offset=2),
        "scalar": tensor("0", (), (), offset=4),
        "empty": tensor("0", (0, 3), (3, 1)),
        "one long axis": tensor("0", (1, 6), (999, 1)),
    }
    arrays = read_state_dict(write(file, content, {"0": SIX}))
    assert list(arrays) == list(content)
    assert {a.dtype for a in arrays.values()} == {np.dtype("float32")}
    np.testing.assert_array_equal(arrays["whole"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(arrays["transposed"], [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(arrays["column"], [2, 5])
    np.testing.assert_array_equal(arrays["one long axis"], [[0, 1, 2, 3, 4, 5]])
    assert arrays["scalar"].shape == () and arrays["scalar"] == 4
    assert arrays["empty"].shape == (0, 3)


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize(
    "kind, dtype",
    [
        ("DoubleStorage", "f8"),
        ("FloatStorage", "f4"),
        ("HalfStorage", "f2"),
        ("LongStorage", "i8"),
        ("IntStorage", "i4"),
        ("ShortStorage", "i2"),
        ("CharStorage", "i1"),
        ("ByteStorage", "u1"),
        ("ComplexFloatStorage", "c8"),
    ],
)
def test_types_and_byte_orders(file, kind, dtype, order):
    values = np.array([[0, 1], [2, 117]], np.dtype(dtype).newbyteorder(order))
    content = {"a": tensor("0", (2, 2), (2, 1), elements=4, kind=kind)}
    array = read_state_dict(write_zip(file, content, {"0": values.tobytes()}, byteorder=order))["a"]
    assert array.dtype == np.dtype(dtype) and array.dtype.isnative
    np.testing.assert_array_equal(array, [[0, 1], [2, 117]])


def test_storages_of_several_types_in_a_stream(file):
    kinds = {"a": ("LongStorage", "<i8"), "b": ("ByteStorage", "u1"), "c": ("HalfStorage", "<f2")}
    content = {k: tensor(k, (3,), (1,), elements=3, kind=kind) for k, (kind, _) in kinds.items()}
    write_stream(file, content, {})
    data = file.read_bytes().removesuffix(pickle.dumps([], 2)) + pickle.dumps(["c", "a", "b"], 2)
    for key in "cab":
        data += struct.pack("<q", 3) + np.array([1, 2, 117], kinds[key][1]).tobytes()
    file.write_bytes(data)
    arrays = read_state_dict(file)
    assert [a.dtype for a in arrays.values()] == [np.int64, np.uint8, np.float16]
    assert [a.tolist() for a in arrays.values()] == [[1, 2, 117]] * 3


def test_bfloat16_bool_and_untyped(file):
    # bfloat16 is the upper half of a float32: 1.5 = 0x3FC0, -2 = 0xC000.
    untyped = Code(
        encode(("storage", named("torch.storage.UntypedStorage"), "2", "cpu", 4)) + b"Q"
    )
    content = {
        "half": tensor("0", (2,), (1,), elements=2, kind="BFloat16Storage"),
        "flags": tensor("1", (3,), (1,), elements=3, kind="BoolStorage"),
        "counts": call(
            "torch._utils._rebuild_tensor_v3",
            *(untyped, 0, (2,), (1,), False, {}, named("torch.uint16")),
        ),
    }
    storages = {"0": b"\xc0\x3f\x00\xc0", "1": b"\x00\x01\x02", "2": b"\x01\x00\x00\x01"}
    arrays = read_state_dict(write_zip(file, content, storages))
    assert arrays["half"].dtype == np.float32 and arrays["half"].tolist() == [1.5, -2.0]
    assert arrays["flags"].dtype == np.bool_ and arrays["flags"].tolist() == [False, True, True]
    assert arrays["counts"].dtype == np.uint16 and arrays["counts"].tolist() == [1, 256]


def test_no_byteorder_record_means_little(file):
    write_zip(file, {"a": tensor("0", (6,), (1,))}, {"0": SIX}, byteorder=None)
    assert read_state_dict(file)["a"].tolist() == [0, 1, 2, 3, 4, 5]


def test_ordered_dict_with_attributes_parameters_and_prefix(file, write):
    """As torch.nn.DataParallel writes: OrderedDict, filled, then BUILD with its _metadata."""
    parameter = call("torch._utils._rebuild_parameter", tensor("0", (6,), (1,)), True, {})
    items = encode("module.fc.weight") + parameter
    items += encode("module.fc.bias") + tensor("0", (2,), (1,))
    metadata = encode({"_metadata": {"": {"version": 1}}})
    filled = Code(call("collections.OrderedDict") + b"(" + items + b"u" + metadata + b"b")
    arrays = read_state_dict(write(file, filled, {"0": SIX}))
    assert {name: array.shape for name, array in arrays.items()} == {
        "fc.weight": (6,),
        "fc.bias": (2,),
    }


def test_prefix_of_some_names_only_is_kept(file):
    content = {"module.a": tensor("0", (6,), (1,)), "b": tensor("0", (6,), (1,))}
    assert list(read_state_dict(write_zip(file, content, {"0": SIX}))) == ["module.a", "b"]


WANTED = {"wanted": tensor("0", (6,), (1,))}
OTHER = {"other": tensor("0", (6,), (1,))}


@pytest.mark.parametrize(
    "content",
    [
        {"epoch": 3, "loss": 0.5, "name": "twin", "done": True, "state_dict": WANTED},
        {"model_state_dict": WANTED, "optimizer_state_dict": OTHER},
        {"net": WANTED, "optimizer": {"state": {0: OTHER}, "param_groups": [{"lr": 1e-3}]}},
        {"epoch": 3, "size": call("torch.Size", (2, 3)), **WANTED},
        {"device": call("torch.device", "cpu"), "type": named("torch.float32"), "model": WANTED},
    ],
)
def test_state_dict_among_other_things(file, write, content):
    assert list(read_state_dict(write(file, content, {"0": SIX}))) == ["wanted"]


def test_protocol_4(file):
    """Protocol 4 names things by STACK_GLOBAL, remembers by MEMOIZE and is framed."""

    def long_name(module, name):
        return encode(module) + b"\x94" + encode(name) + b"\x94\x93\x94"

    kind = Code(long_name("torch", "FloatStorage"))
    storage = Code(encode(("storage", kind, "0", "cpu", 6)) + b"Q")
    rebuild = long_name("torch._utils", "_rebuild_tensor_v2")
    a = Code(rebuild + encode((storage, 0, (6,), (1,), False, {})) + b"R")
    body = encode({"a": a}) + b"."
    data = b"\x80\x04\x95" + struct.pack("<Q", len(body)) + body
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data.pkl", data)  # at the top, as some writers put it
        archive.writestr("data/0", SIX)
    assert read_state_dict(file)["a"].tolist() == [0, 1, 2, 3, 4, 5]


# What is refused


class Harm:
    def __init__(self, function, *arguments):
        self.reduction = (function, arguments)

    def __reduce__(self):
        return self.reduction


def harmful(mark):
    """Pickles that create the file `mark` (or would) when Python's own unpickler runs them."""
    script = f"open({str(mark)!r}, 'w')"
    shell = f"touch {mark}"
    getter = call("builtins.getattr", named("os.path"), "system")
    instance = Code(b"(" + encode(shell) + b"ios\nsystem\n")
    made = Code(named("subprocess.Popen") + encode((["touch", str(mark)],)) + b"\x81")
    stacked = Code(encode("os") + encode("system") + b"\x93" + encode((shell,)) + b"R")
    return {
        "os.system": call("os.system", shell),
        "builtins.eval": call("builtins.eval", script),
        "builtins.exec": call("builtins.exec", script),
        "builtins.getattr": getter,
        "torch.load": call("torch.load", str(mark)),
        "torch.serialization.load": call("torch.serialization.load", str(mark)),
        "torch.jit._script.unpackage_script_module": call(
            "torch.jit._script.unpackage_script_module", None
        ),
        "numpy.load": call("numpy.load", str(mark)),
        "torch.hub.os.system": call("torch.hub.os.system", shell),
        "__main__.TwinVAE": call("__main__.TwinVAE"),
        "subprocess.Popen": made,
        "INST": instance,
        "'os.system'": stacked,
        "EXT1": Code(b"\x82\x01"),
    }


@pytest.mark.parametrize("what", harmful("mark"))
def test_code_is_refused_and_not_run(tmp_path, file, write, what):
    mark = tmp_path / "mark"
    content = {"state_dict": {**WANTED, "x": harmful(mark)[what]}}
    message = refusal(write(file, content, {"0": SIX}))
    assert what in message and "was not opened" in message
    assert not mark.exists()


def test_the_harmful_pickles_do_harm_elsewhere(tmp_path):
    """Else the test above would show nothing."""
    mark = tmp_path / "mark"
    pickle.loads(whole(harmful(mark)["os.system"]))
    assert mark.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_bare_pickles_are_refused_and_not_run(tmp_path, file, protocol):
    mark = tmp_path / "mark"
    file.write_bytes(pickle.dumps(Harm(os.system, f"touch {mark}"), protocol))
    refusal(file)
    assert not mark.exists()


def test_allowed_names_can_be_neither_changed_nor_misused(file):
    storage = "torch.FloatStorage"
    change = Code(named(REBUILD) + encode((None, {"__defaults__": (1,)})) + b"b")
    write_zip(file, {"x": change, **WANTED}, {"0": SIX})
    assert read_state_dict(file)["wanted"].shape == (6,)
    assert "not a function" in refusal(write_zip(file, {"x": call(storage, 5)}, {}))
    not_callable = Code(encode("text") + encode(()) + b"R")
    assert "not a function" in refusal(write_zip(file, {"x": not_callable}, {}))


@pytest.mark.parametrize(
    "bad",
    [
        tensor("0", (7,), (1,)),
        tensor("0", (2, 3), (4, 1)),
        tensor("0", (3,), (1,), offset=4),
        tensor("0", (3,), (1,), offset=-1),
        tensor("0", (3,), (-1,), offset=5),
        tensor("0", (-3,), (1,)),
        tensor("0", (), (), offset=6),
        tensor("0", (2, 3), (1,)),
        tensor("0", (2.0,), (1,)),
        tensor("0", (1 << 40,), (0,)),
        tensor("0", (1 << 62, 1 << 62), (0, 0)),
        tensor("0", (1,) * 33, (1,) * 33),
        tensor("0", 6, 1),
    ],
)
def test_tensors_beyond_their_storage_are_refused(file, write, bad):
    assert "tensor 'bad' does not fit" in refusal(write(file, {"bad": bad}, {"0": SIX}))


def test_storages_shorter_than_they_say_are_refused(file, write):
    content = {"bad": tensor("0", (7,), (1,), elements=7)}
    assert "shorter" in refusal(write(file, content, {"0": SIX}))


def test_missing_storages_are_refused(file, write):
    refusal(write(file, {"bad": tensor("5", (6,), (1,))}, {}))


def test_no_record_outside_the_archive_is_read(tmp_path, file):
    (tmp_path / "secret").write_bytes(SIX)
    content = {"bad": tensor("../../secret", (6,), (1,))}
    refusal(write_zip(file, content, {"0": SIX}))


def test_compressed_records_are_refused(file):
    """PyTorch stores uncompressed; a few kilobytes must not become gigabytes."""
    content = {"a": tensor("0", (1 << 20,), (1,), elements=1 << 20)}
    write_zip(file, content, {"0": bytes(1 << 22)}, compression=zipfile.ZIP_DEFLATED)
    assert file.stat().st_size < 10_000
    assert "compressed" in refusal(file)
    content = {"a": tensor("0", (6,), (1,))}
    write_zip(file, content, {"0": SIX}, compression=zipfile.ZIP_DEFLATED)
    assert "compressed" in refusal(file)


def test_records_that_overlap_are_refused(file):
    """A record inside another one lets a file claim more bytes than it has."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("m/data/1", bytes(4000))
        entry = archive.getinfo("m/data/1")
    outer = inner.getvalue()[: 4000 + 30 + len("m/data/1")]
    content = {k: tensor(k, (1000,), (1,), elements=1000) for k in "01"}
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("m/data/0", outer)
        archive.writestr("m/data.pkl", whole(content))
        entry.header_offset = 30 + len("m/data/0")
        archive.filelist.append(entry)
        archive.NameToInfo["m/data/1"] = entry
    refusal(file)


def test_endless_nesting_is_refused(file):
    """A key of tuples within tuples crashes Python when it is hashed, and prints for ever."""
    nested = Code(b")" + b"\x85" * 100_000)
    assert "key" in refusal(write_zip(file, Code(b"}" + nested + b"Ns"), {}))
    doubled = Code(b")" + b"q\x00h\x00\x86" * 200)
    refusal(write_zip(file, {"a": tensor("0", doubled, (1,))}, {"0": SIX}))
    refusal(write_zip(file, Code(doubled + encode(()) + b"R"), {}))


@pytest.mark.parametrize(
    "content, why",
    [
        ({}, "no named tensors"),
        ({"epoch": 3}, "no named tensors"),
        ([1, 2], "no named tensors"),
        (WANTED["wanted"], "no named tensors"),
        ({"generator": WANTED, "critic": OTHER}, "several sets of tensors (generator, critic)"),
    ],
)
def test_no_state_dict(file, write, content, why):
    storages = {"0": SIX} if b"FloatStorage" in encode(content) else {}
    assert why in refusal(write(file, content, storages))


def test_not_a_checkpoint(tmp_path, file):
    assert "cannot be read: No such file" in refusal(tmp_path / "absent.pth")
    assert "cannot be read" in refusal(tmp_path)
    for content in (b"", b"image,count\na.png,3\n", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04", b"\x80"):
        file.write_bytes(content)
        assert "not a PyTorch checkpoint" in refusal(file)
    file.write_bytes(pickle.dumps({"a": 1}, 2))
    assert "not one that torch.save wrote" in refusal(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "no data.pkl" in refusal(file)


def test_cut_short_anywhere(file, write):
    content = {"state_dict": WANTED, "epoch": 3}
    data = write(file, content, {"0": SIX}).read_bytes()
    for length in range(len(data)):
        file.write_bytes(data[:length])
        refusal(file)


def test_cut_short_where_nothing_is_wanted(file):
    content = {"state_dict": WANTED, "optimizer": {0: tensor("1", (6,), (1,))}}
    data = write_stream(file, content, {"0": SIX, "1": SIX}).read_bytes()
    assert list(read_state_dict(file)) == ["wanted"]
    file.write_bytes(data[:-1])
    assert "end of the file" in refusal(file)


def test_damaged_anywhere(file, write):
    """Any single wrong byte gives the file's name in a sentence, or arrays: never a traceback."""
    data = write(file, {"state_dict": WANTED, "epoch": 3}, {"0": SIX}).read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(1500):
        damaged = bytearray(data)
        damaged[random.integers(len(data))] = random.integers(256)
        file.write_bytes(damaged)
        try:
            read_state_dict(file)
        except UserError as error:
            assert str(file) in str(error)
            refused += 1
    assert refused > 300


# What PyTorch itself writes


@pytest.mark.parametrize("new_format", [True, False])
def test_what_pytorch_writes(file, new_format):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 5), torch.nn.BatchNorm2d(4), torch.nn.ConvTranspose2d(4, 2, 2)
    )
    model[0].weight.data = model[0].weight.data.permute(1, 0, 3, 2).contiguous().permute(1, 0, 3, 2)
    values = torch.arange(24).reshape(2, 3, 4)
    plain = (*("float64", "float32", "float16", "int64", "int32"), *("int16", "int8", "uint8"))
    tensors = {
        **model.state_dict(),
        **{dtype: values.to(getattr(torch, dtype)) for dtype in plain},
        "bfloat16": torch.tensor([1.5, -2.0, 3e38], dtype=torch.bfloat16),
        "bool": values % 2 == 0,
        "complex64": torch.tensor([1 + 2j]),
        "transposed": values.transpose(0, 2),
        "slice": values[1, ::2, 1:3],
        "scalar": torch.tensor(7.5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    checkpoint = {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in tensors.items()}}
    checkpoint["optimizer"] = torch.optim.Adam(model.parameters()).state_dict()
    torch.save(checkpoint, file, _use_new_zipfile_serialization=new_format)
    arrays = read_state_dict(file)
    assert list(arrays) == list(tensors)
    for name, expected in tensors.items():
        expected = expected.detach()
        if name == "bfloat16":
            expected = expected.float()
        expected = expected.numpy()
        assert arrays[name].dtype == expected.dtype and arrays[name].shape == expected.shape, name
        np.testing.assert_array_equal(arrays[name], expected)


@pytest.mark.parametrize("new_format", [True, False])
def test_whole_model_of_pytorch_is_refused(file, new_format):
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.Linear(2, 1), file, _use_new_zipfile_serialization=new_format)
    assert "'torch.nn.modules.linear.Linear'" in refusal(file)


def test_module_state_dict_of_pytorch(file):
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(2, 1)
    torch.save(model.state_dict(), file, pickle_protocol=4)
    assert {name: array.shape for name, array in read_state_dict(file).items()} == {
        "weight": (1, 2),
        "bias": (1,),
    }
    torch.save({"counts": torch.tensor([1, 65535], dtype=torch.uint16)}, file)
    assert read_state_dict(file)["counts"].tolist() == [1, 65535]
