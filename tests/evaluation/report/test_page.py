"""The report is one file that a browser shows whole, wherever it is opened."""

import base64
import re

import cv2
import numpy as np
import pytest

from cellzoo.evaluation.report.page import (
    Commands,
    Picture,
    Report,
    Section,
    Table,
    html,
    write_report,
)


@pytest.fixture
def report(tmp_path):
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((40, 900), 128, np.uint8))
    picture = Picture(tmp_path / "grey.png", "A <grey> bar", "It is & stays grey.", 'A "grey" bar.')
    table = Table(["score", "value"], [["MAE", "1.2"], ["x" * 300, "2"]], "What <b> costs")
    sections = [
        Section("Scores & more", ["Some text.", table]),
        Section("Pictures", [picture, picture]),
        Section("Empty", []),
        Section("Reproduce", [Commands(["cellzoo evaluate a", "cellzoo evaluate b" + "c" * 300])]),
    ]
    return Report("tiny: <test>", "Off by 1.2.", [("MAE", "1.2", "cells")], sections, ["Beware!"])


def test_it_is_self_contained_and_says_what_it_was_given(report, tmp_path, elements):
    page = html(report)
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
                 "Off by 1.2.", "Beware!", "cellzoo evaluate a\ncellzoo evaluate b"):  # fmt: skip
        assert text in found.text
    assert "Empty" not in found.text
    assert [attributes["href"] for attributes in found.of("a")] == [
        "#scores-more", "#pictures", "#reproduce"
    ]  # fmt: skip
    assert "$" not in found.text
    for need in ("prefers-color-scheme: dark", "@media print", 'name="viewport"'):
        assert need in page


def test_it_is_written_whole(report, tmp_path):
    write_report(tmp_path / "index.html", report)
    assert (tmp_path / "index.html").read_text(encoding="utf-8") == html(report)
    assert not list(tmp_path.glob("*.tmp"))


def test_a_browser_shows_it_whole_on_a_phone(report, check_in_browser):
    check_in_browser(html(report), images=2)


def test_the_browser_would_have_told(report, open_in_browser, check_in_browser):
    """What the check looks for is there to be seen: else it could not fail."""
    page = html(report)
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
