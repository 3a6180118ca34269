"""Scores against numbers worked out by hand."""

import numpy as np
import pytest

from cellzoo.scores.counts import round_count
from cellzoo.scores.table import (
    COUNT_SCORES,
    count_metrics,
    headline_in_words,
    interval_metrics,
    known_scores,
)


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
        "mae": 0, "mre": 0, "exact": 1, "invented": 0, "mae_raw": 0, "rmse_raw": 0, "bias_raw": 0,
        "r2_raw": 1, "mape_raw": 0,
    }  # fmt: skip


def test_always_predicting_the_mean_explains_nothing():
    assert count_metrics(np.array([1, 2, 3]), np.full(3, 2.0))["r2_raw"] == 0


def test_scores_that_need_cells_are_nan_without_them():
    scores = count_metrics(np.zeros(3), np.array([0, 1.0, 2.0]))
    assert np.isnan([scores["mre"], scores["mape_raw"], scores["r2_raw"]]).all()
    assert (scores["mae"], scores["exact"]) == (1, pytest.approx(1 / 3))


def test_coverage_and_width_of_hand():
    counts = np.array([1.0, 5.0, 9.0, 3.0])
    low, high = np.array([1.0, 6.0, 8.0, np.nan]), np.array([2.0, 8.0, 9.0, np.nan])
    assert interval_metrics(counts, low, high) == pytest.approx(
        {"coverage": 2 / 3, "mean_width": (1 + 2 + 1) / 3}
    )
    assert interval_metrics(counts, np.full(4, np.nan), np.full(4, np.nan)) is None


def test_people_read_percent_where_files_have_shares():
    mre = COUNT_SCORES["mre"]
    assert (mre.text(0.03125), mre.interval([0.02, 0.041])) == ("3.1 %", "2.0 to 4.1")
    assert mre.interval_in_words([0.02, 0.041]) == "95 % interval 2.0 to 4.1"
    assert mre.interval(None) == "" and mre.interval_in_words(None) == "no interval"
    assert COUNT_SCORES["r2_raw"].text(0.987) == "0.99"


def test_a_score_without_a_value_is_left_out():
    scores = count_metrics(np.zeros(3), np.array([0, 1.0, 2.0]))
    assert headline_in_words(scores) == (
        "MAE 1.00 cells, exact 33.3 %, invented 1.00 cells per empty image"
    )
    known = [score.key for score, _ in known_scores({**scores, "bias_raw": None})]
    assert known == ["mae", "exact", "invented", "mae_raw", "rmse_raw"]
