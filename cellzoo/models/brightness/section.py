"""The section ``model: {name: brightness}``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat

from cellzoo.models.section import Classical
from cellzoo.section import ImageSize

if TYPE_CHECKING:
    import numpy as np

    from cellzoo.models.brightness.counter import FittedBrightness


class Brightness(Classical):
    """Brightness: least squares of the count on grey levels, the least that a method has to beat.

    Attributes:
        image_size: side, or height and width, of the images in pixels.
        features: ``"mean"``: the mean grey level; ``"histogram"``: the share of pixels in each of
            ``bins`` grey levels.
        bins: of equal width over the grey levels of the training images.
        ridge: penalty on the squared weights of features scaled to a standard deviation of 1,
            beside the mean squared error: keeps the weights small where labels are few.
    """

    name: Literal["brightness"] = "brightness"
    image_size: ImageSize = 128
    features: Literal["mean", "histogram"] = "histogram"
    bins: Annotated[int, Field(ge=2)] = 13
    ridge: NonNegativeFloat = 0.01

    def fit(self, images: "np.ndarray", counts: "np.ndarray") -> "FittedBrightness":
        """See :func:`cellzoo.models.brightness.counter.fit`."""
        from cellzoo.models.brightness.counter import fit

        return fit(self, images, counts)

    def load(self, parameters: Mapping[str, Any]) -> "FittedBrightness":
        """See :meth:`cellzoo.models.section.Classical.load`."""
        from cellzoo.models.brightness.counter import FittedBrightness

        return FittedBrightness(**parameters)
