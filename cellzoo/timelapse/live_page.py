"""The growth so far, made anew beside a table that grows."""

import logging
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cellzoo.errors import UserError
from cellzoo.files import write_atomically
from cellzoo.timelapse.alerts import Alerts
from cellzoo.timelapse.analysis import analyse, write_files

log = logging.getLogger(__name__)

EVERY = 30.0  # seconds from one page to the next
_SHARE = 20  # and as many times as long as making it takes, so that counting goes on


class LivePage:
    """``NAME.growth.html`` and ``NAME.growth.csv`` beside a table, fresh.

    A browser that shows the page loads it again by itself.

    Args:
        table: that grows.
        alerts: hear which chambers have stopped growing.
        clock: seconds.
    """

    def __init__(self, table: Path, alerts: Alerts, clock: Callable[[], float] = time.monotonic):
        """Nothing is new yet."""
        self._table, self._alerts, self._clock = table, alerts, clock
        self.file = table.with_name(f"{table.stem}.growth.html")
        self._new, self._next, self._said = False, clock(), ""

    def note(self, series: str) -> None:
        """A frame of a series was counted."""
        self._new = self._new or bool(series)

    def refresh(self, now: bool = False) -> None:
        """Makes the page, if something is new and it is time to.

        Args:
            now: whatever the time.
        """
        started = self._clock()
        if not self._new or (started < self._next and not now):
            return
        self._new = False
        try:
            self._make()
        except UserError as error:
            if str(error) != self._said:
                log.warning("No growth page: %s", error)
            self._said = str(error)
        ended = self._clock()
        self._next = ended + max(EVERY, _SHARE * (ended - started))

    def _make(self) -> None:
        analysis = analyse(self._table)
        for found in analysis.growths:
            self._alerts.plateau(found.series, found.plateau_hour)
        folder = Path(tempfile.mkdtemp(prefix=".growth-", dir=self._table.parent))
        try:
            write_files(analysis, folder)
            page = (folder / "growth.html").read_text(encoding="utf-8")
            again = f'<head><meta http-equiv="refresh" content="{EVERY:.0f}">'
            write_atomically(self.file, page.replace("<head>", again, 1))
            content = (folder / "growth.csv").read_text(encoding="utf-8")
            write_atomically(self.file.with_suffix(".csv"), content)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
