"""The image files among files and folders, and what beside them is none."""

import logging
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cellzoo.errors import UserError
from cellzoo.images.readers import FORMATS, format_named, suffixes

log = logging.getLogger("cellzoo")

SUFFIXES = tuple(suffix for form in FORMATS for suffix in form.suffixes)

# Tables, notes and settings that lie beside pictures; nobody expects them to be counted.
_NO_PICTURES = frozenset(
    ".csv .tsv .txt .json .xml .md .yaml .yml .html .log .py .ipynb .ini .cfg .xls .xlsx".split()
    + ".docx .pdf .zip .gz .sh .db .ome .index".split()
)
# What programs leave beside the image `name.tif`: Cellpose and Omnipose (`name_cp_masks.png`),
# ilastik (`name_Simple Segmentation.tiff`), StarDist's and others' label images, cellzoo's masks.
_LEFT_BESIDE = re.compile(
    r"(?P<image>.+?)[ ._-](?:cp[ _](?:masks?|output|outlines?|flows?)|flows?(?:_cp_masks)?|dP"
    r"|cellprob|seg|masks?|labels?|labeled|probability|probabilities|overlay|outlines?"
    r"|simple[ _]segmentation|segmentation|object[ _](?:predictions|identities|probabilities)"
    r"|uncertainty|features|stardist|label[ _]image)(?:[ _-]stage[ _]\d+)?",
    re.IGNORECASE,
)
_LABEL_FOLDERS = ("labels", "masks")  # of cellzoo's synthetic images, and of many data sets


@dataclass
class Found:
    """What was found among files and folders.

    Attributes:
        files: images, each once, in the order they were named, folders in natural order.
        passed_over: numbers of other files by their suffix.
        left_out: pictures that a program made of an image beside them.
        twice: files that were named again by another spelling of their path.
    """

    files: list[Path] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    left_out: list[Path] = field(default_factory=list)
    twice: int = 0

    @property
    def sentences(self) -> list[str]:
        """What a user should hear."""
        said = []
        if self.passed_over:
            n = sum(self.passed_over.values())
            kinds = ", ".join(
                f"{number} {suffix or 'without suffix'}"
                for suffix, number in sorted(self.passed_over.items())
            )
            said.append(f"Passed over {n} file{'s' * (n > 1)} that cannot be read: {kinds}.")
        if self.left_out:
            n = len(self.left_out)
            said.append(
                f"Left out {n} picture{'s' * (n > 1)} that a program made of an image beside "
                f"{'them' if n > 1 else 'it'}, such as {self.left_out[0].name}: name a file to "
                "have it counted."
            )
        if self.twice:
            said.append(f"Took {self.twice} named twice only once.")
        return said

    def say(self) -> None:
        """Logs the sentences."""
        for sentence in self.sentences:
            log.warning("%s", sentence)


def natural_key(text: str) -> tuple:
    """Sort key that puts `t2.png` before `t10.png`."""
    parts = re.split(r"(\d+)", text)
    return tuple(int(part) if k % 2 else part for k, part in enumerate(parts)), text


def find_images(paths: Sequence[Path]) -> list[Path]:
    """List the image files among files and folders; see :func:`search_images`."""
    return search_images(paths).files


def search_images(paths: Sequence[Path]) -> Found:
    """List the image files among files and folders, and what is passed over.

    Folders are searched with their subfolders, symbolic links included; hidden files and folders
    (`.name`, such as the `._name` twins macOS writes), files of other types, and what Cellpose,
    StarDist, ilastik or cellzoo left beside an image are passed over. A file named directly is
    taken as it is, to be read or refused: so is one that is missing while another path is there,
    and one of a folder whose reader is not installed.

    Args:
        paths: files and folders.

    Returns:
        The files in the order of `paths`, each folder in natural order, none twice, however its
        path is spelled.

    Raises:
        UserError: all paths are missing, or nothing is found.
    """
    paths = [Path(path) for path in paths]
    if paths and not any(os.path.lexists(as_on_disk(path)) for path in paths):
        raise UserError(f"{paths[0]}: there is no such file or folder, check the path")
    found = Found()
    known: dict[str, Path] = {}
    for path in paths:
        path = as_on_disk(path)
        if path.is_dir() and not _is_picture_folder(path):
            files = _images_below(path, found)
        else:
            files = [path]
        for file in files:
            if known.setdefault(os.path.realpath(file), file) is file:
                found.files.append(file)
            elif known[os.path.realpath(file)] != file:
                found.twice += 1
    if not found.files:
        shown = ", ".join(map(str, paths)) or "no path given"
        more = "".join(f" {sentence}" for sentence in found.sentences)
        raise UserError(
            f"{shown}: no image found, expected files ending in {', '.join(suffixes())}.{more}"
        )
    return found


