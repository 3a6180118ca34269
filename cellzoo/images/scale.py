"""Grey values to [0, 1], and frames to other sizes."""

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np

from cellzoo.errors import UsageError, UserError

_PERCENTILES = (1, 99.8)
Size = int | tuple[int, int]  # side of a square, or height and width, in pixels


def to_unit(
    pixels: np.ndarray,
    intensity: Literal["dtype", "percentile"] | Sequence[float] = "dtype",
    name: str = "image",
) -> np.ndarray:
    """Scale grey values to [0, 1].

    Args:
        pixels: `[height, width]` uint8, uint16 or float32; without `"percentile"` any shape.
        intensity: `"dtype"` divides by the full range of the type (255 or 65535) and expects floats
            to lie in [0, 1] already; `(low, high)` maps low to 0 and high to 1, clipping beyond;
            `"percentile"` takes the picture's own 1st and 99.8th percentile for them (as CSBDeep,
            Weigert et al. 2018, does).
        name: what an error calls the picture.

    Returns:
        float32 of the same shape, in [0, 1].

    Raises:
        UserError: floats outside [0, 1] or not finite, or another type of pixel.
        UsageError: `intensity` is none of these.
    """
    if pixels.dtype not in (np.uint8, np.uint16) and pixels.dtype.kind != "f":
        raise UserError(f"{name}: has {pixels.dtype} pixels, save it as 8 or 16 bit grey")
    if intensity == "dtype":
        if pixels.dtype.kind == "u":
            unit = pixels.astype(np.float32)
            unit /= np.float32(np.iinfo(pixels.dtype).max)  # in place: new memory costs as much
            return unit
        if not (np.isfinite(pixels).all() and (pixels >= 0).all() and (pixels <= 1).all()):
            raise UserError(
                f"{name}: has decimal grey values from {pixels.min():.9g} to {pixels.max():.9g}, "
                "not within 0 to 1, set data.natural.intensity to [low, high], the values of black "
                "and white"
            )
        return pixels.astype(np.float32)
    if intensity == "percentile":
        low, high = np.percentile(pixels, _PERCENTILES)
        if not low < high:
            return np.zeros(pixels.shape, np.float32)
        intensity = (float(low), float(high))
    if isinstance(intensity, str) or len(intensity) != 2 or not intensity[0] < intensity[1]:
        raise UsageError(
            f"data.natural.intensity: {intensity} is neither dtype, percentile nor [low, high] "
            "with low < high"
        )
    low, high = intensity
    return np.clip((pixels.astype(np.float64) - low) / (high - low), 0, 1).astype(np.float32)


def parse_intensity(text: str) -> Literal["dtype", "percentile"] | tuple[float, float]:
    """An intensity as written on a command line: `dtype`, `percentile`, or `LOW HIGH`.

    Raises:
        UsageError: it is none of these.
    """
    word = text.strip().lower()
    if word in ("dtype", "percentile"):
        return word
    try:
        low, high = (float(part) for part in word.strip("[]()").replace(",", " ").split())
    except ValueError:
        low = high = 0.0
    if not low < high:
        raise UsageError(
            f"data.natural.intensity: {text} is neither dtype, percentile nor two numbers, those "
            "of black and white, such as 0 4095"
        )
    return low, high


def sides(size: Size) -> tuple[int, int]:
    """Height and width: one number is the side of a square."""
    if isinstance(size, int | np.integer):
        return int(size), int(size)
    height, width = size
    return int(height), int(width)


def middle_of(images: np.ndarray, side: int) -> np.ndarray:
    """The middle of an image, or of images of one size, ``[..., h, w]``: a view, no copy.

    Args:
        images: any type of pixel.
        side: of the square, px; what is smaller stays whole.
    """
    top, left = (max(0, (whole - side) // 2) for whole in images.shape[-2:])
    return images[..., top : top + side, left : left + side]


def resize(pixels: np.ndarray, size: Size) -> np.ndarray:
    """Resize the whole frame; the aspect ratio is not kept.

    A side that shrinks is averaged over areas (so that thin membranes do not flicker in and out), a
    side that grows is interpolated linearly; grey values never leave the range they had.

    Args:
        pixels: `[height, width]`, any real type.
        size: side, or height and width, of the result in pixels, at least 1.

    Returns:
        `[height, width]` float32.
    """
    pixels = np.ascontiguousarray(pixels, np.float32)
    if pixels.shape == sides(size):
        return pixels.copy()
    # Rounding in the weighted means may overshoot by one unit in the last place.
    return np.clip(_grown(_shrunk(pixels, size), size), pixels.min(), pixels.max())


def resize_all(images: np.ndarray, size: Size) -> np.ndarray:
    """Resizes images as :func:`resize` does each of them, in half of the time.

    Args:
        images: `[n, height, width]`, any real type.
        size: see :func:`resize`.

    Returns:
        `[n, height, width]` float32; the images themselves where that changes nothing.
    """
    images = np.ascontiguousarray(images, np.float32)
    if images.shape[1:] == sides(size):
        return images
    resized = np.empty((len(images), *sides(size)), np.float32)
    if all(new >= old for new, old in zip(sides(size), images.shape[1:], strict=True)):
        for k, image in enumerate(images):
            resized[k] = _grown(image, size)
    else:
        for start in range(0, len(images), 3):  # as if they were red, green and blue
            some = slice(start, start + 3)
            shrunk = _shrunk(cv2.merge(list(images[some])), size)
            for k, image in enumerate(cv2.split(shrunk), start):
                resized[k] = _grown(image, size)
    least, most = (f(images, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
    return np.clip(resized, least, most, out=resized)


def _shrunk(pixels: np.ndarray, size: Size) -> np.ndarray:
    """A frame `[height, width]`, or three `[height, width, 3]`, with sides that must not grow."""
    height, width = pixels.shape[:2]
    new_height, new_width = sides(size)
    smaller = (min(width, new_width), min(height, new_height))
    return cv2.resize(pixels, smaller, interpolation=cv2.INTER_AREA)


def _grown(pixels: np.ndarray, size: Size) -> np.ndarray:
    height, width = sides(size)
    if pixels.shape == (height, width):
        return pixels
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)


def resize_mask(mask: np.ndarray, size: Size) -> np.ndarray:
    """Resize a mask by the nearest pixel, so that no number comes about that was not there.

    Args:
        mask: `[height, width]` uint8 or uint16.
        size: side, or height and width, of the result in pixels.

    Returns:
        `[height, width]` of the same type.
    """
    height, width = sides(size)
    if mask.shape == (height, width):
        return mask.copy()
    return cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
