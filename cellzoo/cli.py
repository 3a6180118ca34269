"""The ``cellzoo`` command: parse, call one function, print."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from cellzoo import __version__
from cellzoo.backend import start_tensorflow
from cellzoo.errors import UsageError, UserError

# TensorFlow writes about every device that it does not have.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_PATH = click.Path(path_type=Path)
_PORT = click.IntRange(0, 65535)


def _verb(function: Callable) -> Callable:
    """Turns an error that a user can mend into one sentence and an exit code."""

    @wraps(function)
    def call(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except UserError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(error.exit_code)
        except BrokenPipeError:  # `cellzoo list | head` has read enough, which click knows
            raise
        except OSError as error:  # a full disk, a folder that may not be written to
            click.echo(f"Error: {error}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo("Stopped. The same command starts again, or goes on.", err=True)
            sys.exit(1)

    return call


class _Echo(logging.Handler):
    """Prints the messages of the package to wherever standard output goes by then."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(self.format(record))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def main() -> None:
    """Count the cells in microscope images: train on a handful of labels, trust the number."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    log = logging.getLogger("cellzoo")
    log.handlers = [_Echo()]
    log.setLevel(logging.INFO)
    log.propagate = False
    # A queue or a container that ends a command ends it as Ctrl-C does.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


def _settings(function: Callable) -> Callable:
    return click.option(
        "--set", "settings", multiple=True, metavar="KEY=VALUE",
        help="Change a key of the recipe, such as data.natural.folder=images.",
    )(function)  # fmt: skip


# What to take of image files; keywords of `cellzoo.images.Reader`.
_READING = ("axes", "channel", "z", "position", "frames", "max_megapixels")


def _selection(function: Callable) -> Callable:
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


def _connection(function: Callable) -> Callable:
    """Options that are the fields of :class:`cellzoo.counters.served.Connection`."""
    options = (
        click.option(
            "--timeout", type=click.FloatRange(min=0, min_open=True), default=60.0,
            show_default=True, help="Seconds for a batch, all attempts together.",
        ),
        click.option("--tls", is_flag=True, help="Speak TLS."),
        click.option("--ca-cert", type=_PATH, help="Certificates to trust (PEM); implies --tls."),
        click.option("--client-cert", type=_PATH, help="Our own certificate (PEM)."),
        click.option("--client-key", type=_PATH, help="The key of --client-cert (PEM)."),
        click.option(
            "--header", "headers", multiple=True, metavar="KEY=VALUE",
            help="Metadata to send, such as authorization=...",
        ),
    )  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


@main.command()
@click.option("--out", type=_PATH, default=Path("demo"), show_default=True,
              help="Folder for the demo; an interrupted one there goes on.")  # fmt: skip
@click.option("--budget", metavar="TIME", default="4m", show_default=True,
              help="Train for so long: 90s, 10m, 2h.")  # fmt: skip
@_verb
def demo(out: Path, budget: str) -> None:
    """Train, score and count, on simulated images.

    Trains the recipe that counts best in minutes, a twin density network, on simulated chambers.
    Scores it on chambers that it never saw, and counts a folder of images. It takes about six
    minutes in all.

    Example: cellzoo demo
    """
    start_tensorflow()
    from cellzoo.commands.demo import demo

    demo(out, budget)


_trust = click.option(
    "--trust", is_flag=True, help="Load a SavedModel whatever operations it holds."
)


@main.command("list")
@click.argument("what", type=click.Choice(["models", "recipes", "zoo", "exports"]), required=False)
@click.option("--copy", "name", metavar="NAME",
              help="With recipes: put this one into the current folder, to be edited.")  # fmt: skip
@_verb
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
            click.echo(f"{title}:" if rows else f"{title}: none in a folder saved_models here")
            for name, line in rows:
                click.echo(f"  {name:<28} {line}")


@main.command()
@click.argument("recipes", nargs=-1, required=True, type=_PATH)
@_settings
@_verb
def check(recipes: tuple[Path, ...], settings: tuple[str, ...]) -> None:
    """Check recipes without running them.

    RECIPES are files, or names of recipes of the package.

    Example: cellzoo check my.yaml
    """
    from cellzoo.recipe import check_space, load_recipe, other_form
    from cellzoo.recipe.check import check_recipe
    from cellzoo.runs import check_start

    worst = 0
    for path in recipes:
        try:
            forms = [load_recipe(path, settings), other_form(path, settings, quick=False)]
            for form in filter(None, forms):
                check_recipe(form)
                check_start(form)
                check_space(form)
            click.echo(f"{path}: ok")
        except UserError as error:
            click.echo(f"Error: {error}", err=True)
            worst = max(worst, error.exit_code)
    sys.exit(worst)


@main.command()
@click.argument("recipe", type=_PATH)
@click.option("-o", "--out", type=_PATH, required=True,
              help="New folder for the images, or with --match the new recipe.")  # fmt: skip
@click.option("-n", "number", type=click.IntRange(min=1), default=36, help="Images to make.")
@click.option("--preview", is_flag=True, help="Also write a sheet of them as PNG.")
@click.option("--natural", is_flag=True, help="The images of the simulated microscope instead.")
@click.option("--match", is_flag=True,
              help="Make the cells look like the recipe's real images, labelled or not.")
@_settings
@click.option("--quick", is_flag=True, help="The recipe's overlay for 2 CPU cores.")
@_verb
def synth(
    recipe: Path,
    out: Path,
    number: int,
    preview: bool,
    natural: bool,
    match: bool,
    settings: tuple[str, ...],
    quick: bool,
) -> None:
    """Draw the synthetic cells of a recipe.

    They are images with their counts, to look at or to use.

    With --match, find how to draw them so that they look like the recipe's real training images,
    and write the recipe anew.

    Example: cellzoo synth twindensity_pc -o cells --preview

    Example: cellzoo synth my.yaml --match -o matched.yaml --preview
    """
    from cellzoo.commands.synth import match_recipe, synth
    from cellzoo.recipe import load_recipe

    if match and natural:
        raise UsageError("--match and --natural exclude each other: choose one.")
    chosen = load_recipe(recipe, settings, quick)
    if match:
        files = match_recipe(chosen, out, number, preview)
    else:
        files = synth(chosen, out, number, preview, natural)
    _print(f"wrote {file}" for file in files)


@main.command()
@click.argument("recipe", type=_PATH)
@_settings
@click.option("--quick", is_flag=True, help="The recipe's overlay for 2 CPU cores.")
@click.option("--budget", metavar="TIME", help="Train for so long: 90s, 10m, 2h.")
@click.option("--out", type=_PATH, help="Run folder; an interrupted run there goes on.")
@click.option("--fresh", is_flag=True, help="Start anew even if a run was interrupted.")
@_verb
def fit(
    recipe: Path,
    settings: tuple[str, ...],
    quick: bool,
    budget: str | None,
    out: Path | None,
    fresh: bool,
) -> None:
    """Train what a recipe describes.

    RECIPE is a file, or the name of a recipe of the package. A training that was stopped goes on.

    Example: cellzoo fit twindensity_bf --budget 10m
    """
    from cellzoo.recipe import load_recipe, other_form

    other = other_form(recipe, settings, quick)
    if budget:
        settings = (*settings, f"train.budget={budget}")
    chosen = load_recipe(recipe, settings, quick)
    if chosen.train.budget and any(s.partition("=")[0].strip() == "train.epochs" for s in settings):
        raise UsageError(
            "train.epochs: the budget decides how many there are, add --set train.budget=null or "
            "leave train.epochs out."
        )
    for line in load_recipe(recipe, quick=quick).differences(chosen):
        click.echo(f"set {line}")
    start_tensorflow()
    from cellzoo.training.fit import fit

    run = fit(chosen, out, fresh, other)
    if run.path.exists():  # on several machines only the chief's is kept
        click.echo(f"run folder: {run.path}")


@main.command()
@click.argument("recipe", type=_PATH)
@_settings
@click.option("--quick", is_flag=True, help="The recipe's overlay for 2 CPU cores.")
@click.option("--trials", type=click.IntRange(min=1), help="Combinations to try.")
@click.option("--out", type=_PATH, help="Search folder; a search there goes on.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True,
              help="Trials at a time; each has a GPU, or a share of the processor.")
@click.option("--serve", type=click.IntRange(1, 65535), metavar="PORT",
              help="Be the chief of a search on several machines.")
@click.option("--chief", metavar="HOST:PORT", help="Work for that chief.")
@_verb
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
    if trials:
        settings = (*settings, f"tune.trials={trials}")
    chosen = load_recipe(recipe, settings, quick)
    start_tensorflow()
    from cellzoo.tuning.search import tune

    _print(f"wrote {file}" for file in tune(chosen, out, workers, serve, chief))


@main.command()
@click.argument("run", metavar="RUN|SAVED_MODEL|zoo:NAME", type=_PATH)
@click.option("--data", type=_PATH, help="A folder, labelled or not, not the recipe's test split.")
@click.option("--out", type=_PATH, help="Folder for the report; else report/ in the run.")
@click.option(
    "--protocol", type=click.Choice(["cellzoo", "authors"]), default="cellzoo",
    help="authors: sample the latent and augment, as the paper's program does.",
)  # fmt: skip
@_trust
@_verb
def evaluate(
    run: Path, data: Path | None, out: Path | None, protocol: str, trust: bool
) -> None:
    """Score a counter and write a report.

    A run is scored on the test split, which it never saw.

    Example: cellzoo evaluate runs/twindensity_bf/20261121-101500
    """
    from cellzoo import zoo

    run = zoo.find(run)
    start_tensorflow()
    from cellzoo.commands.evaluate import scores_in_words
    from cellzoo.evaluation.evaluate import evaluate

    # Scores first: the figures take longer.
    result = evaluate(
        run, data, out, protocol, trust=trust, on_scores=lambda r: _print(scores_in_words(r))
    )
    for file in result.skipped:
        click.echo(f"skipped {file.name}: {file.reason}", err=True)
    # The figures are in the report, too; naming each would hide it.
    _print([f"wrote {file}" for file in result.files if file.suffix != ".png"])


@main.command()
@click.argument("methods", nargs=-1, required=True, metavar="RECIPE|RUN...")
@click.option("--out", type=_PATH, default=Path("comparison"), show_default=True,
              help="Folder for the table; an interrupted comparison there goes on.")  # fmt: skip
@_settings
@click.option("--quick", is_flag=True, help="The recipes' overlays for 2 CPU cores.")
@click.option("--budget", metavar="TIME", help="Train each for so long: 90s, 10m, 2h.")
@click.option("--seed", "seeds", multiple=True, type=click.IntRange(min=0),
              help="Train each recipe with this seed; repeat it for several.")  # fmt: skip
@click.option("--natural-only", is_flag=True, help="Also each recipe without synthetic images.")
@click.option("--reference", metavar="LABEL", help="Compare all methods with this; else all pairs.")
@_verb
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
    _print(result.summary())


@main.command()
@click.argument("run", type=_PATH)
@click.option(
    "--to", type=_PATH, default=Path("saved_models"), show_default=True,
    help="Folder of the SavedModels.",
)  # fmt: skip
@click.option("--serving", type=_PATH, help="Folder whose models.config gets the model, too.")
@_verb
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


@main.command()
@click.argument("files", nargs=-1, required=True, type=_PATH, metavar="FILE...")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@_verb
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


class _TwoNumbers(click.Command):
    """A command whose option --intensity may be followed by two numbers."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Joins the two."""
        args = list(args)
        for k, word in enumerate(args[:-2]):
            if word == "--intensity" and all(map(_is_number, args[k + 1 : k + 3])):
                args[k + 1 : k + 3] = [" ".join(args[k + 1 : k + 3])]
                break
        return super().parse_args(ctx, args)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@main.command(cls=_TwoNumbers)
