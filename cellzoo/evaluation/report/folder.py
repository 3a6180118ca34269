"""Where the report of an evaluation goes, and whether it may go there."""

import json
from pathlib import Path

from cellzoo import zoo
from cellzoo.counters.base import Counter


def default_folder(
    counter: Counter, stem: str, scored: dict[str, str | None], own: bool
) -> Path:
    """A folder for a report on these images; other folders of images may have the same name."""
    if counter.run is None:
        folder = Path("evaluation") / f"{counter.name}_{counter.version}" / stem
    elif counter.run.path.is_relative_to(zoo.FOLDER):  # not into the package
        folder = Path("evaluation") / f"{counter.run.path.parent.name}_{counter.version}" / stem
    elif own:
        return counter.run.path / "report"
    else:
        folder = counter.run.path / "report" / stem
        scored = {"data": scored["data"]}  # the run may have been moved
    tries = 1
    while folder.exists() and not _is_report_of(folder, scored):
        tries += 1
        folder = folder.with_name(f"{stem}-{tries}")
    return folder


def may_be_written(out: Path, scored: dict[str, str | None]) -> bool:
    """Whether the report takes the place of nothing but an earlier one on the same images."""
    if not out.is_dir():
        return False
    ours = ("index.html", "figures", "evaluation_")
    taken = any(path.name.startswith(ours) for path in out.iterdir())
    return not taken or _is_report_of(out, scored)


def _is_report_of(folder: Path, scored: dict[str, str | None]) -> bool:
    """Whether it holds a report on the same images counted by the same model, to be renewed."""
    for file in folder.glob("evaluation_*.json"):
        try:
            found = dict(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, TypeError, ValueError):  # somebody else's
            continue
        # Those of earlier versions do not say of what they are.
        same = (found.get(key, value) == value for key, value in scored.items())
        if all(same):
            return True
    return False
