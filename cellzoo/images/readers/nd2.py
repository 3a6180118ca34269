"""Nikon ND2, through the package nd2."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cellzoo.images import metadata
from cellzoo.images.imagefile import ImageFile, Series, fixed


def open_nd2(path: Path, stored: bool) -> ImageFile:
    """An ND2; its XY positions are positions."""
    import nd2  # 0.2 s

    file = nd2.ND2File(path)
    try:
        series, notes = _series(file)
    except BaseException:
        file.close()
        raise
    return ImageFile(path, "Nikon ND2", series, notes, close=file.close)


def _series(file: object) -> tuple[list[Series], list[str]]:
    sizes = dict(file.sizes)
    loops = [letter for letter in sizes if letter not in "CYXS"]
    shape = tuple(sizes[letter] for letter in loops)
    outer = [*loops, "C"] if "C" in sizes else loops
    written = int(file.attributes.sequenceCount)
    planned = math.prod(shape)

    def read(place: Mapping[str, int]) -> np.ndarray:
        at = [place[letter] for letter in loops]
        number = int(np.ravel_multi_index(at, shape)) if loops else 0
        picture = np.array(file.read_frame(number))  # a view would outlive the mapped file
        if "C" in sizes and sizes["C"] > 1:
            picture = picture[place["C"]]
        return picture[..., :3] if picture.ndim == 3 else picture

    present, notes = None, []
    if written < planned:
        notes.append(
            f"holds {written} of the {planned} pictures that were planned: the acquisition was "
            "stopped"
        )
        places = (np.unravel_index(n, shape) for n in range(written))
        present = frozenset(
            (*map(int, at), *((c,) if "C" in sizes else ()))
            for at in places
            for c in range(sizes.get("C", 1))
        )
    if sizes.get("S", 1) == 1:
        sizes.pop("S", None)
    elif sizes["S"] > 3:
        sizes["S"] = 3
    channels = file.metadata.channels or []
    names = tuple(channel.channel.name for channel in channels)
    series = Series(
        sizes={letter: sizes[letter] for letter in [*outer, *(k for k in "YXS" if k in sizes)]},
        dtype=np.dtype(file.dtype),
        read=read,
        channels=names if len(names) == sizes.get("C", 1) and all(names) else (),
        pixel_size_um=_pixel_size(file),
        interval_s=_interval(file),
        bits=metadata.stated_bits(file.attributes.bitsPerComponentSignificant),
        present=present,
        own=present,
    )
    if "P" not in sizes:
        return [series], notes
    named = _position_names(file, sizes["P"])
    return [fixed(series, "P", n, number=n, name=named[n]) for n in range(sizes["P"])], notes


def _pixel_size(file: object) -> float | None:
    """Micrometres; of a camera that nobody calibrated the file says 1, which means nothing."""
    volumes = [channel.volume for channel in file.metadata.channels or []]
    if not all(volume.axesCalibrated[0] for volume in volumes):
        return None
    return metadata.micrometres(file.voxel_size().x)


def _interval(file: object) -> float | None:
    """Seconds between time points, as measured where the file says so."""
    for loop in file.experiment:
        if loop.type == "TimeLoop":
            measured = getattr(loop.parameters.periodDiff, "avg", None)
            return metadata.seconds(measured or loop.parameters.periodMs or None, "ms")
    return None


def _position_names(file: object, n: int) -> list[str]:
    for loop in file.experiment:
        if loop.type == "XYPosLoop":
            names = [point.name or "" for point in loop.parameters.points]
            if len(names) == n and all(names) and len(set(names)) == n:
                return names
    return [f"position {k}" for k in range(n)]
