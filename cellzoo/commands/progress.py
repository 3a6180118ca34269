"""How far a long count is, and how long it will take."""

import logging
import sys
import time
from typing import TextIO

log = logging.getLogger(__name__)

_ON_TERMINAL, _IN_LOG = 0.5, 60.0  # seconds from one word to the next


class Progress:
    """Says on a terminal in one line, elsewhere once a minute, how far a count is.

    Args:
        stream: where a terminal may be.
        clock: seconds.
    """

    def __init__(self, stream: TextIO = sys.stderr, clock=time.monotonic):
        """Begins with nothing to do."""
        self._stream, self._clock = stream, clock
        self._terminal = stream.isatty()
        self._every = _ON_TERMINAL if self._terminal else _IN_LOG
        self._files = self._done = self._frames = self._shown = 0
        self._last = ""

    def start(self, files: int, already: int) -> None:
        """Begins with files to count, when others are counted already."""
        self._files, self._began = files, self._clock()
        self._said = self._began
        if already:
            log.info("%s files are counted already, %s are left.", f"{already:,}", f"{files:,}")

    def row(self, image: str) -> None:
        """One more frame of a file is counted."""
        self._frames += 1
        if image != self._last:
            self._done += bool(self._last)
            self._last = image
        now = self._clock()
        if now - self._said >= self._every:
            self._said = now
            self._say(self._words(now - self._began))

    def finish(self) -> None:
        """Clears the line on the terminal."""
        if self._shown:
            self._stream.write("\r" + " " * self._shown + "\r")
            self._stream.flush()

    def _words(self, seconds: float) -> str:
        words = f"{self._done:,} of {self._files:,} files, {self._frames / seconds:.1f} frames/s"
        if self._done:
            words += f", {_duration(seconds / self._done * (self._files - self._done))} left"
        return words

    def _say(self, words: str) -> None:
        if not self._terminal:
            log.info("%s", words)
            return
        self._stream.write("\r" + words.ljust(self._shown))
        self._stream.flush()
        self._shown = max(self._shown, len(words))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
