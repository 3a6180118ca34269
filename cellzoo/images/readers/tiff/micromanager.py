"""Micro-Manager's image stack files, of which an acquisition may have several.

https://micro-manager.org/Micro-Manager_File_Formats: a header, the pages with their metadata in the
tag 51123, and a map of the pages' places by channel, plane, time and position.
"""

import glob
import json
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import tifffile

from cellzoo.images import metadata
from cellzoo.images.imagefile import ImageFile, Series
from cellzoo.images.readers.tiff.pages import Layout, is_there, page_offsets, read_page

_INDEX_MAP = 54773648  # bytes 8 to 12 of such a file
_PAGE_TAG = 51123
_KEYS = ("PositionIndex", "FrameIndex", "SliceIndex", "ChannelIndex")
_NAME = re.compile(
    r"(?P<stem>(?P<whole>.*_MMStack)(?:_(?P<position>.+?))?)(?:_[1-9]\d*)?(?P<end>\.ome\.tiff?)",
    re.I,
)

Place = tuple[int, int, int, int]  # position, time, plane, channel


def wrote(tiff: tifffile.TiffFile) -> bool:
    """Whether Micro-Manager wrote an image stack file."""
    tiff.filehandle.seek(0)
    head = tiff.filehandle.read(12)
    return len(head) == 12 and struct.unpack(f"{tiff.byteorder}I", head[8:])[0] == _INDEX_MAP


class _Stack:
    """One file of an acquisition."""

    def __init__(self, path: Path, tiff: tifffile.TiffFile, offsets: Sequence[int]):
        self.path, self.tiff = path, tiff
        size = tiff.filehandle.size
        tiff.pages.useframes = True  # their tags are alike
        self.pages = list(tiff.pages)[: len(offsets)]
        there = [k for k, page in enumerate(self.pages) if is_there(page, size)]
        by_offset = {offsets[k]: k for k in there}
        self.planes: dict[Place, int] = {}
        known = (tiff.micromanager_metadata or {}).get("IndexMap")
        for channel, plane, time, position, offset in known if known is not None else ():
            page = by_offset.get(int(offset))
            if page is not None:
                self.planes.setdefault((int(position), int(time), int(plane), int(channel)), page)
        if len(self.planes) < len(there):  # stopped before the map was written
            self.planes = {place: k for k in there if (place := self._tagged_place(k)) is not None}

    def _tagged_place(self, page: int) -> Place | None:
        facts = self.page_facts(page)
        try:
            return tuple(int(facts.get(key, 0)) for key in _KEYS) if facts else None
        except (TypeError, ValueError):
            return None

    def page_facts(self, page: int) -> Mapping[str, object]:
        """What Micro-Manager says of a page."""
        self.tiff.filehandle.seek(self.pages[page].offset)
        found = tifffile.TiffPage(self.tiff, page).tags.get(_PAGE_TAG)
        return found.value if found and isinstance(found.value, dict) else {}

    def read(self, page: int, stored: bool) -> np.ndarray:
        layout = Layout(self.tiff.pages.first, self.path, stored, display_only=True)
        return layout.picture(read_page(self.tiff, self.pages[page], self.path))


@dataclass(frozen=True)
class _Name:
    """What the name of a file says.

    Attributes:
        stem: the same for files that go on where another one was full.
        position: empty where the files are to hold all of them.
        end: the suffix.
    """

    stem: str
    position: str
    end: str

    @classmethod
    def of(cls, path: Path) -> "_Name | None":
        """The name of a file; None of another program's."""
        found = _NAME.fullmatch(path.name)
        if not found:
            return None
        stem, position = found["stem"], found["position"] or ""
        if position.isdigit() and (path.parent / (found["whole"] + found["end"])).is_file():
            stem, position = found["whole"], ""  # it counts files, of which that is the first
        return cls(stem, position, found["end"])


class _Acquisition:
    """The files of one acquisition; the others are opened when a plane of them is needed."""

    def __init__(self, own: _Stack):
        self.own = own
        self._opened = [own]

    @cached_property
    def planes(self) -> dict[Place, tuple[_Stack, int]]:
        planes = {place: (self.own, page) for place, page in self.own.planes.items()}
        for stack in self._others():
            for place, page in stack.planes.items():
                planes.setdefault(place, (stack, page))
        return planes

    def _others(self) -> list[_Stack]:
        """The files that go on where this one, or the one before it, was full."""
        own = _Name.of(self.own.path)
        if not own:
            return []
        others = []
        for path in sorted(self.own.path.parent.glob(f"{glob.escape(own.stem)}*")):
            name = _Name.of(path)
            if path == self.own.path or not name or name.stem != own.stem:
                continue
            tiff = tifffile.TiffFile(path, _multifile=False)
            others.append(_Stack(path, tiff, page_offsets(tiff)[0]))
        self._opened += others
        return others

    def close(self) -> None:
        for stack in self._opened:
            stack.tiff.close()


