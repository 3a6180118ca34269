"""Recipes with other values at some keys, as a search and a plan of epochs need them."""

import difflib
from collections.abc import Iterable
from typing import Any

import yaml

from cellzoo.errors import UsageError
from cellzoo.recipe.keys import holder, leaves, show
from cellzoo.recipe.load import validate
from cellzoo.recipe.schema import Recipe


def with_epochs(recipe: Recipe, epochs: int) -> Recipe:
    """The recipe with another number of epochs, the regressor starting as early in proportion."""
    start = recipe.loss.count_start_epoch * epochs // recipe.train.epochs
    return recipe.model_copy(
        update={
            "train": recipe.train.model_copy(update={"epochs": epochs}),
            "loss": recipe.loss.model_copy(update={"count_start_epoch": start}),
        }
    )


def with_values(recipe: Recipe, values: dict[str, Any]) -> Recipe:
    """The recipe with other values at dotted keys; ``model.channels.3`` is the list's fourth.

    Raises:
        UsageError: the recipe would not be valid.
    """
    document = yaml.safe_load(recipe.to_yaml())
    for key, value in values.items():
        held_by, last = holder(document, key)
        held_by[last] = value
    return validate(document, ", ".join(f"{k}={show(v)}" for k, v in values.items()), None)


# What changes with the length of a training, see `with_epochs`.
_SCHEDULE = ("train.epochs", "loss.count_start_epoch")


def check_settings(recipe: Recipe, settings: Iterable[str]) -> None:
    """Refuses a number of epochs that somebody sets and a budget then decides.

    Args:
        recipe: with the settings.
        settings: ``key=value``.

    Raises:
        UsageError: it is set.
    """
    given = {setting.partition("=")[0].strip() for setting in settings}
    if recipe.train.budget and "train.epochs" in given:
        raise UsageError(
            "train.epochs: the budget decides how many there are, add --set train.budget=null or "
            "leave train.epochs out."
        )


def check_space(recipe: Recipe) -> None:
    """Sees to it that every key to be searched is one of the recipe's, and a trial's to choose.

    Raises:
        UsageError: one is not; the sentence names the nearest. Or the length of a trial decides it.
    """
    if recipe.tune is None:
        return
    document = yaml.safe_load(recipe.to_yaml())
    document.pop("tune", None)
    timed = recipe.tune.epochs or recipe.tune.budget
    budget = recipe.train.budget or "train.budget" in recipe.tune.searched
    for key in recipe.tune.searched:
        try:
            holder(document, key)
        except KeyError:
            known = [name for name, _ in leaves(document)]
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else "write it as section.key."
            raise UsageError(
                f"tune.space names {key}, which is no key of {recipe.name} with its "
                f"{recipe.model.name}; {hint}"
            ) from None
        if (key in _SCHEDULE and (timed or budget)) or (key == "train.budget" and timed):
            raise UsageError(
                f"tune.space names {key}, which follows from how long a trial may take: leave it "
                "out, or set what decides that (tune.epochs, tune.budget, train.budget) to null."
            )
