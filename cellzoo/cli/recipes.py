"""Verbs on recipes: list, check, synth."""

import sys
from pathlib import Path

import click

from cellzoo.cli.group import PATH, main, print_lines, verb, with_settings
from cellzoo.errors import UsageError, UserError


@main.command("list")
@click.argument("what", type=click.Choice(["models", "recipes", "zoo", "exports"]), required=False)
@click.option("--copy", "name", metavar="NAME",
              help="With recipes: put this one into the current folder, to be edited.")  # fmt: skip
@verb
def list_(what: str | None, name: str | None) -> None:
    """Show models, recipes, trained counters, exports.

    Example: cellzoo list recipes

    Example: cellzoo list recipes --copy twinvae_ldc
    """
    if name is not None:
        from cellzoo.recipe import shipped

        if what != "recipes":
            raise UsageError(f"--copy copies a recipe: cellzoo list recipes --copy {name}")
        click.echo(f"wrote {shipped.copy(name)}")
        return
    from cellzoo.commands.list import counters, exports, models, recipes

    titled = {"models": models, "recipes": recipes, "zoo": counters, "exports": exports}
    for title, find in titled.items():
        if what in (None, title):
            rows = find()
            print_lines([f"{title}:" if rows else f"{title}: none in a folder saved_models here"])
            print_lines(f"  {name:<28} {line}" for name, line in rows)


@main.command()
@click.argument("recipes", nargs=-1, required=True, type=PATH)
@with_settings
@verb
def check(recipes: tuple[Path, ...], settings: tuple[str, ...]) -> None:
    """Check recipes without running them.

    RECIPES are files, or names of recipes of the package. The folder of images and its table of
    labels must be there, unless the recipe is one of the package.

    Example: cellzoo check my.yaml
    """
    from cellzoo.recipe import check_space, load_recipe, overlaid, shipped
    from cellzoo.recipe.check import check_recipe
    from cellzoo.runs import check_start

    worst = 0
    for path in recipes:
        try:
            forms = [load_recipe(path, settings), *overlaid(path, settings)]
            for form in forms:
                check_recipe(form)
                check_start(form)
                check_space(form)
            try:
                forms[0].data.natural.check_files()
            except UserError as error:
                if not shipped.is_shipped(path):
                    raise
                click.echo(f"Warning: {path}: {error}", err=True)
            click.echo(f"{path}: ok")
        except UserError as error:
            click.echo(f"Error: {error}", err=True)
            worst = max(worst, error.exit_code)
    sys.exit(worst)


@main.command()
@click.argument("recipe", type=PATH)
@click.option("-o", "--out", type=PATH, required=True,
              help="New folder for the images, or with --match the new recipe.")  # fmt: skip
@click.option("-n", "number", type=click.IntRange(min=1), default=36, help="Images to make.")
@click.option("--preview", is_flag=True, help="Also write a sheet of them as PNG.")
@click.option("--natural", is_flag=True, help="The images of the simulated microscope instead.")
@click.option("--experiment", is_flag=True,
              help="A simulated field of view with six chambers, of N frames.")
@click.option("--match", is_flag=True,
              help="Make the cells look like the recipe's real images, labelled or not.")
@with_settings
@click.option("--quick", is_flag=True, help="The recipe's overlay for 2 CPU cores.")
@verb
def synth(
    recipe: Path,
    out: Path,
    number: int,
    preview: bool,
    natural: bool,
    experiment: bool,
    match: bool,
    settings: tuple[str, ...],
    quick: bool,
) -> None:
    """Draw the synthetic cells of a recipe.

    They are images with their counts, to look at or to use.

    With --match, find how to draw them so that they look like the recipe's real training images,
    and write the recipe anew.

    Example: cellzoo synth twindensity_pc -o cells --preview

    Example: cellzoo synth twindensity_pc --experiment -n 60 -o experiment

    Example: cellzoo synth my.yaml --match -o matched.yaml --preview
    """
    from cellzoo.commands.synth import match_recipe, synth, synth_experiment
    from cellzoo.recipe import load_recipe

    if match + natural + experiment > 1:
        raise UsageError("--match, --natural and --experiment exclude each other: choose one.")
    if experiment and preview:
        raise UsageError("--preview is no part of --experiment, which is one file: leave it out.")
    chosen = load_recipe(recipe, settings, quick)
    if experiment:
        files = synth_experiment(chosen, out, number)
    elif match:
        files = match_recipe(chosen, out, number, preview)
    else:
        files = synth(chosen, out, number, preview, natural)
    print_lines(f"wrote {file}" for file in files)
