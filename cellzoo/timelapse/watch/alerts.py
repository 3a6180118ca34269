"""What a watch says when a chamber needs somebody."""

import logging
import os
import shlex
import statistics
import subprocess
import time
from collections import deque
from dataclasses import dataclass, field

from cellzoo.commands.count import CountRow
from cellzoo.errors import UsageError

log = logging.getLogger(__name__)

IN_A_ROW = 3  # frames that must agree
_FEWEST = 3  # cells that a chamber must have had to be called empty
_TIMEOUT = 60  # seconds for all commands together, at the end


@dataclass
class _Chamber:
    """The last frames of a series, and what was said of it."""

    counts: deque[int] = field(default_factory=lambda: deque(maxlen=IN_A_ROW))
    flags: deque[str] = field(default_factory=lambda: deque(maxlen=IN_A_ROW))
    most: int = 0
    said: set[str] = field(default_factory=set)


class Alerts:
    """Notices chambers that empty, overflow, go out of focus or stop growing, and says so once.

    It says so again when the chamber was well in between.

    Args:
        command: to run with the sentence as its last argument, without a shell. Its environment
            has ``CELLZOO_EVENT``, ``CELLZOO_SERIES`` and ``CELLZOO_TEXT``. Empty: none.

    Raises:
        UsageError: the command has an open quotation.
    """

    def __init__(self, command: str = ""):
        """Knows no chamber."""
        try:
            self._command = words_of(command, os.name == "nt")
        except ValueError as error:
            raise UsageError(f"--alert {command} cannot be understood: {error}.") from None
        self._chambers: dict[str, _Chamber] = {}
        self._running: list[subprocess.Popen] = []

    def take(self, row: CountRow, quiet: bool = False) -> None:
        """Looks at a frame.

        Args:
            row: of the table.
            quiet: it is an old one: nothing is said or run.
        """
        if not row.series or row.error:
            return
        try:
            count = int(row.count)
        except ValueError:  # of a table that somebody edited
            return
        chamber = self._chambers.setdefault(row.series, _Chamber())
        chamber.counts.append(count)
        chamber.flags.append(row.flag)
        chamber.most = max(chamber.most, count)
        full = len(chamber.counts) == IN_A_ROW
        median = statistics.median(chamber.counts)
        empty = full and chamber.most >= _FEWEST and median == 0
        above = full and all("above the" in flag for flag in chamber.flags)
        blurred = full and all("out of focus" in flag for flag in chamber.flags)
        self._tell(row.series, "empty", empty, "is empty", quiet)
        crowded = f"has {median:g} cells, more than the counter was trained for"
        self._tell(row.series, "overflow", above, crowded, quiet)
        self._tell(row.series, "focus", blurred, "seems out of focus", quiet)

    def plateau(self, series: str, hour: float | None, quiet: bool = False) -> None:
        """Takes what the growth says.

        Args:
            series: that is meant.
            hour: since when it has stopped; None: it grows.
            quiet: it was said before: nothing is said or run.
        """
        words = "" if hour is None else f"has not grown since {hour:.1f} h"
        self._tell(series, "plateau", hour is not None, words, quiet)

    def _tell(self, series: str, event: str, so: bool, words: str, quiet: bool = False) -> None:
        said = self._chambers.setdefault(series, _Chamber()).said
        if not so:
            said.discard(event)
            return
        if event in said:
            return
        said.add(event)
        if quiet:
            return
        sentence = f"{series} {words}."
        log.warning("%s", sentence)
        if self._command:
            self._run(event, series, sentence)

    def _run(self, event: str, series: str, sentence: str) -> None:
        ended = [process for process in self._running if process.poll() is not None]
        self._running = [process for process in self._running if process not in ended]
        for process in ended:
            self._hear(process.poll())
        named = {"CELLZOO_EVENT": event, "CELLZOO_SERIES": series, "CELLZOO_TEXT": sentence}
        try:
            process = subprocess.Popen(
                [*self._command, sentence], env=os.environ | named, stdin=subprocess.DEVNULL
            )
        except OSError as error:
            log.warning("--alert %s cannot be run (%s).", self._command[0], error.strerror)
            return
        self._running.append(process)

    def _hear(self, code: int) -> None:
        if code:
            log.warning("--alert %s ended with %d.", self._command[0], code)

    def close(self) -> None:
        """Waits for commands that still run, a minute at most."""
        until = time.monotonic() + _TIMEOUT
        for process in self._running:
            try:
                self._hear(process.wait(max(0.0, until - time.monotonic())))
            except subprocess.TimeoutExpired:
                process.kill()
                log.warning("--alert %s did not end: killed.", self._command[0])
        self._running = []


def words_of(command: str, windows: bool) -> list[str]:
    """The words of a command.

    Args:
        command: with quotation marks around words with blanks.
        windows: a backslash is a part of a path there; elsewhere it quotes what follows.

    Raises:
        ValueError: a quotation is open.
    """
    words = shlex.shlex(command, posix=True, punctuation_chars=False)
    words.whitespace_split, words.commenters = True, ""
    if windows:
        words.escape = ""
    return list(words)
