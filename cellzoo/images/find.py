"""The image files among files and folders."""

import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from cellzoo.errors import UserError

log = logging.getLogger("cellzoo")

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


def natural_key(text: str) -> tuple:
    """Sort key that puts `t2.png` before `t10.png`."""
    parts = re.split(r"(\d+)", text)
    return tuple(int(part) if k % 2 else part for k, part in enumerate(parts)), text


def find_images(paths: Sequence[Path]) -> list[Path]:
    """List the image files among files and folders.

    Folders are searched with their subfolders, symbolic links included; hidden files and folders
    (`.name`, such as the `._name` twins macOS writes) and files of other types are passed over. A
    file named directly is taken as it is, to be read or refused.

    Args:
        paths: files and folders.

    Returns:
        The files in the order of `paths`, each folder in natural order, none twice.

    Raises:
        UserError: a path is missing, or nothing is found.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            files = sorted(_images_below(path), key=lambda file: natural_key(file.as_posix()))
            found.update(dict.fromkeys(files))
        elif not path.exists():
            raise UserError(f"{path}: there is no such file or folder, check the path")
        else:
            found[path] = None
    if not found:
        shown = ", ".join(map(str, paths)) or "no path given"
        raise UserError(f"{shown}: no image found, expected files ending in {suffixes_in_words()}")
    return list(found)


def _images_below(folder: Path) -> Iterator[Path]:
    def warn(error: OSError) -> None:
        log.warning("%s cannot be read (%s): left out.", error.filename, error.strerror)

    seen = set()
    for here, folders, files in os.walk(folder, followlinks=True, onerror=warn):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if os.path.realpath(here) in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(os.path.realpath(here))
        for name in files:
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                yield Path(here, name)


def suffixes_in_words() -> str:
    """The suffixes of what is read, for a sentence."""
    return ", ".join(SUFFIXES)
