"""The command line: help, lists, checks, and what the verbs print."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cellzoo import __version__, zoo
from cellzoo.cli import main
from cellzoo.cli.group import verb
from cellzoo.models import MODELS
from cellzoo.recipe import shipped

HEAVY = ("tensorflow", "keras", "numpy", "cv2", "pydantic", "matplotlib", "albumentations")


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


@pytest.mark.parametrize("verb", sorted(main.commands))
def test_every_verb_has_help_with_an_example(run_cli, verb):
    result = run_cli(verb, "--help")
    assert result.exit_code == 0
    assert f"Example: cellzoo {verb}" in " ".join(result.stdout.split())
    assert "\\b" not in result.stdout


def test_the_verbs_that_exist():
    verbs = {"list", "check", "synth", "fit", "evaluate", "compare", "count", "import-labels"}
    assert verbs <= set(main.commands)


@pytest.mark.parametrize("arguments", [["--help"], ["count", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments):
    code = (
        f"import sys; from cellzoo.cli import main; main({arguments}, standalone_mode=False); "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = python(code)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_check_does_not_import_tensorflow(tmp_path, tiny_recipe):
    (tmp_path / "a.yaml").write_text(tiny_recipe)
    code = (
        "import sys; from cellzoo.cli import main\n"
        f"try: main(['check', {str(tmp_path / 'a.yaml')!r}])\n"
        "except SystemExit: print('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert python(code).stdout.splitlines()[-1] == "False"


def test_version(run_cli):
    assert __version__ in run_cli("--version").stdout


def test_no_verb_of_that_name(run_cli):
    result = run_cli("cuont")
    assert result.exit_code == 2
    assert "No such command 'cuont'" in result.stderr


def test_list_shows_models_and_recipes_with_a_line_each(run_cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "a.yaml").write_text("# Counts yeast.\nname: a\n")
    result = run_cli("list")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "models:"
    shown = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines if line.startswith("  ")}
    counters = {f"zoo:{name}" for name in zoo.names()}
    recipes = {"recipes/a.yaml", *shipped.names()}
    assert set(shown) == set(MODELS) | recipes | counters
    assert shown["recipes/a.yaml"] == "Counts yeast."
    assert shown["twinvae"].startswith("Twin-VAE:")


@pytest.mark.parametrize(("what", "other"), [("models", "recipes:"), ("recipes", "models:")])
def test_list_of_one_kind(run_cli, what, other):
    result = run_cli("list", what)
    assert result.stdout.startswith(f"{what}:")
    assert other not in result.stdout


def test_a_recipe_is_copied_beside_the_users_images(run_cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run_cli("list", "recipes", "--copy", "brightness")
    assert (result.exit_code, result.stdout) == (0, "wrote brightness.yaml\n")
    assert run_cli("check", "brightness.yaml").exit_code == 0
    # A folder that the package's own recipe names is a user's to bring.
    result = run_cli("check", "twindensity_ldc")
    assert (result.exit_code, result.stdout) == (0, "twindensity_ldc: ok\n")
    assert "Warning: twindensity_ldc: " in result.stderr and "no such folder" in result.stderr
    run_cli("list", "recipes", "--copy", "twindensity_ldc")
    assert run_cli("check", "twindensity_ldc.yaml").exit_code == 1
    assert run_cli("list", "recipes", "--copy", "brightness").exit_code == 1
    assert run_cli("list", "zoo", "--copy", "brightness").exit_code == 2


@pytest.fixture
def here(tmp_path, monkeypatch, write_cells):
    """The current folder, which has the images of the tiny recipe and their labels."""
    write_cells(tmp_path / "cells", images=3)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("here")
def test_check_says_what_is_sound_and_what_is_not(run_cli, tmp_path, tiny_recipe):
    good, bad, gone = tmp_path / "good.yaml", tmp_path / "bad.yaml", tmp_path / "gone.yaml"
    good.write_text(tiny_recipe)
    bad.write_text(tiny_recipe.replace("batch:", "bacth:"))
    result = run_cli("check", bad, gone, good)
    assert result.exit_code == 2
    assert result.stdout == f"{good}: ok\n"
    first, second = result.stderr.splitlines()
    assert first.startswith(f"Error: {bad}:11: there is no key train.bacth; did you mean batch?")
    assert second.startswith(f"Error: There is no recipe {gone}")


@pytest.mark.usefixtures("here")
def test_check_looks_at_every_overlay(run_cli, tmp_path, tiny_recipe):
    (tmp_path / "a.yaml").write_text(tiny_recipe + "paper:\n  loss: {count_start_epoch: 1}\n")
    result = run_cli("check", tmp_path / "a.yaml")
    assert result.exit_code == 2
    assert "loss.count_start_epoch is 1 of train.epochs 1" in result.stderr


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("tune a.yaml --serve 9000 --workers 2", "--workers: the chief of --serve trains nothing"),
        ("tune a.yaml --chief a:9000 --trials 2", "--trials: the chief decides how many"),
        ("synth a.yaml -o x --experiment --preview", "--preview is no part of --experiment"),
        ("evaluate run --allow-copies", "--allow-copies goes with --data"),
        ("evaluate localhost:8500/x", "localhost:8500/x is behind a server: name its export"),
        ("compare zoo:ldc a.yaml", "zoo:ldc was trained on images that the package does not bring"),
        ("compare cells --seed 2", "--seed and --natural-only are for recipes"),
        ("serve models --model-config-file x", "MODELS and --model-config-file exclude each other"),
        ("fit a.yaml --budget 1m --set train.epochs=2", "the budget decides how many there are"),
    ],
)
def test_options_that_contradict_each_other(run_cli, tmp_path, tiny_recipe, command, sentence):
    (tmp_path / "a.yaml").write_text(tiny_recipe)
    result = run_cli(*command.split())
    assert result.exit_code == 2 and sentence in result.stderr


@pytest.mark.usefixtures("here")
def test_check_of_sound_recipes(run_cli, tmp_path, tiny_recipe):
    (tmp_path / "a.yaml").write_text(tiny_recipe)
    result = run_cli("check", tmp_path / "a.yaml", "--set", "train.epochs=3")
    assert (result.exit_code, result.stderr) == (0, "")
    (tmp_path / "cells" / "labels.csv").unlink()
    result = run_cli("check", tmp_path / "a.yaml")
    assert result.exit_code == 1 and "cells/labels.csv: there is no such file" in result.stderr
    result = run_cli("check", tmp_path / "a.yaml", "--set", "data.natural.folder=nil")
    assert result.exit_code == 1 and "nil: there is no such folder" in result.stderr


def test_count_prints_what_failed_and_goes_on(run_cli, tmp_path, tiny_run, write_cells):
    cells, out = write_cells(tmp_path / "cells", images=3), tmp_path / "counts.csv"
    (cells / "01.png").write_bytes(b"")
    result = run_cli("count", cells, "--model", tiny_run, "-o", out)
    assert result.exit_code == 1
    reason = "is empty (0 bytes), copy it again from its source"
    assert result.stderr == f"Error: {cells}/01.png: {reason}\n"
    unfinished = "no interval for 2 of 2 frames: its training is not finished\n"
    assert result.stdout == f"{unfinished}3 files: counted 2 frames, 0 flagged, 1 failed: {out}\n"
    with out.open(newline="") as file:
        assert [bool(row["error"]) for row in csv.DictReader(file)] == [False, True, False]


def test_count_of_sound_images(run_cli, tmp_path, tiny_run, write_cells):
    cells, out = write_cells(tmp_path / "cells", images=3), tmp_path / "counts.csv"
    result = run_cli("count", cells / "00.png", cells / "02.png", "--model", tiny_run, "-o", out)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.endswith(f"2 files: counted 2 frames, 0 flagged, 0 failed: {out}\n")


def test_evaluate_scores_a_labelled_folder(run_cli, tmp_path, tiny_run, write_cells):
    """Of two images, without splits: all labelled images of the folder are scored."""
    cells = write_cells(tmp_path / "mine", images=3)
    (cells / "labels.csv").write_text("image,count\n00.png,4\n01.png,0\n02.png,\n")
    out = tmp_path / "report"
    result = run_cli("evaluate", tiny_run, "--data", cells, "--out", out)
    assert (result.exit_code, result.stderr) == (0, "")
    said = result.stdout.splitlines()
    assert said[0].startswith("tiny does not say which images it learned from: scores are too good")
    assert said[1] == "2 images: mine (all labelled images of the folder)"
    for name in ("MAE", "MRE", "exact"):
        assert name in result.stdout
    # The run was never trained here, so the mean of its training images is not known.
    assert "training mean" not in result.stdout
    written = [line.removeprefix("wrote ") for line in result.stdout.splitlines()[-4:]]
    endings = (".json", "_counts.csv", "_scores.csv")
    files = [out / "index.html", *(out / f"evaluation_mine{ending}" for ending in endings)]
    assert written == list(map(str, files))
    assert not (tiny_run / "README.md").exists()  # the scores are not in the run's folder
    scores = json.loads((out / "evaluation_mine.json").read_text())
    with (out / "evaluation_mine_counts.csv").open(newline="") as file:
        errors = [abs(int(row["error"])) for row in csv.DictReader(file)]
    assert scores["images"] == len(errors) == 2
    assert scores["scores"]["mae"] == sum(errors) / 2


def test_evaluate_leaves_what_training_wrote(run_cli, tmp_path, tiny_run, write_cells):
    """A folder called validation must not replace the run's own validation scores."""
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    own = run / "report" / "validation.json"
    own.parent.mkdir(exist_ok=True)
    own.write_text('{"training_mean": 3.0, "interval": null}')
    cells = write_cells(tmp_path / "validation", images=2)
    (cells / "labels.csv").write_text("image,count\n00.png,4\n01.png,0\n")
    result = run_cli("evaluate", run, "--data", cells)
    assert result.exit_code == 0
    assert "always predicting the training mean: MAE 2.00" in result.stdout
    assert "  MRE " in result.stdout
    (cells / "labels.csv").write_text("image,count\n00.png,0\n01.png,0\n")
    result = run_cli("evaluate", run, "--data", cells)
    assert "  MAE " in result.stdout and "MRE" not in result.stdout  # no image has a cell
    assert own.read_text() == '{"training_mean": 3.0, "interval": null}'
    report = (run / "report" / "evaluation_validation" / "index.html").read_text()
    assert "may have been chosen" not in report  # as of the run's own validation split


