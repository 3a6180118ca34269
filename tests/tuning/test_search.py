"""The search: what it tries, what it writes, and what cannot take it down.

Most trials here are a small program that scores a recipe by a formula, not a training.
"""

import csv
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cellzoo.errors import UsageError, UserError
from cellzoo.files import lock, temporary_beside
from cellzoo.recipe import check_space, load_recipe, with_values
from cellzoo.tuning import chief as chief_module
from cellzoo.tuning import process
from cellzoo.tuning.chief import serve_search
from cellzoo.tuning.oracle import COMPLETED, FAILED, make_oracle
from cellzoo.tuning.search import Search, _check_folder, check_objective, tune

RECIPE = """\
name: tiny
data:
  natural: {source: folder, folder: cells}
augment: {crop: 1}
model: {name: twinvae_spatial, image_size: 16, channels: [2, 4], shared_channels: 2, latent: 2}
train: {batch: 4, epochs: 2, steps_per_epoch: 2}
tune:
  space:
    train.learning_rate: {low: 1.0e-5, high: 1.0e-1, scale: log}
    model.channels.1: {choice: [2, 4]}
  trials: 4
quick:
  train: {epochs: 1}
  tune:
    space:
      model.channels.1: null
"""

# |log10(learning rate) + 3|: best at 1e-3. It also counts how often a trial was started.
TRIAL = """
import json, math, os, pathlib, signal, sys, time, yaml
recipe = yaml.safe_load(open(sys.argv[2]))
run = pathlib.Path(sys.argv[4])
(run / "report").mkdir(parents=True, exist_ok=True)
with open(run / "starts", "a") as starts:
    starts.write("started ")
score = abs(math.log10(recipe["train"]["learning_rate"]) + 3)
mode = recipe["loss"]["kl_weight"]
if mode == 4 and len((run / "starts").read_text().split()) == 1:
    time.sleep(60)
if mode == 5:
    print("Error: the loss became nan.")
    sys.exit(1)
if mode == 6:
    os.kill(os.getpid(), signal.SIGKILL)
if mode == 7:
    score = math.nan
(run / "report" / "validation.json").write_text(json.dumps({"mae_raw": score, "seconds": 1.5}))
"""


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "FIT", TRIAL)

    def load(text=RECIPE, *settings, quick=False):
        path = tmp_path / "tiny.yaml"
        path.write_text(text)
        return load_recipe(path, settings, quick)

    return load


def rows(folder):
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def modes(*values):
    """A recipe whose trials end in these ways."""
    space = f"  space:\n    loss.kl_weight: {{choice: {list(values)}}}\n"
    start = RECIPE.index("  space:")
    return RECIPE[:start] + space + f"  algorithm: random\n  trials: {len(values)}\n"


def test_a_search_leaves_a_table_plots_and_the_best_recipe(load, tmp_path, caplog):
    recipe = load()
    out = tmp_path / "search"
    with caplog.at_level("INFO", logger="cellzoo"):
        files = tune(recipe, out)
    table = rows(out)
    assert [row["trial"] for row in table] == ["0", "1", "2", "3"]
    assert {row["status"] for row in table} == {"completed"}
    assert all(float(row["seconds"]) == 1.5 for row in table)
    best = min(table, key=lambda row: float(row["validation_mae_raw"]))
    tuned = load_recipe(files[0])
    assert tuned.tune is None
    assert tuned.train.learning_rate == float(best["train.learning_rate"])
    assert tuned.model.channels == (2, int(best["model.channels.1"]))
    assert tuned.train.epochs == 2
    (change,) = [
        line for line in (out / "changes.txt").read_text().splitlines() if "learning_rate" in line
    ]
    assert change.startswith("train.learning_rate: 0.00013 -> ")
    assert all(file.is_file() for file in files)
    assert len(list((out / "tensorboard").glob("*/events*"))) == 4


