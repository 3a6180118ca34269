"""How the chambers of a field of view are known: drawn, found, listed or on a grid."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from cellzoo.errors import UsageError, UserError
from cellzoo.images import Reader
from cellzoo.timelapse.chambers.alike import find_alike
from cellzoo.timelapse.chambers.crop import cut
from cellzoo.timelapse.chambers.find import Box, find_chambers, in_rows
from cellzoo.timelapse.chambers.table import read_boxes


@dataclass(frozen=True)
class Where:
    """How the chambers of the first frame of each series are known; exactly one of these is given.

    Attributes:
        boxes: drawn by somebody.
        template: picture of a chamber, like which the others are.
        find: by their walls; with ``boxes``: those that look like the first of these.
        roi: table of boxes.
        grid: rows and columns into which the field is divided.
        table: ``chambers.csv`` with the boxes of every frame: nothing is followed.
        size: width and height in px that every chamber gets, around its middle; None: its own.
    """

    boxes: tuple[Box, ...] = ()
    template: Path | None = None
    find: bool = False
    roi: Path | None = None
    grid: tuple[int, int] | None = None
    table: Path | None = None
    size: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Checks that it is one of them."""
        given = {
            "--box": bool(self.boxes), "--template": self.template is not None, "--find": self.find,
            "--roi": self.roi is not None, "--grid": self.grid is not None,
            "--chambers": self.table is not None,
        }  # fmt: skip
        named = [name for name, is_given in given.items() if is_given]
        if not named:
            raise UsageError(f"Say where the chambers are: with one of {', '.join(given)}.")
        if len(named) > 1 and named != ["--box", "--find"]:
            raise UsageError(f"{' and '.join(named)} exclude each other: choose one.")

    def in_first(self, frame: np.ndarray, image: Path) -> list[Box]:
        """The boxes in the first frame of a series, each with a name.

        Raises:
            UserError: there is none.
        """
        if self.roi is not None:
            found = read_boxes(self.roi)
        elif self.grid is not None:
            found = _grid(frame.shape, self.grid)
        elif self.template is not None:
            found = in_rows(find_alike(frame, _picture(self.template)))
        elif self.find and self.boxes:
            found = in_rows(find_alike(frame, cut(frame, self.boxes[0])))
        elif self.find:
            found = find_chambers(frame)
        else:
            found = list(self.boxes)
        if not found:
            raise UserError(
                f"{image}: no chamber was found, draw one with --box x,y,width,height, and add "
                "--find for others like it."
            )
        if self.size is not None:
            width, height = self.size
            found = [
                replace(
                    box,
                    x=box.middle[0] - width / 2,
                    y=box.middle[1] - height / 2,
                    width=width,
                    height=height,
                )  # fmt: skip
                for box in found
            ]
        _check_inside(found, frame.shape, image)
        digits = max(2, len(str(len(found))))
        named = [box if box.name else replace(box, name=f"{k + 1:0{digits}d}")
                 for k, box in enumerate(found)]  # fmt: skip
        names = [box.name for box in named]
        if len(set(names)) < len(names):
            raise UserError(f"{self.roi}: two chambers have one name: rename one of them.")
        return named

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the boxes, files by their content."""
        files = {"template": self.template, "roi": self.roi, "table": self.table}
        return {
            "boxes": [[b.x, b.y, b.width, b.height, b.angle] for b in self.boxes],
            "find": self.find, "grid": self.grid, "size": self.size,
            **{key: None if file is None else digest(file) for key, file in files.items()},
        }  # fmt: skip


def digest(file: Path) -> str:
    """The SHA-256 of a file, or a UserError where it cannot be read."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}): check its path.") from None


def _picture(file: Path) -> np.ndarray:
    return next(iter(Reader([file]).read(file))).pixels


def _grid(shape: tuple[int, int], grid: tuple[int, int]) -> list[Box]:
    # Whole pixels, and all of them: some boxes are 1 px larger where the field does not divide.
    tops, lefts = (
        [k * side // parts for k in range(parts + 1)]
        for side, parts in zip(shape, grid, strict=True)
    )
    return [
        Box(left, top, right - left, bottom - top)
        for top, bottom in pairwise(tops)
        for left, right in pairwise(lefts)
    ]


def _check_inside(boxes: Sequence[Box], shape: tuple[int, int], image: Path) -> None:
    height, width = shape
    for box in boxes:
        x, y = box.middle
        if min(box.width, box.height) < 8 or not (0 <= x <= width and 0 <= y <= height):
            raise UserError(
                f"{image}: the box {box.x:g},{box.y:g},{box.width:g},{box.height:g} is no chamber "
                f"of a field of {width} x {height} px: its middle lies in it, and it has 8 px or "
                "more each way."
            )
