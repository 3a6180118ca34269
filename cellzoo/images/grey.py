"""Pixels as they are stored -> one grey plane, or one sentence."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cellzoo.errors import UserError


def checked_pixels(pixels: np.ndarray, path: Path) -> np.ndarray:
    """Pixels of a type that counters take, contiguous, or one sentence."""
    if pixels.size == 0:
        raise no_pixels(path)
    if pixels.dtype == bool:  # of a mask: other pictures of 1 bit were refused
        pixels = 255 * pixels.astype(np.uint8)  # as OpenCV has it
    if pixels.dtype.kind == "f":
        if not np.isfinite(pixels).all():
            raise UserError(f"{path}: has grey values that are NaN or infinite, export it again")
        pixels = pixels.astype(np.float32)
    elif pixels.dtype not in (np.uint8, np.uint16):
        raise UserError(
            f"{path}: has {pixels.dtype} pixels, save it as 8 or 16 bit (unsigned) or 32 bit float"
        )
    return np.ascontiguousarray(pixels)


def one_bit(path: Path) -> UserError:
    """What to say of a picture of 1 bit."""
    return UserError(f"{path}: has 1 bit per pixel, as masks have, give the grey picture instead")


def no_pixels(path: Path) -> UserError:
    """What to say of a picture without pixels."""
    return UserError(f"{path}: holds a picture without pixels, export it again")


def cut_off(path: Path) -> UserError:
    """What to say of a file that is not whole."""
    return UserError(f"{path}: is cut off or damaged, copy it again from its source")


def grey(
    pixels: np.ndarray, path: Path, channel: int | None, mask: bool, alpha: bool = True
) -> np.ndarray:
    """[h, w] or [h, w, samples] (RGB order) -> [h, w]."""
    if pixels.ndim == 2:
        return pixels
    # Two samples are grey and alpha, four are colour and alpha, if any is alpha.
    colours = pixels.shape[2]
    if alpha:
        colours = {2: 1, 4: 3}.get(colours, colours)
    first = pixels[..., :1]
    if channel is None and not (pixels[..., :colours] == first).all():
        if mask:
            raise UserError(f"{path}: is a colour picture, save the mask as grey, 8 or 16 bit")
        choices = "|".join(map(str, range(colours)))
        raise UserError(
            f"{path}: is a colour picture, set data.natural.channel: {choices} or convert it "
            "to grey"
        )
    if colours == 1 or channel is None:
        return pixels[..., 0]
    check_channel(channel, colours, path)
    return pixels[..., channel]


def check_channel(channel: int, channels: int, path: Path) -> None:
    """Refuses the number of a channel that is not there."""
    if not 0 <= channel < channels:
        raise UserError(
            f"{path}: has no channel {channel}, "
            f"set data.natural.channel to a number from 0 to {channels - 1}"
        )


@contextlib.contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Whatever a decoder stumbles over becomes one sentence about the file."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(f"{path}: cannot be read, it may be damaged ({reason})") from error