def test_more_trials_go_on_and_nothing_runs_twice(load, tmp_path):
    out = tmp_path / "search"
    tune(load(RECIPE, "tune.trials=2"), out)
    first = rows(out)
    tune(load(RECIPE, "tune.trials=3"), out)
    assert rows(out)[:2] == first
    assert len(rows(out)) == 3
    starts = [(out / "trials" / f"000{k}" / "starts").read_text() for k in range(3)]
    assert starts == ["started "] * 3


def test_no_trial_takes_the_search_down(load, tmp_path):
    out = tmp_path / "search"
    tune(load(modes(-1, 1, 5, 6, 7)), out)
    ended = {row["loss.kl_weight"]: (row["status"], row["reason"]) for row in rows(out)}
    assert ended["1"] == ("completed", "")
    assert {mode for mode, (status, _) in ended.items() if status == "failed"} == {
        "-1", "5", "6", "7",
    }  # fmt: skip
    assert "kl_weight is -1" in ended["-1"][1]
    assert ended["5"][1] == "the loss became nan."
    assert "out of memory" in ended["6"][1]
    assert "never was a number" in ended["7"][1]
    assert load_recipe(out / "best.yaml").loss.kl_weight == 1


def test_a_search_in_which_every_trial_fails_says_why(load, tmp_path):
    with pytest.raises(UserError, match="None of the 1 trials .* the loss became nan"):
        tune(load(modes(5)), tmp_path / "search")


