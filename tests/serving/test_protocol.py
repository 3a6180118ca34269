"""TensorFlow Serving's protocol, case by case, as TensorFlow Serving 2.20 was seen to answer.

Runs against the embedded server, or against a stock server:

    CELLZOO_SERVING_ADDRESS   where its gRPC answers, such as localhost:8500
    CELLZOO_SERVING_REST      where its REST answers, such as localhost:8501
    CELLZOO_SERVING_MODELS    the folder of the models that it serves
    CELLZOO_SERVING_BATCHING  1 if it makes batches

It must serve the models that `python tests/serving/conftest.py MODELS` writes; conftest.py begins
with how to start it. Run this file alone then: the others test the embedded server.
"""

import json
import os
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import grpc
import numpy as np
import pytest

from cellzoo.protocol import messages
from cellzoo.protocol.tensors import from_message, to_message

STOCK = os.environ.get("CELLZOO_SERVING_ADDRESS")
X = np.array([1, 2], np.float32)
PREDICTION, MODEL = "PredictionService", "ModelService"


@pytest.fixture(scope="module")
def address(request):
    """Where a server answers, ``grpc`` and ``rest``, and the folder of its ``models``."""
    if STOCK:
        models = os.environ.get("CELLZOO_SERVING_MODELS")
        yield SimpleNamespace(
            grpc=STOCK,
            rest=os.environ.get("CELLZOO_SERVING_REST"),
            models=models and Path(models),
        )
        return
    from cellzoo.serving.config import read_model_config
    from cellzoo.serving.server import Server, Settings

    models = request.getfixturevalue("models_to_change")
    configs = read_model_config(models / "models.config")
    server = Server(lambda: configs, Settings(grpc_port=0, rest_port=0, max_batch=4))
    yield SimpleNamespace(
        grpc=f"127.0.0.1:{server.grpc_port}", rest=f"127.0.0.1:{server.rest_port}", models=models
    )
    server.stop()


@pytest.fixture(scope="module")
def call(address):
    """A function of service, method, request and reply type that returns the reply."""
    with grpc.insecure_channel(address.grpc) as channel:

        def of(service, method, request, reply):
            stub = channel.unary_unary(
                f"/tensorflow.serving.{service}/{method}",
                lambda message: message.SerializeToString(),
                reply.FromString,
            )
            return stub(request, timeout=20)

        yield of


@pytest.fixture
def predict(call):
    """A function of inputs and of a ModelSpec's fields that predicts."""

    def of(inputs=None, name="half", version=None, output_filter=(), **spec):
        request = messages.PredictRequest(output_filter=output_filter)
        request.model_spec.name = name
        if version is not None:
            request.model_spec.version.value = version
        for field, value in spec.items():
            setattr(request.model_spec, field, value)
        for key, value in ({"x": X} if inputs is None else inputs).items():
            is_array = isinstance(value, np.ndarray)
            request.inputs[key].CopyFrom(to_message(value) if is_array else value)
        return call(PREDICTION, "Predict", request, messages.PredictResponse)

    return of


@pytest.fixture
def status(call):
    def of(name="half", version=None, label=""):
        request = messages.GetModelStatusRequest()
        request.model_spec.name = name
        if version:
            request.model_spec.version.value = version
        if label:
            request.model_spec.version_label = label
        reply = call(MODEL, "GetModelStatus", request, messages.GetModelStatusResponse)
        names = {number: name for name, number in messages.STATES.items()}
        return [(v.version, names[v.state]) for v in reply.model_version_status]

    return of


@pytest.fixture
def rest(address):
    """A function of path and document that returns status and answer."""
    if not address.rest:
        pytest.skip("CELLZOO_SERVING_REST is not set")

    def of(path, document=None):
        body = json.dumps(document).encode() if isinstance(document, dict) else document
        try:
            with urllib.request.urlopen(f"http://{address.rest}{path}", body, timeout=20) as reply:
                content, code = reply.read(), reply.status
        except urllib.error.HTTPError as error:
            content, code = error.read(), error.code
        return code, content.decode() if "monitoring" in path else json.loads(content)

    return of


