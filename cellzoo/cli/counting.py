"""Verbs that count, and on counts: count, join, growth, export, serve."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cellzoo.backend import start_tensorflow
from cellzoo.cli.group import PATH, main, print_lines, verb, with_trust
from cellzoo.errors import UsageError, UserError

if TYPE_CHECKING:
    from cellzoo.counters.base import Counter

_PORT = click.IntRange(0, 65535)
MICROMETRES = click.FloatRange(min=0, min_open=True, max=1000)


# What to take of image files; keywords of `cellzoo.images.Reader`.
READING = ("axes", "channel", "z", "position", "frames", "max_megapixels")


def selection(function: Callable) -> Callable:
    """Options that say what to take of image files, see :class:`cellzoo.images.Reader`."""
    options = (
        click.option("--axes", help="Axes of stacks that do not say: TYX, or T3C2YX with lengths."),
        click.option(
            "--channel", metavar="NAME|N",
            help="Channel of files with several; red, green, blue or luminance of colour pictures.",
        ),
        click.option("--z", metavar="N|max|mean|sharpest", help="Focal plane, or what to make of "
                     "all of them."),
        click.option("--position", metavar="NAME|N|all", help="Position of files with several."),
        click.option("--frames", metavar="N|FROM:TO:STEP", help="Time points, counted from 0."),
        click.option("--max-megapixels", type=click.FloatRange(min=0, min_open=True),
                     help="Refuse larger pictures.  [default: 268]"),
    )  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def connection(function: Callable) -> Callable:
    """Options that are the fields of :class:`cellzoo.counters.connection.Connection`."""
    options = (
        click.option(
            "--timeout", type=click.FloatRange(min=0, min_open=True), default=60.0,
            show_default=True, help="Seconds for a batch, all attempts together.",
        ),
        click.option("--tls", is_flag=True, help="Speak TLS."),
        click.option("--ca-cert", type=PATH, help="Certificates to trust (PEM); implies --tls."),
        click.option("--client-cert", type=PATH, help="Our own certificate (PEM)."),
        click.option("--client-key", type=PATH, help="The key of --client-cert (PEM)."),
        click.option(
            "--header", "headers", multiple=True, metavar="KEY=VALUE|KEY=@FILE",
            help="Metadata to send, such as authorization=@token.txt.",
        ),
    )  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def levels(function: Callable) -> Callable:
    """Options on grey levels and the size of pixels."""
    options = (
        click.option("--intensity", metavar="LOW HIGH|dtype|percentile",
                     help="Grey levels of black and white; dtype: of the whole type."),
        click.option("--pixel-size", "pixel_size_um", metavar="UM", type=MICROMETRES,
                     help="Width of a pixel in micrometres, where files do not say it or are "
                     "wrong."),
    )  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def scale(function: Callable) -> Callable:
    """Options on grey levels, the size of pixels, and time."""
    interval = click.option(
        "--interval", metavar="TIME", help="From one frame of a series to the next, such as 20min."
    )
    return levels(interval(function))


def taken(
    options: dict[str, Any], intensity: str | None, pixel_size_um: float | None
) -> dict[str, Any]:
    """Takes what is to be read of files out of a verb's options."""
    from cellzoo.images import parse_intensity

    reading = {key: options.pop(key) for key in READING}
    reading["intensity"] = None if intensity is None else parse_intensity(intensity)
    reading["pixel_size_um"] = pixel_size_um
    return reading


def load(model: str, trust: bool, connection: dict[str, Any]) -> "Counter":
    """The counter of that name, here or behind a server."""
    from cellzoo.counters.load import is_served, load_counter

    if is_served(model):
        from cellzoo.counters.connection import Connection

        return load_counter(model, Connection(**connection))
    return load_counter(model, trust=trust)


