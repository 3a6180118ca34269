"""An image with the places of its cells, as forms of other programs write them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cellzoo.data.points import Point
from cellzoo.errors import UserError
from cellzoo.labelling.label_file import Layout


@dataclass(frozen=True)
class Dotted:
    """An image file and where its cells are.

    Attributes:
        image: the file.
        name: as the table of places has it, without a frame.
        layout: what the file holds.
        cells: by frame, from 0; frames that nobody labelled are not there.
    """

    image: Path
    name: str
    layout: Layout
    cells: dict[int, Sequence[Point]]

    def planes(self) -> list[tuple[int, Sequence[Point]]]:
        """Cells by plane of ImageJ, from 1: the first plane of their frame."""
        per_frame = self.layout.per_frame if self.layout.frames > 1 else 1
        return [(frame * per_frame + 1, found) for frame, found in self.cells.items()]

    def refused(self, reason: str) -> UserError:
        """What to say of an image that a form cannot hold."""
        return UserError(f"{self.image}: {reason}")
