"""Synthetic cells as training sees them: on the backgrounds of natural images, with masks."""

from itertools import islice
from pathlib import Path

import numpy as np

from cellzoo.data.image_set import ImageSet
from cellzoo.data.reading import AS_IT_IS, Reading
from cellzoo.data.synthetic_fluorescence import FluorescentCells, SyntheticFluorescence
from cellzoo.errors import UsageError, UserError
from cellzoo.images import Size, resize, sides, to_unit
from cellzoo.synthetic.backgrounds import (
    MIN_IMAGES_OF_A_GROUP,
    background_from,
    backgrounds_of_groups,
)
from cellzoo.synthetic.drawing import SyntheticCells
from cellzoo.synthetic.settings import PRESETS, Synthetic

# The value of the key ``preset``, and what it stands for.
SYNTHETIC = dict.fromkeys(PRESETS, Synthetic) | {"fluorescence": SyntheticFluorescence}


class SyntheticImages:
    """Synthetic cells for training, either a fixed set or fresh ones in every batch."""

    def __init__(
        self, cells: SyntheticCells | FluorescentCells, images: int, fresh: bool, seed: int
    ):
        """Renders the fixed set; a fresh one is rendered as it is asked for."""
        self.cells = cells
        self.size = images
        self.seed = seed
        self.fixed = None if fresh else cells.render(images, (seed, 0), masks=True)

    def batch(self, step: int, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of the fixed set, or new ones: images, counts and masks.

        Returns:
            float32 ``[n, h, w]``, int32 ``[n]`` and uint16 ``[n, h, w]``, numbers of cells.
        """
        if self.fixed is None:
            return self.cells.render(len(indices), (self.seed, 1, step), masks=True)
        images, counts, masks = self.fixed
        return images[indices], counts[indices], masks[indices]


def synthetic_cells(
    section: Synthetic | SyntheticFluorescence,
    size: Size,
    natural: ImageSet | None,
    reading: Reading = AS_IT_IS,
) -> SyntheticCells | FluorescentCells:
    """The generator that a recipe's ``data.synthetic`` describes.

    Args:
        section: of the recipe.
        size: side in pixels.
        natural: natural training images, whose background the cells may lie on; None: no natural
            background, which does for a check.
        reading: how files become natural images; the image of a background is read so, too.

    Raises:
        UsageError: the images are not square, or the cells cannot be drawn.
        UserError: no group has enough images to tell its background, or there is no such image.
    """
    if isinstance(section, SyntheticFluorescence):
        return FluorescentCells(section, size)
    height, width = sides(size)
    if height != width:
        raise UsageError(
            f"data.synthetic draws square images and model.image_size is [{height}, {width}]: "
            "set it to one number, or leave data.synthetic out."
        )
    return SyntheticCells(section, height, _background(section, height, natural, reading))


def _background(
    section: Synthetic, size: int, natural: ImageSet | None, reading: Reading
) -> np.ndarray | None:
    """What the cells are drawn on; None: an even grey."""
    name = section.background
    if name is None or (name in ("natural", "groups") and natural is None):
        return None
    if name == "natural":
        return background_from(natural.images, natural.counts)
    if name == "groups":
        radius = section.with_preset().radius[1]
        found = backgrounds_of_groups(natural.images, natural.groups, radius)
        if not len(found):
            raise UserError(
                "data.synthetic.background is 'groups', but no group of training images has "
                f"{MIN_IMAGES_OF_A_GROUP} or more: name the place that each image shows in "
                "the group column of labels.csv, or set it to 'natural'."
            )
        return found
    if not Path(name).is_file():
        raise UserError(
            f"data.synthetic.background is {name}, and there is no such file: write "
            "'natural', 'groups', null or the path of an image."
        )
    frame, *others = islice(reading.reader([Path(name)]).read(Path(name)), 2)
    if others:
        raise UserError(
            f"data.synthetic.background is {name}, which holds several frames: name a file of one."
        )
    return np.clip(resize(to_unit(frame.pixels, reading.intensity, name), size), 0, 1)
