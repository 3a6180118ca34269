"""Counters: whatever gives counts for grey images. Every verb that counts speaks to this alone."""

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from cellzoo import zoo
from cellzoo.data.bbbc005 import ORIGINAL_SIZE
from cellzoo.errors import UserError
from cellzoo.evaluation.familiarity import Familiarity
from cellzoo.evaluation.intervals import Interval
from cellzoo.files import damaged_file
from cellzoo.images import Frame, resize, sides, to_unit

if TYPE_CHECKING:
    from cellzoo.counting_graph import CountingGraph
    from cellzoo.serving.client import Connection

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

        A counter with an attribute ``window`` is asked for so many batches at the same time.
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
            raise UserError(
                f"{frame.path} is {width} x {height} px and {name} takes sides of {MIN_SIDE} to "
                f"{MAX_SIDE} px: crop it."
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
            unit = image if image.dtype.kind == "f" else to_unit(image, self.intensity)
            flags.append(familiarity.reason(unit if any_size else resize(unit, self.size)))
        return flags

    def count(self, functions: Mapping[str, Callable], images: np.ndarray) -> Counts:
        """Counts of prepared images ``[n, h, w]``.

        Args:
            functions: of :class:`cellzoo.counting_graph.CountingGraph`, here or behind a server,
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


class RunCounter:
    """The model of a run folder, a network or a classical counter.

    Args:
        run_folder: as `cellzoo fit` leaves it; the training need not be finished.
        selection: which checkpoint of a network, see :meth:`cellzoo.training.runs.Run.weights`.

    Attributes:
        run: the opened folder.
        network: the whole network; None for a classical counter.
        classical: the classical counter, see :data:`cellzoo.models.CLASSICAL`; None for a network.
        size: height and width in pixels of the images that it was trained on.
        tiled: counts images of other sizes in tiles; None: this model cannot.
        any_size: whether such images are counted so, with cells as large as in training; otherwise
            they are resized or refused, as the recipe says.

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
            from cellzoo.models import TILINGS
            from cellzoo.models.counting import TiledMaps, domain_counter

            self.network = self.run.load_network(selection)
            self.models = {d: domain_counter(self.network, d) for d in self.network.input}
            if tiling := TILINGS.get(recipe.model.name):
                self.tiled = TiledMaps(self.network, tiling(**recipe.model.model_dump()))
        self.name, self.version, self.size = recipe.name, self.run.version, recipe.image_size
        natural = recipe.data.natural
        resized = getattr(natural, "size", "error") == "resize"
        # BBBC005's own images are resized, which tells how large cells are in others.
        self._shrunk = natural.source == "bbbc005"
        self.any_size = self.tiled is not None and (self._shrunk or not resized)
        self.axes = getattr(natural, "axes", None)
        self.channel = getattr(natural, "channel", None)
        # That of the best checkpoint; no errors of the others are kept to make theirs from.
        scores = self.run.validation_scores() if selection == "best" else {}
        self.interval = Interval.from_facts(scores)
        self.familiarity = self.run.familiarity()
        self.intake = Intake(
            sides(self.size),
            resized,
            getattr(natural, "intensity", "dtype"),
            self.axes,
            self.channel,
            ORIGINAL_SIZE if self.any_size and self._shrunk else None,
        )
        self._graph: CountingGraph | None = None

    def graph(self) -> "CountingGraph | None":
        """Raw pixels to counts as `export` writes it; None without a network in TensorFlow."""
        import keras

        if self._graph is None and self.network and keras.backend.backend() == "tensorflow":
            from cellzoo.counting_graph import CountingGraph

            threshold = self._threshold() if self.segments else None
            views = self.run.recipe.count.views
            self._graph = CountingGraph(self.network, self.intake, self.interval, threshold, views)
        return self._graph

    def prepare(self, frame: Frame) -> np.ndarray:
        """Checks the size; scales and resizes what the network's graph does not; see Counter."""
        in_tiles = self.any_size and frame.pixels.shape != self.intake.size
        if not in_tiles and not self.segments and self.graph():
            return self.intake.prepare(frame, self.name)
        # Pictures of a segmentation show the scaled image, and tiles are cut from it.
        image = to_unit(frame.pixels, self.intake.intensity, name=str(frame.path))
        if in_tiles:
            return self._at_training_scale(image)
        if image.shape == self.intake.size:
            return image
        if self.intake.resize:
            return resize(image, self.size)
        raise self.intake.refusal(frame, self.name)

    def _at_training_scale(self, image: np.ndarray) -> np.ndarray:
        """An image of any size with cells as large as in training."""
        if not self._shrunk:
            return image
        sizes = zip(image.shape, self.intake.size, ORIGINAL_SIZE, strict=True)
        return resize(image, tuple(max(1, round(side * to / of)) for side, to, of in sizes))

    def count(self, images: np.ndarray, domain: str = "natural") -> Counts:
        """See :class:`Counter`.

        Args:
            images: prepared images ``[n, h, w]``: raw as uint8 or uint16, or float32 in [0, 1] as
                training and evaluation load them, and as they are counted in tiles.
            domain: ``"synthetic"`` for synthetic images, which a Twin-VAE reads with the other half
                of its network; a model without one counts them as it counts natural ones.
        """
        interval = self.interval
        if self.network is None:
            raw = self.classical.count(images)
        elif self.any_size and images.shape[1:] != self.intake.size:
            raw = self._mean_over_views(self._count_tiled, images)
            interval = None  # the validation images had another size and other counts
        elif domain == "natural" and (graph := self.graph()):
            return self.intake.count(graph.local_functions, images)
        else:
            from cellzoo.models.counting import predict

            model = self.models.get(domain, self.models["natural"])
            raw = self._mean_over_views(lambda view: predict(model, view), images)
        if interval is None:
            unknown = np.full_like(raw, np.nan)
            return Counts(raw, unknown, unknown)
        return Counts(raw, *interval.ends(raw))

    def _count_tiled(self, images: np.ndarray) -> np.ndarray:
        return np.array([self.tiled.count(image) for image in images], np.float32)

    def _mean_over_views(self, count: Callable, images: np.ndarray) -> np.ndarray:
        """Counts as the graph averages them."""
        from cellzoo.models.counting import mean_over_views

        views = self.run.recipe.count.views
        return mean_over_views(lambda view: count(np.asarray(view)), images, views)

    def flags(self, images: np.ndarray) -> list[str]:
        """See :class:`Counter`."""
        return self.intake.flags(self.familiarity, images, any_size=self.any_size)

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
        other.interval, other._graph = None, None
        return other

    @property
    def segments(self) -> bool:
        """Whether there is a mask to show, learned from masks."""
        if self.network is None:
            return hasattr(self.classical, "segment")
        return "natural_mask" in self.network.output

    def segment(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Where the cells of a prepared image are; only if :attr:`segments`.

        Args:
            image: float32 ``[h, w]``, as :meth:`prepare` gives it.

        Returns:
            The mask, bool ``[h, w]``, and the probability that it comes from, float32 ``[h, w]``,
            which a classical counter does not have.
        """
        if self.classical is not None:
            return self.classical.segment(image) > 0, None
        probability = self.tiled.map("mask", image)
        mask = np.asarray(self._threshold()(probability[None]))[0] > 0
        return mask, probability

    def _threshold(self) -> Callable:
        """Probabilities to masks, as the recipe says."""
        from cellzoo.models.thresholds import Threshold

        model = self.run.recipe.model
        return Threshold(
            "simple" if model.threshold == "none" else model.threshold,
            model.threshold_block,
            model.threshold_offset,
        )


class SavedModelCounter:
    """A SavedModel that `cellzoo export` wrote. Needs TensorFlow, but neither Keras nor the run.

    Args:
        folder: ``saved_models/NAME``, whose newest version counts, or ``saved_models/NAME/3``.

    Attributes:
        facts: what :data:`FACTS_FILE` says.
        size: height and width in pixels of the images that the network takes.

    Raises:
        UserError: it is no such SavedModel, or damaged.
    """

    network = classical = None  # there is nothing inside to look at
    segments = False

    def __init__(self, folder: Path):
        """Loads the graph."""
        import tensorflow as tf

        folder = newest_version(folder) or folder
        damaged = damaged_file(folder)
        if damaged:
            raise UserError(
                f"{folder / damaged} is not as `cellzoo export` wrote it: copy the folder anew, or "
                "export the run again."
            )
        try:
            self.facts: dict[str, Any] = json.loads((folder / FACTS_FILE).read_text("utf-8"))
            self.intake = Intake.from_facts(self.facts)
            self.familiarity = Familiarity.from_facts(self.facts)
            self._model = tf.saved_model.load(str(folder))
            self._functions = {
                kind: getattr(self._model, f"count_{kind}") for kind in ("uint8", "uint16", "unit")
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{folder} is no SavedModel that `cellzoo export` wrote, or it is damaged "
                f"({type(error).__name__}): export the run again."
            ) from error
        except tf.errors.OpError as error:
            raise UserError(f"{folder} is damaged: export the run again.") from error
        self.name, self.size = self.facts["name"], self.intake.size
        self.version = folder.resolve().name
        self.axes, self.channel = self.intake.axes, self.intake.channel

    def prepare(self, frame: Frame) -> np.ndarray:
        """See :class:`Counter`."""
        return self.intake.prepare(frame, self.name)

    def flags(self, images: np.ndarray) -> list[str]:
        """See :class:`Counter`."""
        return self.intake.flags(self.familiarity, images)

    def count(self, images: np.ndarray) -> Counts:
        """See :meth:`RunCounter.count`; natural images only."""
        return self.intake.count(self._functions, images)


def newest_version(folder: Path) -> Path | None:
    """The highest of the folders named by an integer that a SavedModel is in."""
    versions = [path.parent for path in folder.glob("*/saved_model.pb")]
    versions = [path for path in versions if path.name.isascii() and path.name.isdigit()]
    return max(versions, key=lambda path: int(path.name), default=None)


def is_saved_model(folder: Path) -> bool:
    """Whether ``folder`` is a SavedModel or holds versions of one."""
    return (folder / "saved_model.pb").is_file() or newest_version(folder) is not None


def load_counter(model: str, connection: "Connection | None" = None) -> Counter:
    """The counter that ``--model`` names.

    Args:
        model: a run folder, a SavedModel (``saved_models/NAME`` or one of its versions),
            ``zoo:NAME``, or ``HOST:PORT/NAME`` of a served model.
        connection: how to reach a served model; None: as it comes.

    Raises:
        UserError: there is nothing of that name.
    """
    if is_served(model):
        from cellzoo.serving.client import RemoteCounter, parse_address

        return RemoteCounter(parse_address(model), connection)
    path = zoo.find(model)
    if not path.is_dir():
        raise UserError(
            f"There is no model {model}: name a run folder that `cellzoo fit` wrote, a SavedModel "
            "that `cellzoo export` wrote, zoo:NAME, or HOST:PORT/NAME of a served model."
        )
    if is_saved_model(path):
        return SavedModelCounter(path)
    return RunCounter(path)


def is_served(model: str) -> bool:
    """Whether ``--model`` names a served model, for which no TensorFlow is needed."""
    from cellzoo.serving.client import parse_address

    return parse_address(model) is not None and not Path(model).exists()
