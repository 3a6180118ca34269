"""Verbs on time-lapses: chambers."""

from pathlib import Path
from typing import Any

import click

from cellzoo.cli.counting import MICROMETRES, READING, selection
from cellzoo.cli.group import PATH, main, print_lines, verb
from cellzoo.errors import UsageError


@main.command()
@click.argument("files", nargs=-1, required=True, type=PATH)
@click.option("-o", "--out", type=PATH, required=True, help="New folder for the chambers.")
@click.option(
    "--box",
    "boxes",
    multiple=True,
    metavar="X,Y,W,H",
    help="A chamber in the first frame, in pixels; may be repeated.",
)
@click.option(
    "--find",
    is_flag=True,
    help="Find chambers by their walls; with --box: those that look like it.",
)
@click.option("--template", type=PATH, help="Picture of a chamber; find those that look like it.")
@click.option("--roi", type=PATH, help="Table of boxes: x,y,width,height and maybe angle, chamber.")
@click.option("--grid", metavar="ROWSxCOLUMNS", help="Divide the field evenly, such as 2x3.")
@click.option(
    "--chambers",
    "table",
    type=PATH,
    help="A chambers.csv, mended perhaps: take its boxes as they are.",
)
@click.option("--size", metavar="W,H",
              help="Give every chamber this width and height in pixels, around its middle.")
@click.option(
    "--pixel-size",
    "pixel_size_um",
    metavar="UM",
    type=MICROMETRES,
    help="Write pixels of this width: the counter's.",
)
@click.option(
    "--field-pixel-size",
    "field_pixel_size_um",
    metavar="UM",
    type=MICROMETRES,
    help="Width of the fields' pixels, where files do not say it or are wrong.",
)
@click.option(
    "--interval", metavar="TIME", help="From one frame of a series to the next, such as 20min."
)
@selection
@verb
def chambers(
    files: tuple[Path, ...],
    out: Path,
    boxes: tuple[str, ...],
    find: bool,
    template: Path | None,
    roi: Path | None,
    grid: str | None,
    table: Path | None,
    size: str | None,
    pixel_size_um: float | None,
    field_pixel_size_um: float | None,
    interval: str | None,
    **options: Any,
) -> None:
    """Cut the chambers out of fields of view.

    They are followed through drift and rotation. Each chamber becomes a time-lapse of its own in
    OUT/series; OUT/chambers.csv has its box in each frame. Look at OUT/overview_*.png and
    OUT/contact_sheet_*.png; mend the table where a box is wrong, and give it to --chambers.

    Example: cellzoo chambers experiment.ome.tif --find -o chambers

    Example: cellzoo chambers experiment.nd2 --box 120,80,300,300 --find -o chambers

    Example: cellzoo chambers experiment.nd2 --chambers chambers/chambers.csv -o mended
    """
    from cellzoo.commands.chambers import chambers, summary
    from cellzoo.timelapse.chambers.where import Where

    where = Where(
        tuple(map(_box, boxes)), template, find, roi, None if grid is None else _grid(grid), table,
        None if size is None else _size(size),
    )  # fmt: skip
    result = chambers(
        files, out, where, pixel_size_um=pixel_size_um, field_pixel_size_um=field_pixel_size_um,
        interval=interval, **{key: options[key] for key in READING if options[key] is not None},
    )  # fmt: skip
    print_lines(summary(result))


def _box(text: str) -> Any:
    from cellzoo.timelapse.chambers.find import Box  # 0.3 s, OpenCV and SciPy

    try:
        numbers = [float(part) for part in text.replace(",", " ").split()]
    except ValueError:
        numbers = []
    if len(numbers) not in (4, 5) or not min(numbers[2:4]) > 0:
        raise UsageError(f"--box {text}: write x,y,width,height in pixels, such as 120,80,300,300.")
    return Box(*numbers)


def _size(text: str) -> tuple[float, float]:
    try:
        width, height = (float(part) for part in text.lower().replace("x", ",").split(","))
    except ValueError:
        width = height = 0.0
    if not (8 <= width < 1e5 and 8 <= height < 1e5):
        raise UsageError(f"--size {text}: write width and height in pixels, such as 128,128.")
    return width, height


def _grid(text: str) -> tuple[int, int]:
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdigit() and 0 < int(part) <= 100 for part in parts):
        raise UsageError(f"--grid {text}: write rows and columns, such as 2x3.")
    return int(parts[0]), int(parts[1])
