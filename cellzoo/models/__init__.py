"""The zoo: one file per model, and the name under which a recipe asks for it."""

from collections.abc import Callable
from typing import Any

import keras

from cellzoo.models.brightness import Brightness
from cellzoo.models.dcc import dcc
from cellzoo.models.efficientnet import efficientnet
from cellzoo.models.twinvae import twinvae
from cellzoo.models.twinvae_spatial import twinvae_spatial
from cellzoo.models.watershed import Watershed

# Networks, which the trainer trains.
BUILDERS: dict[str, Callable[..., keras.Model]] = {
    "twinvae": twinvae,
    "twinvae_spatial": twinvae_spatial,
    "dcc": dcc,
    "efficientnet": efficientnet,
}

# Counters that are fitted in one go. Each is a frozen dataclass of plain numbers, so that JSON can
# keep it, made by `fit(images, counts, **keys of the recipe)`; `count(images)` gives float32 `[n]`,
# and those that segment have `segment(image)`, which gives the regions as int32 labels `[h, w]`.
CLASSICAL: dict[str, Any] = {
    "brightness": Brightness,
    "watershed": Watershed,
}
