"""Synthetic fluorescent cells: drawn by the simulator of fluorescence, for training alone."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from cellzoo.images import Size, sides
from cellzoo.section import Range
from cellzoo.simulators.fluorescence import Fluorescence, check_count


class SyntheticFluorescence(Fluorescence):
    """Bright cells on a dark background, and how many; what they look like says the simulator.

    Attributes:
        preset: ``"fluorescence"``.
        images: how many images make up the fixed set.
        fresh: draw new images for every batch instead of a fixed set.
        count_range: fewest and most cells in an image; each number is as likely as any other.
    """

    preset: Literal["fluorescence"]
    images: PositiveInt = 1000
    fresh: bool = False
    count_range: Range[NonNegativeInt] = (1, 100)

    def check(self, size: Size) -> None:
        """Finds room for the most cells.

        Raises:
            UsageError: there is none in images of ``size`` px.
        """
        check_count(sides(size), self.count_range[1], "data.synthetic.count_range")


class FluorescentCells:
    """Draws images as :class:`cellzoo.synthetic.drawing.SyntheticCells` does, by other settings.

    Attributes:
        settings: a recipe's section.
        size: height and width of an image in px.
    """

    def __init__(self, settings: SyntheticFluorescence, size: Size):
        """Finds room for the cells.

        Raises:
            UsageError: there is none.
        """
        settings.check(size)
        self.settings, self.size = settings, sides(size)

    def render(
        self, n: int, seed: int | Sequence[int], masks: bool = False
    ) -> tuple[np.ndarray, ...]:
        """Draws images. Image i depends on the settings, the seed and i alone.

        Args:
            n: number of images.
            seed: any integer >= 0, or several.
            masks: also return where the cells are.

        Returns:
            ``images`` float32 ``[n, h, w]`` in [0, 1] and ``counts`` int32 ``[n]``; with ``masks``
            also uint16 ``[n, h, w]``: 0 is background, k the k-th cell of that image, each of which
            has a pixel at least.
        """
        words = tuple(seed) if isinstance(seed, Sequence) else (seed,)
        images = np.empty((n, *self.size), np.float32)
        labels = np.empty((n, *self.size), np.uint16)
        counts = np.empty(n, np.int32)
        fewest, most = self.settings.count_range
        for i in range(n):
            # The length goes first because numpy treats seeds (5,) and (5, 0) alike.
            own = (len(words), *words, i)
            counts[i] = np.random.default_rng((0, *own)).integers(fewest, most + 1)
            drawn, labels[i] = self.settings.draw(self.size, int(counts[i]), (1, *own))
            images[i] = drawn.astype(np.float32) / 255
        return (images, counts, labels) if masks else (images, counts)
