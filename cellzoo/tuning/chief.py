"""A search on several machines: the chief says what to try, its workers train."""

import logging
import math
import os
import socket
import time
from typing import TYPE_CHECKING, Any

from cellzoo.errors import UsageError, UserError

if TYPE_CHECKING:
    from cellzoo.tuning.search import Search

log = logging.getLogger("cellzoo")

_FIRST_ANSWER = 600.0  # seconds within which a chief must be there: it may start later


def client(oracle: Any, chief: str) -> Any:
    """The worker's end of an oracle that a chief serves.

    Args:
        oracle: with the same parameters as the chief's.
        chief: ``HOST:PORT``.

    Raises:
        UsageError: ``chief`` is written otherwise.
        UserError: nobody answers there.
    """
    host, _, port = chief.rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(f"--chief {chief}: write it as HOST:PORT, such as node1:9000.")
    from keras_tuner.src.distribute.oracle_client import OracleClient

    _wait_for(chief)
    os.environ.update(
        KERASTUNER_ORACLE_IP=host,
        KERASTUNER_ORACLE_PORT=port,
        KERASTUNER_TUNER_ID=socket.gethostname(),
    )
    return OracleClient(oracle)


def _wait_for(chief: str) -> None:
    """Waits until a chief answers; KerasTuner would do so for an hour, without a word.

    Raises:
        UserError: nobody answers.
    """
    import grpc  # 0.1 s, for searches on several machines alone

    channel, started = grpc.insecure_channel(chief), time.monotonic()
    ready, said = grpc.channel_ready_future(channel), False
    try:
        while True:
            try:
                return ready.result(timeout=1)
            except grpc.FutureTimeoutError:
                pass
            if time.monotonic() - started > _FIRST_ANSWER:
                raise UserError(
                    f"Nobody answers at {chief}: start the chief with `cellzoo tune RECIPE --serve "
                    "PORT`, or correct --chief."
                )
            if not said:
                log.info("Waiting for the chief at %s ...", chief)
                said = True
    finally:
        ready.cancel()
        channel.close()


def serve_search(search: "Search", port: int) -> None:
    """Is the chief: answers the workers until all trials have ended."""
    from concurrent.futures import ThreadPoolExecutor

    import grpc
    from keras_tuner.src import protos
    from keras_tuner.src.distribute.oracle_chief import OracleServicer

    oracle = search.oracle
    server = grpc.server(ThreadPoolExecutor(max_workers=1))
    servicer = OracleServicer(oracle)
    protos.get_service_grpc().add_OracleServicer_to_server(servicer, server)
    try:
        server.add_insecure_port(f"[::]:{port}")
    except RuntimeError:
        raise UserError(f"Port {port} is taken: choose another --serve.") from None
    server.start()
    log.info("Chief on port %d: start workers with --chief HOST:%d.", port, port)
    written, finished_at = 0, math.inf
    try:
        # Workers ask once more and are told that it is over, a dead one never.
        while oracle.tuner_ids and time.monotonic() - finished_at < 60 or finished_at == math.inf:
            time.sleep(0.5)
            if len(oracle.end_order) != written:
                written = len(oracle.end_order)
                search.write_results()
            nothing_left = servicer.stop_triggered and not oracle.ongoing_trials
            finished = written >= search.settings.trials or nothing_left
            if finished and finished_at == math.inf:
                finished_at = time.monotonic()
    finally:
        server.stop(grace=2).wait()
