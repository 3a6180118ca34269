"""Tables as programs and countries write them."""

import pytest

from cellzoo.data.table import read_table
from cellzoo.errors import UserError

ROWS = [
    (2, {"image": "Zellen ä.png", "x": "1.5", "flag": "dark, small"}),
    (3, {"image": "b,c.png", "x": "-12.345", "flag": ""}),
]


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8", 'image,x,flag\nZellen ä.png,1.5,"dark, small"\n"b,c.png",-12.345,\n'),
        ("cp1252", "image;x;flag\r\nZellen ä.png;1,5;dark, small\r\nb,c.png;-12,345\r\n"),
        ("utf-16", "image\tx\tflag\nZellen ä.png\t1,5\tdark, small\nb,c.png\t-12,345\t\n"),
        ("utf-8-sig", "image;x;flag\nZellen ä.png;1.5;dark, small\nb,c.png;-12.345;\n"),
    ],
)
def test_a_table_is_read_alike_however_it_was_saved(tmp_path, encoding, text):
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    assert read_table(tmp_path / "a.csv", numbers=["x", "y"]) == (["image", "x", "flag"], ROWS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image\tx\na.png\t12,345\n", "line 2: the x '12,345' may have a decimal or a thousands"),
        ("image,x\na.png,1,5\n", "line 2: has more cells than the header"),
    ],
)
def test_a_number_that_may_be_two_is_refused(tmp_path, text, words):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        read_table(tmp_path / "a.csv", numbers=["x"])


def test_an_empty_file_has_no_columns(tmp_path):
    (tmp_path / "a.csv").touch()
    assert read_table(tmp_path / "a.csv") == ([], [])
