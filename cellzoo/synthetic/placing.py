"""Where the cells of a synthetic image lie, and how large they are."""

import math
from typing import NamedTuple

import numpy as np

from cellzoo.synthetic.settings import Synthetic

# A cell gets _TRIES_PER_ROUND random places at a time, _ROUNDS times, before the rule is relaxed.
_TRIES_PER_ROUND = 16
_ROUNDS = 12


class Cells(NamedTuple):
    """The cells of one image; every array [count]. x, y, a, b in px, angle in radians.

    a and b are half axes; a lies along the angle. Pixel k reaches from k to k + 1.
    """

    x: np.ndarray
    y: np.ndarray
    a: np.ndarray
    b: np.ndarray
    angle: np.ndarray
    paired: np.ndarray


def place_cells(settings: Synthetic, rng: np.random.Generator, size: int, count: int) -> Cells:
    """Draw shapes, then find a place for each body (a cell or a pair), the largest first."""
    radius = rng.uniform(*settings.radius, size=count)
    if settings.oversized:
        larger = rng.uniform(1.5, 2.5, size=count)
        radius *= np.where(rng.random(count) < settings.oversized, larger, 1)
    # Where a pair starts: the body there takes this cell and the next.
    starts, paired, k = [], np.zeros(count, bool), 0
    divides = rng.random(count) < settings.divisions
    while k < count:
        pair = bool(divides[k]) and k + 1 < count
        starts.append(slice(k, k + 1 + pair))
        if pair:
            radius[k + 1] = radius[k]
            paired[k : k + 2] = True
        k += 1 + pair

    axes = radius - rng.uniform(0, settings.shorten, size=(2, count)) / 2
    axes[rng.integers(0, 2, size=count), np.arange(count)] /= rng.uniform(
        1, settings.elongation, size=count
    )
    angle = np.radians(rng.uniform(*settings.rotation, size=count))
    for body in starts:
        if paired[body.start]:
            angle[body] = rng.uniform(0, math.pi)

    places = _Places(settings, rng, size, count)
    for body in sorted(starts, key=lambda b: (b.start - b.stop, -radius[b.start])):
        if not places.add(body, axes, angle, relax=False):
            axes[:, body] *= settings.radius[0] / radius[body]
            places.add(body, axes, angle, relax=True)
    return Cells(*places.centres, *axes, angle, paired)


def with_cut_cells(settings: Synthetic, rng: np.random.Generator, size: int, cells: Cells) -> Cells:
    """The cells, and after them some whose middle lies just outside the image."""
    number = rng.integers(settings.cut[0], settings.cut[1] + 1)
    radius = rng.uniform(*settings.radius, size=number)
    along = rng.uniform(0, size, size=number)
    outside = radius * rng.uniform(-0.8, 0, size=number)
    far = rng.random(number) < 0.5
    across = np.where(far, size - outside, outside)
    upright = rng.random(number) < 0.5
    x, y = np.where(upright, across, along), np.where(upright, along, across)
    new = (x, y, radius, radius, np.zeros(number), np.zeros(number, bool))
    return Cells(*(np.concatenate(pair) for pair in zip(cells, new, strict=True)))


class _Places:
    """The places given out so far in one image."""

    def __init__(
        self, settings: Synthetic, rng: np.random.Generator, size: int, count: int
    ) -> None:
        """Start with an empty image that is to hold ``count`` cells."""
        self.settings, self.rng, self.size = settings, rng, size
        self.centres = np.zeros((2, count))
        # Discs around the cells placed so far, in order of placement.
        self.discs = np.zeros((3, count))
        self.placed = 0

    def add(self, body: slice, axes: np.ndarray, angle: np.ndarray, relax: bool) -> bool:
        """Place one body, if a place tried keeps the overlap rule or ``relax`` allows the best.

        Args:
            body: Which cells: one, or two that form a pair.
            axes: Half axes of all cells, [2, count].
            angle: Directions of all cells in radians, [count].
            relax: Whether the best of the places tried is taken if none keeps the rule.

        Returns:
            Whether the body was placed.
        """
        left, right, top, bottom = self.settings.margins
        reach = axes[:, body].max(axis=0)
        shift = np.zeros((2, len(reach)))
        if len(reach) == 2:
            apart = axes[0, body].sum() - self.settings.division_overlap
            line = angle[body.start]
            shift[:] = np.outer([math.cos(line), math.sin(line)], [-apart / 2, apart / 2])
        low = np.array([left, top]) + (reach - shift).max(axis=1)
        high = self.size - np.array([right, bottom]) - (reach + shift).max(axis=1)
        # With negative margins: a count is true only while every cell can be seen.
        low = np.maximum(low, -shift.min(axis=1))
        high = np.minimum(high, self.size - shift.max(axis=1))

        clumping = self.settings.clumping
        beside = bool(clumping and self.placed and not relax and self.rng.random() < clumping)
        best_room, best = -math.inf, low
        for _ in range(_ROUNDS):
            if beside:
                tries = self._beside(shift, reach)
                room = self._room(tries, shift, reach)
                room[((tries < low) | (tries > high)).any(axis=1)] = -math.inf
            else:
                tries = low + self.rng.random((_TRIES_PER_ROUND, 2)) * (high - low)
                room = self._room(tries, shift, reach)
            # The first that keeps the rule, not the roomiest: that would space cells evenly.
            choice = int(np.argmax(room >= -self.settings.overlap))
            if room[choice] >= -self.settings.overlap:
                best, relax = tries[choice], True
                break
            choice = int(np.argmax(room))
            if room[choice] > best_room:
                best_room, best = room[choice], tries[choice]
        if not relax:
            return False
        self.centres[:, body] = best[:, None] + shift
        new = slice(self.placed, self.placed + len(reach))
        self.discs[:2, new], self.discs[2, new] = self.centres[:, body], reach
        self.placed = new.stop
        return True

    def _beside(self, shift: np.ndarray, reach: np.ndarray) -> np.ndarray:
        """Places where a body touches a cell, or keeps the gap that is asked for, [tries, 2].

        They may be outside the margins.
        """
        x, y, r = self.discs[:, self.rng.integers(0, self.placed, _TRIES_PER_ROUND)]
        member = self.rng.integers(0, len(reach), _TRIES_PER_ROUND)
        angle = self.rng.uniform(0, 2 * math.pi, _TRIES_PER_ROUND)
        overlap = self.settings.overlap
        # A part of the overlap that is allowed, but the whole of a gap.
        away = r + reach[member] - np.minimum(overlap, overlap * self.rng.random(_TRIES_PER_ROUND))
        middle = np.stack([x + away * np.cos(angle), y + away * np.sin(angle)], axis=1)
        return middle - shift.T[member]

    def _room(self, tries: np.ndarray, shift: np.ndarray, reach: np.ndarray) -> np.ndarray:
        """Px between the body at each place and the nearest cell, negative where they overlap."""
        if not self.placed:
            return np.full(len(tries), math.inf)
        x, y, r = self.discs[:, None, : self.placed]
        room = [
            np.hypot(tries[:, :1] + dx - x, tries[:, 1:] + dy - y) - (r + own)
            for dx, dy, own in zip(*shift, reach, strict=True)
        ]
        return np.concatenate(room, axis=1).min(axis=1)
