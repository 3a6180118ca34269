"""What comes out of a stream of images, and in which order."""

from pathlib import Path

import numpy as np
import pytest

from cellzoo.counters.entries import Entry
from cellzoo.counters.stream import count_entries
from cellzoo.errors import UserError


class Constant:
    """Counts one cell in everything."""

    window, name = 2, "constant"

    def prepare(self, entry, notes):
        entry.prepared = np.zeros((8, 8), np.uint8)

    def count_prepared(self, images, domain):
        return np.ones(len(images)), np.zeros(len(images)), np.full(len(images), 2.0)

    def flags(self, entries):
        return [""] * len(entries)

    def close(self):
        pass


def test_none_passes_over_an_image_whose_row_could_not_be_written():
    told = []

    def ready(entry):
        told.append(entry.index)
        if entry.index == 70:
            raise UserError("The disk is full: free some space.")

    entries = (Entry(Path("stack.tif"), index) for index in range(200))
    with pytest.raises(UserError, match="disk is full"):
        count_entries(Constant(), entries, ready=ready)
    assert told == list(range(71))
