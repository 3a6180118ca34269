"""Recipes: YAML files that say everything about an experiment, checked before anything runs."""

from cellzoo.data.augment import Augment
from cellzoo.data.section import Data
from cellzoo.recipe.load import as_setting, load_recipe, other_form, overlaid
from cellzoo.recipe.schema import NETWORK_SECTIONS, Card, Recipe
from cellzoo.recipe.train import Count, Loss, Train
from cellzoo.recipe.tune import LARGER_IS_BETTER, OBJECTIVES, Parameter, Tune
from cellzoo.recipe.values import check_settings, check_space, with_epochs, with_values

__all__ = [
    "LARGER_IS_BETTER",
    "NETWORK_SECTIONS",
    "OBJECTIVES",
    "Augment",
    "Card",
    "Count",
    "Data",
    "Loss",
    "Parameter",
    "Recipe",
    "Train",
    "Tune",
    "as_setting",
    "check_settings",
    "check_space",
    "load_recipe",
    "other_form",
    "overlaid",
    "with_epochs",
    "with_values",
]
