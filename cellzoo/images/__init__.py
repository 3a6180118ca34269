"""Microscope files -> grey frames, without ever guessing bit depth, axes or colour.

PNG and JPEG hold one frame; a TIFF may hold a stack. What a file does not say, the user is
asked for: every refusal is a `UserError` that names the file and the recipe key that cures it.
"""

from cellzoo.images.find import SUFFIXES, find_images, natural_key
from cellzoo.images.frame import Frame
from cellzoo.images.mask import read_mask
from cellzoo.images.read import checked_axes, read_frames
from cellzoo.images.scale import Size, resize, resize_mask, sides, to_unit

__all__ = [
    "SUFFIXES",
    "Frame",
    "Size",
    "checked_axes",
    "find_images",
    "natural_key",
    "read_frames",
    "read_mask",
    "resize",
    "resize_mask",
    "sides",
    "to_unit",
]
