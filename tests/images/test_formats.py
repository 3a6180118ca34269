"""Files as other programs write them: the numbers of the frames that are meant, or a refusal."""

import os
import shutil
import struct
import sys
import types
import zlib
from pathlib import Path

import cv2
import imagecodecs
import microscope_files as writers
import numpy as np
import pytest
import tifffile
from microscope_files import scene

from cellzoo.errors import UsageError, UserError
from cellzoo.images import (
    Notes,
    Reader,
    Selection,
    open_image,
    read_frames,
    read_mask,
    search_images,
    to_unit,
)
from cellzoo.images.imagefile import ImageFile, Series
from cellzoo.images.readers import FORMATS
from cellzoo.images.readers.tiff import ome
from cellzoo.images.selection import plan

FIRST, SECOND, THIRD, FOURTH = (scene(k) for k in range(4))
THREE = np.stack([FIRST, SECOND, THIRD])
OTHER = 255 - THREE
BOTH = np.stack([THREE, OTHER], 1)  # times x channels
RAMP = np.arange(256, dtype=np.uint16) * 257
GREEN, RED = (np.stack([RAMP * c for c in on]) for on in ([0, 1, 0], [1, 0, 0]))


def pages(path: Path, planes, axes: str | None = None, **options) -> Path:
    """A TIFF of pages that says no more than `axes`."""
    options = {"photometric": "minisblack", "metadata": axes and {"axes": axes}} | options
    tifffile.imwrite(path, planes, **options)
    return path


def ome_indexed(path: Path, planes, tables, times: int, channels: int) -> Path:
    """An OME-TIFF of indexed pages, as Bio-Formats writes display colours."""
    height, width = planes[0].shape
    description = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" '
        f'SizeX="{width}" SizeY="{height}" SizeZ="1" SizeC="{channels}" SizeT="{times}">'
        + "".join(f'<Channel ID="c{c}" Name="stain{c}"/>' for c in range(channels))
        + "<TiffData/></Pixels></Image></OME>"
    )
    with tifffile.TiffWriter(path, ome=False) as tiff:
        for k, (plane, table) in enumerate(zip(planes, tables, strict=True)):
            about = {"description": description.encode()} if k == 0 else {}
            tiff.write(plane, photometric="palette", colormap=table, metadata=None,
                       contiguous=False, **about)  # fmt: skip
    return path


def stopped(path: Path) -> Path:
    """An OME-TIFF whose description promises nine time points, of which three are there."""
    tifffile.imwrite(path, THREE, ome=True, metadata={"axes": "TYX"})
    text = path.read_bytes()
    path.write_bytes(
        text.replace(b'SizeT="3"', b'SizeT="9"').replace(b'PlaneCount="3"', b'PlaneCount="9"')
    )
    return path


def appended(path: Path) -> Path:
    """A TIFF to which pictures were appended one by one."""
    for plane in THREE:
        tifffile.imwrite(path, plane, append=path.exists())
    return path


def manager(path: Path, *, channels: int = 1, positions=(0,), times=range(3), planned=3) -> Path:
    """A Micro-Manager stack file of 16 bit."""
    planes = {
        (p, t, 0, c): BOTH[t if p == 0 else 2 - t, c].astype(np.uint16) * 257
        for t in times
        for p in positions
        for c in range(channels)
    }
    summary = {"Frames": planned, "Channels": channels, "Slices": 1, "Positions": 2}
    return writers.micromanager(path, planes, summary)


