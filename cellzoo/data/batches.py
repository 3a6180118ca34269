"""Training batches as a pure function of the step, so that a resumed run sees the same ones."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from cellzoo.data.augment import Augmentation
from cellzoo.data.density import cells_per_pixel
from cellzoo.data.image_set import ImageSet
from cellzoo.data.synthetic import SyntheticImages

Batch = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]


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
            masks, a batch has them too.
        synthetic: source of synthetic images, or None to train on natural ones alone.
        augment: augmentation of both.
        batch: images of each domain in a batch.
        labelled_share: share of labelled images in each natural batch, at least one image; None: as
            the passes over the set bring them.
        unlabelled: False leaves images without a count out of a set that has some, as they teach
            nothing to a network that reconstructs nothing: a natural batch is then its labelled
            share alone, or, where no image has a count, one image of weight 0.
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
        unlabelled: bool = True,
        shares: int = 1,
        count_mean: str,
        seed: int,
    ):
        """Sets up the order; no batch is made yet."""
        self.natural, self.synthetic, self.augment = natural, synthetic, augment
        self.batch_size, self.count_mean, self.seed = batch, count_mean, seed
        labelled = np.flatnonzero(natural.labelled)
        others = np.flatnonzero(~natural.labelled)
        n = max(1, round(batch * (labelled_share or 1)))
        if not unlabelled and len(others) and len(labelled):
            self.streams = [(labelled, -(-n // shares) * shares)]
        elif not unlabelled and len(others):
            self.streams = [(others, shares)]
        elif labelled_share is None or len(others) == 0 or len(labelled) == 0:
            self.streams = [(np.arange(len(natural)), batch)]
        else:
            self.streams = [(labelled, n), (others, batch - n)]
        # Before augmentation, which may leave a single one of several numbers.
        masks = () if natural.masks is None else natural.masks
        self.numbered = np.array([len(np.unique(mask[mask > 0])) > 1 for mask in masks], bool)
        self.orders = [_Shuffled(len(s), (seed, 10 + k)) for k, (s, _) in enumerate(self.streams)]
        if synthetic is not None:
            self.synthetic_order = _Shuffled(synthetic.size, (seed, 20))

    @property
    def images_per_step(self) -> int:
        """Images of all domains in a batch."""
        natural = sum(n for _, n in self.streams)
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
        ``natural_mask_weight`` ``[batch]``, 0 for an image without a mask, and ``natural_density``
        ``[batch, h, w]``, see :func:`cellzoo.data.density.cells_per_pixel`. Synthetic images have
        the last two, too: where their cells are is known.
        """
        chosen = np.concatenate(
            [
                stream[order.take(step * n, n)]
                for (stream, n), order in zip(self.streams, self.orders, strict=True)
            ]
        )
        counts = self.natural.counts[chosen]
        weights = np.isfinite(counts).astype(np.float32)
        if self.count_mean == "labelled":
            weights *= len(weights) / max(weights.sum(), 1)
        images, seed = self.natural.images[chosen], (self.seed, 30, step)
        y = {"natural_count": np.nan_to_num(counts), "natural_weight": weights}
        if self.natural.masks is None:
            x = {"natural": self.augment(images, seed)}
        else:
            images, masks = self.augment(images, seed, self.natural.masks[chosen])
            x = {"natural": images}
            y["natural_mask"] = (masks > 0).astype(np.float32)
            y["natural_mask_weight"] = self.natural.has_mask[chosen].astype(np.float32)
            y["natural_density"] = np.stack(
                [
                    cells_per_pixel(mask, None if numbered else count)
                    for mask, numbered, count in zip(
                        masks, self.numbered[chosen], y["natural_count"], strict=True
                    )
                ]
            )
        if self.synthetic is not None:
            order = self.synthetic_order.take(step * self.batch_size, self.batch_size)
            images, counts, masks = self.synthetic.batch(step, order)
            x["synthetic"], masks = self.augment(images, (self.seed, 31, step), masks)
            y["synthetic_count"] = counts.astype(np.float32)
            y["synthetic_weight"] = np.ones(self.batch_size, np.float32)
            y["synthetic_mask_weight"] = np.ones(self.batch_size, np.float32)
            y["synthetic_density"] = np.stack([cells_per_pixel(mask) for mask in masks])
        return x, y

    def between(self, first: int, last: int) -> Iterator[Batch]:
        """The batches of steps ``first`` to ``last - 1``."""
        for step in range(first, last):
            yield self(step)
