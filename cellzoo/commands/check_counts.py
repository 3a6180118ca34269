"""``cellzoo count --check``: how far off counts are, from a few images that somebody counts.

Images are drawn from a finished table, see :mod:`cellzoo.scores.sampled`. Their true counts come
from the terminal, from the sheet beside the table, or from a table of labels.
"""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from cellzoo.data.labels import Row, parse_count, read_labels, resolved
from cellzoo.data.table import read_table
from cellzoo.errors import UserError
from cellzoo.files import check_new_file, csv_path, csv_plain, csv_text, write_new
from cellzoo.labelling.open_table import OpenTable
from cellzoo.scores.sampled import FEWEST, Correction, Estimate, Sample, draw
from cellzoo.scores.table import COUNT_SCORES
from cellzoo.scores.uncertainty import FEWEST_GROUPS, score_intervals

SEED = 0
CORRECTED = "count_corrected"
_TEXTS = ("image", "frame", "error", "series")
_NUMBERS = ("count_raw", "count_low", "count_high")
Ask = Callable[[str], str | None]


class Counted:
    """A finished table of counts.

    Args:
        table: that `cellzoo count` wrote.

    Attributes:
        header: its columns.
        rows: its rows, of frames without a count too.
        known: places of the rows that have a count, int ``[n]``.
        raw: their counts before rounding, ``[n]``.
    """

    def __init__(self, table: Path):
        """Reads it.

        Raises:
            UserError: it is none.
        """
        self.header, rows = read_table(table, numbers=_NUMBERS)
        self.rows = [row for _, row in rows]
        if missing := [name for name in (*_TEXTS, *_NUMBERS) if name not in self.header]:
            raise UserError(f"{table} is no table of cellzoo count: it has no {missing[0]}.")
        for line, row in rows:
            for name in _NUMBERS:
                if not _is_number(row[name]):
                    raise UserError(
                        f"{table}: line {line}: {name} {row[name]!r} is no number: correct it."
                    )
        self.known = np.array([k for k, row in enumerate(self.rows) if not row["error"]], int)
        self.raw = self.column("count_raw")
        self._frames = Counter(row["image"] for row in self.rows)

    def column(self, name: str) -> np.ndarray:
        """Numbers of the rows with a count, ``[n]``; NaN where there is none."""
        return np.array([float(self.rows[k][name] or "nan") for k in self.known])

    def image(self, place: int) -> tuple[Path, int | None]:
        """File and frame of a row with a count; the frame is None of a file that has no other."""
        row = self.rows[self.known[place]]
        alone = self._frames[row["image"]] == 1 and row["frame"] == "0"
        return Path(csv_plain(row["image"])), None if alone else int(row["frame"])


def sheet_of(table: Path) -> Path:
    """Where the images to count by eye are listed."""
    return table.with_suffix(".check.csv")


def check_counts(
    table: Path,
    number: int,
    say: Callable[[str], None],
    *,
    truth: Path | None = None,
    ask: Ask | None = None,
    corrected: Path | None = None,
) -> None:
    """Says how far off the counts of a table are, by images drawn from it.

    Args:
        table: that `cellzoo count` wrote.
        number: of images to draw.
        say: prints a line.
        truth: table of labels with their true counts; None: the sheet, which is written first.
        ask: gives the answer to a question, None where nobody goes on answering; None: nobody is
            there to be asked.
        corrected: new table, which gets the column ``count_corrected``; None: none.

    Raises:
        UserError: there are too few images, or too few with a true count; the sheet is that of
            other counts; or the counts are to be corrected and nothing is shown to help.
    """
    if corrected is not None:
        check_new_file(corrected, "--corrected")
    counted = Counted(table)
    if len(counted.raw) <= number:
        raise UserError(
            f"{table} has {len(counted.raw)} counts, so --check {number} would leave none to say "
            "something of: give fewer."
        )
    drawn = draw(counted.raw, number, SEED)
    if truth is None:
        truth = sheet_of(table)
        sheet = _Sheet(truth, counted, drawn)
        if ask is not None:
            sheet.ask(ask)
        if sheet.answered < FEWEST:
            nobody = "without a terminal nobody is asked; " if ask is None else ""
            say(
                f"{nobody}{truth} lists {number} images: count their cells by eye, fill in the "
                "column count, and give the same command with --resume"
            )
            return
    labels = read_labels(truth).rows
    answers = {k: row for k in range(len(counted.raw)) if (row := _row(labels, counted, k))}
    places = _with_truth(drawn, answers, counted.raw, truth, say)
    true = np.array([answers[int(place)].count for place in places])
    sample = Sample(counted.raw, places, true)
    correction = sample.correction()
    for line in (*_said(sample, counted, correction), *_groups(sample, counted, answers)):
        say(line)
    if corrected is None:
        return
    if correction.kind == "none":
        raise UserError(f"{corrected} is not written: no correction is shown to help.")
    _write(corrected, counted, correction.apply(counted.raw))
    say(f"wrote {corrected}")


