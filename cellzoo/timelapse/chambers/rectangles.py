"""Rectangles with a wall along each side, of which an inlet may leave out a part, and none inside.

Walls are straight: grey levels change the same way all along them, and in all repeats. Along cells
and dirt they do not. Nothing is assumed of sizes, of contrast or of which side is bright.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from cellzoo.timelapse.chambers.lattice import Slopes, along

# Shares of the unit of slopes, which is the longer side of a field of 2.25 chambers.
_LEAST = 0.05  # side of a chamber
_ALONG = (0.04, 0.02, 0.01)  # standard deviations of means along a wall, that are tried
_TOLERANCE = 0.004  # by which a wall may bend
WALL = 0.014  # half of its thickness, fringes included
_STRAIGHT = 0.65  # share of the gradient along a wall that points the same way
_CONTRAST = 3.0  # times the usual gradient
_SHARE = 0.2  # of a high gradient
_RIDGE = 0.6  # of the largest gradient across a wall
# Shares of a side that are wall: of the most open side, of the next and of the other two.
_OPEN, _HALF, _CLOSED = 0.4, 0.6, 0.8
_SURE = 0.85  # share of all sides together that is wall
_PIECES = 10  # of a side, each of which is wall or not
_FACING = 0.68  # share of two sides that face each other, that is wall
_GAPS = 3  # pieces that are missing beside a wall, of both sides together
_THERE = 0.35  # of the slope along most of a wall, which a piece of it has at the least
_ON = 0.9  # share of a wall that goes on to the border
_INSIDE = 0.55  # a line through the inside that is wall by as much divides it
_FAINT = 0.3  # of the strongest of its walls, that the others have at the least
_WEAKER = 0.5  # of the strength of its sides, less than which divides nothing
_PIECE = 0.2  # of its length, below which a piece of it is of a cell
_BESIDE = 0.15  # of a side, in which fringes of its walls are
_LARGER = 1.2  # times the area of chambers, from which what the border cuts is another kind
_WIDE = 0.7  # of chambers, from which what lies between them may be chambers
_FULLER = 1.25  # times the change of grey levels, from which one of both is hollow
_CANDIDATES = 30  # walls each way, the longest ones
CORNER = 0.12  # of a side, at its ends, that may be round
_ALIKE = 0.06  # by which sides of chambers of one kind differ

# Left, top, right and bottom, and the share of its sides that is wall.
Rectangle = tuple[tuple[int, int, int, int], float]


def best_rectangles(
    slopes: Slopes, shift: tuple[float, float] | None
) -> tuple[list[Rectangle], str]:
    """The chambers of a field, or of one period of it.

    Args:
        slopes: of the field, or of two periods of it.
        shift: of a period; None: it is the field.

    Returns:
        Rectangles of one size that do not overlap, and a doubt about them, if there is one. None
        where the border cuts all larger ones.
    """
    found: dict[str, list[Rectangle]] = {"whole": [], "divided": [], "cut": []}
    for length in _ALONG:
        for rectangle, what in _rectangles(slopes, length, shift):
            if what == "cut" or _joined(slopes, rectangle[0]):
                found[what].append(rectangle)
    kind = _best_kind(found["whole"], found["divided"], shift)
    if not kind or max(map(_area, found["cut"]), default=0) > _LARGER * max(map(_area, kind)):
        return [], ""  # what is seen of the chambers is larger than this
    return (kind, "") if shift is None else _hollow(slopes, shift, kind)


def _joined(slopes: Slopes, box: tuple[int, ...]) -> bool:
    """Whether the walls of a rectangle meet, and of two that face each other most is there.

    Means along walls hide gaps that are as long as they are: here gaps are looked for without them.
    """
    x0, y0, x1, y1 = box
    upright = [_pieces(slopes, x, y0, y1) for x in (x0, x1)]
    level = [_pieces(slopes.flipped, y, x0, x1) for y in (y0, y1)]
    for one, other in (upright, level):
        if (one.mean() + other.mean()) / 2 < _FACING:
            return False
        for way in (1, -1):
            gaps = [int(np.argmax(np.append(side[::way], True))) for side in (one, other)]
            if min(gaps) >= 1 and sum(gaps) >= _GAPS:
                return False  # both end before the wall there, which goes on beside them
    return True


def _pieces(slopes: Slopes, x: int, y0: int, y1: int) -> np.ndarray:
    """Which pieces of an upright wall, without its corners, are there, ``[_PIECES]`` bool."""
    cut = CORNER * (y1 - y0)
    bend = max(1, round(_TOLERANCE * slopes.unit))
    columns = (x + np.arange(-bend, bend + 1)) % slopes.x.shape[1]
    edges = np.rint(np.linspace(y0 + cut, y1 - cut, _PIECES + 1)).astype(int)
    sums = np.vstack([np.zeros(len(columns)), np.cumsum(slopes.x[:, columns], axis=0, dtype=float)])
    means = np.diff(sums[edges], axis=0) / np.maximum(1, np.diff(edges))[:, None]
    way = np.sign(means.sum(axis=0))
    there = (means * way).max(axis=1)
    return there >= _THERE * np.percentile(there, 75)


def _hollow(
    slopes: Slopes, shift: tuple[float, float], kind: list[Rectangle]
) -> tuple[list[Rectangle], str]:
    """The rectangles, or what lies between them if that is what cells and dirt are in."""
    period = round(shift[0])
    ours = np.mean([_content(slopes, box) for box, _ in kind])
    doubt = "they touch each other" if touch(kind, period, 2 * WALL * slopes.unit) else ""
    for between in (_between(kind, period), _between_rows(kind)):
        if not between:
            continue
        theirs = np.mean([_content(slopes, box) for box, _ in between])
        walled = sum(_joined(slopes, box) for box, _ in between) > len(between) / 2
        if walled and theirs > _FULLER * ours and len(between) == len(kind):
            return between, ""
        if theirs > _FULLER * ours or (walled and ours <= _FULLER * theirs):
            doubt = "the chambers may be what lies between"
    return kind, doubt


def touch(kind: Sequence[Rectangle], period: int, wall: float) -> bool:
    """Whether only a wall is between two rectangles, of which one may be no chamber then."""
    for (x0, y0, x1, y1), _ in kind:
        for (left, top, right, bottom), _ in kind:
            for k in (0, period):
                beside = min(y1, bottom) > max(y0, top) and abs(left + k - x1) <= wall
                below = min(x1, right + k) > max(x0, left + k) and abs(top - y1) <= wall
                if beside or below:
                    return True
    return False


def _between(kind: Sequence[Rectangle], period: int) -> list[Rectangle]:
    """What lies between each rectangle and the next one of its row; none where that is narrow."""
    found = []
    for (x0, y0, x1, y1), share in kind:
        starts = [
            x + k for (x, top, _, bottom), _ in kind if min(bottom, y1) > max(top, y0)
            for k in (-period, 0, period, 2 * period)
        ]  # fmt: skip
        end = min(start for start in starts if start > x0)
        if end - x1 < _WIDE * (x1 - x0):
            return []
        found.append(((x1, y0, end, y1), share))
    return found


def _between_rows(kind: Sequence[Rectangle]) -> list[Rectangle]:
    """What lies between each rectangle and the next one below it; none where that is narrow."""
    found = []
    for (x0, y0, x1, y1), share in kind:
        below = [
            top for (left, top, right, _), _ in kind if top > y0 and min(right, x1) > max(left, x0)
        ]  # fmt: skip
        if below and min(below) - y1 >= _WIDE * (y1 - y0):
            found.append(((x0, y1, x1, min(below)), share))
    return found


def _content(slopes: Slopes, box: tuple[int, ...]) -> float:
    """How much grey levels change inside a rectangle, without its walls."""
    x0, y0, x1, y1 = box
    aside, down = (round(_BESIDE * n) for n in (x1 - x0, y1 - y0))
    rows = slice(y0 + down, y1 - down)
    columns = np.arange(x0 + aside, x1 - aside) % slopes.x.shape[1]
    return float((slopes.abs_x[rows] + slopes.abs_y[rows])[:, columns].mean())


def _lines(slopes: Slopes, length: float) -> tuple[np.ndarray, np.ndarray]:
    """Where an upright wall is, bool ``[height, width]``, and how strong, float32.

    Args:
        slopes: of the picture.
        length: in px, of a piece of a wall along which the slope points the same way.
    """
    side = slopes.unit
    signed, total = np.abs(along(slopes.x, length)), along(slopes.abs_x, length)
    valid = slopes.valid
    usual, high = np.percentile(signed[valid], (50, 97))
    walls = (signed > _STRAIGHT * total) & valid
    walls &= signed > max(_CONTRAST * usual, _SHARE * high, 1e-6)
    near = np.ones((1, 2 * round(WALL * side) + 1), np.uint8)
    walls &= signed > _RIDGE * cv2.dilate(signed, near)  # without the fringes beside it
    near = np.ones((1, 2 * max(1, round(_TOLERANCE * side)) + 1), np.uint8)
    return cv2.dilate(walls.astype(np.uint8), near) > 0, cv2.dilate(signed * walls, near)


def _candidates(walls: np.ndarray, side: float) -> np.ndarray:
    """Columns in which a long wall is, in the middle of its thickness."""
    length = max(5, round(0.7 * _LEAST * side))
    closed = cv2.morphologyEx(
        walls.astype(np.uint8), cv2.MORPH_OPEN, np.ones((length, 1), np.uint8)
    )
    strength = cv2.GaussianBlur(closed.sum(axis=0, dtype=np.float32)[None], (0, 0), 1)[0]
    reach = max(1, round(WALL * side / 2))
    highest = cv2.dilate(strength[None], np.ones((1, 2 * reach + 1), np.uint8))[0]
    found = np.flatnonzero((strength >= highest) & (strength > 0.7 * length))
    return np.sort(found[np.argsort(-strength[found], kind="stable")[:_CANDIDATES]])


def _rectangles(
    slopes: Slopes, share: float, shift: tuple[float, float] | None
) -> list[tuple[Rectangle, str]]:
    """Rectangles with walls around them; also what they are.

    They are "whole", "divided" by something like a wall inside, or "cut": a border is their wall.

    Args:
        slopes: of the field, or of two periods of it.
        share: of its side, the length of a piece of a wall.
        shift: of a period; None: it is the field.
    """
    side = slopes.unit
    widest = slopes.x.shape[1] if shift is None else 1.03 * shift[0]
    length = max(2.0, share * side)
    upright, strong = _lines(slopes, length)
    level, strong_level = (values.T for values in _lines(slopes.flipped, length))
    borders = _borders(slopes.valid, shift is None)
    for k, walls, strengths in ((0, upright, strong), (1, level.T, strong_level.T)):
        walls[:, borders[k]] = True
        strengths[:, borders[k]] = strengths.max()
    xs, ys = _candidates(upright, side), _candidates(np.ascontiguousarray(level.T), side)
    bent = 2 * max(1, round(_TOLERANCE * side)) + 1
    near, near_level = np.ones((1, bent), np.uint8), np.ones((bent, 1), np.uint8)
    down = _sums(cv2.dilate(upright.astype(np.uint8), near))
    across = _sums(cv2.dilate(level.astype(np.uint8), near_level).T)
    strength = (
        (down, _sums(cv2.dilate(strong, near))),
        (across, _sums(cv2.dilate(strong_level, near_level).T)),
    )
    shortest = _LEAST * side
    found = []
    for y0 in ys:
        for y1 in ys[ys - y0 >= shortest]:
            share = _share(down, y0, y1)[xs]
            closed, share = xs[share >= _OPEN], share[share >= _OPEN]
            left, right = np.triu_indices(len(closed), 1)
            wide = closed[right] - closed[left] >= shortest
            wide &= closed[right] - closed[left] <= widest
            wide &= closed[left] < (widest if shift is None else shift[0])
            left, right = left[wide], right[wide]
            x0, x1 = closed[left], closed[right]
            cut = CORNER * (x1 - x0)
            first, last = np.rint(x0 + cut).astype(int), np.rint(x1 - cut).astype(int)
            rows = (across[last] - across[first])[:, [y0, y1]] / np.maximum(1, last - first)[
                :, None
            ]
            all_sides = np.column_stack([share[left], rows[:, 0], share[right], rows[:, 1]])
            sides = np.sort(all_sides, axis=1)
            good = (sides[:, :3] >= (_OPEN, _HALF, _CLOSED)).all(axis=1)
            for k in np.flatnonzero(good & (sides.mean(axis=1) >= _SURE)):
                share_of = float(sides[k].mean())
                box = (int(x0[k]), int(y0), int(x1[k]), int(y1))
                other = (box[1], box[0], box[3], box[2])
                strengths = np.concatenate(
                    [_strength(*sums, b) for sums, b in zip(strength, (box, other), strict=True)]
                )
                if strengths.min() < _FAINT * strengths.max():
                    continue
                least = _WEAKER * strengths.min()
                inside = max(
                    _inside(strong > least, box, side), _inside(strong_level.T > least, other, side)
                )
                if inside >= _CLOSED:
                    continue
                cut_by = [j for j, edge in enumerate(box) if edge in borders[j % 2]]
                # A channel goes through all of the field; walls of what is cut go on to the border.
                if len(cut_by) > 1 or any(all_sides[k, 1 - j % 2 :: 2].min() < _ON for j in cut_by):
                    continue
                what = "divided" if inside >= _INSIDE else "cut" if cut_by else "whole"
                found.append(((box, share_of), what))
    return found


def _sums(walls: np.ndarray) -> np.ndarray:
    """Sums from the first row to each, ``[height + 1, width]``."""
    return np.vstack([np.zeros(walls.shape[1]), np.cumsum(walls, axis=0, dtype=float)])


def _share(sums: np.ndarray, start: int, end: int) -> np.ndarray:
    """How much of each column is wall from one row to another, without round corners."""
    cut = CORNER * (end - start)
    first, last = round(start + cut), round(end - cut)
    return (sums[last] - sums[first]) / max(1, last - first)


def _strength(walls: np.ndarray, strong: np.ndarray, box: tuple[int, ...]) -> np.ndarray:
    """How strong the upright walls of a rectangle are, where they are: left and right."""
    x0, y0, x1, y1 = box
    ends = [x0, x1]
    return _share(strong, y0, y1)[ends] / np.maximum(_share(walls, y0, y1)[ends], 1e-6)


def _borders(valid: np.ndarray, sideways: bool) -> tuple[list[int], list[int]]:
    """The first and the last column and row of what is known.

    Args:
        valid: bool ``[height, width]``.
        sideways: whether the first and the last column are borders of the field.
    """
    found = []
    for axis in (0, 1):
        known = np.flatnonzero(valid.mean(axis=axis) > 0.5)
        found.append([int(known[0]), int(known[-1])] if len(known) and (axis or sideways) else [])
    return found[0], found[1]


def _inside(walls: np.ndarray, box: tuple[int, ...], side: float) -> float:
    """How much of a line down through the inside of a rectangle is wall, at the most."""
    x0, y0, x1, y1 = box
    margin = round(max(2, min(_BESIDE * (x1 - x0), 2 * WALL * side)))
    inside = walls[y0:y1, x0 + margin : x1 - margin].astype(np.uint8)
    if not inside.size:
        return 0.0
    piece = max(3, round(_PIECE * (y1 - y0)))
    inside = cv2.morphologyEx(inside, cv2.MORPH_OPEN, np.ones((piece, 1), np.uint8))
    return float(inside.mean(axis=0).max())


def _best_kind(
    whole: Sequence[Rectangle],
    divided: Sequence[Rectangle],
    shift: tuple[float, float] | None,
) -> list[Rectangle]:
    """Rectangles of one size that do not overlap and take most of the field.

    Args:
        whole: without a wall inside; they say the size.
        divided: with something like a wall inside, which in a chamber of that size are cells.
        shift: of a period; None: it is the field.
    """
    best, most = [], 0.0
    order = sorted(whole, key=lambda one: -one[1])
    sizes = dict.fromkeys((x1 - x0, y1 - y0) for (x0, y0, x1, y1), _ in whole)
    for size in sizes:
        kind: list[Rectangle] = []
        _add_alike(kind, order, size, _ALIKE, shift)
        if _worth(kind) > most:
            most, best = _worth(kind), kind
    if best:
        size = tuple(float(np.median([box[k + 2] - box[k] for box, _ in best])) for k in range(2))
        order = sorted(divided, key=lambda one: -one[1])
        _add_alike(best, order, size, _ALIKE / 2, shift)
    return best


def _add_alike(
    kind: list[Rectangle],
    others: Sequence[Rectangle],
    size: tuple[float, float],
    share: float,
    shift: tuple[float, float] | None,
) -> None:
    """Adds what has that size and does not overlap with what is there."""
    for other in others:
        x0, y0, x1, y1 = other[0]
        off = abs(x1 - x0 - size[0]) - 2, abs(y1 - y0 - size[1]) - 2
        if off[0] <= share * size[0] and off[1] <= share * size[1]:
            again = [other[0]]
            if shift is not None:
                step = round(shift[0])
                again += [(x0 + k, other[0][1], x1 + k, other[0][3]) for k in (-step, step)]
            if not any(_overlap(box, one[0]) for one in kind for box in again):
                kind.append(other)


def _area(rectangle: Rectangle) -> int:
    x0, y0, x1, y1 = rectangle[0]
    return (x1 - x0) * (y1 - y0)


def _worth(kind: Sequence[Rectangle]) -> float:
    """The area of rectangles, of which those with whole walls count more."""
    return sum((x1 - x0) * (y1 - y0) * score**3 for (x0, y0, x1, y1), score in kind)


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    smaller = min((b[2] - b[0]) * (b[3] - b[1]) for b in (one, other))
    return width > 0 and height > 0 and width * height > 0.05 * smaller
