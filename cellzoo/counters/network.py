"""Counters whose network takes images of one size."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import keras
import numpy as np

from cellzoo.counters.network_parts import domain_counter, predict, translations
from cellzoo.counters.of_run import RunCounter
from cellzoo.counters.preprocessing import Columns
from cellzoo.counters.test_time_augmentation import mean_over_orientations
from cellzoo.images import Frame
from cellzoo.models.section import Domain
from cellzoo.models.thresholds import Threshold
from cellzoo.runs import Run

if TYPE_CHECKING:
    from cellzoo.counters.graph import CountingGraph


class NetworkCounter(RunCounter):
    """The network of a run folder; see :class:`cellzoo.counters.of_run.RunCounter`.

    Attributes:
        network: the whole of it.
    """

    _threshold: Threshold | None = None  # probabilities to masks, of a network that has them

    def __init__(self, run: Run, selection: str = "best"):
        """Loads the weights."""
        self.network = run.load_network(selection)
        super().__init__(run, selection)
        outputs = self.network.output
        self.reads_synthetic = "synthetic" in self.network.input
        self.can_embed = "natural_mean" in outputs
        self.can_reconstruct = "natural_reconstruction" in outputs
        self._models = {d: domain_counter(self.network, d) for d in self.network.input}
        self._graph: CountingGraph | None = None

    @property
    def weights_count(self) -> int:
        """Number of trained weights."""
        return sum(int(np.prod(weight.shape)) for weight in self.network.trainable_variables)

    def graph(self) -> "CountingGraph | None":
        """See :meth:`cellzoo.counters.base.Counter.graph`."""
        if self._graph is None and keras.backend.backend() == "tensorflow":
            from cellzoo.counters.graph import CountingGraph

            self._graph = CountingGraph(
                self.network,
                self.preprocessing,
                self.interval,
                self._threshold,
                self.run.recipe.count.test_time_augmentation,
            )
        return self._graph

    def _prepare(self, frame: Frame, scaled: bool) -> np.ndarray:
        if self.graph():
            return self.preprocessing.prepare(frame, self.name, scaled)
        return self.preprocessing.fitted(frame, self.name, scaled)

    def _count(self, images: np.ndarray, domain: Domain) -> Columns:
        graph = self.graph()
        if graph and (domain == "natural" or not self.reads_synthetic):
            return self.preprocessing.count(graph.local_functions, images)
        images = self.preprocessing.seen(images)
        model = self._models.get(domain, self._models["natural"])
        return self.with_interval(self._averaged(lambda turned: predict(model, turned), images))

    def _averaged(self, count: Callable, images: np.ndarray) -> np.ndarray:
        """Counts as the graph averages them over orientations."""
        number = self.run.recipe.count.test_time_augmentation
        return mean_over_orientations(lambda turned: count(np.asarray(turned)), images, number)

    def embed(self, images: np.ndarray, domain: Domain = "natural") -> np.ndarray:
        """See :meth:`cellzoo.counters.base.Counter.embed`."""
        if not self.can_embed:
            return super().embed(images, domain)
        latent = self.network.output[f"{domain}_mean"]
        return predict(keras.Model(self.network.input[domain], latent), images)

    def translations(self, images: np.ndarray, domain: Domain = "natural") -> dict[str, np.ndarray]:
        """See :meth:`cellzoo.counters.base.Counter.translations`."""
        if not self.can_reconstruct:
            return super().translations(images, domain)
        return translations(self.network, images, domain)
