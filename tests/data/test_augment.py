"""Augmentation: what stays, what varies, and with what it may vary."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellzoo.data.augment import Augment
from cellzoo.errors import UsageError

NOTHING = {"flip": False, "rotate": False, "crop": 1.0, "noise": 0.0}
IMAGES = np.random.default_rng(1).random((6, 12, 12), np.float32)


def augmentation(size, **settings):
    return Augment(**settings).build(size)


@settings(max_examples=30)
@given(
    flip=st.booleans(),
    rotate=st.booleans(),
    crop=st.floats(0.001, 1),
    noise=st.floats(0, 0.5),
    gain=st.floats(0, 2),
    offset=st.floats(0, 1),
    seed=st.integers(0, 2**31),
)
def test_any_settings_give_images_of_the_same_kind(seed, **options):
    augment = augmentation(size=12, **options)
    out = augment(IMAGES, (seed, 1))
    assert (out.shape, out.dtype) == (IMAGES.shape, np.float32)
    farthest = 7 * options["noise"]  # noise alone leaves [0, 1]
    assert out.min() >= -farthest and out.max() <= 1 + farthest
    np.testing.assert_array_equal(augment(IMAGES, (seed, 1)), out)


def test_without_any_step_images_stay_as_they_are():
    np.testing.assert_array_equal(augmentation(size=12, **NOTHING)(IMAGES, (1,)), IMAGES)


def test_the_given_images_are_not_changed():
    images = IMAGES.copy()
    augmentation(size=12, gain=0.5, offset=0.2)(images, (1,))
    np.testing.assert_array_equal(images, IMAGES)


def test_flips_and_turns_move_pixels_and_change_none():
    out = augmentation(size=12, crop=1.0, noise=0.0)(IMAGES, (3,))
    assert (out != IMAGES).any()
    for image, moved in zip(IMAGES, out, strict=True):
        np.testing.assert_array_equal(np.sort(moved, axis=None), np.sort(image, axis=None))


def test_noise_does_not_brighten_a_dark_ground():
    dark = np.zeros((8, 64, 64), np.float32)
    out = augmentation(size=64, **NOTHING | {"noise": 0.01})(dark, (2,))
    assert abs(out.mean()) < 5 * 0.01 / np.sqrt(out.size)
    assert abs(out.std() - 0.01) < 0.0002


def test_images_of_a_batch_are_treated_one_by_one():
    same = np.repeat(IMAGES[:1], 32, axis=0)
    out = augmentation(size=12, crop=1.0, noise=0.0)(same, (3,))
    assert len({image.tobytes() for image in out}) > 4


def test_another_generator_of_the_same_settings_does_the_same():
    one, other = (augmentation(size=12)(IMAGES, (5, 6)) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_what_came_before_plays_no_part():
    augment = augmentation(size=12)
    first = augment(IMAGES, (5, 6))
    augment(IMAGES[:2], (9, 9))
    np.testing.assert_array_equal(augment(IMAGES, (5, 6)), first)


def test_gain_and_offset_are_one_number_per_image_within_their_range():
    grey = np.full((400, 4, 4), 0.5, np.float32)
    brighter = augmentation(size=4, **NOTHING, gain=0.2)(grey, (1,))
    shifted = augmentation(size=4, **NOTHING, offset=0.1)(grey, (1,))
    for out in (brighter, shifted):
        assert np.ptp(out, axis=(1, 2)).max() == 0
        assert 0.4 <= out.min() < 0.41 and 0.59 < out.max() <= 0.6
        assert abs(out.mean() - 0.5) < 0.01


def test_contrast_stretches_around_the_images_own_mean():
    halves = np.full((400, 4, 4), 0.4, np.float32)
    halves[:, 2:] = 0.6
    out = augmentation(size=4, **NOTHING | {"flip": False}, contrast=0.5)(halves, (1,))
    np.testing.assert_allclose(out.mean(axis=(1, 2)), 0.5, atol=1e-6)
    step = out[:, 3, 0] - out[:, 0, 0]
    assert 0.1 <= step.min() < 0.11 and 0.29 < step.max() <= 0.3001


def test_gain_multiplies():
    dark = np.zeros((8, 4, 4), np.float32)
    np.testing.assert_array_equal(augmentation(size=4, **NOTHING, gain=0.9)(dark, (1,)), dark)


@pytest.mark.parametrize(("probability", "cropped"), [(0.0, 0), (0.5, 200), (1.0, 400)])
def test_crops_happen_as_often_as_asked(probability, cropped):
    ramp = np.tile(np.linspace(0, 1, 16, dtype=np.float32), (400, 16, 1))
    settings = NOTHING | {"crop": 0.5, "crop_probability": probability}
    out = augmentation(size=16, **settings)(ramp, (1,))
    changed = int((out != ramp).any(axis=(1, 2)).sum())
    assert abs(changed - cropped) <= (50 if 0 < probability < 1 else 0)


# Masks, other shapes, named transforms


def masks_of(images):
    """A mask that tells for every pixel which it was: its rank by grey level."""
    return np.stack(
        [image.ravel().argsort().argsort().reshape(image.shape) for image in images]
    ).astype(np.uint16)


def test_a_mask_goes_where_its_image_goes():
    masks = masks_of(IMAGES)
    out, moved = augmentation(size=12, crop=1.0, noise=0.0)(IMAGES, (3,), masks)
    assert (out != IMAGES).any()
    assert moved.dtype == np.uint16
    np.testing.assert_array_equal(moved, masks_of(out))


def test_a_mask_lies_where_its_image_lies_after_a_crop():
    side = np.mgrid[:64, :64] - 31.5
    image = (np.hypot(*side) < 15).astype(np.float32)[None]
    crop = augmentation(size=64, crop=0.9, flip=False, rotate=False, noise=0.0)
    away = []
    for seed in range(20):
        out, moved = crop(image, (seed,), image.astype(np.uint8))
        centres = [np.average(np.mgrid[:64, :64], axis=(1, 2), weights=a[0]) for a in (out, moved)]
        away.append(centres[1] - centres[0])
    np.testing.assert_allclose(np.mean(away, axis=0), 0, atol=0.1)


@given(crop=st.floats(0.1, 1), blur=st.sampled_from([0.0, 0.5, 1.0]), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_masks_play_no_part_in_what_becomes_of_images(crop, blur, seed):
    extra = [{"name": "Affine", "scale": [0.8, 1.2], "p": 0.5}]
    augment = augmentation(size=12, crop=crop, blur=blur, extra=extra, gain=0.1)
    masks = np.where(IMAGES > 0.5, 300, 0).astype(np.uint16)
    out, moved = augment(IMAGES, (seed,), masks)
    np.testing.assert_array_equal(augment(IMAGES, (seed,)), out)
    assert set(np.unique(moved)) <= {0, 300}


def test_images_that_are_not_square_are_flipped_but_not_turned():
    images = np.random.default_rng(2).random((40, 6, 8), np.float32)
    out = augmentation(size=(6, 8), crop=1.0, noise=0.0)(images, (1,))
    for image, moved in zip(images, out, strict=True):
        flips = (image, image[::-1], image[:, ::-1], image[::-1, ::-1])
        assert any(np.array_equal(moved, flip) for flip in flips)


def test_a_crop_of_an_image_that_is_not_square_keeps_its_shape():
    images = np.random.default_rng(2).random((4, 20, 30), np.float32)
    masks = (images > 0.5).astype(np.uint8)
    out, moved = augmentation(size=(20, 30), crop=0.5)(images, (1,), masks)
    assert out.shape == moved.shape == (4, 20, 30)


def test_blur_averages_over_five_pixels_each_way_and_leaves_the_mask():
    point = np.zeros((1, 12, 12), np.float32)
    point[0, 6, 6] = 1
    out, mask = augmentation(size=12, **NOTHING, blur=1.0)(point, (1,), point.astype(np.uint8))
    expected = np.zeros((12, 12))
    expected[4:9, 4:9] = 1 / 25
    np.testing.assert_allclose(out[0], expected, atol=1e-6)
    np.testing.assert_array_equal(mask, point)


def test_blur_happens_as_often_as_asked():
    images = np.random.default_rng(3).random((400, 8, 8), np.float32)
    out = augmentation(size=8, **NOTHING, blur=0.5)(images, (1,))
    assert abs(int((out != images).any(axis=(1, 2)).sum()) - 200) < 50


def test_named_transforms_move_image_and_mask_together():
    images, masks = np.zeros((2, 1, 9, 9), np.float32)
    images[0, 2, 2], masks[0, 2, 2] = 1, 7
    shift = {"name": "Affine", "translate_px": {"x": [3, 3], "y": [1, 1]}, "p": 1.0}
    options = NOTHING | {"extra": [shift]}
    out, moved = augmentation(size=9, **options)(images, (1,), masks.astype(np.uint8))
    assert out[0].argmax() == moved[0].argmax() == 3 * 9 + 5
    assert moved.max() == 7


@pytest.mark.parametrize("name", ["D4", "SquareSymmetry", "MaskDropout"])
def test_a_transform_that_fails_by_chance_or_without_a_mask_is_refused(name):
    with pytest.raises(UsageError, match=f"augment.extra.0: {name} (makes|cannot be used so)"):
        augmentation(size=(8, 12), extra=[{"name": name}])


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"name": "GausianBlur"}, r"\.name is GausianBlur, .*; did you mean GaussianBlur\?$"),
        ({"nam": "GaussianBlur"}, " has no name: add the name of"),
        ({"name": 7}, ".name is 7, which is no albumentations transform"),
        ({"name": "Compose"}, ".name is Compose, which is no"),
        ({"name": "Blur", "blur_limt": 3}, ": Blur has no argument blur_limt; did you mean blur_l"),
        ({"name": "Blur", "blur_limit": "x"}, ": Blur cannot be used so: blur_limit is x, "),
        ({"name": "Blur", "p": 2}, ": Blur cannot be used so: p is 2, "),
        ({"name": "ToGray"}, ": ToGray cannot be used so: "),
        ({"name": "RandomCrop", "height": 3, "width": 3}, ": RandomCrop makes (3, 3) float32 of"),
        ({"name": "RandomCrop", "height": 99, "width": 3}, ": RandomCrop cannot be used so: Crop"),
    ],
)
def test_a_transform_that_cannot_be_done_is_one_sentence(entry, sentence):
    good = {"name": "Blur"}
    with pytest.raises(UsageError) as error:
        augmentation(size=12, extra=[good, entry])
    start = r"^augment\.extra\.1"
    pattern = sentence if sentence.startswith("\\") else re.escape(sentence)
    assert re.search(start + pattern, str(error.value)) and "\n" not in str(error.value)


def lit(points, size):
    """An image whose pixel is 1 at each of these whole places."""
    image = np.zeros((size, size), np.float32)
    for x, y in np.asarray(points, int):
        image[y, x] = 1
    return image


@pytest.mark.parametrize("seed", range(8))
def test_flips_and_turns_take_points_with_their_pixels(seed):
    points = [np.float32([[1, 2], [11, 0], [5, 5]]), np.float32([[0, 11]])]
    images = np.stack([lit(places, 12) for places in points])
    out, moved = augmentation(size=12, crop=1.0, noise=0.0)(images, (seed,), points=points)
    for image, places in zip(out, moved, strict=True):
        np.testing.assert_array_equal(lit(places, 12), image)


def test_a_crop_keeps_the_points_within_it_at_their_light():
    # Light of 4 x 4 pixels has its middle half a pixel after the place of its second one.
    points = np.float32([[9.5, 29.5], [41.5, 17.5]])
    image = np.zeros((64, 64), np.float32)
    for x, y in points:
        image[int(y) - 1 : int(y) + 3, int(x) - 1 : int(x) + 3] = 1
    augment = augmentation(size=64, **NOTHING | {"crop": 0.5})
    numbers = set()
    for seed in range(20):
        (out,), (moved,) = augment(image[None], (seed,), points=[points])
        numbers.add(len(moved))
        assert ((moved >= -0.5) & (moved < 63.5)).all()
        if len(moved) == 1 and 5 < moved.min() and moved.max() < 58:  # wholly in view
            y, x = (np.average(where, weights=out) for where in np.indices(out.shape))
            np.testing.assert_allclose(moved, [[x, y]], atol=0.02)
    assert numbers == {0, 1}  # 32 of 64 pixels never hold both


def test_points_that_are_not_known_stay_so_and_none_stay_none():
    augment = augmentation(size=12)
    _, masks, points = augment(
        IMAGES[:2], (1,), np.ones((2, 12, 12), np.uint8), [None, np.zeros((0, 2))]
    )
    assert masks.shape == (2, 12, 12)
    assert points[0] is None and points[1].shape == (0, 2)


def test_points_play_no_part_in_what_becomes_of_the_images():
    augment = augmentation(size=12, noise=0.1)
    out, _ = augment(IMAGES, (5,), points=[np.float32([[3, 4]])] * 6)
    np.testing.assert_array_equal(out, augment(IMAGES, (5,)))
