"""How many bytes of requests a server holds at a time, and that it gives them back."""

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from cellzoo.serving.errors import ServingError

_MUCH = 2**26  # bytes, after which it is worth the time to tidy up


class Memory:
    """Bytes of the requests under way, bounded all together.

    Args:
        limit: bytes.
    """

    def __init__(self, limit: int):
        """See the class."""
        self.limit, self.held = limit, 0
        self._most = 0  # held at a time since memory was given back
        self._lock = threading.Lock()

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Counts ``size`` bytes in while the block runs.

        Raises:
            ServingError: the limit would be passed: for ever (RESOURCE_EXHAUSTED) or until other
                requests are answered (UNAVAILABLE).
        """
        if size > self.limit:
            raise ServingError(
                "RESOURCE_EXHAUSTED",
                f"The request needs {size} bytes of the {self.limit} that all requests share",
            )
        with self._lock:
            if self.held + size > self.limit:
                raise ServingError(
                    "UNAVAILABLE", "The requests under way hold all memory there is for them."
                )
            self.held += size
            self._most = max(self._most, self.held)
        try:
            yield
        finally:
            with self._lock:
                self.held -= size

    def give_back(self) -> None:
        """Returns what is free to the system if much was held and little is now.

        glibc keeps freed blocks for later, of every thread some; other systems return them.
        """
        with self._lock:
            if self._most < _MUCH or self.held > self._most / 2:
                return
            self._most = self.held
        if sys.platform == "linux":
            try:
                ctypes.CDLL(None).malloc_trim(0)
            except (OSError, AttributeError):  # another C library
                pass
