"""What there is to serve, and the text files that TensorFlow Serving is set up with."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from cellzoo.counters.saved_model import newest_version, version_number
from cellzoo.errors import UserError
from cellzoo.protocol.messages import (
    BatchingParameters,
    ModelConfig,
    ModelServerConfig,
    MonitoringConfig,
)

# Where containers find the models, in the manifests of serving/.
BASE_PATH = "/models"

# Brackets in these open and close nothing.
_COMMENT_OR_STRING = re.compile(r"""#[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'""")


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
    text = existing.removeprefix("\ufeff")  # which editors on Windows write
    config = _message(text, ModelServerConfig, name)
    if config.HasField("custom_model_config"):
        raise UserError(f"{name} has a custom_model_config: write a model_config_list instead.")
    known = {model.name for model in config.model_config_list.config}
    entries = "".join(
        f'  config {{\n    name: "{model}"\n    base_path: "{base_path}/{model}"\n'
        '    model_platform: "tensorflow"\n  }\n'
        for model in dict.fromkeys(names)
        if model not in known
    )
    if not entries:
        return text
    if not config.HasField("model_config_list"):
        return f"{_whole_lines(text)}model_config_list {{\n{entries}}}\n"
    # The list is all there is in the file, so that the last bracket closes it.
    brackets = _COMMENT_OR_STRING.sub(lambda match: " " * len(match[0]), text)
    end = max(brackets.rfind("}"), brackets.rfind(">"))
    return f"{_whole_lines(text[:end])}{entries}{text[end:]}"


def read_model_config(path: Path) -> list[Any]:
    """The ``ModelConfig`` messages of a file.

    Raises:
        UserError: the file is missing or wrong.
    """
    config = _message(_read(path), ModelServerConfig, str(path))
    models = list(config.model_config_list.config)
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
            number: path
            for path in folder.iterdir()
            if (number := version_number(path)) is not None and path.is_dir()
        }
    except OSError:
        return None


def wanted_versions(config: Any) -> dict[int, Path] | None:
    """Versions to serve by a ``ModelConfig``'s policy: the newest, or all, or named ones.

    Returns:
        Number -> folder; None where the folder cannot be read.
    """
    found = find_versions(Path(config.base_path))
    if found is None:
        return None
    policy = config.model_version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return found
    if choice == "specific":
        return {number: found[number] for number in policy.specific.versions if number in found}
    newest = sorted(found, reverse=True)[: policy.latest.num_versions or 1]
    return {number: found[number] for number in newest}


def watch_models(folder: Path) -> Callable[[], list[Any]]:
    """A function that gives a ``ModelConfig`` for each folder that holds numbered versions.

    What cannot be read, for a while, is given as it was the last time.

    Args:
        folder: holds one model's versions, or a folder for each of several models. Which of the
            two is settled here: no folder that somebody makes later takes the others away.
    """
    one_model = newest_version(folder) is not None
    last: dict[str, Any] = {}

    def find() -> list[Any]:
        nonlocal last
        here = folder.resolve()
        if one_model:
            if find_versions(here) is not None:
                last = {here.name: _model_at(here)}
            return list(last.values())
        try:
            paths = sorted(here.iterdir())
        except OSError:
            return list(last.values())
        found = {path: find_versions(path) for path in paths}
        last = {
            path.name: last[path.name] if versions is None else _model_at(path)
            for path, versions in found.items()
            if versions or (versions is None and path.name in last)
        }
        return list(last.values())

    return find


def _model_at(folder: Path) -> Any:
    return ModelConfig(name=folder.name, base_path=str(folder))


def _whole_lines(text: str) -> str:
    """The text, with a line break if its last line has none."""
    return text if not text.rpartition("\n")[2].strip() else text + "\n"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}): check the path.") from error


def _message(text: str, kind: Any, name: str) -> Any:
    try:
        return text_format.Parse(text, kind())
    except text_format.ParseError as error:
        problem = str(error).rstrip(".")
        raise UserError(f"{name} is no {kind.DESCRIPTOR.name}: {problem}.") from error
