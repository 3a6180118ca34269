"""Requests spread over the replicas of a server: what one of them does not answer, others do."""

import json
import re
import shutil
import signal
import subprocess
import sys
import threading
from concurrent import futures

import cv2
import grpc
import numpy as np
import pytest

from cellzoo.commands.count import count_files
from cellzoo.counters import connection, stream
from cellzoo.counters.connection import Connection, Replica, parse_address, replicas
from cellzoo.counters.preprocessing import METADATA_SIGNATURE, OUTPUTS
from cellzoo.counters.served import WINDOW, ServedCounter
from cellzoo.errors import UsageError, UserError
from cellzoo.protocol import messages
from cellzoo.protocol.tensors import from_message, to_message


class Served:
    """A replica in this process: counts are the grey levels of the first pixel.

    Attributes:
        calls: images of each request that it answered.
        die_after: requests after which its connections are cut, in the middle of an answer.
        missing: it has unloaded the version.
        cancels: requests that it cancels, as one does that is stopped.
    """

    def __init__(self, run="one", die_after=None):
        self.calls, self.die_after, self.missing = [], die_after, False
        self.cancels = 0
        self._metadata = json.dumps({"preprocessing": {"size": [8, 8]}, "run": run}).encode()
        self.server = grpc.server(futures.ThreadPoolExecutor(8))
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(getattr(self, name))
            for name in ("GetModelMetadata", "Predict")
        }
        service = "tensorflow.serving.PredictionService"
        handler = grpc.method_handlers_generic_handler(service, handlers)
        self.server.add_generic_rpc_handlers((handler,))
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def GetModelMetadata(self, content, context):  # noqa: N802
        signatures = messages.SignatureDefMap()
        for name, kind, outputs in (
            ("uint8", "DT_UINT8", OUTPUTS),
            (METADATA_SIGNATURE, "DT_STRING", [METADATA_SIGNATURE]),
        ):
            signature = signatures.signature_def[name]
            signature.inputs["images"].dtype = messages.DATA_TYPES[kind]
            signature.inputs["images"].tensor_shape.unknown_rank = True
            for key in outputs:
                signature.outputs[key].dtype = messages.DATA_TYPES["DT_FLOAT"]
        reply = messages.GetModelMetadataResponse()
        reply.model_spec.version.value = 5
        reply.metadata["signature_def"].value = signatures.SerializeToString()
        return reply.SerializeToString()

    def Predict(self, content, context):  # noqa: N802
        request = messages.PredictRequest.FromString(content)
        reply = messages.PredictResponse()
        if self.missing:
            context.abort(grpc.StatusCode.NOT_FOUND, "Servable not found")
        if request.model_spec.signature_name == METADATA_SIGNATURE:
            text = to_message(np.array([self._metadata], object))
            reply.outputs[METADATA_SIGNATURE].CopyFrom(text)
            return reply.SerializeToString()
        if self.cancels:
            self.cancels -= 1
            context.abort(grpc.StatusCode.CANCELLED, "")
        if len(self.calls) == self.die_after:
            self.server.stop(None)
        images = from_message(request.inputs["images"])
        self.calls.append(len(images))
        for key in OUTPUTS:
            reply.outputs[key].CopyFrom(to_message(images[:, 0, 0].astype(np.float32)))
        return reply.SerializeToString()


@pytest.fixture
def start():
    """A function that starts a replica."""
    started = []

    def start(*args, **options):
        started.append(Served(*args, **options))
        return started[-1]

    yield start
    for one in started:
        one.server.stop(None)


def counter_of(served, **options):
    servers = ",".join(f"127.0.0.1:{one.port}" for one in served)
    return ServedCounter(parse_address(f"{servers}/cells"), Connection(timeout=20, **options))


@pytest.fixture
def folder(tmp_path):
    """120 images of 0 to 119 cells."""
    images = tmp_path / "images"
    images.mkdir()
    for k in range(120):
        cv2.imwrite(str(images / f"{k:03}.png"), np.full((8, 8), k, np.uint8))
    return images


def test_each_image_is_counted_once_in_order_though_a_replica_dies(start, folder, monkeypatch):
    monkeypatch.setattr(stream, "BATCH", 4)
    served = [start(), start(die_after=5), start()]
    rows = count_files([folder], counter_of(served))
    assert [row.count for row in rows] == list(range(120))
    assert {row.error for row in rows} == {""}
    assert all(len(one.calls) > 5 for one in (served[0], served[2]))
    assert len(served[1].calls) >= 5


@pytest.mark.parametrize("number", [1, 2])
def test_what_a_server_cancels_is_asked_again(start, number):
    served = [start() for _ in range(number)]
    counter = counter_of(served)
    served[0].cancels = 1
    pixels = np.full((3, 8, 8), 7, np.uint8)
    assert [counter.count(pixels).rounded.tolist() for _ in range(4)] == [[7, 7, 7]] * 4
    assert served[0].cancels == 0


def test_a_replica_that_is_away_from_the_start_is_left_out(start):
    served = [start(), start(), start()]
    served[1].server.stop(None).wait()
    pixels = np.full((64, 8, 8), 7, np.uint8)
    assert counter_of(served).count(pixels).raw.tolist() == [7] * 64