def refused(code, message=None):
    """Expects a gRPC error of that code, whose message begins so."""

    class Refused:
        def __enter__(self):
            return self

        def __exit__(self, kind, error, trace):
            assert isinstance(error, grpc.RpcError), "the request was answered"
            assert (error.code().name, error.details()[: len(message or "")]) == (
                code,
                message or "",
            ), error.details()
            return True

    return Refused()


# Predict: what is right


@pytest.mark.parametrize("signature_name", ["", "serving_default"])
@pytest.mark.parametrize(
    ("asked", "version"),
    [
        ({}, 2),
        ({"version": 1}, 1),
        ({"version": 2}, 2),
        ({"version_label": "stable"}, 1),
        ({"version_label": "canary"}, 2),
    ],
)
def test_the_reply_names_model_version_and_signature(predict, asked, version, signature_name):
    reply = predict(signature_name=signature_name, **asked)
    spec = reply.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == (
        "half", version, "serving_default",
    )  # fmt: skip
    np.testing.assert_array_equal(from_message(reply.outputs["y"]), X / 2 + version)


def test_replies_list_their_values(predict):
    y = predict(version=1).outputs["y"]
    assert (list(y.float_val), y.tensor_content) == ([1.5, 2.0], b"")


@pytest.mark.parametrize("typed", [False, True])
def test_requests_may_list_values_or_hold_bytes(predict, typed):
    reply = predict({"x": to_message(X, typed=typed)}, version=1)
    assert list(reply.outputs["y"].float_val) == [1.5, 2.0]


def test_the_last_of_too_few_values_is_repeated(predict):
    x = to_message(np.zeros(3, np.float32), typed=True)
    del x.float_val[:]
    x.float_val.append(4)
    assert list(predict({"x": x}, version=1).outputs["y"].float_val) == [3, 3, 3]


def test_strings_and_several_outputs(predict):
    inputs = {"a": X, "b": np.array([b"ab", b"\xff\0c"], object)}
    reply = predict(inputs, name="two")
    assert {key: from_message(value).tolist() for key, value in reply.outputs.items()} == {
        "double": [2, 4],
        "length": [2, 3],
        "same_bytes": [b"ab", b"\xff\0c"],
    }
    reply = predict(inputs, name="two", output_filter=["length"])
    assert list(reply.outputs) == ["length"]


# Predict: what is wrong


@pytest.mark.parametrize(
    ("asked", "code", "message"),
    [
        ({"name": "nope"}, "NOT_FOUND", "Servable not found for request: Latest(nope)"),
        ({"version": 9}, "NOT_FOUND", "Servable not found for request: Specific(half, 9)"),
        (
            {"version_label": "zzz"},
            "INVALID_ARGUMENT", "Unrecognized servable version label: zzz",
        ),
        ({"name": ""}, "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (
            {"signature_name": "bad"},
            "FAILED_PRECONDITION", 'Serving signature key "bad" not found.',
        ),
        (
            {"inputs": {}},
            "INVALID_ARGUMENT",
            "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. "
            "Missing but required: {x}.",
        ),
        (
            {"inputs": {"x": X, "z": X}},
            "INVALID_ARGUMENT",
            "input size does not match signature: 2!=1 len({x,z}) != len({x}). Sent extra: {z}. "
            "Missing but required: {}.",
        ),
        (
            {"inputs": {"z": X}},
            "INVALID_ARGUMENT",
            "Signature input alias: x(feed name: serving_default_x:0) not found in request and no "
            "default value provided. ",
        ),
        (
            {"inputs": {"x": X.astype(np.int32)}},
            "INVALID_ARGUMENT", "Expects arg[0] to be float but int32 is provided",
        ),
        (
            {"output_filter": ["q"]},
            "INVALID_ARGUMENT",
            "output tensor alias not found in signature: q Outputs expected to be in the set {y}.",
        ),
        (
            {"output_filter": ["y", "y"]},
            "INVALID_ARGUMENT", "duplicate output tensor alias: y",
        ),
    ],
)  # fmt: skip
def test_what_predict_refuses(predict, asked, code, message):
    with refused(code, message):
        predict(**asked)


