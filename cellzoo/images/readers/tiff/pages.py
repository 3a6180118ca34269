"""The pages of a TIFF: whether they are there, and what their numbers mean."""

import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import tifffile

from cellzoo.errors import UserError
from cellzoo.images.grey import cut_off, one_bit
from cellzoo.images.palette import meaning

_PHOTOMETRIC = tifffile.PHOTOMETRIC
_READ_AS_STORED = (_PHOTOMETRIC.MINISWHITE, _PHOTOMETRIC.MINISBLACK, _PHOTOMETRIC.RGB)
_READ_AS_STORED += (_PHOTOMETRIC.PALETTE, _PHOTOMETRIC.CFA, _PHOTOMETRIC.LINEAR_RAW)
_JPEGS = (6, 7, 33007, 34892)  # compressions whose decoder gives red, green and blue
_SIGNED_16 = (0, -32768.0, 1.0)  # ImageJ's calibration of signed 16 bit pictures


def page_offsets(tiff: tifffile.TiffFile) -> tuple[list[int], bool]:
    """Where the pages begin, and whether their chain ends as it should.

    tifffile silently shortens a chain that leads out of the file.
    """
    form, file = tiff.tiff, tiff.filehandle
    offsets: dict[int, None] = {}
    file.seek(8 if form.is_bigtiff else 4)
    while True:
        (offset,) = struct.unpack(form.offsetformat, file.read(form.offsetsize))
        if offset == 0:
            return list(offsets), True
        if offset in offsets or offset + form.tagnosize > file.size:
            return list(offsets), False
        file.seek(offset)
        (tags,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
        end_of_tags = offset + form.tagnosize + tags * form.tagsize
        if tags == 0 or end_of_tags + form.offsetsize > file.size:
            return list(offsets), False
        offsets[offset] = None
        file.seek(end_of_tags)


def is_there(page: tifffile.TiffPage | tifffile.TiffFrame, size: int) -> bool:
    """Whether a page's pixels lie within a file of that size."""
    ends = [a + n for a, n in zip(page.dataoffsets, page.databytecounts, strict=True)]
    return bool(ends) and min(page.dataoffsets) > 0 and max(ends) <= size


class Layout:
    """What the samples of a page are, the same for all pages like it.

    Attributes:
        samples: letter of the samples of a pixel: `S` for red, green and blue, `C` for channels,
            empty for grey.
        kept: how many of them are read; the others are transparency.
    """

    def __init__(
        self,
        page: tifffile.TiffPage,
        path: Path,
        stored: bool,
        *,
        display_only: bool = False,
        channels: bool = False,
        planes: bool = False,
        whole: bool = False,
    ):
        """Looks at the tags.

        Args:
            page: one with all tags.
            path: of the file, for errors.
            stored: whether numbers are meant as they are stored, as in masks.
            display_only: palettes and inversion are for display only, as in ImageJ and OME files.
            channels: several samples are channels, never colours.
            planes: each sample is a picture by itself, such as a time point.
            whole: a fourth sample is kept with the colours.

        Raises:
            UserError: it is no picture with grey levels or colours.
        """
        if not stored and (page.dtype == bool or page.bitspersample == 1):
            raise one_bit(path)
        photometric, n = page.photometric, 1 if planes else page.samplesperpixel
        decoded = photometric == _PHOTOMETRIC.YCBCR and page.compression in _JPEGS
        if photometric not in _READ_AS_STORED and not decoded:
            name = getattr(photometric, "name", photometric)
            raise UserError(f"{path}: is in {name} colours, save it as grey or RGB")
        # Grey pictures may have more samples that are fluorescence channels.
        grey = photometric in (_PHOTOMETRIC.MINISBLACK, _PHOTOMETRIC.MINISWHITE)
        alpha = not (grey and tifffile.EXTRASAMPLE.UNSPECIFIED in page.extrasamples)
        if n == 1 or (n == 2 and alpha and not channels):
            self.samples, self.kept = "", 1
        elif n in (3, 4) and alpha and not channels:
            self.samples, self.kept = "S", n if whole else 3
        else:
            self.samples, self.kept = "C", n
        self._page = page
        self._first = page.planarconfig == 2 and n > 1
        self._several = n > 1
        self._stored = stored or display_only

    def picture(self, pixels: np.ndarray) -> np.ndarray:
        """A page's numbers as `[h, w]` or `[h, w, samples]`, meant as grey levels or colours."""
        return self.meant(np.moveaxis(pixels, 0, -1) if self._first else pixels)

    def meant(self, pixels: np.ndarray) -> np.ndarray:
        """The same of numbers whose samples come last."""
        if self._several:
            pixels = pixels[..., : self.kept] if self.kept > 1 else pixels[..., 0]
        if self._stored:
            return pixels
        photometric = self._page.photometric
        white = self._white(pixels.dtype)
        if photometric == _PHOTOMETRIC.MINISWHITE and white:
            pixels = white - pixels
        if white and white < 255 and photometric != _PHOTOMETRIC.PALETTE:
            return np.rint(pixels * (255 / white)).astype(np.uint8)
        if photometric == _PHOTOMETRIC.PALETTE and self._page.colormap is not None:
            return meaning(pixels, (self._page.colormap.T >> 8).astype(np.uint8))
        return pixels

    def _white(self, dtype: np.dtype) -> np.unsignedinteger | None:
        """The highest number of the page's bits, which may be packed; None of other types."""
        if dtype.kind != "u":
            return None
        stated, whole = self._page.bitspersample, 8 * dtype.itemsize
        bits = min(stated, whole) if isinstance(stated, int) else whole  # one for all samples
        return dtype.type(2**bits - 1)

    @property
    def looked_up(self) -> bool:
        """Whether an indexed page means colours."""
        if self._stored or self._several or self._page.photometric != _PHOTOMETRIC.PALETTE:
            return False
        return self.meant(np.zeros((1, 1), self._page.dtype)).ndim == 3


def without_offset(
    read: Callable[[Mapping[str, int]], np.ndarray], calibration: Mapping[str, object]
) -> Callable[[Mapping[str, int]], np.ndarray]:
    """Takes away what ImageJ adds to store signed 16 bit numbers; other calibrations are units."""
    try:
        known = tuple(float(calibration[key]) for key in ("cf", "c0", "c1"))
    except (KeyError, TypeError, ValueError):
        return read
    if known != _SIGNED_16:
        return read

    def read_signed(place: Mapping[str, int]) -> np.ndarray:
        pixels = read(place)
        return pixels.astype(np.int32) - 32768 if pixels.dtype == np.uint16 else pixels

    return read_signed


def read_page(
    tiff: tifffile.TiffFile, page: tifffile.TiffPage | tifffile.TiffFrame, path: Path
) -> np.ndarray:
    """The numbers of a page as stored.

    Raises:
        UserError: they are not all there.
    """
    if not is_there(page, tiff.filehandle.size):
        raise cut_off(path)
    return page.asarray()