def test_more_replicas_have_more_requests_under_way(start):
    served = [start()]
    assert counter_of(served).window == WINDOW
    assert counter_of(served * 2).window == WINDOW  # the same one twice
    served += [start(), start()]
    assert counter_of(served).window == 6


def test_replicas_with_different_models_are_refused(start):
    served = [start(), start(run="another")]
    with pytest.raises(UserError, match="serves another model as version 5 of cells than other"):
        counter_of(served)
    served[1] = start()
    served[1].missing = True
    with pytest.raises(UserError, match="does not serve version 5 of cells, which another"):
        counter_of(served)


@pytest.mark.parametrize("others", [0, 1])
def test_another_model_that_comes_back_under_the_same_version_ends_the_count(
    start, monkeypatch, others
):
    served = [start() for _ in range(1 + others)]
    counter = counter_of(served)
    pixels = np.full((64, 8, 8), 7, np.uint8)
    monkeypatch.setattr("cellzoo.counters.served._COMPARE_EVERY", 0.0)
    assert counter.count(pixels).raw.tolist() == [7] * 64
    served[-1]._metadata = served[-1]._metadata.replace(b"one", b"two")  # as after a restart
    with pytest.raises(stream.CounterBarred, match="than before: copy one export .* count all an"):
        counter.count(pixels)


def test_a_version_that_one_replica_has_unloaded_is_asked_of_another(start):
    served = [start(), start()]
    counter = counter_of(served)
    served[1].missing = True
    pixels = np.full((64, 8, 8), 7, np.uint8)
    for _ in range(3):
        assert counter.count(pixels).raw.tolist() == [7] * 64
    assert not served[1].calls


def test_a_name_with_several_addresses_is_several_replicas(monkeypatch):
    def addresses(host, port, **options):
        known = {"pods": ["10.0.0.1", "10.0.0.2", "fd00::1"], "six": ["fd00::1"]}
        if host not in known:
            raise OSError(2, "Name or service not known")
        return [(None, None, None, "", (ip, port)) for ip in known[host]]

    monkeypatch.setattr(connection.socket, "getaddrinfo", addresses)
    pods = [Replica("pods:8500", f"10.0.0.{k}", 8500) for k in (1, 2)]
    assert replicas("pods:8500") == pods
    assert replicas("pods:8500,pods:8500") == pods
    six = Replica("six:1", "fd00::1", 1)
    assert replicas("pods:8500,six:1") == [*pods, six]
    assert connection._target(pods) == "ipv4:10.0.0.1:8500,10.0.0.2:8500"
    mixed = "ipv6:[::ffff:10.0.0.1]:8500,[fd00::1]:1"
    assert connection._target([pods[0], six]) == mixed
    assert replicas("elsewhere:1") == []  # perhaps a proxy knows it
    with pytest.raises(UserError, match="No address is known of elsewhere"):
        replicas("pods:8500,elsewhere:1")


def test_tls_wants_one_name_for_all():
    with pytest.raises(UsageError, match="a:1,b:1: TLS needs one name for all replicas"):
        Connection(tls=True).channel("a:1,b:1")


_COUNT = [sys.executable, "-m", "cellzoo.cli", "count"]


@pytest.mark.slow
@pytest.mark.parametrize("end", ["SIGKILL", "SIGSTOP"])
def test_three_servers_of_which_one_is_killed_or_freezes(served_models, folder, tmp_path, end):
    for k in range(120, 3000):
        cv2.imwrite(str(folder / f"{k:04}.png"), np.full((16, 16), k % 251, np.uint8))
    models = tmp_path / "models"
    shutil.copytree(served_models / "cells", models / "cells")
    serve = [sys.executable, "-m", "cellzoo.cli", "serve", models]
    serve += ["--grpc-port", "0", "--rest-port", "0"]
    servers = [subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    out = tmp_path / "counts.csv"
    try:
        ports = [_port(server) for server in servers]
        whole = _counted(folder, f"127.0.0.1:{ports[0]}/cells", tmp_path / "one.csv")
        address = ",".join(f"127.0.0.1:{port}" for port in ports) + "/cells"
        command = [*_COUNT, folder, "--model", address, "-o", out, "--timeout", "12"]
        count = subprocess.Popen(command)
        part = tmp_path / "counts.part.csv"
        while count.poll() is None and not (part.is_file() and part.stat().st_size > 20000):
            threading.Event().wait(0.005)
        assert count.poll() is None, "too fast to be disturbed"
        servers[1].send_signal(getattr(signal, end))
        assert count.wait(timeout=120) == 0
    finally:
        for server in servers:
            server.kill()
    assert _rows(out) == whole


def _port(server):
    line = next(line for line in server.stdout if "gRPC at" in line)
    return int(re.search(r"gRPC at [^ ]*:(\d+)", line)[1])


def _counted(folder, address, out):
    subprocess.run([*_COUNT, folder, "--model", address, "-o", out], check=True, timeout=120)
    return _rows(out)


def _rows(out):
    table = [line.split(",") for line in out.read_text().splitlines()]
    return [row[:8] + row[9:] for row in table]  # without seconds
