"""The section ``model: {name: twin_density}``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from cellzoo.errors import UsageError
from cellzoo.models.section import Domain, Network
from cellzoo.models.tiling import Tiling

if TYPE_CHECKING:
    import keras

# How far from its 8 x 8 pixels a grid cell of the density sees, in pixels: one square of 4 in the
# first convolution, two in the second, which halves, and three of 8 in those behind it, with 4 to
# spare.
RECEPTIVE_RADIUS = 32
Side = Annotated[int, Field(ge=16, multiple_of=8)]


class TwinDensity(Network):
    """Twin density network: natural and synthetic images share its layers; the count is a sum.

    Ours, after the Twin-VAE of Stallmann et al. 2021. Each grid cell of 8 x 8 pixels holds a number
    of cells, and the count is their sum. There is no decoder, and images without a count teach it
    nothing.

    It takes images of any size whose sides are multiples of 8, with cells as large as in training.

    Attributes:
        image_size: side of the images to train on in pixels, a multiple of 8, or height and width;
            the network is the same for all.
        channels: channels of the two convolutions of each encoder.
        shared_channels: channels of the shared layers and of the density's.
        latent: channels of the map from which the density is made.
        negative_slope: slope of the leaky ReLU below zero.
        center: take each image's mean away and divide by the set's spread first.
        shared_reader: one encoder reads both domains. Synthetic images show where each cell is, and
            what that teaches the encoder then holds for natural cells as well, as far as the
            synthetic ones look like them.
        symmetric: filters are there in eight orientations. An image, its mirror image and both
            turned by 90, 180 and 270 degrees then have the same count, so one look is the mean of
            eight. Channels must be multiples of 8; ``latent`` channels are there in each
            orientation, so a training takes as long with an eighth as many.

    Example:
        >>> network = TwinDensity(channels=(4, 8), shared_channels=8, latent=4).build()
        >>> network.predict({"natural": np.zeros((2, 64, 40))})["natural_count"].shape
        (2,)
    """

    name: Literal["twin_density"] = "twin_density"
    image_size: Side | tuple[Side, Side] = 128
    channels: tuple[PositiveInt, PositiveInt] = (48, 64)
    shared_channels: PositiveInt = 64
    latent: PositiveInt = 16
    negative_slope: NonNegativeFloat = 0.2
    center: bool = True
    shared_reader: bool = False
    symmetric: bool = False

    twin: ClassVar[bool] = True
    takes_synthetic: ClassVar[bool] = True
    embeds: ClassVar[bool] = True

    @property
    def counts_alike_when_turned(self) -> bool:
        """See :attr:`cellzoo.models.section.ModelSection.counts_alike_when_turned`."""
        return self.symmetric

    def check(self) -> None:
        """See :meth:`cellzoo.models.section.ModelSection.check`."""
        widths = (*self.channels, self.shared_channels)
        if self.symmetric and any(width % 8 for width in widths):
            raise UsageError(
                "model.symmetric draws each filter in eight orientations: make model.channels and "
                "model.shared_channels multiples of 8."
            )

    def tiling(self) -> Tiling:
        """Windows as large as :attr:`image_size`, of which what lies a margin inside is kept.

        Where that is less than half a side, windows are larger. They are squares of the shorter
        side.
        """
        side = min(self.size)
        return Tiling(
            margin=RECEPTIVE_RADIUS,
            stride=8,
            grid_cell=8,
            tile=max(side - 2 * RECEPTIVE_RADIUS, side // 2),
            window=side,
            fill="mean",
        )

    def build(
        self, domains: Sequence[Domain] = ("natural",), seed: int = 0, pretrained: bool = True
    ) -> "keras.Model":
        """See :func:`cellzoo.models.twin_density.network.twin_density`."""
        from cellzoo.models.twin_density.network import twin_density  # imports Keras: seconds

        self.check()
        return twin_density(self, domains)
