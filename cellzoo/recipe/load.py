"""Recipes from files: reading, overlays and ``--set``."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import ValidationError

from cellzoo.errors import UsageError
from cellzoo.recipe import shipped
from cellzoo.recipe.keys import holds, show
from cellzoo.recipe.renamed import with_new_names
from cellzoo.recipe.schema import NETWORK_SECTIONS, Recipe
from cellzoo.recipe.sentences import KINDS, explain, line_of

# The sections of a file that are laid over the others where a command asks for it.
OVERLAYS = ("quick", "paper")
# Nodes and characters of a file in which every alias is written out.
_LARGEST = 1_000_000


def load_recipe(
    path: Path | str, settings: Sequence[str] = (), quick: bool = False, paper: bool = False
) -> Recipe:
    """Reads, overlays and checks a recipe.

    Args:
        path: a YAML file, or the name of a recipe of the package.
        settings: ``key=value`` strings, keys dotted (``train.epochs=20``), values YAML. They win
            over the file and over its overlay.
        quick: apply the overlay in the recipe's ``quick`` section.
        paper: apply the overlay in the recipe's ``paper`` section.

    Raises:
        UsageError: the file is missing, is not YAML, or holds a wrong key or value; the sentence
            names file, line and the nearest valid key. Or both overlays are asked for.
    """
    if quick and paper:
        raise UsageError("--quick and --paper are two trainings: leave one of them out.")
    wanted = "quick" if quick else "paper" if paper else None
    path = shipped.find(path)
    node, document = _read_yaml(path)
    overlays = {name: document.pop(name, None) or {} for name in OVERLAYS}
    for name, overlay in overlays.items():
        if not isinstance(overlay, dict):
            raise UsageError(f"{path}:{line_of(node, (name,))}: {name} must be a section of keys.")
    if wanted and not overlays[wanted]:
        raise UsageError(f"{path} has no {wanted} section: run it without --{wanted}.")
    document = with_new_names(document, str(path))
    recipe = validate(document, path, node)
    documents, recipes = {None: document}, {None: recipe}
    # A broken overlay is found even by those who do not ask for it.
    for name, given in overlays.items():
        overlay = with_new_names(given, str(path))
        documents[name] = _merge(document, overlay)
        recipes[name] = validate(documents[name], path, node, overlay={name: overlay})
        _check_model(recipe, recipes[name], name, _place(path, node, (name, "model")))
    if not settings:
        return recipes[wanted]
    changed = documents[wanted]
    for setting in settings:
        changed = _merge(changed, with_new_names(_parse_setting(setting), "--set"))
    return validate(with_new_names(changed, "--set"), "--set", None)


def _check_model(recipe: Recipe, overlaid: Recipe, overlay: str, place: str) -> None:
    """Refuses an overlay under which another model is trained."""
    if overlaid.model.architecture() == recipe.model.architecture():
        return
    free = {f"model.{key}" for key in recipe.model.training_keys}
    lines = recipe.differences(overlaid)
    change = next(
        line for line in lines if line.startswith("model.") and line.partition(":")[0] not in free
    )
    raise UsageError(
        f"{place}: {overlay} changes the model ({change}), which an overlay never does: give that "
        "model a recipe of its own, or use --set."
    )


def other_form(path: Path, settings: Sequence[str], quick: bool) -> Recipe | None:
    """The recipe without its quick overlay if ``quick``, else with it; None if it has none.

    A setting for one of the two may mean nothing to the other, which then is left out, too.
    """
    try:
        return load_recipe(path, settings, quick=not quick)
    except UsageError:
        return None


def overlaid(path: Path, settings: Sequence[str]) -> list[Recipe]:
    """The recipe with each overlay that it has, and for which the settings mean something."""
    found = []
    for name in OVERLAYS:
        try:
            found.append(load_recipe(path, settings, **{name: True}))
        except UsageError:
            pass
    return found


def as_setting(key: str, value: Any) -> str:
    """``key=value`` as :func:`load_recipe` takes it, of a value of Python.

    Args:
        key: dotted.
        value: text, a number, a path, None, or a list, tuple or dict of such; of NumPy, too.

    Raises:
        UsageError: it is something else.
    """
    try:
        text = yaml.safe_dump(
            _plain(value), default_flow_style=True, allow_unicode=True, width=float("inf")
        )
    except yaml.YAMLError:
        raise UsageError(
            f"settings: {key} is of type {type(value).__name__}: give text, a number, a path, or a "
            "list or dict of these."
        ) from None
    value_text = text.removesuffix("...\n").strip()  # the dots end a document of one value
    return f"{key}={value_text}"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return os.fspath(value) if isinstance(value, os.PathLike) else value


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
            raise _not_yaml(f"{show(node.value)} cannot be read, put it in quotes", node) from None


def _not_yaml(problem: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _parse(text: str) -> tuple[yaml.Node | None, Any]:
    """The nodes of a YAML text, and what they hold.

    Raises:
        yaml.YAMLError: it is not YAML, or its aliases stand for too much.
        RecursionError: it nests too deeply.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, None
        _check_size(node, {})
        return node, loader.construct_document(node)
    finally:
        loader.dispose()


