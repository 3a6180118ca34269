"""What a file of labels is, and what is read from it, whatever program wrote it."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cellzoo.data.labels import parse_count
from cellzoo.data.names import NamedFiles, folded, picture_stems
from cellzoo.data.points import Point
from cellzoo.data.table import read_csv_rows
from cellzoo.errors import UsageError, UserError
from cellzoo.images import find_images, open_image

_HEAD = 4096  # bytes that say what a file is


@dataclass(frozen=True)
class Labelled:
    """What a file says of an image.

    Attributes:
        image: file of the image.
        frame: number in a stack, from 0; None: the whole file.
        count: cells; NaN: unlabelled.
        where: file and line that say so, for errors.
        cells: their places; None: not known.
        more: further columns of ``labels.csv``.
    """

    image: Path
    frame: int | None
    count: float
    where: tuple[Path, int | None]
    cells: Sequence[Point] | None = None
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the image and number of the frame."""
        return self.image.name if self.frame is None else f"{self.image.name}#{self.frame}"


class LabelFile:
    """A file with labels; its content is read when it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self.head = file.read(_HEAD)
        except OSError as error:
            raise UserError(
                f"{path}: cannot be opened ({error.strerror}), check the path"
            ) from error

    @cached_property
    def rows(self) -> list[tuple[int, list[str]]]:
        """Of a table: line number and cells of each row, the header included."""
        return read_csv_rows(self.path)

    @cached_property
    def header(self) -> list[str]:
        """Of a table: the cells of its first line, in lower case."""
        return [cell.lower() for cell in self.rows[0][1]] if self.rows else []

    @cached_property
    def values(self) -> list[tuple[int, dict[str, str]]]:
        """Of a table: line number and cells by column of each row; what is missing is empty."""
        rows = []
        for line, cells in self.rows[1:]:
            if len(cells) > len(self.header):
                raise self.refused(
                    line,
                    f"has {len(cells)} values for {len(self.header)} columns, correct the line",
                )
            filled = dict(zip(self.header, cells, strict=False))
            rows.append((line, dict.fromkeys(self.header, "") | filled))
        return rows

    def refused(self, line: int | None, reason: str) -> UserError:
        """What to say of a file, or of a line of it, that cannot be used."""
        return UserError(f"{self.path}: {reason}" if line is None else
                         f"{self.path}: line {line}: {reason}")  # fmt: skip

    def count(self, line: int, text: str) -> float:
        """A count; NaN where there is none.

        Raises:
            UserError: the text is no count.
        """
        try:
            return parse_count(text)
        except ValueError as error:
            raise self.refused(line, f"{error}, write a whole number of cells") from error

    def number(self, line: int, text: str) -> float:
        """A finite number, with a decimal point or comma.

        Raises:
            UserError: the text is none.
        """
        try:
            number = float(text.replace(",", "."))
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise self.refused(line, f"{text!r} is not a number, correct it")
        return number


@dataclass(frozen=True)
class Layout:
    """What an image file holds, as far as labels need it.

    Attributes:
        width: in pixels.
        height: in pixels.
        axes: letters of the axes that count planes, without channels, such as ``TZ``.
        frames: number of frames that are counted apart.
        per_frame: planes of a frame, of all its channels and focal planes.
        pixel_size_um: width of a pixel in micrometres, where the file says so.
    """

    width: int
    height: int
    axes: str
    frames: int
    per_frame: int
    pixel_size_um: float | None


class Surroundings:
    """The images that label files speak of, what the user chose, and what the user should hear.

    Args:
        folders: where images are looked for, below them, too; the first that has one counts.
        label_files: no images, although they may be pictures.
        columns: of tables, that the user chose.
    """

    def __init__(
        self, folders: Iterable[Path], label_files: Iterable[Path], columns: Sequence[str] = ()
    ) -> None:
        self.folders = list(dict.fromkeys(folders))
        self.notes: dict[str, None] = {}  # a set in order
        self._label_files = {path.resolve() for path in label_files}
        self._columns = {column.lower(): column for column in columns}
        self._named = {folder: NamedFiles(folder) for folder in self.folders}
        self._below: dict[Path, list[Path]] = {}
        self._indices: dict[Path, tuple[dict[str, list[Path]], dict[str, list[Path]]]] = {}
        self._found: dict[str, Path | None] = {}
        self._layouts: dict[Path, Layout] = {}

    def note(self, sentence: str) -> None:
        """Adds what a user should hear, once."""
        self.notes[sentence] = None

    def images(self, folder: Path) -> list[Path]:
        """The images of a folder and its subfolders."""
        if folder not in self._below:
            try:
                found = find_images([folder])
            except UserError:
                found = []
            self._below[folder] = [
                path for path in found if path.resolve() not in self._label_files
            ]
        return self._below[folder]

    def find(self, name: str) -> Path | None:
        """The image of a name or path, however it is spelled; None where there is none.

        Raises:
            ValueError: it may be one of several.
        """
        if name not in self._found:
            self._found[name] = self._find(name) if name else None
        return self._found[name]

    def _find(self, name: str) -> Path | None:
        for folder in self.folders:
            if (found := self._named[folder].find_tail(name)) is not None:
                return folder / found
        last = folded(name.replace("\\", "/").rpartition("/")[2])
        for folder in self.folders:
            whole, stems = self._index(folder)
            same = whole.get(last) or stems.get(last, [])
            if len(same) > 1:
                shown = " or ".join(path.relative_to(folder).as_posix() for path in same[:2])
                raise ValueError(f"{name} may be {shown}, give its folder, too")
            if same:
                return same[0]
        return None

    def _index(self, folder: Path) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
        """The images of a folder by their names, and by their names without suffix."""
        if folder not in self._indices:
            whole, stems = defaultdict(list), defaultdict(list)
            for path in self.images(folder):
                whole[folded(path.name)].append(path)
                for stem in picture_stems(path.name):
                    stems[folded(stem)].append(path)
            self._indices[folder] = (whole, stems)
        return self._indices[folder]

    def has(self, name: str) -> bool:
        """Whether there is one image of a name."""
        try:
            return self.find(name) is not None
        except ValueError:
            return False

    def named(self, file: LabelFile, line: int | None, *names: str) -> Path:
        """The image that a file names; of several spellings the first that exists.

        Raises:
            UserError: there is no such image, or it may be one of several.
        """
        try:
            found = next((path for name in names if (path := self.find(name)) is not None), None)
        except ValueError as error:
            raise file.refused(line, str(error)) from error
        if found is None:
            raise file.refused(
                line,
                f"there is no image {names[0] or 'without a name'} beside the file, put the file "
                "into the folder of its images or name that with --images",
            )
        return found

    def image_of(self, file: LabelFile) -> Path:
        """The image of a file that names none: the one whose name is in the file's name.

        Raises:
            UserError: there is none, or there are several.
        """
        stem = folded(file.path.stem)
        for folder in self.folders:
            stems = self._index(folder)[1]
            named = {own: paths for own, paths in stems.items() if _within(own, stem)}
            longest = max(map(len, named), default=0)
            best = [path for own, paths in named.items() if len(own) == longest for path in paths]
            if len(best) == 1:
                return best[0]
            if best:
                raise file.refused(
                    None,
                    f"may belong to {best[0].name} or {best[1].name}, name it after its image",
                )
        only = list(dict.fromkeys(path for folder in self.folders for path in self.images(folder)))
        if len(only) == 1:
            self.note(f"{file.path.name} names no image: taken for {only[0].name}, the only one.")
            return only[0]
        raise file.refused(
            None,
            "names no image, give it the name of its image, such as "
            f"{only[0].stem if only else 'a'}{file.path.suffix}, or name their folder with "
            "--images",
        )

    def layout(self, image: Path) -> Layout:
        """What an image file holds.

        Raises:
            UserError: it cannot be read.
        """
        if image not in self._layouts:
            with open_image(image) as opened:
                series = opened.series[0]
                sizes = dict(series.sizes)
            frames = math.prod(sizes.get(letter, 1) for letter in "TI")
            planes = math.prod(series.shape)
            self._layouts[image] = Layout(
                width=sizes["X"],
                height=sizes["Y"],
                axes=series.outer.replace("C", ""),
                frames=frames,
                per_frame=planes // max(frames, 1),
                pixel_size_um=series.pixel_size_um,
            )
        return self._layouts[image]

    def frame_of_plane(
        self, file: LabelFile, line: int | None, image: Path, plane: int
    ) -> int | None:
        """The frame of a plane's number in ImageJ, from 1; None where there is only one.

        Raises:
            UserError: the image has no such plane, or has frames and the number is 0.
        """
        layout = self.layout(image)
        if layout.frames == 1:
            return None
        frame = (plane - 1) // layout.per_frame
        if not 0 <= frame < layout.frames:
            raise file.refused(
                line,
                f"{image.name} has {layout.frames} frames, and the labels do not say which is meant"
                if plane <= 0
                else f"{image.name} has no plane {plane}, give the labels of this very image",
            )
        return frame

    def choose(self, file: LabelFile, what: str, columns: Sequence[str]) -> str:
        """One of several columns of a table that could be meant.

        Args:
            file: the table.
            what: they hold, for the refusal.
            columns: in lower case.

        Raises:
            UsageError: there are several and the user chose none of them, or more than one.
        """
        chosen = [column for column in columns if column in self._columns]
        if len(columns) == 1 or len(chosen) == 1:
            return (chosen or list(columns))[0]
        as_written = {cell.lower(): cell for cell in file.rows[0][1]}
        shown = ", ".join(as_written[column] for column in columns)
        raise UsageError(f"{file.path}: has several columns of {what}, choose one of them with "
                         f"--column: {shown}")  # fmt: skip


def _within(stem: str, text: str) -> bool:
    """Whether a name stands in a text, not amid a word or number."""
    at = text.find(stem)
    while at >= 0:
        before, after = text[:at][-1:], text[at + len(stem) :][:1]
        if not before.isalnum() and not after.isalnum():
            return True
        at = text.find(stem, at + 1)
    return False


def grouped(
    file: LabelFile,
    cells: Iterable[tuple[Path, int | None, Point | None]],
) -> list[Labelled]:
    """One label for each image and frame that cells lie in.

    Args:
        file: that lists the cells.
        cells: image, frame, and the cell, None where its place is not known.
    """
    found: dict[tuple[Path, int | None], list[Point | None]] = {}
    for image, frame, cell in cells:
        found.setdefault((image, frame), []).append(cell)
    labels = []
    for (image, frame), of in found.items():
        known = [cell for cell in of if cell is not None]
        places = known if len(known) == len(of) else None
        labels.append(Labelled(image, frame, float(len(of)), (file.path, None), places))
    return labels
