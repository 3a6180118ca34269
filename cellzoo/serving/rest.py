"""TensorFlow Serving's REST interface: ``/v1/models/...`` in JSON, and the metrics page."""

import base64
import binascii
import json
import logging
import re
import threading
import time
from typing import Any

import numpy as np
from google.protobuf import json_format

from cellzoo.files import finite
from cellzoo.protocol.messages import (
    GetModelMetadataRequest,
    GetModelStatusRequest,
    PredictRequest,
    SignatureDefMap,
)
from cellzoo.protocol.tensors import TYPES, DataType, from_message, to_message
from cellzoo.serving import metrics
from cellzoo.serving.errors import ServingError
from cellzoo.serving.http import HttpServer, Request, Response
from cellzoo.serving.metrics import Metrics
from cellzoo.serving.requests import Protocol

log = logging.getLogger(__name__)

_SPARE_CONNECTIONS = 128  # beyond those of predictions under way
# What Python makes of a byte of JSON: an empty list takes two bytes and a comma, and there 64.
_JSON = 8
_MODEL = r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_PREDICT = re.compile(_MODEL + ":predict")
_STATUS = re.compile(_MODEL)
_METADATA = re.compile(_MODEL + "/metadata")
_HTTP = {
    "INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403, "NOT_FOUND": 404, "ALREADY_EXISTS": 409,
    "ABORTED": 409, "RESOURCE_EXHAUSTED": 429, "CANCELLED": 499, "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503, "DEADLINE_EXCEEDED": 504,
}  # fmt: skip


def answer(protocol: Protocol, method: str, path: str, body: bytes) -> dict[str, Any]:
    """The JSON answer to a request.

    Raises:
        ServingError: the request cannot be answered.
    """
    predict = _PREDICT.fullmatch(path) if method == "POST" else None
    metadata = _METADATA.fullmatch(path) if method == "GET" else None
    status = _STATUS.fullmatch(path) if method == "GET" else None
    if predict:
        with protocol.memory.hold(_JSON * len(body)):
            return _predict(protocol, predict, body)
    if metadata:
        return _metadata(protocol, metadata)
    if status:
        request = GetModelStatusRequest()
        _set_spec(request.model_spec, status)
        return _json(protocol.get_model_status(request))
    raise ServingError("INVALID_ARGUMENT", f"Malformed request: {method} {path}")


def _set_spec(spec: Any, match: re.Match) -> None:
    spec.name = match["name"]
    if match["version"]:
        digits = match["version"].lstrip("0")[:20]
        if int(digits or 0) >= 2**63:
            raise ServingError(
                "INVALID_ARGUMENT", f"Failed to convert version: {match['version']} to numeric."
            )
        spec.version.value = int(digits or 0)
    elif match["label"]:
        spec.version_label = match["label"]


def _json(message: Any) -> dict[str, Any]:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _metadata(protocol: Protocol, match: re.Match) -> dict[str, Any]:
    request = GetModelMetadataRequest(metadata_field=["signature_def"])
    _set_spec(request.model_spec, match)
    response = protocol.get_model_metadata(request)
    signatures = SignatureDefMap.FromString(response.metadata["signature_def"].value)
    return {
        "model_spec": _json(response.model_spec),
        "metadata": {"signature_def": _json(signatures)},
    }


def _predict(protocol: Protocol, match: re.Match, body: bytes) -> dict[str, Any]:
    request = PredictRequest()
    _set_spec(request.model_spec, match)
    document = _document(body)
    signature_name = document.get("signature_name", "")
    if not isinstance(signature_name, str):
        raise ServingError("INVALID_ARGUMENT", "'signature_name' key must be a string value.")
    request.model_spec.signature_name = signature_name
    signature = protocol.models.servable(request.model_spec).signature(signature_name)
    rows = "instances" in document
    if rows == ("inputs" in document):
        raise ServingError(
            "INVALID_ARGUMENT",
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"
            if rows
            else "Missing 'inputs' or 'instances' key",
        )
    values = (
        _from_rows(document["instances"], signature)
        if rows
        else _from_columns(document["inputs"], signature)
    )
    for name, value in values.items():
        kind = TYPES.get(signature.inputs[name].dtype)
        if kind is None:
            raise ServingError("UNIMPLEMENTED", f"JSON cannot hold the type of {name}")
        request.inputs[name].CopyFrom(to_message(_array(name, value, kind)))
    response = protocol.predict(request)
    outputs = {name: _values(name, tensor) for name, tensor in response.outputs.items()}
    return {"predictions": _rows(outputs)} if rows else {"outputs": _inlined(outputs)}