def test_evaluate_takes_the_split_that_training_wrote_down(
    run_cli, tmp_path, monkeypatch, tiny_run, write_cells
):
    """Splits dealt out anew would put images that were trained on into the test split."""
    monkeypatch.chdir(tmp_path)
    write_cells(tmp_path / "cells")
    shutil.copytree(tiny_run, "run")
    names = [f"{k:02d}.png" for k in range(12)]
    splits = {name: "test" if name in ("01.png", "05.png") else "train" for name in names}
    splits["02.png"] = "validation"
    rows = [f"{name},{name},{split},1" for name, split in splits.items()]
    (tmp_path / "run" / "splits.csv").write_text("\n".join(["image,group,split,labelled", *rows]))
    result = run_cli("evaluate", "run")
    assert (result.exit_code, result.stderr) == (0, "")
    with open("run/report/evaluation_test_counts.csv", newline="") as file:
        assert [row["image"] for row in csv.DictReader(file)] == ["01.png", "05.png"]


def test_evaluate_reads_the_test_split_of_the_recipe(
    run_cli, tmp_path, monkeypatch, tiny_run, write_cells
):
    monkeypatch.chdir(tmp_path)
    write_cells(tmp_path / "cells")
    shutil.copytree(tiny_run, "run")
    result = run_cli("evaluate", "run")
    assert result.stdout.startswith("3 images: test split (images of groups never trained on)\n")
    with open("run/report/evaluation_test_counts.csv", newline="") as file:
        assert [row["image"] for row in csv.DictReader(file)] == ["03.png", "07.png", "11.png"]


