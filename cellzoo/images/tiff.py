"""TIFF stacks."""

import logging
import math
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tifffile

from cellzoo.errors import UserError
from cellzoo.images.frame import Frame
from cellzoo.images.grey import check_channel, checked_pixels, cut_off, grey, one_bit, refusing

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MICROMETRES = {
    **{unit: 1.0 for unit in ("µm", "μm", "um", "micron", "microns", "\\u00b5m", "\\xb5m")},
    **{"nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "inch": 25400.0, "in": 25400.0},
}
# A coarser "pixel" is a print resolution (300 dpi = 85 um) left there by an image editor.
_COARSEST_PIXEL_UM = 20.0

# Everything tifffile complains about here ends in a UserError; stderr need not hear it twice.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def tiff_frames(
    path: Path, axes: str | None, channel: int | None, mask: bool
) -> Iterator[Frame]:
    """See :func:`cellzoo.images.read_frames`."""
    with refusing(path):
        # Each OME file of a set would otherwise bring the frames of its sister files along.
        tiff = tifffile.TiffFile(path, _multifile=False)
    with tiff:
        with refusing(path):
            stack = _the_stack(tiff, path, mask)
            letters, shape = _named_axes(tiff, stack, axes, path)
            planes = _frame_planes(letters, shape, channel, path)
            read_plane = _plane_reader(tiff, stack, letters, shape, mask)
            pixel_size_um = _pixel_size_um(tiff)
            # Grey pictures may have more samples that are fluorescence channels.
            alpha = (
                stack.keyframe.photometric != tifffile.PHOTOMETRIC.MINISBLACK
                or tifffile.EXTRASAMPLE.UNSPECIFIED not in stack.keyframe.extrasamples
            )
        for index, plane in enumerate(planes):
            with refusing(path):
                pixels = grey(read_plane(plane), path, channel, mask, alpha)
                pixels = checked_pixels(pixels, path)
            yield Frame(pixels, path, index, pixel_size_um)


