"""Which frames are one series: a file, a position of it, or files that their names number."""

import math
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from cellzoo.errors import UsageError
from cellzoo.images import metadata
from cellzoo.images.imagefile import ImageFile, Series

# `t003`, `time_3`, `T0003` or `frame12` in a name, with nothing before it that makes it a word.
_NUMBERED = re.compile(
    r"(?P<before>(?:.*[^a-z])?)(?P<word>t|time|timepoint|tp|frame)(?P<gap>[_-]?)(?P<number>\d+)"
    r"(?!\d*[a-z])(?P<after>.*)",
    re.IGNORECASE,
)
_INTERVAL = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", re.IGNORECASE)


def series_of(file: ImageFile, series: Series, several: bool) -> str:
    """Name of the series that the frames of a picture, stack or position belong to.

    Args:
        file: that holds it.
        series: the picture, stack or position.
        several: the file holds several positions.

    Returns:
        The file's path, or that of the acquisition whose files it is one of, and the position where
        there are several; empty for a file of a single picture.
    """
    stack = any(series.sizes.get(letter, 1) > 1 for letter in "TI")
    if not (several or stack or file.in_set):
        return ""
    whole = file.path.parent / file.set_name if file.set_name else file.path
    position = series.name or str(series.number)
    alone = not several and (not file.in_set or whole.name.endswith(position) or not series.name)
    return str(whole) if alone else f"{whole} {position}"


def numbered(path: Path) -> tuple[str, int] | None:
    """Series and number of a file that its name makes a frame, such as ``well1_t003.png``.

    Returns:
        The path with a star for the number, and the number; None for other names.
    """
    found = _NUMBERED.fullmatch(path.name)
    if not found:
        return None
    name = "{before}{word}{gap}*{after}".format(**found.groupdict())
    return str(path.parent / name), int(found["number"])


def numbers_of(files: Iterable[Path]) -> dict[str, set[int]]:
    """The numbers that names of files have, by series, see :func:`numbered`."""
    found: dict[str, set[int]] = {}
    for series, number in filter(None, map(numbered, files)):
        found.setdefault(series, set()).add(number)
    return found


def far_apart(numbers: Mapping[str, Collection[int]], interval_s: float) -> list[str]:
    """Sentences on series whose frames have numbers that are several apart each time.

    Args:
        numbers: of the frames of each series.
        interval_s: seconds from one number to the next.

    Returns:
        One sentence for each distance, of the first series that has it.
    """
    first: dict[int, str] = {}
    for series, some in numbers.items():
        if len(some) > 2 and (step := math.gcd(*(number - min(some) for number in some))) > 1:
            first.setdefault(step, series)
    return [
        f"{series}: numbers of frames are {step} apart, and an interval is from one number to the "
        f"next, so frames are taken every {step * interval_s / 60:.4g} min"
        for step, series in first.items()
    ]


def parse_interval(text: str) -> float:
    """Seconds of an interval as written on a command line, such as ``20min``, ``30 s`` or ``1h``.

    Raises:
        UsageError: it is none.
    """
    found = _INTERVAL.fullmatch(text)
    seconds = metadata.seconds(*found.groups()) if found else None
    if not seconds:
        raise UsageError(
            f"--interval {text!r} is no time between two frames: write a number and s, min, h or "
            "d, without a blank, such as 20min."
        )
    return seconds
