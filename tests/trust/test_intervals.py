"""Intervals against numbers worked out by hand and against simulation."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellzoo.scores.counts import round_count
from cellzoo.trust.intervals import Interval, conformal_rank, covered_share, too_few_to_promise


@pytest.mark.parametrize("n", [0, 1, 18])
def test_too_few_images_promise_nothing(n):
    assert Interval.fit(np.zeros(n), np.ones(n)) is None


def test_what_is_lacking_is_said_with_numbers():
    assert too_few_to_promise(6, 5) == "6 of 19 labelled validation images that are needed"
    assert too_few_to_promise(19, 3) == "3 of 5 groups of validation images that are needed"


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
    allowed = 4 * np.std(held) / np.sqrt(repeats) + 0.003
    # The printed count inside costs a little width where errors are small.
    assert expected - allowed < np.mean(held) < expected + allowed + 0.02


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
    """Six groups, of which the last errs by its count: what is left out decides the scale."""
    predicted = np.r_[np.tile(np.linspace(0.5, 8, 20), 5), np.full(15, 14.0)]
    counts = predicted - np.r_[np.full(100, 0.5), np.full(15, 4.0)]
    grouped = Interval.fit(counts, predicted, np.repeat(list("abcdef"), 20)[:115])
    alone = Interval.fit(counts, predicted)
    # Left to themselves the others say nothing of how errors grow: the scale stays even for it.
    assert grouped.ends(np.array([14.0]))[1][0] > alone.ends(np.array([14.0]))[1][0] > 17.9
    assert (grouped.groups, alone.groups) == (6, 115)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_fewer_than_five_groups_promise_nothing(groups):
    counts, members = np.arange(60.0), np.arange(60) % groups
    assert Interval.fit(counts, counts + 1, members) is None
    assert Interval.fit(counts, counts + 1, np.arange(60) % 5) is not None


@given(st.lists(st.floats(-5, 2000, width=32), min_size=1, max_size=20), st.floats(0, 2))
def test_the_printed_count_is_inside(raw, per_cell):
    low, high = Interval(1e-4, per_cell / 100).ends(np.array(raw))
    whole = round_count(np.array(raw, np.float32))
    assert (low <= whole).all() and (whole <= high).all() and (low >= 0).all()


def test_a_narrow_interval_reaches_to_the_printed_count():
    low, high = Interval(constant=0.01, per_cell=0).ends(np.array([2.5, 3.3, 2.7]))
    assert low == pytest.approx([2.4, 3.0, 2.6]) and high == pytest.approx([3.0, 3.4, 3.0])


def test_bins_have_factors_of_their_own():
    interval = Interval(1.0, 0.0, cuts=(5.0, 9.0), factors=(1.0, 2.0, 3.0))
    low, high = interval.ends(np.array([4.0, 5.0, 8.0, 9.0, 20.0]))
    assert ((high - low) / 2).tolist() == [1, 2, 2, 3, 3]


STEEP = {
    "as its root": lambda count: 0.2 + 0.3 * np.sqrt(count),
    "in proportion": lambda count: 0.3 + 0.15 * count,
    "late": lambda count: 0.3 + 0.02 * np.maximum(count - 15, 0) ** 1.5,
}


@pytest.mark.parametrize("spread", STEEP)
def test_few_and_many_cells_are_covered_alike(spread):
    """Whatever way errors grow, each third of the predicted counts is covered in new groups."""
    random = np.random.default_rng(5)
    held = []
    for _ in range(60):
        truth = random.integers(0, 31, (40, 10))
        shared = random.normal(size=(40, 1)) * 0.5 + random.normal(size=(40, 10)) * 0.87
        predicted = np.maximum(truth + shared * STEEP[spread](truth), 0)
        known, new = slice(0, 20), slice(20, 40)
        groups = np.repeat(np.arange(20), 10)
        interval = Interval.fit(truth[known].ravel(), predicted[known].ravel(), groups)
        counts, raw = truth[new].ravel(), predicted[new].ravel()
        low, high = interval.ends(raw)
        third = np.searchsorted(np.quantile(raw, [1 / 3, 2 / 3]), raw)
        inside = (low <= counts) & (counts <= high)
        held.append([inside[third == k].mean() for k in range(3)])
    assert (np.mean(held, axis=0) > 0.935).all() and (np.mean(held, axis=0) < 0.99).all()


def test_each_kind_is_covered():
    """Two stains, of which one is misread five times as far."""
    random = np.random.default_rng(6)
    held = []
    for _ in range(40):
        kinds = np.arange(400) % 2
        truth = random.integers(0, 31, 400)
        raw = np.maximum(truth + random.normal(size=400) * np.where(kinds, 1.5, 0.3), 0)
        half = slice(0, 200)
        interval = Interval.fit(truth[half], raw[half], kinds=kinds[half])
        assert interval.kinds == ("0", "1")
        low, high = interval.ends(raw[200:])
        inside = (low <= truth[200:]) & (truth[200:] <= high)
        held.append([inside[kinds[200:] == k].mean() for k in (0, 1)])
    assert (np.mean(held, axis=0) > 0.94).all()


def test_a_rare_kind_is_calibrated_with_all():
    counts = np.arange(40.0)
    kinds = np.r_[np.zeros(30), np.ones(10)]
    interval = Interval.fit(counts, counts + np.tile([1.0, -1.5], 20), kinds=kinds)
    assert interval.kinds == ("0.0",)


def test_a_kind_of_few_groups_widens_the_interval_and_is_promised_nothing_by_itself():
    counts = np.arange(80.0)
    predicted = counts + np.where(counts < 40, 1.0, 6.0)
    kinds, groups = np.where(counts < 40, "fine", "coarse"), np.arange(80) // 2
    assert Interval.fit(counts, predicted, groups, kinds).kinds == ("coarse", "fine")
    few = np.where(counts < 40, groups, 100 + np.arange(80) // 60)  # two groups of coarse images
    interval = Interval.fit(counts, predicted, few, kinds)
    assert interval.kinds == ("fine",)
    assert interval.factors[0] > Interval.fit(counts, predicted, few).factors[0]


def test_an_interval_of_an_earlier_version_is_read():
    metadata = {"constant": 4.0, "per_cell": 1.0, "images": 62, "groups": 7, "level": 0.95}
    interval = Interval.from_metadata({"interval": metadata})
    assert interval == Interval(4.0, 1.0, images=62, groups=7)


def test_perfect_and_empty_counts_have_intervals_of_no_width():
    for counts in (np.arange(30.0), np.zeros(30)):
        low, high = Interval.fit(counts, counts).ends(np.array([0.0, 7.0]))
        assert low.tolist() == high.tolist() == [0, 7]


def test_what_is_written_down_is_read_again():
    interval = Interval.fit(np.arange(40.0), np.arange(40.0) + np.tile([1.0, -1.5], 20))
    metadata = json.loads(json.dumps(interval.metadata()))
    assert Interval.from_metadata({"interval": metadata}) == interval
    assert metadata["level"] == 0.95 and metadata["images"] == 40
    assert (metadata["covered_share_low"], metadata["covered_share_high"]) == covered_share(40)
    # A few groups tell as little as the fewest images would.
    few = Interval(1.0, 0.0, images=200, groups=5).metadata()
    assert (few["covered_share_low"], few["covered_share_high"]) == covered_share(19)
    assert Interval.from_metadata({"interval": None}) is Interval.from_metadata({}) is None


def test_the_formula_of_a_card():
    assert Interval(0.25, 0.5).formula() == "count +- sqrt(0.25 + 0.5 count)"
    binned = Interval(0.1, 0.2, 0.01, (4.0, 9.5), (1.0, 1.5, 2.0))
    assert binned.formula() == (
        "count +- 1, 1.5, 2 times sqrt(0.1 + 0.2 count + 0.01 count^2) "
        "for counts from 0, 4, 9.5 on"
    )
