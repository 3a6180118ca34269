"""Files that a user named."""

import pytest

from cellzoo.errors import UserError
from cellzoo.files import check_new_file


def test_what_cannot_be_written_is_said_at_once(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="folder exists"):
        check_new_file(tmp_path / "folder")
    with pytest.raises(UserError, match="There is no folder .*none"):
        check_new_file(tmp_path / "none" / "counts.csv")
    check_new_file(tmp_path / "counts.csv")
    assert not (tmp_path / "counts.csv").exists()
