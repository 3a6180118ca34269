"""What is drawn and simulated stays what it is for the same seed, bit for bit.

``pixels.json`` has the settings of synthetic cells that the recipes had when it was written. Of
each drawing it has a digest and a few pixels, and it names the processor that made them. On the
same kind of processor the digest has to be the same. Another one may round sums otherwise: there
the pixels agree to 1e-5.

    python tests/test_pixels.py     # writes pixels.json anew
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from processor import processor

from cellzoo.data.image_set import ImageSet
from cellzoo.recipe import load_recipe
from cellzoo.simulators import microscope
from cellzoo.simulators.fluorescence import Fluorescence

FILE = Path(__file__).with_name("pixels.json")
BASE = Path(__file__).parents[1] / "recipes" / "twinvae_bf.yaml"


def training_images():
    """Uneven grounds of three chambers with a square on each, made of whole numbers alone."""
    random = np.random.default_rng(5)
    ground = 150 + np.arange(128) // 16 + np.arange(128)[:, None] // 32
    images = np.tile(ground, (36, 1, 1)) + random.integers(-2, 3, (36, 128, 128))
    for image, (y, x) in zip(images, random.integers(8, 110, (36, 2)), strict=True):
        image[y : y + 9, x : x + 9] -= 60
    groups = np.array([f"chamber {k // 12}" for k in range(36)])
    counts = np.array([1, 2, 5] * 12, np.float32)
    names = np.array([str(k) for k in range(36)])
    images = (images / 255).astype(np.float32)
    return ImageSet(images, counts, groups, names, np.full(36, "train"))


def drawings(kept):
    """Yields the name of each drawing and its arrays."""
    natural = training_images()
    for name, settings in kept["cells"].items():
        recipe = load_recipe(BASE, [f"data.synthetic={json.dumps(settings)}"], paper=True)
        yield name, recipe.data.cells(128, natural).render(2, (1, 0), masks=True)
    for modality in ("bf", "pc"):
        made = microscope.simulate_set(modality, 3, (4, 0), prefix="pixels", frames_per_chamber=3)
        yield f"microscope {modality}", (made.images, made.counts, made.hours)
    for stain in (1, 2):
        yield f"fluorescence {stain}", Fluorescence(stains=(stain,)).draw((130, 174), 12, (3, 1))


def described(arrays):
    digest = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        digest.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    pixels = np.asarray(arrays[0]).ravel()
    some = pixels[np.linspace(0, len(pixels) - 1, 40).astype(int)]
    return {"sha256": digest.hexdigest(), "pixels": [round(float(pixel), 6) for pixel in some]}


@pytest.fixture(scope="module")
def kept():
    return json.loads(FILE.read_text())


@pytest.fixture(scope="module")
def drawn(kept):
    return {name: described(arrays) for name, arrays in drawings(kept)}


def test_every_drawing_is_kept(drawn, kept):
    assert set(drawn) == set(kept["drawings"])


def test_drawings_are_those_of_before(drawn, kept):
    same = kept["processor"] == processor()
    for name, before in kept["drawings"].items():
        atol = 1 if "microscope" in name or "fluorescence" in name else 1e-5  # 8 bits
        np.testing.assert_allclose(drawn[name]["pixels"], before["pixels"], atol=atol, err_msg=name)
        if same:
            assert drawn[name]["sha256"] == before["sha256"], name


if __name__ == "__main__":
    content = json.loads(FILE.read_text())
    content |= {"python": sys.version.split()[0], "processor": processor()}
    content["drawings"] = {name: described(arrays) for name, arrays in drawings(content)}
    FILE.write_text(json.dumps(content, indent=1) + "\n")
