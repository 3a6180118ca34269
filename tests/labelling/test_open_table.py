import pytest

from cellzoo.errors import UserError
from cellzoo.labelling.open_table import OpenTable, write_through


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8", "image,count,note\na.png,1,mine\n"),
        ("utf-8-sig", 'image;count;note\r\na.png;1;"x;y"\r\n'),
        ("utf-16", "sep=;\nimage;count;note\na.png;1;ä\n"),
    ],
)
def test_a_table_is_written_as_it_was(tmp_path, encoding, text):
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode(encoding))
    table = OpenTable(path, ["image", "count"])
    table.write()
    assert path.read_bytes() == text.encode(encoding)


def test_a_column_is_added_only_for_a_value(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("image,count\na.png,1\nb.png,2\n")
    table = OpenTable(path, ["image", "count"])
    table.set(0, {"split": ""})
    assert table.header == ["image", "count"]
    table.set(1, {"split": "test", "count": "3"})
    table.write()
    assert path.read_text() == "image,count,split\na.png,1,\nb.png,3,test\n"


def test_what_excel_left_out_at_the_end_is_filled_in(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("image,count,note\na.png\n")
    table = OpenTable(path, ["image", "count"])
    table.set(0, {"count": "4"})
    table.write()
    assert path.read_text() == "image,count,note\na.png,4,\n"


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    with pytest.raises(UserError, match="labels.csv cannot be written"):
        write_through(tmp_path / "missing" / "labels.csv", b"")
