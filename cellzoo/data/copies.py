"""Copies of an image: turned, mirrored, renamed, or stored with other grey levels or another size.

A copy in the validation or test split of an image that a network learned from makes its score too
good. A fingerprint says what an image shows in 296 numbers of one byte. It is made of the lowest
frequencies of a thumbnail, in which flips change signs and a transposition changes places. So all
eight orientations are compared without another look at the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.fft import dctn

from cellzoo.data.image_set import SPLITS, ImageSet
from cellzoo.errors import UserError

_SIDE = 64  # of the thumbnail, px
_ORDER = 24  # frequencies along each axis
_FREQUENCY = np.add.outer(np.arange(_ORDER), np.arange(_ORDER))
# Neither the level nor the light's gradient, which says how a lamp shines.
_KEPT = (_FREQUENCY < _ORDER) & (np.maximum.outer(np.arange(_ORDER), np.arange(_ORDER)) > 1)
LENGTH = int(_KEPT.sum())
# Weights that leave out what is wider than a cell: a Gaussian of 3 px of the thumbnail taken away.
_SQUARED = (np.pi / _SIDE * np.arange(_ORDER)) ** 2
_WEIGHTS = (1 - np.exp(-0.5 * 3.0**2 * np.add.outer(_SQUARED, _SQUARED)))[_KEPT]
# On ``ldc``, CHO cells, BBBC005, nuclei, blood smears and simulated chambers the pairs above both
# lines were copies, but for a few images with next to nothing in them. Those differ in detail.
_SIGNS_AGREE, _SHAPES_AGREE, _DETAIL_AGREES = 0.65, 0.9, 0.7
_DETAIL_SIDE, _DETAIL_WIDTH = 128, 3.0  # px, and px of the Gaussian taken away
_CANDIDATES = 32  # images of a block whose details are compared with those of one image
_AT_A_TIME = 2048  # images: memory holds so many squared numbers


@dataclass(frozen=True)
class Copy:
    """Two images that show the same.

    Attributes:
        first: index of the one.
        second: index of the other.
    """

    first: int
    second: int


def fingerprints(images: Sequence[np.ndarray]) -> np.ndarray:
    """What each image shows, whatever its grey levels and its size.

    Args:
        images: ``[h, w]`` each, any type of pixel.

    Returns:
        int8 ``[n, LENGTH]``; zeros where an image shows nothing at all.
    """
    found = np.zeros((len(images), LENGTH), np.int8)
    for k, image in enumerate(images):
        thumbnail = cv2.resize(
            image.astype(np.float32), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA
        )
        waves = dctn(thumbnail, norm="ortho")[:_ORDER, :_ORDER][_KEPT]
        most = np.abs(waves).max()
        if most > 1e-6 * max(np.abs(thumbnail).max(), 1e-30):
            # Roots: weak frequencies keep their signs in a byte.
            found[k] = np.round(127 * np.sign(waves) * np.sqrt(np.abs(waves) / most))
    return found


def copies(
    first: np.ndarray,
    second: np.ndarray,
    first_images: Sequence[np.ndarray] | None = None,
    second_images: Sequence[np.ndarray] | None = None,
) -> list[Copy]:
    """Pairs of images that show the same, in any of the eight orientations.

    Args:
        first: fingerprints, int8 ``[n, LENGTH]``.
        second: fingerprints, int8 ``[m, LENGTH]``.
        first_images: the n images themselves, ``[h, w]``, to compare the details of candidates.
            Without them two images with next to nothing in them may pass as copies.
        second_images: the m of ``second``.

    Returns:
        A pair for each index of ``second`` that has a copy in ``first``, in the order of
        ``second``.
    """
    pairs = []
    for start in range(0, len(second), _AT_A_TIME):
        part = second[start : start + _AT_A_TIME]
        found = [
            _most_alike(_likeness(first[begin : begin + _AT_A_TIME], part), begin)
            for begin in range(0, len(first), _AT_A_TIME)
        ]
        if not found:
            break
        alike, ones = (np.concatenate(each) for each in zip(*found, strict=True))
        for other in range(len(part)):
            for k in np.argsort(-alike[:, other], kind="stable"):
                one = int(ones[k, other])
                if alike[k, other] <= 0:
                    break
                if first_images is None or _same_detail(
                    first_images[one], second_images[start + other]
                ):
                    pairs.append(Copy(one, start + other))
                    break
    return pairs


def check_splits(images: ImageSet, prints: np.ndarray) -> None:
    """Sees to it that no image is a copy of one in another split.

    Args:
        images: of all splits.
        prints: the fingerprints of :attr:`ImageSet.given`, int8 ``[n, LENGTH]``.

    Raises:
        UserError: some are; the sentence names the first pair and how many there are.
    """
    pairs, given = [], images.given
    for k, split in enumerate(SPLITS):
        for other in SPLITS[k + 1 :]:
            first, second = (np.flatnonzero(images.splits == name) for name in (split, other))
            if len(first) and len(second):
                shown = ([given[k] for k in members] for members in (first, second))
                found = copies(prints[first], prints[second], *shown)
                pairs += [(first[pair.first], second[pair.second]) for pair in found]
    if pairs:
        first, second = pairs[0]
        more = f", and {len(pairs) - 1} more such pairs" if len(pairs) > 1 else ""
        raise UserError(
            f"{images.names[second]} ({images.splits[second]} split) shows the same as "
            f"{images.names[first]} ({images.splits[first]} split){more}, so scores would be too "
            "good: give both the same group in labels.csv, so that they stay together, or set "
            "data.natural.copies: allow."
        )


def _most_alike(likeness: np.ndarray, begin: int) -> tuple[np.ndarray, np.ndarray]:
    """The highest likenesses ``[k, m]`` of each column, and the rows they are in, from ``begin``.

    Of a time-lapse that nobody grouped all images are alike, which fills the memory with pairs.
    """
    if len(likeness) > _CANDIDATES:
        rows = np.argpartition(-likeness, _CANDIDATES, axis=0)[:_CANDIDATES]
    else:
        rows = np.broadcast_to(np.arange(len(likeness))[:, None], likeness.shape)
    return np.take_along_axis(likeness, rows, axis=0), rows + begin


def _likeness(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How alike the shapes are where both lines are passed, else 0: float32 ``[n, m]``."""
    best = np.zeros((len(first), len(second)), np.float32)
    signs, shapes = _compared(second)
    for turned in _orientations(first):
        turned_signs, turned_shapes = _compared(turned)
        agree = turned_signs @ signs.T
        alike = turned_shapes @ shapes.T
        alike[(agree < _SIGNS_AGREE) | (alike < _SHAPES_AGREE)] = 0
        np.maximum(best, alike, out=best)
    return best


