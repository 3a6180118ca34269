"""What to take of a file that holds more than grey frames, in the user's words."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from cellzoo.errors import UsageError, UserError
from cellzoo.images.axes import checked_axes, example, in_words, relabelled
from cellzoo.images.imagefile import COLOURS, ImageFile, Series, fixed
from cellzoo.images.notes import Notes

PROJECTIONS = ("max", "mean", "sharpest")
COLOUR_CHANNELS = (*COLOURS, "luminance")
_SLICE = re.compile(r"(\d*):(\d*)(?::(\d*))?")
_FRAME_AXES = "TI"


@dataclass(frozen=True)
class Selection:
    """Which frames of a file are meant.

    Attributes:
        axes: letters of the stack's axes, overruling what the file says, but for channels; with
            lengths where pages have none, as in `T3C2YX`.
        channel: number or name of the channel, or `red`, `green`, `blue` or `luminance`.
        z: number of the focal plane, or `max`, `mean` or `sharpest`.
        position: number or name of the position, or `all`.
        frames: number of a time point, or `start:stop:step` as Python has it.

    Raises:
        UsageError: one of them is written wrongly.
    """

    axes: str | None = None
    channel: int | str | None = None
    z: int | str | None = None
    position: int | str | None = None
    frames: int | str | None = None

    def __post_init__(self) -> None:
        """Checks how it is written."""
        object.__setattr__(self, "axes", checked_axes(self.axes))
        for key in ("channel", "z", "position", "frames"):
            value = getattr(self, key)
            if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
                object.__setattr__(self, key, int(value))
        if isinstance(self.z, str) and self.z not in PROJECTIONS:
            raise UsageError(
                f"data.natural.z: {self.z!r} is neither the number of a focal plane nor "
                f"{', '.join(PROJECTIONS[:-1])} or {PROJECTIONS[-1]}"
            )
        if isinstance(self.frames, str):
            found = _SLICE.fullmatch(self.frames.replace(" ", ""))
            if not found or (found[3] and int(found[3]) == 0):
                raise UsageError(
                    f"data.natural.frames: {self.frames!r} is neither the number of a frame nor "
                    "start:stop:step such as 0:100:2"
                )

    def chosen_times(self, length: int) -> range:
        """Numbers of the chosen among so many frames."""
        if self.frames is None:
            return range(length)
        if isinstance(self.frames, int):
            return range(length)[self.frames : self.frames + 1]
        parts = self.frames.replace(" ", "").split(":")
        return range(length)[slice(*(int(part) if part else None for part in parts))]


@dataclass(frozen=True)
class Planned:
    """A frame that is to be read.

    Attributes:
        index: its number in the file.
        series: what it is read from.
        places: of its planes; more than one where they are projected.
        several: the file holds several positions.
    """

    index: int
    series: Series
    places: Sequence[Mapping[str, int]]
    several: bool = False


def plan(file: ImageFile, selection: Selection, notes: Notes) -> Iterator[Planned]:
    """The frames of a file that a selection means, in file order.

    Raises:
        UserError: the file holds more than the selection says, or less.
    """
    named = [relabelled(series, selection.axes, file.path) for series in file.series]
    positions = _numbered([part for series in named for part in _split_positions(series)])
    chosen = _chosen_positions(positions, selection.position, file)
    start, given = 0, False
    for number, series in enumerate(positions):
        if number in chosen:
            for planned in _plan_series(series, selection, file, notes, start):
                given = True
                yield replace(planned, several=len(positions) > 1)
        start += frame_count(series)
    if not given and not file.in_set:
        raise UserError(
            f"{file.path}: has no such frame, it holds {positions[0].words}; set "
            "data.natural.frames to some of them"
        )


def _split_positions(series: Series) -> list[Series]:
    if "P" not in series.outer:
        return [series]
    return [
        fixed(series, "P", n, number=n, name=series.name and f"{series.name} {n}")
        for n in range(series.sizes["P"])
    ]


def _numbered(positions: list[Series]) -> list[Series]:
    """The same with numbers of their own: each of several mosaics counts its tiles from 0."""
    if len({series.number for series in positions}) == len(positions):
        return positions
    return [replace(series, number=k) for k, series in enumerate(positions)]


def _chosen_positions(
    positions: Sequence[Series], wanted: int | str | None, file: ImageFile
) -> set[int]:
    if not positions:
        raise UserError(f"{file.path}: holds no picture, export it again")
    everything = set(range(len(positions)))
    if wanted == "all":
        return everything
    if wanted is None:
        if len(positions) == 1:
            return everything
        kind = "positions"
        if not any(series.name for series in positions):
            kind = "separate pictures or stacks"
        raise UserError(
            f"{file.path}: holds {len(positions)} {kind} ({_listed(positions)}), set "
            "data.natural.position to one of them or to all"
        )
    found = {k for k, series in enumerate(positions) if series.number == wanted}
    if found:
        return found
    for spelled in (str, str.casefold):
        names = [spelled(series.name) for series in positions]
        if names.count(spelled(str(wanted))) == 1:
            return {names.index(spelled(str(wanted)))}
    if file.in_set:
        return set()
    raise UserError(
        f"{file.path}: has no position {wanted}, it holds {_listed(positions)}; set "
        "data.natural.position to one of them or to all"
    )


def _listed(positions: Sequence[Series], most: int = 12) -> str:
    """Positions by number and name."""
    words = []
    for series in positions[:most]:
        size = f"{series.sizes['X']} x {series.sizes['Y']} px"
        words.append(f"{series.number}: {series.name or size}")
    return ", ".join(words) + (", ..." if len(positions) > most else "")


def frame_count(series: Series) -> int:
    """Frames that a series holds in its own file, of all that it plans."""
    return sum(1 for _ in _times(series, series.own))


def _times(
    series: Series, own: frozenset[tuple[int, ...]] | None
) -> Iterator[tuple[int, dict[str, int]]]:
    """Number in time and place of the frames that a series has any own plane of."""
    letters = [letter for letter in series.outer if letter in _FRAME_AXES]
    if own is not None:
        at = [series.outer.index(letter) for letter in letters]
        mine = {tuple(place[k] for k in at) for place in own}
    for number, place in enumerate(product(*(range(series.sizes[k]) for k in letters))):
        if own is None or place in mine:
            yield number, dict(zip(letters, place, strict=True))


def _plan_series(
    series: Series, selection: Selection, file: ImageFile, notes: Notes, start: int
) -> Iterator[Planned]:
    channel = _chosen_channel(series, selection.channel, file.path)
    planes = _chosen_planes(series, selection.z, file.path)
    for letter in series.outer:
        if letter not in "TICZ" and series.sizes[letter] > 1:
            raise _unknown_axis(series, letter, file.path)
    if series.sizes.get("I", 1) > 1:
        notes.add(
            file.path,
            "does not say what its pages are: each is counted as a frame, set data.natural.axes "
            "if they are focal planes or channels",
        )
    length = math.prod(series.sizes[k] for k in series.outer if k in _FRAME_AXES)
    chosen = selection.chosen_times(length)
    fix = {letter: 0 for letter in series.outer if letter not in _FRAME_AXES}
    if "C" in fix:
        fix["C"] = channel
    half = 0
    for index, (time, place) in enumerate(_times(series, series.own), start):
        if time not in chosen:
            continue
        places = [{**fix, **place, **({"Z": z} if "Z" in fix else {})} for z in planes]
        there = [p for p in places if series.places(series.present, p)]
        if not there or not series.places(series.own, there[0]):
            continue
        if len(there) < len(places):
            half += 1
            continue
        yield Planned(index, series, places)
    if half:
        notes.add(file.path, "lacks focal planes of its last stack, which is left out")


def _chosen_channel(series: Series, wanted: int | str | None, path: Path) -> int:
    n = series.sizes.get("C", 1)
    names = list(series.channels)
    if n == 1:
        pages = series.sizes.get("I", series.sizes.get("Q", 1))
        if wanted is not None and "S" not in series.sizes and pages > 1:
            raise UserError(
                f"{path}: does not say which of its {pages} pages are channel {wanted}, set "
                f"data.natural.axes with their numbers, such as {example(pages)} for "
                f"{in_words(example(pages))}, or leave data.natural.channel out"
            )
        if isinstance(wanted, str) and wanted.casefold() not in COLOUR_CHANNELS and names:
            if wanted.casefold() not in [name.casefold() for name in names]:
                raise UserError(
                    f"{path}: has no channel {wanted}, its only one is {names[0]}, set "
                    "data.natural.channel to that"
                )
        return 0
    listed = ", ".join(f"{k}: {name}" for k, name in enumerate(names))
    cure = f"set data.natural.channel to a number from 0 to {n - 1}"
    if names:
        cure += f" or a name ({listed})"
    if wanted is None:
        raise UserError(f"{path}: has {n} channels (axes {''.join(series.sizes)}), {cure}")
    if isinstance(wanted, int) and 0 <= wanted < n:
        return wanted
    for spelled in (str, str.casefold):
        known = [spelled(name) for name in names]
        if known.count(spelled(str(wanted))) == 1:
            return known.index(spelled(str(wanted)))
    raise UserError(f"{path}: has no channel {wanted}, {cure}")


def _chosen_planes(series: Series, wanted: int | str | None, path: Path) -> list[int]:
    n = series.sizes.get("Z", 1)
    if n == 1:
        pages = series.sizes.get("I", series.sizes.get("Q", 1))
        if wanted is not None and pages > 1:
            raise UserError(
                f"{path}: does not say which of its {pages} pages are focal planes, set "
                f"data.natural.axes: ZYX, or with lengths such as {example(pages, 'Z')}, or leave "
                "data.natural.z out"
            )
        return [0]
    letters = "".join(series.sizes)
    if wanted is None:
        cure = f"set data.natural.z to a number from 0 to {n - 1}, max, mean or sharpest"
        if "T" not in letters:
            cure += f", or data.natural.axes: {letters.replace('Z', 'T')} if each is a frame"
        raise UserError(f"{path}: has {n} focal planes (axes {letters}), {cure}")
    if isinstance(wanted, str):
        return list(range(n))
    if not 0 <= wanted < n:
        raise UserError(
            f"{path}: has no focal plane {wanted}, set data.natural.z to a number from 0 to {n - 1}"
        )
    return [wanted]


def _unknown_axis(series: Series, letter: str, path: Path) -> UserError:
    letters = "".join(series.sizes)
    cure = "save a projection or one plane"
    if "T" not in letters:
        frames = letters.replace(letter, "T")
        cure = f"set data.natural.axes: {frames} if each is a frame, or {cure}"
    n = series.sizes[letter]
    return UserError(f"{path}: does not say what its {n} layers are (axes {letters}), {cure}")
