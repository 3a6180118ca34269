"""Masks and instance label images."""

from pathlib import Path

import numpy as np

from cellzoo.errors import UserError
from cellzoo.images.read import read_frames


def read_mask(
    path: Path, frame: int | None = None, axes: str | None = None, or_only: bool = False
) -> np.ndarray:
    """Read a mask or an instance label image.

    Args:
        path: a PNG or TIFF, 1, 8 or 16 bit: 0 is background, anything else a cell.
        frame: which one of a stack, from 0; None: the file's only one.
        axes: of the images' stacks, see `read_frames`; a stack of masks has the same but for
            channels.
        or_only: take the only frame of a file, whatever `frame` is.

    Returns:
        `[height, width]` uint8 or uint16, as stored.

    Raises:
        UserError: the file cannot be read, its values are not exact, or it lacks the frame.
    """
    if path.suffix.lower() in (".jpg", ".jpeg"):
        raise UserError(f"{path}: is a JPEG, which blurs a mask's edges, save it as PNG or TIFF")
    axes = axes and axes.upper().replace("C", "")
    frames = list(read_frames(path, axes=axes, mask=True))
    if frame is None and len(frames) > 1:
        raise UserError(
            f"{path}: holds {len(frames)} frames but is the mask of one image, name the frame: "
            f"{path.name}#0 to {path.name}#{len(frames) - 1}"
        )
    if or_only and len(frames) == 1:
        frame = 0
    if (frame or 0) >= len(frames):
        raise UserError(f"{path}: has no frame {frame}, its last one is {len(frames) - 1}")
    pixels = frames[frame or 0].pixels
    if pixels.dtype.kind != "u":
        raise UserError(f"{path}: has {pixels.dtype} values, save the mask with 8 or 16 bit")
    return pixels
