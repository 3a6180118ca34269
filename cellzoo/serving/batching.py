"""Requests that come together are computed together."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import numpy as np

from cellzoo.serving.errors import ServingError

Arrays = dict[str, np.ndarray]
# 64 images of 256 x 256 px in float32: what a network makes of larger batches fills the memory.
MAX_BATCH_BYTES = 2**24


@dataclass(eq=False)
class _Task:
    inputs: Arrays
    size: int
    wanted: Callable[[], bool]
    done: threading.Event = field(default_factory=threading.Event)
    outputs: Arrays | None = None
    error: Exception | None = None

    @property
    def bytes(self) -> int:
        """Of the inputs."""
        return sum(array.nbytes for array in self.inputs.values())


@dataclass(eq=False)
class _Batch:
    run: Callable[[Arrays], Arrays]
    tasks: list[_Task]
    opened: float
    size: int
    bytes: int


class Batcher:
    """Merges concurrent requests along their first axis and computes a batch at a time.

    While one batch is computed the next fills, so a lone request never waits for company unless
    ``wait`` says so. A request that fills a batch is computed exactly as it came. Merging changes
    the last bits of a result at most, and on the processors tried only those of lone images:
    matrix-vector products round differently from matrix products.

    Args:
        max_batch: images in a batch; a larger request is refused.
        wait: seconds that a batch waits for more requests.
        max_waiting: batches that may wait; beyond them requests are refused.
        threads: batches computed at the same time.
        max_bytes: of a batch's inputs; a request of more is computed alone.
    """

    def __init__(
        self,
        max_batch: int = 64,
        wait: float = 0.0,
        max_waiting: int = 100,
        threads: int = 2,
        max_bytes: int = MAX_BATCH_BYTES,
    ):
        """See the class."""
        self.max_batch, self.wait, self.max_waiting = max_batch, wait, max_waiting
        self.max_bytes = max_bytes
        self._waiting: OrderedDict[int, tuple[Hashable, _Batch]] = OrderedDict()
        self._open: dict[Hashable, int] = {}  # the batch of a key that still takes requests
        self._number = 0
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"batch-{k}", daemon=True)
            for k in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self,
        key: Hashable,
        run: Callable[[Arrays], Arrays],
        inputs: Arrays,
        wanted: Callable[[], bool] = lambda: True,
    ) -> Arrays:
        """Computes a request, perhaps together with others of the same key.

        Args:
            key: requests of equal keys, and of equal types and shapes but for the first axis, may
                be merged.
            run: computes a batch.
            inputs: of the request.
            wanted: whether anybody still waits for the answer.

        Returns:
            The request's own share of the outputs.

        Raises:
            ServingError: the request is larger than a batch (INVALID_ARGUMENT), too many wait
                already or the server stops (UNAVAILABLE), or ``run`` raised it.
        """
        sizes = {array.shape[0] if array.ndim else None for array in inputs.values()}
        size = sizes.pop() if len(sizes) == 1 else None
        if size is not None and size > self.max_batch:
            raise ServingError(
                "INVALID_ARGUMENT",
                f"Task size {size} is larger than maximum input batch size {self.max_batch}",
            )
        shapes = tuple((n, a.dtype.str, a.shape[1:]) for n, a in sorted(inputs.items()))
        # What has no common first axis is computed alone.
        key = (key, shapes) if size else object()
        task = _Task(inputs, size or 1, wanted)
        with self._changed:
            self._enqueue(key, run, task)
            self._changed.notify()
        task.done.wait()
        if task.error:
            raise task.error
        return task.outputs

    def close(self) -> None:
        """Computes what waits and refuses what comes."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _enqueue(self, key: Hashable, run: Callable[[Arrays], Arrays], task: _Task) -> None:
        if self._closed:
            raise ServingError("UNAVAILABLE", "The server is shutting down.")
        number = self._open.get(key)
        if number is not None:
            batch = self._waiting[number][1]
            together = batch.size + task.size, batch.bytes + task.bytes
            if together[0] <= self.max_batch and together[1] <= self.max_bytes:
                batch.tasks.append(task)
                batch.size, batch.bytes = together
                return
        if len(self._waiting) >= self.max_waiting:
            raise ServingError(
                "UNAVAILABLE",
                "The batch scheduling queue to which this task was submitted is full; "
                f"currently {len(self._waiting)} batches enqueued and max_enqueued_batches is "
                f"{self.max_waiting}",
            )
        self._number += 1
        batch = _Batch(run, [task], time.monotonic(), task.size, task.bytes)
        self._waiting[self._number] = (key, batch)
        self._open[key] = self._number

    def _work(self) -> None:
        while True:
            batch = self._next()
            if batch is None:
                return
            tasks = []
            for task in batch.tasks:
                if task.wanted():
                    tasks.append(task)
                else:
                    task.error = ServingError("CANCELLED", "Nobody waits for the answer.")
                    task.done.set()
            if tasks:
                _compute(batch.run, tasks)

    def _next(self) -> _Batch | None:
        """The oldest batch that is due; None when there will be no more."""
        with self._changed:
            while True:
                now = time.monotonic()
                due = None
                for number, (key, batch) in self._waiting.items():
                    full = batch.size >= self.max_batch or batch.bytes >= self.max_bytes
                    full = full or self._open.get(key) != number  # the next one has begun
                    if full or self._closed or now - batch.opened >= self.wait:
                        due = number
                        break
                if due is not None:
                    key, batch = self._waiting.pop(due)
                    if self._open.get(key) == due:
                        del self._open[key]
                    return batch
                if self._closed:
                    return None
                first = next(iter(self._waiting.values()), None)
                self._changed.wait(first and max(first[1].opened + self.wait - now, 0.0005))


def _compute(run: Callable[[Arrays], Arrays], tasks: list[_Task]) -> None:
    """Computes tasks together, or one by one where that fails: one bad image harms no other."""
    try:
        for task, outputs in zip(tasks, _together(run, tasks), strict=True):
            task.outputs = outputs
    except Exception as error:
        if len(tasks) > 1:
            for task in tasks:
                _compute(run, [task])
            return
        tasks[0].error = error
    for task in tasks:
        task.done.set()


def _together(run: Callable[[Arrays], Arrays], tasks: list[_Task]) -> list[Arrays]:
    if len(tasks) == 1:
        return [run(tasks[0].inputs)]
    merged = {
        name: np.concatenate([task.inputs[name] for task in tasks]) for name in tasks[0].inputs
    }
    outputs = run(merged)
    total = sum(task.size for task in tasks)
    if any(not array.ndim or array.shape[0] != total for array in outputs.values()):
        raise ValueError("an output does not follow the batch")  # computed one by one instead
    ends = np.cumsum([task.size for task in tasks])[:-1]
    shares = {name: np.split(array, ends) for name, array in outputs.items()}
    return [{name: parts[k] for name, parts in shares.items()} for k in range(len(tasks))]
