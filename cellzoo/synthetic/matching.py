"""Settings with which synthetic cells look like natural images, found without a label.

Whatever stands out from an image's background, be it a cell, dirt or a ruling, is described by
rings around its middle: how bright each is, and how lopsided, oblong and grainy. What cells look
like shows in the distribution of these descriptions, whatever their number. The settings searched
are those that bring the distribution of drawn things nearest to that of natural ones.

Settings that a background tells by itself are measured: its level, gradient and noise.

Example:
    >>> cells = SyntheticCells(Synthetic(preset="bf"))
    >>> found = match(natural, cells, {}, find_counts=True, seed=1)
    >>> cells = cells.changed(**found.settings)
"""

import itertools
import logging
import math
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
from cmaes import CMA
from scipy.spatial.distance import cdist

from cellzoo.errors import UsageError, UserError
from cellzoo.synthetic.drawing import SyntheticCells

log = logging.getLogger("cellzoo")

MIN_IMAGES = 20
_MIN_THINGS = 40
_MAX_IMAGES = 160
_MAX_THINGS = 600
_RINGS, _ANGLES = 12, 16
# Of each group of a description, brightness, lopsided, oblong, grainy: how much it weighs.
_WEIGHTS = (1.0, 0.6, 0.6, 0.6)
_NUMBER_WEIGHT = 0.15
_FIRST, _CLIMBS, _GENERATIONS, _CHILDREN = 240, 3, 60, 14
_DRAWN = 48  # images drawn for each try
_AXES = (
    "radius", "radius_spread", "elongation", "irregularity", "rim_width", "rim", "fill", "core",
    "grey_spread", "halo", "contrast", "blur", "texture", "shading", "specks", "lines",
    "clutter_contrast", "count",
)  # fmt: skip
# What most cells have none of: the search begins with little.
_SPARING = ("irregularity", "texture", "shading", "specks", "lines")


@dataclass(frozen=True)
class Match:
    """What a search found.

    Attributes:
        settings: keys of ``data.synthetic`` to change.
        before: distance of the cells as they were, see :meth:`Natural.distance`.
        after: distance with the settings changed.
        floor: distance between two halves of the natural images, below which nothing can be told;
            NaN where they show too little.
    """

    settings: dict[str, Any]
    before: float
    after: float
    floor: float


def match(
    images: np.ndarray,
    cells: SyntheticCells,
    settled: dict[str, Any],
    find_counts: bool,
    seed: int,
    generations: int = _GENERATIONS,
    workers: int | None = None,
) -> Match:
    """Searches settings with which synthetic cells look like natural images.

    The result depends on the seed alone, not on the number of workers.

    Args:
        images: natural ones, ``[n, size, size]`` in [0, 1].
        cells: whose other settings stay.
        settled: keys that change, and are no part of the search.
        find_counts: search the most cells in an image, too.
        seed: of everything.
        generations: of the last climb; fewer take less time and end farther off.
        workers: processes; None: as many as there are processors.

    Raises:
        UserError: there are too few images, or hardly anything stands out in them.
    """
    if len(images) < MIN_IMAGES:
        raise UserError(
            f"{len(images)} natural training images are too few to match synthetic cells to: "
            f"{MIN_IMAGES} are needed, labelled or not."
        )
    order = np.random.default_rng(seed).permutation(len(images))[: 2 * _MAX_IMAGES]
    images = images[order]
    natural = Natural(images[:_MAX_IMAGES], cells.background)
    floor = _distance_of_halves(images, cells.background)
    fixed = {**measured(images, cells.background), **settled}
    start = cells.changed(**fixed)
    axes = _AXES if find_counts else _AXES[:-1]
    distance = partial(_try, natural, start, axes, _DRAWN)
    workers = min(workers or os.cpu_count() or 1, _CHILDREN)
    # One seed for the points of a call, which are compared, and another for the next call, so that
    # no climb comes to fit the chances of one.
    seeds = ((seed, 3, k) for k in itertools.count())

    def search(mapping: Callable) -> np.ndarray:
        def values(points: np.ndarray) -> list[float]:
            return list(mapping(distance, [next(seeds)] * len(points), points))

        return _search(values, axes, seed, generations)

    if workers == 1:
        point = search(map)
    else:
        # Workers leave Ctrl-C to us. "spawn": the fork of a process with threads may hang.
        context, quiet = multiprocessing.get_context("spawn"), (signal.SIGINT, signal.SIG_IGN)
        with ProcessPoolExecutor(workers, context, signal.signal, quiet) as pool:
            point = search(partial(pool.map, chunksize=2))
    settings = {**fixed, **settings_at(point, axes, natural.scale)}
    if find_counts:
        settings |= _with_rare_counts(*settings["count_range"])
    fresh = (seed, 1)
    return Match(
        settings,
        natural.distance(cells.render(4 * _DRAWN, fresh)[0]),
        natural.distance(cells.changed(**settings).render(4 * _DRAWN, fresh)[0]),
        floor,
    )


