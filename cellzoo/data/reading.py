"""How the files of a source become the images that a model is fed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from cellzoo.errors import UserError
from cellzoo.images import Reader, Size, resize, sides, to_unit


@dataclass(frozen=True)
class Reading:
    """What the files do not say, and what becomes of images of another size.

    Attributes:
        axes: of TIFF stacks whose file does not say, such as ``TYX``; see
            :func:`cellzoo.images.read_frames`.
        channel: to read from files with several, by number, from 0, or name.
        intensity: ``"dtype"`` (the full range of the file's type is 0 to 1) or ``(low, high)``, the
            grey levels of black and white; see :func:`cellzoo.images.to_unit`.
        resize: images of another size are resized; False: refused.
        original_size: height and width in pixels of all files, where the source has one size.
        z: number of the focal plane to read, from 0, or ``max``, ``mean`` or ``sharpest``.
        position: number or name of the position to read, or ``all``.
        frames: number of the time point to read, or ``start:stop:step``.
        full_range: ``"dtype"`` spreads uint16 of fewer bits over all 16; False: as they are stored.
    """

    axes: str | None = None
    channel: int | str | None = None
    intensity: Literal["dtype"] | tuple[float, float] = "dtype"
    resize: bool = False
    original_size: tuple[int, int] | None = None
    z: int | str | None = None
    position: int | str | None = None
    frames: int | str | None = None
    full_range: bool = True

    @property
    def chooses_frames(self) -> bool:
        """Whether files may hold frames that are not read."""
        return self.frames is not None or self.position not in (None, "all")

    def reader(self, files: Sequence[Path]) -> Reader:
        """What reads these files, which are one series.

        Raises:
            UsageError: what is chosen of them is written wrongly.
        """
        return Reader(
            files,
            axes=self.axes,
            channel=self.channel,
            z=self.z,
            position=self.position,
            frames=self.frames,
            intensity="full" if self.intensity == "dtype" and self.full_range else None,
        )

    def fit(
        self,
        pixels: np.ndarray,
        size: Size,
        path: Path,
        resize_from: tuple[int, int] | None = None,
    ) -> np.ndarray:
        """Scales a frame to [0, 1] and to the size that a model takes.

        Args:
            pixels: ``[h, w]`` uint8, uint16 or float32.
            size: side, or height and width, in pixels.
            path: of the file, for errors.
            resize_from: height and width of the only other frames that are resized; None: any.

        Returns:
            float32 of that size, in [0, 1].

        Raises:
            UserError: the size does not fit, or the grey levels do not.
        """
        height, width = pixels.shape
        wanted_height, wanted_width = sides(size)
        if resize_from and (height, width) not in (resize_from, (wanted_height, wanted_width)):
            raise UserError(
                f"{path}: is {width} x {height} px (width x height), and cells are as large as in "
                f"training in {resize_from[1]} x {resize_from[0]}, give images or crops of that "
                "size"
            )
        if not self.resize and (height, width) != (wanted_height, wanted_width):
            raise UserError(
                f"{path}: is {width} x {height} px (width x height), the model takes "
                f"{wanted_width} x {wanted_height}, set data.natural.size: resize"
            )
        return resize(to_unit(pixels, self.intensity, name=str(path)), size)


AS_IT_IS = Reading()  # files say what they hold, and have the size that the model takes
