"""The frames of a file, whatever its format."""

import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from cellzoo.errors import UserError
from cellzoo.files import readable
from cellzoo.images.frame import Frame
from cellzoo.images.grey import read_planned, refusing
from cellzoo.images.imagefile import ImageFile, Series
from cellzoo.images.notes import Notes
from cellzoo.images.readers import format_named, format_of, suffixes
from cellzoo.images.scale import to_unit
from cellzoo.images.selection import Planned, Selection, plan
from cellzoo.images.series import series_of

# Tiled counting takes pictures of 16,384 x 16,384 pixels.
MAX_MEGAPIXELS = 16384**2 / 1e6
Intensity = Literal["full", "dtype", "percentile"] | tuple[float, float] | None
# Bits of converted pictures (8) and of cameras. Those with 10 are few, and a dark picture of a
# camera with 12 looks the same.
_DEPTHS = (8, 12, 14, 16)


class Reader:
    """Reads files that belong together: one selection, one depth, each remark once.

    Attributes:
        notes: what a user should hear about the files; :meth:`Notes.say` says it.
    """

    def __init__(
        self,
        files: Sequence[Path] = (),
        *,
        axes: str | None = None,
        channel: int | str | None = None,
        z: int | str | None = None,
        position: int | str | None = None,
        frames: int | str | None = None,
        mask: bool = False,
        max_megapixels: float = MAX_MEGAPIXELS,
        intensity: Intensity = None,
        pixel_size_um: float | None = None,
    ):
        """Takes what is to be read and how; see :func:`read_frames`.

        Args:
            files: of the series, all of which decide how many of 16 bits are significant where they
                do not say.
            axes: see :class:`Selection`, as the next four.
            channel: number or name.
            z: number or projection.
            position: number or name.
            frames: number or slice.
            mask: the files are masks or instance label images.
            max_megapixels: largest picture that is decoded.
            intensity: None leaves pixels as they are stored. `"full"` spreads grey levels of fewer
                than 16 bits over all of uint16: as many as the file states or, where it does not,
                as the brightest pixel of its series needs, which is read twice for it: the
                `files` of its folder whose names differ in numbers alone. Others give floats in
                [0, 1], see :func:`cellzoo.images.to_unit`.
            pixel_size_um: width of a pixel in micrometres, whatever the files say.

        Raises:
            UsageError: the selection is written wrongly.
        """
        self.notes = Notes()
        self._files = list(files)
        self._selection = Selection(axes, channel, z, position, frames)
        self._mask, self._max_megapixels = mask, max_megapixels
        self._intensity = intensity
        self._pixel_size_um = pixel_size_um
        self._bits: dict[tuple[Path, str], int] = {}
        self._of_series: dict[tuple[Path, str], list[Path]] = {}

    def read(self, path: Path, wanted: Callable[[str, int], bool] | None = None) -> Iterator[Frame]:
        """The frames of one file, one at a time.

        Args:
            path: of the file.
            wanted: called with the series and number of each frame in its turn; frames for which it
                is false are not decoded. None: all frames are read.

        Raises:
            UserError: the file cannot be read as grey frames, and the message says why.
        """
        path = Path(path)
        for frame in self._stored_frames(path, self.notes, wanted):
            if self._intensity is None:
                yield frame
            elif self._intensity == "full":
                yield self._full(frame)
            else:
                unit = to_unit(frame.pixels, self._intensity, name=str(path))
                yield replace(frame, pixels=unit)

    def _full(self, frame: Frame) -> Frame:
        """The frame with its grey levels over the whole range of their type."""
        bits = self.bits(frame)
        if bits is None:
            return frame
        return replace(frame, pixels=full_range(frame.pixels, bits), bits=bits)

    def bits(self, frame: Frame) -> int | None:
        """Significant bits of a frame's grey levels, taken from its series if need be; None: all.

        It is what ``intensity="full"`` spreads over 16.
        """
        if frame.pixels.dtype != np.uint16:
            return None
        return frame.bits or self._series_bits(frame.path)

    @property
    def scaled(self) -> bool:
        """Whether frames are floats in [0, 1]."""
        return self._intensity not in (None, "full")

    def _stored_frames(
        self, path: Path, notes: Notes, wanted: Callable[[str, int], bool] | None = None
    ) -> Iterator[Frame]:
        with open_image(path, self._mask) as file:
            for note in file.notes:
                notes.add(path, note)
            for planned in plan(file, self._selection, notes):
                name = series_of(file, planned.series, planned.several)
                if wanted is None or wanted(name, planned.index):
                    with refusing(path):
                        frame = self._frame(file, planned, name)
                    yield frame

    def _frame(self, file: ImageFile, planned: Planned, name: str) -> Frame:
        series = planned.series
        check_size(series, file.path, self._max_megapixels)
        pixels = read_planned(
            planned, file.path, self._selection.channel, self._selection.z, self._mask
        )
        place = planned.places[0]
        return Frame(
            pixels=pixels,
            path=file.path,
            index=planned.index,
            pixel_size_um=self._pixel_size_um or series.pixel_size_um,
            bits=None if self._mask else _stated(series, pixels, file),
            position=series.name,
            series=name,
            step=place.get("T", 0) or place.get("I", 0),
            time_s=_time(series, place.get("T", 0)),
        )

    @property
    def guesses_bits(self) -> bool:
        """Whether the brightest pixel had to say how many of 16 bits are used, and it were few."""
        return any(bits < 16 for bits in self._bits.values())

    def _series_bits(self, path: Path) -> int:
        """Bits that the brightest pixel of a file's series needs."""
        series = _series_name(path)
        if series not in self._bits:
            if not self._of_series:  # once: there may be as many series as files
                for file in map(Path, self._files):
                    self._of_series.setdefault(_series_name(file), []).append(file)
            files = self._of_series.get(series, [path])
            highest = 0
            for file in files:
                try:
                    for frame in self._stored_frames(Path(file), Notes()):
                        if frame.bits is None and frame.pixels.dtype == np.uint16:
                            highest = max(highest, int(frame.pixels.max()))
                        if highest >= 2 ** _DEPTHS[-2]:
                            break
                except UserError:  # which is said where the file is counted
                    pass
                if highest >= 2 ** _DEPTHS[-2]:
                    break
            self._bits[series] = significant_bits(highest)
            if self._bits[series] < 16:
                self.notes.add(
                    path if len(files) == 1 else path.parent / series[1],
                    f"{few_bits(highest)}, set data.natural.intensity: "
                    f"[0, {2 ** self._bits[series] - 1}] to state it, or what is right",
                )
        return self._bits[series]


