"""The devices that a training runs on: one, several GPUs of a machine, or several machines.

From two devices on every step is shared out: each device has a copy of the network and takes its
rows of the batch, and all apply the mean of their gradients. ``train.batch`` is the batch of all
devices together, so a recipe means the same wherever it runs and its learning rate stays as it is;
whoever makes the batch larger because there are more devices has to raise the learning rate, too.
Batch norm takes its statistics over the whole batch. Only noise differs: dropout and latent noise
are drawn on each device.

Several machines are described by the environment variable ``TF_CONFIG``, as TensorFlow has it. The
first of them is the chief: it alone validates, decides and writes the run folder.
"""

import difflib
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np

from cellzoo.errors import UsageError, UserError

log = logging.getLogger("cellzoo")


class Devices:
    """Where a training runs.

    Args:
        strategy: a ``tf.distribute.Strategy``; None for one device, where Keras needs none and may
            compile with XLA, which it does not under a strategy.
        machine: which of the machines this is; 0 is the chief.
        machines: how many there are.
    """

    def __init__(self, strategy: Any = None, machine: int = 0, machines: int = 1):
        """Takes note; :func:`choose_devices` finds out."""
        self.strategy, self.machine, self.machines = strategy, machine, machines
        self.replicas: int = strategy.num_replicas_in_sync if strategy else 1

    @property
    def chief(self) -> bool:
        """Whether this machine decides and writes."""
        return self.machine == 0

    def scope(self) -> AbstractContextManager:
        """Where to build the network, the trainer and the optimiser."""
        return self.strategy.scope() if self.strategy else nullcontext()

    def check_batch(self, batch: int) -> None:
        """Sees to it that every device gets as many images.

        Raises:
            UsageError: ``batch`` cannot be shared evenly.
        """
        if batch % self.replicas:
            raise UsageError(
                f"train.batch is {batch}, which {self.replicas} devices cannot share evenly: make "
                f"it a multiple of {self.replicas} or set train.devices."
            )

    def synchronize(self, network: keras.Model) -> None:
        """Makes batch norm take its mean and variance over the batch of all devices."""
        if self.strategy:
            for layer in network._flatten_layers():
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.synchronized = True

    def rows(self, batch: int) -> list[slice]:
        """The rows of a batch that the devices of this machine take, one slice for each."""
        each, here = batch // self.replicas, self.replicas // self.machines
        first = self.machine * here
        return [slice(k * each, (k + 1) * each) for k in range(first, first + here)]

    def from_chief(self, content: bytes) -> bytes:
        """What the chief gave, on every machine; all must call this together."""
        if self.machines == 1:
            return content
        length = np.array([len(content) if self.chief else 0], np.int64)
        (size,) = self._bytes_of_chief(length.view(np.uint8)).view(length.dtype)
        if size == 0:  # to add up nothing at all crashes TensorFlow
            return b""
        padded = np.zeros(size + size % 2, np.uint8)
        if self.chief:
            padded[:size] = np.frombuffer(content, np.uint8)
        return self._bytes_of_chief(padded)[:size].tobytes()

    def chiefs_number(self, number: float) -> float:
        """The chief's number on every machine; all must call this together."""
        return float(self.from_chief(repr(float(number)).encode()).decode())

    def _bytes_of_chief(self, content: np.ndarray) -> np.ndarray:
        """Adds up an even number of bytes, which are 0 on all other machines."""
        # Two bytes as one whole number, which float32 holds exactly: every way of communication
        # can add floats.
        return self._sum_of_all(content.view(np.uint16)).astype(np.uint16).view(np.uint8)

    def _sum_of_all(self, numbers: np.ndarray) -> np.ndarray:
        totals = self._total(np.asarray(numbers, np.float32))
        return self.strategy.experimental_local_results(totals)[0].numpy()

    @cached_property
    def _total(self) -> Any:
        import tensorflow as tf

        # The first device of each machine speaks for it.
        first = self.machine * (self.replicas // self.machines)

        def of_one_device(numbers):
            context = tf.distribute.get_replica_context()
            speaks = tf.cast(context.replica_id_in_sync_group == first, tf.float32)
            return context.all_reduce(tf.distribute.ReduceOp.SUM, numbers * speaks)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def total(numbers):
            return self.strategy.run(of_one_device, args=(numbers,))

        return total

    @contextmanager
    def coming_back(self, folder: Path | None = None) -> Iterator[None]:
        """Starts this command again when another machine was lost, to go on with the run in folder.

        TensorFlow cannot take a machine back into a running process. The new start waits until all
        machines are there and goes on from the chief's last state.
        """
        if self.machines == 1:
            yield
            return
        import tensorflow as tf

        try:
            yield
        except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError):
            log.info("Another machine was lost: starting again, to go on when it is back.")
            sys.stdout.flush()
            sys.stderr.flush()
            os.execv(sys.executable, [sys.executable, *_to_go_on(sys.orig_argv[1:], folder)])


