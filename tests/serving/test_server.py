"""The embedded server over time: versions that come and go, floods, rubbish, and its end."""

import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cellzoo.counters.saved_model import newest_version
from cellzoo.files import write_checksums
from cellzoo.protocol import messages
from cellzoo.protocol.tensors import from_message, to_message
from cellzoo.serving import versions
from cellzoo.serving.batching import Batcher
from cellzoo.serving.config import find_versions, watch_models
from cellzoo.serving.errors import ServingError
from cellzoo.serving.metrics import Metrics
from cellzoo.serving.rest import RestServer
from cellzoo.serving.servable import Servable
from cellzoo.serving.versions import Models

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


@contextmanager
def asking(ask, requests, clients):
    """Asks for the numbers of all requests meanwhile, as many at once as there are clients.

    Gives a list, which the answers join as they come.
    """
    answers = []
    with ThreadPoolExecutor(clients) as pool:
        asked = pool.map(lambda number: answers.append(ask(number)), range(requests))
        yield answers
        list(asked)  # raises what a client raised
    assert len(answers) == requests


def swap_while_asked(serve, half, requests, clients):
    server = serve(half.parent, poll_seconds=0.05)
    call = caller(server.grpc_port)

    def ask(number):
        return version_of(call(half_request(number % 1000)), number % 1000)

    with asking(ask, requests, clients) as versions:
        wait_for(lambda: len(versions) >= 0.2 * requests, 600)
        shutil.copytree(half.parents[1] / "spare" / "2", half / "new")  # no number: nobody looks
        os.rename(half / "new", half / "2")
        wait_for(lambda: len(versions) >= 0.6 * requests, 600)
        shutil.rmtree(half / "2")
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


def reloader(port):
    method = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
    return caller(port, method, messages.ReloadConfigResponse)


def labelled(half, **labels):
    """A request to serve all versions, with these labels."""
    request = messages.ReloadConfigRequest()
    model = request.config.model_config_list.config.add(name="half", base_path=str(half))
    model.model_version_policy.all.SetInParent()
    for label, version in labels.items():
        model.version_labels[label] = version
    return request


def test_labels_move_by_a_reload(serve, half):
    shutil.copytree(half.parents[1] / "spare" / "2", half / "2")
    server = serve(half.parent)
    call, reload = caller(server.grpc_port), reloader(server.grpc_port)
    for version in (1, 2, 1):
        assert reload(labelled(half, stable=version)).status.error_code == 0
        assert version_of(call(half_request(6, "stable")), 6) == version
    with pytest.raises(grpc.RpcError, match="not currently available for inference"):
        reload(labelled(half, stable=9))
    assert version_of(call(half_request(6, "stable")), 6) == 1


def move_label_while_asked(serve, half, requests, clients):
    """Half of the requests ask for a label that moves 1 -> 2 -> 1, half for one that stays."""
    shutil.copytree(half.parents[1] / "spare" / "2", half / "2")
    server = serve(half.parent)
    call, reload = caller(server.grpc_port), reloader(server.grpc_port)
    reload(labelled(half, stable=1, live=1))
    moves = []  # version, and when the label began and had ended to move there

    def ask(number):
        label, value, asked = ("stable", "live")[number % 2], number % 1000, time.monotonic()
        version = version_of(call(half_request(value, label)), value)
        return label, version, asked, time.monotonic()

    with asking(ask, requests, clients) as answers:
        for share, version in ((0.25, 2), (0.6, 1)):
            wait_for(lambda share=share: len(answers) >= share * requests, 600)
            began = time.monotonic()
            reload(labelled(half, stable=1, live=version))
            moves.append((version, began, time.monotonic()))
    (_, to_two, at_two), (_, to_one, at_one) = moves
    sure = {
        1: lambda asked, answered: answered < to_two or asked > at_one,
        2: lambda asked, answered: at_two < asked and answered < to_one,
    }
    live = [answer for answer in answers if answer[0] == "live"]
    for version, is_sure in sure.items():
        given = {given for _, given, *times in live if is_sure(*times)}
        assert given == {version}
    assert {version for label, version, *_ in answers if label == "stable"} == {1}


def test_no_answer_comes_from_the_version_of_another_label(serve, half):
    move_label_while_asked(serve, half, requests=600, clients=16)


@pytest.mark.slow
def test_labels_hold_under_ten_thousand_requests_of_64_clients(serve, half):
    move_label_while_asked(serve, half, requests=10_000, clients=64)


