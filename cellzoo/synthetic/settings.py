"""The section of a recipe that says how synthetic cells are drawn, and its presets."""

import math
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveInt

from cellzoo.errors import UsageError
from cellzoo.section import Range, Section, Share

Grey = Annotated[float, Field(ge=0, le=255)]
Difference = Annotated[float, Field(ge=-255, le=255)]
Cells = Annotated[int, Field(ge=0, le=65535)]  # what a uint16 mask can number
Things = Annotated[int, Field(ge=0, le=1000)]
Px = Annotated[float, Field(ge=0, le=1000)]
Apart = Annotated[float, Field(ge=-4096, le=2000)]
Margin = Annotated[float, Field(ge=-4096, le=4096)]
Weight = Annotated[float, Field(ge=0, le=1e9)]

# The figures of the authors' program (docs/fidelity.md lists them) and, where it has none, ours.
_BRIGHT_FIELD: dict[str, Any] = {
    "count_range": (1, 30),
    "count_weights": "falling",
    "radius": (3.0, 7.0),
    "oversized": 0.0,
    "shorten": 2.0,
    "elongation": 1.0,
    "irregularity": 0.0,
    "rotation": (0.0, 180.0),
    "rim_width": 1.0,
    "fill": (180.0, 209.0),
    "core": (0.0, 0.0),
    "rim": (80.0, 129.0),
    "rim_noise": 0.0,
    "halo": (0.0, 0.0),
    "organelles": (0, 0),
    "organelle_contrast": 25.0,
    "overlap": 0.0,
    "clumping": 0.0,
    "shading": 0.0,
    "contrast": (1.0, 1.0),
    "divisions": 0.05,
    "division_overlap": 1.0,
    "division_rim_noise": 20.0,
    "margins": (26.0, 20.0, 12.0, 6.0),
    "cut": (0, 0),
    "background_level": 190.0,
    "background_gradient": 8.0,
    "background_shift": (-3.0, 3.0),
    "specks": (0, 0),
    "ghosts": (0, 0),
    "lines": (0, 0),
    "clutter_contrast": 40.0,
    "gain": 0.02,
    "offset": 2.0,
    "blur": (0.5, 0.5),
    "blur_blend": 0.5,
    "noise": 1.5,
}
PRESETS: dict[str, dict[str, Any]] = {
    "bf": _BRIGHT_FIELD,
    "pc": _BRIGHT_FIELD
    | {
        "radius": (3.0, 9.0),
        "fill": (50.0, 59.0),
        "rim": (160.0, 209.0),
        "overlap": 1.0,
        "margins": (12.0, 11.0, 11.0, 10.0),
        "background_level": 61.0,
    },
}


