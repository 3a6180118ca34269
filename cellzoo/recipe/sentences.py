"""What is wrong with a recipe, in one sentence that names the place and the cure."""

import difflib
from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Any

import yaml
from pydantic import ValidationError

from cellzoo.data.sources import SOURCES
from cellzoo.data.synthetic import SYNTHETIC
from cellzoo.models import MODELS
from cellzoo.recipe.keys import show
from cellzoo.recipe.renamed import OLD_KEYS
from cellzoo.recipe.schema import Recipe
from cellzoo.section import Section

# Sections of several kinds: the key that says which, and what its values stand for.
KINDS: dict[str, dict[str, type[Section]]] = {
    "source": SOURCES, "name": MODELS, "preset": SYNTHETIC
}  # fmt: skip
_SECTIONS = ("natural", "model", "synthetic")
_TAGS = reduce(or_, KINDS.values())


def line_of(node: yaml.Node | None, keys: Sequence[Any]) -> int:
    """The line of the deepest of ``keys`` that the document has."""
    line = node.start_mark.line + 1 if node else 1
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            for key_node, value_node in node.value:
                if key_node.value in (str(key), OLD_KEYS.get(key)):
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


def explain(error: ValidationError) -> tuple[list[Any], str]:
    """The keys that lead to what is wrong, and a sentence about it."""
    # A misspelt key is also a missing one: the misspelling is what the user can see. Of the kinds
    # that a value could have been, the one of which most is right is what was meant: all but our
    # own rule, or the deepest.
    problem = min(
        error.errors(),
        key=lambda e: (
            e["type"] != "extra_forbidden",
            e["type"] != "value_error",
            -len(_keys_of(e["loc"])),
        ),
    )
    if problem["type"] == "union_tag_not_found":
        written = [key for key in problem["input"] if isinstance(key, str)]
        near = difflib.get_close_matches(problem["ctx"]["discriminator"].strip("'"), written, n=1)
        if near:
            problem |= {"type": "extra_forbidden", "loc": (*problem["loc"], *near)}
    keys = _keys_of(problem["loc"])
    return keys, _sentence(problem, ".".join(str(key) for key in keys) or "the recipe")


def _sentence(problem: dict[str, Any], name: str) -> str:
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        known = _sibling_keys(problem["loc"])
        if len(problem["loc"]) == 1:
            known |= {"quick", "paper"}
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
        options = ", ".join(KINDS[field])
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
    return f"{name} is {show(problem['input'])}, but {message}."


def _keys_of(location: Sequence[Any]) -> list[Any]:
    """A location as the file has it: without what pydantic adds for the member of a union."""
    keys, previous = [], None
    for part in location:
        chosen_kind = previous in _SECTIONS and part in _TAGS
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
        if previous in _SECTIONS and part in _TAGS:
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
