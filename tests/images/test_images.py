"""Files of every kind -> the frames they hold, or one sentence that says what is wrong."""

import os
import shutil
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from cellzoo.errors import UsageError, UserError
from cellzoo.images import (
    SUFFIXES,
    find_images,
    imagefile,
    read_frames,
    resize,
    resize_all,
    resize_mask,
    to_unit,
)
from cellzoo.images.readers.tiff import ome, stacks
from cellzoo.images.scale import middle_of

RNG = np.random.default_rng(5)
GREY = RNG.integers(0, 256, (6, 9), np.uint8)
STACK = RNG.integers(0, 65536, (4, 6, 9), np.uint16)
COLOUR = RNG.integers(0, 256, (6, 9, 3), np.uint8)


def frames_of(path, **options):
    return list(read_frames(path, **options))


def write_tiff(path: Path, pixels, **options) -> Path:
    tifffile.imwrite(path, pixels, **options)
    return path


def encoded(suffix: str, pixels) -> bytes:
    return cv2.imencode(suffix, pixels)[1].tobytes()


# Frames


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".png", ".PNG", ".tif", ".tiff"])
def test_lossless_files_keep_every_grey_value(tmp_path, suffix, dtype):
    pixels = (STACK[0] if dtype == np.uint16 else GREY).astype(dtype)
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), pixels)

    (frame,) = frames_of(path)

    assert frame.pixels.dtype == dtype
    np.testing.assert_array_equal(frame.pixels, pixels)
    assert (frame.path, frame.index) == (path, 0)


def test_jpeg_is_read_as_8_bit_grey(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(".jpg", np.full((8, 12), 77, np.uint8)))
    (frame,) = frames_of(path)
    assert frame.pixels.dtype == np.uint8
    np.testing.assert_allclose(frame.pixels, np.full((8, 12), 77), atol=1)


def test_float_tiff_becomes_float32(tmp_path):
    path = write_tiff(tmp_path / "a.tif", np.array([[0.25, -3.0]]))
    (frame,) = frames_of(path)
    assert frame.pixels.dtype == np.float32
    np.testing.assert_array_equal(frame.pixels, [[0.25, -3.0]])


@pytest.mark.parametrize(
    "options",
    [
        {"metadata": {"axes": "TYX"}},
        {"metadata": {"axes": "TYX"}, "compression": "zlib"},
        {"metadata": {"axes": "TYX"}, "imagej": True},
        {"metadata": {"axes": "TYX"}, "ome": True},
        {"metadata": {"axes": "TYX"}, "bigtiff": True},
    ],
)
def test_time_lapse_gives_its_frames_in_order(tmp_path, options):
    path = write_tiff(tmp_path / "t.tif", STACK, photometric="minisblack", **options)
    frames = frames_of(path)
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    np.testing.assert_array_equal([frame.pixels for frame in frames], STACK)


def test_pages_of_a_plain_tiff_are_frames(tmp_path):
    path = tmp_path / "pages.tif"
    with tifffile.TiffWriter(path) as tiff:
        for page in STACK:
            tiff.write(page, contiguous=False, metadata=None)
    np.testing.assert_array_equal([frame.pixels for frame in frames_of(path)], STACK)


@pytest.mark.parametrize("compression", ["lzw", "zlib", "packbits", "zstd", "jpeg2000"])
def test_compressed_tiffs_are_read(tmp_path, compression):
    path = write_tiff(tmp_path / "a.tif", STACK[0], compression=compression)
    np.testing.assert_array_equal(frames_of(path)[0].pixels, STACK[0])


def test_alpha_of_a_compressed_tiff_does_not_darken_it(tmp_path):
    picture = np.full((6, 9, 2), (200, 128), np.uint8)
    path = write_tiff(
        tmp_path / "a.tif",
        picture,
        photometric="minisblack",
        extrasamples=["unassalpha"],
        planarconfig="contig",
        compression="lzw",
    )
    np.testing.assert_array_equal(frames_of(path)[0].pixels, picture[..., 0])


