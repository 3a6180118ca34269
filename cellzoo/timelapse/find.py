"""Finds the cultivation chambers in a field of view by their walls.

A chamber is a rectangle with a wall along each side, of which an inlet may leave out a part, and
without a wall inside. Walls are straight, so the grey levels change the same way all along them;
along cells and dirt they do not. Nothing is assumed of sizes, of contrast or of which side is
bright; the chambers of a field are alike and turned alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from cellzoo.timelapse.registration import _blurred

# Shares of the field's longer side, which a scale of it does not change.
_SIDE = 512  # px, at which is searched
_LEAST = 0.05  # side of a chamber
_ALONG = (0.04, 0.02, 0.01)  # standard deviations of means along a wall, that are tried
_TOLERANCE = 0.004  # by which a wall may bend
_WALL = 0.014  # half of its thickness, fringes included
_TURN = 8.0  # degrees, most by which the chip is turned
_STRAIGHT = 0.65  # share of the gradient along a wall that points the same way
_CONTRAST = 3.0  # times the usual gradient
_SHARE = 0.2  # of a high gradient
_RIDGE = 0.6  # of the largest gradient across a wall
# Shares of a side that are wall: of the most open side, of the next and of the other two.
_OPEN, _HALF, _CLOSED = 0.4, 0.6, 0.8
_INSIDE = 0.55  # a line through the inside that is wall by as much divides it
_PIECE = 0.2  # of its length, below which a piece of it is of a cell
_BESIDE = 0.15  # of a side, in which fringes of its walls are
_SURE = 0.85  # share of all sides together that is wall
_CANDIDATES = 40  # walls each way, the longest ones
_CORNER = 0.12  # of a side, at its ends, that may be round
_ALIKE = 0.06  # by which sides of chambers of one kind differ

# Left, top, right and bottom, and the share of its sides that is wall.
_Rectangle = tuple[tuple[int, int, int, int], float]


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
    """

    x: float
    y: float
    width: float
    height: float
    angle: float = 0.0
    score: float = float("nan")
    name: str = ""

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
    size = [max(16, round(n * scale)) for n in full.shape]
    small = cv2.resize(full, size[::-1], interpolation=cv2.INTER_AREA)
    small = small - _blurred(small, max(small.shape) / 12)
    angle = _turn_of(small)
    upright, valid = _turned_back(small, angle)
    whole: list[_Rectangle] = []
    divided: list[_Rectangle] = []
    for along in _ALONG:
        for rectangle, is_divided in _rectangles(upright, valid, along):
            (divided if is_divided else whole).append(rectangle)
    found = _best_kind(whole, divided)
    factor = np.array(full.shape[::-1]) / small.shape[::-1]
    straight, _ = _turned_back(full, angle)
    boxes = []
    for (left, top, right, bottom), score in found:
        edges = np.array([left, top, right, bottom]) + 0.5
        left, top, right, bottom = _settled(straight, edges * np.tile(factor, 2))
        width, height = right - left, bottom - top
        middle = np.array([left + width / 2, top + height / 2])
        whole = np.array(full.shape[::-1]) / 2
        x, y = rotation(angle) @ (middle - whole) + whole - (width / 2, height / 2)
        boxes.append(Box(x, y, width, height, angle, score))
    return in_rows(boxes)


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


def _lines(picture: np.ndarray, valid: np.ndarray, along: float) -> np.ndarray:
    """Where an upright wall is, bool ``[height, width]``."""
    side = max(picture.shape)
    slope = cv2.Sobel(cv2.GaussianBlur(picture, (0, 0), 0.7), cv2.CV_32F, 1, 0, ksize=3)
    slope[:, :2] = slope[:, -2:] = 0
    along = max(2.0, along * side)

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values, (1, 2 * round(3 * along) + 1), sigmaX=0.1, sigmaY=along)

    signed, total = np.abs(mean(slope)), mean(np.abs(slope))
    usual, high = np.percentile(signed[valid], (50, 97))
    walls = (signed > _STRAIGHT * total) & valid
    walls &= signed > max(_CONTRAST * usual, _SHARE * high, 1e-6)
    near = np.ones((1, 2 * round(_WALL * side) + 1), np.uint8)
    walls &= signed > _RIDGE * cv2.dilate(signed, near)  # without the fringes beside it
    reach = max(1, round(_TOLERANCE * side))
    return cv2.dilate(walls.astype(np.uint8), np.ones((1, 2 * reach + 1), np.uint8)) > 0


def _candidates(walls: np.ndarray) -> np.ndarray:
    """Columns in which a long wall is, in the middle of its thickness."""
    side = max(walls.shape)
    length = max(5, round(0.7 * _LEAST * side))
    closed = cv2.morphologyEx(
        walls.astype(np.uint8), cv2.MORPH_OPEN, np.ones((length, 1), np.uint8)
    )
    strength = cv2.GaussianBlur(closed.sum(axis=0, dtype=np.float32)[None], (0, 0), 1)[0]
    reach = max(1, round(_WALL * side / 2))
    highest = cv2.dilate(strength[None], np.ones((1, 2 * reach + 1), np.uint8))[0]
    found = np.flatnonzero((strength >= highest) & (strength > 0.7 * length))
    return np.sort(found[np.argsort(-strength[found], kind="stable")[:_CANDIDATES]])


