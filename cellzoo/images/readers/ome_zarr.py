"""OME-Zarr 0.4 (Zarr 2) and 0.5 (Zarr 3): a picture, several in one folder, or a plate of wells.

https://ngff.openmicroscopy.org/0.5/
"""

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

import numpy as np

from cellzoo.errors import UserError
from cellzoo.images import metadata
from cellzoo.images.imagefile import ImageFile, Series

_UNITS = {"micrometer": "µm", "nanometer": "nm", "millimeter": "mm", "meter": "m"}
_UNITS |= {"second": "s", "millisecond": "ms", "minute": "min", "hour": "h"}
_MOST_PICTURES = 10**5


def open_zarr(path: Path, stored: bool) -> ImageFile:
    """An OME-Zarr; pictures and the fields of wells are positions, pyramids are left out."""
    found = list(_pictures(path))
    if not found:
        raise UserError(f"{path}: is a folder without an OME-Zarr picture, check what it is")
    series = [
        _series(folder, name, number, attributes, path, stored)
        for number, (folder, name, attributes) in enumerate(found)
    ]
    planned = sum(math.prod(one.shape) for one in series)
    missing = sum(math.prod(one.shape) - len(one.present) for one in series if one.present)
    notes = []
    if missing:
        notes.append(
            f"holds {planned - missing} of the {planned} planes that were planned: nothing was "
            "written of the others, which are left out"
        )
    return ImageFile(path, "OME-Zarr", series, notes)


def _attributes(folder: Path) -> dict:
    """What OME-Zarr says of a group, by either version."""
    for name, keys in (("zarr.json", ("attributes", "ome")), (".zattrs", ())):
        file = folder / name
        if file.is_file():
            content = json.loads(file.read_text(encoding="utf-8"))
            for key in keys:
                content = content.get(key, {}) if isinstance(content, dict) else {}
            return content if isinstance(content, dict) else {}
    return {}


def _pictures(path: Path) -> Iterator[tuple[Path, str, dict]]:
    """Folder, name and description of each picture."""
    attributes = _attributes(path)
    if "multiscales" in attributes:
        yield path, "", attributes
    elif "plate" in attributes:
        for well in attributes["plate"]["wells"][:_MOST_PICTURES]:
            place = _inside(path, well["path"])
            for image in _attributes(place)["well"]["images"]:
                folder = _inside(place, image["path"])
                yield folder, f"{well['path']}/{image['path']}", _attributes(folder)
    else:  # as bioformats2raw writes several pictures
        folders = [f for f in path.iterdir() if f.is_dir() and f.name.isdigit()]
        for folder in sorted(folders, key=lambda f: int(f.name)):
            below = _attributes(folder)
            if "multiscales" in below:
                yield folder, str(below["multiscales"][0].get("name") or folder.name), below


def _scale(described: Mapping[str, object]) -> list[float] | None:
    """Length of a step along each axis, as transformations say."""
    transforms = described.get("coordinateTransformations") or []
    return next((list(t["scale"]) for t in transforms if t.get("type") == "scale"), None)


def _inside(folder: Path, name: str) -> Path:
    """A path that a description names, which must not lead out of its folder."""
    place = folder / str(name)
    if not place.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{folder}: names {name}, which lies elsewhere")
    return place


def _series(
    folder: Path, name: str, number: int, attributes: dict, path: Path, stored: bool
) -> Series:
    import zarr  # 0.4 s

    scales = attributes["multiscales"][0]
    first = scales["datasets"][0]
    place = _inside(folder, first["path"])
    array = zarr.open_array(store=str(place), mode="r")
    axes = scales.get("axes") or list("tczyx"[-array.ndim :])
    axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in axes]
    letters = [str(axis.get("name", "q")).upper() for axis in axes]
    if len(letters) != array.ndim or letters[-2:] != ["Y", "X"] or len(set(letters)) < array.ndim:
        raise UserError(f"{path}: has the axes {','.join(letters)}, not planes of y and x")
    letters = [letter if letter in "TCZYX" else "Q" for letter in letters]
    scale = _scale(first) or [None] * array.ndim
    if whole := _scale(scales):  # of all levels: it comes on top
        scale = [step and step * times for step, times in zip(scale, whole, strict=True)]
    steps = {
        letter: (step, _UNITS.get(axis.get("unit"), axis.get("unit")))
        for letter, step, axis in zip(letters, scale, axes, strict=False)
    }
    outer = letters[:-2]

    def read(place: Mapping[str, int]) -> np.ndarray:
        return np.asarray(array[tuple(place[letter] for letter in outer)])

    shown = (attributes.get("omero") or {}).get("channels") or []
    names = tuple(str(channel.get("label") or "") for channel in shown)
    sizes = dict(zip(letters, map(int, array.shape), strict=True))
    interval = steps.get("T", (None, None))
    return Series(
        sizes=sizes,
        dtype=np.dtype(array.dtype),
        read=read,
        name=name,
        number=number,
        channels=names if len(names) == sizes.get("C", 1) and all(names) else (),
        pixel_size_um=metadata.micrometres(*steps["X"]),
        interval_s=metadata.seconds(*interval) if interval[1] else None,
        # A mask without cells is black and has no chunk. Frames keep their numbers: `own` is None.
        present=None if stored else _written(place, array),
    )


def _written(folder: Path, array: object) -> frozenset[tuple[int, ...]] | None:
    """Places of the planes of which there is a chunk; None: of all, or chunks are not files here.

    A stopped acquisition lacks the chunks of what it planned, which read as black.
    """
    sizes = array.shape[:-2]
    chunks = (getattr(array, "shards", None) or array.chunks)[: len(sizes)]
    grid = [-(-n // chunk) for n, chunk in zip(sizes, chunks, strict=True)]
    found = set()
    for here, _, files in os.walk(folder):
        for name in files:
            parts = re.split(r"[./\\]", os.path.relpath(os.path.join(here, name), folder))
            parts = parts[1:] if parts[0] == "c" else parts
            if len(parts) == array.ndim and all(part.isdigit() for part in parts):
                found.add(tuple(map(int, parts[: len(sizes)])))
    if not found or len(found) >= math.prod(grid):
        return None
    return frozenset(
        place
        for place in product(*map(range, sizes))
        if tuple(n // chunk for n, chunk in zip(place, chunks, strict=True)) in found
    )
