"""What every model section has: the keys of a recipe's ``model``, and what a model can do.

A section is the model before it is built: it needs neither Keras nor TensorFlow until
:meth:`Network.build` or :meth:`Classical.fit` is called.
"""

import inspect
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

from cellzoo.section import Section

if TYPE_CHECKING:
    import keras
    import numpy as np

    from cellzoo.models.thresholds import Threshold
    from cellzoo.models.tiling import Tiling

Domain = Literal["natural", "synthetic"]
DOMAINS: tuple[Domain, ...] = ("natural", "synthetic")
ThresholdMethod = Literal["none", "simple", "adaptive_gaussian", "otsu"]


class ModelSection(Section):
    """A counter that a recipe can ask for by its ``name``.

    Each subclass has the key ``image_size``, or a class variable of that name: the side, or height
    and width, of the images to learn from, in pixels.
    """

    name: str
    classical: ClassVar[bool]
    # Each domain has a part of the network of its own.
    twin: ClassVar[bool] = False
    # Synthetic images help it to learn.
    takes_synthetic: ClassVar[bool] = False
    # Keys that say how it begins, learns and sees grey levels, not of which layers it is made.
    training_keys: ClassVar[frozenset[str]] = frozenset()

    def architecture(self) -> dict[str, Any]:
        """The keys that say of which layers it is made; an overlay leaves them as they are."""
        return self.model_dump(exclude=set(self.training_keys))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels of the images to learn from."""
        sides = self.image_size
        return (sides, sides) if isinstance(sides, int) else tuple(sides)

    @property
    def needs_masks(self) -> bool:
        """Whether it can only learn where training images have masks."""
        return False

    @property
    def masks_cure(self) -> str:
        """Where it :attr:`needs_masks`: what to set to do without, ``set model.head: additive``.

        Empty where there is no such key.
        """
        return ""

    @property
    def learns_from_unlabelled(self) -> bool:
        """Whether natural images without a count teach it something."""
        return False

    @property
    def segments(self) -> bool:
        """Whether it shows which pixels belong to cells."""
        return False

    @property
    def counts_alike_when_turned(self) -> bool:
        """Whether an image that is turned or mirrored has exactly the same count."""
        return False

    @property
    def reconstructs(self) -> bool:
        """Whether it has a decoder, so the output ``<domain>_reconstruction``."""
        return False

    @property
    def decodes_beyond_unit_range(self) -> bool:
        """Whether it decodes grey levels beyond [0, 1], of which there is no cross entropy."""
        return False

    @property
    def embeds(self) -> bool:
        """Whether it has the output ``<domain>_mean``: where an image lies among others."""
        return False

    def tiling(self) -> "Tiling | None":
        """How images of any size are cut for it; None: it takes images of :attr:`size` only."""
        return None

    def threshold_layer(self) -> "Threshold | None":
        """Makes a mask of the probability that it gives for each pixel; None: it gives none."""
        return None

    @property
    def thresholds(self) -> tuple[ThresholdMethod, ...]:
        """The methods of thresholding that :meth:`with_threshold` takes; none by default."""
        return ()

    def with_threshold(self, method: ThresholdMethod) -> Self:
        """The same network with another threshold; only if :attr:`thresholds` has the method."""
        raise NotImplementedError(f"{self.name} has no threshold.")

    def check(self) -> None:
        """Finds values that fit their keys but not each other.

        Raises:
            UsageError: the sentence names the key and the cure.
        """

    @classmethod
    def summary(cls) -> str:
        """One line on this kind of model: the first of its docstring."""
        return inspect.getdoc(cls).splitlines()[0]

    def describe(self) -> str:
        """Words for the model card: what this model is, in one sentence."""
        return self.summary()


class Network(ModelSection):
    """A Keras network, which the trainer trains."""

    classical: ClassVar[bool] = False

    @abstractmethod
    def build(
        self, domains: Sequence[Domain] = ("natural",), seed: int = 0, pretrained: bool = True
    ) -> "keras.Model":
        """Builds the network.

        Args:
            domains: ``("natural",)``, or with ``"synthetic"`` where the model takes such images.
            seed: of noise that it draws in training, such as dropout's. The first weights follow
                ``keras.utils.set_random_seed``.
            pretrained: read the file of trained weights that a key may name; False builds the same
                network with random ones, for others to be loaded into it.

        Returns:
            A functional model. Its inputs are a dict of the domains, float32 ``[batch, h, w]`` in
            [0, 1]; its outputs are a dict that has at least ``<domain>_count``, ``[batch]``.

        Raises:
            UserError: keys do not fit together, or trained weights cannot be had.
        """


class FittedCounter(Protocol):
    """What :meth:`Classical.fit` gives: a frozen dataclass of plain numbers, which JSON keeps."""

    def count(self, images: "np.ndarray") -> "np.ndarray":
        """Counts of images ``[n, h, w]`` in [0, 1]: float32 ``[n]``, not rounded."""

    def segment(self, image: "np.ndarray") -> "np.ndarray":
        """Regions of an image ``[h, w]``: int32 ``[h, w]``; only if the section segments."""


class Classical(ModelSection):
    """A counter without a network: it is fitted in one go, and its recipe has no training."""

    classical: ClassVar[bool] = True
    # The splits whose labels it may see. The test split is never among them: parameters tuned on
    # it would make its score worthless.
    fitted_on: ClassVar[tuple[Literal["train", "validation"], ...]] = ("train",)

    @abstractmethod
    def fit(self, images: "np.ndarray", counts: "np.ndarray") -> FittedCounter:
        """Fits it to labelled images.

        Args:
            images: ``[n, h, w]`` in [0, 1].
            counts: ``[n]``.

        Raises:
            UsageError: the keys do not fit these images.
        """

    @abstractmethod
    def load(self, parameters: Mapping[str, Any]) -> FittedCounter:
        """The fitted counter of these parameters, ``dataclasses.asdict`` of one.

        Raises:
            TypeError: they are of another model.
        """
