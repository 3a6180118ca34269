"""Dotted keys of nested sections, such as ``train.epochs``."""

from collections.abc import Iterator, Sequence
from typing import Any


def leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each dotted key of a tree that holds no section, and its value."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def holder(document: dict[str, Any], key: str) -> tuple[Any, Any]:
    """The section or list that holds a dotted key, and the key's last part.

    ``model.channels.3`` is the fourth of a list.

    Raises:
        KeyError: there is no such key.
    """
    node: Any = document
    held_by, last = None, None
    for part in key.split("."):
        if isinstance(node, list) and part.isdigit() and int(part) < len(node):
            held_by, last = node, int(part)
        elif isinstance(node, dict) and part in node:
            held_by, last = node, part
        else:
            raise KeyError(key)
        node = held_by[last]
    return held_by, last


def holds(tree: Any, keys: Sequence[Any]) -> bool:
    """Whether a tree has these keys, one below the other."""
    for key in keys:
        if not isinstance(tree, dict) or key not in tree:
            return False
        tree = tree[key]
    return True


def show(value: Any) -> str:
    """A value in a sentence: on one line, not too long."""
    text = "unset" if value is None else " ".join(str(value).split())
    return text if len(text) <= 60 else text[:57] + "..."
