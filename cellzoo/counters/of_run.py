"""What the counters of run folders have in common."""

from dataclasses import replace
from typing import Any

import numpy as np

from cellzoo import zoo
from cellzoo.counters.base import Counter
from cellzoo.counters.preprocessing import Columns, Preprocessing, without_interval
from cellzoo.data.seen import Seen
from cellzoo.errors import UserError
from cellzoo.images import sides
from cellzoo.runs import Run
from cellzoo.trust.intervals import Interval, too_few_to_promise


class RunCounter(Counter):
    """The model of a run folder, which may still be trained.

    Args:
        run: the opened folder.
        selection: which checkpoint of a network, see :meth:`cellzoo.runs.Run.weights`.

    Raises:
        UserError: no model has been saved there yet.
    """

    run: Run
    preprocessing: Preprocessing

    def __init__(self, run: Run, selection: str = "best"):
        """Reads what the folder says of its model."""
        recipe = run.recipe
        self.run = run
        self.name = zoo.name_of(run.path) or recipe.name
        self.version = run.version
        self.digest = run.digest(selection)
        scores = run.validation_scores()
        self.training_mean = scores.get("training_mean")
        if counts := scores.get("training_counts"):
            self.training_counts = (counts[0], counts[1])
        # That of the best checkpoint; no errors of the others are kept to make theirs from.
        try:
            self.interval = Interval.from_metadata(scores if selection == "best" else {})
            if self.interval:
                self.interval.ends(np.zeros(1))  # of numbers that are none this makes an error
            else:
                self.no_interval = _why_no_interval(run, scores, selection)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            raise UserError(
                f"{run.validation_file} is damaged: copy the run folder anew, or delete the file "
                "and train on with `cellzoo fit`."
            ) from None
        reading = recipe.data.natural.reading
        known = run.out_of_distribution()
        if known and known.sizes is None and reading.original_size:  # earlier runs kept no sizes
            known = replace(known, sizes=np.array([reading.original_size] * 2))
        self.out_of_distribution = known
        self.preprocessing = Preprocessing(
            sides(recipe.image_size),
            reading.resize,
            reading.intensity,
            reading.axes,
            reading.channel,
            z=reading.z,
            pixel_size_um=run.pixel_size_um,
        )

    def seen(self) -> Seen | None:
        """See :meth:`Counter.seen`; a run of an earlier version does not know."""
        return self.run.fingerprints()

    def with_interval(self, raw: np.ndarray) -> Columns:
        """Counts ``[n]`` with the interval around them; NaN where none can be promised."""
        if self.interval is None:
            return without_interval(raw)
        return raw, *self.interval.ends(raw)


def _why_no_interval(run: Run, scores: dict[str, Any], selection: str) -> str:
    if run.finished and selection != "best":
        return "only those of the best checkpoint are known"
    if not run.finished:
        return "it was trained elsewhere" if run.imported else "its training is not finished"
    calibration = scores.get("calibration") or {}
    return too_few_to_promise(calibration.get("images"), calibration.get("groups"))
