"""Simulated nuclei of every look: what is counted is what is labelled and can be seen."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cellzoo.simulators.nuclei import draw_nuclei


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999), low=st.floats(8, 20), more=st.floats(0, 30))
def test_labels_are_consecutive_and_each_can_be_seen(seed, low, more):
    image, mask = draw_nuclei((64, 80), (low, low + more), (seed,))
    assert (image.shape, image.dtype, mask.shape, mask.dtype) == (
        (64, 80), np.float32, (64, 80), np.uint16,
    )  # fmt: skip
    assert image.min() >= 0 and image.max() <= 1 and np.isfinite(image).all()
    areas = np.bincount(mask.ravel())
    assert (areas[1:] >= 0.05 * np.pi * low**2 / 4).all()
    again, _ = draw_nuclei((64, 80), (low, low + more), (seed,))
    np.testing.assert_array_equal(again, image)


def test_cells_are_as_large_as_wanted_and_brighter_than_the_background():
    areas, brighter = [], []
    for seed in range(12):
        image, mask = draw_nuclei((96, 96), (14, 14), (3, seed))
        if mask.max() > 3:
            areas.append((mask > 0).sum() / mask.max())
            brighter.append(image[mask > 0].mean() > image[mask == 0].mean())
    assert all(brighter) and len(brighter) > 3
    # What the border or others hide makes them smaller.
    assert 0.5 < np.mean(areas) / (np.pi * 14**2 / 4) < 1.1
