"""What a user can break: each answered with one clear sentence, and nothing written over.

A case changes a sound workspace and runs one command. Exit code 1 says that data cannot be used,
2 that a command or recipe is written wrongly.
"""

# ruff: noqa: E501 - a table with a case on each line reads best

import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

RECIPE = """\
name: broken
data:
  natural:
    source: folder
    folder: cells
model:
  name: twinvae_spatial
  image_size: 16
train:
  epochs: 3
quick:
  train:
    epochs: 1
"""
SIMULATED = """\
name: simulated
data:
  natural: {source: simulated, modality: bf, train: 8, labelled: 4, validation: 4,
            validation_labelled: 4, test: 4, test_labelled: 4}
model: {name: twinvae_spatial}
"""
HEADER = "image,count,split\n"


def png(shape, dtype=np.uint8):
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    return cv2.imencode(".png", pixels)[1].tobytes()


def recipe(old="", new=""):
    """The sound recipe with one thing changed."""
    assert RECIPE.count(old) == 1 or not old
    return {"recipe.yaml": RECIPE.replace(old, new) if old else RECIPE}


def labels(*rows):
    """A labels.csv; images that it does not list stay unlabelled."""
    return {"cells/labels.csv": HEADER + "".join(f"{row}\n" for row in rows)}


@dataclass(frozen=True)
class Case:
    """A command that must fail.

    Attributes:
        command: what follows ``cellzoo``.
        code: exit code.
        says: what the sentence must hold: the file, line or key, and the cure where there is one.
        files: contents of files that make the workspace unsound; None: the file or folder is
            missing, a path: it is a link to there.
        leaves: folders in which the command may have begun something new.
    """

    command: str
    code: int
    says: tuple[str, ...]
    files: dict[str, str | bytes | Path | None] = field(default_factory=dict)
    leaves: tuple[str, ...] = ()


def check(says, files, command="check recipe.yaml"):
    return Case(command, 2, says, files)


def fit(code, says, files, settings=""):
    return Case(f"fit recipe.yaml{settings} --out new", code, says, files, leaves=("new",))


