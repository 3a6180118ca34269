"""The frames that a page shows: which there are, what they look like, and who belongs together."""

import contextlib
import logging
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cellzoo.counters.entries import with_options
from cellzoo.data.labels import Row, Table, resolved
from cellzoo.data.splits import split_by_group
from cellzoo.errors import UsageError, UserError
from cellzoo.images import Frame, Reader, numbered
from cellzoo.scores.uncertainty import FEWEST_GROUPS

log = logging.getLogger("cellzoo")

_HELD_OUT = 0.15  # of the images, for validation and for the test each
_MOST_VALIDATION = 0.4  # where as much is needed for the five groups that an error wants
_THUMBNAIL = 8  # pixels a side: what an image shows at a glance
_SAY_EVERY = 10.0  # seconds


@dataclass(frozen=True, eq=False)
class Item:
    """A frame that can be labelled.

    Attributes:
        name: as the table of labels names it, such as ``day1/a.png`` or ``stack.tif#3``.
        path: its file.
        index: number in the file, from 0.
        several: the file holds several frames.
        group: which frames show the same cells.
        split: ``train``, ``validation`` or ``test``; empty where groups are too few for splits.
        series: time-lapse that it is a frame of; empty where it is none.
        step: place in the series.
        height: in pixels.
        width: in pixels.
        look: numbers that say what it looks like, float32 ``[k]``.
    """

    name: str
    path: Path
    index: int
    several: bool
    group: str
    split: str
    series: str
    step: int
    height: int
    width: int
    look: np.ndarray

    @property
    def key(self) -> tuple[str, int | None]:
        """File and frame; None for the only frame of a file."""
        return str(resolved(self.path)), self.index if self.several else None


class Catalogue:
    """The frames, in natural order of their names.

    Args:
        items: all of them.
        reading: keywords of :class:`cellzoo.images.Reader`.
    """

    def __init__(self, items: Sequence[Item], reading: Mapping[str, Any]) -> None:
        """Takes them."""
        self.items = list(items)
        self.reading = dict(reading)

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.items)

    @cached_property
    def looks(self) -> np.ndarray:
        """What each frame looks like, float32 ``[n, k]``, in units of the spread of all frames."""
        looks = np.stack([item.look for item in self.items])
        spread = looks.std(axis=0)
        looks = (looks - looks.mean(axis=0)) / np.where(spread > 1e-6, spread, 1)
        looks[:, : _THUMBNAIL**2] /= _THUMBNAIL  # the picture as a whole weighs as one number
        return looks

    @cached_property
    def usual_span(self) -> float:
        """Grey levels between the darkest and the brightest parts of half of the frames."""
        return float(np.median([item.look[_THUMBNAIL**2 + 1] for item in self.items]))

    @cached_property
    def numbers(self) -> dict[tuple[str, int | None], int]:
        """The number of each frame by its file and frame."""
        return {item.key: k for k, item in enumerate(self.items)}

    @cached_property
    def series(self) -> dict[str, list[int]]:
        """The frames of each series, in the order of time."""
        found: dict[str, list[int]] = {}
        for k, item in enumerate(self.items):
            if item.series:
                found.setdefault(item.series, []).append(k)
        for members in found.values():
            members.sort(key=lambda k: self.items[k].step)
        return found

    def beside(self, number: int) -> tuple[int | None, int | None]:
        """The frames before and after one in time; of a frame without a series in the list."""
        series = self.items[number].series
        members = self.series[series] if series else list(range(len(self)))
        at = members.index(number) if series else number
        before = members[at - 1] if at > 0 else None
        return before, members[at + 1] if at + 1 < len(members) else None

    def read(self, number: int) -> Frame:
        """The pixels of a frame, as its file stores them.

        Raises:
            UserError: the file cannot be read any more.
        """
        item = self.items[number]
        found = None
        if item.several and self.reading.get("position") in (None, 0):
            if not self.reading.get("frames"):
                # Without reading those before it. A file of a set numbers its own frames, while
                # time points are those of the whole set.
                with contextlib.suppress(UserError):
                    found = _frame(item, {**self.reading, "frames": item.step})
        found = found or _frame(item, self.reading)
        if found is not None:
            return found
        raise UserError(f"{item.path}: has no frame {item.index} any more, start the page again")


def _frame(item: Item, reading: Mapping[str, Any]) -> Frame | None:
    """The frame of an item; None where it is not among what is chosen of its file."""
    frames = Reader([item.path], **reading).read(item.path)
    return next((frame for frame in frames if frame.index == item.index), None)