def test_a_request_without_model_spec_is_refused(call):
    request = messages.PredictRequest()
    with refused("INVALID_ARGUMENT", "Missing ModelSpec"):
        call(PREDICTION, "Predict", request, messages.PredictResponse)


def malformed(**fields):
    x = to_message(X)
    for field, value in fields.items():
        setattr(x, field, value)
    return x


@pytest.mark.parametrize(
    "x",
    [
        pytest.param(malformed(tensor_content=b"123"), id="bytes that do not fill the shape"),
        pytest.param(malformed(dtype=0), id="no type"),
        pytest.param(malformed(dtype=999), id="unknown type"),
        pytest.param(
            messages.TensorProto(dtype=1, tensor_shape={"dim": [{"size": -2}]}), id="negative size"
        ),
        pytest.param(
            messages.TensorProto(dtype=1, tensor_shape={"unknown_rank": True}), id="unknown rank"
        ),
        pytest.param(
            messages.TensorProto(dtype=1, tensor_shape={"dim": [{"size": 2**62}] * 2}), id="huge"
        ),
    ],
)
def test_a_malformed_tensor_is_refused(predict, x):
    with refused("INVALID_ARGUMENT", "tensor parsing error: x"):
        predict({"x": x})


@pytest.mark.parametrize(
    "shape", [(), (2,), (2, 9), (1, 2, 9, 9), (1, 1, 2, 9, 9), (2, 0, 9), (2, 4, 4)]
)
def test_images_of_a_wrong_rank_or_size_are_refused_and_the_server_lives(predict, shape):
    with refused("INVALID_ARGUMENT"):
        predict({"images": np.zeros(shape, np.float32)}, name="cells")
    reply = predict({"images": np.zeros((2, 9, 9), np.float32)}, name="cells")
    assert from_message(reply.outputs["count"]).shape == (2,)


def test_a_batch_larger_than_the_servers_is_refused(predict):
    if STOCK and not os.environ.get("CELLZOO_SERVING_BATCHING"):
        pytest.skip("CELLZOO_SERVING_BATCHING is not set")
    with refused("INVALID_ARGUMENT", "Task size 5 is larger than maximum input batch size 4"):
        predict({"x": np.zeros(5, np.float32)})


# GetModelMetadata


def test_metadata_are_the_signatures(call):
    request = messages.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "cells"
    reply = call(PREDICTION, "GetModelMetadata", request, messages.GetModelMetadataResponse)
    assert (reply.model_spec.name, reply.model_spec.version.value) == ("cells", 1)
    packed = reply.metadata["signature_def"]
    assert packed.type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    signatures = messages.SignatureDefMap.FromString(packed.value).signature_def
    assert {"serving_default", "uint8", "uint16"} <= set(signatures)
    images = signatures["uint8"].inputs["images"]
    assert images.dtype == messages.DATA_TYPES["DT_UINT8"]
    assert [dim.size for dim in images.tensor_shape.dim] == [-1, -1, -1]
    assert set(signatures["uint8"].outputs) == {"count", "count_low", "count_high"}


@pytest.mark.parametrize(
    ("name", "fields", "code", "message"),
    [
        (
            "half", [], "INVALID_ARGUMENT",
            "GetModelMetadataRequest must specify at least one metadata_field",
        ),
        ("half", ["colour"], "INVALID_ARGUMENT", ""),
        ("nope", ["signature_def"], "NOT_FOUND", "Servable not found for request: Latest(nope)"),
    ],
)  # fmt: skip
def test_what_metadata_refuse(call, name, fields, code, message):
    request = messages.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = name
    with refused(code, message):
        call(PREDICTION, "GetModelMetadata", request, messages.GetModelMetadataResponse)


