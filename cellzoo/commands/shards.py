"""``cellzoo count --shard 3/16``: one of many jobs that count a part of the files each."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cellzoo.errors import UsageError

COLUMN = "shard"  # of a shard's table alone, see Mark


@dataclass(frozen=True)
class Shard:
    """One of several parts of about as many files each.

    Attributes:
        number: of the part, from 1.
        of: number of parts.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """The shard that is written like ``3/16``.

        Raises:
            UsageError: it is none.
        """
        found = re.fullmatch(r"\s*(\d{1,7})\s*/\s*(\d{1,7})\s*", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise UsageError(
                f"--shard {text!r} is no part of a whole: write its number, from 1, and how many "
                "there are, such as 3/16."
            )
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def table(self, out: Path) -> Path:
        """Where its rows go, beside the table of all: ``counts.03-of-16.csv``."""
        number = f"{self.number:0{len(str(self.of))}d}"
        return out.with_name(f"{out.stem[:200]}.{number}-of-{self.of}{out.suffix}")

    def slice(self, files: int) -> slice:
        """Its part of so many files: neighbours, as large as other parts, or larger by one.

        Raises:
            UsageError: there are fewer files than shards.
        """
        if files < self.of:
            raise UsageError(
                f"--shard {self}: there are {files} files, so make {files} shards at most."
            )
        return slice(files * (self.number - 1) // self.of, files * self.number // self.of)


class Mark(NamedTuple):
    """What each row of a shard's table says of the count that it is part of.

    Attributes:
        shard: which part it is.
        files: number of all files.
        names: digest of their names.
        made_with: digest of what decides over the counts.
    """

    shard: Shard
    files: int
    names: str
    made_with: str

    @classmethod
    def of(cls, shard: Shard, names: Sequence[str], made_with: Mapping[str, Any]) -> "Mark":
        """The mark of a shard's rows.

        Args:
            shard: the part.
            names: of all files, in the order of the whole table.
            made_with: what decides over the counts.
        """
        settings = json.dumps(made_with, sort_keys=True, default=str)
        return cls(shard, len(names), _digest("\0".join(names)), _digest(settings))

    @classmethod
    def parse(cls, text: str) -> "Mark | None":
        """The mark in a cell; None: it is none."""
        found = re.fullmatch(r"(\d+/\d+) of (\d+) files ([0-9a-f]{12}) ([0-9a-f]{12})", text)
        if not found:
            return None
        return cls(Shard.parse(found[1]), int(found[2]), found[3], found[4])

    def __str__(self) -> str:
        return f"{self.shard} of {self.files} files {self.names} {self.made_with}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]
