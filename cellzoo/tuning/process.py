"""A trial's own process: `cellzoo fit`, its share of the machine, and how it ended."""

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

FIT = (
    "from cellzoo.tuning.process import end_with_parent; end_with_parent(); "
    "from cellzoo.cli import main; main()"
)
_SIGKILL = 9  # Windows has no name for it


def start(recipe: Path, run: Path, said: Path, environment: dict[str, str]) -> subprocess.Popen:
    """Starts `cellzoo fit` of a recipe file.

    Args:
        recipe: the file.
        run: the run folder, new or one to go on with.
        said: file to which the output is added.
        environment: variables beside those of this process.
    """
    with said.open("a", encoding="utf-8") as output:
        return subprocess.Popen(
            [sys.executable, "-c", FIT, "fit", str(recipe), "--out", str(run)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            # Ctrl-C comes to us, and we hand it on once.
            start_new_session=True,
        )


def share(k: int, workers: int, gpus: int) -> dict[str, str]:
    """The environment in which worker ``k`` has a GPU, or a share of the processor, to itself."""
    if workers == 1:
        return {}
    if gpus:
        names = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        names = names if names != [""] else [str(n) for n in range(gpus)]
        return {"CUDA_VISIBLE_DEVICES": names[k % len(names)]}
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    return {"TF_NUM_INTRAOP_THREADS": threads, "OMP_NUM_THREADS": threads}


def end_with_parent() -> None:
    """Has Linux end this process when the search is killed, so that no two train one trial."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, int(signal.SIGTERM))


def stop(process: subprocess.Popen) -> None:
    """Interrupts a trial as Ctrl-C would, so that it leaves a model.

    By SIGTERM: a trial of a search in the background ignores SIGINT as the search does.
    """
    process.terminate()
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def reason_of(code: int, said: Path) -> str:
    """Why a trial failed, from how it ended and the last that it said."""
    if code < 0 or code > 128:
        number = -code if code < 0 else code - 128
        hint = ": out of memory, most likely" if number == _SIGKILL else ""
        return f"killed by signal {number}{hint}."
    lines = said.read_text(encoding="utf-8", errors="replace").splitlines()
    lines = [line for line in lines if line.strip()]
    errors = [line for line in lines if line.startswith("Error: ")]
    if errors:
        return errors[-1].removeprefix("Error: ")
    if any("ResourceExhausted" in line or "MemoryError" in line for line in lines):
        return f"out of memory: see {said}."
    return f"{lines[-1][:200] if lines else 'it said nothing'} (see {said})"
