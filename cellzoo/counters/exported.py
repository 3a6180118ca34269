"""What exports and served models have in common: they say themselves how their images are read."""

from typing import Any

import numpy as np

from cellzoo.counters.base import Counter
from cellzoo.counters.by_familiarity import Rescaling
from cellzoo.counters.by_mask import ByMask
from cellzoo.counters.preprocessing import (
    Preprocessing,
    no_interval_of,
    out_of_distribution_of,
    training_counts_of,
)
from cellzoo.counters.tiled_maps import See
from cellzoo.trust.intervals import Interval


class ExportedCounter(Counter):
    """A model that `cellzoo export` wrote, wherever it runs."""

    def _read(self, metadata: dict[str, Any], see: See) -> None:
        """Takes what the model says of itself.

        Args:
            metadata: see :data:`cellzoo.counters.preprocessing.METADATA_FILE`.
            see: what its network makes of images made alike; only asked of a model that measures
                cells.

        Raises:
            KeyError, TypeError, ValueError, IndexError: it says too little, or it is damaged.
        """
        self.preprocessing = Preprocessing.from_metadata(metadata)
        self.out_of_distribution = out_of_distribution_of(metadata)
        self.training_counts = training_counts_of(metadata)
        self.no_interval = no_interval_of(metadata)
        self.digest = str(metadata.get("digest", ""))
        self.training_mean = metadata.get("training_mean")
        self.weights_count = metadata.get("parameters", 0)
        if alike := metadata.get("alike"):  # its intervals are not made in the graph
            self.any_size = True
            if "normalise" in alike:
                self.measuring = ByMask.from_metadata(metadata, see)
            else:
                known = self.out_of_distribution
                self.measuring = Rescaling.from_metadata(metadata, see, self.preprocessing, known)
            self.interval = Interval.from_metadata(metadata)
            if self.interval:
                self.interval.ends(np.zeros(1))  # of numbers that are none this makes an error
