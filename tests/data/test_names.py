"""Names in tables and the files that they mean."""

import pytest

from cellzoo.data.names import NamedFiles


@pytest.fixture
def folder(tmp_path):
    for name in ("run1/a.png", "b.png", "c.ome.tif", "d/e.TIF", "d.npy", "Sub/f.png", "g#1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("b.png", "b.png"),
        ("./b.png", "b.png"),
        ("B.PNG", "b.png"),
        ("b", "b.png"),
        (r"run1\a.png", "run1/a.png"),
        (r"C:\data\run1\a.png", "run1/a.png"),
        (r"C:\data\run2\b.png", "b.png"),
        (r"\\\\server\share\b", "b.png"),
        ("/nowhere/run1/A.png", "run1/a.png"),
        ("c", "c.ome.tif"),
        ("C.ome", "c.ome.tif"),
        ("c#3", "c.ome.tif#3"),
        ("d/e.tif", "d/e.TIF"),
        ("D/E#0", "d/e.TIF#0"),
        ("d", "d.npy"),
        ("sub/../SUB/f.png", "Sub/../Sub/f.png"),
        ("g#1.png", "g#1.png"),
        ("run1/../b.png", "run1/../b.png"),
        ("run2/a.png", "run2/a.png"),
        ("a.png", "a.png"),
        ("", ""),
    ],
)
def test_a_name_is_spelled_as_its_file(folder, name, means):
    assert NamedFiles(folder).spelled(name) == means


def test_a_full_path_that_exists_is_taken_as_it_is(folder):
    name = (folder / "b.png").as_posix()
    assert NamedFiles(folder / "run1").spelled(name) == name


@pytest.mark.parametrize("name", ["h", "I.png"])
def test_a_name_that_may_mean_two_files_is_refused(folder, name):
    for other in ("h.png", "h.tif", "i.png", "i.PNG"):
        (folder / other).touch()
    with pytest.raises(ValueError, match="may be (h.png or h.tif|i.PNG or i.png), write"):
        NamedFiles(folder).spelled(name)


def test_of_two_cases_the_exact_one_is_meant(folder):
    (folder / "B.png").touch()
    assert NamedFiles(folder).spelled("b.png") == "b.png"