RECIPES = {
    "a recipe that is not there": check(("no recipe none.yaml", "cellzoo list recipes"), {}, "check none.yaml"),
    "a folder for a recipe": check(("cells cannot be read as a recipe",), {}, "check cells"),
    "an image for a recipe": check(("00.png cannot be read as a recipe",), {}, "check cells/00.png"),
    "an empty recipe": check(("recipe.yaml is not a recipe",), {"recipe.yaml": ""}),
    "a list for a recipe": check(("recipe.yaml is not a recipe",), {"recipe.yaml": "- name\n"}),
    "a key twice": check(("recipe.yaml:11:", "'epochs' stands twice"), recipe("  epochs: 3\n", "  epochs: 3\n  epochs: 4\n")),
    "a tab": check(("recipe.yaml:10:", "not valid YAML", "\\t"), recipe("  epochs: 3", "\tepochs: 3")),
    "a bracket left open": check(("recipe.yaml:", "not valid YAML"), recipe("epochs: 3", "epochs: [3")),
    "a date that is none": check(("recipe.yaml:5:", "2021-13-45"), recipe("folder: cells", "folder: 2021-13-45")),
    "a section misspelt": check(("recipe.yaml:6:", "no key modle", "did you mean model?"), recipe("model:", "modle:")),
    "a key misspelt": check(("recipe.yaml:10:", "no key train.epoch;", "did you mean epochs?"), recipe("  epochs: 3", "  epoch: 3")),
    "a deep key misspelt": check(("recipe.yaml:5:", "data.natural.foldr", "did you mean folder?"), recipe("folder: cells", "foldr: cells")),
    "the source misspelt": check(("recipe.yaml:4:", "data.natural.sorce", "did you mean source?"), recipe("source:", "sorce:")),
    "a key misspelt in quick": check(("recipe.yaml:13:", "no key train.epoch;", "did you mean epochs?"), recipe("    epochs: 1", "    epoch: 1")),
    "a word for a number": check(("recipe.yaml:10:", "train.epochs is many"), recipe("epochs: 3", "epochs: many")),
    "a number out of range": check(("recipe.yaml:10:", "train.epochs is 0", "greater than 0"), recipe("epochs: 3", "epochs: 0")),
    "no number": check(("recipe.yaml:10:", "train.learning_rate is nan"), recipe("epochs: 3", "learning_rate: .nan")),
    "a size the model cannot have": check(("recipe.yaml:8:", "model.image_size is 20", "multiple of 8"), recipe("image_size: 16", "image_size: 20")),
    "too few values": check(("recipe.yaml:8:", "model.channels has only 1"), recipe("image_size: 16", "channels: [4]")),
    "a section missing": check(("recipe.yaml:1:", "the key model is missing"), recipe("model:\n  name: twinvae_spatial\n  image_size: 16\n", "")),
    "a section empty": check(("recipe.yaml:9:", "train is unset"), recipe("  epochs: 3\n", "")),
    "a model that is not there": check(("recipe.yaml:6:", "model.name is twinvea", "did you mean twinvae?"), recipe("twinvae_spatial", "twinvea")),
    "a source that is not there": check(("recipe.yaml:3:", "data.natural.source is web", "simulated, folder"), recipe("source: folder", "source: web")),
    "quick is no section": check(("recipe.yaml:11:", "quick must be a section"), recipe("  train:\n    epochs: 1\n", "  7\n")),
    "--set without a value": check(("--set train.epochs:", "key=value"), {}, "check recipe.yaml --set train.epochs"),
    "--set of no key": check(("--set:", "no key train.epoch;", "did you mean epochs?"), {}, "check recipe.yaml --set train.epoch=4"),
    "--set of the wrong type": check(("--set:", "train.epochs is few"), {}, "check recipe.yaml --set train.epochs=few"),
    "a budget that is none": check(("--set:", "train.budget is soon", "10m"), {}, "fit recipe.yaml --budget soon --out new"),
    "a budget without unit": check(("--set:", "train.budget is 90", "90s"), {}, "fit recipe.yaml --budget 90 --out new"),
    "--quick without a quick section": check(("recipe.yaml has no quick section",), recipe("quick:\n  train:\n    epochs: 1\n", ""), "fit recipe.yaml --quick --out new"),
}  # fmt: skip

