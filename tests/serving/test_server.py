"""The embedded server over time: versions that come and go, floods, rubbish, and its end."""

import gc
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cellzoo.serving import messages
from cellzoo.serving.batching import Batcher
from cellzoo.serving.errors import ServingError
from cellzoo.serving.tensors import from_message, to_message

PREDICT = "/tensorflow.serving.PredictionService/Predict"


def caller(port, method=PREDICT, reply=messages.PredictResponse):
    """A function of a request's bytes or message that returns the reply."""
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")

    def content(request):
        return request if isinstance(request, bytes) else request.SerializeToString()

    stub = channel.unary_unary(method, content, reply.FromString)
    return lambda request, timeout=30: stub(request, timeout=timeout)


def half_request(value, label=""):
    request = messages.PredictRequest()
    request.model_spec.name = "half"
    if label:
        request.model_spec.version_label = label
    request.inputs["x"].CopyFrom(to_message(np.array([value], np.float32)))
    return request


def version_of(reply, value):
    """The version that computed ``x / 2 + version``; it must be the one that the reply names."""
    computed = float(from_message(reply.outputs["y"])[0]) - value / 2
    assert computed == reply.model_spec.version.value
    return int(computed)


def wait_for(condition, seconds=60):
    """Waits for what happens in another thread."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


@pytest.fixture
def half(served_models, tmp_path):
    """A folder of the model ``half`` with version 1; version 2 waits in ``spare``."""
    shutil.copytree(served_models / "half" / "1", tmp_path / "models" / "half" / "1")
    shutil.copytree(served_models / "half" / "2", tmp_path / "spare" / "2")
    return tmp_path / "models" / "half"


def swap_while_asked(serve, half, requests, clients):
    server = serve(half.parent, poll_seconds=0.05)
    call = caller(server.grpc_port)
    spare = half.parents[1] / "spare" / "2"
    versions, lock, left = [], threading.Lock(), [requests]

    def client():
        while True:
            with lock:
                if left[0] <= 0:
                    return
                left[0] -= 1
                value = left[0] % 1000
            version = version_of(call(half_request(value)), value)
            with lock:
                versions.append(version)

    def share(done):
        wait_for(lambda: len(versions) >= done * requests, 600)

    with ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(client) for _ in range(clients)]
        share(0.2)
        shutil.copytree(spare, half / "new")  # not a number, so nobody looks
        os.rename(half / "new", half / "2")
        share(0.6)
        shutil.rmtree(half / "2")
        for future in running:
            future.result()
    assert len(versions) == requests
    # Of the last ones one may have gone before the server looked at the folder again.
    wait_for(lambda: version_of(call(half_request(0)), 0) == 1)
    return versions


def test_versions_swap_while_clients_ask(serve, half):
    versions = swap_while_asked(serve, half, requests=600, clients=16)
    assert versions[0] == 1


@pytest.mark.slow
def test_versions_swap_under_ten_thousand_requests_of_64_clients(serve, half):
    versions = swap_while_asked(serve, half, requests=10_000, clients=64)
    assert set(versions) == {1, 2}


def test_labels_move_by_a_reload(serve, half):
    shutil.copytree(half.parents[1] / "spare" / "2", half / "2")
    server = serve(half.parent)
    call = caller(server.grpc_port)
    method = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
    reload = caller(server.grpc_port, method, messages.ReloadConfigResponse)

    def config(**labels):
        request = messages.ReloadConfigRequest()
        model = request.config.model_config_list.config.add(name="half", base_path=str(half))
        model.model_version_policy.all.SetInParent()
        for label, version in labels.items():
            model.version_labels[label] = version
        return request

    for version in (1, 2, 1):
        assert reload(config(stable=version)).status.error_code == 0
        assert version_of(call(half_request(6, "stable")), 6) == version
    with pytest.raises(grpc.RpcError, match="not currently available for inference"):
        reload(config(stable=9))
    assert version_of(call(half_request(6, "stable")), 6) == 1


def test_a_corrupt_version_never_takes_the_old_one_down(serve, half):
    server = serve(half.parent, poll_seconds=0.02)
    call = caller(server.grpc_port)
    shutil.copytree(half / "1", half / "5")
    (half / "5" / "saved_model.pb").write_bytes(b"rubbish")
    (half / "6").mkdir()
    spec = half_request(0).model_spec

    def states():
        return {number: version.state for number, version in server.models.status(spec)}

    wait_for(lambda: states().get(6) == "END")
    assert version_of(call(half_request(1)), 1) == 1
    shutil.copyfile(half / "1" / "saved_model.pb", half / "6" / "saved_model.pb")  # copied at last
    shutil.copytree(half / "1" / "variables", half / "6" / "variables")
    wait_for(lambda: states() == {6: "AVAILABLE", 1: "END"})
    assert call(half_request(1)).model_spec.version.value == 6


def fuzzed(number):
    """Rubbish, torn messages and messages with a byte changed, and tensors that do not fit."""
    random = np.random.default_rng(number)
    request = half_request(1)
    kind = number % 4
    if kind == 0:
        return random.bytes(int(random.integers(1, 400)))
    if kind == 1:
        content = request.SerializeToString()
        return content[: int(random.integers(0, len(content) - 1))]
    if kind == 2:
        shape = random.integers(-3, 2 ** int(random.integers(1, 62)), int(random.integers(0, 9)))
        tensor = request.inputs["x"]
        tensor.ClearField("tensor_shape")
        for size in shape:
            tensor.tensor_shape.dim.add(size=int(size))
        tensor.tensor_shape.dim.add(size=3)
        return request.SerializeToString()
    cells = messages.PredictRequest()
    cells.model_spec.name = "cells"
    rank = int(random.choice([0, 1, 2, 4, 5]))
    images = random.random(tuple(random.integers(0, 5, rank)), np.float32)
    cells.inputs["images"].CopyFrom(to_message(np.asarray(images, np.float32)))
    return cells.SerializeToString()


def throw_rubbish(serve, served_models, requests):
    server = serve(served_models / "models.config")
    call = caller(server.grpc_port)

    def refused(number):
        try:
            call(fuzzed(number))
        except grpc.RpcError as error:
            assert error.code().name in ("INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION")
            return True
        return False

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(refused, range(requests // 4)))
        gc.collect()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        answers += pool.map(refused, range(requests // 4, requests))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert [k for k, refusal in enumerate(answers) if not refusal] == []
    assert grown < 200 * 1024  # kB
    assert version_of(call(half_request(4)), 4) == 2


def test_rubbish_is_refused_and_the_server_lives(serve, served_models):
    throw_rubbish(serve, served_models, 200)


@pytest.mark.slow
def test_two_thousand_malformed_requests_leave_the_memory_flat(serve, served_models):
    throw_rubbish(serve, served_models, 2000)


def test_health(serve, half):
    server = serve(half.parent)
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        for service in ("", "tensorflow.serving.PredictionService"):
            reply = check(health_pb2.HealthCheckRequest(service=service), timeout=20)
            assert reply.status == health_pb2.HealthCheckResponse.SERVING


def test_sigterm_lets_the_requests_under_way_finish(half, tmp_path):
    """The batch waits for company for two seconds; the server is told to stop meanwhile."""
    (tmp_path / "batching.config").write_text("batch_timeout_micros { value: 2000000 }")
    program = "from cellzoo.cli import main; main()"
    command = [sys.executable, "-c", program, "serve", half.parent, "--grpc-port", "0"]
    command += ["--rest-port", "0", "--batching-file", tmp_path / "batching.config"]
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
    )
    try:
        line = next(line for line in server.stdout if line.startswith("gRPC at"))
        call = caller(int(line.split(",")[0].rpartition(":")[2]))
        with ThreadPoolExecutor(1) as pool:
            reply = pool.submit(call, half_request(3))
            time.sleep(0.7)
            server.send_signal(signal.SIGTERM)
            assert version_of(reply.result(), 3) == 1
        with pytest.raises(grpc.RpcError):
            call(half_request(3), timeout=5)
        assert server.wait(30) == 0
    finally:
        server.kill()


# Batching


def doubled(inputs):
    return {"y": 2 * inputs["x"]}


def test_requests_that_come_together_are_computed_together():
    sizes, go = [], threading.Event()

    def run(inputs):
        go.wait(20)
        sizes.append(len(inputs["x"]))
        return doubled(inputs)

    batcher = Batcher(max_batch=8, threads=1)
    with ThreadPoolExecutor(12) as pool:
        pool.submit(batcher.submit, "k", run, {"x": np.full(1, 100)})
        wait_for(lambda: batcher._number == 1 and not batcher._waiting)
        rest = [pool.submit(batcher.submit, "k", run, {"x": np.full(2, k)}) for k in range(8)]
        wait_for(lambda: sum(b.size for _, b in batcher._waiting.values()) == 16)
        go.set()
        assert [f.result()["y"].tolist() for f in rest] == [[2 * k] * 2 for k in range(8)]
    batcher.close()
    assert sizes == [1, 8, 8]


def test_one_bad_request_harms_no_other():
    go = threading.Event()

    def run(inputs):
        go.wait(20)
        if (inputs["x"] < 0).any():
            raise ServingError("INVALID_ARGUMENT", "negative")
        return doubled(inputs)

    batcher = Batcher(max_batch=8, threads=1, wait=0.2)
    with ThreadPoolExecutor(4) as pool:
        values = (1, -1, 3)
        parts = [pool.submit(batcher.submit, "k", run, {"x": np.full(1, v)}) for v in values]
        go.set()
        assert parts[0].result()["y"] == [2]
        assert parts[2].result()["y"] == [6]
        with pytest.raises(ServingError, match="negative"):
            parts[1].result()
    batcher.close()


def test_a_full_queue_is_unavailable():
    go = threading.Event()

    def run(inputs):
        go.wait(20)
        return doubled(inputs)

    batcher = Batcher(max_batch=1, max_waiting=2, threads=1)
    with ThreadPoolExecutor(3) as pool:
        one = {"x": np.zeros(1)}
        parts = [pool.submit(batcher.submit, 0, run, one)]
        wait_for(lambda: batcher._number == 1 and not batcher._waiting)
        parts += [pool.submit(batcher.submit, k, run, one) for k in (1, 2)]
        wait_for(lambda: len(batcher._waiting) == 2)
        with pytest.raises(ServingError, match="queue .* is full") as error:
            batcher.submit("more", run, one)
        assert error.value.code == "UNAVAILABLE"
        go.set()
        for part in parts:
            part.result()
    batcher.close()
    with pytest.raises(ServingError, match="shutting down"):
        batcher.submit("late", run, one)
