"""The recipes of the package: names, paths, copies."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cellzoo.errors import UsageError, UserError
from cellzoo.recipe import load_recipe, shipped
from cellzoo.recipe.shipped import copy, find, first_lines, names


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_recipes_of_a_folder_with_their_first_line(tmp_path):
    (tmp_path / "b.yaml").write_text("# Second.\nname: b\n")
    (tmp_path / "a.yaml").write_text("#  First.\n#\n# More.\n")
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe")
    (tmp_path / "d.yaml").touch()
    (tmp_path / "notes.txt").write_text("# no recipe\n")
    found = [(path.name, line) for path, line in first_lines(tmp_path)]
    assert found[:2] == [("a.yaml", "First."), ("b.yaml", "Second.")]
    assert [name for name, _ in found[2:]] == ["c.yaml", "d.yaml"]
    assert found[3][1] == ""


@pytest.mark.parametrize("name", ["twinvae_bf", "twinvae_bf.yaml"])
def test_a_name_stands_for_a_recipe_of_the_package(here, name):
    assert "twinvae_bf" in names()
    assert load_recipe(name) == load_recipe(shipped.FOLDER / "twinvae_bf.yaml")


def test_a_folder_of_that_name_changes_nothing(here):
    (here / "twinvae_bf").mkdir()
    assert find("twinvae_bf").parent == shipped.FOLDER


@pytest.mark.parametrize("name", ["twinvae_bf", "twinvae_bf.yaml"])
def test_a_file_in_the_current_folder_wins(here, name, tiny_recipe):
    (here / "twinvae_bf.yaml").write_text(tiny_recipe)
    assert load_recipe(name).name == "tiny"


def test_a_wrong_name_is_one_sentence_with_the_nearest(here):
    for wrong in ("twinvea_bf", "twinvea_bf.yaml", "recipes/twinvae_bf.yaml"):
        with pytest.raises(UsageError, match=rf"^There is no recipe {wrong}: did you mean twinvae"):
            find(wrong)
    with pytest.raises(UsageError, match="There is no recipe xyz: `cellzoo list recipes` shows"):
        find("xyz")


def test_a_name_of_before_is_answered_with_that_of_now(here):
    with pytest.raises(UsageError, match="twinvae_bf_fast: it is called twindensity_bf now"):
        find("twinvae_bf_fast")
    with pytest.raises(UsageError, match="it is called twindensity_pc_unlabelled now"):
        find("recipes/twinvae_pc_unlabelled.yaml")


def test_a_copy_never_replaces_a_file(here):
    file = copy("brightness")
    assert file.read_bytes() == (shipped.FOLDER / "brightness.yaml").read_bytes()
    file.write_text("mine")
    for name in ("brightness", "brightness.yaml"):
        with pytest.raises(UserError, match="brightness.yaml exists"):
            copy(name)
    assert [path.name for path in here.iterdir()] == ["brightness.yaml"]
    assert file.read_text() == "mine"
    with pytest.raises(UsageError, match="There is no recipe britness: did you mean brightness?"):
        copy("britness")


def test_the_wheel_has_all_files_and_the_recipes(tmp_path):
    """Built from a copy without the tests, unpacked elsewhere, it lists and checks a recipe."""
    root, source = Path(__file__).parents[2], tmp_path / "source"
    source.mkdir()
    for folder in ("cellzoo", "recipes"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(root / folder, source / folder, ignore=ignored)
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, source)
    build = "from setuptools.build_meta import build_wheel; build_wheel('..')"
    done = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(tmp_path / "installed")
    for name, inside in (("cellzoo", "cellzoo"), ("recipes", "cellzoo/recipes")):
        folder = source / name
        files = {file.relative_to(folder) for file in folder.rglob("*") if file.is_file()}
        installed = tmp_path / "installed" / inside
        assert {file for file in files if not (installed / file).is_file()} == set()
    (tmp_path / "empty").mkdir()
    code = (
        "import sys; sys.path.insert(0, '../installed'); from cellzoo.cli import main\n"
        "main(['list', 'recipes'], standalone_mode=False)\n"
        "main(['check', 'twinvae_bf', 'brightness.yaml'])"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path / "empty", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    listed = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert listed == set(names())
    assert done.stdout.endswith("twinvae_bf: ok\nbrightness.yaml: ok\n")
