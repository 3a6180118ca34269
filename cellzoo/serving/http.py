"""HTTP/1.1 on a socket: h11 reads and writes it, this module bounds what a client can take."""

import ipaddress
import logging
import re
import socket
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import h11

log = logging.getLogger(__name__)

MAX_BODY = 64 * 2**20  # bytes
_MAX_HEAD = 2**16  # bytes of a request's first lines
_MAX_UNREAD = 2**28  # bytes of all bodies that are not there yet
_IDLE_SECONDS = 60.0  # without a request
_REQUEST_SECONDS = 60.0  # from the first byte of a request to its last
_ANSWER_SECONDS = 60.0  # to take an answer in
_LINGER_SECONDS = 1.0  # to read what a refused client still sends, so that it hears why
_PART = 2**16  # bytes read at a time
_LENGTH = re.compile(rb"(?im)^content-length[ \t]*:[ \t]*(.*?)[ \t\r]*$")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")


class Request(NamedTuple):
    """A whole request.

    Attributes:
        method: such as ``GET``.
        path: without what follows a question mark.
        body: of any method.
    """

    method: str
    path: str
    body: bytes


class Response(NamedTuple):
    """What to answer.

    Attributes:
        status: of HTTP.
        content_type: of the content.
        content: bytes.
        close: end the connection after it.
    """

    status: int
    content_type: str
    content: bytes
    close: bool = False


class Refused(Exception):
    """A request that is not read to its end.

    Attributes:
        status: of HTTP.
    """

    def __init__(self, status: int, message: str):
        """Args: see the attributes; ``message`` is for the client."""
        super().__init__(message)
        self.status = status


class HttpServer:
    """Answers requests, a thread per connection.

    A request is whole before ``answer`` hears of it. Where there are too many connections, or too
    much of unfinished bodies, those give way that have waited longest, or hold most: clients that
    send half a request keep nobody out.

    Args:
        host: to listen at. At loopback only requests to a name of this computer are answered,
            because a page in a browser may reach it under another name (DNS rebinding).
        port: to listen at; 0: any free one.
        answer: makes the response to a request.
        refuse: makes the response to a request that is not read, of a status and a reason.
        connections: at most, at the same time.

    Attributes:
        server_address: host and port.
    """

    def __init__(
        self,
        host: str,
        port: int,
        answer: Callable[[Request], Response],
        refuse: Callable[[int, str], Response],
        connections: int,
    ):
        """Listens; :meth:`serve_forever` answers."""
        self._answer, self._refuse, self._most = answer, refuse, connections
        self._hosts = _names(host)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=128)
        self._listener.settimeout(0.5)
        self.server_address = self._listener.getsockname()
        self._changed = threading.Condition()
        self._open: set[_Connection] = set()
        self._waiting: dict[_Connection, int] = {}  # oldest first: bytes of an unfinished request
        self._ended = threading.Event()
        self._ended.set()
        self.draining = False

    def serve_forever(self) -> None:
        """Takes connections until :meth:`drain`."""
        self._ended.clear()
        try:
            while not self.draining:
                self._take_one()
        finally:
            self._ended.set()

    def _take_one(self) -> None:
        try:
            client, _ = self._listener.accept()
        except TimeoutError:
            return
        except OSError as error:  # no more descriptors, or shut down by `drain`
            if not self.draining:
                log.warning("no connection can be taken: %s", error.strerror)
                self._give_way()
                time.sleep(0.1)
            return
        with self._changed:
            full = len(self._open) >= self._most
        if full and not self._give_way():
            client.close()  # all of them are being answered
            return
        connection = _Connection(client, self)
        with self._changed:
            self._open.add(connection)
        threading.Thread(target=connection.run, name="http", daemon=True).start()

    def drain(self, seconds: float) -> None:
        """Takes no more connections and waits for the answers that are under way."""
        self.draining = True
        try:
            self._listener.shutdown(socket.SHUT_RDWR)  # ends `accept`, on Linux at once
        except OSError:
            pass
        self._ended.wait(2)
        self._listener.close()
        with self._changed:
            self._changed.wait_for(lambda: self._open <= self._waiting.keys(), seconds)

    def _give_way(self) -> bool:
        """Ends the connection that has waited longest for a request; says whether there was one."""
        with self._changed:
            oldest = next(iter(self._waiting), None)
            if oldest is None:
                return False
            del self._waiting[oldest]
        oldest.end()
        return True

    def wait(self, connection: "_Connection") -> None:
        """Notes that a connection waits for a request."""
        with self._changed:
            self._waiting[connection] = 0
            self._changed.notify_all()

    def received(self, connection: "_Connection", size: int) -> None:
        """Notes bytes of an unfinished request; the largest gives way where they are too many."""
        largest = None
        with self._changed:
            if connection in self._waiting:
                self._waiting[connection] += size
            if sum(self._waiting.values()) > _MAX_UNREAD:
                largest = max(self._waiting, key=self._waiting.get)
                del self._waiting[largest]
        if largest:
            largest.end()

    def is_whole(self, connection: "_Connection") -> bool:
        """Notes that a request is there; False: its connection had to give way."""
        with self._changed:
            return self._waiting.pop(connection, None) is not None

    def closed(self, connection: "_Connection") -> None:
        """Notes that a connection is no more."""
        with self._changed:
            self._waiting.pop(connection, None)
            self._open.discard(connection)
            self._changed.notify_all()

    def check_host(self, host: bytes | None) -> None:
        """Refuses a request to a name that is not this computer's.

        Raises:
            Refused: it is none.
        """
        if self._hosts is None or host is None:
            return
        name = re.sub(rb":\d*$", b"", host.strip().lower()).decode("latin-1")
        if name not in self._hosts:
            raise Refused(403, "this server answers requests to localhost alone")

    def answer(self, request: Request) -> Response:
        """The response to a request."""
        return self._answer(request)

    def refuse(self, status: int, reason: str) -> Response:
        """The response to what is not read to its end."""
        return self._refuse(status, reason)._replace(close=True)


