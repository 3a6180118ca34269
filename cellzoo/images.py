"""Microscope files -> grey frames, without ever guessing bit depth, axes or colour.

PNG and JPEG hold one frame; a TIFF may hold a stack. What a file does not say, the user is
asked for: every refusal is a `UserError` that names the file and the recipe key that cures it.
"""

import contextlib
import logging
import math
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import tifffile

from cellzoo.errors import UsageError, UserError
from cellzoo.files import readable

log = logging.getLogger("cellzoo")

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")

Size = int | tuple[int, int]  # side of a square, or height and width, in pixels

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MICROMETRES = {
    **{unit: 1.0 for unit in ("µm", "μm", "um", "micron", "microns", "\\u00b5m", "\\xb5m")},
    **{"nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "inch": 25400.0, "in": 25400.0},
}
# A coarser "pixel" is a print resolution (300 dpi = 85 um) left there by an image editor.
_COARSEST_PIXEL_UM = 20.0

# Everything tifffile complains about here ends in a UserError; stderr need not hear it twice.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


@dataclass(frozen=True, eq=False)
class Frame:
    """One grey picture of a file.

    Attributes:
        pixels: `[height, width]`, uint8, uint16 or float32, finite, as stored in the file.
        path: the file.
        index: number of the frame inside the file, from 0.
        pixel_size_um: width of a pixel in micrometres, or None where the file does not say.
    """

    pixels: np.ndarray
    path: Path
    index: int
    pixel_size_um: float | None


def natural_key(text: str) -> tuple:
    """Sort key that puts `t2.png` before `t10.png`."""
    parts = re.split(r"(\d+)", text)
    return tuple(int(part) if k % 2 else part for k, part in enumerate(parts)), text


def find_images(paths: Sequence[Path]) -> list[Path]:
    """List the image files among files and folders.

    Folders are searched with their subfolders, symbolic links included; hidden files and folders
    (`.name`, such as the `._name` twins macOS writes) and files of other types are passed over. A
    file named directly is taken as it is, to be read or refused.

    Args:
        paths: files and folders.

    Returns:
        The files in the order of `paths`, each folder in natural order, none twice.

    Raises:
        UserError: a path is missing, or nothing is found.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            files = sorted(_images_below(path), key=lambda file: natural_key(file.as_posix()))
            found.update(dict.fromkeys(files))
        elif not path.exists():
            raise UserError(f"{path}: there is no such file or folder, check the path")
        else:
            found[path] = None
    if not found:
        shown = ", ".join(map(str, paths)) or "no path given"
        raise UserError(f"{shown}: no image found, expected files ending in {_suffixes()}")
    return list(found)


def read_frames(
    path: Path, *, axes: str | None = None, channel: int | None = None, mask: bool = False
) -> Iterator[Frame]:
    """Read the grey frames of one image file, one at a time.

    TIFF stacks: `T` (time) and `I` (the pages of a plain multi-page file) are frames; `C` needs
    `channel`; several `Z` planes and unknown axes (`Q`) are refused unless `axes` says what they
    are; files that hold several stacks are refused. Of an OME set of files only the file itself is
    read.

    Colour: three equal channels (grey saved as RGB) are grey; differing channels need `channel`;
    alpha is ignored. A picture with one channel is taken as it is, whatever `channel` says. A TIFF
    that stores white as 0 is inverted, so that bright is high; a TIFF palette is looked up, except
    in ImageJ files, where it is a display colour only. In a mask the numbers stored are what is
    meant: nothing is inverted or looked up, and 1 bit is enough.

    Args:
        path: a file ending in one of `SUFFIXES`; its content decides how it is read.
        axes: letters of the stack's dimensions, such as `TYX`, overruling what the file says, but
            for channels. Single pictures need none and are read without.
        channel: number of the colour or `C` channel to take, from 0.
        mask: the file is a mask or an instance label image.

    Yields:
        The frames in file order. Files are checked for completeness before the first one comes.

    Raises:
        UserError: the file cannot be read as grey frames, and the message says why.
        UsageError: `axes` is not a set of axis letters with Y and X.
    """
    path = Path(path)
    axes = checked_axes(axes)
    if readable(path) != str(path):  # OpenCV ends the process on such a name
        raise UserError(f"{readable(path)}: has a name that is no UTF-8 text, rename it")
    _check_suffix(path)
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror}), check the path") from error
    if not head:
        raise UserError(f"{path}: is empty (0 bytes), copy it again from its source")
    if head.startswith(_TIFF):
        yield from _tiff_frames(path, axes, channel, mask)
    elif head.startswith((_PNG, _JPEG)):
        yield Frame(_checked_pixels(_decode(path, channel, mask), path), path, 0, None)
    else:
        raise UserError(
            f"{path}: is no image, its content is neither PNG nor JPEG nor TIFF, copy it again or "
            "save it as one of these"
        )


def to_unit(
    pixels: np.ndarray,
    intensity: Literal["dtype"] | Sequence[float] = "dtype",
    name: str = "image",
) -> np.ndarray:
    """Scale grey values to [0, 1].

    Args:
        pixels: `[height, width]` uint8, uint16 or float32.
        intensity: `"dtype"` divides by the full range of the type (255 or 65535) and expects floats
            to lie in [0, 1] already; `(low, high)` maps low to 0 and high to 1, clipping beyond.
        name: what an error calls the picture.

    Returns:
        float32 of the same shape, in [0, 1].

    Raises:
        UserError: floats outside [0, 1] or not finite, or another type of pixel.
        UsageError: `intensity` is neither `"dtype"` nor two rising numbers.
    """
    if pixels.dtype not in (np.uint8, np.uint16) and pixels.dtype.kind != "f":
        raise UserError(f"{name}: has {pixels.dtype} pixels, save it as 8 or 16 bit grey")
    if intensity == "dtype":
        if pixels.dtype.kind == "u":
            return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
        if not (np.isfinite(pixels).all() and (pixels >= 0).all() and (pixels <= 1).all()):
            raise UserError(
                f"{name}: has decimal grey values from {pixels.min():.9g} to {pixels.max():.9g}, "
                "not within 0 to 1, set data.natural.intensity to [low, high], the values of black "
                "and white"
            )
        return pixels.astype(np.float32)
    if isinstance(intensity, str) or len(intensity) != 2 or not intensity[0] < intensity[1]:
        raise UsageError(
            f"data.natural.intensity: {intensity} is neither dtype nor [low, high] with low < high"
        )
    low, high = intensity
    return np.clip((pixels.astype(np.float64) - low) / (high - low), 0, 1).astype(np.float32)


def sides(size: Size) -> tuple[int, int]:
    """Height and width: one number is the side of a square."""
    if isinstance(size, int | np.integer):
        return int(size), int(size)
    height, width = size
    return int(height), int(width)


def resize(pixels: np.ndarray, size: Size) -> np.ndarray:
    """Resize the whole frame; the aspect ratio is not kept.

    A side that shrinks is averaged over areas (so that thin membranes do not flicker in and out), a
    side that grows is interpolated linearly; grey values never leave the range they had.

    Args:
        pixels: `[height, width]`, any real type.
        size: side, or height and width, of the result in pixels, at least 1.

    Returns:
        `[height, width]` float32.
    """
    pixels = np.ascontiguousarray(pixels, np.float32)
    height, width = pixels.shape
    new_height, new_width = sides(size)
    if (height, width) == (new_height, new_width):
        return pixels.copy()
    smaller = cv2.resize(
        pixels, (min(width, new_width), min(height, new_height)), interpolation=cv2.INTER_AREA
    )
    resized = cv2.resize(smaller, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    # Rounding in the weighted means may overshoot by one unit in the last place.
    return np.clip(resized, pixels.min(), pixels.max())


def resize_mask(mask: np.ndarray, size: Size) -> np.ndarray:
    """Resize a mask by the nearest pixel, so that no number comes about that was not there.

    Args:
        mask: `[height, width]` uint8 or uint16.
        size: side, or height and width, of the result in pixels.

    Returns:
        `[height, width]` of the same type.
    """
    height, width = sides(size)
    if mask.shape == (height, width):
        return mask.copy()
    return cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def read_mask(
    path: Path, frame: int | None = None, axes: str | None = None, or_only: bool = False
) -> np.ndarray:
    """Read a mask or an instance label image.

    Args:
        path: a PNG or TIFF, 1, 8 or 16 bit: 0 is background, anything else a cell.
        frame: which one of a stack, from 0; None: the file's only one.
        axes: of the images' stacks, see `read_frames`; a stack of masks has the same but for
            channels.
        or_only: take the only frame of a file, whatever `frame` is.

    Returns:
        `[height, width]` uint8 or uint16, as stored.

    Raises:
        UserError: the file cannot be read, its values are not exact, or it lacks the frame.
    """
    if path.suffix.lower() in (".jpg", ".jpeg"):
        raise UserError(f"{path}: is a JPEG, which blurs a mask's edges, save it as PNG or TIFF")
    axes = axes and axes.upper().replace("C", "")
    frames = list(read_frames(path, axes=axes, mask=True))
    if frame is None and len(frames) > 1:
        raise UserError(
            f"{path}: holds {len(frames)} frames but is the mask of one image, name the frame: "
            f"{path.name}#0 to {path.name}#{len(frames) - 1}"
        )
    if or_only and len(frames) == 1:
        frame = 0
    if (frame or 0) >= len(frames):
        raise UserError(f"{path}: has no frame {frame}, its last one is {len(frames) - 1}")
    pixels = frames[frame or 0].pixels
    if pixels.dtype.kind != "u":
        raise UserError(f"{path}: has {pixels.dtype} values, save the mask with 8 or 16 bit")
    return pixels


def _images_below(folder: Path) -> Iterator[Path]:
    def warn(error: OSError) -> None:
        log.warning("%s cannot be read (%s): left out.", error.filename, error.strerror)

    seen = set()
    for here, folders, files in os.walk(folder, followlinks=True, onerror=warn):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if os.path.realpath(here) in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(os.path.realpath(here))
        for name in files:
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                yield Path(here, name)


def _suffixes() -> str:
    return ", ".join(SUFFIXES)


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: is not of a type cellzoo reads, save it as one of {_suffixes()}")


def checked_axes(axes: str | None) -> str | None:
    """Letters of a stack's dimensions as written by a user, in capitals; None stays None.

    Raises:
        UsageError: a letter is unknown or there twice, or Y or X is missing.
    """
    if axes is None:
        return None
    letters = str(axes).upper()
    known = set(letters) <= set("TIZCSYXQ") and {"Y", "X"} <= set(letters)
    if not known or len(set(letters)) != len(letters):
        raise UsageError(
            f"data.natural.axes: {axes!r} must name every dimension once, with Y (rows) and X "
            "(columns), "
            "for example TYX for a time-lapse"
        )
    return letters


def _checked_pixels(pixels: np.ndarray, path: Path) -> np.ndarray:
    if pixels.size == 0:
        raise _no_pixels(path)
    if pixels.dtype == bool:  # of a mask: other pictures of 1 bit were refused
        pixels = 255 * pixels.astype(np.uint8)  # as OpenCV has it
    if pixels.dtype.kind == "f":
        if not np.isfinite(pixels).all():
            raise UserError(f"{path}: has grey values that are NaN or infinite, export it again")
        pixels = pixels.astype(np.float32)
    elif pixels.dtype not in (np.uint8, np.uint16):
        raise UserError(
            f"{path}: has {pixels.dtype} pixels, save it as 8 or 16 bit (unsigned) or 32 bit float"
        )
    return np.ascontiguousarray(pixels)


def _one_bit(path: Path) -> UserError:
    return UserError(f"{path}: has 1 bit per pixel, as masks have, give the grey picture instead")


def _no_pixels(path: Path) -> UserError:
    return UserError(f"{path}: holds a picture without pixels, export it again")


def _cut_off(path: Path) -> UserError:
    return UserError(f"{path}: is cut off or damaged, copy it again from its source")


def _grey(
    pixels: np.ndarray, path: Path, channel: int | None, mask: bool, alpha: bool = True
) -> np.ndarray:
    """[h, w] or [h, w, samples] (RGB order) -> [h, w]."""
    if pixels.ndim == 2:
        return pixels
    # Two samples are grey and alpha, four are colour and alpha, if any is alpha.
    colours = pixels.shape[2]
    if alpha:
        colours = {2: 1, 4: 3}.get(colours, colours)
    first = pixels[..., :1]
    if channel is None and not (pixels[..., :colours] == first).all():
        if mask:
            raise UserError(f"{path}: is a colour picture, save the mask as grey, 8 or 16 bit")
        choices = "|".join(map(str, range(colours)))
        raise UserError(
            f"{path}: is a colour picture, set data.natural.channel: {choices} or convert it "
            "to grey"
        )
    if colours == 1 or channel is None:
        return pixels[..., 0]
    _check_channel(channel, colours, path)
    return pixels[..., channel]


def _check_channel(channel: int, channels: int, path: Path) -> None:
    if not 0 <= channel < channels:
        raise UserError(
            f"{path}: has no channel {channel}, "
            f"set data.natural.channel to a number from 0 to {channels - 1}"
        )


# PNG and JPEG


def _decode(path: Path, channel: int | None, mask: bool) -> np.ndarray:
    with _refusing(path):
        data = path.read_bytes()
        # OpenCV decodes what there is of a cut file and only warns, so look first.
        if data.startswith(_PNG):
            if not _png_is_whole(data):
                raise _cut_off(path)
            if 0 in struct.unpack_from(">II", data, 16):
                raise _no_pixels(path)
            if data[24] == 1 and not mask:
                raise _one_bit(path)
        elif not data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda") > 0:
            raise _cut_off(path)  # no end of image after the last start of scan
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise _cut_off(path)
    return _grey(_rgb(pixels), path, channel, mask)


def _rgb(pixels: np.ndarray) -> np.ndarray:
    """OpenCV's BGR(A) -> RGB."""
    return pixels if pixels.ndim == 2 else pixels[..., :3][..., ::-1]


def _png_is_whole(data: bytes) -> bool:
    at = len(_PNG)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            return False
        # Capital letter: a chunk the picture depends on. Sloppy comments do no harm.
        if kind[:1].isupper():
            if zlib.crc32(data[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
                return False
        if kind == b"IEND":
            return True
        at = end
    return False


# TIFF


def _tiff_frames(
    path: Path, axes: str | None, channel: int | None, mask: bool
) -> Iterator[Frame]:
    with _refusing(path):
        # Each OME file of a set would otherwise bring the frames of its sister files along.
        tiff = tifffile.TiffFile(path, _multifile=False)
    with tiff:
        with _refusing(path):
            stack = _the_stack(tiff, path, mask)
            letters, shape = _named_axes(tiff, stack, axes, path)
            planes = _frame_planes(letters, shape, channel, path)
            read_plane = _plane_reader(tiff, stack, letters, shape, mask)
            pixel_size_um = _pixel_size_um(tiff)
            # Grey pictures may have more samples that are fluorescence channels.
            alpha = (
                stack.keyframe.photometric != tifffile.PHOTOMETRIC.MINISBLACK
                or tifffile.EXTRASAMPLE.UNSPECIFIED not in stack.keyframe.extrasamples
            )
        for index, plane in enumerate(planes):
            with _refusing(path):
                pixels = _grey(read_plane(plane), path, channel, mask, alpha)
                pixels = _checked_pixels(pixels, path)
            yield Frame(pixels, path, index, pixel_size_um)


@contextlib.contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Whatever a decoder stumbles over becomes one sentence about the file."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(f"{path}: cannot be read, it may be damaged ({reason})") from error


def _the_stack(tiff: tifffile.TiffFile, path: Path, mask: bool) -> tifffile.TiffPageSeries:
    """The file's only series, known to be there to the last byte."""
    if not _pages_are_whole(tiff):
        raise _cut_off(path)
    if not tiff.series:
        raise UserError(f"{path}: holds no picture, export it again")
    if len(tiff.series) > 1:
        raise UserError(
            f"{path}: holds {len(tiff.series)} separate pictures or stacks, "
            "save each as a file of its own"
        )
    stack = tiff.series[0]
    if any(page is None for page in stack.pages):
        raise UserError(
            f"{path}: lacks some of the planes that its description lists, export it again"
        )
    for page in stack.pages:
        ends = [a + n for a, n in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if max(ends, default=0) > tiff.filehandle.size:
            raise _cut_off(path)
    lengths = zip(stack.axes, stack.shape, strict=True)
    planes = math.prod(length for letter, length in lengths if letter not in "YXS")
    # Of a large stack ImageJ describes the first plane alone, and tifffile gives that one if the
    # others are not all there.
    said = (tiff.imagej_metadata or {}).get("images", 1)
    if tiff.is_imagej and said > planes * stack.keyframe.samplesperpixel:
        raise UserError(
            f"{path}: is cut off, or part of a stack: it holds {planes} of the {said} planes of "
            "ImageJ's description, copy it again or save it anew"
        )
    if not mask and (stack.dtype == bool or stack.keyframe.bitspersample == 1):
        raise _one_bit(path)
    return stack


def _pages_are_whole(tiff: tifffile.TiffFile) -> bool:
    """Walk the chain of pages, which tifffile shortens silently where it leads out of the file."""
    form, file = tiff.tiff, tiff.filehandle
    seen = set()
    file.seek(8 if form.is_bigtiff else 4)
    while True:
        (offset,) = struct.unpack(form.offsetformat, file.read(form.offsetsize))
        if offset == 0:
            return bool(seen)
        if offset in seen or offset + form.tagnosize > file.size:
            return False
        seen.add(offset)
        file.seek(offset)
        (tags,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
        end_of_tags = offset + form.tagnosize + tags * form.tagsize
        if end_of_tags + form.offsetsize > file.size:
            return False
        file.seek(end_of_tags)


def _named_axes(
    tiff: tifffile.TiffFile, stack: tifffile.TiffPageSeries, axes: str | None, path: Path
) -> tuple[str, tuple[int, ...]]:
    """Letters and lengths of the dimensions, by the file or, for stacks, by the user."""
    letters, shape = stack.axes, tuple(stack.shape)
    if letters in ("YX", "YXS"):
        return letters, shape
    if axes is None and tiff.is_ome and stack.kind != "ome":
        raise UserError(
            f"{path}: is one of several files of an OME set, export the set as a single file or "
            "set data.natural.axes, TYX if the pages are frames"
        )
    if axes is None:
        return letters, shape
    # The file's own description may carry dimensions of length one that the user counts, too.
    for squeeze in (True, False):
        shape, named = tuple(stack.get_shape(squeeze)), stack.get_axes(squeeze)
        if len(axes) == len(shape):
            _check_channels_stay(axes, named, shape, path)
            return axes, shape
    sizes = " x ".join(map(str, stack.shape))
    raise UserError(
        f"{path}: has {len(stack.shape)} dimensions ({sizes}), which data.natural.axes: {axes} "
        "does not fit, name one letter for each"
    )


def _check_channels_stay(axes: str, named: str, shape: tuple[int, ...], path: Path) -> None:
    """Sees to it that the user's letters make no frames of what the file calls channels."""
    for letter, said, n in zip(axes, named, shape, strict=True):
        if said == "C" != letter and n > 1:
            raise UserError(
                f"{path}: has {n} channels (axes {named}), which data.natural.axes: {axes} does "
                "not say, write C in their place and set data.natural.channel to a number from 0 "
                f"to {n - 1}"
            )


def _frame_planes(
    letters: str, shape: tuple[int, ...], channel: int | None, path: Path
) -> list[int]:
    """Numbers of the planes that are frames, counting the stack's planes in C order."""
    length = dict(zip(letters, shape, strict=True))
    if "Y" not in length or "X" not in length:
        raise UserError(
            f"{path}: has the axes {letters}, not rows and columns, set data.natural.axes: YX"
        )
    outer = [letter for letter in letters if letter not in "YXS"]
    number = np.arange(math.prod(length[letter] for letter in outer))
    number = number.reshape([length[letter] for letter in outer])
    for dimension, letter in enumerate(outer):
        n = length[letter]
        if letter in "TI" or n == 1:
            continue
        if letter == "C":
            if channel is None:
                raise UserError(
                    f"{path}: has {n} channels (axes {letters}), "
                    f"set data.natural.channel to a number from 0 to {n - 1}"
                )
            _check_channel(channel, n, path)
            number = number.take([channel], axis=dimension)
            continue
        cure = "save a projection or one plane"
        if "T" not in letters:
            frames = letters.replace(letter, "T")
            cure = f"set data.natural.axes: {frames} if each is a frame, or {cure}"
        if letter == "Z":
            raise UserError(f"{path}: has {n} focal planes (axes {letters}), {cure}")
        raise UserError(f"{path}: does not say what its {n} layers are (axes {letters}), {cure}")
    return [int(n) for n in number.ravel()]


def _plane_reader(
    tiff: tifffile.TiffFile,
    stack: tifffile.TiffPageSeries,
    letters: str,
    shape: tuple[int, ...],
    mask: bool,
) -> Callable[[int], np.ndarray]:
    """A function plane number -> [h, w] or [h, w, samples], page by page where pages are planes."""
    inner = "YXS" if "S" in letters else "YX"
    outer = "".join(letter for letter in letters if letter not in "YXS")
    planes = math.prod(shape[letters.index(letter)] for letter in outer)
    keyframe = stack.keyframe
    if letters == outer + inner and len(stack.pages) == planes and keyframe.axes == inner:

        def read(number: int) -> np.ndarray:
            return stack.pages[number].asarray()
    else:
        order = [letters.index(letter) for letter in outer + inner]
        whole = stack.asarray().reshape(shape).transpose(order)
        whole = whole.reshape(planes, *whole.shape[len(outer) :])
        read = whole.__getitem__

    def read_meaning(number: int) -> np.ndarray:
        pixels = read(number)
        if keyframe.photometric == tifffile.PHOTOMETRIC.MINISWHITE and pixels.dtype.kind == "u":
            return np.iinfo(pixels.dtype).max - pixels
        if keyframe.photometric == tifffile.PHOTOMETRIC.PALETTE and not tiff.is_imagej:
            return (np.moveaxis(keyframe.colormap[:, pixels], 0, -1) >> 8).astype(np.uint8)
        return pixels

    return read if mask else read_meaning


def _pixel_size_um(tiff: tifffile.TiffFile) -> float | None:
    """From OME's PhysicalSizeX, ImageJ's unit or the resolution tags, where plausible."""
    ome = tiff.ome_metadata or ""
    found = re.search(r'\bPhysicalSizeX="([^"]+)"', ome)
    try:
        if found:
            unit = re.search(r'\bPhysicalSizeXUnit="([^"]+)"', ome)
            size = float(found[1]) * _MICROMETRES[unit[1] if unit else "µm"]
        else:
            tags = tiff.pages[0].tags
            above, below = tags["XResolution"].value
            if tiff.is_imagej:
                unit = str((tiff.imagej_metadata or {}).get("unit", "")).lower()
            else:
                unit = {2: "inch", 3: "cm"}[int(tags["ResolutionUnit"].value)]
            size = _MICROMETRES[unit] * below / above
    except (KeyError, ValueError, TypeError, ZeroDivisionError):
        return None
    return size if 0 < size < _COARSEST_PIXEL_UM else None
