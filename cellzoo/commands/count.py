"""``cellzoo count``: image files to ``counts.csv``, one row per frame."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from cellzoo.commands.pictures import SegmentationPictures
from cellzoo.counters.base import Counter
from cellzoo.counters.entries import Entry, file_entries, with_options
from cellzoo.counters.load import load_counter
from cellzoo.counters.stream import count_entries
from cellzoo.errors import UsageError
from cellzoo.files import NewCsv, csv_safe, path_text, readable
from cellzoo.images import numbered, parse_interval, search_images
from cellzoo.scores.counts import round_count


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
        flag: every reason why the image is unlike the training images, the gravest first; empty
            where nothing is noticed.
        series: the file, acquisition or numbered files that the frame belongs to, and its position;
            empty for a picture of its own.
        time: hours since the start of the series; empty where it is not known.
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
    series: str = ""
    time: float | str = ""


def count_files(
    paths: str | os.PathLike | Sequence[str | os.PathLike],
    model: Counter | str | os.PathLike,
    out: str | os.PathLike | None = None,
    *,
    overlay: str | os.PathLike | None = None,
    masks: str | os.PathLike | None = None,
    interval: str | None = None,
    **reading: Any,
) -> list[CountRow]:
    """Counts every frame of files and folders, into a CSV if one is wanted.

    A file that cannot be read gets a row with ``error`` and the rest go on.

    Args:
        paths: image files and folders of them.
        model: what counts, or its name, see :func:`cellzoo.counters.load.load_counter`.
        out: CSV to write; it appears when it is complete. What was counted before an interruption
            is in a file beside it, whose name is said. None: none.
        overlay: new folder for a picture of each frame, with its cells outlined and its count.
        masks: new folder for each frame's mask and, where the model has one, probability, TIFF.
            Both appear when they are complete.
        interval: time from one frame of a series to the next, such as ``"20min"``, whatever the
            files say; None: as they say.
        reading: what to take of files, see :meth:`cellzoo.counters.base.Counter.count`.

    Returns:
        The rows, as they are written.

    Raises:
        UserError: ``out`` or a folder for pictures exists, there is no image, or pictures are
            wanted of a model that does not segment. Where ``out`` came to be meanwhile the rows are
            in a file beside it, and the sentence says in which.
        UsageError: what to take of files is written wrongly.
    """
    if not isinstance(paths, list | tuple):
        paths = [paths]
    paths = [path_text(path, "paths") for path in paths]
    header = [field.name for field in fields(CountRow)]
    table = None if out is None else NewCsv(Path(out), header)
    try:
        seconds = None if interval is None else parse_interval(interval)
        rows = _count_files(paths, model, table, overlay, masks, seconds, reading)
    except BaseException:
        if table:
            table.abandon()
        raise
    return rows


def _count_files(
    paths: Sequence[str | os.PathLike],
    model: Counter | str | os.PathLike,
    table: NewCsv | None,
    overlay: str | os.PathLike | None,
    masks: str | os.PathLike | None,
    interval_s: float | None,
    reading: dict[str, Any],
) -> list[CountRow]:
    rows: list[CountRow] = []

    def ready(entry: Entry) -> None:
        rows.append(_row(entry, counter))
        rows[-1].series, rows[-1].time = _series_and_time(entry, first, interval_s)
        if table:
            table.write(_cells(rows[-1]))

    counter = model if isinstance(model, Counter) else load_counter(model)
    counter.check_pixel_size(reading.get("pixel_size_um"))
    found = search_images([Path(path) for path in paths])
    found.say()
    files = found.files
    first = _first_numbers(files)
    pictures = None
    if overlay or masks:
        overlay, masks = overlay and Path(overlay), masks and Path(masks)
        pictures = SegmentationPictures(counter, overlay, masks, files)
    try:
        entries = file_entries(files, counter.reader(files, **reading), "--{} ")
        count_entries(counter, entries, done=pictures and pictures.write, ready=ready)
    except BaseException as error:
        if pictures:
            pictures.discard()
        if isinstance(error, UsageError):  # wrong for every file alike
            raise UsageError(with_options(str(error), "--{} ")) from None
        raise
    try:
        if table:
            table.finish()
    finally:
        if pictures:
            pictures.keep()
    return rows


def _first_numbers(files: Sequence[Path]) -> dict[str, int]:
    """The least number of the files of each series that their names make, by its name."""
    first: dict[str, int] = {}
    for series, number in filter(None, map(numbered, files)):
        first[series] = min(number, first.get(series, number))
    return first


def _series_and_time(
    entry: Entry, first: Mapping[str, int], interval_s: float | None
) -> tuple[str, str]:
    """Name of an entry's series, and hours since its start."""
    series, step, seconds = entry.series, entry.step, entry.time_s
    if not series and (named := numbered(entry.path)):
        series, step = named[0], named[1] - first[named[0]]
        seconds = None  # of a file's own start
    if interval_s is not None:
        seconds = None if step is None else step * interval_s
    time = f"{seconds / 3600:.6g}" if series and seconds is not None else ""
    return readable(series), time


def summary(rows: Sequence[CountRow], out: Path) -> str:
    """How many frames were counted, and where the counts are, in a line."""
    failed = sum(bool(row.error) for row in rows)
    if rows and failed == len(rows):
        return f"counted no frame, {out} has only the errors of all {failed}"
    n = len(rows) - failed
    return f"counted {n} frame{'s' * (n != 1)}, {failed} failed: {out}"


def without_intervals(rows: Sequence[CountRow], counter: Counter) -> str:
    """How many frames have no interval, and why, in a line; empty where all have one."""
    counted = [row for row in rows if not row.error]
    n = sum(row.count_low == "" for row in counted)
    if not n:
        return ""
    why = counter.no_interval
    if not why:
        why = "another size than in training" if counter.any_size else f"{counter.name} gives none"
    return f"no interval for {n} of {len(counted)} frame{'s' * (len(counted) != 1)}: {why}"


def _row(entry: Entry, counter: Counter) -> CountRow:
    row = CountRow(
        readable(entry.path), entry.index, model=counter.name, version=counter.version,
        flag=entry.flag,
    )  # fmt: skip
    if entry.error:
        row.error = with_options(str(entry.error), "--{} ")
        return row
    row.count = int(round_count(entry.raw))
    row.count_raw = f"{entry.raw:.3f}"
    row.count_low = "" if np.isnan(entry.low) else f"{entry.low:.3f}"
    row.count_high = "" if np.isnan(entry.high) else f"{entry.high:.3f}"
    row.seconds = f"{entry.seconds:.5f}"
    return row


def _cells(row: CountRow) -> tuple[Any, ...]:
    """A row as it stands in the CSV, where no text is a formula and a path stays one."""
    texts = {key: csv_safe(getattr(row, key)) for key in ("model", "version", "error", "flag")}
    image, series = (
        path if csv_safe(path) == path else f"./{path}" for path in (row.image, row.series)
    )
    return astuple(replace(row, image=image, series=series, **texts))
