"""Old spellings in recipes: they are read as the new ones, with a warning."""

import logging
from functools import cache
from typing import Any

log = logging.getLogger("cellzoo")

# Section, old key, new key.
RENAMED = (
    ("model", "leakiness", "negative_slope"),
    ("train", "averaging", "ema"),
    ("count", "views", "test_time_augmentation"),
)
OLD_KEYS = {new: old for _, old, new in RENAMED}


def with_new_names(document: dict[str, Any], where: str) -> dict[str, Any]:
    """A recipe, overlay or setting in today's spelling.

    Old ones are named in one warning: keys of :data:`RENAMED`, also in ``tune.space``, and
    ``reconstruct: false`` of ``twinvae_spatial``, which is ``twin_density`` now.

    Args:
        document: as YAML holds it.
        where: the file, or ``--set``, for the warning.
    """
    document, changes = dict(document), []
    for section, old, new in RENAMED:
        keys = document.get(section)
        if isinstance(keys, dict) and old in keys and new not in keys:
            document[section] = {new if key == old else key: keys[key] for key in keys}
            changes.append(f"{section}.{old} is now {section}.{new}")
    model = document.get("model")
    if isinstance(model, dict) and model.get("name") in ("twinvae_spatial", "twin_density"):
        reconstruct = model.get("reconstruct")
        if isinstance(reconstruct, bool):
            name = "twinvae_spatial" if reconstruct else "twin_density"
            model = {key: model[key] for key in model if key != "reconstruct"}
            document["model"] = model | {"name": name}
            value = str(reconstruct).lower()
            changes.append(f"model.reconstruct: {value} is now model.name: {name}")
    tune = document.get("tune")
    if isinstance(tune, dict) and isinstance(tune.get("space"), dict):
        names = {f"{section}.{old}": f"{section}.{new}" for section, old, new in RENAMED}
        space = {names.get(key, key): value for key, value in tune["space"].items()}
        if len(space) == len(tune["space"]):
            document["tune"] = tune | {"space": space}
            changes += [f"{key} is now {names[key]}" for key in tune["space"] if key in names]
    if changes:
        _warn(where, tuple(changes))
    return document


@cache
def _warn(where: str, changes: tuple[str, ...]) -> None:
    """Warns once of each file, however often it is read."""
    log.warning("%s: %s. The old spelling is still read.", where, "; ".join(changes))
