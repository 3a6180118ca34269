"""A simulator of fluorescence images with bright cells on a dark background, with instance masks.

Everything this module makes is *simulated*: no number obtained on its images may be shown without
that word. The images look like those of BBBC005 (Broad Bioimage Benchmark Collection, themselves
simulated by SIMCEP), of which the package carries none, and go beyond their 100 cells.

How an image comes about: cells are placed, some of them in clusters; each is a rounded random
polygon filled with its own brightness and a piece of 1/f noise, out of focus by its own depth;
where cells overlap the brighter one shows, or the upper one; uneven stray light, shot noise, read
noise and the camera's offset come on top, and the sum is rounded to 8 bits.

BBBC005 in focus beside the default settings, means over 12 images each of 520 x 696 px (grey levels
of 255; *area* is the foreground divided by the count, *parts* its connected components):

    stain  cells          mean    sd  foreground  area  parts  cells' mean, sd   background, sd
    1         14  real     5.4  24.0       0.030   773   13.8       134,  39         1.0, 1.1
                  drawn    5.2  23.7       0.030   767   12.3       133,  39         0.9, 0.9
    1        100  real    33.2  58.7       0.212   767   82.2       139,  40         1.1, 1.3
                  drawn   31.5  57.5       0.212   767   81.3       134,  41         0.9, 0.9
    2         14  real    18.0  46.8       0.114  2944   11.1       145,  28         0.8, 0.9
                  drawn   16.7  45.2       0.106  2746    7.7       145,  25         0.9, 0.9
    2        100  real    98.0  70.6       0.641  2319    7.6       148,  25         0.8, 0.9
                  drawn  101.6  69.1       0.670  2426    9.6       147,  25         0.9, 0.9

No pixel of either is saturated by design; of stain 1 drawn with 100 cells a few reach 255. More
cells on the same area cover each other: of the foreground of stain 1, cells overlap on 0.5 % with
100 cells, on 31 % with 600, 38 % with 650 and 44 % with 700; of stain 2 on 16 % with 100, and with
600 or more everywhere, so that hardly a cell can be told (choose a smaller ``radius`` for crowds).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal

import cv2
import numpy as np
import scipy  # which loads scipy.fft when it is first used: 0.3 s
from pydantic import Field, NonNegativeFloat, PositiveFloat

from cellzoo.errors import UsageError
from cellzoo.section import Range, Section, Share

_TRIES = 32  # places tried for a cell
_CORNERS = 7  # of a cell's polygon before they are rounded
_ROUNDING = 2  # times that corners are cut
_TILE = 512  # side of the noise that textures are cut from, px


@dataclass(frozen=True)
class Stain:
    """What differs between the looks of the two stains; measured on BBBC005 in focus.

    Attributes:
        radius: lowest and highest radius of a disc as large as a cell, px.
        irregularity: largest share by which a corner leaves the circle.
        brightness: lowest and highest brightness of a cell, grey levels of 255.
        texture: standard deviation of the brightness inside a cell, as a share of it.
        smoothness: exponent of the texture's amplitude spectrum: higher is smoother.
        clustering: probability that a cell is put at the side of another.
        overlap: by which share of the sum of their radii two cells may reach into each other.
    """

    radius: tuple[float, float]
    irregularity: float
    brightness: tuple[float, float]
    texture: float
    smoothness: float
    clustering: float
    overlap: float


STAINS = {
    1: Stain((14.6, 17.0), 0.16, (95.0, 195.0), 0.18, 1.7, 0.12, 0.08),  # nuclei
    2: Stain((27.1, 34.1), 0.42, (138.0, 165.0), 0.16, 1.2, 0.4, 0.33),  # cell bodies
}


class Fluorescence(Section):
    """What simulated images look like; the keys of ``data.natural`` with the same names.

    Attributes:
        stains: looks, 1 for nuclei and 2 for cell bodies; each image has one of them.
        radius: lowest and highest radius of a cell, px of the image drawn; None: as its stain in
            BBBC005 at 520 x 696 px.
        irregularity: largest share by which a corner of a cell leaves the circle; None: its
            stain's.
        brightness: lowest and highest brightness of a cell, grey levels of 255; None: its stain's.
        texture: standard deviation of the brightness inside a cell, as a share of it; None: its
            stain's.
        clustering: probability that a cell is put at the side of another; None: its stain's.
        overlap: by which share of the sum of their radii two cells may reach into each other; None:
            its stain's. Where there is no more room they overlap as much as they must.
        covering: what shows where cells overlap. ``"brighter"``: of cells and stray light the
            brightest. ``"upper"``: the upper cell alone, and the light of what is seen of each cell
            adds up, and to the stray light; cells side by side that are out of focus then have
            light between them, as in the simulated bacteria of Lempitsky and Zisserman (2010).
        blur: lowest and highest standard deviation of the blur of a cell, px. Masks stay sharp.
        background: brightest grey level of the uneven stray light, of 255.
        photons: that make a white pixel, which sets the shot noise.
        read_noise: standard deviation, grey levels of 255.
        offset: of the camera, grey levels of 255.
    """

    stains: Annotated[list[Literal[1, 2]], Field(min_length=1)] = [1]
    radius: Range[Annotated[float, Field(ge=2)]] | None = None
    irregularity: Annotated[float, Field(ge=0, le=0.6)] | None = None
    brightness: Range[NonNegativeFloat] | None = None
    texture: Share | None = None
    clustering: Share | None = None
    overlap: Share | None = None
    covering: Literal["brighter", "upper"] = "brighter"
    blur: Range[NonNegativeFloat] = (0.6, 2.6)
    background: Annotated[float, Field(ge=0, le=255)] = 1.0
    photons: PositiveFloat = 20000.0
    read_noise: NonNegativeFloat = 1.1
    offset: Annotated[float, Field(ge=0, le=255)] = 0.2

    def draw(
        self, size: tuple[int, int], count: int, seed: tuple[int, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draws one image.

        Args:
            size: height and width in pixels.
            count: of cells, whose centres all lie in the image.
            seed: the image depends on it and the settings alone.

        Returns:
            The image, uint8 ``[h, w]``, and the instance mask, uint16 ``[h, w]``: 0 = background,
            and each of 1 to ``count`` at least at one pixel. Where cells overlap the pixel is of
            the one whose centre is nearest.

        Raises:
            UsageError: there are too many cells for so small an image.
        """
        check_count(size, count, "count")
        rng = np.random.default_rng(seed)
        stain = STAINS[int(rng.choice(self.stains))]
        radii = rng.uniform(*_or(self.radius, stain.radius), count)
        clustering = _or(self.clustering, stain.clustering)
        centres = _places(rng, size, radii, clustering, _or(self.overlap, stain.overlap))
        outlines = _outlines(rng, radii, _or(self.irregularity, stain.irregularity))
        looks = np.stack(
            [
                rng.uniform(*_or(self.brightness, stain.brightness), count),
                rng.uniform(*self.blur, count),
                *rng.integers(0, _TILE, (2, count)),
            ],
            axis=1,
        )
        contrast = _or(self.texture, stain.texture)
        light = self._stray_light(rng, size)
        mask = np.zeros(size, np.uint16)
        nearest = np.full(size, np.inf, np.float32)
        cells = [_Cell(*each) for each in zip(centres, outlines, *looks.T, strict=True)]
        covered = None
        if self.covering == "upper" and cells:
            room = 2 * max(cell.half for cell in cells)  # beyond the borders, too
            covered = np.zeros((size[0] + room, size[1] + room), np.float32)
        noise = _noise(stain.smoothness)
        for k, cell in enumerate(cells):
            cell.paint(light, mask, nearest, covered, k + 1, noise, contrast)
        return self._photograph(rng, light), mask

    def _stray_light(self, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
        """A smooth hill of light from 0 to the background's level: float32 ``[h, w]``, 1 white."""
        coarse = rng.uniform(0, self.background / 255, (3, 3)).astype(np.float32)
        return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_LINEAR)

    def _photograph(self, rng: np.random.Generator, light: np.ndarray) -> np.ndarray:
        """Shot noise, read noise and offset: uint8 ``[h, w]``."""
        electrons = rng.poisson(light * self.photons)
        noise = self.read_noise * rng.standard_normal(light.shape, np.float32)
        grey = electrons * (255 / self.photons) + noise + self.offset
        return np.clip(np.round(grey), 0, 255).astype(np.uint8)


