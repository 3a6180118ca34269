"""The section of a recipe that says what a search tries."""

import difflib
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from cellzoo.scores.table import COUNT_SCORES
from cellzoo.section import Duration, Section


class Parameter(Section):
    """What a search may put in a key's place: numbers from low to high, or one of a choice."""

    low: int | float | None = None
    high: int | float | None = None
    scale: Literal["linear", "log"] = "linear"
    step: PositiveInt | PositiveFloat | None = None
    choice: Annotated[list[Any] | None, Field(min_length=1)] = None

    @model_validator(mode="after")
    def _is_range_or_choice(self) -> "Parameter":
        if (self.choice is None) == (self.low is None and self.high is None):
            raise ValueError("it must have either low and high or a choice")
        if self.choice is None:
            if self.low is None or self.high is None or not self.low < self.high:
                raise ValueError("low and high must be numbers, low the smaller")
            if self.scale == "log" and self.low <= 0:
                raise ValueError("a log scale begins above 0")
            if self.scale == "log" and self.step and not 1 < self.step <= self.high / self.low:
                raise ValueError(
                    "on a log scale step is a factor, above 1 and at most high / low: 2 doubles"
                )
        return self


LARGER_IS_BETTER = [
    f"validation_{key}" for key, score in COUNT_SCORES.items() if score.direction == "max"
]
# Scores of the validation split, and columns of history.csv.
OBJECTIVES = [
    *(f"validation_{key}" for key, score in COUNT_SCORES.items() if score.direction != "zero"),
    "loss",
    *(
        f"{domain}_{term}"
        for domain in ("natural", "synthetic")
        for term in ("reconstruction", "count", "kl", "mask", "density")
    ),
]


class Tune(Section):
    """What :func:`cellzoo.tuning.search.tune` searches, and how."""

    space: dict[str, Parameter | None]
    objective: str = "validation_mae_raw"
    direction: Literal["min", "max"] = "min"
    trials: PositiveInt = 15
    epochs: PositiveInt | None = None
    budget: Duration = None
    algorithm: Literal["bayesian", "random", "hyperband"] = "bayesian"
    seed: NonNegativeInt = 1

    @model_validator(mode="after")
    def _ends_one_way(self) -> "Tune":
        if self.epochs and self.budget:
            raise ValueError("a trial ends after epochs or after a budget, not both")
        if self.algorithm == "hyperband" and not self.epochs:
            raise ValueError("hyperband needs epochs, those of its longest trials")
        return self

    @model_validator(mode="after")
    def _has_an_objective(self) -> "Tune":
        if self.objective not in OBJECTIVES:
            near = difflib.get_close_matches(self.objective, OBJECTIVES, n=1, cutoff=0.6)
            cure = f"did you mean {near[0]}?" if near else "validation_mae_raw is one."
            raise ValueError(f"objective {self.objective} is no score or loss; {cure}")
        if self.objective in LARGER_IS_BETTER and self.direction == "min":
            raise ValueError(f"of {self.objective} more is better: set direction: max")
        return self

    @property
    def searched(self) -> dict[str, Parameter]:
        """The keys to search; an overlay takes one out by setting it to null."""
        return {key: parameter for key, parameter in self.space.items() if parameter}
