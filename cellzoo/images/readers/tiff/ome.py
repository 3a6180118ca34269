"""OME-TIFF: the planes that its description lists, of which other files may hold some.

https://ome-model.readthedocs.io/en/stable/ome-tiff/specification.html
"""

import functools
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile

from cellzoo.errors import UserError
from cellzoo.images import metadata
from cellzoo.images.imagefile import ImageFile, Series
from cellzoo.images.readers.tiff.pages import Layout, is_there, read_page

_AXES = "TZC"
_UUID = re.compile(r"<(?:\w+:)?OME\b[^>]*?\bUUID\s*=\s*[\"']([^\"']*)[\"']")
_FIRST_LINE = re.compile(r"<\?xml\b.*?\?>", re.DOTALL)
_MOST_PLANES = 10**6  # of a picture and all of its files
Plane = tuple[str, int]  # name of the file, empty for this one, and number of the page


class _Files:
    """The file itself and, once they are needed, others of its set."""

    def __init__(self, path: Path, tiff: tifffile.TiffFile, stored: bool):
        self._path, self.stored = path, stored
        self._open = {"": tiff}

    def file(self, name: str) -> tifffile.TiffFile | None:
        """An open file of the set; None where it is not there, or elsewhere."""
        if name not in self._open:
            beside = self._path.parent / name
            if Path(name).name != name or not beside.is_file():
                return None
            self._open[name] = tifffile.TiffFile(beside, _multifile=False)
        return self._open[name]

    def has(self, plane: Plane) -> bool:
        """Whether a plane is there."""
        name, page = plane
        tiff = self.file(name)
        if tiff is None or not 0 <= page < len(tiff.pages):
            return False
        return is_there(tiff.pages[page], tiff.filehandle.size)

    def read(self, plane: Plane) -> np.ndarray:
        """A plane's picture."""
        name, number = plane
        tiff = self.file(name)
        page = tiff.pages[number]
        layout = Layout(page.keyframe, self._path, self.stored, display_only=True)
        return layout.picture(read_page(tiff, page, self._path))

    def close(self) -> None:
        """Closes them all."""
        for tiff in self._open.values():
            tiff.close()


def open_file(
    tiff: tifffile.TiffFile, path: Path, offsets: Sequence[int], stored: bool
) -> ImageFile | None:
    """What the description says that this file holds; None: it has no such description.

    Raises:
        UserError: the description does not fit the pages.
    """
    found = _description(tiff, path)
    if found is None:
        return None
    root, own_uuid = found
    files = _Files(path, tiff, stored)
    series, notes, others = [], [], set()
    listed = 0
    for number, image in enumerate(_children(root, "Image")):
        pixels = next(_children(image, "Pixels"), None)
        if pixels is None:
            continue
        described = _Described(pixels, root, own_uuid, path, len(offsets))
        own = {place: plane for place, plane in described.planes.items() if plane[0] == ""}
        listed += described.promised
        others |= {plane[0] for plane in described.planes.values()} - {""}
        if not described.promised:
            continue
        name = image.get("Name") or ""
        one, missing = _series(files, described, own, name, number, path)
        if missing:
            notes.append(
                f"holds {described.promised - missing} of the {described.promised} planes that its "
                "description promises: the acquisition was stopped, or the file is not whole"
            )
        series.append(one)
    if not series and others:
        raise UserError(
            f"{path}: is one of several files of an OME set but not called like any of them, give "
            f"it its name back, such as {min(others)}"
        )
    if not series:
        return None
    if len(offsets) > listed:
        notes.append(f"holds {len(offsets) - listed} pages that its description does not list")
    return ImageFile(
        path=path,
        format="OME-TIFF",
        series=series,
        notes=notes,
        in_set=bool(others),
        set_name=min({path.name, *others}) if others else "",
        close=files.close,
    )