# Name -> a function that writes the file, what is chosen of it, and the frames that must come.
MEANT = {
    "channel of an OME-TIFF with display colours": (
        lambda d: ome_indexed(d / "a.ome.tif", [FIRST, SECOND], [GREEN, RED], 1, 2),
        {"channel": 1}, [SECOND],
    ),
    "the same by its name": (
        lambda d: ome_indexed(d / "a.ome.tif", [FIRST, SECOND], [GREEN, RED], 1, 2),
        {"channel": "Stain0"}, [FIRST],
    ),
    "times of an OME-TIFF with a display colour": (
        lambda d: ome_indexed(d / "a.ome.tif", THREE, [GREEN] * 3, 3, 1), {}, THREE,
    ),
    "a page with a display colour, as Leica exports it": (
        lambda d: ome_page(d / "a_ch00.tif", GREEN), {}, [FIRST],
    ),
    "a page with an inverted grey display table": (
        lambda d: ome_page(d / "a.tif", np.stack([RAMP[::-1]] * 3)), {}, [FIRST],
    ),
    "an inverting display table of ImageJ": (
        lambda d: pages(d / "a.tif", FIRST, imagej=True, photometric="miniswhite"), {}, [FIRST],
    ),
    "a display colour of ImageJ": (
        lambda d: pages(d / "a.tif", FIRST, imagej=True, photometric="palette", colormap=GREEN),
        {}, [FIRST],
    ),
    "a plain TIFF that stores white as 0": (
        lambda d: pages(d / "a.tif", 255 - FIRST, photometric="miniswhite"), {}, [FIRST],
    ),
    "interleaved channels with their numbers": (
        lambda d: pages(d / "a.tif", BOTH.reshape(6, *FIRST.shape)),
        {"channel": 0, "axes": "T3C2YX"}, THREE,
    ),
    "the same with one number": (
        lambda d: pages(d / "a.tif", BOTH.reshape(6, *FIRST.shape)),
        {"channel": 1, "axes": "tc2yx"}, OTHER,
    ),
    "pages that may be planes": (lambda d: pages(d / "a.tif", THREE), {}, THREE),
    "pages that are planes": (
        lambda d: pages(d / "a.tif", THREE), {"axes": "ZYX", "z": "max"}, [THREE.max(0)],
    ),
    "a plane of an ImageJ hyperstack": (
        lambda d: pages(d / "a.tif", np.stack([BOTH, BOTH[::-1]], 1), "TZCYX", imagej=True),
        {"channel": 1, "z": 1}, OTHER[::-1],
    ),
    "the mean of an ImageJ stack": (
        lambda d: pages(d / "a.tif", THREE, "ZYX", imagej=True),
        {"z": "mean"}, [np.rint(THREE.mean(0))],
    ),
    "the sharpest plane": (
        lambda d: pages(d / "a.tif", np.stack([cv2.blur(FIRST, (5, 5)), FIRST,
                                               cv2.blur(FIRST, (3, 3))]), "ZYX", imagej=True),
        {"z": "sharpest"}, [FIRST],
    ),
    "some frames": (lambda d: pages(d / "a.tif", THREE), {"frames": "0:100:2"}, THREE[::2]),
    "one frame": (lambda d: pages(d / "a.tif", THREE, "TYX"), {"frames": "1"}, [SECOND]),
    "Micro-Manager": (lambda d: manager(d / "a_MMStack_Pos0.ome.tif"), {}, THREE * 257.0),
    "a channel of Micro-Manager": (
        lambda d: manager(d / "a_MMStack_Pos0.ome.tif", channels=2), {"channel": 1}, OTHER * 257.0,
    ),
    "a position of Micro-Manager": (
        lambda d: manager(d / "a_MMStack.ome.tif", positions=(0, 1)),
        {"position": "Pos1"}, THREE[::-1] * 257.0,
    ),
    "all positions of Micro-Manager": (
        lambda d: manager(d / "a_MMStack.ome.tif", positions=(0, 1)),
        {"position": "all"}, np.concatenate([THREE, THREE[::-1]]) * 257.0,
    ),
    "a stopped Micro-Manager": (
        lambda d: manager(d / "a_MMStack_Pos0.ome.tif", planned=9), {}, THREE * 257.0,
    ),
    "pictures that were appended": (lambda d: appended(d / "a.tif"), {}, THREE),
    "three frames that look like a colour picture": (
        lambda d: pages(d / "a.tif", THREE, photometric=None), {"axes": "TYX"}, THREE,
    ),
    "three frames that were written as the samples of a page": (
        lambda d: pages(d / "a.tif", THREE, "TYX", photometric="rgb", planarconfig="separate"),
        {}, THREE,
    ),
    "a time of them and their channel": (
        lambda d: pages(d / "a.tif", BOTH.swapaxes(0, 1), "CTYX", photometric="rgb",
                        planarconfig="separate"),
        {"channel": 1, "frames": 2}, [OTHER[2]],
    ),
    "4 bits": (lambda d: pages(d / "a.tif", FIRST >> 4, bitspersample=4), {}, [(FIRST >> 4) * 17]),
    "4 bits that store white as 0": (
        lambda d: pages(d / "a.tif", FIRST >> 4, bitspersample=4, photometric="miniswhite"),
        {}, [(15 - (FIRST >> 4)) * 17],
    ),
    "12 packed bits that store white as 0": (
        lambda d: pages(d / "a.tif", FIRST.astype(np.uint16) * 16, bitspersample=12,
                        photometric="miniswhite"),
        {}, [4095 - FIRST.astype(np.uint16) * 16],
    ),
    "four frames that look like a colour picture with transparency": (
        lambda d: pages(d / "a.tif", np.stack([*THREE, FOURTH]), photometric=None),
        {"axes": "TYX"}, [*THREE, FOURTH],
    ),
    "transparency stays transparency where it is a picture's": (
        lambda d: pages(d / "a.tif", np.stack([FIRST] * 3 + [SECOND], -1), photometric="rgb",
                        extrasamples=["unassalpha"]),
        {"axes": "TYX"}, [FIRST],
    ),
    "axes that are stated again": (
        lambda d: pages(d / "a.ome.tif", BOTH, "TCYX", ome=True), {"axes": "TZCYX", "channel": 1},
        OTHER,
    ),
    "axes in another order with their lengths": (
        lambda d: pages(d / "a.ome.tif", BOTH, "TCYX", ome=True), {"axes": "C2T3YX", "channel": 1},
        OTHER,
    ),
    "the same as channels": (
        lambda d: pages(d / "a.tif", np.stack([*THREE, FOURTH]), photometric=None),
        {"axes": "CYX", "channel": 3}, [FOURTH],
    ),
    "a stopped OME-TIFF": (lambda d: stopped(d / "a.ome.tif"), {}, THREE),
    "the same with its axes": (lambda d: stopped(d / "a.ome.tif"), {"axes": "TYX"}, THREE),
    "the same with lengths": (lambda d: stopped(d / "a.ome.tif"), {"axes": "T9C1YX"}, THREE),
    "signed 16 bit of ImageJ": (
        lambda d: pages(d / "a.tif", FIRST.astype(np.uint16) + 32768, imagej=True,
                        metadata={"cf": 0, "c0": -32768.0, "c1": 1.0}),
        {}, [FIRST],
    ),
    "another calibration of ImageJ": (
        lambda d: pages(d / "a.tif", FIRST, imagej=True, metadata={"cf": 0, "c0": 5.0, "c1": 0.1}),
        {}, [FIRST],
    ),
    "MetaMorph": (lambda d: writers.stk(d / "a.stk", THREE), {}, THREE),
    "planes of MetaMorph": (
        lambda d: writers.stk(d / "a.stk", THREE, z_step=1), {"z": 2}, [THIRD],
    ),
    "Zeiss LSM": (lambda d: writers.lsm(d / "a.lsm", THREE), {}, THREE),
    "BigTIFF": (lambda d: pages(d / "a.tf8", THREE, "TYX", bigtiff=True), {}, THREE),
    "the other byte order": (
        lambda d: pages(d / "a.tif", THREE.astype(">u2"), "TYX", byteorder=">"), {}, THREE,
    ),
    "whole numbers of 32 bit": (
        lambda d: pages(d / "a.tif", FIRST.astype(np.int32)), {}, [FIRST],
    ),
    "channels in the samples of a pixel": (
        lambda d: pages(d / "a.tif", np.stack([FIRST, SECOND], -1), planarconfig="contig"),
        {"channel": 1}, [SECOND],
    ),
    "a channel of NDTiff": (
        lambda d: writers.ndtiff(d / "a.tif", [({"time": t, "channel": c}, BOTH[t, k])
                                               for t in range(3) for k, c in enumerate("BA")]),
        {"channel": "A"}, OTHER,
    ),
    "planes of NDTiff, some of them below where it began": (
        lambda d: writers.ndtiff(d / "a.tif", [({"z": z - 1}, THREE[z]) for z in range(3)]),
        {"z": 0}, [FIRST],
    ),
    "positions of NDTiff": (
        lambda d: writers.ndtiff(d / "a.tif", [({"position": f"Pos{k}"}, THREE[k // 5])
                                               for k in (0, 5, 10)]),
        {"position": 2}, [THIRD],
    ),
    "a position of NDTiff by its name": (
        lambda d: writers.ndtiff(d / "a.tif", [({"position": k}, THREE[k]) for k in range(3)]),
        {"position": "Pos1"}, [SECOND],
    ),
    "BMP": (lambda d: encoded(d / "a.bmp", FIRST), {}, [FIRST]),
    "WebP": (lambda d: encoded(d / "a.webp", FIRST, cv2.IMWRITE_WEBP_QUALITY, 101), {}, [FIRST]),
    "green of a colour picture": (
        lambda d: encoded(d / "a.png", np.stack([OTHER[0], FIRST, THIRD], -1)),
        {"channel": "green"}, [FIRST],
    ),
    "luminance of a colour picture": (
        lambda d: encoded(d / "a.png", np.stack([FIRST, SECOND, THIRD], -1)),  # blue first
        {"channel": "luminance"},
        [np.rint(0.299 * THIRD + 0.587 * SECOND + 0.114 * FIRST)],
    ),
    "Zeiss CZI": (
        lambda d: writers.czi(d / "a.czi", {(0, t, c): BOTH[t, c] for t in (0, 1) for c in (0, 1)},
                              channels=("DAPI", "GFP")),
        {"channel": "GFP"}, OTHER[:2],
    ),
    "tiles of a CZI": (
        lambda d: writers.czi(d / "a.czi", {(0, 0, 0): FIRST}, tiles=3), {}, [FIRST],
    ),
    "a scene of a CZI": (
        lambda d: writers.czi(d / "a.czi", {(s, 0, 0): THREE[s] for s in range(3)}),
        {"position": "scene 2"}, [SECOND],
    ),
    "a CZI in Zstandard": (
        lambda d: writers.czi(d / "a.czi", {(0, 0, 0): FIRST}, compress=(zstd, 5)), {}, [FIRST],
    ),
    "a CZI in Zstandard with its bytes apart": (
        lambda d: writers.czi(d / "a.czi", {(0, 0, 0): FIRST.astype(np.uint16) * 99},
                              compress=(zstd_apart, 6)),
        {}, [FIRST * 99.0],
    ),
}  # fmt: skip


def zstd(data: bytes) -> bytes:
    return imagecodecs.zstd_encode(data)


def zstd_apart(data: bytes) -> bytes:
    halves = np.frombuffer(data, np.uint8).reshape(-1, 2).T
    return b"\3\1\1" + zstd(halves.tobytes())


def ome_page(path: Path, table) -> Path:
    return pages(path, FIRST, photometric="palette", colormap=table.astype(np.uint16))


def encoded(path: Path, pixels, *options) -> Path:
    cv2.imwrite(str(path), pixels, list(options))
    return path


@pytest.mark.parametrize("name", MEANT)
def test_the_stored_numbers_come(tmp_path, name):
    write, chosen, frames = MEANT[name]
    found = list(read_frames(write(tmp_path), **chosen))
    assert len(found) == len(frames)
    for frame, expected in zip(found, frames, strict=True):
        np.testing.assert_array_equal(frame.pixels, expected)


# Name -> a function that writes the file, what is chosen of it, and words of the refusal.
REFUSED = {
    "a channel of pages that nothing names": (
        lambda d: pages(d / "a.tif", BOTH.reshape(6, *FIRST.shape)), {"channel": 0},
        "T3C2YX for 3 times x 2 channels",
    ),
    "axes without numbers where pages have none": (
        lambda d: pages(d / "a.tif", BOTH.reshape(6, *FIRST.shape)), {"axes": "TCYX"},
        r"3 dimensions \(6 x 40 x 56\)",
    ),
    "numbers that do not fit": (
        lambda d: pages(d / "a.tif", BOTH.reshape(6, *FIRST.shape)), {"axes": "T4C2YX"},
        "whose product is its 6 pages",
    ),
    "a plane of pages that nothing names": (
        lambda d: pages(d / "a.tif", THREE), {"z": "max"}, "axes: ZYX",
    ),
    "three frames that look like a colour picture": (
        lambda d: pages(d / "a.tif", THREE, photometric=None), {}, "axes: TYX",
    ),
    "channels": (
        lambda d: ome_indexed(d / "a.ome.tif", [FIRST, SECOND], [GREEN, RED], 1, 2), {},
        "0: stain0, 1: stain1",
    ),
    "a channel that is not there": (
        lambda d: ome_indexed(d / "a.ome.tif", [FIRST, SECOND], [GREEN, RED], 1, 2),
        {"channel": "DAPI"}, "has no channel DAPI.*0: stain0, 1: stain1",
    ),
    "planes": (
        lambda d: pages(d / "a.tif", THREE, "ZYX", imagej=True), {},
        "0 to 2, max, mean or sharpest",
    ),
    "a plane that is not there": (
        lambda d: pages(d / "a.tif", THREE, "ZYX", imagej=True), {"z": 3}, "no focal plane 3",
    ),
    "axes in another order": (
        lambda d: pages(d / "a.ome.tif", np.stack([THREE, OTHER, THREE], 1), "TCYX", ome=True),
        {"axes": "CTYX", "channel": 1}, "TZCYX.*names in another order, .*T3C3YX is what the file",
    ),
    "positions": (
        lambda d: manager(d / "a_MMStack.ome.tif", positions=(0, 1)), {}, "0: Pos0, 1: Pos1",
    ),
    "a frame that is not there": (
        lambda d: pages(d / "a.tif", THREE, "TYX"), {"frames": 7}, "no such frame.*T 3",
    ),
    "scenes": (
        lambda d: writers.czi(d / "a.czi", {(s, 0, 0): THREE[s] for s in range(3)}), {},
        "0: scene 1, 1: scene 2",
    ),
    "more grey levels than the stated bits hold": (
        lambda d: pages(d / "a.tif", FIRST.astype(np.uint16) * 99,
                        extratags=[(281, "H", 1, 4095, True)]),
        {}, "states 12 bits but has grey levels up to 24750",
    ),
    "a picture that is too large": (
        lambda d: pages(d / "a.tif", FIRST), {"max_megapixels": 0.002}, "max_megapixels",
    ),
    "an OME description of a million planes and one": (
        lambda d: ome_of_planes(d / "a.ome.tif", 10**6 + 1), {}, "at most 1000000 are read",
    ),
    "decimal grey levels beyond 32 bit": (
        lambda d: pages(d / "a.tif", FIRST * 1e300), {}, "beyond what 32 bit floats hold",
    ),
    "a damaged CZI": (
        lambda d: cut(writers.czi(d / "a.czi", {(0, 0, 0): FIRST}), 700), {}, "cut off or damaged",
    ),
}  # fmt: skip


def ome_of_planes(path: Path, planes: int) -> Path:
    """One picture, of which the description promises many."""
    tifffile.imwrite(path, FIRST, metadata=None, description=(
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        f'<Image><Pixels DimensionOrder="XYZCT" SizeT="{planes}"><TiffData/></Pixels></Image></OME>'
    ))  # fmt: skip
    return path


def test_planes_that_are_only_promised_are_not_looked_for(tmp_path, monkeypatch):
    looked, has = [], ome._Files.has

    def look(files, plane):
        looked.append(plane)
        return has(files, plane)

    monkeypatch.setattr(ome._Files, "has", look)
    with open_image(ome_of_planes(tmp_path / "a.ome.tif", 10**6)) as file:
        assert file.notes[0].startswith("holds 1 of the 1000000 planes")
    assert looked == [("", 0)]


def cut(path: Path, length: int) -> Path:
    path.write_bytes(path.read_bytes()[:length])
    return path


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_said_is_asked_for(tmp_path, name):
    write, chosen, words = REFUSED[name]
    path = write(tmp_path)
    with pytest.raises(UserError, match=words) as error:
        list(read_frames(path, **chosen))
    assert "\n" not in str(error.value) and str(error.value).startswith(str(path))


@pytest.mark.parametrize(
    "chosen", [{"z": "middle"}, {"frames": "first"}, {"frames": "0:9:0"}, {"axes": "T0T1YX"}]
)
def test_a_selection_that_is_written_wrongly(tmp_path, chosen):
    with pytest.raises(UsageError, match=f"data.natural.{next(iter(chosen))}"):
        list(read_frames(pages(tmp_path / "a.tif", FIRST), **chosen))


# What is said once.


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda d: pages(d / "a.tif", THREE), "does not say what its pages are"),
        (lambda d: stopped(d / "a.ome.tif"), "holds 3 of the 9 planes"),
        (
            lambda d: manager(d / "a_MMStack_Pos0.ome.tif", planned=9),
            "holds 3 of the 9 planes that were planned",
        ),
        (
            lambda d: pages(d / "a.tif", FIRST.astype(np.uint16) * 16),
            "does not say how many of 16 bits are used: taken for 12",
        ),
    ],
)
def test_what_was_taken_for_granted_is_said_once(tmp_path, write, words):
    reader = Reader(intensity="full")
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        list(reader.read(write(tmp_path / folder)))
    (sentence,) = reader.notes.sentences
    assert words in sentence and " and 1 more: " in sentence