def _document(body: bytes) -> dict[str, Any]:
    if not body:
        raise ServingError("INVALID_ARGUMENT", "JSON Parse error: The document is empty")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:  # ValueError: JSON and UTF-8 alike
        raise ServingError("INVALID_ARGUMENT", f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise ServingError("INVALID_ARGUMENT", "JSON Value: Is not object")
    return document


def _is_object(value: Any) -> bool:
    """Whether it names inputs, rather than being the base64 form of one string."""
    return isinstance(value, dict) and set(value) != {"b64"}


def _from_rows(instances: Any, signature: Any) -> dict[str, list]:
    """Input name -> values, of a list with an item per image."""
    if not isinstance(instances, list) or not instances:
        raise ServingError("INVALID_ARGUMENT", "Expecting 'instances' to be a non-empty list")
    names = sorted(signature.inputs)
    if not any(map(_is_object, instances)):
        if len(names) != 1:
            raise ServingError(
                "INVALID_ARGUMENT",
                "instances is a plain list, but expecting list of objects as multiple input "
                "tensors required as per tensorinfo_map",
            )
        return {names[0]: instances}
    for place, item in enumerate(instances):
        if not _is_object(item) or sorted(item) != names:
            raise ServingError(
                "INVALID_ARGUMENT",
                f"Failed to process element: {place} of 'instances' list. "
                f"JSON object keys must be equal to: {','.join(names)}",
            )
    return {name: [item[name] for item in instances] for name in names}


def _from_columns(inputs: Any, signature: Any) -> dict[str, Any]:
    """Input name -> value, of an object of inputs or of the only input's value."""
    names = sorted(signature.inputs)
    if not _is_object(inputs):
        if len(names) != 1:
            raise ServingError(
                "INVALID_ARGUMENT",
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map",
            )
        return {names[0]: inputs}
    for name in names:
        if name not in inputs:
            raise ServingError(
                "INVALID_ARGUMENT", f"Missing named input: {name} in 'inputs' object."
            )
    return {name: inputs[name] for name in names}


def _array(name: str, value: Any, kind: DataType) -> np.ndarray:
    """Nested lists as an array of a type; base64 objects as strings."""
    try:
        array = np.array(_bytes(value) if kind.is_string else value)
        if kind.is_string:
            array = np.array(_bytes(value), object)
            fits = all(isinstance(item, bytes) for item in array.flat)
        elif kind.numpy.kind == "f":
            fits = array.dtype.kind in "iuf"
        elif kind.numpy.kind == "b":
            fits = array.dtype.kind == "b"
        else:
            limits = np.iinfo(kind.numpy)
            fits = array.dtype.kind in "iu" and (
                not array.size or (array.min() >= limits.min and array.max() <= limits.max)
            )
    except (ValueError, RecursionError, OverflowError) as error:
        raise ServingError(
            "INVALID_ARGUMENT", f"JSON Value of {name} is no regular list of {kind.name}: {error}"
        ) from error
    if not fits and array.size:
        raise ServingError(
            "INVALID_ARGUMENT", f"JSON Value of {name} is not of expected type: {kind.name}"
        )
    return array if kind.is_string else array.astype(kind.numpy)


def _bytes(value: Any) -> Any:
    if isinstance(value, list):
        return [_bytes(item) for item in value]
    if isinstance(value, dict):
        if set(value) != {"b64"} or not isinstance(value["b64"], str):
            raise ValueError("not formatted correctly for base64 data")
        try:
            # As TensorFlow Serving, with line breaks and without padding, too.
            text = "".join(value["b64"].split())
            return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except binascii.Error as error:
            raise ValueError("Unable to base64 decode") from error
    return value.encode() if isinstance(value, str) else value


def _values(name: str, tensor: Any) -> Any:
    """A tensor as nested lists; what is named ``..._bytes`` as base64 objects."""
    array = from_message(tensor)

    def plain(value: Any) -> Any:
        if isinstance(value, bytes):
            if name.endswith("_bytes"):
                return {"b64": base64.b64encode(value).decode()}
            return value.decode("utf-8", "replace")
        # The shortest digits that give the same float32 again.
        return float(str(value)) if isinstance(value, np.floating) else value.item()

    def nested(part: Any) -> Any:
        return [nested(item) for item in part] if isinstance(part, np.ndarray) else plain(part)

    return nested(array) if array.ndim else plain(array[()])


def _rows(outputs: dict[str, Any]) -> list:
    lengths = {len(v) if isinstance(v, list) else None for v in outputs.values()}
    if len(lengths) != 1 or None in lengths:
        raise ServingError(
            "INVALID_ARGUMENT", "Tensors of different batch size cannot be written in row format"
        )
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    return [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]


def _inlined(outputs: dict[str, Any]) -> Any:
    return next(iter(outputs.values())) if len(outputs) == 1 else outputs


class RestServer(HttpServer):
    """Answers over HTTP.

    Args:
        host: to listen at.
        port: to listen at; 0: any free one.
        protocol: answers.
        counted: takes note of each prediction.
        metrics_path: where the metrics are; None: nowhere.
        most: predictions under way at the same time; further ones are refused.
    """

    def __init__(
        self,
        host: str,
        port: int,
        protocol: Protocol,
        counted: Metrics,
        metrics_path: str | None = metrics.PATH,
        most: int = 512,
    ):
        """See the class."""
        self._protocol, self._counted, self._metrics_path = protocol, counted, metrics_path
        self._places = threading.Semaphore(most)
        super().__init__(host, port, self._respond, _refusal, most + _SPARE_CONNECTIONS)

    def _respond(self, request: Request) -> Response:
        if request.path == self._metrics_path and request.method == "GET":
            return Response(200, "text/plain; version=0.0.4", self._counted.text().encode())
        if request.method not in ("GET", "POST"):
            return _json_response(405, {"error": "GET and POST are answered"})
        if not request.path.startswith("/v1/"):
            return _json_response(404, {"error": f"Not found: {request.path}"})
        if request.method == "GET":  # probes are answered however busy it is
            return self._answered(request)
        if not self._places.acquire(blocking=False):
            return _json_response(503, {"error": "too many requests are under way"})
        try:
            return self._answered(request)
        finally:
            self._places.release()

    def _answered(self, request: Request) -> Response:
        started, code = time.monotonic(), "OK"
        try:
            return _json_response(200, answer(self._protocol, *request))
        except ServingError as error:
            code = error.code
            return _json_response(_HTTP.get(code, 500), {"error": error.message})
        except Exception as error:  # the connection must hear of it, whatever it was
            code = "INTERNAL"
            log.exception("a request failed")
            return _json_response(500, {"error": f"{type(error).__name__}: {error}"})
        finally:
            match = _PREDICT.fullmatch(request.path)
            if match and match["name"] in self._protocol.models.names:
                seconds = time.monotonic() - started
                self._counted.observe(match["name"], "predict", "REST", code, seconds)


def _json_response(status: int, document: dict[str, Any]) -> Response:
    """A document as JSON, which has no NaN: such numbers are null."""
    text = json.dumps(finite(document), indent=1, allow_nan=False)
    return Response(status, "application/json", text.encode() + b"\n")


def _refusal(status: int, reason: str) -> Response:
    return _json_response(status, {"error": reason})
