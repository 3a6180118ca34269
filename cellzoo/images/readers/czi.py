"""Zeiss CZI, by its specification: a directory of sub-blocks, each a plane or a tile of one.

ZISRAW (CZI) File Format Design Specification 1.2.2, and for Zstandard libczi's documentation.
imagecodecs decodes; czifile before 2026 lacks Zstandard and its releases since need Python 3.12.
"""

import math
import os
import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np

from cellzoo.errors import UserError
from cellzoo.images import metadata
from cellzoo.images.grey import cut_off
from cellzoo.images.imagefile import ImageFile, Series

_PIXELS = {0: ("<u1", 1), 1: ("<u2", 1), 2: ("<f4", 1), 3: ("<u1", 3), 4: ("<u2", 3)}
_PIXELS |= {8: ("<f4", 3), 9: ("<u1", 4), 12: ("<i4", 1), 13: ("<f8", 1)}
_MOST_ENTRIES = 10**7
_MOSAIC = "M"


@dataclass(frozen=True)
class _Block:
    """A sub-block: where it is in the file, and in the picture."""

    position: int
    pixel_type: int
    compression: int
    starts: Mapping[str, int]
    sizes: Mapping[str, int]
    stored: tuple[int, int]


def open_czi(path: Path, stored: bool) -> ImageFile:
    """A CZI: scenes are positions, the tiles of a mosaic are one picture, pyramids are left out."""
    return _Czi(path).opened()


