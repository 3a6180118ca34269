"""Twenty thousand damaged requests on raw sockets: the server lives, and its memory stays flat."""

import gc
import json
import os
import random
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cellzoo.serving import http, rest

pytestmark = pytest.mark.slow

BODIES = [
    b'{"instances": [1.0, 2.0]}', b'{"inputs": {"x": [1.0]}}', b'{"instances": [{"x": 1}]}',
    b'{"signature_name": "serving_default", "inputs": [1e999, NaN]}', b"[" * 5000,
    b'{"inputs": ""}',
    b'{"instances": ' + b"[" * 900 + b"]" * 900 + b"}", b"\xff\xfe", b'{"inputs": {"b64": "?"}}',
    b'{"instances": [' + b"1," * 5000 + b"1]}",
]  # fmt: skip
PATHS = [
    b"/v1/models/half:predict", b"/v1/models/half", b"/v1/models/half/metadata", b"/", b"*",
    b"/v1/models/half/versions/1:predict", b"/v1/models/half/labels/x:predict", b"/../etc/passwd",
    b"/v1/models/half/versions/" + b"9" * 400, b"/monitoring/prometheus/metrics", b"http://x/",
]  # fmt: skip
HEADERS = [
    b"Host: localhost", b"Host: evil.example", b"Content-Type: application/json", b"X:", b": x",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", b"Expect: 100-continue",
    b"Connection: close", b"Connection: keep-alive, Upgrade", b"Upgrade: h2c", b"Content-Length: 5",
    b"Content-Length: -1", b"Content-Length: 99999999", b"Content-Length: \xc2\xb2", b"\0: \0",
    b"Content-Length: " + b"7" * 5000, b"X-Long: " + b"x" * 9000, b" folded",
]  # fmt: skip


def damaged(number):
    """A request of parts that are sound, ambiguous or broken, with some of its bytes changed."""
    chance = random.Random(number)
    body = chance.choice(BODIES)
    headers = [b"Host: localhost", *chance.sample(HEADERS, chance.randint(0, 3))]
    if chance.random() < 0.7:
        headers.append(b"Content-Length: %d" % len(body))
    method = chance.choice([b"POST", b"POST", b"GET", b"HEAD", b"PUT", b"CONNECT", b"\x16\x03"])
    version = chance.choice([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b""])
    line = b" ".join((method, chance.choice(PATHS), version))
    request = bytearray(b"\r\n".join([line, *headers, b"", body]))
    if chance.random() < 0.5:
        for _ in range(chance.randint(1, 5)):
            request[chance.randrange(len(request))] = chance.randrange(256)
    if chance.random() < 0.2:
        del request[chance.randrange(len(request)) :]
    return bytes(request) * chance.choice([1, 1, 1, 2, 3])


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(sys.platform != "linux", reason="the memory is read from /proc")
def test_twenty_thousand_damaged_requests(served_models, serve, monkeypatch):
    failures = []
    for module in (http, rest):
        monkeypatch.setattr(module.log, "exception", lambda *said: failures.append(said))
    server = serve(served_models)
    address = ("127.0.0.1", server.rest_port)

    def send(number):
        try:
            with socket.create_connection(address, 20) as client:
                client.sendall(damaged(number))
                client.shutdown(socket.SHUT_WR)
                answer = client.makefile("rb").read()
        except OSError:  # ended in the middle of what we said
            return None
        assert not answer or answer.startswith(b"HTTP/1.1 "), answer[:100]
        assert b"Traceback" not in answer
        return answer[9:12]

    with ThreadPoolExecutor(8) as pool:
        statuses = set(pool.map(send, range(5000)))
        gc.collect()
        before = resident()
        statuses |= set(pool.map(send, range(5000, 20_000)))
    gc.collect()
    grown = resident() - before
    assert failures == []
    assert {b"200", b"400", b"403", b"404", b"405"} <= statuses and b"500" not in statuses
    assert grown < 48 * 2**20, f"{grown / 2**20:.0f} MiB"
    with socket.create_connection(address, 20) as client:
        body = b'{"instances": [2.0]}'
        client.sendall(
            b"POST /v1/models/half:predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body) + body
        )
        answer = client.makefile("rb").read()
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"predictions": [3.0]}
