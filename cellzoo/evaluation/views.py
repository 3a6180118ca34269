"""What a model shows of itself: its pictures of images, its latent, and the cells it learned on."""

import numpy as np

from cellzoo.counters.load import RunCounter, SavedModelCounter
from cellzoo.counters.network_parts import predict, translations
from cellzoo.data.image_set import ImageSet
from cellzoo.evaluation.embedding import flat_features
from cellzoo.evaluation.report.figures import Column, outlined
from cellzoo.recipe import Recipe

TITLES = {
    "natural": "natural",
    "synthetic": "synthetic",
    "natural_reconstruction": "reconstruction",
    "synthetic_reconstruction": "reconstruction",
    "natural_to_synthetic": "as synthetic",
    "synthetic_to_natural": "as natural",
}


def is_twin(counter: RunCounter | SavedModelCounter) -> bool:
    """Whether the network has a half for synthetic images."""
    return counter.network is not None and "synthetic" in counter.network.input


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


def views(
    counter: RunCounter | SavedModelCounter,
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
        f"{counted:.1f} counted" if np.isnan(true) else f"{true:.0f} true, {counted:.1f} counted"
        for true, counted in zip(counts, predicted, strict=True)
    ]
    columns = [Column(TITLES[domain], images, captions, domain)]
    if counter.network is not None and f"{domain}_reconstruction" in counter.network.output:
        for name, pictures in translations(counter.network, images, domain).items():
            if name != domain:
                own = name.rpartition("_to_")[2] if "_to_" in name else domain
                counted = [f"{count:.1f} counted" for count in counter.count(pictures, own).raw]
                columns.append(Column(TITLES[name], pictures, counted, own))
    elif counter.segments:
        found = [counter.segment(image) for image in images]
        regions = np.stack([outlined(i, m) for i, (m, _) in zip(images, found, strict=True)])
        columns.append(Column("what it took for cells", regions, [""] * len(images)))
        if found[0][1] is not None:
            probability = np.stack([p for _, p in found])
            columns.append(Column("probability", probability, [""] * len(images), "probability"))
    return columns


def has_latent(counter: RunCounter | SavedModelCounter) -> bool:
    """Whether there is a latent to look at."""
    return counter.network is not None and "natural_mean" in counter.network.output


def latent(counter: RunCounter, images: np.ndarray, domain: str = "natural") -> np.ndarray:
    """One vector of the shared latent's mean per image, ``[n, d]``; only if :func:`has_latent`."""
    import keras

    network = counter.network
    encoder = keras.Model(network.input[domain], network.output[f"{domain}_mean"])
    return flat_features(predict(encoder, images))
