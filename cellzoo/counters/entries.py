"""What users may hand a counter, as images one by one: arrays, files and folders."""

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cellzoo.errors import UsageError, UserError
from cellzoo.images import Frame, Reader, few_bits, find_images, significant_bits
from cellzoo.images import full_range as spread

log = logging.getLogger("cellzoo")

# What ``count`` and ``segment`` take; see :func:`entries_of`.
Images = Any
_GREY = (np.uint8, np.uint16)
_MOST_CHANNELS = 4  # an image is never so narrow, so a last side of these are channels


@dataclass(eq=False)
class Entry:
    """An image on its way through a counter, and what came out.

    Attributes:
        path: of its file; for an array what errors call it.
        index: number of the frame in the file, from 0.
        frame: the pixels; None before they are read and after they were counted.
        scaled: the pixels are floats in [0, 1] already.
        size: height and width of the image before somebody resized it; None: not known.
        series: that the frame belongs to, see :attr:`cellzoo.images.Frame.series`.
        step: number of its time point in the series.
        time_s: seconds since the start of the series; None: not known.
        chamber: of the field that was cut out; empty where it is the whole image.
        hours: since the start of its series, as its table of chambers has it.
        remark: what is unusual about how the chamber was cut out, to be flagged.
        prepared: as the counter takes it; None after it was counted.
        diameter: of its cells, px, where the counter measures them or it was stated; NaN: not.
        share: of the height and width of what is prepared that is not padding.
        error: why there is no count.
        raw: count before rounding; NaN with an ``error``.
        low: lower end of the 95 % interval; NaN where none can be promised.
        high: its upper end.
        flag: why the image is unlike the training images; empty where nothing is noticed.
        seconds: that counting took, an equal share of its batch's.
    """

    path: Path
    index: int = 0
    frame: Frame | None = None
    scaled: bool = False
    size: tuple[int, int] | None = None
    series: str = ""
    step: int | None = None
    time_s: float | None = None
    chamber: str = ""
    hours: str = ""
    remark: str = ""
    prepared: np.ndarray | None = None
    diameter: float = np.nan
    share: tuple[float, float] = (1.0, 1.0)
    error: UserError | None = None
    raw: float = np.nan
    low: float = np.nan
    high: float = np.nan
    flag: str = ""
    seconds: float = np.nan

    def forget_pixels(self) -> None:
        """Gives the memory of the pixels back."""
        self.frame = self.prepared = None


def file_entries(
    files: Iterable[Path],
    reader: Reader,
    pattern: str,
    wanted: Callable[[str, int], bool] | None = None,
) -> Iterator[Entry]:
    """The frames of image files, one at a time, as they are read.

    Args:
        files: of any type that :mod:`cellzoo.images` reads.
        reader: of these files. What it remarks is said at the end.
        pattern: of options in what it remarks, see :func:`with_options`.
        wanted: see :meth:`cellzoo.images.Reader.read`.

    Yields:
        An entry per frame, and one with ``error`` where a file, or the rest of it, cannot be read.

    Raises:
        UsageError: what is chosen of the files is written wrongly, for every file alike.
    """
    for file in files:
        index = 0
        try:
            for frame in reader.read(file, wanted):
                height, width = frame.pixels.shape
                yield Entry(
                    file, frame.index, frame, reader.scaled, (height, width), frame.series,
                    frame.step, frame.time_s,
                )  # fmt: skip
                index = frame.index + 1
        except UsageError:
            raise
        except UserError as error:
            yield Entry(file, index, error=error)
    reader.notes.say(lambda sentence: with_options(sentence, pattern))


