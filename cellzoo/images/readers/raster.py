"""PNG, JPEG, BMP and WebP: one picture each."""

import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np

from cellzoo.errors import UserError
from cellzoo.images.grey import cut_off, no_pixels, one_bit
from cellzoo.images.imagefile import ImageFile, Series
from cellzoo.images.palette import in_colour, meaning

_PNG = b"\x89PNG\r\n\x1a\n"
# Deflate packs at most 1032 bytes into one: a header that promises more is damaged.
_BEST_DEFLATE = 1040


def open_png(path: Path, stored: bool) -> ImageFile:
    """A PNG; 16 bit ones may state their significant bits in the chunk sBIT."""
    data = path.read_bytes()
    chunks = _png_chunks(data)
    if chunks is None:
        raise cut_off(path)
    header = dict(chunks).get(b"IHDR", b"")
    if len(header) != 13:
        raise cut_off(path)
    width, height, depth, kind = struct.unpack(">IIBB", header[:10])
    names = [name for name, _ in chunks]
    if width == 0 or height == 0:
        raise no_pixels(path)
    if b"acTL" in names:
        raise UserError(f"{path}: is an animated PNG, save its frames as pictures or TIFF")
    if depth == 1 and not stored:
        raise one_bit(path)
    packed = sum(len(content) for name, content in chunks if name == b"IDAT")
    if height * width * depth // 8 > packed * _BEST_DEFLATE:
        raise cut_off(path)
    palette = dict(chunks).get(b"PLTE")
    bits = None
    if depth == 16 and kind == 0:
        bits = next((content[0] for name, content in chunks if name == b"sBIT" and content), None)

    colour = bool(kind & 2)
    if kind == 3 and palette is not None:
        table = np.frombuffer(palette, np.uint8)[: len(palette) // 3 * 3].reshape(-1, 3)
        colour = in_colour(table) and not stored

        def decode() -> np.ndarray:
            index = _decoded(_as_grey_png(chunks, header), path)
            index = index // np.uint8(255 // (2**depth - 1))  # OpenCV spreads fewer bits
            return index if stored else meaning(index, table)
    else:

        def decode() -> np.ndarray:
            plain = [c for c in chunks if c[0][:1].isupper() or c[0] == b"tRNS"]
            return _decoded(data if len(plain) == len(chunks) else _png(plain), path)

    dtype = np.uint16 if depth == 16 else np.uint8
    return _picture(path, "PNG", (height, width), colour, decode, dtype, bits)


def open_jpeg(path: Path, stored: bool) -> ImageFile:
    """A JPEG, 8 bit."""
    data = path.read_bytes()
    # OpenCV decodes what there is of a cut file and only warns, so look first.
    if not data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda") > 0:
        raise cut_off(path)  # no end of image after the last start of scan
    at = 2
    while at + 9 <= len(data):
        marker, length = data[at + 1], struct.unpack_from(">H", data, at + 2)[0]
        if data[at] != 0xFF:
            raise cut_off(path)
        if marker in (0xFF, 0x01) or 0xD0 <= marker <= 0xD8:  # fill bytes, markers without length
            at += 1 if marker == 0xFF else 2
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            colour = data[at + 9 : at + 10] not in (b"", b"\1")
            break
        at += 2 + length
    else:
        raise cut_off(path)
    if height == 0 or width == 0:
        raise no_pixels(path)
    return _picture(path, "JPEG", (height, width), colour, lambda: _decoded(data, path))


def open_bmp(path: Path, stored: bool) -> ImageFile:
    """A BMP."""
    data = path.read_bytes()
    if len(data) < 54:
        raise cut_off(path)
    offset, size, width, height, _, depth, packing = struct.unpack_from("<IIiiHHI", data, 10)
    if size < 40:
        raise UserError(f"{path}: is a BMP of the 1980s, save it as PNG")
    up, height = height > 0, abs(height)
    if width <= 0 or height == 0:
        raise no_pixels(path)
    if depth == 1 and not stored:
        raise one_bit(path)
    row = (width * depth + 31) // 32 * 4
    if packing in (0, 3) and offset + row * height > len(data):
        raise cut_off(path)
    colour = depth > 8
    if depth == 8 and packing == 0:
        entries = struct.unpack_from("<I", data, 46)[0] or 256
        table = np.frombuffer(data, np.uint8, min(entries, 256) * 4, 14 + size).reshape(-1, 4)
        colour = in_colour(table[:, 2::-1]) and not stored

        def decode() -> np.ndarray:
            index = np.frombuffer(data, np.uint8, row * height, offset).reshape(height, row)
            index = np.ascontiguousarray(index[:: -1 if up else 1, :width])
            return index if stored else meaning(index, table[:, 2::-1])
    else:

        def decode() -> np.ndarray:
            return _decoded(data, path)

    return _picture(path, "BMP", (height, width), colour, decode)


def open_webp(path: Path, stored: bool) -> ImageFile:
    """A WebP that is no animation."""
    data = path.read_bytes()
    if len(data) < 30 or struct.unpack_from("<I", data, 4)[0] + 8 > len(data):
        raise cut_off(path)
    kind = data[12:16]
    if kind == b"VP8X":
        if data[20] & 2:
            raise UserError(f"{path}: is an animated WebP, save its frames as pictures or TIFF")
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8L":
        packed = struct.unpack_from("<I", data, 21)[0]
        width, height = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 ":
        width, height = (n & 0x3FFF for n in struct.unpack_from("<HH", data, 26))
    else:
        raise cut_off(path)
    return _picture(path, "WebP", (height, width), True, lambda: _decoded(data, path))


def _picture(
    path: Path,
    name: str,
    size: tuple[int, int],
    colour: bool,
    decode: Callable[[], np.ndarray],
    dtype: type = np.uint8,
    bits: int | None = None,
) -> ImageFile:
    def read(place: Mapping[str, int]) -> np.ndarray:
        pixels = decode()
        if pixels.shape[:2] != size:
            raise cut_off(path)
        return pixels

    sizes = {"Y": size[0], "X": size[1], **({"S": 3} if colour else {})}
    series = Series(sizes=sizes, dtype=np.dtype(dtype), read=read, bits=bits)
    return ImageFile(path=path, format=name, series=[series])


def _decoded(data: bytes, path: Path) -> np.ndarray:
    """`[h, w]`, or `[h, w, 3]` in the order red, green, blue; transparency plays no part."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise cut_off(path)
    return pixels if pixels.ndim == 2 else pixels[..., 2::-1]


def _png_chunks(data: bytes) -> list[tuple[bytes, bytes]] | None:
    """Names and contents of a PNG's chunks; None where it is not whole."""
    chunks, at = [], len(_PNG)
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            return None
        # Capital letter: a chunk the picture depends on. Sloppy comments do no harm.
        if name[:1].isupper():
            if zlib.crc32(data[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
                return None
        chunks.append((name, data[at + 8 : end - 4]))
        if name == b"IEND":
            return chunks
        at = end
    return None


def _png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    parts = [_PNG]
    for name, content in chunks:
        crc = zlib.crc32(name + content)
        parts += [struct.pack(">I", len(content)), name, content, struct.pack(">I", crc)]
    return b"".join(parts)


def _as_grey_png(chunks: list[tuple[bytes, bytes]], header: bytes) -> bytes:
    """An indexed PNG as the grey one of its indices, which OpenCV would not show."""
    grey = header[:9] + b"\0" + header[10:]
    kept = [(name, content) for name, content in chunks if name in (b"IDAT", b"IEND")]
    return _png([(b"IHDR", grey), *kept])
