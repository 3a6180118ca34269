"""What a watch knows of a file: when it changed, and which of its frames are in the table."""

import os
from dataclasses import dataclass, field

from cellzoo.commands.count import image_cell


@dataclass(slots=True)
class WatchedFile:
    """An image file; there are many in days.

    Attributes:
        rows: frames that are through, of the only position or the only picture.
        positions: frames that are through by position, see :func:`position_in`, in a file of
            several.
        failed: number and sentence of its last row, if that has an error.
        seen: size and time of change when it was last looked at.
        counted: the same when it was last counted; None: not yet.
        still: when it last changed, by our clock.
    """

    rows: int = 0
    positions: dict[str, int] | None = None
    failed: tuple[str, str] | None = None
    seen: tuple[int, int] | None = None
    counted: tuple[int, int] | None = None
    still: float = 0.0

    def take(self, image: str, series: str, frame: int | str, error: str) -> None:
        """Takes in a frame that was counted, or could not be.

        A frame that could not be read is not through: its file may change. A frame of a series that
        a counter refused is.

        Args:
            image: the file, as it is in the table.
            series: that the file names, as it is in the table; empty: none.
            frame: its number.
            error: why it has no count, as it is in the table; empty: it has one.
        """
        if series or not error:
            self._add(position_in(series, image), 1)
        self.failed = (str(frame), error) if error else None

    def failed_before(self, frame: int | str, error: str) -> bool:
        """Whether its last row says the same error of the same frame."""
        return self.failed == (str(frame), error)

    def begin(self, position: str) -> None:
        """Takes the file's first position, to which belongs what had none when it was counted."""
        known = self.positions or {}
        earlier = [name for name in known if name[0] != " " and position.startswith(f"{name} ")]
        rows = sum(known.pop(name) for name in earlier)
        if position:
            rows, self.rows = rows + self.rows, 0
        if rows:
            self._add(position, rows)

    def through(self, position: str) -> int:
        """Frames of a position that are through."""
        return (self.positions or {}).get(position, 0) if position else self.rows

    def _add(self, position: str, rows: int) -> None:
        if not position:
            self.rows += rows
            return
        self.positions = self.positions or {}
        self.positions[position] = self.positions.get(position, 0) + rows


def position_in(series: str, image: str) -> str:
    """What the name of a series adds to that of its file; empty where it has one position alone.

    The first part of a series is the file, or the set that it is one of, which changes as it grows.
    """
    return series[len(os.path.commonprefix([series, image])) :]


@dataclass
class Unread:
    """Which frames of a file are not in the table yet, asked in their order at one look.

    Attributes:
        image: the file, as it is in the table.
        file: what is known of it.
        next: number in the file of the frame after the last one that was asked for.
        starts: number in the file with which each series after the first begins. It grows with
            those before it.
    """

    image: str
    file: WatchedFile
    next: int = 0
    starts: dict[str, int] = field(default_factory=dict)
    _asked: dict[str, int] = field(default_factory=dict)

    def __call__(self, series: str, index: int) -> bool:
        """Whether to read a frame.

        Args:
            series: that it is of.
            index: its number in the file.
        """
        position = position_in(image_cell(series), self.image)
        if not self._asked:
            self.file.begin(position)
        elif position not in self._asked:
            self.starts[series] = index
        self._asked[position] = self._asked.get(position, 0) + 1
        wanted = self._asked[position] > self.file.through(position)
        self.next = index if wanted else index + 1
        return wanted

    @property
    def only_known_one(self) -> bool:
        """Whether the file has one frame, which was through before."""
        return list(self._asked.values()) == [1] and self.next > 0
