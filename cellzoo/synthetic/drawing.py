"""Synthetic cells: ellipses with a rim on a chamber's background, whose count is known exactly.

This is the auxiliary training set of the Twin-VAE paper (section 2.2): deliberately plain
geometry that says what a cell is, not what it looks like. What can be set, and whose figures the
presets are, says :mod:`cellzoo.synthetic.settings`.

Example:
    >>> images, counts = SyntheticCells(Synthetic(preset="pc", divisions=0.2)).render(100, seed=1)
    >>> images.shape, counts.shape
    ((100, 128, 128), (100,))
"""

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from cellzoo.errors import UsageError
from cellzoo.synthetic.placing import Cells, place_cells, with_cut_cells
from cellzoo.synthetic.settings import Synthetic

# Of an irregular contour: its waves around the cell, and how many standard deviations at most.
_WAVES = np.arange(2, 6)
_MOST_IRREGULAR = 3
_HALO_WIDTH = 0.35  # of a cell's radius


class SyntheticCells:
    """Draws images of synthetic cells, in [0, 1].

    Attributes:
        settings: with the preset's where a recipe has none.
        size: height and width of an image in px; 128 in the paper (2.2).
        background: float32 ``[size, size]`` in [0, 1] that the cells are drawn on (the authors':
            the mean of natural images with few cells), several, ``[k, size, size]``, one of which
            each image takes, or None for an even grey with a mild gradient.
    """

    def __init__(self, settings: Synthetic, size: int = 128, background: np.ndarray | None = None):
        """Sees to it that cells can be drawn so.

        Args:
            settings: a recipe's section; of its ``background`` nothing is known here.
            size: of the images in px.
            background: float in [0, 1] or uint8, ``[size, size]`` or ``[k, size, size]``; or None.

        Raises:
            UsageError: settings do not fit each other or the size, or the background does not.
        """
        settings.check(size)
        self.settings, self.size = settings.with_preset(), size
        self.background = _checked_background(background, size)

    def changed(self, **settings: Any) -> "SyntheticCells":
        """The same with other settings, on the same background.

        Raises:
            UsageError: they do not fit each other.
        """
        return SyntheticCells(self.settings.changed(settings), self.size, self.background)

    def render(
        self,
        n: int,
        seed: int | Sequence[int],
        counts: np.ndarray | None = None,
        masks: bool = False,
    ) -> tuple[np.ndarray, ...]:
        """Draw images.

        Image i depends on these settings, the seed and i alone (and on ``counts[i]`` where given):
        the same call gives bitwise the same images, and the first k of ``render(n)`` are
        ``render(k)``. For fresh images every epoch, put the epoch into the seed:
        ``render(n, (seed, epoch))``.

        Every cell is drawn, so the count is always true. A cell that finds no place under the
        overlap rule in 192 tries is made as small as ``radius`` allows and tries 192 times again;
        if that fails too, it takes the place tried that breaks the rule by the fewest px. So only
        images that are too full for their settings break the rule, and in a hopelessly full one
        cells may hide each other.

        Args:
            n: Number of images.
            seed: Any integer >= 0, or several.
            counts: Cells per image, integers [n]; None draws them by ``count_range`` and
                ``count_weights``.
            masks: Return the masks too.

        Returns:
            ``images`` float32 [n, size, size] in [0, 1] and ``counts`` int32 [n]; with ``masks``
            also uint16 [n, size, size]: 0 is background, k the k-th cell of that image (the upper
            one where two overlap).

        Raises:
            ValueError: ``n`` or ``counts`` do not fit, or the seed is negative.
        """
        if n < 0:
            raise ValueError(f"n must be 0 or more, not {n}")
        words = [int(word) for word in (seed if isinstance(seed, Sequence) else [seed])]
        if min(words, default=0) < 0:
            raise ValueError(f"seed must be 0 or more, not {seed}")
        if counts is not None:
            counts = np.asarray(counts)
            if counts.shape != (n,) or counts.dtype.kind not in "iu" or (counts < 0).any():
                raise ValueError(f"counts must be {n} integers of 0 or more, one per image")

        settings, size = self.settings, self.size
        chances = np.cumsum(settings.count_probabilities())
        images = np.empty((n, size, size), np.float32)
        labels = np.zeros((n, size, size), np.uint16) if masks else None
        drawn = np.empty(n, np.int32)
        for i in range(n):
            # The length goes first because numpy treats seeds (5,) and (5, 0) alike.
            source = np.random.SeedSequence([len(words), *words], spawn_key=(i,))
            rng = np.random.Generator(np.random.PCG64(source))
            # Drawn even if the caller knows it, so that the rest of the image stays the same.
            step = np.searchsorted(chances, rng.random() * chances[-1], side="right")
            count = settings.count_range[0] + int(step) if counts is None else int(counts[i])
            cells = place_cells(settings, rng, size, count)
            if settings.cut[1]:
                cells = with_cut_cells(settings, rng, size, cells)
            empty = _empty_chamber(settings, rng, size, self.background)
            canvas = empty.copy()
            if settings.specks[1] or settings.ghosts[1] or settings.lines[1]:
                _clutter(settings, rng, canvas)
            _draw_cells(settings, rng, cells, canvas, count, None if labels is None else labels[i])
            # Backgrounds of groups are photographs that a microscope blurred already; the mean of
            # many is blurred once more, as the authors' program has it.
            several = self.background is not None and self.background.ndim == 3
            images[i] = _photograph(settings, rng, canvas, empty if several else np.float32(0))
            drawn[i] = count
        return (images, drawn) if labels is None else (images, drawn, labels)