def catalogue(
    files: Sequence[tuple[str, Path]],
    table: Table,
    *,
    group_pattern: str | None = None,
    known_splits: Mapping[str, str] | None = None,
    series: Mapping[tuple[str, int], str] | None = None,
    seed: int = 1,
    **reading: Any,
) -> Catalogue:
    """Reads every frame once: how many there are, how large, and what they look like.

    The group of a frame is what the table of labels says, else the part of its name that
    ``group_pattern`` matches, else its series, else its own file. Whole groups get a split once and
    for all: as the table says, then as ``known_splits`` says, else they are dealt out.

    Args:
        files: name in the table of labels, and the file.
        table: of the labels so far.
        group_pattern: regular expression.
        known_splits: of a run by the names of its images.
        series: of a table of counts, by real path and frame.
        seed: of dealing out.
        reading: keywords of :class:`cellzoo.images.Reader`.

    Raises:
        UserError: no file can be read.
        UsageError: the pattern is none, or what is chosen of the files is written wrongly.
    """
    pattern = _pattern(group_pattern)
    reader = Reader([path for _, path in files], **reading)
    items: list[Item] = []
    first_error, said = None, time.monotonic()
    for number, (name, path) in enumerate(files):
        if time.monotonic() - said > _SAY_EVERY:
            said = time.monotonic()
            log.info("read %d of %d files", number, len(files))
        rows = table.rows.get(resolved(path), {})
        try:
            frames = [_item(frame, name) for frame in reader.read(path)]
        except UsageError as error:
            raise UsageError(with_options(str(error), "--{} ")) from None
        except UserError as error:
            first_error = first_error or error
            log.warning("left out: %s", with_options(str(error), "--{} "))
            continue
        several = len(frames) > 1 or any(frame is not None and frame > 0 for frame in rows)
        for item in frames:
            found = (series or {}).get((str(resolved(path)), item.index))
            item = replace(item, several=several, series=found or item.series)
            if several:
                item = replace(item, name=f"{name}#{item.index}")
            row = _row(rows, item)
            item = replace(item, group=_group(item, name, row, pattern), split=row.split)
            items.append(item)
    reader.notes.say(lambda sentence: with_options(sentence, "--{} "))
    if not items:
        raise UserError(with_options(str(first_error), "--{} "))
    return Catalogue(_with_splits(items, table, known_splits or {}, seed), reading)


def _pattern(text: str | None) -> re.Pattern | None:
    try:
        return None if text is None else re.compile(text)
    except re.error as error:
        raise UsageError(
            f"--group {text!r} is no pattern ({error}): write a part of the names, such as "
            "'well[0-9]+'."
        ) from None


def _item(frame: Frame, name: str) -> Item:
    height, width = frame.pixels.shape
    named = numbered(frame.path)
    series = frame.series or (named[0] if named else "")
    step = frame.step if frame.series and frame.step is not None else (named[1] if named else 0)
    return Item(
        name, frame.path, frame.index, False, "", "", series, step, height, width,
        look(frame.pixels),
    )  # fmt: skip


def look(pixels: np.ndarray) -> np.ndarray:
    """What an image looks like: a coarse picture of it, its grey levels, and how fine it is.

    Args:
        pixels: ``[h, w]``, any grey type.

    Returns:
        float32 ``[k]``.
    """
    small = cv2.resize(pixels.astype(np.float32), (64, 64), interpolation=cv2.INTER_AREA)
    low, middle, high = np.percentile(small, (2, 50, 98))
    spread = max(float(high - low), 1e-6)
    even = (small - middle) / spread
    coarse = cv2.resize(even, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA)
    fine = np.abs(np.diff(even, axis=0)).mean(), np.abs(np.diff(even, axis=1)).mean()
    busy = np.percentile(np.abs(even - cv2.blur(even, (9, 9))), (50, 90, 99))
    return np.float32([*coarse.ravel(), middle, spread, *fine, *busy])


def _row(rows: Mapping[int | None, Row], item: Item) -> Row:
    whole = rows.get(None)
    return rows.get(item.index) or whole or Row(0, item.name)


def _group(item: Item, name: str, row: Row, pattern: re.Pattern | None) -> str:
    if row.group and row.group != name:  # the name is what a table without a group gives
        return row.group
    if pattern and (found := pattern.search(name)):
        return found[0] or name
    if item.series:
        return os.path.relpath(item.series, item.path.parent).replace(os.sep, "/")
    return name


def _with_splits(
    items: Sequence[Item], table: Table, known: Mapping[str, str], seed: int
) -> list[Item]:
    """Every group in one split, unless groups are too few to divide."""
    of_group = {item.group: item.split for item in items if item.split}
    for rows in table.rows.values():
        of_group |= {row.group: row.split for row in rows.values() if row.split}
    for item in items:
        if item.name in known and item.group not in of_group:
            of_group[item.group] = known[item.name]
    rest = np.array([item.group not in of_group for item in items])
    if rest.any():
        groups = np.array([item.group for item in items], str)
        labelled = np.array([_is_labelled(table, item) for item in items])
        try:
            shares = _shares(len(set(groups[rest].tolist())))
            dealt = split_by_group(groups[rest], shares, seed, labelled[rest])
            of_group |= dict(zip(groups[rest].tolist(), dealt.tolist(), strict=True))
        except UserError:  # too few groups are left: they teach if others are held out
            if {"train", "validation"} & set(of_group.values()):
                of_group |= dict.fromkeys(groups[rest].tolist(), "train")
    return [replace(item, split=of_group.get(item.group, "")) for item in items]


def _shares(groups: int) -> dict[str, float]:
    """The share of each split, of so many groups that are dealt out."""
    validation = max(_HELD_OUT, FEWEST_GROUPS / groups)
    if validation > _MOST_VALIDATION:
        validation = _HELD_OUT
    return {
        "train": 1 - validation - _HELD_OUT, "validation": validation, "test": _HELD_OUT,
    }  # fmt: skip


def _is_labelled(table: Table, item: Item) -> bool:
    row = table.rows.get(resolved(item.path), {}).get(item.index if item.several else None)
    return row is not None and not np.isnan(row.count)