def _check_size(node: yaml.Node, sizes: dict[yaml.Node, int]) -> int:
    """Nodes and characters below a node, where each alias counts as what it stands for.

    A few lines of aliases of aliases stand for more than any computer can hold.
    """
    if node not in sizes:
        sizes[node] = _LARGEST + 1  # within itself it would have no end
        if isinstance(node, yaml.MappingNode):
            below = [part for pair in node.value for part in pair]
        else:
            below = node.value if isinstance(node, yaml.SequenceNode) else []
        own = len(node.value) if isinstance(node, yaml.ScalarNode) else 0
        sizes[node] = 1 + own + sum(_check_size(part, sizes) for part in below)
    if sizes[node] > _LARGEST:
        raise _not_yaml("it holds more than a recipe can, by aliases of aliases perhaps", node)
    return sizes[node]


def _read_yaml(path: Path) -> tuple[yaml.Node, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as a recipe: {error}.") from None
    try:
        node, document = _parse(text)
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


def _merge(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """``base`` with the leaves of ``overlay`` in place of its own.

    A section that names another ``source``, model ``name`` or kind of ``preset`` replaces the old
    one whole: the old one's keys would mean nothing there.
    """
    merged = dict(base)
    for key, value in overlay.items():
        old = merged.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            merged[key] = value if _is_other_kind(value, old) else _merge(old, value)
        else:
            merged[key] = value
    return merged


def _is_other_kind(section: dict[str, Any], old: dict[str, Any]) -> bool:
    return any(
        key in section and kinds.get(str(section[key])) is not kinds.get(str(old.get(key)))
        for key, kinds in KINDS.items()
    )


def _parse_setting(setting: str) -> dict[str, Any]:
    key, equals, text = setting.partition("=")
    keys = key.strip().split(".")
    if not equals or not all(keys):
        raise UsageError(f"--set {setting}: write it as key=value, such as train.epochs=20.")
    try:
        _, value = _parse(text)
    except (yaml.YAMLError, RecursionError):
        value = text
    if isinstance(value, str) and " #" in text and text.strip()[0] not in "\"'":
        value = text.strip()  # a folder's name, not a comment
    for part in reversed(keys):
        value = {part: value}
    return value


def validate(
    document: dict[str, Any],
    where: Path | str,
    node: yaml.Node | None,
    overlay: dict[str, Any] | None = None,
) -> Recipe:
    """Checks a recipe.

    Args:
        document: the recipe as YAML holds it.
        where: the file, or what changed it, for the sentence.
        node: of the file, which knows the lines; None: there is no file.
        overlay: what was merged into the document, under the name of its section.

    Raises:
        UsageError: a key or value is wrong.
    """
    try:
        recipe = Recipe.model_validate(document)
    except ValidationError as error:
        keys, words = explain(error)
        for name, section in (overlay or {}).items():
            if holds(section, keys):
                keys = [name, *keys]
        raise UsageError(f"{_place(where, node, keys)}: {words}") from None
    if recipe.classical and (unused := sorted(document.keys() & NETWORK_SECTIONS)):
        raise UsageError(
            f"{_place(where, node, unused)}: the section {unused[0]} means nothing to "
            f"{recipe.model.name}, which is no network: leave it out."
        )
    return recipe


def _place(where: Path | str, node: yaml.Node | None, keys: Sequence[Any]) -> str:
    return f"{where}:{line_of(node, keys)}" if node else str(where)