class Synthetic(Section):
    """Settings of synthetic cells; :class:`cellzoo.synthetic.drawing.SyntheticCells` draws them.

    A key that is not set is as the preset has it. Grey levels are 8-bit (0-255), as in the authors'
    program. Lengths are px of the rendered image, whatever its size. A pair ``[low, high]`` is a
    range from which one value is drawn uniformly, both ends possible; equal ends make it a
    constant. *Ours* is a control of which the paper gives no figure, or which it has not.

    Attributes:
        preset: ``"bf"`` (bright field: bright cells, dark rims) or ``"pc"`` (phase contrast: dark
            cells, bright rims), with the authors' figures.
        images: How many images make up the fixed set.
        fresh: Draw new images for every batch instead of a fixed set.
        background: What cells are drawn on: ``"natural"``: the mean of natural training images with
            few cells (paper 2.2); ``"groups"``: for each image one of the backgrounds of the
            natural training groups; None: an even grey with a mild gradient; or the path of an
            image.
        count_range: Fewest and most cells in an image; the fewest may be 0: an empty chamber.
        count_weights: How often each count of ``count_range`` is drawn: ``"falling"`` (weight
            most + 6 - n, which for 30 is the authors' 36 - n), ``"uniform"``, or one weight per
            count from fewest to most.
        radius: Radius of the disc a cell starts from.
        oversized: Share of cells that are one and a half to two and a half times as large; ours.
        shorten: Each full axis (diameter) of a cell is shortened by 0 to this many px.
        elongation: One axis, chosen by chance, is divided by a ratio of 1 to this. 1 leaves the
            shape to ``shorten``; ours.
        irregularity: How far a cell's contour leaves the ellipse, as a share of its radius: the
            standard deviation of its waves, of which two to five go around the cell; ours.
        rotation: Direction of a cell's axes in degrees; ours. Paired cells lie along the line of
            their division instead.
        rim_width: Width of the membrane, measured inwards from the cell's edge.
        fill: Grey level of a cell's inside (its organelles).
        core: By how much a cell's middle is brighter than its fill, in grey levels, below 0 darker:
            a soft spot of a quarter to a half of its radius, as lenses and nuclei make it; ours.
        rim: Grey level of its membrane.
        rim_noise: Standard deviation, in grey levels, of the pixels of a rim; ours.
        halo: By how much the background is brighter just outside a cell, in grey levels, below 0
            darker, fading over a third of its radius; ours.
        organelles: Least and most texture blobs inside a cell; none in the paper, which leaves
            texture out on purpose.
        organelle_contrast: Largest difference of a blob's middle from the fill, up or down, in
            grey levels; ours.
        overlap: How many px two cells may reach into each other: 0 forbids overlap, a negative
            value keeps a gap. Measured between the discs around the two ellipses, so it holds
            for every direction.
        clumping: Share of bodies (cells and pairs) that are put beside a cell already there, as
            cells that stick together are; the others lie anywhere. Ours.
        shading: Grey levels between the lit and the shaded side of a cell, as differential
            interference contrast shows them; the light's direction is an image's own. Ours.
        contrast: By what an image's cells differ from their background, as a multiple of what the
            grey levels above say: focus and phase differ from chamber to chamber. Ours.
        divisions: Probability that the next body drawn is a cell in division, a pair of equally
            large cells that counts as two. The paper names the control, the figure is ours.
        division_overlap: Overlap of the two cells of a pair, in px, whatever ``overlap`` says;
            ours.
        division_rim_noise: As ``rim_noise``, for the cells of a pair ("more noisy cell borders",
            paper 2.2); ours.
        margins: Left, right, top and bottom border in px that no part of a cell enters. Negative:
            the image's border may cut off so many px of a cell, but its middle stays in view.
        cut: Fewest and most cells of which the image's border cuts off the middle and which do not
            count; ours.
        background_level: Grey level of the even background; the mean grey level of the authors'
            natural images. Without effect on a background image.
        background_gradient: Largest difference, in grey levels, between two opposite sides of the
            even background; ours. Without effect on a background image.
        background_shift: Grey levels added to the background of an image, before cells are drawn;
            ours.
        specks: Fewest and most small blobs in an image that are no cells, dark or bright; ours.
        ghosts: Fewest and most cells far out of focus in an image, which do not count: soft discs
            of the cells' sizes, darker or brighter in their middle; ours.
        lines: Fewest and most sets of one to five parallel straight lines across an image, upright
            or level, as the borders of chambers and rulings are; ours.
        clutter_contrast: Largest difference of specks, ghosts and lines from the background, up or
            down, in grey levels; ours.
        gain: An image's brightness is multiplied by 1 - gain to 1 + gain; ours.
        offset: -offset to +offset grey levels are added to an image; ours.
        blur: Standard deviation, in px, of the Gaussian blur of an image. With several backgrounds
            it is of what is drawn on them.
        blur_blend: Share of the blurred image in the blend with the sharp one, 0 to 1. The
            authors blend; the share is ours.
        noise: Standard deviation of the noise of each pixel in grey levels; ours.
    """

    preset: Literal["bf", "pc"]
    images: PositiveInt = 1000
    fresh: bool = False
    background: str | None = "natural"
    count_range: Range[Cells] | None = None
    count_weights: Literal["falling", "uniform"] | list[Weight] | None = None
    radius: Range[Annotated[float, Field(ge=1, le=1000)]] | None = None
    shorten: Px | None = None
    elongation: Annotated[float, Field(ge=1, le=10)] | None = None
    irregularity: Annotated[float, Field(ge=0, le=0.25)] | None = None
    rotation: Range[Annotated[float, Field(ge=-360, le=360)]] | None = None
    rim_width: Px | None = None
    fill: Range[Grey] | None = None
    core: Range[Difference] | None = None
    rim: Range[Grey] | None = None
    rim_noise: Grey | None = None
    halo: Range[Difference] | None = None
    organelles: Range[Annotated[int, Field(ge=0, le=100)]] | None = None
    organelle_contrast: Grey | None = None
    overlap: Apart | None = None
    oversized: Share | None = None
    clumping: Share | None = None
    shading: Grey | None = None
    contrast: Range[Annotated[float, Field(ge=0.1, le=10)]] | None = None
    divisions: Share | None = None
    division_overlap: Apart | None = None
    division_rim_noise: Grey | None = None
    margins: tuple[Margin, Margin, Margin, Margin] | None = None
    cut: Range[Things] | None = None
    background_level: Grey | None = None
    background_gradient: Grey | None = None
    background_shift: Range[Difference] | None = None
    specks: Range[Things] | None = None
    ghosts: Range[Things] | None = None
    lines: Range[Annotated[int, Field(ge=0, le=100)]] | None = None
    clutter_contrast: Grey | None = None
    gain: Share | None = None
    offset: Grey | None = None
    blur: Range[Annotated[NonNegativeFloat, Field(le=100)]] | None = None
    blur_blend: Share | None = None
    noise: Grey | None = None

    def with_preset(self) -> "Synthetic":
        """The same settings, those that were not set as the preset has them."""
        unset = {key for key, value in self if value is None}
        preset = PRESETS[self.preset].items()
        return self.model_copy(update={key: value for key, value in preset if key in unset})

    def changed(self, settings: dict[str, Any]) -> "Synthetic":
        """The same with other settings, which are validated."""
        return Synthetic(**self.model_dump() | settings)

    def count_probabilities(self) -> np.ndarray:
        """Probability of each count from the fewest to the most, float64 ``[counts]``."""
        cells = self.with_preset()
        fewest, most = cells.count_range
        if cells.count_weights == "falling":
            weights = most + 6.0 - np.arange(fewest, most + 1)
        elif cells.count_weights == "uniform":
            weights = np.ones(most - fewest + 1)
        else:
            weights = np.asarray(cells.count_weights, np.float64)
        return weights / weights.sum()

    def check(self, size: int) -> None:
        """Finds settings that do not fit each other, or images of so many px.

        Raises:
            UsageError: weights are not one per count, cells are thinner than a pixel, or cells or
                pairs cannot fit into the margins.
        """
        cells = self.with_preset()
        _check_weights(cells)
        _check_shapes(cells, size)


