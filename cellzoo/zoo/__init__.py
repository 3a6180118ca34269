"""Trained counters that come with the package: ``zoo:NAME`` stands for one wherever a run may.

Each is ``NAME/VERSION/``, the part of a run folder that counting needs: recipe, weights, what the
validation split taught about its errors, and a model card. ``benchmarks/zoo.py`` puts them here.
"""

import difflib
from pathlib import Path

from cellzoo.errors import UserError

FOLDER = Path(__file__).parent
PREFIX = "zoo:"


def names() -> list[str]:
    """The counters at hand."""
    return sorted({file.parents[1].name for file in FOLDER.glob("*/*/recipe.yaml")})


def name_of(folder: Path) -> str | None:
    """The ``zoo:NAME`` that stands for a run folder; None where it is not of the package."""
    if not folder.is_relative_to(FOLDER):
        return None
    return PREFIX + folder.relative_to(FOLDER).parts[0]


def find(model: Path | str) -> Path:
    """The run folder that ``zoo:NAME`` stands for; any other path as it is.

    Raises:
        UserError: there is no counter of that name.
    """
    text = str(model)
    if not text.startswith(PREFIX):
        return Path(model)
    name = text.removeprefix(PREFIX)
    versions = [file.parent for file in FOLDER.glob("*/*/recipe.yaml")]
    versions = [version for version in versions if version.parent.name == name]
    if not versions:
        near = difflib.get_close_matches(name, names(), n=1, cutoff=0.4)
        cure = f"did you mean {PREFIX}{near[0]}?" if near else f"it has {', '.join(names())}."
        raise UserError(f"{text} is no counter of the zoo; {cure}")
    return max(versions, key=lambda version: int(version.name))