def open_file(
    tiff: tifffile.TiffFile, path: Path, offsets: Sequence[int], stored: bool
) -> ImageFile | None:
    """The file's own positions and planes; None: another program wrote it."""
    if not wrote(tiff):
        return None
    own = _Stack(path, tiff, offsets)
    if not own.planes:
        return None
    summary = (tiff.micromanager_metadata or {}).get("Summary") or {}
    positions = sorted({place[0] for place in own.planes})
    planned = [metadata.number(summary, key) for key in ("Frames", "Slices", "Channels")]
    acquisition = _Acquisition(own)
    lengths = [
        max(n, 1 + max(place[k] for place in own.planes))
        for k, n in enumerate(planned, start=1)
    ]
    expected = len(positions) * lengths[0] * lengths[1] * lengths[2]
    notes = []
    missing = expected - len(own.planes)
    if missing:  # in other files, or nowhere
        there = sum(place[0] in positions for place in acquisition.planes)
        missing = expected - there
    if missing:
        notes.append(
            f"holds {expected - missing} of the {expected} planes that were planned: the "
            "acquisition was stopped, or a file of it is not here"
        )
    names = _position_names(own, summary, positions)
    series = [
        _series(acquisition, summary, number, names[number], lengths, stored)
        for number in positions
    ]
    in_set = metadata.number(summary, "Positions") > len(positions) or bool(
        len(acquisition.planes) > len(own.planes)
    )
    return ImageFile(
        path=path,
        format="TIFF (Micro-Manager)",
        series=series,
        notes=notes,
        in_set=in_set,
        set_name=_set_name(path),
        close=acquisition.close,
    )


def _set_name(path: Path) -> str:
    """One name from the first plane to the last, whatever other files come."""
    name = _Name.of(path)
    if not name:
        return ""
    # Without a position the first file is to hold all of them, and is named as if it were alone.
    return name.stem if name.position else name.stem + name.end


def _series(
    acquisition: _Acquisition,
    summary: Mapping[str, object],
    position: int,
    name: str,
    lengths: Sequence[int],
    stored: bool,
) -> Series:
    own = acquisition.own
    page = own.tiff.pages.first
    sizes = dict(zip("TZC", lengths, strict=True))
    sizes |= {"Y": page.imagelength, "X": page.imagewidth}
    if page.samplesperpixel >= 3:
        sizes["S"] = 3
    first = own.page_facts(min(page for place, page in own.planes.items() if place[0] == position))

    def read(place: Mapping[str, int]) -> np.ndarray:
        stack, number = acquisition.planes[(position, place["T"], place["Z"], place["C"])]
        return stack.read(number, stored)

    def of(planes: Mapping[Place, object]) -> frozenset[tuple[int, ...]]:
        return frozenset(place[1:] for place in planes if place[0] == position)

    complete = len(of(own.planes)) == lengths[0] * lengths[1] * lengths[2]
    names = summary.get("ChNames")
    if isinstance(names, str):
        names = json.loads(names)
    fits = isinstance(names, list) and len(names) == lengths[2]
    return Series(
        sizes=sizes,
        dtype=page.dtype,
        read=read,
        name=name,
        number=position,
        channels=tuple(map(str, names)) if fits else (),
        pixel_size_um=metadata.micrometres(
            summary.get("PixelSize_um") or first.get("PixelSizeUm") or first.get("PixelSize_um")
        )
        or metadata.tagged_pixel_size(own.tiff),
        interval_s=metadata.seconds(summary.get("Interval_ms") or None, "ms"),
        bits=metadata.stated_bits(first.get("BitDepth") or summary.get("BitDepth"))
        or metadata.tagged_bits(page),
        present=None if complete else of(acquisition.planes),
        own=None if complete else of(own.planes),
    )


def _position_names(
    own: _Stack, summary: Mapping[str, object], positions: Sequence[int]
) -> dict[int, str]:
    """By number: from the stage positions, the pages, the file's name or its description."""
    names: dict[int, str] = {}
    stage = summary.get("InitialPositionList") or summary.get("StagePositions")
    for number, place in enumerate(stage if isinstance(stage, list) else ()):
        if isinstance(place, dict) and (place.get("Label") or place.get("label")):
            names[number] = str(place.get("Label") or place.get("label"))
    name = _Name.of(own.path)
    if len(positions) == 1 and name and name.position:
        names.setdefault(positions[0], name.position)
    images = re.findall(r'<Image [^>]*\bName="([^"]*)"', own.tiff.pages.first.description)
    if len(images) > max(positions):
        for number in positions:
            names.setdefault(number, images[number])
    return {number: names.get(number, f"Pos{number}") for number in positions}
