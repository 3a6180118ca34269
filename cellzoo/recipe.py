"""Recipes: YAML files that say everything about an experiment, checked before anything runs.

The sections stand in pipeline order and each holds the keyword arguments of one function, named in
its class below; ``tests/test_recipe.py`` holds keys and defaults to that function's signature.
"""

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from cellzoo import shipped_recipes
from cellzoo.data.augment import Augment
from cellzoo.data.section import Data
from cellzoo.data.sources import SOURCES
from cellzoo.errors import UsageError
from cellzoo.scores.table import COUNT_SCORES
from cellzoo.section import ImageSize, Pixels, Section, Share, _seconds

# The sections that say how a network learns and counts.
NETWORK_SECTIONS = ("augment", "loss", "train", "count")


class TwinVAE(Section):
    """Arguments of :func:`cellzoo.models.twinvae.twinvae`."""

    name: Literal["twinvae"]
    channels: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (32, 64, 128, 256)
    shared_channels: PositiveInt = 512
    latent: PositiveInt = 256
    regressor: list[PositiveInt] = [256, 128]
    regressor_input: Literal["latent", "shared_decoder"] = "latent"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    latent_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    leakiness: NonNegativeFloat = 0.2
    initializer: Literal[
        "orthogonal", "he_normal", "he_uniform", "glorot_normal", "glorot_uniform"
    ] = "orthogonal"
    center: bool = False


class TwinVAESpatial(Section):
    """Arguments of :func:`cellzoo.models.twinvae_spatial.twinvae_spatial`."""

    name: Literal["twinvae_spatial"]
    image_size: Annotated[int, Field(ge=16, multiple_of=8)] = 128
    channels: tuple[PositiveInt, PositiveInt] = (48, 64)
    shared_channels: PositiveInt = 64
    latent: PositiveInt = 16
    leakiness: NonNegativeFloat = 0.2
    center: bool = True
    shared_reader: bool = False
    reconstruct: bool = True


class DCC(Section):
    """Arguments of :func:`cellzoo.models.dcc.dcc`."""

    name: Literal["dcc"]
    image_size: Pixels | tuple[Pixels, Pixels] = 784
    channels: Annotated[list[PositiveInt], Field(min_length=1, max_length=6)] = [64, 128, 256]
    convolutions: PositiveInt = 1
    head: Literal["regressor", "additive"] = "regressor"
    threshold: Literal["none", "simple", "adaptive_gaussian", "otsu"] = "simple"
    threshold_block: Annotated[int, Field(ge=3)] = 101
    threshold_offset: float = 0.0
    pooling: Annotated[int, Field(ge=2, multiple_of=2)] = 28
    regressor_channels: tuple[PositiveInt, PositiveInt] = (32, 64)
    regressor_units: PositiveInt = 512
    density_channels: PositiveInt = 32


class EfficientNet(Section):
    """Arguments of :func:`cellzoo.models.efficientnet.efficientnet`."""

    name: Literal["efficientnet"]
    variant: Literal["b0", "b1", "b2", "b3"] = "b0"
    image_size: Annotated[int, Field(ge=32)] = 128
    weights: str | None = "imagenet"
    frozen: bool = False
    center: bool = True
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class _Classical(Section):
    """A counter that is fitted in one go: its recipe has none of the sections of a network."""


class Brightness(_Classical):
    """Arguments of :meth:`cellzoo.models.brightness.Brightness.fit`."""

    name: Literal["brightness"]
    image_size: ImageSize = 128
    features: Literal["mean", "histogram"] = "histogram"
    bins: Annotated[int, Field(ge=2)] = 13
    ridge: NonNegativeFloat = 0.01


