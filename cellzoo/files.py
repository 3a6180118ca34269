"""Writing files whole or not at all: whoever reads one never sees half of it."""

import contextlib
import csv
import errno
import hashlib
import io
import json
import logging
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import filelock

from cellzoo.errors import UsageError, UserError

log = logging.getLogger(__name__)

CHECKSUMS_FILE = "checksums.txt"
LOCK_FILE = ".lock"  # stays: a process that waits holds the same file open
# A path from the root, or from a drive, within other text such as {folder: /home/me/cells}.
_ABSOLUTE = re.compile(r"""(?<![\w.~/\\])(?:~|[A-Za-z]:)?[/\\](?=[\w.])[^\s,;"'{}\[\]]+""")
_NOTES = "README.md"  # whoever adds a note to it damages nothing


def path_text(given: object, what: str) -> str:
    """A path as text.

    Args:
        given: by a user of Python.
        what: it is the path of, such as ``"model"``.

    Raises:
        UsageError: it is no path.
    """
    if isinstance(given, str | os.PathLike) and isinstance(text := os.fspath(given), str):
        return text
    raise UsageError(f"{what} is of type {type(given).__name__}: give a path or a name as text.")


def check_new_file(out: Path, option: str = "-o") -> None:
    """Says that a file that an option names cannot be written, before the work that is to fill it.

    Raises:
        UserError: it exists already, its name is too long or no UTF-8, or its folder does not exist
            or cannot be written to.
    """
    check_name(out)
    if out.exists():
        raise UserError(f"{out} exists: choose another name for {option}, or move it away.")
    if not out.parent.is_dir():
        raise UserError(f"There is no folder {out.parent} for {out.name}: make it first.")
    try:
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise UserError(
            f"{out.parent} cannot be written to ({error.strerror}): choose another folder for "
            f"{option}."
        ) from None


def check_name(path: Path) -> None:
    """Says that a name cannot be given to a new file or folder.

    Raises:
        UserError: it is too long for the file system, or no UTF-8.
    """
    try:
        str(path).encode()
        path.lstat()
    except UnicodeEncodeError:
        raise UserError(f"{readable(path)} is no UTF-8: choose another name.") from None
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.EINVAL):
            raise UserError(
                f"{path} cannot be a name ({error.strerror}): choose a shorter one."
            ) from None


def temporary_beside(path: Path) -> Path:
    """Where to write what is then renamed to ``path``: a hidden name, of this process alone.

    Names have 255 bytes at most, so a long one is cut. Its digest keeps it apart from others that
    begin alike.
    """
    digest = hashlib.sha256(path.name.encode(errors="surrogatepass")).hexdigest()[:12]
    return path.with_name(f".{path.name[:48]}.{digest}.{os.getpid()}.tmp")


