"""Crops, flips and turns are those of albumentations, whose place they take."""

from random import Random

import albumentations
import cv2
import numpy as np
import pytest

from cellzoo.data.moves import Moves
from cellzoo.data.points import resize_points


class Resize(albumentations.Resize):
    """Takes places with it; albumentations leaves the middle of the first pixel at 0."""

    def apply_to_keypoints(self, keypoints, **params):
        moved = keypoints.copy()
        new = (self.height, self.width)
        moved[:, :2] = resize_points(keypoints[:, :2], params["shape"][:2], new)
        return moved


def composed(moves, size):
    """The same moves as one of albumentations' pipelines."""
    steps = [albumentations.NoOp(p=1.0)]
    if moves.crop:
        resize = Resize(*size, mask_interpolation=cv2.INTER_NEAREST_EXACT)
        crop = [albumentations.RandomCrop(*moves.crop), resize]
        steps.append(albumentations.Sequential(crop, p=moves.crop_probability))
    if moves.flip:
        steps += [albumentations.HorizontalFlip(p=0.5), albumentations.VerticalFlip(p=0.5)]
    if moves.turn:
        steps.append(albumentations.RandomRotate90(p=1.0))
    places = albumentations.KeypointParams(format="xy", remove_invisible=False)
    return albumentations.Compose(steps, keypoint_params=places)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("turn", [False, True])
@pytest.mark.parametrize(
    ("crop", "probability"), [(None, 0.0), ((15, 15), 0.0), ((15, 15), 0.5), ((20, 20), 1.0)]
)
def test_moves_are_those_of_albumentations(crop, probability, flip, turn):
    moves, data = Moves(crop, probability, flip, turn), np.random.default_rng(0)
    pipeline, chances, others = composed(moves, (20, 20)), Random(7), Random(7)
    pipeline.set_random_state(np.random.default_rng(1), others)
    for number in (0, 1, 5, 9, 2, 3, 4, 8, 6, 7, 1, 2):
        image = data.random((20, 20), np.float32)
        mask = data.integers(0, 999, (20, 20), np.uint16)
        points = data.uniform(-0.5, 19.5, (number, 2)).astype(np.float32)
        expected = pipeline(image=image, mask=mask, keypoints=points)
        found = moves(chances, image, mask, points)
        for array, name in zip(found, ("image", "mask", "keypoints"), strict=True):
            np.testing.assert_array_equal(array, expected[name])
            assert array.dtype == expected[name].dtype
    assert chances.random() == others.random()


def test_images_that_are_not_square_are_cropped_in_their_shape():
    moves, image = Moves((12, 18), 1.0, True, False), np.random.default_rng(0).random((20, 30))
    pipeline, chances, others = composed(moves, (20, 30)), Random(3), Random(3)
    pipeline.set_random_state(np.random.default_rng(1), others)
    points = np.float32([[3, 4], [29.4, 19.1]])
    for _ in range(6):
        expected = pipeline(image=image.astype(np.float32), keypoints=points)
        moved, mask, places = moves(chances, image.astype(np.float32), points=points)
        np.testing.assert_array_equal(moved, expected["image"])
        np.testing.assert_array_equal(places, expected["keypoints"])
        assert mask is None
