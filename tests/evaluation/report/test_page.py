"""The report is one file that a browser shows whole, wherever it is opened."""

import base64
import re

import cv2
import jinja2
import numpy as np
import pytest

from cellzoo.evaluation.report.page import Picture, templates, write_page

PAGE = """
{% extends "page.html.j2" %}
{% from "parts.html.j2" import figure, key_number, table, warning %}
{% block headline %}Off by 1.2.{% endblock %}
{% block warnings %}{% call warning() %}{{ beware }}{% endcall %}{% endblock %}
{% block key_numbers %}{{ key_number("MAE", "1.2", "cells") }}{% endblock %}
{% block footer %}{% endblock %}
{% set scores %}
<p>{{ words }}</p>
{{ table(["score", "value"], [["MAE", "1.2"], ["x" * 300, 2]], costs) }}
{% endset %}
{% macro bar() %}{% call figure(picture, heading, alt) %}{{ caption }}{% endcall %}{% endmacro %}
{% set reproduce %}<pre>{{ commands }}</pre>{% endset %}
{% set sections = [
  ("Scores & more", scores), ("Pictures", bar() ~ bar()), ("Empty", " "), ("Reproduce", reproduce)
] %}
"""


@pytest.fixture
def page(tmp_path):
    """A page of every part there is, whose values would be markup if they were not escaped."""
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((40, 900), 128, np.uint8))
    env = templates()
    env.loader = jinja2.ChoiceLoader([env.loader, jinja2.DictLoader({"test.html.j2": PAGE})])
    return env.get_template("test.html.j2").render(
        title="tiny: <test>",
        beware="Beware of <i>!",
        words="Some text & more.",
        costs="What <b> costs",
        picture=Picture(tmp_path / "grey.png"),
        heading="A <grey> bar",
        caption="It is & stays grey.",
        alt='A "grey" bar.',
        commands="cellzoo evaluate a\ncellzoo evaluate b" + "c" * 300,
    )


def test_it_is_self_contained_and_says_what_it_was_given(page, tmp_path, elements):
    found = elements(page)
    images = found.of("img")
    assert len(images) == 2
    for image in images:
        kind, _, content = image["src"].partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(content) == (tmp_path / "grey.png").read_bytes()
        assert (image["width"], image["height"]) == ("900", "40")
        assert image["alt"] == 'A "grey" bar.'
    assert not found.of("script")
    urls = [a[key] for _, a in found.found for key in ("src", "href") if key in a]
    assert all(url.startswith(("data:", "#")) for url in urls)
    assert not re.search(r"https?://|@import|url\(", page)
    for text in ("tiny: <test>", "A <grey> bar", "It is & stays grey.", "What <b> costs",
                 "Off by 1.2.", "Beware of <i>!", "Some text & more.",
                 "cellzoo evaluate a\ncellzoo evaluate b"):  # fmt: skip
        assert text in found.text
    assert "Empty" not in found.text
    assert [attributes["href"] for attributes in found.of("a")] == [
        "#scores-more", "#pictures", "#reproduce"
    ]  # fmt: skip
    assert "$" not in found.text
    for need in ("prefers-color-scheme: dark", "@media print", 'name="viewport"'):
        assert need in page


def test_it_is_written_whole(tmp_path):
    file = tmp_path / "parts.html"
    write_page(file, "parts.html.j2")
    assert file.read_text(encoding="utf-8").isspace()
    assert list(tmp_path.iterdir()) == [file]


def test_a_browser_shows_it_whole_on_a_phone(page, check_in_browser):
    check_in_browser(page, images=2)


def test_the_browser_would_have_told(page, open_in_browser, check_in_browser):
    """What the check looks for is there to be seen: else it could not fail."""
    _, console = open_in_browser(page.replace("</body>", "<script>nothing()</script></body>"))
    assert len(console) == 1 and "nothing is not defined" in console[0]
    for spoilt in (
        page.replace("data:image/png;base64,", "data:image/png;base64,AAAA", 1),
        page.replace("<main>", '<main><img src="missing.png" alt="">'),
        page.replace("<main>", '<main><div style="width: 999px">wide</div>'),
        page.replace('id="pictures"', 'id="elsewhere"'),
    ):
        with pytest.raises(AssertionError):
            check_in_browser(spoilt, images=len(re.findall("<img ", spoilt)))
