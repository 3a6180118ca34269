"""What a run knows of its data and its training, for model cards and reports."""

import shlex
from collections import Counter
from dataclasses import dataclass
from typing import Any

from cellzoo.data.image_set import SPLITS
from cellzoo.errors import UserError
from cellzoo.files import read_json, without_folders
from cellzoo.recipe import Recipe
from cellzoo.runs import Run

NOT_STATED = "not stated"
# Below these a network has hardly seen its images. They are a rule of thumb.
_FEW_EPOCHS, _FEW_STEPS = 5, 300


@dataclass(frozen=True)
class SplitSize:
    """How many images, labelled images and groups a split has."""

    split: str
    images: int
    labelled: int
    groups: int


def split_sizes(run: Run) -> list[SplitSize]:
    """The splits that the training wrote down; none for a run that was not trained here."""
    rows = run.split_table()
    images = Counter(row["split"] for row in rows)
    labelled = Counter(row["split"] for row in rows if row["labelled"] == "1")
    groups = Counter(split for split, _ in {(row["split"], row["group"]) for row in rows})
    return [
        SplitSize(split, images[split], labelled[split], groups[split])
        for split in SPLITS
        if images[split]
    ]


def lone_images(recipe: Recipe, sizes: list[SplitSize]) -> bool:
    """Whether no two images of a folder are of one group, perhaps for want of a column."""
    alone = bool(sizes) and all(size.images == size.groups for size in sizes)
    return alone and recipe.data.natural.has_label_table


def short_training(run: Run) -> str:
    """A sentence where a network was trained for a short time; else empty."""
    epochs, steps = len(run.history()), run.validation_scores().get("steps")
    if not epochs or (epochs >= _FEW_EPOCHS and (steps is None or steps >= _FEW_STEPS)):
        return ""
    length = f"{epochs} epoch{'s' if epochs > 1 else ''}"
    length += "" if steps is None else f", {steps} steps"
    return f"The training was short ({length}): a longer one may count better."


def licence(recipe: Recipe) -> str:
    """Of the training images, as far as the recipe says."""
    return recipe.card.licence if recipe.card and recipe.card.licence else NOT_STATED


def environment(run: Run) -> dict[str, Any]:
    """What ``environment.json`` says; empty for a run that was not trained here.

    Raises:
        UserError: the file is damaged.
    """
    file = run.path / "environment.json"
    if run.imported or not file.is_file():
        return {}
    cure = "delete it, and versions and command of the training are not known"
    known = read_json(file, cure)
    lists = [known.get(key, []) for key in ("devices", "command")]
    words = [word for part in lists if isinstance(part, list) for word in part]
    sound = all(isinstance(part, list) for part in lists) and all(
        isinstance(word, str) for word in words
    )
    if not sound or not isinstance(known.get("packages", {}), dict):
        raise UserError(f"{file} is damaged: {cure}.")
    return known


def versions_in_words(run: Run) -> str:
    """Program versions and processors of the training."""
    known = environment(run)
    if not known:
        return "not written down: the run was not trained here"
    packages = {"cellzoo": known.get("cellzoo"), "Python": known.get("python")}
    packages |= known.get("packages", {})
    numbers = ", ".join(f"{name} {number}" for name, number in packages.items() if number)
    devices = [device.rpartition("physical_device:")[2] for device in known.get("devices", [])]
    system = str(known.get("platform", "")).partition("-")[0]
    return f"{numbers}; {system}; {', '.join(devices) or known.get('backend', '')}"


def training_command(run: Run) -> str | None:
    """What was typed to start the training; None if that is not known."""
    command = environment(run).get("command")
    return shlex.join(["cellzoo", *map(without_folders, command[1:])]) if command else None
