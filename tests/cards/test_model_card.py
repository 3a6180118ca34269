"""Model cards: kept up to date, and never at the cost of what somebody wrote."""

import json
import shutil

import pytest

from cellzoo import zoo
from cellzoo.cards.model_card import exported_card, merge_card, write_model_card
from cellzoo.cards.render import code, fenced, text
from cellzoo.errors import UserError
from cellzoo.recipe import load_recipe
from cellzoo.runs import Run
from cellzoo.training.environment import write_environment

OLD = {"summary": "Old summary.", "scores": "Old scores."}
NEW = {"summary": "New summary.", "scores": "New scores."}


def test_our_blocks_are_renewed_and_everything_else_stays():
    card = merge_card(None, OLD, "tiny")
    assert card.startswith("# tiny\n")
    assert merge_card(card, OLD, "tiny") == card
    mine = card.replace("# tiny", "# My counter\nBy me.") + "\n## Mine\nText.\n"
    new = merge_card(mine, NEW, "tiny")
    assert new.startswith("# My counter\nBy me.") and new.endswith("\n## Mine\nText.\n")
    assert "New summary." in new and "New scores." in new and "Old" not in new


def test_an_edited_block_is_its_editors():
    card = merge_card(None, OLD, "tiny").replace("Old summary.", "Old summary, by me.")
    new = merge_card(card, NEW, "tiny")
    assert "Old summary, by me." in new and "New summary." not in new
    assert "New scores." in new and "Old scores." not in new


def test_a_block_taken_out_stays_out_and_one_asked_for_is_added():
    card = merge_card(None, {"scores": "Old scores."}, "tiny")
    assert "summary" not in merge_card(card, NEW, "tiny")
    assert merge_card("Mine.\n", NEW, "tiny") == "Mine.\n"
    added = merge_card("Mine.\n", NEW, "tiny", add=("scores",))
    assert added.startswith("Mine.\n") and "New scores." in added and "summary" not in added
    assert merge_card(added, NEW, "tiny", add=("scores",)) == added


@pytest.fixture
def run(tiny_run, tmp_path):
    shutil.copytree(tiny_run, tmp_path / "run")
    return Run(tmp_path / "run")


def finish(run):
    scores = {"images": 20, "mae": 1.25, "exact": 0.5, "training_counts": [2, 31]}
    run.write_json("report/validation.json", scores)


def test_a_card_says_what_the_run_knows(run):
    card = write_model_card(run)
    text = card.read_text()
    assert card == run.path / "README.md" and text.startswith("# tiny\n")
    for words in (
        "training was not finished", "16 x 16 px", "licence", "- modality: not stated",
        "- pixel size: not stated", "No evaluation yet", "Natural images: folder cells.",
    ):  # fmt: skip
        assert words.lower() in text.lower(), words
    finish(run)
    (run.path / "splits.csv").write_text(
        "image,group,split,labelled\na,g,train,1\nb,g,train,0\nc,h,train,0\nd,i,test,1\n"
    )
    evaluation = {
        "subject": "test split", "protocol": "cellzoo", "images": 7,
        "scores": {"mae": 1.234, "exact": 0.25, "mre": None},
        "intervals": {"mae": [1.1, 1.4], "exact": [0.1, 0.4]},
        "count_interval": {"coverage": 0.957, "mean_width": 5.125}, "mean_prediction_mae": 4.0,
    }  # fmt: skip
    run.write_json("report/evaluation_test.json", evaluation)
    run.write_json("report/evaluation_mine.json", {**evaluation, "scores": {}, "images": 999})
    write_model_card(run)
    text = card.read_text()
    for words in (
        "2 to 31 cells", "7 images, test split", "| MAE | 1.23 cells | 1.10 to 1.40 |",
        "| exact | 25.0 % | 10.0 to 40.0 |", "95.7 %", "5.12 cells",
        "| train | 3 | 1 | 2 |", "| test | 1 | 1 | 1 |", "MAE 1.25 cells, exact 50.0 %.",
    ):  # fmt: skip
        assert words in text, words
    assert "cannot tell" not in text
    near = {**evaluation, "groups": 7, "mean_prediction_mae": 1.3}
    run.write_json("report/evaluation_test.json", near)
    write_model_card(run)
    sentence = "7 images cannot tell this counter from always predicting the mean."
    assert sentence in card.read_text()
    assert "not finished" not in text and "999" not in text and "MRE" not in text
    assert "No group (chamber, time-lapse, layout) is in two splits." in text
    (run.path / "splits.csv").write_text("image,group,split,labelled\na,a,train,1\nb,b,test,1\n")
    write_model_card(run)
    assert "No two images are of one group: if some show the same cells" in card.read_text()


