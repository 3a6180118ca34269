"""Requests hold a bounded number of bytes, whatever they ask for, and give them back."""

import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest

from cellzoo.protocol import messages
from cellzoo.protocol.tensors import array_bytes, from_message, to_message
from cellzoo.serving.batching import Batcher
from cellzoo.serving.errors import ServingError
from cellzoo.serving.memory import Memory

PREDICT = "/tensorflow.serving.PredictionService/Predict"


def repeated(side, value=0.5):
    """A request of some 50 bytes for an image of one grey level."""
    request = messages.PredictRequest()
    request.model_spec.name = "cells"
    images = request.inputs["images"]
    images.dtype = messages.DATA_TYPES["DT_FLOAT"]
    images.float_val.append(value)
    for size in (1, side, side):
        images.tensor_shape.dim.add(size=size)
    return request


def asker(port):
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    stub = channel.unary_unary(
        PREDICT, messages.PredictRequest.SerializeToString, messages.PredictResponse.FromString
    )

    def ask(request):
        try:
            stub(request, timeout=120)
            return "OK"
        except grpc.RpcError as error:
            return error.code().name

    return ask


def test_one_value_is_not_repeated_over_megapixels():
    assert from_message(repeated(1024).inputs["images"]).shape == (1, 1024, 1024)
    with pytest.raises(ValueError, match="only 1 values"):
        from_message(repeated(1025).inputs["images"])


def test_bytes_are_known_before_they_are_taken():
    assert array_bytes(repeated(1000).inputs["images"]) == 4_000_000
    for array in (np.zeros((3, 5), np.uint16), np.zeros((2, 0), np.float64)):
        assert array_bytes(to_message(array)) == array.nbytes
    assert array_bytes(to_message(np.array([b"abc", b""], object))) == 3 + 2 * 8


def test_what_is_under_way_is_bounded_in_all():
    memory = Memory(100)
    with memory.hold(60):
        with memory.hold(40):
            pass
        with pytest.raises(ServingError) as caught, memory.hold(41):
            pass
        assert caught.value.code == "UNAVAILABLE"
    with pytest.raises(ServingError) as caught, memory.hold(101):
        pass
    assert caught.value.code == "RESOURCE_EXHAUSTED"
    assert memory.held == 0


def test_a_server_that_holds_all_it_may_says_so(served_models, serve):
    ask = asker(serve(served_models, max_bytes=10**6).grpc_port)
    assert ask(repeated(400)) == "OK"
    assert ask(repeated(600)) == "RESOURCE_EXHAUSTED"
    assert ask(repeated(400)) == "OK"


def test_a_batch_is_bounded_in_bytes():
    sizes, go = [], threading.Event()

    def run(inputs):
        go.wait(20)
        sizes.append(len(inputs["x"]))
        return inputs

    batcher = Batcher(max_batch=64, threads=1, max_bytes=1000)
    with ThreadPoolExecutor(9) as pool:
        for size in (1, *[50] * 7, 300):  # of eight bytes
            pool.submit(batcher.submit, "k", run, {"x": np.zeros((1, size))})
        while batcher._number < 6:
            time.sleep(0.01)
        go.set()
    batcher.close()
    assert sum(sizes) == 9 and max(sizes) == 2


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the memory's peak is read from /proc")
def test_five_hundred_requests_for_much_memory_take_little(served_models, tmp_path):
    """And honest ones are answered meanwhile."""
    program = "from cellzoo.cli import main; main()"
    command = [sys.executable, "-c", program, "serve", served_models, "--grpc-port", "0"]
    server = subprocess.Popen(
        [*command, "--rest-port", "0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        line = next(line for line in server.stdout if " INFO gRPC at " in line)
        threading.Thread(target=server.stdout.read, daemon=True).start()
        ask = asker(int(line.split(",")[0].rpartition(":")[2]))
        with ThreadPoolExecutor(24) as pool:
            greedy = [
                pool.submit(ask, repeated(side)) for side in (1024, 4096) for _ in range(250)
            ]
            honest = [ask(repeated(9)) for _ in range(20)]
        assert honest == 20 * ["OK"]
        assert Counter(g.result() for g in greedy) == {"OK": 250, "INVALID_ARGUMENT": 250}
        status = Path(f"/proc/{server.pid}/status").read_text()
        peak = int(status.split("VmHWM:")[1].split()[0]) / 2**20
        assert peak < 3, f"{peak:.1f} GiB"
    finally:
        server.kill()
        server.wait()