# Grey levels.



def of_bits(bits: int):
    """The picture as a camera of so many bits has it in 16."""
    return np.rint(FIRST / 255 * (2**bits - 1)).astype(np.uint16)


TWELVE = of_bits(12)
SAME = {
    "16 bit": lambda d: pages(d / "a.tif", FIRST.astype(np.uint16) * 257),
    "12 bit, not stated": lambda d: pages(d / "a.tif", TWELVE),
    "12 bit, by a tag": lambda d: pages(d / "a.tif", TWELVE, extratags=[(281, "H", 1, 4095, True)]),
    "12 bit, by OME": lambda d: pages(
        d / "a.ome.tif", TWELVE, ome=True, metadata={"axes": "YX", "SignificantBits": 12}
    ),
    "12 bit, by PNG": lambda d: writers.grey16_png(d / "a.png", TWELVE, 12),
    "12 bit over 16, by PNG": lambda d: writers.grey16_png(
        d / "a.png", FIRST.astype(np.uint16) * 257, 12
    ),
    "12 bit, by Micro-Manager": lambda d: writers.micromanager(
        d / "a_MMStack.ome.tif", {(0, 0, 0, 0): TWELVE}, {"BitDepth": 12}
    ),
    "12 bit, by CZI": lambda d: writers.czi(d / "a.czi", {(0, 0, 0): TWELVE}, bits=12),
    "12 bit, packed": lambda d: packed_12_bit(d / "a.tif", TWELVE),
    "12 bit, signed": lambda d: pages(
        d / "a.tif", TWELVE + 32768, imagej=True, metadata={"cf": 0, "c0": -32768.0, "c1": 1.0}
    ),
    "14 bit, not stated": lambda d: pages(d / "a.tif", of_bits(14)),
    "8 bit in int16": lambda d: pages(d / "a.tif", FIRST.astype(np.int16)),
    "8 bit in uint32": lambda d: pages(d / "a.tif", FIRST.astype(np.uint32)),
    "float": lambda d: pages(d / "a.tif", FIRST.astype(np.float32) / 255),
}


