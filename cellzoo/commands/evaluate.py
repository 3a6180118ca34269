"""``cellzoo evaluate``: what it prints."""

from cellzoo.evaluation.report.evaluation import Evaluation
from cellzoo.scores.table import MASK_SCORES, headline_in_words, known_scores


def summary(result: Evaluation) -> list[str]:
    """What was found, a line each: scores with their intervals, and what was written.

    Not the figures' names: the report shows them.
    """
    lines = [f"{result.images} images: {result.subject}"]
    for score, value in known_scores(result.scores):
        if score.headline:
            ends = score.interval_in_words(result.intervals.get(score.key))
            lines.append(f"  {score.name:<6} {score.text(value):>12}  ({ends})")
    for kind, scores in result.by_kind.items():
        lines.append(f"  {kind}: {headline_in_words(scores)}")
    masks = known_scores(result.segmentation or {}, MASK_SCORES)
    if masks:
        lines.append("  masks: " + ", ".join(f"{s.name} {s.text(value)}" for s, value in masks))
    if result.count_interval:
        coverage, width = (result.count_interval[key] for key in ("coverage", "mean_width"))
        held = f"{100 * coverage:.0f} % of counts"
        lines.append(f"  95 % intervals hold {held}, mean width {width:.1f}")
    if result.flagged is not None:
        lines.append(f"  unlike the training images: {100 * result.flagged:.0f} %")
    if result.mean_prediction_mae is not None:
        lines.append(f"  always predicting the training mean: MAE {result.mean_prediction_mae:.2f}")
    return lines + [f"wrote {file}" for file in result.files if file.suffix != ".png"]
