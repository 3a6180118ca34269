"""The section of a recipe that says how synthetic cells are drawn."""

from typing import Annotated, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from cellzoo.section import Section, Share


class Synthetic(Section):
    """Fields of :class:`cellzoo.synthetic.drawing.SyntheticCells`; unset keys follow the preset.

    ``images`` and ``fresh`` go to :class:`cellzoo.data.synthetic.SyntheticImages`.
    """

    preset: Literal["bf", "pc"]
    images: PositiveInt = 1000
    fresh: bool = False
    background: str | None = "natural"
    count_range: tuple[NonNegativeInt, NonNegativeInt] | None = None
    count_weights: Literal["falling", "uniform"] | list[NonNegativeFloat] | None = None
    radius: tuple[PositiveFloat, PositiveFloat] | None = None
    shorten: NonNegativeFloat | None = None
    elongation: Annotated[float, Field(ge=1)] | None = None
    irregularity: NonNegativeFloat | None = None
    rotation: tuple[float, float] | None = None
    rim_width: NonNegativeFloat | None = None
    fill: tuple[float, float] | None = None
    core: tuple[float, float] | None = None
    rim: tuple[float, float] | None = None
    rim_noise: NonNegativeFloat | None = None
    halo: tuple[float, float] | None = None
    organelles: tuple[NonNegativeInt, NonNegativeInt] | None = None
    organelle_contrast: NonNegativeFloat | None = None
    overlap: float | None = None
    oversized: Share | None = None
    clumping: Share | None = None
    shading: NonNegativeFloat | None = None
    contrast: tuple[NonNegativeFloat, NonNegativeFloat] | None = None
    divisions: Share | None = None
    division_overlap: float | None = None
    division_rim_noise: NonNegativeFloat | None = None
    margins: tuple[float, float, float, float] | None = None
    cut: tuple[NonNegativeInt, NonNegativeInt] | None = None
    background_level: float | None = None
    background_gradient: NonNegativeFloat | None = None
    background_shift: tuple[float, float] | None = None
    specks: tuple[NonNegativeInt, NonNegativeInt] | None = None
    ghosts: tuple[NonNegativeInt, NonNegativeInt] | None = None
    lines: tuple[NonNegativeInt, NonNegativeInt] | None = None
    clutter_contrast: NonNegativeFloat | None = None
    gain: NonNegativeFloat | None = None
    offset: NonNegativeFloat | None = None
    blur: tuple[NonNegativeFloat, NonNegativeFloat] | None = None
    blur_blend: Share | None = None
    noise: NonNegativeFloat | None = None