@pytest.mark.parametrize(
    "spread",
    [
        lambda v: v << 4,
        lambda v: v << 4 | v >> 8,
        lambda v: np.rint(v * (65535 / 4095)).astype(np.uint16),
    ],
    ids=["shifted", "replicated", "scaled"],
)
def test_a_dark_png_of_fewer_bits_is_scaled_as_a_bright_one_of_its_series(tmp_path, spread):
    levels = TWELVE // 16
    assert 137 < levels.max() < 256
    files = [writers.grey16_png(tmp_path / f"{k}.png", spread(levels << k), 12) for k in (0, 4)]
    reader = Reader(files, intensity="full")
    dark, bright = (next(reader.read(file)) for file in files)
    assert dark.bits == bright.bits == 16
    np.testing.assert_array_equal(dark.pixels, spread(levels))
    np.testing.assert_array_equal(bright.pixels, spread(levels << 4))


def packed_12_bit(path: Path, pixels) -> Path:
    """Two pixels in three bytes."""
    one, two = pixels[:, ::2].astype(np.uint32), pixels[:, 1::2].astype(np.uint32)
    data = np.stack([one >> 4, (one & 15) << 4 | two >> 8, two & 255], -1).astype(np.uint8)
    writers.tiff(path, [{"pixels": data.reshape(len(pixels), -1)}])
    raw = bytearray(path.read_bytes())
    at = raw.index(b"\x00\x01\x04\0\1\0\0\0") + 8  # width
    raw[at : at + 4] = pixels.shape[1].to_bytes(4, "little")
    at = raw.index(b"\x02\x01\x03\0\1\0\0\0") + 8  # bits of a sample
    raw[at] = 12
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("name", SAME)
def test_the_same_picture_has_the_same_grey_levels(tmp_path, name):
    """Within half of the 255th that 8 bit tell apart, however a file stores it."""
    (frame,) = Reader(intensity="full").read(SAME[name](tmp_path))
    np.testing.assert_allclose(to_unit(frame.pixels), FIRST / 255, atol=0.5 / 255)


