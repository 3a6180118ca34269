"""The zoo: one file per model, and the name under which a recipe asks for it."""

from collections.abc import Callable
from typing import Any

import keras

from cellzoo.models.brightness import Brightness
from cellzoo.models.dcc import dcc, dcc_tiling
from cellzoo.models.efficientnet import efficientnet
from cellzoo.models.tiling import Tiling
from cellzoo.models.twinvae import twinvae
from cellzoo.models.twinvae_spatial import twinvae_spatial, twinvae_spatial_tiling
from cellzoo.models.watershed import Watershed

# Networks, which the trainer trains.
BUILDERS: dict[str, Callable[..., keras.Model]] = {
    "twinvae": twinvae,
    "twinvae_spatial": twinvae_spatial,
    "dcc": dcc,
    "efficientnet": efficientnet,
}

# Networks that see a neighbourhood only: how images of any size are cut for one of a builder's
# arguments.
TILINGS: dict[str, Callable[..., Tiling]] = {
    "twinvae_spatial": twinvae_spatial_tiling,
    "dcc": dcc_tiling,
}

# Counters that are fitted in one go. Each is a frozen dataclass of plain numbers, so that JSON can
# keep it, made by `fit(images, counts, **keys of the recipe)`; `count(images)` gives float32 `[n]`,
# and those that segment have `segment(image)`, which gives the regions as int32 labels `[h, w]`.
CLASSICAL: dict[str, Any] = {
    "brightness": Brightness,
    "watershed": Watershed,
}
