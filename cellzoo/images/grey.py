"""Pixels as they are stored -> one grey plane, or one sentence."""

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path

import cv2
import numpy as np

from cellzoo.errors import UserError
from cellzoo.images.imagefile import COLOURS, Series
from cellzoo.images.selection import COLOUR_CHANNELS, Planned

# ITU-R BT.601, as OpenCV and ImageJ's weighted conversion have it.
LUMINANCE = np.array([0.299, 0.587, 0.114])
# What tifffile complains about while files are read here ends in a sentence, or does no harm.
_reading = ContextVar("reading", default=False)
logging.getLogger("tifffile").addFilter(lambda record: not _reading.get())
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def read_planned(
    planned: Planned, path: Path, channel: int | str | None, z: int | str | None, mask: bool
) -> np.ndarray:
    """The pixels of a frame, its focal planes projected, uint8, uint16 or float32.

    Raises:
        UserError: they are no grey levels.
    """
    planes = (
        checked_pixels(grey(planned.series, place, path, channel, mask), path, mask)
        for place in planned.places
    )
    first = next(planes)
    if len(planned.places) == 1:
        return first
    if z == "max":
        for plane in planes:
            first = np.maximum(first, plane)
        return first
    if z == "mean":
        total = first.astype(np.float64)
        for plane in planes:
            total += plane
        mean = total / len(planned.places)
        return (np.rint(mean) if first.dtype.kind == "u" else mean).astype(first.dtype)
    best, sharpest = first, sharpness(first)
    for plane in planes:
        if (now := sharpness(plane)) > sharpest:
            best, sharpest = plane, now
    return best


def sharpness(pixels: np.ndarray) -> float:
    """Variance of the Laplacian, which is largest in focus (Pech-Pacheco et al. 2000)."""
    return float(cv2.Laplacian(pixels.astype(np.float32), cv2.CV_32F).var(dtype=np.float64))


def grey(
    series: Series,
    place: Mapping[str, int],
    path: Path,
    channel: int | str | None,
    mask: bool,
) -> np.ndarray:
    """A plane, `[h, w]`; of red, green and blue the channel that is wanted.

    Three equal channels are grey, whatever is wanted.
    """
    pixels = series.read(place)
    if pixels.ndim == 2:
        return pixels
    if (pixels == pixels[..., :1]).all():
        return np.ascontiguousarray(pixels[..., 0])
    if mask:
        raise UserError(f"{path}: is a colour picture, save the mask as grey, 8 or 16 bit")
    name = str(channel).casefold()
    if name == "luminance":
        bright = pixels @ LUMINANCE
        return (np.rint(bright) if pixels.dtype.kind == "u" else bright).astype(pixels.dtype)
    names = [*COLOURS, *map(str, range(len(COLOURS)))]
    if channel is not None and name in names:
        return np.ascontiguousarray(pixels[..., names.index(name) % 3])
    choices = "|".join(COLOUR_CHANNELS)
    if channel is None:
        cure = f"set data.natural.channel: {choices} or convert it to grey"
        if next(iter(series.sizes)) == "S":  # which tifffile makes of three pages
            cure += ", or set data.natural.axes: TYX if its layers are frames"
        raise UserError(f"{path}: is a colour picture, {cure}")
    raise UserError(
        f"{path}: has no channel {channel}, set data.natural.channel to a number from 0 to 2 or "
        f"{choices}"
    )


def checked_pixels(pixels: np.ndarray, path: Path, mask: bool = False) -> np.ndarray:
    """Pixels of a type that counters take, contiguous, or one sentence."""
    if pixels.size == 0:
        raise no_pixels(path)
    if pixels.dtype == bool:  # of a mask: other pictures of 1 bit were refused
        pixels = 255 * pixels.astype(np.uint8)  # as OpenCV has it
    kind = pixels.dtype.kind
    if kind == "f" and not np.isfinite(pixels).all():
        raise _not_finite(path)
    if kind == "f" and mask and (pixels == np.rint(pixels)).all():
        kind = "i"  # numbers of cells, as CellProfiler and others store them
    if pixels.dtype in (np.uint8, np.uint16):
        pass
    elif kind in "iu":
        low, high = pixels.min(), pixels.max()
        if mask and low >= 0 and high > np.iinfo(np.uint16).max:
            pixels, high = _renumbered(pixels)
        if low < 0 or high > np.iinfo(np.uint16).max:
            raise UserError(
                f"{path}: has {pixels.dtype} pixels from {low:.9g} to {high:.9g}, save it as 8 or "
                "16 bit (unsigned) or 32 bit float"
            )
        pixels = pixels.astype(np.uint16)
    elif kind == "f":
        with np.errstate(over="ignore"):
            pixels = pixels.astype(np.float32)
        if not np.isfinite(pixels).all():  # of 64 bits, some are beyond 32
            raise _not_finite(path)
    else:
        raise UserError(
            f"{path}: has {pixels.dtype} pixels, save it as 8 or 16 bit (unsigned) or 32 bit float"
        )
    # Files may have the other byte order.
    return np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))


def _renumbered(pixels: np.ndarray) -> tuple[np.ndarray, int]:
    """The cells of a label image with numbers from 1, 0 staying 0, and the highest of these."""
    numbers, places = np.unique(pixels, return_inverse=True)
    start = int(numbers[0] > 0)
    return places.reshape(pixels.shape) + start, len(numbers) - 1 + start


def _not_finite(path: Path) -> UserError:
    return UserError(
        f"{path}: has grey values that are NaN, infinite or beyond what 32 bit floats hold, export "
        "it again"
    )


def one_bit(path: Path) -> UserError:
    """What to say of a picture of 1 bit."""
    return UserError(f"{path}: has 1 bit per pixel, as masks have, give the grey picture instead")


def no_pixels(path: Path) -> UserError:
    """What to say of a picture without pixels."""
    return UserError(f"{path}: holds a picture without pixels, export it again")


def cut_off(path: Path) -> UserError:
    """What to say of a file that is not whole."""
    return UserError(f"{path}: is cut off or damaged, copy it again from its source")


@contextlib.contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Whatever a decoder stumbles over becomes one sentence about the file."""
    before = _reading.set(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UserError:
        raise
    except MemoryError as error:
        raise UserError(f"{path}: does not fit into memory, crop it") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(f"{path}: cannot be read, it may be damaged ({reason})") from error
    finally:
        _reading.reset(before)
