"""A simulator of fluorescent nuclei and cell bodies that differ from image to image in every way.

Everything this module makes is *simulated*: no number obtained on its images may be shown without
that word. :mod:`cellzoo.simulators.fluorescence` draws images of one look; here each image has its
own, drawn over ranges that are wider than those of real images: diameter and its spread, shape,
brightness and its spread, texture, blur, haze, cytoplasm, clusters, overlaps, debris, stray light,
vignetting, camera offset, photons, read noise, saturation, and no cell at all.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np

_EMPTY = 0.05  # share of images without a cell
_MOST = 400  # cells of an image
_TRIES = 12  # places tried for a cell
_LEAST_SEEN = 0.05  # of a typical cell's area, else it is not labelled
_TEXTURE = 256  # side of the noise that textures are cut from, px


def draw_nuclei(
    size: tuple[int, int], diameters: tuple[float, float], seed: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Draws one image.

    Args:
        size: height and width in pixels.
        diameters: least and most typical diameter of an image's cells, px.
        seed: the image depends on it and the other arguments alone.

    Returns:
        The image, float32 ``[h, w]`` in [0, 1], and the instance mask, uint16 ``[h, w]``, 0 in the
        background and 1 to the number of cells. Cells that the border or others hide but for a
        twentieth are neither labelled nor counted.
    """
    rng = np.random.default_rng(seed)
    look = _Look.drawn(rng, diameters)
    margin = int(look.diameter) + 2  # cells reach in over the border
    canvas = _Canvas(tuple(side + 2 * margin for side in size), look)
    radii, centres = _places(rng, canvas.light.shape, look)
    texture = _texture(rng)
    for number, (radius, centre) in enumerate(zip(radii, centres, strict=True), 1):
        canvas.paint(rng, number, radius, centre, texture)
    light = _with_surroundings(rng, canvas, look)
    inner = tuple(slice(margin, margin + side) for side in size)
    return _photograph(rng, light[inner], look), _labels(canvas.mask[inner], look.diameter)


def _between(rng: np.random.Generator, *ends: tuple[float, float], share=None) -> float:
    """A number from one of several ranges, each as likely, or as ``share`` says."""
    low, high = ends[rng.choice(len(ends), p=share)]
    return float(rng.uniform(low, high))


def _log_between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


@dataclass(frozen=True)
class _Look:
    """What the cells and the light of one image are like; lengths in px, light 1 = a cell's."""

    diameter: float
    cover: float  # share of the image that cells would take without overlaps
    spread: float  # standard deviation of the logarithm of radii
    elongation: float
    irregularity: float
    closeness: float  # least distance of centres, as a share of the sum of radii
    clustering: float  # probability that a cell is put at the side of another
    texture: float
    spread_of_brightness: float
    see_through: float  # of the dimmer of two cells that overlap
    softness: float  # of a cell's edge
    dome: float  # 0: as bright at the edge as in the middle
    cytoplasm: float

    @classmethod
    def drawn(cls, rng: np.random.Generator, diameters: tuple[float, float]) -> "_Look":
        diameter = _log_between(rng, *diameters)
        sharp = rng.random() < 0.6
        return cls(
            diameter=diameter,
            cover=0.0 if rng.random() < _EMPTY else _log_between(rng, 0.02, 0.75),
            spread=_between(rng, (0.05, 0.15), (0.1, 0.3), (0.25, 0.45), share=(0.3, 0.45, 0.25)),
            elongation=rng.uniform(0, 0.45),
            irregularity=_between(rng, (0, 0.06), (0.04, 0.15)),
            closeness=_between(rng, (0.45, 0.8), (0.8, 1.0), (1.0, 1.3), share=(0.35, 0.4, 0.25)),
            clustering=_between(rng, (0, 0), (0, 0.9), share=(0.4, 0.6)),
            texture=_between(rng, (0, 0), (0, 0.35), share=(0.2, 0.8)),
            spread_of_brightness=_between(rng, (0.05, 0.3), (0.2, 0.8)),
            see_through=rng.uniform(0, 1),
            softness=rng.uniform(0.2, 1.2) * max(1, diameter / 16)
            if sharp
            else rng.uniform(0.03, 0.12) * diameter,
            dome=rng.uniform(0, 0.7),
            cytoplasm=_between(rng, (0, 0), (0.02, 0.3), share=(0.65, 0.35)),
        )


