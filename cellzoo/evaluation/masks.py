"""What a segmenting model makes of images whose masks are known."""

import numpy as np

from cellzoo.counters.base import Counter
from cellzoo.data.image_set import ImageSet
from cellzoo.scores.segmentation import instances
from cellzoo.scores.table import count_metrics, segmentation_metrics


def mask_scores(counter: Counter, images: ImageSet) -> dict[str, float] | None:
    """Scores of a counter's masks, see :func:`segmentation_metrics`; None if there are none."""
    if not counter.can_segment or images.masks is None or not images.has_mask.any():
        return None
    images = images.take(images.has_mask)
    predicted = np.stack([found.mask for found in counter.segment(images.images, scaled=True)])
    return segmentation_metrics(images.masks, predicted, _tells_cells_apart(images))


def threshold_table(counter: Counter, images: ImageSet) -> list[dict[str, float | str]]:
    """One row per threshold, all from the same network (DeepCellCount, Figs. 4 to 6).

    Args:
        counter: a DCC.
        images: labelled images.

    Returns:
        Rows with ``threshold``; ``mae`` and ``mape`` of the count, where it depends on the mask;
        ``components_mae`` and ``components_mape`` if the mask's connected parts are counted; and,
        where the images have masks, the scores of :func:`segmentation_metrics`.
    """
    model = counter.run.recipe.model
    segmented = counter.segment(images.images, scaled=True)
    probability = np.stack([found.probability for found in segmented])
    masked = images.masks is not None and images.has_mask.all()
    numbered = _tells_cells_apart(images) if masked else None
    rows = []
    for method in model.thresholds:
        row: dict[str, float | str] = {"threshold": method}
        if model.needs_masks:  # else its count is no count of the mask
            raw = counter.with_threshold(method).count(images.images, scaled=True).raw
            row |= _count_scores("", images.counts, raw)
        if method != "none":
            threshold = model.with_threshold(method).threshold_layer()
            masks = np.stack([np.asarray(threshold(p[None]))[0] for p in probability])
            parts = np.array([instances(mask).max() for mask in masks])
            row |= _count_scores("components_", images.counts, parts)
            if masked:
                row |= segmentation_metrics(images.masks, masks, numbered)
        rows.append(row)
    return rows


def _count_scores(prefix: str, counts: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    scores = count_metrics(counts, predicted)
    return {f"{prefix}mae": scores["mae_raw"], f"{prefix}mape": scores["mape_raw"]}


def _tells_cells_apart(images: ImageSet) -> np.ndarray:
    """Whether each mask numbers its cells, bool ``[n]``.

    A mask of one number may: of one cell at most, in a set in which others have more numbers.
    """
    several = np.array([len(np.unique(mask)) > 2 for mask in images.masks], bool)
    return several | (several.any() & (images.counts <= 1))
