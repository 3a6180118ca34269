"""``cellzoo count``: image files to ``counts.csv``, one row per frame."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cellzoo.commands.count_table import CountTable, check_not_begun
from cellzoo.commands.pictures import SegmentationPictures
from cellzoo.commands.shards import COLUMN, Mark, Shard
from cellzoo.counters.base import Counter
from cellzoo.counters.entries import Entry, file_entries, with_options
from cellzoo.counters.load import load_counter
from cellzoo.counters.stream import count_entries
from cellzoo.errors import UsageError, UserError
from cellzoo.files import check_new_file, csv_path, csv_safe, path_text, readable
from cellzoo.images import (
    far_apart,
    natural_key,
    numbered,
    numbers_of,
    parse_interval,
    search_images,
)
from cellzoo.scores.counts import round_count

log = logging.getLogger("cellzoo")


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
        diameter: of the cells, px, as the counter measured it; empty where it does not.
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
    diameter: float | str = ""


HEADER = [field.name for field in fields(CountRow)]


@dataclass
class Tally:
    """What a table of counts holds, in numbers; rows of an interrupted count are part of it.

    Attributes:
        files: image files.
        frames: rows.
        flagged: frames with a flag.
        failed: frames, or files, without a count.
        without_interval: counted frames for which none is promised.
    """

    files: int = 0
    frames: int = 0
    flagged: int = 0
    failed: int = 0
    without_interval: int = 0
    _last: str = ""

    def add(self, row: CountRow) -> None:
        """Takes a row in."""
        self.files += row.image != self._last
        self._last = row.image
        self.frames += 1
        self.flagged += bool(row.flag)
        self.failed += bool(row.error)
        self.without_interval += not row.error and row.count_low == ""

    def summary(self, out: Path) -> str:
        """The numbers, and where the counts are, in a line."""
        if self.frames and self.failed == self.frames:
            return f"counted no frame, {out} has only the errors of all {self.failed}"
        n, counted = self.files, self.frames - self.failed
        return (
            f"{n:,} file{'s' * (n != 1)}: counted {counted:,} frame{'s' * (counted != 1)}, "
            f"{self.flagged:,} flagged, {self.failed:,} failed: {out}"
        )

    def why_no_intervals(self, counter: Counter) -> str:
        """How many frames have no interval, and why, in a line; empty where all have one."""
        n, counted = self.without_interval, self.frames - self.failed
        if not n:
            return ""
        why = counter.no_interval
        if not why:
            why = "another size than in training"
            if counter.measuring:
                why = "too unlike the training images"
            elif not counter.any_size:
                why = f"{counter.name} gives none"
        return f"no interval for {n} of {counted} frame{'s' * (counted != 1)}: {why}"


def count_files(
    paths: str | os.PathLike | Sequence[str | os.PathLike],
    model: Counter | str | os.PathLike,
    out: str | os.PathLike | None = None,
    **options: Any,
) -> list[CountRow]:
    """Counts every frame of files and folders, into a CSV if one is wanted.

    A file that cannot be read gets a row with ``error`` and the rest go on.

    Args:
        paths: image files and folders of them.
        model: what counts, or its name, see :func:`cellzoo.counters.load.load_counter`.
        out: CSV to write, see :func:`count_into`; None: none.
        options: of :func:`count_into`.

    Returns:
        The rows that were counted now, as they are written.

    Raises:
        UserError, UsageError: as :func:`count_into`.
    """
    rows: list[CountRow] = []
    count_into(paths, model, out, ready=rows.append, **options)
    return rows


def count_into(
    paths: str | os.PathLike | Sequence[str | os.PathLike],
    model: Counter | str | os.PathLike,
    out: str | os.PathLike | None,
    *,
    resume: bool = False,
    overlay: str | os.PathLike | None = None,
    masks: str | os.PathLike | None = None,
    interval: str | None = None,
    chambers: str | os.PathLike | None = None,
    shard: str | None = None,
    ready: Callable[[CountRow], None] | None = None,
    started: Callable[[int, int], None] | None = None,
    **reading: Any,
) -> Tally:
    """Counts every frame of files and folders, and keeps no row that it counts in memory.

    Rows of an interrupted count are read whole, and let go before the others are counted.

    Args:
        paths: image files and folders of them.
        model: what counts, or its name, see :func:`cellzoo.counters.load.load_counter`.
        out: CSV to write. It appears when it is complete; until then its rows are in a file beside
            it that ends in ``.part.csv``. None: none.
        resume: go on where an interrupted count of the same images, model and options ended. Each
            frame is counted once. A complete table is left as it is.
        overlay: new folder for a picture of each frame, with its cells outlined and its count.
        masks: new folder for each frame's mask and, where the model has one, probability, TIFF.
            Both appear when they are complete.
        interval: time from one frame of a series to the next, such as ``"20min"``, whatever the
            files say; None: as they say.
        chambers: table of the chambers in each frame, as ``cellzoo chambers`` writes it: each is
            counted by itself, and is a series of its own; None: whole frames.
        shard: count one of several parts of the files, such as ``"3/16"``; see
            :mod:`cellzoo.commands.shards`. Its rows are those that the count of all has.
        ready: called with each row when it is on the disk.
        started: called with the number of files to count, and of those that are counted already.
        reading: what to take of files, see :meth:`cellzoo.counters.base.Counter.count`.

    Returns:
        What the table holds.

    Raises:
        UserError: ``out`` or a folder for pictures exists, there is no image, pictures are wanted
            of a model that does not segment, or the rows to go on with are of other images or
            another model.
        UsageError: what to take of files is written wrongly, or pictures are to be resumed.
    """
    if not isinstance(paths, list | tuple):
        paths = [paths]
    paths = [path_text(path, "paths") for path in paths]
    if resume and (overlay or masks):
        raise UsageError("--overlay and --masks cannot go on: leave them or --resume out.")
    interval_s = None if interval is None else parse_interval(interval)
    if out is not None and not resume:
        check_new_file(Path(out))
        check_not_begun(Path(out))  # before a model is loaded
    counter = model if isinstance(model, Counter) else load_counter(model)
    counter.check_pixel_size(reading.get("pixel_size_um"))
    found = search_images([Path(path) for path in paths])
    found.say()
    chambers = None if chambers is None else Path(chambers)
    work = _Count(counter, found.files, interval_s, chambers, ready)
    with_what = made_with(counter, interval_s, reading)
    if chambers is not None:
        from cellzoo.timelapse.chambers.where import digest  # SciPy's images: 0.2 s

        with_what["chambers"] = digest(chambers)
    header = HEADER
    if shard is not None:
        work.choose(Shard.parse(shard), with_what)
        with_what[COLUMN], header = work.mark, [*HEADER, COLUMN]
    if out is None:
        return work.run(None, started, overlay, masks, reading)
    table = CountTable(Path(out), header, with_what, resume)
    try:
        return work.run(table, started, overlay, masks, reading)
    except BaseException:
        table.abandon()
        raise


class _Count:
    """One call of :func:`count_into`."""

    def __init__(
        self,
        counter: Counter,
        files: Sequence[Path],
        interval_s: float | None,
        chambers: Path | None,
        ready: Callable[[CountRow], None] | None,
    ):
        self.counter, self.files, self.ready = counter, files, ready
        self.chosen, self.mark = files, ""
        self.chambers = chambers
        self.rows = Rows(counter, interval_s)
        self.rows.look_at(files)
        for sentence in far_apart(numbers_of(files), interval_s) if interval_s else ():
            log.warning("%s.", sentence)
        self.tally = Tally()

    def choose(self, shard: Shard, with_what: Mapping[str, Any]) -> None:
        """Leaves the files of other shards to others; bits and series are still those of all."""
        self.files = sorted(self.files, key=lambda file: natural_key(file.as_posix()))
        self.chosen = self.files[shard.slice(len(self.files))]
        self.mark = str(Mark.of(shard, [image_cell(file) for file in self.files], with_what))

    def run(
        self,
        table: CountTable | None,
        started: Callable[[int, int], None] | None,
        overlay: str | os.PathLike | None,
        masks: str | os.PathLike | None,
        reading: dict[str, Any],
    ) -> Tally:
        counter, known = self.counter, self._known(table)
        last = table.earlier[-1]["image"] if known else ""  # perhaps not all of its frames
        if table and table.complete:
            self._check_complete(table, known)
            return self.tally
        left = [f for f in self.chosen if image_cell(f) not in known or image_cell(f) == last]
        if table:
            table.earlier.clear()
        if started:
            started(len(left), len(self.chosen) - len(left))
        pictures = None
        if overlay or masks:
            overlay, masks = overlay and Path(overlay), masks and Path(masks)
            pictures = SegmentationPictures(counter, overlay, masks, self.files)
        try:
            # All files say how many bits the grey levels have, also those counted before.
            entries = file_entries(left, counter.reader(self.files, **reading), "--{} ")
            if self.chambers is not None:
                from cellzoo.timelapse.chambers.crop import chamber_entries  # SciPy's images: 0.2 s

                entries = chamber_entries(entries, self.chambers)
            entries = _without_first(entries, last, known.get(last, 0))
            done = pictures and pictures.write
            count_entries(counter, entries, done=done, ready=partial(self._write, table))
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
        return self.tally

    def _check_complete(self, table: CountTable, known: Mapping[str, int]) -> None:
        """Sees to it that a table is of these images and this counter."""
        cure = "choose another name for -o"
        if more := [file for file in self.chosen if image_cell(file) not in known]:
            raise UserError(f"{table.file} is complete, and {more[0]} is not in it: {cure}.")
        by = (self.counter.name, self.counter.version)
        for row in table.earlier:
            if (row["model"], row["version"]) != tuple(map(csv_safe, by)):
                name = " ".join(filter(None, (row["model"], row["version"])))
                raise UserError(f"{table.file} is complete and was counted by {name}: {cure}.")
        log.info(
            "%s is complete: nothing is counted. With other options %s.", table.file, cure
        )

    def _known(self, table: CountTable | None) -> dict[str, int]:
        """Rows of each image that an interrupted count left."""
        known: dict[str, int] = {}
        images = set(map(image_cell, self.chosen))
        for row in table.earlier if table else ():
            if row["image"] not in images:
                raise UserError(
                    f"{table.file} has counts of {row['image']}, which is not among the images: "
                    "give the same images again, or move the table away."
                )
            known[row["image"]] = known.get(row["image"], 0) + 1
            self.tally.add(CountRow(**{key: row[key] for key in HEADER}))
        return known

    def _write(self, table: CountTable | None, entry: Entry) -> None:
        row = self.rows.row(entry)
        if table:
            table.write((*cells(row), self.mark) if self.mark else cells(row))
        self.tally.add(row)
        if self.ready:
            self.ready(row)


def made_with(
    counter: Counter, interval_s: float | None, reading: Mapping[str, Any]
) -> dict[str, Any]:
    """What decides over the counts and times of a table."""
    known = {"model": counter.name, "version": counter.version, "interval": interval_s}
    if counter.digest:  # versions are numbers, and folders that may be trained on
        known["weights"] = counter.digest
    if counter.measuring and counter.measuring.stated is not None:
        known["diameter"] = str(counter.measuring.stated)
    return known | {key.removesuffix("_um"): value for key, value in reading.items()}


def _without_first(entries: Iterator[Entry], image: str, number: int) -> Iterator[Entry]:
    """Leaves out the frames of an image that are counted already."""
    for entry in entries:
        if number and image_cell(entry.path) == image:
            number -= 1
        else:
            yield entry


def image_cell(file: Path) -> str:
    """A file as it stands in the table."""
    return csv_path(readable(file))


class Rows:
    """Makes rows of the table of what was counted.

    Args:
        counter: that counts.
        interval_s: seconds from one frame of a series to the next; None: as files say.
    """

    def __init__(self, counter: Counter, interval_s: float | None):
        """Knows of no file."""
        self._counter, self._interval_s = counter, interval_s
        self._first: dict[str, int] = {}  # number of the start of each series that file names make

    def look_at(self, files: Iterable[Path]) -> None:
        """Takes the numbers in names of files, of which the least is the start of a series.

        A start that is known stays, as rows have times since then; what is before it gets a time
        below 0.
        """
        self._first = {name: min(some) for name, some in numbers_of(files).items()} | self._first

    def take_earlier(self, row: CountRow) -> None:
        """Takes the start of a series from a row of it that has a time."""
        named = numbered(Path(row.image))
        if not named or named[0] in self._first or not self._interval_s:
            return
        try:
            step = round(float(row.time) * 3600 / self._interval_s)
        except (ValueError, OverflowError):  # without a time, or somebody edited it
            return
        self._first[named[0]] = named[1] - step

    def row(self, entry: Entry) -> CountRow:
        """A row; its file must have been looked at."""
        row = _row(entry, self._counter)
        series, step, seconds = entry.series, entry.step, entry.time_s
        if not series and (named := numbered(entry.path)):
            series, step = named[0], named[1] - self._first[named[0]]
            seconds = None  # of a file's own start
        if self._interval_s is not None:
            seconds = None if step is None else step * self._interval_s
        hours = f"{seconds / 3600:.6g}" if series and seconds is not None else ""
        # A table of chambers was made with an interval, perhaps, that the file does not know.
        row.time = hours or entry.hours if self._interval_s is not None else entry.hours or hours
        if entry.chamber:
            series = f"{series or entry.path} {entry.chamber}"
        row.series = readable(series)
        return row


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
    row.diameter = "" if np.isnan(entry.diameter) else f"{entry.diameter:.1f}"
    return row


def cells(row: CountRow) -> tuple[Any, ...]:
    """A row as it stands in the CSV, where no text is a formula and a path stays one."""
    # `dataclasses.astuple` copies each text as deeply as it can: a tenth of a counted image's time.
    return tuple(_CELLS.get(name, lambda value: value)(value) for name, value in vars(row).items())


_CELLS: dict[str, Callable[[str], str]] = {
    **dict.fromkeys(("image", "series"), csv_path),
    **dict.fromkeys(("model", "version", "error", "flag"), csv_safe),
}
