"""What a folder's table of places says of its images, beside what its table of labels says."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cellzoo.data.image_set import column
from cellzoo.data.labels import Row, file_and_frame, resolved
from cellzoo.data.points import Point, as_array, read_points
from cellzoo.errors import UserError
from cellzoo.images import Frame

log = logging.getLogger("cellzoo")


class Dots:
    """The places of the cells of a folder's images.

    Args:
        path: the table, see :mod:`cellzoo.data.points`; None: there is none.

    Raises:
        UserError: the table cannot be used.
    """

    def __init__(self, path: Path | None):
        """Reads the table."""
        self.path = path
        self._points: dict[tuple[Path, int | None], tuple[str, list[Point]]] = {}
        self._contradicted: list[tuple[Row, int]] = []
        self._used: set[tuple[Path, int | None]] = set()
        for name, points in ({} if path is None else read_points(path)).items():
            file, frame = file_and_frame(path.parent, name)
            key = (resolved(file), frame)
            if key in self._points:
                raise UserError(
                    f"{path}: names one file {self._points[key][0]} and {name}, write one of them"
                )
            self._points[key] = (name, points)

    def of(
        self, file: Path, frame: Frame, frames: int, row: Row
    ) -> tuple[float, np.ndarray | None]:
        """The count of a frame, and where its cells are.

        Args:
            file: of the frame, resolved.
            frame: of the file.
            frames: number of the file's frames.
            row: what the table of labels says of it.

        Returns:
            Count, NaN where nothing tells it, and float32 ``[k, 2]`` in pixels of the frame; None
            where the places are not known, or are not as many as the count.

        Raises:
            UserError: a place is outside the frame, or belongs to no frame of the file.
        """
        key = (file, frame.index)
        if (file, None) in self._points:
            name, points = self._points[file, None]
            if frames > 1 or key in self._points:
                raise UserError(
                    f"{self._where(points)}: places cells in {name}, name its frame, such "
                    f"as {name}#{frame.index}"
                )
            key = (file, None)
        if key not in self._points:
            return row.count, as_array([]) if self.path and row.count == 0 else None
        self._used.add(key)
        name, points = self._points[key]
        self._check_inside(points, frame, name)
        if np.isnan(row.count) or row.count == len(points):
            return float(len(points)), as_array(points)
        self._contradicted.append((row, len(points)))
        return row.count, None

    def finish(
        self, csv_path: Path | None, files: set[Path], stop: bool, chosen: bool = False
    ) -> None:
        """Says what is wrong with the table as a whole.

        Args:
            csv_path: the table of labels, if any.
            files: that are images, whether they could be read or not.
            stop: whether an image that is not there is an error, or only said.
            chosen: files may hold frames that were not meant.

        Raises:
            UserError: the table names such an image.
        """
        for (file, frame), (name, points) in self._points.items():
            if file not in files:
                sentence = (
                    f"{self._where(points)}: there is no image {name}, correct the name, or delete "
                    "its lines"
                )
                if stop:
                    raise UserError(sentence)
                log.warning("%s", sentence)
            elif frame is not None and (file, frame) not in self._used and not chosen:
                log.warning(
                    "%s: places cells in %s, which was not read: does the file have such a frame?",
                    self._where(points), name,
                )  # fmt: skip
        if self._contradicted:
            row, number = self._contradicted[0]
            others = len(self._contradicted) - 1
            more = f" ({others} more images differ, too)" if others else ""
            log.warning(
                "%s: line %d: gives %s a count of %d, but %s places %d cells in it%s: the count is "
                "taken and the places are not, correct one of the two.",
                csv_path, row.line, row.name, row.count, self.path.name, number, more,
            )  # fmt: skip

    def as_column(self, places: Sequence[np.ndarray | None]) -> np.ndarray | None:
        """What :class:`cellzoo.data.image_set.ImageSet` has as ``points``."""
        if all(place is None for place in places):
            return None
        return column(places)

    def _check_inside(self, points: Sequence[Point], frame: Frame, name: str) -> None:
        height, width = frame.pixels.shape
        for point in points:
            if not (-1 <= point.x <= width and -1 <= point.y <= height):
                raise UserError(
                    f"{self.path}: line {point.line}: places a cell at {point.x:g}, {point.y:g}, "
                    f"outside {name} ({width} x {height} px), is it the right image?"
                )

    def _where(self, points: Sequence[Point]) -> str:
        return f"{self.path}: line {points[0].line}" if points else str(self.path)
