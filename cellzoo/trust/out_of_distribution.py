"""The out-of-distribution score: an image unlike the training images may be counted wrongly."""

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cellzoo.images.scale import middle_of, resize_all
from cellzoo.trust.features import COARSE, FEATURES, SCALES, features, features_of

_POINTS_AT_A_TIME = 16  # whose distances are taken: what stays in the cache of a processor core
_PROTOTYPES, _IMAGES_PER_PROTOTYPE = 128, 6
# Images that lie around a prototype as all do around theirs, beside its own: few say little.
_IMAGES_OF_ALL = 3
_FOLDS = 5
_KEPT = 0.98  # share of held-out images of its own that is not flagged
_ENOUGH_FOR_A_BOUND = 49  # images: of fewer each one is more than the share that is flagged
# Differences too small to be seen, in the units of the features: images that hardly differ in
# training are no reason to flag the first one that does.
_LEAST_SCALE = 0.02
_LEAST_VARIANCE = 0.005  # within the images around a prototype, of that of all images
_SIZE_TOLERANCE = 1.25  # times which cells may be larger or smaller, once resized

# Cells look larger or smaller: an image zoomed by a step of this list looks more like the training
# images than it does itself. Measured on the images of the zoo's counters, and those zoomed.
_ZOOM_STEP = 1.25
_ZOOM_STEPS = range(-4, 8)  # cells look 0.4 to 4.8 times as large
_ZOOMED_SIDE = 512  # of the middle of an image that is zoomed
_ZOOMED_PIXELS = 2**18  # of images that are zoomed together, for the sake of memory
_ZOOM_WEIGHTS = (0, 1, 3)  # of features that noise hardly changes, against all of them
_ZOOM_SUSPECT = 0.7  # of the threshold: nearer images are not zoomed; others are made smaller
_ZOOM_GAIN = 0.6  # times which the distance must become, or less
_ZOOM_REST = 2.2  # times the threshold that the zoomed image may be away
_ZOOM_LEAST = 1.15  # smaller differences are not said
_FAR = 1e9  # a distance that no image has

DARK = "darker than the training images"
BRIGHT = "brighter than the training images"
FLAT = "less contrast than the training images: empty?"
STRONG = "more contrast than the training images"
BLURRED = "less fine detail than the training images: out of focus?"
SHARP = "sharper or noisier than the training images"
SATURATED = "more white pixels than the training images: saturated?"
BLACK = "more black pixels than the training images: underexposed?"
OTHER = "other structures than in the training images"
SWAPPED = "bright and dark swapped against the training images"

# Feature -> what to say if it is lower and if it is higher than in the training images.
_WORDS = {
    "grey": (DARK, BRIGHT),
    "darkest": (DARK, BRIGHT),
    "brightest": (DARK, BRIGHT),
    "white": (OTHER, SATURATED),
    "black": (OTHER, BLACK),
    "contrast_bright": (FLAT, STRONG),
    "contrast_dark": (FLAT, STRONG),
    "contrast_coarse": (FLAT, STRONG),
    **{f"detail_{k}": (FLAT, STRONG) for k in range(SCALES)},
    **{f"background_{k}": (BLURRED, SHARP) for k in range(SCALES)},
    **{f"skewness_{k}": (OTHER, OTHER) for k in range(SCALES)},
    **{f"sharpness_{k}": (BLURRED, SHARP) for k in range(SCALES - 1)},
}
_NOISY = ("white", "black", "detail_0", "sharpness_0", "skewness_0")
_STEADY = [k for k, name in enumerate(FEATURES) if name not in _NOISY and "background" not in name]


@dataclass(frozen=True, eq=False)
class Look:
    """What an image has that the training images have not.

    Attributes:
        features: see :func:`features`, ``[f]``.
        times: how many times as large its cells are; None: about as large, or not to be told.
        words: further reasons, the gravest first; empty of an image like those of training.
    """

    features: np.ndarray
    times: float | None = None
    words: list[str] = field(default_factory=list)

    @property
    def reasons(self) -> list[str]:
        """A few words for each reason, the gravest first; none of an image like those."""
        if self.times is None:
            return self.words
        larger = f"cells about {self.times:.1f} times as large as in the training images"
        return [larger, *self.words]


