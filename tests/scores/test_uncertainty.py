"""Intervals of scores and tests of differences against hand-made numbers and simulation."""

import numpy as np
import pytest
from scipy import stats

from cellzoo.scores.table import count_metrics
from cellzoo.scores.uncertainty import against_mean, difference, holm, score_intervals


def noisy_counts(n, seed=1):
    random = np.random.default_rng(seed)
    counts = random.integers(1, 20, n)
    return counts, counts + random.normal(0, 2, n)


def test_the_interval_holds_the_score_and_has_the_width_of_theory():
    counts, predicted = noisy_counts(400)
    scores = count_metrics(counts, predicted)
    intervals = score_intervals(counts, predicted)
    assert intervals.keys() == scores.keys() - {"invented", "rmse_raw", "r2_raw"}
    for name, (low, high) in intervals.items():
        assert low < scores[name] < high
    error = np.abs(predicted - counts)
    low, high = intervals["mae_raw"]
    assert high - low == pytest.approx(2 * 1.96 * error.std() / np.sqrt(400), rel=0.15)


@pytest.mark.parametrize(
    ("groups", "ends", "mean", "said"),
    [
        (6, (0.5, 1.9), 2.0, ""),
        (6, (0.5, 2.0), 2.0, "6 images cannot tell this counter from always predicting the mean."),
        (6, (0.5, 2.0), 0.4, "This counter is worse than always predicting the mean."),
        (4, None, 2.0, "6 images of 4 groups cannot tell this counter from always predicting "
         "the mean."),
        (6, None, 2.0, ""),  # every image has the same error, 1
        (6, (0.5, 2.0), None, ""),
    ],
)  # fmt: skip
def test_a_counter_is_compared_with_the_mean(groups, ends, mean, said):
    assert against_mean(6, groups, 1.0, ends, mean) == said


def test_more_images_narrow_the_interval_and_a_lower_level_too():
    def width(n, level=0.95):
        low, high = score_intervals(*noisy_counts(n), level=level)["mae"]
        return high - low

    assert width(400) < 0.7 * width(100)
    assert width(100, level=0.5) < 0.5 * width(100)


def test_the_interval_of_a_mean_is_that_of_student():
    random = np.random.default_rng(4)
    errors = random.gamma(2, 1, 12)
    found = score_intervals(np.zeros(12), errors, metrics=lambda c, p: {"mean": p.mean()})["mean"]
    expected = stats.t.interval(0.95, 10, errors.mean(), errors.std(ddof=1) / np.sqrt(12))
    np.testing.assert_allclose(found, expected)


def test_scores_with_a_border_stay_inside():
    random = np.random.default_rng(0)
    counts = random.integers(0, 3, 30)
    predicted = counts + (random.random(30) < 0.3)
    found = score_intervals(counts, predicted, groups=np.arange(30) % 6)
    assert 0 < found["mae"][0] and found["exact"][1] < 1


def test_a_share_without_an_exception_has_what_so_many_groups_promise():
    counts = np.arange(20.0)
    low, high = score_intervals(counts, counts, groups=np.arange(20) % 10)["exact"]
    assert high == 1 and low == pytest.approx(0.025**0.1)  # ten groups
    low, high = score_intervals(counts, counts + 1)["exact"]
    assert low == 0 and high == pytest.approx(1 - 0.025 ** (1 / 20))


def test_a_score_that_is_the_same_without_each_group_has_none():
    counts = np.arange(40.0)
    assert "mae" not in score_intervals(counts, counts + 1)
    assert "mre" not in score_intervals(np.zeros(5), np.arange(5.0))


def test_whole_groups_are_left_out():
    """Ten groups of ten images that err alike say no more than ten images do."""
    random = np.random.default_rng(0)
    errors = random.normal(0, 2, 10)
    groups = np.repeat(np.arange(10), 10)
    counts = np.full(100, 20.0)
    ten = score_intervals(np.full(10, 20.0), 20 + errors)["mae"]
    grouped = score_intervals(counts, counts + errors[groups], groups=groups)["mae"]
    assert grouped == pytest.approx(ten)
    low, high = score_intervals(counts, counts + errors[groups])["mae"]
    assert high - low < 0.6 * (grouped[1] - grouped[0])


def test_very_many_groups_are_left_out_together():
    counts, predicted = noisy_counts(3000)
    low, high = score_intervals(counts, predicted)["mae_raw"]
    error = np.abs(predicted - counts)
    assert high - low == pytest.approx(2 * 1.97 * error.std() / np.sqrt(3000), rel=0.2)


@pytest.mark.parametrize("few", [1, 2, 4])
def test_few_groups_do_not_say_how_groups_differ(few):
    counts, predicted = np.arange(40.0), np.arange(40.0) + np.arange(40) % 3
    assert score_intervals(counts, predicted, groups=np.arange(40) % few) == {}
    assert score_intervals(counts, predicted, groups=np.arange(40) % 5) != {}


