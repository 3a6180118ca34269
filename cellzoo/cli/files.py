"""Verbs on files: info, import-labels, import-checkpoint."""

import sys
from pathlib import Path

import click

from cellzoo.backend import start_tensorflow
from cellzoo.cli.group import PATH, main, verb


@main.command()
@click.argument("files", nargs=-1, required=True, type=PATH, metavar="FILE...")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@verb
def info(files: tuple[Path, ...], as_json: bool) -> None:
    """Show what image files hold, and how to count it.

    Sizes by axis, channels, positions, pixel size, interval, bits and grey levels.

    Example: cellzoo info stack.ome.tif
    """
    from cellzoo.commands.info import describe, in_words
    from cellzoo.images import search_images

    searched = search_images(files)
    for sentence in searched.sentences:
        click.echo(sentence, err=True)
    found = describe(searched.files)
    if as_json:
        import json

        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    for facts in found:
        if "error" in facts:
            click.echo(f"Error: {facts['error']}", err=True)
        elif not as_json:
            click.echo(in_words(facts))
    sys.exit(1 if any("error" in facts for facts in found) else 0)


@main.command("import-labels")
@click.argument("csv_file", metavar="CSV", type=PATH)
@click.option("-o", "--out", type=PATH, required=True, help="The labels.csv to write.")
@verb
def import_labels(csv_file: Path, out: Path) -> None:
    """Turn a CSV of the Twin-VAE authors into labels.csv.

    Their files have no header. 0 means unlabelled there, which becomes an empty count.

    Example: cellzoo import-labels train.csv -o images/labels.csv
    """
    from cellzoo.labelling.importers import import_twinvae_csv

    click.echo(f"wrote {import_twinvae_csv(csv_file, out)} rows to {out}")


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
