"""``cellzoo serve``: TensorFlow Serving where it is installed, else the embedded server."""

import logging
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from cellzoo import zoo
from cellzoo.errors import UsageError, UserError
from cellzoo.protocol.messages import ModelServerConfig
from cellzoo.protocol.operations import check_operations
from cellzoo.runs import recipe_file
from cellzoo.serving.config import (
    read_batching,
    read_model_config,
    read_monitoring,
    wanted_versions,
    watch_models,
)
from cellzoo.serving.metrics import PATH

log = logging.getLogger(__name__)

STOCK = "tensorflow_model_server"
EVERYWHERE = "0.0.0.0"


@dataclass(frozen=True)
class Service:
    """What to serve, and where; the options of ``cellzoo serve``.

    Attributes:
        models: folder of exports, or of one model's versions.
        host: interface to listen at.
        grpc_port: of gRPC.
        rest_port: of REST and metrics.
        engine: ``embedded``, ``tensorflow``, or ``auto``: TensorFlow Serving where it is installed
            and ``host`` is every interface, which is where it always listens; else embedded.
        model_config_file: models, version policies and labels, instead of ``models``.
        batching_file: TensorFlow Serving's batching parameters.
        monitoring_file: TensorFlow Serving's monitoring configuration.
        trust: serve SavedModels whatever operations they hold.
        allow_reload: let a reload name folders of models that ``models`` does not; TensorFlow
            Serving always does.
    """

    models: Path
    host: str = "127.0.0.1"
    grpc_port: int = 8500
    rest_port: int = 8501
    engine: str = "auto"
    model_config_file: Path | None = None
    batching_file: Path | None = None
    monitoring_file: Path | None = None
    trust: bool = False
    allow_reload: bool = False

    def configs(self) -> Callable[[], list[Any]]:
        """A function that gives the models' configurations as they are now.

        Raises:
            UserError: there is nothing to serve.
        """
        if self.model_config_file:
            read = read_model_config(self.model_config_file)
            return lambda: read
        find_models = watch_models(self.models)
        if recipe_file(zoo.find(self.models)).is_file():
            raise UserError(
                f"{self.models} is a run folder, and exports are served: `cellzoo export "
                f"{self.models}` writes one to saved_models, and `cellzoo serve saved_models` "
                "serves it."
            )
        if (self.models / "saved_model.pb").is_file():
            raise UserError(
                f"{self.models} is one version of a model: serve the folder that its number is in, "
                f"{self.models.resolve().parent}."
            )
        if not find_models():
            raise UserError(
                f"{self.models} holds no SavedModel in a numbered folder "
                "(NAME/1/saved_model.pb): `cellzoo export RUN` writes one."
            )
        return find_models


def serve(service: Service, start_tensorflow: Callable[[], None] = lambda: None) -> None:
    """Serves until SIGTERM or Ctrl-C.

    Args:
        service: what and where.
        start_tensorflow: imports it quietly, where it is needed.

    Raises:
        UserError: there is nothing to serve, a port is taken, or a file is wrong.
        UsageError: the engine cannot do what is asked.
    """
    configs = service.configs()
    if _engine(service) == "tensorflow":
        _serve_with_tensorflow(service, configs())
    else:
        start_tensorflow()
        _serve_embedded(service, configs)


def _engine(service: Service) -> str:
    installed = shutil.which(STOCK) is not None
    if service.engine == "auto":
        return "tensorflow" if installed and service.host == EVERYWHERE else "embedded"
    if service.engine == "tensorflow":
        if not installed:
            raise UsageError(
                f"--engine tensorflow: there is no {STOCK} on the PATH; take --engine embedded."
            )
        if service.host != EVERYWHERE:
            raise UsageError(
                f"--engine tensorflow: {STOCK} listens at every interface, say so with "
                f"--host {EVERYWHERE}."
            )
    return service.engine


def stock_command(service: Service, config_file: Path, monitoring_file: Path) -> list[str]:
    """How TensorFlow Serving is started for a service, with its metrics unless that has a file."""
    command = [
        STOCK,
        f"--port={service.grpc_port}",
        f"--rest_api_port={service.rest_port}",
        f"--model_config_file={config_file}",
        "--allow_version_labels_for_unavailable_models=true",
        "--enable_grpc_healthcheck_service=true",
        f"--monitoring_config_file={service.monitoring_file or monitoring_file}",
    ]
    if service.batching_file:
        command += ["--enable_batching", f"--batching_parameters_file={service.batching_file}"]
    return command


def _serve_with_tensorflow(service: Service, configs: list[Any]) -> None:
    if not service.trust:
        _check_operations(configs)
    config = ModelServerConfig()
    for model in configs:
        added = config.model_config_list.config.add()
        added.CopyFrom(model)
        added.model_platform = "tensorflow"
    with tempfile.TemporaryDirectory(prefix="cellzoo_serve_") as folder:
        file = Path(folder) / "models.config"
        file.write_text(text_format.MessageToString(config), encoding="utf-8")
        monitoring = Path(folder) / "monitoring.config"
        monitoring.write_text(f'prometheus_config {{ enable: true path: "{PATH}" }}\n')
        server = subprocess.Popen(stock_command(service, file, monitoring))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: server.send_signal(number))
        code = server.wait()
    if code not in (0, -signal.SIGTERM, -signal.SIGINT):
        raise UserError(f"{STOCK} ended with status {code}: its messages above say why.")


def _check_operations(configs: list[Any]) -> None:
    """Looks at the versions that are there now; TensorFlow Serving does not look at later ones."""
    for config in configs:
        for folder in (wanted_versions(config) or {}).values():
            try:
                if (folder / "saved_model.pb").is_file():
                    check_operations(folder)
            except (ValueError, OSError) as error:
                raise UserError(f"{error}.") from None


def _serve_embedded(service: Service, configs: Callable[[], list[Any]]) -> None:
    from cellzoo.serving.server import Server, Settings, bracketed, run_until_stopped

    settings: dict[str, Any] = {
        "host": service.host, "grpc_port": service.grpc_port, "rest_port": service.rest_port,
        "trust": service.trust, "allow_reload": service.allow_reload,
    }  # fmt: skip
    if service.batching_file:
        settings.update(_batching(service.batching_file))
    if service.monitoring_file:
        prometheus = read_monitoring(service.monitoring_file).prometheus_config
        settings["metrics_path"] = prometheus.path if prometheus.enable else None
    server = Server(configs, Settings(**settings))
    host = bracketed(service.host)
    log.info(
        "gRPC at %s:%d, REST at http://%s:%d/v1/models/NAME; Ctrl-C stops",
        host, server.grpc_port, host, server.rest_port,
    )  # fmt: skip
    run_until_stopped(server)


def _batching(file: Path) -> dict[str, Any]:
    parameters = read_batching(file)
    names = {
        "max_batch_size": ("max_batch", int),
        "batch_timeout_micros": ("batch_wait", lambda microseconds: microseconds / 1e6),
        "max_enqueued_batches": ("max_waiting", int),
        "num_batch_threads": ("batch_threads", int),
    }
    settings = {}
    for field, (name, convert) in names.items():
        if parameters.HasField(field):
            value = getattr(parameters, field).value
            if value < (0 if field == "batch_timeout_micros" else 1):
                raise UserError(f"{file}: {field} is {value}, which is too small.")
            settings[name] = convert(value)
    return settings
