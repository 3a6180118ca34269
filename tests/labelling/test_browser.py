"""The page in a real browser: a person's clicks and keys, a killed server, a training."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from cellzoo.recipe import load_recipe

pytestmark = pytest.mark.slow
webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if not (CHROMIUM and DRIVER):
    pytest.skip("Chromium and chromedriver are not installed", allow_module_level=True)

from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

# Nothing else than the page is asked for over the network.
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync
    --disable-background-networking --disable-component-update --disable-dev-shm-usage""".split()
SECONDS = 60


def cells_of(name):
    """Where the cells of a picture are."""
    group, step = map(int, re.findall(r"\d+", name))
    draw = np.random.default_rng([group, step])
    number = (group + step) % 5
    corners = draw.permutation(16)[:number]
    return [(6.0 + 12 * (k % 4), 6.0 + 12 * (k // 4)) for k in corners.tolist()]


@pytest.fixture
def folder(tmp_path):
    """48 pictures of 12 wells with 0 to 4 bright cells, 16 bit of which 12 are used."""
    folder = tmp_path / "images"
    folder.mkdir()
    for group in range(12):
        for step in range(4):
            name = f"well{group}_t{step}.png"
            draw = np.random.default_rng([group, step, 1])
            light = cv2.resize(draw.normal(500, 150, (4, 4)), (48, 48))
            pixels = light + draw.normal(0, 20, (48, 48))
            for x, y in cells_of(name):
                cv2.circle(pixels, (round(x), round(y)), 3, 2500.0, -1)
            cv2.imwrite(str(folder / name), pixels.clip(0, 4095).astype(np.uint16))
    return folder


class Server:
    """``cellzoo label`` as a person starts it."""

    def __init__(self, folder, *words):
        command = [sys.executable, "-m", "cellzoo.cli", "label", str(folder), "--no-browser"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self.process = subprocess.Popen(
            [*command, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            cwd=folder.parent, env=environment,
        )  # fmt: skip
        said = []
        for line in self.process.stdout:
            said.append(line)
            if found := re.search(r"http://\S+", line):
                self.address = found[0]
                return
        raise AssertionError("".join(said))

    def end(self, number=signal.SIGINT):
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(SECONDS)
        self.process.stdout.close()
        return self.process.returncode


@pytest.fixture
def started():
    """Starts servers, and ends them."""
    running = []

    def start(folder, *words):
        running.append(Server(folder, *words))
        return running[-1]

    yield start
    for server in running:
        server.end(signal.SIGKILL)


@pytest.fixture
def browser(tmp_path):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1280,800"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


class Person:
    """What a person sees and does."""

    def __init__(self, browser, address):
        self.browser = browser
        browser.get(address)
        self.until(lambda: self.script("return page.frame !== null && !page.busy"))

    def until(self, true, seconds=SECONDS):
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, self.message
            time.sleep(0.05)

    def script(self, text, *words):
        return self.browser.execute_script(text, *words)

    @property
    def name(self):
        return self.script("return page.frame.name")

    @property
    def message(self):
        return self.text("message")

    def text(self, name):
        return self.browser.find_element("id", name).text

    def press(self, *keys):
        for key in keys:
            ActionChains(self.browser).send_keys(key).perform()

    def press_with_shift(self, *keys):
        chain = ActionChains(self.browser).key_down(Keys.SHIFT).send_keys(*keys)
        chain.key_up(Keys.SHIFT).perform()

    def answer(self, *keys):
        """Keys that end in an answer, which is waited for."""
        before = self.script("return page.answered.length")
        repeat = self.script("return page.frame.repeat")
        number = self.script("return page.frame.number")
        self.press(*keys)
        self.until(
            lambda: self.script(
                "return !page.busy && (page.answered.length > arguments[0] ||"
                " (arguments[1] && page.frame.number !== arguments[2]))",
                before, repeat, number,
            )  # fmt: skip
        )

    def click(self, x, y):
        """Clicks where a pixel is."""
        left, top = self.script(
            "const box = canvas.getBoundingClientRect();"
            "const [x, y] = toScreen({x: arguments[0], y: arguments[1]});"
            "return [x - box.width / 2, y - box.height / 2]",
            x, y,
        )  # fmt: skip
        canvas = self.browser.find_element("id", "canvas")
        ActionChains(self.browser).move_to_element_with_offset(canvas, left, top).click().perform()

    def dots(self):
        return self.script("return page.dots.map(d => [d.x, d.y])")


def rows(file):
    return list(csv.DictReader(file.open(encoding="utf-8")))


def labelled(folder):
    return {r["image"]: r for r in rows(folder / "labels.csv") if r["count"] != ""}


def test_twenty_images_a_killed_server_and_a_training(folder, started, browser, tmp_path):
    recipe = load_recipe(
        "twindensity_ldc",
        [
            "model.image_size=48", "data.synthetic.images=64", "train.batch=8",
            "train.steps_per_epoch=4", "data.natural.copies=allow",
        ],
    )  # fmt: skip
    (tmp_path / "small.yaml").write_text(recipe.to_yaml())
    words = ("--recipe", str(tmp_path / "small.yaml"), "--group", "well[0-9]+")
    server = started(folder, *words)
    person = Person(browser, server.address)
    known = {}

    def label(number):
        for k in range(number):
            name, repeat = person.name, person.script("return page.frame.repeat")
            cells = cells_of(name)
            if not cells:
                person.answer("0")
            elif k % 3 == 2:
                person.answer(str(len(cells)), Keys.ENTER)
            else:
                for x, y in cells:
                    person.click(x, y)
                person.answer(Keys.ENTER)
            if not repeat:
                known[name] = len(cells)

    label(9)
    while not cells_of(person.name):
        label(1)
    half_done = person.name
    person.click(*cells_of(half_done)[0])
    person.until(lambda: half_done in (folder / ".label_drafts.json").read_text())
    server.end(signal.SIGKILL)
    person.press("5", Keys.ENTER)
    person.until(lambda: "does not answer" in person.message)

    server = started(folder, *words)
    assert {name: int(row["count"]) for name, row in labelled(folder).items()} == known
    person = Person(browser, server.address)
    person.script("load(arguments[0])", _number(folder, half_done))
    person.until(lambda: person.name == half_done)
    assert person.dots() == [pytest.approx(cells_of(half_done)[0], abs=0.6)]
    for x, y in cells_of(half_done)[1:]:
        person.click(x, y)
    person.answer(Keys.ENTER)
    known[half_done] = len(cells_of(half_done))
    label(11)
    assert len(known) >= 20
    assert {name: int(row["count"]) for name, row in labelled(folder).items()} == known
    for name in {row["image"] for row in rows(folder / "points.csv")}:
        found = [(float(r["x"]), float(r["y"])) for r in rows(folder / "points.csv")
                 if r["image"] == name]  # fmt: skip
        assert sorted(found) == [pytest.approx(c, abs=0.6) for c in sorted(cells_of(name))]

    person.script("document.getElementById('budget').options[0].value = '4s'")
    person.script("document.getElementById('budget').selectedIndex = 0")
    browser.find_element("id", "train").click()
    person.until(lambda: "Under way" in person.text("training"))
    person.until(lambda: "Under way" not in person.text("training"), 4 * SECONDS)
    assert "Trained on" in person.text("training")
    person.until(lambda: "counts" in _model_of_a_teaching_frame(person))
    person.answer(Keys.ENTER)  # accepts the model's count
    assert "1" in {row["assisted"] for row in labelled(folder).values()}
    assert {name: int(row["count"]) for name, row in labelled(folder).items() if name in known} == (
        known
    )
    assert server.end() == 0


def _number(folder, name):
    """The number of a frame in natural order."""
    from cellzoo.images import natural_key

    return sorted((p.name for p in folder.glob("*.png")), key=natural_key).index(name)


def _model_of_a_teaching_frame(person):
    """The words about the model, of a frame that it may be shown with."""
    if person.script("return page.frame.blind && !page.busy"):
        person.press("n")
    time.sleep(0.3)
    return person.text("model")


def test_the_keyboard_alone_is_enough(folder, started, browser):
    person = Person(browser, started(folder).address)
    person.press_with_shift(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    person.press(".")
    first = person.dots()
    assert len(first) == 1
    person.press_with_shift(Keys.ARROW_UP, Keys.ARROW_UP)
    person.press(".", "z")
    assert person.dots() == first
    name = person.name
    person.answer(Keys.ENTER)
    assert labelled(folder)[name]["count"] == "1"
    person.press("z")
    person.until(lambda: person.name == name and not person.script("return page.busy"))
    assert name not in labelled(folder)
    person.press("h")
    assert person.dots() == first
    person.answer("0")
    assert labelled(folder)[name]["count"] == "0" and "Without its dot" in person.message
    person.press("z")
    person.until(lambda: person.name == name and not person.script("return page.busy"))
    assert person.dots() == first and name not in labelled(folder)
    person.press("7")
    person.answer("u")
    assert (labelled(folder)[name]["count"], labelled(folder)[name]["unsure"]) == ("7", "1")
    person.press("?")
    assert browser.find_element("id", "help").is_displayed()
    person.press(Keys.ESCAPE)
    assert not browser.find_element("id", "help").is_displayed()


def test_dots_of_the_frame_before_and_its_neighbours(folder, started, browser):
    person = Person(browser, started(folder).address)
    person.script("load(1)")
    person.until(lambda: person.name == "well0_t1.png")
    person.press(Keys.ARROW_LEFT)
    person.until(lambda: person.name == "well0_t0.png")
    person.click(10, 12)
    person.answer(Keys.ENTER)
    person.script("load(1)")
    person.until(lambda: person.name == "well0_t1.png")
    person.press("c")
    person.until(lambda: person.script("return !page.busy && page.dots.length === 1"))
    assert "of the frame before" in person.message
    person.press("h")
    assert person.script("return page.hideDots")
    ActionChains(browser).key_down(" ").perform()
    person.until(lambda: browser.find_element("id", "blink-note").is_displayed())
    ActionChains(browser).key_up(" ").perform()
    assert not browser.find_element("id", "blink-note").is_displayed()


def test_images_without_a_time_have_no_frame_before(tmp_path, started, browser):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("left", "middle", "right"):
        cv2.imwrite(str(folder / f"{name}.png"), np.full((32, 32), 90, np.uint8))
    person = Person(browser, started(folder).address)
    person.script("load(1)")
    person.until(lambda: person.name == "middle.png")
    assert not browser.find_element("id", "carry").is_enabled()
    assert browser.find_element("id", "before").is_enabled()
    person.press("c")
    assert "no frame before in time" in person.message


def test_the_curve_of_a_training_is_seen(folder, started, browser):
    person = Person(browser, started(folder).address)
    person.script("clearTimeout(timer)")  # no refresh, which knows of no training
    assert not browser.find_element("id", "curve").is_displayed()
    person.script("curve([[10, 2], [20, 1.5]])")
    assert browser.find_element("id", "curve").is_displayed()
    assert browser.find_element("id", "curve-last").text == "now 1.50"
    person.script("curve([])")
    assert not browser.find_element("id", "curve").is_displayed()


def test_two_tabs_do_not_overwrite_each_other(folder, started, browser):
    person = Person(browser, started(folder).address)
    name, number = person.name, person.script("return page.frame.number")
    token = person.script("return page.frame.token")
    said = browser.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "ask('/api/answer/' + arguments[0], {count: 9, points: null, unsure: false,"
        " assisted: false, chosen: '', token: arguments[1]}).then(done)",
        number, token,
    )  # fmt: skip
    assert said["token"] != token
    person.press("3", Keys.ENTER)
    person.until(lambda: "answered meanwhile" in person.message)
    assert labelled(folder)[name]["count"] == "9"


def test_a_tablet_sets_dots_by_touch(folder, started, browser):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 820, "height": 1180, "deviceScaleFactor": 2, "mobile": True},
    )
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    person = Person(browser, started(folder).address)
    x, y = person.script(
        "const box = canvas.getBoundingClientRect(); const [x, y] = toScreen({x: 20, y: 30});"
        "return [box.left + x, box.top + y]"
    )
    for kind, points in (("touchStart", [{"x": x, "y": y}]), ("touchEnd", [])):
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    person.until(lambda: len(person.dots()) == 1)
    assert person.dots() == [pytest.approx([20, 30], abs=0.5)]
    assert person.script("return document.documentElement.scrollWidth") <= 820
    for button in browser.find_elements("css selector", "button"):
        assert not button.is_displayed() or button.size["height"] >= 40


CONTRAST = """
const luminance = (text) => {
  const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map((c) => {
    c /= 255;
    return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if (!/, 0\\)$|transparent/.test(colour)) return colour;
  }
  return "rgb(255, 255, 255)";
};
const poor = [];
for (const element of document.querySelectorAll("body *")) {
  const words = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  if (!words || !element.checkVisibility() || element.disabled || element.closest(":disabled")) {
    continue;
  }
  const [a, b] = [getComputedStyle(element).color, ground(element)].map(luminance);
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) poor.push(`${element.id || element.tagName}: ${ratio.toFixed(2)}`);
}
return poor;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read_named_and_reached(folder, started, browser, scheme):
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    person = Person(browser, started(folder).address)
    person.press("3")
    assert person.script(CONTRAST) == []
    controls = [
        control
        for control in browser.find_elements("css selector", "canvas, button, input, select")
        if control.is_displayed() and control.is_enabled()
    ]
    for control in controls:
        assert control.accessible_name, control.get_attribute("id")
    wanted = [control.get_attribute("id") for control in controls]
    assert len(wanted) > 15
    person.script("document.activeElement.blur()")
    reached = []
    for _ in (*wanted, "the browser itself"):
        person.press(Keys.TAB)
        reached.append(person.script("return document.activeElement.id"))
    reached.remove("")
    at = wanted.index(reached[0])
    assert reached == wanted[at:] + wanted[:at]
    person.press("?")
    assert person.script(CONTRAST) == []
    assert browser.get_log("browser") == []