class Watershed(_Classical):
    """Arguments of :meth:`cellzoo.models.watershed.Watershed.fit`: what its grid search tries."""

    name: Literal["watershed"]
    image_size: ImageSize = 128
    method: Literal["sobel", "distance"] = "sobel"
    crop: Annotated[list[NonNegativeInt], Field(min_length=1)] = [11, 15]
    kernel: Annotated[list[PositiveInt], Field(min_length=1)] = [3, 5]
    divisor: Annotated[list[PositiveFloat], Field(min_length=1)] = [7, 19]
    bright: Annotated[list[bool], Field(min_length=1)] = [False, True]
    separation: Annotated[list[PositiveInt], Field(min_length=1)] = [2, 3, 4, 6]
    radius: Annotated[list[PositiveFloat], Field(min_length=1)] = [1, 2, 3]
    subtract: Annotated[list[NonNegativeInt], Field(min_length=1)] = [0, 1, 2, 3, 4]


class Loss(Section):
    """Arguments of :class:`cellzoo.training.trainer.LossWeights`."""

    reconstruction: Literal["mse", "bce"] = "mse"
    reconstruction_weight: NonNegativeFloat = 100.0
    reconstruction_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    count_weight: NonNegativeFloat = 3.0
    count_start_epoch: NonNegativeInt = 0
    count_mean: Literal["labelled", "batch"] = "labelled"
    kl_weight: NonNegativeFloat = 2.0
    synthetic_count_weight: NonNegativeFloat = 1.0
    count_loss: Literal["squared", "poisson", "relative"] = "squared"
    mask_weight: NonNegativeFloat = 1.0
    density_weight: NonNegativeFloat = 1.0
    density_loss: Literal["squared", "poisson"] = "squared"


class Train(Section):
    """How long and how fast to learn: what :func:`cellzoo.training.fit.fit` follows.

    ``start_from`` names a run folder, or ``zoo:NAME``, with whose weights the network begins.
    """

    start_from: str | None = None
    optimizer: Literal["adam", "radam"] = "adam"
    learning_rate: PositiveFloat = 1.3e-4
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: Share = 0.0
    weight_decay: NonNegativeFloat = 0.0
    clip_norm: PositiveFloat | None = None
    averaging: Annotated[float, Field(ge=0, lt=1)] | None = None
    batch: PositiveInt = 128
    labelled_share: Annotated[float, Field(gt=0, le=1)] | None = None
    epochs: PositiveInt = 100
    steps_per_epoch: PositiveInt | None = None
    budget: Annotated[str | None, BeforeValidator(_seconds)] = None
    validate_every: PositiveInt = 1
    patience: PositiveInt | None = None
    select: Literal["best", "max_acc", "min_dev", "last"] = "best"
    devices: Literal["auto", "cpu"] | PositiveInt = "auto"


class Count(Section):
    """How the network counts: see :mod:`cellzoo.counters.test_time_augmentation`.

    So count a run, its export and a server. Between the epochs of a training, for ``history.csv``
    and for choosing a checkpoint, images are counted as they are.
    """

    views: Literal[1, 4, 8] = 1


class Parameter(Section):
    """What a search may put in a key's place: numbers from low to high, or one of a choice."""

    low: int | float | None = None
    high: int | float | None = None
    scale: Literal["linear", "log"] = "linear"
    step: PositiveInt | PositiveFloat | None = None
    choice: Annotated[list[Any] | None, Field(min_length=1)] = None

    @model_validator(mode="after")
    def _is_range_or_choice(self) -> "Parameter":
        if (self.choice is None) == (self.low is None and self.high is None):
            raise ValueError("it must have either low and high or a choice")
        if self.choice is None:
            if self.low is None or self.high is None or not self.low < self.high:
                raise ValueError("low and high must be numbers, low the smaller")
            if self.scale == "log" and self.low <= 0:
                raise ValueError("a log scale begins above 0")
            if self.scale == "log" and self.step and not 1 < self.step <= self.high / self.low:
                raise ValueError(
                    "on a log scale step is a factor, above 1 and at most high / low: 2 doubles"
                )
        return self


LARGER_IS_BETTER = [
    f"validation_{key}" for key, score in COUNT_SCORES.items() if score.direction == "max"
]
# Scores of the validation split, and columns of history.csv.
OBJECTIVES = [
    *(f"validation_{key}" for key, score in COUNT_SCORES.items() if score.direction != "zero"),
    "loss",
    *(
        f"{domain}_{term}"
        for domain in ("natural", "synthetic")
        for term in ("reconstruction", "count", "kl", "mask", "density")
    ),
]