@click.argument("images", nargs=-1, required=True, type=_PATH)
@click.option("--model", required=True,
              help="A run folder, a SavedModel, zoo:NAME or HOST:PORT/NAME.")  # fmt: skip
@click.option("-o", "--out", type=_PATH, default=Path("counts.csv"), show_default=True)
@_selection
@click.option("--intensity", metavar="LOW HIGH|dtype|percentile",
              help="Grey levels of black and white; dtype: of the whole type.")
@click.option("--overlay", type=_PATH, help="New folder for pictures with the cells outlined.")
@click.option("--masks", type=_PATH, help="New folder for masks and probabilities, TIFF.")
@_trust
@_connection
@_verb
def count(
    images: tuple[Path, ...],
    model: str,
    out: Path,
    overlay: Path | None,
    masks: Path | None,
    intensity: str | None,
    trust: bool,
    **options: Any,
) -> None:
    """Count the cells in images and folders.

    A served model is HOST:PORT/NAME, perhaps with a version (NAME/3) or a label (NAME:canary); the
    options from --timeout on are about its server.

    Example: cellzoo count images/ --model zoo:ldc -o counts.csv

    Example: cellzoo count images/ --model localhost:8500/twindensity_bf
    """
    from cellzoo.commands.count import count_files, summary
    from cellzoo.files import check_new_file
    from cellzoo.images import parse_intensity

    check_new_file(out)
    reading = {key: options.pop(key) for key in _READING}
    reading["intensity"] = None if intensity is None else parse_intensity(intensity)
    from cellzoo.counters.load import is_served, load_counter

    if is_served(model):
        from cellzoo.counters.served import Connection

        counter = load_counter(model, Connection(**options))
    else:
        counter = load_counter(model, trust=trust)
    rows = count_files(
        images, counter, out, overlay=overlay, masks=masks, **reading
    )
    failed = [row for row in rows if row.error]
    for row in failed:
        click.echo(f"Error: {row.error}", err=True)
    click.echo(summary(rows, out))
    sys.exit(1 if failed else 0)


