"""Copies of images are found however they are turned, stored or named."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from cellzoo.data.copies import LENGTH, Copy, copies, fingerprints

SHARED = Path(__file__).parents[3] / "shared" / "data"


def scene(seed, size=(96, 120), cells=9):
    """Soft discs and noise, uint8."""
    random = np.random.default_rng(seed)
    image = np.full(size, 120.0)
    rows, columns = np.mgrid[: size[0], : size[1]]
    for _ in range(cells):
        y, x = random.uniform(8, np.array(size) - 8)
        image += random.uniform(30, 80) * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 40)
    return np.clip(image + random.normal(0, 2, size), 0, 255).astype(np.uint8)


TURNED = {
    "the same": lambda image: image,
    "left to right": lambda image: image[:, ::-1],
    "upside down": lambda image: image[::-1],
    "half a turn": lambda image: image[::-1, ::-1],
    "transposed": lambda image: image.T,
    "a quarter": lambda image: np.rot90(image),
    "three quarters": lambda image: np.rot90(image, 3),
    "the other diagonal": lambda image: image[::-1, ::-1].T,
}
STORED = {
    "as it is": lambda image: image,
    "16 bits": lambda image: image.astype(np.uint16) * 257,
    "12 bits": lambda image: (image.astype(float) / 255 * 4095).astype(np.uint16),
    "darker, less contrast": lambda image: (0.4 * image + 20).astype(np.uint8),
    "gamma": lambda image: (255 * (image / 255) ** 0.7).astype(np.uint8),
    "smaller": lambda image: cv2.resize(image, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA),
    "larger": lambda image: cv2.resize(image, None, fx=1.5, fy=1.5),
    "JPEG": lambda image: cv2.imdecode(
        cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1], cv2.IMREAD_UNCHANGED
    ),
}


@pytest.mark.parametrize("turn", TURNED.values(), ids=TURNED)
@pytest.mark.parametrize("store", STORED.values(), ids=STORED)
def test_a_copy_is_found(turn, store):
    originals = [scene(seed) for seed in range(12)]
    copy = store(np.ascontiguousarray(turn(originals[7])))
    prints = fingerprints(originals), fingerprints([scene(99), copy])
    assert copies(*prints) == [Copy(7, 1)]
    assert copies(*prints, originals, [scene(99), copy]) == [Copy(7, 1)]


def test_others_are_none():
    prints = fingerprints([scene(seed) for seed in range(60)])
    assert copies(prints[:30], prints[30:]) == []


def test_images_that_show_nothing_are_no_copies():
    flat = [np.full((40, 40), grey, np.uint8) for grey in (0, 90)]
    prints = fingerprints(flat)
    assert prints.shape == (2, LENGTH) and prints.dtype == np.int8 and not prints.any()
    assert copies(prints, prints) == []


def test_each_image_is_named_once_with_the_copy_most_like_it():
    image = scene(3)
    noisy = np.clip(image + np.random.default_rng(0).normal(0, 8, image.shape), 0, 255)
    assert copies(fingerprints([noisy, image]), fingerprints([image])) == [Copy(1, 0)]


def test_many_are_compared_in_parts(monkeypatch):
    monkeypatch.setattr("cellzoo.data.copies._AT_A_TIME", 3)
    prints = fingerprints([scene(seed) for seed in range(8)])
    assert copies(prints, prints[::-1]) == [Copy(7 - k, k) for k in range(8)]


def test_of_many_images_that_are_alike_the_most_alike_are_compared(monkeypatch):
    """As in a time-lapse of one place that nobody grouped."""
    monkeypatch.setattr("cellzoo.data.copies._CANDIDATES", 2)
    random, place = np.random.default_rng(2), scene(6, cells=3)
    images = [np.clip(place + random.normal(0, 8, place.shape), 0, 255) for _ in range(9)]
    prints = fingerprints(images)
    assert copies(prints, prints[::-1], images, images[::-1]) == [Copy(8 - k, k) for k in range(9)]


def test_the_same_dust_is_no_copy_where_details_are_compared():
    """Two exposures of one empty place: the dust is the same, the noise is not."""
    dust = scene(5, cells=3).astype(float)
    random = np.random.default_rng(1)
    first, second = (cv2.GaussianBlur(dust, (0, 0), 3) + random.normal(0, 2, dust.shape)
                     for _ in range(2))  # fmt: skip
    prints = fingerprints([first]), fingerprints([second])
    assert copies(*prints) == [Copy(0, 0)]
    assert copies(*prints, [first], [second]) == []


def test_the_copies_of_a_real_set_are_those_of_its_groups():
    table = SHARED / "ldc" / "labels.csv"
    if not table.is_file():
        pytest.skip("no ldc in ../shared/data beside the checkout")
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    images = [cv2.imread(str(table.parent / row["image"]), cv2.IMREAD_GRAYSCALE) for row in rows]
    groups = [row["group"] for row in rows]
    prints = fingerprints(images)
    half = len(rows) // 2
    found = copies(prints[:half], prints[half:], images[:half], images[half:])
    shared = set(groups[:half]) & set(groups[half:])
    assert len(found) > 0.8 * sum(group in shared for group in groups[half:])
    assert all(groups[pair.first] == groups[half + pair.second] for pair in found)