def test_the_whole_series_says_how_many_bits_are_used(tmp_path):
    """A dark picture among bright ones keeps their scale; files of another name have their own."""
    bright, dark = FIRST.astype(np.uint16) * 16, FIRST.astype(np.uint16)
    files = [pages(tmp_path / f"t{k}.tif", p) for k, p in enumerate([dark, bright])]
    other = pages(tmp_path / "other.tif", FIRST.astype(np.uint16) * 257)
    reader = Reader([*files, other], intensity="full")
    bits = [frame.bits for file in [*files, other] for frame in reader.read(file)]
    assert bits == [12, 12, 16]
    (sentence,) = reader.notes.sentences
    assert sentence.startswith(str(tmp_path / "*.tif"))


@pytest.mark.parametrize("intensity", [(20, 250), "percentile", "dtype"])
def test_an_intensity_overrides_what_the_file_says(tmp_path, intensity):
    path = pages(tmp_path / "a.tif", FIRST.astype(np.uint16) * 16)
    (frame,) = Reader(intensity=intensity).read(path)
    np.testing.assert_array_equal(frame.pixels, to_unit(FIRST.astype(np.uint16) * 16, intensity))


# Sets of files.


@pytest.mark.parametrize("axes", [None, "TYX", "TCYX"])
def test_frames_of_a_set_come_once_each(tmp_path, axes):
    """One position, split where a file was full; and a file for each position."""
    files = [
        manager(tmp_path / "a_MMStack_Pos0.ome.tif", times=(0, 1)),
        manager(tmp_path / "a_MMStack_Pos0_1.ome.tif", times=(2,)),
        manager(tmp_path / "b_MMStack_Pos0.ome.tif"),
        manager(tmp_path / "b_MMStack_Pos1.ome.tif", positions=(1,)),
    ]
    reader = Reader(files, axes=axes)
    frames = [list(reader.read(file)) for file in search_images([tmp_path]).files]
    numbers = [[frame.index for frame in part] for part in frames]
    assert numbers == [[0, 1], [0], [0, 1, 2], [0, 1, 2]]
    expected = [*THREE, *THREE, *THREE[::-1]]
    pixels = [frame.pixels for part in frames for frame in part]
    np.testing.assert_array_equal(pixels, np.stack(expected) * 257.0)
    assert [part[0].position for part in frames] == ["Pos0", "Pos0", "Pos0", "Pos1"]
    assert reader.notes.sentences == []


def test_files_that_go_on_without_a_position_in_their_name_belong_together(tmp_path):
    """`a_MMStack_1` goes on where `a_MMStack` was full; alone it may be that of a position 1."""
    planes = {(p, t, z, 0): scene(4 * p + 2 * t + z).astype(np.uint16)
              for t in (0, 1) for p in (0, 1) for z in (0, 1)}  # fmt: skip
    summary = {"Frames": 2, "Slices": 2, "Channels": 1, "Positions": 2}
    files = [tmp_path / "a_MMStack.ome.tif", tmp_path / "a_MMStack_1.ome.tif"]
    for file, places in zip(files, (list(planes)[:5], list(planes)[5:]), strict=True):
        writers.micromanager(file, {place: planes[place] for place in places}, summary)
    found = [list(read_frames(file, position=0, z="max")) for file in files]
    assert [[frame.step for frame in part] for part in found] == [[0, 1], []]
    frames = [list(read_frames(file, position=1, z=1)) for file in files]
    assert [[frame.step for frame in part] for part in frames] == [[0], [1]]
    for part, t in zip(frames, (0, 1), strict=True):
        np.testing.assert_array_equal(part[0].pixels, planes[1, t, 1, 0])
    assert len({frame.series for part in frames for frame in part}) == 1


