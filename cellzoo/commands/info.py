"""``cellzoo info``: what image files hold, and which command would count what."""

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cellzoo.errors import UserError
from cellzoo.images import MAX_MEGAPIXELS, open_image
from cellzoo.images.imagefile import COLOURS, ImageFile, Series
from cellzoo.images.selection import COLOUR_CHANNELS, frame_count

_LOOKED_AT = 4  # planes whose grey levels are looked at, of each channel
_MODEL = "zoo:NAME"


def describe(files: Sequence[Path]) -> list[dict[str, Any]]:
    """What image files hold, each as a mapping that JSON can take.

    Args:
        files: of any type that :mod:`cellzoo.images` reads.

    Returns:
        For each file ``file``, and either ``error`` or ``format``, ``series``, ``notes`` and
        ``commands``. A series has ``name``, ``number``, ``sizes`` by axis, ``dtype``, ``channels``,
        ``pixel_size_um``, ``interval_s``, ``bits`` and ``grey``, the lowest and highest grey level
        of each channel in a few planes. The channels of a colour picture are red, green and blue,
        unless these are alike. A command has ``command`` and ``counts``, what it counts.
    """
    return [_described(path) for path in files]


def in_words(facts: Mapping[str, Any]) -> str:
    """A file's description as lines of text."""
    lines = [f"{facts['file']}: {facts['format']}"]
    for series in facts["series"]:
        sizes = " x ".join(f"{letter} {length}" for letter, length in series["sizes"].items())
        name = f"{series['number']}: {series['name']}, " if len(facts["series"]) > 1 else ""
        lines.append(f"  {name}{sizes}, {series['dtype']}{_bits(series)}")
        told = [
            ("channels", ", ".join(f"{k}: {name}" for k, name in enumerate(series["channels"]))),
            ("pixel size", _with_unit(series["pixel_size_um"], "µm")),
            ("interval", _with_unit(series["interval_s"], "s")),
            ("grey levels", _levels(series)),
        ]
        lines += [f"    {key}: {value}" for key, value in told if value]
    lines += [f"  {note}" for note in facts["notes"]]
    lines += [f"  {c['command']}\n    counts {c['counts']}" for c in facts["commands"]]
    return "\n".join(lines)


def summarised(described: Sequence[Mapping[str, Any]]) -> list[str]:
    """Descriptions as text; of files that differ in names and grey levels alone the first.

    Args:
        described: see :func:`describe`; those with an ``error`` are left out.
    """
    alike: dict[str, list[Mapping[str, Any]]] = {}
    for facts in described:
        if "error" not in facts:
            alike.setdefault(_kind(facts), []).append(facts)
    said = []
    for first, *others in alike.values():
        said.append(in_words(first))
        if others:
            said.append(f"  and {len(others)} more like it, to {others[-1]['file']}")
    return said


def _kind(facts: Mapping[str, Any]) -> str:
    """The same text for files that differ in names and grey levels alone."""
    series = [{k: v for k, v in s.items() if k not in ("name", "grey")} for s in facts["series"]]
    counts = [command["counts"] for command in facts["commands"]]
    return json.dumps([facts["format"], series, facts["notes"], counts])


def _levels(series: Mapping[str, Any]) -> str:
    """Lowest to highest grey level, of each channel where there are several."""
    levels = [f"{low:g} to {high:g}" for low, high in series["grey"]]
    if len(levels) < 2:
        return "".join(levels)
    names = series["channels"] or [f"channel {k}" for k in range(len(levels))]
    return ", ".join(f"{name} {level}" for name, level in zip(names, levels, strict=True))


def _bits(series: Mapping[str, Any]) -> str:
    return f", {series['bits']} bits used" if series["bits"] else ""


def _with_unit(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:.5g} {unit}"


def _described(path: Path) -> dict[str, Any]:
    try:
        with open_image(path) as file:
            return {
                "file": str(path),
                "format": file.format,
                "series": [_series(series) for series in file.series],
                "notes": list(file.notes),
                "commands": _commands(file),
            }
    except UserError as error:
        return {"file": str(path), "error": str(error)}


def _series(series: Series) -> dict[str, Any]:
    colours = COLOURS if _in_colour(series) else ()
    return {
        "name": series.name,
        "number": series.number,
        "sizes": dict(series.sizes),
        "dtype": np.dtype(series.dtype).name,
        "channels": list(series.channels or colours),
        "pixel_size_um": series.pixel_size_um,
        "interval_s": series.interval_s,
        "bits": series.bits,
        "grey": _grey_levels(series, len(colours)),
    }


