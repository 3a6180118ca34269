"""A simulated experiment: a field of view with several chambers, which drifts while cells grow.

Everything this module makes is *simulated*, as :mod:`cellzoo.simulators.microscope` says, whose
cells, walls and optics it uses. What is added is what a microscope does to a whole field: drift of
the stage, rotation, drift of the focus, chambers that grow differently, cells that die or arrive,
and files with metadata. True boxes and counts are known for each frame.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from cellzoo.errors import UserError
from cellzoo.files import write_csv
from cellzoo.images.ome import write_ome
from cellzoo.simulators.chamber import (
    MASK_SCALE,
    Chamber,
    bright_field_wall,
    channels,
    phase_contrast_wall,
    signed_distance,
)
from cellzoo.simulators.culture import Culture, Looks
from cellzoo.simulators.scene import (
    CANVAS,
    DESIGN,
    EDGE,
    FINE,
    Modality,
    modality_of,
    require,
    stream_key,
)

_PITCH = (CANVAS // FINE + 4, CANVAS // FINE + 40)  # px from chamber to chamber, x and y
_SUPPLY = 36  # px, height of the channels above and below a row of chambers
_MARGIN = 16  # px of chip around the outermost chambers
CHAMBER_COLUMNS = (
    "image", "frame", "time", "chamber", "x", "y", "width", "height", "angle", "score", "flag",
)  # fmt: skip


@dataclass(frozen=True)
class Experiment:
    """A simulated time-lapse of a field of view, with its truth.

    Attributes:
        frames: uint8 ``[n, height, width]``, grey levels.
        counts: int32 ``[n, chambers]``, true numbers of cells.
        boxes: float64 ``[n, chambers, 5]``, of each chamber the upper left corner of its box before
            it is turned (x, y; 0 is the corner of the first pixel), width and height in px, and the
            angle in degrees by which the box is turned around its middle, clockwise as one sees it.
        names: of the chambers, ``"01"`` and so on.
        doubling_hours: mean cell cycle of each chamber.
        pixel_size_um: width of a pixel in micrometres.
        interval_minutes: time from frame to frame.
    """

    frames: np.ndarray
    counts: np.ndarray
    boxes: np.ndarray
    names: tuple[str, ...]
    doubling_hours: tuple[float, ...]
    pixel_size_um: float
    interval_minutes: float

    @property
    def hours(self) -> np.ndarray:
        """Hours since the first frame, ``[n]``."""
        return np.arange(len(self.frames)) * self.interval_minutes / 60

    def write(self, folder: Path) -> Path:
        """Writes ``experiment.ome.tif`` and, into ``truth/``, its boxes, counts and chambers.

        Args:
            folder: a folder that does not exist yet, or is empty.

        Returns:
            The file of frames.

        Raises:
            UserError: the folder holds files.
        """
        _check_empty(folder)
        file = folder / "experiment.ome.tif"
        self._write_truth(folder / "truth", [(file.name, k) for k in range(len(self.frames))])
        write_ome(
            file, iter(self.frames), self.frames.shape, self.frames.dtype,
            pixel_size_um=self.pixel_size_um, seconds=3600 * self.hours,
        )  # fmt: skip
        return file

    def grow(self, folder: Path, halves: bool = False) -> Iterator[Path]:
        """Writes a file per frame, as a microscope does while the experiment goes on.

        Args:
            folder: a folder that does not exist yet, or is empty.
            halves: also stop in the middle of each file: it is then half written.

        Yields:
            The file ``frame_t000.ome.tif`` and so on, each time something of it was written.

        Raises:
            UserError: the folder holds files.
        """
        _check_empty(folder)
        files = [folder / f"frame_t{k:03d}.ome.tif" for k in range(len(self.frames))]
        self._write_truth(folder / "truth", [(file.name, 0) for file in files])
        for file, frame in zip(files, self.frames, strict=True):
            hidden = folder / f".{file.name}"
            write_ome(
                hidden, iter(frame[None]), (1, *frame.shape), frame.dtype,
                pixel_size_um=self.pixel_size_um,
            )  # fmt: skip
            if halves:
                content = hidden.read_bytes()
                with file.open("wb") as stream:
                    stream.write(content[: len(content) // 2])
                    stream.flush()
                    yield file
                    stream.write(content[len(content) // 2 :])
                hidden.unlink()
            else:
                os.replace(hidden, file)
            yield file

    def _write_truth(self, folder: Path, places: Sequence[tuple[str, int]]) -> None:
        folder.mkdir(parents=True)
        boxes, counts = [], []
        for t, (image, frame) in enumerate(places):
            time = f"{self.hours[t]:.6g}"
            for name, box, count in zip(self.names, self.boxes[t], self.counts[t], strict=True):
                numbers = [f"{value:.3f}" for value in box]
                boxes.append([f"../{image}", frame, time, name, *numbers, "", ""])
                counts.append([f"../{image}", frame, int(count), f"{image} {name}", time])
        write_csv(folder / "chambers.csv", CHAMBER_COLUMNS, boxes)
        write_csv(folder / "counts.csv", ["image", "frame", "count", "series", "time"], counts)
        doubling = zip(self.names, self.doubling_hours, strict=True)
        rows = [[name, f"{hours:g}"] for name, hours in doubling]
        write_csv(folder / "doubling.csv", ["chamber", "doubling_hours"], rows)


def simulate_experiment(
    modality: str = "pc",
    frames: int = 50,
    seed: int | Sequence[int] = 0,
    *,
    rows: int = 2,
    columns: int = 3,
    doubling_hours: float | Sequence[float] = 20.0,
    interval_minutes: float = 30.0,
    drift_px: float = 10.0,
    rotation_degrees: float = 1.0,
    focus_um: float = 2.0,
    deaths_per_hour: float = 0.0,
    arrivals_per_hour: float = 0.0,
    max_count: int = 30,
    pixel_size_um: float = 1.0,
) -> Experiment:
    """Simulates a field of view with ``rows`` times ``columns`` chambers.

    Bitwise equal for equal arguments on one machine.

    Args:
        modality: ``"bf"`` (bright field) or ``"pc"`` (phase contrast).
        frames: number of images, at least 1.
        seed: any non-negative whole number, or a sequence of such.
        rows: of chambers.
        columns: of chambers.
        doubling_hours: mean cell cycle, of all chambers or of each; with fewer they repeat.
        interval_minutes: time from frame to frame.
        drift_px: the stage wanders by up to so many px of 1 micrometre each way.
        rotation_degrees: and turns by up to so many degrees each way.
        focus_um: the plane of focus wanders by up to so many micrometres each way.
        deaths_per_hour: rate at which each cell disappears.
        arrivals_per_hour: rate at which cells enter each chamber.
        max_count: no chamber holds more cells, 1 to 40: they wait to divide.
        pixel_size_um: width of a pixel, 0.4 to 2. Cells keep their size in micrometres.

    Returns:
        Frames and truth.

    Raises:
        UsageError: an argument is out of its range.
    """
    kind = modality_of(modality)
    require(frames >= 1, "frames", frames, "a whole number from 1")
    require(rows >= 1 and columns >= 1, "rows and columns", (rows, columns), "from 1")
    require(interval_minutes > 0, "interval_minutes", interval_minutes, "above 0")
    require(1 <= max_count <= 40, "max_count", max_count, "from 1 to 40")
    require(0.4 <= pixel_size_um <= 2, "pixel_size_um", pixel_size_um, "from 0.4 to 2")
    ranges = {
        "drift_px": drift_px, "rotation_degrees": rotation_degrees, "focus_um": focus_um,
        "deaths_per_hour": deaths_per_hour, "arrivals_per_hour": arrivals_per_hour,
    }  # fmt: skip
    for key, value in ranges.items():
        require(value >= 0, key, value, "0 or more")
    number = rows * columns
    hours = np.resize(np.atleast_1d(np.asarray(doubling_hours, float)), number)
    require((hours > 0).all(), "doubling_hours", doubling_hours, "above 0")

    def stream(*key: int) -> np.random.Generator:
        return np.random.default_rng((*stream_key(seed), kind.code, *key))

    cultures = [Culture(kind, stream(0, k), float(hours[k]), max_count, 0) for k in range(number)]
    field = _Field(kind, rows, columns, stream(1), drift_px, rotation_degrees)
    paths = _wander(stream(2), frames, (drift_px, drift_px, rotation_degrees, focus_um))
    lives = [stream(3, k) for k in range(number)]
    images, counts, boxes = [], np.empty((frames, number), np.int32), []
    for t in range(frames):
        for k, culture in enumerate(cultures):
            if t:
                _live(culture, interval_minutes / 60, deaths_per_hour, arrivals_per_hour, lives[k])
            counts[t, k] = len(culture.cells)
        field.chamber.focus = field.focus + paths[t, 3]
        picture, box = field.expose(
            [culture.looks() for culture in cultures], paths[t, :3], stream(4, t), pixel_size_um
        )
        images.append(picture)
        boxes.append(box)
    names = tuple(f"{k + 1:02d}" for k in range(number))
    return Experiment(
        np.stack(images), counts, np.stack(boxes), names, tuple(hours.tolist()), pixel_size_um,
        interval_minutes,
    )  # fmt: skip


def _live(
    culture: Culture,
    hours: float,
    deaths: float,
    arrivals: float,
    rng: np.random.Generator,
) -> None:
    """Lets a culture live from one frame to the next, in steps of at most 20 minutes."""
    steps = max(1, round(hours * 3))
    for _ in range(steps):
        culture.step(hours / steps)
        culture.cells = [c for c in culture.cells if rng.random() >= deaths * hours / steps]
        if rng.random() < arrivals * hours / steps and len(culture.cells) < culture.max_count:
            left, top, right, _ = culture.kind.inner
            mouth = np.array([(left + right) / 2 + rng.normal(0, 4), top])
            culture.cells.append(culture._founder(mouth, rng.random()))
    culture.reshape(hours)


def _wander(rng: np.random.Generator, frames: int, most: Sequence[float]) -> np.ndarray:
    """Smooth random paths with small jumps, ``[frames, n]``, each within its bounds.

    The first frame is where it is: nothing is at 0 there.
    """
    walk = np.cumsum(rng.normal(size=(frames, len(most))), axis=0)
    walk += 0.5 * rng.normal(size=walk.shape)
    walk -= (walk.max(axis=0) + walk.min(axis=0)) / 2
    reach = np.abs(walk).max(axis=0)
    return walk / np.where(reach > 0, reach, 1) * np.asarray(most, float)


class _Field:
    """The chip under the microscope: chambers in rows, with channels that supply them."""

    def __init__(
        self,
        kind: Modality,
        rows: int,
        columns: int,
        rng: np.random.Generator,
        drift: float,
        rotation: float,
    ):
        self.kind = kind
        width = 2 * _MARGIN + columns * _PITCH[0]
        height = 2 * _MARGIN + rows * _PITCH[1]
        self.size = np.array([width, height], float)  # px of 1 micrometre
        # What drift and rotation bring into view has to be there.
        reach = drift + np.hypot(width, height) / 2 * np.deg2rad(rotation)
        self.around = int(np.ceil(reach)) + 8
        corner = self.around + _MARGIN
        self.places = [  # of the canvases of Chamber, px
            (corner + column * _PITCH[0] + 2, corner + row * _PITCH[1] + _SUPPLY // 2)
            for row in range(rows)
            for column in range(columns)
        ]
        whole = (self.size + 2 * self.around).astype(int)
        self.chamber = Chamber(kind, rng)
        self.focus = self.chamber.focus
        level = rng.normal(*kind.background)
        wall = bright_field_wall if kind.code == 0 else phase_contrast_wall
        distance = signed_distance(self._hollow(whole, rng))
        scene = wall(np.maximum(distance, -30), rng)  # deeper in the chip nothing changes
        scene = cv2.resize(scene, tuple(int(n) * FINE for n in whole), interpolation=cv2.INTER_AREA)
        self.scene = level * scene * _mottle(scene.shape, rng)
        self.light = _uneven(rng)
        for view in self._views(self.scene):
            self.chamber.scene = view
            self.chamber._add_specks(rng.integers(8, 20), 0.35)
            self.chamber._add_specks(rng.integers(1, 4), 0.8)

    def _views(self, canvas: np.ndarray) -> list[np.ndarray]:
        """The part of the canvas that each chamber draws on."""
        return [
            canvas[y * FINE : y * FINE + CANVAS, x * FINE : x * FINE + CANVAS]
            for x, y in self.places
        ]

    def _hollow(self, whole: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Where the chip is hollow, uint8 0 or 1, ``MASK_SCALE`` samples per px."""
        width, height = (int(n) * MASK_SCALE for n in whole)
        mask = np.zeros((height, width), np.uint8)
        side = CANVAS // FINE
        for top in sorted({y for _, y in self.places}):
            for edge in (top - _SUPPLY + 2, top + side - 2):
                mask[edge * MASK_SCALE : (edge + _SUPPLY) * MASK_SCALE] = 1
        for x, y in self.places:
            drawn = channels(self.kind, rng)
            rows, columns = (slice(n * MASK_SCALE, (n + side) * MASK_SCALE) for n in (y, x))
            np.maximum(mask[rows, columns], drawn, out=mask[rows, columns])
        return mask

    def expose(
        self,
        looks: Sequence[Looks],
        pose: np.ndarray,
        rng: np.random.Generator,
        pixel_size: float,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Takes a picture.

        Args:
            looks: of the cells of each chamber.
            pose: shift in px of 1 micrometre to the right and down, and turn in degrees.
            rng: of the camera.
            pixel_size: micrometres.

        Returns:
            uint8 ``[height, width]``, and the boxes ``[chambers, 5]``.
        """
        canvas = self.scene.copy()
        for view, cells in zip(self._views(canvas), looks, strict=True):
            self.chamber._add(view, cells, self.chamber.contrast)
        width, height = (round(float(n) / pixel_size) for n in self.size)
        turn = np.deg2rad(pose[2])
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        middle = self.size / 2

        def seen(points: np.ndarray) -> np.ndarray:
            """Points of the chip, px from the upper left of the field at rest, in the picture."""
            return ((points - middle) @ rotation.T + middle + pose[:2]) / pixel_size

        # From picture to canvas, both in samples whose middles are at whole numbers.
        step = pixel_size  # of a sample of the picture at twice its size, in samples of the canvas
        back = rotation.T * step
        first = (np.array([0.5, 0.5]) * step / FINE - pose[:2] - middle) @ rotation + middle
        offset = (first + self.around) * FINE - 0.5
        grey = cv2.warpAffine(
            canvas, np.concatenate([back, offset[:, None]], 1), (width * FINE, height * FINE),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT,
        )  # fmt: skip
        grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
        grey = grey * cv2.resize(self.light, (width, height), interpolation=cv2.INTER_CUBIC)
        grey = grey * rng.normal(1, 0.008)
        spread = np.sqrt(np.clip(grey, 0, None) / self.kind.electrons + self.kind.read_noise**2)
        grey = grey + spread * rng.standard_normal(grey.shape, np.float32)
        image = np.clip(np.round(255 * grey), 0, 255).astype(np.uint8)
        side = DESIGN / pixel_size
        middles = np.array(self.places, float) - self.around + EDGE + DESIGN / 2
        corners = seen(middles) - side / 2
        boxes = [(x, y, side, side, float(pose[2])) for x, y in corners]
        return image, np.array(boxes)


def _mottle(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Faint mottling of the chip, around 1, as :meth:`Chamber._illumination` has it."""
    made = np.ones(shape, np.float32)
    for spread, grain in ((0.006, 18), (0.005, 74)):
        size = [max(2, round(n / CANVAS * grain)) for n in shape]
        coarse = rng.normal(0, spread, size).astype(np.float32)
        made += cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return made


def _uneven(rng: np.random.Generator) -> np.ndarray:
    """The lamp's light over the picture, around 1: it stays while the chip moves."""
    axis = np.linspace(-1, 1, 32, dtype=np.float32)
    a, b, c = rng.normal(0, 0.02, 3)
    return 1 + a * axis[:, None] + b * axis[None] + c * (axis[:, None] ** 2 + axis**2 - 0.6)


def _check_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} holds other files: choose another folder for -o.")
    folder.mkdir(parents=True, exist_ok=True)
