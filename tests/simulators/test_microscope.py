import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellzoo.errors import UsageError
from cellzoo.simulators import microscope
from cellzoo.simulators.microscope import (
    TABLE_1,
    labelled_at_regular_interval,
    simulate_series,
    simulate_set,
)

MODALITIES = ["bf", "pc"]


@pytest.fixture(scope="module", params=MODALITIES)
def simulated(request):
    return request.param, simulate_set(request.param, 150, 7, prefix="p")


def test_shapes_types_and_names(simulated):
    _, made = simulated
    assert made.images.shape == (150, 128, 128) and made.images.dtype == np.uint8
    assert made.counts.shape == (150,) and made.counts.dtype == np.int32
    assert made.hours.shape == (150,) and made.hours.dtype == np.float32
    assert len(made.groups) == 150
    assert sorted(set(made.groups)) == [f"p_{k:03d}" for k in range(6)]


def test_grey_levels_are_near_the_papers_figures(simulated):
    modality, made = simulated
    # Over the authors' natural images.
    mean, spread = {"bf": (0.744, 0.033), "pc": (0.240, 0.042)}[modality]
    grey = made.images / 255
    assert grey.mean() == pytest.approx(mean, abs=0.02)
    assert grey.std((1, 2)).mean() == pytest.approx(spread, abs=0.012)


@pytest.mark.parametrize("modality", MODALITIES)
def test_counts_span_the_papers_range_with_more_low_than_high_ones(modality, unlit):
    made = simulate_set(modality, 600, 0)
    assert made.counts.min() == 1 and 25 <= made.counts.max() <= 30
    assert np.sum(made.counts <= 10) > 1.5 * np.sum(made.counts > 10)
    assert np.abs(made.counts - made.counts.mean()).mean() == pytest.approx(4.5, abs=0.8)


def test_overall_brightness_does_not_give_the_count_away(simulated):
    _, made = simulated
    grey = made.images / 255
    simple = np.stack([grey.mean((1, 2)), grey.std((1, 2)), np.ones(150)], 1)
    fit = np.linalg.lstsq(simple, made.counts, rcond=None)[0]
    assert np.abs(simple @ fit - made.counts).mean() > 1.5


