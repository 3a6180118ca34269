"""Microscope files -> grey frames, without ever guessing bit depth, axes or colour.

PNG and JPEG hold one frame; a TIFF may hold a stack. What a file does not say, the user is
asked for: every refusal is a `UserError` that names the file and the recipe key that cures it.
"""

from cellzoo.images.axes import checked_axes
from cellzoo.images.find import (
    SUFFIXES,
    find_images,
    natural_key,
    new_images,
    search_images,
)
from cellzoo.images.frame import Frame
from cellzoo.images.grey import LUMINANCE
from cellzoo.images.imagefile import COLOURS
from cellzoo.images.mask import count_labels, like_grey_levels, read_mask
from cellzoo.images.notes import Notes
from cellzoo.images.read import (
    MAX_MEGAPIXELS,
    Reader,
    few_bits,
    full_range,
    open_image,
    read_frames,
    significant_bits,
)
from cellzoo.images.scale import (
    Size,
    parse_intensity,
    resize,
    resize_all,
    resize_mask,
    sides,
    to_unit,
)
from cellzoo.images.selection import Selection
from cellzoo.images.series import far_apart, numbered, numbers_of, parse_interval

__all__ = [
    "COLOURS",
    "LUMINANCE",
    "MAX_MEGAPIXELS",
    "SUFFIXES",
    "Frame",
    "Notes",
    "Reader",
    "Selection",
    "Size",
    "checked_axes",
    "count_labels",
    "far_apart",
    "few_bits",
    "find_images",
    "full_range",
    "like_grey_levels",
    "natural_key",
    "new_images",
    "numbered",
    "numbers_of",
    "open_image",
    "parse_intensity",
    "parse_interval",
    "read_frames",
    "read_mask",
    "resize",
    "resize_all",
    "resize_mask",
    "search_images",
    "sides",
    "significant_bits",
    "to_unit",
]