def test_files_of_an_ndtiff_number_positions_and_channels_alike(tmp_path):
    """The second one goes on with the second position, of which it has the second channel alone."""
    places = [("A", "x"), ("A", "y"), ("B", "x"), ("B", "y")]
    planes = [({"position": p, "channel": c}, scene(k)) for k, (p, c) in enumerate(places)]
    files = [tmp_path / "s_NDTiffStack.tif", tmp_path / "s_NDTiffStack_1.tif"]
    for file, part in zip(files, (planes[:3], planes[3:]), strict=True):
        writers.ndtiff(file, part)
    chosen = {"position": 1, "channel": 1}
    assert list(read_frames(files[0], **chosen)) == []
    (frame,) = read_frames(files[1], **chosen)
    np.testing.assert_array_equal(frame.pixels, scene(3))
    (other,) = read_frames(files[0], position="B", channel="x")
    assert frame.series == other.series == str(tmp_path / "s_NDTiffStack B")


def test_a_projection_takes_planes_of_the_next_file(tmp_path):
    """Micro-Manager begins a new file in the middle of a stack."""
    planes = {(0, t, z, 0): scene(2 * t + z).astype(np.uint16) for t in (0, 1) for z in (0, 1)}
    summary = {"Frames": 2, "Slices": 2, "Channels": 1, "Positions": 1}
    places = list(planes)
    first, second = tmp_path / "a_MMStack_Pos0.ome.tif", tmp_path / "a_MMStack_Pos0_1.ome.tif"
    writers.micromanager(first, {p: planes[p] for p in places[:3]}, summary)
    writers.micromanager(second, {places[3]: planes[places[3]]}, summary)
    frames = list(read_frames(first, z="max"))
    for t in (0, 1):
        expected = np.maximum(planes[0, t, 0, 0], planes[0, t, 1, 0])
        np.testing.assert_array_equal(frames[t].pixels, expected)
    assert list(read_frames(second, z="max")) == []


def test_single_pictures_with_tags_of_micromanager_are_read_in_silence(tmp_path, caplog):
    """As its folders of separate image files have them."""
    extra = [(51123, "s", 0, '{"FrameIndex": 0}', True)]
    path = pages(tmp_path / "img_channel000_time000000000_z000.tif", FIRST, extratags=extra)
    (frame,) = read_frames(path)
    np.testing.assert_array_equal(frame.pixels, FIRST)
    assert not caplog.records


def test_a_stopped_micromanager_file_without_a_map(tmp_path):
    planes = {(0, t, 0, 0): THREE[t].astype(np.uint16) for t in range(3)}
    path = tmp_path / "a_MMStack_Pos0.ome.tif"
    writers.micromanager(path, planes, {"Frames": 3}, with_map=False)
    path.write_bytes(path.read_bytes()[:-100])  # within the last plane
    frames = [frame.pixels for frame in read_frames(path)]
    np.testing.assert_array_equal(frames, THREE[:2])


# Formats of the extras.


def test_tiles_of_several_mosaics_have_numbers_of_their_own(tmp_path):
    """As a LIF with several tile scans has them."""
    mosaics = [
        Series({"P": 2, "Y": 40, "X": 56}, np.dtype(np.uint8), lambda at, k=k: BOTH[at["P"], k],
               name=name, number=k)
        for k, name in enumerate("AB")
    ]  # fmt: skip
    file = ImageFile(tmp_path / "a.lif", "Leica LIF", mosaics)
    for position, names in ((2, ["B 0"]), ("a 1", ["A 1"]), ("all", ["A 0", "A 1", "B 0", "B 1"])):
        found = plan(file, Selection(position=position), Notes())
        assert [planned.series.name for planned in found] == names


def test_lif(tmp_path):
    pytest.importorskip("liffile")
    path = writers.lif(tmp_path / "a.lif", {"one": BOTH[:2], "two": OTHER[:1, None]})
    with pytest.raises(UserError, match="0: one, 1: two"):
        list(read_frames(path))
    frames = list(read_frames(path, position="one", channel="Red"))
    np.testing.assert_array_equal([frame.pixels for frame in frames], OTHER[:2])
    assert [frame.time_s for frame in frames] == [0, 60]
    assert frames[0].pixel_size_um == pytest.approx(0.5)
    (frame,) = read_frames(path, position=1)
    np.testing.assert_array_equal(frame.pixels, OTHER[0])


@pytest.mark.parametrize("version", [2, 3])
def test_planes_of_an_ome_zarr_that_were_not_written_are_left_out(tmp_path, version):
    """Zarr writes no chunk of what is black, and a stopped acquisition no other chunk."""
    pytest.importorskip("zarr")
    planes = BOTH.copy()
    planes[1, 1] = planes[2] = 0
    path = writers.ome_zarr(tmp_path / "a.zarr", planes, "TCYX", version)
    reader = Reader(channel=1)
    assert [frame.step for frame in reader.read(path)] == [0]
    assert "holds 3 of the 6 planes that were planned" in reader.notes.sentences[0]
    assert [frame.step for frame in Reader(channel=0).read(path)] == [0, 1]


def test_frames_behind_a_black_one_of_an_ome_zarr_keep_their_numbers(tmp_path):
    """Labels and masks go by these numbers, and a mask without cells has no chunk."""
    pytest.importorskip("zarr")
    masks = np.zeros((3, 8, 8), np.uint8)
    masks[0, 2, 2:4], masks[2, 5, 5:8] = 1, 2
    path = writers.ome_zarr(tmp_path / "a.zarr", masks, "TYX")
    assert [(frame.index, frame.step) for frame in Reader().read(path)] == [(0, 0), (2, 2)]
    np.testing.assert_array_equal([read_mask(path, number) for number in range(3)], masks)


