"""Writing a time-lapse as OME-TIFF, with what a counter and a growth rate need to know of it."""

import math
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from cellzoo.files import temporary_beside

_MOST_CLASSIC = 3.5 * 2**30  # bytes of pixels; a classic TIFF ends at 4 GiB, compressed or not


class OmeWriter:
    """Writes the frames of a time-lapse one by one; the file appears when it is whole.

    Args:
        file: to write or replace; its folder exists.
        shape: frames, height and width.
        dtype: of the pixels.
        pixel_size_um: width of a pixel in micrometres; None: not known.
        seconds: of each frame since the first; NaN or None where it is not known.
        bits: significant bits of uint16 pixels; None: all.

    The text that describes the file is as the OME model 2016-06 has it.
    """

    def __init__(
        self,
        file: Path,
        shape: tuple[int, int, int],
        dtype: np.dtype,
        *,
        pixel_size_um: float | None = None,
        seconds: Sequence[float | None] | None = None,
        bits: int | None = None,
    ):
        """Opens a hidden file beside it."""
        import tifffile  # 0.1 s, which those that only read other formats go without

        self._file, self._temporary = file, temporary_beside(file)
        size = math.prod(shape) * np.dtype(dtype).itemsize
        self._writer = tifffile.TiffWriter(self._temporary, bigtiff=size > _MOST_CLASSIC)
        facts: dict[str, object] = {"axes": "TYX", "Name": file.name.partition(".")[0]}
        if pixel_size_um:
            for side in "XY":
                facts[f"PhysicalSize{side}"] = f"{pixel_size_um:.9g}"
                facts[f"PhysicalSize{side}Unit"] = "µm"
        if bits and np.dtype(dtype) == np.uint16:
            facts["SignificantBits"] = bits
        known = [] if seconds is None else [np.nan if s is None else float(s) for s in seconds]
        if known and np.isfinite(known).all():
            facts["Plane"] = {
                "DeltaT": [f"{s:.9g}" for s in known],
                "DeltaTUnit": ["s"] * len(known),
            }
            steps = np.diff(known)
            if len(steps) and np.allclose(steps, steps[0], rtol=1e-4):
                facts["TimeIncrement"] = f"{steps.mean():.9g}"
                facts["TimeIncrementUnit"] = "s"
        # Of the name, so that the same pictures give the same file.
        xml = tifffile.OmeXml(UUID=f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, file.name)}")
        xml.addimage(dtype, shape, (shape[0], 1, 1, *shape[1:], 1), **facts)
        self._description: bytes | None = xml.tostring().encode()

    def write(self, frame: np.ndarray) -> None:
        """Writes the next frame, ``[height, width]``."""
        description, self._description = self._description, None
        self._writer.write(
            frame, description=description, metadata=None, photometric="minisblack",
            compression="zlib", predictor=frame.dtype.kind == "u",
        )  # fmt: skip

    def finish(self) -> None:
        """Gives the file its name."""
        self._writer.close()
        self._temporary.replace(self._file)

    def abandon(self) -> None:
        """Removes what was written."""
        self._writer.close()
        self._temporary.unlink(missing_ok=True)


def write_ome(
    file: Path,
    frames: Iterable[np.ndarray],
    shape: tuple[int, int, int],
    dtype: np.dtype,
    **facts: object,
) -> None:
    """Writes a time-lapse whole, see :class:`OmeWriter`."""
    writer = OmeWriter(file, shape, dtype, **facts)
    try:
        for frame in frames:
            writer.write(frame)
    except BaseException:
        writer.abandon()
        raise
    writer.finish()