def write_atomically(path: Path, content: str | bytes, through: bool = False) -> None:
    """Writes or replaces a file; one that is replaced keeps its rights, and a link stays a link.

    Args:
        path: the file.
        content: text is written as UTF-8.
        through: to the disk, so that a power cut leaves the old file or the new one.

    Raises:
        OSError: it cannot be written.
    """
    if path.is_symlink():
        path = Path(os.path.realpath(path))
    temporary = temporary_beside(path)
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if through:
                file.flush()
                os.fsync(file.fileno())
        with contextlib.suppress(OSError):  # a new file, or a file system without rights
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_new(path: Path, content: str | bytes) -> None:
    """Writes a file, text as UTF-8, and never over one that came to be meanwhile.

    Raises:
        FileExistsError: it exists.
        OSError: it cannot be written.
    """
    temporary = temporary_beside(path)
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        rename_new(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def rename_new(file: Path, path: Path) -> None:
    """Renames a file, but never over another one.

    Raises:
        FileExistsError: ``path`` exists.
        OSError: it cannot be renamed.
    """
    try:
        os.link(file, path)  # unlike a rename, fails where it exists
    except FileExistsError:
        raise
    except OSError as error:  # a file system without links, such as a memory stick's
        if path.exists():
            raise FileExistsError(f"{path} exists") from error
        os.replace(file, path)
    else:
        file.unlink()


@contextlib.contextmanager
def lock(folder: Path, otherwise: str | None) -> Iterator[bool]:
    """Keeps other processes from working in a folder; a killed process keeps nobody out.

    The lock is one hidden file, ``.lock``. Where none can be made, as on a read-only file system
    or one without locks, the work goes on without it.

    Args:
        folder: an existing folder.
        otherwise: an error's words about the folder if another process works there; None: wait.

    Yields:
        Whether there is a lock.

    Raises:
        UserError: another process works there.
    """
    held = filelock.FileLock(folder / LOCK_FILE)
    try:
        held.acquire(blocking=otherwise is None)
    except filelock.Timeout:
        raise UserError(f"{folder} {otherwise}: wait for it, or choose another --out.") from None
    except (OSError, NotImplementedError):
        pass
    try:
        yield held.is_locked
    finally:
        held.release()


def finite(value: Any) -> Any:
    """The same with None for what is not a finite number, for which JSON has no word."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(file: Path, cure: str) -> dict[str, Any]:
    """The object in a JSON file that cellzoo wrote.

    Args:
        file: that exists.
        cure: what to do where it is damaged, after a colon.

    Raises:
        UserError: it is no JSON object.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):  # JSON and UTF-8 alike
        content = None
    if not isinstance(content, dict):
        raise UserError(f"{file} is damaged: {cure}.")
    return content


def without_folders(text: str) -> str:
    """A word of a command, or a path, in which absolute paths are shortened to their last names.

    Folders say who a user is and how the computer is arranged, which is nobody's business where a
    file goes to others.
    """
    key, equals, value = text.rpartition("=")
    if PurePosixPath(value).is_absolute() or PureWindowsPath(value).drive or value[:1] == "~":
        return key + equals + PureWindowsPath(value).name  # which knows both kinds of slash
    return _ABSOLUTE.sub(lambda found: PureWindowsPath(found[0]).name, text)


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A CSV as text."""
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    return text.getvalue()


def csv_safe(text: str) -> str:
    """Text for a cell of a table that people open in a spreadsheet.

    What would be a formula there, such as a file named ``=1+1.png``, gets an apostrophe before it;
    :func:`csv_plain` takes it off.
    """
    formula = text.lstrip("'").startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{text}" if formula else str(text)


def csv_plain(cell: str) -> str:
    """The text of which :func:`csv_safe` made a cell."""
    return cell[1:] if cell.startswith("'") and csv_safe(cell) != cell else cell


def csv_path(path: str) -> str:
    """A relative path for a cell of a table that people open in a spreadsheet.

    What would be a formula there gets ``./`` before it, by which the same file is found.
    """
    return path if csv_safe(path) == path else f"./{path}"


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes or replaces a CSV."""
    write_atomically(path, csv_text(header, rows))


def readable(path: Path) -> str:
    r"""A path as text that any file can hold: bytes of a name that are no UTF-8 become ``\xe4``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def write_checksums(folder: Path) -> None:
    """Writes the SHA-256 of every file below a folder to its ``checksums.txt``."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = [f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    write_atomically(folder / CHECKSUMS_FILE, "".join(sums))


def damaged_file(folder: Path) -> str | None:
    """The first file that is missing or not as ``checksums.txt`` says; None: there is none.

    A folder without checksums is taken as it is.

    Raises:
        OSError: a file cannot be read.
    """
    sums = folder / CHECKSUMS_FILE
    if not sums.is_file():
        return None
    for line in sums.read_text(encoding="utf-8", errors="replace").splitlines():
        digest, _, name = line.partition("  ")
        file = folder / name
        if name != _NOTES and not (name and file.is_file() and sha256(file) == digest):
            return name or CHECKSUMS_FILE
    return None


def sha256(file: Path) -> str:
    """The SHA-256 of a file's content, hexadecimal."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