def test_a_version_is_a_number_of_64_bits(tmp_path):
    for name in ("7", str(2**63 - 1), str(2**63), "20261121101500123456", "²", "-1", "x"):
        (tmp_path / "cells" / name).mkdir(parents=True)
        (tmp_path / "cells" / name / "saved_model.pb").touch()
    assert set(find_versions(tmp_path / "cells")) == {7, 2**63 - 1}
    assert newest_version(tmp_path / "cells").name == str(2**63 - 1)


def test_a_refused_reload_takes_nothing_away(tmp_path):
    """Not even for the time that the new models take to fail."""
    seen = []

    def load(name, number, folder):
        if name == "broken":
            seen.append(models.status(spec)[0][1].state)
            raise ValueError("broken")
        return SimpleNamespace(warm_up=lambda folder: None, name=name, version=number)

    for path in ("half/1", "broken/1", "other/1"):
        (tmp_path / path).mkdir(parents=True)
    half, broken, other = (
        messages.ModelConfig(name=name, base_path=str(tmp_path / name))
        for name in ("half", "broken", "other")
    )
    spec = messages.ModelSpec(name="half")
    models = Models(lambda: [half], load, allow_reload=True)
    models.poll()
    before = models.servable(spec)
    nowhere = messages.ModelConfig(name="nowhere", base_path="nowhere")
    for configs in ([other, broken], [nowhere]):
        with pytest.raises(ServingError, match="No version of model (broken|nowhere) can be"):
            models.reload(configs)
        assert models.servable(spec) is before
        assert models.names == ["half"]
    assert seen == ["AVAILABLE"]
    elsewhere = messages.ModelConfig(name="half", base_path=other.base_path)
    for configs, said in ([elsewhere], "half is served from"), ([other, other], "named twice"):
        with pytest.raises(ServingError, match=said):
            models.reload(configs)
        assert models.servable(spec) is before
    (tmp_path / "half" / "2").mkdir()  # by policy version 1 goes when this one comes
    with pytest.raises(ServingError, match="label to version 1 of model half"):
        models.reload([messages.ModelConfig(
            name="half", base_path=half.base_path, version_labels={"gone": 1}
        )])  # fmt: skip
    with pytest.raises(ServingError, match="Unrecognized servable version label: gone"):
        models.servable(messages.ModelSpec(name="half", version_label="gone"))


def test_a_reload_names_no_new_folder(serve, half, served_models, tmp_path):
    """Anybody on this computer may send one, and a model is a program."""
    shutil.copytree(served_models / "badwarm" / "1", tmp_path / "theirs" / "1")
    server = serve(half.parent)
    theirs = labelled(tmp_path / "theirs")
    for folder in (tmp_path / "theirs", f"{half}/../../theirs"):
        theirs.config.model_config_list.config[0].base_path = str(folder)
        with pytest.raises(grpc.RpcError, match="--allow-reload") as caught:
            reloader(server.grpc_port)(theirs)
        assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
        assert version_of(caller(server.grpc_port)(half_request(6)), 6) == 1
    other = labelled(half)
    other.config.model_config_list.config[0].name = "whole"
    assert reloader(server.grpc_port)(other).status.error_code == 0  # known by its folder
    assert server.models.names == ["whole"]
    server = serve(half.parent, allow_reload=True)
    theirs.config.model_config_list.config[0].name = "theirs"
    assert reloader(server.grpc_port)(theirs).status.error_code == 0
    assert server.models.names == ["theirs"]


def load_nothing(name, number, folder):
    """Stands in for a servable."""
    return SimpleNamespace(warm_up=lambda folder: None, name=name, version=number)


@pytest.fixture
def warnings(monkeypatch):
    """What the models warn of."""
    said = []
    monkeypatch.setattr(versions.log, "warning", lambda text, *values: said.append(text % values))
    return said


def test_folders_that_come_and_go_beside_the_models_take_none_away(tmp_path, warnings):
    folder = tmp_path / "sm"
    for name in ("a", "b"):
        (folder / name / "1").mkdir(parents=True)
    models = Models(watch_models(folder), load_nothing)
    models.poll()
    for path in ("2024/old", "2025"):
        (folder / path).mkdir(parents=True)
    (folder / "2025" / "saved_model.pb").touch()
    models.poll()
    assert models.names == ["a", "b"]
    folder.rename(tmp_path / "smx")
    for _ in range(2):
        models.poll()
        assert models.names == ["a", "b"]
    sentence = f"{folder / 'a'} cannot be read, bring it back: what is loaded stays."
    assert [warning for warning in warnings if "a: " in warning] == [f"a: {sentence}"]
    (tmp_path / "smx").rename(folder)
    (folder / "c" / "1").mkdir(parents=True)
    models.poll()
    assert models.names == ["a", "b", "c"]
    (folder / "b").rename(tmp_path / "b")  # which is how a model goes
    models.poll()
    assert models.names == ["a", "c"]


