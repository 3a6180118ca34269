"""How fast counting is, where its time goes, and what it costs: one command, one table.

    python benchmarks/speed.py --csv benchmarks/results/speed.csv
    python benchmarks/speed.py --old 9f975a0 --torch ~/torch/bin/python --csv ...

Each part measures its cases by turns, so that other work on the machine disturbs all of them, and
gives medians over rounds. Beside other work compare ratios and processor time, not the clock.

    count     `cellzoo.count_files` from files to table; network, reading and flags alone
    commits   the whole command here and at --old, without the time to start
    served    a SavedModel in process, and behind `cellzoo serve`: benchmarks/serving.py
    starts    verbs until they end: --help, list, check, info, a first count here and at a server
    sizes     the command's cost and peak memory against the size of images
    files     the same against the number of files
    training  a training step beside PyTorch's: benchmarks/step.py, only with --torch

Images are simulated bright field of 128 px, counted by zoo:simulated_bf: `as shipped` as the code
brings it along, which was with eight views and is with one; `8 views` and `1 view` set the number.
"""

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from step import NETWORKS
from table import add_rows, origin
from training import CELLZOO

import serving
from cellzoo.commands.count import count_into
from cellzoo.counters.base import Counter
from cellzoo.counters.entries import Entry, file_entries
from cellzoo.counters.load import load_counter
from cellzoo.images import Notes, search_images
from cellzoo.simulators.microscope import simulate_set

ROOT = Path(__file__).parents[1]
KEY = ("part", "case")
_LAUNCH = """
import resource, subprocess, sys, time
started = time.perf_counter()
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
clock = time.perf_counter() - started
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(clock, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
sys.exit(code)
"""
SIDES = (64, 128, 256, 512, 1024)


class Cost(NamedTuple):
    """What something took.

    Attributes:
        clock: seconds.
        processor: seconds, of all threads.
        megabytes: the most memory that a command had; NaN within this process.
    """

    clock: float
    processor: float
    megabytes: float = np.nan


