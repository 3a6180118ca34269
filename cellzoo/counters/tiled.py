"""Counters whose network sees a neighbourhood only: images of any size, tile by tile."""

import copy
from dataclasses import replace
from functools import partial

import keras
import numpy as np

from cellzoo.counters.network import NetworkCounter
from cellzoo.counters.network_parts import domain_counter, predict
from cellzoo.counters.preprocessing import Columns, without_interval
from cellzoo.counters.tiled_maps import TiledMaps
from cellzoo.images import Frame, resize
from cellzoo.models.section import Domain
from cellzoo.models.tiling import Tiling
from cellzoo.runs import Run, build_network


class TiledCounter(NetworkCounter):
    """The network of a run folder, counting images of other sizes in tiles.

    See :class:`cellzoo.counters.of_run.RunCounter`.

    Attributes:
        any_size: images of other sizes are counted so, with cells as large as in training;
            otherwise they are resized or refused, as the recipe says.
    """

    def __init__(self, run: Run, selection: str = "best"):
        """Loads the weights."""
        super().__init__(run, selection)
        recipe = run.recipe
        self.can_segment = recipe.model.segments
        self.has_threshold = bool(recipe.model.thresholds)
        self._threshold = recipe.model.threshold_layer()
        tiling = recipe.model.tiling()
        self._tiled = {d: _tiled_maps(self.network, tiling, d) for d in self.network.input}
        self.can_locate = "density" in self.tiled.functions
        # Where all originals have one size, it says how large cells are once these are resized.
        original = recipe.data.natural.reading.original_size
        self.any_size = original is not None or not self.preprocessing.resize
        self.preprocessing = replace(self.preprocessing, original_size=original)

    @property
    def tiled(self) -> TiledMaps:
        """The network, tile by tile; of a twin its natural half."""
        return self._tiled["natural"]

    def _prepare(self, frame: Frame, scaled: bool) -> np.ndarray:
        known, original = self.preprocessing.pixel_size_um, self.preprocessing.original_size
        # Then it is a part of an original, not one that was resized already.
        at_scale = original is not None and known is not None and frame.pixel_size_um == known
        fits = frame.pixels.shape == self.preprocessing.size and not at_scale
        if not self.any_size or fits:
            return super()._prepare(frame, scaled)
        image = self.preprocessing.unit(frame, scaled)
        if original is None:
            return image
        sizes = zip(image.shape, self.preprocessing.size, original, strict=True)
        return resize(image, tuple(max(1, round(side * to / of)) for side, to, of in sizes))

    def _count(self, images: np.ndarray, domain: Domain) -> Columns:
        if not self.any_size or images.shape[1:] == self.preprocessing.size:
            return super()._count(images, domain)
        # No interval: the validation images had another size and other counts.
        tiled = self._tiled.get(domain, self.tiled)
        return without_interval(self._averaged(partial(_counted, tiled), images))

    def _segment(self, prepared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        (image,) = self.preprocessing.seen(prepared[None], self.any_size)
        probability = self.tiled.map("mask", image)
        mask = np.asarray(self._threshold(probability[None]))[0] > 0
        return mask, probability

    def _density(self, prepared: np.ndarray) -> np.ndarray:
        (image,) = self.preprocessing.seen(prepared[None], self.any_size)
        return self.tiled.map("density", image) * self.tiled.tiling.grid_cell**2

    def with_threshold(self, method: str) -> "TiledCounter":
        """See :meth:`cellzoo.counters.base.Counter.with_threshold`; it promises no interval."""
        other = copy.copy(self)
        recipe = self.run.recipe
        model = recipe.model.with_threshold(method)
        other.network = build_network(recipe.model_copy(update={"model": model}))
        other.network.set_weights(self.network.get_weights())
        other._models = {"natural": domain_counter(other.network)}
        other._tiled = {"natural": _tiled_maps(other.network, self.tiled.tiling)}
        other._threshold = model.threshold_layer()
        other.interval, other._graph = None, None
        other.no_interval = "another threshold than in training"
        return other


def _counted(tiled: TiledMaps, images: np.ndarray) -> np.ndarray:
    return np.array([tiled.count(image) for image in images], np.float32)


def _tiled_maps(network: keras.Model, tiling: Tiling, domain: Domain = "natural") -> TiledMaps:
    """The network taken apart into one model per map."""
    image = network.input[domain]
    models = {
        name: keras.Model(image, network.output[f"{domain}_{name}"])
        for name in ("mask", "density")
        if f"{domain}_{name}" in network.output
    }
    return TiledMaps(
        tiling,
        {name: model.predict_on_batch for name, model in models.items()},
        image.shape[1:] if None not in image.shape[1:] else None,
        partial(predict, domain_counter(network, domain)),
    )
