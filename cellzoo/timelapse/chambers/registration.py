"""Where the chip of a time-lapse is in each frame: how far it moved and turned since the first.

The walls are matched, not what grows between them. A frame is aligned with the first one by
enhanced correlation (Evangelidis and Psarakis 2008, doi:10.1109/TPAMI.2008.113), from coarse to
fine, starting where the chip was last. Where that fails it is looked for everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import scipy  # which loads scipy.fft when it is first used: 0.3 s
import scipy.ndimage

_LARGEST = 800  # px, longest side at which is matched: 0.3 px of 4,000 is the worst it costs
_SMALLEST = 64  # px, of the coarsest level
_COARSE = 128  # px, longest side at which the chip is looked for everywhere
_TURNS = np.arange(-6.0, 6.1, 1.0)  # degrees that are tried there
_OVERLAP = 0.5  # of the walls that have to stay in the field
_FOUND = 0.3  # correlation of the walls below which nothing was found
_SHARE = 0.5  # of the usual correlation, likewise
_FAR = 0.3  # correlation that a shift by the side of the field has to be better for
_BETTER = 0.75  # of the unlikeness that may be left where a step of a period is believed
_CLEARLY = 1.1  # times the unlikeness, above which a place a period beside it is excluded
_EQUALLY = 1.3  # times the unlikeness of the walls, below which these may be its walls, too
_SAME = 0.6  # local correlation from which a place looks as in the first frame
_WINDOW = 21  # px of such a place
_REACH = 3  # px by which it may be off
_LEAST = 0.05  # of the walls that have to look the same
_CLIP = 3.0  # standard deviations beyond which bright debris does not count more
_EVEN = 1e-5  # of the brightest pixel, below which differences are those of rounding
_ITERATIONS = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 60, 1e-5)


@dataclass(frozen=True)
class Pose:
    """Where the chip is in a frame, relative to the first frame.

    Attributes:
        dx: shift of the field's middle to the right, px.
        dy: shift down.
        angle: turn around the field's middle in degrees, clockwise as one sees it.
        score: correlation of the walls with those of the first frame, -1 to 1; NaN where it was not
            found.
        flag: what is unusual about it; empty where nothing is.
    """

    dx: float = 0.0
    dy: float = 0.0
    angle: float = 0.0
    score: float = 1.0
    flag: str = ""

    def matrix(self, shape: tuple[int, int]) -> np.ndarray:
        """From places in the first frame to places in this one, ``[2, 3]``, pixel middles whole.

        Args:
            shape: height and width of the frames.
        """
        return _matrix(self.dx, self.dy, self.angle, shape)


def _matrix(dx: float, dy: float, angle: float, shape: tuple[int, int]) -> np.ndarray:
    height, width = shape
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    turn = np.deg2rad(angle)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.concatenate([rotation, (middle - rotation @ middle + (dx, dy))[:, None]], 1)


class Tracker:
    """Follows the chip from the first frame on.

    Args:
        first: ``[height, width]``, any grey type: the frame that the others are compared with.
        walls: bool ``[height, width]``: where nothing grows. None: the whole field.
        periods: shifts in px by which the chip looks like itself, ``[n, 2]`` (x, y).
    """

    def __init__(
        self,
        first: np.ndarray,
        walls: np.ndarray | None = None,
        periods: Sequence[Sequence[float]] = (),
    ):
        self.shape = first.shape
        self._scale = min(1.0, _LARGEST / max(first.shape))
        if walls is None:
            walls = np.ones(first.shape, bool)
        picture = self._prepared(first)
        mask = cv2.resize(walls.astype(np.uint8), picture.shape[::-1], interpolation=cv2.INTER_AREA)
        self._levels = _pyramid(picture)
        self._between = mask == 0 if (mask == 0).any() else np.ones(mask.shape, bool)
        self._masks = [_small(mask, level.shape) for level in self._levels]
        small = min(1.0, _COARSE / max(picture.shape))
        size = [max(8, round(n * small)) for n in picture.shape]
        self._coarse = cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)
        self._coarse_mask = _small(mask, self._coarse.shape)
        self._periods = [np.asarray(p, float) for p in periods]
        self._last = Pose()
        self._last_picture = picture
        self._scores: list[float] = []

    def find(self, frame: np.ndarray) -> Pose:
        """Where the chip is in the next frame.

        Where it cannot be found the last place is kept, and flagged.
        """
        picture = self._prepared(frame)
        usual = float(np.median(self._scores)) if self._scores else 1.0
        enough = max(_FOUND, _SHARE * usual)
        pose = self._aligned(picture, self._last)
        if not pose.score >= max(enough, 0.8 * usual):
            others = [self._aligned(picture, start) for start in self._candidates(picture)]
            pose = max([pose, *others], key=self._rank)
        if not pose.score >= enough:
            return replace(
                self._last, score=np.nan, flag="the shift was not found, the last one is kept"
            )
        pose = self._step(picture, self._refined(picture, pose))
        self._last, self._last_picture = replace(pose, flag=""), picture
        self._scores.append(pose.score)
        return pose

    def _rank(self, pose: Pose) -> float:
        """The score, and of equal ones the nearer place."""
        far = np.hypot(pose.dx - self._last.dx, pose.dy - self._last.dy) / max(self.shape)
        return -1.0 if np.isnan(pose.score) else pose.score - _FAR * far

    def _prepared(self, frame: np.ndarray) -> np.ndarray:
        """Float32, smaller if need be, without uneven light, and with little weight on debris."""
        picture = _without_padding(np.asarray(frame, np.float32))
        if self._scale < 1:
            size = [max(8, round(n * self._scale)) for n in picture.shape]
            picture = cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)
        wide = max(picture.shape) / 16
        picture = cv2.GaussianBlur(picture, (0, 0), 0.8) - blurred(picture, wide)
        spread = float(np.percentile(np.abs(picture), 80))
        if spread <= _EVEN * float(np.abs(frame).max()):  # what is left is rounding
            return np.zeros_like(picture)
        return np.clip(picture / spread, -_CLIP, _CLIP)

    def _refined(self, picture: np.ndarray, pose: Pose) -> Pose:
        """The pose again, of those places alone that look as in the first frame.

        Cells that lean on the walls would pull it along. A place that is still the same agrees with
        the first frame at its own best shift, whether or not the pose is quite right.
        """
        first, size = self._levels[0], self._levels[0].shape[::-1]
        forth = pose.matrix(self.shape)
        forth[:, 2] = _rescaled_offset(forth, np.array(size) / self.shape[::-1])
        seen = cv2.warpAffine(
            picture, forth, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,
        )  # fmt: skip
        same = _small(best_agreement(first, seen) > _SAME, first.shape) > 0
        mask = (self._masks[0] > 0) & same
        if mask.sum() < _LEAST * (self._masks[0] > 0).sum():
            return pose
        masks = [_small(mask, level.shape) for level in self._levels]
        better = self._aligned(picture, pose, masks, levels=2)
        near = np.hypot(better.dx - pose.dx, better.dy - pose.dy) * self._scale < 2 * _REACH
        return better if near and better.score > pose.score - 0.05 else pose

    def _aligned(
        self,
        picture: np.ndarray,
        start: Pose,
        masks: Sequence[np.ndarray] | None = None,
        levels: int | None = None,
    ) -> Pose:
        """The pose near another one at which the walls agree best.

        Args:
            picture: prepared.
            start: the other pose.
            masks: of what counts, of each level; None: of the walls.
            levels: how many of the finest to use; None: all.
        """
        masks = self._masks if masks is None else masks
        back = _inverse(start.matrix(self.shape)).astype(np.float32)
        shrunk = np.array([picture.shape[1] / self.shape[1], picture.shape[0] / self.shape[0]])
        back[:, 2] = _rescaled_offset(back, shrunk)
        own = _pyramid(picture)[:levels]
        for k in range(len(own) - 1, -1, -1):
            level, factor = own[k], np.array(own[k].shape[::-1]) / picture.shape[::-1]
            there = back.copy()
            there[:, 2] = _rescaled_offset(back, factor)
            try:
                _, there = cv2.findTransformECC(
                    level, self._levels[k], there, cv2.MOTION_EUCLIDEAN, _ITERATIONS,
                    masks[k], 3,
                )  # fmt: skip
            except cv2.error:  # it does not converge
                continue
            back = there.copy()
            back[:, 2] = _rescaled_offset(there, 1 / factor)
        score = self._agreement(picture, back)
        back[:, 2] = _rescaled_offset(back, 1 / shrunk)
        return self._pose(_inverse(back.astype(float)), score)

    def _pose(self, matrix: np.ndarray, score: float) -> Pose:
        height, width = self.shape
        middle = np.array([(width - 1) / 2, (height - 1) / 2])
        dx, dy = matrix[:, :2] @ middle + matrix[:, 2] - middle
        angle = np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0]))
        return Pose(float(dx), float(dy), float(angle), score)

    def _agreement(self, picture: np.ndarray, back: np.ndarray) -> float:
        """Correlation of the walls of the first frame with those of another one; NaN: too few."""
        first, mask = self._levels[0], self._masks[0]
        seen, there = (
            cv2.warpAffine(p, _inverse(back), first.shape[::-1], flags=flags | cv2.WARP_INVERSE_MAP)
            for p, flags in (
                (picture, cv2.INTER_LINEAR),
                (np.ones(picture.shape, np.uint8), cv2.INTER_NEAREST),
            )
        )
        both = (there > 0) & (mask > 0)
        if both.sum() < _OVERLAP * (mask > 0).sum():
            return np.nan
        return _correlation(first[both], seen[both])

    def _candidates(self, picture: np.ndarray) -> list[Pose]:
        """The best places at a coarse scale, wherever in the field they are."""
        first, mask = self._coarse, (self._coarse_mask > 0).astype(np.float32)
        seen = cv2.resize(picture, first.shape[::-1], interpolation=cv2.INTER_AREA)
        scale = first.shape[1] / self.shape[1], first.shape[0] / self.shape[0]
        found = []
        for turn in _TURNS + self._last.angle:
            turned = _matrix(0, 0, turn, first.shape)
            walls, there = (cv2.warpAffine(p, turned, first.shape[::-1]) for p in (first, mask))
            surface = masked_correlation(walls, (there > 0.5).astype(np.float32), seen)
            y, x = np.unravel_index(np.argmax(surface), surface.shape)
            shift = x - (first.shape[1] - 1), y - (first.shape[0] - 1)
            found.append((surface[y, x], Pose(shift[0] / scale[0], shift[1] / scale[1], turn)))
        found.sort(key=lambda one: -one[0])
        return [pose for _, pose in found[:3]]

    def _step(self, picture: np.ndarray, pose: Pose) -> Pose:
        """The pose, or one a period beside it if the chip went there since the last frame.

        Walls look alike one period off. Cells and dirt do not, and change little from a frame to
        the next. Where they are too few to say it, the pose is flagged.
        """
        if not self._periods:
            return pose
        own = self._likeness(picture, pose)
        beside = []
        for period in self._periods:
            for sign in (1, -1):
                shift = sign * _turned(period, pose.angle)
                other = replace(pose, dx=pose.dx + shift[0], dy=pose.dy + shift[1])
                beside.append((self._likeness(picture, other), other))
        most, best = max(beside, key=lambda one: one[0])
        if most <= 1 - _BETTER * (1 - own):
            unsure = [o for likeness, o in beside if 1 - likeness < _CLEARLY * (1 - own)]
            scores = [self._aligned(picture, other).score for other in unsure]
            if any(1 - score < _EQUALLY * (1 - pose.score) for score in scores):
                return replace(pose, flag="clean chambers: a step by one chamber would not be seen")
            return pose
        better = self._aligned(picture, best)
        if np.hypot(better.dx - best.dx, better.dy - best.dy) > 0.2 * min(
            np.hypot(*p) for p in self._periods
        ):
            better = replace(best, score=better.score)
        return replace(better, flag="moved by about one chamber since the last frame")

    def _likeness(self, picture: np.ndarray, pose: Pose) -> float:
        """Correlation with the last picture of what lies between the walls."""
        last, size = self._last_picture, self._last_picture.shape[::-1]
        scale = np.array(size) / self.shape[::-1]
        there, forth = (p.matrix(self.shape) for p in (self._last, pose))
        for matrix in (there, forth):
            matrix[:, 2] = _rescaled_offset(matrix, scale)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        one, other = (
            _details(cv2.warpAffine(p, matrix, size, flags=flags))
            for p, matrix in ((last, there), (picture, forth))
        )
        both = self._between.copy()
        for matrix in (there, forth):
            both &= cv2.warpAffine(np.ones_like(last), matrix, size, flags=flags) > 0.99
        if both.sum() < _OVERLAP * self._between.sum():
            return -1.0
        return _correlation(one[both], other[both])


def masked_correlation(template: np.ndarray, mask: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """Correlation of a masked template with a picture at every shift.

    Padfield 2012, "Masked object registration in the Fourier domain", doi:10.1109/TIP.2011.2181402,
    with every pixel of the picture valid.

    Args:
        template: float32 ``[h, w]``.
        mask: float32 ``[h, w]``, 1 where the template counts, else 0.
        picture: float32 ``[height, width]``.

    Returns:
        float32 ``[height + h - 1, width + w - 1]``: element ``[y, x]`` is for the template shifted
        by ``y - (h - 1)`` down and ``x - (w - 1)`` to the right; -1 where too little of it is in
        the picture.
    """
    shape = [a + b - 1 for a, b in zip(template.shape, picture.shape, strict=True)]
    size = [scipy.fft.next_fast_len(n, real=True) for n in shape]

    def transform(values: np.ndarray) -> np.ndarray:
        return scipy.fft.rfft2(values, size)

    def back(spectrum: np.ndarray) -> np.ndarray:
        return scipy.fft.irfft2(spectrum, size)[: shape[0], : shape[1]]

    def flipped(values: np.ndarray) -> np.ndarray:
        return transform(values[::-1, ::-1])

    walls = template * mask
    m, t, t2 = flipped(mask), flipped(walls), flipped(walls * template)
    one, p, p2 = (transform(v) for v in (np.ones_like(picture), picture, picture**2))
    number = np.maximum(back(m * one), 1e-3)
    sum_t, sum_p = back(t * one), back(m * p)
    product = back(t * p) - sum_t * sum_p / number
    spread_t = np.maximum(back(t2 * one) - sum_t**2 / number, 0)
    spread_p = np.maximum(back(m * p2) - sum_p**2 / number, 0)
    norm = np.sqrt(spread_t * spread_p)
    enough = (number >= _OVERLAP * mask.sum()) & (norm > 1e-4 * norm.max())
    return np.where(enough, product / np.maximum(norm, 1e-12), -1).astype(np.float32)


def best_agreement(first: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How well the surroundings of each pixel agree at their own best shift of some pixels.

    Args:
        first: float32 ``[h, w]``.
        other: float32 ``[h, w]``.

    Returns:
        float32 ``[h, w]``: the largest local correlation, -1 to 1; 0 where there is no structure.
    """

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.blur(values, (_WINDOW, _WINDOW), borderType=cv2.BORDER_REFLECT)

    mean_first, mean_other = mean(first), mean(other)
    spread_first = mean(first**2) - mean_first**2
    spread_other = mean(other**2) - mean_other**2
    least = 1e-3 * float(spread_first.mean() + 1e-12)
    best = np.full(first.shape, -1, np.float32)
    reach = range(-_REACH, _REACH + 1)
    for dy in reach:
        for dx in reach:
            moved, spread, average = (
                np.roll(v, (dy, dx), (0, 1)) for v in (other, spread_other, mean_other)
            )
            product = mean(first * moved) - mean_first * average
            np.maximum(
                best, product / np.sqrt(np.maximum(spread_first * spread, least**2)), out=best
            )
    return np.where(spread_first > least, best, 0)


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one - one.mean(), other - other.mean()
    norm = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum()) / norm if norm > 0 else 0.0