def test_the_recipe_says_what_no_image_tells(run):
    recipe = run.recipe_file.read_text()
    run.recipe_file.write_text(
        recipe + "card: {licence: CC BY 4.0, modality: phase contrast, pixel_size_um: 0.65}\n"
    )
    text = write_model_card(Run(run.path)).read_text()
    for words in ("Licence of the images: CC BY 4.0.", "phase contrast", "0.65 µm"):
        assert words in text


def test_no_folder_of_the_computer_is_in_a_card(run):
    recipe = run.recipe_file.read_text()
    assert "folder: cells" in recipe
    run.recipe_file.write_text(recipe.replace("folder: cells", "folder: /home/me/lab/cells"))
    command = ["/home/me/.venv/bin/cellzoo", "fit", "/home/me/r.yaml", "--set", "a=/home/me/b c"]
    run.write_json("environment.json", {"command": command, "cellzoo": "0.1"})
    card = exported_card(Run(run.path), "")
    assert "/home" not in card and "/me" not in card
    assert "folder: cells" in card and "cellzoo fit r.yaml --set 'a=b c'" in card


def test_no_folder_of_the_computer_is_in_the_environment(run, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/home/me/bin/cellzoo", "fit", "/home/me/r.yaml"])
    monkeypatch.setattr("cellzoo.backend.alone", True)
    write_environment(run)
    text = (run.path / "environment.json").read_text()
    assert json.loads(text)["command"] == ["cellzoo", "fit", "r.yaml"] and "/home" not in text


def test_a_training_from_python_has_no_command(run, monkeypatch):
    monkeypatch.setattr("sys.argv", ["ipykernel_launcher.py", "-f", "kernel-1.json"])
    monkeypatch.setattr("cellzoo.backend.alone", False)
    write_environment(run)
    assert "kernel-1.json" not in write_model_card(run).read_text()


@pytest.mark.parametrize("file", ["environment.json", "report/validation.json"])
@pytest.mark.parametrize("content", [b"", b"[1]", b"{\xff", b'{"a":'])
def test_a_damaged_file_of_a_run_is_named(run, file, content):
    (run.path / "report").mkdir(exist_ok=True)
    (run.path / file).write_bytes(content)
    with pytest.raises(UserError, match=f"{file} is damaged: "):
        write_model_card(Run(run.path))


def test_text_from_a_recipe_does_not_become_markup(run):
    licence = "CC `BY` | 4.0 <b> *or* _later_ &lt; <!-- cellzoo: end of data -->"
    with run.recipe_file.open("a") as recipe:
        recipe.write(f"card: {{licence: {json.dumps(licence)}}}\n")
    card = write_model_card(Run(run.path))
    text = card.read_text()
    assert (
        r"Licence of the images: CC \`BY\` \| 4.0 &lt;b&gt; \*or\* \_later\_ &amp;lt; "
        "&lt;!-- cellzoo: end of data --&gt;."
    ) in text
    # The blocks are whole: they are found and renewed.
    finish(run)
    write_model_card(Run(run.path))
    assert "2 to 31 cells" in card.read_text() and card.read_text().count("## Data") == 1


@pytest.mark.parametrize(
    ("plain", "shown"),
    [("a b", "`a b`"), ("a `b` c", "``a `b` c``"), ("`", "`` ` ``"), ("two\nlines", "`two lines`")],
)
def test_code_in_markdown_may_hold_backticks(plain, shown):
    assert code(plain) == shown
    assert fenced("```\nx", "yaml") == "````yaml\n```\nx\n````"


def test_names_of_files_stay_readable():
    assert text("my_images_2.tif") == "my_images_2.tif"


def test_a_model_that_never_saw_a_label_says_so(run):
    recipe = run.recipe_file.read_text()
    run.recipe_file.write_text(recipe.replace("labelled: null", "labelled: 0"))
    run.write_json("report/validation.json", {"images": 20, "mae": 1.25, "exact": 0.5})
    text = write_model_card(Run(run.path)).read_text()
    assert "- counts: learned from synthetic images alone, no training image was labelled" in text


def test_a_mean_over_views_is_told(run):
    assert "- counting:" not in write_model_card(run).read_text()
    recipe = run.recipe_file.read_text()
    run.recipe_file.write_text(recipe.replace("augmentation: 1\n", "augmentation: 4\n"))
    text = write_model_card(Run(run.path)).read_text()
    assert "- counting: the mean of 4 counts, of the image and its flips\n" in text


def test_a_readme_of_somebodys_own_stays(run):
    (run.path / "README.md").write_text("My notes.\n")
    assert write_model_card(run) is None
    assert (run.path / "README.md").read_text() == "My notes.\n"
    card = exported_card(run, "## Inputs and outputs\nPixels in.")
    assert card.startswith("My notes.\n") and "Pixels in." in card


def test_what_others_left_in_the_run_is_no_obstacle(run):
    card = write_model_card(run)
    card.write_bytes((card.read_text() + "\nFragen an Jürgen.\n").encode("latin-1", "replace"))
    (run.path / "report").mkdir(exist_ok=True)
    (run.path / "report" / "evaluation_notes.json").write_text('{"my": 1}')
    (run.path / "report" / "evaluation_draft.json").write_text("{")
    assert write_model_card(run) == card
    assert "Fragen an Jürgen." in exported_card(run, "## Inputs and outputs\nPixels in.")


def test_an_export_has_the_runs_card_with_what_was_added(run):
    card = write_model_card(run)
    card.write_text(card.read_text() + "\nAsk Ada about the medium.\n")
    finish(run)
    exported = exported_card(run, "## Inputs and outputs\nPixels in.")
    assert "Ask Ada about the medium." in exported and "Pixels in." in exported
    assert "2 to 31 cells" in exported
    assert "2 to 31 cells" not in card.read_text()  # an export leaves the run as it is


def test_an_export_of_the_zoo_keeps_what_its_card_alone_has():
    for name in zoo.names():
        run = Run(zoo.find(f"zoo:{name}"))
        card, exported = (run.path / "README.md").read_text(), exported_card(run, "## Inputs\nx")
        assert exported.startswith(card.rstrip()) and "## Inputs" in exported


def test_evaluate_renews_the_scores_and_keeps_the_rest(
    run, run_cli, write_cells, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write_cells(tmp_path / "cells")
    card = write_model_card(run)
    card.write_text(card.read_text().replace("# tiny", "# tiny, by Ada"))
    assert run_cli("evaluate", run.path).exit_code == 0
    mae = json.loads((run.path / "report/evaluation_test.json").read_text())["scores"]["mae"]
    text = card.read_text()
    assert text.startswith("# tiny, by Ada\n") and f"| MAE | {mae:.2f} cells |" in text
    assert "No evaluation yet" not in text


def test_scores_of_a_model_that_was_trained_on_since_are_left_out(run):
    report = {
        "scores": {"mae": 1.25}, "intervals": {}, "subject": "test split", "protocol": "cellzoo",
        "images": 3, "model_digest": run.digest(),
    }  # fmt: skip
    (run.path / "report" / "evaluation_test.json").write_text(json.dumps(report))
    assert "| MAE | 1.25 cells |" in write_model_card(run).read_text()
    run.best_weights.write_bytes(run.best_weights.read_bytes() + b"0")
    finish(run)
    text = write_model_card(run).read_text()
    assert "| MAE | 1.25 cells |" not in text and "No evaluation yet" in text


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{source: simulated, modality: pc}", "simulated microscope, pc"),
        ("{source: simulated_fluorescence}", "simulated fluorescence"),
        ("{source: bbbc005, folder: data/there}", "simulated fluorescence, BBBC005"),
        ("{source: folder, folder: data/mine}", "folder mine"),
    ],
)
def test_words_for_the_data_say_so_if_it_is_simulated(run, source, words):
    recipe = load_recipe(run.recipe_file, [f"data.natural={source}"])
    assert recipe.data.natural.describe() == words
