"""What to take of a file that holds more than grey frames, in the user's words."""

import functools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np

from cellzoo.errors import UsageError, UserError
from cellzoo.images.imagefile import COLOURS, ImageFile, Series, checked_size, fixed
from cellzoo.images.notes import Notes

PROJECTIONS = ("max", "mean", "sharpest")
COLOUR_CHANNELS = (*COLOURS, "luminance")
_AXIS = re.compile(r"([TIZCPSYXQ])(\d*)")
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


def checked_axes(axes: str | None) -> str | None:
    """Letters of a stack's axes as written by a user, in capitals; None stays None.

    Raises:
        UsageError: a letter is unknown or there twice, or Y or X is missing.
    """
    if axes is None:
        return None
    written = str(axes).upper()
    letters = [letter for letter, _ in _AXIS.findall(written)]
    whole = "".join(map("".join, _AXIS.findall(written))) == written
    if not whole or not {"Y", "X"} <= set(letters) or len(set(letters)) != len(letters):
        raise UsageError(
            f"data.natural.axes: {axes!r} must name every dimension once, with Y (rows) and X "
            "(columns), for example TYX for a time-lapse or T3C2YX for 3 times 2 channels"
        )
    return written


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


def relabelled(series: Series, axes: str | None, path: Path) -> Series:
    """The series with the user's axes; single pictures have none to say.

    Raises:
        UserError: they do not fit.
    """
    if axes is None:
        return series
    asked = {letter: int(length) if length else None for letter, length in _AXIS.findall(axes)}
    if not series.outer and list(series.sizes)[0] != "S":
        if math.prod(length or 1 for letter, length in asked.items() if letter not in "YXS") > 1:
            raise _unfit(series, axes, path)
        return series
    if _restates(series, asked, axes, path):
        return series
    if series.whole and "S" not in asked:
        series = series.whole()
    for stored in _with_and_without_ones(series, asked):
        if len(stored) == len(asked) and all(
            wanted in (None, length)
            for wanted, length in zip(asked.values(), stored.values(), strict=True)
        ):
            _check_channels_stay(axes, stored, dict(zip(asked, stored.values(), strict=True)), path)
            return _renamed(series, stored, list(asked), path)
    return _reshaped(series, asked, axes, path)


def _restates(
    series: Series, asked: Mapping[str, int | None], axes: str, path: Path
) -> bool:
    """Whether the user's axes are those that the file states, each with its length.

    Raises:
        UserError: they are, in another order and without lengths: are they meant as stated, or
            exchanged? Files have an order of their own, which programs show in different ways.
    """
    stated = [letter for letter in series.outer if series.sizes[letter] > 1]
    fits = set(stated) <= set("TZCP") & set(asked) and list(asked)[-2:] == ["Y", "X"]
    if not stated or not fits or "S" in {*series.sizes, *asked}:
        return False
    for letter, n in asked.items():
        if n != series.sizes.get(letter, 1) and (n is not None or letter not in series.sizes):
            return False
    if [letter for letter in asked if letter in stated] == stated or any(
        asked[letter] for letter in stated
    ):
        return True
    lengths = "".join(f"{letter}{series.sizes[letter]}" for letter in stated)
    raise UserError(
        f"{path}: has the axes {''.join(series.sizes)}, which data.natural.axes: {axes} names in "
        f"another order, leave it out, or write lengths, too: {lengths}YX is what the file says"
    )


def _with_and_without_ones(
    series: Series, asked: Mapping[str, int | None]
) -> Iterator[dict[str, int]]:
    """The axes as stored: all, without those of length one that are not asked for, without any."""
    sizes = series.sizes
    yield dict(sizes)
    for kept in (set(asked), set()):
        yield {k: n for k, n in sizes.items() if n > 1 or k in "YX" or k in kept}


