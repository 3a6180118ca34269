"""``cellzoo demo``: train on simulated chambers, score, count a folder, and say how cells grow."""

import csv
import logging
from pathlib import Path

from cellzoo.commands.count import count_into
from cellzoo.commands.evaluate import scores_in_words
from cellzoo.commands.synth import synth
from cellzoo.counters.load import load_counter
from cellzoo.errors import UserError
from cellzoo.evaluation.evaluate import evaluate
from cellzoo.evaluation.report.evaluation import Evaluation
from cellzoo.files import write_csv
from cellzoo.recipe import load_recipe
from cellzoo.timelapse.growth.analysis import growth, summary
from cellzoo.training.fit import fit

log = logging.getLogger("cellzoo")

RECIPE = "twindensity_bf"
_IMAGES = 50


def demo(folder: Path, budget: str = "4m", recipe: Path | str = RECIPE) -> None:
    """Trains, scores, draws chambers never seen, counts their cells and estimates their growth.

    Each step is said as the command that does it. An interrupted demo goes on.

    Args:
        folder: for all that it makes.
        budget: how long to train, such as ``"4m"``.
        recipe: what to train: a path, or the name of a recipe of the package. Its images must be
            simulated chambers.

    Raises:
        UserError: the folder holds a finished demo, or something else.
    """
    run, images, counts = folder / "run", folder / "images", folder / "counts.csv"
    report, sheet = run / "report" / "index.html", folder / "images_preview.png"
    rates = folder / "growth"
    if rates.exists():
        raise UserError(
            f"{folder} holds a finished demo: look at {report}, or choose another folder with "
            "--out."
        )
    log.info("The recipe that counts best in minutes: our twin density network, on simulated")
    log.info("bright-field chambers.")
    log.info("$ cellzoo fit %s --budget %s --out %s", recipe, budget, run)
    chosen = load_recipe(recipe, [f"train.budget={budget}"])
    fit(chosen, run)

    log.info("$ cellzoo evaluate %s", run)
    evaluate(run, on_scores=_print_scores)

    if not images.exists():
        log.info("$ cellzoo synth %s --natural -n %d -o %s --preview", recipe, _IMAGES, images)
        synth(chosen, images, _IMAGES, preview=True, natural=True)
    log.info("$ cellzoo count %s --model %s -o %s", images / "images", run, counts)
    tally = count_into([images / "images"], load_counter(str(run)), counts, resume=True)
    log.info(tally.summary(counts))
    series = folder / "chambers.csv"
    _write_series(series, counts, images / "labels.csv")
    log.info("%s has the counts with the chamber and the hour of each image.", series)
    log.info("$ cellzoo growth %s -o %s", series, rates)
    for line in summary(growth(series, rates)[0]):
        log.info(line)
    log.info("The simulated cells divide every 20 hours on average.")
    log.info("Look at %s (scores, figures), %s and %s.", report, sheet, rates / "growth.html")


def _write_series(file: Path, counts: Path, labels: Path) -> None:
    """Writes the counts of the simulated time-lapses with their series and times."""
    with labels.open(newline="", encoding="utf-8") as stream:
        drawn = {Path(row["image"]).name: row for row in csv.DictReader(stream)}
    with counts.open(newline="", encoding="utf-8") as stream:
        counted = list(csv.DictReader(stream))
    header = ["series", "time", "count", "count_raw", "count_low", "count_high", "flag"]
    rows = []
    for row in counted:
        source = drawn[Path(row["image"]).name]
        rows.append([source["group"], source["time"], *(row[name] for name in header[2:])])
    write_csv(file, header, rows)


def _print_scores(result: Evaluation) -> None:
    for line in scores_in_words(result):
        log.info(line)
