"""What may happen to a training image without changing its count (paper, section 2.3.4)."""

import os
from collections.abc import Callable, Sequence
from random import Random

import numpy as np

# Albumentations asks a server for newer versions when imported; a microscope's computer is offline.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations  # noqa: E402

Augmentation = Callable[[np.ndarray, Sequence[int]], np.ndarray]


def augmentation(
    *,
    size: int,
    flip: bool = True,
    rotate: bool = True,
    crop: float = 0.9,
    crop_probability: float = 1.0,
    noise: float = 0.0025,
    gain: float = 0.0,
    offset: float = 0.0,
) -> Augmentation:
    """Builds the augmentation of training images.

    Args:
        size: height and width of the images in pixels.
        flip: flip at random, left to right and upside down.
        rotate: rotate at random by a multiple of 90 degrees.
        crop: side of a random crop, as a share of the image, scaled back to full size. The paper's
            0.9 takes 115 of 128 pixels. 1 where cells lie at the border: a crop would lose them.
        crop_probability: how often the crop happens; the paper's is 1.
        noise: standard deviation of the pixel noise, grey levels in [0, 1] (authors' program:
            0.0025).
        gain: images are multiplied by 1 - gain to 1 + gain. Not in the paper.
        offset: -offset to +offset is added, grey levels in [0, 1]. Not in the paper.

    Returns:
        A function of images, float32 ``[n, size, size]`` in [0, 1], and a seed, integers. It
        returns as many of the same kind and depends on nothing else.
    """
    steps: list[albumentations.BasicTransform] = []
    if crop < 1:
        side = max(1, round(size * crop))
        steps.append(
            albumentations.Sequential(
                [albumentations.RandomCrop(side, side), albumentations.Resize(size, size)],
                p=crop_probability,
            )
        )
    if flip:
        steps += [albumentations.HorizontalFlip(p=0.5), albumentations.VerticalFlip(p=0.5)]
    if rotate:
        steps.append(albumentations.RandomRotate90(p=1.0))
    geometry = albumentations.Compose(steps)

    def augment(images: np.ndarray, seed: Sequence[int]) -> np.ndarray:
        random = np.random.default_rng(seed)
        # One generator for all steps: set_random_seed would give each step the same chances, so
        # that an image is flipped either both ways or not at all.
        geometry.set_random_state(random, Random(int(random.integers(2**31))))
        out = np.stack([geometry(image=image)["image"] for image in images])
        one_per_image = (len(out), 1, 1)
        out = out * random.uniform(1 - gain, 1 + gain, one_per_image)
        out = out + random.uniform(-offset, offset, one_per_image)
        out = out + noise * random.standard_normal(out.shape, np.float32)
        return np.clip(out, 0, 1).astype(np.float32)

    return augment
