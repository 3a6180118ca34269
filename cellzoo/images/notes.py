"""Remarks about files, each said once however many files it is about."""

import logging
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger("cellzoo")


class Notes:
    """Collects sentences about files and says each one once."""

    def __init__(self) -> None:
        """Starts with none."""
        self._files: dict[str, dict[Path, None]] = {}
        self._said: set[str] = set()

    def add(self, path: Path, sentence: str) -> None:
        """Adds a sentence whose subject is the file."""
        self._files.setdefault(sentence, {})[path] = None

    @property
    def sentences(self) -> list[str]:
        """Each sentence with its file or, of several, the first and how many more."""
        said = []
        for sentence, files in self._files.items():
            first, *others = files
            more = f" and {len(others)} more" if others else ""
            said.append(f"{first}{more}: {sentence}")
        return said

    def say(self, worded: Callable[[str], str] = str) -> None:
        """Logs what was not logged before.

        Args:
            worded: turns the keys of a recipe, which sentences name, into what can be said here.
        """
        for sentence, text in zip(list(self._files), self.sentences, strict=True):
            if sentence not in self._said:
                self._said.add(sentence)
                log.warning("%s", worded(text))
