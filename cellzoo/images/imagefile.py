"""What an image file holds, in words that are the same for every format."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from cellzoo.errors import UserError

COLOURS = ("red", "green", "blue")
# What cannot be read plane by plane is read at once, up to here.
_MOST_AT_ONCE = 2**30  # bytes


@dataclass(frozen=True, eq=False)
class Series:
    """A picture, a stack or one position of a file; its planes are read one by one.

    Attributes:
        sizes: length of each axis by its letter, in the file's order: `T` time, `C` channel, `Z`
            focal plane, `P` position, `I` page of a file that says no more, `Q` or another letter
            for what cellzoo does not know, `Y`, `X`, and `S` of 3 for red, green and blue.
        dtype: of the numbers stored.
        read: place on each axis but `Y`, `X` and `S` -> `[height, width]` or `[height, width, 3]`.
        name: of the position or picture; empty where the file gives none.
        number: of the position in its acquisition, from 0.
        channels: names, as many as there are channels, or none.
        pixel_size_um: width of a pixel in micrometres.
        interval_s: seconds from one time point to the next.
        times_s: seconds of each time point from a start that all positions share.
        bits: significant bits of a grey level, where the file says so.
        present: places of the planes that are there, in the order of `sizes`; None: all. Of a set
            of files it may leave out time points of which this file holds no plane.
        own: those that this file holds and not another one of its set; None: all.
        whole: gives the series with `S` of 4, for axes that call samples frames: then the fourth is
            no transparency. None: there are three.
    """

    sizes: Mapping[str, int]
    dtype: np.dtype
    read: Callable[[Mapping[str, int]], np.ndarray]
    name: str = ""
    number: int = 0
    channels: Sequence[str] = ()
    pixel_size_um: float | None = None
    interval_s: float | None = None
    times_s: Sequence[float] | None = None
    bits: int | None = None
    present: frozenset[tuple[int, ...]] | None = None
    own: frozenset[tuple[int, ...]] | None = None
    whole: Callable[[], "Series"] | None = None

    @property
    def outer(self) -> str:
        """Letters of the axes that count planes."""
        return "".join(letter for letter in self.sizes if letter not in "YXS")

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes that count planes."""
        return tuple(self.sizes[letter] for letter in self.outer)

    @property
    def words(self) -> str:
        """Sizes for a sentence: `T 3 x C 2 x Y 520 x X 696`."""
        return " x ".join(f"{letter} {length}" for letter, length in self.sizes.items())

    def places(self, which: frozenset[tuple[int, ...]] | None, wanted: Mapping[str, int]) -> bool:
        """Whether a plane is among :attr:`present` or :attr:`own`."""
        return which is None or tuple(wanted[letter] for letter in self.outer) in which


@dataclass(frozen=True, eq=False)
class ImageFile:
    """An open file.

    Attributes:
        path: of the file or, of OME-Zarr, the folder.
        format: name of the format, for a sentence.
        series: what it holds.
        notes: sentences about the file that a user should hear once.
        in_set: the file is part of an acquisition of several files.
        set_name: the same for all files of the acquisition; empty where the file is alone.
        close: ends reading.
    """

    path: Path
    format: str
    series: Sequence[Series]
    notes: Sequence[str] = ()
    in_set: bool = False
    set_name: str = ""
    close: Callable[[], None] = field(default=lambda: None, repr=False)

    def __enter__(self) -> "ImageFile":
        """The file itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Closes it."""
        self.close()


def fixed(series: Series, letter: str, index: int, **changes: object) -> Series:
    """The series at one place of an axis, which it then lacks."""
    sizes = {key: length for key, length in series.sizes.items() if key != letter}
    at = series.outer.index(letter)

    def within(which: frozenset[tuple[int, ...]] | None) -> frozenset[tuple[int, ...]] | None:
        if which is None:
            return None
        return frozenset(p[:at] + p[at + 1 :] for p in which if p[at] == index)

    def read(place: Mapping[str, int]) -> np.ndarray:
        return series.read({**place, letter: index})

    return replace(
        series,
        sizes=sizes,
        read=read,
        present=within(series.present),
        own=within(series.own),
        **changes,
    )


def checked_size(numbers: int, itemsize: int, path: Path) -> None:
    """Refuses to read at once what should be read in parts.

    Raises:
        UserError: it is too large.
    """
    if numbers * itemsize > _MOST_AT_ONCE:
        raise UserError(
            f"{path}: stores {numbers * itemsize / 2**30:.1f} GiB in a form that can be read only "
            "at once, save it as a TIFF with one page for each plane"
        )
