"""The whole recipe, composed of its sections, which stand in pipeline order."""

import re
from functools import reduce
from operator import or_
from typing import Annotated

import yaml
from pydantic import AfterValidator, Field, PositiveFloat

from cellzoo.data.augment import Augment
from cellzoo.data.section import Data
from cellzoo.models import MODELS
from cellzoo.recipe.keys import leaves, show
from cellzoo.recipe.train import Count, Loss, Train
from cellzoo.recipe.tune import Tune
from cellzoo.section import Section, Seed

# The sections that say how a network learns and counts.
NETWORK_SECTIONS = ("augment", "loss", "train", "count")


class Card(Section):
    """What the model card says that no image tells, see :mod:`cellzoo.cards.model_card`."""

    modality: str | None = None
    pixel_size_um: PositiveFloat | None = None
    licence: str | None = None


def _is_a_folders_name(name: str) -> str:
    """Refuses what is no name of a folder, or of one that is hidden or above."""
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", name):
        raise ValueError(
            "a name has letters, digits, _, - and dots, and does not begin with a dot: it names "
            "folders"
        )
    return name


class Recipe(Section):
    """A whole experiment."""

    name: Annotated[str, AfterValidator(_is_a_folders_name)]
    seed: Seed = 1
    data: Data
    augment: Augment = Augment()
    model: Annotated[reduce(or_, MODELS.values()), Field(discriminator="name")]
    loss: Loss = Loss()
    train: Train = Train()
    count: Count = Count()
    tune: Tune | None = None
    card: Card | None = None

    @property
    def image_size(self) -> int | tuple[int, int]:
        """Side, or height and width, in pixels of the images that the model learns from."""
        return self.model.image_size

    @property
    def modality(self) -> str:
        """How the training images were taken, as far as the recipe says."""
        if self.card and self.card.modality:
            return self.card.modality
        return self.data.natural.microscopy

    @property
    def classical(self) -> bool:
        """Whether the model is fitted in one go, without a network and without epochs."""
        return self.model.classical

    def to_yaml(self) -> str:
        """The recipe as YAML, every key spelled out: what a run folder keeps."""
        left_out = set(NETWORK_SECTIONS) if self.classical else set()
        left_out |= {key for key in ("tune", "card") if getattr(self, key) is None}
        document = self.model_dump(mode="json", exclude=left_out)
        return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)

    def differences(self, other: "Recipe") -> list[str]:
        """Lines such as ``loss.kl_weight: 2.0 -> 1.0`` that lead from this recipe to another."""
        mine, theirs = dict(leaves(self.model_dump())), dict(leaves(other.model_dump()))
        return [
            f"{key}: {show(mine.get(key))} -> {show(theirs.get(key))}"
            for key in list(mine) + [key for key in theirs if key not in mine]
            if mine.get(key) != theirs.get(key)
        ]