class Tune(Section):
    """What :func:`cellzoo.tuning.search.tune` searches, and how."""

    space: dict[str, Parameter | None]
    objective: str = "validation_mae_raw"
    direction: Literal["min", "max"] = "min"
    trials: PositiveInt = 15
    epochs: PositiveInt | None = None
    budget: Annotated[str | None, BeforeValidator(_seconds)] = None
    algorithm: Literal["bayesian", "random", "hyperband"] = "bayesian"
    seed: NonNegativeInt = 1

    @model_validator(mode="after")
    def _ends_one_way(self) -> "Tune":
        if self.epochs and self.budget:
            raise ValueError("a trial ends after epochs or after a budget, not both")
        if self.algorithm == "hyperband" and not self.epochs:
            raise ValueError("hyperband needs epochs, those of its longest trials")
        return self

    @model_validator(mode="after")
    def _has_an_objective(self) -> "Tune":
        if self.objective not in OBJECTIVES:
            near = difflib.get_close_matches(self.objective, OBJECTIVES, n=1, cutoff=0.6)
            cure = f"did you mean {near[0]}?" if near else "validation_mae_raw is one."
            raise ValueError(f"objective {self.objective} is no score or loss; {cure}")
        if self.objective in LARGER_IS_BETTER and self.direction == "min":
            raise ValueError(f"of {self.objective} more is better: set direction: max")
        return self

    @property
    def searched(self) -> dict[str, Parameter]:
        """The keys to search; an overlay takes one out by setting it to null."""
        return {key: parameter for key, parameter in self.space.items() if parameter}


class Card(Section):
    """What the model card says that no image tells, see :mod:`cellzoo.cards.model_card`."""

    modality: str | None = None
    pixel_size_um: PositiveFloat | None = None
    licence: str | None = None


class Recipe(Section):
    """A whole experiment."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")]
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    data: Data
    augment: Augment = Augment()
    model: Annotated[
        TwinVAE | TwinVAESpatial | DCC | EfficientNet | Brightness | Watershed,
        Field(discriminator="name"),
    ]
    loss: Loss = Loss()
    train: Train = Train()
    count: Count = Count()
    tune: Tune | None = None
    card: Card | None = None

    @property
    def image_size(self) -> int | tuple[int, int]:
        """Side, or height and width, in pixels that the model takes; the Twin-VAE's is fixed."""
        return getattr(self.model, "image_size", 128)

    @property
    def modality(self) -> str:
        """How the training images were taken, as far as the recipe says."""
        if self.card and self.card.modality:
            return self.card.modality
        return self.data.natural.microscopy

    @property
    def classical(self) -> bool:
        """Whether the model is fitted in one go, without a network and without epochs."""
        return isinstance(self.model, _Classical)

    def to_yaml(self) -> str:
        """The recipe as YAML, every key spelled out: what a run folder keeps."""
        left_out = set(NETWORK_SECTIONS) if self.classical else set()
        left_out |= {key for key in ("tune", "card") if getattr(self, key) is None}
        document = self.model_dump(mode="json", exclude=left_out)
        return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)

    def differences(self, other: "Recipe") -> list[str]:
        """Lines such as ``loss.kl_weight: 2.0 -> 1.0`` that lead from this recipe to another."""
        mine, theirs = dict(_leaves(self.model_dump())), dict(_leaves(other.model_dump()))
        return [
            f"{key}: {_show(mine.get(key))} -> {_show(theirs.get(key))}"
            for key in list(mine) + [key for key in theirs if key not in mine]
            if mine.get(key) != theirs.get(key)
        ]


