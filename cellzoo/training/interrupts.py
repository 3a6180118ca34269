"""Ctrl-C ends a training between two steps, not inside one."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import keras

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class BetweenSteps(keras.callbacks.Callback):
    """Raises KeyboardInterrupt before the next step once a signal has asked for the end.

    Python itself would raise it anywhere: while TensorFlow calls back into Python, or while a file
    is written. That has ended in a crash, or without a model. A second signal raises at once.

    Signals that are ignored, as SIGINT in a background job, or end the process, stay as they are.
    """

    def __init__(self):
        """Notes nothing yet."""
        super().__init__()
        self.asked = False

    def on_train_batch_begin(self, batch, logs=None):
        """Raises what a signal asked for."""
        if self.asked:
            raise KeyboardInterrupt

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Lets signals wait for a step's end meanwhile."""
        before = {}
        if threading.current_thread() is threading.main_thread():
            before = {number: signal.getsignal(number) for number in _SIGNALS}

        def note(number, frame):
            if self.asked:
                before[number](number, frame)
            self.asked = True

        for number, handler in before.items():
            if callable(handler):
                signal.signal(number, note)
        try:
            yield
        finally:
            for number, handler in before.items():
                if callable(handler):
                    signal.signal(number, handler)
        if self.asked:  # during the last step
            raise KeyboardInterrupt
