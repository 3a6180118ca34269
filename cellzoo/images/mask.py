"""Masks and instance label images."""

import re
from pathlib import Path

import cv2
import numpy as np

from cellzoo.errors import UserError
from cellzoo.images.grey import checked_pixels, refusing
from cellzoo.images.notes import Notes
from cellzoo.images.read import read_frames

# Cells cover less of a picture than this, unless it is confluent or the mask is inverted.
_MUCH_CELL = 0.8
_MOST_PIECES = 5  # of a cell on average; grey levels of an image lie in many


def read_mask(
    path: Path,
    frame: int | None = None,
    axes: str | None = None,
    or_only: bool = False,
    notes: Notes | None = None,
) -> np.ndarray:
    """Read a mask or an instance label image.

    Args:
        path: a picture or stack of 1, 8, 16 or 32 bit or of whole decimal numbers, or an array
            (`.npy`): 0 is background, anything else a cell. Indexed pictures are read as they are
            stored.
        frame: which one of a stack, from 0; None: the file's only one.
        axes: of the images' stacks, see `read_frames`; a stack of masks has the same but for
            channels.
        or_only: take the only frame of a file, whatever `frame` is.
        notes: collects what is odd about it, to be said once for many masks; None: it is said.

    Returns:
        `[height, width]` uint8 or uint16, as stored; cells numbered above 65,535 are numbered anew.

    Raises:
        UserError: the file cannot be read, its values are not exact, it has no background, or it
            lacks the frame.
    """
    if path.suffix.lower() in (".jpg", ".jpeg"):
        raise UserError(f"{path}: is a JPEG, which blurs a mask's edges, save it as PNG or TIFF")
    axes = axes and re.sub(r"C\d*", "", axes.upper())
    if path.suffix.lower() == ".npy":
        masks = _array(path)
    else:
        masks = [frame.pixels for frame in read_frames(path, axes=axes, mask=True)]
    if frame is None and len(masks) > 1:
        raise UserError(
            f"{path}: holds {len(masks)} frames but is the mask of one image, name the frame: "
            f"{path.name}#0 to {path.name}#{len(masks) - 1}"
        )
    if or_only and len(masks) == 1:
        frame = 0
    if (frame or 0) >= len(masks):
        raise UserError(f"{path}: has no frame {frame}, its last one is {len(masks) - 1}")
    mask = masks[frame or 0]
    if mask.dtype.kind != "u":
        raise UserError(f"{path}: has {mask.dtype} values, save the mask with 8 or 16 bit")
    own = Notes() if notes is None else notes
    _check_background(mask, path, own)
    if notes is None:
        own.say()
    return mask


def count_labels(mask: np.ndarray) -> int | None:
    """The number of cells that a label image numbers.

    Args:
        mask: `[height, width]` of whole numbers, 0 is background.

    Returns:
        Cells; None for a single number that is not that of a single cell, such as 255.
    """
    numbers = np.unique(mask[mask > 0])
    if len(numbers) == 1:
        parts = cv2.connectedComponents((mask > 0).astype(np.uint8))[0] - 1
        if parts > 1 or numbers[0] == 255:
            return None
    return len(numbers)


def like_grey_levels(mask: np.ndarray) -> str | None:
    """What to say of a label image whose numbers lie in many pieces; None: its cells may be whole.

    Args:
        mask: `[height, width]` of whole numbers, 0 is background.
    """
    from skimage import measure  # 0.2 s, which those that read no label image go without

    cells, pieces = len(np.unique(mask[mask > 0])), int(measure.label(mask).max())
    if pieces <= _MOST_PIECES * (cells + 1):
        return None
    return (
        f"has {cells} numbers in {pieces} pieces, like grey levels: give the label image, in which "
        "each cell is one piece"
    )


def _array(path: Path) -> list[np.ndarray]:
    """The masks of a NumPy file."""
    with refusing(path):
        if not path.is_file():
            raise UserError(f"{path}: cannot be opened (No such file), check the path")
        array = np.load(path, allow_pickle=False, mmap_mode="r")
        if array.ndim not in (2, 3):
            raise UserError(f"{path}: has {array.ndim} dimensions, save one mask [height, width]")
        masks = array[None] if array.ndim == 2 else array
        return [checked_pixels(np.asarray(mask), path, mask=True) for mask in masks]


def _check_background(mask: np.ndarray, path: Path, notes: Notes) -> None:
    if mask.min() > 0:
        numbers = np.unique(mask)
        shown = ", ".join(map(str, numbers[:4])) + (", ..." if len(numbers) > 4 else "")
        raise UserError(
            f"{path}: has no 0, the number of the background, but {shown}: save it with 0 where "
            "there is no cell"
        )
    cells = np.count_nonzero(mask) / mask.size
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    if cells > _MUCH_CELL and np.count_nonzero(edge) / edge.size > _MUCH_CELL:
        notes.add(
            path,
            f"more than {_MUCH_CELL:.0%} of it are cell, its edge, too: it may be inverted, 0 is "
            "the background",
        )