def load_recipe(path: Path | str, settings: Sequence[str] = (), quick: bool = False) -> Recipe:
    """Reads, overlays and checks a recipe.

    Args:
        path: a YAML file, or the name of a recipe of the package.
        settings: ``key=value`` strings, keys dotted (``train.epochs=20``), values YAML. They win
            over the file and over its ``quick`` overlay.
        quick: apply the overlay in the recipe's ``quick`` section.

    Raises:
        UsageError: the file is missing, is not YAML, or holds a wrong key or value; the sentence
            names file, line and the nearest valid key.
    """
    path = shipped_recipes.find(path)
    node, document = _read_yaml(path)
    overlay = document.pop("quick", None) or {}
    if not isinstance(overlay, dict):
        raise UsageError(f"{path}:{_line(node, ('quick',))}: quick must be a section of keys.")
    if quick and not overlay:
        raise UsageError(f"{path} has no quick section: run it without --quick.")
    _validate(document, path, node)
    overlaid = _merge(document, overlay)
    # A broken overlay is found even by those who do not ask for it.
    recipe_quick = _validate(overlaid, path, node, overlay=overlay)
    if not quick:
        overlaid = document
    changed = overlaid
    for setting in settings:
        changed = _merge(changed, _parse_setting(setting))
    if settings:
        return _validate(changed, "--set", None)
    return recipe_quick if quick else _validate(overlaid, path, node)


def other_form(path: Path, settings: Sequence[str], quick: bool) -> Recipe | None:
    """The recipe without its quick overlay if ``quick``, else with it; None if it has none.

    A setting for one of the two may mean nothing to the other, which then is left out, too.
    """
    try:
        return load_recipe(path, settings, quick=not quick)
    except UsageError:
        return None


def with_epochs(recipe: Recipe, epochs: int) -> Recipe:
    """The recipe with another number of epochs, the regressor starting as early in proportion."""
    start = recipe.loss.count_start_epoch * epochs // recipe.train.epochs
    return recipe.model_copy(
        update={
            "train": recipe.train.model_copy(update={"epochs": epochs}),
            "loss": recipe.loss.model_copy(update={"count_start_epoch": start}),
        }
    )


def with_values(recipe: Recipe, values: dict[str, Any]) -> Recipe:
    """The recipe with other values at dotted keys; ``model.channels.3`` is the list's fourth.

    Raises:
        UsageError: the recipe would not be valid.
    """
    document = yaml.safe_load(recipe.to_yaml())
    for key, value in values.items():
        holder, last = _holder(document, key)
        holder[last] = value
    return _validate(document, ", ".join(f"{k}={_show(v)}" for k, v in values.items()), None)


# What changes with the length of a training, see `with_epochs`.
_SCHEDULE = ("train.epochs", "loss.count_start_epoch")


def check_space(recipe: Recipe) -> None:
    """Sees to it that every key to be searched is one of the recipe's, and a trial's to choose.

    Raises:
        UsageError: one is not; the sentence names the nearest. Or the length of a trial decides it.
    """
    if recipe.tune is None:
        return
    document = yaml.safe_load(recipe.to_yaml())
    document.pop("tune", None)
    timed = recipe.tune.epochs or recipe.tune.budget
    budget = recipe.train.budget or "train.budget" in recipe.tune.searched
    for key in recipe.tune.searched:
        try:
            _holder(document, key)
        except KeyError:
            known = [name for name, _ in _leaves(document)]
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else "write it as section.key."
            raise UsageError(
                f"tune.space names {key}, which is no key of {recipe.name} with its "
                f"{recipe.model.name}; {hint}"
            ) from None
        if (key in _SCHEDULE and (timed or budget)) or (key == "train.budget" and timed):
            raise UsageError(
                f"tune.space names {key}, which follows from how long a trial may take: leave it "
                "out, or set what decides that (tune.epochs, tune.budget, train.budget) to null."
            )


def _holder(document: dict[str, Any], key: str) -> tuple[Any, Any]:
    """The section or list that holds a dotted key, and the key's last part; or a KeyError."""
    node: Any = document
    holder, last = None, None
    for part in key.split("."):
        if isinstance(node, list) and part.isdigit() and int(part) < len(node):
            holder, last = node, int(part)
        elif isinstance(node, dict) and part in node:
            holder, last = node, part
        else:
            raise KeyError(key)
        node = holder[last]
    return holder, last