def test_a_damaged_strip_of_a_compressed_tiff_is_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (60, 90), np.uint8)
    path = write_tiff(tmp_path / "a.tif", noise, compression="lzw", rowsperstrip=20)
    with tifffile.TiffFile(path) as tiff:
        middle = tiff.pages[0].dataoffsets[1] + tiff.pages[0].databytecounts[1] // 2
    data = bytearray(path.read_bytes())
    data[middle : middle + 200] = b"\xff" * 200
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"a\.tif: cannot be read, it may be damaged"):
        frames_of(path)


def test_axes_overrule_the_file(tmp_path):
    path = write_tiff(
        tmp_path / "z.tif", STACK, photometric="minisblack", metadata={"axes": "ZYX"}
    )
    np.testing.assert_array_equal([f.pixels for f in frames_of(path, axes="tyx")], STACK)
    columns = frames_of(path, axes="YXT")
    assert len(columns) == 9
    np.testing.assert_array_equal(columns[2].pixels, STACK[:, :, 2])


def test_a_stack_whose_axes_are_turned_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    path = write_tiff(tmp_path / "a.tif", STACK, photometric="minisblack")
    monkeypatch.setattr(stacks, "read_page", lambda *_: pytest.fail("decoded"))
    with pytest.raises(UserError, match="max_megapixels"):
        frames_of(path, axes="YXT", max_megapixels=1e-6)
    monkeypatch.setattr(imagefile, "_MOST_AT_ONCE", STACK.nbytes - 1)
    with pytest.raises(UserError, match="can be read only at once"):
        frames_of(path, axes="YXT")


def test_axes_make_no_frames_of_channels(tmp_path):
    options = {"photometric": "minisblack", "metadata": {"axes": "CYX"}}
    path = write_tiff(tmp_path / "c.tif", STACK, **options)
    with pytest.raises(UserError, match=f"has {len(STACK)} channels .*write C .*natural.channel"):
        frames_of(path, axes="TYX", channel=1)
    np.testing.assert_array_equal(frames_of(path, axes="CYX", channel=1)[0].pixels, STACK[1])


def test_axes_do_not_touch_single_pictures(tmp_path):
    path = write_tiff(tmp_path / "a.tif", GREY)
    np.testing.assert_array_equal(frames_of(path, axes="TYX")[0].pixels, GREY)


def test_channel_of_a_time_lapse(tmp_path):
    pixels = RNG.integers(0, 256, (3, 2, 6, 9), np.uint8)
    path = write_tiff(
        tmp_path / "tc.tif", pixels, photometric="minisblack", metadata={"axes": "TCYX"}
    )
    frames = frames_of(path, channel=1)
    np.testing.assert_array_equal([frame.pixels for frame in frames], pixels[:, 1])


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_channel_counts_red_green_blue(tmp_path, suffix):
    path = tmp_path / f"rgb{suffix}"
    cv2.imwrite(str(path), COLOUR[..., ::-1])  # OpenCV takes blue, green, red
    for channel in range(3):
        (frame,) = frames_of(path, channel=channel)
        np.testing.assert_array_equal(frame.pixels, COLOUR[..., channel])