def _distance_of_halves(images: np.ndarray, background: np.ndarray | None) -> float:
    """Between two halves of natural images; NaN where too little stands out in the first."""
    half = len(images) // 2
    try:
        return Natural(images[:half], background).distance(images[half:])
    except UserError:
        return float("nan")


class Natural:
    """Natural images, to measure how far drawn ones are from them.

    Attributes:
        scale: of what stands out, px: about 0.8 of the radius of a cell.
    """

    def __init__(self, images: np.ndarray, background: np.ndarray | None = None):
        """Describes images, ``[n, size, size]`` in [0, 1].

        ``background`` is that of all, several of which each image has one, or None.

        Raises:
            UserError: hardly anything stands out.
        """
        self.background = background
        standing_out = [np.abs(image * 255 - _emptied(image, background)) for image in images]
        self.scale = _scale(standing_out)
        # Of the background; 3 grey levels can hardly be seen.
        usual = np.median([np.median(_blurred(image, self.scale)) for image in standing_out])
        self.threshold = max(4 * float(usual), 3.0)
        found, weights, self.numbers = self._things(images)
        if len(found) < _MIN_THINGS:
            raise UserError(
                f"Hardly anything stands out from the background of the {len(images)} natural "
                "images, so there is nothing to match cells to: take images with more cells or "
                "contrast."
            )
        centre = np.average(found, axis=0, weights=weights)
        deviation = np.sqrt(np.average((found - centre) ** 2, axis=0, weights=weights))
        group = np.arange(found.shape[1]) // _RINGS
        shared = np.array([np.sqrt(np.mean(deviation[group == k] ** 2)) for k in range(4)])
        # A ring that hardly varies must not outweigh the others of its group.
        self.unit = (0.7 * deviation + 0.3 * shared[group] + 1e-3) / np.array(_WEIGHTS)[group]
        self.found, self.weights = found / self.unit, weights
        self.spread = _mean_distance(self.found, self.weights, self.found, self.weights)

    def distance(self, images: np.ndarray) -> float:
        """How unlike the natural ones images are, ``[n, size, size]`` in [0, 1].

        0: alike. 1: two things of the two kinds are as unlike as if the kinds had nothing in
        common but the differences within them. It is the energy distance between the descriptions
        of things, in units of the mean distance between two natural ones, and a small part of how
        far the number of things in an image is off.
        """
        found, weights, numbers = self._things(images)
        shares = np.linspace(0.02, 0.98, 25)
        off = np.abs(np.quantile(self.numbers, shares) - np.quantile(numbers, shares)).mean()
        off *= _NUMBER_WEIGHT / (self.numbers.std() + 0.5)
        if len(found) < 5:
            return 2.0 + off
        found = found / self.unit
        between = _mean_distance(self.found, self.weights, found, weights)
        within = _mean_distance(found, weights, found, weights)
        return float((2 * between - within - self.spread) / self.spread + off)

    def _things(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Descriptions ``[things, 4 * rings]``, weights ``[things]``, and their sums by image.

        A thing weighs the more the more it stands out, up to 1: what can hardly be seen neither
        appears nor vanishes at once.
        """
        side = 2 * round(self.scale) + 1
        found, weights, numbers = [np.zeros((0, 4 * _RINGS))], [np.zeros(0)], []
        for image in images:
            difference = image * 255 - _emptied(image, self.background)
            strength = _blurred(np.abs(difference), self.scale)
            highest = strength >= cv2.dilate(strength, np.ones((side, side), np.uint8))
            y, x = np.nonzero(highest & (strength > self.threshold))
            weight = np.minimum((strength[y, x] / self.threshold - 1) / 2, 1)
            numbers.append(weight.sum())
            if len(x):
                found.append(_rings(difference, x, y, self.scale))
                weights.append(weight)
        every, weight = np.concatenate(found), np.concatenate(weights)
        some = np.linspace(0, len(every) - 1, min(len(every), _MAX_THINGS)).astype(int)
        return every[some], weight[some], np.array(numbers)


def measured(images: np.ndarray, background: np.ndarray | None = None) -> dict[str, Any]:
    """Settings that the background of images shows, ``[n, size, size]`` in [0, 1].

    Grey levels are taken to be spread evenly, as they are drawn; so are the slopes.

    Returns:
        ``noise`` and ``background_shift`` and, without a background image, ``background_level`` and
        ``background_gradient``.
    """
    size = images.shape[1]
    place = (np.arange(size) + 0.5) / size - 0.5
    levels, slopes, noises = [], [], []
    for image in images:
        own = None if background is None else _nearest(image, background)
        empty = _emptied(image, own)
        level = empty if own is None else empty - own * 255
        levels.append(np.median(level))
        # Least squares; the variance of a place is 1/12.
        slopes.append(12 * math.hypot((empty * place).mean(), (empty.T * place).mean()))
        noises.append(_noise(image * 255))
    ranks = (np.arange(len(levels)) + 0.5) / len(levels) - 0.5
    middle, reach = float(np.mean(levels)), float(6 * np.mean(np.sort(levels) * ranks))
    found = {"noise": round(float(np.mean(noises)), 2)}
    if background is not None:
        return {**found, "background_shift": _rounded(middle - reach, middle + reach)}
    return {
        **found,
        "background_level": round(middle, 1),
        "background_shift": _rounded(-reach, reach),
        "background_gradient": round(2 * float(np.median(slopes)), 1),
    }


def settings_at(point: np.ndarray, axes: Sequence[str], scale: float) -> dict[str, Any]:
    """Keys of ``data.synthetic`` at a point of the unit cube with these axes.

    Args:
        point: ``[axes]``.
        axes: of ``_AXES``.
        scale: of what stands out in the natural images, px: it bounds the cells' size and blur.
    """
    at = dict(zip(axes, (float(value) for value in point), strict=True))
    radius = scale * (0.8 + 1.4 * at["radius"])
    smallest = max(radius * (1 - 0.35 * at["radius_spread"]), 2.2)
    largest = max(radius * (1 + 0.35 * at["radius_spread"]), smallest)
    greys = {
        key: _rounded(max(255 * at[key] - 80 * at["grey_spread"], 0),
                      min(255 * at[key] + 80 * at["grey_spread"], 255))
        for key in ("rim", "fill")
    }  # fmt: skip
    # Brighter or darker, or either of them from cell to cell.
    added = {
        key: _rounded(most * (2 * at[key] - 1 - at["grey_spread"]),
                      most * (2 * at[key] - 1 + at["grey_spread"]))
        for key, most in (("core", 120), ("halo", 40))
    }  # fmt: skip
    contrast = 3 ** at["contrast"]
    blur = 0.3 * max(scale / 2, 3) ** at["blur"]
    texture = 120 * at["texture"]
    found = {
        "radius": _rounded(smallest, largest),
        "shorten": 1.5,
        "elongation": round(min(1 + 0.8 * at["elongation"], 0.99 * (smallest - 0.75)), 2),
        "irregularity": round(0.12 * at["irregularity"], 3),
        "rim_width": round(radius * (0.1 + 0.7 * at["rim_width"]), 2),
        **greys,
        **added,
        "rim_noise": round(0.2 * texture, 1),
        "division_rim_noise": round(0.2 * texture, 1),
        "organelles": (1, 4),
        "organelle_contrast": round(texture, 1),
        "shading": round(200 * at["shading"], 1),
        "contrast": _rounded(1 / contrast, contrast),
        "specks": (0, round(12 * at["specks"])),
        "lines": (0, round(3 * at["lines"])),
        "clutter_contrast": round(10 + 140 * at["clutter_contrast"], 1),
        "blur": _rounded(0.6 * blur, 1.4 * blur),
        "blur_blend": 1.0,
    }
    if "count" in at:
        found |= {"count_range": (0, round(40 ** at["count"])), "count_weights": "falling"}
    return found


def _try(
    natural: Natural,
    cells: SyntheticCells,
    axes: Sequence[str],
    number: int,
    seed: Sequence[int],
    point: np.ndarray,
) -> float:
    """Distance of so many drawn cells with the settings at a point."""
    cv2.setNumThreads(1)  # each worker has a processor to itself
    try:
        drawn = cells.changed(**settings_at(point, axes, natural.scale))
    except UsageError:  # such as cells larger than the margins leave room for
        return math.inf
    return natural.distance(drawn.render(number, seed)[0])


def _with_rare_counts(fewest: int, most: int) -> dict[str, Any]:
    """Weights as "falling" has them, and some images with up to twice as many cells.

    What was found is what most images have; a network counts no more than it ever saw.
    """
    weights = [most + 6 - n for n in range(fewest, most + 1)] + [1] * most
    return {"count_range": (fewest, 2 * most), "count_weights": weights}


def _search(
    values: Callable[[np.ndarray], list[float]],
    axes: Sequence[str],
    seed: int,
    generations: int,
) -> np.ndarray:
    """The point of the unit cube where the value is least: the best of short climbs goes on."""
    rng = np.random.default_rng((seed, 2))
    points = rng.random((_FIRST, len(axes)))
    points[:, [axes.index(name) for name in _SPARING]] *= 0.3
    points = points[np.argsort(values(points))]
    log.info("%d looks tried at random.", len(points))
    starts = [points[0]]
    for point in points:
        if len(starts) < _CLIMBS and min(np.linalg.norm(point - s) for s in starts) > 0.8:
            starts.append(point)
    ends = []
    for k, start in enumerate(starts):
        ends.append(climb(values, start, 0.2, math.ceil(0.4 * generations), _CHILDREN, rng))
        log.info("climb %d of %d: distance %.3f", k + 1, len(starts), values(ends[-1][None])[0])
    best = ends[int(np.argmin(values(np.array(ends))))]
    end = climb(values, best, 0.1, generations, _CHILDREN, rng)
    log.info("from the best of them on: distance %.3f", values(end[None])[0])
    return end


def climb(
    values: Callable[[np.ndarray], list[float]],
    start: np.ndarray,
    step: float,
    generations: int,
    children: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Where a value is least near a start in the unit cube, by CMA-ES (arXiv:1604.00772).

    Args:
        values: of points ``[children, d]``.
        start: ``[d]``.
        step: standard deviation of the first children.
        generations: how many.
        children: in each.
        rng: of the children.

    Returns:
        The mean of the last parents, ``[d]``: less subject to chance than the best child.
    """
    strategy = CMA(
        start,
        step,
        bounds=np.tile([0.0, 1.0], (len(start), 1)),
        seed=int(rng.integers(2**31)),
        population_size=children,
        n_max_resampling=10,  # then a child outside the cube is put on its side
    )
    for _ in range(generations):
        points = np.array([strategy.ask() for _ in range(children)])
        strategy.tell(list(zip(points, values(points), strict=True)))
    return np.clip(strategy.mean, 0, 1)


def _emptied(image: np.ndarray, background: np.ndarray | None) -> np.ndarray:
    """Grey levels of an image as if nothing stood out of it, float32 ``[size, size]``, 0-255."""
    if background is not None:
        background = _nearest(image, background)
        return background * 255 + np.float32(np.median(image - background) * 255)
    # A median of so large a window sees nothing of cells and all of uneven light.
    side = max(image.shape) // 3 | 1
    return cv2.medianBlur(np.rint(image * 255).astype(np.uint8), side).astype(np.float32)


def _nearest(image: np.ndarray, background: np.ndarray) -> np.ndarray:
    """The background, or of several ``[k, size, size]`` that which an image is on."""
    if background.ndim == 2:
        return background
    off = image[::2, ::2] - background[:, ::2, ::2]
    off = np.abs(off - off.mean(axis=(1, 2), keepdims=True))
    return background[np.argmin(off.mean(axis=(1, 2)))]


def _scale(standing_out: list[np.ndarray]) -> float:
    """Width of the Gaussian, in px, to which most of what stands out answers most."""
    widths = standing_out[0].shape[0] / 128 * 1.5 * np.sqrt(2) ** np.arange(7)
    answers = np.zeros(len(widths))
    for image in standing_out:
        image = np.minimum(image, 60)
        for k, width in enumerate(widths):
            answers[k] += (_blurred(image, width) - _blurred(image, 1.6 * width)).max()
    # The root makes up for edges, to which the finest answer most.
    return float(widths[np.argmax(answers * np.sqrt(widths))])


def _rings(difference: np.ndarray, x: np.ndarray, y: np.ndarray, scale: float) -> np.ndarray:
    """Descriptions of the things around some pixels, ``[things, 4 * rings]``, in grey levels."""
    angle = 2 * math.pi / _ANGLES * np.arange(_ANGLES)
    radius = scale / 4 * np.arange(_RINGS)[:, None]
    places = [
        (middle[:, None, None] + radius * turn).astype(np.float32).reshape(-1, _ANGLES)
        for middle, turn in ((x, np.cos(angle)), (y, np.sin(angle)))
    ]
    greys = cv2.remap(difference, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    waves = np.fft.rfft(greys.reshape(len(x), _RINGS, _ANGLES), axis=2) / _ANGLES
    lopsided, oblong = 2 * np.abs(waves[:, :, 1]), 2 * np.abs(waves[:, :, 2])
    grainy = np.sqrt(2 * np.square(np.abs(waves[:, :, 3:])).sum(axis=2))
    return np.concatenate([waves[:, :, 0].real, lopsided, oblong, grainy], axis=1)


def _noise(image: np.ndarray) -> float:
    """Standard deviation of white noise (Immerkaer 1996), by the median of places: no edges."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    fine = np.abs(cv2.filter2D(image.astype(np.float32), -1, kernel))[1:-1, 1:-1]
    return float(np.median(cv2.blur(fine, (8, 8)))) * math.sqrt(math.pi / 2) / 6


def _blurred(image: np.ndarray, width: float) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), width, borderType=cv2.BORDER_REFLECT_101)


def _mean_distance(
    mine: np.ndarray, my_weights: np.ndarray, others: np.ndarray, weights: np.ndarray
) -> float:
    total = my_weights @ cdist(mine, others) @ weights
    return float(total / (my_weights.sum() * weights.sum()))


def _rounded(low: float, high: float) -> tuple[float, float]:
    return round(float(low), 2), round(float(high), 2)
