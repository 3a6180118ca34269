"""The recipes that come with the package, and which file a recipe's name stands for.

A name such as ``twinvae_bf`` stands for a recipe of the package wherever a path may. A file where
the command runs wins, so that an edited copy is never passed over.
"""

import difflib
from collections.abc import Iterator
from pathlib import Path

from cellzoo.errors import UsageError, UserError
from cellzoo.files import write_new

_PACKAGE = Path(__file__).parents[1]
# A wheel has them as the package cellzoo.recipes, a checkout beside cellzoo/.
FOLDER = next(
    (folder for folder in (_PACKAGE / "recipes", _PACKAGE.parent / "recipes") if folder.is_dir()),
    _PACKAGE / "recipes",
)


def names() -> list[str]:
    """The names of the package's recipes."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def first_lines(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yields each recipe of a folder with the first line of its header comment."""
    for path in sorted(folder.glob("*.yaml")):
        header = path.read_text(encoding="utf-8", errors="replace").splitlines()[:1]
        yield path, header[0].lstrip("# ").strip() if header else ""


def find(recipe: Path | str) -> Path:
    """The file that a path or a name of the package stands for.

    Args:
        recipe: a path, or a name with or without ``.yaml``. A file at that path, or ``NAME.yaml``
            in the current folder, comes first.

    Raises:
        UsageError: there is none; the sentence names the nearest.
    """
    path = Path(recipe)
    if path.is_file():
        return path
    if path.name == str(recipe):  # no folder is named
        for file in (Path(f"{path}.yaml"), FOLDER / path, FOLDER / f"{path}.yaml"):
            if file.suffix == ".yaml" and file.is_file():
                return file
    if path.exists():
        return path  # a folder: who reads it says what is wrong
    raise _missing(recipe)


def is_shipped(recipe: Path | str) -> bool:
    """Whether a path or a name stands for a recipe of the package, see :func:`find`."""
    return find(recipe).resolve().parent == FOLDER.resolve()


def copy(name: str, folder: Path = Path()) -> Path:
    """Puts a recipe of the package into a folder, to be edited there.

    Returns:
        The file.

    Raises:
        UsageError: the package has no recipe of that name; the sentence names the nearest.
        UserError: the folder has a file of that name.
    """
    name = name.removesuffix(".yaml")
    if name not in names():
        raise _missing(name)
    out = folder / f"{name}.yaml"
    try:
        write_new(out, (FOLDER / out.name).read_text(encoding="utf-8"))
    except FileExistsError:
        raise UserError(f"{out} exists: move it away, or rename it.") from None
    return out


def _missing(recipe: Path | str) -> UsageError:
    name = Path(recipe).stem
    # Recipes of what has no decoders were called so.
    now = name.removesuffix("_fast").replace("twinvae_", "twindensity_")
    near = difflib.get_close_matches(name, names(), n=1, cutoff=0.5)
    if name.endswith(("_fast", "_unlabelled")) and now in names():
        cure = f"it is called {now} now."
    elif near:
        cure = f"did you mean {near[0]}?"
    else:
        cure = "`cellzoo list recipes` shows those at hand."
    return UsageError(f"There is no recipe {recipe}: {cure}")
