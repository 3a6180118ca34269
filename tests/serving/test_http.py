"""The HTTP server under clients that mean it ill: raw bytes in, one clear answer or none out."""

import errno
import json
import re
import socket
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from cellzoo.serving import http, rest
from cellzoo.serving.memory import Memory
from cellzoo.serving.metrics import Metrics
from cellzoo.serving.rest import RestServer

GET = b"GET /v1/models/cells HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /v1/models/cells:predict HTTP/1.1\r\nHost: localhost\r\n"


@contextmanager
def rest_server(**options):
    """Knows no model, and says so."""

    def status(request):
        return SimpleNamespace()

    protocol = SimpleNamespace(
        get_model_status=status, models=SimpleNamespace(names=[]), memory=Memory(2**20)
    )
    server = RestServer("127.0.0.1", 0, protocol, Metrics(), **options)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.drain(5)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(rest, "_json", lambda message: {"known": 1})
    with rest_server() as server:
        yield server


def said(server, content):
    """All that a server sends until it ends the connection."""
    with socket.create_connection(server.server_address, 20) as client:
        client.sendall(content)
        return client.makefile("rb").read()


def asked(server, content=GET):
    """Status of the answer to a request on a connection of its own."""
    with socket.create_connection(server.server_address, 20) as client:
        client.sendall(content)
        line = client.makefile("rb").readline()
        return int(line.split()[1]) if line else None


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param(b"Content-Length: 2\r\nContent-Length: 2\r\n", 400, id="two equal lengths"),
        pytest.param(b"Content-Length: 2\r\nContent-Length: 3\r\n", 400, id="two lengths"),
        pytest.param(b"Content-Length: 2\r\ncontent-LENGTH : 2\r\n", 400, id="a space"),
        pytest.param(b"Content-Length: 2, 2\r\n", 400, id="a list of lengths"),
        pytest.param(
            b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", 400, id="length and chunks"
        ),
        pytest.param("Content-Length: ²\r\n".encode(), 400, id="superscript"),
        pytest.param("Content-Length: ²\r\n".encode("latin-1"), 400, id="superscript in Latin 1"),
        pytest.param(b"Content-Length: " + b"9" * 5000 + b"\r\n", 400, id="5,000 digits"),
        pytest.param(b"Content-Length: -2\r\n", 400, id="negative"),
        pytest.param(b"Content-Length: +2\r\n", 400, id="a sign"),
        pytest.param(b"Content-Length: 99999999999\r\n", 413, id="too large"),
        pytest.param(b"Transfer-Encoding: gzip\r\n", 501, id="another coding"),
        pytest.param(b"X: " + b"x" * 300_000 + b"\r\n", 431, id="a long header"),
        pytest.param(b"Content-Length: 2\r\nHost: localhost\r\n", 400, id="two hosts"),
    ],
)
def test_what_is_ambiguous_is_refused_and_the_connection_ends(server, headers, status):
    answer = said(server, POST + headers + b"\r\n{}" + GET)
    assert re.findall(rb"^HTTP/1.1 (\d+)", answer, re.M) == [str(status).encode()]
    assert b"\r\nconnection: close\r\n" in answer.lower()
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert asked(server) == 200


def test_rubbish_is_refused(server):
    for content in (b"\0\1\2\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\r\n\r\n"):
        assert said(server, content).startswith(b"HTTP/1.1 400 ")
    assert asked(server, GET.replace(b"GET", b"BREW")) == 405
    assert asked(server) == 200


def test_a_head_has_no_body(server):
    head = GET.replace(b"GET", b"HEAD").removesuffix(b"\r\n") + b"Connection: close\r\n\r\n"
    answer = said(server, head)
    assert answer.startswith(b"HTTP/1.1 405 ") and answer.endswith(b"\r\n\r\n")


def test_a_version_of_five_thousand_digits_is_none(server):
    path = b"GET /v1/models/cells/versions/" + b"7" * 5000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert asked(server, path) == 400


def test_chunks_are_read_and_bounded(server, monkeypatch):
    monkeypatch.setattr(http, "MAX_BODY", 100)
    chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n"
    assert asked(server, chunked + b"5\r\n[1,2]\r\n0\r\n\r\n") == 400  # "Is not object"
    assert asked(server, chunked + 5 * (b"20\r\n" + 32 * b"x" + b"\r\n")) == 413


