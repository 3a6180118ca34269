"""SavedModels that `cellzoo export` wrote."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from cellzoo.counters.base import Counter, Domain
from cellzoo.counters.preprocessing import (
    METADATA_FILE,
    Columns,
    Preprocessing,
    no_interval_of,
    out_of_distribution_of,
    training_counts_of,
)
from cellzoo.errors import UserError
from cellzoo.files import damaged_file
from cellzoo.images import Frame
from cellzoo.protocol.operations import ForeignOperations, check_operations


class SavedModelCounter(Counter):
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

        folder = newest_version(folder) or folder
        damaged = damaged_file(folder)
        if damaged:
            raise UserError(
                f"{folder / damaged} is not as `cellzoo export` wrote it: copy the folder anew, or "
                "export the run again."
            )
        try:
            text = (folder / METADATA_FILE).read_text("utf-8")
            self.metadata: dict[str, Any] = json.loads(text)
            self.preprocessing = Preprocessing.from_metadata(self.metadata)
            self.out_of_distribution = out_of_distribution_of(self.metadata)
            self.training_counts = training_counts_of(self.metadata)
            self.no_interval = no_interval_of(self.metadata)
            if not trust:
                check_operations(folder)
            self._model = tf.saved_model.load(str(folder))
            self._functions = {
                "uint8": self._model.count_uint8,
                "uint16": self._model.count_uint16,
                "unit": self._model.count_unit,
            }
        except ForeignOperations as error:
            raise UserError(f"{error}.") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{folder} is no SavedModel that `cellzoo export` wrote, or it is damaged "
                f"({type(error).__name__}): export the run again."
            ) from error
        except tf.errors.OpError as error:
            raise UserError(f"{folder} is damaged: export the run again.") from error
        self.name, self.version = self.metadata["name"], folder.resolve().name
        self.training_mean = self.metadata.get("training_mean")
        self.weights_count = self.metadata.get("parameters", 0)

    def _prepare(self, frame: Frame, scaled: bool) -> np.ndarray:
        return self.preprocessing.prepare(frame, self.name, scaled)

    def _count(self, images: np.ndarray, domain: Domain) -> Columns:
        return self.preprocessing.count(self._functions, images)


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