class _Sheet:
    """The images to count by eye, a table of labels, filled in by hand or at the terminal."""

    def __init__(self, path: Path, counted: Counted, drawn: np.ndarray):
        """Writes it, unless it is there already."""
        self._images = [_shown(*counted.image(int(place))) for place in drawn]
        names = [_name(path, *counted.image(int(place))) for place in drawn]
        there = path.is_file()
        self._table = OpenTable(path, ("image", "count"))
        if not there:
            for name in names:
                self._table.add({"image": name})
            self._table.write()
        elif self._names() != names:
            number = len(self._table.rows)
            cure = "move it away, or give it as --truth"
            if number != len(names):
                cure = f"give --check {number}, which it was made with, or {cure}"
            raise UserError(f"{path} lists other images than the {len(names)} drawn now: {cure}.")

    def _names(self) -> list[str]:
        """Of its images; earlier versions wrote every name as it is."""
        return [csv_path(self._table.get(k, "image")) for k in range(len(self._table.rows))]

    @property
    def answered(self) -> int:
        """How many images have a true count."""
        return sum(bool(self._table.get(k, "count")) for k in range(len(self._table.rows)))

    def ask(self, ask: Ask) -> None:
        """Asks for what is missing; each answer is on the disk at once."""
        for k, image in enumerate(self._images):
            if self._table.get(k, "count"):
                continue
            answer = ask(f"[{k + 1}/{len(self._images)}] cells in {image}")
            while answer and not _is_count(answer):
                answer = ask(f"{answer!r} is no whole number of cells; cells in {image}")
            if answer is None:
                return
            if answer:
                self._table.set(k, {"count": answer})
                self._table.write()


def _is_count(answer: str) -> bool:
    try:
        parse_count(answer)
    except ValueError:
        return False
    return True


def _is_number(text: str) -> bool:
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True


def _shown(file: Path, frame: int | None) -> str:
    return str(file) if frame is None else f"{file}, frame {frame}"


def _name(sheet: Path, file: Path, frame: int | None) -> str:
    """How a table of labels names a frame: from its own folder."""
    try:
        name = Path(os.path.relpath(file, sheet.parent)).as_posix()
    except ValueError:  # on another drive
        name = file.resolve().as_posix()
    return csv_path(name if frame is None else f"{name}#{frame}")


def _row(labels: dict[Path, dict[int | None, Row]], counted: Counted, place: int) -> Row | None:
    """What the labels say of a counted frame; None without a true count."""
    file, frame = counted.image(place)
    rows = labels.get(resolved(file), {})
    row = rows.get(frame, rows.get(0) if frame is None else None)
    return None if row is None or np.isnan(row.count) else row


def _with_truth(
    drawn: np.ndarray,
    answers: dict[int, Row],
    raw: np.ndarray,
    truth: Path,
    say: Callable[[str], None],
) -> np.ndarray:
    """Which images with a true count say how far off counts are; those drawn if possible."""
    if len(answers) < FEWEST:
        raise UserError(
            f"{truth} has true counts of {len(answers)} of the counted images: fill in at least "
            f"{FEWEST}, and name images as seen from its own folder."
        )
    found = np.array([place for place in drawn if int(place) in answers], int)
    if len(found) == len(drawn):
        return found
    if len(found) == len(answers):
        say(
            f"{len(drawn) - len(found)} of the {len(drawn)} images drawn have no true count: what "
            "follows holds if they are like the others"
        )
        return found
    places = np.array(sorted(answers), int)
    if len(places) > len(drawn):
        places = places[draw(raw[places], len(drawn), SEED)]
    say(
        f"{truth} has true counts of {len(answers)} of {len(raw)} images, which were not drawn: "
        "what follows holds if the others are like them"
    )
    return places


