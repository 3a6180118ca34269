"""Cells that leave in mid-growth are seen, or the interval allows for them."""

import sys
from pathlib import Path

import numpy as np
import pytest

from cellzoo.timelapse.growth.estimate import estimate
from cellzoo.timelapse.growth.fit import fit_growth
from cellzoo.timelapse.growth.losses import Suspicion, interval
from cellzoo.timelapse.growth.series import Series
from cellzoo.timelapse.growth.window import ARRIVAL, Change, find_window

sys.path.insert(0, str(Path(__file__).parent))
from colonies import colonies, miscounted, rate  # noqa: E402

sys.path.pop(0)
DOUBLING = 20.0


def grown(number, lose, lag=0.0, plateau=0.0, cv=0.25, seed=5):
    """Estimates of colonies that grow from 2 to 20 cells, of which some leave within one hour."""
    random = np.random.default_rng(seed)
    growing = DOUBLING * np.log2(10)
    hours = np.arange(0, lag + growing + plateau, 1.0)
    ages = np.clip(hours - lag, 0, growing) * rate(cv) / np.log(2) / DOUBLING
    moments, where = np.unique(ages, return_inverse=True)
    counts = colonies(random, number, 2, cv, moments)[:, where].astype(float)
    at = int(np.searchsorted(hours, lag + 0.7 * growing))
    before = counts[:, at]
    # With all their descendants; a negative number comes in.
    left = np.where(before > lose, (before - lose) / before, 1)
    counts[:, at:] = np.rint(counts[:, at:] * left[:, None])
    none = np.full(len(hours), np.nan)
    return [
        estimate(Series("", hours, row, none, none, ("",) * len(hours)))
        for row in miscounted(random, counts, 0.5)
    ]


def held(found):
    """Share of intervals that hold the rate."""
    rated = [g for g in found if g.rate_per_hour is not None]
    return np.mean([g.rate_low <= np.log(2) / DOUBLING <= g.rate_high for g in rated])


def lost(found):
    """Share of series that say cells were lost."""
    return np.mean(["lost" in g.flag for g in found])


def test_four_cells_that_leave_among_ten():
    found = grown(30, 4)
    assert lost(found) >= 0.75  # some colonies have many more cells than ten by then
    assert held(found) >= 0.9


def test_no_cells_that_leave():
    found = grown(30, 0)
    assert lost(found) <= 0.05
    assert held(found) >= 0.9


def test_two_cells_that_leave_unseen_are_in_the_interval():
    found = grown(30, 2)
    assert lost(found) < 0.5
    assert held(found) >= 0.85
    # Without the loss they grew faster: the interval reaches further up than down.
    unseen = [g for g in found if not g.flag]
    above, below = (
        np.mean([abs(np.log(getattr(g, end) / g.rate_per_hour)) for g in unseen])
        for end in ("rate_high", "rate_low")
    )
    assert above > below


def test_an_end_of_the_interval_allows_for_what_would_move_the_rate_there():
    hours, none = np.arange(61.0), np.full(61, np.nan)
    series = Series("", hours, np.rint(2 * 2 ** (hours / DOUBLING)), none, none, ("",) * 61)
    fit = fit_growth(series, find_window(series))
    slower = np.array([0.7 * fit.rate])
    one = Suspicion(Change(ARRIVAL, 30, 4), 1.0, np.ones(1), slower, np.array([fit.error]))
    (low, high), (low_with, high_with) = interval(fit, []), interval(fit, [one])
    assert low_with < 0.8 * low
    assert high_with == pytest.approx(high)


def test_cells_that_come_in_within_an_hour():
    found = grown(30, -8)
    assert np.mean(["came in" in g.flag for g in found]) >= 0.8
    assert held(found) >= 0.9


def test_a_chamber_that_dies_is_used_up_to_its_peak():
    hours = np.arange(100.0)
    counts = np.rint(np.interp(hours, [60, 80], [1, 0]) * 3 * 2 ** (np.minimum(hours, 60) / 20))
    none = np.full(100, np.nan)
    found = estimate(Series("", hours, counts, none, none, ("",) * 100))
    assert "cells become fewer after 60.0 h" in found.flag
    assert found.doubling_hours == pytest.approx(DOUBLING, rel=0.05)


@pytest.mark.parametrize("place, count", [(0, 12), (-1, 30), (30, 25)])
def test_a_miscounted_frame_anywhere_is_left_out(place, count):
    hours = np.arange(61.0)
    counts = np.rint(2 * 2 ** (hours / DOUBLING))
    counts[place] = count
    none = np.full(61, np.nan)
    found = estimate(Series("", hours, counts, none, none, ("",) * 61))
    assert found.flag == "1 frame whose count is far from those beside it is left out"
    assert found.left_out[place] and found.left_out.sum() == 1


@pytest.mark.slow
@pytest.mark.parametrize("lag, plateau", [(8, 0), (0, 60), (30, 60)])
@pytest.mark.parametrize("lose", [0, 4])
def test_losses_between_lag_and_plateau(lag, plateau, lose):
    found = grown(100, lose, lag, plateau)
    assert held(found) >= 0.9
    assert lost(found) >= 0.6 if lose else lost(found) <= 0.06