@main.command()
@click.argument("run", type=PATH)
@click.option(
    "--to", type=PATH, default=Path("saved_models"), show_default=True,
    help="Folder of the SavedModels.",
)  # fmt: skip
@click.option("--serving", type=PATH, help="Folder whose models.config gets the model, too.")
@verb
def export(run: Path, to: Path, serving: Path | None) -> None:
    """Write a run as a SavedModel.

    It is the next version of that name, for TensorFlow Serving and for `cellzoo count`.

    Example: cellzoo export runs/twindensity_bf/20261121-101500
    """
    from cellzoo import zoo

    run = zoo.find(run)
    start_tensorflow()
    from cellzoo.commands.export import export

    click.echo(f"wrote {export(run, to, serving)}")
    if serving:
        click.echo(f"{serving / 'models.config'} has the model")


class TwoWords(click.Command):
    """A command whose --intensity may be followed by two numbers, and --interval by `20 min`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Joins the two."""
        args = list(args)
        for option, second in (("--intensity", _is_number), ("--interval", str.isalpha)):
            for k, word in enumerate(args[:-2]):
                if word == option and _is_number(args[k + 1]) and second(args[k + 2]):
                    args[k + 1 : k + 3] = [" ".join(args[k + 1 : k + 3])]
                    break
        return super().parse_args(ctx, args)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@main.command(cls=TwoWords)
@click.argument("images", nargs=-1, required=True, type=PATH)
@click.option("--model", required=True,
              help="A run folder, a SavedModel, zoo:NAME or HOST:PORT/NAME.")  # fmt: skip
@click.option("-o", "--out", type=PATH, default=Path("counts.csv"), show_default=True)
@selection
@scale
@click.option("--diameter", metavar="SIZE",
              help="Of the cells, such as 25px or 12um, for a counter that otherwise measures it.")
@click.option("--chambers", type=PATH,
              help="Count the chambers of each frame, as this chambers.csv has them.")
@click.option("--overlay", type=PATH, help="New folder for pictures with the cells outlined.")
@click.option("--masks", type=PATH, help="New folder for masks and probabilities, TIFF.")
@click.option("--shard", metavar="K/N",
              help="Count the K-th of N parts of the files, into a table of its own.")
@click.option("--resume", is_flag=True, help="Go on where an interrupted count ended.")
@click.option("--check", metavar="N", type=click.IntRange(min=5),
              help="Draw N images, ask for their true counts, and say how far off the others are.")
@click.option("--truth", type=PATH, help="Table image,count with true counts for --check.")
@click.option("--corrected", type=PATH,
              help="New table, corrected as --check has shown to help.")
@with_trust
@connection
@verb
def count(
    images: tuple[Path, ...],
    model: str,
    out: Path,
    overlay: Path | None,
    masks: Path | None,
    intensity: str | None,
    pixel_size_um: float | None,
    interval: str | None,
    diameter: str | None,
    chambers: Path | None,
    shard: str | None,
    resume: bool,
    check: int | None,
    truth: Path | None,
    corrected: Path | None,
    trust: bool,
    **options: Any,
) -> None:
    """Count the cells in images and folders.

    A served model is HOST:PORT/NAME, perhaps with a version (NAME/3) or a label (NAME:canary); the
    options from --timeout on are about its server. Replicas are HOST:PORT,HOST:PORT/NAME, or one
    name with several addresses.

    Example: cellzoo count images/ --model zoo:ldc -o counts.csv

    Example: cellzoo count images/ --model localhost:8500/twindensity_bf

    A count of hours: cellzoo count plate/ --model zoo:ldc -o plate.csv --resume

    One of 16 jobs, to be joined: cellzoo count plate/ --model zoo:ldc -o plate.csv --shard 3/16

    How far off are the counts? cellzoo count plate/ --model zoo:ldc --check 20
    """
    from cellzoo.commands.count import CountRow, count_into
    from cellzoo.commands.count_table import check_not_begun
    from cellzoo.commands.progress import Progress
    from cellzoo.commands.shards import Shard
    from cellzoo.files import check_new_file
    from cellzoo.images import parse_interval

    if check is None and (truth or corrected):
        raise UsageError("--truth and --corrected go with --check: add --check 20.")
    if check is not None and (shard or chambers):
        raise UsageError(
            "--check draws from whole images of one table: join the shards first, or cut the "
            "chambers out."
        )
    if truth and not truth.is_file():  # before the count, which may take hours
        raise UserError(f"{truth} is no file: give a table with the columns image and count.")
    if corrected:
        check_new_file(corrected, "--corrected")
    if shard is not None:
        out = Shard.parse(shard).table(out)
    if not resume:
        check_new_file(out)
        check_not_begun(out)
    reading = taken(options, intensity, pixel_size_um)
    if interval is not None:
        parse_interval(interval)  # before a model is loaded
    counter = load(model, trust, options)
    if diameter is not None:
        counter = counter.with_diameter(diameter)
    progress = Progress()

    def ready(row: CountRow) -> None:
        progress.row(row.image)
        if row.error:
            progress.finish()
            click.echo(f"Error: {row.error}", err=True)

    try:
        tally = count_into(
            images, counter, out, resume=resume, overlay=overlay, masks=masks, interval=interval,
            chambers=chambers, shard=shard, ready=ready, started=progress.start, **reading,
        )  # fmt: skip
    finally:
        progress.finish()
    print_lines(filter(None, [tally.why_no_intervals(counter), tally.summary(out)]))
    if check is not None:
        from cellzoo.commands.check_counts import check_counts

        ask = _ask if sys.stdin.isatty() else None
        check_counts(out, check, click.echo, truth=truth, ask=ask, corrected=corrected)
    sys.exit(1 if tally.failed else 0)


