"""Images through a counter, in batches of one size and type.

Three things happen at the same time: images are read, a batch is counted, and those before it are
looked at for flags. Of each there is little in memory, however many images come.
"""

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from cellzoo.counters.entries import Entry
from cellzoo.errors import UserError
from cellzoo.files import readable
from cellzoo.images import Notes

if TYPE_CHECKING:
    from cellzoo.counters.base import Counter

BATCH = 64
MAX_BATCH_BYTES = 64 * 2**20  # large images are counted fewer at a time
_FLAGGED_BYTES = 2**24  # larger images are looked at by themselves, for the sake of memory
# Batches that are looked at for flags at the same time, while the next is counted. On two cores,
# which network and reading need, too, a count is a few percent faster with one than with two.
_FLAGGED = int(np.clip((os.cpu_count() or 1) // 2, 1, 4))


class RefusedImages(UserError):
    """A counter will not count at least one image of a batch; the others may be sound."""


class CounterGone(UserError):
    """A counter will count no image any more, as its server does not answer, for instance."""


class CounterBarred(CounterGone):
    """A server is there and will not count for us: waiting does not help."""


def count_entries(
    counter: "Counter",
    entries: Iterable[Entry],
    *,
    domain: str = "natural",
    flags: bool = True,
    strict: bool = False,
    done: Callable[[Entry], None] | None = None,
    ready: Callable[[Entry], None] | None = None,
) -> list[Entry]:
    """Counts images that come one by one; their pixels are forgotten as soon as they are counted.

    Args:
        counter: what counts.
        entries: with ``frame``, or with ``error``; the next ones are read while others are counted.
        domain: see :meth:`cellzoo.counters.base.Counter.count`.
        flags: whether to look for images unlike the training images.
        strict: raise the first error instead of keeping it with its image.
        done: called with each image after it was counted, while its pixels are still there. Of a
            counter with a larger window it may be called from several threads.
        ready: called with each image in their order, counted or not, as soon as it and those before
            it are through, and forgotten then.

    Returns:
        All of the entries, in their order, each with its count or its error; none with ``ready``.

    Raises:
        UserError: an image cannot be counted and ``strict`` is set, or the counter is gone.
    """
    kept: deque[Entry] = deque()
    notes = Notes()

    def tell() -> None:
        while ready and kept and _is_through(kept[0]):
            try:
                ready(kept.popleft())
            except BaseException:  # such as a full disk: none after it may pass over it
                kept.clear()
                raise

    def prepared() -> Iterator[Entry]:
        for entry in entries:
            kept.append(entry)
            if entry.error is None:
                try:
                    counter.prepare(entry, notes)
                except CounterGone:
                    raise
                except RefusedImages as error:
                    entry.error = RefusedImages(f"{readable(entry.path)}: {error}")
                except UserError as error:
                    entry.error = error
                if done is None:  # only that looks at the frame again
                    entry.frame = None
            if entry.error is None:
                yield entry
            elif strict:
                raise entry.error

    def finish(batch: list[Entry]) -> None:
        counted = [entry for entry in batch if not entry.error]
        if flags and counted:
            for entry, flag in zip(counted, counter.flags(counted), strict=True):
                entry.flag = "; ".join(filter(None, [entry.remark, flag]))
        for entry in batch:
            if strict and entry.error:
                raise entry.error
            if done and not entry.error:
                done(entry)
            entry.forget_pixels()

    def count(batch: list[Entry]) -> Future | None:
        _count(batch, counter, domain)
        # What `done` does may not be fit for other threads, or need the network.
        alone = done or any(entry.prepared.nbytes > _FLAGGED_BYTES for entry in batch[:1])
        return finish(batch) if alone else flagging.submit(finish, batch)

    def wait(counted: Future) -> None:
        if flagged := counted.result():
            flagged.result()
        tell()

    under_way: deque[Future] = deque()
    with ThreadPoolExecutor(_FLAGGED) as flagging, ThreadPoolExecutor(counter.window) as counting:
        try:
            for batch in _batches(prepared()):
                # First: it is counted while the oldest one is still looked at.
                under_way.append(counting.submit(count, batch))
                if len(under_way) > counter.window + _FLAGGED:
                    wait(under_way.popleft())
                tell()
            for counted in under_way:
                wait(counted)
            tell()
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                counter.close()
            counting.shutdown(cancel_futures=True)
            flagging.shutdown()
            with contextlib.suppress(UserError):  # what ended it comes first
                tell()
            raise
    notes.say()
    return list(kept)


def _is_through(entry: Entry) -> bool:
    return entry.error is not None or (entry.prepared is None and not np.isnan(entry.raw))


def _batches(prepared: Iterator[Entry]) -> Iterator[list[Entry]]:
    """Images of one size and type together; the same batches whatever counts them."""
    waiting: dict[tuple, list[Entry]] = {}
    waiting_bytes = 0
    for item in prepared:
        kind = (item.prepared.shape, item.prepared.dtype)
        batch = waiting.setdefault(kind, [])
        batch.append(item)
        waiting_bytes += item.prepared.nbytes
        full = len(batch) >= min(BATCH, MAX_BATCH_BYTES // item.prepared.nbytes)
        if full or waiting_bytes > MAX_BATCH_BYTES:  # of many sizes none may ever be full
            batch = waiting.pop(kind if full else max(waiting, key=lambda k: len(waiting[k])))
            waiting_bytes -= sum(item.prepared.nbytes for item in batch)
            yield batch
    yield from waiting.values()


def _count(batch: list[Entry], counter: "Counter", domain: str) -> None:
    started = time.monotonic()
    images = [entry.prepared for entry in batch]
    try:
        columns = counter.count_prepared(
            np.stack(images) if len(images) > 1 else images[0][None], domain
        )
    except RefusedImages as error:
        if len(batch) > 1:
            half = len(batch) // 2
            _count(batch[:half], counter, domain)
            _count(batch[half:], counter, domain)
        else:
            batch[0].error = RefusedImages(f"{readable(batch[0].path)}: {error}")
        return
    seconds = (time.monotonic() - started) / len(batch)
    for entry, raw, low, high in zip(batch, *columns, strict=True):
        if not np.isfinite(raw):
            entry.error = UserError(
                f"{readable(entry.path)}: {counter.name} gives no finite count, train it anew."
            )
            continue
        entry.raw, entry.low, entry.high, entry.seconds = raw, low, high, seconds
        entry.flag = entry.remark
