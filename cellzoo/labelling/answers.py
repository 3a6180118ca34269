"""What a person said of each frame, kept in ``labels.csv`` and ``points.csv`` at once."""

import hashlib
import json
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cellzoo.data.labels import file_and_frame, parse_count, read_rows, resolved
from cellzoo.data.names import NamedFiles
from cellzoo.data.points import POINTS_FILE
from cellzoo.errors import UserError
from cellzoo.files import csv_path, csv_safe
from cellzoo.labelling.catalogue import Catalogue
from cellzoo.labelling.open_table import OpenTable, write_through

LABELS_FILE, REPEATS_FILE = "labels.csv", "repeats.csv"
DRAFTS_FILE = ".label_drafts.json"  # dots of frames that are not answered yet
CHOSEN = ("random", "spread", "model", "person")  # what chose a frame to be labelled
_MOST_CELLS = 100_000  # of a frame: what a person clicks in weeks


@dataclass(frozen=True)
class Answer:
    """What a person said of a frame.

    Attributes:
        count: cells; None: unlabelled.
        points: where they are, ``(x, y)`` in pixels, 0 in the middle of the first; None: not said.
        unsure: the person would not swear to it; without a count the frame is left out.
        assisted: the model's count or its rings were in view.
        chosen: what chose the frame, one of :data:`CHOSEN`; empty where it is not known.
    """

    count: int | None = None
    points: tuple[tuple[float, float], ...] | None = None
    unsure: bool = False
    assisted: bool = False
    chosen: str = ""

    @property
    def given(self) -> bool:
        """Whether the frame need not be shown again."""
        return self.count is not None or self.unsure

    @property
    def token(self) -> str:
        """Differs where answers differ: who has seen another one must not replace this one."""
        points = None if self.points is None else [[_place(x), _place(y)] for x, y in self.points]
        text = json.dumps([self.count, points, self.unsure, self.assisted])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @classmethod
    def parsed(cls, said: Any) -> "Answer":
        """The answer that a page sent.

        Raises:
            UserError: it is none.
        """
        try:
            points, count = said["points"], said["count"]
            if points is not None:
                points = tuple((float(x), float(y)) for x, y in points)
                if not all(math.isfinite(number) for point in points for number in point):
                    raise ValueError("a dot lies nowhere")
                count = len(points)
            good = count is None or (type(count) is int and 0 <= count <= 1_000_000)
            chosen = said["chosen"]
            if not good or len(points or ()) > _MOST_CELLS or chosen not in (*CHOSEN, ""):
                raise ValueError("out of range")
            return cls(count, points, said["unsure"] is True, said["assisted"] is True, chosen)
        except (KeyError, TypeError, ValueError):
            raise UserError("The page sent something that is no answer: load it again.") from None


class SeenAnother(UserError):
    """A frame was answered meanwhile, in another tab or program."""