@pytest.fixture
def interruptible():
    """Ctrl-C as at a terminal: where a job runs in the background, SIGINT is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupted_search_goes_on_with_the_trial_it_was_at(load, tmp_path, interruptible):
    out = tmp_path / "search"
    started = out / "trials" / "0000" / "starts"

    def interrupt():
        while not started.exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        tune(load(modes(4)), out)
    tune(load(modes(4)), out)
    assert started.read_text() == "started started "
    assert [row["status"] for row in rows(out)] == ["completed"]


def ended(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"  # nobody has asked for its exit code yet


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a trial with its search")
def test_a_search_that_is_killed_takes_its_trial_along_and_goes_on(load, tmp_path):
    recipe, out = load(modes(4)), tmp_path / "search"
    trial = f"from cellzoo.tuning.process import end_with_parent; end_with_parent()\n{TRIAL}"
    code = (
        "from pathlib import Path\nfrom cellzoo.tuning import process\n"
        "from cellzoo.tuning.search import tune\n"
        "from cellzoo.recipe import load_recipe\n"
        f"process.FIT = {trial!r}\n"
        f"tune(load_recipe({str(tmp_path / 'tiny.yaml')!r}), Path({str(out)!r}))"
    )
    search = subprocess.Popen([sys.executable, "-c", code])
    started = out / "trials" / "0000" / "starts"
    while not started.exists():
        assert search.poll() is None
        time.sleep(0.02)
    children = Path(f"/proc/{search.pid}/task").glob("*/children")
    (pid,) = [int(word) for file in children for word in file.read_text().split()]
    search.kill()
    search.wait()
    deadline = time.monotonic() + 30
    while not ended(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    tune(recipe, out)
    assert started.read_text() == "started started "
    assert [row["status"] for row in rows(out)] == ["completed"]


def test_workers_share_the_trials_and_the_machine(load, tmp_path, monkeypatch):
    out = tmp_path / "search"
    tune(load(RECIPE, "tune.algorithm=random"), out, workers=2)
    assert [row["status"] for row in rows(out)] == ["completed"] * 4
    assert (out / "trials" / "0003" / "starts").read_text() == "started "
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [process.share(k, 3, gpus=2)["CUDA_VISIBLE_DEVICES"] for k in range(3)] == list("010")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert process.share(1, 2, gpus=2) == {"CUDA_VISIBLE_DEVICES": "7"}
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert process.share(0, 2, gpus=0)["TF_NUM_INTRAOP_THREADS"] == "4"
    assert process.share(0, 1, gpus=2) == {}


def test_a_chief_keeps_the_results_of_its_workers(load, tmp_path):
    # A choice of two: the search ends before its four trials.
    recipe = load(modes(1, 2), "tune.trials=4")
    with socket.socket() as s:
        s.bind(("localhost", 0))
        port = s.getsockname()[1]
    written = []
    chief = threading.Thread(
        target=lambda: written.extend(tune(recipe, tmp_path / "chief", serve=port)), daemon=True
    )
    chief.start()
    assert tune(recipe, tmp_path / "worker", chief=f"localhost:{port}") == []
    chief.join(timeout=60)
    assert written[0] == tmp_path / "chief" / "best.yaml"
    assert [row["status"] for row in rows(tmp_path / "chief")] == ["completed"] * 2


def test_hyperband_gives_few_epochs_to_most(load, tmp_path):
    settings = ("tune.algorithm=hyperband", "tune.epochs=4", "tune.trials=7")
    out = tmp_path / "search"
    tune(load(RECIPE, *settings), out)
    epochs = [load_recipe(file).train.epochs for file in sorted((out / "trials").glob("*.yaml"))]
    assert (epochs.count(2), epochs.count(4)) == (5, 2)
    assert load_recipe(out / "best.yaml").train.epochs == 2  # the recipe's own


def test_a_recipe_that_another_worker_is_writing_is_no_other_file(load, tmp_path):
    recipe, folder = load(), tmp_path / "search"
    folder.mkdir()
    temporary_beside(folder / "recipe.yaml").write_text("half of it")
    _check_folder(recipe, folder)


def test_hyperband_wants_trials_for_its_longer_rounds(load, tmp_path):
    settings = ("tune.algorithm=hyperband", "tune.epochs=4", "tune.trials=5")
    with pytest.raises(UsageError, match="tries 5 for 2 epochs .* tune.trials to 7 or more"):
        tune(load(RECIPE, *settings), tmp_path / "search")


def test_a_chief_that_starts_again_leaves_running_trials_to_their_workers(load, tmp_path):
    folder, recipe = tmp_path / "search", load()
    first = make_oracle(recipe, folder, served=True)
    mine, other = first.create_trial("node1-0"), first.create_trial("node2-0")
    again = make_oracle(recipe, folder, served=True)
    assert again.create_trial("node1-0").trial_id == mine.trial_id  # as after its own restart
    again.update_trial(other.trial_id, {"validation_mae_raw": 1.0})
    other.status = COMPLETED
    again.end_trial(other)
    third = again.create_trial("node2-0")
    assert third.trial_id not in (mine.trial_id, other.trial_id)
    assert again.end_order == [other.trial_id]
    # In the search's own process nobody is left who trains them.
    here = make_oracle(recipe, folder)
    retried = {here.create_trial(f"(here)-{k}").trial_id for k in range(2)}
    assert retried == {mine.trial_id, third.trial_id}


def test_a_worker_may_come_late_to_a_folder_that_its_chief_made(load, tmp_path):
    recipe, folder = load(), tmp_path / "search"
    _check_folder(recipe, folder)
    search = Search(recipe, folder, None)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    search.oracle = make_oracle(recipe, folder, served=True)
    chief = threading.Thread(target=serve_search, args=(search, port), daemon=True)
    chief.start()
    time.sleep(1.2)  # the chief has looked for results twice
    assert tune(recipe, folder, chief=f"localhost:{port}") == []
    assert len(search.oracle.end_order) == 4
    chief.join(timeout=60)


def test_a_chief_that_is_not_there_is_said(load, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(chief_module, "_FIRST_ANSWER", 1.5)
    caplog.set_level("INFO", "cellzoo")
    with pytest.raises(UserError, match="Nobody answers at localhost:1: start the chief"):
        make_oracle(load(), tmp_path, chief="localhost:1")
    assert "Waiting for the chief at localhost:1" in caplog.text


def test_a_place_where_a_trial_failed_is_not_tried_again(load, tmp_path):
    recipe = load(RECIPE, "tune.trials=9", "tune.space={train.learning_rate: "
                  "{low: 1.0e-5, high: 1.0e-1, scale: log}}")  # fmt: skip
    oracle = make_oracle(recipe, tmp_path / "search", None)
    failed = []
    for _ in range(9):
        trial = oracle.create_trial("worker")
        rate = trial.hyperparameters.values["train.learning_rate"]
        # Better and better up to where everything breaks down.
        if rate > 1e-2:
            failed.append(rate)
            trial.status = FAILED
        else:
            oracle.update_trial(trial.trial_id, {"validation_mae_raw": -math.log10(rate)})
            trial = oracle.trials[trial.trial_id]
            trial.status = COMPLETED
        oracle.end_trial(trial)
    assert 0 < len(failed) < 5
    assert len({round(math.log10(rate), 2) for rate in failed}) == len(failed)


def test_a_folder_of_something_else_is_left_alone(load, tmp_path):
    recipe = load()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="full holds other files"):
        tune(recipe, tmp_path / "full")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "recipe.yaml").write_text("# my notes\n" + RECIPE)
    with pytest.raises(UsageError, match="mine holds other files"):
        tune(load_recipe(tmp_path / "mine" / "recipe.yaml"), tmp_path / "mine")
    assert (tmp_path / "mine" / "recipe.yaml").read_text().startswith("# my notes")
    tune(load(RECIPE, "tune.trials=1"), tmp_path / "search")
    with pytest.raises(UsageError, match=r"another recipe \(loss.kl_weight: 2.0 -> 1.0\)"):
        tune(load(RECIPE, "loss.kl_weight=1"), tmp_path / "search")


def test_a_space_that_the_recipe_does_not_have_is_one_sentence(load):
    wrong = RECIPE.replace("train.learning_rate:", "train.learning_rat:")
    with pytest.raises(UsageError, match="did you mean train.learning_rate?"):
        check_space(load(wrong))
    with pytest.raises(UsageError, match="model.channels.2"):
        check_space(load(RECIPE.replace("channels.1", "channels.2")))
    start = "tune.space={loss.count_start_epoch: {low: 0, high: 5}}"
    with pytest.raises(UsageError, match="loss.count_start_epoch, which follows from how long"):
        check_space(load(RECIPE, start, "tune.epochs=3", "tune.budget=null"))
    free = ("tune.epochs=null", "tune.budget=null", "train.budget=null")
    check_space(load(RECIPE, start, *free))
    length = "tune.space={train.budget: {choice: [1m, 2m]}}"
    check_space(load(RECIPE, length, *free[:2], "train.budget=1m"))
    with pytest.raises(UsageError, match="train.budget, which follows from how long"):
        check_space(load(RECIPE, length, "tune.epochs=3", "tune.budget=null"))
    with pytest.raises(UsageError, match="train.epochs, which follows from how long"):
        both = length[:-1] + ", train.epochs: {low: 1, high: 9}}"
        check_space(load(RECIPE, both, *free))
    with pytest.raises(UsageError, match="nothing to tune"):
        tune(load(RECIPE, "tune=null"))


def test_an_overlay_takes_a_key_out_of_the_space(load):
    assert list(load(quick=True).tune.searched) == ["train.learning_rate"]


@pytest.mark.parametrize(
    "parameter, said",
    [
        ("{low: 2, high: 1}", "low the smaller"),
        ("{low: 0, high: 1, scale: log}", "log scale begins above 0"),
        ("{low: 64, high: 512, scale: log, step: 64}", "step is a factor, above 1 and at most"),
        ("{low: 1}", "low and high must be numbers"),
        ("{}", "either low and high or a choice"),
        ("{low: 1, high: 2, choice: [1]}", "either low and high or a choice"),
        ("{low: 1, hihg: 2}", "did you mean high?"),
    ],
)
def test_a_range_that_is_none_is_one_sentence(load, parameter, said):
    wrong = RECIPE.replace("{low: 1.0e-5, high: 1.0e-1, scale: log}", parameter)
    with pytest.raises(UsageError, match="learning_rate") as caught:
        load(wrong)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "setting, said",
    [
        ("tune.objective=validation_maee", "did you mean validation_mae?"),
        ("tune.objective=validation_exact", "set direction: max"),
    ],
)
def test_an_objective_that_is_none_is_one_sentence(load, setting, said):
    with pytest.raises(UsageError, match="tune") as caught:
        load(RECIPE, setting)
    assert said in str(caught.value)
    assert load(RECIPE, "tune.objective=validation_exact", "tune.direction=max").tune


@pytest.mark.parametrize("objective", ["natural_mask", "synthetic_count"])
def test_an_objective_that_no_training_writes_down_is_refused_before_one(load, tmp_path, objective):
    with pytest.raises(UsageError, match=f"tune.objective is {objective}, and the loss of"):
        tune(load(RECIPE, f"tune.objective={objective}"), tmp_path / "search")
    assert not (tmp_path / "search").exists()
    check_objective(load(RECIPE, "tune.objective=natural_kl"))


def test_what_is_fitted_without_a_loss_has_none_to_tune_by(load):
    classical = re.sub(r"^(augment|train): .*\n", "", RECIPE.partition("quick:")[0], flags=re.M)
    classical = re.sub("model: {.*", "model: {name: brightness}", classical)
    with pytest.raises(UsageError, match="brightness is fitted without a loss"):
        check_objective(load(classical, "tune.objective=loss"))


def test_a_search_is_made_by_one_process_at_a_time(load, tmp_path):
    (tmp_path / "search").mkdir()
    with lock(tmp_path / "search", ""):
        with pytest.raises(UserError, match="search is searched by another `cellzoo tune`: wait"):
            tune(load(RECIPE, "tune.trials=9"), tmp_path / "search")
    assert not (tmp_path / "search" / "recipe.yaml").exists()  # which is the other search's


def test_trials_validated_on_other_images_do_not_compete(load, tmp_path):
    recipe, trials = load(), tmp_path / "trials"
    search = Search(recipe, tmp_path, None)
    header = "image,group,split,labelled,count,mean\n"
    for number, count, mean in ((0, 3, 0.5), (1, 3, 0.6), (2, 4, 0.5)):  # other sizes, other means
        run = trials / f"{number:04d}"
        (run / "report").mkdir(parents=True)
        (run / "recipe.yaml").write_text(recipe.to_yaml())
        (run / "report" / "validation.json").write_text("{}")
        (run / "splits.csv").write_text(f"{header}a.png,a,validation,1,{count},{mean}\n")
    search._check_images(trials / "0000")
    search._check_images(trials / "0001")
    with pytest.raises(UserError, match="validated on other images or labels than .*0000, so err"):
        search._check_images(trials / "0002")
    (trials / "0000" / "splits.csv").write_text(  # as an earlier version wrote it
        "image,group,split,labelled\na.png,a,validation,1\n"
    )
    search._check_images(trials / "0001")


def test_a_trial_waits_for_its_former_process(load, tmp_path, caplog):
    """One that a killed search has left behind ends after its step, and trains until then."""
    caplog.set_level("INFO", "cellzoo")
    search = Search(load(), tmp_path, None)
    run = tmp_path / "trials" / "0000"
    run.mkdir(parents=True)
    (run / "recipe.yaml").write_text("")
    waiting = threading.Thread(target=search._wait_for_former, args=[run], daemon=True)
    with lock(run, ""):
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
        assert caplog.text.count("Waiting for another process that trains in") == 1
    waiting.join(10)
    assert not waiting.is_alive()


def test_values_go_to_their_keys(load):
    changed = with_values(load(), {"model.channels.1": 8, "train.clip_norm": 5, "model.latent": 3})
    assert (changed.model.channels, changed.train.clip_norm) == ((2, 8), 5)
    assert with_values(load(), {"model.channels": [6, 7]}).model.channels == (6, 7)
    with pytest.raises(UsageError, match="model.latent is 0"):
        with_values(load(), {"model.latent": 0})


@pytest.mark.slow
def test_trials_of_real_trainings(run_cli, write_cells, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_cells(tmp_path / "cells")
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    result = run_cli("tune", "tiny.yaml", "--trials", "2", "--out", "search")
    assert result.exit_code == 0, result.output
    assert [row["status"] for row in rows(tmp_path / "search")] == ["completed"] * 2
    assert "wrote search/best.yaml" in result.output
    assert (tmp_path / "search" / "trials" / "0000" / "history.csv").is_file()