@main.command()
@click.argument("models", type=_PATH, default=Path("saved_models"))
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0: every interface.")
@click.option("--grpc-port", type=_PORT, default=8500, show_default=True)
@click.option("--rest-port", type=_PORT, default=8501, show_default=True)
@click.option(
    "--engine", type=click.Choice(["auto", "embedded", "tensorflow"]), default="auto",
    help="auto: tensorflow_model_server if it is installed and --host is 0.0.0.0.",
)  # fmt: skip
@click.option("--model-config-file", type=_PATH, help="Versions and labels, instead of MODELS.")
@click.option("--batching-file", type=_PATH, help="As serving/batching.config.")
@click.option("--monitoring-file", type=_PATH, help="As serving/monitoring.config.")
@click.option("--allow-reload", is_flag=True,
              help="Let reload requests name folders of models that are not below MODELS.")
@click.option("--trust", is_flag=True, help="Serve SavedModels whatever operations they hold.")
@_verb
def serve(**service: Any) -> None:
    """Serve exports as TensorFlow Serving does.

    Answers its gRPC and REST for the exports below MODELS.

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
    serve(Service(**service), start_tensorflow)


@main.command("import-labels")
@click.argument("csv_file", metavar="CSV", type=_PATH)
@click.option("-o", "--out", type=_PATH, required=True, help="The labels.csv to write.")
@_verb
def import_labels(csv_file: Path, out: Path) -> None:
    """Turn a CSV of the Twin-VAE authors into labels.csv.

    Their files have no header. 0 means unlabelled there, which becomes an empty count.

    Example: cellzoo import-labels train.csv -o images/labels.csv
    """
    from cellzoo.labelling.importers import import_twinvae_csv

    click.echo(f"wrote {import_twinvae_csv(csv_file, out)} rows to {out}")


@main.command("import-checkpoint")
@click.argument("file", type=_PATH)
@click.option("--out", type=_PATH, required=True, help="New run folder.")
@_verb
def import_checkpoint(file: Path, out: Path) -> None:
    """Turn a PyTorch checkpoint into a run folder.

    FILE is one of the Twin-VAE's authors. Reading it needs PyTorch: the extra torch.

    Example: cellzoo import-checkpoint twinvae.pth --out runs/authors
    """
    start_tensorflow()
    from cellzoo.convert.checkpoint import import_checkpoint

    click.echo(f"run folder: {import_checkpoint(file, out).path}")


if __name__ == "__main__":
    main()
