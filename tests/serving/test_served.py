"""Counting with a served model: the same table as at home, and one sentence when it cannot be."""

import shutil
import subprocess
import sys
import threading
import time
from concurrent import futures
from pathlib import Path

import cv2
import grpc
import numpy as np
import pytest
import tifffile

from cellzoo.commands.count import count_files
from cellzoo.counters import served as client
from cellzoo.counters.base import Counter
from cellzoo.counters.connection import Address, Connection, parse_address
from cellzoo.counters.load import is_served
from cellzoo.counters.served import ServedCounter
from cellzoo.counters.stream import RefusedImages
from cellzoo.errors import UsageError, UserError
from cellzoo.images import Frame
from cellzoo.protocol import messages
from cellzoo.protocol.tensors import to_message
from cellzoo.serving.servable import Servable


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost:8500/cells", Address("localhost:8500", "cells", None, None)),
        ("10.0.0.1:1/cells/3", Address("10.0.0.1:1", "cells", 3, None)),
        ("[::1]:8500/cells:canary", Address("[::1]:8500", "cells", None, "canary")),
        ("a:1,b.c:2,[::1]:3/cells/3", Address("a:1,b.c:2,[::1]:3", "cells", 3, None)),
        ("a:1,/cells", None),
        ("a:1,b/cells", None),
        ("runs/twinvae/1", None),
        ("localhost/cells", None),
        ("localhost:8500", None),
        ("localhost:8500/", None),
        ("localhost:8500/a/b", None),
        ("localhost:8500/a/99999999999999999999", None),
        ("localhost:123456/a", None),
    ],
)
def test_addresses(text, address):
    assert parse_address(text) == address


def test_a_folder_comes_before_an_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_served("a:1/b")
    Path("a:1/b").mkdir(parents=True)
    assert not is_served("a:1/b")


@pytest.fixture
def cells(serve, served_models):
    """Address of the served counter ``cells``."""
    server = serve(served_models / "models.config", max_batch=64)
    return f"127.0.0.1:{server.grpc_port}/cells"


def remote(text, **connection):
    return ServedCounter(parse_address(text), Connection(**{"timeout": 20, **connection}))


def frame(pixels, name="a.png"):
    return Frame(pixels, Path(name), 0, None)


class InProcess(Counter):
    """The same SavedModel in this process."""

    name, version = "cells", "1"

    def __init__(self, folder):
        self.model = Servable("cells", 1, folder / "cells" / "1")

    def _prepare(self, frame, scaled):
        return frame.pixels

    def _count(self, images, domain):
        key = "serving_default" if images.dtype == np.float32 else images.dtype.name
        out = self.model.run(key, {"images": images})
        return out["count"], out["count_low"], out["count_high"]


@pytest.fixture
def images(tmp_path):
    """150 images of three types and sizes: two full batches, smaller ones and a lone one."""
    folder = tmp_path / "images"
    folder.mkdir()
    random = np.random.default_rng(1)
    for k in range(130):
        pixels = random.integers(0, 256, (16, 16), np.uint8)
        cv2.imwrite(str(folder / f"a{k}.png"), pixels)
    for k in range(19):
        pixels = random.integers(0, 65536, (12, 20), np.uint16)
        cv2.imwrite(str(folder / f"b{k}.png"), pixels)
    tifffile.imwrite(folder / "c.tif", random.random((9, 9), np.float32))
    return folder


def rows_without_time(out):
    table = [line.split(",") for line in out.read_text().splitlines()]
    return [row[:8] + row[9:] for row in table]


def test_the_table_is_the_same_as_in_process(cells, images, served_models, tmp_path):
    count_files([images], InProcess(served_models), tmp_path / "local.csv")
    count_files([images], remote(cells), tmp_path / "served.csv")
    rows = rows_without_time(tmp_path / "served.csv")
    assert len(rows) == 151
    assert all(row[2] for row in rows)
    assert rows == rows_without_time(tmp_path / "local.csv")


def test_counts_are_bit_equal_whatever_the_batches(cells, served_models):
    pixels = np.random.default_rng(2).integers(0, 256, (64, 16, 16), np.uint8)
    served, local = remote(cells).count(pixels), InProcess(served_models).count(pixels)
    np.testing.assert_array_equal(served.raw, local.raw)
    np.testing.assert_array_equal(served.low, local.low)


def test_a_served_model_needs_no_tensorflow(cells, images, tmp_path):
    program = (
        "import sys\nfrom cellzoo.cli import main\n"
        "try: main()\n"
        "finally: print([m for m in ('tensorflow', 'keras') if m in sys.modules])"
    )
    out = tmp_path / "counts.csv"
    command = [sys.executable, "-c", program, "count", images, "--model", cells, "-o", out]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert f"0 failed: {out}" in done.stdout


