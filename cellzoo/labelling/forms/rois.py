"""ROI files of ImageJ: one ROI, or the zip of the ROI manager."""

import io
import re
import zipfile
from pathlib import Path

from roifile import ROI_TYPE, ImagejRoi

from cellzoo.data.points import Point, as_array
from cellzoo.errors import UserError
from cellzoo.images.grey import refusing
from cellzoo.labelling.dotted import Dotted
from cellzoo.labelling.label_file import LabelFile, Labelled, Surroundings, grouped

_LARGEST = 64 * 2**20  # bytes of a ROI, unpacked
_HALF_PIXEL = 0.5  # outlines are measured from the corner of the first pixel
_NO_CELLS = {ROI_TYPE.LINE, ROI_TYPE.FREELINE, ROI_TYPE.POLYLINE, ROI_TYPE.ANGLE, ROI_TYPE.NOROI}
_PLANE_IN_NAME = re.compile(r"(\d{4,})-\d{4,}-\d{4,}")  # as old versions name the ROIs of a stack


def recognises(file: LabelFile) -> bool:
    """Whether it is a ROI, or a zip with ROIs."""
    if file.head.startswith(b"Iout"):
        return True
    return file.head.startswith(b"PK") and any(
        name.lower().endswith(".roi") for name in _names(file.path)
    )


def read(file: LabelFile, around: Surroundings) -> list[Labelled]:
    """Every outline is a cell, and every point of a selection of points.

    The file's name says the image, the position of a ROI its frame.
    """
    image = around.image_of(file)
    cells, lines = [], 0
    for name, raw in _rois(file):
        with refusing(file.path):
            roi = ImagejRoi.frombytes(raw)
            if roi.roitype in _NO_CELLS:
                lines += 1
                continue
            places = _places(roi)
        planes = [_plane(roi, name)] * len(places)
        if roi.counter_positions is not None and len(roi.counter_positions) == len(places):
            planes = [
                int(own) or plane for own, plane in zip(roi.counter_positions, planes, strict=True)
            ]
        for (x, y), plane in zip(places, planes, strict=True):
            if roi.t_position and around.layout(image).frames > 1:
                plane = roi.t_position * around.layout(image).per_frame
            cells.append((image, around.frame_of_plane(file, None, image, plane), Point(x, y)))
    if lines:
        around.note(f"{file.path.name} has {lines} lines, which are not counted.")
    if not cells:
        raise file.refused(None, "has no outline and no point, so it labels nothing")
    return grouped(file, cells)


def _names(path: Path) -> list[str]:
    try:
        with refusing(path), zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except UserError:
        return []


def _rois(file: LabelFile) -> list[tuple[str, bytes]]:
    if file.head.startswith(b"Iout"):
        return [(file.path.stem, file.path.read_bytes())]
    found = []
    with refusing(file.path), zipfile.ZipFile(file.path) as archive:
        for entry in archive.infolist():
            name = Path(entry.filename).name
            if not name.lower().endswith(".roi") or name.startswith("."):
                continue
            if entry.file_size > _LARGEST:
                raise file.refused(None, f"has a ROI of {entry.file_size} bytes, save it again")
            found.append((name, archive.read(entry)))
    return found


def _plane(roi: ImagejRoi, name: str) -> int:
    """Number of the plane in the stack, from 1; 0: not said."""
    in_name = _PLANE_IN_NAME.match(name)
    return roi.position or (int(in_name[1]) if in_name else 0)


def _places(roi: ImagejRoi) -> list[tuple[float, float]]:
    """The points of a selection of points; of an outline the middle of its area."""
    if roi.roitype == ROI_TYPE.POINT:
        if roi.subpixel_coordinates is not None:
            return [(float(x) - _HALF_PIXEL, float(y) - _HALF_PIXEL)
                    for x, y in roi.subpixel_coordinates]  # fmt: skip
        return [(float(x), float(y)) for x, y in roi.coordinates()]
    middle = (roi.left + roi.right) / 2, (roi.top + roi.bottom) / 2
    if roi.roitype in (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED):
        corners = roi.coordinates()
        if len(corners) > 2:
            middle = _centroid([(float(x), float(y)) for x, y in corners]) or middle
    return [(middle[0] - _HALF_PIXEL, middle[1] - _HALF_PIXEL)]


def _centroid(corners: list[tuple[float, float]]) -> tuple[float, float] | None:
    """The middle of a polygon's area; None where it has none."""
    doubled = x_moment = y_moment = 0.0
    x0, y0 = corners[0]  # near the origin nothing is lost to rounding
    moved = [(x - x0, y - y0) for x, y in corners]
    for (xa, ya), (xb, yb) in zip(moved, [*moved[1:], moved[0]], strict=True):
        cross = xa * yb - xb * ya
        doubled += cross
        x_moment += (xa + xb) * cross
        y_moment += (ya + yb) * cross
    if abs(doubled) < 1e-9:
        return None
    return x0 + x_moment / (3 * doubled), y0 + y_moment / (3 * doubled)


def write(dotted: Dotted) -> bytes:
    """A zip with a selection of points for each frame that has cells."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as entries:
        for plane, cells in dotted.planes():
            if not cells:
                continue
            name = f"{plane:04d}"
            roi = ImagejRoi.frompoints(
                as_array(cells) + _HALF_PIXEL,
                name=name,
                position=plane - 1 if dotted.layout.frames > 1 else None,
            )
            roi.roitype = ROI_TYPE.POINT
            entries.writestr(f"{name}.roi", roi.tobytes())
    return archive.getvalue()
