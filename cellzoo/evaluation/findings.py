"""What an evaluation has to show: counts, images beside them, and their latents."""

from dataclasses import dataclass

import numpy as np

from cellzoo.counters.base import Counter
from cellzoo.counters.counts import Counts
from cellzoo.data.image_set import ImageSet
from cellzoo.evaluation.embedding import mixing, sample
from cellzoo.evaluation.pictures import draw_synthetic, latent

SYNTHETIC_IMAGES = 500
# Names of the parts of an embedding.
NATURAL, SYNTHETIC, UNLABELLED, TRAINING, FOLDER = (
    "natural", "synthetic", "natural, unlabelled", "training images", "this folder"
)  # fmt: skip


@dataclass(frozen=True)
class SyntheticImages:
    """Fresh ones, ``[n, h, w]``, with their counts, ``[n]``."""

    images: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True)
class Findings:
    """What was counted, and what may be shown beside it.

    Attributes:
        counter: that counted.
        images: those counted: all with a count, or all without.
        counts: what was counted in them.
        flags: for each image why it may not be trusted, empty where nothing is odd; None: the
            counter cannot say.
        unlabelled: further images of the same kind, without counts; None: none.
        training: natural training images; None: they are not at hand.
        synthetic: fresh synthetic images, where the model has a half for them.
        folder: whether the images are a folder that the training did not know.
        missing: why training images are not at hand, and what is not shown for want of them.
    """

    counter: Counter
    images: ImageSet
    counts: Counts
    flags: list[str] | None = None
    unlabelled: ImageSet | None = None
    training: ImageSet | None = None
    synthetic: SyntheticImages | None = None
    folder: bool = False
    missing: str = ""

    @property
    def labelled(self) -> bool:
        """Whether the images have counts."""
        return bool(self.images.labelled.all())

    @property
    def residuals(self) -> np.ndarray:
        """Predicted - true counts, ``[n]``."""
        return self.counts.raw - self.images.counts

    @property
    def why_no_intervals(self) -> str:
        """Why no count has an interval, in words; empty where some have one."""
        if not np.isnan(self.counts.low).all():
            return ""
        return self.counter.no_interval or "this protocol gives none"

    @property
    def simulated(self) -> bool:
        """Whether the images are simulated ones of the recipe."""
        return not self.folder and self.counter.run.recipe.data.natural.simulated


@dataclass(frozen=True)
class LatentPart:
    """Some images of one kind.

    Attributes:
        features: one vector each, float32 ``[n, d]``.
        counts: true counts, ``[n]``; NaN = unknown.
        names: ``[n]``.
    """

    features: np.ndarray
    counts: np.ndarray
    names: np.ndarray


@dataclass(frozen=True)
class Latents:
    """Vectors of images by kind, and how well pairs of kinds mix, by their names."""

    parts: dict[str, LatentPart]
    mixing: dict[str, float]


def synthetic_images(counter: Counter, training: ImageSet | None) -> SyntheticImages | None:
    """Fresh synthetic images, where the model has a half for them and training images are there."""
    if training is None or not counter.reads_synthetic:
        return None
    return SyntheticImages(*draw_synthetic(counter.run.recipe, training, SYNTHETIC_IMAGES))


def latents(findings: Findings) -> Latents | None:
    """The latents of all kinds of images, a sample of each; None where the model has none."""
    counter = findings.counter
    if not counter.can_embed:
        return None
    parts = {
        name: LatentPart(latent(counter, part.images), part.counts, part.names)
        for name, part in _natural_parts(findings).items()
    }
    synthetic = findings.synthetic
    if synthetic:
        names = np.array([f"synthetic_{k:04d}" for k in range(len(synthetic.counts))])
        features = latent(counter, synthetic.images, "synthetic")
        parts[SYNTHETIC] = LatentPart(features, synthetic.counts, names)
    chosen = sample({name: len(part.features) for name, part in parts.items()})
    parts = {
        name: LatentPart(*(column[chosen[name]] for column in (p.features, p.counts, p.names)))
        for name, p in parts.items()
    }
    return Latents(parts, _mixing({name: part.features for name, part in parts.items()}))


def _natural_parts(findings: Findings) -> dict[str, ImageSet]:
    """The natural images of an embedding; the part ``natural`` has counts."""
    parts = {}
    training = findings.training
    if findings.labelled:
        parts[NATURAL] = findings.images
        if findings.folder and training is not None:
            parts[TRAINING] = training
    else:
        if training is not None and training.labelled.any():
            parts[NATURAL] = training.take(training.labelled)
        elif training is not None:
            parts[TRAINING] = training
        parts[FOLDER] = findings.images
    if findings.unlabelled is not None and len(findings.unlabelled):
        parts[UNLABELLED] = findings.unlabelled
    return parts


def _mixing(features: dict[str, np.ndarray]) -> dict[str, float]:
    """Mixing of natural with synthetic images, and of a folder with the training images."""
    pairs = {}
    natural = [v for name, v in features.items() if name != SYNTHETIC]
    if SYNTHETIC in features:
        pairs["natural and synthetic"] = (np.concatenate(natural), features[SYNTHETIC])
    # The part with counts, natural, is the one or the other where these have no part of their own.
    folder = FOLDER if FOLDER in features else NATURAL
    training = TRAINING if TRAINING in features else NATURAL
    if folder != training and {folder, training} <= features.keys():
        pairs["this folder and training images"] = (features[folder], features[training])
    return {name: mixing(*pair) for name, pair in pairs.items()}
