"""The section ``model: {name: dcc}``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field, PositiveInt

from cellzoo.errors import UsageError
from cellzoo.models.section import Domain, Network, ThresholdMethod
from cellzoo.models.tiling import Tiling
from cellzoo.section import Pixels

if TYPE_CHECKING:
    import keras

    from cellzoo.models.thresholds import Threshold


class DCC(Network):
    """DeepCellCount: a U-Net segments the cells, and a second part counts them.

    Tesfamariam et al. 2025, section 3.2. With the additive head, which is ours, the count is the
    sum of a density over space, and images of any size can be counted.

    Attributes:
        image_size: height and width in pixels, or one number for both; multiples of 2 to the
            number of stages.
        channels: channels of each stage of the U-Net (paper: three stages).
        convolutions: convolutions in each stage.
        head: ``"regressor"``, the paper's, which counts the mask above the threshold and needs
            masks to learn from; or ``"additive"``.
        threshold: how the probability becomes the mask to count and to show; ``"none"`` lets the
            regressor count the probability.
        threshold_block: window of ``"adaptive_gaussian"`` in pixels, odd, wider than a cell.
        threshold_offset: what ``"adaptive_gaussian"`` subtracts from the local mean.
        pooling: by how much the regressor shrinks the mask before it is flattened, an even number.
        regressor_channels: channels of the regressor's two convolutions.
        regressor_units: units of its dense layer (paper: 512).
        density_channels: channels from which the density is made.

    Example:
        >>> network = DCC(image_size=32, channels=[2, 4], head="additive").build()
        >>> network.predict({"natural": np.zeros((3, 64, 40))})["natural_count"].shape
        (3,)
    """

    name: Literal["dcc"] = "dcc"
    image_size: Pixels | tuple[Pixels, Pixels] = 784
    channels: Annotated[list[PositiveInt], Field(min_length=1, max_length=6)] = [64, 128, 256]
    convolutions: PositiveInt = 1
    head: Literal["regressor", "additive"] = "regressor"
    threshold: ThresholdMethod = "simple"
    threshold_block: Annotated[int, Field(ge=3)] = 101
    threshold_offset: float = 0.0
    pooling: Annotated[int, Field(ge=2, multiple_of=2)] = 28
    regressor_channels: tuple[PositiveInt, PositiveInt] = (32, 64)
    regressor_units: PositiveInt = 512
    density_channels: PositiveInt = 32

    segments: ClassVar[bool] = True
    learns_from_unlabelled: ClassVar[bool] = True  # from the mask of an image without a count

    @property
    def needs_masks(self) -> bool:
        """Whether it counts a mask, which it learns from masks alone."""
        return self.head == "regressor"

    @property
    def masks_cure(self) -> str:
        """The head that needs none."""
        return "set model.head: additive"

    def check(self) -> None:
        """See :meth:`cellzoo.models.section.ModelSection.check`."""
        stride = 2 ** len(self.channels)
        if any(side % stride for side in self.size):
            raise UsageError(
                f"model.image_size is {self.image_size}, but {len(self.channels)} stages halve it "
                f"to {stride} times less: choose multiples of {stride}."
            )
        if self.threshold_block % 2 == 0:
            raise UsageError(
                f"model.threshold_block is {self.threshold_block}: the window needs a centre, "
                "choose an odd number."
            )

    def describe(self) -> str:
        """Words for the model card: what this model is, in one sentence."""
        head = {
            "regressor": "a regressor counts the mask",
            "additive": "the count is the sum of a density",
        }
        return f"DeepCellCount: a U-Net segments the cells, and {head[self.head]}."

    def receptive_radius(self) -> int:
        """How many pixels away a pixel may be to have a say in one of mask and density.

        Each 3 x 3 convolution reaches one grid cell further on its stage's grid, each halving one
        more of the grid before it.
        """
        return sum((2 * self.convolutions + 1) * 2**stage for stage in range(len(self.channels)))

    def tiling(self) -> Tiling:
        """Tiles that bring all that a pixel sees."""
        return Tiling(margin=self.receptive_radius(), stride=2 ** len(self.channels))

    def threshold_layer(self) -> "Threshold":
        """The threshold of the recipe; the simple one where the regressor counts without one."""
        from cellzoo.models.thresholds import Threshold  # imports Keras: seconds

        method = "simple" if self.threshold == "none" else self.threshold
        return Threshold(method, self.threshold_block, self.threshold_offset)

    @property
    def thresholds(self) -> tuple[ThresholdMethod, ...]:
        """All of them."""
        return get_args(ThresholdMethod)

    def with_threshold(self, method: ThresholdMethod) -> Self:
        """The same network with another threshold."""
        return self.model_copy(update={"threshold": method})

    def build(
        self, domains: Sequence[Domain] = ("natural",), seed: int = 0, pretrained: bool = True
    ) -> "keras.Model":
        """See :func:`cellzoo.models.dcc.network.dcc`."""
        from cellzoo.models.dcc.network import dcc  # imports Keras: seconds

        self.check()
        if tuple(domains) != ("natural",):
            raise UsageError("model dcc has no synthetic half: leave data.synthetic out.")
        return dcc(self)
