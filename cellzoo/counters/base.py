"""What goes into a counter and what comes out, wherever the counting runs: here or on a server."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from cellzoo.errors import UserError
from cellzoo.images import Frame, resize, to_unit
from cellzoo.trust.familiarity import Familiarity

MIN_SIDE, MAX_SIDE = 8, 16384  # pixels of an image that a network is asked to count
FACTS_FILE = "assets.extra/cellzoo.json"  # in a SavedModel: what counting with it needs to know
# The same over the network: string [n], whatever it says, to `facts`, the file's text n times.
FACTS_SIGNATURE = "facts"
_PIXELS_AT_A_TIME = 2**20
_MAX_LONE_BYTES = 2**26  # a larger image fills a batch of its own


class RefusedImages(UserError):
    """A counter will not count at least one image of a batch; the others may be sound."""


@dataclass(frozen=True)
class Counts:
    """Counts of a batch of images, each array float32 ``[n]``.

    Attributes:
        raw: counts before rounding.
        low: lower ends of the 95 % intervals; NaN where none can be promised.
        high: their upper ends.
    """

    raw: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Counter(Protocol):
    """Counts cells in grey images.

    Attributes:
        name: of the model.
        version: of the model, or its run folder's name.
        axes: of the TIFF stacks it was trained on, where the files did not say.
        channel: that it was trained on, of files with several.
    """

    name: str
    version: str
    axes: str | None
    channel: int | None

    def prepare(self, frame: Frame) -> np.ndarray:
        """The frame as this counter takes it, ``[h, w]``, or a UserError.

        Either raw grey levels as uint8 or uint16, or float32 in [0, 1], already scaled.
        """

    def count(self, images: np.ndarray) -> Counts:
        """Counts of prepared images of one size, ``[n, h, w]``, or RefusedImages.

        A counter with an attribute ``window`` is asked for so many batches at the same time. If it
        has a method ``close``, an interrupt calls that to end them.
        """

    def flags(self, images: np.ndarray) -> list[str]:
        """For each prepared image ``[n, h, w]`` why it is unlike the training images.

        Empty where nothing is noticed, or where nothing is known of the training images.
        """


@dataclass(frozen=True)
class Intake:
    """How a network's images are read.

    Attributes:
        size: height and width in pixels that the network takes.
        resize: whether images of other sizes are resized to it, or refused.
        intensity: see :func:`cellzoo.images.to_unit`.
        axes: see :func:`cellzoo.images.read_frames`.
        channel: see :func:`cellzoo.images.read_frames`.
        resize_from: height and width of the only other images that are resized; None: any.
    """

    size: tuple[int, int]
    resize: bool = False
    intensity: Literal["dtype"] | tuple[float, float] = "dtype"
    axes: str | None = None
    channel: int | None = None
    resize_from: tuple[int, int] | None = None

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> "Intake":
        """From what a SavedModel says of itself, see :data:`FACTS_FILE`.

        Raises:
            KeyError, TypeError, ValueError: it says too little.
        """
        read = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in facts["intake"].items()
        }
        return cls(**read)

    @property
    def batch(self) -> int:
        """Images to count at a time: the feature maps of about a million pixels fit anywhere."""
        height, width = self.size
        return int(np.clip(_PIXELS_AT_A_TIME // (height * width), 1, 64))

    def prepare(self, frame: Frame, name: str) -> np.ndarray:
        """Pixels for the counting graph: integers as they are, floats scaled to [0, 1].

        Raises:
            UserError: the network called ``name`` cannot take the frame.
        """
        height, width = frame.pixels.shape
        resized = self.resize and self.resize_from in (None, (height, width))
        if not resized and (height, width) != self.size:
            raise self.refusal(frame, name)
        if not MIN_SIDE <= min(height, width) <= max(height, width) <= MAX_SIDE:
            cure = "crop it" if max(height, width) > MAX_SIDE else "give it a wider border"
            raise UserError(
                f"{frame.path} is {width} x {height} px and {name} takes sides of {MIN_SIDE} to "
                f"{MAX_SIDE} px: {cure}."
            )
        if frame.pixels.dtype in (np.uint8, np.uint16):
            return frame.pixels
        return to_unit(frame.pixels, self.intensity, name=str(frame.path))

    def refusal(self, frame: Frame, name: str) -> UserError:
        """What to say of a frame of another size."""
        height, width = frame.pixels.shape
        taken = f"{self.size[1]} x {self.size[0]}"
        if self.resize_from:
            taken += f" or {self.resize_from[1]} x {self.resize_from[0]}"
            cure = "crop it, or count with the run folder, which takes any size"
        else:
            cure = "crop it, or train with data.natural.size: resize"
        return UserError(f"{frame.path} is {width} x {height} px and {name} takes {taken}: {cure}.")

    def flags(
        self, familiarity: Familiarity | None, images: np.ndarray, any_size: bool = False
    ) -> list[str]:
        """See :meth:`Counter.flags`; the same wherever the images are counted.

        Args:
            familiarity: of the counter; None: nothing is known.
            images: prepared, ``[n, h, w]``.
            any_size: images of other sizes have cells as large as those in training, and are not
                resized to look at them.
        """
        if familiarity is None:
            return [""] * len(images)
        # One by one: sums over many images would be rounded otherwise.
        flags = []
        for image in images:
            flag = familiarity.reason(self.seen(image, any_size))
            flag = self._few_bits(image) or flag if flag else ""
            if self.resize and image.shape != self.size:  # else it may have been resized already
                flag = familiarity.size_reason(*image.shape) or flag
            flags.append(flag)
        return flags

    def seen(self, image: np.ndarray, any_size: bool = False) -> np.ndarray:
        """A prepared image ``[h, w]`` as the network sees it: float32 in [0, 1], in its size.

        Args:
            image: as :meth:`prepare` gives it.
            any_size: it keeps its own size, see :meth:`flags`.
        """
        unit = image if image.dtype.kind == "f" else to_unit(image, self.intensity)
        return unit if any_size else resize(unit, self.size)

    def _few_bits(self, image: np.ndarray) -> str:
        """What to say of 16 bits of which a camera of 12, or fewer, left the upper ones empty."""
        most = image.max()
        if self.intensity != "dtype" or not most:
            return ""
        if image.dtype == np.uint16 and (bits := int(most).bit_length()) <= 12:
            return f"uses only the lower {bits} of 16 bits: scale it to the whole range"
        if image.dtype.kind == "f" and most < 1 / 16:  # scaled already, perhaps 8 dark bits
            return "uses only the lowest sixteenth of the grey levels: scale it to the whole range"
        return ""

    def count(self, functions: Mapping[str, Callable], images: np.ndarray) -> Counts:
        """Counts of prepared images ``[n, h, w]``.

        Args:
            functions: of :class:`cellzoo.counters.graph.CountingGraph`, here or behind a server,
                by pixel type, ``unit`` for floats.
            images: of one size and type.
        """
        if not len(images):
            return Counts(*(np.zeros(0, np.float32) for _ in range(3)))
        count = functions["unit" if images.dtype.kind == "f" else images.dtype.name]
        if images.dtype.kind == "f":
            images = images.astype(np.float32)
        return count_in_parts(count, images, self.batch)


def count_in_parts(
    count: Callable[[np.ndarray], Mapping[str, Any]], images: np.ndarray, batch: int
) -> Counts:
    """Counts of images, so many at a time, the same wherever ``count`` runs.

    A lone image would be a vector where two are a matrix, and be rounded differently: it is counted
    beside itself, so that its count does not depend on who else asks a server at that moment.

    Args:
        count: images ``[n, h, w]`` to ``count``, ``count_low`` and ``count_high``.
        images: at least one, ``[n, h, w]``.
        batch: images to count at a time.
    """
    columns: list[list[np.ndarray]] = [[], [], []]
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        lone = len(part) == 1 and part.nbytes <= _MAX_LONE_BYTES
        answer = count(np.concatenate([part, part]) if lone else part)
        for column, key in zip(columns, ("count", "count_low", "count_high"), strict=True):
            column.append(np.asarray(answer[key])[: len(part)])
    return Counts(*map(np.concatenate, columns))
