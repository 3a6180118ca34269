"""The verb label."""

import sys
from typing import Any

import click

from cellzoo.cli.counting import READING, selection
from cellzoo.cli.group import PATH, main, verb


@main.command()
@click.argument("sources", nargs=-1, required=True, type=PATH, metavar="IMAGES|RUN|COUNTS.CSV...")
@click.option("-o", "--out", type=PATH,
              help="Existing folder for labels.csv and points.csv; else that of the images.")
@click.option("--model", help="A run folder, a SavedModel, zoo:NAME or HOST:PORT/NAME.")
@click.option("--group", metavar="PATTERN",
              help="Part of a name that is its group, such as 'well[0-9]+'.")
@click.option("--train", "budget", metavar="TIME",
              help="No page: train on the labels so far for so long: 90s, 10m, 2h.")
@click.option("--recipe", default="twindensity_ldc", show_default=True,
              help="Of a training that has no weights to begin with.")
@click.option("--runs", type=PATH, help="Folder of the trained runs; else runs/labelled_FOLDER.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0: one that is free.")
@click.option("--browser/--no-browser", default=True, help="Open the page.")
@selection
@verb
def label(budget: str | None, port: int, browser: bool, **chosen: Any) -> None:
    """Label images by clicking, in a page on this computer.

    Every answer is saved at once, to labels.csv and points.csv beside the images. The page chooses
    what to label next, trains from a button, and says how far off the model is.

    IMAGES are files and folders. A RUN shows the images that it learned from, with its counts. A
    counts.csv of cellzoo count shows what it lists.

    Example: cellzoo label images/

    Example: cellzoo label images/ --train 5m
    """
    from cellzoo.labelling.page.session import Chosen, Session, train_without_page

    reading = {key: chosen.pop(key) for key in READING}
    session = Session(Chosen(reading=reading, **chosen))
    if budget is None:
        from cellzoo.labelling.page.server import serve  # Flask, 0.2 s

        serve(session, port, browser, click.echo)
        return
    sys.exit(0 if train_without_page(session, budget, click.echo) else 1)
