"""Images made alike before a network sees them: one cell diameter, one range of grey levels."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import cv2
import numpy as np
from pydantic import Field, PositiveFloat

from cellzoo.data.image_set import ImageSet
from cellzoo.errors import UserError
from cellzoo.images.normalise import BACKGROUND, GreyLevels, normalise
from cellzoo.images.scale import resize
from cellzoo.section import Range, Section

_LEAST_AREA = 8  # px of a normalised cell that a window still counts


class Normalise(Section):
    """How fluorescence images of any scale and exposure are made alike.

    A network learns from windows of images whose label images say how large cells are. To count, it
    measures them: :mod:`cellzoo.counters.normalised`.

    Attributes:
        diameter: of cells in the images that the network sees, px.
        diameters: least and most diameter of cells in images that it is meant for, px; others are
            flagged.
        window: side of the windows that it learns from, px.
        jitter: by which factor the diameter of a training image may be taken wrongly, at most: so
            it counts as well where it was measured wrongly.
        exposure: by which factor cells of a training image may be too bright or too dim, at most.
    """

    diameter: Annotated[float, Field(ge=4)] = 12.0
    diameters: Range[PositiveFloat] = (8.0, 60.0)
    window: Annotated[int, Field(ge=32)] = 128
    jitter: Annotated[float, Field(ge=1)] = 1.4
    exposure: Annotated[float, Field(ge=1)] = 1.5


class NormalisedWindows:
    """Windows of training images, made alike.

    Args:
        images: with masks that number the cells of every image.
        settings: of the recipe.

    Raises:
        UserError: the cells of a labelled image are not numbered.
    """

    def __init__(self, images: ImageSet, settings: Normalise):
        """Measures the cells of each image."""
        if images.masks is None or not images.has_mask[images.labelled].all():
            raise UserError(
                "data.normalise learns how large cells are from label images, and some labelled "
                "images have none: add the column label_image to labels.csv."
            )
        self.images, self.settings = images, settings
        usual = float(np.sqrt(np.prod(settings.diameters)))
        self.diameters = np.array([mean_diameter(mask, usual) for mask in images.masks])
        self.levels = [
            GreyLevels.of(np.ascontiguousarray(image), diameter)
            for image, diameter in zip(images.images, self.diameters, strict=True)
        ]

    def cut(
        self, chosen: Sequence[int], random: np.random.Generator, exact: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """A window of each chosen image, anywhere in it.

        Args:
            chosen: numbers of the images.
            random: decides.
            exact: neither diameter nor exposure are taken wrongly.

        Returns:
            Images, float32 ``[n, side, side]`` in [0, 1], and masks of the same shape with numbers
            from 1, uint16.
        """
        pairs = [self._cut(k, random, exact) for k in chosen]
        images, masks = zip(*pairs, strict=True)
        return np.stack(images), np.stack(masks)

    def _cut(
        self, k: int, random: np.random.Generator, exact: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        settings, side = self.settings, self.settings.window
        wrong, exposure = (
            1.0 if exact else np.exp(random.uniform(-1, 1) * np.log(most))
            for most in (settings.jitter, settings.exposure)
        )
        scale = settings.diameter / self.diameters[k] * wrong
        part = []
        for whole in self.images.images.shape[1:]:
            length = min(whole, round(side / scale))
            start = int(random.integers(0, whole - length + 1))
            part.append(slice(start, start + length))
        image, mask = self.images.images[k][tuple(part)], self.images.masks[k][tuple(part)]
        shape = tuple(min(side, max(1, round(length * scale))) for length in image.shape)
        levels = self.levels[k]
        image = replace(levels, contrast=levels.contrast * exposure).apply(resize(image, shape))
        mask = cv2.resize(mask, shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        around = [(top := int(random.integers(0, side - own + 1)), side - own - top)
                  for own in shape]  # fmt: skip
        image = np.pad(image, around, constant_values=np.float32(BACKGROUND))
        return image, np.pad(_seen(mask), around)

    def windows(self, seed: int) -> ImageSet:
        """One window of each image, its diameter taken rightly, as an image set."""
        images, masks = self.cut(range(len(self.images)), np.random.default_rng(seed), exact=True)
        counts = np.where(self.images.labelled, masks.max(axis=(1, 2)), np.nan)
        changed = {"images": images, "masks": masks, "counts": counts.astype(np.float32)}
        return replace(self.images, **changed, points=None)


def set_as_seen(images: ImageSet, settings: Normalise | None, seed: int) -> ImageSet:
    """A set as a network sees it in training: windows made alike, without settings as it is."""
    return NormalisedWindows(images, settings).windows(seed) if settings else images


def images_as_seen(images: ImageSet, settings: Normalise | None) -> Sequence[np.ndarray]:
    """Whole images of a set as a network sees them, each ``[h, w]``.

    With settings they are made alike, float32 of their own sizes; the set needs masks then.
    """
    if settings is None:
        return images.parts
    measured = NormalisedWindows(images, settings).diameters if len(images) else []
    return [
        normalise(image, diameter, settings.diameter)
        for image, diameter in zip(images.images, measured, strict=True)
    ]


def mean_diameter(mask: np.ndarray, otherwise: float) -> float:
    """Diameter of a disc as large as a mask's cells are on average, px.

    Args:
        mask: instance numbers, ``[h, w]``, 0 in the background.
        otherwise: what to give of a mask without a cell.
    """
    areas = np.bincount(mask.ravel())[1:]
    areas = areas[areas > 0]
    return float(np.sqrt(4 / np.pi * areas.mean())) if len(areas) else otherwise


def _seen(mask: np.ndarray) -> np.ndarray:
    """The cells of a window numbered from 1, without those of which there is hardly a pixel."""
    areas = np.bincount(mask.ravel())
    seen = areas >= _LEAST_AREA
    seen[0] = False
    return (np.cumsum(seen) * seen).astype(np.uint16)[mask]
