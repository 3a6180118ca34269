"""``cellzoo list``: what is at hand, with a line on each."""

import ast
from pathlib import Path

from cellzoo.recipe import MODEL_SECTIONS, find_recipes


def models() -> list[tuple[str, str]]:
    """Each model's name and the first line of its file, read without importing Keras."""
    folder = Path(__file__).parent / "models"
    rows = []
    for name in MODEL_SECTIONS:
        text = (folder / f"{name}.py").read_text(encoding="utf-8")
        rows.append((name, (ast.get_docstring(ast.parse(text)) or "").splitlines()[0]))
    return rows


def recipes() -> list[tuple[str, str]]:
    """Each recipe of the folder ``recipes`` where the command runs, and its header's first line."""
    return [(str(path), line) for path, line in find_recipes(Path("recipes"))]
