"""What some checked images say of the others, against hand-made numbers and simulation."""

import numpy as np
import pytest
from scipy import stats

from cellzoo.scores.counts import round_count
from cellzoo.scores.sampled import Sample, draw, strata_of


def test_strata_go_from_few_cells_to_many_and_are_as_large_as_each_other():
    predicted = np.array([9.0, 1, 7, 3, 5, 2, 8, 4, 6, 0])
    np.testing.assert_array_equal(strata_of(predicted, 8), [1, 0, 1, 0, 1, 0, 1, 0, 1, 0])
    assert set(strata_of(predicted, 7)) == {0}


def test_each_image_is_drawn_as_often_as_any_other_and_each_stratum_gives_its_share():
    predicted = np.arange(60.0)
    drawn = np.zeros(60)
    for seed in range(2000):
        places = draw(predicted, 20, seed)
        assert len(set(places)) == 20
        assert (np.bincount(places // 12) == 4).all()
        drawn[places] += 1
    assert stats.chisquare(drawn).pvalue > 1e-3


def test_as_many_are_drawn_as_are_asked_for():
    for images in (14, 19, 24):
        for number in range(5, images):
            assert len(set(draw(np.arange(float(images)), number, 0))) == number


def test_the_draw_is_that_of_its_seed():
    predicted = np.random.default_rng(0).random(100)
    np.testing.assert_array_equal(draw(predicted, 20, 0), draw(predicted, 20, 0))
    assert (draw(predicted, 20, 0) != draw(predicted, 20, 1)).any()


def test_a_mean_is_that_of_student_where_there_is_one_stratum():
    """Of very many images: then the rest hardly varies around its mean."""
    predicted = np.full(10**6, 5.0)
    true = np.array([5.0, 6, 4, 7, 5, 3, 6])  # seven images: one stratum
    found = Sample(predicted, np.arange(7), true).scores()["bias_raw"]
    errors = 5 - true
    expected = stats.t.interval(0.95, 6, errors.mean(), errors.std(ddof=1) / np.sqrt(7))
    np.testing.assert_allclose([found.low, found.high], expected, rtol=1e-4)


def test_strata_are_weighted_by_what_is_left_of_them():
    """Two strata of ten: four checked of the one, eight of the other; 6 and 2 are left."""
    predicted = np.arange(20.0)
    places = np.r_[0:4, 10:18]
    true = predicted[places] - np.r_[[1.0] * 4, [3.0] * 8]
    sample = Sample(predicted, places, true)
    assert len(np.unique(strata_of(predicted, 12))) == 3
    few = Sample(predicted, places[[0, 1, 2, 4, 5, 6, 7]], true[[0, 1, 2, 4, 5, 6, 7]])
    assert few.scores()["bias_raw"].value == pytest.approx((3 * 1 + 4 * 3) / 7)  # one stratum
    found = sample.scores()
    # Thirds 0-6, 7-13, 14-19, of which 3, 3 and 2 are left.
    assert found["bias_raw"].value == pytest.approx((3 * 1 + 3 * 3 + 2 * 3) / 8)
    assert np.isnan(found["bias_raw"].low)  # alike within each: they do not say how they vary


def test_a_share_has_what_the_hypergeometric_distribution_says():
    """Of 4 drawn and 2 others: all possible numbers, written out by hand."""
    sample = Sample(np.zeros(6), np.arange(4), np.zeros(4))
    every = sample.share(np.ones(4, bool))
    # With none of the two others right, four right of four is drawn in 1 of 15: above 2.5 %.
    assert (every.low, every.value, every.high) == (0, 1, 1)
    many = Sample(np.zeros(10**6), np.arange(20), np.zeros(20)).share(np.ones(20, bool))
    assert many.low == pytest.approx(0.025 ** (1 / 20), abs=1e-3)
    half = Sample(np.zeros(10**6), np.arange(20), np.zeros(20)).share(np.arange(20) < 10)
    exact = stats.binomtest(10, 20).proportion_ci(0.95, "exact")
    assert (half.low, half.high) == pytest.approx((exact.low, exact.high), abs=1e-3)


def population(kind, number, random):
    """True and predicted counts of images whose groups differ."""
    groups = random.integers(0, max(number // 25, 4), number)
    true = random.poisson(random.uniform(2, 40, groups.max() + 1)[groups]).astype(float)
    noise = 0.5 * random.normal(size=groups.max() + 1)[groups]
    noise += 0.87 * random.normal(size=number)
    predicted = {
        "as the root of the count": true + 0.5 * np.sqrt(true + 0.5) * noise,
        "in proportion, 20 % too many": 1.2 * true * (1 + 0.15 * noise),
        "late, half of those above 20 missed": true - 0.5 * np.maximum(true - 20, 0) + 0.7 * noise,
        "2 cells too many": true + 2 + 0.8 * noise,
        "8 cells too many in 1 of 20 images": true + 0.3 * noise
        + 8 * (random.random(number) < 0.05),
    }[kind]  # fmt: skip
    return true, np.maximum(predicted, 0)


KINDS = {  # the least share of intervals that hold, and the correction that is found
    "as the root of the count": (0.91, "none"),
    "in proportion, 20 % too many": (0.91, "factor"),
    "late, half of those above 20 missed": (0.91, "factor"),
    "2 cells too many": (0.89, "shift"),
    "8 cells too many in 1 of 20 images": (0.5, "none"),
}


def held(kind, number, checked, repeats):
    """Of repeated draws: which intervals hold what is true of the rest, and the corrections."""
    random = np.random.default_rng(1)
    inside, kinds = {}, []
    for seed in range(repeats):
        true, predicted = population(kind, number, random)
        places = draw(predicted, checked, seed)
        rest = np.setdiff1d(np.arange(number), places)
        sample = Sample(predicted, places, true[places])
        correction = sample.correction()
        errors = round_count(predicted[rest]) - true[rest]
        corrected = round_count(correction.apply(predicted[rest])) - true[rest]
        facts = {
            "mae": (sample.scores()["mae"], np.abs(errors).mean()),
            "exact": (sample.scores()["exact"], (errors == 0).mean()),
            "bias": (sample.scores()["bias_raw"], (predicted - true)[rest].mean()),
            "factor": (sample.factor(), true[rest].sum() / predicted[rest].sum()),
            "mae corrected": (correction.mae, np.abs(corrected).mean()),
        }
        for key, (found, fact) in facts.items():
            inside.setdefault(key, []).append(found.low <= fact <= found.high)
        kinds.append(correction.kind)
    return inside, kinds


@pytest.mark.slow
@pytest.mark.parametrize("number", [60, 1000])
@pytest.mark.parametrize("kind", KINDS)
def test_intervals_hold_what_is_true_of_the_rest(kind, number):
    least, correction = KINDS[kind]
    inside, kinds = held(kind, number, 20, repeats=400)
    for key, values in inside.items():
        assert np.mean(values) >= least, key
    assert kinds.count(correction) > 0.8 * len(kinds)


def test_a_correction_is_found_where_there_is_one_and_makes_the_error_smaller():
    for kind in ("in proportion, 20 % too many", "2 cells too many"):
        random = np.random.default_rng(3)
        true, predicted = population(kind, 200, random)
        places = draw(predicted, 20, 0)
        sample = Sample(predicted, places, true[places])
        correction = sample.correction()
        assert correction.kind == KINDS[kind][1]
        rest = np.setdiff1d(np.arange(200), places)
        before = np.abs(predicted - true)[rest].mean()
        after = np.abs(correction.apply(predicted) - true)[rest].mean()
        assert after < 0.8 * before


def test_counts_of_nothing_have_no_factor():
    sample = Sample(np.zeros(40), np.arange(20), np.arange(20) % 2.0)
    assert np.isnan(sample.factor().value)
    assert sample.correction().kind in {"shift", "none"}
