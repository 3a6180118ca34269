"""Crops, flips and turns of training images, with their masks and points.

What is drawn, in which order, and what becomes of pixels and points is that of albumentations 2.0,
bit for bit, in a third of its time: a small network would wait for the rest at every step.
"""

from dataclasses import dataclass
from random import Random

import cv2
import numpy as np

from cellzoo.data.points import resize_points


@dataclass(frozen=True)
class Moves:
    """What moves the pixels of an image at random.

    Attributes:
        crop: height and width in pixels of what may be cut out and scaled back to full size; None:
            nothing is.
        crop_probability: how often it is.
        flip: flip at random, left to right and upside down.
        turn: turn at random by a multiple of 90 degrees; only for square images.
    """

    crop: tuple[int, int] | None
    crop_probability: float
    flip: bool
    turn: bool

    def __call__(
        self,
        random: Random,
        image: np.ndarray,
        mask: np.ndarray | None = None,
        points: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """An image, its mask and its points, all moved alike; views where nothing is scaled.

        Args:
            random: what is drawn from.
            image: float32 ``[h, w]``.
            mask: uint8 or uint16 ``[h, w]``.
            points: float32 ``[k, 2]``, x before y; once moved, they may lie outside the image.
        """
        if points is not None:
            points = np.asarray(points, np.float32)
        random.random()  # albumentations asks whether to do anything at all
        if self.crop and random.random() < self.crop_probability:
            image, mask, points = self._cropped(random, image, mask, points)
        height, width = image.shape
        if self.flip and random.random() < 0.5:
            image, mask = image[:, ::-1], None if mask is None else mask[:, ::-1]
            if points is not None:
                points = _places(width - 1 - points[:, 0], points[:, 1])
        if self.flip and random.random() < 0.5:
            image, mask = image[::-1], None if mask is None else mask[::-1]
            if points is not None:
                points = _places(points[:, 0], height - 1 - points[:, 1])
        turns = random.randint(0, 3) if self.turn else 0
        if turns:
            image, mask = np.rot90(image, turns), None if mask is None else np.rot90(mask, turns)
        if turns and points is not None:
            (x, y), far = points.T, width - 1
            around = {1: (y, far - x), 2: (far - x, far - y), 3: (far - y, x)}
            points = _places(*around[turns])
        return image, mask, points

    def _cropped(
        self,
        random: Random,
        image: np.ndarray,
        mask: np.ndarray | None,
        points: np.ndarray | None,
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """A random part of an image, scaled back."""
        size = height, width = image.shape
        tall, wide = self.crop
        top = int((height - tall + 1) * random.random())
        left = int((width - wide + 1) * random.random())
        if points is not None:
            part = _places(points[:, 0] - left, points[:, 1] - top)
            points = resize_points(part, self.crop, size)
        if self.crop == size:
            return image, mask, points
        window = np.s_[top : top + tall, left : left + wide]
        image = cv2.resize(image[window], (width, height), interpolation=cv2.INTER_LINEAR)
        if mask is not None:
            # Otherwise masks move half a pixel against their images.
            exact = cv2.INTER_NEAREST_EXACT
            mask = cv2.resize(mask[window], (width, height), interpolation=exact)
        return image, mask, points


def _places(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.stack([x, y], axis=1).astype(np.float32)
