"""Counters of cells of any size: their diameter is stated, or chosen by what looks familiar.

No simple measure says how large cells in bright field, phase contrast and differential interference
contrast are: they have rims, lenses and halos, bright and dark, and chambers have edges, too. So an
image is looked at in several sizes. In the right one it looks like the training images, in which
the size of cells is known.
"""

from dataclasses import asdict
from typing import Any

import numpy as np

from cellzoo.counters.entries import Entry
from cellzoo.counters.measuring import Measuring, Sizes
from cellzoo.counters.preprocessing import Preprocessing
from cellzoo.counters.tiled_maps import See, TiledMaps
from cellzoo.images.scale import middle_of, resize
from cellzoo.models.tiling import Tiling, pad_to
from cellzoo.trust.features import features
from cellzoo.trust.out_of_distribution import OutOfDistribution

_STEP = 1.25  # times by which a diameter that is tried is larger than the one before it
_NEAR = 1.2  # times which diameters of training may differ that are tried as one
_LOOKED_AT = 256  # side of the middle of an image, made as large as in training, that is looked at
_LEAST_SIDE = 16  # of an image made as large as in training
_PIXELS_AT_A_TIME = 2**19  # of images that are counted together: a request of two megabytes


class Rescaling(Measuring):
    """How such a counter chooses the size of cells, and counts.

    Args:
        name: of the counter, for errors.
        settings: the sizes of cells.
        tiled: its network, tile by tile.
        preprocessing: how its images are scaled.
        known: what its training images look like; None: it is not known.
        orientations: see :class:`Measuring`.
    """

    settings: Sizes

    def __init__(
        self,
        name: str,
        settings: Sizes,
        tiled: TiledMaps,
        preprocessing: Preprocessing,
        known: OutOfDistribution | None,
        orientations: int,
    ):
        """Lists the diameters that are tried."""
        super().__init__(name, settings, tiled, orientations)
        self._preprocessing, self._known = preprocessing, known
        sizes = sorted(set(settings.training))
        self._trained_on = [a for k, a in enumerate(sizes) if not k or a > _NEAR * sizes[k - 1]]
        least, most = self.settings.diameters
        number = 1 + int(np.log(most / least) / np.log(_STEP))
        self._others = (least * _STEP ** np.arange(number)).tolist()

    @classmethod
    def from_metadata(
        cls,
        metadata: dict[str, Any],
        see: See,
        preprocessing: Preprocessing,
        known: OutOfDistribution | None,
    ) -> "Rescaling":
        """From what an export says of itself.

        Args:
            metadata: see :data:`cellzoo.counters.preprocessing.METADATA_FILE`.
            see: what its network makes of images, asked for ``"density"`` alone.
            preprocessing: see the class.
            known: see the class.

        Raises:
            KeyError, TypeError, ValueError: it says too little.
        """
        found = metadata["alike"]
        tiled = TiledMaps.seen(Tiling(**found["tiling"]), see, ("density",))
        settings, orientations = Sizes(**found["sizes"]), int(found["orientations"])
        return cls(metadata["name"], settings, tiled, preprocessing, known, orientations)

    def metadata(self) -> dict[str, Any]:
        """See :meth:`Measuring.metadata`."""
        return {"sizes": asdict(self.settings), **super().metadata()}

    @property
    def form(self) -> str:
        """See :attr:`Measuring.form`."""
        return f"cells of {self.settings.diameter:g} px"

    def _pixels(self, entry: Entry) -> np.ndarray:
        return np.ascontiguousarray(self._preprocessing.unit(entry.frame, entry.scaled))

    def _alike(self, image: np.ndarray, diameter: float) -> tuple[np.ndarray, tuple[float, float]]:
        """The image with cells as large as the network sees them, and that it has no padding."""
        times = self.settings.diameter / diameter
        return resize(image, tuple(max(_LEAST_SIDE, round(s * times)) for s in image.shape)), (1, 1)

    def _measured(self, image: np.ndarray) -> tuple[float, str]:
        """The diameter of an image's cells, px, and what to say of it.

        NaN where the counter does not know its training images. Those of the training sets come
        first. Where the image looks familiar with none, all that it is meant for are tried.
        """
        known = self._known
        if known is None:
            return np.nan, ""
        diameter, distance = self._most_familiar(image, self._trained_on)
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
        distances = self._known.distances(seen)
        best = int(distances.argmin())
        return tried[best], float(distances[best])

    def _middle(self, image: np.ndarray, diameter: float) -> np.ndarray:
        """What is looked at of an image whose cells have a diameter."""
        most = max(1, round(_LOOKED_AT * diameter / self.settings.diameter))
        return self._alike(middle_of(image, most), diameter)[0]

    def _counted(self, images: np.ndarray) -> np.ndarray:
        tiling = self._tiled.tiling
        if max(images.shape[1:]) > tiling.window:
            cells = np.array([self._tiled.count(image) for image in images])
        else:
            cells = self._counted_together(images)
        return np.stack([cells, np.ones(len(cells))]).astype(np.float32)

    def _counted_together(self, images: np.ndarray) -> np.ndarray:
        """Counts of images that are a window each: four times as fast as one by one."""
        tiling = self._tiled.tiling
        padded = np.stack([pad_to(image, tiling.stride, tiling.fill) for image in images])
        step = max(1, _PIXELS_AT_A_TIME // padded[0].size)
        parts = [padded[start : start + step] for start in range(0, len(padded), step)]
        densities = np.concatenate([self._tiled.functions["density"](part) for part in parts])
        return densities.sum(axis=(1, 2), dtype=float) * tiling.grid_cell**2

    def _usual(self) -> float:
        """The diameter of most training sets, px."""
        return float(np.median(self.settings.training))