def test_evaluate_says_so_where_there_is_no_test_split(
    run_cli, tmp_path, monkeypatch, tiny_run, write_cells
):
    monkeypatch.chdir(tmp_path)
    labels = write_cells(tmp_path / "cells") / "labels.csv"
    labels.write_text(labels.read_text().replace(",test", ",train"))
    shutil.copytree(tiny_run, "run")
    result = run_cli("evaluate", "run")
    assert result.stdout.startswith("3 images: validation split (no test image has a count)\n")
    assert "may have been chosen" in (tmp_path / "run" / "report" / "index.html").read_text()


def test_import_labels_says_how_many(run_cli, tmp_path, write_cells):
    cells = write_cells(tmp_path / "cells", images=2)
    (cells / "old.csv").write_text("00.png,3\n01.png,0\n")
    out = cells / "new.csv"
    result = run_cli("import-labels", cells / "old.csv", "-o", out)
    assert result.stdout == f"wrote 2 rows to {out}\n"
    assert out.read_text().splitlines() == ["image,count", "00.png,3", "01.png,"]
    assert "1 counts of 0 are taken for unlabelled" in result.stderr


def test_import_labels_says_where_the_places_are(run_cli, tmp_path, write_cells):
    cells = write_cells(tmp_path / "cells", images=2)
    for name in ("00", "01"):
        (tmp_path / f"{name}.csv").write_text("index,axis-0,axis-1\n0,3,4\n1,6,7\n")
    out = tmp_path / "new.csv"
    result = run_cli("import-labels", tmp_path / "00.csv", tmp_path / "01.csv", "--images", cells,
                     "-o", out)
    places = f"wrote the places of 4 cells to {tmp_path / 'points.csv'}\n"
    assert result.stdout == f"wrote 2 rows to {out}\n{places}"
    assert out.read_text() == "image,count\ncells/00.png,2\ncells/01.png,2\n"


