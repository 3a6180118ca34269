"""Where the chambers of a series are in each of its frames."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from cellzoo.timelapse.chambers.find import Box
from cellzoo.timelapse.chambers.registration import Pose, Tracker
from cellzoo.timelapse.chambers.table import ChamberRow

_RIM = 0.04  # of a side: so far inside a box something of its wall may be
OUTSIDE = "outside the field"  # in flags
_OUTSIDE = 0.01  # of a box that may lie outside the field without a word


class Follower:
    """Where the chambers of one series are in each of its frames.

    Args:
        first: the first frame, ``[height, width]``.
        boxes: of the chambers in it.
    """

    def __init__(self, first: np.ndarray, boxes: Sequence[Box]):
        self._boxes, self._shape = boxes, first.shape
        self._tracker = Tracker(first, walls_of(first.shape, boxes), periods_of(boxes))

    def first(self) -> list[tuple[Box, str]]:
        """The boxes in the first frame, each with a flag."""
        return [(box, _joined(_doubted(box), outside(box, self._shape))) for box in self._boxes]

    def next(self, frame: np.ndarray) -> list[tuple[Box, str]]:
        """The boxes in the next frame, each with a flag."""
        pose = self._tracker.find(frame)
        moved = [moved_box(box, pose, self._shape) for box in self._boxes]
        return [(box, _joined(pose.flag, outside(box, self._shape))) for box in moved]


def outside(box: Box, shape: tuple[int, int]) -> str:
    """The flag of a box that lies partly outside a field of this height and width, or nothing."""
    field = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * shape[::-1]
    inside, _ = cv2.intersectConvexConvex(box.corners.astype(np.float32), field.astype(np.float32))
    share = 1 - inside / (box.width * box.height)
    return f"{share:.0%} of the chamber is {OUTSIDE}" if share > _OUTSIDE else ""


def flag_of(row: ChamberRow, shape: tuple[int, int]) -> str:
    """What is unusual about a row of a table, whose box somebody may have mended."""
    others = [flag for flag in row.flag.split("; ") if OUTSIDE not in flag]
    return _joined(*others, outside(row.box, shape))


def _joined(*flags: str) -> str:
    return "; ".join(filter(None, flags))


def _doubted(box: Box) -> str:
    return f"{box.doubt}: look at the overview, or draw one with --box" if box.doubt else ""


def walls_of(shape: tuple[int, int], boxes: Sequence[Box]) -> np.ndarray:
    """Where nothing grows: the field without the inside of its chambers, bool ``shape``."""
    walls = np.ones(shape, np.uint8)
    for box in boxes:
        cv2.fillConvexPoly(walls, np.round(grown(box, -_RIM).corners - 0.5).astype(np.int32), 0)
    if walls.mean() < 0.02:  # a box as large as the field: nothing else is left to match
        return np.ones(shape, bool)
    return walls > 0


def grown(box: Box, share: float) -> Box:
    """A box with so much of its sides more on each side, or less."""
    dx, dy = share * box.width, share * box.height
    return replace(
        box, x=box.x - dx, y=box.y - dy, width=box.width + 2 * dx, height=box.height + 2 * dy
    )


def periods_of(boxes: Sequence[Box]) -> list[np.ndarray]:
    """Shifts from a chamber to its nearest neighbours, one along rows and one along columns."""
    found = []
    middles = np.array([box.middle for box in boxes])
    for axis in (0, 1):
        nearest = None
        for k, middle in enumerate(middles):
            for step in middles[k + 1 :] - middle:
                step = step if step[axis] > 0 else -step
                if step[axis] < 2 * abs(step[1 - axis]):
                    continue
                if nearest is None or step[axis] < nearest[axis]:
                    nearest = step
        if nearest is not None:
            found.append(nearest)
    return found


def moved_box(box: Box, pose: Pose, shape: tuple[int, int]) -> Box:
    """Where a box of the first frame is under a pose."""
    matrix = pose.matrix(shape)
    x, y = matrix[:, :2] @ (box.middle - 0.5) + matrix[:, 2] + 0.5
    return replace(
        box, x=x - box.width / 2, y=y - box.height / 2, angle=box.angle + pose.angle,
        score=pose.score,
    )  # fmt: skip