def _check_weights(cells: Synthetic) -> None:
    weights, (fewest, most) = cells.count_weights, cells.count_range
    if isinstance(weights, str):
        return
    if len(weights) != most - fewest + 1:
        raise UsageError(
            f"data.synthetic.count_weights has {len(weights)} weights for the "
            f"{most - fewest + 1} counts from {fewest} to {most}: write one weight per count."
        )
    if not sum(weights):
        raise UsageError(
            "data.synthetic.count_weights are all 0: give at least one count a weight above 0."
        )


def _check_shapes(cells: Synthetic, size: int) -> None:
    """Refuse cells thinner than a pixel, and cells or pairs that cannot fit into the margins."""
    thinnest = cells.radius[0] - cells.shorten / 2
    if thinnest < 1:
        raise UsageError(
            f"data.synthetic.shorten of {cells.shorten:g} px leaves less than 2 px of a cell of "
            f"radius {cells.radius[0]:g}: lower it to {2 * cells.radius[0] - 2:g} or less."
        )
    if thinnest / cells.elongation < 1:
        raise UsageError(
            f"data.synthetic.elongation of {cells.elongation:g} makes the smallest cell thinner "
            f"than 2 px: lower it to {math.floor(thinnest * 100) / 100:g} or less, or raise "
            "data.synthetic.radius."
        )
    left, right, top, bottom = cells.margins
    room = size - max(left + right, top + bottom)
    if room < 2 * cells.radius[1]:
        raise UsageError(
            f"data.synthetic.margins leave {room:g} px of {size}, too few for a cell of "
            f"{2 * cells.radius[1]:g} px: lower the margins or data.synthetic.radius."
        )
    if cells.divisions:
        thinner_pair = 2 * (thinnest / cells.elongation)
        if cells.division_overlap >= thinner_pair:
            raise UsageError(
                f"data.synthetic.division_overlap of {cells.division_overlap:g} px hides one "
                f"of two small cells: lower it below {thinner_pair:g}."
            )
        longest = 4 * cells.radius[1] - cells.division_overlap
        if room < longest:
            raise UsageError(
                f"data.synthetic.margins leave {room:g} px of {size}, too few for a pair "
                f"in division of {longest:g} px: lower the margins or data.synthetic.radius, or "
                "set data.synthetic.divisions to 0."
            )