@pytest.mark.parametrize("version", [2, 3])
def test_ome_zarr(tmp_path, version):
    pytest.importorskip("zarr")
    path = writers.ome_zarr(tmp_path / "a.zarr", BOTH, "TCYX", version, channels=("DAPI", "GFP"))
    frames = list(read_frames(path, channel="GFP"))
    np.testing.assert_array_equal([frame.pixels for frame in frames], OTHER)
    assert (frames[1].time_s, frames[1].pixel_size_um) == (60, 0.5)
    assert search_images([tmp_path]).files == [path]
    path = writers.ome_zarr(tmp_path / "b.zarr", THREE, "TYX", version, all_levels=[2, 1, 0.5])
    second = list(read_frames(path))[1]
    assert (second.time_s, second.pixel_size_um) == (120, 0.25)


@pytest.mark.parametrize("calibrated", [True, False])
def test_nd2(tmp_path, monkeypatch, calibrated):
    """The package is asked for pictures in the order of its loops; a stopped one lacks the last."""

    class Nd2File:
        sizes = {"T": 3, "P": 2, "C": 2, "Y": 40, "X": 56}
        dtype = np.uint8
        attributes = types.SimpleNamespace(sequenceCount=5, bitsPerComponentSignificant=8)
        metadata = types.SimpleNamespace(
            channels=[
                types.SimpleNamespace(
                    channel=types.SimpleNamespace(name=name),
                    volume=types.SimpleNamespace(axesCalibrated=(calibrated, calibrated, False)),
                )
                for name in ("BF", "GFP")
            ]
        )
        experiment = [
            types.SimpleNamespace(
                type="TimeLoop", parameters=types.SimpleNamespace(periodDiff=None, periodMs=5000)
            )
        ]

        def __init__(self, path):
            self.closed = False

        def voxel_size(self):
            return types.SimpleNamespace(x=0.65)

        def read_frame(self, number):
            time, position = divmod(number, 2)
            return BOTH[time if position == 0 else 2 - time]

        def close(self):
            self.closed = True

    module = types.ModuleType("nd2")
    module.ND2File = Nd2File
    monkeypatch.setitem(sys.modules, "nd2", module)
    monkeypatch.setattr("cellzoo.images.readers.Format.installed", True)
    path = tmp_path / "a.nd2"
    path.write_bytes(b"\xda\xce\xbe\x0a" + bytes(100))
    frames = list(read_frames(path, position="position 1", channel="GFP"))
    np.testing.assert_array_equal([frame.pixels for frame in frames], OTHER[::-1][:2])
    size = 0.65 if calibrated else None
    assert [(frame.time_s, frame.pixel_size_um) for frame in frames] == [(0, size), (5, size)]
    assert [frame.index for frame in frames] == [3, 4]


@pytest.mark.parametrize("form", [form for form in FORMATS if form.extra], ids=lambda f: f.name)
def test_without_an_extra_a_sentence_names_it(tmp_path, monkeypatch, form):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    path = tmp_path / f"a{form.suffixes[0]}"
    if form.starts:
        path.write_bytes(form.starts[0] + bytes(100))
    else:
        path.mkdir()
    with pytest.raises(UserError, match=rf"pip install 'cellzoo\[{form.extra[0]}\]'"):
        list(read_frames(path))
    cv2.imwrite(str(tmp_path / "b.png"), FIRST)
    found = search_images([tmp_path])  # it is refused where it is read, not passed over
    assert found.files == [path, tmp_path / "b.png"] and not found.sentences


# Masks.


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.uint32, np.float32, "npy"])
def test_label_images_of_every_type(tmp_path, kind):
    label = (FIRST > 100).astype(np.uint8) * 39
    path = tmp_path / ("a.npy" if kind == "npy" else "a.tif")
    if kind == "npy":
        np.save(path, label.astype(np.int64))
    else:
        pages(path, label.astype(kind))
    np.testing.assert_array_equal(read_mask(path), label)


def test_cells_numbered_above_65535_are_numbered_anew(tmp_path):
    label = np.array([[0, 7, 7], [70_000, 0, 4_000_000_000]], np.uint32)
    read = read_mask(pages(tmp_path / "a.tif", label))
    np.testing.assert_array_equal(read, [[0, 1, 1], [2, 0, 3]])


def test_masks_of_imagej_and_indexed_ones_are_read_as_stored(tmp_path):
    mask = (FIRST > 100).astype(np.uint8) * 255
    twin = pages(tmp_path / "a.tif", mask, imagej=True, photometric="miniswhite")
    inverted = np.stack([np.arange(255, -1, -1)] * 3, -1)
    indexed = writers.indexed_png(tmp_path / "a.png", mask, inverted)
    np.testing.assert_array_equal(read_mask(twin), mask)
    np.testing.assert_array_equal(read_mask(indexed), mask)


def test_a_mask_without_background_is_refused(tmp_path):
    """As ilastik numbers: 1 is a cell, 2 the background."""
    path = encoded(tmp_path / "a.png", np.where(FIRST > 100, 1, 2).astype(np.uint8))
    with pytest.raises(UserError, match="has no 0, .* but 1, 2"):
        read_mask(path)


def test_a_mask_that_looks_inverted_is_warned_of(tmp_path, caplog):
    """ImageJ shows cells black on white."""
    read_mask(encoded(tmp_path / "a.png", np.where(FIRST > 100, 0, 255).astype(np.uint8)))
    assert "it may be inverted" in caplog.text


# Folders.