FOLDERS = {
    "no folder": fit(1, ("no/such: there is no such folder",), {}, " --set data.natural.folder=no/such"),
    "no labels.csv": fit(1, ("cells/labels.csv: there is no such file", "data.natural.labels: null"), {"cells/labels.csv": None}),
    "empty labels.csv": fit(1, ("cells/labels.csv: line 1", "image,count"), {"cells/labels.csv": ""}),
    "labels.csv without a header": fit(1, ("cells/labels.csv: line 1",), {"cells/labels.csv": "00.png,3\n"}),
    "labels.csv without counts": fit(1, ("cells/labels.csv: line 1", "count"), {"cells/labels.csv": "image,number\n00.png,3\n"}),
    "labels.csv of a spreadsheet": fit(1, ("cells/labels.csv: is not UTF-8 text",), {"cells/labels.csv": b"PK\x03\x04\xff\xfe"}),
    "a negative count": fit(1, ("cells/labels.csv: line 2", "'-3' is negative"), labels("00.png,-3,train")),
    "half a cell": fit(1, ("cells/labels.csv: line 2", "'2.5' is not a whole number"), labels("00.png,2.5,train")),
    "a count no image has": fit(1, ("cells/labels.csv: line 2", "'1e300' is above a million"), labels("00.png,1e300,train")),
    "a word for a count": fit(1, ("cells/labels.csv: line 2", "'many' is not a number"), labels("00.png,many,train")),
    "a listed image is missing": fit(1, ("99.png: cannot be opened", "No such file", "labels.csv: line 2"), labels("99.png,3,train")),
    "an image listed twice": fit(1, ("labels.csv: line 3", "00.png again"), labels("00.png,3,train", "00.png,3,train")),
    "a split that is none": fit(1, ("labels.csv: line 2", "'trian' is no split"), labels("00.png,3,trian")),
    "a group in two splits": fit(1, ("labels.csv: line 3", "group a", "one split"), {"cells/labels.csv": "image,count,split,group\n00.png,3,train,a\n01.png,3,test,a\n"}),
    "an image of another size": fit(1, ("cells/03.png: is 20 x 24 px", "16 x 16", "data.natural.size: resize"), {"cells/03.png": png((24, 20))}),
    "a colour image": fit(1, ("cells/03.png", "data.natural.channel"), {"cells/03.png": png((16, 16, 3))}),
    "a truncated image": fit(1, ("cells/03.png",), {"cells/03.png": png((16, 16))[:150]}),
    "an empty image": fit(1, ("cells/03.png: is empty (0 bytes)",), {"cells/03.png": b""}),
    "text called .png": fit(1, ("cells/03.png: is no image",), {"cells/03.png": "not a picture"}),
    "a TIFF that is none": fit(1, ("cells/x.tif",), {"cells/x.tif": b"II*\0garbage"}),
    "a link to itself": fit(1, ("cells/loop.png",), {"cells/loop.png": Path("loop.png")}),
    "a character of code 0 in a name": fit(1, ("labels.csv: line 2", "code 0"), labels("0\0.png,3,train")),
    "no label for training": fit(1, ("No train image", "label some"), labels("00.png,,train", "02.png,3,validation")),
    "no label for validation": fit(1, ("No validation image", "split column of labels.csv"), labels("00.png,3,train", "02.png,,validation")),
    "more labels asked for than exist": fit(1, ("7 labelled images are asked for", "only 6"), {}, " --set data.natural.labelled=7"),
    "shares that are not whole": fit(2, ("shares", "sum to 1"), labels(*(f"{k:02d}.png,3," for k in range(12))), " --set data.natural.shares={train: 0.5}"),
    "more simulated labels than images": fit(2, ("data.natural.labelled is 9", "only 8 images"), {"recipe.yaml": SIMULATED}, " --set data.natural.labelled=9"),
    "simulated images in another size": fit(2, ("model.image_size is 16", "128"), {"recipe.yaml": SIMULATED}, " --set model.image_size=16"),
    "a background that is not there": fit(1, ("back.png",), {}, " --set data.synthetic={preset: bf, background: back.png}"),
    "weights that do not fit the counts": fit(2, ("data.synthetic.count_weights",), {}, " --set data.synthetic={preset: bf, count_range: [0, 5], count_weights: [1, 2]}"),
}  # fmt: skip

# Its images are not there: what is said instead is found before they are looked for.
START = " --set data.natural.folder=no/such --set train.start_from="
STARTS = {
    "a start from a folder that is not there": fit(2, ("train.start_from: old is not a run folder", "cellzoo fit"), {}, START + "old"),
    "a start from a folder of images": fit(2, ("train.start_from: cells is not a run folder", "zoo:NAME"), {}, START + "cells"),
    "a start from a run without a model": fit(2, ("train.start_from: run has no weights", "first validation"), {"run/checkpoints/best.weights.h5": None}, START + "run"),
    "a start from a counter the zoo has not": fit(2, ("train.start_from: zoo:bbc005", "did you mean zoo:bbbc005?"), {}, START + "zoo:bbc005"),
    "a start that `check` finds wrong": check(("train.start_from: cells is not a run folder",), {}, "check recipe.yaml --set train.start_from=cells"),
}  # fmt: skip

