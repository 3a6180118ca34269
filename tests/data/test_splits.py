"""Groups stay whole, shares are met, labels are chosen by seed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellzoo.data.image_set import ImageSet
from cellzoo.data.splits import choose_labelled, hide_labels, split_by_group
from cellzoo.errors import UsageError, UserError

SHARES = {"train": 0.7, "validation": 0.2, "test": 0.1}
group_lists = st.lists(st.integers(0, 30), min_size=1, max_size=120).map(
    lambda numbers: np.array([f"g{n}" for n in numbers])
)


def test_ten_single_images_are_split_exactly():
    splits = split_by_group(np.arange(10).astype(str), SHARES, seed=1)
    assert [np.sum(splits == split) for split in SHARES] == [7, 2, 1]


@given(groups=group_lists, seed=st.integers(0, 50))
def test_splits_keep_groups_whole_and_meet_the_shares(groups, seed):
    names, sizes = np.unique(groups, return_counts=True)
    if len(names) < 3:
        with pytest.raises(UserError, match="too few to split"):
            split_by_group(groups, SHARES, seed)
        return
    splits = split_by_group(groups, SHARES, seed)
    assert splits.shape == groups.shape
    assert set(splits) == set(SHARES)
    for name in names:
        assert len(set(splits[groups == name])) == 1
    smallest_share = min(SHARES.values()) * len(groups)
    if smallest_share >= sizes.max():  # no split can have gone without a group
        for split, share in SHARES.items():
            assert np.sum(splits == split) < share * len(groups) + sizes.max()


@given(groups=group_lists, seed=st.integers(0, 50), data=st.data())
def test_each_split_gets_its_share_of_the_labels(groups, seed, data):
    names = sorted(set(groups))
    if len(names) < 3:
        return
    few = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    labelled = np.isin(groups, few)
    splits = split_by_group(groups, SHARES, seed, labelled)
    assert set(splits) == set(SHARES)
    assert all(len(set(splits[groups == name])) == 1 for name in names)
    if len(few) >= 3:
        assert set(splits[labelled]) == set(SHARES)
    every = split_by_group(groups, SHARES, seed)
    all_labelled = split_by_group(groups, SHARES, seed, np.ones(len(groups), bool))
    np.testing.assert_array_equal(all_labelled, every)


@given(groups=group_lists, seed=st.integers(0, 50))
def test_splits_do_not_depend_on_the_order_of_images(groups, seed):
    if len(set(groups)) < 3:
        return
    order = np.random.default_rng(seed).permutation(len(groups))
    splits = split_by_group(groups, SHARES, 7)
    np.testing.assert_array_equal(split_by_group(groups[order], SHARES, 7), splits[order])


def test_splits_depend_on_the_seed_alone():
    groups = np.arange(40).astype(str)
    first = split_by_group(groups, SHARES, 1)
    np.testing.assert_array_equal(first, split_by_group(groups, SHARES, 1))
    assert (first != split_by_group(groups, SHARES, 2)).any()


def test_a_tiny_share_still_gets_the_smallest_group():
    groups = np.array(["a"] * 5 + ["b"] * 4 + ["c"])
    splits = split_by_group(groups, {"train": 0.99, "test": 0.01}, seed=0)
    assert splits.tolist() == ["train"] * 9 + ["test"]


def test_share_zero_gets_nothing():
    splits = split_by_group(np.array(["a", "b"]), {"train": 1.0, "test": 0.0}, seed=0)
    assert splits.tolist() == ["train", "train"]


@pytest.mark.parametrize("shares", [{"train": 0.5}, {"train": 1.5, "test": -0.5}, {}])
def test_shares_that_are_none(shares):
    with pytest.raises(UsageError, match="sum to 1"):
        split_by_group(np.array(["a", "b"]), shares, seed=0)


COUNTS = np.array([1, np.nan, 2, 3, 4, np.nan, 5, 0], np.float32)
GROUPS = np.array(["a", "a", "a", "a", "b", "b", "c", "c"])


def test_all_labels_are_kept_without_a_number():
    keep = choose_labelled(COUNTS, GROUPS, None, seed=0)
    np.testing.assert_array_equal(keep, ~np.isnan(COUNTS))


@pytest.mark.parametrize("seed", range(10))
def test_each_group_gives_one_label_before_any_gives_two(seed):
    keep = choose_labelled(COUNTS, GROUPS, 3, seed)
    assert sorted(GROUPS[keep]) == ["a", "b", "c"]
    assert not np.isnan(COUNTS[keep]).any()


@given(groups=group_lists, seed=st.integers(0, 50), data=st.data())
def test_a_larger_choice_contains_the_smaller(groups, seed, data):
    counts = np.where(np.random.default_rng(seed).random(len(groups)) < 0.7, 1, np.nan)
    n = data.draw(st.integers(0, int((counts == 1).sum())))
    smaller = choose_labelled(counts, groups, n, seed)
    assert smaller.sum() == n
    everything = choose_labelled(counts, groups, int((counts == 1).sum()), seed)
    assert everything[smaller].all()
    for group in set(groups):
        taken = np.sum(smaller & (groups == group))
        others_left = everything & ~smaller & (groups != group)
        untouched = [g for g in set(groups[others_left]) if not (smaller & (groups == g)).any()]
        assert taken <= 1 or not untouched


@pytest.mark.parametrize(("share", "expected"), [(0.5, 3), (1.0, 6), (0.001, 1)])
def test_share_of_the_labelled_images(share, expected):
    assert choose_labelled(COUNTS, GROUPS, share, seed=0).sum() == expected


def test_choice_depends_on_the_seed_alone():
    counts, groups = np.ones(50), np.arange(50).astype(str)
    first = choose_labelled(counts, groups, 20, 1)
    np.testing.assert_array_equal(first, choose_labelled(counts, groups, 20, 1))
    assert (first != choose_labelled(counts, groups, 20, 2)).any()


def test_more_labels_than_there_are():
    with pytest.raises(UserError, match="7 labelled images .* only 6"):
        choose_labelled(COUNTS, GROUPS, 7, seed=0)


@pytest.mark.parametrize("n", [-1, 0.0, 1.5, -0.5, float("nan")])
def test_numbers_of_labels_that_are_none(n):
    with pytest.raises(UsageError, match="labelled images"):
        choose_labelled(COUNTS, GROUPS, n, seed=0)


def test_hide_labels():
    image_set = ImageSet(
        np.zeros((3, 2, 2), np.float32), np.array([1, 2, np.nan], np.float32),
        *[np.array(list("abc"))] * 3,
    )
    hidden = hide_labels(image_set, np.array([False, True, True]))
    np.testing.assert_array_equal(hidden.counts, [np.nan, 2, np.nan])
    assert hidden.counts.dtype == np.float32
    assert hidden.labelled.tolist() == [False, True, False]
    np.testing.assert_array_equal(image_set.counts, [1, 2, np.nan])


def test_who_hides_a_count_hides_the_mask_too():
    image_set = ImageSet(
        np.zeros((3, 2, 2), np.float32), np.array([1, 2, np.nan], np.float32),
        *[np.array(list("abc"))] * 3, masks=np.ones((3, 2, 2), np.uint8),
    )
    hidden = hide_labels(image_set, np.array([False, True, False]))
    assert hidden.has_mask.tolist() == [False, True, True]
    assert not hidden.masks[0].any() and hidden.masks[1:].all()
    assert image_set.has_mask.all()


def test_hidden_counts_hide_the_points():
    points = np.empty(2, object)
    points[0], points[1] = np.zeros((1, 2)), np.zeros((2, 2))
    names = np.array(["a", "b"])
    counts = np.array([1, 2], np.float32)
    image_set = ImageSet(np.zeros((2, 4, 4)), counts, names, names, names, points=points)
    hidden = hide_labels(image_set, np.array([True, False]))
    assert hidden.has_points.tolist() == [True, False]
    assert image_set.has_points.all()