def chambers(random, number, spread):
    """True and predicted counts of chambers, each harder or easier than the next."""
    counts, predicted, groups = [], [], []
    for k in range(number):
        truth = random.integers(0, 20, random.integers(6, 24))
        scale = 0.4 * np.exp(spread * random.normal()) * np.sqrt(0.3 + 0.1 * truth)
        noise = 0.25 * spread * random.normal() + scale * random.normal(size=len(truth))
        counts.append(truth)
        predicted.append(np.maximum(truth + noise, 0))
        groups.append(np.full(len(truth), k))
    return [np.concatenate(part) for part in (counts, predicted, groups)]


@pytest.mark.slow
@pytest.mark.parametrize("number", [7, 20, 60])
@pytest.mark.parametrize("spread", [0.3, 0.8])
def test_intervals_of_scores_hold_the_score_of_new_chambers(number, spread):
    """93 to 97 % of nominal 95 % intervals, within what 600 repeats can show."""
    random = np.random.default_rng(number)
    everywhere = chambers(random, 8000, spread)
    truth = count_metrics(*everywhere[:2])
    held = {key: [] for key in ("mae", "mre", "exact", "bias_raw", "mae_raw")}
    for _ in range(600):
        counts, predicted, groups = chambers(random, number, spread)
        found = score_intervals(counts, predicted, groups=groups)
        for key, inside in held.items():
            inside.append(found[key][0] <= truth[key] <= found[key][1])
    for key, inside in held.items():
        assert 0.93 - 0.018 <= np.mean(inside) <= 0.97 + 0.014, (key, np.mean(inside))


def trainings(random, number, hard):
    """Absolute errors of the trainings of one method in groups that are hard for all methods.

    Args:
        hard: mean error in each group, ``[number, groups]``.
    """
    levels = 1 + 0.3 * random.normal(size=(number, 1))  # some trainings turn out better
    mixed = 0.2 * random.normal(size=hard.shape)
    errors = (hard * levels + mixed)[..., None] + 0.4 * random.normal(size=(*hard.shape, 9))
    return [np.abs(part).ravel() for part in errors]


def hardness(random, number, groups, same_groups):
    shape = (1 if same_groups else number, groups)
    return np.broadcast_to(random.gamma(4, 0.125, shape), (number, groups))


def members(number, groups):
    return [np.repeat(np.arange(groups), 9)] * number


def test_a_difference_by_hand():
    """Four trainings that differ by 1, 2, 3 and 2, in groups of their own: Student's t."""
    zero = [np.zeros(10)] * 4
    gaps = [np.full(10, gap) for gap in (1.0, 2.0, 3.0, 2.0)]
    found = difference(gaps, zero, [np.arange(10) % 5] * 4, same_groups=False)
    t, p = stats.ttest_1samp([1, 2, 3, 2], 0)
    assert (found.mean, found.p) == pytest.approx((2, p))
    assert (found.low, found.high) == pytest.approx(stats.t.interval(0.95, 3, 2, 2 / t))


def test_where_nothing_can_be_said_the_reason_is_given():
    errors = [np.ones(12), np.ones(12), np.ones(12)]
    few = [np.arange(12) % 4] * 3
    found = difference(errors, errors, few, same_groups=True)
    assert np.isnan(found.p) and found.reason == (
        "4 of at least 5 groups: nothing could be significant"
    )
    found = difference(errors[:1], errors[:1], [np.arange(12)], same_groups=True)
    assert np.isnan(found.p) and "1 of at least 3 trainings" in found.reason
    assert difference(errors, errors, [np.arange(12)] * 3, same_groups=True).p == 1


def test_a_clear_difference_is_found():
    random = np.random.default_rng(2)
    good = trainings(random, 5, hardness(random, 5, 20, True))
    bad = [errors + 1 + 0.1 * random.normal() for errors in good]
    found = difference(bad, good, members(5, 20), same_groups=True)
    assert found.p < 0.001 and found.low < 1 < found.high


@pytest.mark.slow
@pytest.mark.parametrize("same_groups", [True, False])
@pytest.mark.parametrize("number", [3, 5, 10])
@pytest.mark.parametrize("groups", [7, 40])
def test_equal_methods_are_rarely_called_different(same_groups, number, groups):
    """At most 6 % of comparisons of three equal methods name any pair, after Holm."""
    random = np.random.default_rng(number)
    named = []
    for _ in range(600):
        hard = hardness(random, number, groups, same_groups)
        methods = [trainings(random, number, hard) for _ in range(3)]
        p = [
            difference(methods[a], methods[b], members(number, groups), same_groups=same_groups).p
            for a, b in ((0, 1), (0, 2), (1, 2))
        ]
        named.append(holm(np.array(p)).min() < 0.05)
    assert np.mean(named) <= 0.06 + 0.015


def test_holm():
    corrected = holm(np.array([0.01, np.nan, 0.04, 0.03]))
    np.testing.assert_allclose(corrected, [0.03, np.nan, 0.06, 0.06])
    np.testing.assert_allclose(holm(np.array([0.7, 0.8])), [1, 1])