def _said(sample: Sample, counted: Counted, correction: Correction) -> list[str]:
    """What to expect of the images without a true count."""
    scores = sample.scores()
    lines = [
        f"checked {len(sample.places)} of {len(sample.predicted)} images; to expect of the other "
        f"{sample.rest}, with 95 % intervals:"
    ]
    for key, what in (("mae", "MAE"), ("bias_raw", "bias"), ("exact", "exact")):
        lines.append(f"  {what} {_text(scores[key], COUNT_SCORES[key].factor)}"
                     f"{' %' if key == 'exact' else ' cells'}")  # fmt: skip
    lines.append(f"  {_intervals(sample, counted)}")
    amount = _text(correction.amount)
    if correction.kind == "none":
        lines.append(f"  no correction is shown to help: true are {amount} times the counts")
    else:
        do = {"factor": f"multiply by {amount}", "shift": f"add {amount} cells"}[correction.kind]
        lines.append(
            f"  correction: {do}; MAE {_text(correction.mae)} cells then; --corrected FILE does it"
        )
    return lines


def _intervals(sample: Sample, counted: Counted) -> str:
    """Whether the counter's own intervals held."""
    low, high = (counted.column(key)[sample.places] for key in ("count_low", "count_high"))
    promised = ~np.isnan(low)
    if not promised.any():
        return "the counter gave no intervals"
    inside = (low <= sample.true) & (sample.true <= high)
    text = f"{inside.sum()} of {promised.sum()} true counts in the counter's own intervals"
    if not promised.all():
        return text
    held = sample.share(inside)
    text += f", {_text(held, 100)} %"
    return text + (": fewer than the 95 % that are promised" if held.high < 0.95 else "")


def _groups(sample: Sample, counted: Counted, answers: dict[int, Row]) -> list[str]:
    """What is to be expected of images of other groups, where there are groups."""
    groups = [_group(answers[int(k)], counted.rows[counted.known[k]]) for k in sample.places]
    number = len(set(groups))
    if number == len(groups):
        return []
    if number < FEWEST_GROUPS:
        return [
            f"  of other groups nothing can be said: these images are of {number}, and "
            f"{FEWEST_GROUPS} are needed"
        ]
    found = score_intervals(sample.true, sample.counted, groups=np.array(groups))
    said = [
        f"{name} {COUNT_SCORES[key].interval(found[key])}{unit}"
        for key, name, unit in (
            ("mae", "MAE", " cells"), ("bias_raw", "bias", " cells"), ("exact", "exact", " %"),
        )
        if key in found
    ]  # fmt: skip
    return [f"  of other groups than these {number}: {', '.join(said)}"] if said else []


def _group(label: Row, row: dict[str, str]) -> str:
    """The group of an image: that of the labels, else its series, else its own."""
    own = label.name.rpartition("#")[0] or label.name
    return label.group if label.group not in (label.name, own) else row["series"] or label.name


def _text(estimate: Estimate, factor: int = 1) -> str:
    """A number and its interval, with as many decimals as it needs."""
    value, low, high = (factor * n for n in (estimate.value, estimate.low, estimate.high))
    decimals = 0 if factor > 1 else 2 if abs(value) < 10 else 1
    if np.isnan(low):
        return f"{value:.{decimals}f} (no interval: all alike)"
    return f"{value:.{decimals}f} ({low:.{decimals}f} to {high:.{decimals}f})"


def _write(path: Path, counted: Counted, raw: np.ndarray) -> None:
    """The same table with the corrected counts before rounding in a column more."""
    column: Sequence[str] = [""] * len(counted.rows)
    for place, count in zip(counted.known, raw, strict=True):
        column[place] = f"{count:.3f}"
    rows = [[*row.values(), new] for row, new in zip(counted.rows, column, strict=True)]
    write_new(path, csv_text([*counted.header, CORRECTED], rows))
