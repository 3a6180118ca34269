"""Small files as microscopes write them, each of the picture or planes that it is given."""

import json
import struct
import zlib
from pathlib import Path

import numpy as np


def scene(seed: int, height: int = 40, width: int = 56) -> np.ndarray:
    """Bright discs on dark ground, uint8 up to 250."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    picture = 20 + 6 * rng.random((height, width))
    for _ in range(3 + seed):
        cy, cx = rng.integers(4, height - 4), rng.integers(4, width - 4)
        picture = np.where((y - cy) ** 2 + (x - cx) ** 2 < 12, 120 + 100 * rng.random(), picture)
    picture[2, 2] = 250
    return picture.astype(np.uint8)


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of these chunks."""
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, content in chunks:
        crc = struct.pack(">I", zlib.crc32(name + content))
        parts += [struct.pack(">I", len(content)), name, content, crc]
    return b"".join(parts)


def grey16_png(path: Path, pixels: np.ndarray, bits: int) -> Path:
    """A PNG of 16 bit whose chunk sBIT says how many are significant."""
    height, width = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"sBIT", bytes([bits])), (b"IDAT", zlib.compress(rows))]
    path.write_bytes(png(*chunks, (b"IEND", b"")))
    return path


def indexed_png(path: Path, index: np.ndarray, palette: np.ndarray) -> Path:
    """A PNG of 8 bit with a palette `[n, 3]`."""
    height, width = index.shape
    rows = b"".join(b"\0" + row.astype(np.uint8).tobytes() for row in index)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"PLTE", palette.astype(np.uint8).tobytes())]
    path.write_bytes(png(*chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")))
    return path


def tiff(path: Path, pages: list[dict], head: bytes = b"") -> Path:
    """A little-endian TIFF of uint8 or uint16 pages, one strip each.

    Args:
        path: to write.
        pages: each with ``pixels`` and ``tags``, a list of (number, type, count, bytes).
        head: bytes between the header and the first page.
    """
    out = bytearray(b"II*\0" + struct.pack("<I", 8 + len(head)) + head)
    for k, page in enumerate(pages):
        pixels, at = page["pixels"], len(out)
        height, width = page.get("shape", pixels.shape[-2:])
        size = pixels.dtype.itemsize * height * width
        tags = [
            (256, 4, 1, struct.pack("<I", width)), (257, 4, 1, struct.pack("<I", height)),
            (258, 3, 1, struct.pack("<H", 8 * pixels.dtype.itemsize)),
            (259, 3, 1, struct.pack("<H", 1)), (262, 3, 1, struct.pack("<H", 1)),
            (273, 4, 1, None), (277, 3, 1, struct.pack("<H", 1)),
            (278, 4, 1, struct.pack("<I", height)), (279, 4, 1, struct.pack("<I", size)),
            *page.get("tags", ()),
        ]  # fmt: skip
        tags.sort(key=lambda tag: tag[0])
        after = at + 2 + 12 * len(tags) + 4
        extra = bytearray()
        entries = bytearray()
        data_at = after + sum(len(t[3]) + len(t[3]) % 2 for t in tags if t[3] and len(t[3]) > 4)
        for number, kind, count, value in tags:
            value = struct.pack("<I", data_at) if value is None else value
            if len(value) > 4:
                place = struct.pack("<I", after + len(extra))
                extra += value + b"\0" * (len(value) % 2)
                value = place
            entries += struct.pack("<HHI", number, kind, count) + value.ljust(4, b"\0")
        data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
        data += b"\0" * (len(data) % 2)
        following = 0 if k == len(pages) - 1 else data_at + len(data)
        out += struct.pack("<H", len(tags)) + entries + struct.pack("<I", following)
        out += extra + data
    path.write_bytes(bytes(out))
    return path


def stk(path: Path, planes: np.ndarray, z_step: int = 0) -> Path:
    """A MetaMorph stack: one page, and the other planes behind its pixels."""
    n = len(planes)
    times = b"".join(
        struct.pack("<6I", z_step, 1, 2450000, 1000 * k, 2450000, 1000 * k) for k in range(n)
    )
    tags = [(33628, 4, 1, struct.pack("<II", 0, 1)), (33629, 5, n, times)]
    return tiff(path, [{"pixels": planes, "shape": planes.shape[1:], "tags": tags}])


def lsm(path: Path, planes: np.ndarray) -> Path:
    """A Zeiss LSM of time points: each page is followed by a thumbnail."""
    n, height, width = planes.shape
    info = struct.pack("<IiIIIII", 0x0400494C, 512, width, height, 1, 1, n)
    info += struct.pack("<I2I3d", 1, 128, 128, 0.5e-6, 0.5e-6, 1e-6)
    info += struct.pack("<3d", 0, 0, 0) + struct.pack("<HHI", 3, 0, 0)
    info = info.ljust(512, b"\0")
    pages = []
    for k, plane in enumerate(planes):
        extra = [(34412, 1, len(info), info)] if k == 0 else []
        pages.append({"pixels": plane, "tags": extra})
        small = {"pixels": plane[:8, :8], "tags": [(254, 4, 1, struct.pack("<I", 1))]}
        pages.append(small)
    return tiff(path, pages)


def micromanager(
    path: Path,
    planes: dict[tuple[int, int, int, int], np.ndarray],
    summary: dict,
    with_map: bool = True,
) -> Path:
    """An image stack file of Micro-Manager.

    Args:
        path: to write.
        planes: by position, time, plane and channel.
        summary: of the whole acquisition.
        with_map: False: the acquisition was stopped before the index map was written.
    """
    about = json.dumps({"MicroManagerVersion": "2.0.0", "PixelSize_um": 0.65, **summary}).encode()
    about += b" " * (len(about) % 2)
    head = bytearray(32) + about
    pages = []
    for (position, time, plane, channel), pixels in planes.items():
        facts = {"PositionIndex": position, "FrameIndex": time, "SliceIndex": plane}
        facts = json.dumps({**facts, "ChannelIndex": channel}).encode() + b"\0"
        pages.append({"pixels": pixels, "tags": [(51123, 2, len(facts), facts)]})
    tiff(path, pages, bytes(head))
    data = bytearray(path.read_bytes())
    offsets, at = [], struct.unpack_from("<I", data, 4)[0]
    while at:
        offsets.append(at)
        (count,) = struct.unpack_from("<H", data, at)
        (at,) = struct.unpack_from("<I", data, at + 2 + 12 * count)
    index_at = len(data) if with_map else 0
    struct.pack_into("<8I", data, 8, 54773648, index_at, 483765892, 0, 99384722, 0,
                     2355492, len(about))  # fmt: skip
    if with_map:
        data += struct.pack("<II", 3453623, len(planes))
        for (position, time, plane, channel), offset in zip(planes, offsets, strict=True):
            data += struct.pack("<5I", channel, plane, time, position, offset)
    path.write_bytes(bytes(data))
    return path


def ndtiff(path: Path, planes: list[tuple[dict, np.ndarray]], **summary) -> Path:
    """A file of an NDTiff 3 data set, with the index beside it.

    Args:
        path: to write.
        planes: axes, such as ``{"time": 0, "channel": "DAPI"}``, and pixels of uint8 or uint16.
        summary: of the data set.
    """
    about = json.dumps(summary).encode()
    about += b" " * (len(about) % 2)
    head = struct.pack("<5I", 483729, 3, 3, 2355492, len(about)) + about
    tags = [(51123, 2, 14, b"{\"Camera\": 1}\0")]
    tiff(path, [{"pixels": pixels, "tags": tags} for _, pixels in planes], head)
    data, index = path.read_bytes(), b""
    (at,) = struct.unpack_from("<I", data, 4)
    for axes, pixels in planes:
        (count,) = struct.unpack_from("<H", data, at)
        entries = struct.iter_unpack("<HHII", data[at + 2 : at + 2 + 12 * count])
        offset = next(value for number, _, _, value in entries if number == 273)
        for text in (json.dumps(axes).encode(), path.name.encode()):
            index += struct.pack("<I", len(text)) + text
        height, width = pixels.shape
        kind = pixels.dtype.itemsize - 1
        index += struct.pack("<IiiiiIii", offset, width, height, kind, 0, 0, 0, 0)
        (at,) = struct.unpack_from("<I", data, at + 2 + 12 * count)
    with (path.parent / "NDTiff.index").open("ab") as file:
        file.write(index)
    return path


def czi(
    path: Path, planes: dict[tuple[int, int, int], np.ndarray], tiles: int = 1, **facts
) -> Path:
    """A Zeiss CZI, uncompressed.

    Args:
        path: to write.
        planes: by scene, time and channel, uint8 or uint16.
        tiles: columns that each plane is cut into, as those of a mosaic.
        facts: ``channels`` (names), ``pixel_size_um``, ``bits``; ``compress``, a function of bytes
            and the number of its method.
    """
    packed, method = facts.get("compress", (bytes, 0))
    out = bytearray(544)
    entries = []
    for (scene_, time, channel), plane in planes.items():
        columns = np.array_split(np.arange(plane.shape[1]), tiles)
        for k, column in enumerate(columns):
            tile = np.ascontiguousarray(plane[:, column])
            dims = [(b"X", int(column[0]), tile.shape[1]), (b"Y", 0, tile.shape[0])]
            dims += [(b"C", channel, 1), (b"T", time, 1), (b"S", scene_, 1)]
            dims += [(b"M", k, 1)] if tiles > 1 else []
            kind, n = tile.dtype.itemsize - 1, len(dims)
            entry = struct.pack("<2siqiiBB4si", b"DV", kind, len(out), 0, method, 0, 0, b"", n)
            entry += b"".join(struct.pack("<4siifi", *dim[:3], 0.0, dim[2]) for dim in dims)
            data = packed(tile.astype(tile.dtype.newbyteorder("<")).tobytes())
            body = struct.pack("<iiq", 0, 0, len(data)) + entry
            body = body.ljust(256, b"\0") + data
            out += struct.pack("<16sqq", b"ZISRAWSUBBLOCK", len(body), len(body)) + body
            entries.append(entry)
    directory_at = len(out)
    body = struct.pack("<i", len(entries)).ljust(128, b"\0") + b"".join(entries)
    out += struct.pack("<16sqq", b"ZISRAWDIRECTORY", len(body), len(body)) + body
    names = "".join(f'<Channel Id="Channel:{k}" Name="{name}"/>'
                    for k, name in enumerate(facts.get("channels", ())))  # fmt: skip
    bits = f"<ComponentBitCount>{facts['bits']}</ComponentBitCount>" if "bits" in facts else ""
    size = facts.get("pixel_size_um", 0) * 1e-6
    xml = (
        f"<ImageDocument><Metadata><Information><Image>{bits}<Dimensions><Channels>{names}"
        "</Channels></Dimensions></Image></Information><Scaling><Items>"
        f'<Distance Id="X"><Value>{size}</Value></Distance></Items></Scaling></Metadata>'
        "</ImageDocument>"
    ).encode()
    description_at = len(out)
    body = struct.pack("<ii", len(xml), 0).ljust(256, b"\0") + xml
    out += struct.pack("<16sqq", b"ZISRAWMETADATA", len(body), len(body)) + body
    places = (directory_at, description_at)
    header = struct.pack("<4i32siqqiq", 1, 0, 0, 0, b"\1" * 32, 0, *places, 0, 0)
    out[: 32 + len(header)] = struct.pack("<16sqq", b"ZISRAWFILE", 512, 512) + header
    path.write_bytes(bytes(out))
    return path


def lif(
    path: Path, images: dict[str, np.ndarray], pixel_size_um: float = 0.5, bits: int = 8
) -> Path:
    """A Leica LIF of images `[time, channel, height, width]` by name."""
    elements, blocks = "", []
    for k, (name, array) in enumerate(images.items()):
        times, channels, height, width = array.shape
        size = array.dtype.itemsize
        plane = height * width * size
        dims = [(1, width, size, pixel_size_um * 1e-6 * (width - 1), "m"),
                (2, height, width * size, pixel_size_um * 1e-6 * (height - 1), "m"),
                (4, times, plane * channels, 60.0 * (times - 1), "s")]  # fmt: skip
        described = "".join(
            f'<ChannelDescription DataType="0" ChannelTag="0" Resolution="{bits}" '
            f'NameOfMeasuredQuantity="" Min="0" Max="255" Unit="" LUTName="{lut}" '
            f'IsLUTInverted="0" BytesInc="{c * plane}" BitInc="0"/>'
            for c, lut in zip(range(channels), ("Green", "Red", "Blue"), strict=False)
        )
        spread = "".join(
            f'<DimensionDescription DimID="{i}" NumberOfElements="{n}" Origin="0" '
            f'Length="{length}" Unit="{unit}" BytesInc="{step}" BitInc="0"/>'
            for i, n, step, length, unit in dims
        )
        elements += (
            f'<Element Name="{name}" Visibility="1"><Data><Image><ImageDescription><Channels>'
            f"{described}</Channels><Dimensions>{spread}</Dimensions></ImageDescription></Image>"
            f'</Data><Memory Size="{array.nbytes}" MemoryBlockID="MemBlock_{k}"/></Element>'
        )
        blocks.append((f"MemBlock_{k}", array.astype(array.dtype.newbyteorder("<")).tobytes()))
    xml = (
        '<LMSDataContainerHeader Version="2"><Element Name="project" Visibility="1"><Data/>'
        f'<Memory Size="0" MemoryBlockID="MemBlock_x"/><Children>{elements}</Children></Element>'
        "</LMSDataContainerHeader>"
    ).encode("utf-16-le")
    out = struct.pack("<IIBI", 0x70, 5 + len(xml), 0x2A, len(xml) // 2) + xml
    for name, data in blocks:
        label = name.encode("utf-16-le")
        body = struct.pack("<BQBI", 0x2A, len(data), 0x2A, len(name)) + label
        out += struct.pack("<II", 0x70, len(body)) + body + data
    path.write_bytes(out)
    return path


def ome_zarr(path: Path, array: np.ndarray, axes: str, version: int = 3, **facts) -> Path:
    """An OME-Zarr 0.4 (Zarr 2) or 0.5 (Zarr 3) picture."""
    import zarr

    path.mkdir(parents=True)
    zarr.create_array(store=str(path / "0"), data=array, zarr_format=version,
                      chunks=(*[1] * (array.ndim - 2), *array.shape[-2:]))  # fmt: skip
    units = {"T": "second", "Y": "micrometer", "X": "micrometer", "Z": "micrometer"}
    names = [
        {"name": letter.lower(), **({"unit": units[letter]} if letter in units else {})}
        for letter in axes
    ]
    scale = [{"T": 60.0, "Y": 0.5, "X": 0.5}.get(letter, 1.0) for letter in axes]
    transforms = [{"type": "scale", "scale": scale}]
    ome = {
        "multiscales": [
            {"axes": names, "datasets": [{"path": "0", "coordinateTransformations": transforms}]}
        ],
        "omero": {"channels": [{"label": name} for name in facts.get("channels", ())]},
    }
    if "all_levels" in facts:
        whole = [{"type": "scale", "scale": facts["all_levels"]}]
        ome["multiscales"][0]["coordinateTransformations"] = whole
    if version == 2:
        (path / ".zgroup").write_text('{"zarr_format": 2}')
        (path / ".zattrs").write_text(json.dumps(ome))
    else:
        content = {"zarr_format": 3, "node_type": "group"}
        content["attributes"] = {"ome": {"version": "0.5", **ome}}
        (path / "zarr.json").write_text(json.dumps(content))
    return path