def _clutter(settings: Synthetic, rng: np.random.Generator, canvas: np.ndarray) -> None:
    """Puts specks, ghosts and lines, which are no cells, on the backcanvas in place."""
    place = np.arange(len(canvas), dtype=np.float32)
    greys = settings.clutter_contrast / 255
    for _ in range(rng.integers(settings.specks[0], settings.specks[1] + 1)):
        x, y = rng.uniform(0, len(place), 2)
        width = rng.uniform(0.7, 2.0)
        across, down = (np.exp(-0.5 * ((place - at) / width) ** 2) for at in (x, y))
        canvas += np.float32(greys * rng.uniform(-1, 1)) * down[:, None] * across
    for _ in range(rng.integers(settings.ghosts[0], settings.ghosts[1] + 1)):
        canvas += np.float32(greys) * _ghost(settings, rng, place)
    for _ in range(rng.integers(settings.lines[0], settings.lines[1] + 1)):
        lines = _lines(rng, place, greys)
        canvas += lines[:, None] if rng.random() < 0.5 else lines


def _ghost(settings: Synthetic, rng: np.random.Generator, place: np.ndarray) -> np.ndarray:
    """A soft disc somewhere in the image, float32 [size, size], 1 is brighter by the contrast."""
    x, y = rng.uniform(0, len(place), 2)
    radius = rng.uniform(*settings.radius)
    distance = np.hypot(place[:, None] - y, place - x) / np.float32(radius)
    disc = 1 / (1 + np.exp((distance - 1) / np.float32(rng.uniform(0.1, 0.3))))
    middle = np.exp(-2 * (distance / np.float32(rng.uniform(0.3, 0.8))) ** 2)
    ghost = rng.uniform(-0.6, 0.2) * disc + rng.uniform(-0.3, 0.6) * middle
    return ghost.astype(np.float32)


def _lines(rng: np.random.Generator, place: np.ndarray, greys: float) -> np.ndarray:
    """A profile across parallel lines, float32 [size], dark or bright by up to so many greys."""
    at, width = rng.uniform(0, len(place)), rng.uniform(0.5, 2.0)
    apart = rng.uniform(3, 12) * width
    # Dark with bright edges or the other way round, as light is bent there.
    edges, strength = rng.uniform(0, 1, 2), np.float32(greys * rng.uniform(-1, 1))
    lines = np.zeros(len(place), np.float32)
    for k in range(min(rng.integers(1, 6), rng.integers(1, 6))):
        away = (place - at - k * apart) / width
        lines += np.exp(-0.5 * away**2)
        for edge, side in zip(edges, (-3, 3), strict=True):
            lines -= edge * np.exp(-0.5 * (away - side) ** 2)
    return strength * lines


def _empty_chamber(
    settings: Synthetic, rng: np.random.Generator, size: int, background: np.ndarray | None
) -> np.ndarray:
    """The background image or an even grey, float32 [size, size], 1 is white."""
    shift = rng.uniform(*settings.background_shift) / 255
    if background is not None:
        if background.ndim == 3:
            background = background[rng.integers(len(background))]
        return background + np.float32(shift)
    ramp = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    slope = rng.uniform(0, settings.background_gradient) / 255
    direction = rng.uniform(0, 2 * math.pi)
    down, across = slope * math.sin(direction), slope * math.cos(direction)
    return ramp[:, None] * down + (ramp * across + (settings.background_level / 255 + shift))


