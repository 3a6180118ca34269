"""TIFF stacks as tifffile tells them apart: plain pages, ImageJ, shaped, STK, LSM and others."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile

from cellzoo.errors import UserError
from cellzoo.images import metadata
from cellzoo.images.grey import cut_off
from cellzoo.images.imagefile import ImageFile, Series, checked_size
from cellzoo.images.readers.tiff.pages import (
    Layout,
    is_there,
    read_page,
    without_offset,
)

_NAMES = {"imagej": "ImageJ", "stk": "MetaMorph STK", "lsm": "Zeiss LSM", "ome": "OME-TIFF"}


def open_file(tiff: tifffile.TiffFile, path: Path, stored: bool) -> ImageFile:
    """The series that tifffile finds."""
    if 33629 in tiff.pages.first.tags and not tiff.is_stk:
        raise cut_off(path)  # a MetaMorph stack whose first tag, the number of planes, is damaged
    found = list(tiff.series)
    if tiff.is_lsm:
        found = found[:1]  # the others are thumbnails
    found = [stack for stack in found if not stack.keyframe.is_reduced] or found
    series = [_series(tiff, stack, path, stored) for stack in found]
    series = [replace(one, number=k) for k, one in enumerate(_as_pages(series))]
    kind = found[0].kind if found else ""
    name = f"TIFF ({_NAMES[kind]})" if kind in _NAMES else "TIFF"
    return ImageFile(path=path, format=name, series=series, close=tiff.close)


def _as_pages(series: Sequence[Series]) -> Sequence[Series]:
    """Pictures that were appended one by one are pages if they are alike."""
    first = series[0] if series else None
    if len(series) < 2 or any(
        one.outer or dict(one.sizes) != dict(first.sizes) or one.dtype != first.dtype
        for one in series
    ):
        return series

    def read(place: Mapping[str, int]) -> np.ndarray:
        return series[place["I"]].read({})

    return [replace(first, sizes={"I": len(series), **first.sizes}, read=read)]


def _series(
    tiff: tifffile.TiffFile,
    stack: tifffile.TiffPageSeries,
    path: Path,
    stored: bool,
    whole: bool = False,
) -> Series:
    if any(page is None for page in stack.pages):
        raise UserError(
            f"{path}: lacks some of the planes that its description lists, export it again"
        )
    if not all(is_there(page, tiff.filehandle.size) for page in stack.pages):
        raise cut_off(path)
    imagej = (tiff.imagej_metadata or {}) if tiff.is_imagej else {}
    layout = Layout(
        stack.keyframe,
        path,
        stored,
        display_only=tiff.is_imagej or tiff.is_ome or tiff.is_lsm or tiff.is_stk,
        channels="C" in stack.axes,
        planes=_samples_are_planes(stack),
        whole=whole,
    )
    sizes = _sizes(stack, layout, path)
    planes = math.prod(sizes[letter] for letter in sizes if letter not in "YXS")
    # Of a large stack ImageJ describes the first plane alone, and tifffile gives that one if the
    # others are not all there.
    said = imagej.get("images", 1)
    if isinstance(said, int) and said > planes * stack.keyframe.samplesperpixel:
        raise UserError(
            f"{path}: is cut off, or part of a stack: it holds {planes} of the {said} planes of "
            "ImageJ's description, copy it again or save it anew"
        )
    read = _reader(tiff, stack, layout, path)
    if layout.looked_up:
        sizes = {**sizes, "S": 3}
    facts = _facts(tiff, stack, imagej, sizes)
    return Series(
        sizes=sizes,
        dtype=stack.dtype,
        read=without_offset(read, imagej),
        pixel_size_um=facts.pop("pixel_size_um", None) or metadata.tagged_pixel_size(tiff),
        bits=metadata.tagged_bits(stack.keyframe),
        whole=functools.partial(_series, tiff, stack, path, stored, whole=True)
        if layout.samples == "S" and layout.kept < stack.keyframe.samplesperpixel
        else None,
        **facts,
    )


def _samples_are_planes(stack: tifffile.TiffPageSeries) -> bool:
    """Whether samples of a pixel are counted by another axis than colours or channels.

    tifffile writes three or four frames of 8 bit as the samples of one page.
    """
    if stack.keyframe.samplesperpixel == 1:
        return False
    letter = stack.axes[-1:] if stack.keyframe.planarconfig == 1 else stack.axes[-3:-2]
    return letter not in ("S", "C")


def _sizes(stack: tifffile.TiffPageSeries, layout: Layout, path: Path) -> dict[str, int]:
    """The axes as they are stored, samples named for what they are."""
    sizes: dict[str, int] = {}
    for letter, length in zip(stack.axes, stack.shape, strict=True):
        if letter == "S":
            if not layout.samples:
                continue
            letter, length = layout.samples, layout.kept
        letter = _letter(letter)
        if letter in sizes:
            raise UserError(f"{path}: has two axes {letter}, save it with one page for each plane")
        sizes[letter] = int(length)
    if "Y" not in sizes or "X" not in sizes:
        raise UserError(
            f"{path}: has the axes {stack.axes}, not rows and columns, set data.natural.axes: YX"
        )
    return sizes


def _letter(tifffiles: str) -> str:
    """Our letter for an axis: regions and tiles of a mosaic are positions."""
    return {"R": "P", "M": "P"}.get(tifffiles, tifffiles)


def _reader(
    tiff: tifffile.TiffFile, stack: tifffile.TiffPageSeries, layout: Layout, path: Path
) -> Callable[[Mapping[str, int]], np.ndarray]:
    """A function place -> picture that reads one page where pages are planes."""
    letters, shape = stack.axes, tuple(stack.shape)
    n = len(letters) - len(stack.keyframe.shape)
    outer, inner = letters[: max(n, 0)], letters[max(n, 0) :]
    pages_are_planes = (
        n >= 0
        and shape[n:] == tuple(stack.keyframe.shape)
        and set(inner) <= set("YXSC")
        and math.prod(shape[:n]) == len(stack.pages)
    )
    if pages_are_planes:

        def read(place: Mapping[str, int]) -> np.ndarray:
            at = [place[_letter(letter)] for letter in outer]
            number = int(np.ravel_multi_index(at, shape[:n])) if outer else 0
            picture = layout.picture(read_page(tiff, stack.pages[number], path))
            return picture[..., place["C"]] if layout.samples == "C" else picture

        return read
    outer = [letter for letter in letters if letter not in "YXS"]
    if letters == "".join([*outer, "Y", "X"]) and not layout.samples:
        if stack.dataoffset is not None and stack.keyframe.is_contiguous:
            return _contiguous(tiff, stack, layout, outer, path)
    checked_size(math.prod(shape), stack.dtype.itemsize, path)
    inner = [letter for letter in "YXS" if letter in letters]
    whole = stack.asarray().reshape(shape).transpose([letters.index(k) for k in [*outer, *inner]])

    def read_whole(place: Mapping[str, int]) -> np.ndarray:
        at = tuple(place[_letter(letter)] for letter in outer)
        picture = layout.meant(whole[at])
        return picture[..., place["C"]] if "S" in inner and layout.samples == "C" else picture

    return read_whole


def _contiguous(
    tiff: tifffile.TiffFile,
    stack: tifffile.TiffPageSeries,
    layout: Layout,
    order: Sequence[str],
    path: Path,
) -> Callable[[Mapping[str, int]], np.ndarray]:
    """Planes one behind the other after a single page, as ImageJ beyond 4 GB and STK have them."""
    shape = stack.shape[: len(order)]
    height, width = stack.shape[-2:]
    dtype = np.dtype(stack.dtype).newbyteorder(tiff.byteorder)
    start, size = stack.dataoffset, height * width * dtype.itemsize
    if start + size * math.prod(shape) > tiff.filehandle.size:
        raise cut_off(path)

    def read(place: Mapping[str, int]) -> np.ndarray:
        number = int(np.ravel_multi_index([place[letter] for letter in order], shape))
        tiff.filehandle.seek(start + number * size)
        data = tiff.filehandle.read(size)
        if len(data) < size:
            raise cut_off(path)
        return layout.picture(np.frombuffer(data, dtype).reshape(height, width))

    return read


def _facts(
    tiff: tifffile.TiffFile,
    stack: tifffile.TiffPageSeries,
    imagej: Mapping[str, object],
    sizes: Mapping[str, int],
) -> dict[str, object]:
    """Channel names, interval, times and pixel size by the kind of file."""
    n = sizes.get("C", 1)
    if stack.kind == "stk":
        return _stk_facts(tiff.stk_metadata or {})
    if stack.kind == "lsm":
        return _lsm_facts(tiff.lsm_metadata or {}, n)
    return {
        "channels": metadata.label_names(imagej.get("Labels"), n),
        "interval_s": metadata.seconds(
            imagej.get("finterval") or None, imagej.get("tunit") or "sec"
        ),
    }


def _stk_facts(stk: Mapping[str, object]) -> dict[str, object]:
    facts: dict[str, object] = {}
    if stk.get("CalibrationUnits"):
        unit = str(stk["CalibrationUnits"]).strip("\0 ")
        facts["pixel_size_um"] = metadata.micrometres(stk.get("XCalibration"), unit)
    return facts


def _lsm_facts(lsm: Mapping[str, object], n: int) -> dict[str, object]:
    facts: dict[str, object] = {}
    size = lsm.get("VoxelSizeX")
    facts["pixel_size_um"] = metadata.micrometres(size, "m")
    times = lsm.get("TimeStamps")
    if times is not None and len(times) > 1:
        facts["times_s"] = metadata.since_first([float(time) for time in times])
    names = (lsm.get("ChannelColors") or {}).get("ColorNames") or ()
    if len(names) == n and len(set(names)) == n:
        facts["channels"] = tuple(map(str, names))
    return facts