class _Described:
    """What an element Pixels says.

    Attributes:
        sizes: of T, Z and C, where C counts planes, not the samples of a colour picture.
        planes: place (T, Z, C) -> file and page, of this file those for which it has a page.
        promised: planes of this file, also those for which it has none.
    """

    def __init__(
        self,
        pixels: ElementTree.Element,
        root: ElementTree.Element,
        own_uuid: str,
        path: Path,
        n: int,
    ):
        self.pixels = pixels
        self.channels = list(_children(pixels, "Channel"))
        sizes = {letter: _whole(pixels.get(f"Size{letter}"), 1) for letter in _AXES}
        samples = [_whole(channel.get("SamplesPerPixel"), 1) for channel in self.channels]
        self.samples = max(samples, default=1)
        if sum(samples) == sizes["C"]:
            sizes["C"] = len(samples)
        elif self.samples > 1 and sizes["C"] % self.samples == 0:
            sizes["C"] //= self.samples
        self.sizes = sizes
        self.promised = 0
        self.planes = dict(self._planes(_file_names(root), own_uuid, path, n))

    def _planes(
        self, named: frozenset[str], own_uuid: str, path: Path, pages: int
    ) -> Iterator[tuple[tuple[int, ...], Plane]]:
        order = [letter for letter in (self.pixels.get("DimensionOrder") or "XYZCT")[2:]]
        if sorted(order) != sorted(_AXES):
            raise UserError(f"{path}: has an OME description without an order, export it again")
        lengths = [self.sizes[letter] for letter in order]
        total = lengths[0] * lengths[1] * lengths[2]
        if total > _MOST_PLANES:
            raise UserError(
                f"{path}: describes {total} planes, of which at most {_MOST_PLANES} are read, "
                "export it in parts"
            )
        for block in _blocks(self.pixels):
            first = [block.first[_AXES.index(letter)] for letter in order]
            page, many = block.page, total if block.count is None else block.count
            file = ""
            if block.uuid is not None and len(named) > 1:
                mine = block.name == path.name or (own_uuid and block.uuid == own_uuid)
                file = "" if mine else block.name or "?"
            start = first[0] + lengths[0] * (first[1] + lengths[1] * first[2])
            many = max(0, min(many, total - start))
            if not file:
                self.promised = min(total, self.promised + many)
                many = min(many, pages - page)
            for k in range(many):
                rest, place = start + k, {}
                for letter, length in zip(order, lengths, strict=True):
                    rest, place[letter] = divmod(rest, length)
                yield tuple(place[letter] for letter in _AXES), (file, page + k)


def _series(
    files: _Files,
    described: _Described,
    own: Mapping[tuple[int, ...], Plane],
    name: str,
    number: int,
    path: Path,
) -> tuple[Series, int]:
    """A series, and how many of its own planes are missing."""
    there = {place for place, plane in own.items() if files.has(plane)}
    if not there:
        raise UserError(f"{path}: holds none of the planes that its description lists")
    page = files.file("").pages[own[min(there)][1]]
    layout = Layout(page.keyframe, path, files.stored, display_only=True)
    sizes = dict(described.sizes)
    if layout.samples == "C":
        # Samples of one page are channels.
        return _sampled(files, described, own, there, layout, name, number, page)
    sizes |= {"Y": page.imagelength, "X": page.imagewidth}
    if layout.samples == "S":
        sizes["S"] = 3
    present = set(there)
    if len(own) < len(described.planes):
        # Of its own time points alone: a set may have a file for each, too many to open at once.
        times = {place[0] for place in there}
        present |= {
            place
            for place, plane in described.planes.items()
            if plane[0] and place[0] in times and files.has(plane)
        }

    def read(place: Mapping[str, int]) -> np.ndarray:
        return files.read(described.planes[tuple(place[letter] for letter in _AXES)])

    total = described.sizes["T"] * described.sizes["Z"] * described.sizes["C"]
    whole = len(there) == total
    one = Series(
        sizes=sizes,
        dtype=page.dtype,
        read=read,
        name=name,
        number=number,
        present=None if whole else frozenset(present),
        own=None if whole else frozenset(there),
        **_facts(described, page),
    )
    return one, described.promised - len(there)


def _sampled(
    files: _Files,
    described: _Described,
    own: Mapping[tuple[int, ...], Plane],
    there: set[tuple[int, ...]],
    layout: Layout,
    name: str,
    number: int,
    page: tifffile.TiffPage,
) -> tuple[Series, int]:
    def read(place: Mapping[str, int]) -> np.ndarray:
        return files.read(described.planes[place["T"], place["Z"], 0])[..., place["C"]]

    def spread(places: set[tuple[int, ...]]) -> frozenset[tuple[int, ...]]:
        return frozenset((t, z, c) for t, z, _ in places for c in range(layout.kept))

    sizes = {"T": described.sizes["T"], "Z": described.sizes["Z"], "C": layout.kept}
    whole = len(there) == sizes["T"] * sizes["Z"]
    sizes |= {"Y": page.imagelength, "X": page.imagewidth}
    one = Series(
        sizes=sizes,
        dtype=page.dtype,
        read=read,
        name=name,
        number=number,
        present=None if whole else spread(there),
        own=None if whole else spread(there),
        **_facts(described, page),
    )
    return one, described.promised - len(there)


