"""What faster arithmetic saves, and what it does to counts: bfloat16, and compilation by XLA.

    python benchmarks/precision.py --data data --csv benchmarks/results/precision.csv

Every counter of the package counts images as it is, and with oneDNN's bfloat16, which TensorFlow
can choose on processors that have it (avx512_bf16, amx); those of simulated images also with XLA.
Each way has a process of its own. Processor time, as other work on the machine disturbs it little;
nothing of cellzoo is set otherwise by it.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from table import add_rows, origin

# Counter -> folder of images below --data; None: simulated.
IMAGES = {
    "simulated_bf": None, "simulated_pc": None, "ldc": "ldc", "bbbc005": "bbbc005",
    "nuclei": "dsb2018", "cells": "ldc",
}  # fmt: skip
WAYS = ("as it is", "bfloat16", "XLA")


def main() -> None:
    """Parses, runs each way, writes and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=32, help="of each counter")
    parser.add_argument("--counters", nargs="+", choices=IMAGES, default=list(IMAGES))
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--only", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        for row in counted(arguments):
            print(json.dumps(row), flush=True)
        return
    made_with = origin(["python", "benchmarks/precision.py", *sys.argv[1:]])
    found = {}
    for way in WAYS:
        words = [sys.executable, *sys.argv, "--only", way]
        said = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
        for row in map(json.loads, said.splitlines()):
            found[row["counter"], way] = row
    rows = []
    for (counter, way), row in found.items():
        plain = found[counter, WAYS[0]]
        off = np.abs(np.subtract(row["counts"], plain["counts"]))
        rows.append({
            "counter": counter,
            "way": way,
            "images": len(off),
            "mean_count": f"{np.mean(plain['counts']):.1f}",
            "processor_ms": f"{row['processor_ms']:.2f}",
            "share": f"{row['processor_ms'] / plain['processor_ms']:.2f}",
            "largest_difference": f"{off.max():.3f}",
            **made_with,
        })  # fmt: skip
        print(", ".join(f"{key} {value}" for key, value in list(rows[-1].items())[:7]), flush=True)
    if arguments.csv:
        add_rows(arguments.csv, rows, ("counter", "way"))


def counted(arguments: argparse.Namespace) -> Iterator[dict[str, object]]:
    """Counts of each counter and milliseconds of the processor per image, one way."""
    import tensorflow as tf  # here, as it must be set up before a network is made

    if arguments.only == "bfloat16":
        tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": True})
    from cellzoo.counters.load import load_counter
    from cellzoo.images import search_images
    from cellzoo.simulators.microscope import simulate_set

    for name in arguments.counters:
        counter = load_counter(f"zoo:{name}")
        if IMAGES[name] is None:
            modality = name.removeprefix("simulated_")
            images = simulate_set(modality, arguments.images, (7, 99), prefix="speed").images
        else:
            files = search_images([arguments.data / IMAGES[name]]).files
            images = [str(file) for file in files[:: max(1, len(files) // arguments.images)]]
            images = images[: arguments.images]
        if arguments.only == "XLA":
            if IMAGES[name] is not None:
                continue
            pixels = tf.constant(images)
            compiled = tf.function(
                counter.graph().count_uint8.python_function,
                input_signature=[tf.TensorSpec(pixels.shape, pixels.dtype)], jit_compile=True,
            )  # fmt: skip

            def count(compiled=compiled, pixels=pixels):
                return compiled(pixels)["count"].numpy()
        else:

            def count(counter=counter, images=images):
                return counter.count(images, flags=False).raw

        count()
        started = time.process_time()
        raw = count()
        took = time.process_time() - started
        yield {
            "counter": name,
            "counts": [float(each) for each in raw],
            "processor_ms": 1000 * took / len(raw),
        }


if __name__ == "__main__":
    main()