class _Czi:
    def __init__(self, path: Path):
        self.path = path
        self.size = os.path.getsize(path)
        self.file = path.open("rb")

    def opened(self) -> ImageFile:
        try:
            header = self._at(32, 80)
            part, directory, description = struct.unpack_from("<iqq", header, 48)
            if part:
                raise UserError(f"{self.path}: is part {part} of a CZI of several files, join them")
            blocks = self._directory(directory)
            facts = self._facts(description)
            scenes = sorted({block.starts.get("S", 0) for block in blocks})
            series = [
                self._series(
                    [b for b in blocks if b.starts.get("S", 0) == scene],
                    number,
                    f"scene {scene + 1}" if len(scenes) > 1 else "",
                    facts,
                )
                for number, scene in enumerate(scenes)
            ]
        except BaseException:
            self.file.close()
            raise
        return ImageFile(self.path, "Zeiss CZI", series, close=self.file.close)

    def _at(self, offset: int, length: int) -> bytes:
        if offset < 0 or length < 0 or offset + length > self.size:
            raise cut_off(self.path)
        self.file.seek(offset)
        return self.file.read(length)

    def _segment(self, offset: int, name: bytes) -> int:
        """Where the content of a segment begins."""
        if self._at(offset, 32)[:16].rstrip(b"\0") != name:
            raise cut_off(self.path)
        return offset + 32

    def _directory(self, position: int) -> list[_Block]:
        at = self._segment(position, b"ZISRAWDIRECTORY")
        (count,) = struct.unpack("<i", self._at(at, 4))
        if not 0 < count <= _MOST_ENTRIES:
            raise UserError(f"{self.path}: holds no picture, export it again")
        at += 128
        blocks = []
        for _ in range(count):
            block, length, pyramid = self._entry(at)
            at += length
            if not pyramid:
                blocks.append(block)
        if not blocks:
            raise UserError(f"{self.path}: holds no picture, export it again")
        return blocks

    def _entry(self, at: int) -> tuple[_Block, int, bool]:
        schema, kind, position, _, compression, pyramid, _, _, n = struct.unpack(
            "<2siqiiBB4si", self._at(at, 32)
        )
        if schema != b"DV" or not 2 <= n <= 20 or kind not in _PIXELS:
            raise cut_off(self.path)
        starts, sizes, kept = {}, {}, {}
        for name, start, size, _, stored in struct.iter_unpack(
            "<4siifi", self._at(at + 32, 20 * n)
        ):
            letter = name.rstrip(b"\0").decode("ascii", "replace")
            starts[letter], sizes[letter] = start, size
            kept[letter] = stored or size
        if sizes.get("X", 0) <= 0 or sizes.get("Y", 0) <= 0:
            raise cut_off(self.path)
        reduced = kept["X"] != sizes["X"] or kept["Y"] != sizes["Y"]
        block = _Block(position, kind, compression, starts, sizes, (kept["Y"], kept["X"]))
        return block, 32 + 20 * n, bool(pyramid) or reduced

    def _series(
        self, blocks: list[_Block], number: int, name: str, facts: Mapping[str, object]
    ) -> Series:
        kinds = {block.pixel_type for block in blocks}
        letters = sorted({k for b in blocks for k in b.starts} - {"X", "Y", "S", _MOSAIC})
        starts = {k: min(b.starts.get(k, 0) for b in blocks) for k in [*letters, "X", "Y"]}
        ends = {
            k: max(b.starts.get(k, 0) + (b.sizes.get(k, 1)) for b in blocks)
            for k in [*letters, "X", "Y"]
        }
        lengths = {k: ends[k] - starts[k] for k in ends}
        many = math.prod(lengths[k] for k in letters)
        if many > _MOST_ENTRIES or any(b.sizes.get(k, 1) != 1 for b in blocks for k in letters):
            raise cut_off(self.path)
        ours = {k: k if k in "TCZ" else "Q" for k in letters if lengths[k] > 1 or k in "TCZ"}
        if list(ours.values()).count("Q") > 1:
            raise UserError(
                f"{self.path}: has the axes {''.join(letters)}, of which cellzoo knows T, Z and C, "
                "export the planes that are meant as OME-TIFF"
            )
        order = sorted(ours, key=lambda k: "QTZC".index(ours[k]))
        tiles: dict[tuple[int, ...], list[_Block]] = {}
        for block in blocks:
            place = tuple(block.starts.get(k, 0) - starts[k] for k in order)
            tiles.setdefault(place, []).append(block)
        dtype, samples = _PIXELS[max(kinds)]
        if len({_PIXELS[kind][1] for kind in kinds}) > 1:
            raise UserError(f"{self.path}: mixes grey and colour, export the channel that is meant")
        shape = (lengths["Y"], lengths["X"]) + ((3,) if samples > 1 else ())

        def read(place: Mapping[str, int]) -> np.ndarray:
            at = tuple(place[ours[k]] for k in order)
            picture = np.zeros(shape, dtype)
            for block in sorted(tiles[at], key=lambda b: b.starts.get(_MOSAIC, 0)):
                y, x = block.starts["Y"] - starts["Y"], block.starts["X"] - starts["X"]
                tile = self._pixels(block)
                picture[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
            return picture

        sizes = {ours[k]: lengths[k] for k in order} | {"Y": lengths["Y"], "X": lengths["X"]}
        names = facts["channels"]
        return Series(
            sizes=sizes | ({"S": 3} if samples > 1 else {}),
            dtype=np.dtype(dtype),
            read=read,
            name=name,
            number=number,
            channels=names if len(names) == sizes.get("C", 1) else (),
            pixel_size_um=facts["pixel_size_um"],
            interval_s=facts["interval_s"],
            bits=facts["bits"] if np.dtype(dtype).itemsize == 2 else None,
            present=None if len(tiles) == many else frozenset(tiles),
            own=None if len(tiles) == many else frozenset(tiles),
        )

    def _pixels(self, block: _Block) -> np.ndarray:
        """A sub-block's picture, `[h, w]` or `[h, w, 3]` in the order red, green, blue."""
        at = self._segment(block.position, b"ZISRAWSUBBLOCK")
        facts, _, length = struct.unpack("<iiq", self._at(at, 16))
        (dimensions,) = struct.unpack("<i", self._at(at + 16 + 28, 4))
        at += 16 + max(240, 32 + 20 * dimensions) + facts
        data = self._at(at, length)
        dtype, samples = _PIXELS[block.pixel_type]
        shape = (*block.stored, samples) if samples > 1 else block.stored
        wanted = math.prod(shape) * np.dtype(dtype).itemsize
        if block.compression == 0:
            pixels = np.frombuffer(data, dtype, math.prod(shape)).reshape(shape)
        elif block.compression in (5, 6):
            pixels = np.frombuffer(_zstd(data, wanted, block.compression == 6), dtype)
            pixels = pixels.reshape(shape)
        elif block.compression in (1, 4):
            jpeg = block.compression == 1
            decode = imagecodecs.jpeg_decode if jpeg else imagecodecs.jpegxr_decode
            pixels = decode(data)
            if pixels.shape != shape:
                raise cut_off(self.path)
            return pixels[..., :3] if samples > 1 else pixels
        else:
            raise UserError(
                f"{self.path}: is compressed in a way that cellzoo does not know "
                f"({block.compression}), save it uncompressed or with JPEG XR or Zstandard"
            )
        return pixels[..., 2::-1] if samples > 1 else pixels

    def _facts(self, position: int) -> dict[str, object]:
        """Channel names, pixel size, interval and bits of the XML description."""
        facts = {"channels": (), "pixel_size_um": None, "interval_s": None, "bits": None}
        try:
            at = self._segment(position, b"ZISRAWMETADATA")
            (length,) = struct.unpack("<i", self._at(at, 4))
            root = ElementTree.fromstring(self._at(at + 256, length))
        except (UserError, ElementTree.ParseError, ValueError):
            return facts
        image = root.find(".//Information/Image")
        if image is not None:
            channels = image.findall("./Dimensions/Channels/Channel")
            names = tuple(channel.get("Name") or "" for channel in channels)
            facts["channels"] = names if all(names) else ()
            bits = image.findtext("./ComponentBitCount")
            facts["bits"] = metadata.stated_bits(bits)
            step = image.findtext("./Dimensions/T/Positions/Interval/Increment")
            facts["interval_s"] = metadata.seconds(step) or None
        distance = root.find(".//Scaling/Items/Distance[@Id='X']/Value")
        if distance is not None:
            facts["pixel_size_um"] = metadata.micrometres(distance.text, "m")
        return facts


def _zstd(data: bytes, wanted: int, with_header: bool) -> bytes:
    """Decodes Zstandard; a header may say that low bytes come first and high bytes after them."""
    split = False
    if with_header:
        start = data[0]
        split = start == 3 and data[1] == 1 and bool(data[2] & 1)
        data = data[start:]
    decoded = imagecodecs.zstd_decode(data, out=wanted)
    if split:
        halves = np.frombuffer(decoded, np.uint8).reshape(2, -1)
        return np.ascontiguousarray(halves.T).tobytes()
    return bytes(decoded)