def read_frames(
    path: Path,
    *,
    axes: str | None = None,
    channel: int | str | None = None,
    z: int | str | None = None,
    position: int | str | None = None,
    frames: int | str | None = None,
    mask: bool = False,
    max_megapixels: float = MAX_MEGAPIXELS,
) -> Iterator[Frame]:
    """Read the grey frames of one image file, one at a time.

    `T` (time) and `I` (the pages of a plain multi-page file) are frames; of several channels,
    focal planes or positions the user says which are meant. Layers that nothing names are refused
    unless `axes` says what they are. Of a set of files only the file itself is read.

    Colour: three equal channels (grey saved as RGB) are grey; differing ones need `channel`;
    transparency is ignored. A picture with one channel is taken as it is, whatever `channel` says.
    Display colours and inverting display tables never change pixels; a plain TIFF that stores white
    as 0 is inverted, so that bright is high, and the colours of an indexed picture are looked up.
    In a mask the numbers stored are what is meant, and 1 bit is enough.

    Args:
        path: a file, or the folder of an OME-Zarr; its content decides how it is read.
        axes: letters of the stack's dimensions, such as `TYX`, overruling what the file says, but
            for channels; with lengths where pages have none, such as `T3C2YX`. Single pictures
            need none and are read without.
        channel: number of the channel to take, from 0, its name, or for colour pictures `red`,
            `green`, `blue` or `luminance` (ITU-R BT.601).
        z: number of the focal plane, from 0, or `max`, `mean`, or `sharpest` for the plane with the
            largest variance of its Laplacian.
        position: number or name of the position to take, or `all`.
        frames: number of a time point, or `start:stop:step` as Python has it.
        mask: the file is a mask or an instance label image.
        max_megapixels: larger pictures are refused before they are decoded.

    Yields:
        The frames in file order. Files are checked for completeness before the first one comes.

    Raises:
        UserError: the file cannot be read as grey frames, and the message says why.
        UsageError: the selection is written wrongly.
    """
    reader = Reader(
        axes=axes,
        channel=channel,
        z=z,
        position=position,
        frames=frames,
        mask=mask,
        max_megapixels=max_megapixels,
    )
    yield from reader.read(path)
    reader.notes.say()


