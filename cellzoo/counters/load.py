"""Counters of run folders and SavedModels, and the one that ``--model`` names."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cellzoo import zoo
from cellzoo.counters.base import FACTS_FILE, Counter, Counts, Intake
from cellzoo.data.sources.bbbc005 import ORIGINAL_SIZE
from cellzoo.errors import UserError
from cellzoo.files import damaged_file
from cellzoo.images import Frame, resize, sides, to_unit
from cellzoo.trust.familiarity import Familiarity
from cellzoo.trust.intervals import Interval

if TYPE_CHECKING:
    from cellzoo.counters.graph import CountingGraph
    from cellzoo.counters.served import Connection


class RunCounter:
    """The model of a run folder, a network or a classical counter.

    Args:
        run_folder: as `cellzoo fit` leaves it; the training need not be finished.
        selection: which checkpoint of a network, see :meth:`cellzoo.runs.Run.weights`.

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
        from cellzoo.runs import Run

        self.run = Run(run_folder)
        recipe = self.run.recipe
        self.network = self.classical = self.tiled = None
        if recipe.classical:
            self.classical = self.run.load_classical()
        else:
            from cellzoo.counters.network_parts import TiledMaps, domain_counter
            from cellzoo.models import TILINGS

            self.network = self.run.load_network(selection)
            self.models = {d: domain_counter(self.network, d) for d in self.network.input}
            if tiling := TILINGS.get(recipe.model.name):
                self.tiled = TiledMaps(self.network, tiling(**recipe.model.model_dump()))
        self.name = zoo.name_of(self.run.path) or recipe.name
        self.version, self.size = self.run.version, recipe.image_size
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
            from cellzoo.counters.graph import CountingGraph

            threshold = self._threshold() if self.segments else None
            views = self.run.recipe.count.views
            self._graph = CountingGraph(self.network, self.intake, self.interval, threshold, views)
        return self._graph

    def prepare(self, frame: Frame) -> np.ndarray:
        """Checks the size; scales and resizes what the network's graph does not; see Counter."""
        in_tiles = self.any_size and frame.pixels.shape != self.intake.size
        if not in_tiles and self.graph():
            return self.intake.prepare(frame, self.name)
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
            from cellzoo.counters.network_parts import predict

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
        from cellzoo.counters.network_parts import mean_over_views

        views = self.run.recipe.count.views
        return mean_over_views(lambda view: count(np.asarray(view)), images, views)

    def flags(self, images: np.ndarray) -> list[str]:
        """See :class:`Counter`."""
        return self.intake.flags(self.familiarity, images, any_size=self.any_size)

    def with_threshold(self, method: str) -> "RunCounter":
        """The same DCC with another threshold between its two halves; it promises no interval."""
        from cellzoo.counters.network_parts import domain_counter
        from cellzoo.runs import build_network

        other = copy.copy(self)
        recipe = self.run.recipe
        model = recipe.model.model_copy(update={"threshold": method})
        other.network = build_network(recipe.model_copy(update={"model": model}))
        other.network.set_weights(self.network.get_weights())
        other.models = {"natural": domain_counter(other.network)}
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
            image: ``[h, w]``, as :meth:`prepare` gives it.

        Returns:
            The mask, bool ``[h, w]``, and the probability that it comes from, float32 ``[h, w]``,
            which a classical counter does not have.
        """
        if self.classical is not None:
            return self.classical.segment(image) > 0, None
        probability = self.tiled.map("mask", self.intake.seen(image, self.any_size))
        mask = np.asarray(self._threshold()(probability[None]))[0] > 0
        return mask, probability

    def _threshold(self) -> Callable:
        """Probabilities to masks, as the recipe says."""
        from cellzoo.models.thresholds import Threshold

        model = self.run.recipe.model
        method = getattr(model, "threshold", "simple")
        return Threshold(
            "simple" if method == "none" else method,
            getattr(model, "threshold_block", 101),
            getattr(model, "threshold_offset", 0.0),
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


def version_number(folder: Path) -> int | None:
    """The version that a folder's name is: digits that fit in 64 bits; None: it is none."""
    number = int(folder.name) if folder.name.isascii() and folder.name.isdigit() else None
    return None if number is None or number >= 2**63 else number


def newest_version(folder: Path) -> Path | None:
    """The highest of the folders named by a version number that a SavedModel is in."""
    versions = [path.parent for path in folder.glob("*/saved_model.pb")]
    versions = [path for path in versions if version_number(path) is not None]
    return max(versions, key=version_number, default=None)


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
        from cellzoo.counters.served import RemoteCounter, parse_address

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
    from cellzoo.counters.served import parse_address

    return parse_address(model) is not None and not Path(model).exists()
