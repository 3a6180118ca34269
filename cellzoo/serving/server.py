"""The embedded server: TensorFlow Serving's gRPC and REST for a computer without it."""

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from cellzoo.errors import UserError
from cellzoo.protocol import messages
from cellzoo.serving import metrics
from cellzoo.serving.batching import Batcher
from cellzoo.serving.errors import ServingError
from cellzoo.serving.memory import Memory
from cellzoo.serving.metrics import Metrics
from cellzoo.serving.requests import Protocol
from cellzoo.serving.rest import RestServer
from cellzoo.serving.servable import Servable
from cellzoo.serving.versions import Models

log = logging.getLogger(__name__)

SERVICES = ("", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")
# Predictions under way at the same time, each with a thread; further ones are refused, so that
# spare threads can answer probes: a busy server is not to be taken for a dead one.
THREADS, SPARE_THREADS = 512, 32
MAX_MESSAGE = 256 * 2**20  # bytes
MAX_HELD = 2**30  # bytes of all requests under way
# A message that is parsed holds its bytes a second time, and once more while they are read.
_COPIES = 2


@dataclass(frozen=True)
class Settings:
    """How the embedded server listens and computes.

    Attributes:
        host: interface to listen at; loopback unless told otherwise.
        grpc_port: 0: any free one.
        rest_port: 0: any free one; None: no REST.
        poll_seconds: between two looks at the models' folders.
        drain_seconds: that requests under way get when the server is stopped.
        max_batch: images in a batch; see :class:`Batcher` for this and the next ones.
        batch_wait: seconds.
        max_waiting: batches.
        batch_threads: number of them.
        threads: predictions under way at the same time, of each protocol.
        max_bytes: of all requests under way.
        metrics_path: of Prometheus' page on the REST port; None: none.
        credentials: of gRPC's transport security; None: none.
        trust: load SavedModels whatever operations they hold.
        allow_reload: let a reload name folders that the configuration did not name before.
    """

    host: str = "127.0.0.1"
    grpc_port: int = 8500
    rest_port: int | None = 8501
    poll_seconds: float = 1.0
    drain_seconds: float = 30.0
    max_batch: int = 64
    batch_wait: float = 0.0
    max_waiting: int = 100
    batch_threads: int = 2
    threads: int = THREADS
    max_bytes: int = MAX_HELD
    metrics_path: str | None = metrics.PATH
    credentials: grpc.ServerCredentials | None = None
    trust: bool = False
    allow_reload: bool = False


class Server:
    """Serves models until it is stopped.

    Attributes:
        models: what is served.
        grpc_port: that it listens at.
        rest_port: that it listens at; None without REST.
    """

    def __init__(self, configs: Callable[[], Iterable[Any]], settings: Settings):
        """Loads the models and starts to listen.

        Args:
            configs: gives the ``ModelConfig`` messages.
            settings: see there.

        Raises:
            UserError: a port is taken.
        """
        self._settings = settings
        load = partial(Servable, trust=settings.trust)
        self.models = Models(configs, load, settings.allow_reload)
        self._batcher = Batcher(
            settings.max_batch, settings.batch_wait, settings.max_waiting, settings.batch_threads
        )
        self._metrics = Metrics()
        self._memory = Memory(settings.max_bytes)
        self._protocol = Protocol(self.models, self._batcher, self._memory)
        self._stopping = threading.Event()
        self._places = threading.Semaphore(settings.threads)
        self.rest_port = None
        self._rest = None
        self._health = health.HealthServicer()
        self._grpc, self.grpc_port = self._listen()
        if settings.rest_port is not None:
            self._rest = self._listen_rest()
            self.rest_port = self._rest.server_address[1]
        self.models.poll()
        self._grpc.start()
        if self._rest:
            threading.Thread(target=self._rest.serve_forever, name="rest", daemon=True).start()
        self._report_health()
        self._poller = threading.Thread(target=self._poll, name="poll", daemon=True)
        self._poller.start()

    def stop(self) -> None:
        """Takes no more requests, answers those under way and ends."""
        self._stopping.set()
        self._health.enter_graceful_shutdown()
        done = self._grpc.stop(self._settings.drain_seconds)
        if self._rest:
            self._rest.drain(self._settings.drain_seconds)
        done.wait()
        self._batcher.close()
        self._poller.join(self._settings.drain_seconds)  # which may be loading a model

    def _listen(self) -> tuple[grpc.Server, int]:
        options = [
            ("grpc.max_receive_message_length", MAX_MESSAGE),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # a second server at the port is a mistake
        ]
        server = grpc.server(
            futures.ThreadPoolExecutor(self._settings.threads + SPARE_THREADS),
            options=options,
            maximum_concurrent_rpcs=self._settings.threads + SPARE_THREADS,
        )
        server.add_generic_rpc_handlers(self._handlers())
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        address = f"{bracketed(self._settings.host)}:{self._settings.grpc_port}"
        try:
            if self._settings.credentials:
                return server, server.add_secure_port(address, self._settings.credentials)
            return server, server.add_insecure_port(address)
        except RuntimeError as error:
            raise UserError(
                f"Cannot listen at {address}: choose another --grpc-port or --host."
            ) from error

    def _listen_rest(self) -> RestServer:
        settings = self._settings
        try:
            return RestServer(
                settings.host, settings.rest_port, self._protocol, self._metrics,
                settings.metrics_path, settings.threads,
            )  # fmt: skip
        except OSError as error:
            self._grpc.stop(None)
            raise UserError(
                f"Cannot listen at {settings.host}:{settings.rest_port} ({error.strerror}): "
                "choose another --rest-port or --host."
            ) from error

    def _handlers(self) -> list[grpc.GenericRpcHandler]:
        calls = {
            "PredictionService": {
                "Predict": (messages.PredictRequest, self._protocol.predict, "predict"),
                "GetModelMetadata": (
                    messages.GetModelMetadataRequest, self._protocol.get_model_metadata, None,
                ),
            },
            "ModelService": {
                "GetModelStatus": (
                    messages.GetModelStatusRequest, self._protocol.get_model_status, None,
                ),
                "HandleReloadConfigRequest": (
                    messages.ReloadConfigRequest, self._protocol.handle_reload_config, None,
                ),
            },
        }  # fmt: skip
        return [
            grpc.method_handlers_generic_handler(
                f"tensorflow.serving.{service}",
                {
                    name: grpc.unary_unary_rpc_method_handler(self._handler(*call))
                    for name, call in methods.items()
                },
            )
            for service, methods in calls.items()
        ]

    def _handler(
        self, kind: Any, method: Callable[..., Any], counted_as: str | None
    ) -> Callable[[bytes, grpc.ServicerContext], bytes]:
        """A gRPC handler of bytes: what cannot be parsed is the client's error, not ours."""

        def handle(request_bytes: bytes, context: grpc.ServicerContext) -> bytes:
            started, code, name = time.monotonic(), "OK", None
            try:
                if not counted_as:
                    return method(_parsed(kind, request_bytes)).SerializeToString()
                with self._place(), self._memory.hold(_COPIES * len(request_bytes)):
                    request = _parsed(kind, request_bytes)
                    name = request.model_spec.name
                    return method(request, context.is_active).SerializeToString()
            except ServingError as error:
                code = error.code
                context.set_code(grpc.StatusCode[code])
                context.set_details(error.message)
            except Exception as error:
                code = "INTERNAL"
                log.exception("a request failed")
                context.set_code(grpc.StatusCode.INTERNAL)
                context.set_details(f"{type(error).__name__}: {error}")
            finally:
                if name in self.models.names:
                    seconds = time.monotonic() - started
                    self._metrics.observe(name, counted_as, "GRPC", code, seconds)
            return b""

        return handle

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise ServingError("UNAVAILABLE", "too many requests are under way")
        try:
            yield
        finally:
            self._places.release()

    def _poll(self) -> None:
        while not self._stopping.wait(self._settings.poll_seconds):
            try:
                self.models.poll()
                self._report_health()
                self._memory.give_back()
            except Exception:  # a folder that is being rewritten must not end the polling
                log.exception("looking for models failed")

    def _report_health(self) -> None:
        serving = health_pb2.HealthCheckResponse.SERVING
        status = serving if self.models.names else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in SERVICES:
            self._health.set(service, status)


def run_until_stopped(server: Server) -> None:
    """Waits for SIGTERM or Ctrl-C, then lets the server finish what is under way."""
    stop = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        while not stop.wait(1):  # wakes up, so that a signal is seen on every system
            pass
        log.info("stopping when the requests under way are answered")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        server.stop()


def _parsed(kind: Any, content: bytes) -> Any:
    try:
        return kind.FromString(content)
    except Exception as error:  # protobuf's DecodeError, or text that is no UTF-8
        raise ServingError(
            "INVALID_ARGUMENT", f"The request is no {kind.DESCRIPTOR.name}"
        ) from error


def bracketed(host: str) -> str:
    """A host as it stands before a port: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host
