"""A folder of fluorescence images with label images, and simulated ones among them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import NonNegativeInt, PositiveFloat

from cellzoo.data.image_set import SPLITS, ImageSet, Skipped
from cellzoo.data.sources.folder import Folder
from cellzoo.errors import UserError
from cellzoo.images import Size, sides
from cellzoo.section import Range, Share
from cellzoo.simulators.fluorescence import STAINS, Fluorescence
from cellzoo.simulators.nuclei import draw_nuclei

_MOST_COVER = 0.9  # of an image of one look, by the areas of its cells, before they overlap


class Nuclei(Folder):
    """Real fluorescence images as :class:`Folder` reads them, and simulated ones.

    Simulated images go to training and validation alone: the test split is real. Their kind is
    ``simulated``, that of the others ``real``.

    Attributes:
        simulated_train: simulated images for training.
        simulated_validation: simulated images for validation.
        one_look: share of simulated images that :class:`Fluorescence` draws, whose cells look as
            those of BBBC005; :mod:`cellzoo.simulators.nuclei` draws the others.
        diameters: least and most typical diameter of the cells of a simulated image, px.
    """

    source: Literal["nuclei"] = "nuclei"
    simulated_train: NonNegativeInt = 400
    simulated_validation: NonNegativeInt = 120
    one_look: Share = 0.25
    diameters: Range[PositiveFloat] = (8.0, 60.0)

    @property
    def microscopy(self) -> str:
        """Both."""
        return "fluorescence, real and simulated"

    def describe(self) -> str:
        """The folder's name, and that there are simulated images."""
        return f"{super().describe()} and simulated fluorescence"

    def read(
        self, size: Size, seed: int, splits: Sequence[str] = SPLITS
    ) -> tuple[ImageSet, list[Skipped]]:
        """Reads the folder and draws the others, see :meth:`Source.read`.

        Raises:
            UserError: the folder has no label images, or see :meth:`Folder.read`.
        """
        real, skipped = super().read(size, seed, splits)
        if len(real) and real.masks is None:
            raise UserError(
                f"{self.folder}: source nuclei learns from label images, add the column "
                "label_image to labels.csv."
            )
        # Images of one set have the same columns; where none is in these splits there is no mask.
        masks = np.zeros_like(real.images) if real.masks is None else real.masks
        real = replace(
            real,
            kinds=np.full(len(real), "real"),
            masks=masks.astype(np.uint16),
            points=None,
            times=None,
            pixel_sizes_um=None,
            assisted=None,
        )
        parts = [real]
        for k, (split, number) in enumerate(
            (("train", self.simulated_train), ("validation", self.simulated_validation))
        ):
            if split in splits and number:
                parts.append(self._draw(split, number, size, (seed, k)))
        return ImageSet.join(parts), skipped

    def _draw(self, split: str, number: int, size: Size, seed: tuple[int, ...]) -> ImageSet:
        drawn = [
            _one_look(sides(size), self.diameters, (*seed, k))
            if k < self.one_look * number
            else draw_nuclei(sides(size), self.diameters, (*seed, k))
            for k in range(number)
        ]
        images, masks = map(np.stack, zip(*drawn, strict=True))
        names = np.array([f"simulated_nuclei_{split}_{k:04d}.png" for k in range(number)])
        return ImageSet(
            images=images,
            counts=masks.max(axis=(1, 2)).astype(np.float32),
            groups=names,
            names=names,
            splits=np.full(number, split),
            masks=masks,
            kinds=np.full(number, "simulated"),
            sizes=np.tile(sides(size), (number, 1)),
        )


def _one_look(
    size: tuple[int, int], diameters: tuple[float, float], seed: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Cells like those of a stain of BBBC005, of any diameter; see :func:`draw_nuclei`."""
    rng = np.random.default_rng(seed)
    number, diameter = int(rng.integers(1, 3)), np.exp(rng.uniform(*np.log(diameters)))
    stain = STAINS[number]
    scale = diameter / sum(stain.radius)
    radius = tuple(max(2.0, scale * each) for each in stain.radius)
    cover = rng.uniform(0, _MOST_COVER)
    count = int(cover * size[0] * size[1] / (np.pi * diameter**2 / 4))
    simulator = Fluorescence(
        stains=[number],
        radius=radius,
        blur=(0.6 * scale, 2.6 * scale),
        read_noise=rng.uniform(0, 3),
    )
    image, mask = simulator.draw(size, count, seed)
    return image.astype(np.float32) / 255, mask
