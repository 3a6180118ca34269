"""Images per second and latency of a served model beside the same SavedModel in process.

    python benchmarks/serving.py saved_models/twindensity_bf --csv benchmarks/results/serving.csv

Starts `cellzoo serve` for the model, then measures by turns, on one machine and in one run: a block
in process and a block over gRPC, each with one caller and with as many as `cellzoo count` has
requests under way. Both count as `cellzoo count` does: a lone image beside itself, so that its
count does not depend on its neighbours. The images are noise; what they show costs nothing.

100 % is the faster of the two ways in process. Served with several callers, 64 images a request
must reach 80 % of it; else the exit code is 1. The CSV gets a row per batch size, way and number of
callers, in place of earlier ones of the same.
"""

import argparse
import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from table import add_rows, origin
from training import CELLZOO

from cellzoo.counters.connection import Connection, parse_address
from cellzoo.counters.saved_model import SavedModelCounter
from cellzoo.counters.served import WINDOW, ServedCounter

ROUNDS = 3
TARGET_BATCH, TARGET_SHARE = 64, 0.8
KEY = ("model", "batch", "way", "callers")


def main() -> None:
    """Parses, measures, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="SAVED_MODELS/NAME, whose newest version it takes")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument(
        "--seconds", type=float, default=5, help=f"Of a block; {4 * ROUNDS} per batch size."
    )
    parser.add_argument("--csv", type=Path)
    arguments = parser.parse_args()
    with serve(arguments.model) as address:
        rows = measure(arguments, address)
    if arguments.csv:
        add_rows(arguments.csv, rows, KEY)
    sys.exit(0 if reaches_target(rows) else 1)


@contextlib.contextmanager
def serve(model: Path) -> Iterator[str]:
    """The address of a server for a model."""
    command = [*CELLZOO, "serve", str(model), "--grpc-port", "0", "--rest-port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = next(line for line in server.stdout if "gRPC at" in line)
        yield line.partition("gRPC at ")[2].partition(",")[0]
    finally:
        server.terminate()
        server.wait()


def counters(model: Path, address: str) -> tuple[SavedModelCounter, ServedCounter]:
    """The same model in this process and at a server."""
    local = SavedModelCounter(model)
    place = parse_address(f"{address}/{model.resolve().name}")
    remote = ServedCounter(place, Connection(timeout=600))
    if remote.version != local.version:
        sys.exit(f"version {remote.version} is served and {local.version} is the newest: try again")
    return local, remote


def measure(arguments: argparse.Namespace, address: str) -> list[dict[str, object]]:
    """A row per batch size, way and number of callers."""
    local, remote = counters(arguments.model, address)
    about = {
        "model": local.name,
        "version": local.version,
        "kind": local.metadata["model"],
        "parameters": local.metadata["parameters"],
        "height": local.preprocessing.size[0],
        "width": local.preprocessing.size[1],
    }
    made_with = origin(["python", *sys.argv])
    rows = []
    for batch in arguments.batches:
        shape = (batch, *local.preprocessing.size)
        images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        for row in measure_batch(local, remote, images, arguments.seconds):
            rows.append({**about, "batch": batch, **row, **made_with})
            print(
                f"batch {batch}, {row['way']}, {row['callers']} caller(s): "
                f"{row['images_per_second']} images/s ({100 * row['share']:.0f} %), "
                f"p50 {row['p50_ms']} ms, p99 {row['p99_ms']} ms",
                flush=True,
            )
    return rows


def measure_batch(
    local: SavedModelCounter,
    remote: ServedCounter,
    images: np.ndarray,
    seconds: float,
    rounds: int = ROUNDS,
) -> list[dict[str, object]]:
    """A row for each way to count one batch, measured by turns."""
    ways = [
        (way, callers)
        for way in ("in process", "served")
        for callers in (1, WINDOW)
    ]  # fmt: skip
    counters = {"in process": local, "served": remote}
    times: dict[tuple[str, int], list[float]] = {way: [] for way in ways}
    rates: dict[tuple[str, int], list[float]] = {way: [] for way in ways}
    for counter in counters.values():
        counter.count(images, flags=False)
    for _ in range(rounds):
        for way in ways:
            name, callers = way
            counter = counters[name]
            taken, elapsed = block(partial(counter.count, images, flags=False), callers, seconds)
            times[way] += taken
            rates[way].append(len(images) * len(taken) / elapsed)
    best = max(np.median(rates[way]) for way in ways if way[0] == "in process")
    rows = []
    for way in ways:
        p50, p99 = 1000 * np.percentile(times[way], [50, 99])
        rate = float(np.median(rates[way]))
        rows.append({
            "way": way[0],
            "callers": way[1],
            "images_per_request": min(len(images), local.preprocessing.batch),
            "images_per_second": round(rate, 1),
            "slowest_block": round(min(rates[way]), 1),
            "fastest_block": round(max(rates[way]), 1),
            "p50_ms": round(float(p50), 2),
            "p99_ms": round(float(p99), 2),
            "calls": len(times[way]),
            "share": round(rate / float(best), 3),
        })  # fmt: skip
    return rows


def block(call: Callable, callers: int, seconds: float) -> tuple[list[float], float]:
    """Seconds of each call, and of all, of so many callers for so long."""
    end = time.monotonic() + seconds

    def caller() -> list[float]:
        taken = []
        while not taken or time.monotonic() < end:
            started = time.monotonic()
            call()
            taken.append(time.monotonic() - started)
        return taken

    started = time.monotonic()
    with ThreadPoolExecutor(callers) as pool:
        futures = [pool.submit(caller) for _ in range(callers)]
        return [second for f in futures for second in f.result()], time.monotonic() - started


def reaches_target(rows: list[dict[str, object]]) -> bool:
    """Whether serving is fast enough; True where that batch was not measured."""
    shares = [
        row["share"]
        for row in rows
        if (row["batch"], row["way"], row["callers"]) == (TARGET_BATCH, "served", WINDOW)
    ]
    for share in shares:
        verdict = "reached" if share >= TARGET_SHARE else "missed"
        print(f"target: {100 * TARGET_SHARE:.0f} % at batch {TARGET_BATCH}: {verdict}")
    return all(share >= TARGET_SHARE for share in shares)


if __name__ == "__main__":
    main()
