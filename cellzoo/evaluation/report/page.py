"""``report/index.html``: an evaluation as one file that needs nothing beside it."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

import cv2

from cellzoo.files import write_atomically

TEMPLATE = Path(__file__).with_name("report.html")


@dataclass(frozen=True)
class Picture:
    """A figure of the report.

    Attributes:
        file: PNG.
        title: heading.
        caption: what it shows and how to read it; plain text.
        alt: what is seen, for those who cannot see it.
    """

    file: Path
    title: str
    caption: str
    alt: str


@dataclass(frozen=True)
class Table:
    """A table of the report; all texts are plain.

    Attributes:
        header: names of the columns.
        rows: cells, the first of each row naming it.
        caption: what it shows.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True)
class Commands:
    """Lines to type into a terminal."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        title: heading.
        content: paragraphs (plain text), tables, figures and commands, in their order.
    """

    title: str
    content: Sequence[str | Table | Picture | Commands]


@dataclass(frozen=True)
class Report:
    """A whole report; all texts are plain.

    Attributes:
        title: of the page.
        headline: the result in a sentence.
        key_numbers: the few numbers to see first: what it is, the number, a remark.
        sections: in their order; those without content are left out.
        warnings: sentences that must not be missed, such as that images are simulated.
        footer: versions and the like.
    """

    title: str
    headline: str
    key_numbers: Sequence[tuple[str, str, str]] = ()
    sections: Sequence[Section] = ()
    warnings: Sequence[str] = ()
    footer: str = ""


def write_report(file: Path, report: Report) -> None:
    """Writes the report as one HTML file without scripts, whose figures are inside it."""
    write_atomically(file, html(report))


def html(report: Report) -> str:
    """The report as HTML."""
    sections = [section for section in report.sections if section.content]
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(report.title),
        headline=escape(report.headline),
        key_numbers="\n".join(_key_number(*number) for number in report.key_numbers),
        warnings="\n".join(f'<p class="warning">{escape(line)}</p>' for line in report.warnings),
        contents="\n".join(
            f'<li><a href="#{_anchor(section.title)}">{escape(section.title)}</a></li>'
            for section in sections
        ),
        sections="\n".join(_section(section) for section in sections),
        footer=escape(report.footer),
    )


def _key_number(name: str, number: str, remark: str) -> str:
    return (
        f"<div><dt>{escape(name)}</dt><dd><strong>{escape(number)}</strong>"
        f"<span>{escape(remark)}</span></dd></div>"
    )


def _anchor(title: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in title.lower()).split())


def _section(section: Section) -> str:
    anchor = _anchor(section.title)
    parts = [f'<section id="{anchor}">', f"<h2>{escape(section.title)}</h2>"]
    for part in section.content:
        if isinstance(part, Table):
            parts.append(_table(part))
        elif isinstance(part, Picture):
            parts.append(_picture(part))
        elif isinstance(part, Commands):
            parts.append(f"<pre>{escape(chr(10).join(part.lines))}</pre>")
        else:
            parts.append(f"<p>{escape(part)}</p>")
    return "\n".join([*parts, "</section>"])


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.header)
    rows = [
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in table.rows
    ]
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    # Scrolls by itself where the screen is narrow; with the keyboard, too.
    return (
        '<div class="wide" tabindex="0">\n<table>\n'
        f"{caption}<thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(rows) + "\n</tbody>\n"
        "</table>\n</div>"
    )


def _picture(picture: Picture) -> str:
    content = picture.file.read_bytes()
    height, width = cv2.imread(str(picture.file)).shape[:2]
    data = base64.b64encode(content).decode("ascii")
    return (
        f'<figure id="{picture.file.stem}">\n<h3>{escape(picture.title)}</h3>\n'
        f'<img src="data:image/png;base64,{data}" width="{width}" height="{height}" '
        f'alt="{escape(picture.alt)}">\n<figcaption>{escape(picture.caption)}</figcaption>\n'
        "</figure>"
    )
