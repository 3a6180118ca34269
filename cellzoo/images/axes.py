"""The letters of a stack's axes, as a user writes them and as its file has them."""

import functools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from cellzoo.errors import UsageError, UserError
from cellzoo.images.imagefile import Series, checked_size

_AXIS = re.compile(r"([TIZCPSYXQ])(\d*)")


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
        hint += f", or lengths whose product is its {pages} pages, as in {example(pages)}"
    return UserError(
        f"{path}: has {len(series.sizes)} dimensions ({lengths}) with the axes "
        f"{''.join(series.sizes)}, which data.natural.axes: {axes} does not fit, {hint}"
    )


def example(pages: int, letter: str = "C") -> str:
    """How to say that pages are times and channels."""
    second = next((n for n in range(2, 10) if pages % n == 0), pages)
    return f"T{pages // second}{letter}{second}YX"


def in_words(axes: str) -> str:
    """`T3C2YX` -> 3 times x 2 channels."""
    words = {"T": "times", "C": "channels", "Z": "focal planes"}
    return " x ".join(f"{n} {words[letter]}" for letter, n in _AXIS.findall(axes) if n)
