"""Images of the simulated microscope: growing cultures in microfluidic chambers."""

from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np
from pydantic import PositiveInt

from cellzoo.data.image_set import SPLITS, ImageSet, Skipped
from cellzoo.data.sources.source import Source
from cellzoo.errors import UsageError
from cellzoo.images import Size, sides
from cellzoo.section import Labels
from cellzoo.simulators import microscope

SIZE = 128  # px


class SimulatedMicroscope(Source):
    """Simulated images in splits that share no chamber.

    The defaults are Table 1's bright-field sizes: 59 labelled + 725 unlabelled images for training,
    62 + 110 for test. The paper has no validation split; ours is as large as its test split.

    Attributes:
        modality: ``"bf"`` (bright field) or ``"pc"`` (phase contrast).
        train: images for training.
        labelled: how many of them keep their count, at a regular interval.
        validation: images to choose hyper-parameters and checkpoints with.
        validation_labelled: how many of them keep their count.
        test: images that only ``evaluate`` touches.
        test_labelled: how many of them keep their count.
    """

    simulated: ClassVar[bool] = True
    group_name: ClassVar[str] = "chambers"

    source: Literal["simulated"] = "simulated"
    modality: Literal["bf", "pc"]
    train: PositiveInt = 784
    labelled: Labels = 59
    validation: PositiveInt = 172
    validation_labelled: PositiveInt = 62
    test: PositiveInt = 172
    test_labelled: PositiveInt = 62

    @property
    def keeps_all_labels_hidden(self) -> bool:
        """Whether ``labelled`` is 0."""
        return self.labelled == 0

    @property
    def microscopy(self) -> str:
        """Simulated bright field or phase contrast."""
        return {"bf": "simulated bright field", "pc": "simulated phase contrast"}[self.modality]

    def describe(self) -> str:
        """The simulated microscope and its modality."""
        return f"simulated microscope, {self.modality}"

    def check(self, size: Size) -> None:
        """Checks the size, which is fixed, and the numbers of labels; see :meth:`Source.check`."""
        if sides(size) != (SIZE, SIZE):
            raise UsageError(
                f"model.image_size is {size}, but simulated images have {SIZE} px: "
                f"set it to {SIZE}."
            )
        for split, (total, labelled) in self._numbers().items():
            if labelled > total:
                key = "labelled" if split == "train" else f"{split}_labelled"
                raise UsageError(
                    f"data.natural.{key} is {labelled}, but only {total} images are simulated "
                    f"for {split}: lower it or raise data.natural.{split}."
                )

    def _numbers(self) -> dict[str, tuple[int, int]]:
        """Images and labelled images of each split."""
        return {
            "train": (self.train, self.labelled),
            "validation": (self.validation, self.validation_labelled),
            "test": (self.test, self.test_labelled),
        }

    def read(
        self, size: Size, seed: int, splits: Sequence[str] = SPLITS
    ) -> tuple[ImageSet, list[Skipped]]:
        """Simulates each split by itself, with names and hours; see :meth:`Source.read`."""
        self.check(size)
        parts = []
        for k, (split, (total, labelled)) in enumerate(self._numbers().items()):
            if split not in splits:
                continue
            name = f"{self.modality}_{split}"
            made = _simulated_once(self.modality, total, (seed, k), name)
            keep = microscope.labelled_at_regular_interval(total, labelled)
            parts.append(_image_set(made, f"simulated_{name}", split, keep))
        return ImageSet.join(parts), []

    def simulate(self, number: int, size: Size, seed: int) -> ImageSet:
        """Images of other chambers, see :meth:`Source.simulate`."""
        self.check(size)
        name = f"{self.modality}_synth"
        made = microscope.simulate_set(self.modality, number, (seed, 99), prefix=name)
        return _image_set(made, f"simulated_{name}", "", np.ones(number, bool))


@lru_cache(maxsize=12)
def _simulated_once(
    modality: str, number: int, seed: tuple[int, int], prefix: str
) -> microscope.SimulatedSet:
    """Keeps what ``compare`` asks for again for each method: the splits of a few seeds."""
    return microscope.simulate_set(modality, number, seed, prefix=prefix)


def _image_set(
    made: microscope.SimulatedSet, name: str, split: str, keep: np.ndarray
) -> ImageSet:
    number = len(made.images)
    return ImageSet(
        images=made.images.astype(np.float32) / 255,
        counts=np.where(keep, made.counts, np.nan).astype(np.float32),
        groups=np.asarray(made.groups),
        names=np.array([f"{name}_{k:04d}.png" for k in range(number)]),
        splits=np.full(number, split),
        times=made.hours,
    )
