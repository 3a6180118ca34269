"""Read the tensors of a PyTorch checkpoint without PyTorch and without trusting the file.

A checkpoint is a pickle: a program for a stack machine that may call anything Python can import.
This module has a stack machine of its own for it. It knows plain data, storages and tensors,
imports nothing and calls nothing by name, so the worst a file can do is to be refused.

Two formats (torch/serialization.py of PyTorch 2 writes both):

zip, the default since PyTorch 1.6
    `NAME/data.pkl` is the pickle, `NAME/data/KEY` the bytes of storage KEY, uncompressed, and
    `NAME/byteorder` "little" or "big" (absent before PyTorch 2.1: little).
stream, before that
    five pickles one after another (a magic number, the format's version, facts about the machine,
    the object, the keys of its storages), then for each key the number of elements (int64, little
    endian) and the bytes.
"""

import pickletools
import struct
import zipfile
from collections.abc import Callable
from functools import cache
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from cellzoo.errors import UserError

ZIP_MAGIC = b"PK\x03\x04"
STREAM_MAGIC = 0x1950A86A20F9469CFC6C
STREAM_VERSION = 1001

# Element types by the name that the pickle gives their storage. NumPy has no bfloat16: its bytes
# are read as uint16 and widened to float32 (which loses nothing).
STORAGES = {
    "torch.DoubleStorage": "float64",
    "torch.FloatStorage": "float32",
    "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16",
    "torch.LongStorage": "int64",
    "torch.IntStorage": "int32",
    "torch.ShortStorage": "int16",
    "torch.CharStorage": "int8",
    "torch.ByteStorage": "uint8",
    "torch.BoolStorage": "bool",
    "torch.ComplexFloatStorage": "complex64",
    "torch.ComplexDoubleStorage": "complex128",
    "torch.storage.UntypedStorage": "uint8",
}
DTYPES = {f"torch.{name}" for name in {*STORAGES.values(), "uint16", "uint32", "uint64"}}
CALLS = {
    "collections.OrderedDict",
    "torch.Size",
    "torch.device",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
}
VALUES = {  # opcodes that put their argument on the stack
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
    *("BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}

MOST_AXES = 32  # NumPy 1's limit; PyTorch models use five

# What pickletools, zipfile and NumPy raise for bytes that make no sense.
NONSENSE = (
    *(ValueError, TypeError, LookupError, OverflowError, MemoryError, EOFError),
    *(zipfile.BadZipFile, struct.error, RuntimeError),
)


class _Refused(Exception):
    """The rest of the sentence that begins with the file's name."""


class _Name(NamedTuple):
    """Something the pickle names. It stays a name: nothing is looked up."""

    text: str


class _Storage(NamedTuple):
    """A run of elements elsewhere in the file."""

    key: str
    dtype: str
    elements: int


class _Tensor(NamedTuple):
    """A view of a storage, not checked yet; offset and strides in elements."""

    storage: _Storage
    offset: Any
    shape: Any
    strides: Any
    dtype: str


class _Checkpoint(NamedTuple):
    """An opened file: what its pickle describes, and how to get at the bytes of a storage."""

    content: Any
    read: Callable[[str], bytes]
    order: str


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Read the state_dict that a PyTorch checkpoint holds.

    The file may be the state_dict itself or a dict that holds it beside other things, such as
    `{"epoch": 3, "state_dict": {...}, "optimizer": {...}}`. A `module.` that begins every name
    (written by `DataParallel`) is taken off. Nothing in the file is executed.

    Args:
        path: a file that `torch.save` wrote, usually `.pth` or `.pt`, in either format.

    Returns:
        Arrays by parameter name, in the file's order. Shape and dtype are the file's, in the
        machine's byte order; bfloat16 becomes float32. They are read-only and may share memory,
        as tensors of one storage do.

    Raises:
        UserError: if the file is missing, not a PyTorch checkpoint, damaged, cut short, without a
            state_dict, or asks for anything but tensors and plain data.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return _arrays(_open_zip(file) if file.read(4) == ZIP_MAGIC else _open_stream(file))
    except _Refused as refused:
        raise UserError(f"{path} {refused}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    except NONSENSE as error:
        raise UserError(
            f"{path} is not a PyTorch checkpoint, or it is damaged or cut short "
            f"({_shown(str(error)) or type(error).__name__}): download or copy it again."
        ) from error


def _shown(text: str) -> str:
    """Show text from the file, but not all of it where it is long."""
    return text if len(text) <= 80 else f"{text[:77]}..."


# The two formats


def _open_zip(file: BinaryIO) -> _Checkpoint:
    """Open a zip checkpoint."""
    archive = zipfile.ZipFile(file)
    pickles = [name for name in archive.namelist() if f"/{name}".endswith("/data.pkl")]
    if len(pickles) != 1:
        raise _Refused("is a zip file, but not one that torch.save wrote: it has no data.pkl.")
    folder = pickles[0].removesuffix("data.pkl")
    bytes_left = file.seek(0, 2)

    def read(name: str) -> bytes:
        """Read one record; all of them together are never longer than the file."""
        nonlocal bytes_left
        record = archive.getinfo(folder + name)
        bytes_left -= record.file_size
        if record.compress_type != zipfile.ZIP_STORED or bytes_left < 0:
            raise _Refused(
                f"is not a checkpoint as PyTorch writes it: its record '{_shown(name)}' is "
                "compressed or longer than the file, and was not opened."
            )
        return archive.read(record)

    content, _ = _unpickle(read("data.pkl"))
    order = read("byteorder").decode() if f"{folder}byteorder" in archive.namelist() else "little"
    if order not in ("little", "big"):
        raise ValueError(f"byte order {order}")
    return _Checkpoint(content, lambda key: read(f"data/{key}"), order)


def _open_stream(file: BinaryIO) -> _Checkpoint:
    """Open a checkpoint of the format before PyTorch 1.6."""
    file.seek(0)
    if file.read(1) != b"\x80":  # begins every pickle since protocol 2
        raise _Refused("is not a PyTorch checkpoint: it is neither a zip file nor a pickle.")
    file.seek(0)
    magic, _ = _unpickle(file)
    if magic != STREAM_MAGIC:
        raise _Refused(
            "is a pickle, but not one that torch.save wrote: save model.state_dict() with it."
        )
    version, _ = _unpickle(file)
    if version != STREAM_VERSION:
        raise ValueError("an unknown version of the format")
    _unpickle(file)  # about the writing machine; storages are little endian whatever it was
    content, storages = _unpickle(file)
    keys, _ = _unpickle(file)

    itemsizes = {storage.key: _raw_dtype(storage.dtype).itemsize for storage in storages}
    places = {}
    start, end = file.tell(), file.seek(0, 2)
    for key in keys:
        if type(key) is not str or key not in itemsizes:
            raise ValueError("a storage that nothing refers to")
        file.seek(start)
        size = int.from_bytes(file.read(8), "little", signed=True) * itemsizes[key]
        places[key] = (start + 8, size)
        start += 8 + size
        if size < 0 or start > end:
            raise ValueError(f"storage {key} reaches beyond the end of the file")

    def read(key: str) -> bytes:
        start, size = places[key]
        file.seek(start)
        return file.read(size)

    return _Checkpoint(content, read, "little")


# From what the pickle describes to arrays


def _arrays(checkpoint: _Checkpoint) -> dict[str, np.ndarray]:
    """Return the arrays of the checkpoint's state_dict."""
    read = cache(checkpoint.read)

    @cache
    def elements(storage: _Storage, dtype: str) -> np.ndarray:
        """Return a whole storage, shape [elements], as the dtype the caller gets to see."""
        count = storage.elements * _raw_dtype(storage.dtype).itemsize // _raw_dtype(dtype).itemsize
        stored = _raw_dtype(dtype).newbyteorder(checkpoint.order)
        content = read(storage.key)
        if len(content) < count * stored.itemsize:
            raise ValueError(f"storage {storage.key} is shorter than it says")
        array = np.frombuffer(content, stored, count)
        array = array.astype(stored.newbyteorder("="), copy=False)
        if dtype == "bfloat16":
            array = (array.astype(np.uint32) << 16).view(np.float32)
        return array != 0 if dtype == "bool" else array

    return {
        name: _view(name, tensor, elements(tensor.storage, tensor.dtype))
        for name, tensor in _state_dict(checkpoint.content).items()
    }


def _state_dict(content: Any) -> dict[str, _Tensor]:
    """Find the named tensors in what the pickle describes."""

    def tensors(value: Any) -> dict[str, _Tensor]:
        entries = value.items() if isinstance(value, dict) else ()
        return {key: t for key, t in entries if isinstance(key, str) and isinstance(t, _Tensor)}

    entries = content.items() if isinstance(content, dict) else ()
    nested = {key: tensors(value) for key, value in entries if tensors(value)}
    wrappers = [key for key in ("state_dict", "model_state_dict", "model") if key in nested]
    if wrappers:
        found = nested[wrappers[0]]
    elif tensors(content):
        found = tensors(content)
    elif len(nested) == 1:
        (found,) = nested.values()
    elif nested:
        raise _Refused(
            f"holds several sets of tensors ({_shown(', '.join(map(str, nested)))}), none of them "
            "called state_dict: save the model.state_dict() you want alone."
        )
    else:
        raise _Refused("holds no named tensors: save model.state_dict() with torch.save.")

    if all(name.startswith("module.") for name in found):
        found = {name.removeprefix("module."): tensor for name, tensor in found.items()}
    return found


def _raw_dtype(dtype: str) -> np.dtype:
    """Return the dtype in which the bytes of an element type are read."""
    return np.dtype({"bfloat16": "uint16", "bool": "uint8"}.get(dtype, dtype))


def _view(name: str, tensor: _Tensor, elements: np.ndarray) -> np.ndarray:
    """Return a tensor as a view of its storage, after checking that it stays inside it."""
    shape, strides = tensor.shape, tensor.strides
    if not _inside(tensor.offset, shape, strides, elements.size):
        raise _Refused(
            f"is damaged or was made to do harm: tensor '{_shown(name)}' does not fit its storage "
            f"of {elements.size} elements. Download or copy it again, or do not trust it."
        )
    if prod(shape) == 0:
        return np.empty(shape, elements.dtype)
    steps = [step * elements.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(elements[tensor.offset :], shape, steps, writeable=False)


def _inside(offset: Any, shape: Any, strides: Any, size: int) -> bool:
    """Say whether a tensor is described soundly and lies in a storage of `size` elements."""
    if not (type(shape) is tuple and type(strides) is tuple and len(shape) == len(strides)):
        return False
    if len(shape) > MOST_AXES:
        return False
    if any(type(n) is not int or not 0 <= n < 2**63 for n in (offset, *shape, *strides)):
        return False
    if prod(shape) == 0:
        return True
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    # With stride 0 a few bytes could claim to be any number of elements.
    return last < size and prod(shape) <= size


# The stack machine


def _unpickle(source: bytes | BinaryIO) -> tuple[Any, list[_Storage]]:
    """Run one pickle and return what it describes.

    Args:
        source: the pickle, or an open file, which is left just behind it.

    Returns:
        The object, of numbers, strings, bytes, None, lists, tuples, dicts, `_Name`s, `_Storage`s
        and `_Tensor`s; and all storages it refers to.

    Raises:
        _Refused: if the pickle asks for anything else.
        ValueError, TypeError, LookupError: if it makes no sense.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}
    storages: list[_Storage] = []

    def above_mark() -> list[Any]:
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    for opcode, argument, _ in pickletools.genops(source):
        match opcode.name:
            case "PROTO" | "FRAME":
                pass
            case name if name in VALUES:
                stack.append(argument)
            case name if name in CONSTANTS:
                stack.append(CONSTANTS[name])
            case "MARK":
                marks.append(len(stack))
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3" as name:
                count = int(name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "TUPLE":
                stack.append(tuple(above_mark()))
            case "EMPTY_LIST":
                stack.append([])
            case "LIST":
                stack.append(above_mark())
            case "APPEND":
                item = stack.pop()
                _extend(stack[-1], [item])
            case "APPENDS":
                items = above_mark()
                _extend(stack[-1], items)
            case "EMPTY_DICT":
                stack.append({})
            case "DICT":
                stack.append(_dict(above_mark()))
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                _extend(stack[-1], [key, value])
            case "SETITEMS":
                items = above_mark()
                _extend(stack[-1], items)
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(_name(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(_name(module, name))
            case "BINPERSID":
                storages.append(_storage(stack.pop()))
                stack.append(storages[-1])
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_call(function, arguments))
            case "BUILD":
                stack.pop()  # attributes, such as the `_metadata` of a state_dict: not needed
            case "STOP":
                return stack.pop(), storages
            case name:
                raise _Refused(_asks_for(f"the pickle instruction {name}"))
    raise ValueError("the pickle has no end")


def _asks_for(what: str) -> str:
    return (
        f"asks for {what} on loading: it is not a plain state_dict of tensors and was not opened; "
        "load it with PyTorch where you trust it and save model.state_dict() alone."
    )


def _extend(target: Any, items: list[Any]) -> None:
    """Put items into a list, or keys and values that take turns into a dict."""
    if type(target) is dict:
        target.update(_dict(items))
    elif type(target) is list:
        target.extend(items)
    else:
        raise TypeError("an entry for something that holds none")


def _dict(items: list[Any]) -> dict:
    """Make a dict of keys and values that take turns."""
    keys, values = items[::2], items[1::2]
    # Other keys would be hashed, which a tuple nested deeply enough turns into a crash.
    if any(type(key) not in (str, int, float, bool, type(None)) for key in keys):
        raise TypeError("a key that is neither text nor number")
    return dict(zip(keys, values, strict=True))


def _name(module: Any, name: Any) -> _Name:
    """Let a name pass that stands for tensors or plain data."""
    if type(module) is not str or type(name) is not str:
        raise ValueError("a name that is not text")
    full = f"{module}.{name}"
    if full not in CALLS and full not in STORAGES and full not in DTYPES:
        raise _Refused(_asks_for(f"'{_shown(full)}'"))
    return _Name(full)


def _storage(reference: Any) -> _Storage:
    """Read a reference: ("storage", type, key, device, number of elements[, view])."""
    tag, kind, key, _, elements, *view = reference
    if tag != "storage" or type(key) is not str or type(elements) is not int or elements < 0:
        raise ValueError("a reference to something that is not a storage")
    if any(view):
        raise ValueError("a storage that is part of another one")
    if type(kind) is not _Name or kind.text not in STORAGES:
        raise ValueError("a storage of unknown type")
    return _Storage(key, STORAGES[kind.text], elements)


def _call(function: Any, arguments: Any) -> Any:
    """Do what the few functions do that a state_dict is made with."""
    if type(function) is not _Name or function.text not in CALLS or type(arguments) is not tuple:
        raise _Refused(_asks_for("a call of something that is not a function"))
    match function.text.rsplit(".", 1)[-1]:
        case "OrderedDict":
            pairs = arguments[0] if arguments else []
            return _dict([item for key, value in pairs for item in (key, value)])
        case "Size":
            return tuple(arguments[0])
        case "device":
            return arguments[0]
        case "_rebuild_parameter" | "_rebuild_parameter_with_state":
            return arguments[0]
    storage, offset, shape, strides, *options = arguments
    if type(storage) is not _Storage:
        raise ValueError("a tensor without a storage")
    dtype = storage.dtype
    if function.text.endswith("_v3"):  # (requires_grad, hooks, dtype): the storage is untyped
        if type(options[2]) is not _Name or options[2].text not in DTYPES:
            raise ValueError("a tensor of unknown type")
        dtype = options[2].text.removeprefix("torch.")
    return _Tensor(storage, offset, shape, strides, dtype)
