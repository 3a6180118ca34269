import json

import numpy as np
import pytest
from spreadsheet import save_again

from cellzoo.errors import UserError
from cellzoo.labelling.predictions import peaks, read_counts

COUNTS = (
    "image,frame,count,count_raw,count_low,count_high,model,version,series\n"
    "a.tif,0,3,3.250,2.500,,zoo:ldc,1,a.tif 01\n"
    "a.tif,1,4,4.000,3.125,5.500,zoo:ldc,1,a.tif 01\n"
)


def test_as_many_places_as_a_density_has_cells():
    density = np.zeros((16, 16), np.float32)
    density[3, 4] = density[10, 12] = 1.0
    density[10, 11] = 1.0  # two cells side by side
    density[0, 15] = 0.3  # less than half a cell
    found = peaks(density, (128, 128))
    assert len(found) == 3
    assert min(np.hypot(x - 35.5, y - 27.5) for x, y in found) < 1


def test_a_cell_over_several_grid_cells_has_its_place_between_them():
    density = np.zeros((8, 8), np.float32)
    density[2:4, 2:4] = 0.25
    assert peaks(density, (64, 64)) == [(23.5, 23.5)]


def test_an_empty_density_has_none():
    assert peaks(np.zeros((8, 8), np.float32), (64, 64)) == []


def test_a_table_that_a_spreadsheet_saved_is_the_same_table(tmp_path):
    (tmp_path / "counts.csv").write_text(COUNTS)
    rows = read_counts(tmp_path / "counts.csv")
    assert [row["count_raw"] for row in rows] == ["3.250", "4.000"]
    assert read_counts(save_again(tmp_path / "counts.csv")) == rows


def test_counts_of_chambers_are_no_counts_of_frames(tmp_path):
    table = tmp_path / "counts.csv"
    table.write_text(COUNTS + "a.tif,1,9,9.000,8.000,10.000,zoo:ldc,1,a.tif 02\n")
    with pytest.raises(UserError, match=r"2 counts of a\.tif, frame 1, .*cellzoo chambers"):
        read_counts(table)
    table.write_text(COUNTS)
    about = tmp_path / ".counts.options.json"
    about.write_text(json.dumps({"model": "zoo:ldc"}))
    assert len(read_counts(table)) == 2
    about.write_text(json.dumps({"model": "zoo:ldc", "chambers": "1f"}))  # one in each field
    with pytest.raises(UserError, match="has counts of chambers, .*cellzoo chambers"):
        read_counts(table)