@pytest.mark.parametrize("samples", [3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey_saved_as_colour_is_grey(tmp_path, suffix, samples):
    pixels = np.stack([GREY] * samples, -1)
    pixels[..., 3:] = 255 - GREY[..., None]  # transparency plays no part
    path = tmp_path / f"rgb{suffix}"
    cv2.imwrite(str(path), pixels)
    np.testing.assert_array_equal(frames_of(path)[0].pixels, GREY)


def test_tiff_with_white_as_zero_is_turned_round(tmp_path):
    path = write_tiff(tmp_path / "a.tif", GREY, photometric="miniswhite")
    np.testing.assert_array_equal(frames_of(path)[0].pixels, 255 - GREY)


def test_two_samples_that_are_not_alpha_are_channels(tmp_path):
    both = np.stack([STACK[0], STACK[1]], axis=-1)
    write_tiff(tmp_path / "a.tif", both, planarconfig="contig", extrasamples=["unspecified"])
    for channel in (0, 1):
        (frame,) = read_frames(tmp_path / "a.tif", channel=channel)
        np.testing.assert_array_equal(frame.pixels, STACK[channel])
    with pytest.raises(UserError, match="2 channels .*set data.natural.channel to .* 0 to 1"):
        list(read_frames(tmp_path / "a.tif"))
    write_tiff(tmp_path / "b.tif", both, planarconfig="contig", extrasamples=["unassalpha"])
    (frame,) = read_frames(tmp_path / "b.tif")
    np.testing.assert_array_equal(frame.pixels, STACK[0])


RAMP = np.arange(256, dtype=np.uint16) * 257
DISPLAY_TABLES = {
    "inverted": np.stack([RAMP[::-1]] * 3),
    "green": np.stack([0 * RAMP, RAMP, 0 * RAMP]),
    "narrowed": np.stack([np.minimum(RAMP * 2.0, 65535).astype(np.uint16)] * 3),
    "hilo": np.stack([np.where(RAMP == 0, 0, RAMP), RAMP, np.where(RAMP == 0, 65535, RAMP)]),
}


@pytest.mark.parametrize("table", DISPLAY_TABLES)
def test_display_colours_never_change_pixels(tmp_path, table):
    options = {"photometric": "palette", "colormap": DISPLAY_TABLES[table]}
    for name, more in {"plain": {}, "imagej": {"imagej": True}}.items():
        path = write_tiff(tmp_path / f"{name}.tif", GREY, **options, **more)
        np.testing.assert_array_equal(frames_of(path)[0].pixels, GREY)
    for suffix in (".png", ".bmp"):
        path = indexed(tmp_path / f"a{suffix}", GREY, DISPLAY_TABLES[table].T // 257)
        np.testing.assert_array_equal(frames_of(path)[0].pixels, GREY)


def test_colours_of_an_indexed_picture_are_looked_up(tmp_path):
    colours = RNG.integers(0, 256, (256, 3), np.uint8)
    options = {"photometric": "palette", "colormap": colours.T.astype(np.uint16) * 257}
    paths = [write_tiff(tmp_path / "a.tif", GREY, **options)]
    paths += [indexed(tmp_path / f"a{suffix}", GREY, colours) for suffix in (".png", ".bmp")]
    for path in paths:
        with pytest.raises(UserError, match="is a colour picture"):
            frames_of(path)
        (frame,) = frames_of(path, channel="green")
        np.testing.assert_array_equal(frame.pixels, colours[GREY, 1])
        (stored,) = frames_of(path, mask=True)
        np.testing.assert_array_equal(stored.pixels, GREY)


def test_a_reduced_grey_palette_is_looked_up(tmp_path):
    """As optimisers of PNGs make it of a picture with few grey levels."""
    levels = np.array([0, 200, 31, 77], np.uint8)
    path = indexed(tmp_path / "a.png", GREY % 4, np.stack([levels] * 3, -1))
    np.testing.assert_array_equal(frames_of(path)[0].pixels, levels[GREY % 4])
    # Pillow sorts them, and fills up the table of a TIFF with black.
    table = np.zeros((3, 256), np.uint16)
    table[:, :50] = np.arange(150, 100, -1) * 257
    path = write_tiff(tmp_path / "a.tif", GREY % 50, photometric="palette", colormap=table)
    np.testing.assert_array_equal(frames_of(path)[0].pixels, 150 - GREY % 50)


def indexed(path: Path, index, palette) -> Path:
    """An indexed PNG or BMP of 8 bit."""
    palette = np.asarray(palette).astype(np.uint8)
    height, width = index.shape
    if path.suffix == ".png":
        rows = b"".join(b"\0" + row.tobytes() for row in index)
        header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
        chunks = [(b"IHDR", header), (b"PLTE", palette.tobytes())]
        chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*c) for c in chunks))
        return path
    row = (width + 3) // 4 * 4
    pixels = np.zeros((height, row), np.uint8)
    pixels[:, :width] = index[::-1]
    table = np.zeros((256, 4), np.uint8)
    table[: len(palette), :3] = palette[:, ::-1]
    start = 54 + table.size
    path.write_bytes(
        struct.pack("<2sIHHI", b"BM", start + pixels.size, 0, 0, start)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 0, 0, 0, 0, 256, 0)
        + table.tobytes()
        + pixels.tobytes()
    )
    return path


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"imagej": True, "resolution": (2, 2), "metadata": {"axes": "YX", "unit": "um"}}, 0.5),
        ({"imagej": True, "resolution": (2, 2), "metadata": {"axes": "YX"}}, None),
        (
            {
                "imagej": True,
                "resolution": (2e4, 2e4),
                "resolutionunit": "CENTIMETER",
                "metadata": {"axes": "YX", "unit": "um"},
            },
            0.5,
        ),
        ({"ome": True, "metadata": {"axes": "YX", "PhysicalSizeX": 0.65}}, 0.65),
        (
            {
                "ome": True,
                "metadata": {"axes": "YX", "PhysicalSizeX": 650, "PhysicalSizeXUnit": "nm"},
            },
            0.65,
        ),
        ({"resolution": (25400, 25400), "resolutionunit": "INCH"}, 1.0),
        ({"resolution": (40000, 40000), "resolutionunit": "CENTIMETER"}, 0.25),
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, None),  # a screen, no microscope
        ({}, None),
    ],
)
def test_pixel_size(tmp_path, options, expected):
    (frame,) = frames_of(write_tiff(tmp_path / "a.tif", GREY, **options))
    assert frame.pixel_size_um == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize("claimed", ["UTF-8", "utf-16", "ISO-8859-1"])
