"""Which counter a name stands for."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from cellzoo import zoo
from cellzoo.backend import start_tensorflow
from cellzoo.counters.base import Counter
from cellzoo.errors import UserError
from cellzoo.files import path_text

if TYPE_CHECKING:
    from cellzoo.counters.connection import Connection
    from cellzoo.counters.of_run import RunCounter


def load_counter(
    model: str | os.PathLike, connection: "Connection | None" = None, *, trust: bool = False
) -> Counter:
    """The counter that a name stands for.

    Args:
        model: a run folder, a SavedModel (``saved_models/NAME`` or one of its versions),
            ``zoo:NAME``, or ``HOST:PORT/NAME`` of a served model.
        connection: how to reach a served model; None: as it comes.
        trust: load a SavedModel whatever operations it holds: it is a program that runs here.

    Raises:
        UserError: there is nothing of that name.
        UsageError: it is no name.
    """
    from cellzoo.counters.saved_model import SavedModelCounter, is_saved_model

    name = path_text(model, "model")
    if is_served(name):
        from cellzoo.counters.connection import parse_address
        from cellzoo.counters.served import ServedCounter

        return ServedCounter(parse_address(name), connection)
    path = zoo.find(name)
    if not path.is_dir():
        raise UserError(
            f"There is no model {name}: name a run folder that `cellzoo fit` wrote, a SavedModel "
            "that `cellzoo export` wrote, zoo:NAME, or HOST:PORT/NAME of a served model."
        )
    start_tensorflow()
    if is_saved_model(path):
        return SavedModelCounter(path, trust)
    return load_run(path)


def load_run(folder: Path, selection: str = "best") -> "RunCounter":
    """The counter of a run folder.

    Args:
        folder: as `cellzoo fit` leaves it; the training need not be finished.
        selection: which checkpoint of a network, see :meth:`cellzoo.runs.Run.weights`.

    Raises:
        UserError: it is no run folder, or no model has been saved there yet.
    """
    from cellzoo.runs import Run

    run = Run(folder)
    if run.recipe.classical:
        from cellzoo.counters.classical import ClassicalCounter

        return ClassicalCounter(run)
    # All start Keras: 4 s.
    if run.recipe.data.normalise:
        from cellzoo.counters.normalised import NormalisedCounter

        return NormalisedCounter(run, selection)
    if run.recipe.data.natural.source == "mixed":
        from cellzoo.counters.rescaled import RescaledCounter

        return RescaledCounter(run, selection)
    if run.recipe.model.tiling():
        from cellzoo.counters.tiled import TiledCounter

        return TiledCounter(run, selection)
    from cellzoo.counters.network import NetworkCounter

    return NetworkCounter(run, selection)


def is_served(model: str) -> bool:
    """Whether a name stands for a served model, for which no TensorFlow is needed."""
    from cellzoo.counters.connection import parse_address

    return parse_address(model) is not None and not Path(model).exists()
