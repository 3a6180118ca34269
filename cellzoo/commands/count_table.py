"""The table of a count: written row by row, and taken up again where it was interrupted."""

import contextlib
import csv
import io
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock

from cellzoo.data.table import read_table
from cellzoo.errors import UserError
from cellzoo.files import (
    check_name,
    check_new_file,
    csv_text,
    read_json,
    rename_new,
    write_atomically,
)

log = logging.getLogger(__name__)

# Columns of counts.csv in which a spreadsheet may write a decimal comma.
_NUMBERS = ("count_raw", "count_low", "count_high", "seconds", "time", "diameter")


class CountTable:
    """A CSV that grows row by row beside its name, and gets the name when it is whole.

    The rows of ``counts.csv`` are in ``counts.part.csv`` until then, and stay there whatever ends
    the work. ``counts.part.json``, of a live table ``counts.watch.json``, says what they were
    counted with, and of a whole table ``.counts.options.json``.

    Args:
        out: the name.
        header: names of the columns.
        made_with: what decides over the counts: model, version and how files are read.
        resume: go on with the rows of an interrupted count; without any, begin.
        live: the rows are in the table itself from the first on, and it is always gone on with.

    Attributes:
        file: where the rows are.
        earlier: rows of the interrupted count, as they stand in the table.
        complete: the table has its name already, and ``earlier`` all of its rows.

    Raises:
        UserError: a table of that name exists, rows of an interrupted count wait and ``resume`` is
            not set, they were counted with something else, another command writes them, or the
            file cannot be made. Every method, too: it cannot be written.
    """

    def __init__(
        self,
        out: Path,
        header: Sequence[str],
        made_with: Mapping[str, Any],
        resume: bool = False,
        live: bool = False,
    ):
        """Opens the file."""
        self._out, self._header = out, list(header)
        self.earlier: list[dict[str, str]] = []
        self.complete = resume and out.is_file()
        made_with = {key: _plain(value) for key, value in made_with.items()}
        if self.complete:
            self.file, self._about = out, options_of(out)
            if self._about.is_file():  # not of tables from before it was kept
                self._check(made_with, "choose another name for -o", but=("model", "version"))
            self.earlier = self._read()
            return
        if not (live and out.is_file()):
            check_new_file(out)
        self.file = out if live else part_of(out)
        resume = resume or live
        check_name(self.file)
        # Not NAME.json, which may be somebody's.
        self._about = self.file.with_suffix(".watch.json" if live else ".json")
        self._lock = _locked(self.file)
        try:
            self._open(made_with, resume)
        except BaseException:
            _unlock(self._lock)
            raise

    def _open(self, made_with: dict[str, Any], resume: bool) -> None:
        if self.file.exists() and not resume:
            _refuse_rows(self.file)
        if self.file.exists() and resume:
            self._check(made_with, f"move {self.file} away")
            self.earlier = self._read()
        with self._said():
            write_atomically(self._about, json.dumps(made_with, indent=1) + "\n")
            # Without what a crash left half-written.
            rows = [list(row.values()) for row in self.earlier]
            write_atomically(self.file, csv_text(self._header, rows))
            # Without a buffer, which would keep what a full disk refuses, and write it later.
            self._opened = self.file.open("ab", buffering=0)
        self._rows = len(rows)

    def _read(self) -> list[dict[str, str]]:
        """The rows that are whole."""
        lines = _whole_lines(self.file)
        if not lines or lines[0] == self._header:
            return [dict(zip(self._header, line, strict=False)) for line in lines[1:] if line]
        header, rows = read_table(self.file, numbers=_NUMBERS)  # that a spreadsheet saved
        if header != self._header:
            raise UserError(f"{self.file} is no table of cellzoo count: move it away.")
        return [row for _, row in rows]

    def _check(self, made_with: dict[str, Any], cure: str, but: Sequence[str] = ()) -> None:
        """Refuses to go on with another model, or with files read otherwise."""
        if not self._about.is_file():
            raise UserError(f"Nothing says how {self.file} was counted: {cure}.")
        before = read_json(self._about, cure)
        other_model = any(before.get(key) != made_with.get(key) for key in but)
        # An option that is left out now is another option, too.
        for key in dict.fromkeys([*made_with, *before]):
            given, now = before.get(key), made_with.get(key)
            # Earlier versions kept none, and those of another model are others.
            if key == "weights" and (None in (given, now) or other_model):
                continue
            if given != now and key not in but:
                raise UserError(
                    f"{self.file} was counted with {key} {_said(given)}, not "
                    f"{_said(now)}: give the same again, or {cure}."
                )

    def write(self, row: Sequence[Any]) -> None:
        """Writes a row through to the disk, whole or not at all."""
        with self._said():
            line = io.StringIO(newline="")
            csv.writer(line).writerow(row)
            left, end = line.getvalue().encode(), self._opened.seek(0, os.SEEK_END)
            try:
                while left:
                    left = left[self._opened.write(left) :]
            except OSError:
                self._opened.truncate(end)  # a part of the row
                raise
        self._rows += 1

    def finish(self) -> None:
        """Gives the file its name.

        Raises:
            UserError: another file has it by now.
        """
        try:
            with self._said():
                self._opened.close()
                try:
                    rename_new(self.file, self._out)
                except FileExistsError:
                    raise UserError(
                        f"{self._out} came to be meanwhile: the rows are in {self.file}."
                    ) from None
                self._about.replace(options_of(self._out))
        finally:
            _unlock(self._lock)

    def close(self) -> None:
        """Ends a live table."""
        with self._said():
            self._opened.close()
        _unlock(self._lock)

    def abandon(self) -> None:
        """Ends it: a file without rows goes, another one is named."""
        if self.complete:
            return
        with contextlib.suppress(OSError):  # a full disk has been told of
            self._opened.close()
        if self._rows and self.file.exists():
            log.warning("The first %d rows are in %s: --resume goes on.", self._rows, self.file)
        elif not self._rows:
            self.file.unlink(missing_ok=True)
            self._about.unlink(missing_ok=True)
        _unlock(self._lock)

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"{self.file} cannot be written ({error.strerror}): free some space, or choose "
                "another place for -o."
            ) from None