# GetModelStatus


def test_status_lists_the_newest_version_first(status):
    assert status() == [(2, "AVAILABLE"), (1, "AVAILABLE")]
    assert status(version=1) == [(1, "AVAILABLE")]
    # Status does not look at labels, not even at one that there is not.
    assert status(label="stable") == status(label="zzz") == status()


def test_only_the_latest_version_is_served_by_default(status, predict):
    assert status("latest")[0] == (2, "AVAILABLE")
    assert predict(name="latest").model_spec.version.value == 2
    with refused("NOT_FOUND", "Servable not found for request: Specific(latest, 1)"):
        predict(name="latest", version=1)


def test_a_version_whose_warm_up_fails_ends(status, predict, address):
    if not address.models:
        pytest.skip("CELLZOO_SERVING_MODELS is not set")
    assert status("badwarm") == [(1, "AVAILABLE")]
    os.rename(address.models / "badwarm" / "later-2", address.models / "badwarm" / "2")
    end = time.monotonic() + 60
    while status("badwarm")[0] != (2, "END"):
        assert time.monotonic() < end, status("badwarm")
        assert predict(name="badwarm").model_spec.version.value == 1
        time.sleep(0.1)
    assert status("badwarm") == [(2, "END"), (1, "AVAILABLE")]
    assert predict(name="badwarm").model_spec.version.value == 1


def test_an_unloaded_version_stays_in_the_status(status, predict, address):
    if not address.models:
        pytest.skip("CELLZOO_SERVING_MODELS is not set")
    shutil.copytree(address.models / "two" / "1", address.models / "two" / "new")
    os.rename(address.models / "two" / "new", address.models / "two" / "3")
    end = time.monotonic() + 60
    while status("two") != [(3, "AVAILABLE"), (1, "END")]:
        assert time.monotonic() < end, status("two")
        time.sleep(0.1)
    with refused("NOT_FOUND", "Servable not found for request: Specific(two, 1)"):
        predict({"a": X, "b": np.array([b"", b""], object)}, name="two", version=1)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"version": 9}, "Could not find version 9 of model half"),
        ({"name": "nope"}, "Could not find any versions of model nope"),
    ],
)
def test_what_status_refuses(status, asked, message):
    with refused("NOT_FOUND", message):
        status(**asked)


def test_a_reload_without_models_is_refused(call):
    with refused("INVALID_ARGUMENT"):
        call(
            MODEL, "HandleReloadConfigRequest", messages.ReloadConfigRequest(),
            messages.ReloadConfigResponse,
        )  # fmt: skip


# REST


@pytest.mark.parametrize("path", ["", "/versions/2", "/labels/canary"])
def test_rest_predicts_in_rows_and_columns(rest, path):
    url = f"/v1/models/half{path}:predict"
    assert rest(url, {"instances": [1.0, 2.0]}) == (200, {"predictions": [2.5, 3.0]})
    assert rest(url, {"instances": [{"x": 1.0}]}) == (200, {"predictions": [2.5]})
    assert rest(url, {"inputs": [1.0, 2.0]}) == (200, {"outputs": [2.5, 3.0]})
    document = {"signature_name": "serving_default", "inputs": {"x": [1.0]}}
    assert rest(url, document) == (200, {"outputs": [2.5]})


def test_rest_base64_and_several_outputs(rest):
    row = {"a": 1.0, "b": {"b64": "aGk="}}
    outputs = {"double": 2.0, "length": 2, "same_bytes": {"b64": "aGk="}}
    code, reply = rest("/v1/models/two:predict", {"instances": [row]})
    assert (code, reply) == (200, {"predictions": [outputs]})
    row["b"]["b64"] = "aG\nk"  # as mail programs write it, and without padding
    assert rest("/v1/models/two:predict", {"instances": [row]}) == (code, reply)
    inputs = {"a": [1.0], "b": [{"b64": "aGk="}]}
    code, reply = rest("/v1/models/two:predict", {"inputs": inputs})
    assert (code, reply) == (200, {"outputs": {key: [v] for key, v in outputs.items()}})


