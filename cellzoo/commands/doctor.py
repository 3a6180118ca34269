"""``cellzoo doctor``: why counts may be wrong on these images, and what to do about it."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from cellzoo.commands.doctor_findings import Finding, Seen, findings
from cellzoo.counters.base import Counter
from cellzoo.counters.entries import Entry, file_entries, with_options
from cellzoo.counters.preprocessing import Preprocessing
from cellzoo.counters.stream import count_entries
from cellzoo.errors import UserError
from cellzoo.images import search_images
from cellzoo.trust.features import FEATURES

MOST = 60  # images that are looked at

# Name for people, feature, from the feature to the number shown, unit.
_MEASURES: tuple[tuple[str, str, Callable[[np.ndarray], np.ndarray], str], ...] = (
    ("middle grey level", "grey", lambda v: 100 * v, "% of white"),
    ("darkest pixels", "darkest", lambda v: 100 * np.maximum(v, 0), "% of white"),
    ("brightest pixels", "brightest", lambda v: 100 * v, "% of white"),
    # What is written down of training images without a white pixel is rounded, not 0.
    ("white pixels", "white", lambda v: 100 * np.maximum(v.round(6), 0), "% of the image"),
    ("contrast of bright parts", "contrast_bright", lambda v: 100 * np.exp(v), "% of white"),
    ("contrast of dark parts", "contrast_dark", lambda v: 100 * np.exp(v), "% of white"),
    ("noise", "background_0", lambda v: 100 * np.exp(v), "% of white"),
    ("fine against coarse detail", "sharpness_0", np.exp, "times"),
)


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
        diagnosis.findings = findings(counter, preprocessing, seen)
        diagnosis.measures = _measures(counter, seen)
    return diagnosis


def _seen(counter: Counter, preprocessing: Preprocessing, entry: Entry) -> Seen:
    (image,) = preprocessing.seen(entry.prepared[None], counter.any_size)
    known = counter.out_of_distribution
    return Seen(
        image, entry.prepared, known.look(image) if known else None,
        entry.size or entry.prepared.shape, entry.scaled,
        counter.any_size and entry.prepared.shape != preprocessing.size,
        float(entry.raw), float(entry.low), float(entry.high), entry.flag,
        entry.remark if counter.measuring else "",
    )  # fmt: skip


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
