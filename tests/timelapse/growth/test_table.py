"""Tables of counts as biologists and spreadsheets write them."""

import re

import numpy as np
import pytest

from cellzoo.errors import UserError
from cellzoo.timelapse.growth.series import read_series


def read(folder, text, encoding="utf-8", **options):
    file = folder / "c.csv"
    file.write_bytes(text.encode(encoding))
    return read_series(file, **options)


@pytest.mark.parametrize(
    "header, hours, words",
    [
        ("series,time,count", 1, None),
        ("Series,Time,Count", 1, "time from the column 'Time' in hours"),
        ("chamber,time_h,cells", 1, "series from the column 'chamber'"),
        ("Well,Time (h),Cell count", 1, "count from the column 'Cell count'"),
        ("series,hours,number of cells", 1, "time from the column 'hours' in hours"),
        ("series,time_min,count", 1 / 60, "in minutes"),
        ("series,Time [min],count", 1 / 60, "in minutes"),
        ("series,Elapsed time (days),count", 24, "in days"),
        ("series,t_s,count", 1 / 3600, "in seconds"),
    ],
)
def test_columns_of_other_names(tmp_path, header, hours, words):
    (found,), notes = read(tmp_path, f"{header}\na,0,2\na,3,4\n")
    assert (found.name, found.counts.tolist()) == ("a", [2, 4])
    np.testing.assert_allclose(found.times, [0, 3 * hours])
    assert words in notes[0] if words else notes == []


def test_without_image_and_series_the_table_is_one_series(tmp_path):
    (found,), notes = read(tmp_path, "time,count\n0,2\n1,3\n")
    assert found.name == "c" and found.counts.tolist() == [2, 3]
    assert notes == ["c.csv: one series, as there is no column series"]
    (found,), _ = read(tmp_path, "frame,count\n0,2\n3,3\n", interval=0.5)
    assert found.times.tolist() == [0, 1.5]


EUROPE = "chamber;time (h);count_raw\nµ1;0,25;2,125\nµ1;1,5;3,25\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [";", "\t"])
def test_tables_of_european_spreadsheets(tmp_path, encoding, separator):
    (found,), notes = read(tmp_path, EUROPE.replace(";", separator), encoding)
    assert (found.name, found.times.tolist()) == ("µ1", [0.25, 1.5])
    assert found.counts.tolist() == [2.125, 3.25]
    assert ("Windows-1252" in notes[0]) == (encoding == "cp1252")


def test_semicolons_have_the_comma_for_decimals(tmp_path):
    (found,), _ = read(tmp_path, "series;time;count\na;1,125;2,125\na;2,250;3,250\n")
    assert found.times.tolist() == [1.125, 2.25] and found.counts.tolist() == [2.125, 3.25]


def test_rows_without_time_or_count_are_left_out_and_said(tmp_path):
    rows = ["a,0,2", "a,,3", "a,2,", "a,3,4", "b,,1", "b,4"]
    (found,), notes = read(tmp_path, "\n".join(["series,time,count", *rows]))
    assert found.times.tolist() == [0, 3]
    assert notes == [
        "c.csv: lines 3, 6 have no time and are left out",
        "c.csv: lines 4, 7 have no count and are left out",
    ]


def test_the_count_goes_before_a_count_raw_that_a_hand_or_spreadsheet_changed(tmp_path):
    rows = "a,0,2,2134,1134,3134\na,1,3,3.2,2.5,4.1\na,2,9,4.2,3,5\n"
    header = "series,time,count,count_raw,count_low,count_high\n"
    (found,), notes = read(tmp_path, header + rows)
    assert found.counts.tolist() == [2, 3.2, 9]
    assert np.isnan(found.low).tolist() == [True, False, True]
    assert "lines 2, 4 have another count than count_raw" in notes[0]


def test_dates(tmp_path):
    rows = "2026-03-01 22:00:00,2\n2026-03-02 01:30:00,3\n"
    (found,), notes = read(tmp_path, "Date,count\n" + rows)
    assert found.times.tolist() == [0, 3.5]
    assert "time from the column 'Date' in dates" in notes[0]


