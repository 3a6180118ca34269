"""How well are chambers followed through drift and rotation?

    python benchmarks/chambers.py
    python benchmarks/chambers.py --timelapse ../shared/data/chamber_timelapse

Simulated fields of 12 chambers that fill, with a drift of up to 15 px and a rotation of up to 3
degrees each way: distances of the corners of boxes from the true ones. Of a real time-lapse there
is no truth: a copy is shifted by up to 8 px, and what is found in copy and original has to differ
by that shift. A row per setting goes into the CSV. Takes 3 minutes on one core.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from table import add_rows, origin, print_markdown

from cellzoo.simulators.experiment import simulate_experiment
from cellzoo.timelapse.chambers.find import Box
from cellzoo.timelapse.chambers.follow import Follower, walls_of
from cellzoo.timelapse.chambers.registration import Tracker

KEY = ("data", "frames")
# The chamber of the real time-lapse, in its first frame.
REAL = Box(8, 80, 236, 102)


def main() -> None:
    """Parses, measures, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--timelapse", type=Path, help="folder of the real time-lapse")
    parser.add_argument("--csv", type=Path, default=Path("benchmarks/results/chambers.csv"))
    arguments = parser.parse_args()
    made_with = origin(["python", "benchmarks/chambers.py", *sys.argv[1:]])
    if arguments.timelapse:
        rows = [shifted(arguments.timelapse)]
    else:
        rows = [simulated(modality, arguments.frames) for modality in ("pc", "bf")]
    add_rows(arguments.csv, [{**row, **made_with} for row in rows], KEY)
    print_markdown(list(rows[0]), [list(row.values()) for row in rows])


def simulated(modality: str, frames: int, seed: int = 11) -> dict[str, object]:
    """Errors of corners in a simulated field of 12 chambers."""
    made = simulate_experiment(
        modality, frames, seed, rows=3, columns=4, drift_px=15, rotation_degrees=3, focus_um=3,
        doubling_hours=(8, 12, 16, 20), interval_minutes=48 * 60 / frames,
    )  # fmt: skip
    boxes = [[Box(*box) for box in frame] for frame in made.boxes]
    follower = Follower(made.frames[0], boxes[0])
    worst, flags = [], 0
    for frame in range(1, frames):
        placed = follower.next(made.frames[frame])
        off = [
            np.hypot(*(box.corners - true.corners).T).max()
            for (box, _), true in zip(placed, boxes[frame], strict=True)
        ]
        worst.append(max(off))
        flags += any(flag for _, flag in placed)
    cells = f"{made.counts[0].sum()} to {made.counts[-1].sum()} cells"
    name = f"simulated {modality}, 12 chambers, {cells}"
    return _row(name, frames, np.array(worst), flags)


def shifted(folder: Path, most: float = 8.0) -> dict[str, object]:
    """Differences from known shifts of a real time-lapse."""
    frames = [cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in sorted(folder.glob("*.png"))]
    random = np.random.default_rng(0)
    shifts = random.uniform(-most, most, (len(frames), 2))
    shifts[0] = 0
    walls = walls_of(frames[0].shape, [REAL])
    original, copy = Tracker(frames[0], walls), Tracker(frames[0], walls)
    worst, flags = [], 0
    for frame, shift in zip(frames[1:], shifts[1:], strict=True):
        moved = cv2.warpAffine(
            frame, np.array([[1, 0, shift[0]], [0, 1, shift[1]]]), frame.shape[::-1],
            flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        one, other = original.find(frame), copy.find(moved)
        worst.append(np.hypot(other.dx - one.dx - shift[0], other.dy - one.dy - shift[1]))
        flags += bool(one.flag or other.flag)
    return _row("real, 1 chamber, shifts of up to 8 px added", len(frames), np.array(worst), flags)


def _row(data: str, frames: int, worst: np.ndarray, flags: int) -> dict[str, object]:
    return {
        "data": data, "frames": frames, "median_px": f"{np.median(worst):.2f}",
        "worst_px": f"{worst.max():.2f}", "within_1.5_px": f"{np.mean(worst <= 1.5):.3f}",
        "flagged": flags,
    }  # fmt: skip


if __name__ == "__main__":
    main()
