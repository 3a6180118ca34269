"""NumPy arrays and TensorFlow's ``TensorProto``, both ways, without TensorFlow."""

import math
from typing import Any, NamedTuple

import numpy as np

from cellzoo.protocol.messages import DATA_TYPES, TensorProto

# Elements: a message of a few bytes may ask for its one value to be repeated over a whole tensor.
MAX_REPEATED = 2**20
_PART = 2**16  # elements that become Python's numbers at a time, which take eight times the bytes
MAX_RANK = 254  # TensorFlow's own limit


class DataType(NamedTuple):
    """A type of tensor elements.

    Attributes:
        numpy: the same type in NumPy; strings are objects (bytes).
        field: where a message lists values of it.
        name: what TensorFlow's errors call it.
    """

    numpy: np.dtype
    field: str
    name: str

    @property
    def is_string(self) -> bool:
        """Whether the elements are bytes of any length."""
        return self.name == "string"


TYPES = {
    DATA_TYPES[key]: DataType(np.dtype(kind), field, name)
    for key, kind, field, name in (
        ("DT_FLOAT", np.float32, "float_val", "float"),
        ("DT_DOUBLE", np.float64, "double_val", "double"),
        ("DT_INT32", np.int32, "int_val", "int32"),
        ("DT_UINT8", np.uint8, "int_val", "uint8"),
        ("DT_INT16", np.int16, "int_val", "int16"),
        ("DT_INT8", np.int8, "int_val", "int8"),
        ("DT_STRING", object, "string_val", "string"),
        ("DT_INT64", np.int64, "int64_val", "int64"),
        ("DT_BOOL", np.bool_, "bool_val", "bool"),
        ("DT_UINT16", np.uint16, "int_val", "uint16"),
        ("DT_HALF", np.float16, "half_val", "half"),
        ("DT_UINT32", np.uint32, "uint32_val", "uint32"),
        ("DT_UINT64", np.uint64, "uint64_val", "uint64"),
    )
}
_ENUM = {kind.numpy: number for number, kind in TYPES.items()}


def to_message(array: np.ndarray, *, typed: bool = False) -> Any:
    """A ``TensorProto`` of an array.

    Args:
        array: of a type in ``TYPES``; strings as objects (bytes).
        typed: write the values into the field of their type, as TensorFlow Serving answers,
            instead of raw bytes, which are a hundred times faster.
    """
    number = _ENUM[array.dtype]
    message = TensorProto(dtype=number)
    for size in array.shape:
        message.tensor_shape.dim.add(size=size)
    if not typed and array.dtype != object:
        message.tensor_content = array.tobytes()  # little-endian, as TensorFlow is
        return message
    values = array.view(np.uint16) if array.dtype == np.float16 else array
    field, values = getattr(message, TYPES[number].field), values.ravel()
    for start in range(0, values.size, _PART):
        field.extend(values[start : start + _PART].tolist())
    return message


def array_bytes(message: Any) -> int:
    """Bytes that the array of a ``TensorProto`` takes; of strings, and of pointers to them.

    Raises:
        ValueError: as :func:`from_message`, which checks the rest.
    """
    kind, shape = _described(message)
    content = sum(map(len, message.string_val)) if kind.is_string else len(message.tensor_content)
    return content if content and not kind.is_string else content + math.prod(shape) * (
        kind.numpy.itemsize
    )


def from_message(message: Any) -> np.ndarray:
    """The array of a ``TensorProto``.

    As in TensorFlow, the last of too few listed values is repeated; none at all means zeros.

    Raises:
        ValueError: the message contradicts itself, or its type is none of ``TYPES``.
    """
    kind, shape = _described(message)
    size = math.prod(shape)
    content = message.tensor_content
    if content and not kind.is_string:
        if len(content) != size * kind.numpy.itemsize:
            raise ValueError(f"{len(content)} bytes for shape {shape}")
        if kind.numpy == np.bool_ and content.strip(b"\0\1"):
            raise ValueError("a byte that is neither true nor false")
        return _reshaped(np.frombuffer(content, kind.numpy), shape)
    values = getattr(message, kind.field)
    if kind.is_string:
        filler = values[-1] if values else b""
        array = np.full(size, filler, object)
        array[: len(values)] = list(values)
        return _reshaped(array, shape)
    if kind.numpy == np.float16:
        listed = np.array(values, np.int64).astype(np.uint16).view(np.float16)
    else:
        listed = np.array(values, _listed_type(kind.field)).astype(kind.numpy)
    array = np.full(size, listed[-1] if len(listed) else 0, kind.numpy)
    array[: len(listed)] = listed
    return _reshaped(array, shape)


def _described(message: Any) -> tuple[DataType, tuple[int, ...]]:
    """Type and shape of a ``TensorProto`` that holds values enough for it."""
    kind = TYPES.get(message.dtype)
    if kind is None:
        raise ValueError(f"cannot read data type {message.dtype}")
    shape = tuple(dim.size for dim in message.tensor_shape.dim)
    if message.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise ValueError("the shape is not fully known")
    if len(shape) > MAX_RANK:
        raise ValueError(f"{len(shape)} dimensions")
    size = math.prod(shape)
    if kind.is_string or not message.tensor_content:
        values = len(getattr(message, kind.field))
        if values > size:
            raise ValueError(f"{values} values for shape {shape}")
        if values < size and size > MAX_REPEATED:
            raise ValueError(f"only {values} values for shape {shape}")
    return kind, shape


def _reshaped(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if len(shape) > 64:
        raise ValueError("more than 64 dimensions")  # NumPy's limit
    return array.reshape(shape)


def _listed_type(field: str) -> np.dtype:
    """The type in which a message lists the values: small integers travel as int32."""
    return np.dtype(np.int32) if field == "int_val" else next(
        kind.numpy for kind in TYPES.values() if kind.field == field
    )  # fmt: skip
