"""Counters of run folders whose images are of several kinds, with cells of one size."""

from cellzoo.counters.by_familiarity import Rescaling
from cellzoo.counters.tiled import TiledCounter
from cellzoo.runs import Run


class RescaledCounter(TiledCounter):
    """The network of a run folder with ``data.natural.source: mixed``."""

    def __init__(self, run: Run, selection: str = "best"):
        """Loads the weights."""
        super().__init__(run, selection)
        self.any_size = True
        self.measuring = Rescaling(
            self.name, run.recipe.data.natural, self.tiled, self.preprocessing,
            self.out_of_distribution, run.recipe.count.test_time_augmentation,
        )  # fmt: skip

    def graph(self) -> None:
        """None: what looks familiar is chosen outside of TensorFlow."""
