"""``cellzoo demo``: train on simulated chambers, score, and count a folder of images."""

import logging
from pathlib import Path

from cellzoo.commands.count import count_into
from cellzoo.commands.evaluate import scores_in_words
from cellzoo.commands.synth import synth
from cellzoo.counters.load import load_counter
from cellzoo.errors import UserError
from cellzoo.evaluation.evaluate import evaluate
from cellzoo.evaluation.report.evaluation import Evaluation
from cellzoo.recipe import load_recipe
from cellzoo.training.fit import fit

log = logging.getLogger("cellzoo")

RECIPE = "twindensity_bf"
_IMAGES = 50


def demo(folder: Path, budget: str = "4m", recipe: Path | str = RECIPE) -> None:
    """Trains, scores, draws images of chambers never seen and counts them.

    Each step is said as the command that does it. An interrupted demo goes on.

    Args:
        folder: for all that it makes.
        budget: how long to train, such as ``"4m"``.
        recipe: what to train: a path, or the name of a recipe of the package. Its images must be
            simulated.

    Raises:
        UserError: the folder holds a finished demo, or something else.
    """
    run, images, counts = folder / "run", folder / "images", folder / "counts.csv"
    report, sheet = run / "report" / "index.html", folder / "images_preview.png"
    if counts.exists():
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
    log.info("Look at %s (scores, figures), %s and %s.", report, sheet, counts)


def _print_scores(result: Evaluation) -> None:
    for line in scores_in_words(result):
        log.info(line)
