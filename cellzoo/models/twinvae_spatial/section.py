"""The section ``model: {name: twinvae_spatial}``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from cellzoo.models.section import Domain
from cellzoo.models.twin_density.section import TwinDensity

if TYPE_CHECKING:
    import keras


class TwinVAESpatial(TwinDensity):
    """Spatial Twin-VAE: a twin density network with decoders; its latent keeps the image's grid.

    The twin arrangement, the losses and the names are those of
    :class:`cellzoo.models.twinvae.section.TwinVAE`; only the bottleneck differs. It has the keys of
    :class:`cellzoo.models.twin_density.section.TwinDensity`, and ``latent`` is the channels of the
    latent map. It cannot be symmetric: its decoders read a map that has no orientations.

    Example:
        >>> network = TwinVAESpatial(channels=(4, 8), shared_channels=8, latent=4).build()
        >>> network.predict({"natural": np.zeros((2, 64, 40))})["natural_reconstruction"].shape
        (2, 64, 40)
    """

    name: Literal["twinvae_spatial"] = "twinvae_spatial"
    symmetric: Literal[False] = False

    reconstructs: ClassVar[bool] = True
    decodes_beyond_unit_range: ClassVar[bool] = True
    learns_from_unlabelled: ClassVar[bool] = True

    def build(
        self, domains: Sequence[Domain] = ("natural",), seed: int = 0, pretrained: bool = True
    ) -> "keras.Model":
        """See :func:`cellzoo.models.twinvae_spatial.network.twinvae_spatial`."""
        from cellzoo.models.twinvae_spatial.network import twinvae_spatial  # imports Keras: seconds

        return twinvae_spatial(self, domains, seed)