def main() -> None:
    """Parses, measures, prints and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=sorted(PARTS), default=list(PARTS))
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--old", metavar="COMMIT", help="to compare the whole command with")
    parser.add_argument("--torch", metavar="PYTHON", help="that has PyTorch")
    parser.add_argument("--csv", type=Path)
    arguments = parser.parse_args()
    made_with = origin(["python", *sys.argv])
    with tempfile.TemporaryDirectory() as folder:
        work = Work(Path(folder), arguments)
        for part in arguments.parts:
            rows = []
            for row in PARTS[part](work):
                row = {"part": part, "rounds": arguments.rounds, **row}
                print(", ".join(f"{key} {row[key]}" for key in row), flush=True)
                rows.append({**row, **made_with})
            if arguments.csv and rows:
                add_rows(arguments.csv, rows, KEY)


class Work:
    """The images and models of all parts.

    Attributes:
        folder: for files.
        arguments: of the command line.
        images: folder of simulated images.
        models: copies of the counter by what the tables call them.
    """

    def __init__(self, folder: Path, arguments: argparse.Namespace):
        self.folder, self.arguments = folder, arguments
        self.images = self.pictures(arguments.images)
        self.models = self.models_of(ROOT)

    def models_of(self, tree: Path) -> dict[str, Path]:
        """Copies of the counter that the code in a folder brings along, with 8 views and with 1."""
        models = {}
        for name, views in (("8 views", 8), ("1 view", 1)):
            run = Path(tempfile.mkdtemp(dir=self.folder)) / "run"
            shutil.copytree(shipped(tree), run)
            recipe = run / "recipe.yaml"
            # Not read and written as a recipe: older code would refuse newer keys.
            key = r"\b(test_time_augmentation|views): \d"
            recipe.write_text(re.sub(key, rf"\1: {views}", recipe.read_text()))
            models[name] = run
        return models

    def pictures(self, number: int, side: int = 128) -> Path:
        """A folder of so many simulated images, larger ones made of several."""
        folder = self.folder / f"{number}x{side}"
        if not folder.exists():
            folder.mkdir()
            tiles = max(1, side // 128)
            few = min(number, 300)
            made = simulate_set("bf", few * tiles**2, (7, 99), prefix="speed").images
            for k in range(number):
                first = k % few * tiles**2
                part = made[first : first + tiles**2].reshape(tiles, tiles, 128, 128)
                image = part.swapaxes(1, 2).reshape(128 * tiles, 128 * tiles)
                cv2.imwrite(str(folder / f"{k:06}.png"), image[:side, :side])
        return folder

    def table(self) -> Path:
        """A name that no table has."""
        return Path(tempfile.mkdtemp(dir=self.folder)) / "counts.csv"

    def rounds(
        self, cases: Mapping[str, Callable[[], Cost]], warm_up: int = 0
    ) -> dict[str, list[Cost]]:
        """What each case costs in each round, after some that warm it up."""
        costs: dict[str, list[Cost]] = {name: [] for name in cases}
        for k in range(warm_up + self.arguments.rounds):
            for name, measure in cases.items():
                cost = measure()
                if k >= warm_up:
                    costs[name].append(cost)
        return costs


def rows_of(
    costs: Mapping[str, Sequence[Cost]], of: str, images: Mapping[str, int], prefix: str = ""
) -> Iterator[dict[str, object]]:
    """A row for each case: medians, and how fast it is against another case in the same round."""
    for name, taken in costs.items():
        clock, processor, megabytes = np.median(np.array(taken), axis=0)
        shares = [
            (other.clock / images[of]) / (mine.clock / images[name])
            for mine, other in zip(taken, costs[of], strict=True)
        ]
        yield {
            "case": f"{prefix}{name}",
            "images": images[name],
            "clock_ms": f"{1000 * clock / images[name]:.3f}",
            "processor_ms": f"{1000 * processor / images[name]:.3f}",
            "images_per_second": f"{images[name] / clock:.1f}",
            "speed_against": f"{prefix}{of}",
            "speed": f"{np.median(shares):.3f}",
            "peak_mb": "" if np.isnan(megabytes) else f"{megabytes:.0f}",
        }


def timed(call: Callable[[], object]) -> Cost:
    """What a call in this process takes."""
    clock, processor = time.perf_counter(), time.process_time()
    call()
    return Cost(time.perf_counter() - clock, time.process_time() - processor)


def command(words: Sequence[object], tree: Path = ROOT) -> Cost:
    """What a command takes, of the code in a folder."""
    environment = os.environ | {"PYTHONPATH": str(tree)}
    # By a small process between: a child begins with the memory of its parent as its peak.
    whole = [sys.executable, "-c", _LAUNCH, *CELLZOO, *map(str, words)]
    done = subprocess.run(whole, cwd=tree, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{words} ended with {done.returncode}: {done.stderr}")
    return Cost(*map(float, done.stdout.split()[-3:]))


def counted(work: Work, model: object, images: Path, tree: Path = ROOT) -> Cost:
    """What the command that counts takes."""
    return command(["count", images, "--model", model, "-o", work.table()], tree)


def count(work: Work) -> Iterator[dict[str, object]]:
    """From files to table, and network, reading and flags alone, within this process."""
    files = search_images([work.images]).files
    for name, model in work.models.items():
        counter = load_counter(model)
        pixels = prepared(counter, files)
        cases = {
            "the network alone": partial(timed, partial(network, counter, pixels)),
            "reading alone": partial(timed, partial(read, counter, files)),
            "flags alone": partial(timed, partial(flag, counter, pixels)),
            "from files to table": lambda counter=counter: timed(
                lambda: count_into([work.images], counter, work.table())
            ),
        }
        numbers = dict.fromkeys(cases, len(files))
        yield from rows_of(work.rounds(cases, 1), "from files to table", numbers, f"{name}: ")


def prepared(counter: Counter, files: Sequence[Path]) -> np.ndarray:
    """All images as the counter takes them."""
    notes, pixels = Notes(), []
    for entry in file_entries(files, counter.reader(files), "{}"):
        counter.prepare(entry, notes)
        pixels.append(entry.prepared)
    return np.stack(pixels)


def network(counter: Counter, pixels: np.ndarray) -> None:
    """Counts prepared images in the batches of `cellzoo count`."""
    for start in range(0, len(pixels), 64):
        counter.count_prepared(pixels[start : start + 64], "natural")


def read(counter: Counter, files: Sequence[Path]) -> None:
    """Reads and decodes all files."""
    for _ in file_entries(files, counter.reader(files), "{}"):
        pass


def flag(counter: Counter, pixels: np.ndarray) -> None:
    """Looks at prepared images for flags, in the same batches."""
    entries = [Entry(Path("image"), prepared=image, raw=1.0) for image in pixels]
    for start in range(0, len(entries), 64):
        counter.flags(entries[start : start + 64])


def commits(work: Work) -> Iterator[dict[str, object]]:
    """The whole command here and at another commit, each without its time to start."""
    if not work.arguments.old:
        return
    one = work.pictures(1)
    old = work.folder / "old"
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "-q", "--detach", str(old), work.arguments.old], check=True)
    try:
        trees = {"here": ROOT, f"at {work.arguments.old}": old}
        numbers = dict.fromkeys(trees, work.arguments.images)
        models = {
            where: {"as shipped": shipped(tree), **work.models_of(tree)}
            for where, tree in trees.items()
        }
        for name in models["here"]:
            cases = {
                where: partial(without_start, work, models[where][name], tree, one)
                for where, tree in trees.items()
            }
            yield from rows_of(work.rounds(cases), list(cases)[1], numbers, f"{name}: ")
    finally:
        subprocess.run([*git, "remove", "--force", str(old)], check=True)


def shipped(tree: Path) -> Path:
    """The counter that the code in a folder brings along."""
    (run,) = (tree / "cellzoo" / "zoo" / "simulated_bf").glob("[0-9]*")
    return run


def without_start(work: Work, model: Path, tree: Path, one: Path) -> Cost:
    """What counting all images takes beyond counting one."""
    start, whole = counted(work, model, one, tree), counted(work, model, work.images, tree)
    return Cost(whole.clock - start.clock, whole.processor - start.processor, whole.megabytes)


def served(work: Work) -> Iterator[dict[str, object]]:
    """A SavedModel in process and behind a server, at 1, 8 and 64 images a request."""
    for name, run in work.models.items():
        with exported(work, run) as (model, address):
            local, remote = serving.counters(model, address)
            for batch in (1, 8, 64):
                shape = (batch, *local.preprocessing.size)
                images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
                found = serving.measure_batch(
                    local, remote, images, 2.0, rounds=work.arguments.rounds
                )
                for row in found:
                    yield {
                        "case": f"{name}: {row['way']}, {batch} a request, "
                        f"{row['callers']} at a time",
                        "images": batch,
                        "clock_ms": f"{1000 / row['images_per_second']:.3f}",
                        "processor_ms": "",
                        "images_per_second": row["images_per_second"],
                        "speed_against": f"{name}: in process, {batch} a request, the best",
                        "speed": row["share"],
                        "peak_mb": "",
                    }


@contextlib.contextmanager
def exported(work: Work, run: Path) -> Iterator[tuple[Path, str]]:
    """A run's SavedModel, and the address of a server for it."""
    models = Path(tempfile.mkdtemp(dir=work.folder))
    command(["export", run, "--to", models])
    (model,) = models.iterdir()
    with serving.serve(model) as address:
        yield model, address


