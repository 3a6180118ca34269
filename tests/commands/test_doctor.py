"""Why counts may be wrong on images, by a counter that knows what its training images were like."""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from cellzoo.cli import doctor as verb
from cellzoo.cli import main
from cellzoo.commands import doctor_page
from cellzoo.commands.doctor import diagnose
from cellzoo.commands.doctor_findings import CURES
from cellzoo.counters.base import Counter
from cellzoo.counters.by_mask import TRANSMITTED, UNSTABLE
from cellzoo.counters.preprocessing import Preprocessing
from cellzoo.errors import UserError
from cellzoo.trust import out_of_distribution as trust
from cellzoo.trust.intervals import Interval

SIDE = 96


def picture(seed, level=150, spread=1.0, radius=6, cells=6):
    """Dark rings with a bright inside on an even background with noise, uint8."""
    random = np.random.default_rng(seed)
    image = np.full((SIDE, SIDE), 0.0)
    for _ in range(cells):
        x, y = random.integers(radius + 2, SIDE - radius - 2, 2).tolist()
        cv2.circle(image, (x, y), radius, 40.0, -1)
        cv2.circle(image, (x, y), radius, -60.0, 2)
    image = level + spread * (image + random.normal(0, 3, image.shape))
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


class Rings(Counter):
    """Says six cells of whatever it sees."""

    name, version = "rings", "1"
    preprocessing = Preprocessing((SIDE, SIDE), resize=True)
    training_counts = (1, 8)
    said = 6.0

    def __init__(self, known=True):
        images = np.stack([picture(k) for k in range(60)]).astype(np.float32) / 255
        sizes = np.full((60, 2), SIDE)
        self.out_of_distribution = known and trust.OutOfDistribution.fit(
            images[:40], np.arange(40), images[40:], sizes
        ) or None  # fmt: skip

    def _prepare(self, frame, scaled):
        return self.preprocessing.prepare(frame, self.name, scaled)

    def _count(self, images, domain):
        raw = np.full(len(images), self.said, np.float32)
        return raw, raw - 1, raw + 1


@pytest.fixture(scope="module")
def counter():
    return Rings()


def write(folder, images):
    for k, image in enumerate(images):
        cv2.imwrite(str(folder / f"{k:02d}.png"), image)
    return folder


def test_nothing_is_found_in_images_like_those_of_training(counter, tmp_path):
    found = diagnose([write(tmp_path, [picture(100 + k) for k in range(12)])], counter)
    assert (found.images, found.findings, found.errors) == (12, [], [])
    lines = "\n".join(found.lines())
    assert "nothing is unlike" in lines and "--check 20" in lines and "<-" not in lines


def test_other_grey_levels_get_black_and_white_that_make_up_for_them(counter, tmp_path):
    """0.5 v + 20: what was 0 is 20, and what was 255 is 147.5."""
    images = [picture(100 + k, level=95, spread=0.5) for k in range(12)]
    found = diagnose([write(tmp_path, images)], counter)
    assert found.flagged == 12
    (finding,) = found.findings
    assert finding.images == 12 and "arker" in finding.what
    words = finding.cure.split()
    low, high = (int(words[words.index("--intensity") + k].strip(":")) for k in (1, 2))
    assert low == pytest.approx(20, abs=12) and high == pytest.approx(147.5, abs=12)
    again = diagnose([tmp_path], counter, intensity=(low, high))
    assert again.flagged <= 2 and not again.findings


def test_blurred_images_are_called_out_of_focus(counter, tmp_path):
    images = [cv2.GaussianBlur(picture(100 + k), (0, 0), 2.0) for k in range(12)]
    found = diagnose([write(tmp_path, images)], counter)
    assert any("ine detail" in finding.what for finding in found.findings)
    assert any("ocus" in finding.cure for finding in found.findings)
    noise = next(measure for measure in found.measures if measure.name == "noise")
    assert noise.outside and noise.here[0] < noise.training[0]


def test_larger_cells_are_found(counter, tmp_path, monkeypatch):
    """That zooming finds them is tested with the statistics themselves."""
    look = trust.OutOfDistribution.look

    def larger(self, image):
        return trust.Look(look(self, image).features, times=2.0)

    monkeypatch.setattr(trust.OutOfDistribution, "look", larger)
    found = diagnose([write(tmp_path, [picture(100 + k) for k in range(3)])], counter)
    assert "Cells look 2.0 times as large" in found.findings[0].what
    assert "resize the images to 50 %" in found.findings[0].cure


def test_files_of_another_size_are_found(counter, tmp_path):
    wide = [np.tile(picture(100 + k), (2, 2)) for k in range(6)]
    found = diagnose([write(tmp_path, wide)], counter)
    said = " ".join(finding.what for finding in found.findings)
    assert "192 x 192 px, and those of training 96 x 96 px" in said


def test_counts_beyond_those_of_training_are_found(tmp_path, monkeypatch, counter):
    monkeypatch.setattr(Rings, "said", 20.0)
    found = diagnose([write(tmp_path, [picture(100 + k) for k in range(4)])], counter)
    assert "Up to 20 cells" in found.findings[0].what and "up to 8" in found.findings[0].what


def test_a_counter_that_knows_nothing_of_its_training_says_so(tmp_path):
    found = diagnose([write(tmp_path, [picture(0)])], Rings(known=False))
    assert "does not know what its training images looked like" in found.findings[0].what
    monk = Rings(known=False)
    monk.preprocessing = None
    with pytest.raises(UserError, match="says nothing of itself"):
        diagnose([tmp_path], monk)


