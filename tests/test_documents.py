"""README and the pages of docs/: commands, recipes, files and links that they name are there."""

import re
import shlex
from pathlib import Path

import click
import pytest

from cellzoo.cli import main
from cellzoo.recipe import shipped

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "serving" / "README.md",
    ROOT / "saved_models" / "README.md",
    ROOT / "benchmarks" / "results" / "README.md",
]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
# Verbs whose first argument is a recipe, or may be one.
RECIPE_VERBS = ("check", "synth", "fit", "tune", "compare")


def text_of(page):
    return page.read_text(encoding="utf-8")


def commands(text):
    """The words of each cellzoo command in a page's console blocks, without comments."""
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and (words[0] == "$" or "=" in words[0]):  # a prompt, a variable
                words = words[1:]
            if words[:1] == ["cellzoo"]:
                yield words[1:]


def anchors(text):
    """What a page's headings are called in links."""
    headings = re.findall(r"^#+ +(.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_read_to_its_end():
    assert len(text_of(ROOT / "README.md").split()) <= 900


@each_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(text_of(file)), target


@each_page
def test_commands_are_ones(page):
    for words in commands(text_of(page)):
        if words[0].startswith("-"):
            continue
        verb = main.commands[words[0]]
        context = verb.make_context(words[0], list(words[1:]))  # raises where an option is wrong
        if words[0] in RECIPE_VERBS:
            (argument,) = (p.name for p in verb.params if isinstance(p, click.Argument))
            given = context.params[argument]
            given = given if isinstance(given, tuple) else (given,)
            names = [str(recipe).rpartition("=")[2] for recipe in given]
            # A path, or a recipe of the user's, is not one of the package.
            named = (n for n in names if re.fullmatch(r"[a-z]+_\w+(\.yaml)?", n))
            assert {Path(n).stem for n in named} <= set(shipped.names())


@each_page
def test_recipes_that_are_named_are_there(page):
    if page.name in ("CHANGELOG.md", "results.md", "trials.md") or "results" in page.parts:
        return  # they say what was once called so
    kinds = "|".join(sorted({name.partition("_")[0] for name in shipped.names()}))
    named = set(re.findall(rf"`(?:recipes/)?((?:{kinds})_\w+)(?:\.yaml)?`", text_of(page)))
    assert named - set(shipped.names()) == set()


@each_page
def test_files_that_are_named_are_there(page):
    named = re.findall(
        r"`((?:cellzoo|docs|recipes|serving|benchmarks|tests)/[\w/.]+\w)`", text_of(page)
    )
    named = [name for name in named if "NAME" not in name]  # those stand for any
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_readmes_python_runs(tmp_path, monkeypatch, write_cells, capsys):
    monkeypatch.chdir(tmp_path)
    write_cells(tmp_path / "images", images=2, size=64)
    (code,) = re.findall(r"```python\n(.*?)```", text_of(ROOT / "README.md"), re.DOTALL)
    exec(code, {})
    assert "64 x 64 px, trained on" in capsys.readouterr().out  # the flag


def test_the_index_names_every_page_and_the_readme_the_index():
    index = text_of(ROOT / "docs" / "index.md")
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert {name for name in pages if f"({name})" not in index} == set()
    assert "(docs/index.md)" in text_of(ROOT / "README.md")


def test_every_recipe_has_its_row():
    page = text_of(ROOT / "docs" / "recipes.md")
    assert [name for name in shipped.names() if f"`{name}`" not in page] == []
