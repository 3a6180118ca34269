"""``cellzoo list``: what is at hand, with a line on each."""

import json
from pathlib import Path

from cellzoo import zoo
from cellzoo.counters.preprocessing import METADATA_FILE
from cellzoo.counters.saved_model import version_number
from cellzoo.models import MODELS
from cellzoo.recipe import load_recipe, shipped
from cellzoo.runs import recipe_file


def models() -> list[tuple[str, str]]:
    """Each model's name, and a line on it."""
    return [(name, section.summary()) for name, section in MODELS.items()]


def recipes() -> list[tuple[str, str]]:
    """Each recipe of the package, then those of a folder ``recipes`` here, with their first line.

    A recipe of the package goes by its name, another by its path.
    """
    packaged, here = shipped.FOLDER, Path("recipes")
    rows = [(path.stem, line) for path, line in shipped.first_lines(packaged)]
    if here.is_dir() and not here.samefile(packaged):
        rows += [(str(path), line) for path, line in shipped.first_lines(here)]
    return rows


def counters() -> list[tuple[str, str]]:
    """Each trained counter that comes with the package: its model, and what it counts cells in."""
    rows = []
    for name in zoo.names():
        recipe = load_recipe(recipe_file(zoo.find(f"{zoo.PREFIX}{name}")))
        rows.append((f"{zoo.PREFIX}{name}", f"{recipe.model.name}, {recipe.modality}"))
    return rows


def exports() -> list[tuple[str, str]]:
    """Each version below ``saved_models`` where the command runs, and the run it is from."""
    rows = []
    for file in Path("saved_models").glob(f"*/*/{METADATA_FILE}"):
        version = file.parents[1]
        if version_number(version) is None:  # one that is being written
            continue
        try:
            facts = json.loads(file.read_text(encoding="utf-8"))
            rows.append((version, f"{facts['model']} from the run {facts['run']}"))
        except (ValueError, KeyError, TypeError):
            rows.append((version, "damaged: export it again"))
    rows.sort(key=lambda row: (row[0].parent.name, int(row[0].name)))
    return [(str(version), line) for version, line in rows]