def _ask(question: str) -> str | None:
    """The answer at the terminal; None where no more is wanted."""
    try:
        # Where the table goes through a pipe the question does not.
        answer = click.prompt(
            f"{question} (Enter: later, q: stop)", "", show_default=False, err=True
        )
    except click.Abort:
        return None
    return None if answer.strip() == "q" else answer.strip()


@main.command()
@click.argument("tables", nargs=-1, required=True, type=PATH)
@click.option("-o", "--out", type=PATH, default=Path("counts.csv"), show_default=True)
@verb
def join(tables: tuple[Path, ...], out: Path) -> None:
    """Join the tables of all shards of a count.

    The result is the table that one count of all files would have written. Shards or files that are
    missing or there twice are refused, and those of different counters, options or images.

    Example: cellzoo join plate.*-of-16.csv -o plate.csv
    """
    from cellzoo.commands.join import join

    tally = join(tables, out)
    click.echo(tally.summary(out))
    sys.exit(1 if tally.failed else 0)


@main.command(cls=TwoWords)
@click.argument("source", type=PATH)
@click.option("--model", required=True,
              help="A run folder, a SavedModel, zoo:NAME or HOST:PORT/NAME.")  # fmt: skip
@click.option("-o", "--out", type=PATH, default=Path("counts.csv"), show_default=True,
              help="Table that grows; the same command goes on with it.")  # fmt: skip
@selection
@scale
@click.option("--alert", metavar="COMMAND", default="",
              help="To run when a chamber empties, overflows, blurs or stops growing.")
@click.option("--until-idle", metavar="TIME", help="End when nothing new came for so long.")
@with_trust
@connection
@verb
def watch(
    source: Path,
    model: str,
    out: Path,
    intensity: str | None,
    pixel_size_um: float | None,
    interval: str | None,
    alert: str,
    until_idle: str | None,
    trust: bool,
    **options: Any,
) -> None:
    """Count frames as the microscope writes them.

    SOURCE is a folder, or a file that grows. Rows are added to the table as frames come, and the
    growth so far is in the page beside it. Stop it with Ctrl-C: the same command goes on.

    Example: cellzoo watch D:/today --model zoo:simulated_pc -o today.csv --interval 10min
    """
    from cellzoo.images import parse_interval
    from cellzoo.timelapse.watch.alerts import Alerts
    from cellzoo.timelapse.watch.live_page import LivePage
    from cellzoo.timelapse.watch.watch import Watch

    reading = taken(options, intensity, pixel_size_um)
    interval_s = None if interval is None else parse_interval(interval)
    idle_s = None if until_idle is None else parse_interval(until_idle)
    alerts = Alerts(alert)
    counter = load(model, trust, options)
    page = LivePage(out, alerts)
    watched = Watch(
        source, counter, out, alerts=alerts, page=page, interval_s=interval_s, **reading
    )
    click.echo(f"watching {source}: rows go to {out}, growth to {page.file}")
    try:
        watched.run(idle_s)
    finally:
        alerts.close()
        click.echo(f"{watched.frames:,} frames, {watched.failed:,} failed: {out}")


