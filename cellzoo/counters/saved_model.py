"""SavedModels that `cellzoo export` wrote."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from cellzoo.counters.exported import ExportedCounter
from cellzoo.counters.preprocessing import (
    FINGERPRINTS_FILE,
    METADATA_FILE,
    Columns,
    Preprocessing,
)
from cellzoo.data.seen import Seen
from cellzoo.errors import UserError
from cellzoo.files import damaged_file
from cellzoo.images import Frame
from cellzoo.models.section import Domain
from cellzoo.protocol.operations import ForeignOperations, check_operations


class SavedModelCounter(ExportedCounter):
    """A SavedModel that `cellzoo export` wrote. Needs TensorFlow, but neither Keras nor the run.

    There is nothing inside to look at but counts.

    Args:
        folder: ``saved_models/NAME``, whose newest version counts, or ``saved_models/NAME/3``.
        trust: load it whatever operations it holds.

    Attributes:
        metadata: what :data:`METADATA_FILE` says.

    Raises:
        UserError: it is no such SavedModel, it is damaged, or it holds operations that no export
            has, see :mod:`cellzoo.protocol.operations`.
    """

    preprocessing: Preprocessing

    def __init__(self, folder: Path, trust: bool = False):
        """Loads the graph."""
        import tensorflow as tf  # 4 s

        folder = self._folder = newest_version(folder) or folder
        damaged = damaged_file(folder)
        if damaged:
            raise UserError(
                f"{folder / damaged} is not as `cellzoo export` wrote it: copy the folder anew, or "
                "export the run again."
            )
        try:
            text = (folder / METADATA_FILE).read_text("utf-8")
            self.metadata: dict[str, Any] = json.loads(text)
            self._read(self.metadata, self._see)
            if not trust:
                check_operations(folder)
            self._model = tf.saved_model.load(str(folder))
            if self.measuring:
                self._functions = {"alike": self._model.see}
            else:
                self._functions = {
                    "uint8": self._model.count_uint8,
                    "uint16": self._model.count_uint16,
                    "unit": self._model.count_unit,
                }
        except ForeignOperations as error:
            raise UserError(f"{error}.") from None
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise UserError(
                f"{folder} is no SavedModel that `cellzoo export` wrote, or it is damaged "
                f"({type(error).__name__}): export the run again."
            ) from error
        except tf.errors.OpError as error:
            raise UserError(f"{folder} is damaged: export the run again.") from error
        self.name, self.version = self.metadata["name"], folder.resolve().name

    def seen(self) -> Seen | None:
        """See :meth:`Counter.seen`; an export of an earlier version does not know."""
        file = self._folder / FINGERPRINTS_FILE
        try:
            return Seen.read(file) if file.is_file() else None
        except ValueError as error:
            raise UserError(f"{error}: export the run again.") from None

    def _prepare(self, frame: Frame, scaled: bool) -> np.ndarray:
        return self.preprocessing.prepare(frame, self.name, scaled)

    def _count(self, images: np.ndarray, domain: Domain) -> Columns:
        return self.preprocessing.count(self._functions, images)

    def _see(self, images: np.ndarray, *wanted: str) -> list[np.ndarray]:
        """What :attr:`measuring` asks the network for."""
        found = self._functions["alike"](images)
        return [found[name].numpy() for name in wanted]


def version_number(folder: Path) -> int | None:
    """The version that a folder's name is: digits that fit in 64 bits; None: it is none."""
    number = int(folder.name) if folder.name.isascii() and folder.name.isdigit() else None
    return None if number is None or number >= 2**63 else number


def newest_version(folder: Path) -> Path | None:
    """The highest of the folders named by a version number that a SavedModel is in."""
    versions = [path.parent for path in folder.glob("*/saved_model.pb")]
    versions = [path for path in versions if version_number(path) is not None]
    return max(versions, key=version_number, default=None)


def is_saved_model(folder: Path) -> bool:
    """Whether ``folder`` is a SavedModel or holds versions of one."""
    return (folder / "saved_model.pb").is_file() or newest_version(folder) is not None
