"""What to label next, and what the labels so far say of the model and of the person."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from cellzoo.labelling.answers import Answer
from cellzoo.labelling.catalogue import Catalogue
from cellzoo.scores.table import count_metrics
from cellzoo.scores.uncertainty import FEWEST_GROUPS, score_intervals

# Of twenty answers: two test images and four validation images, all drawn at random, and one that
# was answered before. The others teach, and are chosen.
TURNS = 20
TEST_TURNS, VALIDATION_TURNS, REPEAT_TURN = (9, 19), (2, 7, 12, 17), 14
RESTING = 3  # groups that were shown last, which are passed over where others are left


@dataclass(frozen=True)
class Predicted:
    """What a model says of a frame.

    Attributes:
        raw: count before rounding.
        low: lower end of its 95 % interval; NaN where none can be promised.
        high: its upper end.
        flag: why the frame is unlike the training images; empty where nothing is noticed.
    """

    raw: float
    low: float = float("nan")
    high: float = float("nan")
    flag: str = ""


@dataclass(frozen=True)
class Suggestion:
    """The frame to label next.

    Attributes:
        number: of the frame; None: all are labelled.
        why: it was chosen, in a few words.
        chosen: what chose it, see :data:`cellzoo.labelling.answers.CHOSEN`.
        blind: the model's count must not be in view.
        repeat: it was answered before, and the answer is not shown.
    """

    number: int | None
    why: str = ""
    chosen: str = ""
    blind: bool = False
    repeat: bool = False


def suggest(
    frames: Catalogue,
    answers: Mapping[int, Answer],
    predicted: Mapping[int, Predicted],
    *,
    shown: Sequence[int] = (),
    repeated: frozenset[str] | set[str] = frozenset(),
    turn: int | None = None,
    seed: int = 1,
) -> Suggestion:
    """The frame to label next.

    Test and validation images are drawn at random from their groups, so that an error on them is
    one that new images will have. Of the others, without a model, the one least like those that are
    labelled comes first, from the groups with the fewest labels. With a model: what is flagged, has
    a wide interval, or jumps in its series.

    Args:
        frames: all of them.
        answers: so far, by number of the frame.
        predicted: by the model, by number of the frame; empty without one.
        shown: numbers of the frames that were shown, the last one last.
        repeated: names of the frames that were shown twice.
        turn: how many frames were suggested before; None: as many as there are answers.
        seed: of what is drawn.

    Returns:
        The frame.
    """
    turn = sum(answer.given for answer in answers.values()) if turn is None else turn
    open_ = [k for k in range(len(frames)) if not answers.get(k, Answer()).given]
    open_ = [k for k in open_ if k not in shown[-1:]] or open_
    split = {k: frames.items[k].split or "train" for k in open_}
    draw = np.random.default_rng([seed, turn])
    place = turn % TURNS
    if place == REPEAT_TURN:
        old = _to_repeat(frames, answers, shown, repeated)
        if old:
            why = "You answered this one before: how alike are your own counts?"
            return Suggestion(int(draw.choice(old)), why, "random", True, True)
    wanted = "test" if place in TEST_TURNS else "validation" if place in VALIDATION_TURNS else ""
    if held_out := [k for k in open_ if split[k] == wanted]:
        return _drawn(frames, held_out, answers, draw)
    teaching = [k for k in open_ if split[k] == "train"]
    if not teaching:
        if not open_:
            return Suggestion(None, "Every frame has an answer.")
        return _drawn(frames, open_, answers, draw)
    teaching = _without_resting(frames, teaching, shown or _last_answered(answers))
    known = [k for k in teaching if k in predicted]
    if known:
        return _for_the_model(frames, known, predicted)
    return _unlike(frames, teaching, answers)


def _drawn(
    frames: Catalogue,
    candidates: Sequence[int],
    answers: Mapping[int, Answer],
    draw: np.random.Generator,
) -> Suggestion:
    """One at random, from the groups with the fewest answers: errors vary from group to group."""
    number = int(draw.choice(_of_fewest_answers(frames, candidates, answers)))
    why = "Drawn at random, without the model's count, to say how far off it is."
    if frames.items[number].split == "test":
        why = "Drawn at random for the test: this page never counts it, only evaluate does."
    return Suggestion(number, why, "random", True)


def _of_fewest_answers(
    frames: Catalogue, candidates: Sequence[int], answers: Mapping[int, Answer]
) -> list[int]:
    """The candidates of the groups with the fewest answers."""
    number: dict[str, int] = {}
    for k, answer in answers.items():
        group = frames.items[k].group
        number[group] = number.get(group, 0) + answer.given
    fewest = min(number.get(frames.items[k].group, 0) for k in candidates)
    return [k for k in candidates if number.get(frames.items[k].group, 0) == fewest]


def _to_repeat(
    frames: Catalogue,
    answers: Mapping[int, Answer],
    shown: Sequence[int],
    repeated: frozenset[str] | set[str],
) -> list[int]:
    """Frames that were answered, longer ago than a person remembers."""
    return [
        k
        for k, answer in answers.items()
        if answer.count is not None
        and not answer.assisted
        and k not in shown[-10:]
        and frames.items[k].name not in repeated
    ]


def _last_answered(answers: Mapping[int, Answer]) -> list[int]:
    return list(answers)[-RESTING:]


def _without_resting(
    frames: Catalogue, candidates: Sequence[int], shown: Sequence[int]
) -> list[int]:
    """The candidates whose group was not shown just now, where there are such."""
    for last in range(RESTING, 0, -1):
        resting = {frames.items[k].group for k in shown[-last:]}
        if others := [k for k in candidates if frames.items[k].group not in resting]:
            return others
    return list(candidates)


def _unlike(
    frames: Catalogue, candidates: Sequence[int], answers: Mapping[int, Answer]
) -> Suggestion:
    """Of the groups with the fewest answers, the frame that is least like any that has one."""
    answered = [k for k, answer in answers.items() if answer.given]
    some = _of_fewest_answers(frames, candidates, answers)
    looks = frames.looks[some]
    if not answered:  # the most usual one
        best = int(np.argmin(np.square(looks - frames.looks.mean(axis=0)).sum(axis=1)))
        return Suggestion(some[best], "A usual one to begin with.", "spread")
    distance = np.full(len(some), np.inf)
    for look in frames.looks[answered]:
        np.minimum(distance, np.square(looks - look).sum(axis=1), out=distance)
    why = "Unlike those that you labelled so far."
    return Suggestion(some[int(np.argmax(distance))], why, "spread")


def _for_the_model(
    frames: Catalogue, candidates: Sequence[int], predicted: Mapping[int, Predicted]
) -> Suggestion:
    """The frame of which the model knows least."""
    jumps = {k: _jump(frames, k, predicted) for k in candidates}
    widths = {k: _width(predicted[k]) for k in candidates}
    ranks = np.zeros(len(candidates))
    for measure in (jumps, widths):
        values = np.array([measure[k] for k in candidates])
        ranks += rankdata(values) / len(values)
    ranks += [bool(predicted[k].flag) for k in candidates]
    best = candidates[int(np.argmax(ranks))]
    said = predicted[best]
    if said.flag:
        why = "Flagged by the model, see below."
    elif jumps[best] and jumps[best] >= np.quantile(list(jumps.values()), 0.9):
        why = "Its count jumps in its series."
    elif np.isfinite(said.low):
        why = f"The model is unsure: {max(0, said.low):.0f} to {said.high:.0f}."
    else:
        why = "Many cells, so much to learn."
    return Suggestion(best, why, "model")


def _width(said: Predicted) -> float:
    """Of the interval; without one the count, whose error grows with it."""
    return said.high - said.low if np.isfinite(said.low) else max(said.raw, 0.0)


def _jump(frames: Catalogue, number: int, predicted: Mapping[int, Predicted]) -> float:
    """By how many standard deviations of chance a count leaves those beside it in time."""
    if not frames.items[number].series:
        return 0.0
    beside = [predicted[k].raw for k in frames.beside(number) if k is not None and k in predicted]
    if not beside:
        return 0.0
    middle = float(np.mean(beside))
    return abs(predicted[number].raw - middle) / np.sqrt(max(middle, 1.0))


def random_error(
    frames: Catalogue, answers: Mapping[int, Answer], predicted: Mapping[int, Predicted]
) -> dict[str, object]:
    """How far off the model is on images drawn at random that it never learned from.

    These are validation images: with ``train.select: last`` they choose nothing. The test images
    stay untouched for `cellzoo evaluate`.

    Returns:
        ``images``, ``groups``, ``mae`` in cells, ``low`` and ``high`` of its 95 % interval, and a
        ``sentence``; numbers are None where they are not known.
    """
    drawn = [
        k
        for k, answer in answers.items()
        if answer.count is not None
        and answer.chosen == "random"
        and not answer.assisted
        and frames.items[k].split == "validation"
        and k in predicted
    ]
    groups = np.array([frames.items[k].group for k in drawn], str)
    number = len(set(groups.tolist()))
    found = {"images": len(drawn), "groups": number, "mae": None, "low": None, "high": None}
    held_out = {item.group for item in frames.items if item.split == "validation"}
    if len(held_out) < FEWEST_GROUPS:
        every = len({item.group for item in frames.items})
        sentence = (
            f"Only {len(held_out)} of {every} groups are for validation, and {FEWEST_GROUPS} are "
            "needed to say how far off the model is: more labels do not help, images of more "
            "groups do."
        )
        return found | {"sentence": sentence}
    if number < FEWEST_GROUPS:
        sentence = (
            f"{len(drawn)} random images of {number} groups: at least {FEWEST_GROUPS} groups say "
            "how far off the model is."
        )
        return found | {"sentence": sentence}
    counts = np.array([answers[k].count for k in drawn], float)
    raw = np.array([predicted[k].raw for k in drawn])
    found["mae"] = mae = count_metrics(counts, raw)["mae"]
    ends = score_intervals(counts, raw, groups=groups).get("mae")
    where = f"on {len(drawn)} random images of {number} groups"
    if ends is None:
        return found | {"sentence": f"MAE {mae:.2f} {where}."}
    found["low"], found["high"] = ends
    return found | {"sentence": f"MAE {mae:.2f} ({ends[0]:.2f} to {ends[1]:.2f}) {where}."}


def own_error(repeats: Sequence[tuple[int, int]]) -> str:
    """What a person's second answers say, in a sentence; empty without any."""
    if not repeats:
        return ""
    gaps = np.array([abs(first - again) for first, again in repeats])
    images = f"{len(gaps)} image{'s' * (len(gaps) != 1)} that you counted twice"
    return f"Your own counts differ by {gaps.mean():.2f} on {images}."
