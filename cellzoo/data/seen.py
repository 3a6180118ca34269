"""What a model has seen, as far as fingerprints of images show it."""

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cellzoo.files import temporary_beside


@dataclass(frozen=True, eq=False)
class Seen:
    """Fingerprints of the images that a model has seen, those of its starts among them.

    Each is int8 ``[n, LENGTH]``, see :func:`cellzoo.data.copies.fingerprints`.

    Attributes:
        taught: of images that it learned from, labelled or not.
        chosen_on: of images that chose a checkpoint, or could have.
    """

    taught: np.ndarray
    chosen_on: np.ndarray

    @classmethod
    def read(cls, file: Path) -> "Seen":
        """What :meth:`write` wrote.

        Raises:
            ValueError: the file is damaged.
        """
        try:
            with np.load(file) as arrays:
                return cls(arrays["taught"], arrays["chosen_on"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{file} is damaged") from error

    def write(self, file: Path) -> None:
        """Writes or replaces a file ``.npz``."""
        temporary = temporary_beside(file).with_suffix(".npz")
        np.savez_compressed(temporary, taught=self.taught, chosen_on=self.chosen_on)
        os.replace(temporary, file)

    @property
    def everything(self) -> np.ndarray:
        """Fingerprints of both."""
        return np.concatenate([self.taught, self.chosen_on])

    def joined(self, other: "Seen") -> "Seen":
        """What either has seen."""
        return Seen(
            np.concatenate([self.taught, other.taught]),
            np.concatenate([self.chosen_on, other.chosen_on]),
        )