def new_images(path: Path, known: Container[str], left_out: set[str]) -> list[Path]:
    """The images below a folder that are not known yet, cheaply, in natural order.

    Args:
        path: a folder, or a file, which is an image whatever its name.
        known: paths of images that are known, as text.
        left_out: paths of pictures that a program made of an image beside them; new ones are added.
    """
    if not path.is_dir() or _is_picture_folder(path):
        return [path] if path.exists() and str(path) not in known else []
    # As text: a `Path` of each of many files, at each look, costs memory and half a second.
    files = [file for file in _files_below(path) if os.path.splitext(file)[1].lower() in SUFFIXES]
    found = [Path(file) for file in files if file not in known and file not in left_out]
    if not found:
        return []
    stems = {os.path.splitext(file)[0] for file in files}
    new = []
    for file in found:
        if _is_made_of_another(file, stems):
            left_out.add(str(file))
        else:
            new.append(file)
    return sorted(new, key=lambda file: natural_key(file.as_posix()))


def as_on_disk(path: Path) -> Path:
    """The path of a file whose name is written with other code points of the same letters.

    macOS and some tables decompose letters (NFD: e and an accent), others compose them (NFC).
    """
    if os.path.lexists(path) or not path.name or str(path).isascii():
        return path
    folder = as_on_disk(path.parent)
    try:
        names = os.listdir(folder)
    except OSError:
        return path
    wanted = unicodedata.normalize("NFC", path.name)
    same = [name for name in names if unicodedata.normalize("NFC", name) == wanted]
    return folder / same[0] if len(same) == 1 else path


def _is_picture_folder(path: Path) -> bool:
    """Whether a folder is a picture, as OME-Zarr is."""
    form = format_named(path)
    return form is not None and not form.starts


def _images_below(folder: Path, found: Found) -> list[Path]:
    """The images of a folder in natural order."""
    names = sorted(map(Path, _files_below(folder)), key=lambda file: natural_key(file.as_posix()))
    images = []
    for path in names:
        suffix = path.suffix.lower()
        form = format_named(path)
        if form is not None:
            images.append(path)
        elif suffix not in _NO_PICTURES:
            found.passed_over[suffix] += 1
    stems = {str(path.parent / path.stem) for path in images}
    kept = []
    for path in images:
        (found.left_out if _is_made_of_another(path, stems) else kept).append(path)
    return kept


def _is_made_of_another(path: Path, stems: set[str]) -> bool:
    """Whether a program made a picture of an image beside it.

    Args:
        path: of the picture.
        stems: of all images found, without their suffixes.
    """
    folder, above = path.parent, path.parent.parent
    made = _LEFT_BESIDE.fullmatch(path.stem)
    if made and any(str(place / made["image"]) in stems for place in (folder, above)):
        return True
    if path.stem.endswith("_preview") and (folder / path.stem.removesuffix("_preview")).is_dir():
        return True  # the sheet of `cellzoo synth --preview`
    labels = folder.name.lower() in _LABEL_FOLDERS
    images = (above, above / "images")
    return labels and any(str(place / path.stem) in stems for place in images)


def _files_below(folder: Path) -> Iterator[str]:
    def warn(error: OSError) -> None:
        log.warning("%s cannot be read (%s): left out.", error.filename, error.strerror)

    seen = set()
    for here, folders, files in os.walk(folder, followlinks=True, onerror=warn):
        if os.path.realpath(here) in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(os.path.realpath(here))
        start = str(Path(here, "name")).removesuffix("name")  # as `Path` spells it
        for name in list(folders):
            if name.startswith("."):
                folders.remove(name)
            elif _is_picture_folder(Path(name)):
                folders.remove(name)
                yield start + name
        for name in files:
            if not name.startswith("."):
                yield start + name
