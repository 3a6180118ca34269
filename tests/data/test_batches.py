"""Batches: a pure function of the step, in which every image has its turn."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellzoo.data.augment import Augment
from cellzoo.data.batches import TrainingBatches
from cellzoo.data.image_set import ImageSet
from cellzoo.data.synthetic import SyntheticImages
from cellzoo.synthetic.drawing import SyntheticCells
from cellzoo.synthetic.settings import Synthetic


def natural_set(n=10, labelled=4):
    """Image k is grey level k / 1000 all over, so that a batch tells which images it holds."""
    counts = np.where(np.arange(n) < labelled, np.arange(n), np.nan).astype(np.float32)
    images = np.tile((np.arange(n) / 1000).astype(np.float32)[:, None, None], (1, 4, 4))
    names = np.array([str(k) for k in range(n)])
    return ImageSet(images, counts, names, names, np.full(n, "train"))


class CountingSource:
    """A source of synthetic images that are told by their grey level as well."""

    size = 6

    def batch(self, step, indices):
        images = np.tile((indices / 1000)[:, None, None], (1, 4, 4))
        return images, indices, np.zeros((len(indices), 4, 4), np.uint16)


def unchanged(images, seed, masks=None):
    return images if masks is None else (images, masks)


def noisy(images, seed, masks=None):
    return unchanged(images + np.random.default_rng(seed).random(images.shape) / 1e6, seed, masks)


def batches(natural=None, synthetic=None, augment=unchanged, **options):
    options = {"batch": 4, "labelled_share": None, "count_mean": "labelled", "seed": 1} | options
    return TrainingBatches(natural or natural_set(), synthetic, augment, **options)


def members(images):
    """Which images of the set a batch holds."""
    return np.round(images[:, 0, 0] * 1000).astype(int).tolist()


def assert_equal(one, other):
    for part, other_part in zip(one, other, strict=True):
        assert part.keys() == other_part.keys()
        for key in part:
            np.testing.assert_array_equal(part[key], other_part[key])


def synthetic_source(fresh):
    cells = SyntheticCells(Synthetic(preset="bf", margins=(0, 0, 0, 0), radius=(2, 4)), 32)
    return SyntheticImages(cells, 6, fresh, 1)


def test_names_shapes_and_types():
    x, y = batches(synthetic=CountingSource())(0)
    assert {key: array.shape for key, array in x.items()} == {
        "natural": (4, 4, 4),
        "synthetic": (4, 4, 4),
    }
    assert {key: (array.shape, array.dtype) for key, array in y.items()} == {
        f"{domain}_{part}": ((4,), np.float32)
        for domain in ("natural", "synthetic")
        for part in ("count", "weight")
    } | {
        "synthetic_density": ((4, 4, 4), np.float32),
        "synthetic_density_weight": ((4,), np.float32),
    }


def test_without_synthetic_images_there_is_no_such_domain():
    x, y = batches()(0)
    assert set(x) == {"natural"}
    assert set(y) == {"natural_count", "natural_weight"}


@pytest.mark.parametrize("fresh", [False, True])
def test_a_batch_depends_on_its_step_alone(fresh):
    natural = natural_set()
    natural = ImageSet(
        np.random.default_rng(0).random((10, 32, 32), np.float32),
        natural.counts, natural.groups, natural.names, natural.splits,
    )  # fmt: skip
    one, other = (
        batches(natural, synthetic_source(fresh), noisy, labelled_share=0.5) for _ in range(2)
    )
    forwards = [one(step) for step in range(8)]
    for step in reversed(range(8)):
        assert_equal(other(step), forwards[step])


def test_a_resumed_stream_is_the_rest_of_an_uninterrupted_one():
    whole = list(batches(synthetic=CountingSource(), augment=noisy).between(0, 8))
    resumed = list(batches(synthetic=CountingSource(), augment=noisy).between(5, 8))
    assert len(resumed) == 3
    for one, other in zip(resumed, whole[5:], strict=True):
        assert_equal(one, other)


def test_another_seed_gives_another_order():
    orders = [[members(x["natural"]) for x, _ in batches(seed=s).between(0, 5)] for s in (1, 2)]
    assert orders[0] != orders[1]


@given(n=st.integers(1, 30), batch=st.integers(1, 9), passes=st.integers(1, 3))
def test_every_image_comes_once_in_each_pass(n, batch, passes):
    stream = batches(natural_set(n, labelled=n), batch=batch)
    steps = -(-passes * n // batch)
    taken = [k for x, _ in stream.between(0, steps) for k in members(x["natural"])]
    for turn in range(passes):
        assert sorted(taken[turn * n : (turn + 1) * n]) == list(range(n))


def test_passes_differ_in_their_order():
    stream = batches(natural_set(30), batch=30)
    assert members(stream(0)[0]["natural"]) != members(stream(1)[0]["natural"])


def test_synthetic_images_come_once_in_each_pass():
    stream = batches(synthetic=CountingSource(), batch=3)
    taken = [k for x, _ in stream.between(0, 2) for k in members(x["synthetic"])]
    assert sorted(taken) == list(range(6))


def test_counts_belong_to_their_images():
    for x, y in batches(synthetic=CountingSource()).between(0, 10):
        for k, count, weight in zip(
            members(x["natural"]), y["natural_count"], y["natural_weight"], strict=True
        ):
            assert (count, weight > 0) == ((k, True) if k < 4 else (0, False))
        assert members(x["synthetic"]) == y["synthetic_count"].tolist()
        assert y["synthetic_weight"].tolist() == [1, 1, 1, 1]


@given(
    share=st.floats(0.01, 1), batch=st.integers(1, 12), labelled=st.integers(1, 9),
    step=st.integers(0, 50),
)  # fmt: skip
def test_the_labelled_share_of_a_batch_is_exact(share, batch, labelled, step):
    x, y = batches(natural_set(10, labelled), batch=batch, labelled_share=share)(step)
    assert len(x["natural"]) == batch
    assert (y["natural_weight"] > 0).sum() == max(1, round(batch * share))


def test_with_a_labelled_share_both_kinds_have_their_turns():
    stream = batches(natural_set(10, 4), batch=4, labelled_share=0.5)
    taken = [members(x["natural"]) for x, _ in stream.between(0, 6)]
    labelled = [k for batch in taken for k in batch if k < 4]
    assert sorted(labelled[:4]) == sorted(labelled[4:8]) == [0, 1, 2, 3]
    assert sorted(k for batch in taken[:3] for k in batch if k >= 4) == list(range(4, 10))


def test_a_labelled_share_of_a_set_that_is_labelled_throughout():
    x, y = batches(natural_set(10, 10), labelled_share=0.5)(0)
    assert (y["natural_weight"] > 0).all()
    assert len(set(members(x["natural"]))) == 4


def test_synthetic_images_take_their_share_of_a_natural_batch():
    made = batches(synthetic=CountingSource(), batch=8, labelled_share=0.25, synthetic_share=0.5)
    x, y = made(3)
    assert made.images_per_step == 16 and len(x["natural"]) == len(x["synthetic"]) == 8
    shown = members(x["natural"])
    assert all(k < 4 for k in shown[:2]) and all(k >= 4 for k in shown[2:4])
    assert y["natural_count"][4:].tolist() == shown[4:]  # CountingSource: the count is the number
    assert y["natural_weight"].tolist() == pytest.approx([8 / 6] * 2 + [0] * 2 + [8 / 6] * 4)
    assert_equal(made(3), (x, y))


def test_mixed_in_images_bring_their_masks_and_densities():
    natural = replace(
        natural_set(4, 4), masks=np.ones((4, 4, 4), np.uint8), has_mask=np.array([1, 1, 0, 1], bool)
    )
    x, y = batches(natural, CountingSource(), synthetic_share=0.5)(0)
    assert {key: len(values) for key, values in y.items()} == dict.fromkeys(y, 4)
    for known in ("natural_mask_weight", "natural_density_weight"):
        assert y[known][2:].tolist() == [1, 1]
    assert not y["natural_mask"][2:].any()  # CountingSource draws no cells


def test_without_synthetic_images_nothing_is_mixed_in():
    made = batches(synthetic_share=0.5)
    assert made.images_per_step == 4 and len(made(0)[0]["natural"]) == 4


@pytest.mark.parametrize(
    ("labelled", "share", "shares", "images"),
    [(4, 0.5, 1, 3), (4, 0.1, 1, 1), (4, 0.1, 2, 2), (4, 0.5, 2, 4), (4, None, 1, 6), (0, 1, 2, 2)],
)
def test_images_that_teach_nothing_are_left_out(labelled, share, shares, images):
    stream = batches(
        natural_set(10, labelled), CountingSource(), batch=6, labelled_share=share,
        unlabelled=False, shares=shares,
    )  # fmt: skip
    x, y = stream(0)
    assert len(x["natural"]) == len(y["natural_count"]) == images
    assert len(x["synthetic"]) == 6
    assert stream.images_per_step == images + 6
    # One without a count stands for a batch without any, and weighs nothing.
    assert (y["natural_weight"] > 0).all() == (labelled > 0)
    if labelled:
        assert y["natural_weight"].mean() == pytest.approx(1)


def test_of_a_set_that_is_labelled_throughout_none_is_left_out():
    assert_equal(*(batches(natural_set(10, 10), unlabelled=u)(0) for u in (False, True)))


@given(labelled=st.integers(0, 8), step=st.integers(0, 5))
def test_weights_average_over_labelled_images_or_over_the_batch(labelled, step):
    natural = natural_set(8, labelled)
    over_labelled = batches(natural, count_mean="labelled")(step)[1]["natural_weight"]
    over_batch = batches(natural, count_mean="batch")(step)[1]["natural_weight"]
    assert set(over_batch.tolist()) <= {0, 1}
    np.testing.assert_array_equal(over_labelled > 0, over_batch == 1)
    if over_batch.any():
        # Then mean(weights * errors) is the mean of the labelled images' errors.
        assert over_labelled.sum() / 4 == pytest.approx(1)
        assert len(set(over_labelled[over_labelled > 0].tolist())) == 1
    else:
        assert over_labelled.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(("n", "batch", "steps"), [(10, 4, 3), (4, 4, 2), (20, 4, 5), (1, 100, 1)])
def test_steps_of_a_pass_are_those_of_the_larger_set(n, batch, steps):
    assert batches(natural_set(n), CountingSource(), batch=batch).steps_per_pass == steps


def test_steps_of_a_pass_without_synthetic_images():
    assert batches(natural_set(3), batch=2).steps_per_pass == 2


def test_natural_and_synthetic_images_are_augmented_by_seeds_of_their_own():
    seeds = []

    def remembering(images, seed, masks=None):
        seeds.append(tuple(seed))
        return unchanged(images, seed, masks)

    stream = batches(synthetic=CountingSource(), augment=remembering)
    for _ in stream.between(0, 3):
        pass
    assert len(set(seeds)) == len(seeds) == 6


def test_kinds_share_a_batch_equally_however_many_images_they_have():
    natural = replace(natural_set(labelled=10), kinds=np.array(7 * ["a"] + 2 * ["b"] + ["c"]))
    made = batches(natural, batch=6, kinds_share_equally=True)
    kinds = [natural.kinds[members(made(step)[0]["natural"])].tolist() for step in range(4)]
    assert kinds == 4 * [["a", "a", "b", "b", "c", "c"]]


def test_a_fixed_source_gives_the_same_images_again_and_a_fresh_one_new_ones():
    indices = np.array([2, 0])
    fixed, fresh = synthetic_source(False), synthetic_source(True)
    for source, same in ((fixed, True), (fresh, False)):
        (first, counts, masks), (second, *_) = source.batch(0, indices), source.batch(1, indices)
        assert first.shape == masks.shape == (2, 32, 32) and counts.shape == (2,)
        assert masks.max(axis=(1, 2)).tolist() == counts.tolist()
        assert np.array_equal(first, second) is same
        np.testing.assert_array_equal(source.batch(0, indices)[0], first)


# Masks


def moved(images, seed, masks=None):
    """Adds the step to images; masks move one pixel to the right."""
    images = images + seed[-1] / 1e6
    return images if masks is None else (images, np.roll(masks, 1, axis=2))


def test_masks_are_augmented_with_their_images_and_weighted():
    natural = natural_set(4, labelled=4)
    masks = np.zeros((4, 4, 4), np.uint16)
    masks[:, 0, 0] = 300 + np.arange(4)
    natural = replace(natural, masks=masks, has_mask=np.array([True, False, True, True]))
    x, y = batches(natural, augment=moved)(0)
    assert y["natural_mask"].dtype == y["natural_mask_weight"].dtype == np.float32
    expected = np.zeros((4, 4, 4))
    expected[:, 0, 1] = 1
    np.testing.assert_array_equal(y["natural_mask"], expected)
    np.testing.assert_array_equal(
        y["natural_mask_weight"], [member != 1 for member in members(x["natural"])]
    )


def test_synthetic_density_holds_a_cell_where_each_cell_is():
    x, y = batches(natural_set(n=10), synthetic_source(False), augment=moved_masks)(0)
    total = y["synthetic_density"].sum(axis=(1, 2))
    np.testing.assert_allclose(total, y["synthetic_count"], rtol=1e-5)
    images, _, masks = synthetic_source(False).batch(0, np.arange(6))
    for image, density in zip(x["synthetic"], y["synthetic_density"], strict=True):
        (which,) = np.flatnonzero(np.abs(images - image).max(axis=(1, 2)) < 1e-3)
        np.testing.assert_array_equal(density > 0, np.roll(masks[which], 1, axis=1) > 0)


def moved_masks(images, seed, masks=None):
    """Moves only masks, so that it shows which of the two a density is made of."""
    return images if masks is None else (images, np.roll(masks, 1, axis=2))


def test_a_crop_that_leaves_one_numbered_cell_leaves_one_cell():
    def crop(images, seed, masks=None):
        return images if masks is None else (images, np.where(masks == 3, masks, 0))

    numbered = np.zeros((4, 4, 4), np.uint8)
    numbered[:, 0, :3] = 1, 2, 3
    natural = replace(natural_set(4, labelled=4), counts=np.full(4, 3, np.float32))
    natural = replace(natural, masks=numbered, has_mask=np.ones(4, bool))
    _, y = batches(natural, synthetic_source(False), augment=crop)(0)
    left = y["synthetic_density"].sum(axis=(1, 2))
    np.testing.assert_allclose(left, y["synthetic_count"] >= 3, rtol=1e-5)
    np.testing.assert_allclose(y["natural_density"].sum(axis=(1, 2)), 1, rtol=1e-5)


def test_images_are_the_same_with_and_without_masks():
    natural = natural_set()
    with_masks = replace(natural, masks=np.zeros((10, 4, 4), np.uint8))
    augment = Augment().build(4)
    one, other = (batches(n, augment=augment)(2)[0] for n in (natural, with_masks))
    np.testing.assert_array_equal(one["natural"], other["natural"])


def dotted_set():
    """Images of 8 x 8: two dots, none, a count of 3 without dots, no count."""
    points = np.empty(4, object)
    points[0], points[1] = np.float32([[1, 1], [6, 6]]), np.zeros((0, 2), np.float32)
    natural = natural_set(4)
    counts = np.array([2, 0, 3, np.nan], np.float32)
    images = np.tile(natural.images[:, :1, :1], (1, 8, 8))
    return replace(natural, images=images, counts=counts, points=points)


def keeps_points(images, seed, masks=None, points=None):
    return images, *(each for each in (masks, points) if each is not None)


def test_dots_become_densities_with_the_sum_of_the_counts():
    x, y = batches(dotted_set(), augment=keeps_points)(0)
    order = members(x["natural"])
    known = np.array([1, 1, 0, 0], np.float32)[order]
    np.testing.assert_array_equal(y["natural_density_weight"], known)
    np.testing.assert_array_equal(y["natural_count"], np.array([2, 0, 3, 0])[order])
    sums = y["natural_density"].sum(axis=(1, 2))
    np.testing.assert_allclose(sums, np.array([2, 0, 0, 0])[order], atol=1e-5)
    assert "natural_mask" not in y


def test_an_image_with_dots_counts_those_that_augmentation_leaves():
    def left_half(images, seed, points):
        return images, [None if p is None else p[p[:, 0] < 4] for p in points]

    x, y = batches(dotted_set(), augment=left_half)(0)
    expected = np.array([1, 0, 3, 0])[members(x["natural"])]
    np.testing.assert_array_equal(y["natural_count"], expected)


def test_windows_count_their_dots_and_show_dotted_images_alone():
    stream = batches(dotted_set(), augment=keeps_points, window=4, unlabelled=False)
    counts = {0: set(), 1: set()}
    for x, y in stream.between(0, 20):
        assert x["natural"].shape == y["natural_density"].shape == (4, 4, 4)
        for member, count in zip(members(x["natural"]), y["natural_count"], strict=True):
            counts[member].add(int(count))
        np.testing.assert_allclose(
            y["natural_density"].sum(axis=(1, 2)), y["natural_count"], atol=1e-5
        )
    assert counts == {0: {0, 1}, 1: {0}}


def test_a_window_of_an_image_without_dots_has_no_weight():
    x, y = batches(dotted_set(), augment=keeps_points, window=4)(0)
    dotted = np.array(members(x["natural"])) < 2
    np.testing.assert_array_equal(y["natural_weight"] > 0, dotted)
    np.testing.assert_array_equal(y["natural_density_weight"] > 0, dotted)


def test_dots_say_more_than_a_mask_and_a_mask_more_than_nothing():
    natural = dotted_set()
    masks = np.zeros((4, 8, 8), np.uint8)
    masks[:, :2, :2] = 1
    natural = replace(natural, masks=masks, has_mask=np.array([True, True, True, False]))
    x, y = batches(natural, augment=keeps_points)(0)
    density = y["natural_density"][np.argsort(members(x["natural"]))]
    known = y["natural_density_weight"][np.argsort(members(x["natural"]))]
    np.testing.assert_array_equal(known, [1, 1, 1, 0])
    assert density[0].sum() == pytest.approx(2) and not density[1].any()
    np.testing.assert_allclose(density[2], np.where(masks[2], 3 / 4, 0))