def test_a_client_that_asks_first_is_told_to_go_on(server):
    with socket.create_connection(server.server_address, 20) as client:
        client.sendall(POST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        answers = client.makefile("rb")
        assert answers.readline().startswith(b"HTTP/1.1 100 ")
        client.sendall(b"[]")
        assert answers.readline() == b"\r\n"
        assert answers.readline().startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"localhost", 200), (b"LOCALHOST:8501", 200), (b"127.0.0.1:1", 200), (b"[::1]:8501", 200),
        (b"evil.example", 403), (b"localhost.evil.example", 403), (b"10.0.0.1:8501", 403),
        (b"", 403),
    ],
)  # fmt: skip
def test_at_loopback_no_other_name_is_answered(server, host, status):
    """A page whose name comes to mean 127.0.0.1 while it is shown could read all answers."""
    assert asked(server, GET.replace(b"localhost", host)) == status


def test_elsewhere_any_name_is_answered():
    assert http._names("0.0.0.0") is None and http._names("lab.example") is None
    assert {"localhost", "::1"} <= http._names("::1")


@pytest.mark.slow  # on a busy machine a request may come before the half-sent ones are closed
def test_half_sent_requests_keep_nobody_out(server, monkeypatch):
    monkeypatch.setattr(rest, "_SPARE_CONNECTIONS", 4)
    with rest_server(most=4) as small:
        half = [socket.create_connection(small.server_address, 20) for _ in range(30)]
        try:
            for client in half:
                client.sendall(POST + b"Content-Length: 9\r\n\r\n{")
            for _ in range(20):
                assert asked(small) == 200
                assert asked(small, POST + b"Content-Length: 2\r\n\r\n[]") == 400
        finally:
            for client in half:
                client.close()


def test_a_request_has_one_deadline_however_slowly_it_comes(server, monkeypatch):
    monkeypatch.setattr(http, "_REQUEST_SECONDS", 0.5)
    with socket.create_connection(server.server_address, 20) as client:
        with pytest.raises(OSError):
            for byte in POST + b"Content-Length: 100000\r\n\r\n" + 100_000 * b" ":
                client.sendall(bytes([byte]))
                threading.Event().wait(0.02)
    assert asked(server) == 200


def test_the_largest_of_too_much_gives_way(server, monkeypatch):
    monkeypatch.setattr(http, "_MAX_UNREAD", 10_000)
    clients = [socket.create_connection(server.server_address, 20) for _ in range(3)]
    try:
        for client, size in zip(clients, (500, 9000, 500), strict=True):
            client.sendall(POST + b"Content-Length: 20000\r\n\r\n" + size * b" ")
        clients[0].sendall(1000 * b" ")
        assert clients[1].recv(1) == b""  # its end
        for client in (clients[0], clients[2]):
            client.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.recv(1)
    finally:
        for client in clients:
            client.close()


def test_without_descriptors_the_server_waits_and_goes_on(monkeypatch):
    """It neither spins nor ends, and the connection that waits longest gives way."""
    monkeypatch.setattr(rest, "_json", lambda message: {"known": 1})
    paused, left = [], 3
    with rest_server() as server:
        idle = socket.create_connection(server.server_address, 20)
        while not server._waiting:
            pass
        accept = socket.socket.accept

        def none_left(self):
            nonlocal left
            if left:
                left -= 1
                raise OSError(errno.EMFILE, "Too many open files")
            return accept(self)

        monkeypatch.setattr(http.time, "sleep", paused.append)
        monkeypatch.setattr(socket.socket, "accept", none_left)
        assert idle.recv(1) == b""
        assert asked(server) == 200
        assert paused == [0.1, 0.1, 0.1]
        idle.close()


def test_nan_leaves_as_null(served_models, serve):
    server = serve(served_models)
    body = b'{"instances": [NaN, Infinity, 2]}'
    request = POST.replace(b"cells", b"latest") + b"Connection: close\r\nContent-Length: %d\r\n\r\n"
    address = SimpleNamespace(server_address=("127.0.0.1", server.rest_port))
    answer = said(address, request % len(body) + body)
    assert answer.startswith(b"HTTP/1.1 200 ")
    document = json.loads(answer.partition(b"\r\n\r\n")[2], parse_constant=pytest.fail)
    assert document == {"predictions": [None, None, 3.0]}
