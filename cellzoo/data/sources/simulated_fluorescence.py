"""Simulated fluorescence images with a number for each cell, each image of a layout of its own."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from cellzoo.data.image_set import SPLITS, ImageSet, Skipped
from cellzoo.data.sources.source import Source
from cellzoo.images import Size, sides
from cellzoo.section import Range
from cellzoo.simulators.fluorescence import Fluorescence, check_count


class SimulatedFluorescence(Fluorescence, Source):
    """How many images, of how many cells; what they look like says the simulator's own section.

    Attributes:
        train: images for training, all labelled.
        validation: images to choose hyper-parameters and checkpoints with.
        test: images that only ``evaluate`` touches.
        count_range: fewest and most cells in an image; each number is as likely as any other.
        test_count_range: the same for the test split, so that a model trained on few cells can be
            tested on many; None: ``count_range``.
    """

    simulated: ClassVar[bool] = True
    group_name: ClassVar[str] = "layouts"

    source: Literal["simulated_fluorescence"] = "simulated_fluorescence"
    train: PositiveInt = 200
    validation: PositiveInt = 50
    test: PositiveInt = 50
    count_range: Range[NonNegativeInt] = (1, 100)
    test_count_range: Range[NonNegativeInt] | None = None

    @property
    def microscopy(self) -> str:
        """Simulated fluorescence."""
        return "simulated fluorescence"

    def describe(self) -> str:
        """Simulated fluorescence."""
        return "simulated fluorescence"

    def check(self, size: Size) -> None:
        """Finds room for the most cells, see :meth:`Source.check`."""
        for key in ("count_range", "test_count_range"):
            if counts := getattr(self, key):
                check_count(sides(size), counts[1], f"data.natural.{key}")

    def read(
        self, size: Size, seed: int, splits: Sequence[str] = SPLITS
    ) -> tuple[ImageSet, list[Skipped]]:
        """Draws each split by itself, with a mask of each image; see :meth:`Source.read`."""
        self.check(size)
        numbers = zip(SPLITS, (self.train, self.validation, self.test), strict=True)
        parts = [
            self._draw_split(split, total, size, (seed, k))
            for k, (split, total) in enumerate(numbers)
            if split in splits
        ]
        return ImageSet.join(parts), []

    def simulate(self, number: int, size: Size, seed: int) -> ImageSet:
        """Images of other layouts, as many cells in each as in training."""
        return self._draw_split("train", number, size, (seed, 99, 0))

    def _counts(self, split: str) -> tuple[int, int]:
        """Fewest and most cells in an image of a split."""
        return (split == "test" and self.test_count_range) or self.count_range

    def _draw_split(self, split: str, total: int, size: Size, seed: tuple[int, ...]) -> ImageSet:
        fewest, most = self._counts(split)
        counts = np.random.default_rng((*seed, 0)).integers(fewest, most + 1, total)
        drawn = [
            self.draw(sides(size), int(count), (*seed, 1, k)) for k, count in enumerate(counts)
        ]
        images, masks = zip(*drawn, strict=True)
        return ImageSet(
            images=np.stack(images).astype(np.float32) / 255,
            counts=counts.astype(np.float32),
            groups=np.array([f"fluorescence_{split}_{k:04d}" for k in range(total)]),
            names=np.array([f"simulated_fluorescence_{split}_{k:04d}.png" for k in range(total)]),
            splits=np.full(total, split),
            masks=np.stack(masks),
        )
