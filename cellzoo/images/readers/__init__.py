"""The table of image formats: one line and one file each."""

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cellzoo.errors import UserError
from cellzoo.images.grey import refusing
from cellzoo.images.imagefile import ImageFile


@dataclass(frozen=True)
class Format:
    """An image format.

    Attributes:
        name: for a sentence.
        suffixes: of its files, in lower case.
        starts: what its files begin with; `?` is any byte. Empty: its "files" are folders.
        opener: module in this package and function that opens a file. The function takes the path
            and whether numbers are meant as they are stored, as in masks.
        extra: of cellzoo that brings the library, and the library.
    """

    name: str
    suffixes: tuple[str, ...]
    starts: tuple[bytes, ...]
    opener: tuple[str, str]
    extra: tuple[str, str] | None = None

    def begins(self, head: bytes) -> bool:
        """Whether a file that begins like this is of the format."""
        return any(
            len(head) >= len(start)
            and all(a in (b, ord("?")) for a, b in zip(start, head, strict=False))
            for start in self.starts
        )

    @property
    def installed(self) -> bool:
        """Whether its library is there."""
        return self.extra is None or importlib.util.find_spec(self.extra[1]) is not None

    def open(self, path: Path, stored: bool = False) -> ImageFile:
        """Opens a file.

        Raises:
            UserError: it cannot be read, or the library is not installed.
        """
        if not self.installed:
            raise UserError(f"{path}: is {self.name}, {self.cure}")
        module, function = self.opener
        opener: Callable[[Path, bool], ImageFile]
        with refusing(path):
            opener = getattr(importlib.import_module(f"{__name__}.{module}"), function)
            return opener(path, stored)

    @property
    def cure(self) -> str:
        """How to get the library."""
        return f"install its reader with: pip install 'cellzoo[{self.extra[0]}]'"


FORMATS = (
    Format("PNG", (".png",), (b"\x89PNG\r\n\x1a\n",), ("raster", "open_png")),
    Format("JPEG", (".jpg", ".jpeg", ".jfif"), (b"\xff\xd8\xff",), ("raster", "open_jpeg")),
    Format("BMP", (".bmp",), (b"BM",), ("raster", "open_bmp")),
    Format("WebP", (".webp",), (b"RIFF????WEBP",), ("raster", "open_webp")),
    Format(
        "TIFF",
        (".tif", ".tiff", ".btf", ".tf2", ".tf8", ".stk", ".lsm"),
        (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        ("tiff", "open_tiff"),
    ),
    Format("Nikon ND2", (".nd2",), (b"\xda\xce\xbe\x0a", b"\0\0\0\x0cjP  "), ("nd2", "open_nd2"),
           ("nd2", "nd2")),
    Format("Zeiss CZI", (".czi",), (b"ZISRAWFILE",), ("czi", "open_czi")),
    Format("Leica LIF", (".lif",), (b"\x70\0\0\0",), ("lif", "open_lif"), ("lif", "liffile")),
    Format("OME-Zarr", (".zarr",), (), ("ome_zarr", "open_zarr"), ("zarr", "zarr")),
)  # fmt: skip


def suffixes() -> tuple[str, ...]:
    """Of everything that can be read here, libraries that are not installed left out."""
    return tuple(s for form in FORMATS if form.installed for s in form.suffixes)


def format_of(head: bytes) -> Format | None:
    """The format of a file that begins like this."""
    return next((form for form in FORMATS if form.begins(head)), None)


def format_named(path: Path) -> Format | None:
    """The format that a file's name says."""
    return next((form for form in FORMATS if path.suffix.lower() in form.suffixes), None)