def test_an_ome_description_is_read_whatever_encoding_it_claims(tmp_path, claimed):
    path = write_tiff(
        tmp_path / "a.ome.tif", STACK, metadata={"axes": "TYX", "PhysicalSizeX": 0.65,
                                                 "PhysicalSizeXUnit": "µm"}
    )  # fmt: skip
    description = tifffile.tiffcomment(path).replace("UTF-8", claimed)
    assert f'encoding="{claimed}"' in description
    raw = description.encode("latin-1" if claimed == "ISO-8859-1" else "utf-8")
    write_tiff(path, STACK, description=raw, metadata=None, photometric="minisblack")
    frames = frames_of(path)
    assert [frame.step for frame in frames] == [0, 1, 2, 3]
    assert frames[0].pixel_size_um == pytest.approx(0.65)


# Broken files


def png_chunk(kind: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def png_without_pixels(path):
    data = encoded(".png", GREY)
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 0, 6, 8, 0, 0, 0, 0))
    path.write_bytes(data[:8] + header + data[33:])


def png_with_a_flipped_bit(path):
    data = bytearray(encoded(".png", GREY))
    data[60] ^= 1
    path.write_bytes(data)


def tiff_pages_cut(path):
    """Cut inside the third page's tags: tifffile alone would find two frames and be content."""
    with tifffile.TiffWriter(path) as tiff:
        for page in STACK[:3]:
            tiff.write(page, contiguous=False, metadata=None)
    with tifffile.TiffFile(path) as tiff:
        third = tiff.pages[2].offset
    path.write_bytes(path.read_bytes()[: third + 20])


