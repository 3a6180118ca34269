"""The sections of a recipe that say where natural images come from."""

from typing import Annotated, ClassVar, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from cellzoo.section import Intensity, Labels, Section, Share, Shares


class _Natural(Section):
    """A source of natural images."""

    @property
    def unlabelled(self) -> bool:
        """Whether no training image keeps its label: synthetic ones alone tell what a count is."""
        return getattr(self, "labelled", None) == 0


class SimulatedNatural(_Natural):
    """Arguments of :func:`cellzoo.data.sets.simulated_natural`."""

    simulated: ClassVar[bool] = True
    source: Literal["simulated"]
    modality: Literal["bf", "pc"]
    train: PositiveInt = 784
    labelled: Labels = 59
    validation: PositiveInt = 172
    validation_labelled: PositiveInt = 62
    test: PositiveInt = 172
    test_labelled: PositiveInt = 62


class FolderNatural(_Natural):
    """Arguments of :func:`cellzoo.data.sets.folder_natural`."""

    simulated: ClassVar[bool] = False
    source: Literal["folder"]
    folder: str
    labels: str | None = "labels.csv"
    labelled: Labels | Annotated[float, Field(gt=0, le=1)] | None = None
    shares: Shares | None = None
    size: Literal["error", "resize"] = "error"
    intensity: Intensity = "dtype"
    axes: str | None = None
    channel: NonNegativeInt | None = None
    on_error: Literal["stop", "skip"] = "stop"


class BBBC005Natural(_Natural):
    """Arguments of :func:`cellzoo.data.bbbc005.load_bbbc005`."""

    simulated: ClassVar[bool] = True
    source: Literal["bbbc005"]
    folder: str
    stains: Annotated[list[Literal[1, 2]], Field(min_length=1)] = [1, 2]
    blurs: Annotated[list[PositiveInt], Field(min_length=1)] | None = None
    labelled: PositiveInt | Annotated[float, Field(gt=0, le=1)] | None = None
    shares: Shares | None = None
    size: Literal["error", "resize"] = "error"
    on_error: Literal["stop", "skip"] = "stop"


class SimulatedFluorescence(_Natural):
    """Arguments of :func:`cellzoo.data.sets.simulated_fluorescence`.

    From ``stains`` on they go to :class:`cellzoo.simulators.fluorescence.Fluorescence`.
    """

    simulated: ClassVar[bool] = True
    source: Literal["simulated_fluorescence"]
    train: PositiveInt = 200
    validation: PositiveInt = 50
    test: PositiveInt = 50
    count_range: tuple[NonNegativeInt, NonNegativeInt] = (1, 100)
    test_count_range: tuple[NonNegativeInt, NonNegativeInt] | None = None
    stains: Annotated[list[Literal[1, 2]], Field(min_length=1)] = [1]
    radius: tuple[PositiveFloat, PositiveFloat] | None = None
    irregularity: Annotated[float, Field(ge=0, le=0.6)] | None = None
    brightness: tuple[NonNegativeFloat, NonNegativeFloat] | None = None
    texture: Share | None = None
    clustering: Share | None = None
    overlap: Share | None = None
    blur: tuple[NonNegativeFloat, NonNegativeFloat] = (0.6, 2.6)
    background: Annotated[float, Field(ge=0, le=255)] = 1.0
    photons: PositiveFloat = 20000.0
    read_noise: NonNegativeFloat = 1.1
    offset: Annotated[float, Field(ge=0, le=255)] = 0.2


SOURCE_SECTIONS = {
    "simulated": SimulatedNatural,
    "folder": FolderNatural,
    "bbbc005": BBBC005Natural,
    "simulated_fluorescence": SimulatedFluorescence,
}