class _Connection:
    """A client's connection, in a thread of its own."""

    def __init__(self, client: socket.socket, server: HttpServer):
        self._client, self._server = client, server
        self._protocol = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD)
        self._head = b""  # of the request that is being read

    def run(self) -> None:
        """Answers request after request."""
        try:
            while self._answer_one():
                pass
        except (OSError, h11.ProtocolError):
            pass  # the client went, or gave way to another
        except Exception:
            log.exception("a connection failed")
        finally:
            self._client.close()
            self._server.closed(self)

    def end(self) -> None:
        """Ends it from another thread."""
        try:
            self._client.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it ended by itself

    def _answer_one(self) -> bool:
        """Reads and answers a request; False: there is no next one."""
        self._server.wait(self)
        method = "GET"
        try:
            request = self._request()
            if request is None or not self._server.is_whole(self):
                return False
            method = request.method
            response = self._server.answer(request)
        except Refused as refused:
            response = self._server.refuse(refused.status, str(refused))
        except h11.RemoteProtocolError as error:
            response = self._server.refuse(error.error_status_hint, str(error))
        close = response.close or self._server.draining
        self._send(response, close, method)
        if close:
            self._linger()
            return False
        if self._protocol.states != {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
            return False  # the client wants no more
        self._head = self._protocol.trailing_data[0]
        self._protocol.start_next_cycle()
        return True

    def _request(self) -> Request | None:
        """The next request, whole; None: the client sends none."""
        deadline = time.monotonic() + (_REQUEST_SECONDS if self._head else _IDLE_SECONDS)
        request, body = None, bytearray()
        while True:
            event = self._protocol.next_event()
            if event is h11.NEED_DATA:
                if self._protocol.they_are_waiting_for_100_continue:
                    self._client.settimeout(_ANSWER_SECONDS)
                    self._client.sendall(
                        self._protocol.send(h11.InformationalResponse(status_code=100, headers=[]))
                    )
                begun = bool(self._head)
                if not self._receive(deadline, request is None):
                    return None
                if not begun:
                    deadline = time.monotonic() + _REQUEST_SECONDS
            elif isinstance(event, h11.Request):
                request = event
                self._check(request)
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > MAX_BODY:
                    raise Refused(413, f"the request is larger than {MAX_BODY} bytes")
            elif isinstance(event, h11.EndOfMessage):
                path = request.target.partition(b"?")[0].decode("latin-1")
                return Request(request.method.decode(), path, bytes(body))
            else:  # the end of the connection, or another protocol
                return None

    def _receive(self, deadline: float, head: bool) -> bool:
        """Reads what comes next; False: the time is over, or nothing comes any more."""
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        self._client.settimeout(left)
        try:
            data = self._client.recv(_PART)
        except TimeoutError:
            return False
        if head:
            self._head += data
        self._protocol.receive_data(data)
        self._server.received(self, len(data))
        return True

    def _check(self, request: h11.Request) -> None:
        """Refuses what is ambiguous, too large, or not meant for this server."""
        headers = dict(request.headers)
        head = _END_OF_HEAD.split(self._head, maxsplit=1)[0]
        lengths = _LENGTH.findall(head)
        if len(lengths) > 1 or any(b"," in length for length in lengths):  # h11 takes equal ones
            raise Refused(400, "Content-Length stands there twice")
        if b"content-length" in headers and b"transfer-encoding" in headers:
            raise Refused(400, "Content-Length and Transfer-Encoding exclude each other")
        if int(headers.get(b"content-length", 0)) > MAX_BODY:
            raise Refused(413, f"the request is larger than {MAX_BODY} bytes")
        self._server.check_host(headers.get(b"host"))

    def _send(self, response: Response, close: bool, method: str) -> None:
        if self._protocol.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        headers = [
            ("Content-Type", response.content_type),
            ("Content-Length", str(len(response.content))),
            *([("Connection", "close")] if close else []),
        ]
        events = [h11.Response(status_code=response.status, headers=headers)]
        if method != "HEAD":
            events.append(h11.Data(data=response.content))
        self._client.settimeout(_ANSWER_SECONDS)  # of all of it
        self._client.sendall(
            b"".join(self._protocol.send(event) or b"" for event in (*events, h11.EndOfMessage()))
        )

    def _linger(self) -> None:
        """Reads on for a moment: closing at once would take the answer away from the client."""
        self._client.shutdown(socket.SHUT_WR)
        end = time.monotonic() + _LINGER_SECONDS
        while (left := end - time.monotonic()) > 0:
            self._client.settimeout(left)
            if not self._client.recv(_PART):
                return


def _names(host: str) -> set[str] | None:
    """The names under which a server at loopback may be asked; None: any, it is not there."""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    return {"localhost", "127.0.0.1", "[::1]", f"[{host}]", host} if loopback else None
