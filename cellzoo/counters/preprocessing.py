"""What happens to pixels before a network counts them, here, in an export and at a server."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from cellzoo.errors import UserError
from cellzoo.images import Frame, resize, resize_all, to_unit
from cellzoo.trust.out_of_distribution import OutOfDistribution

MIN_SIDE, MAX_SIDE = 8, 16384  # pixels of an image that a network is asked to count
METADATA_FILE = "assets.extra/cellzoo.json"  # in a SavedModel: what counting with it needs to know
FINGERPRINTS_FILE = "assets.extra/fingerprints.npz"  # what a scoring of a SavedModel needs to know
# What METADATA_FILE holds, over the network, signature and output: string [n], whatever it says, to
# the file's text n times.
METADATA_SIGNATURE = "metadata"
EARLIER_METADATA_SIGNATURE = "facts"
_PIXELS_AT_A_TIME = 2**20
_MAX_LONE_BYTES = 2**26  # a larger image fills a batch of its own

# What a counting signature of a SavedModel answers with, float32 [n] each, in the order of Columns.
OUTPUTS = ("count", "count_low", "count_high")
Columns = tuple[np.ndarray, np.ndarray, np.ndarray]  # counts, lower and upper ends, float32 [n]


@dataclass(frozen=True)
class Preprocessing:
    """How a counter's images are read, scaled and resized.

    Attributes:
        size: height and width in pixels that the network takes.
        resize: whether images of other sizes are resized to it, or refused.
        intensity: see :func:`cellzoo.images.to_unit`.
        axes: see :func:`cellzoo.images.read_frames`.
        channel: see :func:`cellzoo.images.read_frames`.
        original_size: height and width of the only other images that are resized; None: any.
        z: see :func:`cellzoo.images.read_frames`.
        pixel_size_um: width in micrometres of a pixel of the training files, before they were
            resized; None: not known.
    """

    size: tuple[int, int]
    resize: bool = False
    intensity: Literal["dtype"] | tuple[float, float] = "dtype"
    axes: str | None = None
    channel: int | str | None = None
    original_size: tuple[int, int] | None = None
    z: int | str | None = None
    pixel_size_um: float | None = None

    @classmethod
    def from_metadata(cls, metadata: dict[str, Any]) -> "Preprocessing":
        """From what a SavedModel says of itself, see :data:`METADATA_FILE`.

        Raises:
            KeyError, TypeError, ValueError: it says too little.
        """
        earlier = {"resize_from": "original_size"}
        found = metadata["preprocessing"] if "preprocessing" in metadata else metadata["intake"]
        keys = {
            earlier.get(key, key): tuple(value) if isinstance(value, list) else value
            for key, value in found.items()
        }
        return cls(**keys)

    @property
    def batch(self) -> int:
        """Images to count at a time: the feature maps of about a million pixels fit anywhere."""
        height, width = self.size
        return int(np.clip(_PIXELS_AT_A_TIME // (height * width), 1, 64))

    def prepare(self, frame: Frame, name: str, scaled: bool = False) -> np.ndarray:
        """Pixels for the counting graph: integers as they are, floats scaled to [0, 1].

        Args:
            frame: of any size and grey type.
            name: of the counter, for errors.
            scaled: the pixels are floats in [0, 1] already, which have no grey levels to scale.

        Raises:
            UserError: the counter cannot take the frame.
        """
        height, width = frame.pixels.shape
        resized = self.resize and self.original_size in (None, (height, width))
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
        return self.unit(frame, scaled)

    def unit(self, frame: Frame, scaled: bool = False) -> np.ndarray:
        """A frame's grey levels as float32 in [0, 1], in the frame's own size.

        Raises:
            UserError: they are floats beyond that, and no intensity says what is black and white.
        """
        intensity = "dtype" if scaled else self.intensity
        return to_unit(frame.pixels, intensity, name=str(frame.path))

    def fitted(self, frame: Frame, name: str, scaled: bool = False) -> np.ndarray:
        """A frame's grey levels as float32 in [0, 1], in the counter's size.

        Args:
            frame: see :meth:`prepare`.
            name: of the counter, for errors.
            scaled: see :meth:`prepare`.

        Raises:
            UserError: see :meth:`unit`, or the frame has another size and is not resized.
        """
        image = self.unit(frame, scaled)
        if image.shape == self.size:
            return image
        if self.resize:
            return resize(image, self.size)
        raise self.refusal(frame, name)

    def refusal(self, frame: Frame, name: str) -> UserError:
        """What to say of a frame of another size."""
        height, width = frame.pixels.shape
        taken = f"{self.size[1]} x {self.size[0]}"
        if self.original_size:
            taken += f" or {self.original_size[1]} x {self.original_size[0]}"
            cure = "crop it, or count with the run folder, which takes any size"
        else:
            cure = "crop it, or train with data.natural.size: resize"
        return UserError(f"{frame.path} is {width} x {height} px and {name} takes {taken}: {cure}.")

    def seen(self, images: np.ndarray, any_size: bool = False) -> np.ndarray:
        """Prepared images ``[n, h, w]`` as the network sees them: float32 in [0, 1], in its size.

        Args:
            images: as :meth:`prepare` gives each of them.
            any_size: images of other sizes have cells as large as those in training, and keep it.
        """
        unit = images if images.dtype.kind == "f" else to_unit(images, self.intensity)
        return unit if any_size else resize_all(unit, self.size)

    def few_bits(self, image: np.ndarray) -> str:
        """What to say of 16 bits of which a camera of 12, or fewer, left the upper ones empty."""
        most = image.max()
        if self.intensity != "dtype" or not most:
            return ""
        if image.dtype == np.uint16 and (bits := int(most).bit_length()) <= 12:
            return f"uses only the lower {bits} of 16 bits: scale it to the whole range"
        if image.dtype.kind == "f" and most < 1 / 16:  # scaled already, perhaps 8 dark bits
            return "uses only the lowest sixteenth of the grey levels: scale it to the whole range"
        return ""

    def count(self, functions: Mapping[str, Callable], images: np.ndarray) -> Columns:
        """Counts of prepared images.

        Args:
            functions: of :class:`cellzoo.counters.graph.CountingGraph`, here or behind a server,
                by pixel type, ``unit`` for floats.
            images: at least one, of one size and type, ``[n, h, w]``.
        """
        count = functions["unit" if images.dtype.kind == "f" else images.dtype.name]
        return count_in_parts(count, images, self.batch)


def out_of_distribution_of(metadata: dict[str, Any]) -> OutOfDistribution | None:
    """What a SavedModel says of its training images; None if it does not.

    Raises:
        KeyError, TypeError, ValueError: it is damaged.
    """
    earlier = metadata.get("familiarity")
    return OutOfDistribution.from_metadata(metadata.get("out_of_distribution", earlier))


def training_counts_of(metadata: dict[str, Any]) -> tuple[int, int] | None:
    """Least and most count of a SavedModel's training images; None if it does not say.

    Raises:
        TypeError, ValueError: it is damaged.
    """
    found = metadata.get("training_counts")
    if found is None:
        return None
    least, most = found
    return int(least), int(most)


def no_interval_of(metadata: dict[str, Any]) -> str:
    """Why a SavedModel gives no intervals; empty if it does."""
    if metadata.get("interval"):
        return ""
    return str(metadata.get("no_interval") or "too few labelled validation images or groups")


def without_interval(raw: np.ndarray) -> Columns:
    """Counts ``[n]`` for which no interval can be promised."""
    unknown = np.full_like(raw, np.nan)
    return raw, unknown, unknown


def count_in_parts(
    count: Callable[[np.ndarray], Mapping[str, Any]], images: np.ndarray, batch: int
) -> Columns:
    """Counts of images, a few at a time, the same wherever ``count`` runs.

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
        for column, key in zip(columns, OUTPUTS, strict=True):
            column.append(np.asarray(answer[key], np.float32)[: len(part)])
    raw, low, high = map(np.concatenate, columns)
    return raw, low, high
