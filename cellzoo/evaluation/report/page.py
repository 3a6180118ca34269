"""An evaluation's report as one HTML file that needs nothing beside it.

The words are in ``templates/``, which can be edited without Python.
"""

import base64
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
from jinja2 import Environment

from cellzoo.cards.render import environment
from cellzoo.files import write_atomically

TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class Picture:
    """A figure of the report; ``templates/figures.html.j2`` says what it shows.

    Attributes:
        file: PNG, named as the macro for it in the template.
        values: what the macro says of it.
    """

    file: Path
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the figure, and of the macro."""
        return self.file.stem

    @cached_property
    def data(self) -> str:
        """The file as an address that holds its content."""
        content = base64.b64encode(self.file.read_bytes()).decode("ascii")
        return f"data:image/png;base64,{content}"

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        return cv2.imread(str(self.file)).shape

    @property
    def width(self) -> int:
        """Pixels."""
        return self._shape[1]

    @property
    def height(self) -> int:
        """Pixels."""
        return self._shape[0]


def templates() -> Environment:
    """Those of reports and comparisons; values in ``*.html.j2`` are escaped."""
    found = environment(TEMPLATES)
    found.filters["anchor"] = anchor
    return found


def anchor(title: str) -> str:
    """A heading as the name of a place in the page: ``scores-more`` for ``Scores & more``."""
    return "-".join("".join(c if c.isalnum() else " " for c in str(title).lower()).split())


def write_page(file: Path, template: str, **values: object) -> None:
    """Writes a page as one file without scripts, whose figures are inside it.

    Args:
        file: HTML to write.
        template: its name in ``templates/``.
        values: what the template asks for.
    """
    write_atomically(file, templates().get_template(template).render(**values))
