"""The command ``cellzoo``, and what its verbs share."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path

import click

from cellzoo import __version__, backend
from cellzoo.errors import UserError, printable, without_graph

# TensorFlow writes about every device that it does not have.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

PATH = click.Path(path_type=Path)
_NO_MEMORY = (
    "there is not enough memory, of the computer or of its GPU: lower train.batch, give smaller "
    "images or fewer at a time, or end other programs."
)


def verb(function: Callable) -> Callable:
    """Turns an error that a user can mend into one sentence and an exit code."""

    @wraps(function)
    def call(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except UserError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(error.exit_code)
        except BrokenPipeError:  # nobody reads what is said meanwhile, which click knows
            raise
        except MemoryError:
            click.echo(f"Error: {_NO_MEMORY}", err=True)
            sys.exit(1)
        except OSError as error:  # a full disk, a folder that may not be written to
            click.echo(f"Error: {printable(str(error))}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo("Stopped. The same command starts again, or goes on.", err=True)
            sys.exit(1)
        except Exception as error:
            if type(error).__name__ != "ResourceExhaustedError":  # TensorFlow's
                raise
            # It is of a GPU's memory, and of a full disk or too many open files as well.
            said = str(error)
            said = _NO_MEMORY if "OOM" in said or "memory" in said else without_graph(said)
            click.echo(f"Error: {printable(said)}", err=True)
            sys.exit(1)

    return call


class _Echo(logging.Handler):
    """Prints the messages of the package to wherever standard output goes by then."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo("\n".join(map(printable, self.format(record).split("\n"))))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def main() -> None:
    """Count the cells in microscope images: train on a handful of labels, trust the number."""
    backend.alone = True
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    log = logging.getLogger("cellzoo")
    log.handlers = [_Echo()]
    log.setLevel(logging.INFO)
    log.propagate = False
    # A queue or a container that ends a command ends it as Ctrl-C does.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def print_lines(lines: Iterable[str]) -> None:
    """Prints each line of a result, as long as somebody reads: ``cellzoo list | head -2``."""
    try:
        for line in lines:
            click.echo(line)
    except BrokenPipeError:
        with open(os.devnull, "w") as nowhere:  # where the program flushes to at its end
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def with_settings(function: Callable) -> Callable:
    """The option ``--set``, as the argument ``settings``."""
    return click.option(
        "--set", "settings", multiple=True, metavar="KEY=VALUE",
        help="Change a key of the recipe, such as data.natural.folder=images.",
    )(function)  # fmt: skip


with_trust = click.option(
    "--trust", is_flag=True, help="Load a SavedModel whatever operations it holds."
)