def part_of(out: Path) -> Path:
    """Where the rows of a table are until it is whole."""
    return out.with_name(f"{out.stem[:200]}.part.csv")


def options_of(out: Path) -> Path:
    """What says with which options a whole table was counted."""
    return out.with_name(f".{out.stem[:200]}.options.json")


def counted_by_chambers(table: Path) -> bool:
    """Whether what stands beside a table says that it has a row for each chamber of a frame."""
    for about in (options_of(table), table.with_suffix(".watch.json")):
        if about.is_file():
            return bool(read_json(about, "move it away").get("chambers"))
    return False


def check_not_begun(out: Path) -> None:
    """Refuses to begin a table of which an interrupted count left rows.

    Raises:
        UserError: it did, or they cannot be read.
    """
    file = part_of(out)
    if file.exists():
        lock = _locked(file)
        try:
            _refuse_rows(file)
        finally:
            _unlock(lock)


def _refuse_rows(file: Path) -> None:
    """Refuses a table of rows that wait, and one that is somebody's."""
    lines = _whole_lines(file)
    if lines and lines[0][:2] != ["image", "frame"]:
        raise UserError(f"{file} is no table of cellzoo count: move it away.")
    if len(lines) > 1:
        raise UserError(
            f"{file} has the first {len(lines) - 1} rows of an interrupted count: go on with "
            "--resume, or move it away."
        )


def _locked(file: Path) -> filelock.FileLock:
    """A lock that says that somebody writes a table.

    Raises:
        UserError: another command does.
    """
    lock = filelock.FileLock(file.with_name(f".{file.name}.lock"))
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        raise UserError(
            f"{file} is being written by another command: wait for it, or choose another name for "
            "-o."
        ) from None
    except (OSError, NotImplementedError):
        pass  # a file system without locks
    return lock


def _unlock(lock: filelock.FileLock) -> None:
    if lock.is_locked:
        # While it is held: filelock gives up a file that has no name by the time it is locked.
        # Windows deletes no open file; there filelock itself does when it is released.
        with contextlib.suppress(OSError):
            Path(lock.lock_file).unlink()
    lock.release()


def _whole_lines(file: Path) -> list[list[str]]:
    """The lines of a table that are whole, the header first."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}): move it away.") from None
    whole = content[: content.rfind(b"\n") + 1].decode("utf-8", "replace")
    try:
        lines = list(csv.reader(io.StringIO(whole, newline="")))
    except csv.Error:
        return [[]]
    if lines and len(lines[-1]) != len(lines[0]):
        lines.pop()  # cut within quotes
    return lines


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    return list(value) if isinstance(value, tuple) else value


def _said(value: Any) -> str:
    return "none" if value is None else f"{value}"
