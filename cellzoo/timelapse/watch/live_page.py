"""The growth so far, made anew beside a table that grows."""

import contextlib
import json
import logging
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from cellzoo.errors import UserError
from cellzoo.files import write_atomically
from cellzoo.timelapse.growth.analysis import analyse, write_files
from cellzoo.timelapse.watch.alerts import Alerts

log = logging.getLogger(__name__)

EVERY = 30.0  # seconds from one page to the next
_SHARE = 20  # and as many times as long as making it takes, so that counting goes on
_PROGRAM = "import sys; from cellzoo.timelapse.watch import live_page; live_page.make(sys.argv[1])"


class LivePage:
    """``NAME.growth.html`` and ``NAME.growth.csv`` beside a table, fresh.

    A browser that shows the page loads it again by itself. A process of its own makes it: counting
    does not wait, and its memory is given back.

    Args:
        table: that grows.
        alerts: hear which chambers have stopped growing.
        clock: seconds.
    """

    def __init__(self, table: Path, alerts: Alerts, clock: Callable[[], float] = time.monotonic):
        """Nothing is new yet; which plateaus were said an earlier watch of the table left."""
        self._table, self._alerts, self._clock = table, alerts, clock
        self.file = page_of(table)
        self._new, self._next, self._said = False, clock(), ""
        self._memory = table.with_name(f".{table.stem[:200]}.said.json")
        self._plateaus: dict[str, float] = self._remembered()
        for series, hour in self._plateaus.items():
            alerts.plateau(series, hour, quiet=True)
        self._making: subprocess.Popen | None = None
        self._saying: BinaryIO | None = None  # what it prints
        self._started = 0.0

    def note(self, series: str) -> None:
        """A frame of a series was counted."""
        self._new = self._new or bool(series)

    def refresh(self) -> None:
        """Begins to make the page, if something is new and it is time to; hears of one made."""
        if self._making and self._making.poll() is not None:
            self._hear()
        if self._new and not self._making and self._clock() >= self._next:
            self._begin()

    def close(self) -> None:
        """Makes the last page, if something is new, and waits for it."""
        if self._making:
            self._hear()
        if self._new:
            self._begin()
            self._hear()

    def _begin(self) -> None:
        self._new, self._started = False, self._clock()
        words = [sys.executable, "-c", _PROGRAM, str(self._table)]
        # No pipe: it is full at 64 KiB, and a process that waits for a reader never ends.
        self._saying = tempfile.TemporaryFile()
        # Ctrl-C is for the watch, which waits for this.
        self._making = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=self._saying, start_new_session=True
        )

    def _hear(self) -> None:
        self._making.wait()
        self._making = None
        with self._saying:
            self._saying.seek(0)
            said = self._saying.read()
        ended = self._clock()
        self._next = ended + max(EVERY, _SHARE * (ended - self._started))
        try:
            heard = json.loads(said)
        except ValueError:
            heard = {"error": "making it failed."}
        plateaus = heard.get("plateaus", {})
        for series, hour in plateaus.items():
            self._alerts.plateau(series, hour)
        if plateaus:
            self._remember({series: hour for series, hour in plateaus.items() if hour is not None})
        error = heard.get("error", "")
        if error and error != self._said:
            log.warning("No growth page: %s", error)
        self._said = error

    def _remembered(self) -> dict[str, float]:
        try:
            said = json.loads(self._memory.read_text(encoding="utf-8"))
            return {str(series): float(hour) for series, hour in said.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}  # they are said again

    def _remember(self, plateaus: dict[str, float]) -> None:
        if plateaus.keys() != self._plateaus.keys():
            with contextlib.suppress(OSError):  # at worst they are said again
                write_atomically(self._memory, json.dumps(plateaus) + "\n")
        self._plateaus = plateaus


def page_of(table: Path) -> Path:
    """The page beside a table."""
    return table.with_name(f"{table.stem}.growth.html")


def make(table: str) -> None:
    """Makes the page of a table, and prints when its chambers have stopped growing, as JSON."""
    logging.disable()
    file = page_of(Path(table))
    try:
        analysis = analyse(Path(table))
    except UserError as error:
        print(json.dumps({"error": str(error)}))
        return
    folder = Path(tempfile.mkdtemp(prefix=".growth-", dir=file.parent))
    try:
        write_files(analysis, folder)
        page = (folder / "growth.html").read_text(encoding="utf-8")
        again = f'<head><meta http-equiv="refresh" content="{EVERY:.0f}">'
        write_atomically(file, page.replace("<head>", again, 1))
        content = (folder / "growth.csv").read_text(encoding="utf-8")
        write_atomically(file.with_suffix(".csv"), content)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps({"plateaus": {f.series: f.plateau_hour for f in analysis.growths}}))
