"""Counters of run folders whose images are made alike: cells are measured first."""

import threading

import keras
import numpy as np

from cellzoo.counters.alike_graph import AlikeGraph
from cellzoo.counters.by_mask import MAPS, ByMask
from cellzoo.counters.tiled import TiledCounter
from cellzoo.counters.tiled_maps import TiledMaps
from cellzoo.runs import Run


class NormalisedCounter(TiledCounter):
    """The network of a run folder with ``data.normalise``."""

    def __init__(self, run: Run, selection: str = "best"):
        """Loads the weights."""
        super().__init__(run, selection)
        self.any_size = True
        outputs = [self.network.output[f"natural_{name}"] for name in MAPS]
        maps = keras.Model(self.network.input["natural"], outputs)
        # Images are measured while those before them are counted.
        one_at_a_time = threading.Lock()

        def see(images: np.ndarray, *wanted: str) -> list[np.ndarray]:
            with one_at_a_time:
                found = dict(zip(MAPS, maps.predict_on_batch(images), strict=True))
            return [np.asarray(found[name]) for name in wanted]

        self.measuring = ByMask(
            self.name, run.recipe.data.normalise, TiledMaps.seen(self.tiled.tiling, see, MAPS),
            see, run.recipe.count.test_time_augmentation,
        )  # fmt: skip

    def graph(self) -> AlikeGraph | None:
        """See :meth:`cellzoo.counters.base.Counter.graph`."""
        if keras.backend.backend() != "tensorflow":
            return None
        return AlikeGraph(self.network, self.tiled.tiling, self.interval)