@pytest.mark.parametrize("named_by", ["folder", "link"])
def test_one_models_folder_stays_one_models(tmp_path, named_by):
    folder, served = tmp_path / "one", tmp_path / "one"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "saved_model.pb").touch()
    if named_by == "link":
        served = tmp_path / "link"
        served.symlink_to(folder)
    models = Models(watch_models(served), load_nothing)
    models.poll()
    (folder / "notes" / "1").mkdir(parents=True)
    served.rename(tmp_path / "away")
    models.poll()
    assert models.names == ["one"]


def test_a_model_without_versions_is_told_once(tmp_path, warnings):
    folder = tmp_path / "half"
    config = messages.ModelConfig(name="half", base_path=str(folder))
    models = Models(lambda: [config], load_nothing)
    nothing = f"half: {folder} holds no version to serve: correct its base_path or export the "
    nothing += "model there."
    models.poll()
    folder.mkdir()
    models.poll()
    assert warnings == [nothing]
    (folder / "1").mkdir()
    models.poll()
    assert warnings == [nothing] and models.names == ["half"]
    (folder / "1").rmdir()
    models.poll()
    models.poll()
    assert warnings == 2 * [nothing] and models.names == []
    config.model_version_policy.specific.versions.append(7)
    (folder / "1").mkdir()
    models.poll()
    assert warnings[2:] == [
        f"half: {folder} holds no version 7 to serve: correct its model_version_policy or export "
        "the model there."
    ]


def test_a_loaded_version_whose_files_are_exchanged_is_said(tmp_path, warnings):
    """It answers as it was loaded: clients that asked for its number shall not get two models."""
    folder = tmp_path / "half" / "1"
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_text("one")
    models = Models(watch_models(tmp_path), load_nothing)
    models.poll()
    (folder / "README.md").write_text("a note")
    models.poll()
    assert warnings == []
    (folder / "saved_model.pb").write_text("another")
    models.poll()
    models.poll()
    assert len(warnings) == 1 and "half version 1 has other files than were loaded" in warnings[0]


def test_a_corrupt_version_never_takes_the_old_one_down(serve, half):
    server = serve(half.parent, poll_seconds=0.02)
    call = caller(server.grpc_port)
    spec = half_request(0).model_spec

    def states():
        return {number: version.state for number, version in server.models.status(spec)}

    def damaged(change):
        """A copy of version 1 that appears at once with a change."""
        shutil.copytree(half / "1", half / "new")
        change(half / "new")
        number = 1 + max(int(path.name) for path in half.iterdir() if path.name.isdigit())
        os.rename(half / "new", half / str(number))
        return number

    def cut(folder):
        weights = folder / "variables" / "variables.data-00000-of-00001"
        weights.write_bytes(weights.read_bytes()[:-3])

    def flip(folder):
        """A parameter that is another one now: TensorFlow itself would not mind."""
        write_checksums(folder)
        file = folder / "saved_model.pb"
        file.write_bytes(file.read_bytes() + b"\0\0")

    for change in (
        lambda folder: (folder / "saved_model.pb").write_bytes(b"rubbish"),
        lambda folder: shutil.rmtree(folder / "variables"),
        cut,
        flip,
    ):
        number = damaged(change)
        wait_for(lambda number=number: states().get(number) == "END")
        assert version_of(call(half_request(1)), 1) == 1
    (half / "9").mkdir()
    wait_for(lambda: states().get(9) == "END")
    assert version_of(call(half_request(1)), 1) == 1
    shutil.copyfile(half / "1" / "saved_model.pb", half / "9" / "saved_model.pb")  # copied at last
    shutil.copytree(half / "1" / "variables", half / "9" / "variables")
    wait_for(lambda: (states()[9], states()[1]) == ("AVAILABLE", "END"))
    assert call(half_request(1)).model_spec.version.value == 9


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


