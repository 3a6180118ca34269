"""Pictures that a network makes of images, counted again."""

from types import SimpleNamespace

import numpy as np
import pytest

from cellzoo.evaluation import translations
from cellzoo.evaluation.translations import counted_again


class Darkener:
    """Counts the brightness of an image; its pictures lose a cell, or two as another domain."""

    can_reconstruct = True

    def __init__(self):
        self.counted = []

    def translations(self, images, domain):
        other = {"natural": "synthetic", "synthetic": "natural"}[domain]
        return {
            domain: images,
            f"{domain}_reconstruction": images - 1,
            f"{domain}_to_{other}": images - 2,
        }

    def count(self, images, scaled, domain, flags):
        self.counted.append((domain, len(images)))
        return SimpleNamespace(raw=images.mean(axis=(1, 2)) + (domain == "synthetic"))


def pictures(*levels):
    return np.float32(levels)[:, None, None] * np.ones((1, 4, 4), np.float32)


def test_each_picture_is_counted_by_the_half_it_is_for(monkeypatch):
    monkeypatch.setattr(translations, "MOST_IMAGES", 2)
    counter = Darkener()
    findings = SimpleNamespace(
        counter=counter,
        images=SimpleNamespace(images=pictures(3, 5, 7)),
        synthetic=SimpleNamespace(images=pictures(4)),
    )
    found = counted_again(findings)
    assert {name: scores["bias_raw"] for name, scores in found.items()} == pytest.approx(
        {
            "natural_reconstruction": -1,
            "natural_to_synthetic": -1,  # two less, and one more as the synthetic half counts
            "synthetic_reconstruction": -1,
            "synthetic_to_natural": -3,
        }
    )
    assert found["synthetic_to_natural"]["mae_raw"] == pytest.approx(3)
    assert counter.counted == [
        ("natural", 2), ("natural", 2), ("synthetic", 2),
        ("synthetic", 1), ("synthetic", 1), ("natural", 1),
    ]  # fmt: skip


def test_a_network_without_decoders_has_no_pictures():
    assert counted_again(SimpleNamespace(counter=SimpleNamespace(can_reconstruct=False))) == {}