def test_a_batch_too_large_for_the_server_is_halved(serve, served_models):
    server = serve(served_models / "models.config", max_batch=5)
    counter = remote(f"127.0.0.1:{server.grpc_port}/cells")
    pixels = np.random.default_rng(2).integers(0, 256, (64, 16, 16), np.uint8)
    local = InProcess(served_models).count(pixels)
    np.testing.assert_allclose(counter.count(pixels).raw, local.raw, rtol=1e-5)
    assert counter._largest_batch == 4


def test_the_version_is_the_one_that_answered(serve, served_models, tmp_path):
    models = tmp_path / "models"
    shutil.copytree(served_models / "cells", models / "cells")
    shutil.copytree(models / "cells" / "1", models / "cells" / "7")
    server = serve(models)
    counter = remote(f"127.0.0.1:{server.grpc_port}/cells")
    assert (counter.name, counter.version) == ("cells", "7")
    shutil.rmtree(models / "cells" / "7")
    pixels = np.zeros((1, 9, 9), np.uint8)
    for _ in range(400):  # until the next poll has unloaded it
        try:
            counter.count(pixels)
        except UserError as error:
            assert "has unloaded version 7 of cells" in str(error)
            return
        time.sleep(0.02)
    pytest.fail("version 7 was never unloaded")


def test_images_that_the_model_refuses_get_an_error_each(cells, tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    for name, size in (("a", 4), ("b", 9), ("c", 4)):
        cv2.imwrite(str(folder / f"{name}.png"), np.zeros((size, size), np.uint8))
    rows = count_files([folder], remote(cells), tmp_path / "counts.csv")
    assert [bool(row.error) for row in rows] == [True, False, True]
    assert "images are smaller than 8 px" in rows[0].error
    with pytest.raises(RefusedImages):
        remote(cells).count([np.zeros((4, 4), np.uint8)] * 2)


def test_pixels_that_no_signature_takes(cells):
    counter = remote(cells)
    with pytest.raises(UserError, match="a.png has int32 pixels and cells takes float32, uint16"):
        counter._prepare(frame(np.zeros((9, 9), np.int32)), scaled=False)
    pixels = np.zeros((9, 9), np.uint16)
    assert counter._prepare(frame(pixels), scaled=False) is pixels


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("nope", "serves no model nope"),
        ("cells/9", "cells at .* has no version 9: version 1 is AVAILABLE"),
        ("half:zzz", "half at .* has no version labelled zzz: version 2 is AVAILABLE, version 1"),
        ("two", "two at .* is no counter"),
    ],
)
def test_a_model_that_is_not_there(cells, asked, sentence):
    with pytest.raises(UserError, match=sentence):
        remote(cells.replace("cells", asked))


def test_a_dead_server_is_given_up_in_time(run_cli, images, tmp_path):
    arguments = ["--model", "127.0.0.1:9/cells", "--timeout", "0.5", "-o", tmp_path / "counts.csv"]
    result = run_cli("count", images, *arguments)
    assert result.exit_code == 1
    assert "No answer from 127.0.0.1:9 within 0.5 s" in result.stderr
    assert "last error" not in result.stderr  # gRPC's own words about addresses
    assert "Traceback" not in result.stderr


@pytest.fixture
def fake():
    """A function of handlers by method that starts a server of PredictionService."""
    servers = []

    def start(credentials=None, **methods):
        server = grpc.server(futures.ThreadPoolExecutor(8))
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(handler) for name, handler in methods.items()
        }
        service = "tensorflow.serving.PredictionService"
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        if credentials:
            port = server.add_secure_port("localhost:0", credentials)
        else:
            port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return port

    yield start
    for server in servers:
        server.stop(None)


def metadata_reply():
    """Of a model that takes uint8 images of 4 x 6 px."""
    signatures = messages.SignatureDefMap()
    signature = signatures.signature_def["serving_default"]
    signature.inputs["pixels"].dtype = messages.DATA_TYPES["DT_UINT8"]
    for size in (-1, 4, 6):
        signature.inputs["pixels"].tensor_shape.dim.add(size=size)
    for key in client.OUTPUTS:
        signature.outputs[key].dtype = messages.DATA_TYPES["DT_FLOAT"]
    reply = messages.GetModelMetadataResponse()
    reply.model_spec.version.value = 5
    reply.metadata["signature_def"].value = signatures.SerializeToString()
    return reply.SerializeToString()


