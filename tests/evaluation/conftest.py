"""A browser that opens reports, where there is one."""

import html.parser
import json
import shutil
import subprocess

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Added to a copy of the page: what the browser itself says of it.
PROBE = """<script>
addEventListener("load", () => {
  const fetched = performance.getEntriesByType("resource").map(entry => entry.name);
  document.body.dataset.probe = JSON.stringify({
    widths: [...document.images].map(image => image.naturalWidth),
    fetched: fetched.filter(name => !name.startsWith("data:")),
    overflow: document.documentElement.scrollWidth - innerWidth,
    anchors: [...document.querySelectorAll("nav a")].map(
      a => document.getElementById(a.hash.slice(1)) !== null),
  });
});
</script>"""


class Elements(html.parser.HTMLParser):
    """All elements with their attributes; those that are not closed are an error."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open, self.text = [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def of(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="session")
def elements():
    """A function of a page that parses it."""
    return Elements


@pytest.fixture(scope="session")
def open_in_browser(tmp_path_factory):
    """A function of a page that returns its DOM after loading and what the console said."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no Chromium on this machine to open the report in")

    def open_page(page, width=390):
        folder = tmp_path_factory.mktemp("page")
        (folder / "index.html").write_text(page, encoding="utf-8")
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
            "--v=0", f"--user-data-dir={folder / 'profile'}", f"--window-size={width},900",
            "--dump-dom", (folder / "index.html").as_uri(),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, done.stderr
        return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]

    return open_page


@pytest.fixture(scope="session")
def check_in_browser(open_in_browser):
    """A function of a page that fails if anything is missing, fetched, or wider than a phone."""

    def check(page, images):
        dom, console = open_in_browser(page.replace("</body>", PROBE + "</body>"))
        assert console == []
        found = json.loads(Elements(dom).of("body")[0]["data-probe"])
        assert len(found["widths"]) == images and min(found["widths"], default=1) > 0
        assert found["fetched"] == [] and found["overflow"] <= 0
        assert found["anchors"] and all(found["anchors"])

    return check