def resident():
    """Bytes of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


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
        before = resident()
        answers += pool.map(refused, range(requests // 4, requests))
    gc.collect()
    grown = resident() - before
    assert [k for k, refusal in enumerate(answers) if not refusal] == []
    print(f"memory grew by {grown / 2**20:.1f} MiB")
    assert grown < 24 * 2**20  # 16 kB a request would be more
    assert version_of(call(half_request(4)), 4) == 2


def test_rubbish_is_refused_and_the_server_lives(serve, served_models):
    throw_rubbish(serve, served_models, 200)


@pytest.mark.slow
def test_twenty_thousand_malformed_requests_leave_the_memory_flat(serve, served_models):
    throw_rubbish(serve, served_models, 20_000)


def healthy(port, service=""):
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        reply = check(health_pb2.HealthCheckRequest(service=service), timeout=20)
        return reply.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("service", ["", "tensorflow.serving.PredictionService"])
def test_health(serve, half, service):
    assert healthy(serve(half.parent).grpc_port, service)


@pytest.mark.skipif(sys.platform != "linux", reason="all of 127.0.0.0/8 is loopback on Linux")
def test_nobody_else_reaches_it_unless_told_so(serve, half):
    server = serve(half.parent)
    for port in (server.grpc_port, server.rest_port):
        socket.create_connection(("127.0.0.1", port), 20).close()
        with pytest.raises(ConnectionRefusedError):  # where a server of every interface answers
            socket.create_connection(("127.0.0.2", port), 20)


@pytest.mark.parametrize(
    ("settings", "accepted", "code"),
    [
        ({"max_batch": 1, "max_waiting": 1, "batch_threads": 1}, 1, "UNAVAILABLE"),
        ({"threads": 4}, 3, "UNAVAILABLE"),
    ],
)
def test_too_many_requests_are_refused(serve, half, monkeypatch, settings, accepted, code):
    running, go, run = threading.Event(), threading.Event(), Servable.run

    def slow(*arguments):
        running.set()
        go.wait(60)
        return run(*arguments)

    monkeypatch.setattr(Servable, "run", slow)
    server = serve(half.parent, **settings)
    call = caller(server.grpc_port)
    with ThreadPoolExecutor(12) as pool:
        first = pool.submit(call, half_request(1))
        assert running.wait(30)
        others = [pool.submit(call, half_request(1)) for _ in range(11)]
        wait_for(lambda: sum(other.done() for other in others) == 11 - accepted)
        refusals = [other.exception().code().name for other in others if other.done()]
        assert healthy(server.grpc_port)
        go.set()
        assert version_of(first.result(), 1) == 1
        assert sum(other.exception() is None for other in others) == accepted
    assert set(refusals) == {code}


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("INVALID_ARGUMENT", 400), ("FAILED_PRECONDITION", 400), ("OUT_OF_RANGE", 400),
        ("NOT_FOUND", 404), ("RESOURCE_EXHAUSTED", 429), ("UNIMPLEMENTED", 501),
        ("UNAVAILABLE", 503), ("DEADLINE_EXCEEDED", 504), ("INTERNAL", 500),
    ],
)  # fmt: skip
def test_rest_says_what_went_wrong_by_the_status(code, status):
    with failing_rest_server(code) as server:
        with pytest.raises(urllib.error.HTTPError) as caught:
            url = f"http://127.0.0.1:{server.server_address[1]}/v1/models/cells"
            urllib.request.urlopen(url, timeout=20)
        assert caught.value.code == status
        assert caught.value.read() == b'{\n "error": "why"\n}\n'


@contextmanager
def failing_rest_server(code):
    """Answers every question about a model with a status."""

    def fail(request):
        raise ServingError(code, "why")

    protocol = SimpleNamespace(get_model_status=fail, models=SimpleNamespace(names=[]))
    server = RestServer("127.0.0.1", 0, protocol, Metrics())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.drain(5)


def test_the_body_of_a_get_is_no_next_request():
    inner = b"GET /v1/models/cells HTTP/1.1\r\nHost: localhost\r\n\r\n"
    outer = inner[:-2] + f"Content-Length: {len(inner)}\r\n\r\n".encode() + inner
    with failing_rest_server("NOT_FOUND") as server:
        with socket.create_connection(server.server_address, 20) as client:
            client.sendall(outer)
            client.shutdown(socket.SHUT_WR)
            assert client.makefile("rb").read().count(b"HTTP/1.1 404") == 1


def test_a_server_that_stops_ends_its_connections():
    asked = b"GET /v1/models/cells HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with failing_rest_server("NOT_FOUND") as server:
        with socket.create_connection(server.server_address, 20) as client:
            answers = client.makefile("rb")
            client.sendall(asked)
            while answers.readline().strip() != b"}":
                pass
            server.drain(5)
            client.sendall(asked)
            assert b"Connection: close" in answers.read()  # to its end
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(server.server_address, 20)


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
        line = next(line for line in server.stdout if " INFO gRPC at " in line)
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
