"""Images of several sources in one set, with cells of one size."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat

from cellzoo.data.copies import check_splits, fingerprints
from cellzoo.data.image_set import SPLITS, ImageSet, Skipped, column
from cellzoo.data.points import resize_points
from cellzoo.data.reading import Reading
from cellzoo.data.sources.folder import Folder
from cellzoo.data.sources.simulated import SIZE, SimulatedMicroscope
from cellzoo.data.sources.source import Source
from cellzoo.errors import UsageError, UserError
from cellzoo.images import Size, find_images, resize, sides
from cellzoo.section import Range, Section

_NEARLY = 1.15  # times which files of a folder may be larger or smaller than the first of them


class CellSet(Section):
    """One of the sources of :class:`Mixed`.

    Attributes:
        name: of the kind of images.
        diameter: of its cells, px of its files.
        least: images of fewer cells are left out, where 0 says that nobody marked their cells.
        images: where they come from. Files of a folder have one size, or nearly.
    """

    name: str
    diameter: PositiveFloat
    least: NonNegativeInt = 0
    images: Annotated[Folder | SimulatedMicroscope, Field(discriminator="source")]

    def native_size(self) -> tuple[int, int]:
        """Height and width of its images, px, as they are; of a folder those of its first one.

        Raises:
            UserError: the folder is not there, or holds no image that can be read.
        """
        if not self.images.reads_files:
            return SIZE, SIZE
        self.images.check_files()
        first_error = None
        for file in find_images([Path(self.images.folder)]):
            try:
                return next(iter(self.images.reading.reader([file]).read(file))).pixels.shape
            except UserError as error:  # it may be a mask of 1 bit, or a file to be skipped
                first_error = first_error or error
        raise first_error

    @contextmanager
    def naming_itself(self) -> Iterator[None]:
        """Lets errors name the keys of this set, where a source alone has them right below."""
        try:
            yield
        except UserError as error:
            message = re.sub(
                r"data\.natural\.(\w+)",
                lambda key: f"images.{key[1]} of {self.name} in data.natural.sets",
                str(error),
            )
            raise type(error)(message) from None


class Mixed(Source):
    """Labelled images of several kinds, in which a network always sees cells of one diameter.

    Each image is resized, so that its cells have that diameter, and lies in the upper left of an
    image of the model's size, whose rest has its mean grey level. Its kind is the name of its set.
    All sets have the same share of each training batch. Images without a count are left out.

    Attributes:
        diameter: of cells as the network sees them, px.
        jitter: times which cells of a training image may look larger or smaller, at most; larger
            only as far as there is room.
        diameters: least and most diameter of cells in images that a counter is meant for, px.
        sets: the sources.
        leave_out: names of those of which nothing is read: what is learned without them says how
            a counter does on images of a kind that it has not seen.
    """

    simulated: ClassVar[bool] = False
    kinds_share_equally: ClassVar[bool] = True

    source: Literal["mixed"] = "mixed"
    diameter: Annotated[float, Field(ge=4)] = 9.0
    jitter: Annotated[float, Field(ge=1)] = 1.25
    diameters: Range[PositiveFloat] = (8.0, 110.0)
    sets: Annotated[list[CellSet], Field(min_length=1)]
    leave_out: list[str] = []

    @property
    def scale_jitter(self) -> float:
        """As the recipe says."""
        return self.jitter

    @property
    def folders(self) -> tuple[Path, ...]:
        """Those of its sets."""
        return tuple(folder for each in self.used for folder in each.images.folders)

    @property
    def allows_copies(self) -> bool:
        """Whether one of its folders does; each of the others is looked at by itself."""
        return any(each.images.allows_copies for each in self.used if each.images.reads_files)

    def with_all_labels(self) -> Self:
        """The same of each folder."""
        sets = [
            each.model_copy(update={"images": each.images.with_all_labels()})
            if each.images.reads_files
            else each
            for each in self.sets
        ]
        return self.model_copy(update={"sets": sets})

    @property
    def reading(self) -> Reading:
        """Colour pictures are counted by their luminance."""
        return Reading(channel="luminance")

    @property
    def microscopy(self) -> str:
        """Several, which the files do not say."""
        return "several kinds"

    @property
    def used(self) -> list[CellSet]:
        """The sets that are not left out."""
        return [each for each in self.sets if each.name not in self.leave_out]

    def describe(self) -> str:
        """The names of the sets."""
        return ", ".join(each.name for each in self.used)

    def check_files(self) -> None:
        """Folders and tables of all sets, see :meth:`Source.check_files`."""
        for each in self.used:
            with each.naming_itself():
                each.images.check_files()

    def check(self, size: Size) -> None:
        """Checks names, and that simulated images fit; see :meth:`Source.check`."""
        names = [each.name for each in self.sets]
        for name in self.leave_out:
            if name not in names:
                raise UsageError(
                    f"data.natural.leave_out has {name}, which is none of {', '.join(names)}."
                )
        if len(set(names)) < len(names):
            raise UsageError("data.natural.sets has two sets of one name: rename one.")
        if not self.used:
            raise UsageError("data.natural.leave_out leaves no set: take one out of it.")
        for each in self.used:
            each.images.check(SIZE if not each.images.reads_files else size)
            if not each.images.reads_files:
                self._shape(each, (SIZE, SIZE), size)

    def read(
        self, size: Size, seed: int, splits: Sequence[str] = SPLITS
    ) -> tuple[ImageSet, list[Skipped]]:
        """Reads each set at its scale, see :meth:`Source.read`.

        Raises:
            UserError: an image has another size than others of its folder, images of several splits
                show the same, or see :meth:`Folder.read`.
        """
        parts, skipped = [], []
        for each in self.used:
            part, missing = self._read(each, size, seed, splits)
            parts.append(part)
            skipped += missing
        return ImageSet.join(parts), skipped

    def _read(
        self, each: CellSet, size: Size, seed: int, splits: Sequence[str]
    ) -> tuple[ImageSet, list[Skipped]]:
        source = each.images
        with each.naming_itself():
            native = each.native_size()
            if source.reads_files:
                source = source.model_copy(update={"size": "resize"})
            found, skipped = source.read(native, seed, splits)
        shape = self._shape(each, native, size)
        found = found.take(found.counts >= each.least)  # NaN, without a count, is not
        number = len(found)
        if each.images.reads_files:
            _check_sizes(each, found, native)
        images = np.empty((number, *sides(size)), np.float32)
        for canvas, image in zip(images, found.images, strict=True):
            canvas[:] = _placed(resize(image, shape), sides(size))
        if not source.allows_copies:
            check_splits(found, fingerprints(found.given))
        points = column([None] * number)
        for k in np.flatnonzero(found.has_points):
            points[k] = resize_points(found.points[k], native, shape)
        return (
            ImageSet(
                images=images,
                counts=found.counts,
                groups=np.array([f"{each.name}/{group}" for group in found.groups], str),
                names=np.array([f"{each.name}/{name}" for name in found.names], str),
                splits=found.splits,
                points=points,
                kinds=np.full(number, each.name),
                sizes=np.tile(native, (number, 1)),
                contents=np.tile(shape, (number, 1)),
                originals=column(found.images),
            ),
            skipped,
        )

    def _shape(self, each: CellSet, native: tuple[int, int], size: Size) -> tuple[int, int]:
        """Height and width of a set's images where cells have the wanted diameter."""
        shape = tuple(max(8, round(side * self.diameter / each.diameter)) for side in native)
        if any(side > room for side, room in zip(shape, sides(size), strict=True)):
            raise UserError(
                f"data.natural.sets: images of {each.name} have {shape[1]} x {shape[0]} px where "
                f"cells have {self.diameter:g} px, more than model.image_size: raise that, or "
                "lower data.natural.diameter."
            )
        return shape


def _check_sizes(each: CellSet, images: ImageSet, native: tuple[int, int]) -> None:
    """Sees to it that files have nearly one size, as all are made as large as the first."""
    times = images.sizes / native
    far = np.flatnonzero((np.maximum(times, 1 / times) > _NEARLY).any(axis=1))
    if len(far):
        height, width = images.sizes[far[0]]
        raise UserError(
            f"data.natural.sets: {images.names[far[0]]} of {each.name} has {width} x {height} px, "
            f"other images {native[1]} x {native[0]}: give each size a set of its own."
        )


def _placed(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image in the upper left of one that has its mean grey level elsewhere."""
    canvas = np.full(size, image.mean(), np.float32)
    canvas[: image.shape[0], : image.shape[1]] = image
    return canvas
