"""What simulated chambers share: the raster of the scene, and the two modalities."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cellzoo.errors import UsageError

DESIGN = 128  # side of the design in px; other sizes are the same scene, resampled
FINE = 2  # sub-pixels per px, so that the aperture and not the raster limits the detail
EDGE = 10  # px of scene around the crop: room for drift and for halos
CANVAS = (DESIGN + 2 * EDGE) * FINE


@dataclass(frozen=True)
class Modality:
    """What differs between bright field and phase contrast."""

    code: int  # part of the random stream, so that two modalities never share a culture
    inner: tuple[float, float, float, float]  # left, top, right, bottom of the cells' area, px
    birth_radius: tuple[float, float]  # mean and sd over cells at birth, px
    phase: tuple[float, float]  # mean and sd of a cell's largest phase, rad
    aperture: float  # numerical aperture of the objective
    contrast: tuple[float, float]  # range over chambers of the share of contrast that survives
    focus: tuple[float, float]  # mean and sd over cells of the distance from focus, micrometres
    background: tuple[float, float]  # mean and sd over chambers of the grey level, 0 to 1
    electrons: float  # a white pixel holds so many: sets the shot noise
    read_noise: float  # sd, grey level 0 to 1


# Inner areas and radii: the margins and radii of the authors' synthetic cells (docs/fidelity.md).
MODALITIES = {
    "bf": Modality(0, (26.0, 12.0, 108.0, 122.0), (5.2, 0.45), (3.8, 0.7), 0.30, (0.5, 0.9),
                    (5.0, 2.5), (0.750, 0.010), 11000.0, 0.003),
    "pc": Modality(1, (12.0, 11.0, 117.0, 118.0), (6.0, 0.65), (4.9, 0.6), 0.30, (0.25, 0.5),
                    (0.0, 3.0), (0.238, 0.008), 6000.0, 0.003),
}  # fmt: skip


def modality_of(name: str) -> Modality:
    """The modality of a name, ``"bf"`` or ``"pc"``.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in MODALITIES:
        raise UsageError(
            f"data.natural.modality is {name!r}; write 'bf' (bright field) or 'pc' (phase contrast)"
        )
    return MODALITIES[name]


def stream_key(seed: int | Sequence[int]) -> tuple[int, ...]:
    """What a random stream is seeded with, so that different seeds have different streams.

    Raises:
        UsageError: the seed is neither a whole number from 0 nor a sequence of such.
    """
    parts = list(seed) if isinstance(seed, Sequence | np.ndarray) else [seed]
    whole = all(isinstance(part, int | np.integer) and part >= 0 for part in parts)
    require(whole and parts, "seed", seed, "a whole number from 0, or a sequence of such")
    # The length goes first: numpy pads with zeros, so (1,) and (1, 0) would be the same stream.
    return (len(parts), *(int(part) for part in parts))


def require(holds: object, key: str, value: object, wanted: str) -> None:
    """Checks an argument.

    Raises:
        UsageError: it does not hold.
    """
    if not holds:
        raise UsageError(f"{key} is {value!r}; it must be {wanted}")