@pytest.mark.parametrize("modality", MODALITIES)
def test_equal_seed_equal_pixels_other_seed_others(modality):
    one, same, other = (simulate_series(modality, 3, seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.images, same.images)
    np.testing.assert_array_equal(one.counts, same.counts)
    assert np.any(one.images != other.images)


def test_sequences_of_numbers_are_seeds_and_trailing_zeros_matter():
    plain, same, longer = (simulate_series("bf", 1, s).images for s in (3, [3], (3, 0)))
    np.testing.assert_array_equal(plain, same)
    assert np.any(plain != longer)


def test_a_chamber_does_not_depend_on_the_number_of_images():
    short = simulate_set("pc", 7, 1, frames_per_chamber=4)
    long = simulate_set("pc", 10, 1, frames_per_chamber=4)
    np.testing.assert_array_equal(short.images, long.images[:7])
    np.testing.assert_array_equal(short.counts, long.counts[:7])
    np.testing.assert_array_equal(short.hours, long.hours[:7])
    assert short.groups == long.groups[:7] == ["chamber_000"] * 4 + ["chamber_001"] * 3


def test_sets_of_other_name_share_no_chamber():
    train = simulate_set("bf", 2, 1, prefix="bf_train")
    test = simulate_set("bf", 2, 1, prefix="bf_test")
    assert np.any(train.images != test.images)


@pytest.mark.parametrize("modality", MODALITIES)
def test_culture_doubles_in_the_asked_time(modality, unlit):
    hours = doublings = 0.0
    for seed in range(14):
        series = simulate_series(modality, 13, seed, stride=15, doubling_hours=20.0)
        last = np.flatnonzero(series.counts < 26)[-1]  # later, division waits for room
        doublings += np.log2(series.counts[last] / series.counts[0])
        hours += series.hours[last]
    assert hours / doublings == pytest.approx(20.0, rel=0.15)


def test_twice_the_doubling_time_halves_the_growth(unlit):
    slow = simulate_series("bf", 5, 2, stride=30, doubling_hours=80.0)
    fast = simulate_series("bf", 5, 2, stride=30, doubling_hours=12.0)
    assert slow.counts[-1] < fast.counts[-1]


def test_series_grow_from_few_cells_and_hardly_ever_shrink(unlit):
    for seed in range(10):
        counts = simulate_series("pc", 25, seed).counts
        assert 1 <= counts[0] <= 4
        assert counts[-1] > counts[0]
        assert np.diff(counts).min() >= -2
        assert np.sum(np.diff(counts) < 0) <= 4


def test_no_image_exceeds_the_greatest_count(unlit):
    assert simulate_series("bf", 30, 4, stride=20).counts.max() == 30
    assert simulate_series("bf", 10, 4, stride=20, max_count=5).counts.max() == 5
    assert simulate_series("bf", 4, 4, max_count=1).counts.tolist() == [1] * 4


def test_empty_chambers_come_only_on_request(unlit):
    firsts = {low: [simulate_series("bf", 1, seed, min_count=low).counts[0] for seed in range(40)]
              for low in (0, 1)}  # fmt: skip
    assert min(firsts[0]) == 0
    assert min(firsts[1]) == 1


def test_hours_follow_interval_and_stride():
    series = simulate_series("bf", 3, 0, interval_minutes=30, stride=4)
    assert series.hours.tolist() == [0.0, 2.0, 4.0]


@pytest.mark.parametrize("size", [64, 128, 200])
def test_size(size):
    assert simulate_series("pc", 1, 0, size=size).images.shape == (1, size, size)


@pytest.mark.parametrize("modality", MODALITIES)
def test_every_counted_cell_is_in_the_picture(modality):
    series, instances = microscope._simulate(modality, 12, 8, 12, stride=20, return_instances=True)
    assert series.counts.max() > 10
    for count, labels in zip(series.counts, instances, strict=True):
        numbers, areas = np.unique(labels[labels > 0], return_counts=True)
        assert numbers.tolist() == list(range(1, count + 1))
        assert areas.min() >= 12 and areas.max() < np.pi * 13**2


@pytest.mark.parametrize("modality", MODALITIES)
def test_masks_do_not_change_pixels(modality):
    masked, _ = microscope._simulate(modality, 2, 3, 2, return_instances=True)
    np.testing.assert_array_equal(masked.images, simulate_series(modality, 2, 3).images)


@pytest.mark.parametrize("modality", MODALITIES)
def test_cells_are_not_ellipses(modality):
    """An ellipse equals its own half turn; a cell does not."""
    _, instances = microscope._simulate(modality, 6, 2, 6, stride=1, size=256,
                                        return_instances=True)  # fmt: skip
    cells = [labels == k for labels in instances for k in range(1, labels.max() + 1)]
    y, x = np.mgrid[:256, :256]
    ellipses = [((y - 128.3) / 12) ** 2 + ((x - 127.6) / r) ** 2 < 1 for r in (9, 10, 11, 12)]

    def asymmetry(mask):
        y, x = np.nonzero(mask)
        turned = np.stack([2 * y.mean() - y, 2 * x.mean() - x]).round().astype(int)
        return 1 - mask[tuple(turned.clip(0, 255))].mean()

    assert np.mean([asymmetry(m) for m in cells]) > 2 * max(asymmetry(m) for m in ellipses)


@pytest.mark.parametrize("modality", MODALITIES)
def test_cells_are_visible_where_the_mask_says(modality):
    """Grey levels vary more inside cells than on the empty floor of the same chamber."""
    series, instances = microscope._simulate(modality, 8, 21, 8, stride=20, return_instances=True)
    floor = np.zeros((128, 128), bool)
    floor[25:105, 40:95] = True
    inside = [i[m > 0].std() for i, m in zip(series.images, instances, strict=True)]
    outside = [i[(m == 0) & floor].std() for i, m in zip(series.images, instances, strict=True)]
    assert np.median(inside) > 1.5 * np.median(outside)


@given(st.integers(1, 4000).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
@settings(deadline=None)
def test_labels_come_at_a_regular_interval(sizes):
    n, labelled = sizes
    mask = labelled_at_regular_interval(n, labelled)
    assert mask.shape == (n,) and mask.dtype == bool and mask.sum() == labelled
    gaps = np.diff(np.flatnonzero(mask))
    assert labelled < 2 or gaps.max() - gaps.min() <= 1


def test_labels_by_hand():
    assert np.flatnonzero(labelled_at_regular_interval(9, 3)).tolist() == [1, 4, 7]


def test_table_1_adds_up():
    # Section 2.1: 956 bright-field and 3976 phase-contrast images, 7.5 % of the first training
    # images labelled.
    assert sum(TABLE_1["natural"]["bf"].values()) == 956
    assert sum(TABLE_1["natural"]["pc"].values()) == 3976
    bf = TABLE_1["natural"]["bf"]
    labelled, unlabelled = bf["train_labelled"], bf["train_unlabelled"]
    assert labelled / (labelled + unlabelled) == pytest.approx(0.075, abs=0.001)


@pytest.mark.parametrize("make", [simulate_series, simulate_set])
def test_a_wrong_modality_is_named(make):
    with pytest.raises(UsageError, match=r"data\.natural\.modality is 'dic'.*'bf'.*'pc'"):
        make("dic", 2, 0)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"frames": 0}, "frames is 0"),
        ({"size": 8}, "size is 8"),
        ({"stride": 0}, "stride is 0"),
        ({"max_count": 0}, "max_count is 0"),
        ({"max_count": 500}, "max_count is 500"),
        ({"min_count": 2}, "min_count is 2"),
        ({"interval_minutes": 0}, "interval_minutes is 0"),
        ({"doubling_hours": -1}, "doubling_hours is -1"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 1.5}, "seed is 1.5"),
        ({"seed": "one"}, "seed is 'one'"),
        ({"seed": []}, "seed is "),
    ],
)
def test_wrong_arguments_are_named(wrong, named):
    with pytest.raises(UsageError, match=named):
        simulate_series(**{"modality": "bf", "frames": 2, "seed": 0, **wrong})


def test_wrong_set_sizes_are_named():
    with pytest.raises(UsageError, match="data.natural.n is 0"):
        simulate_set("bf", 0, 0)
    with pytest.raises(UsageError, match="frames_per_chamber is 0"):
        simulate_set("bf", 1, 0, frames_per_chamber=0)
    with pytest.raises(UsageError, match="labelled is 3; it must be between 0 and 2"):
        labelled_at_regular_interval(2, 3)


@pytest.fixture
def unlit(monkeypatch):
    """Grow cultures without taking pictures: counts do not depend on them."""

    class Unlit:
        def __init__(self, kind, rng):
            pass

        def expose(self, looks, rng, size, return_instances):
            return np.zeros((size, size), np.uint8), None

    monkeypatch.setattr(microscope, "Chamber", Unlit)
