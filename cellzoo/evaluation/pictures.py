"""What a model shows of images: its pictures of them, its latent, the cells it learned from."""

import numpy as np

from cellzoo.counters.base import Counter
from cellzoo.data.image_set import ImageSet
from cellzoo.evaluation.embedding import flat_features
from cellzoo.evaluation.report.figures import Column, outlined
from cellzoo.recipe import Recipe
from cellzoo.scores.counts import shown_count

TITLES = {
    "natural": "natural",
    "synthetic": "synthetic",
    "natural_reconstruction": "reconstruction",
    "synthetic_reconstruction": "reconstruction",
    "natural_to_synthetic": "as synthetic",
    "synthetic_to_natural": "as natural",
}


def draw_synthetic(
    recipe: Recipe, training: ImageSet, images: int
) -> tuple[np.ndarray, np.ndarray]:
    """Synthetic images that no training has seen, ``[n, h, w]``, and their counts.

    Args:
        recipe: with a section ``data.synthetic``.
        training: its natural training images, of which the background may be made.
        images: how many to draw.
    """
    cells = recipe.data.cells(recipe.image_size, training)
    # Training draws with (seed, 0) and (seed, 1, step): see SyntheticImages.
    return cells.render(images, (recipe.seed, 2))


def columns(
    counter: Counter,
    images: np.ndarray,
    counts: np.ndarray,
    predicted: np.ndarray,
    domain: str = "natural",
) -> list[Column]:
    """Images and, beside them, what the model can show of its view of them.

    A Twin-VAE shows its reconstructions and translations, and what it counts in these; a model that
    segments the outlines of what it took for cells.

    Args:
        counter: of a run, or a SavedModel, which shows nothing but the images.
        images: float32 ``[n, h, w]`` in [0, 1].
        counts: true counts, ``[n]``; NaN = unknown.
        predicted: predicted counts, ``[n]``.
        domain: ``"natural"`` or ``"synthetic"``.
    """
    captions = [
        ("" if np.isnan(true) else f"{true:.0f} true, ") + f"{shown_count(counted)} counted"
        for true, counted in zip(counts, predicted, strict=True)
    ]
    shown = [Column(TITLES[domain], images, captions, domain)]
    if counter.can_reconstruct:
        for name, pictures in counter.translations(images, domain).items():
            if name != domain:
                own = domain_of(name, domain)
                counts = counter.count(pictures, scaled=True, domain=own, flags=False)
                counted = [f"{shown_count(count)} counted" for count in counts.raw]
                shown.append(Column(TITLES[name], pictures, counted, own))
    elif counter.can_segment:
        found = counter.segment(images, scaled=True)
        regions = np.stack([outlined(i, m) for i, (m, _) in zip(images, found, strict=True)])
        shown.append(Column("what it took for cells", regions, [""] * len(images)))
        if found[0][1] is not None:
            probability = np.stack([p for _, p in found])
            shown.append(Column("probability", probability, [""] * len(images), "probability"))
    return shown


def domain_of(picture: str, domain: str) -> str:
    """Whose half counts a picture, such as ``"natural_to_synthetic"``, of an image of a domain."""
    return picture.rpartition("_to_")[2] if "_to_" in picture else domain


def latent(counter: Counter, images: np.ndarray, domain: str = "natural") -> np.ndarray:
    """One vector of the shared latent's mean per image, ``[n, d]``; only if it can embed."""
    return flat_features(counter.embed(images, domain))
