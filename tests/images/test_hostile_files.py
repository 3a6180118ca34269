"""Damaged files by the thousand, and one of 20 GB: a frame or one sentence, in little memory."""

import os
import resource
import signal
import struct
import subprocess
import sys
from pathlib import Path

import cv2
import microscope_files as writers
import numpy as np
import pytest
import tifffile
from microscope_files import scene

from cellzoo.errors import UserError
from cellzoo.images import read_frames

pytestmark = pytest.mark.slow

PICTURE = scene(1)
STACK = np.stack([scene(k) for k in range(3)])
MOST_SECONDS = 10
MOST_BYTES = 2 * 2**30


def encoded(suffix, pixels):
    return lambda path: path.write_bytes(cv2.imencode(suffix, pixels)[1].tobytes())


def tiff(**options):
    return lambda path: tifffile.imwrite(path, STACK, photometric="minisblack", **options)


def micromanager(path):
    planes = {(0, t, 0, 0): STACK[t].astype(np.uint16) for t in range(3)}
    writers.micromanager(path, planes, {"Frames": 3})


CORE = {
    "a.png": encoded(".png", PICTURE),
    "a.jpg": encoded(".jpg", PICTURE),
    "a.bmp": encoded(".bmp", PICTURE),
    "a.webp": encoded(".webp", PICTURE),
    "plain.tif": tiff(metadata=None),
    "packed.tif": tiff(metadata={"axes": "TYX"}, compression="zlib"),
    "imagej.tif": tiff(metadata={"axes": "TYX"}, imagej=True),
    "a.ome.tif": tiff(metadata={"axes": "TYX"}, ome=True),
    "big.tf8": tiff(metadata={"axes": "TYX"}, bigtiff=True),
    "a_MMStack_Pos0.ome.tif": micromanager,
    "a.stk": lambda path: writers.stk(path, STACK),
    "a.lsm": lambda path: writers.lsm(path, STACK),
    "a.czi": lambda path: writers.czi(path, {(0, t, 0): STACK[t] for t in range(3)}),
}
EXTRA = {
    "a.lif": ("liffile", lambda path: writers.lif(path, {"one": STACK[:, None]})),
    "a.zarr": ("zarr", lambda path: writers.ome_zarr(path, STACK, "TYX")),
}


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """A file with some bytes changed, cut off, left out or put in."""
    data = bytearray(data)
    head = len(data) if rng.random() < 0.5 else min(len(data), 400)  # more often where it matters
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(head))
        match rng.integers(5):
            case 0:
                data[at] = int(rng.integers(256))
            case 1:
                data[at : at + 4] = struct.pack("<I", int(rng.choice([0, 2**31 - 1, 2**32 - 1])))
            case 2:
                del data[at : at + int(rng.integers(1, 20))]
            case 3:
                data[at:at] = rng.bytes(int(rng.integers(1, 20)))
            case _ if rng.random() < 0.2:
                del data[at:]
        head = max(1, min(head, len(data)))
        if not data:
            break
    return bytes(data)


class TooLong(BaseException):
    """Reading a file took longer than it may."""


def answered(path: Path) -> None:
    """A frame or one sentence, within the time."""

    def stop(*_):
        raise TooLong(path.name)

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(MOST_SECONDS)
    try:
        for frame in read_frames(path):
            assert frame.pixels.ndim == 2 and frame.pixels.size
    except UserError as error:
        assert "\n" not in str(error)
    finally:
        signal.alarm(0)


def in_little_memory(test):
    """Runs a test in a process of its own, which may not take more than the limit."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            resource.setrlimit(resource.RLIMIT_AS, (2 * MOST_BYTES, resource.RLIM_INFINITY))
            test()
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            status = 0 if most < MOST_BYTES else 3
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 0, f"ended with {status}"


def number_of_files(default: int) -> int:
    """How many damaged files, which a quick look may lower."""
    return int(os.environ.get("CELLZOO_FUZZED_FILES", default))


@pytest.mark.parametrize("name", CORE)
def test_ten_thousand_damaged_files(tmp_path, name):
    path = tmp_path / name
    CORE[name](path)
    original = path.read_bytes()

    def read_all():
        for seed in range(number_of_files(10_000)):
            path.write_bytes(damaged(original, np.random.default_rng(seed)))
            try:
                answered(path)
            except BaseException as error:
                raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error

    in_little_memory(read_all)


@pytest.mark.parametrize("name", EXTRA)
def test_a_thousand_damaged_files_of_the_extras(tmp_path, name):
    library, write = EXTRA[name]
    pytest.importorskip(library)
    path = tmp_path / name
    write(path)
    files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.is_file())
    originals = {file: file.read_bytes() for file in files}

    def read_all():
        for seed in range(number_of_files(1_000)):
            rng = np.random.default_rng(seed)
            file = files[rng.integers(len(files))]
            file.write_bytes(damaged(originals[file], rng))
            try:
                answered(path)
            except BaseException as error:
                raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
            file.write_bytes(originals[file])

    in_little_memory(read_all)


@pytest.mark.parametrize("options", [{"bigtiff": True}, {"imagej": True}])
def test_twenty_gigabytes_are_read_in_constant_memory(tmp_path, options):
    """A sparse file: the pages are there, and all pixels but those of one are holes."""
    path, side = tmp_path / "a.tif", 2048
    n = 20 * 2**30 // (2 * side * side)
    if "imagej" in options:  # one page that describes all of them
        tifffile.imwrite(
            path, np.zeros((1, side, side), np.uint16), imagej=True,
            metadata={"axes": "TYX", "images": n, "frames": n},
        )  # fmt: skip
        with tifffile.TiffFile(path) as tiff:
            start = tiff.pages[0].dataoffsets[0]
            tag = tiff.pages[0].tags["ImageDescription"]
        text = f"ImageJ=1.11a\nimages={n}\nframes={n}\n"
        data = bytearray(path.read_bytes())
        data[tag.valueoffset : tag.valueoffset + tag.count] = text.encode().ljust(tag.count, b"\0")
        path.write_bytes(data)
        os.truncate(path, start + n * 2 * side * side)
    else:
        sparse_bigtiff(path, n, side)
    code = (
        "import resource, sys; from pathlib import Path; from cellzoo.images import read_frames\n"
        "n = sum(1 for frame in read_frames(Path(sys.argv[1])))\n"
        "print(n, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    frames, megabytes = map(int, done.stdout.split())
    assert frames == n
    assert megabytes < 1024


def sparse_bigtiff(path: Path, n: int, side: int) -> None:
    """Pages of 16 bit, each before its pixels, which are holes."""
    size, entries = 2 * side * side, 9
    step = 8 + 20 * entries + 8 + size
    with path.open("wb") as file:
        file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16))
        for k in range(n):
            at = 16 + k * step
            pixels = at + step - size
            tags = [(256, side), (257, side), (258, 16), (259, 1), (262, 1), (273, pixels)]
            tags += [(277, 1), (278, side), (279, size)]
            file.seek(at)
            file.write(struct.pack("<Q", entries))
            for number, value in tags:
                file.write(struct.pack("<HHQQ", number, 16, 1, value))
            file.write(struct.pack("<Q", 0 if k == n - 1 else at + step))
        file.truncate(16 + n * step)