def entries_of(
    images: Images,
    scaled: bool = False,
    *,
    reader: Callable[[Sequence[Path]], Reader],
    full_range: bool = False,
    sizes: np.ndarray | None = None,
    pixel_size_um: float | None = None,
) -> Iterator[Entry]:
    """The images of an array, a list, a file or a folder, one by one.

    Args:
        images: an array ``[h, w]`` or ``[n, h, w]``, a list of arrays ``[h, w]`` of any sizes, a
            path or a list of paths. Raw grey levels are uint8 or uint16; other whole numbers become
            the smaller of these that holds all of them.
        scaled: the arrays are floats in [0, 1]. Without it floats are refused, as nothing says what
            is black and white.
        reader: makes what reads these files.
        full_range: uint16 arrays of fewer bits, as the brightest of all pixels says, are spread
            over all 16.
        sizes: height and width that the images had before they were resized, ``[n, 2]``; None:
            those of raw images are their own.
        pixel_size_um: width in micrometres of a pixel of the arrays; None: not known.

    Raises:
        UsageError: the images are none of these; the sentence says what to do.
        UserError: there is no file.
    """
    paths = _paths(images)
    if paths is not None:
        if scaled:
            raise UsageError("scaled=True is for arrays of floats: files are scaled as they say.")
        files = find_images(paths)
        return file_entries(files, reader(files), "{}=")
    spread_out = full_range and not scaled
    return _array_entries(_pictures(images), scaled, spread_out, sizes, pixel_size_um)


def with_options(message: str, pattern: str) -> str:
    """An error about a recipe's reading keys, naming what can be said here instead.

    Args:
        message: of a reader, such as ``a.png: is a colour picture, set data.natural.channel: 0|1``.
        pattern: how an option is written before its value, such as ``"--{} "``.
    """
    for name in ("axes", "channel", "z", "position", "frames", "pixel_size_um"):
        option = pattern.format(name)
        if option.startswith("-"):
            option = option.replace("_um", "").replace("_", "-")
        message = message.replace(f"data.natural.{name}: ", option)
        message = message.replace(f"data.natural.{name}", option.rstrip(" ="))
    if pattern.startswith("-"):
        message = message.replace("set max_megapixels", "set --max-megapixels")  # of no recipe
    option = pattern.format("intensity").rstrip(" =")
    if option.startswith("-"):
        message = message.replace("intensity to [low, high]", "intensity LOW HIGH")
        message = message.replace("intensity: [low, high]", "intensity LOW HIGH")
        message = re.sub(r"intensity: \[(\d+), (\d+)\]", r"intensity \1 \2", message)
    message = re.sub(r"data.natural.intensity: \[(\d+), (\d+)\]", r"intensity=(\1, \2)", message)
    return message.replace("data.natural.intensity", option)


def _paths(images: Images) -> list[Path] | None:
    """Paths, if these are some; None if they are arrays."""
    if isinstance(images, str | os.PathLike):
        return [Path(images)]
    if not isinstance(images, list | tuple):
        return None
    named = [isinstance(image, str | os.PathLike) for image in images]
    if any(named) and not all(named):
        raise UsageError("images mixes paths and arrays: count one kind at a time.")
    return [Path(image) for image in images] if any(named) else None


def _pictures(images: Images) -> list[tuple[str, np.ndarray]]:
    """Names and pixels of single images, ``[h, w]``."""
    if isinstance(images, list | tuple):
        if not images:
            raise UsageError("images is empty: give at least one image.")
        return [_single(f"images[{k}]", _array(f"images[{k}]", i)) for k, i in enumerate(images)]
    array = _array("images", images)
    if array.ndim == 3 and array.size and array.shape[-1] > _MOST_CHANNELS:
        return [(f"images[{k}]", image) for k, image in enumerate(array)]
    _single("images", array)
    return [("The image", array)]


