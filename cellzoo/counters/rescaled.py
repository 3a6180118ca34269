"""Counters of run folders whose images are of several kinds, with cells of one size."""

import keras

from cellzoo.counters.alike_graph import AlikeGraph
from cellzoo.counters.by_familiarity import Rescaling
from cellzoo.counters.measuring import Sizes
from cellzoo.counters.tiled import TiledCounter
from cellzoo.runs import Run


class RescaledCounter(TiledCounter):
    """The network of a run folder with ``data.natural.source: mixed``."""

    def __init__(self, run: Run, selection: str = "best"):
        """Loads the weights."""
        super().__init__(run, selection)
        self.any_size = True
        source = run.recipe.data.natural
        sizes = Sizes(
            source.diameter, tuple(source.diameters), [each.diameter for each in source.used]
        )
        self.measuring = Rescaling(
            self.name, sizes, self.tiled, self.preprocessing, self.out_of_distribution,
            run.recipe.count.test_time_augmentation,
        )  # fmt: skip

    def graph(self) -> AlikeGraph | None:
        """See :meth:`cellzoo.counters.base.Counter.graph`."""
        if keras.backend.backend() != "tensorflow":
            return None
        return AlikeGraph(self.network, self.tiled.tiling, self.interval)
