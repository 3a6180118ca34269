"""Verbs that train and score: demo, fit, tune, evaluate, compare."""

from pathlib import Path

import click

from cellzoo.backend import start_tensorflow
from cellzoo.cli.group import PATH, main, print_lines, verb, with_settings, with_trust
from cellzoo.errors import UsageError


@main.command()
@click.option("--out", type=PATH, default=Path("demo"), show_default=True,
              help="Folder for the demo; an interrupted one there goes on.")  # fmt: skip
@click.option("--budget", metavar="TIME", default="4m", show_default=True,
              help="Train for so long: 90s, 10m, 2h.")  # fmt: skip
@verb
def demo(out: Path, budget: str) -> None:
    """Train, score, count, and say how fast cells grow, on simulated images.

    Trains the recipe that counts best in minutes, a twin density network, on simulated chambers.
    Scores it on chambers that it never saw, counts two more, and estimates their growth rates. It
    takes about six minutes in all.

    Example: cellzoo demo
    """
    start_tensorflow()
    from cellzoo.commands.demo import demo

    demo(out, budget)


@main.command()
@click.argument("recipe", type=PATH)
@with_settings
@click.option("--quick", is_flag=True, help="The recipe's overlay for 2 CPU cores.")
@click.option("--paper", is_flag=True, help="The recipe's overlay with the paper's settings.")
@click.option("--budget", metavar="TIME", help="Train for so long: 90s, 10m, 2h.")
@click.option("--out", type=PATH, help="Run folder; an interrupted run there goes on.")
@click.option("--fresh", is_flag=True, help="Start anew even if a run was interrupted.")
@verb
def fit(
    recipe: Path,
    settings: tuple[str, ...],
    quick: bool,
    paper: bool,
    budget: str | None,
    out: Path | None,
    fresh: bool,
) -> None:
    """Train what a recipe describes.

    RECIPE is a file, or the name of a recipe of the package. A training that was stopped goes on.

    Example: cellzoo fit twindensity_bf --budget 10m
    """
    from cellzoo.recipe import check_settings, load_recipe, other_form

    other = None if paper else other_form(recipe, settings, quick)
    if budget:
        settings = (*settings, f"train.budget={budget}")
    chosen = load_recipe(recipe, settings, quick, paper)
    check_settings(chosen, settings)
    for line in load_recipe(recipe, quick=quick, paper=paper).differences(chosen):
        click.echo(f"set {line}")
    start_tensorflow()
    from cellzoo.training.fit import fit

    run = fit(chosen, out, fresh, other)
    if run.path.exists():  # on several machines only the chief's is kept
        click.echo(f"run folder: {run.path}")


@main.command()
@click.argument("recipe", type=PATH)
@with_settings
@click.option("--quick", is_flag=True, help="The recipe's overlay for 2 CPU cores.")
@click.option("--trials", type=click.IntRange(min=1), help="Combinations to try.")
@click.option("--out", type=PATH, help="Search folder; a search there goes on.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True,
              help="Trials at a time; each has a GPU, or a share of the processor.")
@click.option("--serve", type=click.IntRange(1, 65535), metavar="PORT",
              help="Be the chief of a search on several machines.")
@click.option("--chief", metavar="HOST:PORT", help="Work for that chief.")
@verb
def tune(
    recipe: Path,
    settings: tuple[str, ...],
    quick: bool,
    trials: int | None,
    out: Path | None,
    workers: int,
    serve: int | None,
    chief: str | None,
) -> None:
    """Search for the best settings of a recipe.

    The ranges are in the recipe's section tune.

    Example: cellzoo tune twindensity_bf --trials 20 --out searches/bf
    """
    from cellzoo.recipe import load_recipe

    if serve and chief:
        raise UsageError("--serve and --chief exclude each other: a machine is one or the other.")
    if serve and workers > 1:
        raise UsageError("--workers: the chief of --serve trains nothing, give it with --chief.")
    if chief and trials:
        raise UsageError("--trials: the chief decides how many there are, give it with --serve.")
    if trials:
        settings = (*settings, f"tune.trials={trials}")
    chosen = load_recipe(recipe, settings, quick)
    start_tensorflow()
    from cellzoo.tuning.search import tune

    print_lines(f"wrote {file}" for file in tune(chosen, out, workers, serve, chief))