def counts_reply(content):
    request = messages.PredictRequest.FromString(content)
    images = request.inputs["pixels"].tensor_shape.dim[0].size
    reply = messages.PredictResponse()
    for key in request.output_filter:
        reply.outputs[key].CopyFrom(to_message(np.full(images, 2, np.float32)))
    return reply.SerializeToString()


PIXELS = np.zeros((3, 4, 6), np.uint8)


@pytest.mark.parametrize(
    ("code", "details"),
    [
        ("UNAVAILABLE", "busy"),
        ("RESOURCE_EXHAUSTED", "Concurrent RPC limit exceeded!"),
        (
            "FAILED_PRECONDITION",
            "Tensors with name 'images:0' from different tasks have different shapes and padding "
            "is turned off. Set pad_variable_length_inputs to true.",
        ),
    ],
)
def test_an_unavailable_server_is_tried_again(fake, code, details):
    calls = []

    def predict(content, context):
        calls.append(messages.PredictRequest.FromString(content))
        if len(calls) < 3:
            context.abort(grpc.StatusCode[code], details)
        return counts_reply(content)

    port = fake(GetModelMetadata=lambda content, context: metadata_reply(), Predict=predict)
    counter = remote(f"127.0.0.1:{port}/cells")
    assert counter.count(PIXELS).raw.tolist() == [2, 2, 2]
    assert len(calls) == 3
    # Raw bytes, of the version that answered first.
    assert calls[0].inputs["pixels"].tensor_content == PIXELS.tobytes()
    assert calls[0].model_spec.version.value == 5
    with pytest.raises(UserError, match="The image is 9 x 4 px and cells takes 6 x 4"):
        counter.count(np.zeros((4, 9), np.uint8))


def test_what_a_graph_refuses_is_said_without_where_in_the_graph(fake):
    """As TensorFlow Serving says it."""
    said = (
        "{{function_node __inference_f_<lambda>_7}} assertion failed: [no image] [0]\n"
        "\t [[{{function_node __inference_<lambda>_63}}{{node Assert_3}}]] [Op:__inference_f_7]"
    )

    def predict(content, context):
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, said)

    port = fake(GetModelMetadata=lambda content, context: metadata_reply(), Predict=predict)
    with pytest.raises(UserError) as caught:
        remote(f"127.0.0.1:{port}/cells").count(PIXELS[0])
    assert str(caught.value).endswith("cells refuses it (assertion failed: [no image] [0]).")


def test_a_lone_image_too_large_for_a_request_is_refused_by_itself(fake):
    def predict(content, context):
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max")

    port = fake(GetModelMetadata=lambda content, context: metadata_reply(), Predict=predict)
    counter = remote(f"127.0.0.1:{port}/cells")
    with pytest.raises(RefusedImages, match="It is too large for a request .*: crop"):
        counter.count(PIXELS[:1])


def test_a_server_that_stays_unavailable_is_given_up(fake):
    def predict(content, context):
        context.abort(grpc.StatusCode.UNAVAILABLE, "the queue is full")

    port = fake(GetModelMetadata=lambda content, context: metadata_reply(), Predict=predict)
    counter = remote(f"127.0.0.1:{port}/cells", timeout=2)
    with pytest.raises(UserError, match="within 2 s \\(the queue is full\\)"):
        counter.count(PIXELS)


def test_a_slow_server_is_not_said_to_be_absent(fake):
    def predict(content, context):
        time.sleep(1)
        return counts_reply(content)

    port = fake(GetModelMetadata=lambda content, context: metadata_reply(), Predict=predict)
    counter = remote(f"127.0.0.1:{port}/cells", timeout=0.5)
    sentence = f"127.0.0.1:{port} serves cells but did not answer within 0.5 s: --timeout allows "
    with pytest.raises(UserError, match=f"^{sentence}more.$"):
        counter.count(PIXELS)


def test_a_last_try_without_time_does_not_hide_what_the_server_said(fake, monkeypatch):
    monkeypatch.setattr(client.random, "uniform", lambda low, high: high)
    calls = []

    def predict(content, context):
        calls.append(time.monotonic())
        if calls[-1] - calls[0] > 0.5:
            time.sleep(0.3)  # after pauses of 0.15 and 0.3 s nothing is left of the 0.6
        context.abort(grpc.StatusCode.UNAVAILABLE, "the queue is full")

    port = fake(GetModelMetadata=lambda content, context: metadata_reply(), Predict=predict)
    counter = remote(f"127.0.0.1:{port}/cells", timeout=0.6)
    with pytest.raises(UserError, match="within 0.6 s \\(the queue is full\\)"):
        counter.count(PIXELS)


