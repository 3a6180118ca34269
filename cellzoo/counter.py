"""Counters: whatever gives counts for grey images. Every verb that counts speaks to this alone."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from cellzoo.data.bbbc005 import ORIGINAL_SIZE
from cellzoo.errors import UserError
from cellzoo.images import Frame, resize, sides, to_unit

if TYPE_CHECKING:
    from cellzoo.serving.client import Connection


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
        """The frame as this counter takes it, float32 ``[h, w]`` in [0, 1], or a UserError."""

    def count(self, images: np.ndarray) -> Counts:
        """Counts of prepared images of one size, ``[n, h, w]``, or RefusedImages.

        A counter with an attribute ``window`` is asked for so many batches at the same time.
        """


class RunCounter:
    """The model of a run folder, a network or a classical counter.

    Args:
        run_folder: as `cellzoo fit` leaves it; the training need not be finished.
        selection: which checkpoint of a network, see :meth:`cellzoo.training.runs.Run.weights`.

    Attributes:
        run: the opened folder.
        network: the whole network; None for a classical counter.
        classical: the classical counter, see :data:`cellzoo.models.CLASSICAL`; None for a network.
        size: height and width in pixels of the images that it takes; one that segments also takes
            others, at the same scale, in tiles.

    Raises:
        UserError: it is no run folder, or no model has been saved there yet.
    """

    def __init__(self, run_folder: Path, selection: str = "best"):
        """Loads what was trained or fitted."""
        from cellzoo.training.runs import Run

        self.run = Run(run_folder)
        recipe = self.run.recipe
        self.network = self.classical = self.tiled = None
        if recipe.classical:
            self.classical = self.run.load_classical()
        else:
            from cellzoo.models.counting import TiledMaps, domain_counter
            from cellzoo.models.dcc import receptive_radius

            self.network = self.run.load_network(selection)
            self.models = {d: domain_counter(self.network, d) for d in self.network.input}
            if "natural_mask" in self.network.output:
                stages, convolutions = len(recipe.model.channels), recipe.model.convolutions
                margin = receptive_radius(stages, convolutions)
                self.tiled = TiledMaps(self.network, margin, 2**stages)
        self.name, self.version, self.size = recipe.name, self.run.version, recipe.image_size
        natural = recipe.data.natural
        self.axes = getattr(natural, "axes", None)
        self.channel = getattr(natural, "channel", None)
        # That of the best checkpoint; no errors of the others are kept to make theirs from.
        scores = self.run.validation_scores() if selection == "best" else {}
        self.half_width = scores.get("interval_half_width")

    def prepare(self, frame: Frame) -> np.ndarray:
        """Scales grey levels, and resizes if the recipe does; see :class:`Counter`."""
        natural = self.run.recipe.data.natural
        intensity = getattr(natural, "intensity", "dtype")
        image = to_unit(frame.pixels, intensity, name=str(frame.path))
        height, width = sides(self.size)
        if image.shape == (height, width):
            return image
        if self.tiled and natural.source == "bbbc005":
            # Any size, but cells as large as in training.
            shrunk = [side / of for side, of in zip((height, width), ORIGINAL_SIZE, strict=True)]
            shape = [max(1, round(s * by)) for s, by in zip(image.shape, shrunk, strict=True)]
            return resize(image, tuple(shape))
        if getattr(natural, "size", "error") == "resize":
            return resize(image, self.size)
        if self.tiled:
            return image
        raise UserError(
            f"{frame.path} is {image.shape[1]} x {image.shape[0]} px and {self.name} takes "
            f"{width} x {height}: crop it, or train with data.natural.size: resize."
        )

    def count(self, images: np.ndarray, domain: str = "natural") -> Counts:
        """See :class:`Counter`.

        Args:
            images: prepared images, float32 ``[n, h, w]``.
            domain: ``"synthetic"`` for synthetic images, which a Twin-VAE reads with the other half
                of its network; a model without one counts them as it counts natural ones.
        """
        half_width = self.half_width
        if self.network is None:
            raw = self.classical.count(images)
        elif self.tiled and images.shape[1:] != sides(self.size):
            raw = np.array([self.tiled.count(image) for image in images], np.float32)
            half_width = None  # the validation images had another size and other counts
        else:
            from cellzoo.models.counting import predict

            raw = predict(self.models.get(domain, self.models["natural"]), images)
        if half_width is None:
            unknown = np.full_like(raw, np.nan)
            return Counts(raw, unknown, unknown)
        return Counts(raw, np.maximum(raw - half_width, 0), np.maximum(raw + half_width, 0))

    def with_threshold(self, method: str) -> "RunCounter":
        """The same DCC with another threshold between its two halves; it promises no interval."""
        from cellzoo.models.counting import domain_counter
        from cellzoo.training.runs import build_network

        other = copy.copy(self)
        recipe = self.run.recipe
        model = recipe.model.model_copy(update={"threshold": method})
        other.network = build_network(recipe.model_copy(update={"model": model}))
        other.network.set_weights(self.network.get_weights())
        other.models = {"natural": domain_counter(other.network, "natural")}
        other.half_width = None
        return other

    @property
    def segments(self) -> bool:
        """Whether there is a mask to show, learned from masks."""
        return bool(self.tiled) or hasattr(self.classical, "segment")

    def segment(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Where the cells of a prepared image are; only if :attr:`segments`.

        Args:
            image: float32 ``[h, w]``, as :meth:`prepare` gives it.

        Returns:
            The mask, bool ``[h, w]``, and the probability that it comes from, float32 ``[h, w]``,
            which a classical counter does not have.
        """
        if self.tiled is None:
            return self.classical.segment(image) > 0, None
        from cellzoo.models.thresholds import Threshold

        probability = self.tiled.map("mask", image)
        model = self.run.recipe.model
        threshold = Threshold(
            "simple" if model.threshold == "none" else model.threshold,
            model.threshold_block,
            model.threshold_offset,
        )
        mask = np.asarray(threshold(probability[None]))[0] > 0
        return mask, probability


def load_counter(model: str, connection: "Connection | None" = None) -> Counter:
    """The counter that ``--model`` names.

    Args:
        model: a run folder, or ``HOST:PORT/NAME`` of a served model.
        connection: how to reach a served model; None: as it comes.

    Raises:
        UserError: there is nothing of that name.
    """
    if is_served(model):
        from cellzoo.serving.client import RemoteCounter, parse_address

        return RemoteCounter(parse_address(model), connection)
    path = Path(model)
    if not path.is_dir():
        raise UserError(
            f"There is no model {model}: name a run folder that `cellzoo fit` wrote, or "
            "HOST:PORT/NAME of a served model."
        )
    return RunCounter(path)


def is_served(model: str) -> bool:
    """Whether ``--model`` names a served model, for which no TensorFlow is needed."""
    from cellzoo.serving.client import parse_address

    return parse_address(model) is not None and not Path(model).exists()
