"""Verbs on files: info, import-labels, import-checkpoint."""

import sys
from pathlib import Path

import click

from cellzoo.backend import start_tensorflow
from cellzoo.cli.group import PATH, main, print_lines, verb


@main.command()
@click.argument("files", nargs=-1, required=True, type=PATH, metavar="FILE...")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@verb
def info(files: tuple[Path, ...], as_json: bool) -> None:
    """Show what image files hold, and how to count it.

    Sizes by axis, channels, positions, pixel size, interval, bits and grey levels. Of files that
    are alike the first is shown.

    Example: cellzoo info stack.ome.tif
    """
    from cellzoo.commands.info import describe, summarised
    from cellzoo.images import search_images

    searched = search_images(files)
    for sentence in searched.sentences:
        click.echo(sentence, err=True)
    found = describe(searched.files)
    if as_json:
        import json

        print_lines([json.dumps(found, indent=2, ensure_ascii=False)])
    else:
        print_lines(summarised(found))
    for facts in found:
        if "error" in facts:
            click.echo(f"Error: {facts['error']}", err=True)
    sys.exit(1 if any("error" in facts for facts in found) else 0)


@main.command("import-labels")
@click.argument("files", nargs=-1, required=True, type=PATH, metavar="FILE...")
@click.option("-o", "--out", type=PATH, required=True, help="The labels.csv to write.")
@click.option("--images", type=PATH, metavar="FOLDER",
              help="Where the images lie; otherwise beside each FILE, or beside the labels.csv.")
@click.option("--column", "columns", multiple=True, metavar="NAME",
              help="The column to take where several hold counts, or names of files.")
@verb
def import_labels(
    files: tuple[Path, ...], out: Path, images: Path | None, columns: tuple[str, ...]
) -> None:
    """Turn label files of other programs into labels.csv.

    Each FILE is recognised by its content: tables image,count of any spreadsheet; Summary, Results,
    Cell Counter and ROI files of ImageJ and Fiji; points of napari; tables of CellProfiler and
    QuPath; COCO JSON; label images; tables of the Twin-VAE's authors.

    Where cells have places, points.csv beside labels.csv gets them. Nothing is overwritten.

    Example: cellzoo import-labels RoiSets/*.zip --images images -o images/labels.csv
    """
    from cellzoo.labelling.importers import import_labels

    imported = import_labels(files, out, images, columns)
    for note in imported.notes:
        click.echo(note, err=True)
    click.echo(f"wrote {imported.rows} rows to {imported.labels}")
    if imported.points:
        click.echo(f"wrote the places of {imported.cells} cells to {imported.points}")


@main.command("export-labels")
@click.argument("points", type=PATH, metavar="POINTS")
@click.option("--to", "form", required=True,
              type=click.Choice(["napari", "cell-counter", "roi", "coco"]),
              help="Points of napari, XML of Cell Counter, ROI zip of ImageJ, or COCO key points.")
@click.option("-o", "--out", type=PATH, required=True, metavar="FOLDER",
              help="For the files; nothing in it is overwritten.")
@verb
def export_labels(points: Path, form: str, out: Path) -> None:
    """Write the places of cells as other programs read them.

    POINTS is a points.csv, or a folder that has one. Images that labels.csv beside it gives a count
    of 0 are written as images without cells. import-labels reads all these files again.

    Example: cellzoo export-labels images --to napari -o napari
    """
    from cellzoo.labelling.exporters import export_labels

    exported = export_labels(points, form, out)
    for note in exported.notes:
        click.echo(note, err=True)
    click.echo(
        f"wrote the places of {exported.cells} cells to {len(exported.files)} files in {out}"
    )


@main.command("import-checkpoint")
@click.argument("file", type=PATH)
@click.option("--out", type=PATH, required=True, help="New run folder.")
@verb
def import_checkpoint(file: Path, out: Path) -> None:
    """Turn a PyTorch checkpoint into a run folder.

    FILE is one of the Twin-VAE's authors. Reading it needs PyTorch: the extra torch.

    Example: cellzoo import-checkpoint twinvae.pth --out runs/authors
    """
    start_tensorflow()
    from cellzoo.convert.checkpoint import import_checkpoint

    click.echo(f"run folder: {import_checkpoint(file, out).path}")
