"""One version of a SavedModel, loaded and ready to answer."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from cellzoo.errors import without_graph
from cellzoo.files import damaged_file
from cellzoo.protocol.messages import CODES, PredictionLog, SavedModel
from cellzoo.protocol.operations import check_operations
from cellzoo.protocol.tensors import TYPES, array_bytes, from_message
from cellzoo.serving.errors import ServingError

DEFAULT_SIGNATURE = "serving_default"
# Calls after which a signature counts as warm; more records only delay the swap (TensorFlow
# Serving refuses more than 1,000 too).
MAX_WARMUP_RECORDS = 1000


class Servable:
    """A loaded version of a model.

    Attributes:
        name: of the model.
        version: its number.
        signatures: signature name -> ``SignatureDef``, as the SavedModel has them.
    """

    def __init__(self, name: str, version: int, folder: Path, trust: bool = False):
        """Loads the SavedModel in ``folder``; what is wrong with it is raised as it comes.

        Args:
            name: see the class.
            version: see the class.
            folder: of the SavedModel.
            trust: load it whatever operations it holds.
        """
        self.name, self.version = name, version
        damaged = damaged_file(folder)
        if damaged:
            raise ValueError(f"{damaged} is not as checksums.txt says")
        if not trust:
            check_operations(folder)
        graphs = SavedModel.FromString((folder / "saved_model.pb").read_bytes()).meta_graphs
        graph = next((g for g in graphs if "serve" in g.meta_info_def.tags), None)
        if graph is None:
            raise ValueError(f"{folder} has no graph with the tag `serve`")
        self._model = tf.saved_model.load(str(folder), tags=["serve"])
        self._functions = self._model.signatures
        self.signatures = {
            key: signature
            for key, signature in graph.signature_def.items()
            if key in self._functions
        }

    def signature(self, key: str) -> Any:
        """The ``SignatureDef`` of a name; the empty name is ``serving_default``.

        Raises:
            ServingError: there is none.
        """
        key = key or DEFAULT_SIGNATURE
        if key not in self.signatures:
            raise ServingError("FAILED_PRECONDITION", f'Serving signature key "{key}" not found.')
        return self.signatures[key]

    def run(self, key: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All outputs of a signature.

        Args:
            key: name of a signature.
            inputs: exactly its inputs, checked by :func:`check_inputs`.

        Raises:
            ServingError: the graph refuses them.
        """
        try:
            tensors = {name: tf.constant(array) for name, array in inputs.items()}
            return {name: _array(out) for name, out in self._functions[key](**tensors).items()}
        except tf.errors.OpError as error:
            code = next((c for c, number in CODES.items() if number == error.error_code), "UNKNOWN")
            raise ServingError(code, without_graph(error.message)) from error

    def warm_up(self, folder: Path) -> None:
        """Runs the records of ``assets.extra/tf_serving_warmup_requests``, if there are any.

        Raises:
            ValueError: a record is none that can be run here.
            ServingError: a record fails.
        """
        file = folder / "assets.extra" / "tf_serving_warmup_requests"
        if not file.is_file():
            return
        for number, record in enumerate(tf.data.TFRecordDataset(str(file)).as_numpy_iterator(), 1):
            if number > MAX_WARMUP_RECORDS:
                raise ValueError(f"more than {MAX_WARMUP_RECORDS} warm-up records")
            log = PredictionLog.FromString(record)
            if not log.HasField("predict_log"):
                raise ValueError(f"warm-up record {number} is no predict_log")
            request = log.predict_log.request
            key = request.model_spec.signature_name or DEFAULT_SIGNATURE
            signature = self.signature(key)
            inputs = read_inputs(signature, request.inputs)
            check_inputs(signature, inputs)
            self.run(key, inputs)


def input_bytes(messages: Any) -> int:
    """Bytes that the arrays of a request's inputs take; 0 for what :func:`read_inputs` refuses."""
    total = 0
    for message in messages.values():
        try:
            total += array_bytes(message)
        except ValueError:
            pass
    return total


def read_inputs(signature: Any, messages: Any) -> dict[str, np.ndarray]:
    """The arrays of a request's inputs, checked by name.

    Args:
        signature: a ``SignatureDef``.
        messages: input name -> ``TensorProto``.

    Raises:
        ServingError: an input is missing, too many or malformed.
    """
    wanted, sent = sorted(signature.inputs), sorted(messages)
    if len(wanted) != len(sent):
        extra, missing = sorted({*sent} - {*wanted}), sorted({*wanted} - {*sent})
        raise ServingError(
            "INVALID_ARGUMENT",
            f"input size does not match signature: {len(sent)}!={len(wanted)} "
            f"len({_set(sent)}) != len({_set(wanted)}). Sent extra: {_set(extra)}. "
            f"Missing but required: {_set(missing)}.",
        )
    arrays = {}
    for name in wanted:
        if name not in messages:
            raise ServingError(
                "INVALID_ARGUMENT",
                f"Signature input alias: {name}(feed name: {signature.inputs[name].name}) not "
                "found in request and no default value provided. Inputs expected to be in the "
                f"request {_set(sent)}, or default input alias set: ",
            )
        try:
            arrays[name] = from_message(messages[name])
        except (ValueError, OverflowError) as error:
            raise ServingError("INVALID_ARGUMENT", f"tensor parsing error: {name}") from error
    return arrays


def check_inputs(signature: Any, inputs: dict[str, np.ndarray]) -> None:
    """Compares arrays with the types and shapes that a ``SignatureDef`` states.

    TensorFlow Serving leaves shapes to the graph. Here they are checked as well, because a wrong
    rank that reaches a convolution can end the process.

    Raises:
        ServingError: they do not agree.
    """
    for place, name in enumerate(sorted(signature.inputs)):
        info, array = signature.inputs[name], inputs[name]
        kind = TYPES.get(info.dtype)
        if kind is None or kind.numpy != array.dtype:
            wanted = kind.name if kind else f"type {info.dtype}"
            sent = next(kind.name for kind in TYPES.values() if kind.numpy == array.dtype)
            raise ServingError(
                "INVALID_ARGUMENT", f"Expects arg[{place}] to be {wanted} but {sent} is provided"
            )
        if not _fits(info.tensor_shape, array.shape):
            expected = ",".join("?" if d.size == -1 else str(d.size) for d in info.tensor_shape.dim)
            raise ServingError(
                "INVALID_ARGUMENT",
                f"Shape of tensor {name} [{','.join(map(str, array.shape))}] is not compatible "
                f"with expected shape [{expected}].",
            )


def _fits(expected: Any, shape: tuple[int, ...]) -> bool:
    if expected.unknown_rank:
        return True
    sizes = [dim.size for dim in expected.dim]
    return len(sizes) == len(shape) and all(
        size in (-1, given) for size, given in zip(sizes, shape, strict=True)
    )


def _array(tensor: tf.Tensor) -> np.ndarray:
    """Its values; TensorFlow gives the bytes themselves for a scalar string."""
    value = tensor.numpy()
    return np.array(value, object) if isinstance(value, bytes) else np.asarray(value)


def _set(names: list[str]) -> str:
    return "{" + ",".join(names) + "}"
