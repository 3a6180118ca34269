"""TIFF in the forms that microscopes and ImageJ write."""

from pathlib import Path

import tifffile

from cellzoo.errors import UserError
from cellzoo.images.grey import cut_off, refusing
from cellzoo.images.imagefile import ImageFile
from cellzoo.images.readers.tiff import micromanager, ndtiff, ome, stacks
from cellzoo.images.readers.tiff.pages import page_offsets


def open_tiff(path: Path, stored: bool) -> ImageFile:
    """A TIFF, of a set of files this one alone."""
    with refusing(path):
        # Each OME file of a set would otherwise bring the frames of its sister files along.
        tiff = tifffile.TiffFile(path, _multifile=False)
    try:
        with refusing(path):
            return _opened(tiff, path, stored)
    except BaseException:
        tiff.close()
        raise


def _opened(tiff: tifffile.TiffFile, path: Path, stored: bool) -> ImageFile:
    offsets, whole = page_offsets(tiff)
    written_by_micromanager = micromanager.wrote(tiff)
    # It links each page to the next one before that is there, so a stopped file ends in the void.
    if not offsets or not (whole or written_by_micromanager):
        raise cut_off(path)
    for form in (ndtiff, micromanager, ome):
        file = form.open_file(tiff, path, offsets, stored)
        if file is not None:
            return file
    file = stacks.open_file(tiff, path, stored)
    if not file.series:
        raise UserError(f"{path}: holds no picture, export it again")
    return file