def imagej_stack_cut(path):
    """As ImageJ writes stacks beyond 4 GB: one page, and the other planes behind it."""
    stack = np.zeros((10, 8, 8), np.uint8)
    tifffile.imwrite(path, stack, imagej=True, truncate=True, metadata={"axes": "TYX"})
    assert len(list(read_frames(path))) == 10
    path.write_bytes(path.read_bytes()[:-300])


def tiff_pixels_cut(path):
    write_tiff(path, STACK, photometric="minisblack", metadata={"axes": "TYX"})
    path.write_bytes(path.read_bytes()[:-50])


def tiff_of_two_sizes(path):
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(GREY, metadata=None)
        tiff.write(GREY[:4], metadata=None)


def stack(path, axes, **options):
    metadata = {"axes": axes} if axes else None
    options = {"photometric": "minisblack"} | options
    tifffile.imwrite(path, STACK, metadata=metadata, **options)


BROKEN = {
    "empty.png": (lambda p: p.write_bytes(b""), "0 bytes"),
    "empty.tif": (lambda p: p.write_bytes(b""), "0 bytes"),
    "text.png": (lambda p: p.write_text("these are notes"), "is no image"),
    "text.tif": (lambda p: p.write_text("II these are notes"), "is no image"),
    "half.png": (lambda p: p.write_bytes(encoded(".png", GREY)[:70]), "cut off"),
    "tail.png": (lambda p: p.write_bytes(encoded(".png", GREY)[:-1]), "cut off"),
    "head.png": (lambda p: p.write_bytes(encoded(".png", GREY)[:12]), "cut off"),
    "flipped.png": (png_with_a_flipped_bit, "damaged"),
    "zero.png": (png_without_pixels, "without pixels"),
    "half.jpg": (lambda p: p.write_bytes(encoded(".jpg", GREY)[:300]), "cut off"),
    "tail.jpeg": (lambda p: p.write_bytes(encoded(".jpg", GREY)[:-1]), "cut off"),
    "head.tif": (lambda p: p.write_bytes(b"II*\0\x08\0\0\0"), "damaged"),
    "pages.tif": (tiff_pages_cut, "cut off"),
    "pixels.tif": (tiff_pixels_cut, "cut off"),
    "imagej.tif": (imagej_stack_cut, "cut off"),
    "sizes.tif": (tiff_of_two_sizes, "2 separate pictures"),
    "layers.tif": (lambda p: stack(p, "QYX"), "data.natural.axes: TYX"),
    "planes.tif": (lambda p: stack(p, "ZYX"), "4 focal planes"),
    "channels.tif": (lambda p: stack(p, "CYX"), "data.natural.channel"),
    "colour.png": (
        lambda p: p.write_bytes(encoded(".png", COLOUR)),
        "data.natural.channel: red|green|blue|luminance",
    ),
    "colour.jpg": (
        lambda p: p.write_bytes(encoded(".jpg", np.full((8, 8, 3), (0, 90, 200), np.uint8))),
        "data.natural.channel: red|green|blue|luminance",
    ),
    "colour.tif": (
        lambda p: write_tiff(p, COLOUR, photometric="rgb"),
        "data.natural.channel: red|green|blue|luminance",
    ),
    "nan.tif": (lambda p: write_tiff(p, np.full((4, 5), np.nan, np.float32)), "NaN"),
    "signed.tif": (lambda p: write_tiff(p, STACK[0].astype(np.int16)), "int16"),
    "long.tif": (lambda p: write_tiff(p, STACK[0].astype(np.uint32) + 65536), "uint32"),
    "mask.tif": (lambda p: write_tiff(p, GREY > 99), "1 bit"),
    "mask.png": (
        lambda p: cv2.imwrite(str(p), (GREY > 99) * np.uint8(255), [cv2.IMWRITE_PNG_BILEVEL, 1]),
        "1 bit",
    ),
    "sheet.xlsx": (lambda p: p.write_bytes(b"PK"), "save it as one of"),
    "folder.png": (lambda p: p.mkdir(), "cannot be opened"),
    "missing.png": (lambda p: None, "check the path"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file_is_answered_with_one_sentence(tmp_path, name):
    write, fragment = BROKEN[name]
    write(tmp_path / name)

    with pytest.raises(UserError) as caught:
        frames_of(tmp_path / name)

    message = str(caught.value)
    assert message.startswith(f"{tmp_path / name}: ")
    assert fragment in message
    assert "\n" not in message
    assert caught.value.exit_code == 1


def ome_part(path, pages, planes):
    """A file of an OME set: it holds the first planes, files that are not there the rest."""
    stack(path, "TYX", ome=True)
    description = tifffile.tiffcomment(path)
    uuid = description.split('UUID="')[1].split('"')[0]
    parts = "".join(
        f'<TiffData FirstT="{t}" IFD="{t}" PlaneCount="1"><UUID FileName="{name}">{own}</UUID>'
        "</TiffData>"
        for t in range(len(STACK))
        for name, own in [(path.name, uuid) if t < planes else (f"b{t}.ome.tif", "urn:uuid:b")]
    )
    whole = '<TiffData IFD="0" PlaneCount="4"/>'
    assert whole in description
    description = description.replace(whole, parts)
    tifffile.imwrite(
        path, pages, description=description.encode(), metadata=None, photometric="minisblack"
    )


def test_a_file_of_an_ome_set_is_read_alone(tmp_path):
    ome_part(tmp_path / "a.ome.tif", STACK[0], planes=1)
    (frame,) = frames_of(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(frame.pixels, STACK[0])


def test_of_an_ome_set_the_description_says_what_the_pages_are(tmp_path):
    ome_part(tmp_path / "a.ome.tif", STACK[:2], planes=2)
    frames = frames_of(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal([frame.pixels for frame in frames], STACK[:2])


def test_of_an_ome_set_files_of_other_times_are_not_opened(tmp_path, monkeypatch):
    """A set of a file per time point has more of them than a process may open."""
    ome_part(tmp_path / "a.ome.tif", STACK[:2], planes=2)
    for t in (2, 3):
        shutil.copy(tmp_path / "a.ome.tif", tmp_path / f"b{t}.ome.tif")
    opened, open_tiff = [], tifffile.TiffFile
    monkeypatch.setattr(
        tifffile, "TiffFile", lambda *a, **k: opened.append(Path(a[0]).name) or open_tiff(*a, **k)
    )
    assert len(frames_of(tmp_path / "a.ome.tif")) == 2
    assert set(opened) == {"a.ome.tif"}


def test_the_description_of_an_ome_set_is_parsed_once(tmp_path):
    """It lists the planes of all files, each of which has it: but for its own UUID."""
    ome_part(tmp_path / "a.ome.tif", STACK, planes=2)
    content = (tmp_path / "a.ome.tif").read_bytes()
    start = content.index(b'UUID="') + len(b'UUID="urn:uuid:')
    (tmp_path / "b2.ome.tif").write_bytes(content[:start] + b"00000000" + content[start + 8 :])
    ome._root.cache_clear()
    frames = [*frames_of(tmp_path / "a.ome.tif"), *frames_of(tmp_path / "b2.ome.tif")]
    np.testing.assert_array_equal([frame.pixels for frame in frames], STACK[:3])
    assert ome._root.cache_info().misses == 1


def test_a_file_of_an_ome_set_under_another_name(tmp_path):
    ome_part(tmp_path / "a.ome.tif", STACK[:2], planes=2)
    (tmp_path / "a.ome.tif").rename(tmp_path / "c.ome.tif")
    frames = frames_of(tmp_path / "c.ome.tif")  # its UUID says which one it is
    np.testing.assert_array_equal([frame.pixels for frame in frames], STACK[:2])


def test_an_ome_file_that_lacks_planes(tmp_path, caplog):
    """As an interrupted recording leaves it: four planes described, two written."""
    ome_part(tmp_path / "a.ome.tif", STACK[:2], planes=4)
    with caplog.at_level("INFO", "cellzoo"):
        frames = frames_of(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal([frame.pixels for frame in frames], STACK[:2])
    assert "holds 2 of the 4 planes that its description promises" in caplog.text


@given(st.integers(0, 2000), st.sampled_from([".png", ".jpg", ".tif"]), st.integers(0, 255))
def test_no_damage_makes_anything_but_a_user_error(tmp_path_factory, at, suffix, value):
    """One changed byte anywhere: frames of the right kind, or a UserError."""
    data = bytearray(encoded(suffix, GREY))
    data[at % len(data)] = value
    path = tmp_path_factory.mktemp("damaged") / f"a{suffix}"
    path.write_bytes(data)
    try:
        frames = frames_of(path)
    except UserError as error:
        assert str(path) in str(error) and "\n" not in str(error)
    else:
        assert all(frame.pixels.ndim == 2 and frame.pixels.size for frame in frames)


@pytest.mark.parametrize("channel", [-1, 3])
def test_a_channel_that_is_not_there(tmp_path, channel):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(".png", COLOUR))
    cure = f"no channel {channel}, set data.natural.channel .* 0 to 2"
    with pytest.raises(UserError, match=cure):
        frames_of(path, channel=channel)


@pytest.mark.parametrize("axes", ["T", "XX", "TTYX", "TYXé", ""])
def test_axes_that_are_none(tmp_path, axes):
    with pytest.raises(UsageError, match="data.natural.axes") as caught:
        frames_of(write_tiff(tmp_path / "a.tif", GREY), axes=axes)
    assert caught.value.exit_code == 2


def test_axes_that_do_not_fit(tmp_path):
    stack(tmp_path / "a.tif", "TYX")
    with pytest.raises(UserError, match=r"3 dimensions \(4 x 6 x 9\).*TZYX"):
        frames_of(tmp_path / "a.tif", axes="TZYX")


# Finding files


def test_find_images_searches_folders_in_natural_order(tmp_path):
    for name in ("t10.png", "t2.TIF", "b/c.jpeg", "notes.txt", ".hidden.png", ".git/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "up").symlink_to(tmp_path, target_is_directory=True)  # an endless loop

    found = find_images([tmp_path / "t10.png", tmp_path])

    names = [path.relative_to(tmp_path).as_posix() for path in found]
    assert names == ["t10.png", "b/c.jpeg", "t2.TIF"]


def test_find_images_tells_of_a_folder_that_cannot_be_read(tmp_path, monkeypatch, caplog):
    for folder in ("open", "shut"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").touch()
    scan = os.scandir

    def scandir(path):
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert find_images([tmp_path]) == [tmp_path / "open" / "a.png"]
    assert "shut cannot be read (Permission denied): left out." in caplog.text


@pytest.mark.parametrize(
    ("name", "fragment"),
    [("missing", "no such file"), ("empty", "no image found")],
)
def test_find_images_refuses(tmp_path, name, fragment):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=fragment) as caught:
        find_images([tmp_path / name])
    assert str(tmp_path / name) in str(caught.value)


def test_nothing_given_is_nothing_found():
    with pytest.raises(UserError, match="no image found"):
        find_images([])


def test_suffixes_are_lower_case():
    assert all(suffix == suffix.lower() for suffix in SUFFIXES)


# Grey values


def test_to_unit_by_type():
    scaled = to_unit(np.array([[0, 51, 255]], np.uint8))
    np.testing.assert_allclose(scaled, [[0, 0.2, 1]], rtol=1e-6)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(to_unit(np.array([[0, 13107, 65535]], np.uint16)), [[0, 0.2, 1]])
    np.testing.assert_array_equal(to_unit(np.array([[0.0, 0.5, 1]], np.float32)), [[0, 0.5, 1]])


def test_to_unit_by_given_range():
    pixels = np.array([[0, 100, 150, 200, 4095]], np.uint16)
    np.testing.assert_allclose(to_unit(pixels, (100, 200)), [[0, 0, 0.5, 1, 1]])
    np.testing.assert_allclose(to_unit(np.array([[-5.0, 5]]), [-5, 15]), [[0, 0.5]])


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan])
def test_floats_beyond_the_unit_range_need_a_range(value):
    with pytest.raises(UserError, match="a.tif: .*data.natural.intensity to \\[low, high\\]"):
        to_unit(np.array([[0.5, value]], np.float32), name="a.tif")


@pytest.mark.parametrize("intensity", ["minmax", (1, 1), (2, 1), (1, 2, 3), (0, float("nan"))])
def test_intensity_that_is_none(intensity):
    with pytest.raises(UsageError, match="data.natural.intensity"):
        to_unit(GREY, intensity)


def test_to_unit_refuses_other_types():
    with pytest.raises(UserError, match="int32"):
        to_unit(GREY.astype(np.int32))


def test_resize_averages_where_it_shrinks():
    pixels = np.array([[0, 1, 0, 0], [1, 0, 0, 1], [1, 1, 0, 0], [1, 1, 0, 0]], np.float32)
    np.testing.assert_allclose(resize(pixels, 2), [[0.5, 0.25], [1, 0]])


def test_resize_shrinks_one_side_and_grows_the_other():
    # Height 4 -> 2: means of row pairs; width 1 -> 2: the same value twice.
    pixels = np.array([[0], [1], [0.5], [0.5]], np.float32)
    np.testing.assert_allclose(resize(pixels, 2), [[0.5, 0.5], [0.5, 0.5]])


@pytest.mark.parametrize("size", [(9, 7), (20, 25), (20, 31), (10, 10), (45, 90), (33, 90)])
@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_images_are_resized_together_as_each_is_alone(number, size):
    images = np.random.default_rng(number).integers(0, 256, (number, 40, 50), np.uint8)
    together = resize_all(images, size)
    assert together.dtype == np.float32
    np.testing.assert_array_equal(together, [resize(image, size) for image in images])


def test_resize_to_height_and_width():
    pixels = np.array([[0, 1, 0, 0], [1, 0, 0, 1]], np.float32)
    np.testing.assert_allclose(resize(pixels, (1, 2)), [[0.5, 0.25]])
    np.testing.assert_array_equal(resize(pixels, (2, 4)), pixels)


@given(height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 99))
def test_a_resized_mask_has_no_new_numbers(height, width, seed):
    mask = np.random.default_rng(seed).integers(0, 3, (13, 9)).astype(np.uint16) * 400
    resized = resize_mask(mask, (height, width))
    assert resized.shape == (height, width) and resized.dtype == np.uint16
    assert set(np.unique(resized)) <= set(np.unique(mask))


def test_resize_to_the_same_size_is_a_copy():
    pixels = GREY[:, :6].astype(np.float32)
    same = resize(pixels, 6)
    np.testing.assert_array_equal(same, pixels)
    assert not np.shares_memory(same, pixels)


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    size=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_resize_keeps_the_range(height, width, size, seed):
    pixels = np.random.default_rng(seed).random((height, width), np.float32)
    resized = resize(pixels, size)
    assert resized.shape == (size, size) and resized.dtype == np.float32
    assert pixels.min() <= resized.min() and resized.max() <= pixels.max()


def test_the_middle_of_images_is_a_view_and_small_ones_stay_whole():
    image = np.arange(7 * 10).reshape(7, 10)
    np.testing.assert_array_equal(middle_of(image, 4), image[1:5, 3:7])
    assert middle_of(image, 20).shape == (7, 10) and np.shares_memory(middle_of(image, 4), image)
    assert middle_of(np.stack([image, image]), 8).shape == (2, 7, 8)
