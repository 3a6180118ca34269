"""The section ``model: {name: efficientnet}``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from cellzoo.models.section import Domain, Network

if TYPE_CHECKING:
    import keras


class EfficientNet(Network):
    """EfficientNet-B0 to B3: a network that has seen photographs, its last layer now the count.

    Stallmann et al. 2021, section 2.4. Synthetic images, where a recipe has them, take the same way
    through the same weights.

    Attributes:
        variant: ``"b0"`` (the paper's best) to ``"b3"``.
        image_size: side of the images in pixels.
        weights: ``"imagenet"``, which Keras downloads once; the path of a file that
            ``save_weights`` wrote of ``keras.applications.EfficientNetB0(weights=None,
            include_top=False)``; or None: random ones.
        frozen: train the dense output alone.
        center: take each image's mean away and divide by the set's spread first, so that faint
            cells are as strong as the things in photographs.
        dropout: before the dense output.

    Example:
        >>> network = EfficientNet(image_size=32, weights=None).build()
        >>> network.predict({"natural": np.zeros((2, 32, 32))})["natural_count"].shape
        (2,)
    """

    name: Literal["efficientnet"] = "efficientnet"
    variant: Literal["b0", "b1", "b2", "b3"] = "b0"
    image_size: Annotated[int, Field(ge=32)] = 128
    weights: str | None = "imagenet"
    frozen: bool = False
    center: bool = True
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    takes_synthetic: ClassVar[bool] = True

    def describe(self) -> str:
        """Words for the model card: what this model is, in one sentence."""
        weights = {"imagenet": "with weights of ImageNet", None: "with random first weights"}
        start = weights.get(self.weights, "with weights of a file")
        return f"EfficientNet-{self.variant.upper()} {start}, its last layer now the count."

    def build(
        self, domains: Sequence[Domain] = ("natural",), seed: int = 0, pretrained: bool = True
    ) -> "keras.Model":
        """See :func:`cellzoo.models.efficientnet.network.efficientnet`."""
        from cellzoo.models.efficientnet.network import efficientnet  # imports Keras: seconds

        return efficientnet(self, domains, seed, pretrained)
