"""Where a model is served, and how its server is reached."""

import logging
import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import grpc

from cellzoo.errors import UsageError, UserError

log = logging.getLogger(__name__)

MAX_REPLY = 64 * 2**20  # bytes; gRPC's own limit is 4 MiB

_SERVER = r"(?:\[[0-9A-Fa-f:]+\]|[^\s,/:\[\]]+):\d{1,5}"
_ADDRESS = re.compile(
    rf"(?P<server>{_SERVER}(?:,{_SERVER})*)/(?P<name>[^\s/:]+)"
    r"(?:/(?P<version>\d{1,18})|:(?P<label>[^\s/:]+))?"
)


class Address(NamedTuple):
    """Where a model is served.

    Attributes:
        server: ``HOST:PORT``, of several replicas with commas between.
        name: of the model.
        version: its number, if one is asked for.
        label: of the version, if one is asked for.
    """

    server: str
    name: str
    version: int | None
    label: str | None


def parse_address(text: str) -> Address | None:
    """The parts of ``HOST:PORT[,HOST:PORT...]/NAME``, ``.../NAME/VERSION`` or ``.../NAME:LABEL``.

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
        """A channel that spreads its calls over the replicas of a server.

        gRPC does so itself, one after the other, and leaves out those that are away. It asks for
        the addresses of a lone name again when one of them is lost.

        Args:
            server: ``HOST:PORT``, which may be a name of several addresses, or a list of these with
                commas between.

        Raises:
            UserError: a certificate file cannot be read, or a host of a list has no address.
            UsageError: a key without certificate, or the other way round; or TLS to a list of
                several hosts, of which gRPC would check one name alone.
        """
        listed = server.split(",")
        hosts = {_host_and_port(one)[0] for one in listed}
        if not self._secure:
            self._warn_of_plaintext(hosts)
        if len(listed) == 1:
            return self._channel(server, server)
        if self._secure and len(hosts) > 1:
            raise UsageError(
                f"{server}: TLS needs one name for all replicas: give one HOST:PORT whose name has "
                "the addresses of all."
            )
        return self._channel(_target(replicas(server)), listed[0])

    def channel_to(self, replica: "Replica") -> grpc.Channel:
        """A channel to one of :func:`replicas` alone."""
        return self._channel(_target([replica]), replica.server)

    @property
    def _secure(self) -> bool:
        return bool(self.tls or self.ca_cert or self.client_cert or self.client_key)

    def _channel(self, target: str, server: str) -> grpc.Channel:
        """A channel to a target of gRPC that is called ``HOST:PORT``."""
        third = max(1000, round(self.timeout * 1000 / 3))
        options = [
            ("grpc.max_receive_message_length", MAX_REPLY),
            ("grpc.max_send_message_length", -1),
            # Our own attempts are the only ones: they end at the deadline.
            ("grpc.enable_retries", 0),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 2000),
            ("grpc.lb_policy_name", "round_robin"),
            ("grpc.dns_min_time_between_resolutions_ms", 5000),
            # A machine that lost its power closes no connection: half of the time is left for the
            # others then. More pings than these within one answer would be taken for an attack.
            ("grpc.keepalive_time_ms", third),
            ("grpc.keepalive_timeout_ms", third // 2),
            ("grpc.http2.ping_timeout_ms", third // 2),
        ]
        if target != server:
            options.append(("grpc.default_authority", server))
        if not self._secure:
            return grpc.insecure_channel(target, options)
        if bool(self.client_cert) != bool(self.client_key):
            raise UsageError("--client-cert and --client-key go together: give both or neither.")
        files = (self.ca_cert, self.client_key, self.client_cert)
        credentials = grpc.ssl_channel_credentials(*map(_file, files))
        return grpc.secure_channel(target, credentials, options)

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

    def _warn_of_plaintext(self, hosts: Iterable[str]) -> None:
        far = [h for h in hosts if h not in ("localhost", "::1") and not h.startswith("127.")]
        if self.headers and far:
            names = ", ".join(key for key, _ in self.metadata())
            log.warning(
                "%s goes to %s as plain text, which others in the network can read: add --tls.",
                names, ", ".join(sorted(far)),
            )  # fmt: skip


class Replica(NamedTuple):
    """One of several that serve the same.

    Attributes:
        server: the ``HOST:PORT`` that it was named by.
        ip: its address.
        port: its port.
    """

    server: str
    ip: str
    port: int


def replicas(server: str) -> list[Replica]:
    """The addresses behind a server's name or names, each once: of IPv6 where a name has no other.

    Args:
        server: ``HOST:PORT``, of several with commas between.

    Returns:
        None of a lone name that has no address here: a proxy may know one.

    Raises:
        UserError: a name in a list has no address.
    """
    found = {}
    for one in server.split(","):
        host, port = _host_and_port(one)
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError, OverflowError) as error:
            if one == server:
                return []
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"No address is known of {host} ({reason}): check the name.") from None
        ips = [ip for *_, (ip, *_) in infos]
        for ip in [ip for ip in ips if ":" not in ip] or ips:
            found.setdefault((ip, port), Replica(one, ip, port))
    return list(found.values())


def _target(found: Sequence[Replica]) -> str:
    """What gRPC calls a list of addresses, all of which must be of one kind."""
    if all(":" not in replica.ip for replica in found):
        return "ipv4:" + ",".join(f"{replica.ip}:{replica.port}" for replica in found)
    mapped = (r.ip if ":" in r.ip else f"::ffff:{r.ip}" for r in found)
    return "ipv6:" + ",".join(f"[{ip}]:{r.port}" for ip, r in zip(mapped, found, strict=True))


def _host_and_port(server: str) -> tuple[str, int]:
    host, _, port = server.rpartition(":")
    return host.strip("[]"), int(port)


def _file(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): check the path.") from error