def _places(
    rng: np.random.Generator, shape: tuple[int, int], look: _Look
) -> tuple[np.ndarray, np.ndarray]:
    """Radii ``[k]`` and centres (row, column) ``[k, 2]``; cells that find no room are left out."""
    wanted = look.cover * shape[0] * shape[1] / (np.pi * look.diameter**2 / 4)
    number = min(_MOST, int(np.ceil(wanted)))
    radii = np.clip(np.exp(rng.normal(0, look.spread, number)), 0.35, 2.2)
    radii *= look.diameter / 2 / np.sqrt(np.mean(radii**2)) if number else 1
    placed, centres = np.zeros(number, bool), np.zeros((number, 2))
    for k, radius in enumerate(radii):
        tried = rng.uniform(0, shape, (_TRIES, 2))
        others = np.flatnonzero(placed)
        if len(others):
            chosen = rng.choice(others, _TRIES)
            angle = rng.uniform(0, 2 * np.pi, _TRIES)
            away = rng.uniform(look.closeness, look.closeness + 0.25, _TRIES)
            away *= radii[chosen] + radius
            beside = centres[chosen] + np.stack([np.sin(angle), np.cos(angle)], 1) * away[:, None]
            at_side = rng.random(_TRIES) < look.clustering
            tried[at_side] = beside[at_side]
            offsets = tried[:, None] - centres[others]
            apart = np.hypot(*offsets.T).T / (radius + radii[others])
            free = apart.min(axis=1) >= look.closeness
        else:
            free = np.ones(_TRIES, bool)
        free &= ((tried >= 0) & (tried < shape)).all(axis=1)
        if free.any():
            centres[k], placed[k] = tried[free.argmax()], True
    return radii[placed], centres[placed]


@dataclass
class _Canvas:
    """What has been painted so far; each cell looks as its image's cells do."""

    shape: tuple[int, int]
    look: _Look
    light: np.ndarray = field(init=False)
    cytoplasm: np.ndarray = field(init=False)
    mask: np.ndarray = field(init=False)
    nearest: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.light, self.cytoplasm = (np.zeros(self.shape, np.float32) for _ in range(2))
        self.mask = np.zeros(self.shape, np.uint16)
        self.nearest = np.full(self.shape, np.inf, np.float32)

    def paint(
        self,
        rng: np.random.Generator,
        number: int,
        radius: float,
        centre: np.ndarray,
        texture: np.ndarray,
    ) -> None:
        """Adds a cell."""
        look = self.look
        stretch = float(np.sqrt(min(1 + abs(rng.normal(0, look.elongation)), 2.6)))
        turn = rng.uniform(0, np.pi)
        reach = radius * stretch * (1 + 2 * look.irregularity) + 3 * look.softness + 2
        here, y, x = self._around(centre, reach)
        u, v = _turned(y, x, turn)
        u, v = u / stretch, v * stretch
        angle, edge = np.arctan2(v, u), np.float32(1)
        for waves in (2, 3, 4):
            height = look.irregularity * rng.normal() / waves
            edge = edge + height * np.cos(waves * angle + rng.uniform(0, 2 * np.pi))
        rho = (np.hypot(u, v) / (edge * radius)).astype(np.float32)
        steep = radius / (0.35 * look.softness + 0.15)
        paint = 1 / (1 + np.exp(np.clip((rho - 1) * steep, -30, 30)))
        paint *= 1 - look.dome + look.dome * np.sqrt(1 - np.minimum(rho, 1) ** 2)
        grain, (top, left) = max(1.0, radius / 12), rng.integers(_TEXTURE, size=2)
        rows = ((np.arange(here[0].start, here[0].stop) / grain).astype(int) + top) % _TEXTURE
        columns = ((np.arange(here[1].start, here[1].stop) / grain).astype(int) + left) % _TEXTURE
        paint *= np.maximum(1 + look.texture * texture[np.ix_(rows, columns)], 0.1)
        dividing = rng.uniform(1.5, 4) if rng.random() < 0.03 else 1.0
        brightness = dividing * np.exp(rng.normal(0, look.spread_of_brightness))
        _add(self.light[here], (brightness * paint).astype(np.float32), look.see_through)
        mine = (rho < 1) & (rho < self.nearest[here])
        self.mask[here][mine] = number
        self.nearest[here][mine] = rho[mine]
        if look.cytoplasm:
            self._paint_cytoplasm(rng, radius, centre, turn, look.cytoplasm * brightness)

    def _paint_cytoplasm(
        self,
        rng: np.random.Generator,
        radius: float,
        centre: np.ndarray,
        turn: float,
        brightness: float,
    ) -> None:
        length, width = rng.uniform(1, 4), radius * rng.uniform(0.6, 1.1)
        here, y, x = self._around(centre, 2.5 * width * length)
        u, v = _turned(y, x, turn + rng.normal(0, 0.3))
        glow = np.exp(-((u / length) ** 2 + v**2) / (2 * width**2))
        glow *= brightness * rng.uniform(0.3, 1.5)
        _add(self.cytoplasm[here], glow.astype(np.float32), 0.0)

    def _around(
        self, centre: np.ndarray, reach: float
    ) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
        """The part of the image around a cell, and rows and columns from its middle."""
        here = tuple(
            slice(max(0, int(at - reach)), max(1, min(side, int(at + reach) + 2)))
            for at, side in zip(centre, self.shape, strict=True)
        )
        y = np.arange(here[0].start, here[0].stop, dtype=np.float32)[:, None] - centre[0]
        x = np.arange(here[1].start, here[1].stop, dtype=np.float32) - centre[1]
        return here, y.astype(np.float32), x.astype(np.float32)