def _renamed(
    series: Series, stored: Mapping[str, int], letters: list[str], path: Path
) -> Series:
    """The series with other letters for its axes, in their order."""
    new = dict(zip(letters, stored.values(), strict=True))
    old_of = dict(zip(letters, stored, strict=True))
    if all(old_of[letter] == letter for letter in "YX") and "S" not in new:

        def read(place: Mapping[str, int]) -> np.ndarray:
            at = {old_of[letter]: index for letter, index in place.items()}
            if "S" not in at:
                return series.read(_all_axes(series, at))
            return series.read(_all_axes(series, at))[..., at["S"]]

        def moved(place: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
            at = dict(zip(series.outer, place, strict=True))
            outer = [letter for letter in new if letter not in "YX"]
            frames = ([at[k]] if (k := old_of[n]) in at else range(new[n]) for n in outer)
            return product(*frames)

        return replace(series, sizes=new, read=read, **_moved(series, moved))
    checked_size(math.prod(stored.values()), series.dtype.itemsize, path)
    inner = [letters.index(letter) for letter in "YXS" if letter in new]
    outer = [letter for letter in letters if letter not in "YXS"]

    @functools.cache
    def turned() -> np.ndarray:
        whole = _whole(series, stored)
        return whole.transpose([letters.index(letter) for letter in outer] + inner)

    def read_turned(place: Mapping[str, int]) -> np.ndarray:
        return turned()[tuple(place[letter] for letter in outer)]

    return replace(series, sizes=new, read=read_turned, present=None, own=None)


def _moved(
    series: Series, places: Callable[[tuple[int, ...]], Iterable[tuple[int, ...]]]
) -> dict[str, frozenset[tuple[int, ...]] | None]:
    """Which planes are there, and which are the file's own, by new places of each."""
    return {
        name: which and frozenset(new for old in which for new in places(old))
        for name, which in (("present", series.present), ("own", series.own))
    }


def _all_axes(series: Series, place: Mapping[str, int]) -> dict[str, int]:
    return {letter: place.get(letter, 0) for letter in series.outer}


def _whole(series: Series, stored: Mapping[str, int]) -> np.ndarray:
    outer = [letter for letter in stored if letter not in "YXS"]
    planes = [
        series.read(_all_axes(series, dict(zip(outer, place, strict=True))))
        for place in product(*(range(stored[letter]) for letter in outer))
    ]
    inner = [letter for letter in "YXS" if letter in stored]
    array = np.stack(planes).reshape(*(stored[k] for k in outer), *(stored[k] for k in inner))
    order = outer + inner
    return array.transpose([order.index(letter) for letter in stored])


def _reshaped(
    series: Series, asked: Mapping[str, int | None], axes: str, path: Path
) -> Series:
    """The series with its pages counted along several axes."""
    outer = {letter: length for letter, length in asked.items() if letter not in "YXS"}
    pages = math.prod(series.shape)
    open_axes = [letter for letter, length in outer.items() if length is None]
    known = math.prod(length for length in outer.values() if length is not None)
    if len(open_axes) == 1 and known and pages % known == 0:
        outer[open_axes[0]] = pages // known
        open_axes = []
    inner = [letter for letter in asked if letter in "YXS"]
    fits = not open_axes and math.prod(outer.values()) == pages and list(asked)[-2:] == ["Y", "X"]
    if not fits or inner != [letter for letter in series.sizes if letter in "YXS"]:
        raise _unfit(series, axes, path)
    _check_channels_stay(axes, series.sizes, outer, path)
    shape = tuple(outer.values())

    def read(place: Mapping[str, int]) -> np.ndarray:
        page = np.ravel_multi_index([place[letter] for letter in outer], shape)
        at = np.unravel_index(page, series.shape)
        return series.read({k: int(n) for k, n in zip(series.outer, at, strict=True)})

    def moved(place: tuple[int, ...]) -> list[tuple[int, ...]]:
        page = np.ravel_multi_index(place, series.shape) if place else 0
        return [tuple(map(int, np.unravel_index(page, shape)))]

    sizes = {**outer, **{letter: series.sizes[letter] for letter in inner}}
    return replace(series, sizes=sizes, read=read, **_moved(series, moved))


def _check_channels_stay(
    axes: str, stored: Mapping[str, int], named: Mapping[str, int], path: Path
) -> None:
    """Sees to it that the user's letters make no frames of what the file calls channels."""
    n = stored.get("C", 1)
    if n > 1 and named.get("C") != n:
        raise UserError(
            f"{path}: has {n} channels (axes {''.join(stored)}), which data.natural.axes: {axes} "
            "does not say, write C in their place and set data.natural.channel to a number from 0 "
            f"to {n - 1}"
        )


def _unfit(series: Series, axes: str, path: Path) -> UserError:
    lengths = " x ".join(map(str, series.sizes.values()))
    pages = math.prod(series.shape)
    hint = "name one letter for each"
    if pages > 1:
        hint += f", or lengths whose product is its {pages} pages, as in {_example(pages)}"
    return UserError(
        f"{path}: has {len(series.sizes)} dimensions ({lengths}) with the axes "
        f"{''.join(series.sizes)}, which data.natural.axes: {axes} does not fit, {hint}"
    )


def _example(pages: int, letter: str = "C") -> str:
    """How to say that pages are times and channels."""
    second = next((n for n in range(2, 10) if pages % n == 0), pages)
    return f"T{pages // second}{letter}{second}YX"


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
                f"data.natural.axes with their numbers, such as {_example(pages)} for "
                f"{_in_words(_example(pages))}, or leave data.natural.channel out"
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


def _in_words(axes: str) -> str:
    """`T3C2YX` -> 3 times x 2 channels."""
    words = {"T": "times", "C": "channels", "Z": "focal planes"}
    return " x ".join(f"{n} {words[letter]}" for letter, n in _AXIS.findall(axes) if n)


def _chosen_planes(series: Series, wanted: int | str | None, path: Path) -> list[int]:
    n = series.sizes.get("Z", 1)
    if n == 1:
        pages = series.sizes.get("I", series.sizes.get("Q", 1))
        if wanted is not None and pages > 1:
            raise UserError(
                f"{path}: does not say which of its {pages} pages are focal planes, set "
                f"data.natural.axes: ZYX, or with lengths such as {_example(pages, 'Z')}, or leave "
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
