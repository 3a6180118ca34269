"""Indexed pixels: grey levels with display colours, or numbers of colours in a table."""

import numpy as np

# A display table is a ramp of 256 steps; the colours of a reduced picture jump.
_LARGEST_STEP = 8


def meaning(index: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """What indexed pixels mean: a display table never changes them, other tables are looked up.

    Args:
        index: `[h, w]` uint8 or uint16.
        palette: `[n, 3]` uint8, red, green and blue.

    Returns:
        `[h, w]`, or `[h, w, 3]` uint8 where the table holds a picture's colours.
    """
    if is_display_table(palette):
        return index
    looked_up = palette[np.minimum(index, len(palette) - 1)]
    return looked_up if in_colour(palette) else np.ascontiguousarray(looked_up[..., 0])


def in_colour(palette: np.ndarray) -> bool:
    """Whether a table `[n, 3]` holds a picture's colours, neither greys nor those of a display."""
    return not is_display_table(palette) and not (palette == palette[:, :1]).all()


def is_display_table(palette: np.ndarray) -> bool:
    """Whether a table is one that programs colour grey levels with.

    Those have at least 256 entries, most of them close to the next one. Constant ends are those of
    a display range that was narrowed. Black entries after a jump are those that a reduced picture
    does not use, of which a TIFF has 256 all the same.
    """
    if len(palette) < 256:
        return False
    steps = np.abs(np.diff(palette.astype(int), axis=0)).max(axis=1)
    moving = np.flatnonzero(steps)
    if len(moving) == 0:
        return False
    first_of_end = moving[-1] + 1
    if first_of_end < len(steps) and steps[moving[-1]] > _LARGEST_STEP and not palette[-1].any():
        return False
    return bool(np.median(steps[moving[0] : moving[-1] + 1]) <= _LARGEST_STEP)