class _Loader(yaml.SafeLoader):
    """A safe loader that says where the text is wrong.

    It also refuses a key given twice, of which YAML would silently drop one, and a key that is no
    word, such as ``on``, which YAML takes for "true".
    """

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            shown = key_node.value if isinstance(key_node, yaml.ScalarNode) else key
            if not isinstance(key, str):
                raise _not_yaml(f"the key {shown} is not a word", key_node)
            if key in seen:
                raise _not_yaml(f"the key {key!r} stands twice", key_node)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_object(self, node, deep=False):
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, AttributeError):
            # PyYAML does not look closely at what resembles a date or a number: 2021-13-45, 0x_.
            raise _not_yaml(f"{_show(node.value)} cannot be read, put it in quotes", node) from None


def _not_yaml(problem: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _read_yaml(path: Path) -> tuple[yaml.Node, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as a recipe: {error}.") from None
    try:
        node = yaml.compose(text, Loader=_Loader)
        document = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = getattr(error, "problem", None) or "it is not text that YAML can hold"
        raise UsageError(f"{path}:{line}: this is not valid YAML: {problem}.") from None
    except RecursionError:
        raise UsageError(f"{path}:1: this is not a recipe: its brackets nest too deeply.") from None
    if not isinstance(document, dict):
        raise UsageError(
            f"{path} is not a recipe: it must hold sections such as name, data, model and train."
        )
    return node, document


def _line(node: yaml.Node | None, keys: Sequence[Any]) -> int:
    """The line of the deepest of ``keys`` that the document has."""
    line = node.start_mark.line + 1 if node else 1
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            for key_node, value_node in node.value:
                if key_node.value == str(key):
                    line, node = key_node.start_mark.line + 1, value_node
                    break
            else:
                break
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int):
            if key >= len(node.value):
                break
            node = node.value[key]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _merge(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """``base`` with the leaves of ``overlay`` in place of its own.

    A section that names another ``source`` or model ``name`` replaces the old one whole: the old
    one's keys would mean nothing there.
    """
    merged = dict(base)
    for key, value in overlay.items():
        old = merged.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            other_kind = any(k in value and value[k] != old.get(k) for k in ("source", "name"))
            merged[key] = value if other_kind else _merge(old, value)
        else:
            merged[key] = value
    return merged


def _parse_setting(setting: str) -> dict[str, Any]:
    key, equals, text = setting.partition("=")
    keys = key.strip().split(".")
    if not equals or not all(keys):
        raise UsageError(f"--set {setting}: write it as key=value, such as train.epochs=20.")
    try:
        value: Any = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError):
        value = text
    if isinstance(value, str) and " #" in text and text.strip()[0] not in "\"'":
        value = text.strip()  # a folder's name, not a comment
    for part in reversed(keys):
        value = {part: value}
    return value


def _validate(
    document: dict[str, Any],
    where: Path | str,
    node: yaml.Node | None,
    overlay: dict[str, Any] | None = None,
) -> Recipe:
    try:
        recipe = Recipe.model_validate(document)
    except ValidationError as error:
        # A misspelt key is also a missing one: the misspelling is what the user can see. Of the
        # kinds that a value could have been, the one of which most is right is what was meant: all
        # but our own rule, or the deepest.
        problem = min(
            error.errors(),
            key=lambda e: (
                e["type"] != "extra_forbidden",
                e["type"] != "value_error",
                -len(_keys_of(e["loc"])),
            ),
        )
    else:
        unused = sorted(document.keys() & NETWORK_SECTIONS) if recipe.classical else []
        if not unused:
            return recipe
        place = f"{where}:{_line(node, unused)}" if node else str(where)
        raise UsageError(
            f"{place}: the section {unused[0]} means nothing to {recipe.model.name}, which is no "
            "network: leave it out."
        )
    if problem["type"] == "union_tag_not_found":
        written = [key for key in problem["input"] if isinstance(key, str)]
        near = difflib.get_close_matches(problem["ctx"]["discriminator"].strip("'"), written, n=1)
        if near:
            problem |= {"type": "extra_forbidden", "loc": (*problem["loc"], *near)}
    keys = _keys_of(problem["loc"])
    name = ".".join(str(key) for key in keys) or "the recipe"
    if overlay is not None and _holds(overlay, keys):
        keys = ["quick", *keys]
    place = f"{where}:{_line(node, keys)}" if node else str(where)
    raise UsageError(f"{place}: {_sentence(problem, name)}") from None


def _sentence(problem: dict[str, Any], name: str) -> str:
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        known = _sibling_keys(problem["loc"])
        if len(problem["loc"]) == 1:
            known.add("quick")
        known = sorted(known - {problem["loc"][-1]})
        near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1, cutoff=0.5)
        cure = f"did you mean {near[0]}?" if near else f"valid keys here: {', '.join(known)}."
        return f"there is no key {name}; {cure}"
    if kind == "missing" and isinstance(problem["loc"][-1], int):
        values = problem["loc"][-1]
        return f"{name.rpartition('.')[0]} has only {values} of its values; add the others."
    if kind == "missing":
        return f"the key {name} is missing; add it."
    if kind.startswith("union_tag"):
        field = context["discriminator"].strip("'")
        options = ", ".join(SOURCES if field == "source" else MODEL_SECTIONS)
        given = problem["input"].get(field) if isinstance(problem["input"], dict) else None
        near = given and difflib.get_close_matches(str(given), options.split(", "), n=1, cutoff=0.4)
        found = f"is {given}" if given else "is missing"
        hint = f"; did you mean {near[0]}?" if near else f"; it can be {options}."
        return f"{name}.{field} {found}{hint}"
    message = problem["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    message = message.replace("tuple", "list").split(" or instance of")[0]
    message = message.replace(" or object to extract fields from", "")
    message = message.replace("dictionary", "section of keys")
    if kind == "string_type" and not isinstance(problem["input"], dict | list | None):
        # A number or a date, for YAML.
        message += """, write it in quotes (in a shell '"..."')"""
    return f"{name} is {_show(problem['input'])}, but {message}."


def _keys_of(location: Sequence[Any]) -> list[Any]:
    """A location as the file has it: without what pydantic adds for the member of a union."""
    keys, previous = [], None
    for part in location:
        chosen_kind = previous in ("natural", "model") and part in _TAGS
        chosen_type = isinstance(part, str) and not part.isidentifier() and previous != "space"
        if not chosen_kind and not chosen_type:
            keys.append(part)
        previous = part
    return keys


def _sibling_keys(location: Sequence[Any]) -> set[str]:
    """The valid keys of the section in which ``location`` ends."""
    kinds: list[type[Section]] = [Recipe]
    previous = None
    for part in location[:-1]:
        if previous in ("natural", "model") and part in _TAGS:
            kinds = [_TAGS[part]]
        elif previous != "space":  # there a key stands for a parameter
            fields = [kind.model_fields[part] for kind in kinds if part in kind.model_fields]
            kinds = [kind for field in fields for kind in _sections_in(field.annotation)]
        previous = part
    return {key for kind in kinds for key in kind.model_fields}


def _sections_in(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [s for part in getattr(annotation, "__args__", ()) for s in _sections_in(part)]


def _holds(tree: Any, keys: Sequence[Any]) -> bool:
    for key in keys:
        if not isinstance(tree, dict) or key not in tree:
            return False
        tree = tree[key]
    return True


def _leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _show(value: Any) -> str:
    text = "unset" if value is None else " ".join(str(value).split())
    return text if len(text) <= 60 else text[:57] + "..."


MODEL_SECTIONS = {
    "twinvae": TwinVAE,
    "twinvae_spatial": TwinVAESpatial,
    "dcc": DCC,
    "efficientnet": EfficientNet,
    "brightness": Brightness,
    "watershed": Watershed,
}
_TAGS: dict[Any, type[Section]] = SOURCES | MODEL_SECTIONS
