"""Scores against numbers worked out by hand."""

import numpy as np
import pytest

from cellzoo.scores.counts import count_metrics, round_count


@pytest.mark.parametrize(
    ("predicted", "whole"),
    [(0.49, 0), (0.5, 1), (1.5, 2), (2.5, 3), (2.4999, 2), (-0.2, 0), (-7.0, 0), (12.0, 12)],
)
def test_counts_are_rounded_halves_up_and_never_below_zero(predicted, whole):
    assert round_count(predicted) == whole


def test_scores_worked_out_by_hand():
    # Rounded: 1, 3, 0, 7. Off by 1, 1, 0, 3.
    scores = count_metrics(np.array([0, 2, 0, 4]), np.array([0.6, 2.5, -0.4, 7.3]))
    assert scores["mae"] == pytest.approx((1 + 1 + 0 + 3) / 4)
    assert scores["mre"] == pytest.approx((1 / 2 + 3 / 4) / 2)
    assert scores["exact"] == pytest.approx(1 / 4)
    assert scores["mae_raw"] == pytest.approx((0.6 + 0.5 + 0.4 + 3.3) / 4)
    assert scores["rmse_raw"] == pytest.approx(np.sqrt((0.36 + 0.25 + 0.16 + 10.89) / 4))
    assert scores["bias_raw"] == pytest.approx((0.6 + 0.5 - 0.4 + 3.3) / 4)
    # True counts 0, 2, 0, 4: mean 1.5, squared deviations 2.25 + 0.25 + 2.25 + 6.25 = 11
    assert scores["r2_raw"] == pytest.approx(1 - 11.66 / 11)
    assert scores["mape_raw"] == pytest.approx(100 * (0.5 / 2 + 3.3 / 4) / 2)


def test_a_perfect_counter():
    counts = np.array([0, 3, 7])
    scores = count_metrics(counts, counts.astype(np.float32))
    assert scores == {
        "mae": 0, "mre": 0, "exact": 1, "mae_raw": 0, "rmse_raw": 0, "bias_raw": 0, "r2_raw": 1,
        "mape_raw": 0,
    }  # fmt: skip


def test_always_predicting_the_mean_explains_nothing():
    assert count_metrics(np.array([1, 2, 3]), np.full(3, 2.0))["r2_raw"] == 0


def test_scores_that_need_cells_are_nan_without_them():
    scores = count_metrics(np.zeros(3), np.array([0, 1.0, 2.0]))
    assert np.isnan([scores["mre"], scores["mape_raw"], scores["r2_raw"]]).all()
    assert (scores["mae"], scores["exact"]) == (1, pytest.approx(1 / 3))
