"""Synthetic fluorescent cells: what a training is fed, and what a recipe may say of them."""

import numpy as np
import pytest

from cellzoo.commands.synth import match_recipe, synth
from cellzoo.data.synthetic import SyntheticImages
from cellzoo.data.synthetic_fluorescence import FluorescentCells, SyntheticFluorescence
from cellzoo.errors import UsageError
from cellzoo.recipe import load_recipe

CELLS = {"preset": "fluorescence", "radius": (3.0, 4.0), "count_range": (0, 30)}


def drawn(size=(64, 80), **changes):
    return FluorescentCells(SyntheticFluorescence(**CELLS | changes), size)


def test_images_have_the_cells_that_they_say():
    images, counts, masks = drawn().render(20, 1, masks=True)
    assert (images.shape, images.dtype, masks.dtype) == ((20, 64, 80), np.float32, np.uint16)
    assert (images.min(), images.max() > 0.4, images.max() <= 1) == (0, True, True)
    assert [len(np.unique(mask)) - 1 for mask in masks] == counts.tolist()
    assert counts.min() < 10 < 20 < counts.max() <= 30


def test_images_depend_on_the_seed_and_their_number_alone():
    cells = drawn()
    many, few, other = cells.render(5, (1, 2)), cells.render(3, (1, 2)), cells.render(5, (1, 3))
    np.testing.assert_array_equal(many[0][:3], few[0])
    assert not np.array_equal(many[0], other[0])
    assert not np.array_equal(cells.render(1, (5,))[0], cells.render(1, (5, 0))[0])


@pytest.mark.parametrize("fresh", [False, True])
def test_a_training_gets_a_fixed_set_or_new_ones(fresh):
    images = SyntheticImages(drawn(), 6, fresh, seed=1)
    first, again = (images.batch(step, np.arange(2))[0] for step in (0, 1))
    assert np.array_equal(first, again) != fresh


def test_more_cells_than_fit_are_refused():
    with pytest.raises(UsageError, match=r"synthetic.count_range says 65 cells in an image of 32"):
        drawn((32, 32), count_range=(1, 65))


def recipe(*settings):
    return load_recipe("twindensity_bf", settings)


def test_another_kind_of_cells_takes_nothing_from_the_recipe():
    section = recipe("data.synthetic.preset=fluorescence", "data.synthetic.blur=[1, 2]")
    assert section.data.synthetic == SyntheticFluorescence(preset="fluorescence", blur=(1.0, 2.0))
    assert recipe("data.synthetic.preset=pc").data.synthetic.radius == (5.5, 8.0)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("data.synthetic.preset=fluor", "preset is fluor; did you mean fluorescence?"),
        ("data.synthetic={radus: [1, 2], preset: fluorescence}", "synthetic.radus; did you mean r"),
        ("data.synthetic={preset: fluorescence, blur: 3}", "data.synthetic.blur is 3, but input"),
    ],
)
def test_what_is_wrong_is_said(setting, sentence):
    with pytest.raises(UsageError, match=sentence.replace("?", r"\?")):
        recipe(setting)


def test_synth_draws_them_and_does_not_match_them(tmp_path):
    chosen = recipe("data.synthetic={preset: fluorescence, radius: [3, 4], count_range: [2, 5]}")
    synth(chosen, tmp_path / "cells", 3, preview=False, natural=False)
    rows = (tmp_path / "cells" / "labels.csv").read_text().splitlines()[1:]
    assert all(2 <= int(row.split(",")[1]) <= 5 for row in rows)
    with pytest.raises(UsageError, match="preset fluorescence, whose settings --match does not"):
        match_recipe(chosen, tmp_path / "matched.yaml")
