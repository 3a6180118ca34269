"""Counters of cells of any size: their diameter is stated, or chosen by what looks familiar.

No simple measure says how large cells in bright field, phase contrast and differential interference
contrast are: they have rims, lenses and halos, bright and dark, and chambers have edges, too. So an
image is looked at in several sizes. In the right one it looks like the training images, in which
the size of cells is known.
"""

import numpy as np

from cellzoo.counters.entries import Entry
from cellzoo.counters.measuring import Measuring
from cellzoo.counters.preprocessing import Preprocessing
from cellzoo.counters.tiled_maps import TiledMaps
from cellzoo.data.sources import Mixed
from cellzoo.images import resize
from cellzoo.models.tiling import pad_to
from cellzoo.trust.out_of_distribution import OutOfDistribution, features

_STEP = 1.25  # times by which a diameter that is tried is larger than the one before it
_NEAR = 1.2  # times which diameters of training may differ that are tried as one
_LOOKED_AT = 256  # side of the middle of an image, made as large as in training, that is looked at
_LEAST_SIDE = 16  # of an image made as large as in training


class Rescaling(Measuring):
    """How such a counter chooses the size of cells, and counts.

    Args:
        name: of the counter, for errors.
        settings: ``data.natural`` of its recipe.
        tiled: its network, tile by tile.
        preprocessing: how its images are scaled.
        known: what its training images look like; None: it is not known.
        orientations: see :class:`Measuring`.
    """

    settings: Mixed

    def __init__(
        self,
        name: str,
        settings: Mixed,
        tiled: TiledMaps,
        preprocessing: Preprocessing,
        known: OutOfDistribution | None,
        orientations: int,
    ):
        """Lists the diameters that are tried."""
        super().__init__(name, settings, tiled, orientations)
        self._preprocessing, self._training = preprocessing, known
        sizes = sorted({each.diameter for each in settings.used})
        self._known = [a for k, a in enumerate(sizes) if not k or a > _NEAR * sizes[k - 1]]
        least, most = self.settings.diameters
        number = 1 + int(np.log(most / least) / np.log(_STEP))
        self._others = (least * _STEP ** np.arange(number)).tolist()

    def _pixels(self, entry: Entry) -> np.ndarray:
        return np.ascontiguousarray(self._preprocessing.unit(entry.frame, entry.scaled))

    def _alike(self, image: np.ndarray, diameter: float) -> tuple[np.ndarray, tuple[float, float]]:
        """The image with cells as large as the network sees them, and that it has no padding."""
        times = self.settings.diameter / diameter
        return resize(image, tuple(max(_LEAST_SIDE, round(s * times)) for s in image.shape)), (1, 1)

    def _measured(self, image: np.ndarray) -> tuple[float, str]:
        """The diameter of an image's cells, px, and what to say of it.

        Those of the training sets come first. Where the image looks familiar with none, all that it
        is meant for are tried.
        """
        known = self._training
        if known is None:
            return self._usual(), ""
        diameter, distance = self._most_familiar(image, self._known)
        if distance > known.threshold:
            diameter, distance = min(
                (diameter, distance), self._most_familiar(image, self._others), key=lambda x: x[1]
            )
        if distance > known.threshold:
            return diameter, f"cells may be {diameter:.0f} px large: state their diameter"
        return diameter, ""

    def _most_familiar(self, image: np.ndarray, tried: list[float]) -> tuple[float, float]:
        """The diameter at which an image is nearest to those of training, and its distance."""
        seen = np.stack([features(self._middle(image, diameter)) for diameter in tried])
        distances = self._training.distances(seen)
        best = int(distances.argmin())
        return tried[best], float(distances[best])

    def _middle(self, image: np.ndarray, diameter: float) -> np.ndarray:
        """What is looked at of an image whose cells have a diameter."""
        most = max(1, round(_LOOKED_AT * diameter / self.settings.diameter))
        tops = [max(0, (side - most) // 2) for side in image.shape]
        return self._alike(image[tuple(slice(top, top + most) for top in tops)], diameter)[0]

    def _counted(self, images: np.ndarray) -> np.ndarray:
        tiling = self._tiled.tiling
        if max(images.shape[1:]) > tiling.window:
            return super()._counted(images)
        # All at once, as each is a window: four times as fast.
        padded = np.stack([pad_to(image, tiling.stride, tiling.fill) for image in images])
        return self._tiled.counter(padded)

    def _usual(self) -> float:
        """The diameter of most training sets, px."""
        return float(np.median([each.diameter for each in self.settings.used]))
