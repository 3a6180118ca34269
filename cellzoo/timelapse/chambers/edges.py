"""Where exactly the walls of chambers are, at the full size of a field."""

from collections.abc import Sequence

import cv2
import numpy as np

from cellzoo.timelapse.chambers.lattice import Slopes, along
from cellzoo.timelapse.chambers.rectangles import CORNER, WALL

_ROUNDS = 4
_ASTRAY = 0.03  # by which sides of chambers may differ in length
_ALONG = 0.02  # of the unit of slopes: standard deviation of means along walls


def agreement(slopes: Slopes, strip: Slopes, edges: np.ndarray, other: np.ndarray) -> float:
    """Correlation of the walls of a chamber with those of all, 0 where it is outside the field.

    Args:
        slopes: of the field.
        strip: the mean of all repeats.
        edges: of the chamber in the strip.
        other: of one of its repeats in the field.
    """
    wall = max(2, round(WALL * strip.unit))
    length = max(2.0, _ALONG * strip.unit)
    products = np.zeros(3)
    for one, mean, flipped in ((slopes, strip, False), (slopes.flipped, strip.flipped, True)):
        ours, theirs = (e[[1, 0, 3, 2]] if flipped else e for e in (edges, other))
        for k in (0, 2):
            a = _strip(along(mean.x, length), ours, k, wall)
            b = _strip(along(one.x, length), theirs, k, wall)
            products += [(a * b).sum(), (a**2).sum(), (b**2).sum()]
    return float(products[0] / np.sqrt(products[1] * products[2] + 1e-12))


def _strip(picture: np.ndarray, edges: np.ndarray, k: int, wall: int) -> np.ndarray:
    """The surroundings of the left (0) or right (2) wall, 0 where the field ends."""
    cut = CORNER * (edges[3] - edges[1])
    height = max(1, round(edges[3] - edges[1] - 2 * cut))
    first = edges[k] - 0.5 - wall, edges[1] + cut
    return cv2.warpAffine(
        picture, np.array([[1, 0, first[0]], [0, 1, first[1]]]), (2 * wall + 1, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )  # fmt: skip


def settled(
    field: np.ndarray,
    rows: Sequence[Sequence[tuple[np.ndarray, float]]],
    factor: np.ndarray,
    reach: int,
) -> list[tuple[np.ndarray, float]]:
    """Left, top, right and bottom at the middle of walls, at the full size of the field.

    Args:
        field: float32 ``[height, width]``, turned upright.
        rows: of chambers in a smaller picture, which look alike.
        factor: px of the field for one of that picture, x and y.
        reach: px of the field, half the thickness of a wall.
    """
    found = []
    for row in rows:
        edges = [edge * np.tile(factor, 2) for edge, _ in row]
        for _ in range(_ROUNDS):  # a wall may begin outside of what is seen at first
            profiles = [[_across(field, edge, k, reach) for k in range(4)] for edge in edges]
            mean = [_mean([p[k] for p in profiles]) for k in range(4)]
            moves = np.array([0.0 if m is None else _middle(m) for m in mean])
            edges = [edge + moves for edge in edges]
        if len(row) > 1:
            aside = [
                [_moved(mean[k::2], own[k::2], reach // 2) for k in range(2)] for own in profiles
            ]
            edges = [edge + np.tile(move, 2) for edge, move in zip(edges, aside, strict=True)]
        found += [(edge, score) for edge, (_, score) in zip(edges, row, strict=True)]
    return of_one_size(found, [edge * np.tile(factor, 2) for row in rows for edge, _ in row])


def of_one_size(
    found: list[tuple[np.ndarray, float]], first: Sequence[np.ndarray]
) -> list[tuple[np.ndarray, float]]:
    """Edges that went astray, after cells or dirt beside a wall, are put where they were at first.

    Chambers look alike, so sides that went astray have another length than those of most.

    Args:
        found: left, top, right and bottom, and how surely each is a chamber.
        first: the edges at first.
    """
    if len(found) < 3:
        return found
    lengths = np.array([edges[2:] - edges[:2] for edges, _ in found])
    usual = np.median(lengths, axis=0)
    mended = []
    for (edges, score), length, start in zip(found, lengths, first, strict=True):
        astray = np.abs(length - usual) > _ASTRAY * usual
        middle = (start[:2] + start[2:]) / 2
        ends = np.concatenate([middle - usual / 2, middle + usual / 2])
        mended.append((np.where(np.tile(astray, 2), ends, edges), score))
    return mended


def _across(field: np.ndarray, edges: np.ndarray, k: int, reach: int) -> np.ndarray | None:
    """The slope across a wall, ``[2 * reach + 1]``, of the median along it; None: it is cut."""
    picture, edges = (field, edges) if k % 2 == 0 else (field.T, edges[[1, 0, 3, 2]])
    k -= k % 2
    cut = CORNER * (edges[3] - edges[1])
    rows = slice(max(0, round(edges[1] + cut)), max(0, round(edges[3] - cut)))
    columns = round(edges[k]) + np.arange(-reach - 1, reach + 1)
    strip = picture[rows]
    if columns[-1] < 1 or columns[0] >= picture.shape[1] - 1:
        return None
    strip = strip[:, np.clip(columns, 0, picture.shape[1] - 1)]
    if len(strip) < 0.5 * (edges[3] - edges[1] - 2 * cut):
        return None
    return np.diff(np.median(strip, axis=0))


def _mean(profiles: Sequence[np.ndarray | None]) -> np.ndarray | None:
    known = [p for p in profiles if p is not None]
    return np.mean(known, axis=0) if known else None


def _middle(profile: np.ndarray) -> float:
    """Where the middle of a wall is, px from the middle of the profile."""
    weight = np.abs(profile)
    weight = np.maximum(weight - np.median(weight), 0)
    reach = len(profile) // 2
    return float((weight * np.arange(-reach, reach + 1)).sum() / max(weight.sum(), 1e-12))


def _moved(
    mean: Sequence[np.ndarray | None], own: Sequence[np.ndarray | None], reach: int
) -> float:
    """By how many px two walls lie beside where they are in the mean."""
    pairs = [(a, b) for a, b in zip(mean, own, strict=True) if a is not None and b is not None]
    if not pairs:
        return 0.0
    shifts = np.arange(-reach, reach + 1)
    likeness = [sum(float((np.roll(a, s) * b).sum()) for a, b in pairs) for s in shifts]
    return float(shifts[int(np.argmax(likeness))])
