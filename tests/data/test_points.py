"""The table of cells' places, and how places move with their pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellzoo.data.points import (
    Point,
    as_array,
    inside,
    points_text,
    read_points,
    resize_points,
)
from cellzoo.errors import UserError
from cellzoo.images import resize


def read(folder, text):
    (folder / "points.csv").write_text(text, encoding="utf-8")
    return read_points(folder / "points.csv")


def test_a_row_is_a_cell_and_a_row_without_a_place_an_image_without_cells(tmp_path):
    points = read(tmp_path, "image,x,y,class\nb.png,1.5,2,alive\na.png,,,\nb.png,0,3,\n")
    assert points == {"b.png": [Point(1.5, 2, "alive"), Point(0, 3)], "a.png": []}
    assert [point.line for point in points["b.png"]] == [2, 4]


def test_other_columns_do_not_matter_and_decimal_commas_are_read(tmp_path):
    points = read(tmp_path, "x;y;radius;image\n1,5;2,25;9;a.png\n")
    assert points == {"a.png": [Point(1.5, 2.25)]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: is empty, begin the file with the line image,x,y"),
        ("image,x\na.png,1\n", "line 1: has no column y"),
        ("image,x,y,x\n", "line 1: has more than one column x"),
        ("image,x,y\na.png,1,\n", "line 2: the y '' is not a number"),
        ("image,x,y\na.png,nan,1\n", "line 2: the x 'nan' is not a number"),
        ('image,x,y\na.png,"1,234",1\n', "line 2: the x '1,234' may have a decimal or a thousands"),
        ("image,x,y\na.png,1,5,2,5\n", "line 2: has 5 values for 3 columns"),
        ("image,x,y\n,1,2\n", "line 2: names no image"),
        ("image,x,y\na.png,,\na.png,1,2\n", "line 2: says that a.png has no cell, but line 3"),
    ],
)
def test_what_is_no_table_of_places_is_refused_by_line(tmp_path, text, said):
    with pytest.raises(UserError, match=said):
        read(tmp_path, text)


@given(
    st.dictionaries(
        st.sampled_from(["a.png", "sub/b c.tif#3", "ä,1.png"]),
        st.lists(st.tuples(st.integers(-50, 99_999), st.sampled_from(["", "dead"]))),
    )
)
def test_what_is_written_is_read_again(tmp_path_factory, found):
    path = tmp_path_factory.mktemp("points") / "points.csv"
    points = {name: [Point(n / 100, 7.25, kind) for n, kind in of] for name, of in found.items()}
    path.write_text(points_text(points))
    assert read_points(path) == points


def test_writing_replaces_the_table_and_leaves_nothing_beside_it(tmp_path):
    (tmp_path / "points.csv").write_text(points_text({"a.png": [Point(1, 2)]}))
    (tmp_path / "points.csv").write_text(points_text({"a.png": [Point(3, 4)]}))
    assert (tmp_path / "points.csv").read_text() == "image,x,y\na.png,3,4\n"
    assert [path.name for path in tmp_path.iterdir()] == ["points.csv"]


def test_a_place_is_resized_with_its_pixel():
    # 4 x 8 pixels become 2 x 16: a pixel's middle is 0.5 from its corner at any scale.
    moved = resize_points(np.array([[0, 0], [7, 3], [3.5, 1.5]]), (4, 8), (2, 16))
    np.testing.assert_allclose(moved, [[0.5, -0.25], [14.5, 1.25], [7.5, 0.5]])


def test_a_resized_place_is_where_the_light_went():
    image = np.zeros((12, 20), np.float32)
    image[4:6, 10:12] = 1  # its middle is at x 10.5, y 4.5
    small = resize(image, (6, 10))
    y, x = (np.average(where, weights=small) for where in np.indices(small.shape))
    np.testing.assert_allclose(resize_points(np.array([[10.5, 4.5]]), (12, 20), (6, 10)), [[x, y]])


def test_a_place_is_inside_from_the_first_pixels_corner_to_the_last_ones():
    points = np.array([[-0.5, 0], [-0.51, 0], [7.49, 3.49], [7.5, 3], [7, 3.5]])
    np.testing.assert_array_equal(inside(points, (4, 8)), points[[0, 2]])


def test_no_points_are_an_empty_array_of_places():
    assert as_array([]).shape == (0, 2)
    assert resize_points(as_array([]), (4, 8), (2, 2)).shape == (0, 2)
