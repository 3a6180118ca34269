"""Counters without a network: fitted in one go, kept as a few numbers in JSON."""

import dataclasses
import logging
import time
from typing import Any

import numpy as np

from cellzoo.data.image_set import ImageSet
from cellzoo.runs import Run

log = logging.getLogger("cellzoo")


def fit_classical(run: Run, training: ImageSet, validation: ImageSet) -> float:
    """Fits the run's counter and writes ``checkpoints/parameters.json``.

    Args:
        run: whose recipe names the model.
        training: natural training images; the labelled ones are used.
        validation: labelled validation images, for models that choose parameters with them.

    Returns:
        The seconds that it took.
    """
    splits = {"train": training.take(training.labelled), "validation": validation}
    chosen = [splits[split] for split in run.recipe.model.fitted_on]
    started = time.monotonic()
    counter = _fitted(run, chosen)
    seconds = time.monotonic() - started
    parameters = dataclasses.asdict(counter)
    run.write_json(str(run.parameters_file.relative_to(run.path)), parameters)
    log.info("fitted on %d labelled images in %.1f s", sum(map(len, chosen)), seconds)
    return seconds


def unseen_counts(
    run: Run, training: ImageSet, validation: ImageSet, predicted: np.ndarray
) -> np.ndarray:
    """Counts of the validation images by a counter that was not fitted on them, ``[n]``.

    From them comes the interval, which errors on images already seen would make too narrow.

    Args:
        run: whose counter was fitted by :func:`fit_classical`.
        training: as there.
        validation: as there.
        predicted: counts of the validation images by the run's own counter, ``[n]``.
    """
    if "validation" not in run.recipe.model.fitted_on:
        return predicted
    return _fitted(run, [training.take(training.labelled)]).count(validation.images)


def _fitted(run: Run, chosen: list[ImageSet]) -> Any:
    return run.recipe.model.fit(
        np.concatenate([images.images for images in chosen]),
        np.concatenate([images.counts for images in chosen]),
    )
