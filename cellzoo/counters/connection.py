"""Where a model is served, and how its server is reached."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import grpc

from cellzoo.errors import UsageError, UserError

log = logging.getLogger(__name__)

MAX_REPLY = 64 * 2**20  # bytes; gRPC's own limit is 4 MiB

_ADDRESS = re.compile(
    r"(?P<server>(?:\[[0-9A-Fa-f:]+\]|[^\s/:\[\]]+):\d+)/(?P<name>[^\s/:]+)"
    r"(?:/(?P<version>\d{1,18})|:(?P<label>[^\s/:]+))?"
)


class Address(NamedTuple):
    """Where a model is served.

    Attributes:
        server: ``HOST:PORT``.
        name: of the model.
        version: its number, if one is asked for.
        label: of the version, if one is asked for.
    """

    server: str
    name: str
    version: int | None
    label: str | None


def parse_address(text: str) -> Address | None:
    """The parts of ``HOST:PORT/NAME``, ``.../NAME/VERSION`` or ``.../NAME:LABEL``.

    Returns:
        None if ``text`` is none of these.
    """
    match = _ADDRESS.fullmatch(text)
    if not match:
        return None
    version = int(match["version"]) if match["version"] else None
    return Address(match["server"], match["name"], version, match["label"])


@dataclass(frozen=True)
class Connection:
    """How to reach a server.

    Attributes:
        timeout: seconds within which a batch must be answered, all attempts together.
        tls: speak TLS, trusting the system's certificates or ``ca_cert``.
        ca_cert: file of the certificates to trust, PEM.
        client_cert: file of our own certificate, for servers that ask for one, PEM.
        client_key: file of its key, PEM.
        headers: ``key=value`` to send with each request; ``key=@file`` takes the value from a file.
    """

    timeout: float = 60.0
    tls: bool = False
    ca_cert: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    headers: Sequence[str] = ()

    def channel(self, server: str) -> grpc.Channel:
        """A channel to ``HOST:PORT``.

        Raises:
            UserError: a certificate file cannot be read.
            UsageError: a key without certificate, or the other way round.
        """
        options = [
            ("grpc.max_receive_message_length", MAX_REPLY),
            ("grpc.max_send_message_length", -1),
            # Our own attempts are the only ones: they end at the deadline.
            ("grpc.enable_retries", 0),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 2000),
        ]
        if not (self.tls or self.ca_cert or self.client_cert or self.client_key):
            self._warn_of_plaintext(server)
            return grpc.insecure_channel(server, options)
        if bool(self.client_cert) != bool(self.client_key):
            raise UsageError("--client-cert and --client-key go together: give both or neither.")
        files = (self.ca_cert, self.client_key, self.client_cert)
        credentials = grpc.ssl_channel_credentials(*map(_file, files))
        return grpc.secure_channel(server, credentials, options)

    def metadata(self) -> list[tuple[str, str]]:
        """The headers as gRPC takes them.

        Raises:
            UsageError: one is no ``key=value``. The sentence never holds the value.
            UserError: the file of a value cannot be read.
        """
        pairs = []
        for number, header in enumerate(self.headers, 1):
            key, equals, value = header.partition("=")
            key = key.lower()
            if not equals or not re.fullmatch(r"[a-z0-9_.-]+", key):
                which = "--header" if len(self.headers) == 1 else f"--header number {number}"
                raise UsageError(
                    f"{which} is no KEY=VALUE: write the header's name, = and its value or @FILE."
                )
            if value.startswith("@"):
                value = _file(Path(value[1:])).decode("utf-8", "replace")
            value = value.strip()  # a line break at the end of a token's file
            if not (value.isascii() and value.isprintable()):
                raise UsageError(f"--header {key}: its value is not of plain letters.")
            if key.endswith("-bin"):
                raise UsageError(f"--header {key}: gRPC takes bytes there, name another key.")
            pairs.append((key, value))
        return pairs

    def _warn_of_plaintext(self, server: str) -> None:
        host = server.rpartition(":")[0].strip("[]")
        if self.headers and host not in ("localhost", "::1") and not host.startswith("127."):
            names = ", ".join(key for key, _ in self.metadata())
            log.warning(
                "%s goes to %s as plain text, which others in the network can read: add --tls.",
                names, server,
            )  # fmt: skip


def _file(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): check the path.") from error
