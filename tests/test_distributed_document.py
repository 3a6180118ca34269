"""docs/distributed.md: its scripts are run, with stand-ins for ssh, Slurm and cellzoo."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cellzoo.cli import main
from cellzoo.commands.shards import Shard
from cellzoo.recipe import load_recipe
from cellzoo.training.devices import _machines

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "distributed.md").read_text()
SCRIPTS = re.findall(r"```bash\n(.*?)```", TEXT, re.S)
MANIFESTS = [d for text in re.findall(r"```yaml\n(.*?)```", TEXT, re.S)
             for d in yaml.safe_load_all(text)]  # fmt: skip
JOBS = [d["spec"] for d in MANIFESTS if d["kind"] == "Job"]

CELLZOO = f"""#!{sys.executable}
import json, os, sys
with open(os.environ["CALLS"], "a") as file:
    file.write(json.dumps([sys.argv[1:], os.environ.get("TF_CONFIG")]) + "\\n")
"""
STAND_INS = {
    "cellzoo": CELLZOO,
    "ssh": '#!/bin/bash\nshift; bash -c "${1#cd project && }"\n',
    "scontrol": "#!/bin/bash\necho node1; echo node2\n",
    "srun": '#!/bin/bash\nfor id in 0 1; do SLURM_PROCID=$id "$@"; done\n',
}


@pytest.fixture
def run(tmp_path):
    """A function of a script that returns what cellzoo was called with, and its TF_CONFIGs."""
    for name, text in STAND_INS.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    def run(script, **environment):
        calls = tmp_path / "calls"
        path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "CALLS": str(calls), **environment}
        subprocess.run(["bash", "-ec", script], env=environment, check=True, timeout=60)
        return [json.loads(line) for line in calls.read_text().splitlines()]

    return run


def check_command(words):
    """The verb takes these words, and the recipe is there."""
    context = main.commands[words[0]].make_context(words[0], list(words[1:]))
    load_recipe(context.params["recipe"])
    return context.params


def check_machines(configs, monkeypatch):
    machines = []
    for config in configs:
        monkeypatch.setenv("TF_CONFIG", config)
        machines.append(_machines())
    assert sorted(machines) == [(0, 2), (1, 2)]


def test_the_scripts_that_train_start_every_machine_once(run, monkeypatch):
    for script in [s for s in SCRIPTS if "cellzoo fit" in s]:
        calls = run(script)[-2:]
        for words, _ in calls:
            check_command(words)
        check_machines([config for _, config in calls], monkeypatch)


def test_the_scripts_that_search_have_one_chief(run):
    for script in [s for s in SCRIPTS if "cellzoo tune" in s]:
        commands = [check_command(words) for words, _ in run(script)[-3:]]
        assert [c["serve"] for c in commands if c["serve"]] == [9000]
        assert [c["chief"].rpartition(":")[2] for c in commands if c["chief"]] == ["9000"] * 2


def indexed_job(name):
    """The indexed Job whose container is called so, and that."""
    for job in JOBS:
        (container, *others) = job["template"]["spec"]["containers"]
        if container["name"] == name and not others and job.get("completionMode") == "Indexed":
            return job, container
    raise AssertionError(name)


def counted_shards(calls):
    shards = []
    for words, _ in calls:
        context = main.commands["count"].make_context("count", words[1:])
        assert context.params["resume"]
        shards.append(Shard.parse(context.params["shard"]))
    return shards


def test_the_jobs_that_count_take_each_shard_once(run):
    (script,) = [s for s in SCRIPTS if "cellzoo count" in s]
    first, last = map(int, re.search(r"--array=(\d+)-(\d+)", script).groups())
    assert first == 1
    for index in (first, last):
        calls = run(script, SLURM_ARRAY_TASK_ID=str(index))
    assert counted_shards(calls) == [Shard(1, last), Shard(last, last)]


def test_the_pods_that_count_take_each_shard_once(run):
    job, container = indexed_job("count")
    wanted = job["completions"]
    for index in (0, wanted - 1):
        calls = run(container["args"][0], JOB_COMPLETION_INDEX=str(index))
    assert counted_shards(calls) == [Shard(1, wanted), Shard(wanted, wanted)]


def test_the_training_job_starts_every_machine_once(run, monkeypatch):
    job, container = indexed_job("train")
    for index in range(job["completions"]):
        calls = run(container["args"][0], JOB_COMPLETION_INDEX=str(index))
    for words, _ in calls:
        check_command(words)
    check_machines([config for _, config in calls], monkeypatch)


def test_the_search_jobs_have_one_chief():
    commands = [
        check_command(container["command"][1:])
        for job in JOBS
        for container in job["template"]["spec"]["containers"]
        if container["command"][0] == "cellzoo"
    ]
    assert [(c["serve"], c["chief"]) for c in commands] == [(9000, None), (None, "search:9000")]
    assert "search" in [d["metadata"]["name"] for d in MANIFESTS if d["kind"] == "Service"]
