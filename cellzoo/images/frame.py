"""One grey picture of a file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, eq=False)
class Frame:
    """One grey picture of a file.

    Attributes:
        pixels: `[height, width]`, uint8, uint16 or float32, finite, as stored in the file or as
            its :class:`cellzoo.images.Reader` scales them.
        path: the file.
        index: number of the frame inside the file, from 0, whatever was chosen of it.
        pixel_size_um: width of a pixel in micrometres, or None where the file does not say.
        bits: significant bits of uint16 pixels, stated by the file or taken from its whole series;
            None: all of them, or not known yet.
        position: name of the position; empty where the file has one without a name.
        series: the file, or the acquisition that it is part of, and the position where there are
            several; empty where the file holds a single picture.
        step: number of the time point in its series, from 0.
        time_s: seconds since the start of the acquisition; None where the file does not say.
    """

    pixels: np.ndarray
    path: Path
    index: int
    pixel_size_um: float | None
    bits: int | None = None
    position: str = ""
    series: str = ""
    step: int | None = None
    time_s: float | None = None
