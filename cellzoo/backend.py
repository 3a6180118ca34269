"""TensorFlow is started here, without the page that its C++ side prints on missing devices."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

# The command sets it: nothing else in its process uses Keras, whose wrappers of scikit-learn and
# pictures by Matplotlib are a third of the time that TensorFlow takes to start.
alone = False


def start_tensorflow() -> None:
    """Imports TensorFlow quietly, about 4 s; nothing where it is imported already."""
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        with _without("sklearn", "matplotlib") if alone else nullcontext():
            import tensorflow

        tensorflow.config.list_physical_devices()
        # It warns of functions traced often: each part of a network has one.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
    except ImportError:  # Keras may run on JAX; where it cannot run at all, it says so itself
        pass
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


@contextmanager
def _without(*names: str) -> Iterator[None]:
    """Lets packages that nobody has imported yet be missing for a while."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
