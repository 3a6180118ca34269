"""The section ``model: {name: watershed}``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from cellzoo.models.section import Classical
from cellzoo.section import ImageSize

if TYPE_CHECKING:
    import numpy as np

    from cellzoo.models.watershed.counter import FittedWatershed


class Watershed(Classical):
    """Watershed: threshold, flood and count regions, with parameters found by a grid search.

    Stallmann et al. 2021, section 2.4. The lists are what the search tries, on the labelled
    training and validation images. The authors' figures are for phase contrast and bright field.

    Attributes:
        image_size: side, or height and width, of the images in pixels.
        method: ``"sobel"``, the paper's, or ``"distance"``, which divides touching cells.
        crop: pixels taken off each border (authors: 15, 11).
        kernel: side of the mean filter in pixels (authors: 5, 3).
        divisor: what the sum over the kernel is divided by (authors: 7, 19).
        bright: whether cells are brighter than the background (authors: False).
        separation: pixels between peaks; ``"distance"`` alone.
        radius: pixels from a peak to the background; ``"distance"`` alone.
        subtract: regions that are no cells, on average (authors: 1, 4).
    """

    name: Literal["watershed"] = "watershed"
    image_size: ImageSize = 128
    method: Literal["sobel", "distance"] = "sobel"
    crop: Annotated[list[NonNegativeInt], Field(min_length=1)] = [11, 15]
    kernel: Annotated[list[PositiveInt], Field(min_length=1)] = [3, 5]
    divisor: Annotated[list[PositiveFloat], Field(min_length=1)] = [7, 19]
    bright: Annotated[list[bool], Field(min_length=1)] = [False, True]
    separation: Annotated[list[PositiveInt], Field(min_length=1)] = [2, 3, 4, 6]
    radius: Annotated[list[PositiveFloat], Field(min_length=1)] = [1, 2, 3]
    subtract: Annotated[list[NonNegativeInt], Field(min_length=1)] = [0, 1, 2, 3, 4]

    segments: ClassVar[bool] = True
    fitted_on: ClassVar[tuple[Literal["train", "validation"], ...]] = ("train", "validation")

    def fit(self, images: "np.ndarray", counts: "np.ndarray") -> "FittedWatershed":
        """See :func:`cellzoo.models.watershed.counter.fit`."""
        from cellzoo.models.watershed.counter import fit

        return fit(self, images, counts)

    def load(self, parameters: Mapping[str, Any]) -> "FittedWatershed":
        """See :meth:`cellzoo.models.section.Classical.load`."""
        from cellzoo.models.watershed.counter import FittedWatershed

        return FittedWatershed(**parameters)