def _draw_cells(
    settings: Synthetic,
    rng: np.random.Generator,
    cells: Cells,
    canvas: np.ndarray,
    counted: int,
    labels: np.ndarray | None,
) -> None:
    """Draw cells onto the canvas, float32 [size, size], and their numbers into labels, in place.

    Cells after the first ``counted`` have no number. All cells of the image are computed at once on
    small square patches, then laid down one by one.
    """
    count = len(cells.x)
    if not count:
        return
    reach = 1 + _MOST_IRREGULAR * settings.irregularity + any(settings.halo) * 2 * _HALO_WIDTH
    half = math.ceil(reach * max(cells.a.max(), cells.b.max())) + 1
    column, row = np.floor(cells.x).astype(int), np.floor(cells.y).astype(int)
    offsets = np.arange(-half, half + 1) + 0.5
    dx = (offsets - (cells.x - column)[:, None]).astype(np.float32)[:, None, :]
    dy = (offsets - (cells.y - row)[:, None]).astype(np.float32)[:, :, None]

    edge = _distance_to_contour(settings, rng, cells, dx, dy)
    body = np.clip(0.5 - edge, 0, 1)
    inside = np.clip(0.5 - settings.rim_width - edge, 0, 1)
    fill = _column(rng.uniform(*settings.fill, size=count) / 255)
    rim = _column(rng.uniform(*settings.rim, size=count) / 255)
    if any(settings.core):
        fill = fill + _core(settings, rng, cells, dx, dy)
    if settings.organelles[1]:
        fill = fill + _organelles(settings, rng, cells, dx, dy)
    if settings.shading:
        light = rng.uniform(0, 2 * math.pi)
        side = (dx * math.cos(light) + dy * math.sin(light)) / _column(cells.a + cells.b)
        fill, rim = (grey + np.float32(settings.shading / 255) * side for grey in (fill, rim))
    rim_noise = np.where(cells.paired, settings.division_rim_noise, settings.rim_noise)
    if rim_noise.any():
        rim = rim + _column(rim_noise / 255) * rng.standard_normal(edge.shape, np.float32)
    paint = fill * inside + rim * (body - inside)
    around = 1 - body
    halo = _halo(settings, rng, cells, edge) if any(settings.halo) else None

    if settings.contrast != (1.0, 1.0):
        contrast = np.float32(rng.uniform(*settings.contrast))
        around, paint = 1 - contrast * body, contrast * paint
        halo = None if halo is None else contrast * halo
    size = len(canvas)
    places = []
    for top, left in zip(row - half, column - half, strict=True):
        # The square patch around a cell may reach beyond the image.
        inner = (
            slice(max(-top, 0), min(size - top, 2 * half + 1)),
            slice(max(-left, 0), min(size - left, 2 * half + 1)),
        )
        outer = tuple(
            slice(s.start + o, s.stop + o) for s, o in zip(inner, (top, left), strict=True)
        )
        places.append((inner, outer))
    if halo is not None:  # before all cells, so that none covers a neighbour
        for k, (inner, outer) in enumerate(places):
            canvas[outer] += halo[k][inner]
    for k, (inner, outer) in enumerate(places):
        spot = canvas[outer]
        spot *= around[k][inner]
        spot += paint[k][inner]
        if labels is not None and k < counted:
            labels[outer][body[k][inner] >= 0.5] = k + 1


def _distance_to_contour(
    settings: Synthetic,
    rng: np.random.Generator,
    cells: Cells,
    dx: np.ndarray,
    dy: np.ndarray,
) -> np.ndarray:
    """Px from each pixel to its cell's edge, negative inside; float32 [count, patch, patch].

    To first order, (f - 1) / |grad f| with f = 1 on the ellipse: exact for discs, and near
    the edge, where anti-aliasing needs it, good for ellipses. An irregular contour is where f is
    as large as its direction says.
    """
    cos, sin = _column(np.cos(cells.angle)), _column(np.sin(cells.angle))
    a, b = _column(cells.a), _column(cells.b)
    # A touch off the centre, where the gradient would be 0 / 0.
    u = (dx * cos + dy * sin + 1e-4) / a
    v = (dy * cos - dx * sin) / b
    f = np.sqrt(u * u + v * v)
    contour = 1
    if settings.irregularity:
        contour = _contour(settings, rng, np.arctan2(v, u))
    u /= a
    v /= b
    return (f - contour) * f / np.sqrt(u * u + v * v)


def _contour(settings: Synthetic, rng: np.random.Generator, direction: np.ndarray) -> np.ndarray:
    """How far an irregular cell reaches, float32 [count, patch, patch], 1 is its ellipse."""
    count, reach = len(direction), _MOST_IRREGULAR * settings.irregularity
    waves = np.zeros_like(direction)
    strengths = 1 / _WAVES
    strengths *= settings.irregularity / math.sqrt(np.square(strengths).sum())
    for wave, strength in zip(_WAVES, strengths, strict=True):
        # Cosine and sine with normal factors: as strong in every direction.
        even, odd = (_column(strength * rng.standard_normal(count)) for _ in range(2))
        waves += even * np.cos(wave * direction) + odd * np.sin(wave * direction)
    return 1 + np.clip(waves, -reach, reach)


