"""Leica LIF, through the package liffile."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cellzoo.errors import UserError
from cellzoo.images import metadata
from cellzoo.images.imagefile import ImageFile, Series

_LETTERS = {"M": "P"}  # tiles of a mosaic


def open_lif(path: Path, stored: bool) -> ImageFile:
    """A LIF; its images are positions."""
    import liffile  # 0.1 s

    file = liffile.LifFile(path)
    try:
        series = []
        for image in file.images:
            if isinstance(image, liffile.LifImage) and image.sizes.get("Y", 1) > 1:
                series.append(_series(image, len(series), path))
        if not series:
            raise UserError(f"{path}: holds no picture, export it again")
    except BaseException:
        file.close()
        raise
    return ImageFile(path, "Leica LIF", series, close=file.close)


def _series(image: object, number: int, path: Path) -> Series:
    stored = dict(image.sizes)
    if "X" not in stored or "Y" not in stored:
        raise UserError(f"{path}: has a picture {image.name} without rows and columns, export it")
    sizes, ours = {}, {}
    for label, length in stored.items():
        letter = _LETTERS.get(label, label)
        if letter not in "TZCPYXS":
            letter = "Q" if "Q" not in sizes else "N"
        ours[letter], sizes[letter] = label, int(length)
    order = [k for k in sizes if k not in "YXS"]
    if sizes.get("S", 3) not in (3, 4):
        raise UserError(f"{path}: has {sizes['S']} samples in a pixel, export it as OME-TIFF")

    def read(place: Mapping[str, int]) -> np.ndarray:
        picture = image.frame(**{ours[letter]: place[letter] for letter in order})
        return picture[..., :3] if picture.ndim == 3 else picture

    if "S" in sizes:
        sizes["S"] = 3
    channels = image.xml_element.findall("./Data/Image/ImageDescription/Channels/*")
    names = [channel.get("UserName") or channel.get("LUTName") or "" for channel in channels]
    told = len(names) == sizes.get("C", 1) and all(names) and len(set(names)) == len(names)
    bits = {channel.get("Resolution") for channel in channels}
    return Series(
        sizes={k: sizes[k] for k in [*order, *(k for k in "YXS" if k in sizes)]},
        dtype=np.dtype(image.dtype),
        read=read,
        name=image.name,
        number=number,
        channels=tuple(names) if told else (),
        pixel_size_um=_pixel_size(image),
        interval_s=_interval(image),
        bits=metadata.stated_bits(bits.pop()) if len(bits) == 1 else None,
    )


def _step(image: object, kind: str) -> tuple[float, str] | None:
    """Distance between two elements of a dimension, and its unit."""
    for dimension in image.xml_element.findall("./Data/Image/ImageDescription/Dimensions/*"):
        if dimension.get("DimID") == kind:
            try:
                n, length = int(dimension.get("NumberOfElements")), float(dimension.get("Length"))
            except (TypeError, ValueError):
                return None
            return (length / (n - 1), dimension.get("Unit") or "") if n > 1 else None
    return None


def _pixel_size(image: object) -> float | None:
    step = _step(image, "1")
    return metadata.micrometres(*step) if step else None


def _interval(image: object) -> float | None:
    step = _step(image, "4")
    return metadata.seconds(step[0], step[1] or "s") or None if step else None
