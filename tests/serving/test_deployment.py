"""The operators' files agree with each other, with the exports and with `cellzoo serve`."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from cellzoo.errors import UsageError, UserError
from cellzoo.serving import engines, metrics
from cellzoo.serving.batching import Batcher
from cellzoo.serving.config import (
    BASE_PATH,
    model_config,
    read_batching,
    read_model_config,
    read_monitoring,
    watch_models,
)
from cellzoo.serving.engines import Service, stock_command

SERVING = Path(__file__).parents[2] / "serving"
SERVICE = Service(Path("saved_models"))


def compose():
    return yaml.safe_load((SERVING / "docker-compose.yaml").read_text())["services"]


def kubernetes():
    return list(yaml.safe_load_all((SERVING / "kubernetes.yaml").read_text()))


def test_models_lie_where_the_containers_mount_them(tmp_path):
    """As `cellzoo export --serving` enters them into the file of the repository."""
    file = tmp_path / "models.config"
    file.write_text(model_config(["a", "b"], (SERVING / "models.config").read_text()))
    for model in read_model_config(file):
        assert model.base_path == f"{BASE_PATH}/{model.name}"
    assert f"../saved_models:{BASE_PATH}:ro" in compose()["serving"]["volumes"]
    container = kubernetes()[0]["spec"]["template"]["spec"]["containers"][0]
    assert BASE_PATH in [mount["mountPath"] for mount in container["volumeMounts"]]


def test_the_same_ports_everywhere():
    ports = [SERVICE.grpc_port, SERVICE.rest_port]
    assert compose()["serving"]["ports"] == [f"127.0.0.1:{port}:{port}" for port in ports]
    deployment, service, _ = kubernetes()
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert [port["containerPort"] for port in container["ports"]] == ports
    assert [port["port"] for port in service["spec"]["ports"]] == ports
    assert container["startupProbe"]["grpc"]["port"] == SERVICE.grpc_port
    assert container["livenessProbe"]["grpc"]["port"] == SERVICE.grpc_port
    assert container["readinessProbe"]["tcpSocket"]["port"] == SERVICE.rest_port
    assert f"/127.0.0.1/{SERVICE.rest_port}" in compose()["serving"]["healthcheck"]["test"][-1]


def test_the_files_that_commands_name_are_there():
    for arguments in (
        compose()["serving"]["command"],
        kubernetes()[0]["spec"]["template"]["spec"]["containers"][0]["args"],
    ):
        files = [argument.partition("=/serving/")[2] for argument in arguments]
        files = [file for file in files if file]
        assert len(files) == 3
        for file in files:
            assert (SERVING / file).is_file()
    for service in ("prometheus", "grafana"):
        for volume in compose()[service]["volumes"]:
            if volume.startswith("."):
                assert (SERVING / volume.split(":")[0]).is_file(), volume


def test_no_container_is_root_or_writes_to_its_disk():
    for name, service in compose().items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name
    assert compose()["serving"]["user"] == "65532:65532"  # the other images have users
    pod = kubernetes()[0]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip


def test_the_cluster_lets_in_who_is_named_and_nothing_out():
    deployment, _, policy = kubernetes()
    spec = policy["spec"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert spec["podSelector"]["matchLabels"].items() <= labels.items()
    assert (set(spec["policyTypes"]), spec["egress"]) == ({"Ingress", "Egress"}, [])
    assert all(rule["from"] and rule["ports"] for rule in spec["ingress"])


def test_no_password_is_known_beforehand():
    password = compose()["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD"]
    assert password.startswith("${GRAFANA_PASSWORD:?")  # compose does not start without it


def test_metrics_are_scraped_where_they_are():
    monitoring = read_monitoring(SERVING / "monitoring.config").prometheus_config
    assert (monitoring.enable, monitoring.path) == (True, metrics.PATH)
    job = yaml.safe_load((SERVING / "prometheus.yaml").read_text())["scrape_configs"][0]
    assert job["metrics_path"] == metrics.PATH
    assert job["static_configs"][0]["targets"] == [f"serving:{SERVICE.rest_port}"]
    counted = metrics.Metrics()
    counted.observe("cells", "predict", "GRPC", "OK", 0.001)
    panels = json.loads((SERVING / "grafana" / "dashboard.json").read_text())["panels"]
    for panel in panels:
        expression = panel["targets"][0]["expr"]
        name = expression[expression.index(":tensorflow") :].split("[")[0]
        assert name + "{" in counted.text()


def test_the_clients_batch_is_the_servers():
    parameters = read_batching(SERVING / "batching.config")
    assert parameters.max_batch_size.value == 64
    settings = engines._batching(SERVING / "batching.config")
    batcher = Batcher(
        settings["max_batch"],
        settings["batch_wait"],
        settings["max_waiting"],
        settings["batch_threads"],
    )
    assert (batcher.max_batch, batcher.wait, batcher.max_waiting) == (64, 0.001, 100)
    batcher.close()


def test_model_config_adds_models_and_keeps_what_an_operator_wrote(tmp_path):
    text = model_config(["a"])
    edited = text.replace(
        'name: "a"',
        'name: "a"  # ours\n    version_labels { key: "s" value: 1 }\n'
        '    logging_config { sampling_config { sampling_rate: 0.5 } }',
    )
    both = model_config(["a", "b", "b"], edited)
    assert "# ours" in both
    (tmp_path / "models.config").write_text(both)
    models = read_model_config(tmp_path / "models.config")
    assert [(m.name, m.base_path) for m in models] == [("a", "/models/a"), ("b", "/models/b")]
    assert dict(models[0].version_labels) == {"s": 1}
    assert models[0].logging_config.sampling_config.sampling_rate == 0.5
    assert model_config(["b"], both) == both


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ("# Nothing yet {", ""),
        ("model_config_list {\r\n", "} # end of list }\r\n# the end }\n"),
        ('model_config_list { config { name: "}#>" base_path: "b" } # > ours }\n', "}  # '"),
        ("model_config_list < config < name: 'a\\'}' base_path: 'b' >\n", ">;# >"),
    ],
)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_model_enters_whatever_an_operator_wrote(tmp_path, mark, before, after):
    file = tmp_path / "models.config"
    text = model_config(["new"], mark + before + after)
    assert text.startswith(before) and text.endswith(after)
    file.write_bytes((mark + text).encode())
    model = read_model_config(file)[-1]
    assert (model.name, model.base_path) == ("new", f"{BASE_PATH}/new")
    assert model_config(["new"], text) == text


def test_a_custom_model_config_is_left_alone():
    text = 'custom_model_config { type_url: "x" }'
    with pytest.raises(UserError, match="my.config has a custom_model_config: write a model_con"):
        model_config(["a"], text, name="my.config")


@pytest.mark.parametrize("text", ["models {", "model_config_list { }", "colour: 3"])
def test_a_wrong_model_config_is_named(tmp_path, text):
    file = tmp_path / "models.config"
    file.write_text(text)
    with pytest.raises(UserError, match=r"models\.config.*[^.]\.$"):
        read_model_config(file)


def test_models_are_folders_of_numbered_versions(tmp_path):
    for path in ("a/1", "a/2", "b/notes", ".hidden/1", "c", "2024/old"):
        (tmp_path / path).mkdir(parents=True)
    assert watch_models(tmp_path / "a")() == []
    (tmp_path / "a" / "2" / "saved_model.pb").touch()
    names = [model.name for model in watch_models(tmp_path)()]
    assert "a" in names
    assert not {"b", "c", "2024", tmp_path.name} & set(names)
    assert [model.name for model in watch_models(tmp_path / "a")()] == ["a"]
    assert watch_models(tmp_path / "nothing")() == []


def test_nothing_to_serve(run_cli, tmp_path):
    result = run_cli("serve", tmp_path)
    assert result.exit_code == 1
    assert "holds no SavedModel in a numbered folder" in result.stderr


def test_the_stock_server_only_where_everybody_may_reach_it(monkeypatch):
    monkeypatch.setattr(engines.shutil, "which", lambda name: None)
    assert engines._engine(Service(Path("m"), host="0.0.0.0")) == "embedded"
    with pytest.raises(UsageError, match="no tensorflow_model_server on the PATH"):
        engines._engine(Service(Path("m"), engine="tensorflow"))
    monkeypatch.setattr(engines.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert engines._engine(Service(Path("m"))) == "embedded"
    assert engines._engine(Service(Path("m"), host="0.0.0.0")) == "tensorflow"
    with pytest.raises(UsageError, match="--host 0.0.0.0"):
        engines._engine(Service(Path("m"), engine="tensorflow"))
    service = Service(Path("m"), batching_file=Path("b"), monitoring_file=Path("p"))
    command = set(stock_command(service, Path("models.config"), Path("metrics.config")))
    assert {"--port=8500", "--rest_api_port=8501", "--enable_batching"} <= command
    assert "--monitoring_config_file=p" in command
    assert "--monitoring_config_file=metrics.config" in stock_command(
        Service(Path("m")), Path("models.config"), Path("metrics.config")
    )


STUB = """\
#!{python}
import json, pathlib, signal, sys, time
config = next(a for a in sys.argv if a.startswith("--model_config_file=")).partition("=")[2]
seen = {{"arguments": sys.argv[1:], "config": pathlib.Path(config).read_text()}}
signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path({seen!r} + ".end").touch(), sys.exit(0)))
pathlib.Path({seen!r} + ".new").write_text(json.dumps(seen))
pathlib.Path({seen!r} + ".new").rename({seen!r})
time.sleep(60)
"""


@pytest.mark.skipif(os.name != "posix", reason="the stand-in is a script with a first line")
def test_auto_starts_tensorflow_serving_where_it_is_installed(tmp_path):
    """A stand-in notes how it is started; no TensorFlow is needed on our side."""
    program, seen = tmp_path / "bin" / engines.STOCK, tmp_path / "seen.json"
    program.parent.mkdir()
    program.write_text(STUB.format(python=sys.executable, seen=str(seen)))
    program.chmod(0o755)
    (tmp_path / "models" / "cells" / "3").mkdir(parents=True)
    code = "import sys; sys.modules['tensorflow'] = None; from cellzoo.cli import main; main()"
    arguments = ["--host", "0.0.0.0", "--grpc-port", "18500", "--rest-port", "18501"]
    arguments += ["--batching-file", str(SERVING / "batching.config")]
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    # The models' folder is given relative to here; a server may not care where it was started.
    server = subprocess.Popen(
        [sys.executable, "-c", code, "serve", "models", *arguments], cwd=tmp_path,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(SERVING.parent)},
    )  # fmt: skip
    try:
        end = time.monotonic() + 60
        while not seen.exists():
            assert server.poll() is None and time.monotonic() < end
            time.sleep(0.02)
        started = json.loads(seen.read_text())
        assert {"--port=18500", "--rest_api_port=18501", "--enable_batching"} <= set(
            started["arguments"]
        )
        (tmp_path / "as.config").write_text(started["config"])
        (model,) = read_model_config(tmp_path / "as.config")
        assert (model.name, model.base_path, model.model_platform) == (
            "cells", str((tmp_path / "models" / "cells").resolve()), "tensorflow",
        )  # fmt: skip
        server.terminate()
        assert server.wait(30) == 0
        assert Path(f"{seen}.end").exists()  # the signal was handed on
    finally:
        server.kill()