def _core(
    settings: Synthetic,
    rng: np.random.Generator,
    cells: Cells,
    dx: np.ndarray,
    dy: np.ndarray,
) -> np.ndarray:
    """A soft spot near the middle of each cell, float32 [count, patch, patch], 1 is white."""
    count, reach = len(cells.x), np.minimum(cells.a, cells.b)
    width = reach * rng.uniform(0.25, 0.5, count)
    x, y = (reach * rng.uniform(-0.15, 0.15, count) for _ in range(2))
    grey = rng.uniform(*settings.core, size=count) / 255
    return _soft_spot(grey, dx, dy, x, y, width)


def _halo(
    settings: Synthetic, rng: np.random.Generator, cells: Cells, edge: np.ndarray
) -> np.ndarray:
    """Light just outside each cell, float32 [count, patch, patch], 1 is white."""
    grey = _column(rng.uniform(*settings.halo, size=len(cells.x)) / 255)
    width = _column(_HALO_WIDTH * (cells.a + cells.b) / 2)
    return grey * np.exp(-np.square(np.maximum(edge, 0) / width))


def _organelles(
    settings: Synthetic,
    rng: np.random.Generator,
    cells: Cells,
    dx: np.ndarray,
    dy: np.ndarray,
) -> np.ndarray:
    """Sum of round, soft blobs inside each cell, float32 [count, patch, patch], 1 is white."""
    fewest, most = settings.organelles
    count = len(cells.x)
    number = rng.integers(fewest, most + 1, size=count)
    texture = np.zeros((count, dy.shape[1], dx.shape[2]), np.float32)
    reach = np.minimum(cells.a, cells.b)
    for k in range(most):
        # In fractions of the short half axis: blobs stay off the rim of small cells too.
        direction, distance = rng.uniform(0, 2 * math.pi, count), 0.6 * rng.random(count) ** 0.5
        width = reach * rng.uniform(0.12, 0.3, count)
        contrast = settings.organelle_contrast / 255 * rng.uniform(-1, 1, count) * (k < number)
        x, y = reach * distance * np.cos(direction), reach * distance * np.sin(direction)
        texture += _soft_spot(contrast, dx, dy, x, y, width)
    return texture


def _soft_spot(
    grey: np.ndarray, dx: np.ndarray, dy: np.ndarray, x: np.ndarray, y: np.ndarray,
    width: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """A Gaussian of so much grey at x, y of each cell, float32 [count, patch, patch]."""
    u, v = ((d - _column(at)) / _column(width) for d, at in ((dx, x), (dy, y)))
    return _column(grey) * np.exp(-0.5 * u * u) * np.exp(-0.5 * v * v)


def _photograph(
    settings: Synthetic, rng: np.random.Generator, canvas: np.ndarray, photo: np.ndarray
) -> np.ndarray:
    """Blur, fluctuation of brightness and noise, in the order light meets them; in [0, 1].

    ``photo`` is a part of the canvas that was blurred before, or 0.
    """
    sigma = rng.uniform(*settings.blur)
    # Below this a Gaussian kernel is the identity in float32.
    if sigma > 0.1 and settings.blur_blend:
        blurred = photo + cv2.GaussianBlur(
            canvas - photo, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE
        )
        canvas = cv2.addWeighted(canvas, 1 - settings.blur_blend, blurred, settings.blur_blend, 0)
    gain = rng.uniform(1 - settings.gain, 1 + settings.gain)
    image = canvas * np.float32(gain)
    image += np.float32(rng.uniform(-settings.offset, settings.offset) / 255)
    if settings.noise:
        noise = rng.standard_normal(image.shape, np.float32)
        noise *= np.float32(settings.noise / 255)
        image += noise
    return np.clip(image, 0, 1, out=image)


def _column(values: np.ndarray) -> np.ndarray:
    """One value per cell, to be combined with patches: float32 [count, 1, 1]."""
    return values.astype(np.float32)[:, None, None]


def _checked_background(image: np.ndarray | None, size: int) -> np.ndarray | None:
    """A private copy of the background or backgrounds as float32 in [0, 1], or None."""
    if image is None:
        return None
    where = "data.synthetic.background"
    known = isinstance(image, np.ndarray) and image.ndim in (2, 3) and image.size
    if not known or image.shape[-2:] != (size, size):
        shape = getattr(image, "shape", type(image).__name__)
        raise UsageError(
            f"{where} is {shape} and images have {size} px: give a grey image of "
            f"{size} x {size} px."
        )
    if image.dtype == np.uint8:
        image = image.astype(np.float32) / 255
    elif image.dtype.kind != "f":
        raise UsageError(
            f"{where} has pixels of type {image.dtype}: give uint8 (0-255) or float (0-1)."
        )
    elif not (image.min() >= 0 and image.max() <= 1):
        raise UsageError(
            f"{where} has pixels from {image.min():g} to {image.max():g}: scale a float image "
            "to 0-1."
        )
    image = image.astype(np.float32)
    image.flags.writeable = False
    return image
