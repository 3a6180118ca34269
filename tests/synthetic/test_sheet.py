"""Many images on one sheet."""

import numpy as np
import pytest

from cellzoo.synthetic.sheet import contact_sheet


def test_contact_sheet_shows_every_image_and_writes_its_count():
    images = np.stack([np.full((40, 30), level) for level in (0.0, 0.2, 0.4, 0.6, 0.8)])
    sheet = contact_sheet(images, np.array([1, 2, 3, 4, 5]), columns=2)
    assert sheet.dtype == np.uint8
    for grey in (51, 102, 153, 204):
        assert (sheet == grey).sum() >= 1200
    other = contact_sheet(images, np.array([1, 2, 3, 4, 6]), columns=2)
    rows, columns = np.nonzero(sheet != other)
    assert len(rows) > 0
    # The fifth image stands alone in the third row, its count below it.
    y, x = np.nonzero(sheet == 204)
    last = y[(x >= 6) & (x < 36)].max()
    assert rows.min() > last and columns.max() < 36 + 6


def test_contact_sheet_tells_unknown_and_estimated_counts_apart():
    image = np.zeros((1, 20, 40), np.uint8)
    texts = [contact_sheet(image, np.array([c])).tobytes() for c in (np.nan, 3.0, 3.4, 3)]
    assert len(set(texts)) == 3 and texts[1] == texts[3]


def test_contact_sheet_needs_images():
    with pytest.raises(ValueError):
        contact_sheet(np.zeros((0, 4, 4)), np.zeros(0))
