"""The models: a folder per model, and the one table of their names.

Nothing here starts Keras or TensorFlow; building a network does.
"""

from cellzoo.models.brightness.section import Brightness
from cellzoo.models.dcc.section import DCC
from cellzoo.models.efficientnet.section import EfficientNet
from cellzoo.models.section import Classical, ModelSection, Network
from cellzoo.models.twin_density.section import TwinDensity
from cellzoo.models.twinvae.section import TwinVAE
from cellzoo.models.twinvae_spatial.section import TwinVAESpatial
from cellzoo.models.watershed.section import Watershed

# The `name` of a recipe's `model` section, and the section.
MODELS: dict[str, type[ModelSection]] = {
    "twinvae": TwinVAE,
    "twinvae_spatial": TwinVAESpatial,
    "twin_density": TwinDensity,
    "dcc": DCC,
    "efficientnet": EfficientNet,
    "brightness": Brightness,
    "watershed": Watershed,
}

__all__ = [
    "DCC",
    "MODELS",
    "Brightness",
    "Classical",
    "EfficientNet",
    "ModelSection",
    "Network",
    "TwinDensity",
    "TwinVAE",
    "TwinVAESpatial",
    "Watershed",
]
