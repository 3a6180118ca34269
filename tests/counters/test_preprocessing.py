"""What a counter takes, and what it flags, before anything is counted."""

import numpy as np
import pytest

from cellzoo.counters.base import Counter
from cellzoo.counters.preprocessing import Preprocessing
from cellzoo.trust.out_of_distribution import OutOfDistribution


class Flagging(Counter):
    """A counter that knows its training images and counts none."""

    name, version = "flagging", "1"

    def __init__(self, out_of_distribution, any_size=False, **preprocessing):
        self.preprocessing = Preprocessing((64, 64), **preprocessing)
        self.out_of_distribution, self.any_size = out_of_distribution, any_size

    def _prepare(self, frame, scaled):
        return self.preprocessing.unit(frame, scaled) if self.any_size else frame.pixels

    def _count(self, images, domain):
        return tuple(np.zeros((3, len(images)), np.float32))


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(2).random((60, 64, 64), np.float32)


@pytest.fixture(scope="module")
def known(noise):
    sizes = np.tile([256, 256], (60, 1))
    return OutOfDistribution.fit(noise, np.arange(60), noise[:0], sizes)


def test_larger_images_with_cells_of_the_same_size_are_looked_at_as_they_are(known):
    large = np.random.default_rng(3).random((3, 160, 192), np.float32)
    tiled, resizing = Flagging(known, any_size=True), Flagging(known, resize=True)
    assert tiled.count(large, scaled=True).flags == [""] * 3
    assert all(resizing.count(large, scaled=True).flags)  # shrunk, noise is smoother


def test_raw_images_are_flagged_by_what_they_show(noise, known):
    levels = (255 * noise[:5]).astype(np.uint8)
    assert Flagging(known).count(levels).flags == [""] * 5
    assert all(Flagging(known).count(255 - levels // 9).flags)
    assert Flagging(None).count(255 - levels // 9).flags == [""] * 5
    assert not Flagging(None).can_flag


def test_an_image_of_the_networks_size_is_no_shrunk_one(noise, known):
    """Trained on files of 256 px that were shrunk to 64 px."""
    levels = (255 * noise[:2]).astype(np.uint8)
    for counter in (Flagging(known, resize=True), Flagging(known, any_size=True, resize=True)):
        assert all("64 x 64 px, trained on 256 x 256" in f for f in counter.count(levels).flags)
        # Whoever scaled them may have shrunk them, and may say so.
        assert counter.count(noise[:2], scaled=True).flags == ["", ""]
        own = np.array([[256, 256], [64, 64]])
        flags = counter.count(noise[:2], scaled=True, sizes=own).flags
        assert flags[0] == "" and "trained on 256 x 256" in flags[1]


def test_a_flag_holds_every_reason(noise, known):
    frames = np.stack([(full * noise[0]).astype(np.uint16) for full in (65535, 4095)])
    own, dark = Flagging(known, resize=True).count(frames).flags
    bits, size = dark.split("; ")
    assert "lower 12 of 16 bits" in bits and size == own and "trained on 256 x 256" in own
    (flag,) = Flagging(known, resize=True).count(255 - frames[:1] // 2570).flags
    *others, size = flag.split("; ")
    assert size == own and len(others) > 1 and len(set(others)) == len(others)


def test_a_flag_says_where_a_camera_left_bits_empty(noise, known):
    frames = np.stack([(full * noise[0]).astype(np.uint16) for full in (65535, 4095, 255, 0)])
    flags = Flagging(known).count(frames).flags
    assert flags[:3] == [
        "", *(f"uses only the lower {n} of 16 bits: scale it to the whole range" for n in (12, 8))
    ]  # fmt: skip
    assert flags[3] and "bits" not in flags[3]
    # Images that are counted in tiles come scaled.
    assert Flagging(known, any_size=True).count(frames).flags[:2] == [
        "", "uses only the lowest sixteenth of the grey levels: scale it to the whole range"
    ]  # fmt: skip
    # Where the recipe says what is black and white, such frames may be as they were in training.
    assert Flagging(known, intensity=(0, 4095)).count(frames[1:2]).flags == [""]


def test_metadata_of_earlier_versions_is_read():
    later = Preprocessing((136, 184), True, (10, 300), "TYX", 1, (520, 696))
    earlier = {
        "size": [136, 184], "resize": True, "intensity": [10, 300], "axes": "TYX", "channel": 1,
        "resize_from": [520, 696],
    }  # fmt: skip
    assert Preprocessing.from_metadata({"intake": earlier}) == later