def test_several_batches_are_under_way_at_once_over_one_channel(fake, tmp_path):
    barrier = threading.Barrier(client.WINDOW, timeout=20)
    channels = set()

    def predict(content, context):
        channels.add(context.peer())
        barrier.wait()  # passes only when a whole window is here
        return counts_reply(content)

    port = fake(GetModelMetadata=lambda content, context: metadata_reply(), Predict=predict)
    for k in range(64 * client.WINDOW):
        cv2.imwrite(str(tmp_path / f"{k}.png"), PIXELS[0])
    rows = count_files([tmp_path], remote(f"127.0.0.1:{port}/cells"), tmp_path / "counts.csv")
    assert {row.count for row in rows} == {2}
    assert len(channels) == 1


def test_headers_travel_with_each_request(fake):
    seen = []

    def note(reply):
        def handler(content, context):
            seen.append(dict(context.invocation_metadata()).get("authorization"))
            return reply(content)

        return handler

    port = fake(GetModelMetadata=note(lambda content: metadata_reply()), Predict=note(counts_reply))
    counter = remote(f"127.0.0.1:{port}/cells", headers=["Authorization=Bearer 1=2"])
    counter.count(PIXELS)
    assert seen == ["Bearer 1=2"] * 2


@pytest.mark.parametrize("header", ["", "key", "=value", "sp ace=1", "a=ü", "a=b\rc", "a-bin=b"])
def test_a_header_must_be_key_and_value(header):
    with pytest.raises(UsageError, match="--header"):
        remote("127.0.0.1:9/cells", headers=[header])


@pytest.mark.parametrize(
    "header", ["hunter2", "=hunter2", "sp ace=hunter2", "a=hünter2", "a-bin=hunter2"]
)
def test_no_error_shows_what_a_header_says(header):
    with pytest.raises(UsageError) as caught:
        remote("127.0.0.1:9/cells", headers=[header])
    assert "nter2" not in str(caught.value)


def test_a_headers_value_may_be_in_a_file(tmp_path):
    (tmp_path / "token.txt").write_text("Bearer 1=2\n")
    connection = Connection(headers=[f"Authorization=@{tmp_path / 'token.txt'}"])
    assert connection.metadata() == [("authorization", "Bearer 1=2")]
    with pytest.raises(UserError, match="none.txt cannot be read"):
        Connection(headers=["authorization=@none.txt"]).metadata()


def test_a_token_in_plain_text_is_warned_of(caplog):
    token = ["authorization=Bearer hunter2"]
    for server in ("lab.example:8500", "10.0.0.3:8500"):
        caplog.clear()
        with caplog.at_level("WARNING", "cellzoo"):
            Connection(headers=token).channel(server)
        assert "authorization goes to" in caplog.text and "--tls" in caplog.text
        assert "hunter2" not in caplog.text
    caplog.clear()
    with caplog.at_level("WARNING", "cellzoo"):
        for server in ("localhost:8500", "127.0.0.1:8500", "[::1]:8500"):
            Connection(headers=token).channel(server)
        Connection(headers=token, tls=True).channel("lab.example:8500")
        Connection().channel("lab.example:8500")
    assert caplog.text == ""


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs the openssl command")
def test_tls(fake, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command += ["-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    pair = key.read_bytes(), certificate.read_bytes()
    methods = {
        "GetModelMetadata": lambda content, context: metadata_reply(),
        "Predict": lambda content, context: counts_reply(content),
    }
    port = fake(grpc.ssl_server_credentials([pair]), **methods)
    counter = remote(f"localhost:{port}/cells", ca_cert=certificate)
    assert counter.count(PIXELS).raw.tolist() == [2, 2, 2]
    asks_for_ours = grpc.ssl_server_credentials([pair], pair[1], require_client_auth=True)
    mutual = f"localhost:{fake(asks_for_ours, **methods)}/cells"
    ours = {"ca_cert": certificate, "client_cert": certificate, "client_key": key}
    assert remote(mutual, **ours).count(PIXELS).raw.tolist() == [2, 2, 2]
    with pytest.raises(UserError, match="No answer from"):
        remote(mutual, ca_cert=certificate, timeout=0.5)
    with pytest.raises(UserError, match="No answer from"):  # speaks to TLS without it
        remote(f"localhost:{port}/cells", timeout=0.5)
    with pytest.raises(UserError, match="missing.pem cannot be read"):
        remote(f"localhost:{port}/cells", ca_cert=tmp_path / "missing.pem")
    with pytest.raises(UsageError, match="--client-key"):
        remote(f"localhost:{port}/cells", client_cert=certificate)