def _orientations(prints: np.ndarray) -> list[np.ndarray]:
    """Fingerprints of the images, flipped and transposed."""
    square = np.zeros((len(prints), _ORDER, _ORDER), np.float32)
    square[:, _KEPT] = prints
    odd = (-1.0) ** np.arange(_ORDER)
    turned = []
    for image in (square, square.transpose(0, 2, 1)):
        for rows in (1.0, odd[:, None]):
            for columns in (1.0, odd[None]):
                turned.append((image * rows * columns)[:, _KEPT])
    return turned


def _compared(prints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Signs and shapes, each of length 1: their products say how well two images agree."""
    prints = prints.astype(np.float32)
    signs = np.sign(prints) / np.sqrt(LENGTH)
    shapes = np.sign(prints) * prints**2 * _WEIGHTS.astype(np.float32)
    lengths = np.linalg.norm(shapes, axis=1, keepdims=True)
    return signs, shapes / np.maximum(lengths, 1e-30)


def _same_detail(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether what is finer than a cell is the same in some orientation."""
    first, second = _detail(one), _detail(other)
    for turned in (second, second.T):
        for rows in (1, -1):
            for columns in (1, -1):
                product = float((first * turned[::rows, ::columns]).sum())
                if product >= _DETAIL_AGREES:
                    return True
    return False


def _detail(image: np.ndarray) -> np.ndarray:
    """Fine structure of a thumbnail, its squares adding up to 1."""
    size = (_DETAIL_SIDE, _DETAIL_SIDE)
    thumbnail = cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    fine = thumbnail - cv2.GaussianBlur(thumbnail, (0, 0), _DETAIL_WIDTH)
    fine -= fine.mean()
    return fine / max(float(np.linalg.norm(fine)), 1e-30)
