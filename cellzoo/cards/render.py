"""Jinja2 templates: words that people read, which can be edited without Python."""

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, select_autoescape

# What Markdown or the HTML in it would take for markup, within a line. An underscore inside a word
# is none, and names of files are full of them.
_MARKUP = re.compile(r"[\\`*\[\]|~]|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])")
_HTML = {"<": "&lt;", ">": "&gt;"}


def environment(*folders: Path) -> Environment:
    """Reads the templates of folders, of a name the first.

    What is put into ``*.html.j2`` is escaped. Templates of Markdown have the filters ``text``,
    ``code`` and ``fenced`` for that. A name that a template asks for and nobody gave is an error.
    """
    found = Environment(
        loader=FileSystemLoader(folders),
        autoescape=select_autoescape(["html.j2"], default_for_string=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters |= {"text": text, "code": code, "fenced": fenced}
    return found


def text(value: object) -> str:
    """Plain text for a line or a table's cell of Markdown, where it shows as it is."""
    line = " ".join(str(value).split())
    line = re.sub(r"&(?=#?\w+;)", "&amp;", line)  # else an entity
    line = _MARKUP.sub(r"\\\g<0>", line)
    return re.sub("[<>]", lambda match: _HTML[match[0]], line)


def code(value: object) -> str:
    """Text as code within a line of Markdown, whatever backticks are in it."""
    line = " ".join(str(value).split())
    fence = "`" * (1 + _longest_run(line))
    room = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{room}{line}{room}{fence}"


def fenced(value: str, language: str = "") -> str:
    """Lines of text as a block of code in Markdown."""
    fence = "`" * max(3, 1 + _longest_run(value))
    return f"{fence}{language}\n{value.rstrip()}\n{fence}"


def _longest_run(line: str) -> int:
    return max(map(len, re.findall("`+", line)), default=0)


def blocks(template: Template, **values: object) -> dict[str, str]:
    """The text of each block of a template, by the block's name, in their order."""
    context = template.new_context(values)
    return {name: "".join(block(context)) for name, block in template.blocks.items()}