def _grey_levels(series: Series, colours: int) -> list[list[float]]:
    """Lowest and highest level of each channel in a few planes; none of too large pictures.

    Args:
        series: any.
        colours: 3 of a colour picture, whose channels they are; 0: it is grey.
    """
    if _too_large(series):
        return []
    found = []
    others = [letter for letter in series.outer if letter != "C"]
    channels = series.sizes.get("C", 1)
    by_colour = colours and channels == 1
    for channel in range(colours if by_colour else channels):
        levels = []
        for place in _spread(series, others):
            if "C" in series.outer:
                place["C"] = channel
            if series.places(series.present, place):
                pixels = series.read(place)
                if by_colour and pixels.ndim == 3:
                    pixels = pixels[..., channel]
                levels += [float(pixels.min()), float(pixels.max())]
        if levels and np.isfinite(levels).all():
            found.append([min(levels), max(levels)])
    return found


def _spread(series: Series, letters: list[str]) -> list[dict[str, int]]:
    """A few places along axes, of those where a plane is, or of all."""
    if series.present is None:
        shape = [series.sizes[letter] for letter in letters]
        numbers = np.linspace(0, math.prod(shape) - 1, _LOOKED_AT).round().astype(int).tolist()
        places = [np.unravel_index(k, shape) if shape else () for k in dict.fromkeys(numbers)]
    else:
        at = [series.outer.index(letter) for letter in letters]
        there = sorted({tuple(place[k] for k in at) for place in series.present})
        numbers = np.linspace(0, len(there) - 1, _LOOKED_AT).round().astype(int).tolist()
        places = [there[k] for k in dict.fromkeys(numbers)]
    return [dict(zip(letters, map(int, place), strict=True)) for place in places]


def _commands(file: ImageFile) -> list[dict[str, str]]:
    """A command for each channel, or the one that is needed."""
    first = file.series[0]
    options, counts = [], _frames(first)
    if len(file.series) > 1 or first.sizes.get("P", 1) > 1:
        n = len(file.series) if len(file.series) > 1 else first.sizes["P"]
        options.append("--position all")
        counts = f"{counts} at each of {n} positions"
    if first.sizes.get("Z", 1) > 1:
        options.append("--z max")
        counts += f", the maximum of {first.sizes['Z']} focal planes"
    unknown = [k for k in first.outer if k not in "TICZP" and first.sizes[k] > 1]
    if unknown:
        options.append(f"--axes {''.join(first.sizes).replace(unknown[0], 'T')}")
        counts = f"{first.sizes[unknown[0]]} frames, if the axis {unknown[0]} is time"
    n = first.sizes.get("C", 1)
    if n > 1:
        names = [shlex.quote(name) for name in first.channels] or list(map(str, range(n)))
        if len(set(names)) < n:
            names = list(map(str, range(n)))
        chosen = [([*options, f"--channel {name}"], f"{counts}, channel {name}") for name in names]
    elif _in_colour(first):
        chosen = [([*options, f"--channel {c}"], f"{counts}, {c}") for c in COLOUR_CHANNELS]
    else:
        chosen = [(options, counts)]
    pages = first.sizes.get("I", 1)
    if pages > 1 and pages % 2 == 0:
        axes = f"T{pages // 2}C2YX"
        said = f"{pages // 2} frames, if every second page is another channel"
        chosen.append(([f"--axes {axes}", "--channel 0"], said))
    return [{"command": _command(file.path, words), "counts": said} for words, said in chosen]


def _frames(series: Series) -> str:
    # Frames of a stopped OME-Zarr have the numbers that were planned.
    n = frame_count(replace(series, own=series.own or series.present))
    kind = "page" if series.sizes.get("I", 1) > 1 else "frame"
    return f"{n} {kind}{'s' * (n > 1)}"


def _in_colour(series: Series) -> bool:
    """Whether the three channels of a colour picture differ, in its first plane."""
    if "S" not in series.sizes:
        return False
    if _too_large(series):
        return True
    pixels = series.read(dict.fromkeys(series.outer, 0))
    return pixels.ndim == 3 and not (pixels == pixels[..., :1]).all()


def _too_large(series: Series) -> bool:
    return series.sizes["Y"] * series.sizes["X"] > MAX_MEGAPIXELS * 1e6


def _command(path: Path, options: Sequence[str]) -> str:
    words = " ".join(["", *options])
    return f"cellzoo count {shlex.quote(str(path))} --model {_MODEL}{words}"