def starts(work: Work) -> Iterator[dict[str, object]]:
    """What a verb takes that has next to nothing to do."""
    one = work.pictures(1)
    (file,) = one.iterdir()
    with exported(work, work.models["1 view"]) as (model, address):
        cases = {
            "--help": ["--help"],
            "list": ["list"],
            "check": ["check", "twindensity_bf"],
            "info": ["info", file],
            "first count": ["count", one, "--model", shipped(ROOT)],
            "count at a server": ["count", one, "--model", f"{address}/{model.name}"],
        }
        calls = {
            name: lambda words=words: command(
                [*words, *(["-o", work.table()] if "count" in words else [])]
            )
            for name, words in cases.items()
        }
        yield from rows_of(work.rounds(calls), "--help", dict.fromkeys(cases, 1))


def sizes(work: Work) -> Iterator[dict[str, object]]:
    """Cost against the size of images, of which all together have as many pixels."""
    numbers = {f"{side} px": max(4, work.arguments.images * 128**2 // side**2) for side in SIDES}
    folders = [work.pictures(n, s) for n, s in zip(numbers.values(), SIDES, strict=True)]
    cases = {
        name: partial(counted, work, work.models["1 view"], folder)
        for name, folder in zip(numbers, folders, strict=True)
    }
    yield from rows_of(work.rounds(cases), "128 px", numbers)


def files(work: Work) -> Iterator[dict[str, object]]:
    """Cost against the number of files."""
    most = work.arguments.images
    numbers = {f"{n} files": n for n in (1, max(1, most // 100), max(1, most // 10), most)}
    cases = {
        name: partial(counted, work, work.models["1 view"], work.pictures(number))
        for name, number in numbers.items()
    }
    yield from rows_of(work.rounds(cases), f"{most} files", numbers)


def training(work: Work) -> Iterator[dict[str, object]]:
    """Training steps beside PyTorch's, and beside those whose batch stays."""
    if not work.arguments.torch:
        return
    step = [sys.executable, Path(__file__).with_name("step.py")]
    step += ["--turns", str(work.arguments.rounds)]
    for name, (_, batch, _) in NETWORKS.items():
        images = batch if name == "dcc" else 2 * batch
        words = [*step, "--network", name]
        said = output([*words, "--torch", work.arguments.torch])
        pattern = r"^(?:clock|processor): cellzoo (\S+), PyTorch (\S+),"
        times = np.array(re.findall(pattern, said, re.MULTILINE), float).T
        against = f"{name}: a step of PyTorch"
        for case, seconds in zip((f"{name}: a step of cellzoo", against), times, strict=True):
            yield step_row(case, images, seconds[0], seconds[1], against, times[1, 0] / seconds[0])
        said = output([*words, "--fed"])
        fed, cached, ratio = map(
            float, re.findall(r"clock (\S+), cached (\S+), ratio ([\d.]+)", said)[0]
        )
        against = f"{name}: a step with a batch that stays"
        yield step_row(
            f"{name}: a step with its own batches", images, fed, None, against, 1 / ratio
        )
        yield step_row(against, images, cached, None, against, 1.0)


def output(words: Sequence[object]) -> str:
    """What a command prints."""
    return subprocess.run(
        list(map(str, words)), check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def step_row(
    case: str, images: int, clock: float, processor: float | None, against: str, speed: float
) -> dict[str, object]:
    """A row of a training step of so many images, which takes some seconds."""
    return {
        "case": case,
        "images": images,
        "clock_ms": f"{1000 * clock / images:.3f}",
        "processor_ms": "" if processor is None else f"{1000 * processor / images:.3f}",
        "images_per_second": f"{images / clock:.1f}",
        "speed_against": against,
        "speed": f"{speed:.3f}",
        "peak_mb": "",
    }


PARTS = {
    "count": count, "commits": commits, "served": served, "starts": starts, "sizes": sizes,
    "files": files, "training": training,
}  # fmt: skip

if __name__ == "__main__":
    main()
