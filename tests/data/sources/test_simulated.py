"""The simulated microscope as a source: sizes, labels, splits."""

import numpy as np
import pytest

from cellzoo.data.sources import SimulatedMicroscope
from cellzoo.errors import UsageError
from cellzoo.simulators import microscope

SIZES = {
    "train": 30, "labelled": 7, "validation": 26, "validation_labelled": 5, "test": 4,
    "test_labelled": 4,
}  # fmt: skip


def load(seed=3, **changes):
    return SimulatedMicroscope(modality="bf", **SIZES | changes).load(128, seed)[0]


@pytest.fixture(scope="module")
def simulated():
    return load()


def test_simulated_sets_have_the_sizes_and_labels_asked_for(simulated):
    for split, total, labelled in (("train", 30, 7), ("validation", 26, 5), ("test", 4, 4)):
        part = simulated.of(split)
        assert (len(part), part.labelled.sum()) == (total, labelled)
    assert simulated.images.shape == (60, 128, 128)
    assert simulated.images.dtype == simulated.counts.dtype == np.float32
    assert 0 <= simulated.images.min() and simulated.images.max() <= 1
    assert len(set(simulated.names)) == 60
    assert all(name.startswith("simulated_bf_") for name in simulated.names)


def test_simulated_splits_share_no_chamber(simulated):
    groups = [set(simulated.of(split).groups) for split in ("train", "validation", "test")]
    assert [len(group) for group in groups] == [2, 2, 1]
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]


def test_simulated_splits_share_no_image(simulated):
    assert len({image.tobytes() for image in simulated.images}) == 60


def test_simulated_sets_depend_on_the_seed_alone(simulated):
    again = load()
    other = load(seed=4)
    np.testing.assert_array_equal(again.images, simulated.images)
    np.testing.assert_array_equal(again.counts, simulated.counts)
    assert (other.images != simulated.images).any()


@pytest.mark.parametrize(
    ("key", "of"),
    [("labelled", "train"), ("validation_labelled", "validation"), ("test_labelled", "test")],
)
def test_more_labels_than_images(key, of):
    with pytest.raises(UsageError, match=f"data.natural.{key} is 31, but only .* for {of}: lower"):
        load(**{key: 31})


def test_a_set_is_simulated_once_however_often_it_is_asked_for(monkeypatch):
    section = SimulatedMicroscope(modality="bf", train=3, labelled=1)
    first, _ = section.load(128, 77, ("train",))
    kept = first.images.copy()
    first.images[:] = 0  # what one method does to its images is no other's concern
    monkeypatch.setattr(microscope, "simulate_set", None)
    np.testing.assert_array_equal(section.load(128, 77, ("train",))[0].images, kept)
    labelled = section.model_copy(update={"labelled": 3})
    assert labelled.load(128, 77, ("train",))[0].labelled.sum() == 3


def test_simulated_images_come_in_one_size():
    with pytest.raises(UsageError, match="model.image_size is 64"):
        SimulatedMicroscope(modality="bf", **SIZES).load(64, 1)