def _array(name: str, image: Any) -> np.ndarray:
    try:
        array = np.asarray(image)
    except ValueError:
        raise UsageError(
            f"{name} has rows of different lengths: give images of several sizes as a list of "
            "arrays."
        ) from None
    if array.dtype.kind == "b":
        raise UsageError(f"{name} is bool, as masks are: give the grey image.")
    if array.dtype.kind not in "uif":
        raise UsageError(
            f"{name} is of type {array.dtype}: give an array of numbers, or a list of such arrays."
        )
    # Of the other byte order uint16 would not be known as that, and be taken for uint8 where dark.
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _single(name: str, array: np.ndarray) -> tuple[str, np.ndarray]:
    shape = "[" + ", ".join(map(str, array.shape)) + "]"
    if array.size == 0:
        raise UsageError(f"{name} is empty, of shape {shape}: give an image with pixels.")
    if array.ndim in (3, 4) and array.shape[-1] <= _MOST_CHANNELS:
        raise UsageError(
            f"{name} has shape {shape}, which looks like colour or channels: choose a channel, "
            "such as images[..., 0]."
        )
    if array.ndim != 2:
        raise UsageError(
            f"{name} has shape {shape}: give [height, width], or [n, height, width] for several."
        )
    return name, array


def _array_entries(
    pictures: Sequence[tuple[str, np.ndarray]],
    scaled: bool,
    full_range: bool,
    sizes: np.ndarray | None,
    pixel_size_um: float | None,
) -> Iterator[Entry]:
    if sizes is not None and len(sizes) != len(pictures):
        raise UsageError(f"sizes has {len(sizes)} rows for {len(pictures)} images.")
    grey = _common_grey([image for _, image in pictures])
    bits = _common_bits([image for _, image in pictures], grey) if full_range else None
    for k, (name, image) in enumerate(pictures):
        height, width = image.shape if sizes is None else sizes[k]
        known = sizes is not None or not scaled  # one that is scaled may be resized already
        pixels = _scaled(name, image) if scaled else spread(_raw(name, image, grey), bits)
        frame = Frame(pixels=pixels, path=Path(name), index=0, pixel_size_um=pixel_size_um)
        yield Entry(Path(name), 0, frame, scaled, (int(height), int(width)) if known else None)


def _common_grey(images: Sequence[np.ndarray]) -> np.dtype | None:
    """The type that all whole numbers fit that are neither uint8 nor uint16; None: none does."""
    others = [i for i in images if i.dtype.kind in "ui" and i.dtype not in _GREY]
    if not others:
        return None
    if min(int(image.min()) for image in others) < 0:
        return None
    most = max(int(image.max()) for image in others)
    return next((np.dtype(kind) for kind in _GREY if most <= np.iinfo(kind).max), None)


def _common_bits(images: Sequence[np.ndarray], grey: np.dtype | None) -> int | None:
    """Significant bits of all uint16 images together; None where there is none."""
    kinds = (np.uint16, grey) if grey == np.uint16 else (np.uint16,)
    highest = max((int(i.max()) for i in images if i.dtype in kinds), default=None)
    if highest is None:
        return None
    bits = significant_bits(highest)
    if bits < 16 and highest:
        log.warning("images %s; give uint8, or floats with scaled=True, if that is wrong.",
                    few_bits(highest).replace("does", "do", 1))  # fmt: skip
    return bits


def _raw(name: str, image: np.ndarray, grey: np.dtype | None) -> np.ndarray:
    if image.dtype in _GREY:
        return image
    if image.dtype.kind == "f":
        raise UsageError(
            f"{name} has decimal grey levels, {image.dtype}, and nothing says what is white: give "
            "the raw uint8 or uint16, or floats in [0, 1] with scaled=True."
        )
    if grey is None:
        raise UsageError(
            f"{name} is {image.dtype} with values from {image.min()} to {image.max()}, beyond 0 to "
            "65535: convert it to uint8 or uint16."
        )
    return image.astype(grey)


def _scaled(name: str, image: np.ndarray) -> np.ndarray:
    if image.dtype.kind != "f":
        raise UsageError(
            f"{name} is {image.dtype} and scaled=True is for floats in [0, 1]: leave scaled out, "
            "the type says the scale."
        )
    image = image.astype(np.float32)
    least, most = image.min(), image.max()
    if not np.isfinite([least, most]).all():
        raise UsageError(f"{name} has values that are NaN or infinite: replace them.")
    if least < 0 or most > 1:
        raise UsageError(
            f"{name} has values from {least:.6g} to {most:.6g} and scaled=True is for [0, 1]: "
            "subtract black and divide by white minus black first."
        )
    return image
