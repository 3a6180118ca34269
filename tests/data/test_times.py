"""Times as tables have them."""

from pathlib import Path

import numpy as np
import pytest

from cellzoo.data.times import read_times
from cellzoo.errors import UserError


def read(*texts):
    return read_times(Path("labels.csv"), list(enumerate(texts, start=2)))


@pytest.mark.parametrize(
    ("texts", "times"),
    [
        (["0", "2.5", "1e1", "-3"], [0, 2.5, 10, -3]),
        (["0,5", "1,250"], [0.5, 1.25]),
        (["00:05:00", "30:00:36", "1 days 00:30:00"], [1 / 12, 30.01, 24.5]),
        (["5 min", "90s", "2 h", "1,5 d"], [1 / 12, 0.025, 2, 36]),
        (["2026-03-01 14:30:00", "2026-03-02T14:30", "2026-03-01"], [14.5, 38.5, 0]),
        (["01.03.2026 14:30", "1.3.2026 15:00:00"], [0, 0.5]),
        (["2026-03-01T14:30:00Z", "2026-03-01T16:30:00+01:00"], [0, 1]),
    ],
)
def test_times_in_other_notations(texts, times):
    np.testing.assert_allclose(read(*texts), times)


def test_an_empty_time_is_unknown():
    np.testing.assert_array_equal(read("", "1.5", ""), [np.nan, 1.5, np.nan])


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (["noon"], "line 2: the time 'noon' is not understood, write a number"),
        (["1", "nan"], "line 3: the time 'nan' is not understood"),
        (["1e999"], "'1e999' is not understood"),
        (["05:00"], "'05:00' may mean two things"),
        (["03/01/2026 10:00"], "may mean two things"),
        (["00:99:00"], "is not understood"),
        (["30.02.2026"], "is not understood"),
        (["1,250"], "'1,250' may have a decimal or a thousands mark"),
        (["1", "00:05:00"], "line 3: the time '00:05:00' is written otherwise than '1' in line 2"),
        (["2026-03-01", "5"], "line 3: the time '5' is written otherwise"),
        (["2026-03-01T14:30Z", "2026-03-01"], "with and without a time zone"),
    ],
)
def test_times_that_are_refused(texts, sentence):
    with pytest.raises(UserError) as error:
        read(*texts)
    assert sentence in str(error.value) and "\n" not in str(error.value)
