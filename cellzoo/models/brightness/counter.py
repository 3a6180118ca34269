"""Least squares of the count on grey levels, see :class:`Brightness`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cellzoo.models.brightness.section import Brightness


@dataclass(frozen=True)
class FittedBrightness:
    """A count that is linear in what an image's grey levels look like, wherever they lie.

    Attributes:
        edges: grey levels in [0, 1] that divide the histogram's bins; empty: the mean grey level is
            the only feature.
        center: mean of each feature over the training images, ``[f]``.
        weights: cells per unit of each feature, ``[f]``.
        mean_count: mean count of the training images.

    Example:
        >>> images = np.array([0.1, 0.2, 0.3]).reshape(3, 1, 1) * np.ones((3, 8, 8))
        >>> counter = Brightness(features="mean", ridge=0).fit(images, np.array([2, 4, 6]))
        >>> counter.count(images).round(3)
        array([2., 4., 6.], dtype=float32)
    """

    edges: Sequence[float]
    center: Sequence[float]
    weights: Sequence[float]
    mean_count: float

    def count(self, images: np.ndarray) -> np.ndarray:
        """Counts of images ``[n, h, w]`` in [0, 1]: float32 ``[n]``, not rounded."""
        features = _features(images, self.edges)
        counts = self.mean_count + (features - np.array(self.center)) @ np.array(self.weights)
        return counts.astype(np.float32)


def fit(section: Brightness, images: np.ndarray, counts: np.ndarray) -> FittedBrightness:
    """Least squares over labelled images.

    Args:
        section: its keys.
        images: ``[n, h, w]`` in [0, 1].
        counts: ``[n]``.
    """
    edges: list[float] = []
    if section.features == "histogram":
        # Levels beyond the training images' fall into the outermost bins.
        edges = np.linspace(images.min(), images.max(), section.bins + 1)[1:-1].tolist()
    values = _features(images, edges)
    center, spread = values.mean(axis=0), values.std(axis=0)
    # A feature that is the same everywhere says nothing.
    spread = np.where(spread > 1e-9, spread, np.inf)
    scaled = (values - center) / spread
    mean_count = float(np.mean(counts))
    # Ridge regression is least squares with a row for each penalty. lstsq also has an answer
    # where ridge is 0 and the shares, which sum to 1, leave more than one.
    penalty = np.sqrt(section.ridge * len(counts)) * np.eye(values.shape[1])
    rows = np.concatenate([scaled, penalty])
    targets = np.concatenate([counts - mean_count, np.zeros(len(penalty))])
    weights = np.linalg.lstsq(rows, targets, rcond=None)[0] / spread
    return FittedBrightness(edges, center.tolist(), weights.tolist(), mean_count)


def _features(images: np.ndarray, edges: Sequence[float]) -> np.ndarray:
    """Mean grey levels ``[n, 1]``, or shares of pixels between the edges ``[n, bins]``."""
    pixels = images.reshape(len(images), -1).astype(float)
    if not len(edges):
        return pixels.mean(axis=1, keepdims=True)
    bins = np.digitize(pixels, edges)
    return np.stack([(bins == k).mean(axis=1) for k in range(len(edges) + 1)], axis=1)