COUNT = "count cells --model run -o new.csv"
WRITING = {
    "fit into a folder of something else": Case("fit recipe.yaml --out cells", 1, ("cells holds other files", "--out"), {}),
    "fit into a folder with somebody's recipe": Case("fit recipe.yaml --out .", 1, (". holds other files", "--out"), {}),
    "fit into a file": Case("fit recipe.yaml --out counts.csv", 1, ("counts.csv holds other files",), {}),
    "fit below a file": Case("fit recipe.yaml --out counts.csv/run", 1, ("counts.csv",), {}),
    "fit into the run of another recipe": Case("fit recipe.yaml --out run", 2, ("run holds a run of another recipe", "name: tiny -> broken", "--out"), {}),
    "fit --fresh into a run": Case("fit recipe.yaml --fresh --out run", 2, ("run holds a run", "--fresh", "--out"), {}),
    "count an image that is not there": Case("count none.png --model run -o new.csv", 1, ("none.png: there is no such file",), {}),
    "count a folder without images": Case("count empty --model run -o new.csv", 1, ("empty: no image found",), {"empty/notes.txt": "x"}),
    "count a text file": Case("count recipe.yaml --model run -o new.csv", 1, ("recipe.yaml", ".png"), {}, leaves=("new.csv", ".new.options.json")),
    "count with a model that is not there": Case("count cells --model none -o new.csv", 1, ("no model none", "cellzoo fit"), {}),
    "count with a folder that is no run": Case("count cells --model cells -o new.csv", 1, ("cells is not a run folder", "recipe.yaml"), {}),
    "count with a run that has no model yet": Case(COUNT, 1, ("run has no model yet",), {"run/checkpoints/best.weights.h5": None}),
    "count with a damaged model": Case(COUNT, 1, ("best.weights.h5 is damaged",), {"run/checkpoints/best.weights.h5": b"\x89HDF\r\n\x1a\nxx"}),
    "count with a damaged recipe": Case(COUNT, 2, ("run/recipe.yaml is not a recipe",), {"run/recipe.yaml": ""}),
    "count into a file that exists": Case("count cells --model run -o counts.csv", 1, ("counts.csv exists", "-o"), {}),
    "count into a folder that is missing": Case("count cells --model run -o none/new.csv", 1, ("no folder none",), {}),
    "count into a folder that cannot be written to": Case("count cells --model run -o /proc/new.csv", 1, ("/proc cannot be written to", "-o"), {}),
    "count with axes that are none": Case("count cells --model run -o new.csv --axes AB", 2, ("axes", "'AB'", "TYX"), {}),
    "synth into a folder with files": Case("synth recipe.yaml -o cells -n 2 --natural", 1, ("cells holds other files", "-o"), {}),
    "synth into a file": Case("synth recipe.yaml -o counts.csv -n 2", 1, ("counts.csv holds other files",), {}),
    "synth without synthetic cells": Case("synth recipe.yaml -o new -n 2", 2, ("broken has no data.synthetic: choose another recipe.",), {}),
    "synth without synthetic cells of simulated images": Case("synth recipe.yaml -o new -n 2", 2, ("data.synthetic", "--natural"), {"recipe.yaml": SIMULATED}),
    "synth --natural of a folder": Case("synth recipe.yaml -o new -n 2 --natural", 2, ("broken has natural images of its own",), {}),
    "import labels onto a file": Case("import-labels cells/old.csv -o counts.csv", 1, ("counts.csv: exists already",), {"cells/old.csv": "00.png,3\n"}),
    "import labels of a missing image": Case("import-labels cells/old.csv -o new.csv", 1, ("old.csv: line 1", "99.png"), {"cells/old.csv": "99.png,3\n"}),
    "import labels that are no numbers": Case("import-labels cells/old.csv -o new.csv", 1, ("old.csv: line 1", "'many'"), {"cells/old.csv": "00.png,many\n"}),
    "import labels from nowhere": Case("import-labels none.csv -o new.csv", 1, ("none.csv: cannot be opened",), {}),
    "import a checkpoint that is text": Case("import-checkpoint recipe.yaml --out new", 1, ("recipe.yaml",), {}),
    "evaluate what is no run": Case("evaluate cells", 1, ("cells is not a run folder",), {}),
    "evaluate on a folder with a wrong count": Case("evaluate run --data cells --out new", 1, ("labels.csv: line 2", "'many'"), labels("00.png,many,")),
    "evaluate on its own folder without counts": Case("evaluate run --out new", 1, ("has a count",), labels("00.png,,")),
    "evaluate on a folder that is not there": Case("evaluate run --data none --out new", 1, ("none: there is no such folder",), {}),
    "evaluate on its own folder that is gone": Case("evaluate run --out new", 1, ("cells, on which", "--data"), {"cells": None}),
    "evaluate by a protocol that the model has not": Case("evaluate run --protocol authors --out new", 2, ("--protocol authors", "--protocol cellzoo"), {}),
}  # fmt: skip