def open_image(path: Path, stored: bool = False) -> ImageFile:
    """Opens an image file, whatever its format.

    Args:
        path: a file, or the folder of an OME-Zarr.
        stored: the numbers are meant as they are stored, as in masks.

    Raises:
        UserError: it cannot be opened, or is no image.
    """
    path = Path(path)
    if readable(path) != str(path):  # OpenCV ends the process on such a name
        raise UserError(f"{readable(path)}: has a name that is no UTF-8 text, rename it")
    named = format_named(path)
    try:
        kind = os.stat(path).st_mode
        if stat.S_ISDIR(kind):
            if named and not named.starts:
                return named.open(path, stored)
            raise UserError(f"{path}: cannot be opened (Is a directory), name a file in it")
        if not stat.S_ISREG(kind):  # reading a named pipe waits for ever
            raise UserError(f"{path}: is not a regular file, copy the picture into one")
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror}), check the path") from error
    if not head:
        raise UserError(f"{path}: is empty (0 bytes), copy it again from its source")
    found = format_of(head)
    if found is None and named is None:
        return _with_plug_in(path, stored)
    if found is None:
        raise UserError(
            f"{path}: is no image, its content is not {named.name} or any other format that "
            "cellzoo reads, copy it again or save it as PNG or TIFF"
        )
    if named is None and found.name == "Leica LIF":  # four bytes that other files have, too
        return _with_plug_in(path, stored)
    return found.open(path, stored)


def _series_name(path: Path) -> tuple[Path, str]:
    """Folder and name of a file with stars for its numbers, those of wells (`B02`) included."""
    return path.parent, re.sub(r"[A-Za-z]?\d+", "*", path.name)


def check_size(series: Series, path: Path, max_megapixels: float) -> None:
    """Refuses a picture that is too large, before it is decoded.

    Raises:
        UserError: it is.
    """
    numbers = series.sizes["Y"] * series.sizes["X"]
    if numbers > max_megapixels * 1e6:
        raise UserError(
            f"{path}: has pictures of {series.sizes['X']} x {series.sizes['Y']} px "
            f"({numbers / 1e6:.0f} megapixels), crop them, or where they are counted "
            f"set max_megapixels, which is {max_megapixels:g}, to more"
        )


def significant_bits(highest: int) -> int:
    """Bits of the camera whose brightest pixel this is, of 8, 12, 14 and 16."""
    return next(bits for bits in _DEPTHS if highest < 2**bits)


def few_bits(highest: int) -> str:
    """What to say of grey levels whose bits were taken from the brightest of them."""
    return (
        f"does not say how many of 16 bits are used: taken for {significant_bits(highest)}, as the "
        f"brightest pixel has {highest:,}"
    )


def full_range(pixels: np.ndarray, bits: int | None) -> np.ndarray:
    """Spreads grey levels of fewer bits over all of uint16, other pixels stay as they are.

    Args:
        pixels: of any type.
        bits: significant ones; None: all.

    Returns:
        The same shape and type; 2^bits - 1 becomes 65535.
    """
    if pixels.dtype != np.uint16 or bits is None or bits >= 16:
        return pixels
    spread = np.rint(pixels * (65535.0 / (2**bits - 1)))
    return np.minimum(spread, 65535).astype(np.uint16)


def _with_plug_in(path: Path, stored: bool) -> ImageFile:
    from cellzoo.images.readers import bioio

    if bioio.installed():
        return bioio.open_bioio(path, stored)
    raise UserError(
        f"{path}: is not of a type cellzoo reads, save it as one of {', '.join(suffixes())}"
    )


def _stated(series: Series, pixels: np.ndarray, file: ImageFile) -> int | None:
    """The bits that a file states, where its pixels do not exceed them."""
    bits = series.bits
    if bits is None or pixels.dtype != np.uint16 or bits >= 16:
        return None
    highest = int(pixels.max())
    # PNG's specification wants fewer bits spread over all of them; cameras' programs do not do it.
    if file.format == "PNG" and (highest >= 2**bits or _is_spread(pixels, bits)):
        return 16
    if highest < 2**bits:
        return bits
    raise UserError(
        f"{file.path}: states {bits} bits but has grey levels up to {highest}, set "
        "data.natural.intensity: [low, high] to the values of black and white"
    )


def _is_spread(pixels: np.ndarray, bits: int) -> bool:
    """Whether dark grey levels were spread over 16 bits, by shift, replication or scaling.

    Below 2^bits, of at least 8 bits, replication is a shift.
    """
    if not (pixels & (2 ** (16 - bits) - 1)).any():
        return True
    step = 65535 / (2**bits - 1)
    return bool((np.rint(np.rint(pixels / step) * step) == pixels).all())


def _time(series: Series, t: int) -> float | None:
    if series.times_s is not None and t < len(series.times_s):
        return series.times_s[t]
    return None if series.interval_s is None else series.interval_s * t
