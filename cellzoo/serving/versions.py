"""Which versions of which models are served: found on disk, loaded, swapped and unloaded."""

import gc
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellzoo.protocol.messages import CODES, STATES
from cellzoo.serving.config import wanted_versions
from cellzoo.serving.errors import ServingError
from cellzoo.serving.servable import Servable

log = logging.getLogger(__name__)


@dataclass
class Version:
    """A version of a model.

    Attributes:
        state: ``START``, ``LOADING``, ``AVAILABLE``, ``UNLOADING`` or ``END``.
        code: ``OK``, or the status code of what went wrong.
        message: what went wrong.
        servable: the loaded model while it is available.
        fingerprint: of the files it was loaded from; a failed version is tried again when it
            changes, for example after a copy has finished.
    """

    state: str = "START"
    code: str = "OK"
    message: str = ""
    servable: Servable | None = None
    fingerprint: tuple = ()


class Models:
    """The models at hand, kept in step with the folders that their configuration names.

    A new version is loaded and warmed up beside the old one, which goes only when the new one
    answers; a version that cannot be loaded ends without taking another one down.

    Args:
        configs: gives the ``ModelConfig`` messages; called anew at each poll, so that a folder of
            models may grow.
        load: loads a version.
        allow_reload: let a reload name folders that the configuration did not name before.
    """

    def __init__(
        self,
        configs: Callable[[], Iterable[Any]],
        load: Callable[[str, int, Path], Servable] = Servable,
        allow_reload: bool = False,
    ):
        """See the class."""
        self._configs, self._load, self._allow_reload = configs, load, allow_reload
        self._folders: set[Path] = set()  # that the operator's configuration named
        self._versions: dict[str, dict[int, Version]] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._empty: dict[str, str] = {}  # what was last found wrong with models, by name
        self._lock = threading.Lock()  # of the tables, held shortly
        self._change = threading.Lock()  # one poll or reload at a time, loading included

    def poll(self) -> None:
        """Loads and unloads what changed on disk since the last time."""
        with self._change:
            configs = list(self._configs())
            self._folders |= {Path(config.base_path).resolve() for config in configs}
            self._apply(configs)

    def reload(self, configs: list[Any]) -> None:
        """Replaces the configuration and brings the models in step with it.

        Raises:
            ServingError: a configuration is wrong or names a folder that was none of a model
                before, a new model has no version that can be loaded, a model that answers is to
                come from another folder, or a label names a version that does not answer. The
                models before it stay.
        """
        for config in configs:
            if not config.name or not config.base_path:
                raise ServingError("INVALID_ARGUMENT", "Each model needs a name and a base_path.")
        if len({config.name for config in configs}) < len(configs):
            raise ServingError("INVALID_ARGUMENT", "A model is named twice: remove one.")
        with self._change:
            self._check_folders(configs)
            here = {config.name: Path(config.base_path).resolve() for config in self._configs()}
            for config in configs:
                wanted_folder = Path(config.base_path).resolve()
                folder = here.get(config.name, wanted_folder)
                if folder != wanted_folder and config.name in self.names:
                    raise ServingError(
                        "INVALID_ARGUMENT",
                        f"Model {config.name} is served from {folder}: remove it by a reload "
                        "first, or give the other one another name.",
                    )
            wanted = self._bring_up_all(configs)
            try:
                self._check(configs, wanted)
            except ServingError:
                self._apply(list(self._configs()))  # unloads what only the new ones wanted
                raise
            self._configs = lambda: configs
            self._switch(configs, wanted)

    def _check_folders(self, configs: list[Any]) -> None:
        """Lets a reload name known folders alone: anybody on this computer can send one."""
        for config in configs:
            if not self._allow_reload and Path(config.base_path).resolve() not in self._folders:
                raise ServingError(
                    "PERMISSION_DENIED",
                    f"{config.base_path} is no model's folder that this server was started with: "
                    "start it with --allow-reload to take others.",
                )

    def servable(self, spec: Any) -> Servable:
        """The version that a ``ModelSpec`` asks for; the newest if it asks for none.

        Raises:
            ServingError: there is none.
        """
        if not spec.name:
            raise ServingError("INVALID_ARGUMENT", "ModelSpec has no name specified.")
        with self._lock:
            versions = self._versions.get(spec.name, {})
            asked = None
            if spec.WhichOneof("version_choice") == "version_label":
                asked = self._labels.get(spec.name, {}).get(spec.version_label)
                if asked is None:
                    raise ServingError(
                        "INVALID_ARGUMENT",
                        f"Unrecognized servable version label: {spec.version_label}",
                    )
            elif spec.HasField("version"):
                asked = spec.version.value
            ready = [number for number, version in versions.items() if version.servable]
            if asked is None and ready:
                return versions[max(ready)].servable
            if asked in ready:
                return versions[asked].servable
        wanted = f"Latest({spec.name})" if asked is None else f"Specific({spec.name}, {asked})"
        raise ServingError("NOT_FOUND", f"Servable not found for request: {wanted}")

    def status(self, spec: Any) -> list[tuple[int, Version]]:
        """Versions of a model, newest first, unloaded ones included.

        A label chooses nothing, as in TensorFlow Serving: all versions are listed.

        Raises:
            ServingError: there is none.
        """
        with self._lock:
            versions = self._versions.get(spec.name, {})
            asked = spec.version.value if spec.HasField("version") else None
            if asked is not None and asked not in versions:
                raise ServingError(
                    "NOT_FOUND", f"Could not find version {asked} of model {spec.name}"
                )
            if not versions:
                raise ServingError("NOT_FOUND", f"Could not find any versions of model {spec.name}")
            chosen = sorted(versions if asked is None else [asked], reverse=True)
            return [(number, versions[number]) for number in chosen]

    @property
    def names(self) -> list[str]:
        """Models of which at least one version answers."""
        with self._lock:
            return sorted(
                name
                for name, versions in self._versions.items()
                if any(version.servable for version in versions.values())
            )

    def _apply(self, configs: list[Any]) -> None:
        self._switch(configs, self._bring_up_all(configs))

    def _bring_up_all(self, configs: list[Any]) -> dict[str, dict[int, Path] | None]:
        """Loads what is not loaded yet; nothing goes. Returns what is wanted, by model."""
        wanted = {config.name: wanted_versions(config) for config in configs}
        for name, folders in wanted.items():
            for number, folder in (folders or {}).items():
                self._bring_up(name, number, folder)
        return wanted

    def _switch(self, configs: list[Any], wanted: dict[str, dict[int, Path] | None]) -> None:
        """Moves the labels, unloads what is wanted no more and says what is not there."""
        with self._lock:
            self._labels = {config.name: dict(config.version_labels) for config in configs}
        for name in list(self._versions):
            self._retire(name, self._kept(name, wanted.get(name, {})))
        empty = {c.name: self._why_empty(c, wanted[c.name]) for c in configs if not wanted[c.name]}
        for name, why in empty.items():
            if self._empty.get(name) != why:
                log.warning("%s: %s", name, why)
        self._empty = empty

    def _why_empty(self, config: Any, folders: dict[int, Path] | None) -> str:
        if folders is None and config.name in self.names:
            return f"{config.base_path} cannot be read, bring it back: what is loaded stays."
        policy = config.model_version_policy
        asked = policy.specific.versions if policy.HasField("specific") else ()
        if folders is not None and asked:
            versions = ", ".join(map(str, asked))
            return (
                f"{config.base_path} holds no version {versions} to serve: correct its "
                "model_version_policy or export the model there."
            )
        return (
            f"{config.base_path} holds no version to serve: correct its base_path or export the "
            "model there."
        )

    def _bring_up(self, name: str, number: int, folder: Path) -> None:
        version = self._versions.get(name, {}).get(number)
        if version and version.servable:
            self._look_at_model(name, number, folder, version)
            return
        fingerprint = _fingerprint(folder)
        if version and version.fingerprint == fingerprint:
            return
        self._set(name, number, Version("LOADING", fingerprint=fingerprint))
        try:
            servable = self._load(name, number, folder)
            servable.warm_up(folder)
        except Exception as error:  # whatever a corrupt file makes TensorFlow raise
            code = getattr(error, "code", "INTERNAL")
            code = code if code in CODES else "INTERNAL"
            message = " ".join(str(error).split())[:500] or type(error).__name__
            log.warning("%s version %d cannot be served: %s", name, number, message)
            self._set(name, number, Version("END", code, message, None, fingerprint))
            return
        self._set(name, number, Version("AVAILABLE", "OK", "", servable, fingerprint))
        log.info("serving %s version %d", name, number)

    def _look_at_model(self, name: str, number: int, folder: Path, version: Version) -> None:
        """Says so where a loaded version has other files by now, which clients may mean."""
        found = _fingerprint(folder)
        if found and _of_model(found) != _of_model(version.fingerprint):
            log.warning(
                "%s version %d has other files than were loaded, and those loaded answer on: "
                "export the model as a new version.", name, number,
            )  # fmt: skip
            version.fingerprint = found

    def _kept(self, name: str, folders: dict[int, Path] | None) -> set[int]:
        """Versions that stay when those in ``folders`` are wanted; None: it cannot be read now."""
        versions = self._versions.get(name, {})
        ready = {number for number, version in versions.items() if version.servable}
        if folders is None or (folders and ready.isdisjoint(folders)):
            return set(versions)  # nothing to take over: the old ones stay
        return set(folders)

    def _retire(self, name: str, kept: set[int]) -> None:
        versions = self._versions[name]
        for number in set(versions) - kept:
            if versions[number].servable:
                # Requests that hold the model finish with it; it is freed with the last of them.
                self._set(name, number, Version("END"))
                log.info("unloaded %s version %d", name, number)
                gc.collect()  # a loaded SavedModel refers to itself
            elif versions[number].fingerprint:  # failed and gone: tried again should it return
                ended = versions[number]
                self._set(name, number, Version("END", ended.code, ended.message))

    def _set(self, name: str, number: int, version: Version) -> None:
        with self._lock:
            self._versions.setdefault(name, {})[number] = version

    def _check(self, configs: list[Any], wanted: dict[str, dict[int, Path] | None]) -> None:
        for config in configs:
            versions = self._versions.get(config.name, {})
            kept = self._kept(config.name, wanted[config.name])
            ready = {number for number in kept & set(versions) if versions[number].servable}
            if not ready:
                raise ServingError("NOT_FOUND", f"No version of model {config.name} can be served.")
            for number in config.version_labels.values():
                if number not in ready:
                    raise ServingError(
                        "FAILED_PRECONDITION",
                        f"Request to assign label to version {number} of model {config.name}, "
                        "which is not currently available for inference",
                    )


def state_number(version: Version) -> int:
    """Number of its state in the messages."""
    return STATES[version.state]


def _of_model(fingerprint: tuple) -> list[tuple]:
    """What a fingerprint says of graph and variables; cards and notes may be edited."""
    names = ("saved_model", "variables")
    return [file for file in fingerprint if Path(file[0]).name.startswith(names)]


def _fingerprint(folder: Path) -> tuple:
    """Changes whenever a file below the folder does."""
    try:
        files = [(path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file()]
    except OSError:  # deleted while we look
        return ()
    return tuple((str(path), stat.st_size, stat.st_mtime_ns) for path, stat in files)
