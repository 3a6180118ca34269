"""The types of keys: durations."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellzoo.section import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7200), ("1.5m", 90), (" 3 s", 3)]
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "10", "10 min", "-1m", "0s", "infh", "nanm", "1d", "m1"])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="is not a duration such as 90s, 10m or 2h"):
        parse_duration(text)


@given(st.text(max_size=8))
def test_a_duration_is_positive_or_refused(text):
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert 0 < seconds < math.inf
