"""Brightness: least squares of the count on grey levels, the least that a method has to beat."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Brightness:
    """A count that is linear in what an image's grey levels look like, wherever they lie.

    Attributes:
        edges: grey levels in [0, 1] that divide the histogram's bins; empty: the mean grey level is
            the only feature.
        center: mean of each feature over the training images, ``[f]``.
        weights: cells per unit of each feature, ``[f]``.
        mean_count: mean count of the training images.

    Example:
        >>> images = np.array([0.1, 0.2, 0.3]).reshape(3, 1, 1) * np.ones((3, 8, 8))
        >>> counter = Brightness.fit(images, np.array([2, 4, 6]), features="mean", ridge=0)
        >>> counter.count(images).round(3)
        array([2., 4., 6.], dtype=float32)
    """

    edges: Sequence[float]
    center: Sequence[float]
    weights: Sequence[float]
    mean_count: float

    @classmethod
    def fit(
        cls,
        images: np.ndarray,
        counts: np.ndarray,
        *,
        features: str = "histogram",
        bins: int = 13,
        ridge: float = 0.01,
    ) -> "Brightness":
        """Least squares over labelled images.

        Args:
            images: ``[n, h, w]`` in [0, 1].
            counts: ``[n]``.
            features: ``"mean"``: the mean grey level; ``"histogram"``: the share of pixels in each
                of ``bins`` grey levels.
            bins: of equal width over the grey levels of ``images``.
            ridge: penalty on the squared weights of features scaled to a standard deviation of 1,
                beside the mean squared error: keeps the weights small where labels are few.
        """
        edges: list[float] = []
        if features == "histogram":
            # Levels beyond the training images' fall into the outermost bins.
            edges = np.linspace(images.min(), images.max(), bins + 1)[1:-1].tolist()
        values = _features(images, edges)
        center, spread = values.mean(axis=0), values.std(axis=0)
        # A feature that is the same everywhere tells nothing.
        spread = np.where(spread > 1e-9, spread, np.inf)
        scaled = (values - center) / spread
        mean_count = float(np.mean(counts))
        # Ridge regression is least squares with a row for each penalty. lstsq also has an answer
        # where ridge is 0 and the shares, which sum to 1, leave more than one.
        penalty = np.sqrt(ridge * len(counts)) * np.eye(values.shape[1])
        rows = np.concatenate([scaled, penalty])
        targets = np.concatenate([counts - mean_count, np.zeros(len(penalty))])
        weights = np.linalg.lstsq(rows, targets, rcond=None)[0] / spread
        return cls(edges, center.tolist(), weights.tolist(), mean_count)

    def count(self, images: np.ndarray) -> np.ndarray:
        """Counts of images ``[n, h, w]`` in [0, 1]: float32 ``[n]``, not rounded."""
        features = _features(images, self.edges)
        counts = self.mean_count + (features - np.array(self.center)) @ np.array(self.weights)
        return counts.astype(np.float32)


def _features(images: np.ndarray, edges: Sequence[float]) -> np.ndarray:
    """Mean grey levels ``[n, 1]``, or shares of pixels between the edges ``[n, bins]``."""
    pixels = images.reshape(len(images), -1).astype(float)
    if not len(edges):
        return pixels.mean(axis=1, keepdims=True)
    bins = np.digitize(pixels, edges)
    return np.stack([(bins == k).mean(axis=1) for k in range(len(edges) + 1)], axis=1)
