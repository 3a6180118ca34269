"""Rates by condition, against numbers computed by SciPy."""

import numpy as np
import pytest
from scipy import stats

from cellzoo.timelapse.growth.conditions import compare, left_out, summarise
from cellzoo.timelapse.growth.estimate import Growth


def chambers(*rates):
    return [
        Growth(str(k), rate, rate and 0.8 * rate, rate and 1.25 * rate, 9)
        for k, rate in enumerate(rates)
    ]


A, B = [0.030, 0.034, 0.035, 0.029], [0.025, 0.027, 0.031, 0.024]


def test_the_interval_is_over_chambers():
    (found,) = summarise(chambers(*A, None), ["rich"] * 5)
    expected = stats.t.interval(0.95, 3, np.mean(A), stats.sem(A))
    assert (found.series, found.with_rate) == (5, 4)
    assert found.rate_per_hour == pytest.approx(np.mean(A))
    assert (found.rate_low, found.rate_high) == pytest.approx(expected)
    assert found.spread == pytest.approx(np.std(A, ddof=1))
    assert found.doubling_hours == pytest.approx(np.log(2) / np.mean(A))


def test_one_chamber_has_no_interval_and_none_no_mean():
    one, none = summarise(chambers(0.03, None), ["a", "b"])
    assert one.rate_per_hour == 0.03 and one.rate_low is None
    assert none.rate_per_hour is None and none.doubling_hours is None


def test_unpaired_is_welchs_test():
    (found,) = compare(chambers(*A, *B), ["a"] * 4 + ["b"] * 4)
    expected = stats.ttest_ind(B, A, equal_var=False)
    low, high = expected.confidence_interval()
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.difference == pytest.approx(np.mean(B) - np.mean(A))


def test_paired_is_within_pairs():
    pairs = ["x", "y", "z", "w", "y", "x", "z", "alone"]
    (found,) = compare(chambers(*A, *B), ["a"] * 4 + ["b"] * 4, pairs)
    expected = stats.ttest_rel([B[1], B[0], B[2]], A[:3])
    assert (found.number, found.paired) == (3, True)
    assert found.p == pytest.approx(expected.pvalue)


def test_three_conditions_are_corrected_for():
    names = ["a"] * 4 + ["b"] * 4 + ["c"] * 2
    found = compare(chambers(*A, *B, 0.1, 0.2), names)
    assert [(c.first, c.second) for c in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert all(c.p <= c.p_holm <= 1 for c in found)


@pytest.mark.parametrize("rates", [(0.03, 0.02), (0.03, 0.03, 0.02, None), (None,) * 4])
def test_too_few_chambers_are_not_compared(rates):
    assert compare(chambers(*rates), ["a"] * (len(rates) - 2) + ["b"] * 2) == []


def test_what_is_not_compared_is_said():
    names = ["a", "a", "b", "b", "c"]
    assert left_out(chambers(0.03, 0.02, 0.03, None, 0.01), names) == [
        f"{name}: fewer than two chambers with a rate, so that nothing is compared with it"
        for name in "bc"
    ]
    assert left_out(chambers(0.03, None), ["a", "a"]) == []


def test_pairs_that_lack_a_rate_are_said():
    pairs, names = ["x", "y", "z", "x", "y", "w"], ["a"] * 3 + ["b"] * 3
    assert left_out(chambers(*A[:3], *B[:3]), names, pairs) == [
        "b against a: 2 of 4 pairs have a rate in one of them alone and take no part: z, w"
    ]
    (said,) = left_out(chambers(*A[:3], B[0], None, B[1]), names, pairs)
    assert said == "b and a share fewer than two pairs with a rate in both"
