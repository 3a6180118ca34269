"""The table of a comparison, against numbers worked out by hand."""

import numpy as np
import pytest

from cellzoo.data.image_set import ImageSet
from cellzoo.evaluation.comparison import COLUMNS, POOLED, Drawn, Method, pairs, table


def images(counts, groups):
    n = len(counts)
    return ImageSet(
        np.zeros((n, 4, 4), np.float32), np.array(counts, np.float32), np.array(groups),
        np.array([f"{k}.png" for k in range(n)]), np.full(n, "test"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def two_seeds():
    """Counts 1, 2 and 4 of the groups a, a and b, in both seeds."""
    return {seed: images([1, 2, 4], ["a", "a", "b"]) for seed in (1, 2)}


@pytest.fixture(scope="module")
def methods():
    good = Method("good", parameters=7, training_seconds={1: 10.0, 2: 20.0}, images_per_second=5.0)
    good.natural = {1: np.array([1.4, 2.0, 3.0]), 2: np.array([1.0, 2.0, 4.0])}
    good.synthetic = {1: Drawn(1, np.array([2.0, 4.0]), np.array([2.0, 5.0]))}
    bad = Method("bad")
    bad.natural = {1: np.array([3.0, 2.0, 4.0]), 2: np.array([1.0, 2.0, 8.0])}
    return [good, bad]


@pytest.fixture(scope="module")
def rows(methods, two_seeds):
    return by_method_and_seed(table(methods, two_seeds, same_groups=True))


def by_method_and_seed(rows):
    return {(row["method"], row["seed"]): row for row in rows}


def test_scores_by_seed_and_of_all_seeds(rows):
    assert list(rows) == [(m, s) for m in ("good", "bad") for s in (1, 2, POOLED)]
    maes = [row["natural_mae"] for row in rows.values()]
    assert maes == pytest.approx([1 / 3, 0, 1 / 6, 2 / 3, 4 / 3, 1])
    mres = [row["natural_mre"] for row in rows.values()]
    assert mres == pytest.approx([1 / 12, 0, 1 / 24, 2 / 3, 1 / 3, 1 / 2])
    exact = [row["natural_exact"] for row in rows.values()]
    assert exact == pytest.approx([2 / 3, 1, 5 / 6, 2 / 3, 2 / 3, 2 / 3])
    assert rows["bad", POOLED]["natural_mae_sd"] == pytest.approx((2 / 9) ** 0.5)
    assert rows["bad", 1]["natural_mae_sd"] is None


def test_the_lowest_natural_error_is_best(rows):
    assert [rows[m, POOLED]["best"] for m in ("good", "bad")] == [1, 0]


def test_two_trainings_do_not_show_a_difference(methods, two_seeds):
    (row,) = pairs(methods, two_seeds, same_groups=True)
    assert (row["first"], row["second"]) == ("good", "bad")
    assert row["difference"] == pytest.approx(1 / 6 - 1)
    assert row["p"] is row["p_holm"] is row["low"] is None
    assert row["reason"].startswith("2 of at least 3 trainings")


def test_all_pairs_are_compared_or_those_with_a_reference():
    random = np.random.default_rng(0)
    scored = {seed: images([3] * 12, list("aabbccddeeff")) for seed in (1, 2, 3, 4)}
    methods = [
        Method(label, {seed: 3 + shift + random.normal(0, 0.8, 12) for seed in scored})
        for label, shift in {"a": 0, "b": 0, "worse": 4}.items()
    ]
    every = pairs(methods, scored, same_groups=True)
    assert [(row["first"], row["second"]) for row in every] == [
        ("a", "b"), ("a", "worse"), ("b", "worse")
    ]  # fmt: skip
    same, *others = every
    assert same["p_holm"] > 0.05 and all(row["p_holm"] < 0.01 for row in others)
    assert all(row["low"] < -2 and row["high"] < 0 and not row["reason"] for row in others)
    named = pairs(methods, scored, same_groups=True, reference="b")
    assert [(row["first"], row["second"]) for row in named] == [("a", "b"), ("worse", "b")]


def test_groups_of_one_name_are_one_if_they_are_the_same_cells(methods, two_seeds, rows):
    others = by_method_and_seed(table(methods[:1], two_seeds, same_groups=False))
    assert [part["good", POOLED]["groups"] for part in (rows, others)] == [2, 4]
    assert [part["good", 1]["groups"] for part in (rows, others)] == [2, 2]
    assert rows["good", POOLED]["images"] == 6


def test_intervals_come_from_whole_groups(rows):
    assert rows["good", POOLED]["natural_mae_low"] is None  # of two groups
    method = Method("good", natural={1: np.array([2.0, 3.0] + [2.0] * 8 + [3.0] * 2)})

    def interval(groups):
        found = by_method_and_seed(table([method], {1: images([2] * 12, groups)}, same_groups=True))
        return [found["good", POOLED][f"natural_mae_{end}"] for end in ("low", "high")]

    # One group is wrong in one of its images and one in both, by 1 cell.
    low, high = interval(list("aabbccddeeff"))
    alone_low, alone_high = interval(list("abcdefghijkl"))
    assert low < alone_low < 1 / 4 < alone_high < high


def test_synthetic_scores_only_where_there_are_any(rows):
    assert rows["good", 1]["synthetic_mae"] == rows["good", POOLED]["synthetic_mae"] == 0.5
    assert rows["good", POOLED]["synthetic_mre"] == 0.125
    assert rows["good", 2]["synthetic_mae"] is rows["bad", POOLED]["synthetic_mae"] is None


def test_costs(rows):
    assert [rows["good", s]["training_seconds"] for s in (1, 2, POOLED)] == [10, 20, 15]
    assert {rows["good", s]["parameters"] for s in (1, 2, POOLED)} == {7}
    assert rows["bad", POOLED]["training_seconds"] is None


def test_every_row_has_every_column(rows):
    assert all(list(row) == COLUMNS for row in rows.values())
