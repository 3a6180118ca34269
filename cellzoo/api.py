"""What ``import cellzoo`` offers beyond counting: training and scoring in one call each."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellzoo import zoo
from cellzoo.backend import start_tensorflow
from cellzoo.errors import UsageError
from cellzoo.files import path_text

if TYPE_CHECKING:
    from cellzoo.evaluation.report.evaluation import Evaluation


def available() -> list[str]:
    """The trained counters that come with the package, as :func:`cellzoo.load` takes them.

    Example:
        >>> "zoo:simulated_bf" in available()
        True
    """
    return [f"{zoo.PREFIX}{name}" for name in zoo.names()]


def fit(
    recipe: str | os.PathLike,
    out: str | os.PathLike | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    quick: bool = False,
    paper: bool = False,
    budget: str | None = None,
    fresh: bool = False,
) -> Path:
    """Trains what a recipe describes; an interrupted training goes on.

    Args:
        recipe: a YAML file, or the name of a recipe of the package such as ``"twinvae_bf"``.
        out: run folder; None: a new one below ``runs/``.
        settings: keys to change, dotted, such as ``{"data.natural.folder": "cells"}``.
        quick: the recipe's overlay for 2 CPU cores.
        paper: the recipe's overlay with the paper's settings.
        budget: train for so long, such as ``"10m"``.
        fresh: start anew even if a run was interrupted.

    Returns:
        The run folder, which :func:`cellzoo.load` and :func:`cellzoo.evaluate` take.

    Raises:
        UserError: a key is wrong, the images cannot be used, or ``out`` holds something else.
    """
    from cellzoo.recipe import as_setting, check_settings, load_recipe, other_form

    recipe = path_text(recipe, "recipe")
    out = None if out is None else Path(path_text(out, "out"))
    if not isinstance(settings, Mapping | None):
        raise UsageError(
            f"settings is of type {type(settings).__name__}: give a dict of keys and values."
        )
    words = [as_setting(key, value) for key, value in (settings or {}).items()]
    other = None if paper else other_form(recipe, words, quick)
    if budget:
        words.append(f"train.budget={budget}")
    chosen = load_recipe(recipe, words, quick, paper)
    check_settings(chosen, words)
    start_tensorflow()
    from cellzoo.training.fit import fit as train

    return train(chosen, out, fresh, other).path


def evaluate(
    model: str | os.PathLike,
    data: str | os.PathLike | None = None,
    out: str | os.PathLike | None = None,
    *,
    protocol: str = "cellzoo",
    trust: bool = False,
    allow_copies: bool = False,
) -> "Evaluation":
    """Scores a model on images that it never saw, and writes a report.

    Args:
        model: a run folder, ``zoo:NAME``, or a SavedModel, which needs ``data``.
        data: a folder of images with ``labels.csv``; None: the test split of the run's recipe.
        out: folder for the report; None: ``report/`` in the run, or below ``evaluation/``.
        protocol: ``"authors"``: as the paper's program does, of a Twin-VAE alone.
        trust: load a SavedModel whatever operations it holds: it is a program that runs here.
        allow_copies: score images of ``data`` that the model has seen, or copies of them, too.

    Returns:
        Scores by name, their intervals, and the files that were written.

    Raises:
        UserError: there is no model or no image to score, or ``out`` holds something else.
    """
    folder = zoo.find(path_text(model, "model"))
    data = None if data is None else Path(path_text(data, "data"))
    place = None if out is None else Path(path_text(out, "out"))
    start_tensorflow()
    from cellzoo.evaluation.evaluate import evaluate as score

    return score(folder, data, place, protocol, trust=trust, allow_copies=allow_copies)
