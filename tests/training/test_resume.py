"""Which run is the last one, whatever clocks do."""

import datetime
from pathlib import Path

import pytest

from cellzoo.recipe import load_recipe
from cellzoo.runs import Run
from cellzoo.training import resume
from cellzoo.training.resume import latest_unfinished, new_run_folder, oldest_first, open_run


@pytest.fixture
def clock(monkeypatch):
    """Sets the local time."""

    class Set(datetime.datetime):
        time = None

        @classmethod
        def now(cls):
            return cls.time

    def set_to(*time):
        Set.time = datetime.datetime(*time)

    monkeypatch.setattr(resume.datetime, "datetime", Set)
    return set_to


def test_a_run_comes_after_earlier_ones_in_the_hour_that_comes_twice(tmp_path, clock):
    made = []
    for hour, minute in ((2, 55), (2, 5), (2, 5), (3, 0)):  # to winter time between the first two
        clock(2026, 10, 25, hour, minute)
        made.append(new_run_folder(tmp_path / "runs"))
        made[-1].mkdir(parents=True)
    (tmp_path / "runs" / "mine").mkdir()  # is no time, and decides nothing
    names = [folder.name for folder in made]
    assert names == ["20261025-025500", "20261025-025500-2", "20261025-025500-3", "20261025-030000"]
    assert oldest_first(reversed(made)) == made


def test_many_runs_of_a_second_are_in_order(tmp_path, clock):
    clock(2026, 3, 1)
    made = []
    for _ in range(11):
        made.append(new_run_folder(tmp_path))
        made[-1].mkdir()
    assert oldest_first(sorted(made)) == made


def test_a_training_goes_on_with_the_last_run_of_that_hour(tmp_path, clock, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe("twindensity_ldc")
    for minute in (55, 5):
        clock(2026, 10, 25, 2, minute)
        last = Run.create(new_run_folder(Path("runs") / recipe.name), recipe)
    assert latest_unfinished(recipe, lambda _: True) == last.path


def test_a_training_that_goes_on_has_the_card_of_its_recipe_by_now(tmp_path):
    words = ["card.pixel_size_um=0.5", "train.epochs=3"]
    run = Run.create(tmp_path / "run", load_recipe("twindensity_ldc", words))
    run.append_history({"epoch": 1.0, "seconds": 1.0})
    run.last_state.write_bytes(b"state")
    words[0] = "card.pixel_size_um=0.65"  # as a warning of `fit` asks for
    with open_run(load_recipe("twindensity_ldc", words), run.path, False) as again:
        assert again.recipe.card.pixel_size_um == Run(run.path).recipe.card.pixel_size_um == 0.65
        assert again.recipe.train.epochs == 3