class Answers:
    """The answers of a folder.

    Each is written through to the disk before it counts as given. Files are read again before they
    are written: what another program changed in them stays.

    Args:
        folder: of ``labels.csv``.
        frames: that can be answered.
        labels: name of the table of labels.
    """

    def __init__(self, folder: Path, frames: Catalogue, labels: str = LABELS_FILE) -> None:
        """Reads what is there.

        Raises:
            UserError: a table cannot be read.
        """
        self.folder, self.frames, self.labels = folder, frames, labels
        self.labels_file = folder / labels
        self.points_file = folder / POINTS_FILE
        self.repeats_file = folder / REPEATS_FILE
        self._drafts_file = folder / DRAFTS_FILE
        self._lock = threading.RLock()
        self._read_at: tuple | None = None
        self._named: dict[str, int | None] = {}
        self._files = NamedFiles(self.labels_file.parent)
        self._answers: dict[int, Answer] = {}
        self._drafts: dict[str, list] = _read_drafts(self._drafts_file)
        self.all()

    def all(self) -> dict[int, Answer]:
        """The answers by number of the frame, as the files have them now.

        Raises:
            UserError: a table cannot be read.
        """
        with self._lock:
            now = (_stamp(self.labels_file), _stamp(self.points_file))
            if now != self._read_at:
                self._answers = self._read()
                self._read_at = now
            return dict(self._answers)

    def of(self, number: int) -> Answer:
        """The answer to a frame."""
        return self.all().get(number, Answer())

    def save(self, number: int, answer: Answer, seen: str | None = None) -> None:
        """Writes an answer through to the disk.

        Args:
            number: of the frame.
            answer: the new one.
            seen: token of the answer that the person saw before; None: whatever it was.

        Raises:
            SeenAnother: it has another answer by now.
            UserError: a table cannot be read or written.
        """
        with self._lock:
            now = self.of(number)
            if seen is not None and now.token not in (seen, answer.token):
                raise SeenAnother(
                    f"{self.frames.items[number].name} was answered meanwhile in another tab or "
                    "program: its answer is shown now, change it if it is wrong."
                )
            # First the places: a kill between the two leaves a count without an answer, and the
            # page, which was told nothing, sends it again.
            self._write_points(number, answer)
            self._write_label(number, answer)
            self._answers[number] = answer
            self._read_at = (_stamp(self.labels_file), _stamp(self.points_file))
            self.keep_draft(number, None)

    def keep_draft(self, number: int, points: Sequence[Sequence[float]] | None) -> None:
        """Writes down the dots of a frame that is not answered yet; None: forgets them."""
        with self._lock:
            name = self.frames.items[number].name
            if points is None and name not in self._drafts:
                return
            if points is None:
                del self._drafts[name]
            else:
                self._drafts[name] = [[float(x), float(y)] for x, y in points]
            write_through(self._drafts_file, json.dumps(self._drafts).encode())

    def draft(self, number: int) -> list | None:
        """The dots of a frame that is not answered yet."""
        return self._drafts.get(self.frames.items[number].name)

    def repeats(self) -> list[tuple[int, int]]:
        """First and second count of each frame that was shown twice."""
        with self._lock:
            table = OpenTable(self.repeats_file, _REPEATS)
            found = []
            for row in range(len(table.rows)):
                try:
                    found.append((int(table.get(row, "count")), int(table.get(row, "again"))))
                except ValueError:
                    continue
            return found

    def repeated(self) -> set[str]:
        """The names of the frames that were shown twice."""
        table = OpenTable(self.repeats_file, _REPEATS)
        return {table.get(row, "image").removeprefix("./") for row in range(len(table.rows))}

    def save_repeat(self, number: int, again: int) -> None:
        """Writes down the second answer to a frame; the first one stays its label."""
        with self._lock:
            table = OpenTable(self.repeats_file, _REPEATS)
            first = self.of(number).count
            when = datetime.now().astimezone().isoformat(timespec="seconds")
            values = (csv_path(self.frames.items[number].name), str(first), str(again), when)
            table.add(dict(zip(_REPEATS, values, strict=True)))
            table.write()

    def _read(self) -> dict[int, Answer]:
        points = self._points()
        if not self.labels_file.is_file():
            return {}
        answers = {}
        header, rows = read_rows(self.labels_file)
        for line, values in rows:
            number = self._number(values["image"])
            if number is None:
                continue
            count = self._count(line, values.get("count", ""))
            dots = points.get(number)
            if count is None and dots is not None:
                count = len(dots)
            if dots is not None and len(dots) != count:
                dots = None  # they are of another count than a person gave
            answers[number] = Answer(
                count,
                dots if dots or count else None,
                values.get("unsure", "") == "1",
                values.get("assisted", "") == "1",
                values.get("chosen", ""),
            )
        return answers

    def _count(self, line: int, text: str) -> int | None:
        """The count in a line of the table of labels; None where there is none."""
        try:
            count = parse_count(text)
        except ValueError as error:
            raise UserError(
                f"{self.labels_file}: line {line}: {error}: write a whole number of cells, or "
                "leave it empty if unlabelled."
            ) from None
        return None if math.isnan(count) else int(count)

    def _points(self) -> dict[int, tuple[tuple[float, float], ...]]:
        table = OpenTable(self.points_file, _POINTS)
        found: dict[int, list[tuple[float, float]]] = {}
        for row in range(len(table.rows)):
            number = self._number(table.get(row, "image"))
            if number is None:
                continue
            places = found.setdefault(number, [])
            try:
                x, y = (float(table.get(row, axis).replace(",", ".")) for axis in "xy")
            except ValueError:
                continue  # a frame that somebody found empty
            places.append((x, y))
        return {number: tuple(places) for number, places in found.items()}

    def _number(self, name: str) -> int | None:
        """The number of the frame that a table names."""
        if name not in self._named:
            numbers = self.frames.numbers
            try:
                name_on_disk = self._files.spelled(name)
                file, frame = file_and_frame(self.labels_file.parent, name_on_disk)
            except ValueError:  # it may mean two files
                return None
            file = str(resolved(file))
            alone = numbers.get((file, None)) if frame == 0 else None
            self._named[name] = numbers.get((file, frame), alone)
        return self._named[name]

    def _write_points(self, number: int, answer: Answer) -> None:
        table = OpenTable(self.points_file, _POINTS)
        old = [k for k in range(len(table.rows)) if self._number(table.get(k, "image")) == number]
        if not old and not answer.points:
            return
        # A dot that stays keeps its row, which may say more than we know, such as a class.
        new = dict.fromkeys((_place(x), _place(y)) for x, y in answer.points or ())
        gone = []
        for row in old:
            place = _written_place(table, row)
            if place in new:
                del new[place]
            else:
                gone.append(row)
        at = old[-1] + 1 if old else len(table.rows)
        name = table.get(old[0], "image") if old else csv_path(self.frames.items[number].name)
        for x, y in reversed(new):
            table.add({"image": name, "x": x, "y": y}, at)
        table.remove(gone)
        table.write()

    def _write_label(self, number: int, answer: Answer) -> None:
        columns = ("image", "count", "group", "split")
        table = OpenTable(self.labels_file, columns)
        rows: dict[int, int] = {}
        for row in range(len(table.rows)):
            named = self._number(table.get(row, "image"))
            if named is not None:
                rows[named] = row
        for k, item in enumerate(self.frames.items):
            if k not in rows:  # unlabelled frames have their group and split, too
                rows[k] = len(table.rows)
                table.add({"image": csv_path(item.name)})
            row = rows[k]
            if not table.get(row, "group") and not table.get(row, "series"):
                table.set(row, {"group": csv_safe(item.group)})
            if not table.get(row, "split"):
                table.set(row, {"split": item.split})
        table.set(
            rows[number],
            {
                "count": "" if answer.count is None else str(answer.count),
                "assisted": "1" if answer.assisted and answer.count is not None else "",
                "unsure": "1" if answer.unsure else "",
                "chosen": answer.chosen,
            },
        )
        table.write()


_POINTS = ("image", "x", "y")
_REPEATS = ("image", "count", "again", "when")


def _place(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")


def _written_place(table: OpenTable, row: int) -> tuple[str, str]:
    """The place of a row, written as we write it."""
    x, y = (table.get(row, axis).replace(",", ".") for axis in "xy")
    try:
        return _place(float(x)), _place(float(y))
    except ValueError:
        return x, y


def _stamp(path: Path) -> tuple[int, int] | None:
    """What changes when a file does."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _read_drafts(path: Path) -> dict[str, list]:
    try:
        drafts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return drafts if isinstance(drafts, dict) else {}
