"""Training batches as a pure function of the step, so that a resumed run sees the same ones."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

from cellzoo.data.augment import Augmentation
from cellzoo.data.density import cells_at, cells_per_pixel
from cellzoo.data.image_set import ImageSet
from cellzoo.data.normalised import Normalise, NormalisedWindows
from cellzoo.data.overlay import Overlay
from cellzoo.data.rescaled import rescaled
from cellzoo.data.synthetic import SyntheticImages
from cellzoo.data.windows import cut_windows

Arrays = dict[str, np.ndarray]
Batch = tuple[Arrays, Arrays]


class _Shuffled:
    """An endless row of 0..n-1, shuffled anew at every pass."""

    def __init__(self, n: int, seed: tuple[int, ...]):
        self.n = n
        self.permutation = lru_cache(2)(
            lambda turn: np.random.default_rng((*seed, turn)).permutation(n)
        )

    def take(self, start: int, count: int) -> np.ndarray:
        places = np.arange(start, start + count)
        return np.array([self.permutation(p // self.n)[p % self.n] for p in places], int)


class TrainingBatches:
    """Batches of natural and, where there is a source of them, synthetic images.

    Args:
        natural: natural training images; unlabelled ones have the count NaN. Where the set has
            masks, a batch has them too. An image with points counts those that augmentation leaves
            in it.
        synthetic: source of synthetic images, or None to train on natural ones alone.
        augment: augmentation of both.
        batch: images of each domain in a batch.
        labelled_share: share of labelled images in each natural batch, at least one image; None: as
            the passes over the set bring them.
        synthetic_share: share of each natural batch that synthetic images take, beside the batch of
            their own domain.
        unlabelled: False leaves images without a count out of a set that has some, as they teach
            nothing to a network that reconstructs nothing: a natural batch is then its labelled
            share alone, or, where no image has a count, one image of weight 0.
        window: side in pixels of what is cut out of each natural image; images whose points are not
            known then are as good as unlabelled. None: nothing is.
        overlay: diameter in pixels of cells that are laid over natural images, see
            :class:`cellzoo.data.overlay.Overlay`; None: none are.
        normalise: windows are cut out of each natural image so, which needs label images; None:
            images stay as they are.
        jitter: times which the cells of a natural image may look larger or smaller, at most, see
            :func:`cellzoo.data.rescaled.rescaled`; None: images stay as they are.
        kinds_share_equally: each kind of natural images has the same share of each natural batch.
        shares: devices that share a batch; of a smaller natural batch each gets as many images.
        count_mean: what the count loss is averaged over, ``"labelled"`` images or the whole
            ``"batch"``.
        seed: of order, augmentation and fresh synthetic images.
    """

    def __init__(
        self,
        natural: ImageSet,
        synthetic: SyntheticImages | None,
        augment: Augmentation,
        *,
        batch: int,
        labelled_share: float | None,
        synthetic_share: float = 0.0,
        unlabelled: bool = True,
        window: int | None = None,
        overlay: int | None = None,
        normalise: Normalise | None = None,
        jitter: float | None = None,
        kinds_share_equally: bool = False,
        shares: int = 1,
        count_mean: str,
        seed: int,
    ):
        """Sets up the order; no batch is made yet."""
        self.natural, self.synthetic, self.augment = natural, synthetic, augment
        self.batch_size, self.count_mean, self.seed = batch, count_mean, seed
        self.window, self.jitter = window, jitter
        self.overlay = None if overlay is None else Overlay(natural, overlay)
        self.normalised = None if normalise is None else NormalisedWindows(natural, normalise)
        known = natural.labelled if window is None else natural.has_points
        labelled, others = np.flatnonzero(known), np.flatnonzero(~known)
        self.mixed_in = 0 if synthetic is None else round(batch * synthetic_share / shares) * shares
        batch -= self.mixed_in
        n = min(batch, max(1, round(self.batch_size * (labelled_share or 1))))
        if kinds_share_equally:
            self.streams = _of_each_kind(natural, batch)
        elif not unlabelled and len(others) and len(labelled):
            self.streams = [(labelled, -(-n // shares) * shares)]
        elif not unlabelled and len(others):
            self.streams = [(others, shares)]
        elif labelled_share is None or len(others) == 0 or len(labelled) == 0:
            self.streams = [(np.arange(len(natural)), batch)]
        else:
            self.streams = [(labelled, n), (others, batch - n)]
        # Before augmentation, which may leave a single one of several numbers.
        masks = () if natural.masks is None else natural.masks
        self.numbered = np.array(
            [self.normalised or len(np.unique(mask[mask > 0])) > 1 for mask in masks], bool
        )
        self.orders = [_Shuffled(len(s), (seed, 10 + k)) for k, (s, _) in enumerate(self.streams)]
        if synthetic is not None:
            self.synthetic_order = _Shuffled(synthetic.size, (seed, 20))
            self.mixed_order = _Shuffled(synthetic.size, (seed, 21))

    @property
    def images_per_step(self) -> int:
        """Images of all domains in a batch."""
        natural = sum(n for _, n in self.streams) + self.mixed_in
        return natural + (self.batch_size if self.synthetic is not None else 0)

    @property
    def steps_per_pass(self) -> int:
        """Steps in which the larger of the two sets is passed once."""
        largest = max(len(self.natural), self.synthetic.size if self.synthetic else 0)
        return -(-largest // self.batch_size)

    def __call__(self, step: int) -> Batch:
        """The batch of a training step: images by domain, and counts and weights by domain.

        All float32: images ``[batch, h, w]``, counts and weights ``[batch]``, and for a set with
        masks ``natural_mask`` ``[batch, h, w]``, 1 in a cell and 0 outside, and
        ``natural_mask_weight`` ``[batch]``, 0 for an image without a mask. Where the set has masks
        or points, also ``natural_density`` ``[batch, h, w]``, see :mod:`cellzoo.data.density`, and
        ``natural_density_weight`` ``[batch]``, 0 for an image without either. Synthetic images have
        the last two, too: where their cells are is known.
        """
        chosen = np.concatenate(
            [
                stream[order.take(step * n, n)]
                for (stream, n), order in zip(self.streams, self.orders, strict=True)
            ]
        )
        x, y = self._natural(chosen, step)
        if self.synthetic is not None:
            order = self.synthetic_order.take(step * self.batch_size, self.batch_size)
            images, counts, masks = self.synthetic.batch(step, order)
            x["synthetic"], masks = self.augment(images, (self.seed, 31, step), masks)
            y["synthetic_count"] = counts.astype(np.float32)
            y["synthetic_weight"] = np.ones(self.batch_size, np.float32)
            y["synthetic_density_weight"] = np.ones(self.batch_size, np.float32)
            y["synthetic_density"] = np.stack([cells_per_pixel(mask) for mask in masks])
            if self.mixed_in:
                self._mix_in_synthetic(x, y, step)
        return x, y

    def _mix_in_synthetic(self, x: Arrays, y: Arrays, step: int) -> None:
        """Appends synthetic images to the natural ones of a step, and their targets."""
        order = self.mixed_order.take(step * self.mixed_in, self.mixed_in)
        images, counts, masks = self.synthetic.batch(step, order)
        images, masks = self.augment(images, (self.seed, 33, step), masks)
        known = np.ones(self.mixed_in, np.float32)
        more = {
            "natural_count": counts.astype(np.float32),
            "natural_weight": known,
            "natural_mask": (masks > 0).astype(np.float32),
            "natural_mask_weight": known,
            "natural_density": np.stack([cells_per_pixel(mask) for mask in masks]),
            "natural_density_weight": known,
        }
        x["natural"] = np.concatenate([x["natural"], images])
        for key, values in more.items():
            if key in y:
                y[key] = np.concatenate([y[key], values])
        y["natural_weight"] = self._count_weights(y["natural_weight"] > 0)

    def _count_weights(self, known: np.ndarray) -> np.ndarray:
        """The weights of the counts of a batch, float32 ``[n]``; 0 where no count is known."""
        weights = known.astype(np.float32)
        if self.count_mean == "labelled":
            weights *= len(weights) / max(weights.sum(), 1)
        return weights

    def _natural(self, chosen: np.ndarray, step: int) -> Batch:
        """The natural images ``chosen`` in a step, and their targets."""
        counts = self.natural.counts[chosen]
        images, seed = self.natural.images[chosen], (self.seed, 30, step)
        masks = None if self.natural.masks is None else self.natural.masks[chosen]
        points = None if self.natural.points is None else self.natural.points[chosen]
        if self.overlay:
            random = np.random.default_rng((self.seed, 34, step))
            images, points = self.overlay(images, points, random)
        random = np.random.default_rng((self.seed, 32, step))  # of one of these three
        if self.window:
            images, masks, points = cut_windows(images, masks, points, self.window, random)
        if self.jitter:
            images, points = rescaled(self.natural, chosen, self.jitter, random)
        if self.normalised:
            images, masks = self.normalised.cut(chosen, random)
            counts = np.where(np.isfinite(counts), masks.max(axis=(1, 2)), np.nan)
            points = None
        given = {"masks": masks, "points": points}
        given = {name: each for name, each in given.items() if each is not None}
        done = self.augment(images, seed, **given)
        images, *beside = done if given else (done,)
        masks, points = (beside.pop(0) if name in given else None for name in ("masks", "points"))
        if points is not None:
            here = [np.nan if places is None else len(places) for places in points]
            counts = np.where(np.isnan(here), np.nan if self.window else counts, here)
        weights = self._count_weights(np.isfinite(counts))
        counts = np.nan_to_num(counts).astype(np.float32)
        y = {"natural_count": counts, "natural_weight": weights}
        if masks is not None:
            y["natural_mask"] = (masks > 0).astype(np.float32)
            y["natural_mask_weight"] = self.natural.has_mask[chosen].astype(np.float32)
        if masks is not None or points is not None:
            density, known = self._densities(chosen, images.shape[1:], masks, points, counts)
            y["natural_density"], y["natural_density_weight"] = density, known
        return {"natural": images}, y

    def _densities(
        self,
        chosen: np.ndarray,
        shape: tuple[int, int],
        masks: np.ndarray | None,
        points: Sequence[np.ndarray | None] | None,
        counts: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where the cells of each image are, by its dots or else its mask, and whether it has any.

        Dots come first: a mask that numbers no cells shares the count among its parts.
        """
        density = np.zeros((len(chosen), *shape), np.float32)
        known = np.zeros(len(chosen), np.float32)
        for k, image in enumerate(chosen):
            if points is not None and points[k] is not None:
                density[k], known[k] = cells_at(points[k], shape), 1
            elif masks is not None:
                count = None if self.numbered[image] else counts[k]
                density[k], known[k] = (
                    cells_per_pixel(masks[k], count),
                    self.natural.has_mask[image],
                )
        return density, known

    def between(self, first: int, last: int) -> Iterator[Batch]:
        """The batches of steps ``first`` to ``last - 1``."""
        for step in range(first, last):
            yield self(step)


def _of_each_kind(natural: ImageSet, batch: int) -> list[tuple[np.ndarray, int]]:
    """The images of each kind, and how many of them are in a batch: as many of each, or nearly."""
    kinds = np.unique(natural.kinds)
    ends = np.arange(len(kinds) + 1) * batch // len(kinds)
    return [
        (np.flatnonzero(natural.kinds == kind), int(number))
        for kind, number in zip(kinds, np.diff(ends), strict=True)
    ]
