"""The Twin-VAE authors' label files: no header, 0 means unlabelled."""

import os

import cv2
import numpy as np
import pytest

from cellzoo.data.folder import load_folder
from cellzoo.errors import UserError
from cellzoo.labelling.importers import import_twinvae_csv


@pytest.fixture
def folder(tmp_path):
    for k in (1, 2, 10):
        cv2.imwrite(str(tmp_path / f"t{k}.png"), np.full((8, 8), k, np.uint8))
    return tmp_path


def imported(folder, text, out="labels.csv"):
    (folder / "train.csv").write_text(text)
    n = import_twinvae_csv(folder / "train.csv", folder / out)
    return n, (folder / out).read_text()


def test_two_columns(folder):
    n, text = imported(folder, "t10.png,7\nt2.png,0\nt1.png,12.0\n")
    assert n == 3
    assert text == "image,count\nt10.png,7\nt2.png,\nt1.png,12\n"


def test_paths_that_start_at_the_authors_program(folder):
    n, text = imported(folder, "../data/128p_bf/t1.png,3\r\n..\\data\\128p_bf\\t2.png,4\r\n")
    assert (n, text) == (2, "image,count\nt1.png,3\nt2.png,4\n")


def test_one_column_is_paired_in_natural_order(folder):
    n, text = imported(folder, "5\n0\n6\n")
    assert (n, text) == (3, "image,count\nt1.png,5\nt2.png,\nt10.png,6\n")


def test_paths_are_written_relative_to_the_new_file(folder):
    (folder / "new").mkdir()
    (folder / "train.csv").write_text("t1.png,5\n")
    import_twinvae_csv(folder / "train.csv", folder / "new")
    assert (folder / "new" / "labels.csv").read_text() == "image,count\n../t1.png,5\n"


def test_the_result_loads(folder):
    imported(folder, "t1.png,5\nt2.png,0\nt10.png,6\n")
    image_set, _ = load_folder(folder, 8)
    assert image_set.names.tolist() == ["t1.png", "t2.png", "t10.png"]
    np.testing.assert_array_equal(image_set.counts, [5, np.nan, 6])


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("", "is empty"),
        ("image,count\nt1.png,3\n", "line 1: there is no image image"),
        ("t1.png,3\nt9.png,3\n", "line 2: there is no image t9.png"),
        ("t1.png,3\nt2.png,four\n", "line 2: the count 'four' is not a number"),
        ("t1.png,3\nt2.png,-4\n", "line 2: the count '-4' is negative"),
        ("t1.png,3\nt1.png,3\n", "line 2: lists t1.png again (first in line 1)"),
        ("t1.png,3\n4\n", "one column (count) or two"),
        ("t1.png,3,4\n", "one column (count) or two"),
        ("3\n4\n", "2 counts for the 3 images"),
    ],
)
def test_broken_file_writes_nothing(folder, text, fragment):
    before = sorted(os.listdir(folder))
    with pytest.raises(UserError) as caught:
        imported(folder, text)
    message = str(caught.value)
    assert message.startswith(f"{folder / 'train.csv'}: ") and "\n" not in message
    assert fragment in message
    assert sorted(os.listdir(folder)) == sorted([*before, "train.csv"])


def test_missing_file(folder):
    with pytest.raises(UserError, match="train.csv: cannot be opened"):
        import_twinvae_csv(folder / "train.csv", folder / "labels.csv")


@pytest.mark.parametrize("out", ["labels.csv", "."])
def test_never_writes_over_a_file(folder, out):
    (folder / "labels.csv").write_text("image,count\nmine,1\n")
    with pytest.raises(UserError, match="labels.csv: exists already"):
        imported(folder, "t1.png,3\n", out)
    assert (folder / "labels.csv").read_text() == "image,count\nmine,1\n"


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_came_to_be_meanwhile_stays(folder, monkeypatch, links):
    """Another process writes `labels.csv` between the first look and the end."""
    real_link = os.link

    def link(temporary, out):
        out.write_text("theirs")
        if not links:
            raise PermissionError(1, "no links here")
        real_link(temporary, out)

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(UserError, match="exists already"):
        imported(folder, "t1.png,3\n")
    assert (folder / "labels.csv").read_text() == "theirs"
    assert not list(folder.glob(".*"))


def test_a_file_system_without_links(folder, monkeypatch):
    def link(temporary, out):
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(os, "link", link)
    assert imported(folder, "t1.png,3\n") == (1, "image,count\nt1.png,3\n")
    assert not list(folder.glob(".*"))


def test_a_place_that_cannot_be_written(folder):
    (folder / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        imported(folder, "t1.png,3\n", "file/labels.csv")