@dataclass(frozen=True, eq=False)
class OutOfDistribution:
    """What the training images look like in a few statistics, to notice images that look otherwise.

    An image's distance is that of its features (see :func:`features`) to the nearest of some
    prototypes, the centres of clusters of the training images. Each feature is scaled by how much
    it varies within clusters: a lab's images may come in several kinds, and what is between two
    kinds is neither. Images of one kind may vary more than those of another, as those of few cells
    do: each prototype has a radius, in which the distance to it is measured.

    An image farther away than nearly all images that had no part in it is flagged: held-out groups
    of the training images, each measured by the others, and the validation images.

    It looks at no network and knows no cells: what is flagged is a picture of another kind, not a
    count that is wrong.

    Attributes:
        center: of each feature, float ``[f]``.
        scale: of each feature, float ``[f]``.
        prototypes: centred and scaled, float ``[k, f]``.
        threshold: distance from which on an image is flagged.
        radii: of the prototypes, how far their own training images are away against those of all,
            root mean square, ``[k]``; earlier versions knew none, and all are 1.
        sizes: least and most height and width in pixels that the files had, ``[2, 2]``; None: it is
            not known.
    """

    center: np.ndarray
    scale: np.ndarray
    prototypes: np.ndarray
    threshold: float
    radii: np.ndarray
    sizes: np.ndarray | None = None

    @property
    def in_lowest_sixteenth(self) -> bool:
        """Whether the training images left the upper four of 16 bits empty."""
        return bool(self.center[FEATURES.index("brightest")] < 1 / 16)

    @classmethod
    def fit(
        cls,
        training: np.ndarray | Sequence[np.ndarray],
        groups: np.ndarray,
        validation: np.ndarray | Sequence[np.ndarray],
        sizes: np.ndarray | None = None,
    ) -> "OutOfDistribution":
        """Looks at images, labelled or not.

        Args:
            training: ``[n, h, w]`` in [0, 1], or a list of images ``[h, w]`` of several sizes.
            groups: of the training images, ``[n]``.
            validation: images that take part in the threshold alone, likewise.
            sizes: of the files that the training images were read from, ``[n, 2]``.
        """
        seen = np.stack([features(image) for image in training])
        found = cls._of(seen)
        distances = [_held_out_distances(seen, np.asarray(groups))]
        if len(validation):
            others = np.stack([features(image) for image in validation])
            distances.append(found.distances(others))
        if min(map(len, distances)) < _ENOUGH_FOR_A_BOUND:
            distances = [np.concatenate(distances)]
        threshold = max(_bound(part) for part in distances)
        ends = None if sizes is None else np.stack([sizes.min(axis=0), sizes.max(axis=0)])
        return replace(found, threshold=threshold, sizes=ends)

    @classmethod
    def _of(cls, seen: np.ndarray) -> "OutOfDistribution":
        """From features ``[n, f]``, without a threshold."""
        center, scale = seen.mean(axis=0), seen.std(axis=0) + _LEAST_SCALE
        scaled = (seen - center) / scale
        number = int(np.clip(len(seen) // _IMAGES_PER_PROTOTYPE, 1, _PROTOTYPES))
        centres, nearest = _clusters(scaled, number)
        within = np.sqrt((scaled - centres[nearest]).var(axis=0) + _LEAST_VARIANCE)
        prototypes, _ = _clusters(scaled / within, number)
        between = _distances(scaled / within, prototypes)
        squares, own = between.min(axis=1) ** 2, between.argmin(axis=1)
        squares = squares / squares.mean() if squares.any() else np.ones(len(squares))
        numbers = np.bincount(own, minlength=len(prototypes))
        sums = np.bincount(own, squares, len(prototypes))
        radii = np.sqrt((sums + _IMAGES_OF_ALL) / (numbers + _IMAGES_OF_ALL))
        return cls(center, scale * within, prototypes, np.inf, radii)

    @classmethod
    def from_metadata(cls, metadata: dict[str, Any] | None) -> "OutOfDistribution | None":
        """From what a run or an export wrote down; None of nothing, or of other features.

        Raises:
            KeyError, TypeError, ValueError: it is damaged.
        """
        if not metadata:
            return None
        # Earlier versions called the background ground.
        features = [re.sub("^ground_", "background_", name) for name in metadata["features"]]
        if tuple(features) != FEATURES:
            return None
        center, scale = (np.array(_numbers(metadata[key])) for key in ("center", "scale"))
        prototypes = np.array([_numbers(row) for row in metadata["prototypes"]])
        if not len(center) == len(scale) == prototypes.shape[1] == len(FEATURES):
            raise ValueError("the numbers are not one for each feature")
        radii = np.ones(len(prototypes))
        if "radii" in metadata:  # earlier versions kept none
            radii = np.array(_numbers(metadata["radii"]))
            if radii.shape != (len(prototypes),) or not (radii > 0).all():
                raise ValueError("the radii are not one above 0 for each prototype")
        sizes = None
        if "sizes" in metadata:  # earlier versions kept none
            sizes = np.array([[int(side) for side in ends] for ends in metadata["sizes"]])
            if sizes.shape != (2, 2):
                raise ValueError("the sizes are not two heights and widths")
        return cls(center, scale, prototypes, float(metadata["threshold"]), radii, sizes)

    def metadata(self) -> dict[str, Any]:
        """What :meth:`from_metadata` reads: four digits say enough, rows of them are short."""
        return {
            "features": list(FEATURES),
            "center": _text(self.center),
            "scale": _text(self.scale),
            "prototypes": [_text(row) for row in self.prototypes],
            "threshold": float(f"{self.threshold:.4g}"),
            "radii": _text(self.radii),
            **({} if self.sizes is None else {"sizes": self.sizes.tolist()}),
        }

    def distances(self, found: np.ndarray) -> np.ndarray:
        """Distances ``[n]`` of features ``[n, f]`` to the nearest prototype, in its radius."""
        return self._nearest((found - self.center) / self.scale)[1]

    def _nearest(
        self, scaled: np.ndarray, of: Sequence[int] | slice = slice(None)
    ) -> tuple[np.ndarray, np.ndarray]:
        """Nearest prototype of scaled features ``[n, f]``, and how many radii it is away, ``[n]``.

        Args:
            scaled: centred and scaled.
            of: features that are looked at.
        """
        away = _distances(scaled[:, of], self.prototypes[:, of]) / self.radii
        return away.argmin(axis=1), away.min(axis=1)

    def size_reason(self, height: int, width: int) -> str:
        """What to say of an image's own size in pixels, for a counter that resizes what it counts.

        Twice as many pixels are cells half as large to it, unless the camera has more pixels.

        Returns:
            A few words; empty for a size near those of training, or where these are not known.
        """
        if self.sizes is None:
            return ""
        least, most = self.sizes
        own = np.array([height, width])
        if (own <= _SIZE_TOLERANCE * most).all() and (own * _SIZE_TOLERANCE >= least).all():
            return ""
        known = " to ".join(dict.fromkeys(f"{w} x {h}" for h, w in self.sizes))
        return f"{width} x {height} px, trained on {known}: are cells as large once resized?"

    def reasons(self, image: np.ndarray) -> list[str]:
        """Why an image, float ``[h, w]`` in [0, 1], is unlike the training images.

        Returns:
            A few words for each reason, the gravest first; none for an image like those.
        """
        return self.look(image).reasons

    def look(self, image: np.ndarray) -> Look:
        """What an image, float ``[h, w]`` in [0, 1], has that the training images have not."""
        return self.looks(image[None])[0]

    def looks(self, images: np.ndarray) -> list[Look]:
        """What images, float ``[n, h, w]``, have each by itself, see :meth:`look`."""
        found = features_of(images)
        distances = self.distances(found)
        looks = [Look(each) for each in found]
        unlike = distances > self.threshold
        for k in np.flatnonzero(unlike):
            if self.distances(features(1 - images[k])[None])[0] <= self.threshold:
                looks[k] = Look(found[k], words=[SWAPPED])
                unlike[k] = False
        suspect = (distances > _ZOOM_SUSPECT * self.threshold) & (distances <= self.threshold)
        # Enlarging is slow, so that only images that are flagged anyway are enlarged.
        for some, steps in ((unlike, _ZOOM_STEPS), (suspect, _ZOOM_STEPS[4:])):
            for places in _parts(np.flatnonzero(some), images[0].size):
                zoomed = self._times_as_large(images[places], found[places], steps)
                for k, (times, explained) in zip(places, zoomed, strict=True):
                    words = self._words(found[k]) if unlike[k] and not explained else []
                    looks[k] = Look(found[k], times, words)
        return looks

    def training_features(self) -> np.ndarray:
        """Features of the prototypes, which say what the training images had, ``[k, f]``."""
        return self.prototypes * self.scale + self.center

    def _words(self, found: np.ndarray) -> list[str]:
        """What the features that are furthest off mean, that of the furthest first."""
        scaled = (found - self.center) / self.scale
        ((nearest,), _) = self._nearest(scaled[None])
        off = (scaled - self.prototypes[nearest]) / self.radii[nearest]
        squares: dict[str, float] = {}
        for name, distance in zip(FEATURES, off, strict=True):
            word = _WORDS[name][int(distance > 0)]
            squares[word] = squares.get(word, 0.0) + float(distance**2)
        cut_off = [
            _WORDS[name][1]
            for name in ("white", "black")  # which explain other differences
            if off[FEATURES.index(name)] > self.threshold
        ]
        most = sorted(squares, key=squares.__getitem__, reverse=True)
        others = [word for word in most if squares[word] > self.threshold**2]
        return list(dict.fromkeys(cut_off + (others or ([] if cut_off else most[:1]))))

    def _times_as_large(
        self, images: np.ndarray, found: np.ndarray, steps: range
    ) -> list[tuple[float | None, bool]]:
        """How large the cells of images are against those in the training images.

        Each image is zoomed until it looks like those. Blur or noise may look the same.

        Args:
            images: ``[n, h, w]`` in [0, 1].
            found: their features, ``[n, f]``.
            steps: of zooming that are tried.

        Returns:
            Of each image, about how many times as large; None where that explains too little. And
            whether the zoomed image would not be flagged.
        """
        middle = middle_of(images, _ZOOMED_SIDE)
        own = steps.index(0)
        # No answer is at either end: those are zoomed only where another step may be one.
        inner = [k for k in range(1, len(steps) - 1) if k != own]
        zoomed = {k: resize_all(middle, _zoomed_size(middle, steps[k])) for k in inner}
        seen = np.empty((len(images), len(steps), len(FEATURES)))
        seen[:, own] = found if middle.shape == images.shape else features_of(middle)
        for k in inner:
            seen[:, k] = features_of(zoomed[k], coarse=True)
        # Further features only add to a distance: most steps are out of the question by now.
        least = np.full((2, *seen.shape[:2]), _FAR)
        least[..., inner] = self._zoom_distances(seen[:, inner], COARSE)
        least[..., own] = self._zoom_distances(seen[:, own])
        known = _may_gain(least, own)
        for k in inner:
            if known[:, k].any():
                seen[known[:, k], k] = features_of(zoomed[k][known[:, k]])
        least[:, known] = self._zoom_distances(seen[known])
        answers: list[tuple[float | None, bool]] = [(None, False)] * len(images)
        for n in np.flatnonzero(_may_gain(least, own).any(axis=1)):
            image = middle[n : n + 1]
            for k in range(len(steps)):
                if k != own and not known[n, k]:
                    seen[n, k] = features_of(resize_all(image, _zoomed_size(image, steps[k])))
            answers[n] = self._fitting(self._zoom_distances(seen[n]), steps, own)
        return answers

    def _zoom_distances(self, seen: np.ndarray, of: Sequence[int] | None = None) -> np.ndarray:
        """Distances of features ``[..., f]``, all and steady ones: ``[2, ...]``.

        Args:
            seen: of zoomed images.
            of: features that are looked at; None: all.
        """
        scaled = ((seen - self.center) / self.scale).reshape(-1, len(FEATURES))
        steady = [k for k in _STEADY if of is None or k in of]
        both = [self._nearest(scaled, k)[1] for k in (slice(None) if of is None else of, steady)]
        return np.reshape(both, (2, *seen.shape[:-1]))

    def _fitting(self, distances: np.ndarray, steps: range, own: int) -> tuple[float | None, bool]:
        """At which step a zoomed image looks like those of training, see :meth:`_times_as_large`.

        Args:
            distances: at each step, of all features and of the steady ones, ``[2, steps]``.
            steps: of zooming.
            own: place of the image as it is among them.
        """
        curve = min(_gains(distances, own), key=np.min)
        best = int(curve.argmin())
        rest = distances[0, best]
        inside = 0 < best < len(curve) - 1
        if not inside or curve[best] > np.log(_ZOOM_GAIN) or rest > _ZOOM_REST * self.threshold:
            return None, False
        before, here, after = curve[best - 1 : best + 2]
        bend = before - 2 * here + after
        step = steps[best] + (0.5 * (before - after) / bend if bend > 0 else 0.0)
        times = _ZOOM_STEP**step
        if max(times, 1 / times) < _ZOOM_LEAST:
            return None, False
        return times, bool(rest <= self.threshold)


def _parts(places: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Places of images of ``size`` pixels, of which a few are zoomed together."""
    number = max(1, _ZOOMED_PIXELS // size)
    for start in range(0, len(places), number):
        yield places[start : start + number]


def _zoomed_size(images: np.ndarray, step: int) -> tuple[int, int]:
    """Height and width of images ``[n, h, w]`` once they are zoomed."""
    height, width = (max(1, round(side / _ZOOM_STEP**step)) for side in images.shape[1:])
    return height, width


def _gains(distances: np.ndarray, own: int) -> Iterator[np.ndarray]:
    """How much nearer zooming brings images, logarithms ``[..., steps]``, by each of the weights.

    Args:
        distances: of all features and of the steady ones at each step, ``[2, ..., steps]``.
        own: place of the image as it is among the steps.
    """
    logs = np.log(np.maximum(distances, 1e-9))
    for weight in _ZOOM_WEIGHTS:
        curve = (logs[0] + weight * logs[1]) / (1 + weight)
        yield curve - curve[..., own : own + 1]


def _may_gain(least: np.ndarray, own: int) -> np.ndarray:
    """Whether steps may be those that are looked for, bool ``[n, steps]``, see :func:`_gains`.

    Args:
        least: distances, which may be larger.
        own: see :func:`_gains`; there the distances are known.
    """
    # Sums of fewer features may be larger by the last digit.
    return np.min(list(_gains(least, own)), axis=0) <= np.log(_ZOOM_GAIN) + 1e-6


def _held_out_distances(seen: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Distances of features ``[n, f]``, each to what was made without its group."""
    names, members = np.unique(groups, return_inverse=True)
    if len(names) == 1:
        names, members = np.arange(len(seen)), np.arange(len(seen))
    if len(names) == 1:
        return np.zeros(1)
    fold = np.random.default_rng(0).permutation(len(names))[members] % _FOLDS
    distances = np.empty(len(seen))
    for k in np.unique(fold):
        distances[fold == k] = OutOfDistribution._of(seen[fold != k]).distances(seen[fold == k])
    return distances


def _bound(distances: np.ndarray) -> float:
    """What the wanted share of images stays below; with few of them with some room above all."""
    rank = int(np.ceil(_KEPT * (len(distances) + 1)))
    if rank > len(distances):
        return 1.5 * float(distances.max())
    return float(np.sort(distances)[rank - 1])


def _clusters(points: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres ``[k, f]`` of clusters of points ``[n, f]`` (k-means), and each one's own."""
    from scipy.cluster.vq import kmeans2  # 0.3 s, for trainings alone

    chosen = np.random.default_rng(0).permutation(len(points))[:number]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a cluster without points, where images are alike
        return kmeans2(points, points[chosen], iter=15, minit="matrix")


def _distances(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Euclidean distances ``[n, k]`` of points ``[n, f]`` to centres ``[k, f]``.

    SciPy would take 0.3 s to import, where a server counts an image in half a second.
    """
    found = np.empty((len(points), len(centres)))
    for start in range(0, len(points), _POINTS_AT_A_TIME):
        some = slice(start, start + _POINTS_AT_A_TIME)
        between = points[some, None] - centres
        found[some] = np.sqrt(np.einsum("nkf,nkf->nk", between, between))
    return found


def _text(numbers: np.ndarray) -> str:
    return " ".join(f"{number:.4g}" for number in numbers)


def _numbers(text: str) -> list[float]:
    return [float(word) for word in text.split()]