def _the_stack(tiff: tifffile.TiffFile, path: Path, mask: bool) -> tifffile.TiffPageSeries:
    """The file's only series, known to be there to the last byte."""
    if not _pages_are_whole(tiff):
        raise cut_off(path)
    if not tiff.series:
        raise UserError(f"{path}: holds no picture, export it again")
    if len(tiff.series) > 1:
        raise UserError(
            f"{path}: holds {len(tiff.series)} separate pictures or stacks, "
            "save each as a file of its own"
        )
    stack = tiff.series[0]
    if any(page is None for page in stack.pages):
        raise UserError(
            f"{path}: lacks some of the planes that its description lists, export it again"
        )
    for page in stack.pages:
        ends = [a + n for a, n in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if max(ends, default=0) > tiff.filehandle.size:
            raise cut_off(path)
    lengths = zip(stack.axes, stack.shape, strict=True)
    planes = math.prod(length for letter, length in lengths if letter not in "YXS")
    # Of a large stack ImageJ describes the first plane alone, and tifffile gives that one if the
    # others are not all there.
    said = (tiff.imagej_metadata or {}).get("images", 1)
    if tiff.is_imagej and said > planes * stack.keyframe.samplesperpixel:
        raise UserError(
            f"{path}: is cut off, or part of a stack: it holds {planes} of the {said} planes of "
            "ImageJ's description, copy it again or save it anew"
        )
    if not mask and (stack.dtype == bool or stack.keyframe.bitspersample == 1):
        raise one_bit(path)
    return stack


def _pages_are_whole(tiff: tifffile.TiffFile) -> bool:
    """Walk the chain of pages, which tifffile shortens silently where it leads out of the file."""
    form, file = tiff.tiff, tiff.filehandle
    seen = set()
    file.seek(8 if form.is_bigtiff else 4)
    while True:
        (offset,) = struct.unpack(form.offsetformat, file.read(form.offsetsize))
        if offset == 0:
            return bool(seen)
        if offset in seen or offset + form.tagnosize > file.size:
            return False
        seen.add(offset)
        file.seek(offset)
        (tags,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
        end_of_tags = offset + form.tagnosize + tags * form.tagsize
        if end_of_tags + form.offsetsize > file.size:
            return False
        file.seek(end_of_tags)


def _named_axes(
    tiff: tifffile.TiffFile, stack: tifffile.TiffPageSeries, axes: str | None, path: Path
) -> tuple[str, tuple[int, ...]]:
    """Letters and lengths of the dimensions, by the file or, for stacks, by the user."""
    letters, shape = stack.axes, tuple(stack.shape)
    if letters in ("YX", "YXS"):
        return letters, shape
    if axes is None and tiff.is_ome and stack.kind != "ome":
        raise UserError(
            f"{path}: is one of several files of an OME set, export the set as a single file or "
            "set data.natural.axes, TYX if the pages are frames"
        )
    if axes is None:
        return letters, shape
    # The file's own description may carry dimensions of length one that the user counts, too.
    for squeeze in (True, False):
        shape, named = tuple(stack.get_shape(squeeze)), stack.get_axes(squeeze)
        if len(axes) == len(shape):
            _check_channels_stay(axes, named, shape, path)
            return axes, shape
    sizes = " x ".join(map(str, stack.shape))
    raise UserError(
        f"{path}: has {len(stack.shape)} dimensions ({sizes}), which data.natural.axes: {axes} "
        "does not fit, name one letter for each"
    )


def _check_channels_stay(axes: str, named: str, shape: tuple[int, ...], path: Path) -> None:
    """Sees to it that the user's letters make no frames of what the file calls channels."""
    for letter, said, n in zip(axes, named, shape, strict=True):
        if said == "C" != letter and n > 1:
            raise UserError(
                f"{path}: has {n} channels (axes {named}), which data.natural.axes: {axes} does "
                "not say, write C in their place and set data.natural.channel to a number from 0 "
                f"to {n - 1}"
            )


def _frame_planes(
    letters: str, shape: tuple[int, ...], channel: int | None, path: Path
) -> list[int]:
    """Numbers of the planes that are frames, counting the stack's planes in C order."""
    length = dict(zip(letters, shape, strict=True))
    if "Y" not in length or "X" not in length:
        raise UserError(
            f"{path}: has the axes {letters}, not rows and columns, set data.natural.axes: YX"
        )
    outer = [letter for letter in letters if letter not in "YXS"]
    number = np.arange(math.prod(length[letter] for letter in outer))
    number = number.reshape([length[letter] for letter in outer])
    for dimension, letter in enumerate(outer):
        n = length[letter]
        if letter in "TI" or n == 1:
            continue
        if letter == "C":
            if channel is None:
                raise UserError(
                    f"{path}: has {n} channels (axes {letters}), "
                    f"set data.natural.channel to a number from 0 to {n - 1}"
                )
            check_channel(channel, n, path)
            number = number.take([channel], axis=dimension)
            continue
        cure = "save a projection or one plane"
        if "T" not in letters:
            frames = letters.replace(letter, "T")
            cure = f"set data.natural.axes: {frames} if each is a frame, or {cure}"
        if letter == "Z":
            raise UserError(f"{path}: has {n} focal planes (axes {letters}), {cure}")
        raise UserError(f"{path}: does not say what its {n} layers are (axes {letters}), {cure}")
    return [int(n) for n in number.ravel()]


def _plane_reader(
    tiff: tifffile.TiffFile,
    stack: tifffile.TiffPageSeries,
    letters: str,
    shape: tuple[int, ...],
    mask: bool,
) -> Callable[[int], np.ndarray]:
    """A function plane number -> [h, w] or [h, w, samples], page by page where pages are planes."""
    inner = "YXS" if "S" in letters else "YX"
    outer = "".join(letter for letter in letters if letter not in "YXS")
    planes = math.prod(shape[letters.index(letter)] for letter in outer)
    keyframe = stack.keyframe
    if letters == outer + inner and len(stack.pages) == planes and keyframe.axes == inner:

        def read(number: int) -> np.ndarray:
            return stack.pages[number].asarray()
    else:
        order = [letters.index(letter) for letter in outer + inner]
        whole = stack.asarray().reshape(shape).transpose(order)
        whole = whole.reshape(planes, *whole.shape[len(outer) :])
        read = whole.__getitem__

    def read_meaning(number: int) -> np.ndarray:
        pixels = read(number)
        if keyframe.photometric == tifffile.PHOTOMETRIC.MINISWHITE and pixels.dtype.kind == "u":
            return np.iinfo(pixels.dtype).max - pixels
        if keyframe.photometric == tifffile.PHOTOMETRIC.PALETTE and not tiff.is_imagej:
            return (np.moveaxis(keyframe.colormap[:, pixels], 0, -1) >> 8).astype(np.uint8)
        return pixels

    return read if mask else read_meaning


def _pixel_size_um(tiff: tifffile.TiffFile) -> float | None:
    """From OME's PhysicalSizeX, ImageJ's unit or the resolution tags, where plausible."""
    ome = tiff.ome_metadata or ""
    found = re.search(r'\bPhysicalSizeX="([^"]+)"', ome)
    try:
        if found:
            unit = re.search(r'\bPhysicalSizeXUnit="([^"]+)"', ome)
            size = float(found[1]) * _MICROMETRES[unit[1] if unit else "µm"]
        else:
            tags = tiff.pages[0].tags
            above, below = tags["XResolution"].value
            if tiff.is_imagej:
                unit = str((tiff.imagej_metadata or {}).get("unit", "")).lower()
            else:
                unit = {2: "inch", 3: "cm"}[int(tags["ResolutionUnit"].value)]
            size = _MICROMETRES[unit] * below / above
    except (KeyError, ValueError, TypeError, ZeroDivisionError):
        return None
    return size if 0 < size < _COARSEST_PIXEL_UM else None
