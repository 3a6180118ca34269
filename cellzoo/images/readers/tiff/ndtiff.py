"""NDTiff data sets of Micro-Manager 2 and Pycro-Manager: files with an index beside them.

https://github.com/micro-manager/NDTiffStorage: the index lists each plane's place by the names of
axes, its file, and the offset of its pixels.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tifffile
from tifffile.tifffile import read_ndtiff_index

from cellzoo.errors import UserError
from cellzoo.images import metadata
from cellzoo.images.find import natural_key
from cellzoo.images.imagefile import ImageFile, Series, fixed
from cellzoo.images.readers.tiff.pages import Layout, is_there, read_page

_LETTERS = {"time": "T", "z": "Z", "channel": "C", "position": "P"}
_BITS = {3: 10, 4: 12, 5: 14, 6: 11}  # of the pixel types with fewer than 16


def open_file(
    tiff: tifffile.TiffFile, path: Path, offsets: Sequence[int], stored: bool
) -> ImageFile | None:
    """The file's own planes; None: it belongs to no such data set.

    Raises:
        UserError: the index is missing or does not fit.
    """
    facts = tiff.micromanager_metadata if tiff.is_micromanager else None
    if not facts or facts.get("MajorVersion", 0) < 2:
        return None
    index = path.parent / "NDTiff.index"
    if not index.is_file():
        raise UserError(f"{path}: is part of an NDTiff data set, copy its NDTiff.index beside it")
    # All files of the set number channels and positions alike.
    everything = list(read_ndtiff_index(index))
    entries = [entry for entry in everything if entry[1] == path.name]
    pages = {page.dataoffsets[0]: k for k, page in enumerate(tiff.pages) if page.dataoffsets}
    found = [(dict(entry[0]), pages[entry[2]], entry[5]) for entry in entries if entry[2] in pages]
    found = [one for one in found if is_there(tiff.pages[one[1]], tiff.filehandle.size)]
    if not found:
        raise UserError(f"{path}: is not in the NDTiff.index beside it, copy both again")
    all_axes = [entry[0] for entry in everything]
    unknown = {axis for axes in all_axes for axis in axes} - set(_LETTERS)
    several = {axis for axis in unknown if len({axes.get(axis) for axes in all_axes}) > 1}
    if several:
        raise UserError(
            f"{path}: has an axis {sorted(several)[0]}, which cellzoo does not know, save it as "
            "OME-TIFF"
        )
    places = {
        axis: sorted({axes.get(axis, 0) for axes in all_axes}, key=lambda at: natural_key(str(at)))
        for axis in _LETTERS
    }
    for axis, known in places.items():
        if all(isinstance(place, int) for place in known):
            # A stack may go on below the plane that it began with.
            places[axis] = list(range(min(0, *known), max(known) + 1))
    number = {axis: {place: k for k, place in enumerate(places[axis])} for axis in _LETTERS}
    planes = {
        tuple(number[axis][axes.get(axis, 0)] for axis in _LETTERS): page
        for axes, page, _ in found
    }
    page = tiff.pages[found[0][1]]
    layout = Layout(page.keyframe, path, stored, display_only=True)
    sizes = {_LETTERS[axis]: len(known) for axis, known in places.items()}
    outer = "".join(sizes)
    sizes |= {"Y": page.imagelength, "X": page.imagewidth}
    if layout.samples == "S":
        sizes["S"] = 3

    def read(place: Mapping[str, int]) -> np.ndarray:
        plane = planes[tuple(place[letter] for letter in outer)]
        return layout.picture(read_page(tiff, tiff.pages[plane], path))

    channels = places["channel"]
    summary = facts.get("Summary") or {}
    series = Series(
        sizes=sizes,
        dtype=page.dtype,
        read=read,
        channels=tuple(channels) if all(isinstance(c, str) for c in channels) else (),
        pixel_size_um=metadata.micrometres(summary.get("PixelSize_um")),
        interval_s=metadata.seconds(summary.get("Interval_ms") or None, "ms"),
        bits=_BITS.get(found[0][2]) or metadata.tagged_bits(page),
        present=frozenset(planes),
        own=frozenset(planes),
    )
    positions = [
        fixed(series, "P", number, number=number, name=name)
        for number, name in enumerate(_position_names(places["position"]))
    ]
    return ImageFile(
        path=path,
        format="NDTiff",
        series=[position for position in positions if position.own],
        in_set=True,
        set_name=re.sub(r"(_\d+)?\.tiff?$", "", path.name),
        close=tiff.close,
    )


def _position_names(positions: Sequence[int | str]) -> list[str]:
    """Empty for the only one of a data set."""
    if len(positions) == 1:
        return [""]
    return [at if isinstance(at, str) else f"Pos{at}" for at in positions]
