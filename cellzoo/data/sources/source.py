"""What every source of natural images can be asked."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from cellzoo.data.image_set import SPLITS, ImageSet, Skipped
from cellzoo.data.reading import AS_IT_IS, Reading
from cellzoo.data.splits import choose_labelled, hide_labels
from cellzoo.errors import UserError
from cellzoo.images import Size
from cellzoo.section import Section


class Source(Section):
    """A recipe's section ``data.natural``: where its natural images come from.

    ``source`` is the key by which a recipe names the class. A source that reads files has the keys
    ``folder``, ``labelled`` and ``on_error``, too.
    """

    simulated: ClassVar[bool]
    """Whether the images are simulated, which is said wherever a number from them is shown."""

    kinds_share_equally: ClassVar[bool] = False
    """Whether each kind of images has the same share of each training batch."""

    group_name: ClassVar[str] = "groups"
    """What the images of one group share, in the plural: chambers, layouts."""

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where its files lie; none where all images are drawn anew for each training."""
        return ()

    @property
    def reads_files(self) -> bool:
        """Whether there are such folders, whose images are in the same splits ever after."""
        return bool(self.folders)

    @property
    def allows_copies(self) -> bool:
        """Whether images of different splits may show the same; drawn ones never do."""
        return True

    @property
    def has_label_table(self) -> bool:
        """Whether counts and groups are in a table that the user can edit."""
        return False

    @property
    def skips_broken_files(self) -> bool:
        """Whether a file that cannot be read is passed over."""
        return False

    @property
    def keeps_all_labels_hidden(self) -> bool:
        """Whether no training image keeps its label: synthetic ones alone say what a count is."""
        return False

    @property
    def checks_with_assisted(self) -> bool:
        """Whether labels made with a model's count in view check models, too."""
        return False

    @property
    def scale_jitter(self) -> float | None:
        """Times which cells of a training image may look larger or smaller; None: they do not."""
        return None

    @property
    def reading(self) -> Reading:
        """How files become images; other files are read so, too, when the model counts them."""
        return AS_IT_IS

    @property
    @abstractmethod
    def microscopy(self) -> str:
        """How the images were taken, in words that say so if they are simulated."""

    @abstractmethod
    def describe(self) -> str:
        """Which images these are, in a few words that say so if they are simulated."""

    def check_files(self) -> None:  # noqa: B027, most have none
        """Looks whether the folder is there, and its table, without reading them.

        Raises:
            UserError: one of them is not.
        """

    def check(self, size: Size) -> None:
        """Finds values that fit their keys but cannot be used, without loading an image.

        Args:
            size: side, or height and width, in pixels that the model takes.

        Raises:
            UsageError: one cannot.
        """

    @abstractmethod
    def read(
        self, size: Size, seed: int, splits: Sequence[str] = SPLITS
    ) -> tuple[ImageSet, list[Skipped]]:
        """What :meth:`load` gives, whatever is labelled."""

    def load(
        self, size: Size, seed: int, splits: Sequence[str] = SPLITS
    ) -> tuple[ImageSet, list[Skipped]]:
        """The natural images of a recipe.

        Args:
            size: side, or height and width, in pixels that the model takes.
            seed: of the simulation, or of splits and the choice of labels.
            splits: those wanted; training asks for no test image.

        Returns:
            The images, float32 ``[n, h, w]`` of that size in [0, 1], each in a split, and the files
            skipped.

        Raises:
            UserError: a file or a label cannot be used, or nothing labelled is in a split wanted
                for training or validation.
            UsageError: simulated images come in another size, or cannot be drawn so.
        """
        images, skipped = self.read(size, seed, splits)
        for split in ("validation",) if self.keeps_all_labels_hidden else ("train", "validation"):
            if split in splits and not images.of(split).labelled.any():
                raise UserError(
                    f"No {split} image of data.natural has a count: label some, or mark some as "
                    f"{split} in the split column of labels.csv."
                )
        return images, skipped

    def with_all_labels(self) -> Self:
        """The same source, of which no image hides its count."""
        return self.model_copy(update={"labelled": None})

    def as_stored(self) -> Self:
        """The same source, whose 16 bits are not spread where a camera used fewer of them."""
        return self

    def simulate(self, number: int, size: Size, seed: int) -> ImageSet:
        """Images such as these, but of chambers or layouts that no split holds.

        Args:
            number: of images, which all have their count.
            size: side, or height and width, in pixels.
            seed: the recipe's.

        Raises:
            NotImplementedError: the source reads files.
        """
        raise NotImplementedError(f"{type(self).__name__} reads files")


def check_folder(folder: str) -> Path:
    """The folder of a source.

    Raises:
        UserError: there is none.
    """
    if not Path(folder).is_dir():
        raise UserError(f"{folder}: there is no such folder, set data.natural.folder to yours.")
    return Path(folder)


def keep_labels(images: ImageSet, labelled: int | float | None, seed: int) -> ImageSet:
    """Hides the labels of training images but for a number or share of them; None keeps all.

    Raises:
        UserError: more labels are asked for than exist.
    """
    train = images.splits == "train"
    keep = images.labelled.copy()
    keep[train] = choose_labelled(images.counts[train], images.groups[train], labelled, seed)
    return hide_labels(images, keep)


def in_splits(images: ImageSet, splits: Sequence[str]) -> ImageSet:
    """The images of these splits."""
    return images.take(np.isin(images.splits, splits))
