"""Images with their counts, groups and splits: what a model is fed, in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

SPLITS = ("train", "validation", "test")
PIXELS_DIFFER = 1.25  # times by which pixel sizes differ that are not of one scale


@dataclass(frozen=True, eq=False)
class ImageSet:
    """What a model is fed, in memory; all arrays have the same length n.

    Attributes:
        images: ``[n, h, w]`` float32 in [0, 1].
        counts: ``[n]`` float32, cells per image; NaN = unlabelled.
        groups: ``[n]`` str; images of a group (a time-lapse, a chamber, a scene) stay in one split.
        names: ``[n]`` str, such as ``images/a.png`` or ``stack.tif#3``.
        splits: ``[n]`` str: ``train``, ``validation``, ``test`` or empty (not yet assigned).
        masks: ``[n, h, w]`` uint8 or uint16, 0 = background, above 0 = cell, or the cell's number;
            all 0 where an image has none. None: no image has one.
        has_mask: ``[n]`` bool: which images have a mask; None where ``masks`` is. Left out: all of
            them.
        points: ``[n]`` objects: the places of an image's cells, float32 ``[k, 2]``, x before y, in
            pixels of ``images``, 0 in the middle of the first one; None where they are not known.
            None: those of no image are.
        times: ``[n]`` float32: when, in the unit of the table, hours for durations and dates; NaN =
            unknown. None: none is known.
        kinds: ``[n]`` str: kind of image, such as the stain. None: all are of one.
        sizes: ``[n, 2]`` int: height and width in pixels that the files have. None: of no files.
        pixel_sizes_um: ``[n]`` float: width of a pixel of the files in micrometres; NaN = unknown.
            None: none is known.
        assisted: ``[n]`` bool: who gave the count had that of a model in view. None: nobody had.
        contents: ``[n, 2]`` int: height and width in pixels of what there is of an image, in the
            upper left; the rest was filled up. None: all of it.
        originals: ``[n]`` objects: the images before they were resized, float32 ``[h, w]`` in
            [0, 1]. None: ``images`` are what a counter is given.
    """

    images: np.ndarray
    counts: np.ndarray
    groups: np.ndarray
    names: np.ndarray
    splits: np.ndarray
    masks: np.ndarray | None = None
    has_mask: np.ndarray | None = None
    points: np.ndarray | None = None
    times: np.ndarray | None = None
    kinds: np.ndarray | None = None
    sizes: np.ndarray | None = None
    pixel_sizes_um: np.ndarray | None = None
    assisted: np.ndarray | None = None
    contents: np.ndarray | None = None
    originals: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Refuse arrays of different length."""
        if self.masks is not None and self.has_mask is None:
            object.__setattr__(self, "has_mask", np.ones(len(self.masks), bool))
        lengths = {name: len(array) for name, array in self._arrays().items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"an ImageSet needs arrays of one length, not {lengths}")

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def take(self, index_or_mask: np.ndarray | Sequence) -> "ImageSet":
        """The images at these positions (int ``[k]``) or where the mask (bool ``[n]``) is true."""
        chosen = np.asarray(index_or_mask)
        if chosen.size == 0:
            chosen = chosen.astype(int)
        return ImageSet(**{name: array[chosen] for name, array in self._arrays().items()})

    @classmethod
    def join(cls, parts: Sequence["ImageSet"]) -> "ImageSet":
        """The images of several sets, which all have masks or all have none."""
        names = parts[0]._arrays()
        return cls(**{n: np.concatenate([getattr(part, n) for part in parts]) for n in names})

    def of(self, split: str) -> "ImageSet":
        """The images of one split; ``""`` for those not yet assigned."""
        return self.take(self.splits == split)

    @property
    def pixel_size_um(self) -> float | None:
        """Median of the known ones; None where none is known or they are not of one scale."""
        if self.pixel_sizes_um is None or np.isnan(self.pixel_sizes_um).all():
            return None
        if np.nanmax(self.pixel_sizes_um) > PIXELS_DIFFER * np.nanmin(self.pixel_sizes_um):
            return None
        return float(np.nanmedian(self.pixel_sizes_um))

    @property
    def labelled(self) -> np.ndarray:
        """Bool ``[n]``: which images have a count."""
        return ~np.isnan(self.counts)

    @property
    def has_points(self) -> np.ndarray:
        """Bool ``[n]``: of which images the places of the cells are known."""
        if self.points is None:
            return np.zeros(len(self), bool)
        return np.array([places is not None for places in self.points], bool)

    @property
    def given(self) -> np.ndarray | list[np.ndarray]:
        """What a counter gets of the images, to count them as a user's."""
        return self.images if self.originals is None else list(self.originals)

    @property
    def parts(self) -> np.ndarray | list[np.ndarray]:
        """The images without what was filled up."""
        if self.contents is None:
            return self.images
        return [
            image[:height, :width]
            for image, (height, width) in zip(self.images, self.contents, strict=True)
        ]

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: array for name, array in arrays.items() if array is not None}


def column(values: Sequence[np.ndarray | None]) -> np.ndarray:
    """An array of objects ``[n]``; numpy alone would make one array of arrays of one shape."""
    made = np.empty(len(values), object)
    for k, value in enumerate(values):
        made[k] = value
    return made


@dataclass(frozen=True)
class Skipped:
    """A file that was passed over, and the sentence that says why."""

    name: str
    reason: str
