"""Five thousand damaged run folders and recipes: a sentence or a result, never a traceback."""

import json
import random
import shutil
from pathlib import Path

import pytest
import yaml

from cellzoo.cards.model_card import write_model_card
from cellzoo.counters.load import load_run
from cellzoo.errors import UserError
from cellzoo.recipe import load_recipe, shipped
from cellzoo.runs import Run

pytestmark = pytest.mark.slow

VALUES = [None, True, -1, 0, 1e308, float("nan"), "", "..", "=1", [], {}, [[]], {"a": 1}, "x" * 300]
RUBBISH = [b"\0", b"\xff", b"\n", b": ", b"[", b"{", b"- ", b"&a ", b"*a", b"!!python/name:os "]


def damaged_text(content, chance):
    """Bytes with some changed, cut, doubled or replaced by rubbish."""
    content = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        if not content:
            break
        place = chance.randrange(len(content))
        match chance.randrange(4):
            case 0:
                content[place] = chance.randrange(256)
            case 1:
                del content[place : place + chance.randint(1, 40)]
            case 2:
                content[place:place] = content[place : place + chance.randint(1, 40)]
            case 3:
                content[place:place] = chance.choice(RUBBISH)
    if chance.random() < 0.2:
        del content[chance.randrange(len(content) + 1) :]
    return bytes(content)


def damaged_value(value, chance):
    """A structure of which one value, somewhere, is another one."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(list(value))
        return {**value, key: damaged_value(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.7:
        k = chance.randrange(len(value))
        return [*value[:k], damaged_value(value[k], chance), *value[k + 1 :]]
    return chance.choice(VALUES)


def said_well(function, *arguments):
    """Whether it was a sentence; any other exception fails the test."""
    try:
        function(*arguments)
    except UserError as error:
        message = str(error)
        assert message and "\n" not in message.strip() and "Traceback" not in message, message
        return True
    return False


def test_damaged_recipes(tmp_path):
    sound = [Path(file).read_bytes() for file in sorted(shipped.FOLDER.glob("*.yaml"))]
    said = 0
    file = tmp_path / "r.yaml"
    for number in range(3000):
        chance = random.Random(number)
        content = chance.choice(sound)
        if number % 2:
            content = damaged_text(content, chance)
        else:
            content = yaml.safe_dump(damaged_value(yaml.safe_load(content), chance)).encode()
        file.write_bytes(content)
        said += said_well(load_recipe, file)
    assert said > 1000


@pytest.fixture
def run(tiny_run, tmp_path):
    """A finished run, as far as its files say."""
    shutil.copytree(tiny_run, tmp_path / "run")
    run = Run(tmp_path / "run")
    run.write_json(
        "environment.json",
        {"cellzoo": "0.1", "python": "3.11", "platform": "Linux-6", "packages": {"keras": "3.15"},
         "backend": "tensorflow", "devices": ["/physical_device:CPU:0"], "command": ["a", "fit"]},
    )  # fmt: skip
    run.write_json(
        "report/validation.json",
        {"images": 20, "mae": 1.25, "exact": 0.5, "training_counts": [2, 31], "training_mean": 9,
         "interval": {"constant": 1.5, "per_cell": 0.7, "images": 40, "groups": 4}},
    )  # fmt: skip
    (run.path / "splits.csv").write_text(
        "image,group,split,labelled,count,mean\na,g,train,1,3,0.5\nb,h,test,0,,0.25\n"
    )
    (run.path / "history.csv").write_text("epoch,loss\n1,0.5\n2,0.25\n")
    return run.path


def look_at(path):
    """All that is read of a run but its weights."""
    run = Run(path)
    run.history()
    run.fingerprints()
    run.out_of_distribution()
    run.validation_scores()
    write_model_card(run)


def test_damaged_run_folders(run):
    look_at(run)
    sound = {
        path: path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.suffix != ".h5" and path.name != "README.md"
    }
    said = 0
    for number in range(2000):
        chance = random.Random(number)
        path = chance.choice(list(sound))
        if number % 2 and path.suffix == ".json":
            content = json.dumps(damaged_value(json.loads(sound[path]), chance)).encode()
        else:
            content = damaged_text(sound[path], chance)
        path.write_bytes(content)
        said += said_well(look_at, run)
        path.write_bytes(sound[path])
    assert said > 200


def test_damaged_weights(run):
    (weights,) = run.glob("checkpoints/best.weights.h5")
    sound = weights.read_bytes()
    for number in range(40):
        weights.write_bytes(damaged_text(sound, random.Random(number)))
        said_well(load_run, run)