def _without_padding(picture: np.ndarray) -> np.ndarray:
    """The picture, with what a program put around it when it moved it taken from the nearest pixel.

    That is an even area of one grey level at the border.
    """
    kernel = np.ones((5, 5), np.uint8)
    flat = (cv2.dilate(picture, kernel) == cv2.erode(picture, kernel)).astype(np.uint8)
    if not flat.any():
        return picture
    _, labels = cv2.connectedComponents(flat)
    edges = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    padding = np.isin(labels, np.setdiff1d(edges, 0))
    if not padding.any():
        return picture
    # Beside it lie pixels that were mixed of both.
    padding = cv2.dilate(padding.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    if padding.all():
        return picture
    nearest = scipy.ndimage.distance_transform_edt(
        padding, return_distances=False, return_indices=True
    )
    return picture[tuple(nearest)]


def _details(picture: np.ndarray) -> np.ndarray:
    """Cells and dirt, without noise and without what is as wide as a chamber."""
    return cv2.blur(picture, (3, 3)) - cv2.blur(picture, (15, 15))


def blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    """A wide Gaussian blur, cheaply: of a picture that is small first."""
    step = max(1, int(sigma / 4))
    size = [max(1, round(n / step)) for n in picture.shape]
    small = cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / step, borderType=cv2.BORDER_REFLECT)
    return cv2.resize(small, picture.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _pyramid(picture: np.ndarray) -> list[np.ndarray]:
    """The picture, and smaller ones of half the size each."""
    levels = [picture]
    while min(levels[-1].shape) >= 2 * _SMALLEST:
        size = [round(n / 2) for n in levels[-1].shape]
        levels.append(cv2.resize(levels[-1], size[::-1], interpolation=cv2.INTER_AREA))
    return levels


def _small(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A mask uint8 0 or 1 in another size: 1 where all that it stands for is."""
    share = cv2.resize(mask.astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA)
    found = (share > 0.99).astype(np.uint8)
    return found if found.any() else (share > 0).astype(np.uint8)


def _inverse(matrix: np.ndarray) -> np.ndarray:
    return cv2.invertAffineTransform(matrix)


def _rescaled_offset(matrix: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """The offset of a matrix for pictures of another size, pixel middles at whole numbers."""
    centre = np.array([0.5, 0.5])
    linear = matrix[:, :2].astype(float)
    # In corner coordinates a resize only scales.
    offset = matrix[:, 2] + centre - linear @ centre
    return offset * factor - centre + linear @ centre


def _turned(vector: np.ndarray, degrees: float) -> np.ndarray:
    turn = np.deg2rad(degrees)
    return np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.asarray(
        vector, float
    )