@main.command(cls=TwoWords)
@click.argument("counts", type=PATH)
@click.option("-o", "--out", type=PATH, required=True, help="New folder for tables and figures.")
@click.option("--interval", metavar="TIME",
              help="From frame to frame, such as 20min; goes before the column time.")
@click.option("--by", metavar="COLUMN", help="Also by condition, which this column names.")
@click.option("--series", "series_table", type=PATH,
              help="Table with a column series and that of --by; else COUNTS has it.")
@click.option("--pair", metavar="COLUMN",
              help="Compare conditions within what this column names, such as a chip.")
@verb
def growth(
    counts: Path,
    out: Path,
    interval: str | None,
    by: str | None,
    series_table: Path | None,
    pair: str | None,
) -> None:
    """Growth rates from the counts of time-lapses.

    COUNTS is a counts.csv of cellzoo count, or a table with columns such as series, time (hours)
    and count. Each series gets its growth rate and doubling time with 95 % intervals, and its curve
    in the page growth.html.

    Example: cellzoo growth counts.csv -o growth

    Example: cellzoo growth counts.csv -o growth --by medium --series media.csv
    """
    from cellzoo.images import parse_interval
    from cellzoo.timelapse.growth.analysis import growth, summary

    hours = None if interval is None else parse_interval(interval) / 3600
    analysis, files = growth(
        counts, out, interval=hours, by=by, pair=pair, series_table=series_table
    )
    print_lines(summary(analysis))
    print_lines(f"wrote {file}" for file in files)


@main.command()
@click.argument("models", type=PATH, required=False)
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0: every interface.")
@click.option("--grpc-port", type=_PORT, default=8500, show_default=True)
@click.option("--rest-port", type=_PORT, default=8501, show_default=True)
@click.option(
    "--engine", type=click.Choice(["auto", "embedded", "tensorflow"]), default="auto",
    help="auto: tensorflow_model_server if it is installed and --host is 0.0.0.0.",
)  # fmt: skip
@click.option("--model-config-file", type=PATH, help="Versions and labels, instead of MODELS.")
@click.option("--batching-file", type=PATH, help="As serving/batching.config.")
@click.option("--monitoring-file", type=PATH, help="As serving/monitoring.config.")
@click.option("--allow-reload", is_flag=True,
              help="Let reload requests name folders of models that are not below MODELS.")
@click.option("--trust", is_flag=True, help="Serve SavedModels whatever operations they hold.")
@verb
def serve(**service: Any) -> None:
    """Serve exports as TensorFlow Serving does.

    Answers its gRPC and REST for the exports below MODELS, which is saved_models if left out.

    Looks for new versions each second; nothing but this computer can reach it unless --host says
    so. SIGTERM lets requests under way finish, where it is not tensorflow_model_server that serves.

    A SavedModel is a program: operations that no export of cellzoo has are refused. That is a net
    and not a wall: serve models of people you know.

    Example: cellzoo serve saved_models

    Example: cellzoo count images/ --model localhost:8500/twindensity_bf
    """
    from cellzoo.serving.engines import Service, serve

    for handler in logging.getLogger("cellzoo").handlers:
        handler.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S%z")
        )
    if service["models"] and service["model_config_file"]:
        raise UsageError("MODELS and --model-config-file exclude each other: leave one out.")
    service["models"] = service["models"] or Path("saved_models")
    serve(Service(**service), start_tensorflow)