@main.command()
@click.argument("run", metavar="RUN|SAVED_MODEL|zoo:NAME", type=PATH)
@click.option("--data", type=PATH, help="A folder, labelled or not, not the recipe's test split.")
@click.option("--out", type=PATH, help="Folder for the report; else report/ in the run.")
@click.option(
    "--protocol", type=click.Choice(["cellzoo", "authors"]), default="cellzoo",
    help="authors: sample the latent and augment, as the paper's program does.",
)  # fmt: skip
@click.option("--allow-copies", is_flag=True,
              help="Score copies of images that the model has seen, too.")  # fmt: skip
@with_trust
@verb
def evaluate(
    run: Path,
    data: Path | None,
    out: Path | None,
    protocol: str,
    trust: bool,
    allow_copies: bool,
) -> None:
    """Score a counter and write a report.

    A run is scored on the test split, which it never saw.

    Example: cellzoo evaluate runs/twindensity_bf/20261121-101500
    """
    from cellzoo import zoo

    if allow_copies and data is None:
        raise UsageError("--allow-copies goes with --data: without it no copies are looked for.")
    run = zoo.find(run)
    start_tensorflow()
    from cellzoo.commands.evaluate import scores_in_words
    from cellzoo.evaluation.evaluate import evaluate

    # Scores first: the figures take longer.
    result = evaluate(
        run, data, out, protocol, trust=trust, allow_copies=allow_copies,
        on_scores=lambda r: print_lines(scores_in_words(r)),
    )  # fmt: skip
    for file in result.skipped:
        click.echo(f"skipped {file.name}: {file.reason}", err=True)
    # The figures are in the report, too; naming each would hide it.
    print_lines([f"wrote {file}" for file in result.files if file.suffix != ".png"])


@main.command()
@click.argument("methods", nargs=-1, required=True, metavar="RECIPE|RUN...")
@click.option("--out", type=PATH, default=Path("comparison"), show_default=True,
              help="Folder for the table; an interrupted comparison there goes on.")  # fmt: skip
@with_settings
@click.option("--quick", is_flag=True, help="The recipes' overlays for 2 CPU cores.")
@click.option("--budget", metavar="TIME", help="Train each for so long: 90s, 10m, 2h.")
@click.option("--seed", "seeds", multiple=True, type=click.IntRange(min=0),
              help="Train each recipe with this seed; repeat it for several.")  # fmt: skip
@click.option("--natural-only", is_flag=True, help="Also each recipe without synthetic images.")
@click.option("--reference", metavar="LABEL", help="Compare all methods with this; else all pairs.")
@verb
def compare(
    methods: tuple[str, ...],
    out: Path,
    settings: tuple[str, ...],
    quick: bool,
    budget: str | None,
    seeds: tuple[int, ...],
    natural_only: bool,
    reference: str | None,
) -> None:
    """Score several methods on the same images.

    A recipe is trained first; a run folder, or a folder of several, is taken as it is. LABEL=PATH
    calls a method by another name than that of its model.

    Example: cellzoo compare twindensity_bf watershed=runs/watershed --seed 1
    """
    from cellzoo.evaluation.report.comparison import check_output

    check_output(out, begun=True)  # before the wait for TensorFlow
    if budget:
        settings = (*settings, f"train.budget={budget}")
    start_tensorflow()
    from cellzoo.commands.compare import compare

    result = compare(
        methods, out, settings=settings, quick=quick, seeds=seeds, natural_only=natural_only,
        reference=reference,
    )
    print_lines(result.summary())
