"""``cellzoo count``: image files to ``counts.csv``, one row per frame."""

import contextlib
import itertools
import re
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

import numpy as np

from cellzoo.commands.pictures import SegmentationPictures
from cellzoo.counters.base import Counter, RefusedImages
from cellzoo.errors import UsageError, UserError
from cellzoo.files import check_new_file, csv_text, readable, write_new
from cellzoo.images import Frame, find_images, read_frames
from cellzoo.scores.counts import round_count

BATCH = 64
MAX_BATCH_BYTES = 64 * 2**20  # large images are counted fewer at a time


@dataclass
class CountRow:
    """A row of ``counts.csv``.

    Attributes:
        image: path as it was given.
        frame: number in the file, from 0.
        count: whole cells; empty with an ``error``.
        count_raw: count before rounding.
        count_low: lower end of the 95 % interval; empty where none can be promised.
        count_high: its upper end.
        model: the model's name.
        version: its version or run folder.
        seconds: time that counting took, an equal share of its batch's.
        error: why there is no count.
        flag: why the image is unlike the training images; empty where nothing is noticed.
    """

    image: str
    frame: int | str
    count: int | str = ""
    count_raw: float | str = ""
    count_low: float | str = ""
    count_high: float | str = ""
    model: str = ""
    version: str = ""
    seconds: float | str = ""
    error: str = ""
    flag: str = ""


def count_files(
    paths: Sequence[Path],
    counter: Counter,
    out: Path,
    *,
    axes: str | None = None,
    channel: int | None = None,
    overlay: Path | None = None,
    masks: Path | None = None,
) -> list[CountRow]:
    """Counts every frame of files and folders into a CSV.

    A file that cannot be read gets a row with ``error`` and the rest go on.

    Args:
        paths: image files and folders of them.
        counter: what counts.
        out: CSV to write; it appears when it is complete.
        axes: of TIFF stacks that do not say, such as ``TYX``; None: as in training.
        channel: to read from files with several; None: as in training.
        overlay: new folder for a picture of each frame, with its cells outlined and its count.
        masks: new folder for each frame's mask and, where the model has one, probability, TIFF.
            Both appear when they are complete.

    Returns:
        The rows that were written.

    Raises:
        UserError: ``out`` or a folder for pictures exists, there is no image, or pictures are
            wanted of a model that does not segment. Where ``out`` came to be meanwhile the rows are
            in a file beside it, and the sentence says in which.
        UsageError: ``axes`` is written wrongly.
    """
    check_new_file(out)
    files = find_images(paths)
    pictures = None
    if overlay or masks:
        pictures = SegmentationPictures(counter, overlay, masks, files)
    rows = []
    axes = counter.axes if axes is None else axes
    channel = counter.channel if channel is None else channel

    def prepared() -> Iterator[_Prepared]:
        for item in _prepared(files, counter, axes, channel):
            rows.append(item.row)
            if item.image is not None:
                # Frames take memory, and only pictures need them again.
                yield item if pictures else replace(item, frame=None)

    window = getattr(counter, "window", 1)
    under_way: deque[Future] = deque()
    with ThreadPoolExecutor(window) as pool:  # reads the next files while it counts
        try:
            for batch in _batches(prepared()):
                if len(under_way) == window:
                    under_way.popleft().result()
                under_way.append(pool.submit(_count, batch, counter, pictures))
            for future in under_way:
                future.result()
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and hasattr(counter, "close"):
                counter.close()
            pool.shutdown(cancel_futures=True)
            if pictures:
                pictures.discard()
            raise
    try:
        _write(rows, out)
    finally:
        if pictures:
            pictures.keep()
    return rows


def summary(rows: Sequence[CountRow], out: Path) -> str:
    """How many frames were counted, and where the counts are, in a line."""
    failed = sum(bool(row.error) for row in rows)
    return f"counted {len(rows) - failed} frames, {failed} failed: {out}"


@dataclass(frozen=True)
class _Prepared:
    """A frame, as it was read and as the counter takes it, and its row; None if it cannot be."""

    row: CountRow
    image: np.ndarray | None = None
    frame: Frame | None = None


