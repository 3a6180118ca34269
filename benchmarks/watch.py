"""How soon a watched frame is in the table, and whether memory stays flat.

    python benchmarks/watch.py --model zoo:simulated_pc --frames 20000

Simulated phase-contrast images of 128 x 128 px are linked into a folder: all but the last thousand
as fast as they are counted, those ten a second, as sixty chambers photographed each six seconds.
Latency is from a file being there to its row being in the table. Memory is that of the process,
children left out. Each frame must have one row.
"""

import argparse
import csv
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from table import add_rows, origin, print_markdown, read_rows

from cellzoo.simulators import microscope

CELLZOO = [sys.executable, "-c", "from cellzoo.cli import main; main()"]
LIVE, PER_SECOND, CHAMBERS = 1000, 10, 60


def main() -> None:
    """Parses, watches, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="zoo:simulated_pc")
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--csv", type=Path, default=Path("benchmarks/results/watch.csv"))
    arguments = parser.parse_args()
    made_with = origin(["python", "benchmarks/watch.py", *sys.argv[1:]])
    with tempfile.TemporaryDirectory() as folder:
        row = watch(Path(folder), arguments.model, arguments.frames)
    add_rows(arguments.csv, [{**row, **made_with}], ("model", "frames"))
    rows = read_rows(arguments.csv)
    print_markdown(list(row), [[r[column] for column in row] for r in rows])


def watch(folder: Path, model: str, frames: int) -> dict[str, object]:
    """One watch of a folder that fills."""
    pool, images, table = folder / "pool", folder / "images", folder / "counts.csv"
    pool.mkdir(), images.mkdir()
    made = microscope.simulate_set("pc", 200, (1, 1), prefix="watch")
    for k, image in enumerate(made.images):
        cv2.imwrite(str(pool / f"{k}.png"), image)
    words = ["watch", str(images), "--model", model, "-o", str(table), "--interval", "6s"]
    process = subprocess.Popen([*CELLZOO, *words])
    memory, came, latencies = [], [], []
    try:
        for k in range(frames - LIVE):
            put(pool, images, k)
            if k % 500 == 499:
                wait(table, k - 1000)
                memory.append((k, resident(process.pid)))
        wait(table, frames - LIVE)
        for k in range(frames - LIVE, frames):
            put(pool, images, k)
            came.append(time.monotonic())
            time.sleep(1 / PER_SECOND)
            note(table, frames - LIVE, came, latencies)
        while len(latencies) < LIVE:
            time.sleep(0.05)
            note(table, frames - LIVE, came, latencies)
        memory.append((frames, resident(process.pid)))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
    check_once(table, frames)
    first = next(m for k, m in memory if k >= 1000)
    return {
        "model": model,
        "frames": frames,
        "rows": written(table),
        "memory_after_1000_mb": f"{first:.0f}",
        "most_memory_mb": f"{max(m for k, m in memory if k >= 1000):.0f}",
        "latency_median_s": f"{np.median(latencies):.2f}",
        "latency_95_s": f"{np.quantile(latencies, 0.95):.2f}",
        "latency_most_s": f"{max(latencies):.2f}",
    }


def check_once(table: Path, frames: int) -> None:
    """Ends the benchmark where a frame has no row, or more than one."""
    with table.open(newline="", encoding="utf-8") as stream:
        rows = Counter((Path(row["image"]).name, row["frame"]) for row in csv.DictReader(stream))
    twice = sum(number > 1 for number in rows.values())
    if twice or len(rows) != frames:
        raise SystemExit(f"{len(rows)} of {frames} frames have rows, {twice} of them several.")


def note(table: Path, before: int, came: list[float], latencies: list[float]) -> None:
    """Notes how long the frames took whose rows are there; rows are in the order of the frames."""
    now = time.monotonic()
    for k in range(len(latencies), min(written(table) - before, len(came))):
        latencies.append(now - came[k])


def put(pool: Path, images: Path, k: int) -> None:
    """A file of its own, there at once."""
    name = f"chamber{k % CHAMBERS:02d}_t{k // CHAMBERS:04d}.png"
    shutil.copy(pool / f"{k % 200}.png", images / f".{name}")
    os.rename(images / f".{name}", images / name)


def written(table: Path) -> int:
    """Rows in the table."""
    return max(table.read_bytes().count(b"\n") - 1, 0) if table.exists() else 0


def wait(table: Path, rows: int) -> None:
    """Until so many rows are there."""
    while written(table) < rows:
        time.sleep(0.1)


def resident(pid: int) -> float:
    """Megabytes of a process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
