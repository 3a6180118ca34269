"""The section ``data`` of a recipe: what the model is fed."""

import operator
from functools import reduce
from typing import Annotated

from pydantic import Field

from cellzoo.data.image_set import ImageSet
from cellzoo.data.normalised import Normalise
from cellzoo.data.sources import SOURCES
from cellzoo.data.synthetic import SYNTHETIC, SyntheticImages, synthetic_cells
from cellzoo.data.synthetic_fluorescence import FluorescentCells
from cellzoo.images import Size
from cellzoo.section import Section
from cellzoo.synthetic.drawing import SyntheticCells


class Data(Section):
    """Natural images and, to learn from, synthetic cells.

    Attributes:
        natural: the section of one of :data:`cellzoo.data.sources.SOURCES`.
        synthetic: how synthetic cells are drawn; None: there are none.
        normalise: makes fluorescence images alike in cell diameter and grey levels, so that images
            of any scale and exposure are counted; None: cells are as large as in training.
    """

    natural: Annotated[reduce(operator.or_, SOURCES.values()), Field(discriminator="source")]
    synthetic: (
        Annotated[reduce(operator.or_, SYNTHETIC.values()), Field(discriminator="preset")] | None
    ) = None
    normalise: Normalise | None = None

    def check(self, size: Size) -> None:
        """Finds values that fit their keys but not each other, without loading an image.

        Args:
            size: side, or height and width, in pixels that the model takes.

        Raises:
            UsageError: there are some.
        """
        self.natural.check(size)
        if self.synthetic:
            self.cells(size, None)

    def cells(self, size: Size, natural: ImageSet | None) -> SyntheticCells | FluorescentCells:
        """The generator of the synthetic cells, see :func:`synthetic_cells`."""
        return synthetic_cells(self.synthetic, size, natural, self.natural.reading)

    def synthetic_images(self, size: Size, natural: ImageSet, seed: int) -> SyntheticImages | None:
        """The synthetic images of a training; None if there are none."""
        if self.synthetic is None:
            return None
        cells = self.cells(size, natural)
        return SyntheticImages(cells, self.synthetic.images, self.synthetic.fresh, seed)