def _turned(y: np.ndarray, x: np.ndarray, turn: float) -> tuple[np.ndarray, np.ndarray]:
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    return x * cos + y * sin, y * cos - x * sin


def _add(light: np.ndarray, paint: np.ndarray, see_through: float) -> None:
    """Lays paint over light: the brighter shows, and of the dimmer a share, in place."""
    light[:] = np.maximum(light, paint) + see_through * np.minimum(light, paint)


def _texture(rng: np.random.Generator) -> np.ndarray:
    """1/f noise that repeats without a seam, mean 0, standard deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(_TEXTURE)[:, None], np.fft.rfftfreq(_TEXTURE))
    amplitude = np.maximum(frequency, 1 / _TEXTURE) ** -rng.uniform(0.8, 2.0)
    white = np.fft.rfft2(rng.standard_normal((_TEXTURE, _TEXTURE)))
    tile = np.fft.irfft2(white * amplitude, s=(_TEXTURE, _TEXTURE))
    return ((tile - tile.mean()) / tile.std()).astype(np.float32)


def _with_surroundings(
    rng: np.random.Generator, canvas: _Canvas, look: _Look
) -> np.ndarray:
    """Light with cytoplasm, blur, haze, debris, stray light and vignetting, float32 ``[h, w]``."""
    light, (height, width) = canvas.light, canvas.shape
    _add(light, canvas.cytoplasm, 0.3)
    if look.softness > 0.8:
        light = cv2.GaussianBlur(light, (0, 0), 0.6 * look.softness)
    if rng.random() < 0.6:
        haze = cv2.GaussianBlur(light, (0, 0), look.diameter * rng.uniform(0.4, 1.5))
        light = light + np.float32(rng.uniform(0.02, 0.35)) * haze
    for _ in range(rng.integers(1, 12) if look.cover and rng.random() < 0.4 else 0):
        sigma, centre = look.diameter * rng.uniform(0.02, 0.07), rng.uniform(0, canvas.shape)
        here, y, x = canvas._around(centre, 4 * sigma)
        speck = rng.uniform(0.1, 1.2) * np.exp(-(y**2 + x**2) / (2 * sigma**2))
        light[here] += speck.astype(np.float32)
    if rng.random() < 0.6:
        coarse = rng.uniform(0, 1, rng.integers(2, 5, 2)).astype(np.float32)
        hill = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        light = light + np.float32(_log_between(rng, 0.01, 0.6)) * np.maximum(hill, 0)
    if rng.random() < 0.2:
        y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
        light = light * (1 - rng.uniform(0, 0.5) * (x**2 + y**2) / 2).astype(np.float32)
    return light + np.float32(_log_between(rng, 0.003, 0.6))


def _photograph(rng: np.random.Generator, light: np.ndarray, look: _Look) -> np.ndarray:
    """Shot noise, read noise, saturation and exposure: float32 ``[h, w]`` in [0, 1]."""
    # A larger cell can be seen through more noise.
    photons = _log_between(rng, 60, 20000) * 12 / max(look.diameter, 12)
    seen = rng.poisson(np.maximum(light, 0) * photons) / photons
    seen += rng.normal(0, _log_between(rng, 0.001, 0.06), light.shape)
    white = _log_between(rng, 0.4, 1.2) if rng.random() < 0.1 else max(float(seen.max()), 0.1)
    exposure = 1.0 if white < seen.max() else _log_between(rng, 0.02, 1.0)
    return np.clip(0.02 + 0.98 * exposure * seen / white, 0, 1).astype(np.float32)


def _labels(mask: np.ndarray, diameter: float) -> np.ndarray:
    """Consecutive numbers of the cells that are seen."""
    areas = np.bincount(mask.ravel())
    seen = areas >= _LEAST_SEEN * np.pi * diameter**2 / 4
    seen[0] = False
    numbers = np.cumsum(seen) * seen
    return numbers.astype(np.uint16)[mask]
