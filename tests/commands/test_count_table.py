"""The table that grows row by row."""

import pytest

from cellzoo.commands.count_table import CountTable
from cellzoo.errors import UserError


def test_a_row_that_a_full_disk_refused_is_not_written_later_as_well(tmp_path):
    resource = pytest.importorskip("resource")  # not on Windows
    out = tmp_path / "counts.csv"
    table = CountTable(out, ["image", "frame"], {}, live=True)
    table.write(["a.png", 0])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (out.stat().st_size + 3, limits[1]))
    try:
        with pytest.raises(UserError, match="free some space"):
            table.write(["b.png", 0])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    table.write(["b.png", 0])
    table.close()
    assert out.read_text().split() == ["image,frame", "a.png,0", "b.png,0"]
