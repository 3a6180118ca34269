"""Files that a user named, and folders that one process works in."""

import os
import subprocess
import sys
import threading

import pytest

from cellzoo.errors import UserError
from cellzoo.files import (
    check_new_file,
    csv_path,
    csv_safe,
    lock,
    read_json,
    temporary_beside,
    without_folders,
    write_atomically,
)


def test_what_cannot_be_written_is_said_at_once(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="folder exists"):
        check_new_file(tmp_path / "folder")
    with pytest.raises(UserError, match="There is no folder .*none"):
        check_new_file(tmp_path / "none" / "counts.csv")
    check_new_file(tmp_path / "counts.csv")
    assert not (tmp_path / "counts.csv").exists()


def test_a_folder_that_cannot_be_written_to_is_said_with_the_option(tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(UserError, match="choose another folder for --corrected"):
        check_new_file(tmp_path / "counts.csv", "--corrected")


def test_long_names_that_begin_alike_are_written_to_files_of_their_own(tmp_path):
    stem = "day1_" * 40
    beside = [temporary_beside(tmp_path / f"{stem}{end}") for end in ("01.tif", "02.tif")]
    assert beside[0] != beside[1]
    for name in ("x" * 255, "\U0001f9eb" * 63):
        temporary_beside(tmp_path / name).touch()


@pytest.mark.skipif(os.name == "nt", reason="links and rights of POSIX")
def test_a_replaced_file_keeps_its_rights_and_a_link_stays_a_link(tmp_path):
    file, link = tmp_path / "shared" / "labels.csv", tmp_path / "labels.csv"
    file.parent.mkdir()
    file.write_text("old")
    file.chmod(0o664)
    link.symlink_to(file)
    write_atomically(link, "new")
    assert link.is_symlink() and file.read_text() == "new"
    assert file.stat().st_mode & 0o777 == 0o664
    assert [kept.name for kept in file.parent.iterdir()] == ["labels.csv"]
    other = tmp_path / "other.csv"
    link.unlink()
    link.symlink_to("other.csv")  # which is not there yet
    write_atomically(link, b"new", through=True)
    assert link.is_symlink() and other.read_text() == "new"


def test_another_is_refused_or_waits(tmp_path):
    order, entered = [], threading.Event()

    def wait():
        with lock(tmp_path, otherwise=None):
            order.append("second")
            entered.set()

    second = threading.Thread(target=wait)
    with lock(tmp_path, otherwise="is in use"):
        second.start()
        with (
            pytest.raises(UserError, match="is in use: wait for it, or choose another --out"),
            lock(tmp_path, otherwise="is in use"),
        ):
            pass
        assert not entered.wait(0.2)
        order.append("first")
    assert entered.wait(10) and order == ["first", "second"]
    second.join()
    assert [file.name for file in tmp_path.iterdir()] == [".lock"]


def test_a_killed_process_keeps_nobody_out(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from cellzoo.files import lock\n"
        "with lock(Path(sys.argv[1]), 'is in use'): os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == 9
    with lock(tmp_path, otherwise="is in use"):
        pass


@pytest.mark.parametrize("error", [PermissionError(13, "no"), OSError(30, "read-only")])
def test_where_no_lock_can_be_made_the_work_goes_on(tmp_path, monkeypatch, error):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr("os.open", refuse)
    with lock(tmp_path, otherwise="is in use"):
        pass


@pytest.mark.parametrize("name", ["=1+1.png", "+a", "-a.tif", "@a", "\ta"])
def test_a_spreadsheet_takes_no_name_for_a_formula(name):
    assert csv_safe(name) == "'" + name


def test_a_path_that_would_be_a_formula_is_still_a_path():
    assert [csv_path(name) for name in ("=1.png", "-a/b.png", "../a.png", "a=b.png")] == [
        "./=1.png", "./-a/b.png", "../a.png", "a=b.png"
    ]  # fmt: skip


def test_other_names_stay_as_they_are():
    assert [csv_safe(name) for name in ("", "a=b", "1-2.png")] == ["", "a=b", "1-2.png"]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("/home/me/My lab/cells", "cells"),
        ("C:\\Users\\me\\cells", "cells"),
        ("~/cells/", "cells"),
        ("data.natural.folder=/home/me/My lab/cells", "data.natural.folder=cells"),
        ("data.natural={source: folder, folder: /home/me/cells}",
         "data.natural={source: folder, folder: cells}"),
        ("--out=runs/a", "--out=runs/a"),
        ("recipes/twinvae_bf.yaml", "recipes/twinvae_bf.yaml"),
        ("../cells", "../cells"),
        ("https://example.org/a", "https://example.org/a"),
        ("1/2", "1/2"),
        ("", ""),
    ],
)  # fmt: skip
def test_folders_of_the_computer_are_left_out(text, kept):
    assert without_folders(text) == kept


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff", b"[" * 100_000])
def test_a_damaged_json_is_a_sentence(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match="a.json is damaged: write it anew."):
        read_json(tmp_path / "a.json", "write it anew")
