"""The verb doctor."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from cellzoo.cli.counting import TwoWords, connection, levels, load, selection, taken
from cellzoo.cli.group import PATH, main, print_lines, verb, with_trust


@main.command(cls=TwoWords)
@click.argument("model")
@click.argument("images", nargs=-1, required=True, type=PATH)
@click.option("-o", "--out", type=PATH, help="Page to write, HTML, with examples side by side.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@selection
@levels
@click.option("--diameter", metavar="SIZE",
              help="Of the cells, such as 25px or 12um, for a counter that otherwise measures it.")
@with_trust
@connection
@verb
def doctor(
    model: str,
    images: tuple[Path, ...],
    out: Path | None,
    as_json: bool,
    intensity: str | None,
    pixel_size_um: float | None,
    diameter: str | None,
    trust: bool,
    **options: Any,
) -> None:
    """Say why counts may be wrong on these images, and what to do.

    Compares up to 60 images with those that MODEL was trained on: the size of cells and of files,
    grey levels, contrast, focus, noise, and the number of cells. MODEL is a run folder, a
    SavedModel, zoo:NAME or HOST:PORT/NAME.

    Example: cellzoo doctor zoo:ldc images/ -o doctor.html
    """
    from cellzoo.commands.doctor import diagnose
    from cellzoo.files import check_new_file

    if out is not None:
        check_new_file(out)
    reading = taken(options, intensity, pixel_size_um)
    counter = load(model, trust, options)
    if diameter is not None:
        counter = counter.with_diameter(diameter)
    found = diagnose(images, counter, **reading)
    if as_json:
        print_lines([json.dumps(found.as_json(), indent=2, ensure_ascii=False)])
    else:
        print_lines(found.lines())
    if out is not None and found.images:
        from cellzoo.commands.doctor_page import write_page  # matplotlib, 0.3 s

        write_page(out, found, counter)
        click.echo(f"wrote {out}", err=as_json)
    for error in found.errors:
        click.echo(f"Error: {error}", err=True)
    sys.exit(1 if found.errors else 0)
