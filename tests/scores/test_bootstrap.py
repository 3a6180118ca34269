"""Intervals against simulation and theory, tests against all ways to flip a few signs."""

import numpy as np
import pytest

from cellzoo.scores.bootstrap import bootstrap_intervals, holm, paired_p_value
from cellzoo.scores.table import count_metrics


def noisy_counts(n, seed=1):
    random = np.random.default_rng(seed)
    counts = random.integers(1, 20, n)
    return counts, counts + random.normal(0, 2, n)


def test_the_interval_holds_the_score_and_has_the_width_of_theory():
    counts, predicted = noisy_counts(400)
    scores = count_metrics(counts, predicted)
    intervals = bootstrap_intervals(counts, predicted)
    assert intervals.keys() == scores.keys()
    for name, (low, high) in intervals.items():
        assert low < scores[name] < high
    error = np.abs(predicted - counts)
    low, high = intervals["mae_raw"]
    assert high - low == pytest.approx(2 * 1.96 * error.std() / np.sqrt(400), rel=0.15)


def test_more_images_narrow_the_interval_and_a_lower_level_too():
    def width(n, level=0.95):
        low, high = bootstrap_intervals(*noisy_counts(n), repeats=300, level=level)["mae"]
        return high - low

    assert width(400) < 0.7 * width(100)
    assert width(100, level=0.5) < 0.5 * width(100)


def test_the_interval_depends_on_its_seed_alone():
    counts, predicted = noisy_counts(30)
    one, same, other = (
        bootstrap_intervals(counts, predicted, repeats=50, seed=seed) for seed in (0, 0, 1)
    )
    assert one == same != other


def test_resamples_without_cells_do_not_spoil_the_interval():
    counts, predicted = np.array([0, 0, 0, 0, 4]), np.array([0.0, 0.0, 0.0, 1.0, 5.0])
    intervals = bootstrap_intervals(counts, predicted, repeats=200)
    assert intervals["mre"] == (0.25, 0.25)
    assert "mre" not in bootstrap_intervals(np.zeros(5), np.ones(5), repeats=20)


def test_other_metrics_can_be_given():
    counts, predicted = np.arange(5), np.arange(5) + 1.0
    found = bootstrap_intervals(counts, predicted, metrics=lambda c, p: {"shift": (p - c).mean()})
    assert found == {"shift": (1.0, 1.0)}


def test_bootstrap_draws_whole_groups():
    """Ten groups of ten images that err alike say no more than ten images do."""
    random = np.random.default_rng(0)
    errors = random.normal(0, 2, 10)
    groups = np.repeat(np.arange(10), 10)
    counts = np.full(100, 20.0)
    predicted = counts + errors[groups]
    few_low, few_high = bootstrap_intervals(np.full(10, 20.0), 20 + errors)["mae"]
    low, high = bootstrap_intervals(counts, predicted, groups=groups)["mae"]
    assert (low, high) == pytest.approx((few_low, few_high), abs=0.15)
    alone_low, alone_high = bootstrap_intervals(counts, predicted)["mae"]
    assert alone_high - alone_low < 0.6 * (high - low)


def test_paired_test_of_four_groups_that_all_agree():
    # 16 ways to flip signs; only all plus and all minus differ by as much.
    worse, better = np.array([1, 2, 3, 4]), np.zeros(4)
    assert paired_p_value(worse, better, np.arange(4)) == 2 / 16
    assert paired_p_value(better, worse, np.arange(4)) == 2 / 16


def test_paired_test_counts_groups_and_not_images():
    worse, better = np.repeat([1, 2, 3, 4], 5), np.zeros(20)
    assert paired_p_value(worse, better, np.repeat(list("abcd"), 5)) == 2 / 16


def test_paired_test_of_differences_that_cancel():
    # 1 + 2 - 3: every flip is at least as far from 0.
    assert paired_p_value(np.array([1, 2, 0]), np.array([0, 0, 3]), np.arange(3)) == 1


def test_paired_test_where_nothing_can_be_said():
    assert np.isnan(paired_p_value(np.ones(3), np.zeros(3), np.zeros(3)))
    assert paired_p_value(np.ones(3), np.ones(3), np.arange(3)) == 1


def test_paired_test_of_many_groups_draws_flips():
    random = np.random.default_rng(1)
    noise = random.normal(size=(2, 200))
    assert paired_p_value(*noise, np.arange(200)) > 0.05
    assert paired_p_value(noise[0] + 1, noise[1], np.arange(200)) == 2 / 10000


def test_holm():
    corrected = holm(np.array([0.01, np.nan, 0.04, 0.03]))
    np.testing.assert_allclose(corrected, [0.03, np.nan, 0.06, 0.06])
    np.testing.assert_allclose(holm(np.array([0.7, 0.8])), [1, 1])


def test_few_groups_do_not_tell_how_groups_differ():
    counts, predicted = np.arange(40.0), np.arange(40.0) + 1
    for few in (1, 2, 4):
        assert bootstrap_intervals(counts, predicted, groups=np.arange(40) % few) == {}
    assert bootstrap_intervals(counts, predicted, groups=np.arange(40) % 5)["mae"] == (1.0, 1.0)


def test_percentiles_lie_further_out_where_groups_are_few():
    """As far as those of a t interval that knows how resamples are too alike."""
    from scipy.stats import norm, t

    random = np.random.default_rng(3)
    for few in (7, 40):
        errors = random.gamma(2, 1, few)
        found = bootstrap_intervals(
            np.zeros(few), errors, metrics=lambda c, p: {"mean": p.mean()}, repeats=20000
        )["mean"]
        means = random.choice(errors, (20000, few)).mean(1)
        tail = norm.cdf(-np.sqrt(few / (few - 1)) * t.ppf(0.975, few - 1))
        assert tail < 0.025
        expected = np.quantile(means, [tail, 1 - tail])
        np.testing.assert_allclose(found, expected, atol=0.05 * errors.std())
