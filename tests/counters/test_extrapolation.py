"""What counters know of their training counts and of missing intervals, wherever they run."""

import json
import shutil

import pytest

from cellzoo.counters.load import load_counter
from cellzoo.counters.preprocessing import no_interval_of, training_counts_of


@pytest.mark.parametrize(
    ("report", "words"),
    [
        ({"calibration": {"images": 6, "groups": 6}}, "6 of 19 labelled validation images"),
        ({"calibration": {"images": 30, "groups": 3}}, "3 of 5 groups of validation images"),
        ({}, "fewer than 19 labelled validation images or 5 groups"),
    ],
)
def test_a_run_says_why_it_promises_no_interval(tmp_path, tiny_run, report, words):
    shutil.copytree(tiny_run, tmp_path / "run")
    (tmp_path / "run" / "report").mkdir(exist_ok=True)
    report = {"interval": None, "training_counts": [1, 9], **report}
    (tmp_path / "run" / "report" / "validation.json").write_text(json.dumps(report))
    counter = load_counter(tmp_path / "run")
    assert counter.no_interval.startswith(words) and counter.training_counts == (1, 9)


def test_the_zoos_counters_know_their_training_counts():
    counter = load_counter("zoo:simulated_bf")
    assert counter.training_counts == (1, 30) and counter.no_interval == ""


def test_an_export_says_it_too():
    assert training_counts_of({"training_counts": [1, 9]}) == (1, 9)
    assert training_counts_of({}) is None  # of an earlier version
    assert no_interval_of({"interval": {"constant": 1}}) == ""
    assert no_interval_of({"no_interval": "its training is not finished"}).startswith("its ")
    assert "too few" in no_interval_of({"interval": None})
