"""PNG and JPEG."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np

from cellzoo.images.grey import cut_off, grey, no_pixels, one_bit, refusing

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"


def decode(path: Path, channel: int | None, mask: bool) -> np.ndarray:
    """The grey pixels of a PNG or JPEG."""
    with refusing(path):
        data = path.read_bytes()
        # OpenCV decodes what there is of a cut file and only warns, so look first.
        if data.startswith(PNG):
            if not _png_is_whole(data):
                raise cut_off(path)
            if 0 in struct.unpack_from(">II", data, 16):
                raise no_pixels(path)
            if data[24] == 1 and not mask:
                raise one_bit(path)
        elif not data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda") > 0:
            raise cut_off(path)  # no end of image after the last start of scan
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise cut_off(path)
    return grey(_rgb(pixels), path, channel, mask)


def _rgb(pixels: np.ndarray) -> np.ndarray:
    """OpenCV's BGR(A) -> RGB."""
    return pixels if pixels.ndim == 2 else pixels[..., :3][..., ::-1]


def _png_is_whole(data: bytes) -> bool:
    at = len(PNG)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            return False
        # Capital letter: a chunk the picture depends on. Sloppy comments do no harm.
        if kind[:1].isupper():
            if zlib.crc32(data[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
                return False
        if kind == b"IEND":
            return True
        at = end
    return False