class Measured(Rings):
    """One that measures cells, which it is unsure of."""

    any_size = True
    remark = "cells may be 16 or 57 px large: state their diameter"

    def __init__(self, sets_grey_levels=True):
        super().__init__()
        self.measuring = SimpleNamespace(sets_grey_levels=sets_grey_levels)

    def prepare(self, entry, notes):
        entry.prepared = entry.frame.pixels.astype(np.float32) / 255
        entry.remark = self.remark

    def count_prepared(self, images, domain):
        return self._count(images, domain)


def test_a_counter_that_measures_cells_is_told_how_large_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(Measured, "flags", lambda self, entries: [""] * len(entries))
    images = [picture(100 + k, level=60, spread=0.3) for k in range(12)]
    folder = write(tmp_path, images)
    found = diagnose([folder], Measured())
    said = {finding.what.partition(".")[0]: finding.cure for finding in found.findings}
    unsure = next(what for what in said if "unsure how large cells are" in what)
    assert "cells may be 16 or 57 px large" in unsure and "--diameter 25px" in said[unsure]
    # Grey levels are not the user's to set.
    assert len(said) > 1 and not any("--intensity" in cure for cure in said.values())
    # With one that leaves grey levels alone they are.
    found = diagnose([folder], Measured(sets_grey_levels=False))
    assert any("--intensity" in finding.cure for finding in found.findings)


def test_what_speaks_against_the_kind_of_image_has_a_cure_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(Measured, "flags", lambda self, entries: [""] * len(entries))
    folder = write(tmp_path, [picture(100, level=60, spread=0.3)])
    monkeypatch.setattr(Measured, "remark", f"{UNSTABLE}: why?")
    said = {finding.what: finding.cure for finding in diagnose([folder], Measured()).findings}
    assert any("Counts depend on the size" in what for what in said) and len(said) > 1
    assert not any("unsure how large cells are" in what for what in said)
    # Of another microscopy nothing else is worth a word.
    monkeypatch.setattr(Measured, "remark", f"{TRANSMITTED}: so; {UNSTABLE}: why?")
    (only,) = diagnose([folder], Measured()).findings
    assert "the counter is for fluorescence" in only.what and "such as zoo:cells" in only.cure


def test_fluorescence_is_named_to_a_counter_of_other_images(counter, tmp_path):
    bright = np.random.default_rng(0).normal(8, 1, (SIDE, SIDE)).astype(np.float32)
    cv2.circle(bright, (40, 50), 8, 200, -1)
    folder = write(tmp_path, [np.rint(bright).astype(np.uint8)])
    (only,) = diagnose([folder], counter).findings
    assert "as in fluorescence" in only.what and "zoo:nuclei" in only.cure


def test_wide_intervals_are_named(tmp_path):
    folder = write(tmp_path, [picture(100 + k) for k in range(3)])
    counter = Measured()
    counter.interval = Interval(constant=0.25, per_cell=0.0)
    findings = diagnose([folder], counter).findings
    assert any("Intervals are 2.0 times as wide" in finding.what for finding in findings)
    counter.interval = Interval(constant=1.0, per_cell=0.0)
    assert not any("times as wide" in each.what for each in diagnose([folder], counter).findings)


def test_errors_name_options_and_no_keys_of_a_recipe(counter, tmp_path):
    colours = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "colours.png"), colours)
    (error,) = diagnose([tmp_path], counter).errors
    assert "--channel" in error and "data.natural" not in error


def test_every_reason_for_a_flag_has_a_cure():
    said = {word for words in trust._WORDS.values() for word in words} | {trust.SWAPPED}
    assert said == set(CURES)


def test_the_page_shows_images_beside_what_may_be_shown(counter, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    write(images, [picture(100 + k, level=95, spread=0.5) for k in range(5)])
    found = diagnose([images], counter)
    doctor_page.write_page(tmp_path / "page.html", found, counter)
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/png") == 1 and "does not bring its training images" in page
    assert "--intensity" in page and "http" not in page


@pytest.mark.parametrize(
    ("model", "pictures", "said"),
    [("zoo:simulated_bf", 8, "Simulated"), ("zoo:ldc", 0, "does not bring the images")],
)
def test_pictures_of_data_that_the_package_may_not_ship_are_not_shown(model, pictures, said):
    from cellzoo import zoo
    from cellzoo.runs import Run

    shown, words = doctor_page.training_examples(Run(zoo.find(model)))
    assert len(shown[0] if shown else ()) == pictures and said in words


def test_the_verb_prints_json_and_ends_with_1_where_a_file_is_broken(
    counter, tmp_path, monkeypatch
):
    monkeypatch.setattr(verb, "load", lambda *arguments: counter)
    write(tmp_path, [picture(100 + k) for k in range(4)])
    answer = CliRunner().invoke(main, ["doctor", "rings", str(tmp_path), "--json"])
    assert answer.exit_code == 0
    found = json.loads(answer.stdout)
    assert found["images"] == 4 and found["findings"] == [] and "examples" not in found
    (tmp_path / "broken.png").write_bytes(b"none")
    out = tmp_path / "page.html"
    answer = CliRunner().invoke(main, ["doctor", "rings", str(tmp_path), "-o", str(out)])
    assert answer.exit_code == 1 and "broken.png" in answer.stderr and out.is_file()
    answer = CliRunner().invoke(main, ["doctor", "rings", str(tmp_path), "-o", str(out)])
    assert answer.exit_code == 1 and "exists" in answer.stderr
