"""The section ``model: {name: twinvae}``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from cellzoo.models.section import Domain, Network

if TYPE_CHECKING:
    import keras


class TwinVAE(Network):
    """Twin-VAE: autoencoders of natural and synthetic images that share their inner layers.

    Stallmann et al. 2021, sections 2.3.1 to 2.3.3. It takes images of 128 x 128 px.

    Attributes:
        channels: channels of the four convolutions of each encoder; the decoders mirror them.
        shared_channels: channels of the shared encoder's convolution (paper: 512).
        latent: length of the latent vector (paper: 256).
        regressor: widths of the regressor's dense layers. They are linear, as in the paper.
        regressor_input: ``"latent"`` (authors' program) or ``"shared_decoder"`` (paper, 2.3.3).
        dropout: share dropped behind each encoder and regressor layer and the dense layer of the
            shared decoder.
        latent_dropout: share dropped of mean and log-variance, in training. The paper has 0.1
            behind all three bottleneck layers (2.3.3), these among them; the latent's own noise
            is enough.
        negative_slope: slope of the leaky ReLU below zero.
        initializer: of the encoders' kernels (paper: orthogonal).
        center: take each image's mean away and divide by the set's spread first. Not in the paper.

    Example:
        >>> network = TwinVAE(channels=(4, 8, 8, 8), shared_channels=8, latent=4).build()
        >>> network.predict({"natural": np.zeros((2, 128, 128))})["natural_count"].shape
        (2,)
    """

    name: Literal["twinvae"] = "twinvae"
    channels: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (32, 64, 128, 256)
    shared_channels: PositiveInt = 512
    latent: PositiveInt = 256
    regressor: list[PositiveInt] = [256, 128]
    regressor_input: Literal["latent", "shared_decoder"] = "latent"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    latent_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    negative_slope: NonNegativeFloat = 0.2
    initializer: Literal[
        "orthogonal", "he_normal", "he_uniform", "glorot_normal", "glorot_uniform"
    ] = "orthogonal"
    center: bool = False

    image_size: ClassVar[int] = 128  # its convolutions shrink these to one pixel
    training_keys: ClassVar[frozenset[str]] = frozenset(
        {"dropout", "latent_dropout", "initializer", "center"}
    )
    twin: ClassVar[bool] = True
    takes_synthetic: ClassVar[bool] = True
    reconstructs: ClassVar[bool] = True
    embeds: ClassVar[bool] = True
    learns_from_unlabelled: ClassVar[bool] = True

    def build(
        self, domains: Sequence[Domain] = ("natural",), seed: int = 0, pretrained: bool = True
    ) -> "keras.Model":
        """See :func:`cellzoo.models.twinvae.network.twinvae`."""
        from cellzoo.models.twinvae.network import twinvae  # imports Keras: seconds

        return twinvae(self, domains, seed)