def test_compare_prints_the_scores_and_does_not_write_over_a_comparison(
    run_cli, tmp_path, monkeypatch, write_cells
):
    monkeypatch.chdir(tmp_path)
    write_cells(tmp_path / "cells")
    (tmp_path / "grey.yaml").write_text(
        "name: grey\n"
        "data:\n"
        "  natural: {source: folder, folder: cells}\n"
        "model: {name: brightness, image_size: 16}\n"
    )
    result = run_cli("compare", "my grey=grey.yaml", "--budget", "1m", "--seed", 2, "--seed", 3)
    assert result.exit_code == 0, result.stderr
    assert "test split (images of groups never trained on), natural images:" in result.stdout
    printed = [line.strip() for line in result.stdout.splitlines() if line[:2] == "  "]
    assert sorted(line.partition(":")[0] for line in printed) == [
        "mean of the training labels", "my grey"
    ]  # fmt: skip
    assert sum(line.endswith(" (best)") for line in printed) == 1
    with (tmp_path / "comparison/comparison.csv").open(newline="") as file:
        assert [row["seed"] for row in csv.DictReader(file)] == ["2", "3", "all"] * 2
    result = run_cli("compare", "grey.yaml")
    sentence = "Error: comparison/comparison.md is there already: choose another --out.\n"
    assert (result.exit_code, result.stderr) == (1, sentence)


def test_a_full_disk_is_one_sentence(run_cli, tmp_path, monkeypatch, write_cells):
    """What the operating system refuses is said, too."""
    from cellzoo.labelling import importers

    def full(*arguments):
        raise OSError(28, "No space left on device", "labels.csv")

    monkeypatch.setattr(importers, "import_labels", full)
    result = run_cli("import-labels", tmp_path / "a.csv", "-o", tmp_path / "b.csv")
    assert result.exit_code == 1
    assert result.stderr == "Error: [Errno 28] No space left on device: 'labels.csv'\n"


@pytest.mark.parametrize(
    "error", [MemoryError(), type("ResourceExhaustedError", (Exception,), {})("OOM when ...")]
)
def test_too_little_memory_is_one_sentence(error, capsys):
    @verb
    def train():
        raise error

    with pytest.raises(SystemExit):
        train()
    said = capsys.readouterr().err
    assert said.startswith("Error: there is not enough memory") and said.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
def test_a_disk_that_tensorflow_finds_full_is_not_called_too_little_memory(capsys):
    import tensorflow as tf

    @verb
    def train():
        tf.io.write_file("/dev/full", "x" * 10_000_000)

    with pytest.raises(SystemExit):
        train()
    assert capsys.readouterr().err == "Error: /dev/full; No space left on device\n"


def test_a_message_never_steers_the_terminal(run_cli, tmp_path):
    name = tmp_path / "a\x1b[2J\u202egnp.png"
    name.write_bytes(b"broken")
    result = run_cli("count", name, "--model", "zoo:simulated_bf", "-o", tmp_path / "counts.csv")
    assert result.exit_code == 1
    assert r"a\x1b[2J\u202egnp.png" in result.stderr
    assert "\x1b" not in result.output and "\u202e" not in result.output
