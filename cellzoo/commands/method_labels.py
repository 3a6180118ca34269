"""What the methods of a comparison are called."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cellzoo.recipe import Recipe

# How files are read may differ with the model; which images and labels there are may not.
READING = ("folder", "size", "intensity")


def label_methods(plan: Sequence[Any]) -> list[Any]:
    """Gives each run without a label, or run to come, one that sets its method apart.

    Runs of one method differ in their seed alone. Methods are called by their model, and where two
    would be called the same, by the values in which they differ from the first of them.
    """
    methods: dict[str, list[Recipe]] = {}
    labelled, taken = [], {}
    for step in plan:
        recipe, label = step.recipe, step.label
        if label is None:
            name = _model_in_words(recipe)
            same_name = methods.setdefault(name, [])
            if not any(not _differences(known, recipe) for known in same_name):
                same_name.append(recipe)
            label = name
            differences = [_value_in_words(line) for line in _differences(same_name[0], recipe)]
            for number in range(min(3, len(differences)), len(differences) + 1):
                label = ", ".join([name, *differences[:number]])
                if not _differences(taken.setdefault(label, recipe), recipe):
                    break
        labelled.append(replace(step, label=label))
    return labelled


def _model_in_words(recipe: Recipe) -> str:
    natural_only = recipe.model.twin and not recipe.data.synthetic
    return recipe.model.name + (", natural only" if natural_only else "")


def _differences(first: Recipe, second: Recipe) -> list[str]:
    """Lines of ``Recipe.differences`` that make another method; the seed does not."""
    not_the_method = ["name:", "seed:", "card", *(f"data.natural.{key}:" for key in READING)]
    if first.train.budget and first.train.budget == second.train.budget:
        not_the_method += ["train.epochs:", "loss.count_start_epoch:"]
    lines = first.differences(second)
    return [line for line in lines if not line.startswith(tuple(not_the_method))]


def _value_in_words(difference: str) -> str:
    """``latent 32`` for ``model.latent: 16 -> 32``."""
    key, _, values = difference.partition(": ")
    return f"{key.rpartition('.')[2]} {values.rpartition(' -> ')[2]}"
