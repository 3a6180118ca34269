"""Segmentation scores against masks small enough to count the pixels of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellzoo.scores.segmentation import (
    average_precision,
    dice,
    instances,
    iou_matrix,
    matches,
    pixel_accuracy,
)
from cellzoo.scores.table import segmentation_metrics

TRUTH = np.array([[1, 1, 0, 0], [1, 1, 0, 7], [0, 0, 0, 7]])
# Three of the four pixels of cell 1, one pixel beside it; cell 7 is missed, one cell invented.
PREDICTED = np.array([[1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]])


def test_dice_and_accuracy_of_twelve_pixels():
    assert dice(TRUTH, PREDICTED) == pytest.approx(2 * 3 / (6 + 4))
    assert pixel_accuracy(TRUTH, PREDICTED) == pytest.approx(8 / 12)


def test_empty_masks_are_alike():
    empty = np.zeros((3, 3))
    assert dice(empty, empty) == 1 and dice(empty, empty + 1) == 0
    assert average_precision(*matches(empty, empty)) == 1


def test_overlaps_of_cells():
    np.testing.assert_allclose(iou_matrix(TRUTH, instances(PREDICTED)), [[3 / 5], [0]])
    assert matches(TRUTH, instances(PREDICTED)) == (1, 0, 1)
    assert matches(TRUTH, instances(PREDICTED), iou=0.7) == (0, 1, 2)


def test_touching_cells_that_merge_are_one():
    truth = np.repeat([[1, 2]], 4, axis=0)
    assert matches(truth, instances(truth)) == (1, 0, 1)  # half of the merged part is a cell
    assert instances(np.eye(3)).max() == 3


def test_a_cell_is_matched_once():
    truth = np.array([[1, 1, 1, 1]])
    predicted = np.array([[1, 1, 2, 2]])
    assert matches(truth, predicted) == (1, 1, 0)


@given(seed=st.integers(0, 999), cells=st.integers(1, 5))
def test_every_cell_of_a_segmentation_finds_itself(seed, cells):
    truth = np.random.default_rng(seed).integers(0, cells + 1, (6, 7))
    found, invented, missed = matches(truth, truth)
    assert (found, invented, missed) == (len(set(truth.ravel()) - {0}), 0, 0)


def test_scores_are_means_over_images():
    truth, predicted = np.stack([TRUTH, TRUTH]), np.stack([PREDICTED, TRUTH])
    scores = segmentation_metrics(truth, predicted, known_instances=np.array([True, True]))
    assert scores["dice"] == pytest.approx((0.6 + 1) / 2)
    assert scores["pixel_accuracy"] == pytest.approx((8 / 12 + 1) / 2)
    assert scores["ap50"] == pytest.approx((0.5 + 1) / 2)
    some = segmentation_metrics(truth, predicted, known_instances=np.array([False, True]))
    assert some == {**scores, "ap50": 1}
    none = segmentation_metrics(truth, predicted, known_instances=np.array([False, False]))
    assert "ap50" not in none