def _to_go_on(arguments: Sequence[str], folder: Path | None) -> list[str]:
    """Those of a `cellzoo fit` that goes on with the run that one with these arguments began."""
    if folder is None or "--fresh" not in arguments:
        return list(arguments)
    going_on = [argument for argument in arguments if argument != "--fresh"]
    if any(argument.partition("=")[0] == "--out" for argument in arguments):
        return going_on
    return [*going_on, "--out", str(folder)]


def choose_devices(wanted: str | int = "auto") -> Devices:
    """The devices that a recipe's ``train.devices`` asks for. To be called before they are used.

    Args:
        wanted: ``"auto"``, all GPUs or, where there is none, the processor; ``"cpu"``; or the
            number of GPUs (of logical processors where there is no GPU). With several machines, of
            each.

    Raises:
        UsageError: there are not as many, or ``TF_CONFIG`` does not describe machines.
    """
    machine, machines = _machines()
    if keras.backend.backend() != "tensorflow":
        if machines > 1 or wanted not in ("auto", "cpu", 1):
            raise UsageError(
                f"KERAS_BACKEND={keras.backend.backend()} trains on one device: set train.devices "
                "to auto and unset TF_CONFIG, or use TensorFlow."
            )
        return Devices()
    import tensorflow as tf

    kind = "GPU" if tf.config.list_physical_devices("GPU") and wanted != "cpu" else "CPU"
    if machines > 1:
        return _several_machines(wanted, kind, machine, machines)
    if wanted == "cpu":
        _use("GPU", 0)
    if wanted in ("cpu", 1) or (wanted == "auto" and kind == "CPU"):
        return Devices()
    names = [device.name for device in tf.config.list_logical_devices(kind)]
    wanted = len(names) if wanted == "auto" else wanted
    _check_number(wanted, len(names), kind)
    return Devices(tf.distribute.MirroredStrategy(names[:wanted])) if wanted > 1 else Devices()


def _several_machines(wanted: str | int, kind: str, machine: int, machines: int) -> Devices:
    import tensorflow as tf

    here = len(tf.config.list_physical_devices(kind))
    if isinstance(wanted, int):
        _check_number(wanted, here, kind)
    if kind == "GPU" and isinstance(wanted, int):
        _use("GPU", wanted)
    elif kind == "CPU":
        _use("GPU", 0)
    log.info("Machine %d of %d: waiting for the others.", machine + 1, machines)
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise UserError(
            f"The {machines} machines of TF_CONFIG did not meet: {_first_line(error)}; start "
            "the same command on each, with hosts and ports that the others reach."
        ) from None
    if strategy.num_replicas_in_sync % machines:
        raise UsageError(
            f"{machines} machines have {strategy.num_replicas_in_sync} devices, not as many each: "
            "set train.devices to what the smallest has."
        )
    return Devices(strategy, machine, machines)


def _use(kind: str, number: int) -> None:
    import tensorflow as tf

    try:
        tf.config.set_visible_devices(tf.config.list_physical_devices(kind)[:number], kind)
    except RuntimeError:
        # TensorFlow has begun already, which only happens inside another program.
        log.warning("TensorFlow is running already: train.devices cannot choose any more.")


def _check_number(wanted: int, there: int, kind: str) -> None:
    if wanted > there:
        name = "GPU" if kind == "GPU" else "processor device, and no GPU"
        raise UsageError(
            f"train.devices is {wanted}, but TensorFlow sees {there} {name}"
            f"{'s' if there > 1 and kind == 'GPU' else ''} here: set train.devices to auto."
        )


def _machines() -> tuple[int, int]:
    """Which machine this is, from 0, and how many there are, from ``TF_CONFIG``."""
    text = os.environ.get("TF_CONFIG")
    if not text:
        return 0, 1
    try:
        config = json.loads(text)
        cluster, task = config.get("cluster") or {}, config.get("task") or {}
        machines = [*cluster.get("chief", []), *cluster.get("worker", [])]
        kind, index = task.get("type", "worker"), int(task.get("index", 0))
    except (ValueError, TypeError, AttributeError):
        raise UsageError(
            "TF_CONFIG is not JSON such as "
            '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, '
            '"task": {"type": "worker", "index": 0}}: correct or unset it.'
        ) from None
    if not machines:
        return 0, 1
    others = sorted(set(cluster) - {"chief", "worker"})
    if others or kind not in cluster:
        known = difflib.get_close_matches(str(kind), ["chief", "worker"], n=1) or ["worker"]
        raise UsageError(
            f"TF_CONFIG has the kind of task {(others or [kind])[0]}: cellzoo trains with a chief "
            f"and workers only; write {known[0]}."
        )
    if not 0 <= index < len(cluster[kind]):
        raise UsageError(
            f"TF_CONFIG says that this is {kind} {index}, but its cluster has "
            f"{len(cluster[kind])}: count from 0."
        )
    return index + (len(cluster.get("chief", [])) if kind == "worker" else 0), len(machines)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(". ")
