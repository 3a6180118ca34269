"""Counters without a network: brightness and watershed."""

import numpy as np

from cellzoo.counters.of_run import RunCounter
from cellzoo.counters.preprocessing import Columns
from cellzoo.images import Frame
from cellzoo.models.section import Domain
from cellzoo.runs import Run


class ClassicalCounter(RunCounter):
    """A counter that was fitted in one go; see :class:`cellzoo.counters.of_run.RunCounter`."""

    def __init__(self, run: Run):
        """Loads the fitted parameters."""
        self._model = run.load_classical()
        super().__init__(run)
        self.can_segment = run.recipe.model.segments

    def _prepare(self, frame: Frame, scaled: bool) -> np.ndarray:
        return self.preprocessing.fitted(frame, self.name, scaled)

    def _count(self, images: np.ndarray, domain: Domain) -> Columns:
        return self.with_interval(self._model.count(images))

    def _segment(self, prepared: np.ndarray) -> tuple[np.ndarray, None]:
        return self._model.segment(prepared) > 0, None
