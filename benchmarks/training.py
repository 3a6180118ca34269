"""What the benchmarks that train share: a run folder for each training, and what its row says."""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from table import origin

CELLZOO = [sys.executable, "-c", "from cellzoo.cli import main; main()"]


def add_options(parser: argparse.ArgumentParser, name: str) -> None:
    """Adds what every benchmark that trains can be told: settings, and where runs and rows go.

    Args:
        parser: of its command line.
        name: of the benchmark.
    """
    parser.add_argument("--set", dest="settings", action="append", default=[])
    parser.add_argument("--runs", type=Path, default=Path("runs") / name)
    parser.add_argument("--csv", type=Path, default=Path(f"benchmarks/results/{name}.csv"))


def train(words: Sequence[str], runs: Path, name: str) -> tuple[Path, dict[str, str]]:
    """Runs ``cellzoo fit``, which does nothing more where this commit has done it before.

    Args:
        words: recipe and options.
        runs: folder for the run folder.
        name: of the run folder, to which the commit is added: other code is another training.

    Returns:
        The run folder, and the columns that say where the model comes from.
    """
    columns = origin(["cellzoo", "fit", *words])
    folder = runs / f"{name}-{columns['commit']}"
    subprocess.run([*CELLZOO, "fit", *words, "--out", str(folder)], check=True)
    return folder, columns


def options(settings: Sequence[str]) -> list[str]:
    """The settings as options of ``cellzoo fit``."""
    return [word for setting in settings for word in ("--set", setting)]


def budget(minutes: float) -> str:
    """The setting that gives a training so much time."""
    return f"train.budget={minutes:g}m"


def minutes_trained(folder: Path) -> str:
    """How long a finished run took."""
    return f"{_validation(folder)['seconds'] / 60:.1f}"


def validation_columns(folder: Path) -> dict[str, object]:
    """The columns that say how long a finished run took and what it scored."""
    scores = _validation(folder)
    return {
        "minutes": minutes_trained(folder),
        "images": scores["images"],
        **rounded(scores, ("mae", "exact", "mae_raw", "bias_raw")),
        "split": "validation",
    }


def rounded(scores: Mapping[str, float | None], keys: Sequence[str]) -> dict[str, str]:
    """Some of the scores, as the tables write them; empty where there is none.

    The mean of the labels has none where there are no labels.
    """
    return {key: "" if scores[key] is None else f"{scores[key]:.4f}" for key in keys}


def _validation(folder: Path) -> dict:
    return json.loads((folder / "report" / "validation.json").read_text(encoding="utf-8"))
