"""``cellzoo evaluate``: what it prints."""

from cellzoo.evaluation.report.evaluation import Evaluation
from cellzoo.scores.table import (
    COUNT_SCORES,
    INTERVAL_SCORES,
    MASK_SCORES,
    headline_in_words,
    known_scores,
)


def scores_in_words(result: Evaluation) -> list[str]:
    """What was found, a line each: scores with their intervals."""
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
    for score, value in known_scores(result.count_interval or {}, INTERVAL_SCORES):
        lines.append(f"  {score.meaning}: {score.text(value)}")
    coverage = INTERVAL_SCORES["coverage"]
    parts = [f"{coverage.text(s['coverage'])} ({name})" for name, s in result.coverage.items()]
    if parts:
        lines.append(f"  {coverage.meaning}, by part: {', '.join(parts)}")
    if result.flagged is not None:
        lines.append(f"  unlike the training images: {100 * result.flagged:.0f} %")
    if result.mean_prediction_mae is not None:
        mae = COUNT_SCORES["mae"].text(result.mean_prediction_mae)
        lines.append(f"  always predicting the training mean: MAE {mae}")
    if result.no_intervals:
        lines.append(f"  no intervals: {result.no_intervals}")
    lines += [f"  {line}" for line in (result.against_mean, result.short_training) if line]
    return lines