def test_rest_takes_small_integers(rest):
    image = np.arange(64).reshape(8, 8).tolist()
    document = {"signature_name": "uint8", "instances": [image, image]}
    code, reply = rest("/v1/models/cells:predict", document)
    assert code == 200
    assert set(reply["predictions"][1]) == {"count", "count_low", "count_high"}
    # On some processors the place in a batch changes the last bit.
    assert reply["predictions"][0] == pytest.approx(reply["predictions"][1], rel=3e-7)


def test_rest_status_and_metadata(rest):
    code, reply = rest("/v1/models/half/versions/1")
    version = {
        "version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""},
    }  # fmt: skip
    assert (code, reply) == (200, {"model_version_status": [version]})
    assert [v["version"] for v in rest("/v1/models/half")[1]["model_version_status"]] == ["2", "1"]
    code, reply = rest("/v1/models/half/labels/stable/metadata")
    assert (code, reply["model_spec"]["version"]) == (200, "1")
    x = reply["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]["x"]
    assert (x["dtype"], x["name"]) == ("DT_FLOAT", "serving_default_x:0")
    assert [dim["size"] for dim in x["tensor_shape"]["dim"]] == ["-1"]


@pytest.mark.parametrize(
    ("path", "document", "code", "message"),
    [
        ("nope", None, 404, "Could not find any versions of model nope"),
        ("nope:predict", {"inputs": [1.0]}, 404, "Servable not found for request: Latest(nope)"),
        ("half/versions/9", None, 404, "Could not find version 9 of model half"),
        ("half/labels/zzz:predict", {"inputs": [1.0]}, 400, "Unrecognized servable version label"),
        ("half:predict", b"", 400, "JSON Parse error"),
        ("half:predict", b"{", 400, "JSON Parse error"),
        ("half:predict", b"[1]", 400, ""),
        ("half:predict", {"images": []}, 400, "Missing 'inputs' or 'instances' key"),
        ("half:predict", {"instances": []}, 400, ""),
        ("half:predict", {"instances": [1.0], "inputs": [1.0]}, 400, ""),
        ("half:predict", {"instances": ["a"]}, 400, ""),
        ("half:predict", {"instances": [[1.0], [1.0, 2.0]]}, 400, ""),
        ("half:predict", {"signature_name": "bad", "instances": [1.0]}, 400, "Serving signature"),
        ("two:predict", {"instances": [1.0]}, 400, "instances is a plain list"),
        ("two:predict", {"inputs": {"a": [1.0]}}, 400, "Missing named input: b"),
        ("two:predict", {"instances": [{"a": 1.0, "b": {"b64": "?"}}]}, 400, ""),
        ("cells:predict", {"signature_name": "uint8", "instances": [[[0.5] * 9] * 9]}, 400, ""),
        ("half:dance", {"inputs": [1.0]}, 400, "Malformed request: POST /v1/models/half:dance"),
    ],
)
def test_what_rest_refuses(rest, path, document, code, message):
    answered, reply = rest(f"/v1/models/{path}", document)
    assert answered == code, reply
    assert reply["error"].startswith(message)


def test_metrics_count_requests(rest, predict):
    page = "/monitoring/prometheus/metrics"

    def counted():
        line = ':tensorflow:serving:request_count{model_name="half",status="OK"}'
        lines = [text for text in rest(page)[1].splitlines() if text.startswith(line)]
        return int(lines[0].split()[-1]) if lines else 0

    before = counted()
    predict()
    predict()
    assert counted() == before + 2
    assert ":tensorflow:serving:request_latency_bucket{" in rest(page)[1]