def _rectangles(
    picture: np.ndarray, valid: np.ndarray, along: float
) -> list[tuple[_Rectangle, bool]]:
    """Rectangles with walls around them, and whether there is one inside, too."""
    upright = _lines(picture, valid, along)
    level = _lines(np.ascontiguousarray(picture.T), np.ascontiguousarray(valid.T), along).T
    xs, ys = _candidates(upright), _candidates(np.ascontiguousarray(level.T))
    bent = 2 * max(1, round(_TOLERANCE * max(picture.shape))) + 1
    down = _sums(cv2.dilate(upright.astype(np.uint8), np.ones((1, bent), np.uint8)))
    across = _sums(cv2.dilate(level.astype(np.uint8), np.ones((bent, 1), np.uint8)).T)
    least = _LEAST * max(picture.shape)
    found = []
    for y0 in ys:
        for y1 in ys[ys - y0 >= least]:
            share = _share(down, y0, y1)[xs]
            closed, share = xs[share >= _OPEN], share[share >= _OPEN]
            left, right = np.triu_indices(len(closed), 1)
            wide = closed[right] - closed[left] >= least
            left, right = left[wide], right[wide]
            x0, x1 = closed[left], closed[right]
            cut = _CORNER * (x1 - x0)
            first, last = np.rint(x0 + cut).astype(int), np.rint(x1 - cut).astype(int)
            rows = (across[last] - across[first])[:, [y0, y1]] / np.maximum(1, last - first)[
                :, None
            ]
            sides = np.sort(np.column_stack([share[left], share[right], rows]), axis=1)
            good = (sides[:, :3] >= (_OPEN, _HALF, _CLOSED)).all(axis=1)
            for k in np.flatnonzero(good & (sides.mean(axis=1) >= _SURE)):
                box = (int(x0[k]), int(y0), int(x1[k]), int(y1))
                inside = max(
                    _inside(upright, box), _inside(level.T, (box[1], box[0], box[3], box[2]))
                )
                if inside < _CLOSED:
                    found.append(((box, float(sides[k].mean())), inside >= _INSIDE))
    return found


def _sums(walls: np.ndarray) -> np.ndarray:
    """Sums from the first row to each, ``[height + 1, width]``."""
    return np.vstack([np.zeros(walls.shape[1], int), np.cumsum(walls, axis=0, dtype=int)])


def _share(sums: np.ndarray, start: int, end: int) -> np.ndarray:
    """How much of each column is wall from one row to another, without round corners."""
    cut = _CORNER * (end - start)
    first, last = round(start + cut), round(end - cut)
    return (sums[last] - sums[first]) / max(1, last - first)


def _inside(walls: np.ndarray, box: tuple[int, ...]) -> float:
    """How much of a line down through the inside of a rectangle is wall, at the most."""
    x0, y0, x1, y1 = box
    margin = round(max(2, min(_BESIDE * (x1 - x0), 2 * _WALL * max(walls.shape))))
    inside = walls[y0:y1, x0 + margin : x1 - margin].astype(np.uint8)
    if not inside.size:
        return 0.0
    piece = max(3, round(_PIECE * (y1 - y0)))
    inside = cv2.morphologyEx(inside, cv2.MORPH_OPEN, np.ones((piece, 1), np.uint8))
    return float(inside.mean(axis=0).max())


def _best_kind(whole: Sequence[_Rectangle], divided: Sequence[_Rectangle]) -> list[_Rectangle]:
    """Rectangles of one size that do not overlap and take most of the field.

    Args:
        whole: without a wall inside; they say the size.
        divided: with something like a wall inside, which in a chamber of that size are cells.
    """
    best, most = [], 0.0
    order = sorted(whole, key=lambda one: -one[1])
    sizes = dict.fromkeys((x1 - x0, y1 - y0) for (x0, y0, x1, y1), _ in whole)
    for size in sizes:
        kind: list[_Rectangle] = []
        _add_alike(kind, order, size, _ALIKE)
        if _worth(kind) > most:
            most, best = _worth(kind), kind
    if best:
        size = tuple(float(np.median([box[k + 2] - box[k] for box, _ in best])) for k in range(2))
        _add_alike(best, sorted(divided, key=lambda one: -one[1]), size, _ALIKE / 2)
    return best


def _add_alike(
    kind: list[_Rectangle], others: Sequence[_Rectangle], size: tuple[float, float], share: float
) -> None:
    """Adds what has that size and does not overlap with what is there."""
    for other in others:
        x0, y0, x1, y1 = other[0]
        off = abs(x1 - x0 - size[0]) - 2, abs(y1 - y0 - size[1]) - 2
        if off[0] <= share * size[0] and off[1] <= share * size[1]:
            if not any(_overlap(other[0], one[0]) for one in kind):
                kind.append(other)


def _worth(kind: Sequence[_Rectangle]) -> float:
    """The area of rectangles, of which those with whole walls count more."""
    return sum((x1 - x0) * (y1 - y0) * score**3 for (x0, y0, x1, y1), score in kind)


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    smaller = min((b[2] - b[0]) * (b[3] - b[1]) for b in (one, other))
    return width > 0 and height > 0 and width * height > 0.05 * smaller


def _settled(field: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Left, top, right and bottom at the middle of their walls, at the full size of the field."""
    reach = max(2, round(_WALL * max(field.shape)))
    settled = edges.copy()
    for k in range(4):
        picture = field if k % 2 == 0 else field.T
        low, high = (edges[1], edges[3]) if k % 2 == 0 else (edges[0], edges[2])
        cut = _CORNER * (high - low)
        rows = slice(max(0, round(low + cut)), max(1, round(high - cut)))
        first = max(0, round(edges[k]) - reach)
        strip = picture[rows, first : round(edges[k]) + reach + 1]
        if strip.shape[1] < 3 or not strip.shape[0]:
            continue
        slope = np.abs(np.diff(np.median(strip, axis=0)))
        weight = np.maximum(slope - np.median(slope), 0)
        if weight.sum() > 0:
            settled[k] = first + 1 + (weight * np.arange(len(weight))).sum() / weight.sum()
    return settled
