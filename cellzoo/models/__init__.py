"""The zoo: one file per model, and the name under which a recipe asks for it."""

from collections.abc import Callable

import keras

from cellzoo.models.twinvae import twinvae
from cellzoo.models.twinvae_spatial import twinvae_spatial

BUILDERS: dict[str, Callable[..., keras.Model]] = {
    "twinvae": twinvae,
    "twinvae_spatial": twinvae_spatial,
}