def check_count(size: tuple[int, int], count: int, key: str) -> None:
    """Refuses more cells than an image has room for.

    Args:
        size: height and width in pixels.
        count: of cells.
        key: of a recipe, that says how many.

    Raises:
        UsageError: there would be fewer than 16 pixels for a cell, or more than a uint16 mask can
            number.
    """
    height, width = size
    most = min(height * width // 16, 65535)
    if count > most:
        raise UsageError(
            f"{key} says {count} cells in an image of {height} x {width} px, where {most} find "
            "room: lower it."
        )


@dataclass(frozen=True)
class _Cell:
    """One cell: integer centre (row, column), outline [points, 2] around it, and its looks."""

    centre: np.ndarray
    outline: np.ndarray
    brightness: float
    blur: float
    texture_row: float
    texture_column: float

    @property
    def half(self) -> int:
        """From the centre to the ends of its patch, px."""
        return int(np.ceil(np.abs(self.outline).max() + 3 * self.blur)) + 1

    def paint(
        self,
        light: np.ndarray,
        mask: np.ndarray,
        nearest: np.ndarray,
        covered: np.ndarray | None,
        number: int,
        noise: np.ndarray,
        contrast: float,
    ) -> None:
        """Adds the cell to the light, and to the mask where it is the nearest.

        Args:
            light: of the image, ``[h, w]``.
            mask: numbers of the cells.
            nearest: distance to the nearest centre so far, px.
            covered: share of each pixel that cells so far cover, from 0 to 255, of the image and
                as much around it as patches reach. What they leave of this one is added; None: the
                brightest shows.
            number: of this cell.
            noise: texture.
            contrast: of the texture.
        """
        half, side = self.half, 2 * self.half + 1
        body = np.zeros((side, side), np.uint8)
        # fillPoly counts in 1/16 px, x before y.
        points = np.round((self.outline[:, ::-1] + half) * 16).astype(np.int32)
        cv2.fillPoly(body, [points], 255, cv2.LINE_AA, 4)
        body[half, half] = 255  # however thin the cell is
        # The cell's middle lies in the image, but the patch around it may reach beyond.
        top, left = self.centre - half
        height, width = light.shape
        inner = (
            slice(max(-top, 0), min(height - top, side)),
            slice(max(-left, 0), min(width - left, side)),
        )
        outer = (
            slice(inner[0].start + top, inner[0].stop + top),
            slice(inner[1].start + left, inner[1].stop + left),
        )
        seen = body
        if covered is not None:
            reach = (covered.shape[0] - height) // 2
            first, start = top + reach, left + reach
            before = covered[first : first + side, start : start + side]
            seen = np.maximum(body - before, 0)
            np.maximum(before, body, out=before)
        row, column = int(self.texture_row), int(self.texture_column)
        rows, columns = (np.arange(side) + row) % _TILE, (np.arange(side) + column) % _TILE
        paint = seen * (self.brightness / 255**2) * (1 + contrast * noise[np.ix_(rows, columns)])
        if self.blur > 0.1:
            paint = cv2.GaussianBlur(paint.astype(np.float32), (0, 0), self.blur)
        if covered is None:
            np.maximum(light[outer], paint[inner], out=light[outer])
        else:
            light[outer] += np.maximum(paint[inner], 0)  # a strong texture goes below 0
        along = np.arange(-half, half + 1, dtype=np.float32) ** 2
        distance = (along[:, None] + along)[inner]
        mine = (body[inner] >= 128) & (distance < nearest[outer])
        mask[outer][mine] = number
        nearest[outer][mine] = distance[mine]


def _places(
    rng: np.random.Generator,
    size: tuple[int, int],
    radii: np.ndarray,
    clustering: float,
    overlap: float,
) -> np.ndarray:
    """Centres, int ``[count, 2]`` (row, column), no two alike."""
    centres = np.zeros((len(radii), 2), int)
    free = np.ones(size, bool)
    for k, radius in enumerate(radii):
        tried = rng.integers(0, size, (_TRIES, 2))
        reach = radius + radii[:k]
        if k and rng.random() < clustering:
            neighbour = int(rng.integers(k))
            angle = rng.uniform(0, 2 * np.pi, _TRIES)
            distance = reach[neighbour] * rng.uniform(1 - overlap, 1, _TRIES)
            beside = np.stack([np.sin(angle), np.cos(angle)], axis=1) * distance[:, None]
            beside = np.round(centres[neighbour] + beside).astype(int)
            inside = ((beside >= 0) & (beside < size)).all(axis=1)
            tried = np.concatenate([beside[inside], tried])
        if k:
            offsets = tried[:, None] - centres[None, :k]
            # 1 where two cells just touch, 0 where one lies on the other.
            apart = (np.hypot(offsets[..., 0], offsets[..., 1]) / reach).min(axis=1)
            fits = apart >= 1 - overlap
            chosen = tried[fits.argmax() if fits.any() else apart.argmax()]
        else:
            chosen = tried[0]
        if not free[tuple(chosen)]:
            chosen = np.argwhere(free)[rng.integers(free.sum())]
        free[tuple(chosen)] = False
        centres[k] = chosen
    return centres


def _outlines(rng: np.random.Generator, radii: np.ndarray, irregularity: float) -> np.ndarray:
    """Rounded random polygons around the origin, [cells, points, 2], as large as their discs."""
    shape = (len(radii), _CORNERS)
    angle = (np.arange(_CORNERS) + rng.uniform(-0.3, 0.3, shape)) * (2 * np.pi / _CORNERS)
    angle += rng.uniform(0, 2 * np.pi, (len(radii), 1))
    distance = 1 + rng.uniform(-irregularity, irregularity, shape)
    points = np.stack([np.sin(angle), np.cos(angle)], axis=-1) * distance[..., None]
    for turn in range(_ROUNDING):
        following = np.roll(points, -1, axis=1)
        cut = np.stack([0.75 * points + 0.25 * following, 0.25 * points + 0.75 * following], axis=2)
        points = cut.reshape(len(radii), _CORNERS * 2 ** (turn + 1), 2)
    y, x = points[..., 0], points[..., 1]
    area = 0.5 * np.abs((x * np.roll(y, -1, axis=1) - y * np.roll(x, -1, axis=1)).sum(axis=1))
    # OpenCV's smooth edge adds 0.6 px all around.
    return points * ((radii - 0.6) * np.sqrt(np.pi / area))[:, None, None]


@lru_cache(8)
def _noise(smoothness: float) -> np.ndarray:
    """A tile of 1/f noise that repeats without a seam: float32, mean 0, standard deviation 1.

    Each cell shows a piece of it from another place.
    """
    frequency = np.hypot(scipy.fft.fftfreq(_TILE)[:, None], scipy.fft.fftfreq(_TILE))
    # Waves much longer than a cell would only change its brightness.
    amplitude = np.maximum(frequency, 1 / 64) ** -smoothness
    white = np.random.default_rng(0).standard_normal((_TILE, _TILE))
    tile = scipy.fft.ifft2(scipy.fft.fft2(white) * amplitude).real
    return ((tile - tile.mean()) / tile.std()).astype(np.float32)


def _or(value, default):
    return default if value is None else value