def _batches(prepared: Iterator[_Prepared]) -> Iterator[list[_Prepared]]:
    """Images of one size and type together; the same batches whatever counts them."""
    waiting: dict[tuple, list[_Prepared]] = {}
    waiting_bytes = 0
    for item in prepared:
        kind = (item.image.shape, item.image.dtype)
        batch = waiting.setdefault(kind, [])
        batch.append(item)
        waiting_bytes += item.image.nbytes
        full = len(batch) >= min(BATCH, MAX_BATCH_BYTES // item.image.nbytes)
        if full or waiting_bytes > MAX_BATCH_BYTES:  # of many sizes none may ever be full
            batch = waiting.pop(kind if full else max(waiting, key=lambda k: len(waiting[k])))
            waiting_bytes -= sum(item.image.nbytes for item in batch)
            yield batch
    yield from waiting.values()


def _prepared(
    files: Sequence[Path], counter: Counter, axes: str | None, channel: int | None
) -> Iterator[_Prepared]:
    for file in files:
        index = 0
        try:
            for frame in read_frames(file, axes=axes, channel=channel):
                yield _prepare(frame, counter)
                index = frame.index + 1
        except UsageError as error:  # wrong for every file alike
            raise UsageError(_with_options(str(error))) from None
        except UserError as error:
            yield _Prepared(_row(file, index, counter, _with_options(str(error))))


def _with_options(message: str) -> str:
    """An error about a recipe's reading keys, naming the options of ``count`` instead."""
    for option in ("axes", "channel"):
        message = message.replace(f"data.natural.{option}: ", f"--{option} ")
        message = message.replace(f"data.natural.{option}", f"--{option}")
    return re.sub("set data.natural.intensity to .*", "scale them so, or save 16 bit", message)


def _prepare(frame: Frame, counter: Counter) -> _Prepared:
    try:
        return _Prepared(_row(frame.path, frame.index, counter), counter.prepare(frame), frame)
    except UserError as error:
        return _Prepared(_row(frame.path, frame.index, counter, _with_options(str(error))))


def _row(file: Path, frame: int, counter: Counter, error: str = "") -> CountRow:
    return CountRow(readable(file), frame, model=counter.name, version=counter.version, error=error)


def _count(
    batch: list[_Prepared], counter: Counter, pictures: SegmentationPictures | None
) -> None:
    started = time.monotonic()
    images = [item.image for item in batch]
    try:
        counts = counter.count(np.stack(images) if len(images) > 1 else images[0][None])
    except RefusedImages as error:
        if len(batch) > 1:
            half = len(batch) // 2
            _count(batch[:half], counter, pictures)
            _count(batch[half:], counter, pictures)
        else:
            row = batch[0].row
            row.error = f"{row.image}: {error}"
        return
    seconds = (time.monotonic() - started) / len(batch)
    for item in batch:
        (item.row.flag,) = counter.flags(item.image[None])
    for k, row in enumerate(item.row for item in batch):
        if not np.isfinite(counts.raw[k]):
            row.error = f"{row.image}: {row.model} gives no finite count, train it anew."
            continue
        row.count = int(round_count(counts.raw[k]))
        row.count_raw = f"{counts.raw[k]:.3f}"
        row.count_low = "" if np.isnan(counts.low[k]) else f"{counts.low[k]:.3f}"
        row.count_high = "" if np.isnan(counts.high[k]) else f"{counts.high[k]:.3f}"
        row.seconds = f"{seconds:.5f}"
    for item in batch if pictures else ():
        pictures.write(item.frame, item.image, item.row.count)


def _write(rows: Sequence[CountRow], out: Path) -> None:
    text = csv_text([field.name for field in fields(CountRow)], map(astuple, rows))
    for number in itertools.count(1):
        file = out.with_stem(f"{out.stem}-{number}") if number > 1 else out
        with contextlib.suppress(FileExistsError):
            write_new(file, text)
            break
    if file != out:  # another count was faster
        raise UserError(f"{out} came to be while this counted: the counts are in {file}.")
