"""``cellzoo watch``: counts frames as the microscope writes them, and keeps the growth in view."""

import logging
import os
import stat
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

from cellzoo.commands.count import HEADER, CountRow, Rows, cells, image_cell, made_with
from cellzoo.commands.count_table import CountTable
from cellzoo.counters.base import Counter
from cellzoo.counters.entries import Entry, file_entries
from cellzoo.counters.stream import CounterBarred, count_entries
from cellzoo.errors import UsageError, UserError
from cellzoo.images import Reader, new_images, numbered
from cellzoo.timelapse.watch.alerts import Alerts
from cellzoo.timelapse.watch.live_page import LivePage
from cellzoo.timelapse.watch.watched_file import Unread, WatchedFile

log = logging.getLogger(__name__)

POLL = 0.5  # seconds from one look at the folder to the next; a network share has no events
PATIENCE = 60.0  # seconds for which a file that cannot be read may still be on its way
AWAY = 5.0  # seconds until a server that is gone is asked again
_ONE_FRAME = (".png", ".jpg", ".jpeg", ".bmp")
_AT_ONCE = 256  # files counted before the folder is looked at again


class Watch:
    """A folder or a file that is followed.

    Args:
        source: folder of images, or a file that grows.
        counter: what counts.
        out: table; it grows row by row and is gone on with after any end.
        alerts: what to do when a chamber needs somebody.
        page: of growth; None: none.
        interval_s: seconds from one frame of a series to the next, whatever the files say.
        clock: seconds.
        reading: what to take of files, see :meth:`cellzoo.counters.base.Counter.count`.

    Raises:
        UserError: the table cannot be written, or was made with another model.
    """

    def __init__(
        self,
        source: Path,
        counter: Counter,
        out: Path,
        *,
        alerts: Alerts,
        page: LivePage | None = None,
        interval_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        **reading: Any,
    ):
        """Reads what is in the table."""
        if not source.exists():
            raise UserError(f"{source}: there is no such file or folder, check the path.")
        self._source, self._counter = source, counter
        self._alerts, self._page, self._clock, self._reading = alerts, page, clock, reading
        counter.check_pixel_size(reading.get("pixel_size_um"))
        self._rows = Rows(counter, interval_s)
        known = made_with(counter, interval_s, reading)
        self._table = CountTable(out, HEADER, known, live=True)
        self.frames, self.failed = 0, 0
        self._files: dict[str, WatchedFile] = {}  # by their path
        self._left_out: set[str] = set()
        self._changed: set[str] = set()  # after they were counted
        self._waiting: deque[Path] = deque()
        self._earlier: dict[str, WatchedFile] = {}  # that were not looked at yet, by their cell
        for row in self._table.earlier:
            self._take_earlier(CountRow(**row))
        self._table.earlier.clear()

    def _take_earlier(self, row: CountRow) -> None:
        self._rows.take_earlier(row)
        named = numbered(Path(row.image))
        own = "" if named and row.series == image_cell(named[0]) else row.series
        known = self._earlier.setdefault(row.image, WatchedFile())
        known.take(row.image, own, row.frame, row.error)
        self.frames += 1
        self._alerts.take(row, quiet=True)

    def run(self, until_idle_s: float | None = None) -> None:
        """Counts until it is interrupted, or nothing new has come for some seconds."""
        last = self._clock()
        try:
            while True:
                began = self._clock()
                if self._look():
                    last = self._clock()
                if self._page:
                    self._page.refresh()
                if until_idle_s is not None and self._clock() - last >= until_idle_s:
                    break
                # A look at many files and a count take time, which is not waited once more.
                time.sleep(max(0.0, POLL - (self._clock() - began)))
        finally:
            self._table.close()
            if self._page:
                self._page.close()

    def _look(self) -> bool:
        """Counts what is new; whether anything is, or is still on its way."""
        busy = self._find()
        while batch := [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]:
            busy = True
            self._count(batch)
            if self._page:
                self._page.refresh()
        return busy

    def _find(self) -> bool:
        """Puts files that have come to rest into the queue; whether others still change."""
        now, moving = self._clock(), False
        new = new_images(self._source, self._files, self._left_out)
        self._rows.look_at(new)
        for path in new:
            known = self._earlier.pop(image_cell(path), None) or WatchedFile()
            self._files[str(path)] = known
            if known.rows and path.suffix.lower() in _ONE_FRAME:
                known.seen = known.counted = _state(str(path))
        for path, known in self._files.items():
            there = _state(path)
            if there is None or there == known.counted:
                continue
            if there != known.seen:
                known.seen, known.still, moving = there, now, True
            else:
                if known.counted is not None:
                    self._changed.add(path)
                known.counted = known.seen
                self._waiting.append(Path(path))
        return moving

    def _count(self, paths: list[Path]) -> None:
        """Counts the frames of files that are not in the table yet."""
        try:
            count_entries(self._counter, self._entries(paths), ready=self._write)
        except UserError as error:
            hopeless = isinstance(error, UsageError | CounterBarred)  # the same after any wait
            if hopeless or not self._counter.remote:
                raise
            log.warning("%s Trying again every %d s.", error, AWAY)
            for path in paths:
                self._files[str(path)].counted = None
            time.sleep(AWAY)

    def _entries(self, paths: list[Path]) -> Iterator[Entry]:
        for path in paths:
            known = self._files[str(path)]
            unread = Unread(image_cell(path), known)
            reader = self._counter.reader([path], **self._reading)
            for entry in file_entries([path], reader, "--{} ", wanted=unread):
                self._check_bits(reader, path)
                if entry.error is not None:
                    if self._may_come(known):
                        break
                    entry.index = max(entry.index, unread.next)
                entry.index -= unread.starts.get(entry.series, 0)
                yield entry
            if str(path) in self._changed and unread.only_known_one:
                log.warning(
                    "%s changed after it was counted: its row is of what it was before. Count it "
                    "with cellzoo count.", path,
                )  # fmt: skip
            self._changed.discard(str(path))

    def _may_come(self, known: WatchedFile) -> bool:
        """Whether a file that cannot be read may only be half there."""
        if self._clock() - known.still >= PATIENCE:
            return False
        known.counted = None  # looked at again
        return True

    def _check_bits(self, reader: Reader, path: Path) -> None:
        """Frames to come may be brighter, and be scaled otherwise."""
        if reader.guesses_bits:
            raise UsageError(
                f"{path} does not say how many of 16 bits are used, and the brightest frame may be "
                "to come: say it, as --intensity 0 4095 for 12 bits."
            )

    def _write(self, entry: Entry) -> None:
        row = self._rows.row(entry)
        written = CountRow(*cells(row))
        known = self._files[str(entry.path)]
        again = known.failed_before(entry.index, written.error)
        if not again:
            self._table.write(astuple(written))
        own = entry.series and written.series
        known.take(written.image, own, entry.index, written.error)
        if again:  # the file changed, and cannot be read as before
            return
        self.frames += 1
        self.failed += bool(row.error)
        if row.error:
            log.warning("%s", row.error)
        self._alerts.take(row)
        if self._page:
            self._page.note(row.series)


def _state(path: str) -> tuple[int, int] | None:
    """Size and time of change of a file, or of the newest file of a folder; None: it is gone."""
    try:
        there = os.stat(path)
        if not stat.S_ISDIR(there.st_mode):
            return there.st_size, there.st_mtime_ns
        inside = [file.stat() for file in Path(path).rglob("*") if file.is_file()]
        return sum(s.st_size for s in inside), max((s.st_mtime_ns for s in inside), default=0)
    except OSError:
        return None
