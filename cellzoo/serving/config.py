"""What there is to serve, and the text files that TensorFlow Serving is set up with."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from cellzoo.errors import UserError
from cellzoo.serving.messages import (
    BatchingParameters,
    ModelConfig,
    ModelServerConfig,
    MonitoringConfig,
)

# Where containers find the models, in the manifests of serving/.
BASE_PATH = "/models"


def model_config(
    names: Iterable[str],
    existing: str = "",
    base_path: str = BASE_PATH,
    name: str = "models.config",
) -> str:
    """Text of a ``models.config`` with an entry for each model.

    Args:
        names: of the models.
        existing: text of the file so far. What an operator wrote there (version policies, labels,
            comments) stays as it is; only models that it lacks are added.
        base_path: folder of the models as the server sees it.
        name: what an error calls the file.

    Raises:
        UserError: ``existing`` is no model configuration.
    """
    text = existing if existing.strip() else "model_config_list {\n}\n"
    known = {model.name for model in _parsed(text, ModelServerConfig, name)}
    entries = "".join(
        f'  config {{\n    name: "{model}"\n    base_path: "{base_path}/{model}"\n'
        '    model_platform: "tensorflow"\n  }\n'
        for model in dict.fromkeys(names)
        if model not in known
    )
    body, _, rest = text.rpartition("}")
    text = f"{body}{entries}}}{rest}"
    _parsed(text, ModelServerConfig, name)
    return text


def read_model_config(path: Path) -> list[Any]:
    """The ``ModelConfig`` messages of a file.

    Raises:
        UserError: the file is missing or wrong.
    """
    models = _parsed(_read(path), ModelServerConfig, str(path))
    if not models:
        raise UserError(f"{path} names no model: add a config {{ }} to its model_config_list.")
    for model in models:
        if not model.name or not model.base_path:
            raise UserError(f"{path}: each config needs a name and a base_path.")
    names = [model.name for model in models]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UserError(f"{path} names the model {twice} twice: remove one.")
    return models


def read_batching(path: Path) -> Any:
    """The ``BatchingParameters`` of a file.

    Raises:
        UserError: the file is missing or wrong.
    """
    return _message(_read(path), BatchingParameters, str(path))


def read_monitoring(path: Path) -> Any:
    """The ``MonitoringConfig`` of a file.

    Raises:
        UserError: the file is missing or wrong.
    """
    return _message(_read(path), MonitoringConfig, str(path))


def find_versions(folder: Path) -> dict[int, Path] | None:
    """Number -> folder of the versions below a model's folder; None where it cannot be read."""
    try:
        return {
            int(path.name): path
            for path in folder.iterdir()
            if path.name.isascii() and path.name.isdigit() and path.is_dir()
        }
    except OSError:
        return None


def find_models(folder: Path) -> list[Any]:
    """A ``ModelConfig`` for each folder that holds numbered versions.

    Args:
        folder: holds one model's versions, or a folder for each of several models.
    """
    folder = folder.resolve()
    if find_versions(folder):
        return [ModelConfig(name=folder.name, base_path=str(folder))]
    return [
        ModelConfig(name=path.name, base_path=str(path))
        for path in sorted(folder.iterdir() if folder.is_dir() else ())
        if path.is_dir() and find_versions(path)
    ]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}): check the path.") from error


def _parsed(text: str, kind: Any, name: str) -> list[Any]:
    return list(_message(text, kind, name).model_config_list.config)


def _message(text: str, kind: Any, name: str) -> Any:
    try:
        return text_format.Parse(text, kind())
    except text_format.ParseError as error:
        raise UserError(f"{name} is no {kind.DESCRIPTOR.name}: {error}.") from error