@pytest.mark.parametrize(
    "header, first, step, doubted",
    [
        ("time,count", 0, 1, True),
        ("t,count", 1, 1, True),
        ("hours,count", 0, 1, False),
        ("time_min,count", 0, 1, False),
        ("time,count", 0, 0.5, False),
        ("time,count", 0, 20, False),
        ("time,count", 7, 1, False),
        ("time,count", "0.0", 1, True),
        ("time,count,model,version", 0, 1, False),
    ],
)
def test_numbers_of_frames_as_hours_are_doubted(tmp_path, header, first, step, doubted):
    form = "g" if first != "0.0" else ".1f"  # as pandas writes whole numbers beside a gap
    times = [f"{float(first) + step * k:{form}}" for k in range(6)]
    rows = [f"{time},{k + 2}" + ",a,1" * ("model" in header) for k, time in enumerate(times)]
    (found,), _ = read(tmp_path, "\n".join([header, *rows]))
    assert bool(found.doubt) == doubted
    if doubted:
        assert "--interval" in found.doubt and "hours" in found.doubt


def test_times_from_an_interval_are_not_doubted(tmp_path):
    (tmp_path / "c.csv").write_text("frame,time,image,count\n" + "".join(
        f"{k},{k},a.tif,{k + 2}\n" for k in range(6)
    ))  # fmt: skip
    (found,), _ = read_series(tmp_path / "c.csv", 1 / 3)
    assert not found.doubt and found.times[-1] == pytest.approx(5 / 3)


def test_the_seconds_that_counting_took_are_no_times(tmp_path):
    with pytest.raises(UserError, match="has no times"):
        read(tmp_path, "image,count,seconds\na_t1.png,2,0.1\na_t2.png,3,0.2\n")


@pytest.mark.parametrize(
    "text, words",
    [
        ("time,count\n0,5,3\n", "line 2: has more cells than the header"),
        ("hours,minutes,count\n0,1,2\n", "columns 'hours' and 'minutes', either of which"),
        ("time,Time,count\n0,1,2\n", "columns 'time' and 'Time', either of which"),
        ("time (ms),count\n0,1\n", "'time (ms)', whose unit is not known"),
        ("date,count\n46082.5,1\n", "'46082.5' is no date"),
        ("date,time,count\n2026-03-01,10:00:00,1\n", "dates and times of day in two columns"),
        ("time,count\n23:50:00,1\n00:10:00,2\n", "line 3: the time 00:10:00 follows 23:50:00"),
        ("time,count\n09:00:00,1\n22:00:00,2\n11:00:00,4\n", "line 4: the time 11:00:00 follows"),
        ('time,count\n1,"1,234"\n', "may have a decimal or a thousands mark"),
        ("series,time,count\na,1,2\n,2,3\n", "line 3: names no series"),
        ("time,count\n,1\n", "has no times"),
        ("", "is empty"),
    ],
)
def test_what_could_mean_two_things_is_refused(tmp_path, text, words):
    with pytest.raises(UserError, match=re.escape(words)):
        read(tmp_path, text)


def test_a_count_a_little_below_nothing_is_nothing(tmp_path):
    (found,), notes = read(tmp_path, "time,count,count_raw\n0,0,-0.8\n1,1,1.2\n")
    assert found.counts.tolist() == [0, 1.2] and "count_raw" not in str(notes)


def test_a_count_that_a_hand_emptied_is_none(tmp_path):
    (found,), notes = read(tmp_path, "time,count,count_raw\n0,,5.2\n1,4,4.1\n")
    assert found.counts.tolist() == [4.1]
    assert "line 2 has no count and is left out" in notes[-1]


def test_rows_that_go_back_in_time_are_sorted_and_said(tmp_path):
    rows = "a,0.5,2\na,2.5,4\nb,0,1\na,0.7,3\n"
    (found, _), notes = read(tmp_path, "series,time,count\n" + rows)
    assert found.counts.tolist() == [2, 3, 4]
    assert notes == [
        "c.csv: line 5 has an earlier time than the row before of the series: rows are sorted by "
        "time"
    ]


def test_hours_beyond_a_day_are_durations_in_any_order(tmp_path):
    (found,), _ = read(tmp_path, "time,count\n25:00:00,3\n09:00:00,2\n")
    assert found.times.tolist() == [9, 25]


def test_a_name_may_be_a_time_stamp_of_twenty_digits(tmp_path):
    (found,), _ = read(tmp_path, "image,count\n20260301143000123456.png,2\n", interval=1)
    assert found.name == "*.png" and found.counts.tolist() == [2]
