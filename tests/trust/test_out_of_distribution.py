"""Images unlike those of the training are noticed and named; those like them are not."""

import json

import cv2
import numpy as np
import pytest

from cellzoo.trust.out_of_distribution import OutOfDistribution

SIDE = 64


def said(known, image):
    """The reasons as a flag has them."""
    return "; ".join(known.reasons(image))


def chamber(seed, ground=0.6, spot=0.3, cells=None):
    """Bright discs with a soft edge on an even ground, with noise."""
    random = np.random.default_rng(seed)
    image = np.full((SIDE, SIDE), ground, np.float32)
    for _ in range(random.integers(2, 9) if cells is None else cells):
        x, y = random.integers(6, SIDE - 6, 2).tolist()
        cv2.circle(image, (x, y), int(random.integers(3, 6)), ground + spot, -1)
    image = cv2.GaussianBlur(image, (0, 0), 0.7)
    return np.clip(image + random.normal(0, 0.01, image.shape), 0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def known():
    """Of 120 chambers in groups of four."""
    images = np.stack([chamber(k) for k in range(150)])
    return OutOfDistribution.fit(images[:120], np.arange(120) // 4, images[120:])


def test_images_of_its_own_are_not_flagged(known):
    reasons = [said(known, chamber(1000 + k)) for k in range(200)]
    assert np.mean([bool(reason) for reason in reasons]) <= 0.05, reasons


def test_an_image_of_another_size_than_the_files_of_training_is_asked_about(known):
    images = np.stack([chamber(k) for k in range(9)])
    sizes = np.array([[200, 200], [219, 225], [220, 220]] * 3)
    resized = OutOfDistribution.fit(images, np.arange(9), images[:0], sizes)
    again = OutOfDistribution.from_metadata(resized.metadata())
    for one in (resized, again):
        assert one.size_reason(220, 220) == one.size_reason(260, 170) == ""
        said = "440 x 220 px, trained on 200 x 200 to 225 x 220: are cells as large once resized?"
        assert one.size_reason(220, 440) == said
        assert one.size_reason(100, 100)
    assert known.size_reason(9, 9) == "" and "sizes" not in known.metadata()


CHANGES = {
    "darker than": lambda image: image * 0.3,
    "less fine detail": lambda image: cv2.GaussianBlur(image, (0, 0), 2.5),
    "bright and dark swapped": lambda image: 1 - image,
    "brighter than": lambda image: image * 1.05,
    "sharper or noisier": lambda image: np.clip(
        image + np.random.default_rng(9).normal(0, 0.06, image.shape), 0, 1
    ),
}


@pytest.mark.parametrize("words", CHANGES)
def test_changed_images_are_flagged_by_name(known, words):
    reasons = [said(known, CHANGES[words](chamber(2000 + k))) for k in range(40)]
    assert np.mean([words in reason for reason in reasons]) >= 0.9, reasons
    assert all(reasons)


def test_saturated_images_are_flagged_by_name():
    images = np.stack([chamber(k, ground=0.1, spot=0.5) for k in range(150)])
    dark = OutOfDistribution.fit(images[:120], np.arange(120), images[120:])
    reasons = [said(dark, np.clip(2 * chamber(k, 0.1, 0.5, 14), 0, 1)) for k in range(300, 340)]
    assert np.mean(["more white pixels" in reason for reason in reasons]) >= 0.9, reasons


def test_an_empty_frame_is_flagged_where_training_had_none_and_only_there(known):
    empty = [chamber(3000 + k, cells=0) for k in range(20)]
    reasons = [said(known, image) for image in empty]
    assert all("empty?" in reason for reason in reasons), reasons
    images = np.stack([chamber(k, cells=0 if k % 4 == 0 else None) for k in range(150)])
    used_to_it = OutOfDistribution.fit(images[:120], np.arange(120), images[120:])
    assert sum(bool(used_to_it.reasons(image)) for image in empty) <= 2


def test_what_lies_between_two_kinds_of_images_is_neither():
    """A mean and a spread over both would cover all that is between."""
    grounds = np.where(np.arange(160) % 2, 0.2, 0.65)
    images = np.stack([chamber(k, ground) for k, ground in enumerate(grounds)])
    both = OutOfDistribution.fit(images[:120], np.arange(120), images[120:])
    assert sum(bool(said(both, chamber(500 + k, grounds[k]))) for k in range(40)) <= 3
    assert all(said(both, chamber(700 + k, 0.42)) for k in range(20))


def test_frames_without_any_structure(known):
    for level in (0, 0.6, 1):
        assert said(known, np.full((SIDE, SIDE), level, np.float32))


@pytest.mark.parametrize("images", [1, 2, 7])
def test_a_few_training_images_are_enough_to_know_them_and_what_is_far_off(images):
    seen = np.stack([chamber(k) for k in range(images)])
    few = OutOfDistribution.fit(seen, np.zeros(images), seen[:0])
    assert said(few, seen[0]) == ""
    assert said(few, 1 - chamber(50, ground=0.1))


def test_what_is_written_down_is_read_again(known):
    metadata = known.metadata()
    assert json.loads(json.dumps(metadata)) == metadata and len(json.dumps(metadata)) < 30_000
    again = OutOfDistribution.from_metadata(metadata)
    assert again.metadata() == metadata
    images = [chamber(k) for k in range(20)] + [1 - chamber(1)]
    assert [said(again, i) for i in images] == [said(known, i) for i in images]


def test_metadata_of_none_of_another_version_and_of_damage(known):
    assert OutOfDistribution.from_metadata({}) is None
    assert OutOfDistribution.from_metadata(None) is None
    metadata = known.metadata()
    assert OutOfDistribution.from_metadata({**metadata, "features": ["colour"]}) is None
    earlier = [name.replace("background_", "ground_") for name in metadata["features"]]
    again = OutOfDistribution.from_metadata({**metadata, "features": earlier})
    assert again.metadata() == metadata
    for damage in ({"center": "1 2"}, {"scale": "one"}, {"prototypes": ["1 2 3"]}):
        with pytest.raises(ValueError):
            OutOfDistribution.from_metadata({**metadata, **damage})


def test_cells_that_look_larger_are_said_to_and_no_others(known):
    for times in (2.5, 3.0):
        large = [
            cv2.resize(chamber(4000 + k), None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)
            for k in range(30)
        ]
        reasons = [said(known, np.clip(image, 0, 1)) for image in large]
        told = [float(r.split("about ")[1].split()[0]) for r in reasons if "times as large" in r]
        assert len(told) >= 25, reasons
        assert np.median(told) == pytest.approx(times, rel=0.1)
    own = [said(known, chamber(5000 + k)) for k in range(200)]
    assert sum("times as large" in reason for reason in own) <= 2


def test_every_reason_is_given_the_gravest_first(known):
    both = np.clip(2.5 * cv2.GaussianBlur(chamber(3), (0, 0), 2.5), 0, 1)
    reasons = known.reasons(both)
    assert reasons[0].startswith("more white pixels") and len(set(reasons)) == len(reasons) > 1
    assert known.reasons(1 - chamber(1)) == ["bright and dark swapped against the training images"]


def test_images_have_the_same_looks_together_and_whatever_is_left_out(known, monkeypatch):
    """Of all kinds: familiar, nearly so, flagged, swapped, and with cells of another size."""
    own = [(1 + k / 2000) * chamber(k) for k in range(80)] + [1 - chamber(k) for k in range(3)]
    sides = [[round(times * SIDE)] * 2 for times in (1.1, 1.3, 1.6, 2.5)]
    kinds = [own] + [
        [cv2.resize(chamber(k), side, interpolation=cv2.INTER_CUBIC) for k in range(12)]
        for side in sides
    ]
    kinds = [np.clip(images, 0, 1) for images in kinds]
    looks = [known.looks(images) for images in kinds]
    found = np.stack([look.features for some in looks for look in some])
    distances = known.distances(found) / known.threshold
    assert np.count_nonzero((distances > 0.7) & (distances <= 1)) >= 10
    assert sum(look.times is not None for some in looks for look in some) >= 10
    alone = [[known.look(image) for image in images] for images in kinds]
    monkeypatch.setattr(
        "cellzoo.trust.out_of_distribution._may_gain",
        lambda least, own: np.ones(least.shape[1:], bool),
    )
    for others in (alone, [known.looks(images) for images in kinds]):
        for look, other in zip(sum(looks, []), sum(others, []), strict=True):
            np.testing.assert_array_equal(look.features, other.features)
            assert (look.times, look.words) == (other.times, other.words)
