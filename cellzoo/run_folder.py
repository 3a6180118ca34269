"""Where a run folder keeps what others look for in it, and who works there: without Keras."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cellzoo.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


def recipe_file(run: Path) -> Path:
    """The effective recipe of a run folder, or of ``zoo:NAME``."""
    return run / "recipe.yaml"


def weights_file(run: Path, selection: str = "best") -> Path:
    """Weights of the checkpoint chosen as ``"best"``, ``"max_acc"`` or ``"min_dev"``."""
    return run / "checkpoints" / f"{selection}.weights.h5"


@contextmanager
def alone(folder: Path, otherwise: str | None) -> Iterator[None]:
    """Keeps other processes from working in the folder; a killed one keeps nobody.

    Args:
        folder: that exists.
        otherwise: what is said of the folder where another process works there; None: wait for it.

    Raises:
        UserError: one does.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (fcntl.LOCK_NB if otherwise else 0))
    except BlockingIOError:
        os.close(handle)
        raise UserError(f"{folder} {otherwise}: wait for it, or choose another --out.") from None
    except OSError:  # a file system without locks
        pass
    try:
        yield
    finally:
        os.close(handle)
