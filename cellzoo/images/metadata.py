"""Pixel sizes, bits, times and channel names as files state them."""

import math
import re
from collections.abc import Mapping, Sequence

import tifffile

_MICROMETRES = {
    **{unit: 1.0 for unit in ("µm", "μm", "um", "micron", "microns", "\\u00b5m", "\\xb5m")},
    **{"micrometer": 1.0, "micrometre": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6},
    **{"inch": 25400.0, "in": 25400.0, "Å": 1e-4, "pm": 1e-6},
}
_SECONDS = {
    **{"ms": 1e-3, "msec": 1e-3, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9},
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
}
# A coarser "pixel" is a print resolution (300 dpi = 85 um) left there by an image editor.
_COARSEST_PIXEL_UM = 20.0


def micrometres(length: object, unit: object = "µm") -> float | None:
    """A pixel's width, where it is a plausible one."""
    try:
        size = float(length) * _MICROMETRES[str(unit)]
    except (KeyError, TypeError, ValueError):
        return None
    return size if 0 < size < _COARSEST_PIXEL_UM else None


def seconds(time: object, unit: object = "s") -> float | None:
    """A time, where it is one."""
    try:
        value = float(time) * _SECONDS[str(unit).lower()]
    except (KeyError, TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def since_first(times: Sequence[float | None]) -> tuple[float, ...] | None:
    """Times from the first one on; None where one is missing or they do not rise."""
    if not times or any(time is None for time in times):
        return None
    if any(b < a for a, b in zip(times, times[1:], strict=False)) or times[-1] == times[0]:
        return None
    return tuple(time - times[0] for time in times)


def tagged_pixel_size(tiff: tifffile.TiffFile) -> float | None:
    """From ImageJ's unit or the resolution tags."""
    try:
        tags = tiff.pages[0].tags
        above, below = tags["XResolution"].value
        tagged = {2: "inch", 3: "cm"}.get(int(getattr(tags.get("ResolutionUnit"), "value", 1)))
        unit = tagged
        if tiff.is_imagej:
            unit = str((tiff.imagej_metadata or {}).get("unit", "")).lower()
            if unit == "um" and tagged == "cm":  # ImageJ, too, takes such a resolution as tagged
                unit = tagged
        return micrometres(below / above, unit)
    except (KeyError, ValueError, TypeError, ZeroDivisionError):
        return None


def tagged_bits(page: tifffile.TiffPage) -> int | None:
    """Significant bits of 16: packed so, or by the tag MaxSampleValue if that is 2^n - 1."""
    if page.dtype is None or page.dtype.itemsize != 2:
        return None
    if 8 <= page.bitspersample < 16:
        return int(page.bitspersample)
    for name in ("MaxSampleValue", "SMaxSampleValue"):
        tag = page.tags.get(name)
        value = tag.value if tag else None
        if isinstance(value, tuple) and len(set(value)) == 1:
            value = value[0]
        bits = stated_bits(math.log2(value + 1)) if isinstance(value, int) and value > 0 else None
        if bits:
            return bits
    return None


def stated_bits(bits: object) -> int | None:
    """Bits of a camera with fewer than 16; 16 is what programs write that do not know."""
    try:
        number = float(bits)
    except (TypeError, ValueError):
        return None
    return int(number) if number in range(8, 16) else None


def label_names(labels: object, n: int) -> tuple[str, ...]:
    """Channel names in ImageJ's slice labels, such as `c:1/2 t:1/3 - DAPI`."""
    if not isinstance(labels, list | tuple) or len(labels) < n or n < 2:
        return ()
    names = [re.sub(r"^(?:[czt]:\d+/\d+[ -]*)+", "", str(label)).strip() for label in labels[:n]]
    names = [name.split("\n")[0] for name in names]
    return tuple(names) if all(names) and len(set(names)) == n else ()


def number(mapping: Mapping[str, object], key: str, default: int = 1) -> int:
    """A positive whole number of somebody else's metadata."""
    try:
        return max(1, int(mapping[key]))
    except (KeyError, TypeError, ValueError):
        return default
