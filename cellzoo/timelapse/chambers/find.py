"""Finds the cultivation chambers in a field of view by their walls.

The chambers of a field are alike, turned alike, and most often repeat at a period. So the walls
are laid over each other first, and one period is searched for rectangles of walls.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from cellzoo.timelapse.chambers.edges import agreement, settled
from cellzoo.timelapse.chambers.lattice import PERIODS, Slopes, folded, period_of, slopes_of
from cellzoo.timelapse.chambers.rectangles import WALL, best_rectangles
from cellzoo.timelapse.chambers.registration import blurred

_SIDE = 512  # px, longer side at which is searched
_TURN = 8.0  # degrees, most by which the chip is turned
_LOCAL = 0.3  # correlation of a chamber's walls with those of all, from which it is there


@dataclass(frozen=True)
class Box:
    """A chamber in a field of view.

    Attributes:
        x: left edge before the turn, in px; 0 is the corner of the first pixel.
        y: upper edge.
        width: px.
        height: px.
        angle: degrees by which the box is turned around its middle, clockwise as one sees it.
        score: how surely it is one, 0 to 1; NaN where somebody has drawn it.
        name: of the chamber; empty where it has none yet.
        doubt: why it may be wrong; empty where nothing speaks against it.
    """

    x: float
    y: float
    width: float
    height: float
    angle: float = 0.0
    score: float = float("nan")
    name: str = ""
    doubt: str = ""

    @property
    def middle(self) -> np.ndarray:
        """Its middle, (x, y)."""
        return np.array([self.x + self.width / 2, self.y + self.height / 2])

    @property
    def corners(self) -> np.ndarray:
        """Its corners, ``[4, 2]`` (x, y), from the upper left clockwise; 0 is a pixel's corner."""
        half = np.array([self.width, self.height]) / 2
        signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        return signs * half @ rotation(self.angle).T + self.middle


def rotation(degrees: float) -> np.ndarray:
    """The matrix ``[2, 2]`` that turns points (x, y) clockwise as one sees it."""
    turn = np.deg2rad(degrees)
    return np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])


def find_chambers(field: np.ndarray) -> list[Box]:
    """The whole chambers of a field of view, by their walls.

    Args:
        field: ``[height, width]``, any grey type.

    Returns:
        Their boxes, along the walls, row by row; none where nothing looks like chambers.
    """
    full = np.asarray(field, np.float32)
    scale = min(1.0, _SIDE / max(full.shape))
    small = _evened(full, scale)
    angle = _turn_of(small)
    slopes = slopes_of(*_turned_back(small, angle))
    ways = [period_of(one) for one in (slopes, slopes.flipped)]
    flipped = ways[1][1] > ways[0][1]
    shift, _ = ways[flipped]
    if shift is not None:  # small chambers need more of the pixels that there are
        finer = min(1.0, scale * _SIDE / (PERIODS * shift[0])) / scale
        if finer > 1.1:
            small = _evened(full, scale * finer)
            slopes = slopes_of(*_turned_back(small, angle))
            shift = (shift[0] * finer, shift[1] * finer)
    factor = np.array(full.shape[::-1]) / small.shape[::-1]
    straight, _ = _turned_back(full, angle)
    if flipped:
        slopes, straight, factor = slopes.flipped, np.ascontiguousarray(straight.T), factor[::-1]
    found, unit, doubt = _placed(slopes, shift)
    edges = settled(straight, found, factor, max(2, round(WALL * unit * factor[0])))
    boxes = []
    middle = np.array(full.shape[::-1]) / 2
    for sides, score in edges:
        left, top, right, bottom = sides[[1, 0, 3, 2]] if flipped else sides
        width, height = right - left, bottom - top
        x, y = rotation(angle) @ (np.array([left + right, top + bottom]) / 2 - middle) + middle
        box = Box(x - width / 2, y - height / 2, width, height, angle, score, doubt=doubt)
        if box.corners.min() >= 0 and (box.corners <= full.shape[::-1]).all():
            boxes.append(box)
    return in_rows(boxes)


def _evened(full: np.ndarray, scale: float) -> np.ndarray:
    """The field in a smaller size, without uneven light."""
    size = [max(16, round(n * scale)) for n in full.shape]
    small = cv2.resize(full, size[::-1], interpolation=cv2.INTER_AREA)
    return small - blurred(small, max(small.shape) / 12)


def _placed(
    slopes: Slopes, shift: tuple[float, float] | None
) -> tuple[list[list[tuple[np.ndarray, float]]], float, str]:
    """Chambers, also cut ones: left, top, right, bottom in px, and how surely each is one.

    Args:
        slopes: of the field, whose walls are upright.
        shift: by which they repeat; None: not at all.

    Returns:
        A list for each row of chambers, the unit of lengths in px, and a doubt about them.
    """
    strip = slopes if shift is None else folded(slopes, shift)
    rows = []
    rectangles, doubt = best_rectangles(strip, shift)
    for box, share in rectangles:
        edges = np.array(box) + 0.5
        if shift is None:
            rows.append([(edges, share)])
            continue
        repeats = range(-2, int(slopes.x.shape[1] / shift[0]) + 2)
        there = [edges + np.tile(np.array(shift) * k, 2) for k in repeats]
        sure = [agreement(slopes, strip, edges, other) for other in there]
        rows.append(
            [(other, s) for other, s in zip(there, sure, strict=True) if s >= _LOCAL]
        )  # fmt: skip
    return rows, strip.unit, doubt


def in_rows(boxes: Sequence[Box]) -> list[Box]:
    """Boxes from the upper left to the lower right, row by row, named by their numbers."""
    rows: list[list[Box]] = []
    for box in sorted(boxes, key=lambda b: b.middle[1]):
        if rows and box.middle[1] - rows[-1][0].middle[1] < box.height / 2:
            rows[-1].append(box)
        else:
            rows.append([box])
    return [box for row in rows for box in sorted(row, key=lambda b: b.middle[0])]


def _turn_of(picture: np.ndarray) -> float:
    """Degrees by which the walls are turned: rows and columns are then most uneven."""

    def unevenness(degrees: float) -> float:
        turned, valid = _turned_back(picture, degrees)
        total = 0.0
        for axis in (0, 1):
            slope = np.abs(cv2.Sobel(turned, cv2.CV_32F, 1 - axis, axis, ksize=3)) * valid
            slope = np.minimum(slope, limit)
            profile = slope.sum(axis=axis) / np.maximum(valid.sum(axis=axis), 1)
            total += float(np.var(profile))
        return total

    limit = float(np.percentile(np.abs(cv2.Sobel(picture, cv2.CV_32F, 1, 0, ksize=3)), 95))
    coarse = np.arange(-_TURN, _TURN + 0.1, 0.5)
    best = coarse[int(np.argmax([unevenness(a) for a in coarse]))]
    fine = best + np.arange(-0.5, 0.51, 0.1)
    return float(fine[int(np.argmax([unevenness(a) for a in fine]))])


def _turned_back(picture: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """A picture turned around its middle so that walls are upright, and where it is known."""
    height, width = picture.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    turned = cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
    valid = cv2.warpAffine(np.ones_like(picture), matrix, (width, height))
    return turned, cv2.erode((valid > 0.99).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
