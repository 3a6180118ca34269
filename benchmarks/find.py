"""How often are all chambers of a field found by their walls?

    python benchmarks/find.py
    python benchmarks/find.py --first 200

Simulated fields of 2 to 12 chambers, from empty to full, with drift, rotation of up to 3 degrees,
loss of focus and pixels of 0.7 to 1.4 micrometres. A field is right where each whole chamber has a
box and each box is along the walls of one; it is refused where there is no box, and doubted where
the boxes carry a flag. Walls of simulated phase contrast are those of the area of the cells, give
or take 5 micrometres. In simulated bright field a box may take in the pillars above and the comb
below, up to 22 micrometres. Takes 5 minutes on one core.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from table import add_rows, origin, print_markdown

from cellzoo.simulators.experiment import Experiment, simulate_experiment
from cellzoo.simulators.scene import modality_of
from cellzoo.timelapse.chambers.find import Box, find_chambers

GRIDS = ((1, 2), (1, 3), (1, 5), (2, 2), (2, 3), (1, 4), (3, 4), (2, 5))
HOURS = (0.5, 20, 45, 80)  # of growth, in which cells double every 20 hours
INWARDS, OUTWARDS = 4, {"pc": (5, 5, 5, 5), "bf": (6, 22, 6, 16)}  # left, top, right, bottom


def main() -> None:
    """Parses, measures, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fields", type=int, default=32, help="of each modality")
    parser.add_argument("--first", type=int, default=100, help="seed, of those developed with")
    parser.add_argument("--csv", type=Path, default=Path("benchmarks/results/find.csv"))
    arguments = parser.parse_args()
    made_with = origin(["python", "benchmarks/find.py", *sys.argv[1:]])
    seeds = range(arguments.first, arguments.first + arguments.fields)
    rows = [measured(modality, seeds) for modality in ("pc", "bf")]
    add_rows(arguments.csv, [{**row, **made_with} for row in rows], ("data", "seeds"))
    print_markdown(list(rows[0]), [list(row.values()) for row in rows])


def measured(modality: str, seeds: range) -> dict[str, object]:
    """The row of a modality."""
    right = refused = doubted = wrong = boxes = without = 0
    for seed in seeds:
        made = field(modality, seed)
        found = find_chambers(made.frames[1])
        missed, false = compared(found, made, modality)
        boxes += false
        if not missed and not false:
            right += 1
            without += not any(box.doubt for box in found)
        elif not found:
            refused += 1
        elif any(box.doubt for box in found):
            doubted += 1
        else:
            wrong += 1
    return {
        "data": f"simulated {modality}", "seeds": f"{seeds[0]} to {seeds[-1]}",
        "fields": len(seeds), "right": right, "right_without_flag": without, "refused": refused,
        "doubted": doubted, "wrong": wrong, "wrong_boxes": boxes,
    }  # fmt: skip


def field(modality: str, number: int) -> Experiment:
    """A simulated field, whose second frame is the one to look at."""
    random = np.random.default_rng((77, number, modality == "bf"))
    rows, columns = GRIDS[number % 8]
    hours = HOURS[(number // 8 + number) % 4]
    return simulate_experiment(
        modality, 2, (5000, number), rows=rows, columns=columns,
        interval_minutes=60 * (hours if rows * columns < 10 else min(hours, 45)),
        pixel_size_um=float(random.choice([1, 1, 0.7, 1.4])), drift_px=random.uniform(0, 15),
        rotation_degrees=random.uniform(0, 3), focus_um=random.uniform(0, 3),
    )  # fmt: skip


def compared(found: list[Box], made: Experiment, modality: str) -> tuple[int, int]:
    """Numbers of chambers without a box and of boxes that are not along the walls of one."""
    scale = made.boxes[1][0][2] / 128
    shape = np.array(made.frames[1].shape[::-1])
    true = [Box(*box) for box in made.boxes[1]]
    taken: set[int] = set()
    for box in found:
        for k, other in enumerate(true):
            off = np.array(outside(box, other, modality)) / scale
            if k not in taken and (off > -INWARDS).all() and (off < OUTWARDS[modality]).all():
                taken.add(k)
                break
    whole = [
        k for k, box in enumerate(true)
        if (box.corners >= 0).all() and (box.corners <= shape).all()
    ]  # fmt: skip
    return len(set(whole) - taken), len(found) - len(taken)


def outside(box: Box, true: Box, modality: str) -> list[float]:
    """By how many px the sides of a box lie outside of the walls: left, top, right, bottom."""
    left, top, right, bottom = modality_of(modality).inner
    scale = true.width / 128
    turn = np.deg2rad(true.angle)
    axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    across, down = np.sort((box.corners - true.middle) @ axes.T, axis=0).T / scale + 64
    sides = across[:2].mean(), down[:2].mean(), across[2:].mean(), down[2:].mean()
    return [
        scale * n for n in (left - sides[0], top - sides[1], sides[2] - right, sides[3] - bottom)
    ]


if __name__ == "__main__":
    main()
