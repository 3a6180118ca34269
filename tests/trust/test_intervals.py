"""Intervals against numbers worked out by hand and against simulation."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellzoo.trust.intervals import Interval, conformal_rank, covered_share


@pytest.mark.parametrize("n", [0, 1, 18])
def test_too_few_images_promise_nothing(n):
    assert Interval.fit(np.zeros(n), np.ones(n)) is None


@given(st.integers(19, 5000))
def test_the_rank_is_exact(n):
    """Floating point must not push ceil(0.95 (n + 1)) one too high or low."""
    assert conformal_rank(n) == -(-95 * (n + 1) // 100) <= n


def test_another_level():
    assert [conformal_rank(n, 0.9) for n in (8, 9, 19)] == [9, 9, 18]
    assert conformal_rank(9, 0.5) == 5


def test_nineteen_images_promise_the_largest_error():
    """Where all counts are alike, so is the scale, and what remains is the error itself."""
    errors = np.random.default_rng(0).permutation(19) + 1.0
    predicted = np.full(19, 30.0)
    for counts in (predicted - errors, predicted + errors):
        interval = Interval.fit(counts, predicted)
        assert interval.images == 19
        low, high = interval.ends(np.array([30.0]))
        assert (low[0], high[0]) == pytest.approx((11, 49), abs=1e-4)


def test_the_rank_counts_images_from_the_smallest_error():
    """Of 59 images ceil(60 * 0.95) = 57: the third largest error."""
    predicted = np.full(59, 9.0)
    interval = Interval.fit(predicted + np.arange(1.0, 60), predicted)
    assert interval.ends(np.array([9.0]))[1][0] == pytest.approx(9 + 57, abs=1e-4)


def test_half_width_is_the_square_root_of_a_line():
    low, high = Interval(constant=4.0, per_cell=1.0).ends(np.array([-1.0, 0.0, 5.0, 12.0]))
    assert low.tolist() == [0, 0, 2, 8] and high.tolist() == [1, 2, 8, 16]
    assert low.dtype == high.dtype == np.float32


def test_the_width_grows_with_the_count_where_errors_do_and_only_there():
    random = np.random.default_rng(0)
    predicted = random.uniform(0, 40, 600)
    growing = Interval.fit(predicted + random.normal(size=600) * np.sqrt(predicted), predicted)
    few, many = np.diff(growing.ends(np.array([1.0, 36.0])), axis=0)[0]
    # 1.96 times the standard deviation to each side: 36 cells err six times as much as one.
    assert many == pytest.approx(2 * 1.96 * 6, rel=0.15)
    assert few < many / 2.5
    even = Interval.fit(predicted + random.normal(size=600), predicted)
    few, many = np.diff(even.ends(np.array([1.0, 36.0])), axis=0)[0]
    assert 0.7 < few / many <= 1


SPREADS = {
    "even": lambda count: np.ones_like(count),
    "growing": lambda count: np.sqrt(0.1 + count),
    "steep": lambda count: 0.1 + 0.2 * count,
}


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("n", [19, 62])
def test_new_images_fall_into_the_interval_as_often_as_promised(spread, n):
    """Fitting the scale to the same few images must not cost the promise."""
    random = np.random.default_rng(2)
    repeats, new = 600, 20
    held = []
    for _ in range(repeats):
        predicted = random.uniform(0, 20, n + new)
        errors = random.standard_t(4, n + new) * SPREADS[spread](predicted)
        counts = np.maximum(predicted + errors, 0)
        low, high = Interval.fit(counts[:n], predicted[:n]).ends(predicted[n:])
        held.append(((low <= counts[n:]) & (counts[n:] <= high)).mean())
    expected = conformal_rank(n) / (n + 1)
    standard_error = np.std(held) / np.sqrt(repeats)
    assert abs(np.mean(held) - expected) < 4 * standard_error + 0.003


def test_a_calibration_covers_as_varied_a_share_as_the_beta_distribution_says():
    random = np.random.default_rng(3)
    shares = []
    for _ in range(1000):
        errors = random.normal(size=60)
        predicted = np.full(60, 5.0)
        low, high = Interval.fit(predicted - errors, predicted).ends(np.array([5.0]))
        half = (high - low)[0] / 2
        shares.append((np.abs(random.normal(size=2000)) <= half).mean())
    low, high = covered_share(60)
    assert np.quantile(shares, [0.05, 0.95]) == pytest.approx((low, high), abs=0.012)


def test_covered_shares_of_hand():
    """19 images: Beta(19, 1), whose quantile q is q^(1/19)."""
    assert covered_share(19) == pytest.approx((0.05 ** (1 / 19), 0.95 ** (1 / 19)))


def test_an_image_is_scored_without_its_own_group():
    """Two groups, one exact, one wrong by its count: what is left out decides the scale."""
    counts = np.r_[np.zeros(20), np.full(20, 10.0)]
    predicted = np.r_[np.full(20, 0.5), np.full(20, 14.0)]
    grouped = Interval.fit(counts, predicted, np.repeat(["a", "b"], 20))
    alone = Interval.fit(counts, predicted)
    # Left to itself either group says nothing of how errors grow, so that it stays even for it.
    assert grouped.ends(np.array([14.0]))[1][0] > alone.ends(np.array([14.0]))[1][0] > 18 - 1e-4
    one = Interval.fit(counts, predicted, np.full(40, "a"))
    assert (one.constant, one.per_cell) == (alone.constant, alone.per_cell)
    assert (one.groups, grouped.groups, alone.groups) == (1, 2, 40)


def test_perfect_and_empty_counts_have_intervals_of_no_width():
    for counts in (np.arange(30.0), np.zeros(30)):
        low, high = Interval.fit(counts, counts).ends(np.array([0.0, 7.0]))
        assert low.tolist() == high.tolist() == [0, 7]


def test_what_is_written_down_is_read_again():
    interval = Interval.fit(np.arange(40.0), np.arange(40.0) + np.tile([1.0, -1.5], 20))
    facts = json.loads(json.dumps(interval.metadata()))
    assert Interval.from_metadata({"interval": facts}) == interval
    assert facts["level"] == 0.95 and facts["images"] == 40
    assert (facts["covered_share_low"], facts["covered_share_high"]) == covered_share(40)
    # A few groups tell as little as the fewest images would.
    few = Interval(1.0, 0.0, images=200, groups=5).metadata()
    assert (few["covered_share_low"], few["covered_share_high"]) == covered_share(19)
    assert Interval.from_metadata({"interval": None}) is Interval.from_metadata({}) is None
