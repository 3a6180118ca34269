"""What a model says of the frames of a page, counted in the background."""

import logging
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from cellzoo.commands.count_table import counted_by_chambers
from cellzoo.counters.entries import Entry, file_entries, with_options
from cellzoo.data.table import read_table
from cellzoo.errors import UserError
from cellzoo.files import csv_plain
from cellzoo.labelling.catalogue import Catalogue
from cellzoo.labelling.next import Predicted
from cellzoo.scores.counts import round_count

log = logging.getLogger("cellzoo")

_MOST_RINGS = 1000  # of a frame
_NUMBERS = ("count_raw", "count_low", "count_high")


@dataclass
class Predictions:
    """Counts of the frames, by a model or from a table.

    Test images are not counted: `cellzoo evaluate` alone asks a model about them.

    Attributes:
        frames: all of them.
        name: of what counted; empty without a model.
        predicted: by number of the frame.
        rings: where the model finds cells, ``(x, y)`` in pixels, by number of the frame.
        counted: frames that are through.
        wanted: frames to count.
        error: why there is no count.
    """

    frames: Catalogue
    name: str = ""
    predicted: dict[int, Predicted] = field(default_factory=dict)
    rings: dict[int, list[tuple[float, float]]] = field(default_factory=dict)
    counted: int = 0
    wanted: int = 0
    error: str = ""
    _thread: threading.Thread | None = None

    @property
    def working(self) -> bool:
        """Whether a model counts just now."""
        return self._thread is not None and self._thread.is_alive()

    def begin(self, model: str | Path) -> None:
        """Counts with another model; until it is through, the earlier counts stay."""
        wait_for = self._thread
        self._thread = threading.Thread(target=self._count, args=(model, wait_for), daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Waits until all is counted."""
        if self._thread is not None:
            self._thread.join()

    def _count(self, model: str | Path, wait_for: threading.Thread | None) -> None:
        if wait_for is not None:
            wait_for.join()
        self.error, self.counted = "", 0
        try:
            self._count_all(model)
        except Exception as error:  # a thread that ends without a word helps nobody
            self.error = with_options(str(error), "--{} ")
            log.warning("%s does not count these images: %s", model, self.error)

    def _count_all(self, model: str | Path) -> None:
        from cellzoo.counters.load import load_counter  # TensorFlow, 4 s
        from cellzoo.counters.stream import count_entries

        numbers = self.frames.numbers
        items = self.frames.items
        wanted = [k for k, item in enumerate(items) if item.split != "test"]
        files = list(dict.fromkeys(items[k].path for k in wanted))
        self.wanted = len(wanted)
        counter = load_counter(model)
        predicted: dict[int, Predicted] = {}
        rings: dict[int, list[tuple[float, float]]] = {}

        def number_of(entry: Entry) -> int | None:
            key = str(entry.path.resolve())
            number = numbers.get((key, entry.index), numbers.get((key, None)))
            return None if number is None or items[number].split == "test" else number

        def locate(entry: Entry) -> None:
            number = number_of(entry)
            if number is not None and counter.can_locate and entry.error is None:
                item = items[number]
                rings[number] = peaks(counter.density_entry(entry), (item.height, item.width))

        def ready(entry: Entry) -> None:
            number = number_of(entry)
            if number is None:
                return
            self.counted += 1
            if entry.error is None:
                said = float(entry.raw), float(entry.low), float(entry.high)
                predicted[number] = Predicted(*said, entry.flag)

        entries = file_entries(files, counter.reader(files, **self.frames.reading), "--{} ")
        count_entries(counter, entries, done=locate, ready=ready)
        if not predicted:
            raise UserError("none of the images can be counted with it")
        self.predicted, self.rings, self.name = predicted, rings, counter.name
        counter.close()


def peaks(density: np.ndarray, size: tuple[int, int]) -> list[tuple[float, float]]:
    """Where a density has its cells, as many as it has.

    The fullest neighbourhood gives a cell, at its centre of mass, and loses it; and so on.

    Args:
        density: cells in each grid cell, ``[rows, columns]``.
        size: height and width of the image in pixels.

    Returns:
        ``(x, y)`` of each cell in pixels, 0 in the middle of the first.
    """
    left = np.maximum(density, 0).astype(np.float32)
    number = min(int(round_count(left.sum())), _MOST_RINGS)
    reach = 1 if size[0] / density.shape[0] >= 4 else 4
    side = 2 * reach + 1
    found = []
    for _ in range(number):
        mass = cv2.boxFilter(
            left, -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT
        )
        row, column = np.unravel_index(int(np.argmax(mass)), mass.shape)
        if mass[row, column] <= 0.2:
            break
        top, start = max(0, row - reach), max(0, column - reach)
        part = left[top : row + reach + 1, start : column + reach + 1]
        rows, columns = np.mgrid[top : top + part.shape[0], start : start + part.shape[1]]
        y, x = (float((where * part).sum() / part.sum()) for where in (rows, columns))
        part *= max(0.0, 1 - 1 / float(part.sum()))
        scale_y, scale_x = (n / of for n, of in zip(size, density.shape, strict=True))
        found.append(((x + 0.5) * scale_x - 0.5, (y + 0.5) * scale_y - 0.5))
    return found


def read_counts(file: Path) -> list[dict[str, str]]:
    """The rows of a table that `cellzoo count` wrote, one for each frame.

    Raises:
        UserError: it is none, or has several counts of a frame, as of chambers.
    """
    header, numbered = read_table(file, numbers=_NUMBERS)
    if not numbered or not {"image", "frame", "count_raw"} <= set(header):
        raise UserError(f"{file} is no table of cellzoo count: it has no count_raw.")
    rows = [{**row, "image": csv_plain(row["image"])} for _, row in numbered]
    counted = Counter((row["image"], row["frame"]) for row in rows)
    (image, frame), times = counted.most_common(1)[0]
    if times > 1 or counted_by_chambers(file):
        many = f"{times} counts of {image}, frame {frame}" if times > 1 else "counts of chambers"
        raise UserError(
            f"{file} has {many}, while a label is of a whole frame: cut the chambers out with "
            "`cellzoo chambers`, count the time-lapses in its folder series, and give that table."
        )
    return rows


def from_table(rows: Sequence[dict[str, str]], frames: Catalogue) -> Predictions:
    """The counts of a table, as far as they are of these frames."""
    found = Predictions(frames)
    for row in rows:
        key = str(Path(row["image"]).resolve())
        frame = int(row["frame"]) if (row["frame"] or "").isdigit() else 0
        number = frames.numbers.get((key, frame), frames.numbers.get((key, None)))
        if number is None or not row["count_raw"] or frames.items[number].split == "test":
            continue
        try:
            ends = (float(row.get(f"count_{end}") or "nan") for end in ("raw", "low", "high"))
            found.predicted[number] = Predicted(*ends, row.get("flag") or "")
        except ValueError:
            raise UserError(f"a count of {row['image']} is no number: count anew.") from None
        found.name = row.get("model") or found.name
    found.counted = found.wanted = len(found.predicted)
    return found
