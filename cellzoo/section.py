"""What the sections of a recipe have in common: their base class and the types of their keys."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
)

Share = Annotated[float, Field(ge=0, le=1)]
Labels = Annotated[int, Field(ge=0, strict=True)]  # strict: false is not 0
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Pixels = Annotated[int, Field(ge=2)]
ImageSize = PositiveInt | tuple[PositiveInt, PositiveInt]  # side, or height and width, px


def _ordered(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError("the first is above the second: write [lowest, highest]")
    return ends


Number = TypeVar("Number")
Range = Annotated[tuple[Number, Number], AfterValidator(_ordered)]  # both ends are possible


def _sum_to_one(shares: dict[str, float]) -> dict[str, float]:
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise ValueError("the shares have to sum to 1")
    return shares


def _rising(ends: tuple[float, float]) -> tuple[float, float]:
    if not ends[0] < ends[1]:
        raise ValueError("the value of black comes first and is the lower one")
    return ends


Shares = Annotated[dict[Literal["train", "validation", "test"], Share], AfterValidator(_sum_to_one)]
Intensity = Literal["dtype"] | Annotated[tuple[float, float], AfterValidator(_rising)]


def parse_duration(text: str) -> float:
    """Seconds in ``90s``, ``10m`` or ``2h``.

    Raises:
        ValueError: on anything else.
    """
    units = {"s": 1, "m": 60, "h": 3600}
    try:
        seconds = float(text[:-1]) * units[text[-1]]
    except (ValueError, KeyError, IndexError):
        seconds = 0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"{text!r} is not a duration such as 90s, 10m or 2h")
    return seconds


def _duration(text: Any) -> Any:
    if text is not None:
        parse_duration(str(text))
    return text


Duration = Annotated[str | None, BeforeValidator(_duration)]  # 90s, 10m, 2h, or null


class Section(BaseModel):
    """A section of a recipe: unknown keys are errors, and nothing changes after it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
