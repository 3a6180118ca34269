"""A lab's own folder of images, with counts in a table of labels."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, NonNegativeInt, PrivateAttr

from cellzoo.data.folder import load_folder
from cellzoo.data.image_set import SPLITS, ImageSet, Skipped
from cellzoo.data.labels import LABELS_FILE, check_table
from cellzoo.data.points import POINTS_FILE
from cellzoo.data.reading import Reading
from cellzoo.data.sources.source import Source, check_folder, in_splits, keep_labels
from cellzoo.data.splits import hide_assisted, split_by_group
from cellzoo.errors import UserError
from cellzoo.images import Selection, Size, numbered
from cellzoo.section import Intensity, Labels, Seed, Shares

log = logging.getLogger("cellzoo")


class Folder(Source):
    """A folder of images; see :mod:`cellzoo.data.labels` for its table.

    Where the table names splits it has the last word; images that it leaves out help to learn.
    Without any split in it, whole groups are dealt out.

    Attributes:
        folder: of images; a relative path starts where the command runs.
        labels: table of counts in that folder; None if nothing is labelled. The default may be
            missing where the table of points is there.
        points: table of cells' places in that folder, see :mod:`cellzoo.data.points`; the default
            may be missing. None: no places are read.
        labelled: how many training images (or which share of them) keep their label; None: all;
            0: the synthetic images alone say what a count is.
        shares: of train, validation and test where the table has no split; None: 0.7, 0.15 and
            0.15.
        split_seed: deals the groups out, so that other seeds train on the same splits; None: the
            recipe's seed.
        size: what to do with images of another size than the model takes: stop, or resize them.
        intensity: ``"dtype"`` (the full range of the file's type is 0 to 1) or ``[low, high]``.
        axes: of TIFF stacks whose file does not say, such as ``TYX``.
        channel: to read from files with several, by number, from 0, or name; of colour pictures
            ``red``, ``green``, ``blue`` or ``luminance``.
        z: focal plane to read, by number, from 0, or ``max``, ``mean`` or ``sharpest``.
        position: to read, by number, from 0, or name; ``all``.
        frames: time point to read, by number, from 0, or ``start:stop:step``.
        on_error: stop at a file that cannot be read, or skip it and say so at the end.
        assisted: labels made with a model's count in view, as the column ``assisted`` says: they
            teach, and count for nothing where models are checked; or keep them there, too.
    """

    simulated: ClassVar[bool] = False

    source: Literal["folder"] = "folder"
    folder: str
    labels: str | None = LABELS_FILE
    points: str | None = POINTS_FILE
    labelled: Labels | Annotated[float, Field(gt=0, le=1)] | None = None
    shares: Shares | None = None
    split_seed: Seed | None = None
    size: Literal["error", "resize"] = "error"
    intensity: Intensity = "dtype"
    axes: str | None = None
    channel: NonNegativeInt | str | None = None
    z: NonNegativeInt | str | None = None
    position: NonNegativeInt | str | None = None
    frames: NonNegativeInt | str | None = None
    on_error: Literal["stop", "skip"] = "stop"
    copies: Literal["error", "allow"] = "error"
    assisted: Literal["train", "keep"] = "train"
    _full_range: bool = PrivateAttr(default=True)

    @property
    def allows_copies(self) -> bool:
        """Whether images of different splits may show the same."""
        return self.copies == "allow"

    @property
    def folders(self) -> tuple[Path, ...]:
        """The one."""
        return (Path(self.folder),)

    @property
    def has_label_table(self) -> bool:
        """True, even where there is none yet."""
        return True

    @property
    def skips_broken_files(self) -> bool:
        """As the recipe says."""
        return self.on_error == "skip"

    @property
    def keeps_all_labels_hidden(self) -> bool:
        """Whether ``labelled`` is 0."""
        return self.labelled == 0

    @property
    def checks_with_assisted(self) -> bool:
        """As the recipe says."""
        return self.assisted == "keep"

    def with_all_labels(self) -> Self:
        """See :meth:`Source.with_all_labels`."""
        return self.model_copy(update={"labelled": None, "assisted": "keep"})

    @property
    def reading(self) -> Reading:
        """As the recipe says."""
        return Reading(
            self.axes,
            self.channel,
            self.intensity,
            self.size == "resize",
            z=self.z,
            position=self.position,
            frames=self.frames,
            full_range=self._full_range,
        )

    def as_stored(self) -> Self:
        """See :meth:`Source.as_stored`."""
        other = self.model_copy()
        other._full_range = False
        return other

    @property
    def microscopy(self) -> str:
        """Unknown: the files do not say."""
        return "not stated"

    def describe(self) -> str:
        """The folder's name."""
        return f"folder {Path(self.folder).name}"

    def check_files(self) -> None:
        """Folder and table of labels, see :meth:`Source.check_files`."""
        folder, (labels, points) = check_folder(self.folder), self._tables()
        if labels is not None:
            check_table(folder / labels)
        if points is not None and not (folder / points).is_file():
            raise UserError(
                f"{folder / points}: there is no such file, set data.natural.points to the table "
                "of places, or to null"
            )

    def _tables(self) -> tuple[str | None, str | None]:
        """Tables of labels and places, without those that may be missing and are."""
        folder, points, labels = Path(self.folder), self.points, self.labels
        if points == POINTS_FILE and not (folder / points).is_file():
            points = None
        if points is not None and labels == LABELS_FILE and not (folder / labels).is_file():
            labels = None
        return labels, points

    def check(self, size: Size) -> None:
        """Checks what is chosen of the files, see :meth:`Source.check`."""
        Selection(self.axes, self.channel, self.z, self.position, self.frames)

    def read(
        self, size: Size, seed: int, splits: Sequence[str] = SPLITS
    ) -> tuple[ImageSet, list[Skipped]]:
        """Reads all files, see :meth:`Source.read`."""
        self.check_files()
        labels, points = self._tables()
        images, skipped = load_folder(
            Path(self.folder),
            size,
            labels=labels,
            points=points,
            reading=self.reading,
            on_error=self.on_error,
        )
        dealt = images.splits.astype("<U10")
        unassigned = dealt == ""
        if unassigned.all():
            shares = self.shares or {"train": 0.7, "validation": 0.15, "test": 0.15}
            by_itself = images.labelled
            if images.assisted is not None and self.assisted == "train":
                by_itself = by_itself & ~images.assisted
            dealt_by = seed if self.split_seed is None else self.split_seed
            dealt = split_by_group(images.groups, shares, dealt_by, by_itself)
        else:
            dealt[unassigned] = "train"
        images = replace(images, splits=dealt)
        _say_torn_time_lapses(images)
        if self.assisted == "train":
            cure = "data.natural.assisted: keep takes them"
            images = hide_assisted(images, dealt != "train", cure)
        images = keep_labels(images, self.labelled, seed)
        return in_splits(images, splits), skipped


def _say_torn_time_lapses(images: ImageSet) -> None:
    """Warns, once, of time-lapses that names number and no group holds together."""
    splits: dict[str, set[str]] = {}
    for name, group, split in zip(images.names, images.groups, images.splits, strict=True):
        series = numbered(Path(str(name))) if name == group else None
        if series:
            splits.setdefault(series[0], set()).add(str(split))
    torn = [series for series, found in splits.items() if len(found) > 1]
    if torn:
        more = f" and {len(torn) - 1} more" if len(torn) > 1 else ""
        log.warning(
            "%s%s: a time-lapse, by the names of its files, whose images are in several splits, so "
            "that scores may be too good: give them one group in labels.csv.",
            torn[0], more,
        )  # fmt: skip