CASES = RECIPES | FOLDERS | STARTS | WRITING


@pytest.fixture
def workspace(tmp_path, monkeypatch, write_cells, tiny_run):
    """A folder in which every command would work: recipe, images, a trained run, earlier counts."""
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(RECIPE)
    Path("counts.csv").write_text("image,frame,count\nprecious.png,0,7\n")
    write_cells(tmp_path / "cells")
    shutil.copytree(tiny_run, "run")
    return tmp_path


def spoil(files):
    for name, content in files.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None and path.is_dir():
            shutil.rmtree(path)
        elif content is None:
            path.unlink()
        elif isinstance(content, Path):
            path.symlink_to(content)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)


def arguments(command):
    """Splits a command at its blanks, but for those within braces."""
    words = [""]
    depth = 0
    for letter in command:
        depth += (letter == "{") - (letter == "}")
        if letter == " " and not depth:
            words.append("")
        else:
            words[-1] += letter
    return words


def is_one_clear_sentence(stderr, says):
    assert stderr.startswith("Error: ")
    assert stderr.count("\n") == 1 and stderr.endswith("\n")
    assert "Traceback" not in stderr
    for word in says:
        assert word in stderr


def test_there_are_enough_cases():
    assert len(CASES) == len(RECIPES) + len(FOLDERS) + len(STARTS) + len(WRITING)
    assert len(CASES) >= 30


@pytest.mark.parametrize("name", CASES)
def test_a_broken_input_is_answered_with_one_sentence_and_changes_nothing(
    workspace, run_cli, contents, name
):
    case = CASES[name]
    spoil(case.files)
    before = contents(workspace)

    result = run_cli(*arguments(case.command))

    is_one_clear_sentence(result.stderr, case.says)
    assert result.exit_code == case.code
    after = contents(workspace)
    assert {file: after.get(file) for file in before} == before
    new = {file.relative_to(workspace).parts[0] for file in set(after) - set(before)}
    assert new <= set(case.leaves)


def test_weights_of_another_network_are_one_sentence(workspace, run_cli, recwarn):
    """As after an update that changed the network."""
    weights = Path("run/checkpoints/best.weights.h5")
    with h5py.File(weights, "a") as file:
        # The decoder, which is a network in the network.
        del file["layers/functional/layers/conv2d"]
    result = run_cli(*COUNT.split())
    is_one_clear_sentence(result.stderr, (str(weights), "of another model", "train anew"))
    assert not [warning for warning in recwarn if "weights" in str(warning.message)]
    assert result.exit_code == 1 and not Path("new.csv").exists()


def test_the_workspace_itself_is_sound(workspace, run_cli):
    """Else the cases might fail for another reason than the one they are about.

    ``test_cli.py`` evaluates the same run on the same images.
    """
    assert run_cli("check", "recipe.yaml").exit_code == 0
    assert run_cli("count", "cells", "--model", "run", "-o", "new.csv").exit_code == 0


def test_data_can_be_mended_and_the_same_command_given_again(workspace, run_cli):
    """A run that never began to train does not stand in the way of a corrected recipe."""
    wrong = run_cli("fit", "recipe.yaml", "--set", "data.natural.folder=none", "--out", "new")
    assert wrong.exit_code == 1
    other = run_cli("fit", "recipe.yaml", "--set", "data.natural.folder=nil", "--out", "new")
    assert "nil: there is no such folder" in other.stderr


@pytest.mark.parametrize("name", ["a key misspelt", "count into a file that exists"])
def test_the_installed_program_answers_alike(workspace, contents, name):
    case = CASES[name]
    spoil(case.files)
    before = contents(workspace)
    program = [sys.executable, "-c", "from cellzoo.cli import main; main()"]

    done = subprocess.run([*program, *arguments(case.command)], capture_output=True, text=True)

    is_one_clear_sentence(done.stderr, case.says)
    assert (done.returncode, done.stdout) == (case.code, "")
    assert contents(workspace) == before
