"""The files that a table names, however people and programs spell their names."""

import os
import re
import unicodedata
from collections import defaultdict
from pathlib import Path

from cellzoo.images import SUFFIXES

PICTURE_SUFFIXES = (*SUFFIXES, ".npy")
_WINDOWS_PATH = re.compile(r"[A-Za-z]:/|//")


class NamedFiles:
    """Finds files by the names that a table gives them.

    A name may have the slashes of Windows, other letters' case, another Unicode form than the file
    (NFC, NFD), or lack the suffix of a picture. Of a full path that is not there, such as
    ``C:/data/run1/a.png``, what lies beside the table counts: ``run1/a.png``, then ``a.png``.

    Args:
        folder: of the table.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._entries: dict[Path, _Entries] = {}

    def spelled(self, name: str) -> str:
        """The name as the file has it, the number of a frame included.

        Args:
            name: relative to the folder, or a full path.

        Returns:
            The name of a file that exists, with slashes; as it was given where none is found.

        Raises:
            ValueError: it may be one of several files; the message names two.
        """
        name = name.replace("\\", "/")
        if (found := self.find(name)) is not None:
            return found
        stem, mark, number = name.rpartition("#")
        if mark and number.isascii() and number.isdigit():
            found = self.find(stem)
            if found is not None:
                return f"{found}#{number}"
        return name

    def find(self, name: str) -> str | None:
        """The name as the file has it; None where there is no such file.

        Raises:
            ValueError: it may be one of several files.
        """
        name = name.replace("\\", "/")
        full = name.startswith("/") or _WINDOWS_PATH.match(name)
        if full and os.path.lexists(name):
            return name
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if not full:
            return self._below(parts)
        tails = (self._below(parts[k:]) for k in range(1, len(parts)))
        return next((tail for tail in tails if tail is not None), None)

    def find_tail(self, name: str) -> str | None:
        """The same, where the first folders of any name may be missing.

        Raises:
            ValueError: it may be one of several files.
        """
        parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
        tails = (self._below(parts[k:]) for k in range(len(parts)))
        return next((tail for tail in tails if tail is not None), self.find(name))

    def _below(self, parts: list[str]) -> str | None:
        """The spelling on disk of a name relative to the folder."""
        here, spelled = self._folder, []
        for k, part in enumerate(parts):
            if part == "..":
                entry = part
            else:
                if here not in self._entries:
                    self._entries[here] = _Entries(here)
                entry = self._entries[here].find(part, last=k == len(parts) - 1)
            if entry is None:
                return None
            here = here / entry
            spelled.append(entry)
        return "/".join(spelled) or None


class _Entries:
    """The files and folders of a folder, by all spellings of their names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            names = os.listdir(folder)
        except OSError:  # none, or one that may be passed but not listed
            names = []
        self._names = set(names)
        self._composed: dict[str, list[str]] = defaultdict(list)
        self._folded: dict[str, list[str]] = defaultdict(list)
        self._stems: dict[str, list[str]] = defaultdict(list)
        for name in sorted(names):
            self._composed[unicodedata.normalize("NFC", name)].append(name)
            self._folded[folded(name)].append(name)
            for stem in picture_stems(name):
                self._stems[folded(stem)].append(name)

    def find(self, name: str, last: bool) -> str | None:
        """The entry that a name means.

        Raises:
            ValueError: it may be one of several.
        """
        key = folded(name)
        if name in self._names and not (last and key in self._stems and self._is_folder(name)):
            return name
        found = self._composed.get(unicodedata.normalize("NFC", name)) or self._folded.get(key, [])
        if last and (not found or all(map(self._is_folder, found))):
            found = self._stems.get(key) or found
        if len(found) > 1:
            raise ValueError(
                f"{name} may be {found[0]} or {found[1]}, write the name as the file has it"
            )
        if found:
            return found[0]
        try:
            return name if os.path.lexists(self._folder / name) else None
        except ValueError:  # a character that no file system takes
            return None

    def _is_folder(self, name: str) -> bool:
        return (self._folder / name).is_dir()


def folded(name: str) -> str:
    """A name without what spellings differ in: case and Unicode form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def picture_stems(name: str) -> list[str]:
    """The names of a picture's file without its suffix, ``.ome.tif`` being two; none of others."""
    stem, suffix = os.path.splitext(name)
    if suffix.lower() not in PICTURE_SUFFIXES or not stem:
        return []
    shorter, ome = os.path.splitext(stem)
    return [stem, shorter] if ome.lower() == ".ome" and shorter else [stem]
