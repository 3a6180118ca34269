"""What ``cellzoo doctor`` finds: reasons why counts may be wrong, each with its cure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cellzoo.counters.base import Counter
from cellzoo.counters.by_mask import TRANSMITTED, UNSTABLE
from cellzoo.counters.extrapolation import in_pixels
from cellzoo.counters.preprocessing import Preprocessing
from cellzoo.images import resize
from cellzoo.scores.counts import round_count
from cellzoo.trust import out_of_distribution as trust
from cellzoo.trust.features import FEATURES
from cellzoo.trust.out_of_distribution import Look, OutOfDistribution

_SELDOM = 0.1  # share of the images below which nothing is said: some are always unlike
_WIDE = 1.3  # times the width of an interval in training, from which on it is said
# Where the middle grey level is between the darkest and the brightest: in fluorescence it is the
# background. Real nuclei of dsb2018 are below 0.08, training images of zoo:ldc and zoo:cells above
# 0.16.
_DARK_BACKGROUND, _LIGHT_BACKGROUND = 0.08, 0.12
_LABELS = "label some of yours with `cellzoo label`, and train on them"
_EYE = "check some counts by eye with `cellzoo count --check 20`"

# What to do about each reason for a flag.
CURES = {
    trust.DARK: "set black and white as in training with --intensity, or expose longer",
    trust.BRIGHT: "set black and white as in training with --intensity, or expose shorter",
    trust.FLAT: "look whether there are cells at all; else spread the grey levels with --intensity",
    trust.STRONG: "set black and white as in training with --intensity",
    trust.BLURRED: f"focus anew, choose another plane with --z, or {_LABELS}",
    trust.SHARP: f"average frames against noise, or {_LABELS}",
    trust.SATURATED: "expose shorter: what is white is lost",
    trust.BLACK: "expose longer or raise the camera's offset: what is black is lost",
    trust.OTHER: f"leave out what is no cell, such as walls and writing, or {_LABELS}",
    trust.SWAPPED: "invert the images, or take a counter that was trained on such images",
}
# The same of a counter that sets grey levels itself, for which --intensity changes nothing.
_CURES_ALIKE = CURES | dict.fromkeys(
    (trust.DARK, trust.BRIGHT, trust.STRONG),
    f"the counter sets grey levels itself, so that these are images of another kind: {_EYE}",
) | {trust.FLAT: f"look whether there are cells at all; else {_EYE}"}
# What a counter that measures cells remarks on an image beside their size, and what to do about it.
_REMARKS = {
    TRANSMITTED: (
        "Parts of images are darker than the background, as in bright field, phase contrast and "
        "differential interference contrast: the counter is for fluorescence.",
        "Take a counter for such images, such as zoo:cells, or train one on yours.",
    ),
    UNSTABLE: (
        "Counts depend on the size that cells are taken for, as where rims and texture are "
        "counted.",
        "Are they of the kind that the counter is for? If so, state how large cells are, such as "
        "--diameter 25px; else take another counter, or train one on yours.",
    ),
}


@dataclass(frozen=True)
class Finding:
    """A reason why counts may be wrong.

    Attributes:
        what: is unlike training, one sentence.
        cure: what to do, one sentence.
        images: of those looked at that it holds for.
    """

    what: str
    cure: str
    images: int


@dataclass(frozen=True, eq=False)
class Seen:
    """An image as the counter sees it, and what came out.

    Attributes:
        image: float32 ``[h, w]`` in [0, 1].
        prepared: raw pixels that it was made of.
        look: at its statistics; None of a counter that does not know its training images.
        size: height and width of its file.
        scaled: somebody said what is black and white.
        tiled: it is counted in tiles, at its own size.
        raw: count before rounding.
        low: lower end of its interval; NaN where none can be promised.
        high: its upper end.
        flag: that `cellzoo count` writes.
        remark: on the size of its cells, of a counter that measures them; empty: nothing.
    """

    image: np.ndarray
    prepared: np.ndarray
    look: Look | None
    size: tuple[int, int]
    scaled: bool
    tiled: bool
    raw: float
    low: float
    high: float
    flag: str
    remark: str = ""


def findings(
    counter: Counter, preprocessing: Preprocessing, seen: Sequence[Seen]
) -> list[Finding]:
    """Reasons that hold for more than a few of the images, the most frequent first."""
    known = counter.out_of_distribution
    if other := _of_another_microscopy(known, seen):
        return [other]
    found = [*_of_counts(counter, preprocessing, seen)]
    if known is None:
        found.append(Finding(
            "The counter does not know what its training images looked like.",
            "Train it again with this version; until then look at the pictures yourself.",
            len(seen),
        ))  # fmt: skip
    else:
        found += _of_looks(known, preprocessing, seen, counter)
        found += _of_sizes(known, preprocessing, seen)
    kept = [finding for finding in found if finding.images > _SELDOM * len(seen)]
    return sorted(kept, key=lambda finding: -finding.images)


def _of_another_microscopy(
    known: OutOfDistribution | None, seen: Sequence[Seen]
) -> Finding | None:
    """That most images are of another kind of microscopy: whatever else is unlike is no news."""
    dark = sum(TRANSMITTED in image.remark for image in seen)
    if dark > len(seen) / 2:
        return Finding(*_REMARKS[TRANSMITTED], dark)
    if known is None:
        return None
    places = _middle_grey(np.stack([image.look.features for image in seen]))
    bright = int((places < _DARK_BACKGROUND).sum())
    light = np.quantile(_middle_grey(known.training_features()), 0.02) > _LIGHT_BACKGROUND
    unlike = sum(bool(image.look.words or image.look.times) for image in seen)
    if not light or min(bright, unlike) <= len(seen) / 2:
        return None
    return Finding(
        "Images are bright on a dark background, as in fluorescence, and those of training were "
        "not.",
        "Take a counter for such images, such as zoo:nuclei, or train one on yours.",
        bright,
    )


def _middle_grey(features: np.ndarray) -> np.ndarray:
    """Where the median is between the darkest grey level, 0, and the brightest, 1: ``[n]``."""
    darkest, grey, brightest = (
        features[:, FEATURES.index(name)] for name in ("darkest", "grey", "brightest")
    )
    return (grey - darkest) / np.maximum(brightest - darkest, 1e-6)


def _of_looks(
    known: OutOfDistribution, preprocessing: Preprocessing, seen: Sequence[Seen], counter: Counter
) -> Iterator[Finding]:
    """What statistics of the images say."""
    times = [image.look.times for image in seen if image.look.times is not None]
    if times:
        middle = float(np.median(times))
        cure = f"Give --pixel-size if both are known, or resize the images to {100 / middle:.0f} %"
        better = sum(not known.reasons(_zoomed(image.image, 1 / middle)) for image in seen)
        if counter.measuring:
            cure = "State how large they are with --diameter"
        elif any(image.tiled for image in seen):
            cure += f": {len(seen) - better} of {len(seen)} are unlike then"
        yield Finding(
            f"Cells look {middle:.1f} times as large as in the training images; blur and noise may "
            "look like this.",
            f"{cure}; else {_LABELS}.",
            len(times),
        )  # fmt: skip
    bits = {bits for image in seen if (bits := preprocessing.few_bits(image.prepared))}
    few = sum(bool(preprocessing.few_bits(image.prepared)) for image in seen)
    if few:
        most = max(int(image.prepared.max()) for image in seen)
        yield Finding(
            f"An image {min(bits).partition(':')[0]}.",
            f"Give --intensity 0 {2 ** max(8, most.bit_length()) - 1}.",
            few,
        )  # fmt: skip
    said = [word for image in seen for word in image.look.words]
    words = {word: said.count(word) for word in dict.fromkeys(said)}
    if words and (levels := _intensity(known, preprocessing, seen)):
        low, high, unlike = levels
        yield Finding(
            _sentence(", ".join(word.partition(":")[0] for word in words)),
            f"Give --intensity {low} {high}: {unlike} of {len(seen)} images are unlike the "
            "training images then.",
            max(words.values()),
        )  # fmt: skip
        return
    for word, number in words.items():
        alike = counter.measuring is not None and counter.measuring.sets_grey_levels
        cure = (_CURES_ALIKE if alike else CURES)[word]
        yield Finding(_sentence(word.partition(":")[0]), _sentence(cure), number)


def _intensity(
    known: OutOfDistribution, preprocessing: Preprocessing, seen: Sequence[Seen]
) -> tuple[int, int, int] | None:
    """Grey levels of black and white that make images look as in training, if any do.

    Returns:
        Black, white, and how many images are unlike the training images then; None where it is not
        at most half as many, or somebody said already what is black and white.
    """
    types = {image.prepared.dtype for image in seen}
    if any(image.scaled for image in seen) or types not in ({np.dtype("u1")}, {np.dtype("u2")}):
        return None
    least, most = FEATURES.index("darkest"), FEATURES.index("brightest")
    here = np.median([image.look.features[[least, most]] for image in seen], axis=0)
    there = np.median(known.training_features()[:, [least, most]], axis=0)
    if here[1] - here[0] < 1e-3 or there[1] - there[0] < 1e-3:
        return None
    span = (here[1] - here[0]) / (there[1] - there[0])
    low = max(here[0] - there[0] * span, 0.0)
    black, white = (0, np.iinfo(types.pop()).max)
    if preprocessing.intensity != "dtype":
        black, white = preprocessing.intensity
    low, high = (int(round(black + v * (white - black))) for v in (low, low + span))
    if low >= high:
        return None
    bottom, top = ((v - black) / (white - black) for v in (low, high))
    unlike = sum(
        bool(known.reasons(np.clip((image.image - bottom) / (top - bottom), 0, 1)))
        for image in seen
    )
    before = sum(bool(image.look.words or image.look.times) for image in seen)
    return (low, high, unlike) if unlike <= before / 2 else None


def _of_sizes(
    known: OutOfDistribution, preprocessing: Preprocessing, seen: Sequence[Seen]
) -> Iterator[Finding]:
    """What the size of files says where they are resized whole."""
    if not preprocessing.resize:
        return
    other = [image for image in seen if not image.tiled and known.size_reason(*image.size)]
    if other:
        least, most = (in_pixels(tuple(size)) for size in known.sizes)
        trained = least if least == most else f"{least} to {most}"
        yield Finding(
            f"Images have {in_pixels(other[0].size)}, and those of training {trained}: the counter "
            "resizes them whole, so cells have another size to it.",
            f"Crop images to {trained}, or give --pixel-size if both are known; else {_LABELS}.",
            len(other),
        )  # fmt: skip


def _of_counts(
    counter: Counter, preprocessing: Preprocessing, seen: Sequence[Seen]
) -> Iterator[Finding]:
    """What the counts and their intervals say."""
    if counter.training_counts:
        height, width = preprocessing.original_size or preprocessing.size
        most = counter.training_counts[1]
        above = [
            image
            for image in seen
            if round_count(image.raw)
            > most * (max(1.0, image.image.size / (height * width)) if image.tiled else 1.0)
        ]
        if above:
            yield Finding(
                f"Up to {max(round_count(image.raw) for image in above):.0f} cells are counted in "
                f"an image, and those of training had up to {most}: more is extrapolation.",
                f"Dilute, count smaller parts with cells as large, or {_LABELS}.",
                len(above),
            )  # fmt: skip
        nothing = sum(round_count(image.raw) == 0 for image in seen)
        if nothing == len(seen) and counter.training_counts[0] > 0:
            yield Finding(
                "Nothing is counted in any image.",
                "Look whether there are cells; if so, the counter does not see them.",
                nothing,
            )  # fmt: skip
    yield from _of_remarks([image.remark.split("; ") for image in seen if image.remark])
    yield from _of_widths(counter, seen)
    without = sum(bool(np.isnan(image.low)) for image in seen)
    if without:
        why = "too unlike the training images"
        if not counter.measuring:
            why = "they have another size than in training"
        yield Finding(
            f"Counts have no interval: {counter.no_interval or why}.",
            _sentence(_EYE),
            without,
        )  # fmt: skip


def _of_widths(counter: Counter, seen: Sequence[Seen]) -> Iterator[Finding]:
    """That intervals are wider than around such counts in training."""
    if counter.measuring is None or counter.interval is None:
        return
    raw = np.array([image.raw for image in seen])
    trained = counter.interval.ends(raw)[1] - raw
    times = (np.array([image.high for image in seen]) - raw) / np.maximum(trained, 1e-6)
    wide = times[times > _WIDE]  # not of NaN
    if len(wide):
        yield Finding(
            f"Intervals are {np.median(wide):.1f} times as wide as in training, as cells crowd and "
            "hide each other, or images are slightly unlike.",
            _sentence(_EYE),
            len(wide),
        )


def _of_remarks(remarks: Sequence[Sequence[str]]) -> Iterator[Finding]:
    """What a counter that measures cells remarks, of each image that it has remarks on."""
    for words, (what, cure) in _REMARKS.items():
        number = sum(any(said.startswith(words) for said in of_image) for of_image in remarks)
        if number:
            yield Finding(what, cure, number)
    sizes = [
        [said for said in of_image if not said.startswith(tuple(_REMARKS))] for of_image in remarks
    ]
    unsure = [of_image[0] for of_image in sizes if of_image]
    if unsure:
        yield Finding(
            f"It is unsure how large cells are, or they are not as large as the counter is meant "
            f"for; of the first such image: {unsure[0].partition(':')[0]}.",
            "Are they of the kind that the counter is for? If so, state or correct how large cells "
            "are, as measured on the screen: such as --diameter 25px, or 12um with --pixel-size; "
            "else take another counter, or train one on yours.",
            len(unsure),
        )


def _zoomed(image: np.ndarray, times: float) -> np.ndarray:
    return resize(image, tuple(max(8, round(side * times)) for side in image.shape))


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."
