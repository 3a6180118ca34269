"""Neighbours counted by hand, and the plane that UMAP makes of clear clusters."""

import sys

import numpy as np
import pytest

from cellzoo.evaluation.embedding import flat_features, mixing, sample, umap_plane


def on_a_line(*places):
    return np.array(places, float)[:, None]


def test_mixing_of_neighbours_counted_by_hand():
    # Nearest neighbours: 0 -> 1 and 1 -> 0 are of the other set, 10 -> 11 and 11 -> 10 as well.
    # By chance 2 of 3 other points are of the other set: 1 / (2 / 3).
    assert mixing(on_a_line(0, 10), on_a_line(1, 11), neighbours=1) == pytest.approx(1.5)
    # Of two neighbours of each: 0 sees 1 and 10, 10 sees 11 and 1, 1 sees 0 and 10, 11 sees 10
    # and 1. Shares 1/2, 1, 1, 1/2: their mean 3/4 over 2/3.
    assert mixing(on_a_line(0, 10), on_a_line(1, 11), neighbours=2) == pytest.approx(9 / 8)
    assert mixing(on_a_line(0, 1, 2), on_a_line(90, 91, 92), neighbours=2) == 0
    # With all others as neighbours it is chance itself, however uneven the sets.
    assert mixing(on_a_line(0, 1), on_a_line(2, 3, 4, 5, 6), neighbours=99) == pytest.approx(1)
    assert np.isnan(mixing(on_a_line(), on_a_line(1.0)))


def test_a_set_counts_as_much_as_the_other_however_small():
    # 0 has 1 beside it, which is of the other set: 1 / (3 / 3). The three have: 1 -> 0, other:
    # 1 / (1 / 3) = 3; 5 -> 6 and 6 -> 5: 0. Means 1 and 1.
    assert mixing(on_a_line(0), on_a_line(1, 5, 6), neighbours=1) == pytest.approx(1)


def test_points_at_one_place_are_not_their_own_neighbours():
    same = np.zeros((30, 2))
    assert mixing(same, same, neighbours=59) == pytest.approx(1)


def test_shuffled_sets_mix_as_chance_has_it():
    points = np.random.default_rng(0).normal(size=(900, 3))
    assert mixing(points[:600], points[600:]) == pytest.approx(1, abs=0.05)


def test_a_map_is_averaged_over_its_places():
    maps = np.arange(2 * 2 * 3 * 4, dtype=np.float32).reshape(2, 2, 3, 4)
    np.testing.assert_allclose(flat_features(maps)[1], maps[1].mean(axis=(0, 1)))
    np.testing.assert_array_equal(flat_features(maps[0, 0]), maps[0, 0])


def test_small_parts_leave_room_to_large_ones():
    chosen = sample({"many": 100, "few": 3, "some": 40}, most=50)
    assert {name: len(places) for name, places in chosen.items()} == {
        "many": 24, "few": 3, "some": 23
    }  # fmt: skip
    assert all((np.diff(places) > 0).all() for places in chosen.values())
    assert len(sample({"many": 100}, most=500)["many"]) == 100


def test_the_plane_keeps_clusters_apart_and_is_the_same_every_time(monkeypatch):
    monkeypatch.delitem(sys.modules, "umap")  # the stand-in of other tests
    random = np.random.default_rng(0)
    clusters = [random.normal(place, 0.1, (20, 5)) for place in (0, 9)]
    plane = umap_plane(np.concatenate(clusters))
    assert plane.shape == (40, 2)
    assert mixing(plane[:20], plane[20:]) == 0
    np.testing.assert_array_equal(plane, umap_plane(np.concatenate(clusters)))
