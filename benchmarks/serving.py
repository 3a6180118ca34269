"""Images per second and latency of a served model beside the same SavedModel in process.

    python benchmarks/serving.py saved_models/twinvae_bf --csv benchmarks/results/serving.csv

Starts `cellzoo serve` for the model, then measures by turns, in one run on one machine: a block of
batches in process, a block over gRPC with as many requests under way as `cellzoo count` keeps. The
images are noise; what they show costs nothing. The CSV gets a row per batch size.
"""

import argparse
import csv
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from cellzoo.serving.client import WINDOW, RemoteCounter, parse_address
from cellzoo.serving.config import find_versions

CELLZOO = [sys.executable, "-c", "from cellzoo.cli import main; main()"]


def main() -> None:
    """Parses, measures, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="SAVED_MODELS/NAME, whose newest version it takes")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--side", type=int, default=128, help="Height and width of the images.")
    parser.add_argument("--seconds", type=float, default=5, help="Of a block, of which 6 are run.")
    parser.add_argument("--csv", type=Path)
    arguments = parser.parse_args()
    command = [*CELLZOO, "serve", arguments.model, "--grpc-port", "0", "--rest-port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = next(line for line in server.stdout if line.startswith("gRPC at"))
        address = line.split()[2].rstrip(",")
        rows = measure(arguments, address)
    finally:
        server.terminate()
        server.wait()
    if arguments.csv:
        arguments.csv.parent.mkdir(parents=True, exist_ok=True)
        new = not arguments.csv.exists()
        with arguments.csv.open("a", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            if new:
                writer.writeheader()
            writer.writerows(rows)


def measure(arguments: argparse.Namespace, address: str) -> list[dict]:
    """A row per batch size."""
    from cellzoo.serving.servable import Servable

    name, versions = arguments.model.resolve().name, find_versions(arguments.model)
    servable = Servable(name, max(versions), versions[max(versions)])
    remote = RemoteCounter(parse_address(f"{address}/{name}"))
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    rows = []
    for batch in arguments.batches:
        shape = (batch, arguments.side, arguments.side)
        images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        ways: dict[str, tuple[Callable, int]] = {
            "in_process": (lambda images=images: servable.run("uint8", {"images": images}), 1),
            "served": (lambda images=images: remote.count(images), WINDOW),
        }
        times: dict[str, list[float]] = {way: [] for way in ways}
        rates: dict[str, list[float]] = {way: [] for way in ways}
        for call, _ in ways.values():
            call()
        for _ in range(3):
            for way, (call, window) in ways.items():
                seconds, elapsed = block(call, window, arguments.seconds)
                times[way] += seconds
                rates[way].append(batch * len(seconds) / elapsed)
        row = {"model": name, "batch": batch, "side": arguments.side}
        for way in ways:
            p50, p99 = 1000 * np.percentile(times[way], [50, 99])
            row[f"{way}_images_per_second"] = round(float(np.median(rates[way])), 1)
            row[f"{way}_p50_ms"], row[f"{way}_p99_ms"] = round(p50, 2), round(p99, 2)
        ratio = np.median(rates["served"]) / np.median(rates["in_process"])
        row["ratio"] = round(float(ratio), 3)
        row |= {"requests_under_way": WINDOW, "cores": os.cpu_count()}
        row |= {"machine": platform.machine(), "commit": commit}
        print(", ".join(f"{key} {value}" for key, value in row.items()))
        rows.append(row)
    return rows


def block(call: Callable, window: int, seconds: float) -> tuple[list[float], float]:
    """Seconds of each call, and of all, of ``window`` callers for so long."""
    end = time.monotonic() + seconds

    def caller() -> list[float]:
        taken = []
        while time.monotonic() < end:
            started = time.monotonic()
            call()
            taken.append(time.monotonic() - started)
        return taken

    started = time.monotonic()
    with ThreadPoolExecutor(window) as pool:
        futures = [pool.submit(caller) for _ in range(window)]
        return [second for f in futures for second in f.result()], time.monotonic() - started


if __name__ == "__main__":
    main()
