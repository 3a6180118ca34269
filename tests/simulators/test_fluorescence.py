"""Simulated fluorescence: what is counted is what is drawn, and nothing else decides it."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellzoo.commands.synth import synth
from cellzoo.data.folder import load_folder
from cellzoo.data.image_set import SPLITS
from cellzoo.data.sources import SimulatedFluorescence
from cellzoo.errors import UsageError
from cellzoo.recipe import load_recipe
from cellzoo.simulators.fluorescence import STAINS, Fluorescence

SMALL = {"radius": (3.0, 5.0), "train": 5, "validation": 3, "test": 4, "count_range": (0, 9)}


@st.composite
def scenes(draw):
    """Settings, size and count of an image, from empty to crowded."""
    low = draw(st.floats(2, 12))
    simulator = Fluorescence(
        stains=draw(st.sampled_from([[1], [2], [1, 2]])),
        radius=(low, low + draw(st.floats(0, 6))),
        irregularity=draw(st.floats(0, 0.6)),
        clustering=draw(st.floats(0, 1)),
        overlap=draw(st.floats(0, 1)),
        texture=draw(st.floats(0, 1)),
        covering=draw(st.sampled_from(["brighter", "upper"])),
        blur=(0.0, draw(st.floats(0, 4))),
    )
    size = draw(st.tuples(st.integers(16, 60), st.integers(16, 60)))
    count = draw(st.integers(0, size[0] * size[1] // 16))
    return simulator, size, count


@settings(max_examples=60)
@given(scene=scenes(), seed=st.integers(0, 99))
def test_the_count_is_the_number_of_instances(scene, seed):
    simulator, size, count = scene
    image, mask = simulator.draw(size, count, (seed,))
    assert (image.shape, image.dtype, mask.shape, mask.dtype) == (size, np.uint8, size, np.uint16)
    assert set(np.unique(mask)) - {0} == set(range(1, count + 1))


@settings(max_examples=20)
@given(scene=scenes(), seed=st.integers(0, 99))
def test_an_image_depends_on_settings_and_seed_alone(scene, seed):
    simulator, size, count = scene
    for first, again in zip(*(simulator.draw(size, count, (seed,)) for _ in range(2)), strict=True):
        np.testing.assert_array_equal(first, again)


@settings(max_examples=20)
@given(blur=st.floats(0, 6), noise=st.floats(0, 30), seed=st.integers(0, 99))
def test_blur_and_noise_leave_the_mask(blur, noise, seed):
    # One width of blur draws as many random numbers as another.
    sharp = Fluorescence(blur=(0, 0), read_noise=0).draw((90, 80), 4, (seed,))
    blurred = Fluorescence(blur=(blur, blur), read_noise=noise).draw((90, 80), 4, (seed,))
    np.testing.assert_array_equal(blurred[1], sharp[1])


def test_blur_makes_edges_soft():
    slopes = []
    for blur in (0.5, 2, 6):
        image, _ = Fluorescence(blur=(blur, blur), read_noise=0).draw((90, 80), 2, (1,))
        slopes.append(np.abs(np.diff(image.astype(float), axis=1)).max())
    assert slopes[0] > 2 * slopes[1] > 4 * slopes[2]


def test_cells_are_bright_and_the_ground_is_dark():
    image, mask = Fluorescence(blur=(0, 0)).draw((200, 200), 12, (4,))
    low, high = STAINS[1].brightness
    assert low < image[mask > 0].mean() < high
    assert image[cv2.dilate((mask > 0).astype(np.uint8), np.ones((5, 5))) == 0].max() < 15


def test_a_cell_is_as_large_as_its_disc():
    simulator = Fluorescence(radius=(20, 20), clustering=0, overlap=0)
    areas = [(simulator.draw((400, 400), 1, (seed,))[1] > 0).sum() for seed in range(40)]
    # Cells that the border cuts are smaller.
    assert np.median(areas) == pytest.approx(np.pi * 20**2, rel=0.05)


def test_without_overlap_no_cell_hides_another():
    simulator = Fluorescence(radius=(7, 7), irregularity=0, clustering=0.5, overlap=0)
    for seed in range(5):
        _, mask = simulator.draw((300, 300), 25, (seed,))
        cut = np.unique(np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]))
        areas = np.bincount(mask.ravel(), minlength=26)
        whole = [areas[k] for k in range(1, 26) if k not in cut]
        assert min(whole) > 0.85 * np.pi * 7**2


def test_clusters_have_fewer_parts():
    def parts(clustering):
        simulator = Fluorescence(radius=(6, 7), clustering=clustering, overlap=0.2)
        masks = [simulator.draw((300, 300), 25, (seed,))[1] for seed in range(6)]
        return np.mean(
            [cv2.connectedComponents((mask > 0).astype(np.uint8))[0] - 1 for mask in masks]
        )

    assert parts(0) > 20 > 12 > parts(0.9)


def test_a_thousand_cells_overlap():
    _, mask = Fluorescence().draw((520, 696), 1000, (1,))
    assert len(np.unique(mask[mask > 0])) == 1000
    assert (mask > 0).mean() > 0.95


def test_more_cells_than_pixels_allow():
    with pytest.raises(UsageError, match="65 cells in an image of 32 x 32 px, where 64 find room"):
        Fluorescence().draw((32, 32), 65, (1,))


def test_light_of_upper_cells_adds_up_but_hidden_parts_have_none():
    even = {"irregularity": 0.0, "texture": 0.0, "brightness": (150, 150), "read_noise": 0}
    even |= {"background": 0.0, "photons": 1e9, "offset": 0, "radius": (8.0, 8.0)}

    def light(covering, blur, count):
        cells = Fluorescence(covering=covering, blur=(blur, blur), **even)
        return np.float32(cells.draw((64, 64), count, (3,))[0])

    # Sharp, of one brightness: the union, whichever shows.
    np.testing.assert_allclose(light("upper", 0, 60), light("brighter", 0, 60), atol=1)
    # Blurred, the light between cells is that of both.
    assert light("upper", 3, 20).sum() > 1.05 * light("brighter", 3, 20).sum()
    assert light("upper", 3, 60).max() <= 151


# Sets


def draw_set(seed=2, splits=SPLITS, **changes):
    return SimulatedFluorescence(**SMALL | changes).read((40, 64), seed, splits)[0]


def test_sets_have_sizes_counts_and_masks_as_asked():
    images = draw_set(test_count_range=(20, 30))
    assert images.images.shape == images.masks.shape == (12, 40, 64)
    assert images.images.dtype == np.float32 and images.has_mask.all()
    assert [int((images.splits == s).sum()) for s in ("train", "validation", "test")] == [5, 3, 4]
    assert images.of("train").counts.max() <= 9 < 20 <= images.of("test").counts.min()
    np.testing.assert_array_equal(images.counts, images.masks.max(axis=(1, 2)))
    assert len(set(images.groups)) == len(set(images.names)) == 12


def test_a_split_does_not_depend_on_the_others():
    whole, alone = draw_set(), draw_set(splits=["validation"], train=1)
    np.testing.assert_array_equal(whole.of("validation").images, alone.images)
    assert (draw_set(seed=3).images != whole.images).any()


def test_from_a_recipe_section():
    section = SimulatedFluorescence(**SMALL, stains=[1, 2])
    images, skipped = section.load(48, 2, ("train", "validation"))
    assert images.images.shape == (8, 48, 48) and skipped == []


RECIPE = """\
name: cells
data:
  natural: {source: simulated_fluorescence, radius: [3, 5], count_range: [2, 9]}
model: {name: twinvae_spatial, image_size: 48}
"""


def test_synth_writes_images_that_the_folder_source_reads_back(tmp_path):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    recipe = load_recipe(tmp_path / "recipe.yaml")
    synth(recipe, tmp_path / "cells", 6, False, True)
    images, skipped = load_folder(tmp_path / "cells", 48)
    assert skipped == [] and len(images) == 6
    assert images.has_mask.all() and images.masks.dtype == np.uint16
    np.testing.assert_array_equal(images.counts, images.masks.max(axis=(1, 2)))
    train = recipe.data.natural.load(48, recipe.seed)[0].of("train")
    assert not {i.tobytes() for i in train.images} & {i.tobytes() for i in images.images}