def _facts(described: _Described, page: tifffile.TiffPage) -> dict[str, object]:
    pixels = described.pixels
    names = [channel.get("Name") or "" for channel in described.channels]
    increment, unit = pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit") or "s"
    return {
        "channels": tuple(names) if all(names) and len(names) == described.sizes["C"] else (),
        "pixel_size_um": metadata.micrometres(
            pixels.get("PhysicalSizeX"), pixels.get("PhysicalSizeXUnit") or "µm"
        ),
        "interval_s": metadata.seconds(increment, unit) or None,
        "times_s": _times(pixels, described.sizes["T"]),
        "bits": metadata.stated_bits(pixels.get("SignificantBits")) or metadata.tagged_bits(page),
    }


class _Block(NamedTuple):
    """An element TiffData: planes that follow each other in a file.

    Attributes:
        first: T, Z and C of the first one.
        page: of it.
        count: of planes; None: all of them.
        name: of the file; None where it says none.
        uuid: of the file; None: this one is meant.
    """

    first: tuple[int, ...]
    page: int
    count: int | None
    name: str | None
    uuid: str | None


# Files of a set carry the same description, of each plane of the set, and are read in turn.
@functools.lru_cache(maxsize=16)
def _blocks(pixels: ElementTree.Element) -> list[_Block]:
    blocks = []
    for block in _children(pixels, "TiffData"):
        first = tuple(_whole(block.get(f"First{letter}"), 0) for letter in _AXES)
        page, count = block.get("IFD"), block.get("PlaneCount")
        # Without both all planes are meant, with a page alone that one.
        many = _whole(count, 1) if count or page else None
        uuid = next(_children(block, "UUID"), None)
        file = (None, None) if uuid is None else (uuid.get("FileName"), (uuid.text or "").strip())
        blocks.append(_Block(first, _whole(page, 0), many, *file))
    return blocks


@functools.lru_cache(maxsize=4)
def _file_names(root: ElementTree.Element) -> frozenset[str]:
    """Names of all files that a description mentions."""
    return frozenset({u.get("FileName") for u in root.iter() if _tag(u) == "UUID"} - {None})


@functools.lru_cache(maxsize=16)
def _times(pixels: ElementTree.Element, n: int) -> tuple[float, ...] | None:
    """Seconds of each of n time points, as the first plane of each says."""
    times: list[float | None] = [None] * n
    for plane in _children(pixels, "Plane"):
        t = _whole(plane.get("TheT"), 0)
        if t < n and times[t] is None:
            times[t] = metadata.seconds(plane.get("DeltaT"), plane.get("DeltaTUnit") or "s")
    return metadata.since_first(times)


def _description(
    tiff: tifffile.TiffFile, path: Path
) -> tuple[ElementTree.Element, str] | None:
    """The root of the description, which may lie in a file of its own, and the file's own UUID."""
    text = tiff.pages.first.description if tiff.pages else ""
    if not (text.lstrip()[:5] in ("<?xml", "<OME ", "<ome:") or "<OME" in text[:2000]):
        return None
    try:
        root, uuid = _parsed(text)
        if _tag(root) != "OME":
            return None
        elsewhere = next(_children(root, "BinaryOnly"), None)
        if elsewhere is not None:
            name = elsewhere.get("MetadataFile") or ""
            beside = path.parent / name
            if Path(name).name != name or not beside.is_file():
                return None
            own = uuid or elsewhere.get("UUID") or ""
            root, uuid = _beside(beside)
            uuid = uuid or own
        return root, uuid
    except (ElementTree.ParseError, ValueError, OSError):
        return None


def _parsed(text: str) -> tuple[ElementTree.Element, str]:
    """The root of text, without its UUID, and that, by which alone files of a set differ."""
    # Whatever encoding the first line claims: .NET writes UTF-16 there.
    text = _FIRST_LINE.sub("", text.strip("\0 \n\r\t\ufeff"), count=1)
    found = _UUID.search(text)
    if not found:
        return _root(text), ""
    return _root(text[: found.start(1)] + text[found.end(1) :]), found[1].strip()


@functools.lru_cache(maxsize=4)
def _root(content: str | bytes) -> ElementTree.Element:
    return ElementTree.fromstring(content)


def _beside(file: Path) -> tuple[ElementTree.Element, str]:
    """A description in a companion file or in the first file of the set."""
    if file.suffix.lower() in (".tif", ".tiff", ".btf"):
        with tifffile.TiffFile(file, _multifile=False) as tiff:
            return _parsed(tiff.pages.first.description)
    root = _root(file.read_bytes())
    return root, root.get("UUID") or ""


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _children(element: ElementTree.Element, tag: str) -> Iterator[ElementTree.Element]:
    return (child for child in element if _tag(child) == tag)


def _whole(text: str | None, default: int) -> int:
    try:
        return max(0, int(text))
    except (TypeError, ValueError):
        return default
