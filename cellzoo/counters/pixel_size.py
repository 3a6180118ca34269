"""Images to the pixel size that a counter was trained at, where file and counter both know theirs.

What a counter knows is the pixel size of its training files. So an image first gets the size in
pixels that a training file would have for the same field of view, and then goes the way of these.
"""

from dataclasses import dataclass, replace

import numpy as np

from cellzoo.counters.preprocessing import MAX_SIDE, Preprocessing
from cellzoo.errors import UserError
from cellzoo.images import Frame, resize

_SAME = 1.02  # times; objectives keep their magnification within that
_MOST = 10.0  # times which pixels may differ before somebody has mistaken a unit
_LARGER = 1.05  # times which a side may be above the largest of training, and is shrunk to it


@dataclass(frozen=True)
class Rescaled:
    """An image with cells as large as in training.

    Attributes:
        frame: the image.
        share: of its height and width that is not padding.
        note: what a user should hear, without the file's name; empty where nothing was done.
    """

    frame: Frame
    share: tuple[float, float] = (1.0, 1.0)
    note: str = ""


def rescaled(
    frame: Frame,
    preprocessing: Preprocessing,
    sizes: np.ndarray | None,
    any_size: bool,
    name: str,
) -> Rescaled:
    """An image with cells as large as in the counter's training files.

    A counter that takes images of any size gets it as it is then. Another one resizes what it gets
    whole, so a smaller image is padded to the size of the training files, with its median, on the
    right and below; a larger one is refused.

    Args:
        frame: any; it stays as it is where it or the counter does not know a pixel size.
        preprocessing: of the counter.
        sizes: least and most height and width of the training files, ``[2, 2]``; None: not known.
        any_size: the counter takes images of any size.
        name: of the counter.

    Raises:
        UserError: the pixel sizes cannot be right, or the image is too large for the counter.
    """
    own, known = frame.pixel_size_um, preprocessing.pixel_size_um
    if own is None or known is None:
        return Rescaled(frame)
    factor = own / known
    if not 1 / _MOST <= factor <= _MOST:
        raise UserError(
            f"{frame.path}: has pixels of {own:.4g} µm and {name} was trained at {known:.4g} µm, "
            "set data.natural.pixel_size_um if the file is wrong"
        )
    if max(factor, 1 / factor) <= _SAME:
        factor = 1.0
    wanted = tuple(max(1, round(side * factor)) for side in frame.pixels.shape)
    ends = None if any_size else _ends(preprocessing, sizes)
    if not any_size and ends is None:
        return Rescaled(
            frame,
            note=f"has pixels of {own:.4g} µm, but {name} does not know how large its training "
            "files were: resized whole, whatever the scale",
        )
    least, most = ends or ((1, 1), (MAX_SIDE, MAX_SIDE))
    if any(side > _LARGER * end for side, end in zip(wanted, most, strict=True)):
        raise _too_large(frame, wanted, most, factor, name)
    wanted = tuple(min(side, end) for side, end in zip(wanted, most, strict=True))
    pixels = _resized(frame.pixels, wanted)
    padding = [(0, max(0, end - side)) for side, end in zip(wanted, least, strict=True)]
    if np.any(padding):
        pixels = np.pad(pixels, padding, constant_values=np.median(pixels).astype(pixels.dtype))
    share = tuple(side / whole for side, whole in zip(wanted, pixels.shape, strict=True))
    return Rescaled(
        replace(frame, pixels=pixels, pixel_size_um=known),
        share,
        _note(own, known, factor, bool(np.any(padding)), name),
    )


def _ends(
    preprocessing: Preprocessing, sizes: np.ndarray | None
) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Least and most height and width that go in; None: not known."""
    if not preprocessing.resize:
        return preprocessing.size, preprocessing.size
    if preprocessing.original_size:
        return preprocessing.original_size, preprocessing.original_size
    if sizes is None:
        return None
    least, most = (tuple(map(int, ends)) for ends in sizes)
    return least, most


def _resized(pixels: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Pixels in another size, of the type that they have."""
    if pixels.shape == size:
        return pixels
    resized = resize(pixels, size)
    return np.rint(resized).astype(pixels.dtype) if pixels.dtype.kind == "u" else resized


def _note(own: float, known: float, factor: float, padded: bool, name: str) -> str:
    said = f"has pixels of {own:.4g} µm and {name} was trained at {known:.4g} µm: "
    done = []
    if factor != 1:
        done.append(f"rescaled, {factor:.3g} times as many pixels each way")
    if padded:
        done.append("padded with its median to the size of the training files")
    if not done:
        return ""
    return said + " and ".join(done)


def _too_large(
    frame: Frame, wanted: tuple[int, ...], most: tuple[int, int], factor: float, name: str
) -> UserError:
    height, width = frame.pixels.shape
    crop = " x ".join(f"{int(end / factor)}" for end in reversed(most))
    return UserError(
        f"{frame.path}: is {width} x {height} px, which is {wanted[1]} x {wanted[0]} px at the "
        f"scale that {name} was trained at, and it takes {most[1]} x {most[0]}, crop it to {crop} "
        "px or set data.natural.pixel_size_um if the file is wrong"
    )