def test_what_is_passed_over_is_said_by_type_and_number(tmp_path):
    encoded(tmp_path / "a.png", FIRST)
    encoded(tmp_path / "b.bmp", SECOND)
    for name in ("c.avi", "d.avi", "e.oib", "labels.csv", "notes.txt"):
        (tmp_path / name).write_bytes(bytes(100))
    found = search_images([tmp_path])
    assert [path.name for path in found.files] == ["a.png", "b.bmp"]
    assert found.sentences == ["Passed over 3 files that cannot be read: 2 .avi, 1 .oib."]


LEFT_BESIDE = [
    *("well0_cp_masks.png", "well0_cp_output.png", "well0_flows.tif", "well0_cellprob.tif"),
    *("well0_Simple Segmentation.tif", "well0_Probabilities.tif", "well0_mask.tif"),
    *("well0_probability.tif", "well0_seg.png"),
]


def test_what_other_programs_left_beside_images_is_left_out(tmp_path):
    for name in ("well0.png", "well1_mask.png", *LEFT_BESIDE):
        encoded(tmp_path / name, FIRST)
    found = search_images([tmp_path])
    assert [path.name for path in found.files] == ["well0.png", "well1_mask.png"]  # of no image
    assert len(found.left_out) == len(LEFT_BESIDE)
    assert found.sentences[0].startswith(f"Left out {len(LEFT_BESIDE)} pictures")
    named = search_images([tmp_path / LEFT_BESIDE[0]])  # as it was named, it is meant
    assert named.files == [tmp_path / LEFT_BESIDE[0]]


def test_a_file_is_taken_once_however_its_path_is_spelled(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    path = encoded(tmp_path / "in" / "a.png", FIRST)
    (tmp_path / "link.png").symlink_to(path)
    monkeypatch.chdir(tmp_path)
    spelled = ["in/a.png", "in/../in/a.png", str(path), "link.png", "in"]
    found = search_images([Path(name) for name in spelled])
    assert found.files == [Path("in/a.png")]
    assert found.twice


@pytest.mark.parametrize(("asked", "stored"), [("\u00e9", "e\u0301"), ("e\u0301", "\u00e9")])
def test_names_with_composed_and_decomposed_letters_are_the_same(tmp_path, asked, stored):
    (tmp_path / stored).mkdir()
    shutil.copy(encoded(tmp_path / "x.png", FIRST), tmp_path / stored / f"{stored}.png")
    found = search_images([tmp_path / asked / f"{asked}.png"])
    assert found.files == [tmp_path / stored / f"{stored}.png"]


# Opening.


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.czi"])
def test_a_named_pipe_is_refused_at_once(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match="not a regular file"):
        list(read_frames(tmp_path / name))


def test_a_png_that_promises_more_than_it_holds_is_not_decoded(tmp_path):
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    (tmp_path / "a.png").write_bytes(
        writers.png((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    )
    with pytest.raises(UserError, match="cut off"):
        list(read_frames(tmp_path / "a.png"))


def test_a_picture_is_measured_before_it_is_decoded(tmp_path):
    large = np.zeros((20000, 20000), np.uint8)
    path = pages(tmp_path / "a.tif", large, compression="zlib", rowsperstrip=20000)
    with pytest.raises(UserError, match="20000 x 20000 px .400 megapixels."):
        list(read_frames(path))


def test_the_content_says_what_a_file_is(tmp_path):
    path = encoded(tmp_path / "a.png", FIRST)
    for name in ("a.tif", "a", "a.dat", "a.nd2"):
        shutil.copy(path, tmp_path / name)
        with open_image(tmp_path / name) as file:
            assert file.format == "PNG"


def test_label_images_and_sheets_of_cellzoo_are_no_images(tmp_path):
    """As ``cellzoo synth --preview`` leaves them, and ``cellzoo count --masks``."""
    for name in ("cells/images/a.png", "cells/labels/a.png", "cells_preview.png",
                 "cells/images/masks/a_mask.png",
                 "other/labels/b.png"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        encoded(tmp_path / name, FIRST)
    found = search_images([tmp_path])
    names = [path.relative_to(tmp_path).as_posix() for path in found.files]
    assert names == ["cells/images/a.png", "other/labels/b.png"]
    assert len(found.left_out) == 3


def test_a_thumbnail_in_a_tiff_is_no_picture(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(FIRST, metadata=None)
        tiff.write(FIRST[::4, ::4], metadata=None, subfiletype=1)
    (frame,) = read_frames(path)
    np.testing.assert_array_equal(frame.pixels, FIRST)


def test_an_ome_set_is_described_in_a_file_beside_it(tmp_path):
    """A companion file lists the planes of two files; each gives its own, by channel."""
    height, width = FIRST.shape
    blocks = "".join(
        f'<TiffData FirstT="{t}" FirstC="{c}" IFD="{t}"><UUID FileName="c{c}.ome.tif">urn:uuid:{c}'
        "</UUID></TiffData>"
        for t in range(3)
        for c in range(2)
    )
    (tmp_path / "a.companion.ome").write_text(
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        f'<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="{width}" '
        f'SizeY="{height}" SizeZ="1" SizeC="2" SizeT="3" PhysicalSizeX="0.65">'
        f'<Channel ID="0" Name="BF"/><Channel ID="1" Name="GFP"/>{blocks}</Pixels></Image></OME>'
    )
    for c in range(2):
        binary = (
            f'<OME UUID="urn:uuid:{c}"><BinaryOnly MetadataFile="a.companion.ome" '
            f'UUID="urn:uuid:x"/></OME>'
        )
        pages(tmp_path / f"c{c}.ome.tif", BOTH[:, c], description=binary)
    reader = Reader(channel="GFP")
    assert list(reader.read(tmp_path / "c0.ome.tif")) == []
    frames = list(reader.read(tmp_path / "c1.ome.tif"))
    np.testing.assert_array_equal([frame.pixels for frame in frames], OTHER)
    assert frames[0].pixel_size_um == 0.65
    with pytest.raises(UserError, match="0: BF, 1: GFP"):
        list(read_frames(tmp_path / "c0.ome.tif"))
