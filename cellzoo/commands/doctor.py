"""``cellzoo doctor``: why counts may be wrong on these images, and what to do about it."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from cellzoo.counters.base import Counter
from cellzoo.counters.by_mask import TRANSMITTED, UNSTABLE
from cellzoo.counters.entries import Entry, file_entries, with_options
from cellzoo.counters.extrapolation import in_pixels
from cellzoo.counters.preprocessing import Preprocessing
from cellzoo.counters.stream import count_entries
from cellzoo.errors import UserError
from cellzoo.images import resize, search_images
from cellzoo.scores.counts import round_count
from cellzoo.trust import out_of_distribution as trust
from cellzoo.trust.features import FEATURES
from cellzoo.trust.out_of_distribution import Look, OutOfDistribution

MOST = 60  # images that are looked at
_SELDOM = 0.1  # share of the images below which nothing is said: some are always unlike
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
# The same of a counter that makes images alike, for which --intensity changes nothing.
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
        "--diameter 25px.",
    ),
}
# Name for people, feature, from the feature to the number shown, unit.
_MEASURES: tuple[tuple[str, str, Callable[[np.ndarray], np.ndarray], str], ...] = (
    ("middle grey level", "grey", lambda v: 100 * v, "% of white"),
    ("darkest pixels", "darkest", lambda v: 100 * np.maximum(v, 0), "% of white"),
    ("brightest pixels", "brightest", lambda v: 100 * v, "% of white"),
    ("white pixels", "white", lambda v: 100 * np.maximum(v, 0), "% of the image"),
    ("contrast of bright parts", "contrast_bright", lambda v: 100 * np.exp(v), "% of white"),
    ("contrast of dark parts", "contrast_dark", lambda v: 100 * np.exp(v), "% of white"),
    ("noise", "background_0", lambda v: 100 * np.exp(v), "% of white"),
    ("fine against coarse detail", "sharpness_0", np.exp, "times"),
)


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


@dataclass(frozen=True)
class Measure:
    """A number of the images, beside that of the training images.

    Attributes:
        name: for people.
        unit: of the numbers.
        here: median, least and most of these images.
        training: least and most of what training images are like; None: not known.
    """

    name: str
    unit: str
    here: tuple[float, float, float]
    training: tuple[float, float] | None

    @property
    def outside(self) -> bool:
        """Whether the median lies outside of what training images are like."""
        return self.training is not None and not (
            self.training[0] <= self.here[0] <= self.training[1]
        )


@dataclass
class Diagnosis:
    """What ``cellzoo doctor`` says.

    Attributes:
        model: name of the counter.
        version: of it.
        images: that were looked at.
        flagged: of these, that `cellzoo count` flags.
        findings: the most frequent first.
        measures: numbers beside those of the training images.
        errors: of images that could not be counted.
        examples: of what the counter saw, float32 ``[h, w]``, with count and flag.
    """

    model: str
    version: str
    images: int = 0
    flagged: int = 0
    findings: list[Finding] = field(default_factory=list)
    measures: list[Measure] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    examples: list["Seen"] = field(default_factory=list, repr=False)

    def as_json(self) -> dict[str, Any]:
        """All but the pictures, as JSON can take it."""
        return {key: value for key, value in asdict(self).items() if key != "examples"}

    def lines(self) -> Iterator[str]:
        """All but the pictures, for a terminal."""
        yield f"{self.model}: {self.flagged} of {self.images} images are flagged"
        for number, finding in enumerate(self.findings, 1):
            yield f"{number}. {finding.what} ({finding.images} of {self.images} images)"
            yield f"   {finding.cure}"
        if not self.findings and self.images:
            yield (
                "nothing is unlike the training images, which does not mean that counts are right: "
                "see `cellzoo count --check 20`"
            )
        for measure in self.measures:
            mark = "  <-" if measure.outside else ""
            yield f"  {in_words(measure)}{mark}"


def _short(number: float) -> str:
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"


def in_words(measure: Measure) -> str:
    """A measure in a line."""
    middle, low, high = map(_short, measure.here)
    known = "not known"
    if measure.training is not None:
        known = " to ".join(map(_short, measure.training))
    return f"{measure.name}: {middle} ({low} to {high}) {measure.unit}; in training {known}"


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
    flag: str
    remark: str = ""


def diagnose(
    paths: Sequence[str | os.PathLike], counter: Counter, **reading: Any
) -> Diagnosis:
    """Looks at images as a counter sees them.

    Args:
        paths: image files and folders; of many files, and of the frames of many, some are taken.
        counter: that counts them.
        reading: what to take of files, see :meth:`cellzoo.counters.base.Counter.count`.

    Raises:
        UserError: there is no image, or nothing is known of how the counter takes its images.
    """
    preprocessing = counter.preprocessing
    if preprocessing is None:
        raise UserError(
            f"{counter.name} was not written by `cellzoo export` and says nothing of itself: give "
            "the run folder or an export."
        )
    counter.check_pixel_size(reading.get("pixel_size_um"))
    found = search_images([Path(path) for path in paths])
    found.say()
    places = np.linspace(0, len(found.files) - 1, min(MOST, len(found.files))).round().astype(int)
    files = [found.files[k] for k in places]
    entries = islice(file_entries(files, counter.reader(found.files, **reading), "--{} "), MOST)
    diagnosis, seen = Diagnosis(counter.name, counter.version), []

    def look(entry: Entry) -> None:
        seen.append(_seen(counter, preprocessing, entry))

    for entry in count_entries(counter, entries, done=look):
        if entry.error:
            diagnosis.errors.append(with_options(str(entry.error), "--{} "))
    diagnosis.images, diagnosis.examples = len(seen), seen
    if seen:
        diagnosis.flagged = sum(bool(image.flag) for image in seen)
        diagnosis.findings = _findings(counter, preprocessing, seen)
        diagnosis.measures = _measures(counter, seen)
    return diagnosis


def _seen(counter: Counter, preprocessing: Preprocessing, entry: Entry) -> Seen:
    (image,) = preprocessing.seen(entry.prepared[None], counter.any_size)
    known = counter.out_of_distribution
    return Seen(
        image, entry.prepared, known.look(image) if known else None,
        entry.size or entry.prepared.shape, entry.scaled,
        counter.any_size and entry.prepared.shape != preprocessing.size,
        float(entry.raw), float(entry.low), entry.flag,
        entry.remark if counter.measuring else "",
    )  # fmt: skip


def _findings(
    counter: Counter, preprocessing: Preprocessing, seen: Sequence[Seen]
) -> list[Finding]:
    """Reasons that hold for more than a few of the images, the most frequent first."""
    known = counter.out_of_distribution
    found = [*_of_counts(counter, preprocessing, seen)]
    if known is None:
        found.append(Finding(
            "The counter does not know what its training images looked like.",
            "Train it again with this version; until then look at the pictures yourself.",
            len(seen),
        ))  # fmt: skip
    else:
        found += _of_looks(known, preprocessing, seen, counter.measuring is not None)
        found += _of_sizes(known, preprocessing, seen)
    kept = [finding for finding in found if finding.images > _SELDOM * len(seen)]
    return sorted(kept, key=lambda finding: -finding.images)


def _of_looks(
    known: OutOfDistribution, preprocessing: Preprocessing, seen: Sequence[Seen], measured: bool
) -> Iterator[Finding]:
    """What statistics of the images say; ``measured``: the counter measures cells."""
    times = [image.look.times for image in seen if image.look.times is not None]
    if times:
        middle = float(np.median(times))
        cure = f"Give --pixel-size if both are known, or resize the images to {100 / middle:.0f} %"
        better = sum(not known.reasons(_zoomed(image.image, 1 / middle)) for image in seen)
        if measured:
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
        cure = (_CURES_ALIKE if measured else CURES)[word]
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
            "are, as measured on the screen: such as --diameter 25px, or 12um with --pixel-size.",
            len(unsure),
        )


def _measures(counter: Counter, seen: Sequence[Seen]) -> list[Measure]:
    """Numbers of the images beside those of training."""
    known, measures = counter.out_of_distribution, []
    if known is not None:
        here = np.stack([image.look.features for image in seen])
        there = known.training_features()
        for name, feature, number, unit in _MEASURES:
            k = FEATURES.index(feature)
            own, trained = number(here[:, k]), number(there[:, k])
            ends = float(trained.min()), float(trained.max())
            measures.append(Measure(name, unit, _ends(own), ends))
        sizes = known.sizes
        for axis, name in ((1, "width"), (0, "height")):
            own = np.array([image.size[axis] for image in seen], float)
            ends = None if sizes is None else (float(sizes[0][axis]), float(sizes[1][axis]))
            measures.append(Measure(name, "px", _ends(own), ends))
    raw = np.array([image.raw for image in seen])
    counts = counter.training_counts
    trained = None if counts is None else (float(counts[0]), float(counts[1]))
    measures.append(Measure("cells", "in an image", _ends(raw), trained))
    return measures


def _ends(values: np.ndarray) -> tuple[float, float, float]:
    return float(np.median(values)), float(values.min()), float(values.max())


def _zoomed(image: np.ndarray, times: float) -> np.ndarray:
    return resize(image, tuple(max(8, round(side * times)) for side in image.shape))


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."
