"""Which run a training goes on with, and that no other process trains it."""

import datetime
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cellzoo.errors import UsageError, UserError
from cellzoo.files import lock
from cellzoo.images import natural_key
from cellzoo.recipe import Recipe
from cellzoo.runs import Run, recipe_file

_STAMP = re.compile(r"(\d{8}-\d{6})(?:-(\d+))?")


@contextmanager
def open_run(recipe: Recipe, out: Path | None, fresh: bool) -> Iterator[Run]:
    """The run to train, which no other process trains meanwhile."""

    def same(old: Recipe) -> bool:
        return not _changes(old, recipe)

    folder = out
    if folder is None and not fresh:
        folder = latest_unfinished(recipe, same)
    if folder is None:
        folder = Run.create(new_run_folder(Path("runs") / recipe.name), recipe).path
    elif not recipe_file(folder).is_file() or not (folder / "checkpoints").is_dir():
        # A recipe alone is no run: somebody's own file, which must not be written over.
        Run.create(folder, recipe)
    elif fresh:
        raise UsageError(
            f"{folder} holds a run, which --fresh would overwrite: choose another --out."
        )
    with lock(folder, "is being trained by another `cellzoo fit`"):
        run = Run(folder)
        if not (run.history() or run.best_weights.is_file() or run.finished):
            # Nothing was trained yet, perhaps because data was refused, which may be mended.
            run.splits_file.unlink(missing_ok=True)
            run.replace_recipe(recipe)
        elif not same(run.recipe):
            raise UsageError(
                f"{folder} holds a run of another recipe ({_changes(run.recipe, recipe)[0]}): "
                "choose another --out."
            )
        elif not (run.finished or run.last_state.is_file()):
            run.replace_recipe(recipe)  # a budget is planned anew, from the recipe's own schedule
        elif not run.finished and run.recipe.card != recipe.card:
            # Training does not see the card, but counting takes the pixel size from it.
            run.replace_recipe(run.recipe.model_copy(update={"card": recipe.card}))
        yield run


def _changes(old: Recipe, new: Recipe) -> list[str]:
    """What differs, but for devices, the model card and the schedule made of a budget."""
    no_matter = ("train.devices:", "card")
    changes = [line for line in old.differences(new) if not line.startswith(no_matter)]
    if old.train.budget:
        fitted = ("train.epochs:", "loss.count_start_epoch:")
        changes = [change for change in changes if not change.startswith(fitted)]
    return changes


def new_run_folder(runs: Path) -> Path:
    """A folder ``RUNS/<local time>`` that does not exist yet.

    It comes after those that are there, see :func:`oldest_first`, also where a clock was put back.
    """
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    earlier = [found for path in runs.glob("*/") if (found := _STAMP.fullmatch(path.name))]
    last = max(((found[1], int(found[2] or 1)) for found in earlier), default=("", 0))
    return runs / (stamp if stamp > last[0] else f"{last[0]}-{last[1] + 1}")


def oldest_first(runs: Iterable[Path]) -> list[Path]:
    """Run folders in the order of the times that they are named after."""
    return sorted(runs, key=lambda path: natural_key(path.name))


def latest_unfinished(recipe: Recipe, same: Callable[[Recipe], bool]) -> Path | None:
    """The newest interrupted run under ``runs/`` whose recipe ``same`` says is this one."""
    begun = (file.parent for file in (Path("runs") / recipe.name).glob("*/recipe.yaml"))
    for folder in reversed(oldest_first(begun)):
        try:
            run = Run(folder)
        except UserError:  # of a version that knew other keys
            continue
        if not run.finished and same(run.recipe):
            return run.path
    return None
